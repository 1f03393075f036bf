"""Bounds on numbers of regions: the recursions of the papers, closed forms, constructions that attain them, and counts."""

import math

import numpy as np
import pytest

import pwlnet
from pwlnet.analysis.region_bounds import implied_scale
from pwlnet.errors import InputError, ShapeError
from tests.counts import few
from tests.described import live, to_network
from tests.partition.regions.test_exact import fully_connected, random_relu
from tests.reference.exact_cells import patterns, random_box
from tests.reference.random_networks import DYADIC_SLOPES, random_network


def serra(widths):
    """The sum of Serra et al. over all (j_1, ..., j_L), one by one."""
    n_inputs, *hidden = widths

    def parts(layer, dimension):
        if layer == len(hidden):
            return 1
        n = hidden[layer]
        terms = range(min(dimension, n) + 1)
        return sum(math.comb(n, j) * parts(layer + 1, min(dimension, n - j)) for j in terms)

    return parts(0, n_inputs)


def montufar(widths):
    """The product of Montufar, with the smallest width before each layer."""
    return math.prod(
        sum(math.comb(n, j) for j in range(min(widths[: k + 1]) + 1)) for k, n in enumerate(widths[1:])
    )  # fmt: skip


def test_the_bounds_are_those_of_the_papers():
    rng = np.random.default_rng(0)
    for _ in range(few(500, 50)):
        widths = tuple(rng.integers(1, 8, rng.integers(1, 6)).tolist())
        bounds = pwlnet.bound_region_count(widths)
        assert (bounds.serra, bounds.montufar) == (serra(widths), montufar(widths)), widths
        assert bounds.states == 2 ** sum(widths[1:]) and bounds.upper == min(bounds[1:4])
        lower, upper = pwlnet.largest_region_count(widths)
        assert 1 <= lower <= upper == bounds.upper, widths


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_one_generic_layer_attains_the_bound(dimension):
    network = random_relu(3, [dimension, 6, 2])
    wide = np.full(dimension, 1e5)
    exact = pwlnet.enumerate_regions(network, -wide, wide, want=()).n_regions
    assert exact == pwlnet.arrangement_count(6, dimension) == pwlnet.bound_region_count(network).upper
    assert pwlnet.largest_region_count((dimension, 6)) == (exact, exact)


def test_one_input_is_decided_the_largest_number_of_regions_is_known():
    for hidden in ((3,), (3, 4), (5, 3, 7)):
        product = math.prod(n + 1 for n in hidden)
        assert pwlnet.largest_region_count((1, *hidden)) == (product, product)


def test_folding_the_square_attains_the_lower_bound():
    """Two ReLUs per input make a tent that maps [0, 1] onto itself twice; the last layer cuts each of the four copies."""
    tent = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    folds = np.array([[2.0, -4.0, 0.0, 0.0], [0.0, 0.0, 2.0, -4.0]])
    angles = np.pi * np.arange(5) / 5 + 0.3
    lines = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    offsets = -lines @ [0.5, 0.5] + 0.01 * np.arange(5) ** 2
    network = fully_connected([tent, lines @ folds, np.ones((1, 5))], [[0.0, -0.5, 0.0, -0.5], offsets, [0.0]])
    exact = pwlnet.enumerate_regions(network, [0.0, 0.0], [1.0, 1.0], want=()).n_regions
    lower, upper = pwlnet.largest_region_count((2, 4, 5))
    assert exact == 4 * pwlnet.arrangement_count(5, 2) == 64 == lower <= upper


def drawn(seed, n_free):
    """Draw a network over all ops, and a box; half of them are degenerate."""
    rng = np.random.default_rng([seed, n_free, 17])
    while True:
        description = live(random_network(rng, degenerate=seed % 2 == 1, depth=(1, 3), width=(n_free, 6), slopes=DYADIC_SLOPES))
        if int(np.prod(description[0]["shape"])) >= n_free:
            return (description, *random_box(rng, description, n_free))


