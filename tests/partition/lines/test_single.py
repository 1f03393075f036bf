"""Rows in float32: faster on some networks, less accurate, and the results say by how much and where they are unsure."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError
from pwlnet.kernels.lines import wide, workspace
from pwlnet.partition.lines import tracing
from pwlnet.tolerances import SINGLE_ROUNDOFF, Tolerances
from tests.counts import few
from tests.described import to_network
from tests.reference import exact_line
from tests.reference.random_cases import random_case

FIELDS = ("t", "flip_offsets", "flip_neurons", "flip_states", "residual", "ambiguous", "t_error")


def flips_of(part):
    return [[(int(k), int(s)) for k, s in zip(neurons, states, strict=True)] for neurons, states in part.flips]


def full_network(widths, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    graph = Graph((1, widths[0]), batched=True)
    x = graph.input
    for k, (n, m) in enumerate(itertools.pairwise(widths)):
        weight, bias = scale * rng.normal(size=(m, n)) * np.sqrt(2.0 / n), scale ** (k + 1) * 0.1 * rng.normal(size=m)
        x = graph.linear(x, weight, bias, name=f"full{k}")
        if k < len(widths) - 2:
            x = graph.relu(x, name=f"relu{k}")
    graph.output = x
    return lower(graph)


def random_ends(network, n_lines, seed):
    return np.random.default_rng(seed).normal(size=(2, n_lines, network.n_inputs))


def assert_same_where_sure(network, starts, ends):
    """Lines without near-ties have float64's flips, and breakpoints within the bound; returns the share of such lines and
    the largest error in units of the bound."""
    double, single = both_precisions(network, starts, ends)
    sure, farthest = 0, 0.0
    for a, b in zip(double.parts, single.parts, strict=True):
        if single.ambiguous[b.index] == 0:
            assert flips_of(a) == flips_of(b)
            farthest = max(farthest, np.abs(a.t - b.t).max() / max(a.t_error + b.t_error, np.finfo(np.float64).tiny))
            sure += 1
    assert farthest <= 1.0
    return sure / len(single), farthest


def test_lines_without_near_ties_have_the_exact_flips_and_times_within_the_bound():
    """Half of the networks are degenerate; float32 can't tell a tie from a near-tie, and says so."""
    sure = several = 0
    for seed in range(few(600, 60)):
        description, starts, ends = random_case(seed)
        for part in pwlnet.partition_lines(to_network(description), starts, ends, slope_dtype="float32", threads=1).parts:
            exact = exact_line.trace(description, part.start, part.end)
            if part._lines.ambiguous[part.index] > 0:
                continue
            sure += 1
            assert flips_of(part) == exact.flips(), seed
            farthest = max(abs(a - Fraction(b)) for a, b in zip(exact.t, part.t.tolist(), strict=True))
            assert farthest <= part.t_error, seed
            several += len(exact.t) > 4
    assert sure > few(600, 60) and several > few(200, 20)


@pytest.mark.parametrize(("widths", "share"), [((20, 50, 50, 50, 5), 0.5), ((30, 300, 300, 5), 0.1)])
def test_full_networks_agree_with_float64(widths, share, monkeypatch):
    network = full_network(widths, 0)
    starts, ends = random_ends(network, 40, 1)
    assert (widths[1] >= wide.WIDE_FROM) == (widths[1] == 300)
    sure, farthest = assert_same_where_sure(network, starts, 0.9 * starts + 0.1 * ends)
    assert sure > share
    assert farthest > 1e-4  # a bound much farther off would say nothing


@pytest.mark.parametrize("name", ["digits_mlp", "digits_conv"])
def test_shipped_networks_agree_with_float64(name):
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path(name))
    ends = pwlnet.datasets.digits_images()[0][:20].reshape(20, -1)
    sure, _ = assert_same_where_sure(network, np.zeros((1, 64)), ends)
    assert sure > 0.1


def both_precisions(network, start, end):
    return [pwlnet.partition_lines(network, start, end, slope_dtype=slope_dtype) for slope_dtype in ("float64", "float32")]


def row_part(network, start, end):
    """What float32 rows add to t_error, by the two precisions, of a line whose only late breakpoint decides it."""
    double, single = both_precisions(network, start, end)
    assert flips_of(double.parts[0]) == flips_of(single.parts[0])
    return single.t_error[0] - double.t_error[0]


