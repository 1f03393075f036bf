"""Counts of states over draws and comparisons of pairs: against forward passes, however the work is divided."""

import tracemalloc

import numpy as np
import pytest

import pwlnet
from pwlnet.analysis import float_counts
from pwlnet.analysis.float_counts import compare_pairs, count_states
from pwlnet.analysis.right_states import right_states
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.draws import draw_points, make_draws
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.drawn import draw

SEEDS = range(few(60, 3, quick=12))


def expected_counts(network, draws, n):
    """Counts of strict states, from forward passes and pre-activations: int64[B, M + 1, K]."""
    n_sets, most = len(draws.centers), int(max(float_counts._n_states(network), default=1))
    counts = np.zeros((n_sets, most + 1, network.n_neurons), np.int64)
    neurons = np.arange(network.n_neurons)
    for b in range(n_sets):
        points = draw_points(draws, np.full(n, b), np.arange(n))
        states = network.states(points)
        for row, x in zip(states, points, strict=True):
            right = right_states(network, x[None], row[None], neurons)
            several = right.sum(axis=0) > 1
            counts[b, np.where(several, most, row), neurons] += 1
    return counts


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_those_of_forward_passes_on_random_networks(seed):
    """Integer networks and corners of boxes with few bits: the arithmetic is exact, and many neurons are at thresholds."""
    _, network, points = draw(seed, degenerate=seed % 2 == 1)
    if not network.n_neurons:
        pytest.skip("no neurons")
    box = pwlnet.Box(points - 1.0, points + 1.0)
    draws = make_draws(network, box, draws="corners", seed=seed)
    expected = expected_counts(network, draws, 40)
    for dtype in ("float64", "float32"):
        result = count_states(network, draws, 40, dtype=dtype, threads=1)
        assert np.array_equal(result.counts, expected)
        assert np.array_equal(result.firsts[:, :-1] >= 0, expected[:, :-1] > 0)


