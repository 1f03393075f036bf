"""Fixed and float paths: exact sums over paths, identities of the decomposition, numbers of paths."""

import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError, ShapeError
from pwlnet.float_sets import Scope, make_float_set
from tests.counts import few
from tests.described import to_network
from tests.drawn import draw
from tests.reference import exact_paths
from tests.reference.description import point_states
from tests.reference.random_cases import random_case
from tests.reference.random_networks import KINDS

CLOSE = 1e-12


def assert_close(actual, expected, *terms):
    """Equal relative to the largest number involved."""
    scale = max([1.0, *(np.abs(x).max(initial=0.0) for x in (actual, expected, *terms))])
    assert np.abs(actual - expected).max(initial=0.0) <= CLOSE * scale


def dense(weights, biases, activation="relu", **options):
    """A fully connected network: affine layers with the same activation between them."""
    graph = Graph((weights[0].shape[1],), batched=False)
    x = graph.input
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = graph.linear(x, w, b, name=f"layer{k}")
        if k < len(weights) - 1:
            x = getattr(graph, activation)(x, **options, name=f"act{k}")
    graph.output = x
    return lower(graph)


@functools.cache
def small():
    """A network 3-4-4-2 with its weights and biases."""
    rng, sizes = np.random.default_rng(7), (3, 4, 4, 2)
    weights = [rng.normal(size=(m, n)) for n, m in itertools.pairwise(sizes)]
    biases = [rng.normal(size=m) for m in sizes[1:]]
    return dense(weights, biases), weights, biases


def cases(n, seed=0, **options):
    """Random networks over all ops, with points and masks of float neurons for each point."""
    for k in range(seed, seed + n):
        _, network, points = draw(k, generic=True, **options)
        yield network, points, np.random.default_rng(k).random((len(points), network.n_neurons)) < (0.1, 0.4, 0.8)[k % 3]


def enumerate_paths(x, states, floats):
    """Sums over all paths of the network 3-4-4-2 by number of float neurons, one path at a time; and their numbers."""
    _, weights, biases = small()
    sums, counts = np.zeros((3, 2)), [0, 0, 0]
    gates = [states[:4], states[4:]]
    floating = [floats[:4], floats[4:]]
    for start in range(4):  # the layer whose neuron the path enters first; 0: from an input, else from the bias of layer start
        sources = range(3) if start == 0 else [None]
        for source in sources:
            first = max(0, start - 1)
            for nodes in itertools.product(*[range(4)] * (2 - first), range(2)):
                value = x[source] * weights[0][nodes[0], source] if start == 0 else biases[first][nodes[0]]
                n_float = 0
                for layer, (a, b) in enumerate(itertools.pairwise(nodes), start=first):
                    value *= gates[layer][a] * weights[layer + 1][b, a]
                    n_float += floating[layer][a]
                sums[n_float, nodes[-1]] += value
                counts[n_float] += 1
    return sums, counts


def test_the_parts_and_the_coefficients_are_the_sums_over_enumerated_paths():
    network, _, _ = small()
    rng = np.random.default_rng(0)
    for x in rng.normal(size=(5, 3)):
        floats = rng.random(8) < 0.5
        sums, counts = enumerate_paths(x, network.states(x[None])[0], floats)
        parts = pwlnet.decompose_paths(network, x, floats)
        assert_close(parts.fixed[0], sums[0])
        assert_close(parts.float_[0], sums[1:].sum(axis=0))
        assert_close(pwlnet.path_polynomial(network, x, floats)[0], sums)
        numbers = pwlnet.count_paths(network, floats)
        both = zip(numbers.inputs.by_float, numbers.constants.by_float, strict=True)
        assert [a + b for a, b in both] == counts
        assert (numbers.total, numbers.fixed, numbers.float_) == (sum(counts), counts[0], sum(counts[1:]))


@pytest.mark.parametrize("seed", range(few(300, 5)))
def test_sums_over_paths_of_random_networks_are_those_of_exact_arithmetic(seed):
    """Over all ops, with ties, duplicate and zero rows; states in exact arithmetic."""
    description, starts, _ = random_case(seed)
    network = to_network(description)
    floats = np.random.default_rng(seed).random((len(starts), network.n_neurons)) < 0.4
    states = network.states(starts)
    polynomial = pwlnet.path_polynomial(network, starts, floats)
    parts = pwlnet.decompose_paths(network, starts, floats)
    for b, x in enumerate(starts):
        if states[b].tolist() != point_states(description, x):
            continue  # an average of thirds is not exact in float64
        sums = np.array(exact_paths.contributions(description, x, states[b].tolist(), floats[b].tolist()), float).T
        assert_close(polynomial[b], sums)
        assert_close(parts.fixed[b], sums[0], sums)
        assert_close(parts.float_[b], sums[1:].sum(axis=0), sums)


