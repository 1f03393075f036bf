"""Evaluate certificates: certified accuracy, average certified radius, their intervals, and paired differences.

All functions accept Certificates with true labels, or a CertificationLog, which has them. The radius that they use is that of
the guarantee of the certificates; ``sound=True`` uses ``sound_radius`` instead. Results keep the guarantee, so that curves of
nominal radii can be told from certified ones.

Legend: B images, R radii, Q quantiles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._types import ArrayLike, FloatArray
from ..analysis.bootstrap import bootstrap_interval, bootstrap_share_interval
from ..binomial import clopper_pearson
from ..errors import InputError, ShapeError
from ..validation import check_number
from .certificates import Certificates
from .logs import CertificationLog

_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_EASIEST = 0.1  # share of the images with the largest radii, of ``VoteSummary.easiest_share``


class Estimate(NamedTuple):
    """A mean over images, and the ends of its confidence interval."""

    value: float
    low: float
    high: float
    n: int  # images
    stride: int | None  # of the subset of images; None: not known
    guarantee: str | None  # of the radii; None: a log that does not say; of a difference: "first - second" if they differ


class AccuracyCurve(NamedTuple):
    """Certified accuracies at radii, with a pointwise confidence interval."""

    radii: FloatArray  # float64[R]
    accuracy: FloatArray  # float64[R]
    low: FloatArray  # float64[R]
    high: FloatArray  # float64[R]
    n: int
    stride: int | None
    guarantee: str | None


class Comparison(NamedTuple):
    """Differences, first minus second, of two certifications of the same images."""

    acr: Estimate
    accuracy: AccuracyCurve  # of differences, from -1 to 1


class VoteSummary(NamedTuple):
    """How probable the most likely class is under noise."""

    levels: FloatArray  # float64[Q] of the quantiles
    p_low: FloatArray  # float64[Q] quantiles of the lower bounds
    p_votes: FloatArray  # float64[Q] quantiles of the shares of votes k / n
    abstained: float  # share of the images
    unanimous: float  # share of the images with k = n, whose radius is limited by n alone
    easiest_share: float  # share of the ACR from the tenth of the images with the largest radii; NaN without labels or ACR
    n: int


class _Outcomes(NamedTuple):
    """What the evaluation of a certification needs."""

    correct: np.ndarray  # bool[B]
    radius: np.ndarray  # float64[B], without NaN; -1 where nothing is certified, so that no threshold is reached
    images: np.ndarray  # int64[B]
    stride: int | None
    guarantee: str | None


def certified_accuracy(
    certificates: Certificates | CertificationLog, labels: ArrayLike | None = None, radii: ArrayLike = (0.0,), *,
    sound: bool = False,
) -> FloatArray:  # fmt: skip
    """Compute the share of images that are correct and certified at radii.

    Estimate: a mean over images of what each certificate guarantees; an abstention is wrong. At radius 0, images count that are
    predicted correctly without abstention. At a radius that equals a threshold, the image counts.

    Parameters
    ----------
    certificates : Certificates or CertificationLog
    labels : int64[B], optional
        True classes; not for a log.
    radii : float64[R]
        Finite, at least 0.
    sound : bool, optional
        Use ``sound_radius``.

    Returns
    -------
    float64[R]

    Raises
    ------
    ShapeError
        There is not one label for each image.
    InputError
        There are no images, a radius is invalid, or ``sound`` is asked of a log.

    References
    ----------
    .. [1] Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Section 4.

    Examples
    --------
    >>> import numpy as np
    >>> found = Certificates([3, -1, 1], [0.5, 0.0, 0.2], [0.98, 0.4, 0.9], 990, 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> certified_accuracy(found, [3, 7, 1], [0.0, 0.2, 0.5, 0.6]).round(2).tolist()
    [0.67, 0.67, 0.33, 0.0]
    """
    outcomes, radii = _outcomes(certificates, labels, sound), _checked_radii(radii)
    return _reached(outcomes, radii).mean(axis=1)


def average_certified_radius(
    certificates: Certificates | CertificationLog, labels: ArrayLike | None = None, *, sound: bool = False
) -> float:
    """Compute the average certified radius (ACR): the mean over images of the radius, 0 where the prediction is wrong.

    Estimate: a mean over images. It can be increased by certifying easy images better, and it is not a measure of robustness by
    itself [2]_: report ``summarize_votes`` with it.

    Parameters
    ----------
    certificates, labels, sound
        As for ``certified_accuracy``.

    Returns
    -------
    float

    Raises
    ------
    ShapeError, InputError
        As for ``certified_accuracy``.

    References
    ----------
    .. [1] Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", ICLR 2020, Section 5.
    .. [2] Sun et al., "Average Certified Radius is a Poor Metric for Randomized Smoothing", arXiv:2410.06895, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> found = Certificates([3, -1, 1], [0.5, 0.0, 0.2], [0.98, 0.4, 0.9], 990, 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> average_certified_radius(found, [3, 7, 0])
    0.16666666666666666
    """
    return float(_certified(_outcomes(certificates, labels, sound)).mean())


def estimate_acr(
    certificates: Certificates | CertificationLog, labels: ArrayLike | None = None, *, sound: bool = False,
    level: float = 0.95, n_resamples: int = 10000, seed: int = 0,
) -> Estimate:  # fmt: skip
    """Compute the average certified radius with a bootstrap confidence interval over images.

    Estimate: the interval is for another sample of images, not for the noise, whose error each certificate bounds.

    Parameters
    ----------
    certificates, labels, sound
        As for ``certified_accuracy``.
    level, n_resamples, seed
        As for ``bootstrap_interval``.

    Returns
    -------
    Estimate

    Raises
    ------
    ShapeError, InputError
        As for ``certified_accuracy`` and ``bootstrap_interval``.

    Examples
    --------
    >>> import numpy as np
    >>> found = Certificates([3, -1, 1], [0.5, 0.0, 0.2], [0.98, 0.4, 0.9], 990, 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> acr = estimate_acr(found, [3, 7, 1])
    >>> acr.low < acr.value < acr.high, acr.n, acr.guarantee
    (True, 3, 'sound')
    """
    outcomes = _outcomes(certificates, labels, sound)
    options = {"level": level, "n_resamples": n_resamples, "seed": seed}
    return _estimate(_certified(outcomes), outcomes, outcomes.guarantee, options)


def accuracy_curve(
    certificates: Certificates | CertificationLog, labels: ArrayLike | None = None, radii: ArrayLike = (0.0,), *,
    sound: bool = False, level: float = 0.95,
) -> AccuracyCurve:  # fmt: skip
    """Compute certified accuracies with pointwise confidence intervals over images.

    Estimate: bootstrap intervals of shares, without resampling; where all images are certified, or none, by Clopper-Pearson,
    because resamples do not vary then.

    Parameters
    ----------
    certificates, labels, radii, sound
        As for ``certified_accuracy``.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    AccuracyCurve

    Raises
    ------
    ShapeError, InputError
        As for ``certified_accuracy`` and ``bootstrap_share_interval``.

    Examples
    --------
    >>> import numpy as np
    >>> found = Certificates([3, -1, 1], [0.5, 0.0, 0.2], [0.98, 0.4, 0.9], 990, 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> accuracy_curve(found, [3, 7, 1], [0.0, 0.6]).high.round(3).tolist()
    [1.0, 0.708]
    """
    outcomes, radii = _outcomes(certificates, labels, sound), _checked_radii(radii)
    counts, n = _reached(outcomes, radii).sum(axis=1), len(outcomes.correct)
    low, high = bootstrap_share_interval(counts, n, level=level)
    same = (counts == 0) | (counts == n)
    low[same], high[same] = clopper_pearson(counts[same], n, 1.0 - level)
    return AccuracyCurve(radii, counts / n, low, high, n, outcomes.stride, outcomes.guarantee)


def compare_certificates(
    first: Certificates | CertificationLog, second: Certificates | CertificationLog, labels: ArrayLike | None = None,
    radii: ArrayLike = (0.0,), *, sound: bool = False, level: float = 0.95, n_resamples: int = 10000, seed: int = 0,
) -> Comparison:  # fmt: skip
    """Compute the differences of two certifications of the same images, with bootstrap intervals of paired differences.

    Estimate: images that both treat equally do not widen the intervals, as they would in two separate ones. The same resamples
    are used at all radii; each takes a time in proportion to images and resamples.

    Parameters
    ----------
    first, second : Certificates or CertificationLog
        Of the same images, in the same order.
    labels, radii, sound
        As for ``certified_accuracy``; labels for both.
    level, n_resamples, seed
        As for ``bootstrap_interval``.

    Returns
    -------
    Comparison
        Of first minus second. Different guarantees are allowed, and named.

    Raises
    ------
    ShapeError, InputError
        As for ``certified_accuracy`` and ``bootstrap_interval``; InputError, too, if the images or true labels differ.

    Examples
    --------
    >>> import numpy as np
    >>> a = Certificates([3, 1], [0.5, 0.2], [0.98, 0.9], 990, 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> b = Certificates([3, -1], [0.4, 0.0], [0.98, 0.4], 990, 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> round(compare_certificates(a, b, [3, 1]).acr.value, 3)
    0.15
    """
    radii = _checked_radii(radii)
    a, b = (_outcomes(each, None if isinstance(each, CertificationLog) else labels, sound) for each in (first, second))
    _refuse_other_images(a, b)
    of_logs = [each.label for each in (first, second) if isinstance(each, CertificationLog)]
    if not all(np.array_equal(of_logs[0], each) for each in [*of_logs, *([labels] if labels is not None and of_logs else [])]):
        raise InputError("first and second have different true labels; compare certifications of the same images")
    guarantee = a.guarantee if a.guarantee == b.guarantee else f"{a.guarantee} - {b.guarantee}"
    a = a._replace(stride=b.stride if a.stride is None else a.stride)
    options = {"level": level, "n_resamples": n_resamples, "seed": seed}
    differences = _reached(a, radii).astype(np.float64) - _reached(b, radii)
    ends = np.reshape([bootstrap_interval(row, **options) for row in differences], (-1, 2))
    low, high = ends.clip(-1.0, 1.0).T
    curve = AccuracyCurve(radii, differences.mean(axis=1), low, high, len(a.correct), a.stride, guarantee)
    return Comparison(_estimate(_certified(a) - _certified(b), a, guarantee, options), curve)


def summarize_votes(certificates: Certificates, labels: ArrayLike | None = None, *, levels: ArrayLike = _LEVELS) -> VoteSummary:
    """Summarize how probable the most likely class is under noise, over images.

    Estimate: quantiles over images of confidence bounds and of shares of votes. The ACR alone hides whether radii come from a
    few easy images, whose probabilities are close to 1 [1]_; ``easiest_share`` shows it.

    Parameters
    ----------
    certificates : Certificates
        Logs do not have the votes.
    labels : int64[B], optional
        For ``easiest_share``.
    levels : float64[Q], optional
        Of the quantiles, in [0, 1].

    Returns
    -------
    VoteSummary

    Raises
    ------
    InputError
        These are no certificates, or of no images, or levels are not in [0, 1].
    ShapeError
        There is not one label for each image.

    References
    ----------
    .. [1] Sun et al., "Average Certified Radius is a Poor Metric for Randomized Smoothing", arXiv:2410.06895, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> found = Certificates([3, -1, 1], [0.5, 0.0, 0.2], [0.98, 0.4, 0.9], 990, 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> summarize_votes(found, levels=[0.0, 0.5]).p_low.tolist()
    [0.4, 0.9]
    """
    if not isinstance(certificates, Certificates):
        raise InputError(f"certificates is a {type(certificates).__name__}; Certificates are needed, which have the votes")
    if not len(certificates):
        raise InputError("certificates are of no images; at least one is needed")
    levels = np.atleast_1d(np.asarray(levels, np.float64))
    if not ((levels >= 0.0) & (levels <= 1.0)).all():
        raise InputError(f"levels are {levels.tolist()}; numbers in [0, 1] are needed")
    share = np.nan
    if labels is not None:
        certified = np.sort(_certified(_outcomes(certificates, labels, False)))[::-1]
        easiest = certified[: max(1, round(_EASIEST * len(certified)))]
        share = float(easiest.sum() / certified.sum()) if certified.any() else np.nan
    votes = certificates.k / np.maximum(certificates.n, 1)
    return VoteSummary(
        levels, np.quantile(certificates.p_low, levels), np.quantile(votes, levels), float(certificates.abstained.mean()),
        float((certificates.k == certificates.n).mean()), share, len(certificates),
    )  # fmt: skip


def _outcomes(certificates, labels, sound):
    """Validate what is evaluated: _Outcomes."""
    if isinstance(certificates, CertificationLog):
        if labels is not None:
            raise InputError("labels are given for a log, which has them; omit labels")
        if sound and certificates.guarantee == "nominal":
            raise InputError("sound is True, but a log has no radii of regions; read Certificates from a store instead")
        images, stride, correct, radius = certificates.idx, certificates.stride, certificates.correct, certificates.radius
    elif isinstance(certificates, Certificates):
        if labels is None:
            raise InputError("labels is None; certificates need the true class of each image")
        images, stride, correct = certificates.image, None, certificates.correct(labels)
        radius = certificates.sound_radius if sound else certificates.radius
    else:
        raise InputError(f"certificates is a {type(certificates).__name__}; Certificates or a CertificationLog is needed")
    if not len(images):
        raise InputError("certificates are of no images; at least one is needed")
    return _Outcomes(correct, np.where(np.isnan(radius), -1.0, radius), images, stride, certificates.guarantee)


def _checked_radii(radii):
    radii = np.atleast_1d(np.asarray(radii, np.float64))
    if radii.ndim != 1:
        raise ShapeError(f"radii has shape {radii.shape}; one dimension is needed")
    for radius in radii.tolist():
        check_number(radius, "a radius")
    return radii


def _reached(outcomes, radii):
    """Images that are certified at each radius: bool[R, B]."""
    return outcomes.correct & (outcomes.radius >= radii[:, None])


def _certified(outcomes):
    """Certified radii of images, 0 where wrong: float64[B]."""
    return np.where(outcomes.correct, np.maximum(outcomes.radius, 0.0), 0.0)


def _estimate(values, outcomes, guarantee, options):
    low, high = bootstrap_interval(values, **options)
    return Estimate(float(values.mean()), low, high, len(values), outcomes.stride, guarantee)


def _refuse_other_images(a, b):
    if a.images.shape != b.images.shape:
        raise ShapeError(f"first has {len(a.images)} images, but second has {len(b.images)}; give the same images")
    different = np.flatnonzero(a.images != b.images)
    if different.size:
        row = different[0]
        raise InputError(
            f"row {row} is of image {a.images[row]} in first, but of image {b.images[row]} in second; give the same images in "
            "the same order"
        )
