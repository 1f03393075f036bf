"""One-sided Clopper-Pearson bounds: exact coverage in rational arithmetic, closed forms."""

from fractions import Fraction

import numpy as np
import pytest

from pwlnet.binomial import clopper_pearson
from pwlnet.errors import InputError
from tests.reference.exact_votes import binomial, tail


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.5])
def test_the_lower_bound_solves_its_equation_exactly(alpha):
    n = 13
    low, high = clopper_pearson(np.arange(n + 1), n, alpha, side="lower")
    assert low[0] == 0.0
    assert (high == 1.0).all()
    for k in range(1, n + 1):
        assert float(tail(n, k, Fraction(float(low[k])))) == pytest.approx(alpha, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_the_lower_bound_misses_with_probability_at_most_alpha(alpha):
    n = 12
    low, _ = clopper_pearson(np.arange(n + 1), n, alpha, side="lower")
    grid = [Fraction(j, 60) for j in range(1, 60)] + [Fraction(float(x)) * Fraction(999_999, 1_000_000) for x in low[1:]]
    misses = [sum(binomial(n, k, p) for k in range(n + 1) if Fraction(float(low[k])) > p) for p in grid]
    assert max(misses) <= alpha
    assert max(misses) > 0.999 * alpha  # just below a bound all of alpha is used, so the check can fail


def test_unanimous_votes_give_a_root_of_alpha():
    n = np.array([1, 10, 100_000, 10**9])
    assert clopper_pearson(n, n, 0.001, side="lower")[0].tolist() == [0.001 ** (1.0 / draws) for draws in n.tolist()]


def test_lower_and_upper_mirror_each_other_and_agree_with_the_two_sided_interval():
    counts = np.arange(31)
    low, _ = clopper_pearson(counts, 30, 0.05, side="lower")
    _, high = clopper_pearson(counts, 30, 0.05, side="upper")
    assert np.allclose(low, 1.0 - high[::-1], rtol=0, atol=1e-14)
    both = clopper_pearson(counts, 30, 0.1)
    assert np.allclose(both[0], low, rtol=1e-14)
    assert np.allclose(both[1], high, rtol=1e-14)


def test_numbers_of_draws_may_differ():
    low, high = clopper_pearson([3, 30], [10, 100], 0.05)
    for i, (k, n) in enumerate([(3, 10), (30, 100)]):
        assert (low[i], high[i]) == tuple(map(float, clopper_pearson(k, n, 0.05)))
    assert clopper_pearson(np.zeros((0, 2)), 5, 0.05, side="lower")[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("counts", "n", "match"),
    [(-1, 5, "counts"), (6, 5, "counts"), (0, 0, "n is 0"), (1, 2.5, "n is"), ([1, 1], [2, 0], "n has")],
)
def test_counts_that_cannot_be_are_refused(counts, n, match):
    with pytest.raises(InputError, match=match):
        clopper_pearson(counts, n, 0.05, side="lower")
