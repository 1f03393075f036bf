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
    n : int
    alpha : float
        In (0, 1).
    side : {"both", "upper"}

    Returns
    -------
    (ndarray, ndarray)

    Raises
    ------
    InputError
        alpha is not in (0, 1), or side is another word.

    References
    ----------
    .. [1] Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26
       (1934).

    Examples
    --------
    >>> from pwlnet.binomial import clopper_pearson
    >>> [round(float(x), 4) for x in clopper_pearson(0, 500, 0.05, side="upper")]
    [0.0, 0.006]
    """
    from scipy.special import betaincinv

    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.floating) or not 0.0 < alpha < 1.0:
        raise InputError(f"alpha is {alpha!r}; a number between 0 and 1 is needed")
    if side not in ("both", "upper"):
        raise InputError(f"side is {side!r}; the choices are 'both', 'upper'")
    n = check_count(n, "n")
    tail = 0.5 * alpha if side == "both" else alpha
    counts = np.asarray(counts, np.float64)
    low, high = np.zeros(counts.shape), np.ones(counts.shape)
    some, others = counts > 0, counts < n
    if side == "both":
        low[some] = betaincinv(counts[some], n - counts[some] + 1.0, tail)
    high[others] = betaincinv(counts[others] + 1.0, n - counts[others], 1.0 - tail)
    return low, high
