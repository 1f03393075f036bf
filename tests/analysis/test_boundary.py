"""Class intervals on lines: closed forms, ties, and agreement with forward passes."""

import types

import numpy as np
import pytest

import pwlnet
from pwlnet.analysis.boundary import class_intervals
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower


def affine_network(weight):
    """A network without neurons: its outputs are ``weight @ x``."""
    graph = Graph((1, np.shape(weight)[1]), batched=True)
    graph.output = graph.linear(graph.input, np.array(weight, float), name="map")
    return lower(graph)


def intervals(start, end, weight=None):
    weight = np.eye(len(start)) if weight is None else weight
    (part,) = pwlnet.partition_lines(affine_network(weight), [start], [end]).parts
    t, labels = class_intervals(part)
    assert (t.dtype, labels.dtype) == (np.float64, np.int64)
    return t.tolist(), labels.tolist()


def made_of(t, outputs):
    """A stand-in for a line with given outputs at its breakpoints."""
    return types.SimpleNamespace(t=np.array(t, float), outputs=lambda: np.array(outputs, float))


def test_two_outputs_that_meet_in_the_middle():
    assert intervals((1.0, 0.0), (1.0, 2.0)) == ([0.0, 0.5, 1.0], [0, 1])


def test_the_smallest_output_can_be_the_class():
    part = made_of([0.0, 1.0], [[1.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
    assert [x.tolist() for x in class_intervals(part, rule="min")] == [[0.0, 1.0], [2]]
    assert [x.tolist() for x in class_intervals(part)] == [[0.0, 0.5, 1.0], [0, 1]]
    with pytest.raises(pwlnet.errors.InputError, match="the choices are 'max', 'min'"):
        class_intervals(part, rule="largest")


def test_three_outputs_have_their_envelope():
    t, labels = intervals((1.0, 0.0, 0.6), (0.0, 1.0, 0.6))
    assert t == pytest.approx([0.0, 0.4, 0.6, 1.0])
    assert labels == [0, 2, 1]


def test_an_output_that_only_touches_the_largest_has_no_interval():
    assert intervals((1.0, 0.0, 0.5), (0.0, 1.0, 0.5)) == ([0.0, 0.5, 1.0], [0, 1])


def test_the_lowest_index_wins_where_outputs_are_equal():
    assert intervals((1.0, 1.0), (2.0, 2.0)) == ([0.0, 1.0], [0])
    assert intervals((0.0, 1.0), (1.0, 0.0), [[1, 0], [0, 1], [0, 1]]) == ([0.0, 0.5, 1.0], [1, 0])


def test_a_tie_at_the_start_is_decided_by_what_comes_after():
    assert intervals((1.0, 1.0), (1.0, 2.0)) == ([0.0, 1.0], [1])


def test_a_tie_at_a_breakpoint_alone_changes_nothing():
    t, labels = class_intervals(made_of([0, 0.5, 1], [[0, 1], [1, 1], [0, 1]]))
    assert (t.tolist(), labels.tolist()) == ([0.0, 1.0], [1])


def test_a_change_at_a_breakpoint_is_found_once():
    t, labels = class_intervals(made_of([0, 0.25, 1], [[2, 0], [1, 1], [0, 2]]))
    assert (t.tolist(), labels.tolist()) == ([0.0, 0.25, 1.0], [0, 1])


def test_a_line_of_length_zero_has_one_class():
    assert intervals((0.0, 3.0), (0.0, 3.0)) == ([0.0, 1.0], [1])


def test_forward_passes_inside_the_intervals_agree():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    images, _ = pwlnet.datasets.digits_images()
    lines = pwlnet.partition_lines(network, 3 * images[:20] - 1, 2 - 3 * images[20:40])
    n_intervals = 0
    for part in lines.parts:
        t, labels = class_intervals(part)
        assert (np.diff(t) > 0).all()
        assert (np.diff(labels) != 0).all()
        assert (t[0], t[-1]) == (0.0, 1.0)
        for inside in (0.001, 0.5, 0.999):
            at = t[:-1] + inside * np.diff(t)
            points = part.start + at[:, None] * (part.end - part.start)
            np.testing.assert_array_equal(network.forward(points).argmax(axis=1), labels)
        n_intervals += len(labels)
    assert n_intervals > 40
    boundary = part.start + t[1:-1, None] * (part.end - part.start)
    two = np.sort(network.forward(boundary), axis=1)[:, -2:]
    np.testing.assert_allclose(two[:, 0], two[:, 1], rtol=1e-9)
