"""Boundaries of sequential tests of "p > p0" from independent Bernoulli(p) draws.

A boundary is int64[max_n + 1]: after n draws the test rejects "p <= p0" as soon as there are at least ``boundary[n]`` hits;
``max_n + 1``, which no count reaches, where it cannot reject. Each test rejects with probability at most alpha over *all* n
if p <= p0. Three tests:

    group_sequential   checks at growing numbers of draws, with boundaries from the exact distribution of the paths that have
                       not been rejected before (so no union bound); the fewest draws for p near p0
    beta_binomial      checks after every draw: the mixture of likelihood ratios against all q > p0 is a supermartingale; the
                       fewest draws for p far above p0
    checkpoints        Clopper-Pearson at growing numbers of draws with a union bound; the simplest to verify

All decide by the number of hits alone, and hits only grow with p (coupling), so p = p0 is the worst case of p <= p0.
"""

import functools
import math

import numpy as np

METHODS = ("group_sequential", "beta_binomial", "checkpoints")
GROWTH = {"group_sequential": 1.05, "checkpoints": 1.25}  # ratio of the numbers of draws at consecutive checks
LAST_SHARE = 0.2  # of alpha, for the last check of group_sequential: hard inputs need it, and the others 2 to 3 % more draws
_MARGIN = 2.0**-20  # share of alpha that is left for rounding: a hundred steps of sums with errors of 2**-40 need 2**-33
_DROPPED = 2.0**-70  # probability of counts outside a window; it is charged to alpha
_COARSE = 64  # draws between the points where the boundary of beta_binomial is searched without neighbours


@functools.lru_cache(maxsize=64)
def rejection_boundary(p0, alpha, max_n, method):
    """Compute the boundary of a sequential test of "p > p0".

    Sound bound: the probability of ever rejecting is at most alpha if p <= p0. Results are cached.

    Parameters
    ----------
    p0 : float
        In [0, 1].
    alpha : float
        In (0, 1).
    max_n : int
    method : {"group_sequential", "beta_binomial", "checkpoints"}

    Returns
    -------
    int64[max_n + 1]
        Read-only; nondecreasing in n where the test can reject.

    Notes
    -----
    Cost: beta_binomial evaluates two or three incomplete beta functions per draw (0.4 seconds for 1e5 draws); the others
    convolve distributions of about sqrt(n) counts (milliseconds).
    """
    if p0 <= 0.0:  # a single hit refutes p = 0
        boundary = np.ones(max_n + 1, np.int64)
    elif p0 >= 1.0:
        boundary = np.full(max_n + 1, max_n + 1)
    elif method == "beta_binomial":
        boundary = _beta_binomial(p0, alpha, max_n)
    else:
        boundary = np.full(max_n + 1, max_n + 1)
        boundary_at = _spend_exactly if method == "group_sequential" else _spend_by_union
        checks = check_points(p0, alpha, max_n, GROWTH[method])
        boundary[checks] = boundary_at(p0, alpha * (1.0 - _MARGIN), checks)
    boundary[boundary > np.arange(max_n + 1)] = max_n + 1
    boundary.setflags(write=False)
    return boundary


def check_points(p0, alpha, max_n, growth):
    """Numbers of draws int64[J], growing by about ``growth`` from the first at which a test can reject, up to max_n."""
    first = math.ceil(max(1.0, min(math.log(alpha) / math.log(p0), float(max_n))))
    checks = [first]
    while checks[-1] < max_n:
        checks.append(min(max(checks[-1] + 1, math.ceil(checks[-1] * growth)), max_n))
    return np.array(checks)


def spending_limits(n_checks):
    """Shares of alpha float64[J] that group_sequential may have spent after each check: equal steps, and a large last one."""
    return np.append((1.0 - LAST_SHARE) * np.arange(1, n_checks) / max(n_checks - 1, 1), 1.0)


