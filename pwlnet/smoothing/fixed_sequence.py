"""Radii tested one after the other with the same votes: the largest radius of a grid that all tests up to it confirm.

For statements that get weaker votes at larger radii: a function h_R of the noisy point, 1 where a class is proved to win for
all that the radius R leaves open, with h_R >= h_R' for R <= R'.

Legend: G radii, increasing; n votes.
"""

import numpy as np

from ..binomial import clopper_pearson
from ..validation import check_count
from .radii import probability_for, radius_of

_SLACK = 2.0**-40  # relative, far above the rounding errors that it covers


def radius_grid(sigma, n, alpha, count):
    """Return ``count`` radii with equal distances up to what n equal votes certify: float64[G], increasing."""
    largest = float(radius_of(alpha ** (1.0 / n), sigma))
    return largest * np.arange(1, check_count(count, "count") + 1) / count


def lower_bound(hits, n, alpha, inner_error=0.0):
    """Bound the mean of h from below, if hits also occur with probability ``inner_error`` where h = 0: a float."""
    p_low = float(clopper_pearson(hits, n, alpha, side="lower")[0])
    return max(0.0, (p_low - inner_error) / (1.0 - inner_error)) * (1.0 - (_SLACK if inner_error else 0.0))


def is_confirmed(p_low, radius, sigma, floor=0.5):
    """Return whether ``p_low > Phi(Phi^-1(floor) + radius / sigma)``; False in doubt of rounding."""
    from scipy.special import ndtri

    shift = 0.0 if floor == 0.5 else sigma * float(ndtri(floor)) * (1.0 + _SLACK)
    return p_low > float(probability_for(float(radius) + shift, sigma))


def largest_radius(hits, n, alpha, sigma, grid, *, floor=0.5, inner_error=0.0):
    """Find the largest radius R of a grid such that E h_R > Phi(R / sigma) is confirmed at it and at all smaller ones.

    Estimate: the statement is false for the result with probability at most alpha.

    Parameters
    ----------
    hits : int64[G]
        Number of the n draws with h_R = 1.
    n : int
    alpha : float
    sigma : float
    grid : float64[G]
        Fixed before the votes were drawn.
    floor : float, optional
        The probability in [1/2, 1) that must remain at the distance R; the statement is E h_R > Phi(Phi^-1(floor) + R / sigma).
    inner_error : float, optional
        Largest probability of a hit where h_R = 0, for hits that are estimates themselves.

    Returns
    -------
    index : int
        Of the radius; -1 for none.
    p_low : float
        Lower bound of E h_R at this radius; at the first one if there is none.

    Notes
    -----
    The hypotheses "E h_R <= Phi(R / sigma)" hold for all R above the least at which one holds, since the left side does not
    increase in R and the right side does. Tested in increasing order up to the first that is not rejected, a true one is
    rejected only if the first true one is, which has probability at most alpha [1]_.

    References
    ----------
    .. [1] Maurer, Hothorn, Lehmacher, "Multiple comparisons in drug clinical trials and preclinical assays: a-priori ordered
       hypotheses", 1995 (fixed-sequence tests).

    Examples
    --------
    >>> import numpy as np
    >>> from pwlnet.smoothing.fixed_sequence import largest_radius
    >>> index, p_low = largest_radius(np.array([1000, 990, 600]), 1000, 0.001, 0.25, np.array([0.1, 0.2, 0.3]))
    >>> index, round(p_low, 3)
    (1, 0.976)
    """
    found = -1, lower_bound(int(hits[0]), n, alpha, inner_error)
    for g, radius in enumerate(grid):
        p_low = lower_bound(int(hits[g]), n, alpha, inner_error)
        if not is_confirmed(p_low, radius, sigma, floor):
            break
        found = g, p_low
    return found
