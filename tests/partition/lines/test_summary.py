"""Summaries of lines: closed forms, NumPy on the partitions' own arrays, and merging that changes no bit."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pwlnet
from pwlnet import LineSummary
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError, ShapeError
from pwlnet.partition.lines.summary import DEFAULT_EDGES
from tests.counts import few
from tests.drawn import draw

OF_LINES = ("n_segments", "length", "shortest_t", "longest_t", "residual", "ambiguous", "t_error", "op_flips")


def staircase(n_steps):
    """One input; neurons that switch at 1, 2, ..., n_steps; a second layer whose neuron switches at 2.75."""
    graph = Graph((1, 1), batched=True)
    x = graph.linear(graph.input, np.ones((n_steps, 1)), -np.arange(1.0, n_steps + 1), name="first")
    x = graph.relu(x, name="steps")
    y = graph.relu(graph.linear(x, np.eye(n_steps)[:2].sum(axis=0, keepdims=True), [-2.5], name="second"), name="late")
    graph.output = y
    return lower(graph)


def cut(lines, first, last):
    """Lines ``first`` to ``last`` of line partitions, as partitions of their own."""
    points = slice(lines.offsets[first], lines.offsets[last])
    flips = slice(lines.flip_offsets[points.start], lines.flip_offsets[points.stop])
    part = slice(first, last)
    return pwlnet.LinePartitions(
        network=lines.network,
        starts=lines.starts[part],
        ends=lines.ends[part],
        offsets=lines.offsets[first : last + 1] - points.start,
        t=lines.t[points],
        flip_offsets=lines.flip_offsets[points.start : points.stop + 1] - flips.start,
        flip_neurons=lines.flip_neurons[flips],
        flip_states=lines.flip_states[flips],
        residual=lines.residual[part],
        ambiguous=lines.ambiguous[part],
        t_error=lines.t_error[part],
        tolerances=lines.tolerances,
    )


def same(summary, other):
    """Whether two summaries are equal bit for bit, dtypes included."""
    pairs = [(getattr(summary, name), getattr(other, name)) for name in (*OF_LINES, "edges", "histogram")]
    alike = [a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs]
    return all(alike) and summary.network == other.network and summary.tolerances == other.tolerances


@pytest.fixture(scope="module")
def digit_lines():
    """Lines between digits, some of length zero."""
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    images, _ = pwlnet.datasets.digits_images()
    ends = np.concatenate([images[20:28], images[8:12], images[32:40]])
    return pwlnet.partition_lines(network, images[:20], ends)


def test_equal_steps_have_the_lengths_and_counts_that_they_must():
    summary = pwlnet.summarize_lines(staircase(7), [[0.0], [0.0]], [[8.0], [2.0]], edges=[0.5, 0.9, 2.0])
    assert summary.n_segments.tolist() == [9, 2]
    assert summary.length.tolist() == [8.0, 2.0]
    assert summary.density.tolist() == [9 / 8, 1.0]
    np.testing.assert_allclose(summary.shortest, [0.25, 1.0], rtol=1e-14)
    np.testing.assert_allclose(summary.longest, [1.0, 1.0], rtol=1e-14)
    assert summary.histogram.tolist() == [1, 1, 9, 0]  # 0.25; 0.75; seven and two ones


def test_flips_are_counted_where_they_happen():
    summary = pwlnet.summarize_lines(staircase(2), [[0.0], [0.0]], [[4.0], [1.5]])
    assert summary.op_flips.tolist() == [[2, 1], [1, 0]]
    assert summary.n_flips.tolist() == [3, 1]
    assert [(entry.name, entry.kind, entry.n_neurons, entry.n_flips) for entry in summary.by_op()] == [
        ("steps", "Relu", 2, 3),
        ("late", "Relu", 1, 1),
    ]


@pytest.mark.parametrize("seed", range(few(12)))
def test_a_summary_is_what_numpy_finds_in_the_partitions(seed):
    _, network, points = draw(seed, n_points=6)
    lines = pwlnet.partition_lines(network, points[:3], points[3:])
    edges = np.geomspace(0.01, 10.0, 13)
    summary = LineSummary.of(lines, edges=edges)
    layers = [entry.op for entry in summary.by_op()]
    widths = []
    for i, part in enumerate(lines.parts):
        t = np.diff(part.t)
        assert (summary.shortest_t[i], summary.longest_t[i]) == (t.min(), t.max())
        neurons = np.concatenate([neurons for neurons, _ in part.flips])
        ops = [network.neuron(int(k)).op for k in neurons]
        assert summary.op_flips[i].tolist() == [ops.count(op) for op in layers]
        widths.append(t * lines.length[i])
    widths = np.concatenate(widths)
    wanted = [np.sum((low <= widths) & (widths < high)) for low, high in zip([-1, *edges], [*edges, np.inf])]
    assert summary.histogram.tolist() == wanted
    for name in ("n_segments", "residual", "ambiguous", "t_error"):
        np.testing.assert_array_equal(getattr(summary, name), getattr(lines, name))
    np.testing.assert_allclose(summary.length, lines.length, rtol=1e-15)
    np.testing.assert_allclose(summary.density, lines.density, rtol=1e-15)


@settings(max_examples=few(60), deadline=None)
@given(cuts=st.lists(st.integers(0, 20), max_size=6), nested=st.booleans())
def test_however_lines_are_cut_the_summaries_add_up_to_the_same_bits(digit_lines, cuts, nested):
    places = [0, *sorted(cuts), 20]
    parts = [LineSummary.of(cut(digit_lines, a, b)) for a, b in itertools.pairwise(places)]
    merged = parts[0] + parts[1].merge(*parts[2:]) if nested and len(parts) > 1 else parts[0].merge(*parts[1:])
    assert same(merged, LineSummary.of(digit_lines))


@pytest.mark.parametrize("max_points", [1, 500, 2**20])
def test_the_sizes_of_batches_change_no_bit(digit_lines, max_points):
    network, starts, ends = digit_lines.network, digit_lines.starts, digit_lines.ends
    assert same(pwlnet.summarize_lines(network, starts, ends, max_points=max_points), LineSummary.of(digit_lines))
    batches = pwlnet.iter_line_partitions(network, starts, ends, max_points=max_points)
    assert same(LineSummary.of(batches), LineSummary.of(digit_lines))


def test_one_start_gives_the_bits_that_it_gives_when_it_is_repeated(digit_lines):
    network, ends = digit_lines.network, digit_lines.ends
    repeated = pwlnet.summarize_lines(network, np.tile(digit_lines.starts[0], (20, 1)), ends)
    assert same(pwlnet.summarize_lines(network, digit_lines.starts[:1], ends), repeated)


def test_every_segment_is_counted_whatever_the_edges(digit_lines):
    n_segments = digit_lines.n_segments.sum()
    for edges in (None, [1e-3, 1e-2], [1e6, 1e7], [-2.0, -1.0], [0.0, 1e-3, 100.0]):
        assert LineSummary.of(digit_lines, edges=edges).histogram.sum() == n_segments


def test_the_default_edges_are_as_documented():
    np.testing.assert_allclose(DEFAULT_EDGES, 2.0 ** (np.arange(-160, 81) / 4), rtol=1e-15)
    assert DEFAULT_EDGES[::4].tolist() == (2.0 ** np.arange(-40, 21)).tolist()


def test_a_line_of_length_zero_has_one_segment_of_length_zero(digit_lines):
    lines = cut(digit_lines, 8, 12)
    summary = LineSummary.of(lines)
    assert summary.n_segments.tolist() == [1, 1, 1, 1]
    assert summary.density.tolist() == [np.inf] * 4
    assert summary.shortest.tolist() == summary.longest.tolist() == [0.0] * 4
    assert summary.shortest_t.tolist() == summary.longest_t.tolist() == [1.0] * 4
    assert summary.histogram[0] == summary.histogram.sum() == 4
    assert summary.to_dict()["density"] == {"min": None, "median": None, "max": None}


def test_no_lines_are_summarized_and_merge_with_others(digit_lines):
    network = digit_lines.network
    nothing = pwlnet.summarize_lines(network, np.zeros((0, 64)), np.zeros((0, 64)))
    assert (len(nothing), nothing.histogram.sum(), nothing.op_flips.shape) == (0, 0, (0, 8))
    assert json.loads(json.dumps(nothing.to_dict(), allow_nan=False))["segments"] == {
        "min": None, "median": None, "max": None, "total": 0}  # fmt: skip
    assert nothing.to_dict()["t_error"] is None
    assert same(nothing + LineSummary.of(digit_lines) + nothing, LineSummary.of(digit_lines))


def test_an_affine_network_has_one_segment_and_no_ops():
    graph = Graph((1, 3), batched=True)
    graph.output = graph.linear(graph.input, np.ones((2, 3)), name="only")
    summary = pwlnet.summarize_lines(lower(graph), np.zeros((2, 3)), np.ones((2, 3)))
    assert (summary.n_segments.tolist(), summary.op_flips.shape, summary.by_op()) == ([1, 1], (2, 0), [])


def test_totals_are_json_and_leave_out_empty_ends_of_the_histogram(digit_lines):
    summary = LineSummary.of(digit_lines)
    totals = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert totals["lines"] == 20
    assert totals["segments"]["total"] == digit_lines.n_segments.sum()
    assert totals["segments"]["median"] == np.median(digit_lines.n_segments)
    assert totals["flips"] == len(digit_lines.flip_neurons) == sum(op["n_flips"] for op in totals["flips_by_op"])
    assert totals["longest_segment"] == summary.longest.max()
    assert totals["t_error"] == digit_lines.t_error.max() > 0.0
    histogram = totals["histogram"]
    assert sum(histogram["counts"]) + histogram["shorter"] + histogram["longer"] == totals["segments"]["total"]
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert histogram["counts"][0] and histogram["counts"][-1]
    assert histogram["edges"][0] <= np.min(summary.shortest[summary.length > 0])


def test_it_says_what_it_is(digit_lines):
    assert (
        repr(LineSummary.of(digit_lines))
        == f"LineSummary(20 lines, {digit_lines.n_segments.sum()} segments, {digit_lines.network!r})"
    )


@pytest.mark.parametrize(
    "edges", [[1.0], [1.0, 1.0], [2.0, 1.0], [0.0, np.nan], [0.0, np.inf], [[0.0, 1.0]], "wide", [None, 1]]
)
def test_edges_that_do_not_increase_are_refused(digit_lines, edges):
    with pytest.raises(InputError, match=r"^edges .*; at least two increasing numbers are needed"):
        LineSummary.of(digit_lines, edges=edges)


def test_summaries_that_do_not_belong_together_are_refused(digit_lines):
    summary = LineSummary.of(digit_lines)
    network = digit_lines.network
    rounding = pwlnet.Tolerances(rounding=8.0)
    others = {
        "is of the network": pwlnet.summarize_lines(staircase(2), [[0.0]], [[1.0]]),
        "was computed with": pwlnet.summarize_lines(network, np.zeros(64), np.ones(64), tolerances=rounding),
        "has other edges": LineSummary.of(digit_lines, edges=[1.0, 2.0]),
    }
    for problem, other in others.items():
        with pytest.raises(InputError, match=f"can't be merged: it {problem}"):
            summary.merge(other)


def test_an_iterable_without_lines_is_refused():
    with pytest.raises(InputError, match="lines gave no line partitions"):
        LineSummary.of([])


def test_wrong_ends_are_refused_as_by_partition_lines(digit_lines):
    with pytest.raises(ShapeError, match="starts has 2 rows, but ends has 3"):
        pwlnet.summarize_lines(digit_lines.network, np.zeros((2, 64)), np.zeros((3, 64)))
