"""Confidence intervals of probabilities, from counts."""

import numpy as np

from .errors import InputError
from .validation import check_count


def clopper_pearson(counts, n, alpha, *, side="both"):
    """Compute Clopper-Pearson intervals: (float64, float64) with the shape of ``counts``.

    Estimate: a sound interval with confidence 1 - alpha of the probability of an event that occurred ``counts`` times in n
    independent draws.

    Parameters
    ----------
    counts : float64[...]
    n : int or int[...]
        Of the shape of ``counts``, or one that broadcasts with it.
    alpha : float
        In (0, 1).
    side : {"both", "lower", "upper"}
        "lower" spends all of alpha on the lower end, and the upper end is 1; "upper" is the reverse.

    Returns
    -------
    (ndarray, ndarray)

    Raises
    ------
    InputError
        alpha is not in (0, 1), side is another word, n is not a positive integer, or a count is negative or above n.

    Notes
    -----
    The lower end at level a is the probability p with P(Bin(n, p) >= k) = a; for k = n it is a**(1 / n), which
    ``side="lower"`` returns as such.

    References
    ----------
    .. [1] Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
       Biometrika 26 (1934).

    Examples
    --------
    >>> from pwlnet.binomial import clopper_pearson
    >>> [round(float(x), 4) for x in clopper_pearson(0, 500, 0.05, side="upper")]
    [0.0, 0.006]
    >>> low, high = clopper_pearson([900, 1000], 1000, 0.001, side="lower")
    >>> low.round(4).tolist(), high.tolist()
    ([0.8675, 0.9931], [1.0, 1.0])
    """
    from scipy.special import betaincinv

    check_level(alpha)
    if side not in ("both", "lower", "upper"):
        raise InputError(f"side is {side!r}; the choices are 'both', 'lower', 'upper'")
    counts, n = as_counts(counts, n)
    tail = 0.5 * alpha if side == "both" else alpha
    low, high = np.zeros(counts.shape), np.ones(counts.shape)
    some, others = counts > 0, counts < n
    if side != "upper":
        low[some] = betaincinv(counts[some], n[some] - counts[some] + 1.0, tail)
    if side == "lower":
        every = counts == n
        low[every] = [alpha ** (1.0 / draws) for draws in n[every].tolist()]  # NumPy's vectorised power may differ by 1 ulp
    else:
        high[others] = betaincinv(counts[others] + 1.0, n[others] - counts[others], 1.0 - tail)
    return low, high


def check_level(alpha, name="alpha"):
    """Validate the probability of error of a statement: a number between 0 and 1.

    Raises
    ------
    InputError
        It is not such a number.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.floating) or not 0.0 < alpha < 1.0:
        raise InputError(f"{name} is {alpha!r}; a number between 0 and 1 is needed")
    return float(alpha)


def as_counts(counts, n):
    """Validate numbers of hits and of draws: two arrays float64[...] of one shape.

    Raises
    ------
    InputError
        n is not a positive integer, or a count is negative or above n.
    """
    if np.ndim(n) == 0:
        n = check_count(n[()] if isinstance(n, np.ndarray) else n, "n")
    elif np.asarray(n).dtype.kind not in "iu" or (np.size(n) and np.min(n) < 1):
        raise InputError("n has entries that are not positive integers; give the number of draws of each count")
    counts, n = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(n, np.float64))
    bad = counts[(counts < 0) | (counts > n)]
    if bad.size:
        raise InputError(f"counts has the entry {bad[0]:g}, which is not between 0 and the number of draws; count hits")
    return counts, n