@pytest.mark.parametrize(("n", "width"), [(3, 4), (40, 300)])
def test_errors_add_up_as_they_should(n, width):
    """x(t) = t; n first neurons switch on at known t, ``width`` second ones are always on, a last one crosses at 0.95.

    R1 = (u d)^2, R2 = sum w2^2 R1 + sum (u w2 d)^2, R3 = sum w3^2 R2, and the bound is 16 sqrt(R3) / slope.
    """
    rng = np.random.default_rng(n)
    first, turns = np.linspace(0.1, 0.9, n), rng.uniform(0.5, 1.5, n)
    second = rng.uniform(0.1, 1.0, (width, n))
    last = rng.uniform(0.5, 1.5, width)
    bias, slope = -last @ (second @ (turns * (0.95 - first)) + 1.0), last @ second @ turns
    graph = Graph((1, 1), batched=True)
    x = graph.relu(graph.linear(graph.input, turns[:, None], -turns * first, name="first"), name="relu1")
    x = graph.relu(graph.linear(x, second, np.ones(width), name="second"), name="relu2")
    graph.output = graph.relu(graph.linear(x, last[None], np.array([bias]), name="last"), name="relu3")
    r2 = 2.0 * ((second * turns) ** 2).sum(1) * SINGLE_ROUNDOFF**2
    expected = 16.0 * np.sqrt((last**2 * r2).sum()) / slope
    assert row_part(lower(graph), np.zeros(1), np.ones(1)) == pytest.approx(expected, rel=1e-3)


def test_errors_of_rows_that_several_ops_read_count_once_each():
    """z = w a is kept for relu(z), always on, and for z + relu(z): 2 w^2 R1 + 3 (u w d)^2, and the sum's own (u 2 w d)^2."""
    w, d = 1.3, 0.7
    graph = Graph((1, 1), batched=True)
    a = graph.relu(graph.linear(graph.input, np.array([[d]]), np.array([-0.3 * d]), name="first"), name="relu1")
    z = graph.linear(a, np.array([[w]]), np.array([1.0]), name="z")
    both = graph.add(z, graph.relu(z, name="relu2"), name="sum")
    value = 2.0 * (w * d * (0.8 - 0.3) + 1.0)
    graph.output = graph.relu(graph.linear(both, np.array([[1.0]]), np.array([-value]), name="last"), name="relu3")
    expected = 16.0 * np.sqrt(2.0 + 3.0 + 4.0) * SINGLE_ROUNDOFF / 2.0
    assert row_part(lower(graph), np.zeros(1), np.ones(1)) == pytest.approx(expected, rel=1e-3)


def test_errors_pass_a_pool():
    """The largest of four, always the same one: its error, and that of the rows that the pool keeps."""
    graph = Graph((1, 1, 2, 2), batched=True)
    a = graph.relu(graph.conv(graph.input, np.array([[[[0.7]]]]), np.array([-0.21]), name="first"), name="relu1")
    pooled = graph.reshape(graph.max_pool(a, 2, name="pool"), (1, -1), name="flat")
    graph.output = graph.relu(graph.linear(pooled, np.array([[1.0]]), np.array([-0.35]), name="last"), name="relu2")
    end = np.array([0.1, 0.2, 1.0, 0.0])
    expected = 16.0 * np.sqrt(2.0) * SINGLE_ROUNDOFF
    assert row_part(lower(graph), np.zeros(4), end) == pytest.approx(expected, rel=1e-3)


def two_layers(first, second, bias):
    """relu(second relu(first t - 0.5 first) + bias) of one input."""
    graph = Graph((1, 1), batched=True)
    x = graph.relu(graph.linear(graph.input, first[:, None], -0.5 * first, name="first"), name="relu1")
    graph.output = graph.relu(graph.linear(x, second, bias, name="second"), name="relu2")
    return lower(graph)


@pytest.mark.parametrize(("gap", "is_near"), [(1e-9, True), (1e-3, False)])
def test_two_breakpoints_in_doubtful_order_are_near_ties(gap, is_near):
    """Behind a first breakpoint two neurons cross, one ``gap`` after the other."""
    first, second = np.array([1.1]), np.array([[0.7], [0.9]])
    network = two_layers(first, second, -second[:, 0] * 1.1 * (0.25 + np.array([0.0, gap])))
    double, single = (pwlnet.partition_lines(network, np.zeros(1), np.ones(1), slope_dtype=t) for t in ("float64", "float32"))
    assert len(double.t) == len(single.t) == 5
    assert (double.ambiguous[0], single.ambiguous[0] > 0) == (0, is_near)


