"""Bootstrap confidence intervals of statistics over images.

Legend: n values, one per image.
"""

import warnings

import numpy as np

from ..errors import InputError, ShapeError
from ..validation import check_count

_AT_ONCE = 2**21  # resampled values in memory at a time


def bootstrap_interval(values, *, statistic=np.mean, level=0.95, n_resamples=10000, seed=0):
    """Compute a bootstrap confidence interval of a statistic of independent values.

    Estimate: by resampling, bias-corrected and accelerated (BCa) [1]_; by percentiles of the resampled statistics if BCa is
    not defined (the statistic does not change when any one value is omitted, or lies outside all resampled statistics).

    Parameters
    ----------
    values : float64[n]
        One finite number per image. Drop images without a value before, and report how many were dropped.
    statistic : callable
        Maps an array to a number: ``np.mean``, ``np.median``. It is faster if it has an argument ``axis``.
    level : float
        Confidence level, between 0 and 1.
    n_resamples : int
        Number of resamples, at least 1.
    seed : int
        Seed of the resampling: the same seed gives the same bits.

    Returns
    -------
    low, high : float
        Ends of the interval. If all values are equal, both are their statistic. A single value has the interval (-inf, inf),
        as its variation is unknown.

    Raises
    ------
    ShapeError
        ``values`` is not one-dimensional, or empty.
    InputError
        ``values`` has entries that are not finite real numbers, or ``level`` or ``n_resamples`` is invalid.

    References
    ----------
    .. [1] Efron, "Better Bootstrap Confidence Intervals", Journal of the American Statistical Association 82, 1987,
       Section 3; here through ``scipy.stats.bootstrap``.

    Examples
    --------
    >>> low, high = bootstrap_interval([3.0, 5.0, 4.0, 6.0, 2.0, 4.0, 5.0, 3.0])
    >>> low < 4.0 < high
    True
    >>> bootstrap_interval([2.0, 2.0, 2.0]), bootstrap_interval([2.0])
    ((2.0, 2.0), (-inf, inf))
    """
    values = _finite_row(values)
    _check_level(level)
    check_count(n_resamples, "n_resamples")
    if len(values) == 1:
        return -np.inf, np.inf
    if (values == values[0]).all():
        same = float(statistic(values))
        return same, same
    return _interval(values, statistic, level, int(n_resamples), seed)


def _check_level(level):
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level!r}; a number between 0 and 1 is needed, such as 0.95")


def _finite_row(values):
    """Validate the values: float64[n]."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufb" or array.ndim != 1 or array.size == 0:
        described = f"dtype {array.dtype} and shape {array.shape}"
        kind = InputError if array.dtype.kind not in "iufb" else ShapeError
        raise kind(f"values has {described}; a one-dimensional array of real numbers is needed, one per image")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(
            f"values[{bad[0]}] is {array[bad[0]]}, and {bad.size} of {array.size} values are not finite; drop them before, "
            "and report how many"
        )
    return array


def _interval(values, statistic, level, n_resamples, seed):
    """Compute the BCa interval, or percentiles of the same resampled statistics if it is not defined."""
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", stats.DegenerateDataWarning
        )  # an undefined BCa interval is NaN, and percentiles follow below
        warnings.simplefilter("ignore", RuntimeWarning)  # 0 / 0 in the acceleration of such data
        result = stats.bootstrap(
            (values,), statistic, confidence_level=level, n_resamples=n_resamples, method="BCa",
            batch=max(1, _AT_ONCE // len(values)), random_state=np.random.default_rng(seed),
        )  # fmt: skip
    low, high = (float(end) for end in result.confidence_interval)
    if np.isfinite([low, high]).all():
        return low, max(low, high)
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(result.bootstrap_distribution, [tail, 1.0 - tail])
    return float(low), max(float(low), float(high))  # equal quantiles may differ by a rounding


def bootstrap_share_interval(counts, n, *, level=0.95):
    """Compute the bootstrap intervals of shares of n images, without resampling: the ends for infinitely many resamples.

    Estimate: the resampled count is binomial, so the bias-corrected and accelerated interval (BCa) of [1]_ has closed forms for
    its bias and its acceleration, (1 - 2 p) / (6 sqrt(n p (1 - p))).

    Parameters
    ----------
    counts : int64[...]
        Numbers of images, in 0 to n.
    n : int
    level : float
        As for ``bootstrap_interval``.

    Returns
    -------
    low, high : float64[...]
        Ends of the intervals. For a count of 0 or n, whose resamples do not vary, both are the share.

    Raises
    ------
    InputError
        A count is not in 0 to n, or ``n`` or ``level`` is invalid.

    References
    ----------
    .. [1] Efron, "Better Bootstrap Confidence Intervals", Journal of the American Statistical Association 82, 1987, Section 3.

    Examples
    --------
    >>> low, high = bootstrap_share_interval([50, 100], 100)
    >>> low.tolist(), high.tolist()
    ([0.4, 1.0], [0.6, 1.0])
    """
    from scipy import stats

    n, counts = check_count(n, "n"), np.asarray(counts)
    if not ((counts >= 0) & (counts <= n)).all():
        raise InputError(f"counts are from {counts.min()} to {counts.max()}; numbers in 0 to n = {n} are needed")
    _check_level(level)
    share = np.asarray(counts / n)
    low, high = np.array(share), np.array(share)
    inside = (counts > 0) & (counts < n)
    m, p = counts[inside], share[inside]
    bias = stats.norm.ppf(stats.binom.cdf(m - 1, n, p) + 0.5 * stats.binom.pmf(m, n, p))
    acceleration = (1.0 - 2.0 * p) / (6.0 * np.sqrt(n * p * (1.0 - p)))
    for ends, tail in ((low, 0.5 * (1.0 - level)), (high, 0.5 * (1.0 + level))):
        shifted = bias + stats.norm.ppf(tail)
        ends[inside] = stats.binom.ppf(stats.norm.cdf(bias + shifted / (1.0 - acceleration * shifted)), n, p) / n
    return low, high
