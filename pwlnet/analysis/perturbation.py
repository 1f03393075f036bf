"""Perturbed images: steps with given signs, by the rules of two papers.

Legend: B images, S shape of an image.
"""

import numpy as np

from ..errors import InputError, ShapeError


def _additive(images, epsilon, levels):
    return epsilon


def _floor(images, epsilon, levels):
    return np.floor(epsilon * np.rint(levels * images)) / levels


STEPS = {"additive": _additive, "floor": _floor}


def perturb(images, signs, *, epsilon, rule="additive", clip=(0.0, 1.0), levels=255):
    """Add a step with given signs to the entries of images.

    Exact up to rounding.

    Parameters
    ----------
    images : float64[B, *S]
        In [0, 1] for ``rule="floor"``.
    signs : float64[B, *S]
        Signs of a gradient, or random ones: ``rng.choice((-1.0, 1.0), images.shape)``. Entries with 0 are not changed.
    epsilon : float
        Not negative, in units of the images.
    rule : {"additive", "floor"}, optional
        "additive" changes each entry by epsilon, to a corner of the l_inf ball [1]_. "floor" changes an entry with grey value
        g, from 0 to ``levels``, by floor(epsilon g) grey values [2]_, so dark entries are not changed.
    clip : (lower, upper) or None, optional
        Range to which the result is clipped.
    levels : int, optional
        Largest grey value, for "floor".

    Returns
    -------
    float64[B, *S]

    Raises
    ------
    ShapeError
        ``signs`` and ``images`` do not have the same shape.
    InputError
        Values are not finite, or ``epsilon`` or ``rule`` is invalid.

    References
    ----------
    .. [1] Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, Section 4.
    .. [2] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 5; the rule of
       the authors' code, ``perturb_l_inf`` in experiments/linearity_hypothesis.py.

    Examples
    --------
    >>> image = np.array([0.0, 0.25, 1.0])
    >>> perturb(image, np.array([1.0, -1.0, 1.0]), epsilon=0.125)
    array([0.125, 0.125, 1.   ])
    >>> 255 * (perturb(image, np.array([1.0, -1.0, -1.0]), epsilon=0.03, rule="floor") - image)
    array([ 0., -1., -7.])
    """
    images, signs = np.asarray(images, np.float64), np.asarray(signs, np.float64)
    if images.shape != signs.shape:
        raise ShapeError(f"signs has shape {signs.shape}, but images has {images.shape}; one sign per entry is needed")
    if not np.isfinite(images).all() or not np.isfinite(signs).all():
        raise InputError("images or signs has NaN or infinite entries; finite numbers are needed")
    if not 0.0 <= epsilon < np.inf:
        raise InputError(f"epsilon is {epsilon!r}; a finite number of at least 0 is needed")
    if rule not in STEPS:
        raise InputError(f"rule is {rule!r}; use one of {', '.join(STEPS)}")
    moved = images + STEPS[rule](images, epsilon, levels) * np.sign(signs)
    return moved if clip is None else np.clip(moved, *clip)
