"""Certificates of a changed classifier from those of the old one, with few votes of the new one.

Legend: B images, S shape of an image.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .._types import ArrayLike
from ..errors import InputError, ShapeError
from ..validation import check_count
from .certificates import ABSTAINED, Certificates
from .noise import ESTIMATE
from .plans import progress_bar
from .radii import radius_of
from .recertify import recertify_counts

if TYPE_CHECKING:
    from .classifier import SmoothedClassifier


def recertify_smoothed(
    old: SmoothedClassifier,
    new: SmoothedClassifier,
    certificates: Certificates,
    x: ArrayLike,
    *,
    m: int = 1000,
    batch_size: int | None = None,
    progress: bool = False,
) -> Certificates:
    """Certify a changed classifier by counting how often it loses votes on the noise of the old one's certificates.

    Estimate: with confidence 1 - alpha of the old certificates, of which a tenth is for the lost votes. The new classifier must
    not have been chosen by its votes on this noise. Useful where the classifiers rarely disagree, as for the steps of a sweep
    over ``eta``: m votes of each instead of n of the new one.

    Parameters
    ----------
    old, new : SmoothedClassifier
        With the same noise level.
    certificates : Certificates
        Of ``old``, by the method "clopper_pearson" or "two_stage".
    x : float64[B, *S]
        The images.
    m : int, optional
        Draws on which the votes of both are compared: the first m of each certificate.
    batch_size : int, optional
    progress : bool, optional

    Returns
    -------
    Certificates
        With the method "recertified": k and n are those of the old ones, p_low is for the new classifier; the guarantee is the
        new classifier's.

    Raises
    ------
    InputError
        The noise levels differ, m is larger than a certificate's number of draws, or the certificates are of another method.
    ShapeError
        There is not one certificate for each image.

    References
    ----------
    .. [1] Ugare et al., "Incremental Randomized Smoothing Certification", ICLR 2024. Here only votes that the class loses
       count, see ``recertify``.
    """
    points, _ = new._as_images(x)
    m = check_count(m, "m")
    if len(points) != len(certificates):
        raise ShapeError(f"there are {len(points)} images and {len(certificates)} certificates; give one for each")
    if old.sigma != new.sigma:
        raise InputError(f"sigma is {old.sigma:g} for the old classifier and {new.sigma:g} for the new one; give equal ones")
    results = []
    with progress_bar(progress, len(points)) as bar:
        for point, certificate in zip(points, certificates, strict=True):
            results.append(_recertify(old, new, certificate, point, m, batch_size))
            bar.update()
    return Certificates.from_list(results)


def _recertify(old, new, certificate, point, m, batch_size):
    """Recertify one image: Certificate."""
    if certificate.method not in ("clopper_pearson", "two_stage"):
        raise InputError(
            f"certificate of image {certificate.image} is of method {certificate.method!r}, whose votes have another level; "
            "give those of 'clopper_pearson' or 'two_stage'"
        )
    if m > certificate.n or certificate.sigma != old.sigma:
        raise InputError(
            f"certificate of image {certificate.image} has {certificate.n} draws and sigma {certificate.sigma:g}, but m is {m} "
            f"and sigma {old.sigma:g}; give at most as many, of the old classifier"
        )
    started = time.perf_counter()
    draws = {"rng": certificate.seed, "image": certificate.image, "purpose": ESTIMATE, "batch_size": batch_size}
    before, after = (smoothed.votes(point, 0, m, **draws) == certificate.candidate for smoothed in (old, new))
    lost = int(np.count_nonzero(before & ~after))
    p_low = float(recertify_counts(certificate.k, certificate.n, lost, m, certificate.alpha))
    radius = float(radius_of(p_low, new.sigma))
    label = certificate.candidate if radius > 0.0 else ABSTAINED
    changed = {"label": label, "radius": radius, "p_low": p_low, "guarantee": new.guarantee, "method": "recertified"}
    return replace(certificate, **changed, r_region=float("nan"), seconds=time.perf_counter() - started)