def log_evidence(hits, n, p0):
    """Compute the logarithm of the beta-binomial supermartingale of "p <= p0".

    Exact up to rounding: an absolute error below (n + 16) * 2**-44.

    Parameters
    ----------
    hits, n : float64[...]
        0 <= hits <= n.
    p0 : float or float64[...]
        In (0, 1).

    Returns
    -------
    float64[...]
        log of the average over q, uniform in (p0, 1), of (q / p0)**hits * ((1 - q) / (1 - p0))**(n - hits).

    Notes
    -----
    One more draw multiplies the term of q by an expected p q / p0 + (1 - p) (1 - q) / (1 - p0), which is 1 at p = p0 and grows
    with p as q > p0; so each term, and their average, is a nonnegative supermartingale that starts at 1 whenever p <= p0. By
    Ville's inequality it ever reaches 1 / alpha with probability at most alpha.

    References
    ----------
    .. [1] Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970). The
       mixture there is over all q; restricting it to q > p0 makes the test one-sided.
    """
    from scipy.special import betaincc, betaln

    above, below = hits + 1.0, n - hits + 1.0
    with np.errstate(divide="ignore", under="ignore"):
        share = np.log(betaincc(above, below, p0))
    spread = np.log1p(-p0)
    return betaln(above, below) + share - spread - hits * np.log(p0) - (n - hits) * spread


def rounding_margin(n):
    """Bound of the rounding error of ``log_evidence`` after n draws."""
    return (n + 16.0) * 2.0**-44


def operating_characteristics(p, p0, alpha, *, beta=None, max_n=100_000, method="group_sequential"):
    """Compute how a ``SequentialTest`` behaves if the probability of a hit is p, from the distribution of all paths.

    Exact up to rounding: the probabilities. The mean counts tests that end because "yes" is out of reach with ``max_n`` draws,
    so it may be slightly too large.

    Parameters
    ----------
    p : float
        In [0, 1].
    p0, alpha, beta, max_n, method
        Of the test.

    Returns
    -------
    (float, float, float)
        Probability of "yes", probability of "no", mean number of draws.

    Examples
    --------
    >>> from pwlnet.smoothing.boundaries import operating_characteristics
    >>> [round(x, 3) for x in operating_characteristics(0.9, 0.8413, 0.001, max_n=10_000)]
    [1.0, 0.0, 560.889]
    """
    yes = rejection_boundary(p0, alpha, max_n, method)
    no = np.full_like(yes, max_n + 1) if beta is None else rejection_boundary(1.0 - p0, beta, max_n, method)
    alive, first, draws = np.ones(1), 0, 0
    said_yes = said_no = mean = 0.0
    for n in np.flatnonzero(np.minimum(yes, no) <= max_n):
        step, step_first = _binomial_window(n - draws, min(max(p, _DROPPED), 1.0 - 2.0**-53))
        alive, first, draws = np.convolve(alive, step), first + step_first, n
        end = min(max(yes[n] - first, 0), alive.size)
        start = min(max(n - no[n] - first + 1, 0), end)
        ended_yes, ended_no = alive[end:].sum(), alive[:start].sum()
        said_yes, said_no, mean = said_yes + ended_yes, said_no + ended_no, mean + n * (ended_yes + ended_no)
        alive, first = (alive[start:end], first + start) if end > start else (np.zeros(1), first)
        low = min(int(np.searchsorted(np.cumsum(alive), _DROPPED)), alive.size - 1)
        alive, first = alive[low:], first + low
    return float(said_yes), float(said_no), float(mean + max_n * (1.0 - said_yes - said_no))


def _beta_binomial(p0, alpha, max_n):
    """Least hits with evidence of 1 / alpha: nondecreasing in n, by at most 1 per draw, so coarse points bracket the rest."""
    n = np.arange(max_n + 1)
    coarse = np.unique(np.append(n[::_COARSE], max_n))
    at_coarse = _least_hits(p0, alpha, coarse, np.zeros_like(coarse), coarse + 1)
    after = np.searchsorted(coarse, n)
    before = np.maximum(after - 1, 0)
    lowest = np.maximum(at_coarse[before], at_coarse[after] - (coarse[after] - n))
    highest = np.minimum(at_coarse[after], n + 1)
    gap = np.maximum(coarse[after] - coarse[before], 1)
    between = at_coarse[before] + (at_coarse[after] - at_coarse[before]) * (n - coarse[before]) // gap
    return _least_hits(p0, alpha, n, np.minimum(lowest, highest), highest, guess=between)


