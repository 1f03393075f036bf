"""Bounds of scores with factors in intervals: against exact arithmetic with factors from the box, and corners of the box."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from pwlnet.smoothing.factor_bounds import FactorBounds
from pwlnet.smoothing.network_pass import repressed_outputs
from tests.counts import few
from tests.drawn import draw
from tests.reference.repression import scaled_outputs

from . import small_classifiers as small

DEPTHS = [0, 0.25, 0.5, 0.75, 1]


def margin(outputs, label):
    """By how much a class exceeds the largest of the others; of equal scores, the lowest class wins."""
    return min(outputs[label] - other for k, other in enumerate(outputs) if k != label)


def random_factors(rng, lower, upper):
    """Factors in a box, multiples of 1/4 of its sides, and mostly its corners."""
    shares = rng.choice(DEPTHS, lower.shape, p=[0.35, 0.1, 0.1, 0.1, 0.35])
    return lower + shares * (upper - lower)


def draw_box(rng, n):
    lower = rng.integers(-4, 5, n) / 4.0
    return lower, lower + rng.choice([0.0, 0.0, 0.25, 0.5], n)


@pytest.mark.parametrize("seed", range(few(200, 6, quick=15)))
def test_margins_bound_those_of_exact_arithmetic_for_all_factors_on_random_networks(seed):
    description, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=2)
    if network.n_outputs < 2:
        return
    rng, bounds = np.random.default_rng(seed), FactorBounds(network)
    lower, upper = draw_box(rng, network.n_neurons)
    for label in range(network.n_outputs):
        won = bounds.verify(points, lower, upper, label)
        ranges = bounds.start(points)
        bounds.advance(ranges, 0, bounds.n_blocks, *(np.broadcast_to(x, (2, network.n_neurons)) for x in (lower, upper)))
        below = bounds.margins(ranges, label)
        assert np.array_equal(won, below > 0.0)
        for _ in range(3):
            factors = random_factors(rng, lower, upper)
            exact = [margin(scaled_outputs(description, x, map(Fraction, factors.tolist())), label) for x in points]
            assert all(b <= e for b, e in zip(below.tolist(), exact, strict=True))
            computed = repressed_outputs(network, points, factors=factors, dtype="float64").argmax(axis=1)
            assert (computed[won] == label).all()


@pytest.mark.parametrize("seed", range(few(100, 4, quick=12)))
def test_margins_of_known_factors_are_exact_up_to_rounding_on_random_networks(seed):
    description, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=2)
    if network.n_outputs < 2:
        return
    factors = np.random.default_rng(seed).integers(-4, 5, (1, network.n_neurons)).repeat(2, axis=0) / 4.0
    bounds = FactorBounds(network)
    ranges = bounds.start(points)
    bounds.advance(ranges, 0, bounds.n_blocks, factors, factors)
    exact = [margin(scaled_outputs(description, x, map(Fraction, factors[0].tolist())), 0) for x in points]
    np.testing.assert_allclose(bounds.margins(ranges, 0), np.array(exact, np.float64), rtol=1e-9, atol=1e-9)


def test_the_worst_case_of_the_last_layer_is_that_of_the_corners():
    """Scores are linear in the factors of the last layer, so the worst factors are a corner, and the bound is attained."""
    network = small.as_network(small.random_mlp(3, (3, 6, 5, 3)), 3)
    points = np.random.default_rng(0).standard_normal((8, 3))
    lower, upper = np.ones((8, 11)), np.ones((8, 11))
    lower[:, 6:] = 0.25
    bounds = FactorBounds(network)
    for label in range(3):
        ranges = bounds.start(points)
        bounds.advance(ranges, 0, 2, lower, upper)
        worst = np.full(8, np.inf)
        for corner in itertools.product([0.25, 1.0], repeat=5):
            outputs = repressed_outputs(network, points, factors=np.append(np.ones(6), corner), dtype="float64")
            worst = np.minimum(worst, [margin(y, label) for y in outputs])
        np.testing.assert_allclose(bounds.margins(ranges, label), worst, rtol=0, atol=1e-8)


def test_a_class_without_a_margin_does_not_win():
    """Scores are equal everywhere: the first class wins in exact arithmetic, but rounding may decide otherwise."""
    network = small.as_network(small.layer([[0.1, 0.2], [0.1, 0.2]], [0.3, 0.3]), 2)
    assert not FactorBounds(network).verify(np.ones((3, 2)), np.zeros(0), np.zeros(0), 0).any()


def test_the_only_class_always_wins():
    network = small.as_network(small.layer([[1.0]], [0.0]), 1)
    assert FactorBounds(network).verify(np.zeros((2, 1)), np.zeros(0), np.zeros(0), 0).all()
