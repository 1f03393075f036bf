"""Numbers of draws chosen from first votes: the loss recomputed with scipy's distributions, limits, monotonicity."""

import numpy as np
import pytest
import scipy.stats

from pwlnet.errors import InputError
from pwlnet.smoothing.radii import radius_of
from pwlnet.smoothing.sample_size import choose_n

N0, N_MAX, ALPHA = 100, 100_000, 0.001


def posterior_nodes(k0, count=2000):
    return scipy.stats.beta.ppf((np.arange(count) + 0.5) / count, k0 + 1, N0 - k0 + 1)


def radius_loss(p, n, sigma):
    """Radius with N_MAX draws minus that with n, if p n of n votes are hits."""
    low = [scipy.stats.beta.ppf(ALPHA, draws * p, draws * (1.0 - p) + 1.0) for draws in (N_MAX, n)]
    return radius_of(low[0], sigma) - radius_of(low[1], sigma)


def certifying_probability(p, n, radius, sigma):
    p0 = scipy.stats.norm.cdf(radius / sigma)
    return scipy.stats.binom.sf(scipy.stats.binom.isf(ALPHA, n, p0), n, p)


@pytest.mark.parametrize("k0", [60, 80, 95, 99, 100])
@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_the_mean_loss_of_radius_is_at_most_the_limit_and_just_below(k0, sigma):
    n, limit = choose_n(k0, N0, n_max=N_MAX, alpha=ALPHA, max_loss=0.05, sigma=sigma), 0.05
    assert radius_loss(posterior_nodes(k0), n, sigma).mean() < 1.05 * limit
    if n > 100:
        assert radius_loss(posterior_nodes(k0), n * 0.8, sigma).mean() > limit


def test_the_largest_loss_over_the_interval_is_at_most_the_limit():
    for k0 in (75, 95, 100):
        n = choose_n(k0, N0, n_max=N_MAX, alpha=ALPHA, max_loss=0.1, rule="worst")
        interval = scipy.stats.binomtest(k0, N0).proportion_ci(1.0 - ALPHA, method="exact")
        p = np.linspace(interval.low, min(interval.high, 1.0 - 1e-12), 500)
        assert radius_loss(p, n, 1.0).max() < 0.101
        assert n >= choose_n(k0, N0, n_max=N_MAX, alpha=ALPHA, max_loss=0.1)


@pytest.mark.parametrize("k0", [60, 80, 86, 95])
def test_the_mean_loss_of_certified_accuracy_is_at_most_the_limit(k0):
    limit, radius, sigma = 0.02, 0.25, 0.25
    n = choose_n(k0, N0, n_max=N_MAX, alpha=ALPHA, max_loss=limit, sigma=sigma, radius=radius)
    p = posterior_nodes(k0)
    lost = certifying_probability(p, N_MAX, radius, sigma) - certifying_probability(p, n, radius, sigma)
    assert np.maximum(lost, 0.0).mean() < 1.05 * limit
    if n > 200:
        lost = certifying_probability(p, N_MAX, radius, sigma) - certifying_probability(p, n // 2, radius, sigma)
        assert lost.mean() > limit


def test_hopeless_and_decided_inputs_get_few_draws():
    few_draws = choose_n([5, 30], N0, n_max=N_MAX, alpha=ALPHA, max_loss=0.01)
    assert few_draws.tolist() == [100, 100]
    for k0, most in ((50, 200), (85, N_MAX), (99, 1500)):
        assert choose_n(k0, N0, n_max=N_MAX, alpha=ALPHA, max_loss=0.02, sigma=0.25, radius=0.25) <= most


def test_no_loss_allowed_means_all_draws():
    assert choose_n(90, N0, n_max=N_MAX, alpha=ALPHA, max_loss=0.0) == N_MAX


def test_a_larger_limit_never_costs_draws():
    for radius in (None, 0.5):
        chosen = [choose_n(95, N0, n_max=N_MAX, alpha=ALPHA, max_loss=x, radius=radius) for x in (0.0, 0.001, 0.01, 0.1, 1.0)]
        assert chosen == sorted(chosen, reverse=True)


def test_votes_of_many_inputs_are_treated_one_by_one():
    k0 = np.array([[100, 7], [64, 100]])
    chosen = choose_n(k0, N0, n_max=5000, alpha=0.01, max_loss=0.05)
    single = [choose_n(int(k), N0, n_max=5000, alpha=0.01, max_loss=0.05) for k in k0.flat]
    assert chosen.tolist() == np.reshape(single, (2, 2)).tolist()
    assert chosen.dtype == np.int64
    assert choose_n([], N0, n_max=5000, alpha=0.01, max_loss=0.05).shape == (0,)


def test_equal_limits_leave_no_choice():
    assert choose_n(90, N0, n_max=300, n_min=300, alpha=0.01, max_loss=0.05) == 300


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"k0": 101}, "counts"),
        ({"n_min": 2000}, "n_min is 2000, above"),
        ({"max_loss": -1.0}, "max_loss"),
        ({"rule": "mean"}, "rule"),
        ({"radius": 0.0}, "radius"),
        ({"alpha": 1.0}, "alpha"),
        ({"sigma": 0.0}, "sigma"),
    ],
)
def test_parameters_outside_their_range_are_refused(arguments, match):
    with pytest.raises(InputError, match=match):
        choose_n(**{"k0": 90, "n0": N0, "n_max": 1000, "alpha": ALPHA, "max_loss": 0.1, **arguments})