@pytest.mark.parametrize("seed", range(few(300, 5)))
def test_outputs_with_live_gates_are_those_of_exact_arithmetic(seed):
    description, starts, _ = random_case(seed)
    network = to_network(description)
    floats = np.random.default_rng(seed).random(network.n_neurons) < 0.3
    for factor in (0.0, 0.5):
        scaled = pwlnet.scale_float_paths(network, starts, floats, factor, gates="live")
        exact = [exact_paths.live_outputs(description, x, floats.tolist(), Fraction(factor)) for x in starts]
        assert_close(scaled, np.array(exact, float))
        if factor == 0.0:
            parts = pwlnet.decompose_paths(network, starts, floats, gates="live")
            assert np.array_equal(parts.fixed, scaled)
            assert np.array_equal(parts.fixed + parts.float_, scaled + (parts.outputs - scaled))


def test_the_parts_add_up_to_the_outputs():
    for network, points, floats in cases(few(100)):
        parts = pwlnet.decompose_paths(network, points, floats)
        assert_close(parts.fixed + parts.float_, network.forward(points), parts.float_)
        assert np.array_equal(parts.outputs, network.forward(points))


def test_without_float_neurons_the_float_part_is_zero_and_the_fixed_part_has_the_bits_of_the_outputs():
    for network, points, _ in cases(few(50)):
        for gates in ("frozen", "live"):
            parts = pwlnet.decompose_paths(network, points, np.zeros(network.n_neurons, bool), gates=gates)
            assert not parts.float_.any()
            assert np.array_equal(parts.fixed, network.forward(points))


def test_if_all_neurons_float_the_fixed_part_is_the_last_bias():
    network, _, biases = small()
    for gates in ("frozen", "live"):
        parts = pwlnet.decompose_paths(network, np.ones((2, 3)), np.ones(8, bool), gates=gates)
        assert np.array_equal(parts.fixed, [biases[-1]] * 2)


def test_the_affine_map_of_the_fixed_part_gives_its_values():
    for network, points, floats in cases(few(60)):
        for gates in ("frozen", "live"):
            parts = pwlnet.decompose_paths(network, points, floats, gates=gates, maps=True)
            assert_close(np.einsum("bod,bd->bo", parts.A, points) + parts.c, parts.fixed, parts.c)
            assert parts.A.shape == (len(points), network.n_outputs, network.n_inputs)


def spread(network, x, radius, n=12):
    """Points around x, symmetric about it, and the neurons that do not have one state at all of them."""
    noise = radius * np.random.default_rng(0).uniform(-1.0, 1.0, (n, x.size))
    points = np.concatenate([x[None], x + noise, x - noise])
    states = network.states(points)
    return points, (states != states[0]).any(axis=0)


def test_the_fixed_part_is_one_affine_map_on_a_set_and_the_outputs_are_not():
    differs = []
    for network, points, _ in cases(few(60)):
        sample, floats = spread(network, points[0], 0.5)
        parts = pwlnet.decompose_paths(network, sample, floats)
        assert_close(parts.A, np.broadcast_to(parts.A[:1], parts.A.shape))
        assert_close(sample @ parts.A[0].T + parts.c[0], parts.fixed, parts.c)
        differs.append(np.abs(sample @ parts.A[0].T + parts.c[0] - parts.outputs).max() > 0.001)
    assert any(differs)


def test_the_fixed_part_of_a_mean_over_symmetric_noise_is_the_fixed_part_of_its_centre():
    for network, points, _ in cases(few(60), seed=1000):
        sample, floats = spread(network, points[0], 0.5)
        fixed = pwlnet.decompose_paths(network, sample, floats).fixed
        assert_close(fixed[1:].mean(axis=0), fixed[0], fixed)


def test_between_two_points_the_fixed_part_changes_by_its_matrix_times_their_difference():
    for network, points, _ in cases(few(60)):
        states = network.states(points)
        parts = pwlnet.decompose_paths(network, points[:2], states[0] != states[1])
        assert_close(parts.fixed[1] - parts.fixed[0], parts.A[0] @ (points[1] - points[0]), parts.fixed)
        assert_close(parts.A[0], parts.A[1])


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0, -0.5, 2.0])
def test_scaled_outputs_are_the_polynomial_at_the_factor(lam):
    for network, points, floats in cases(few(40)):
        coefficients = pwlnet.path_polynomial(network, points, floats)
        terms = coefficients * lam ** np.arange(coefficients.shape[1])[:, None]
        assert_close(pwlnet.scale_float_paths(network, points, floats, lam), terms.sum(axis=1), terms)