def test_first_draws_have_the_state_and_no_draw_before_them_has():
    network = toy_network()
    draws = make_draws(network, pwlnet.Gaussian(np.random.default_rng(0).normal(size=(2, network.n_inputs)), 0.5))
    result = count_states(network, draws, 70, dtype="float64", threads=1)
    for b in range(2):
        states = network.states(draw_points(draws, np.full(70, b), np.arange(70)))
        for s in range(result.firsts.shape[1] - 1):
            has = states == s
            expected = np.where(has.any(axis=0), has.argmax(axis=0), -1)
            assert np.array_equal(result.firsts[b, s], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_depend_neither_on_threads_nor_on_the_division_of_draws_and_sets(dtype, monkeypatch):
    network = toy_network()
    centers = np.random.default_rng(1).normal(size=(3, network.n_inputs))
    draws = make_draws(network, pwlnet.Gaussian(centers, 0.3), seed=1)
    expected = count_states(network, draws, 333, dtype=dtype, threads=1)
    assert (expected.counts.sum(axis=1) == 333).all()
    for work, threads in ((1, 1), (1, 3), (2**40, 2)):
        monkeypatch.setattr(float_counts, "WORK_PER_CALL", work)
        result = count_states(network, draws, 333, dtype=dtype, threads=threads)
        assert all(np.array_equal(a, b) for a, b in zip(result, expected, strict=True))
    for b in range(3):
        alone = make_draws(network, pwlnet.Gaussian(centers[b], 0.3), seed=1, first_set=b)
        assert np.array_equal(count_states(network, alone, 333, dtype=dtype).counts[0], expected.counts[b])
    chosen = count_states(network, draws, 333, dtype=dtype, sets=np.array([2, 0]))
    assert np.array_equal(chosen.counts, expected.counts[[2, 0]])


@pytest.mark.skipif("few(10, 1) == 1", reason="kernels as Python are too slow")
def test_a_hundred_thousand_draws_take_no_memory_for_each():
    network = toy_network()
    draws = make_draws(network, pwlnet.Gaussian(np.zeros(network.n_inputs), 0.3))
    count_states(network, draws, 100, threads=1)
    tracemalloc.start()
    result = count_states(network, draws, 100_000, threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (result.counts.sum(axis=1) == 100_000).all()
    assert peak < 8 * 100_000  # a byte per draw and neuron would be a hundred times as much


def one_layer(weight, bias=None):
    graph = Graph((1, np.shape(weight)[1]), batched=True)
    x = graph.relu(graph.linear(graph.input, np.array(weight, float), bias, name="first"), name="relu")
    graph.output = graph.linear(x, np.ones((1, x.size)), name="last")
    return lower(graph)


@pytest.mark.parametrize("factor", [1e-30, 1e30, 1e200])
def test_values_outside_the_range_of_float32_are_counted_in_float64(factor):
    weight = np.array([[factor, 0.0], [0.0, -factor]])
    graph = Graph((1, 2), batched=True)
    x = graph.relu(graph.linear(graph.input, weight, name="first"), name="relu")
    x = graph.relu(graph.linear(x, weight, name="second"), name="relu2")
    graph.output = graph.linear(x, np.ones((1, 2)), name="last")
    network = lower(graph)
    draws = make_draws(network, pwlnet.Gaussian(np.zeros(2), 1.0))
    single, double = (count_states(network, draws, 64, dtype=dtype) for dtype in ("float32", "float64"))
    assert all(np.array_equal(a, b) for a, b in zip(single, double, strict=True))
    assert (np.count_nonzero(double.counts[0, :2, :2], axis=0) == 2).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pair_fixes_the_neurons_with_the_same_single_right_state_at_both_points(seed):
    _, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=34)
    if not network.n_neurons:
        pytest.skip("no neurons")
    first, second = points[:17], points[17:]
    neurons, states = np.arange(network.n_neurons), network.states(points)
    expected = np.empty((17, network.n_neurons), bool)
    for row in range(17):
        right = [right_states(network, points[k][None], states[k][None], neurons) for k in (row, 17 + row)]
        single = (right[0].sum(axis=0) == 1) & (right[1].sum(axis=0) == 1)
        expected[row] = ~(single & (states[row] == states[17 + row]))
    for dtype in ("float64", "float32"):
        floats, at_first = compare_pairs(network, first, second, dtype=dtype, threads=2)
        assert np.array_equal(floats, expected)
        assert np.array_equal(at_first, states[:17])
        assert np.array_equal(compare_pairs(network, first[5:9], second[5:9], dtype=dtype, states=False)[0], expected[5:9])


def test_pairs_agree_with_torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 9), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers).double()
    network = pwlnet.from_torch(module, (2, 6, 6))
    x = torch.randn(2, 20, 2, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        z = [torch.cat([module[:1](y).flatten(1), module[:4](y)], dim=1) for y in x]
    floats, _ = compare_pairs(network, *x.numpy().reshape(2, 20, -1))
    assert np.array_equal(floats, (z[0] * z[1] <= 0).numpy())


def test_a_network_without_neurons_has_none_that_float():
    graph = Graph((1, 3), batched=True)
    graph.output = graph.linear(graph.input, np.ones((1, 3)), name="only")
    network = lower(graph)
    draws = make_draws(network, pwlnet.Gaussian(np.zeros(3), 1.0))
    assert count_states(network, draws, 5).counts.shape == (1, 2, 0)
    assert compare_pairs(network, np.zeros((2, 3)), np.ones((2, 3)))[0].shape == (2, 0)


def test_a_neuron_that_is_zero_everywhere_has_no_state():
    network = one_layer([[0.0, 0.0], [1.0, 0.0]])
    counts = count_states(network, make_draws(network, pwlnet.Gaussian(np.zeros(2), 1.0)), 10).counts
    assert counts[0, :, 0].tolist() == [0, 0, 10]
    assert counts[0, 2, 1] == 0
