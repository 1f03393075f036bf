"""Certificates of randomized smoothing: of one image, and of many.

Legend: B images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import get_args, overload

import numpy as np
from numpy.typing import NDArray

from .._types import AnyArray, ArrayLike, BoolArray, FloatArray, Guarantee, Index, IntArray
from ..errors import InputError, ShapeError
from ..tolerances import CERTIFIED_RADIUS
from ..validation import check_choice

ABSTAINED = -1
GUARANTEES = get_args(Guarantee)
METHODS = ("clopper_pearson", "sequential", "two_stage", "recertified", "voted", "nested", "reachable")
_MEANINGS = {
    "sound": "with confidence {confidence}, no input within the radius is classified differently",
    "conditional": "with confidence {confidence}, but only if every query is evaluated with the stored pattern of this image",
    "nominal": "not a certificate of the deployed classifier; sound_radius is",
}
_INTEGERS = ("label", "k", "n", "seed", "n0", "image", "candidate")


def _describe_guarantee(guarantee, alpha):
    """Say what a guarantee means; ``alpha``: the largest one."""
    return _MEANINGS[guarantee].format(confidence=f"{1.0 - alpha:.10g}")


@dataclass(frozen=True, eq=False)
class Certificate:
    """What randomized smoothing found at one image, and what it guarantees; plain Python numbers.

    Attributes
    ----------
    label : int
        Predicted class; -1: abstained.
    radius : float
        In l2, in units of the input; 0.0 if abstained. What it means depends on ``guarantee``.
    p_low : float
        Lower confidence bound of the probability of the candidate under noise.
    k, n : int
        Votes for the candidate, and draws of the estimate (without the n0 draws of the selection).
    alpha : float
        Probability of an error: the confidence is 1 - alpha.
    guarantee : {"sound", "conditional", "nominal"}
        "sound": with confidence 1 - alpha, the deployed rule predicts ``label`` within the radius. "conditional": the same for
        the classifier whose reference pattern stays that of this image, so only if each query is evaluated with that pattern.
        "nominal": SC-RFP as published; the radius is not a certificate.
    r_region : float
        Radius of the largest l2 ball within the activation region of the image; NaN where it was not computed.
    seed : int
    sigma : float
        Standard deviation of the noise, in units of the input.
    n0 : int
        Draws of the selection.
    image : int
        Number of the image, part of the counters of its noise.
    candidate : int
        The class whose probability was estimated, also where it abstained; -1: unknown.
    method : str
        One of METHODS.
    seconds : float
        NaN: not measured.

    References
    ----------
    .. [1] Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Section 3.2.2.

    Examples
    --------
    >>> certificate = Certificate(3, 0.5, 0.977, 990, 1000, 0.001, "nominal", 0.01, seed=0, sigma=0.25)
    >>> certificate.correct(3), certificate.sound_radius
    (True, 0.01)
    """

    label: int
    radius: float
    p_low: float
    k: int
    n: int
    alpha: float
    guarantee: str
    r_region: float
    seed: int
    sigma: float
    n0: int = 0
    image: int = 0
    candidate: int = -1
    method: str = "clopper_pearson"
    seconds: float = float("nan")

    @property
    def abstained(self) -> bool:
        """No class was certified: bool."""
        return self.label == ABSTAINED

    @property
    def sound_radius(self) -> float:
        """Radius that is certified for the deployed classifier; never NaN: float.

        Sound bound, with confidence 1 - alpha, unless the guarantee is "conditional".

        "sound": ``radius``. "nominal": ``min(radius, r_region)``, because the classifier depends on the image only through its
        activation pattern; 0 where ``r_region`` was not computed. "conditional": ``radius`` as it is, which holds for a
        classifier that evaluates every query in the ball with the stored pattern of this image, and for no other.
        """
        return float(_sound_radius(self.guarantee, self.radius, self.r_region))

    def correct(self, label: int) -> bool:
        """Whether it predicts this class, without abstaining: bool."""
        return bool(self.label != ABSTAINED and self.label == label)

    def __repr__(self) -> str:
        found = "abstained" if self.abstained else f"class {self.label} within {self.radius:.6g}"
        votes = f"{self.k} of {self.n} votes, p >= {self.p_low:.6g}, sigma {self.sigma:g}"
        sound = f"; sound_radius {self.sound_radius:.6g}" if self.guarantee == "nominal" else ""
        meaning = _describe_guarantee(self.guarantee, self.alpha)
        return f"Certificate({found}; {votes}; guarantee {self.guarantee!r}: {meaning}{sound})"


@dataclass(frozen=True, eq=False, repr=False)
class Certificates:
    """Certificates of B images with one guarantee: a sequence of Certificate, as arrays.

    Arguments may be single values, which hold for all images; ``label`` must be an array. The arrays are read-only.

    Attributes
    ----------
    label, k, n, seed, n0, image, candidate : int64[B]
    radius, p_low, alpha, r_region, sigma, seconds : float64[B]
    guarantee : str
        Of all.
    method : str[B]
        As in Certificate.

    Raises
    ------
    ShapeError
        The arrays have different lengths.
    InputError
        Certificates are inconsistent; the message names the first.

    Examples
    --------
    >>> certificates = Certificates([3, -1], [0.5, 0.0], [0.98, 0.4], [990, 430], 1000, 0.001, "sound", np.nan, 0, 0.25)
    >>> len(certificates), certificates[1].abstained, certificates.correct([3, 7]).tolist()
    (2, True, [True, False])
    """

    label: IntArray
    radius: FloatArray
    p_low: FloatArray
    k: IntArray
    n: IntArray
    alpha: FloatArray
    guarantee: str
    r_region: FloatArray
    seed: IntArray
    sigma: FloatArray
    n0: IntArray = 0  # type: ignore[assignment]  # __post_init__ expands the defaults
    image: IntArray | None = None
    candidate: IntArray = -1  # type: ignore[assignment]
    method: NDArray[np.str_] = "clopper_pearson"  # type: ignore[assignment]
    seconds: FloatArray = float("nan")  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_choice(self.guarantee, GUARANTEES, "guarantee")
        shape = np.shape(self.label)
        if len(shape) != 1:
            raise ShapeError(f"label has shape {shape}; one class per image is needed")
        if self.image is None:
            object.__setattr__(self, "image", np.arange(shape[0]))
        for name in COLUMNS:
            object.__setattr__(self, name, _column(name, getattr(self, name), shape[0]))
        _refuse_inconsistent(self)

    @classmethod
    def from_list(cls, certificates: Iterable[Certificate], guarantee: str = "sound") -> Certificates:
        """Join single certificates.

        Parameters
        ----------
        certificates : iterable of Certificate
            With one guarantee.
        guarantee : str, optional
            Of an empty list.

        Returns
        -------
        Certificates

        Raises
        ------
        InputError
            They have different guarantees, or are inconsistent.
        """
        rows = list(certificates)
        guarantee = _common_guarantee(rows, guarantee)
        return cls(guarantee=guarantee, **{name: _list_column(name, rows) for name in COLUMNS})

    @classmethod
    def concatenate(cls, parts: Iterable[Certificates], guarantee: str = "sound") -> Certificates:
        """Join certificates of several groups of images; parameters and errors as for ``from_list``."""
        parts = list(parts)
        guarantee = _common_guarantee(parts, guarantee)
        if not parts:
            return cls.from_list([], guarantee)
        return cls(guarantee=guarantee, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})

    @property
    def abstained(self) -> BoolArray:
        """Images for which no class was certified: bool[B]."""
        return self.label == ABSTAINED

    @property
    def sound_radius(self) -> FloatArray:
        """Radii that are certified for the deployed classifier, without NaN: float64[B]; see ``Certificate.sound_radius``."""
        return _sound_radius(self.guarantee, self.radius, self.r_region)

    def correct(self, labels: ArrayLike) -> BoolArray:
        """Compare the predictions with true classes; abstention is wrong.

        Parameters
        ----------
        labels : int64[B]

        Returns
        -------
        bool[B]

        Raises
        ------
        ShapeError
            There is not one label for each image.
        """
        return correct_predictions(self.label, labels)

    def __len__(self) -> int:
        return len(self.label)

    @overload
    def __getitem__(self, index: int) -> Certificate: ...
    @overload
    def __getitem__(self, index: slice | AnyArray | Sequence[int] | Sequence[bool]) -> Certificates: ...

    def __getitem__(self, index: Index | slice | AnyArray | Sequence[int] | Sequence[bool]) -> Certificate | Certificates:
        """One Certificate for an integer, Certificates for a slice, a mask or an array of numbers."""
        if isinstance(index, int | np.integer) and not isinstance(index, bool | np.bool_):
            values = {name: getattr(self, name)[index].item() for name in COLUMNS}
            return Certificate(guarantee=self.guarantee, **values)
        return Certificates(guarantee=self.guarantee, **{name: getattr(self, name)[index] for name in COLUMNS})

    def __iter__(self) -> Iterator[Certificate]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        if not len(self):
            return f"Certificates(0 images; guarantee {self.guarantee!r})"
        meaning = _describe_guarantee(self.guarantee, self.alpha.max())
        counts = f"{len(self)} images, {np.count_nonzero(self.abstained)} abstained; median radius {np.median(self.radius):.6g}"
        return f"Certificates({counts}; guarantee {self.guarantee!r}: {meaning})"


COLUMNS = tuple(field.name for field in fields(Certificates) if field.name != "guarantee")


def correct_predictions(predictions, labels):
    """Compare predictions (-1: abstained) with true classes: bool[B]."""
    labels = np.asarray(labels)
    if labels.shape != predictions.shape:
        raise ShapeError(f"labels has shape {labels.shape}, but there are {len(predictions)} images; give one label for each")
    return (predictions == labels) & (predictions != ABSTAINED)


def _sound_radius(guarantee, radius, r_region):
    if guarantee != "nominal":
        return radius
    return np.minimum(radius, np.where(np.isnan(r_region), 0.0, r_region))


def _common_guarantee(parts, default):
    """Return the guarantee of certificates that are joined."""
    different = {part.guarantee for part in parts} or {default}
    if len(different) > 1:
        raise InputError(f"the certificates have the guarantees {', '.join(sorted(different))}; join those of one at a time")
    return different.pop()


def _dtype(name):
    return np.int64 if name in _INTEGERS else object if name == "method" else np.float64


def _list_column(name, rows):
    return np.array([getattr(row, name) for row in rows], None if rows else _dtype(name))


def _column(name, values, n):
    """Convert a column to a read-only array of its dtype and length."""
    try:
        array = np.asarray(values)
        if name in _INTEGERS and array.dtype.kind == "f":
            raise TypeError("they are not integers")
        if name in _INTEGERS and array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
            raise OverflowError("they are too large")
        array = array.astype(np.str_) if name == "method" else array.astype(_dtype(name))
    except (TypeError, ValueError, OverflowError) as error:
        kind = "strings" if name == "method" else "integers of 64 bits" if name in _INTEGERS else "real numbers"
        raise InputError(f"{name} can't be converted to {kind} ({error}); give {kind}") from None
    if array.ndim == 0:
        array = np.full(n, array)
    if array.shape != (n,):
        raise ShapeError(f"{name} has shape {array.shape}, but label has {n} entries; give one for each, or one for all")
    array.setflags(write=False)
    return array


def _refuse_inconsistent(certificates):
    """Refuse certificates that no procedure can give."""
    columns = {name: getattr(certificates, name) for name in COLUMNS}
    problem = inconsistency(columns, np.isin(certificates.method, METHODS))
    if problem:
        raise InputError(f"{problem}; give the numbers of a finished certification")


def inconsistency(columns: Mapping[str, AnyArray], known_method: BoolArray) -> str | None:
    """Describe the first certificate that no procedure can give.

    Parameters
    ----------
    columns : dict of str to array
        By the names of COLUMNS; ``method`` is not used.
    known_method : bool[B]

    Returns
    -------
    str or None
        The start of a sentence: "radius[2] is ...".
    """
    from scipy.special import ndtri

    label, radius, p_low, sigma = (columns[name] for name in ("label", "radius", "p_low", "sigma"))
    k, n, candidate, r_region = (columns[name] for name in ("k", "n", "candidate", "r_region"))
    with np.errstate(all="ignore"):  # entries that are refused may overflow
        in_units = ndtri(np.clip(p_low, 0.5, 1.0))
        largest = sigma * (in_units + CERTIFIED_RADIUS * (1.0 + in_units))
    is_class = (label >= 0) & ((label == candidate) | (candidate == -1))
    rules = (  # what holds of a certificate; false for NaN
        ("method", known_method, f"none of {', '.join(METHODS)}"),
        ("p_low", (p_low >= 0.0) & (p_low <= 1.0), "not in [0, 1]"),
        ("alpha", (columns["alpha"] > 0.0) & (columns["alpha"] < 1.0), "not in (0, 1)"),
        ("sigma", (sigma > 0.0) & np.isfinite(sigma), "not a positive number"),
        ("k", (k >= 0) & (k <= n), "not in 0 to n"),
        ("n0", columns["n0"] >= 0, "negative"),
        ("candidate", candidate >= -1, "not a class or -1"),
        ("label", (label == ABSTAINED) | is_class, "neither the candidate nor -1"),
        ("radius", (radius >= 0.0) & np.isfinite(radius), "not a finite number of at least 0"),
        ("radius", (radius == 0.0) == (label == ABSTAINED), "0 without abstention, or positive with it"),
        ("radius", radius <= largest, "larger than sigma times the normal quantile of p_low"),
        ("r_region", np.isnan(r_region) | (r_region >= 0.0), "negative"),
    )
    for name, holds, what in rules:
        if not np.all(holds):
            first = int(np.flatnonzero(~holds)[0])
            return f"{name}[{first}] is {columns[name][first]}, which is {what}"
    return None
