"""Which neurons are exactly at a threshold: every switching op, at points where float64 arithmetic is exact."""

import numpy as np
import pytest

from pwlnet.analysis import path_passes
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.warmup import toy_network


def one_op(kind, *arguments):
    """A network of a single switching op on three channels of one row of two pixels."""
    graph = Graph((3, 1, 2), batched=False)
    graph.output = getattr(graph, kind)(graph.input, *arguments, name="op")
    return lower(graph)


X = np.array([[0.0, -0.0], [1.0, -1.0], [5e-324, -5e-324]])


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("relu", (), [1, 1, 0, 0, 0, 0]),
        ("leaky_relu", (0.5,), [1, 1, 0, 0, 0, 0]),
        ("leaky_relu", (np.array([[[1.0]], [[0.0]], [[-1.0]]]),), [1, 1, 0, 0, 0, 0]),
        ("clip", (-1.0, 1.0), [0, 0, 1, 1, 0, 0]),
        ("clip", (0.0, np.inf), [1, 1, 0, 0, 0, 0]),
        ("clip", (-np.inf, 1.0), [0, 0, 1, 0, 0, 0]),
        ("max_pool", ((1, 2),), [1, 0, 0]),
    ],
)
def test_a_neuron_is_at_a_threshold_if_and_only_if_its_value_is_one(kind, arguments, expected):
    network = one_op(kind, *arguments)
    states, at_threshold = path_passes.states_and_thresholds(network, X.reshape(1, -1))
    assert at_threshold.astype(int).tolist() == [expected]
    assert np.array_equal(states, network.states(X.reshape(1, -1)))


def test_a_window_with_a_single_tap_is_never_at_a_threshold():
    network = one_op("max_pool", (1, 1))
    assert not path_passes.states_and_thresholds(network, np.zeros((1, 6)))[1].any()


@pytest.mark.parametrize("n", [0, 1, 33])
def test_rows_have_the_results_of_single_rows(n):
    network = toy_network()
    points = np.random.default_rng(n).integers(-1, 2, (n, network.n_inputs)).astype(np.float64)
    states, at_threshold = path_passes.states_and_thresholds(network, points, threads=2)
    assert states.shape == at_threshold.shape == (n, network.n_neurons)
    for k in range(0, n, 8):
        single = path_passes.states_and_thresholds(network, points[k : k + 1])
        assert np.array_equal(states[k], single[0][0])
        assert np.array_equal(at_threshold[k], single[1][0])
