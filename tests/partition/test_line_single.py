"""Rows in float32: faster on some networks, less accurate, and the results say by how much and where they are unsure."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError
from pwlnet.kernels import wide, workspace
from pwlnet.partition import line_trace
from pwlnet.tolerances import SINGLE_ROUNDOFF, SINGLE_ROWS, Tolerances
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
    double, single = (pwlnet.partition_lines(network, starts, ends, tolerances=t) for t in (Tolerances(), SINGLE_ROWS))
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
        for part in pwlnet.partition_lines(to_network(description), starts, ends, tolerances=SINGLE_ROWS, threads=1).parts:
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
    network = pwlnet.load_network(pwlnet.datasets.digits_network(name))
    ends = pwlnet.datasets.digits_images()[0][:20].reshape(20, -1)
    sure, _ = assert_same_where_sure(network, np.zeros((1, 64)), ends)
    assert sure > 0.1


def test_errors_are_those_of_float32():
    network = full_network((20, 50, 50, 50, 5), 0)
    starts, ends = random_ends(network, 10, 1)
    double, single = (pwlnet.partition_lines(network, starts, ends, tolerances=t) for t in (Tolerances(), SINGLE_ROWS))
    assert (single.t_error > 1e5 * double.t_error).all() and (single.t_error < 1e-2).all()
    assert single.residual.max() > 1e-12 > double.residual.max()


def test_values_that_vanish_in_float32_are_no_certainty():
    """Slope changes of 2**-50 per layer are below float32's range behind the third one."""
    network = full_network((5, 20, 20, 20, 20, 3), 3, scale=2.0**-50)
    starts, ends = random_ends(network, 20, 4)
    double, single = (pwlnet.partition_lines(network, starts, ends, tolerances=t) for t in (Tolerances(), SINGLE_ROWS))
    wrong = [flips_of(a) != flips_of(b) for a, b in zip(double.parts, single.parts, strict=True)]
    assert np.mean(wrong) > 0.5
    assert (single.ambiguous[wrong] > 0).all()


def test_results_depend_neither_on_threads_nor_on_other_lines():
    network = full_network((30, 300, 300, 5), 2)
    starts, ends = random_ends(network, 12, 5)
    whole = pwlnet.partition_lines(network, starts, ends, tolerances=SINGLE_ROWS, threads=1)
    other = pwlnet.partition_lines(network, starts, ends, tolerances=SINGLE_ROWS, threads=2)
    for name in FIELDS:
        assert getattr(whole, name).tobytes() == getattr(other, name).tobytes(), name
    alone = pwlnet.partition_lines(network, starts[3:4], ends[3:4], tolerances=SINGLE_ROWS)
    assert alone.t.tobytes() == whole.parts[3].t.tobytes() and alone.t_error[0] == whole.t_error[3]


def test_a_line_in_parts_is_the_same_line():
    from pwlnet.partition.line_parts import iter_line_parts

    network = full_network((30, 300, 300, 5), 2)
    starts, ends = random_ends(network, 1, 6)
    whole = pwlnet.partition_lines(network, starts, ends, tolerances=SINGLE_ROWS)
    parts = list(iter_line_parts(network, starts[0], ends[0], max_points=100, tolerances=SINGLE_ROWS))
    assert np.concatenate([part.t for part in parts]).tobytes() == whole.t.tobytes()
    assert (parts[-1].ambiguous, parts[-1].t_error) == (whole.ambiguous[0], whole.t_error[0])


def test_little_memory_cuts_the_line_and_keeps_its_flips(monkeypatch):
    network = full_network((30, 300, 300, 300, 5), 2)
    starts, ends = random_ends(network, 1, 7)
    windows, trace = [], line_trace.Tracer.fitting_window
    monkeypatch.setattr(line_trace.Tracer, "fitting_window", lambda *given: windows.append(given) or trace(*given))
    whole = pwlnet.partition_lines(network, starts, ends, tolerances=SINGLE_ROWS)
    assert not windows
    monkeypatch.setattr(line_trace, "FIRST_IDS", 256)
    monkeypatch.setitem(line_trace.SHARES, workspace.FULL_IDS, 0.0)
    network.__dict__.pop("_idle_tracers")
    cut = pwlnet.partition_lines(network, starts, ends, tolerances=SINGLE_ROWS)
    assert len(windows) > 2
    exact = pwlnet.partition_lines(network, starts, ends)
    for lines in (whole, cut):
        assert np.array_equal(np.sort(lines.flip_neurons), np.sort(exact.flip_neurons))
        assert 1e-9 < lines.t_error[0] < 1e-2
    assert np.abs(np.interp(exact.t, cut.t, np.arange(len(cut.t))) - np.arange(len(exact.t))).max() < 2.0


def test_a_store_knows_the_precision_of_its_lines(tmp_path):
    network = full_network((20, 50, 50, 50, 5), 0)
    starts, ends = random_ends(network, 4, 8)
    lines = pwlnet.partition_lines(network, starts, ends, tolerances=SINGLE_ROWS)
    lines.save(tmp_path / "lines.h5")
    with pwlnet.store.open(tmp_path / "lines.h5") as store:
        assert store.tolerances == SINGLE_ROWS and store.tolerances.single_rows
        assert store.lines().t.tobytes() == lines.t.tobytes()
        assert store.verify() == []


def test_a_precision_that_does_not_exist_is_refused():
    network = full_network((3, 4, 2), 0)
    with pytest.raises(InputError, match=r"Tolerances.rows is 0.001; 2\*\*-53 .* or 2\*\*-24"):
        pwlnet.partition_lines(network, np.zeros(3), np.ones(3), tolerances=Tolerances(rows=0.001))


def test_weights_beyond_float32_are_refused():
    network = full_network((3, 4, 2), 0, scale=1e39)
    assert pwlnet.partition_lines(network, np.zeros(3), np.ones(3)).n_segments[0] >= 1
    with pytest.raises(InputError, match=r"float32 rows need them below 3.4e38; use rows in float64"):
        pwlnet.partition_lines(network, np.zeros(3), np.ones(3), tolerances=SINGLE_ROWS)


def test_the_unit_roundoff_is_that_of_numpy():
    assert np.finfo(np.float32).eps / 2 == SINGLE_ROUNDOFF and np.finfo(np.float64).eps / 2 == Tolerances().rows