def test_no_network_has_more_regions_than_the_bound_for_any_op():
    ratios = []
    for seed in range(few(2000, 30, quick=30)):
        description, lower, upper = drawn(seed, 1 + seed % 2)
        network = to_network(description)
        exact = len(patterns(description, lower, upper))
        bounds = pwlnet.bound_region_count(network, n_free=1 + seed % 2)
        assert exact <= bounds.upper <= min(bounds.montufar, bounds.serra), seed
        assert bounds.serra <= bounds.montufar, seed
        assert bounds.upper <= pwlnet.bound_region_count(network).upper, seed
        ratios.append(bounds.upper / exact if exact > 1 else math.inf)
    assert min(ratios) <= 2.0


def test_neurons_that_are_fixed_on_the_box_lower_the_bound():
    for seed in range(few(20, 2)):
        network = random_relu(seed, [2, 8, 8, 2])
        lower, upper = np.full(2, -0.25), np.full(2, 0.25)
        floats = pwlnet.find_float_neurons(network, pwlnet.Box(lower, upper), method="crown")
        exact = pwlnet.enumerate_regions(network, lower, upper, want=()).n_regions
        bounds = pwlnet.bound_region_count(network, float_set=floats)
        assert exact <= bounds.upper < pwlnet.bound_region_count(network).upper, seed
        assert bounds.states == 2 ** int((floats.states < 0).sum())
    all_fixed = network.states(np.zeros((1, 2)))[0]
    assert pwlnet.bound_region_count(network, float_set=all_fixed).upper == 1


def test_inactive_neurons_take_dimensions_from_the_image():
    """Two inputs, one neuron that is always active, one always inactive: the second layer is cut along one direction."""
    network = fully_connected([np.eye(2), np.ones((3, 2)), np.ones((1, 3))], [[9.0, -9.0], [0.0, 1.0, 2.0], [0.0]])
    states = np.full(5, -1)
    states[:2] = [1, 0]
    assert pwlnet.bound_region_count(network, float_set=states).serra == 4
    assert pwlnet.bound_region_count(network, float_set=states).montufar == 7


def test_a_network_without_neurons_or_free_inputs_has_one_region():
    assert pwlnet.bound_region_count(fully_connected([np.eye(3)], [np.zeros(3)])).upper == 1
    assert pwlnet.bound_region_count((3, 5, 5), n_free=0).upper == 1
    assert pwlnet.largest_region_count((4,)) == (1, 1)


def test_large_networks_have_bounds_that_floats_cannot_hold():
    bounds = pwlnet.bound_region_count((3072, 2000, 2000))
    assert bounds.montufar == 2**4000 == bounds.states > bounds.serra > 2**3000
    assert pwlnet.bound_region_count((100, 2000, 2000)).serra > 10**308


def test_the_expected_number_is_the_volume_of_a_simplex_and_all_patterns_for_few_neurons():
    assert pwlnet.expected_region_count(3, 10, volume=8.0, scale=0.5) == pytest.approx(8.0 * 5.0**3 / 6.0)
    assert pwlnet.expected_region_count(12, 10) == pytest.approx(1024.0)
    assert pwlnet.expected_region_count(500, 10**6) == math.inf
    for n in (1, 3, 6):
        count = pwlnet.expected_region_count(n, 64, volume=2.0**n, scale=0.75)
        assert implied_scale(round(count), n, 64, volume=2.0**n) == pytest.approx(0.75, rel=1e-2)


@pytest.mark.parametrize(("arguments", "options", "error", "message"), [
    (((3, 0),), {}, InputError, "widths[1] is 0; a positive integer is needed"),
    (((3, 4),), {"n_free": 5}, InputError, "n_free is 5, but the network has 3 inputs; give at most 3"),
    (((3, 4),), {"float_set": [0] * 4}, InputError, "float_set was given with widths; give it with the network"),
])  # fmt: skip
def test_arguments_that_are_refused(arguments, options, error, message):
    with pytest.raises(error) as caught:
        pwlnet.bound_region_count(*arguments, **options)
    assert str(caught.value).startswith(message)


def test_widths_must_be_a_sequence():
    for widths in (3, None, ()):
        with pytest.raises(InputError, match="a sequence of integers is needed"):
            pwlnet.largest_region_count(widths)


def test_states_of_another_network_are_refused():
    network = random_relu(0, [2, 4, 1])
    with pytest.raises(ShapeError, match=r"float_set has states of shape \(3,\); \(4,\) is needed"):
        pwlnet.bound_region_count(network, float_set=np.zeros(3))
