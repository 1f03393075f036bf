"""Tests of a grid of radii with the same votes."""

import numpy as np
from scipy.stats import norm

from pwlnet.smoothing.fixed_sequence import largest_radius, lower_bound, radius_grid


def test_equal_votes_confirm_the_whole_grid():
    grid = radius_grid(0.5, 1000, 0.001, 64)
    assert len(grid) == 64 and abs(grid[-1] - 0.5 * norm.ppf(0.001 ** (1 / 1000))) < 1e-9
    assert largest_radius(np.full(64, 1000), 1000, 0.001, 0.5, grid)[0] >= 62
    assert largest_radius(np.zeros(64, np.int64), 1000, 0.001, 0.5, grid)[0] == -1


def test_a_radius_after_one_that_is_not_confirmed_is_not_found():
    hits = np.array([1000, 1000, 300, 1000])
    assert largest_radius(hits, 1000, 0.001, 1.0, np.array([0.1, 0.2, 0.3, 0.4]))[0] == 1


def test_false_radii_are_confirmed_with_the_probability_alpha_for_the_whole_grid():
    """One uniform number per vote decides all radii; E h_R is a little below Phi(R), so all radii above 0 are false."""
    rng, n, alpha = np.random.default_rng(0), 200, 0.1
    grid = np.linspace(0.02, 1.5, 30)
    p, found = 1.5 - norm.cdf(grid), 0
    p = np.minimum(norm.cdf(grid[0]), p)  # the first one is at its boundary
    for _ in range(1000):
        hits = (rng.random(n)[None] < p[:, None]).sum(axis=1)
        found += largest_radius(hits, n, alpha, 1.0, grid)[0] >= 0
    assert 0.02 < found / 1000 < alpha + 0.03


def test_hits_of_estimates_count_less():
    assert lower_bound(100, 100, 0.1) > lower_bound(100, 100, 0.1, 0.2) > 0.9
    assert lower_bound(10, 100, 0.1, 0.2) == 0.0
    hits, grid = np.full(10, 100), np.linspace(0.1, 1.0, 10)
    plain, higher = (largest_radius(hits, 100, 0.1, 1.0, grid, floor=floor)[0] for floor in (0.5, 0.95))
    assert plain == 9 and 0 <= higher < 9
