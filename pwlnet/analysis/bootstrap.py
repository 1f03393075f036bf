"""Bootstrap intervals: what a statistic over images would be for other images of the same kind.

Legend: n values, one per image.
"""

import numbers
import warnings

import numpy as np

from ..errors import InputError, ShapeError

_AT_ONCE = 2**21  # resampled values that are held at a time


def bootstrap_interval(values, *, statistic=np.mean, level=0.95, n_resamples=10000, seed=0):
    """Find a bootstrap confidence interval of a statistic of independent values.

    Estimate: by resampling, bias-corrected and accelerated (BCa) [1]_; by plain percentiles of the resampled statistics
    where BCa isn't defined (the statistic doesn't change when one value is left out, or is beyond all resampled ones).

    Parameters
    ----------
    values : float64[n]
        One number per image, all finite. Drop what has none before, and report how many were dropped.
    statistic : callable
        Of an array to a number: ``np.mean``, ``np.median``. With an argument ``axis`` it is quicker.
    level : float
        Probability that the interval is to cover, between 0 and 1.
    n_resamples : int
        At least 1.
    seed : int
        Of the resampling: the same seed gives the same bits.

    Returns
    -------
    low, high : float
        Ends of the interval. Values that are all equal give their statistic twice. One value tells nothing of the spread:
        its interval is (-inf, inf).

    Raises
    ------
    ShapeError
        ``values`` isn't a list of one number or more.
    InputError
        ``values`` holds NaN, infinities or something else than real numbers, or ``level`` or ``n_resamples`` can't be used.

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
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level!r}; a probability between 0 and 1 is needed, such as 0.95")
    if not isinstance(n_resamples, numbers.Integral) or n_resamples < 1:
        raise InputError(f"n_resamples is {n_resamples!r}; a positive whole number is needed")
    if len(values) == 1:
        return -np.inf, np.inf
    if (values == values[0]).all():
        same = float(statistic(values))
        return same, same
    return _interval(values, statistic, level, int(n_resamples), seed)


def _finite_row(values):
    """Check the values: float64[n]."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufb" or array.ndim != 1 or array.size == 0:
        shape = f"an array of {array.dtype}{list(array.shape)}"
        kind = InputError if array.dtype.kind not in "iufb" else ShapeError
        raise kind(f"values is {shape}, but a bootstrap takes a list of real numbers, one per image; give one or more")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(
            f"values[{bad[0]}] is {array[bad[0]]}, and {bad.size} of {array.size} values aren't finite; drop them before, "
            "and report how many"
        )
    return array


def _interval(values, statistic, level, n_resamples, seed):
    """BCa interval, or percentiles of the same resampled statistics where that has no value."""
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # BCa without a value is NaN and falls back below
        warnings.simplefilter("ignore", RuntimeWarning)  # 0 / 0 in the acceleration of such data
        found = stats.bootstrap(
            (values,), statistic, confidence_level=level, n_resamples=n_resamples, method="BCa",
            batch=max(1, _AT_ONCE // len(values)), random_state=np.random.default_rng(seed),
        )  # fmt: skip
    low, high = (float(end) for end in found.confidence_interval)
    if np.isfinite([low, high]).all():
        return low, high
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(found.bootstrap_distribution, [tail, 1.0 - tail])
    return float(low), float(high)
