"""Certificates of a changed classifier (quantised, pruned, repressed) from those of the old one and their disagreements."""

from __future__ import annotations

import numpy as np

from .._types import ArrayLike, FloatArray
from ..binomial import as_counts, check_level, clopper_pearson
from ..errors import InputError
from ..validation import check_number

_SHARE = 0.1  # of alpha, for the disagreements: their bound is narrow anyway when they are rare


def recertify(
    p_low: ArrayLike, disagreements: ArrayLike, m: int, alpha: float, *, gains: ArrayLike | None = None
) -> FloatArray:
    """Bound the probability of a class under a changed classifier from a bound under the old one.

    Sound bound: with confidence 1 - alpha1 - ``alpha``, where 1 - alpha1 is the confidence of ``p_low``.

    Parameters
    ----------
    p_low : float64[...]
        Lower bounds of the probability of the class under the old classifier.
    disagreements : int[...]
        Among m draws of the same noise, those on which the two classifiers differ; or, which is as valid and never worse, those
        that the class loses: the old one votes for it and the new one does not.
    m : int
    alpha : float
        Level of the bound of the disagreements.
    gains : int[...], optional
        Draws among the m that the class gains. ``disagreements`` must be the losses then; each count has alpha / 2. Whether to
        use gains must be decided before looking at the votes.

    Returns
    -------
    float64[...]
        Lower bounds in [0, 1] of the probability of the class under the new classifier.

    Raises
    ------
    InputError
        p_low is outside [0, 1], alpha is not in (0, 1), or a count is negative or above m, or losses and gains together are.

    Notes
    -----
    Statement: let f and g be the old and the new classifier, c a class and z a noisy point. Then
    P(g(z) = c) >= P(f(z) = c) - P(f(z) != g(z)).
    Proof: g votes for c whenever f does and they do not disagree. Exactly, P(g = c) = P(f = c) - P(f = c, g != c)
    + P(f != c, g = c), and the loss P(f = c, g != c) is at most P(f != g). If p_low <= P(f = c) fails with probability at most
    alpha1 and P(loss) <= zeta with at most alpha, p_low - zeta <= P(g = c) fails with at most alpha1 + alpha.

    This sum needs no independence of the two events, so the m draws may be some of those behind p_low (the same noise, whose
    old votes are known) as well as fresh ones. They must be m independent draws of the noise, chosen without looking at votes,
    and neither g nor c may have been chosen with them. If the votes of g on all n draws are known, count its hits and use
    ``clopper_pearson`` at the full level: it needs no bound of f and is exact.

    References
    ----------
    .. [1] Ugare, Suresh, Banerjee, Singh and Misailovic, "Incremental Randomized Smoothing Certification", ICLR 2024
       (arXiv:2305.19521): the bound by disagreements. Counting losses only, and gains, is an extension.

    Examples
    --------
    >>> from pwlnet.smoothing.recertify import recertify
    >>> recertify(0.95, [0, 5, 1000], 1000, 0.0001).round(4).tolist()
    [0.9408, 0.9306, 0.0]
    """
    alpha = check_level(alpha)
    p_low = np.asarray(p_low, np.float64)
    if not ((p_low >= 0.0) & (p_low <= 1.0)).all():
        raise InputError("p_low has entries outside [0, 1] or NaN; lower bounds of probabilities are needed")
    if gains is None:
        change = -clopper_pearson(disagreements, m, alpha, side="upper")[1]
    else:
        as_counts(np.add(disagreements, gains), m)
        lost = clopper_pearson(disagreements, m, 0.5 * alpha, side="upper")[1]
        change = clopper_pearson(gains, m, 0.5 * alpha, side="lower")[0] - lost
    return np.clip(np.nextafter(p_low + change, -1.0), 0.0, 1.0)


def recertify_counts(
    k: ArrayLike,
    n: int,
    disagreements: ArrayLike,
    m: int,
    alpha: float,
    *,
    gains: ArrayLike | None = None,
    share: float = _SHARE,
) -> FloatArray:
    """Bound the probability of a class under a changed classifier from the votes of the old one, at one level.

    Sound bound: with confidence 1 - alpha, of which the disagreements have ``share`` and the votes the rest.

    Parameters
    ----------
    k : int[...]
        Votes for the class among n under the old classifier.
    n : int
    disagreements : int[...]
        See ``recertify``.
    m : int
    alpha : float
        Total level.
    gains : int[...], optional
        See ``recertify``.
    share : float, optional
        In (0, 1); to be chosen before looking at the votes.

    Returns
    -------
    float64[...]

    Raises
    ------
    InputError
        alpha or share is not in (0, 1), or a count is negative or above its number of draws.

    Examples
    --------
    >>> from pwlnet.smoothing.recertify import recertify_counts
    >>> float(recertify_counts(9900, 10_000, 2, 1000, 0.001).round(4))
    0.9726
    """
    alpha, share = check_level(alpha), check_number(share, "share", above=True)
    if share >= 1.0:
        raise InputError(f"share is {share!r}; a number between 0 and 1 is needed")
    p_low, _ = clopper_pearson(k, n, (1.0 - share) * alpha, side="lower")
    return recertify(p_low, disagreements, m, share * alpha, gains=gains)