def test_the_polynomial_has_a_degree_of_the_number_of_switching_ops_on_the_longest_path():
    for seed in range(few(40)):
        description, network, points = draw(seed, generic=True)
        floats = np.ones(network.n_neurons, bool)
        assert pwlnet.path_polynomial(network, points, floats).shape[1] == exact_paths.depth(description) + 1


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("lam", [0.0, 0.5, 2.0])
def test_scaling_pre_activations_is_the_same_as_scaling_outputs_of_leaky_relus(slope, lam):
    _, weights, biases = small()
    network = dense(weights, biases, "leaky_relu", slope=slope)
    rng = np.random.default_rng(1)
    points, floats = rng.normal(size=(20, 3)), rng.random((20, 8)) < 0.5
    scaled = points
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        scaled = scaled @ w.T + b
        if k < 2:
            scaled = np.where(floats[:, 4 * k : 4 * k + 4], lam * scaled, scaled)
            scaled = np.where(scaled > 0, scaled, slope * scaled)
    assert_close(pwlnet.scale_float_paths(network, points, floats, lam, gates="live"), scaled)


def test_live_gates_change_where_repressed_neurons_switch_others():
    """relu(relu(x) - 1) at x = 3: without the first neuron, the second one is off; its frozen gate passes the bias on."""
    network = dense([np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1))], [np.zeros(1), -np.ones(1), np.zeros(1)])
    floats = np.array([True, False])
    frozen, live = (pwlnet.decompose_paths(network, [3.0], floats, gates=gates) for gates in ("frozen", "live"))
    assert (frozen.fixed.item(), frozen.float_.item()) == (-1.0, 3.0)
    assert (live.fixed.item(), live.float_.item()) == (0.0, 2.0)
    assert frozen.states.tolist() == [[1, 1]]
    assert live.states.tolist() == [[1, 0]]


def test_the_value_of_a_saturated_clip_belongs_to_the_neuron():
    network = dense([np.ones((1, 1)), np.ones((1, 1))], [np.zeros(1), np.zeros(1)], "clip", lower=-1.0, upper=2.0)
    for x, value in ((5.0, 2.0), (-5.0, -1.0), (0.5, 0.5)):
        fixed = pwlnet.decompose_paths(network, [x], np.array([False]), maps=True)
        floating = pwlnet.decompose_paths(network, [x], np.array([True]), maps=True)
        assert (fixed.fixed.item(), fixed.float_.item(), floating.fixed.item(), floating.float_.item()) == (value, 0, 0, value)
        assert (fixed.A.item(), fixed.c.item()) == ((1.0, 0.0) if value == 0.5 else (0.0, value))
        assert pwlnet.path_polynomial(network, [x], np.array([True])).ravel().tolist() == [0.0, value]


def test_the_results_do_not_depend_on_the_batch_or_the_number_of_threads():
    for network, _, _ in cases(few(10, 1, quick=5)):
        points = np.random.default_rng(0).normal(size=(70, network.n_inputs))
        floats = np.random.default_rng(1).random((70, network.n_neurons)) < 0.5
        whole = pwlnet.decompose_paths(network, points, floats, threads=2, maps=True)
        single = pwlnet.decompose_paths(network, points[40:41], floats[40:41], maps=True)
        for name in ("fixed", "float_", "outputs", "states", "A", "c"):
            assert np.array_equal(getattr(whole, name)[40:41], getattr(single, name))
        polynomial = pwlnet.path_polynomial(network, points, floats, threads=2)
        assert np.array_equal(polynomial[40:41], pwlnet.path_polynomial(network, points[40:41], floats[40:41]))


def test_a_float_set_counts_neurons_as_float_that_are_not_proved_to_be_fixed():
    network, _, _ = small()
    lower, upper = np.arange(8) < 2, np.arange(8) < 5
    float_set = make_float_set(network, lower, upper, np.zeros(8), method="test", scope=Scope.GIVEN)
    x = np.ones((2, 3))
    from_set, from_mask = (pwlnet.decompose_paths(network, x, m).fixed for m in (float_set, upper))
    assert np.array_equal(from_set, from_mask)
    assert pwlnet.count_paths(network, float_set) == pwlnet.count_paths(network, upper)