def touching(gap):
    """A neuron that rises to ``gap`` below 0 at t = 0.75 and falls again, and one that crosses 0 at 0.875.

    All slopes are numbers of float32, so that float32 rows have no error, but a bound.
    """
    graph = Graph((1, 1), batched=True)
    x = graph.relu(graph.linear(graph.input, np.ones((2, 1)), np.array([-0.125, -0.75]), name="first"), name="relu1")
    second, bias = np.array([[1.0, -2.0], [1.0, 0.0]]), np.array([-0.625 - gap, -0.75])
    graph.output = graph.relu(graph.linear(x, second, bias, name="second"), name="relu2")
    return lower(graph)


@pytest.mark.parametrize(("gap", "n_near"), [(1e-9, 1), (1e-3, 0)])
def test_a_neuron_that_nearly_touches_its_threshold_is_a_near_tie(gap, n_near, monkeypatch):
    """It may or may not have crossed; a buffer that is full after that was seen doesn't count it twice, or not at all."""
    network = touching(gap)
    double, single = both_precisions(network, np.zeros(1), np.ones(1))
    assert double.t.tolist() == single.t.tolist() == [0.0, 0.125, 0.75, 0.875, 1.0]
    assert (double.ambiguous[0], single.ambiguous[0]) == (0, n_near)
    for small in (("FIRST_IDS", 2), ("FIRST_FOUND", 1)):
        network.__dict__.pop("_idle_buffers")
        with monkeypatch.context() as patch:
            patch.setattr(tracing, *small)
            little = pwlnet.partition_lines(network, np.zeros(1), np.ones(1), slope_dtype="float32")
        assert (little.ambiguous[0], little.t_error[0]) == (n_near, single.t_error[0])


def test_winners_among_taps_that_are_off_are_those_of_float64():
    """A tap that switches off leaves nothing behind, so that the first tap wins again."""
    n_flips = 0
    for seed in range(few(100, 20)):
        rng = np.random.default_rng(seed)
        graph = Graph((1, 2, 2, 2), batched=True)
        x = graph.relu(graph.conv(graph.input, rng.normal(size=(6, 2, 1, 1)), rng.normal(size=6), name="conv1"), name="relu1")
        x = graph.relu(graph.conv(x, rng.normal(size=(6, 6, 1, 1)), rng.normal(size=6) - 1.0, name="conv2"), name="relu2")
        graph.output = graph.max_pool(x, 2, name="pool")
        network = lower(graph)
        double, single = both_precisions(network, *random_ends(network, 1, seed))
        flips = [sorted(zip(lines.flip_neurons, lines.flip_states, strict=True)) for lines in (double, single)]
        assert flips[0] == flips[1], seed
        n_flips += len(flips[0])
    assert n_flips > few(1000, 200)


def test_buffers_that_fill_up_count_no_near_tie_twice(monkeypatch):
    network = full_network((5, 50, 50, 50, 50, 50, 5), 0)
    starts, ends = random_ends(network, 20, 1)
    plenty = pwlnet.partition_lines(network, starts, ends, slope_dtype="float32")
    assert (plenty.ambiguous > 0).sum() >= 5
    for name, size in (("FIRST_IDS", 2), ("FIRST_VALUES", 1), ("FIRST_FOUND", 1)):
        monkeypatch.setattr(tracing, name, size)
    network.__dict__.pop("_idle_buffers")
    little = [pwlnet.partition_lines(network, starts[k], ends[k], slope_dtype="float32", threads=1) for k in range(20)]
    assert [lines.ambiguous[0] for lines in little] == plenty.ambiguous.tolist()
    assert [lines.t_error[0] for lines in little] == plenty.t_error.tolist()


def test_errors_are_those_of_float32():
    network = full_network((20, 50, 50, 50, 5), 0)
    starts, ends = random_ends(network, 10, 1)
    double, single = both_precisions(network, starts, ends)
    assert (single.t_error > 1e5 * double.t_error).all() and (single.t_error < 1e-2).all()
    assert single.residual.max() > 1e-12 > double.residual.max()


def test_values_that_vanish_in_float32_are_no_certainty():
    """Slope changes of 2**-50 per layer are below float32's range behind the third one."""
    network = full_network((5, 20, 20, 20, 20, 3), 3, scale=2.0**-50)
    starts, ends = random_ends(network, 20, 4)
    double, single = both_precisions(network, starts, ends)
    wrong = [flips_of(a) != flips_of(b) for a, b in zip(double.parts, single.parts, strict=True)]
    assert np.mean(wrong) > 0.5
    assert (single.ambiguous[wrong] > 0).all()