def _least_hits(p0, alpha, n, lowest, highest, guess=None):
    """Bisection for the least hits in [lowest, highest] that reject; ``highest`` is known to reject, or is n + 1.

    The first two steps are at the guess and at its neighbour, which ends most searches.
    """
    needed = math.log(1.0 / alpha) + rounding_margin(n)
    middle = (lowest + highest) // 2 if guess is None else np.clip(guess, lowest, highest - 1)
    open_, step = np.flatnonzero(lowest < highest), 0
    while open_.size:
        tried = middle[open_]
        rejects = log_evidence(tried.astype(np.float64), n[open_].astype(np.float64), p0) >= needed[open_]
        highest[open_[rejects]] = tried[rejects]
        lowest[open_[~rejects]] = tried[~rejects] + 1
        near, step = np.where(rejects, tried - 1, tried + 1), step + 1
        halves = (lowest[open_] + highest[open_]) // 2
        middle[open_] = near if step == 1 and guess is not None else halves
        open_ = open_[lowest[open_] < highest[open_]]
    return highest


def _spend_exactly(p0, alpha, checks):
    """Boundaries at checks, of which the first j have rejected with probability at most ``spending_limits(J)[j - 1]`` * alpha.

    ``alive[i]`` is the probability of ``first + i`` hits on a path that was not rejected at an earlier check. What a check can
    not use of its share, because counts are integers, the later ones have.
    """
    boundary, limits = np.empty_like(checks), alpha * spending_limits(checks.size)
    alive, first, spent, draws = np.ones(1), 0, 0.0, 0
    for j, n in enumerate(checks):
        step, step_first = _binomial_window(n - draws, p0)
        alive, first, draws = np.convolve(alive, step), first + step_first, n
        spent += _DROPPED
        i = _first_within(alive, limits[j] - spent)
        boundary[j] = first + i
        spent += alive[i:].sum()
        low = int(np.searchsorted(np.cumsum(alive[:i]), _DROPPED))  # counts too low to matter: as if they were rejected
        alive, first, spent = alive[low:i], first + low, spent + _DROPPED
        if not alive.size:
            alive, first = np.zeros(1), 0
    return boundary


def _spend_by_union(p0, alpha, checks):
    """Clopper-Pearson boundaries at checks, each at level alpha / J."""
    boundary = np.empty_like(checks)
    for j, n in enumerate(checks):
        window, first = _binomial_window(n, p0)
        boundary[j] = first + _first_within(window, alpha / checks.size - _DROPPED)
    return boundary


def _first_within(masses, room):
    """Index from which the masses sum to at most ``room``; their number if not even the last does."""
    tails = np.cumsum(masses[::-1])
    return masses.size - int(np.searchsorted(tails, room, side="right"))


def _binomial_window(n, p):
    """Probabilities of Binomial(n, p), p in (0, 1), in a window: (float64[W], first count).

    Outside there is less than ``_DROPPED`` by Bernstein's inequality. Ratios of neighbours, from the mode, then normalised:
    the relative error is of the order of W roundoffs.
    """
    log_bound = math.log(2.0 / _DROPPED)
    reach = log_bound / 3.0 + math.sqrt(log_bound**2 / 9.0 + 2.0 * log_bound * n * p * (1.0 - p))
    first, last = max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach))
    mode = min(max(math.floor((n + 1) * p), first), last)
    up, down = np.arange(mode, last, dtype=np.float64), np.arange(mode, first, -1, dtype=np.float64)
    odds = p / (1.0 - p)
    rising = np.cumprod((n - up) / (up + 1.0) * odds)
    falling = np.cumprod(down / (n - down + 1.0) / odds)
    window = np.concatenate([falling[::-1], [1.0], rising])
    return window / window.sum(), first