def test_the_mask_of_a_result_does_not_change_with_that_of_the_caller():
    network, _, _ = small()
    floats = np.zeros(8, bool)
    parts = pwlnet.decompose_paths(network, np.ones((1, 3)), floats)
    floats[:] = True
    assert_close(np.einsum("bod,d->bo", parts.A, np.ones(3)) + parts.c, parts.fixed)


@pytest.mark.parametrize("seed", range(few(100, 10)))
def test_the_numbers_of_paths_from_inputs_are_those_of_the_connections(seed):
    """Without gathers, which the conversion may make a part of the next fully connected layer."""
    description, network, _ = draw(seed, generic=True, kinds=tuple(kind for kind in KINDS if kind != "gather"))
    floats = np.random.default_rng(seed).random(network.n_neurons) < 0.5
    counts = pwlnet.count_paths(network, floats).inputs
    assert list(counts.by_float) == exact_paths.input_paths(description, floats.tolist())


def test_the_fixed_share_of_paths_of_a_deep_network_is_the_product_of_the_layers():
    """90 % of each of 15 layers fixed leaves 21 % of the paths; the numbers need more than 64 bits."""
    sizes = [10] * 16 + [2]
    network = dense([np.zeros((m, n)) for n, m in itertools.pairwise(sizes)], [np.zeros(m) for m in sizes[1:]])
    counts = pwlnet.count_paths(network, np.arange(150) % 10 == 3)
    assert counts.inputs.total == 10**16 * 2
    assert counts.inputs.fixed == 10 * 9**15 * 2
    assert counts.inputs.by_float[4] == 10 * math.comb(15, 4) * 9**11 * 2
    assert counts.constants.total == 2 * sum(10**k for k in range(16))
    assert round(100 * counts.inputs.fixed / counts.inputs.total) == 21
    assert all(type(n) is int for n in (*counts.inputs.by_float, *counts.constants.by_float))


def test_constants_of_biases_clips_and_gathers_start_paths():
    graph = Graph((2,), batched=False)
    x = graph.layout(graph.input, np.array([0, -1, 1]), fill=2.0, name="gather")  # one constant
    x = graph.clip(x, 0.0, 1.0, name="clip")  # three values of clips
    graph.output = graph.linear(x, np.zeros((2, 3)), name="last")  # two biases
    counts = pwlnet.count_paths(lower(graph), np.array([False, True, False]))
    assert counts.inputs.by_float == (4, 0)
    assert counts.constants.by_float == (2 * 2 + 2, 2 * 2)


def test_a_network_without_neurons_has_fixed_paths_only():
    graph = Graph((2,), batched=False)
    graph.output = graph.linear(graph.input, np.ones((3, 2)), name="only")
    network, none = lower(graph), np.zeros(0, bool)
    parts = pwlnet.decompose_paths(network, np.ones((4, 2)), none)
    assert np.array_equal(parts.fixed, network.forward(np.ones((4, 2))))
    assert pwlnet.path_polynomial(network, np.ones((4, 2)), none).shape == (4, 1, 3)
    assert pwlnet.count_paths(network, none).inputs.by_float == (6,)


def test_no_rows_give_no_rows():
    network, _, _ = small()
    parts = pwlnet.decompose_paths(network, np.zeros((0, 3)), np.zeros((0, 8), bool), maps=True)
    assert parts.fixed.shape == parts.float_.shape == parts.c.shape == (0, 2)
    assert parts.A.shape == (0, 2, 3)


def test_bad_arguments_are_refused_with_what_was_given():
    network, _, _ = small()
    x, floats = np.ones((2, 3)), np.zeros(8, bool)
    with pytest.raises(
        ShapeError, match=r"float_mask has shape \(7,\), but there are 2 rows and 8 neurons; give \(8,\) or \(2, 8\)"
    ):
        pwlnet.decompose_paths(network, x, floats[:7])
    with pytest.raises(InputError, match="float_mask has dtype int64; give booleans"):
        pwlnet.path_polynomial(network, x, floats.astype(np.int64))
    with pytest.raises(InputError, match="gates is 'alive'; the choices are 'frozen', 'live'"):
        pwlnet.decompose_paths(network, x, floats, gates="alive")
    with pytest.raises(InputError, match="lam is nan"):
        pwlnet.scale_float_paths(network, x, floats, np.nan)
    with pytest.raises(ShapeError, match="but there are 1 rows and 8 neurons"):
        pwlnet.count_paths(network, np.zeros((2, 8), bool))
    with pytest.raises(InputError, match="NaN or infinite"):
        pwlnet.decompose_paths(network, [[np.nan, 0.0, 0.0]], floats)
