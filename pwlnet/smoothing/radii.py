"""Certified radii of smoothed classifiers from bounds of probabilities, and the reverse, rounded to the safe side.

With Gaussian noise of standard deviation sigma, a class whose probability is at least p > 1/2 keeps the majority within the
l2 radius sigma * Phi^-1(p).
"""

from __future__ import annotations

import numpy as np

from .._types import ArrayLike, FloatArray
from ..errors import InputError
from ..validation import check_number

# The relative error of scipy's ndtri and ndtr is below 64 unit roundoffs where they are used here (tails and centre, never
# 1 minus a tail); the tests compare them with 60 digits.
_SAFETY = 2.0**-47
_LAST = 1.0 - 2.0**-53  # largest float64 below 1


def radius_of(p_low: ArrayLike, sigma: float) -> FloatArray:
    """Compute certified l2 radii from lower bounds of the probability of a class.

    Sound bound: never above sigma * Phi^-1(p_low) in exact arithmetic for the given float64 numbers, and 0 where p_low <= 1/2.

    Parameters
    ----------
    p_low : float64[...]
        In [0, 1].
    sigma : float
        Standard deviation of the noise, in the units of the input.

    Returns
    -------
    float64[...]
        In the units of the input. 0 stands for an abstention: the class may be a minority.

    Raises
    ------
    InputError
        ``p_low`` has entries outside [0, 1], or sigma is not a positive number.

    Notes
    -----
    1 - p is exact in float64 for p >= 1/2, so the quantile of the upper tail is evaluated at an exact argument; it is then
    lowered by a relative 2**-47, and the product with sigma is rounded down. ``p_low`` = 1 counts as 1 - 2**-53, so the radius
    is finite.

    References
    ----------
    .. [1] Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Theorem 1, with
       the bound 1 - p_low of the other classes.

    Examples
    --------
    >>> from pwlnet.smoothing.radii import radius_of
    >>> radius_of([0.4, 0.5, 0.9, 0.999], 0.25).round(4).tolist()
    [0.0, 0.0, 0.3204, 0.7726]
    """
    from scipy.special import ndtri

    sigma = check_number(sigma, "sigma", above=True)
    p = np.asarray(p_low, np.float64)
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise InputError("p_low has entries outside [0, 1] or NaN; lower bounds of probabilities are needed")
    with np.errstate(invalid="ignore"):
        quantile = -ndtri(1.0 - np.clip(p, 0.5, _LAST)) * (1.0 - _SAFETY)
    return np.where(p > 0.5, np.maximum(np.nextafter(sigma * quantile, 0.0), 0.0), 0.0)


def probability_for(radius: ArrayLike, sigma: float) -> FloatArray:
    """Compute the probability of a class that implies a certified l2 radius.

    Sound bound: never below Phi(radius / sigma) in exact arithmetic, so "probability > probability_for(r, sigma)" implies
    "certified radius > r".

    Parameters
    ----------
    radius : float64[...]
        At least 0, in the units of the input.
    sigma : float
        Standard deviation of the noise.

    Returns
    -------
    float64[...]
        In [1/2, 1]; 1, which no test can confirm, from about 8.3 sigma.

    Raises
    ------
    InputError
        A radius is negative or not finite, or sigma is not a positive number.

    Examples
    --------
    >>> from pwlnet.smoothing.radii import probability_for
    >>> probability_for([0.0, 0.25, 0.75], 0.25).round(4).tolist()
    [0.5, 0.8413, 0.9987]
    """
    from scipy.special import ndtr

    sigma = check_number(sigma, "sigma", above=True)
    radius = np.asarray(radius, np.float64)
    if not (np.isfinite(radius) & (radius >= 0.0)).all():
        raise InputError("radius has entries that are negative or not finite; radii of at least 0 are needed")
    quotient = np.nextafter(radius / sigma, np.inf)  # the division may have rounded down
    tail = ndtr(-quotient) * (1.0 - _SAFETY * (1.0 + quotient * quotient))  # the tail at x moves by x^2 times the error of x
    return np.where(radius == 0.0, 0.5, np.nextafter(1.0 - np.maximum(tail, 0.0), 1.0))
