"""Cells of boxes against exact arithmetic, exact planes and closed forms."""

import itertools
import math

import numpy as np
import pytest

import pwlnet
from pwlnet.conditions import HalfSpaces
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower as lower_graph
from pwlnet.partition.regions.exploring import explore
from tests.counts import few
from tests.described import live, to_network
from tests.reference.description import SWITCHING, shapes
from tests.reference.exact_cells import meets, patterns, random_box, ranges
from tests.reference.random_networks import DYADIC_SLOPES, random_network

LOOSEST = 1e-9  # errors of ranges


def fully_connected(weights, biases):
    """Make a ReLU network."""
    graph = Graph((len(weights[0][0]),), batched=False)
    x = graph.input
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = graph.linear(x, np.asarray(weight, float), np.asarray(bias, float), name=f"layer{k}")
        if k + 1 < len(weights):
            x = graph.relu(x, name=f"relu{k}")
    graph.output = x
    return lower_graph(graph)


def random_relu(seed, sizes, scale=0.3):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) / math.sqrt(a) for a, b in itertools.pairwise(sizes)]
    return fully_connected(weights, [scale * rng.normal(size=b) for b in sizes[1:]])


def drawn(seed, n_free, most=24):
    """Draw a network over all ops, and a box; networks of odd seeds are degenerate."""
    rng = np.random.default_rng([seed, n_free, 3])
    while True:
        description = live(random_network(rng, degenerate=seed % 2 == 1, depth=(1, 3), width=(n_free, 6), slopes=DYADIC_SLOPES))
        sizes = [int(np.prod(shape)) for shape in shapes(description)]
        neurons = sum(n for node, n in zip(description, sizes, strict=True) if node["kind"] in SWITCHING)
        if sizes[0] >= n_free and neurons <= most:
            return (description, *random_box(rng, description, n_free))


def patterns_of(network, run):
    states = pwlnet.ActivationPatterns(run.packed, network.pattern_layout).unpack()
    return list(map(tuple, states.tolist()))


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 6])
def test_a_generic_layer_has_the_number_of_cells_of_an_arrangement(dimensions):
    """Zaslavsky: n hyperplanes in general position, all of whose vertices are in the box."""
    n = 9 if dimensions < 6 else 8
    network = random_relu(dimensions, [dimensions, n, 1])
    run = explore(network, np.full(dimensions, -1e5), np.full(dimensions, 1e5), certify=True)
    assert run.complete and run.n_undecided == 0
    assert run.n_cells == sum(math.comb(n, k) for k in range(dimensions + 1))


@pytest.mark.parametrize("first", range(0, few(600, 4, quick=12), 4))
def test_patterns_in_three_dimensions_are_the_exact_ones(first):
    """All ops, half of the networks degenerate, some inputs fixed."""
    for seed in range(first, first + 4):
        description, lower, upper = drawn(seed, 3, most=14)
        network = to_network(description)
        run = explore(network, lower, upper, want="patterns", threads=1)
        actual, expected = patterns_of(network, run), patterns(description, lower, upper)
        assert len(actual) == len(set(actual)) == run.n_cells, seed
        assert set(actual) == expected, seed


def test_patterns_in_four_dimensions_are_the_exact_ones():
    for seed in range(few(40, 1, quick=4)):
        description, lower, upper = drawn(seed, 4, most=9)
        network = to_network(description)
        run = explore(network, lower, upper, want="patterns", certify=True, threads=1)
        actual = patterns_of(network, run)
        assert len(actual) == run.n_cells and set(actual) == patterns(description, lower, upper), seed
        assert run.n_undecided == 0, seed


@pytest.mark.parametrize("dimensions", [5, 6])
def test_patterns_of_points_in_five_and_six_dimensions_are_in_the_list(dimensions):
    network = random_relu(dimensions, [dimensions, 8, 7, 2])
    run = explore(network, np.full(dimensions, -1.0), np.full(dimensions, 1.0), want="patterns")
    assert len(np.unique(run.packed, axis=0)) == run.n_cells > 500
    assert np.array_equal(network.patterns(run.witnesses).packed, run.packed)
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (5000, dimensions))
    assert {p.tobytes() for p in network.patterns(points).packed} <= {p.tobytes() for p in run.packed}


