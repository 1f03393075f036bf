"""Jobs over sets of inputs and over images: fixed and float neurons, and certificates of randomized smoothing.

Legend: B sets or images, D inputs.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..analysis.floats import find_float_neurons
from ..domains import Ball, Box, Gaussian, Polygon, Segment, ball_rows, box_rows, gaussian_rows
from ..errors import InputError, ShapeError
from ..float_sets import stack_float_sets
from ..network import Network
from ..validation import as_array, check_count, check_network
from .jobs import Job

_SEEDED = "sampled"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FloatsJob(Job):
    """Fixed and float neurons of B boxes, balls or Gaussians, segments, or polygons."""

    kind: ClassVar[str] = "float_sets"
    unit: ClassVar[str] = "set"

    domain: Any = dataclasses.field(repr=False)  # type and rows: Rows of Box, Ball, Gaussian; list of Segment or Polygon
    method: str
    options: Mapping[str, Any]
    items: np.ndarray = dataclasses.field(repr=False)
    with_shares: bool

    @property
    def steps(self):
        """Names of the steps of ``pwlnet.warmup`` that compile its kernels."""
        return ("forward", "trace", "partition_lines", "planes", "patterns", "bounds", "floats")

    def compute(self, first, last, *, threads=None):
        """Compute items ``first`` to ``last`` (not included): dict of arrays by field."""
        from ..store.float_sets import float_sets_to_arrays

        found, domain = self._find(first, last, threads)
        return float_sets_to_arrays(self.network, found, domain, items=self.items[first:last], with_shares=self.with_shares)

    def _find(self, first, last, threads):
        """Find the float neurons of some sets: FloatSet of ``last - first`` sets, and their domain."""
        options = {"method": self.method, "threads": threads, **self.options}
        if isinstance(self.domain, list):
            sets = self.domain[first:last]
            found = stack_float_sets([find_float_neurons(self.network, each, **options) for each in sets])
            if isinstance(sets[0], Segment):
                return found, (np.stack([each.start for each in sets]), np.stack([each.end for each in sets]))
            return found, sets
        if self.method == _SEEDED:
            options["first_set"] = self.first_item + first
        domain = self.domain.sets(first, last)
        if self.method == "exact":
            parts = [find_float_neurons(self.network, self.domain.sets(k, k + 1), **options) for k in range(first, last)]
            return stack_float_sets(parts), domain
        return find_float_neurons(self.network, domain, **options), domain

    def settings(self):
        """Return what results depend on besides the network and the inputs: dict of JSON values."""
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()}
        kind = type(self.domain[0]).__name__ if isinstance(self.domain, list) else self.domain.kind.__name__
        return {"domain": kind, "method": self.method, "options": given, "batch": self.batch, "shares": self.with_shares}

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        domain = self.domain[first:last] if isinstance(self.domain, list) else self.domain.part(first, last)
        return {"domain": domain, "items": self.items[first:last]}

    def _inputs(self, first, last):
        items = [np.int64(item).reshape(1) for item in self.items[first:last]]
        if not isinstance(self.domain, list):
            return [*(rows[first:last] for rows in self.domain.rows), items]
        names = ("start", "end") if isinstance(self.domain[0], Segment) else ("origin", "e1", "e2", "vertices")
        return [*([getattr(each, name) for each in self.domain[first:last]] for name in names), items]


@dataclasses.dataclass(frozen=True)
class SetRows:
    """B boxes, balls or Gaussians, in rows.

    Attributes
    ----------
    kind : type
        Box, Ball or Gaussian.
    rows : tuple of two float64[B, D]
        Lower and upper bounds; or centres, and radii or standard deviations float64[B, 1].
    norm : float or None
        Of balls.
    """

    kind: type
    rows: tuple[np.ndarray, np.ndarray]
    norm: Any = None

    @classmethod
    def of(cls, network: Network, domain: Any) -> "SetRows":
        """Convert a domain of B sets, or of one."""
        if isinstance(domain, Box):
            return cls(Box, box_rows(network, domain))
        rows = ball_rows if isinstance(domain, Ball) else gaussian_rows
        centers, sizes = rows(network, domain)
        return cls(type(domain), (centers, sizes.reshape(-1, 1)), getattr(domain, "norm", None))

    def part(self, first: int, last: int) -> "SetRows":
        """Return sets ``first`` to ``last`` (not included)."""
        points, sizes = self.rows
        return SetRows(self.kind, (points[first:last], sizes[first:last]), self.norm)

    def sets(self, first: int, last: int) -> Box | Ball | Gaussian:
        """Return sets ``first`` to ``last`` (not included) as a domain."""
        one, other = (rows[first:last] for rows in self.rows)
        if self.kind is Box:
            return Box(one, other)
        return Ball(one, other[:, 0], self.norm) if self.kind is Ball else Gaussian(one, other[:, 0])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CertificatesJob(Job):
    """Certificates of randomized smoothing; the noise of an image depends on the seed and the image's number only."""

    kind: ClassVar[str] = "certificates"
    unit: ClassVar[str] = "image"

    base: Any = dataclasses.field(repr=False)
    sigma: float
    images: np.ndarray = dataclasses.field(repr=False)
    labels: np.ndarray | None = dataclasses.field(repr=False)
    numbers: np.ndarray = dataclasses.field(repr=False)
    options: Mapping[str, Any]

    @property
    def steps(self):
        """Names of the steps of ``pwlnet.warmup`` that compile its kernels."""
        return ("forward", "smoothing")

    def compute(self, first, last, *, threads=None):
        """Compute items ``first`` to ``last`` (not included): dict of arrays by field."""
        from ..smoothing import Certificates
        from ..store.certificates import certificates_to_arrays

        images, numbers = self.images[first:last], self.numbers[first:last]
        points = images.reshape(len(images), *self.network.input_shape)
        certificates = Certificates.from_list(list(self._plan(threads).certify(points, numbers)))
        labels = None if self.labels is None else self.labels[first:last]
        arrays = certificates_to_arrays(self.network, certificates, images, labels=labels)
        arrays["seconds"] = np.full(len(images), np.nan)  # times differ between runs, and would be part of the digest
        return arrays

    def settings(self):
        """Return what results depend on besides the network and the inputs: dict of JSON values."""
        return {name: value for name, value in self._plan(1).settings().items() if name != "seed"}

    def _plan(self, threads):
        """Return a plan for a number of threads."""
        from ..smoothing import SmoothedClassifier
        from ..smoothing.bases import as_base

        base = copy.copy(as_base(self.base))
        base.threads = threads
        return SmoothedClassifier(base, self.sigma).plan(**self.options)

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        labels = None if self.labels is None else self.labels[first:last]
        return {"images": self.images[first:last], "labels": labels, "numbers": self.numbers[first:last]}

    def _inputs(self, first, last):
        columns = [self.numbers, *([] if self.labels is None else [self.labels])]
        return [self.images[first:last], *([x.reshape(1) for x in column[first:last]] for column in columns)]


