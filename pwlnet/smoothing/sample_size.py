"""Numbers of draws that suit an input: few where more would not change its certificate."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .._types import ArrayLike, IntArray
from ..binomial import as_counts, check_level, clopper_pearson
from ..errors import InputError
from ..validation import check_choice, check_count, check_number
from .radii import probability_for, radius_of

_NODES = 24  # probabilities over which a loss of radius is averaged or maximised
_STEEP_NODES = 240  # the same for a loss of certified accuracy, which has a narrow peak
_GROWTH = 1.1  # ratio of consecutive candidates of the number of draws


def choose_n(
    k0: int | ArrayLike,
    n0: int,
    *,
    n_max: int,
    alpha: float,
    max_loss: float,
    sigma: float = 1.0,
    radius: float | None = None,
    rule: Literal["expected", "worst"] = "expected",
    n_min: int = 100,
) -> int | IntArray:
    """Choose numbers of draws from a few first votes: the least whose loss against ``n_max`` draws is at most ``max_loss``.

    Estimate: of the loss. The certificate is sound whatever is chosen, if it uses fresh votes only.

    Parameters
    ----------
    k0 : int or int[B]
        Votes for the class among the first n0.
    n0 : int
    n_max : int
        Most draws, against which the loss counts.
    alpha : float
        Level of the certificate.
    max_loss : float
        Without ``radius``: of the certified radius, in the units of sigma. With ``radius``: of the probability to certify that
        radius (of certified accuracy, averaged over inputs).
    sigma : float, optional
        Standard deviation of the noise.
    radius : float, optional
        A radius to certify, above 0.
    rule : {"expected", "worst"}, optional
        "expected": the mean loss over the posterior of p under a uniform prior. "worst": the largest loss over the two-sided
        Clopper-Pearson interval of p at level alpha, as in [1]_; it demands nearly ``n_max`` where all first votes agree.
    n_min : int, optional
        Fewest draws.

    Returns
    -------
    int or int64[B]
        In [n_min, n_max], from a grid with steps of a tenth.

    Raises
    ------
    InputError
        A parameter is outside its range, or n_min is above n_max.

    Notes
    -----
    The chosen n depends on the first votes only. Given these, the fresh votes are still independent draws and their number of
    hits is Binomial(n, p), so the Clopper-Pearson bound of them has its level for every outcome of the first votes, hence on
    average. Using the first votes again would break this. The radius at a probability p counts k = p n hits.

    References
    ----------
    .. [1] Chen, Li, Yan, Li and Sheng, "Input-Specific Robustness Certification for Randomized Smoothing", AAAI 2022.

    Examples
    --------
    >>> from pwlnet.smoothing.sample_size import choose_n
    >>> choose_n([40, 80, 100], 100, n_max=100_000, alpha=0.001, max_loss=0.05).tolist()
    [100, 4978, 27680]
    """
    k0, n0, alpha = np.asarray(k0), check_count(n0, "n0"), check_level(alpha)
    n_min, n_max = check_count(n_min, "n_min"), check_count(n_max, "n_max")
    max_loss, sigma = check_number(max_loss, "max_loss"), check_number(sigma, "sigma", above=True)
    check_choice(rule, ("expected", "worst"), "rule")
    if n_min > n_max:
        raise InputError(f"n_min is {n_min}, above n_max={n_max}; give a smaller n_min")
    as_counts(k0, n0)
    candidates = _candidates(n_min, n_max)
    if radius is None:
        losses, nodes = _radius_losses(sigma, alpha, candidates), _NODES
    else:
        p0 = float(probability_for(check_number(radius, "radius", above=True), sigma))
        losses, nodes = _power_losses(p0, alpha, candidates), _STEEP_NODES
    kinds, which = np.unique(k0, return_inverse=True)
    chosen = np.empty(kinds.size, np.int64)
    for i, k in enumerate(kinds):
        by_node = losses(_plausible(k, n0, alpha, rule, nodes))
        loss = by_node.mean(axis=0) if rule == "expected" else by_node.max(axis=0)
        chosen[i] = candidates[_first_lasting(loss <= max_loss)]
    result = chosen[which].reshape(k0.shape)
    return int(result) if k0.ndim == 0 else result


def _candidates(n_min, n_max):
    """Numbers of draws int64[N] from n_min to n_max, each about a tenth more than the one before."""
    steps = int(np.ceil(np.log(n_max / n_min) / np.log(_GROWTH)))
    return np.unique(np.append(np.floor(n_min * _GROWTH ** np.arange(steps)), n_max)).astype(np.int64)


def _first_lasting(small):
    """First index from which all are true; the last is true."""
    return small.size - int(np.argmin(np.append(small[::-1][1:], False))) - 1


def _plausible(k, n0, alpha, rule, nodes):
    """Probabilities float64[P] that k of n0 votes leave: quantiles of the posterior, or points of the interval."""
    from scipy.special import betaincinv

    if rule == "worst":
        low, high = clopper_pearson(k, n0, alpha)
        return np.linspace(float(low), float(high), nodes)
    return betaincinv(k + 1.0, n0 - k + 1.0, (np.arange(nodes) + 0.5) / nodes)


def _radius_losses(sigma, alpha, candidates):
    """Function of p float64[P]: radius with the last candidate minus that with each, float64[P, N]."""
    from scipy.special import betaincinv

    def losses(p):
        n, p = candidates.astype(np.float64), p[:, None]
        low = np.where(p > 0.0, betaincinv(np.maximum(n * p, 2.0**-1000), n * (1.0 - p) + 1.0, alpha), 0.0)
        radii = radius_of(low, sigma)
        return radii[:, -1:] - radii

    return losses


def _power_losses(p0, alpha, candidates):
    """Function of p float64[P]: probability to certify "p > p0" with the last candidate minus that with each, or 0."""
    from scipy.special import betainc

    needed = _least_certifying_hits(p0, alpha, candidates)
    n = candidates.astype(np.float64)

    reachable = needed <= candidates
    hits = np.where(reachable, needed, 1).astype(np.float64)

    def losses(p):
        power = np.where(reachable, betainc(hits, n - hits + 1.0, p[:, None]), 0.0)
        return np.maximum(power[:, -1:] - power, 0.0)

    return losses


def _least_certifying_hits(p0, alpha, n):
    """Least k with P(Bin(n, p0) >= k) <= alpha, so that the Clopper-Pearson bound is at least p0; n + 1 if there is none."""
    from scipy.special import betainc

    low, high = np.ones_like(n), n + 1
    while (low < high).any():
        middle = (low + high) // 2
        tail = betainc(middle, np.maximum(n - middle + 1.0, 0.5), p0)
        enough = (middle > n) | (tail <= alpha)
        low, high = np.where(enough | (low >= high), low, middle + 1), np.where(enough, middle, high)
    return high
