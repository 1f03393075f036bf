"""Exact statistics of independent votes, in rational arithmetic, and the normal distribution to 60 digits."""

import decimal
import math
from fractions import Fraction


def binomial(n, k, p):
    """Probability of k hits in n draws."""
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def tail(n, k, p):
    """Probability of at least k hits in n draws."""
    return sum((binomial(n, j, p) for j in range(k, n + 1)), Fraction(0))


def first_crossings(boundary, p):
    """For each n the probability that ``boundary[n]`` hits are reached after n draws and no boundary before."""
    alive, crossings = {0: Fraction(1)}, []
    for n, needed in enumerate(boundary):
        if n:
            moved = {}
            for k, mass in alive.items():
                moved[k + 1] = moved.get(k + 1, 0) + mass * p
                moved[k] = moved.get(k, 0) + mass * (1 - p)
            alive = moved
        crossings.append(sum((mass for k, mass in alive.items() if k >= needed), Fraction(0)))
        alive = {k: mass for k, mass in alive.items() if k < needed}
    return crossings


def evidence(k, n, p0):
    """Average over q, uniform in (p0, 1), of the likelihood ratio of q to p0 of k hits in n draws."""
    misses = n - k
    integral = sum((-1) ** j * math.comb(misses, j) * (1 - p0 ** (k + j + 1)) / Fraction(k + j + 1) for j in range(misses + 1))
    return integral / (1 - p0) / (p0**k * (1 - p0) ** misses)


def normal_cdf(x):
    """Standard normal distribution function of a float, as a Decimal with an error below 1e-60 for abs(x) < 9."""
    with decimal.localcontext(prec=110):
        x = decimal.Decimal(x)
        term = total = x
        n = 0
        while abs(term) > decimal.Decimal(10) ** -80:
            n += 1
            term *= x * x / (2 * n + 1)
            total += term
        return decimal.Decimal("0.5") + total * (-x * x / 2).exp() / (2 * _pi()).sqrt()


def _pi():
    """Machin's formula."""

    def arctan_inverse(x):
        power, total, n = decimal.Decimal(1) / x, decimal.Decimal(0), 0
        while power > decimal.Decimal(10) ** -105:
            total += (-1) ** n * power / (2 * n + 1)
            power /= x * x
            n += 1
        return total

    return 16 * arctan_inverse(5) - 4 * arctan_inverse(239)