def floats_job(
    network: Network,
    domain: Box | Ball | Gaussian | Sequence[Segment] | Sequence[Polygon],
    *,
    method: str,
    items: ArrayLike | None = None,
    batch: int = 64,
    with_shares: bool = True,
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Job:
    """Describe a search for fixed and float neurons, of many sets of inputs, as a job.

    Exact up to rounding, a sound bound or an estimate, by the method, as ``find_float_neurons``.

    Parameters
    ----------
    network : Network
    domain : Box, Ball, Gaussian, or sequence of Segment or of Polygon
        B sets.
    method : str
        As for ``find_float_neurons``, but for "pair" and "given".
    items : int64[B], optional
        Numbers of the images, lines or planes that the sets belong to; 0 to B - 1 by default.
    batch : int, optional
        Sets that are computed together.
    with_shares : bool, optional
        Store the shares of states, where the method has them.
    parameters
        As for ``lines_job``.
    **options
        As for ``find_float_neurons``: of "sampled", ``n_samples``, ``seed`` (the draws of a set depend on it and on the set's
        place in the job), ``draws``, ``limits``, ``dtype``, ``delta``, ``alpha``; JSON values.

    Returns
    -------
    Job
        Items are sets.

    Raises
    ------
    InputError, ShapeError
        As for ``find_float_neurons``; or there are no sets.
    """
    check_network(network)
    refused = {"first_set", "progress", "known", "reference"} & set(options)
    if method in ("pair", "given") or refused:
        what = f"method {method!r}" if not refused else f"option {sorted(refused)[0]!r}"
        raise InputError(f"{what} was given, which jobs do not have; call find_float_neurons")
    if isinstance(domain, Box | Ball | Gaussian):
        sets = SetRows.of(network, domain)
        n = len(sets.rows[0])
    else:
        sets = list(domain) if np.iterable(domain) else [domain]
        n = len(sets)
        if len({type(each) for each in sets} & {Segment, Polygon}) != 1 or len({type(each) for each in sets}) != 1:
            raise InputError(
                "domain is neither B boxes, balls or Gaussians, nor a list of Segment or of Polygon; give one of these"
            )
    numbers = np.arange(n) if items is None else as_array(items, "items")
    if numbers.dtype.kind not in "iu" or numbers.shape != (n,):
        raise ShapeError(
            f"items has dtype {numbers.dtype} and shape {numbers.shape}; one integer for each of {n} sets is needed"
        )
    seeds = {"draws": options.get("seed", 0)} if method == _SEEDED else {}
    of_sets: dict[str, Any] = {"domain": sets, "method": method, "options": options, "items": numbers.astype(np.int64)}
    how: dict[str, Any] = {"batch": check_count(batch, "batch"), "with_shares": bool(with_shares), "seeds": seeds}
    job = FloatsJob(network=network, n_items=n, **of_sets, **how)
    if n:
        job.compute(0, 1, threads=1)  # options that do not fit each other are refused before there is a store
    return job._finished(parameters)


def certificates_job(
    base: Any,
    sigma: float,
    images: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    numbers: ArrayLike | None = None,
    seed: int = 0,
    batch: int = 16,
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Job:
    """Describe the certification of images by randomized smoothing as a job.

    Sound bound with confidence 1 - alpha for each image, if the guarantee of the base is "sound", as
    ``SmoothedClassifier.certify``.

    Parameters
    ----------
    base : Network or BaseClassifier
        What is smoothed; a BaseClassifier, such as the result of ``repress_float_paths``, has a Network.
    sigma : float
        Standard deviation of the noise, in input units.
    images : float64[B, D] or float64[B, *input_shape]
    labels : int64[B], optional
        True classes.
    numbers : int64[B], optional
        Numbers of the images, on which their noise depends; 0 to B - 1 by default.
    seed : int, optional
        Of the noise.
    batch : int, optional
        Images that are committed together; results do not depend on it.
    parameters
        As for ``lines_job``.
    **options
        As for ``SmoothedClassifier.certify``: ``n0``, ``n``, ``alpha``, ``method``, ``radius``, ``max_loss``, ``batch_size``,
        ``region_radii``.

    Returns
    -------
    Job
        Items are images. The column of seconds is NaN.

    Raises
    ------
    InputError, ShapeError
        As for ``SmoothedClassifier.certify``; the base has no Network; or there are no images.
    """
    network = base if isinstance(base, Network) else getattr(base, "network", None)
    if not isinstance(network, Network):
        raise InputError(
            f"base is a {type(base).__name__} without a Network, which the store holds; convert a torch module by "
            "pwlnet.from_torch"
        )
    points, n = network.as_points(images, "images"), None
    n = len(points)
    columns = {"labels": labels, "numbers": np.arange(n) if numbers is None else numbers}
    for name, column in columns.items():
        array = None if column is None else np.atleast_1d(as_array(column, name))
        if array is not None and (array.dtype.kind not in "iu" or array.shape != (n,)):
            raise ShapeError(
                f"{name} has dtype {array.dtype} and shape {array.shape}; one integer for each of {n} images is needed"
            )
        columns[name] = None if array is None else array.astype(np.int64)
    what = {"base": base, "sigma": sigma, "images": points, **columns, "options": {**options, "rng": seed}}
    job = CertificatesJob(network=network, n_items=n, batch=check_count(batch, "batch"), seeds={"noise": int(seed)}, **what)
    return job._finished(parameters)