def test_results_depend_neither_on_threads_nor_on_other_lines():
    network = full_network((30, 300, 300, 5), 2)
    starts, ends = random_ends(network, 12, 5)
    whole = pwlnet.partition_lines(network, starts, ends, slope_dtype="float32", threads=1)
    other = pwlnet.partition_lines(network, starts, ends, slope_dtype="float32", threads=2)
    for name in FIELDS:
        assert getattr(whole, name).tobytes() == getattr(other, name).tobytes(), name
    alone = pwlnet.partition_lines(network, starts[3:4], ends[3:4], slope_dtype="float32")
    assert alone.t.tobytes() == whole.parts[3].t.tobytes() and alone.t_error[0] == whole.t_error[3]


def test_a_line_in_parts_is_the_same_line():
    from pwlnet.partition.lines.chunks import iter_line_chunks

    network = full_network((30, 300, 300, 5), 2)
    starts, ends = random_ends(network, 1, 6)
    whole = pwlnet.partition_lines(network, starts, ends, slope_dtype="float32")
    parts = list(iter_line_chunks(network, starts[0], ends[0], max_points=100, slope_dtype="float32"))
    assert np.concatenate([part.t for part in parts]).tobytes() == whole.t.tobytes()
    assert (parts[-1].ambiguous, parts[-1].t_error) == (whole.ambiguous[0], whole.t_error[0])


def test_little_memory_cuts_the_line_and_keeps_its_flips(monkeypatch):
    network = full_network((30, 300, 300, 300, 5), 2)
    starts, ends = random_ends(network, 1, 7)
    windows, trace = [], tracing.Tracer.fitting_window
    monkeypatch.setattr(tracing.Tracer, "fitting_window", lambda *given: windows.append(given) or trace(*given))
    whole = pwlnet.partition_lines(network, starts, ends, slope_dtype="float32")
    assert not windows
    monkeypatch.setattr(tracing, "FIRST_IDS", 256)
    monkeypatch.setitem(tracing.SHARES, workspace.FULL_IDS, 0.0)
    network.__dict__.pop("_idle_buffers")
    cut = pwlnet.partition_lines(network, starts, ends, slope_dtype="float32")
    assert len(windows) > 2
    exact = pwlnet.partition_lines(network, starts, ends)
    for lines in (whole, cut):
        assert np.array_equal(np.sort(lines.flip_neurons), np.sort(exact.flip_neurons))
        assert 1e-9 < lines.t_error[0] < 1e-2
    assert np.abs(np.interp(exact.t, cut.t, np.arange(len(cut.t))) - np.arange(len(exact.t))).max() < 2.0


def test_a_store_knows_the_precision_of_its_lines(tmp_path):
    network = full_network((20, 50, 50, 50, 5), 0)
    starts, ends = random_ends(network, 4, 8)
    lines = pwlnet.partition_lines(network, starts, ends, slope_dtype="float32")
    lines.save(tmp_path / "lines.h5")
    with pwlnet.store.open(tmp_path / "lines.h5") as store:
        assert store.tolerances.slope_dtype == "float32" == lines.tolerances.slope_dtype
        assert store.lines().t.tobytes() == lines.t.tobytes()
        assert store.verify() == []


def test_a_precision_that_does_not_exist_is_refused():
    network = full_network((3, 4, 2), 0)
    with pytest.raises(InputError, match=r"Tolerances.slope_roundoff is 0.001; 2\*\*-53 .* or 2\*\*-24"):
        pwlnet.partition_lines(network, np.zeros(3), np.ones(3), tolerances=Tolerances(slope_roundoff=0.001))
    with pytest.raises(InputError, match="slope_dtype is 'float16'; the choices are 'float64' and 'float32'"):
        pwlnet.partition_lines(network, np.zeros(3), np.ones(3), slope_dtype="float16")


def test_weights_beyond_float32_are_refused():
    network = full_network((3, 4, 2), 0, scale=1e39)
    assert pwlnet.partition_lines(network, np.zeros(3), np.ones(3)).n_segments[0] >= 1
    with pytest.raises(InputError, match=r"float32 slope changes need them below 3.4e38; use float64"):
        pwlnet.partition_lines(network, np.zeros(3), np.ones(3), slope_dtype="float32")


def test_the_unit_roundoff_is_that_of_numpy():
    assert np.finfo(np.float32).eps / 2 == SINGLE_ROUNDOFF and np.finfo(np.float64).eps / 2 == Tolerances().slope_roundoff