@pytest.mark.parametrize("first", range(0, few(1000, 20, quick=40), 20))
def test_patterns_in_two_dimensions_are_those_of_planes(first):
    for seed in range(first, first + 20):
        description, lower, upper = drawn(seed, 2, most=60)
        network = to_network(description)
        run = explore(network, lower, upper, want="patterns", threads=1)
        actual = patterns_of(network, run)
        origin, axes = lower.copy(), np.eye(len(lower))[run.free]
        origin[run.free] = 0.0
        (a, b), (c, d) = lower[run.free], upper[run.free]
        polygon = np.array([[a, b], [c, b], [c, d], [a, d]])
        part = pwlnet.partition_planes(network, origin, *axes, polygon, threads=1).parts[0]
        assert sorted(actual) == sorted(map(tuple, part.patterns().unpack().tolist())), seed


def test_ranges_are_the_exact_ones_within_their_errors():
    """Least and largest pre-activations and outputs, with points where they are attained."""
    for seed in range(few(200, 5, quick=10)):
        description, lower, upper = drawn(seed, 2 + seed % 2, most=12)
        network = to_network(description)
        run = explore(network, lower, upper, want=("ranges", "outputs"), threads=1)
        expected = ranges(description, lower, upper)
        for actual, pairs in zip((run.ranges, run.outputs), expected, strict=True):
            exact = np.array([[float(a), float(b)] for a, b in pairs]).reshape(-1, 2)
            assert (np.abs(exact[:, 0] - actual.lower) <= actual.error).all(), seed
            assert (np.abs(exact[:, 1] - actual.upper) <= actual.error).all(), seed
            assert (actual.error <= LOOSEST * (1.0 + np.abs(exact).max(axis=1, initial=0.0).max(initial=0.0))).all(), seed
        at = network.preactivations(run.ranges.upper_at[:, None].reshape(-1, network.n_inputs))
        size = 1.0 + np.abs(run.ranges.upper).max(initial=0.0)
        assert np.abs(np.diagonal(at) - run.ranges.upper).max(initial=0.0) <= 1e-10 * size, seed
        at = network.forward(run.outputs.lower_at)
        assert np.abs(np.diagonal(at) - run.outputs.lower).max(initial=0.0) <= 1e-10 * size * 100, seed


def test_states_are_those_of_the_exact_patterns():
    for seed in range(few(200, 5, quick=10)):
        description, lower, upper = drawn(seed, 2 + seed % 2, most=12)
        network = to_network(description)
        signs = explore(network, lower, upper, want="signs", threads=1).signs
        exact = np.array(sorted(patterns(description, lower, upper)))
        fixed = (exact == exact[0]).all(axis=0)
        assert np.array_equal(signs.states, np.where(fixed, exact[0], -1)), seed
        assert np.array_equal(np.isnan(signs.witnesses).any(axis=(1, 2)), fixed), seed
        for k in np.flatnonzero(~fixed):
            first, second = network.states(signs.witnesses[k])[:, k]
            assert first != second, (seed, k)


def test_conditions_are_met_where_they_are_exactly():
    met = missed = 0
    for seed in range(few(300, 5, quick=15)):
        description, lower, upper = drawn(seed, 2 + seed % 2, most=12)
        network, rng = to_network(description), np.random.default_rng(seed)
        n_rows = int(rng.integers(1, 4))
        A = rng.integers(-2, 3, (n_rows, network.n_outputs)).astype(float)
        center = network.forward(lower + rng.random(len(lower)) * (upper - lower))[0]
        b = np.round(A @ center + rng.choice((-2.0, -0.5, 0.0, 0.5), n_rows))
        if seed % 3 == 0:  # equations
            A, b = np.vstack([A, -A[:1]]), np.append(b, -b[0])
        condition = HalfSpaces(A, b)
        found = explore(network, lower, upper, condition=condition, threads=1).condition
        somewhere, inside = meets(description, lower, upper, A, b)
        if inside:
            met += 1
            assert found.n_met > 0 and found.margins[0] <= 0.0, seed
            assert condition.margins(network.forward(found.witnesses[:1]))[0] <= 1e-9, seed
        elif somewhere:
            assert found.n_met + found.n_boundary > 0, seed
        else:
            missed += 1
            assert found.n_met == 0, seed
            assert found.n_boundary > 0 or found.clearance > 0.0, seed
            if n_rows == len(A) == 1:
                assert found.n_boundary == 0, seed
    assert met > 0 and missed > 0
