"""PlanePartitions: the exact activation regions on two-dimensional slices.

Legend: P planes, D inputs, O outputs, R polygons, V vertices, K neurons, W words.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..._types import ArrayLike, FloatArray, Int32Array, IntArray, PathLike, WordArray
from ...patterns import ActivationPatterns
from ...scheduling import n_threads
from ...validation import check_count
from ..lines.rounds import Progress
from . import flat, geometry, locating, maps
from .polygons import Plane, as_planes
from .running import cut_planes, make_problem

if TYPE_CHECKING:
    from ...analysis.decision_regions import DecisionRegions
    from ...network import Network
    from .geometry import Adjacency


@dataclass(frozen=True, eq=False)
class PlanePartitions:
    """Activation regions of many planes; made by ``partition_planes``.

    Exact: which activation patterns occur, and which polygons share which vertices, is decided by sound bounds on rounding
    errors, and in integer arithmetic where these do not decide. Coordinates, areas and outputs are exact up to rounding.

    Attributes
    ----------
    network : Network
    planes : tuple of Plane
        ``origin``, ``e1``, ``e2`` float64[D] and ``polygon`` float64[V, 2], counter-clockwise.
    parts : tuple of PlanePartition
        One for each plane.
    n_exact : int
        Number of decisions in integer arithmetic.
    """

    network: Network = field(repr=False)
    planes: tuple[Plane, ...] = field(repr=False)
    parts: tuple[PlanePartition, ...] = field(repr=False)
    n_exact: int = 0

    def __len__(self) -> int:
        """Return the number of planes."""
        return len(self.parts)

    @property
    def n_polygons(self) -> IntArray:
        """Number of polygons of each plane: int64[P]."""
        return np.array([part.n_polygons for part in self.parts], np.int64)

    @property
    def residual(self) -> FloatArray:
        """Largest difference from forward passes, of each plane: float64[P] (``PlanePartition.residual``)."""
        return np.array([part.residual for part in self.parts])

    def save(self, path: PathLike) -> None:
        """Write to a new HDF5 store (``pwlnet.store``); ``pwlnet.store.load_planes`` reads it back."""
        from ...store import save_planes

        save_planes(path, self)

    def __repr__(self) -> str:
        return f"PlanePartitions({len(self)} planes, {int(self.n_polygons.sum())} polygons, {self.network!r})"


@dataclass(frozen=True, eq=False)
class PlanePartition:
    """Activation regions of one plane: convex polygons that share vertices.

    Point ``(u, v)`` of the plane is ``origin + u e1 + v e2`` in the input space.

    Attributes
    ----------
    network : Network
    plane : Plane
    offsets : int64[R+1]
        Polygon r has ``vertices[offsets[r] : offsets[r + 1]]``, counter-clockwise.
    vertex_numbers : int32[*]
        Number of the shared vertex of each corner; neighbours share vertices.
    shared_vertices : float64[V, 2]
    outputs : float64[V, O]
        Outputs of the network at the shared vertices.
    error : float64[V, O]
        Sound bound of the difference between these and the outputs at the exact vertices.
    packed : uint64[R, W]
        Activation patterns (``patterns()``).
    areas : float64[R]
        In units of (u, v). A polygon that is too thin for its coordinates to show may have the area 0 or, up to rounding, a
        negative one; ``slivers`` lists these.
    residual : float64
        Largest difference between ``outputs`` and forward passes at sampled vertices, relative to the largest output.
    """

    network: Network = field(repr=False)
    plane: Plane = field(repr=False)
    offsets: IntArray = field(repr=False)
    vertex_numbers: Int32Array = field(repr=False)
    shared_vertices: FloatArray = field(repr=False)
    outputs: FloatArray = field(repr=False)
    error: FloatArray = field(repr=False)
    packed: WordArray = field(repr=False)
    areas: FloatArray = field(repr=False)
    residual: float = field(repr=False)
    _problem: Any = field(default=None, repr=False)
    _meshes: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def n_polygons(self) -> int:
        """Number of polygons, R."""
        return len(self.offsets) - 1

    @functools.cached_property
    def vertices(self) -> FloatArray:
        """Corners of all polygons: float64[*, 2]."""
        return self.shared_vertices[self.vertex_numbers]

    @functools.cached_property
    def slivers(self) -> IntArray:
        """Polygons whose area is less than the rounding errors of their coordinates: int64[*]."""
        return geometry.find_slivers(self)

    def points(self) -> FloatArray:
        """Return the shared vertices in the input space: float64[V, D]."""
        return geometry.to_input_space(self.plane, self.shared_vertices)

    def centroids(self) -> FloatArray:
        """Return the mean of each polygon's corners, a point inside: float64[R, 2]."""
        return geometry.centroids(self)

    def patterns(self) -> ActivationPatterns:
        """Return the activation pattern of each polygon: ActivationPatterns of R rows."""
        return ActivationPatterns(self.packed, self.network.pattern_layout)

    def affine_maps(self, *, threads: int | None = None) -> FloatArray:
        """Compute the affine map of each polygon.

        Exact up to rounding.

        Returns
        -------
        float64[R, O, 3]
            Outputs on polygon r: ``maps[r] @ (u, v, 1)``.
        """
        return maps.affine_maps(self.network, self.plane, self.patterns().unpack(), threads)

    def adjacency(self) -> Adjacency:
        """Find the polygons that share an edge.

        Returns
        -------
        Adjacency
            ``polygons`` int64[M, 2], the smaller number first; ``vertices`` int64[M, 2], ends of the shared edge.
        """
        return geometry.adjacency(self)

    def locate(self, points: ArrayLike) -> IntArray:
        """Find the polygon of each point.

        Exact up to rounding; a point on an edge is in the polygon with the smallest number.

        Parameters
        ----------
        points : float64[N, 2]
            Coordinates (u, v).

        Returns
        -------
        int64[N]
            Number of the polygon; -1 outside.
        """
        return self._locator(points)

    def classes(self, rule: Literal["max", "min"] = "max") -> DecisionRegions:
        """Compute the decision regions: where which output is the largest (``rule="max"``) or the smallest (``"min"``).

        Exact, as the partition; a class of equal outputs is the lowest of them.

        Returns
        -------
        DecisionRegions
            Class polygons with their areas, joined to connected regions with outlines, and the segments between classes.

        Raises
        ------
        InputError
            Another rule, or a plane without interior, or one that was loaded from a store.
        """
        from ...analysis.decision_regions import decision_regions

        return decision_regions(self, rule)

    @functools.cached_property
    def _locator(self):
        return locating.Locator(self)

    def __repr__(self) -> str:
        return f"PlanePartition({self.n_polygons} polygons, {self.network!r})"


def partition_planes(
    network: Network,
    origins: ArrayLike,
    e1: ArrayLike,
    e2: ArrayLike,
    polygons: ArrayLike | Sequence[ArrayLike],
    *,
    progress: bool = False,
    threads: int | None = None,
    max_polygons: int | None = None,
    n_checked: int = 16,
) -> PlanePartitions:
    """Split polygons in planes into the activation regions of a network, on each of which it is affine.

    Exact up to rounding: only coordinates and outputs are rounded. No region with interior is missing, none is reported twice,
    and neighbours share vertices: this is decided by sound bounds on rounding errors, or by integers.

    Parameters
    ----------
    network : Network
    origins, e1, e2 : float64[P, D], float64[D] or with the network's input shape
        Point (u, v) of plane i is ``origins[i] + u e1[i] + v e2[i]``. One may be given for all planes.
    polygons : float64[V, 2] or list of float64[V, 2]
        Corners (u, v) of a convex polygon for all planes, or of one for each, in order around it. Corners on one line are a
        segment, equal ones are a point; their "polygons" have area 0.
    progress : bool
        Show a progress bar on stderr.
    threads : int, optional
        All processors by default. Results do not depend on it.
    max_polygons : int, optional
        Refuse more polygons of a call than this. No limit by default.
    n_checked : int
        Number of vertices of each plane that are evaluated for ``residual``.

    Returns
    -------
    PlanePartitions
        ``parts[i]`` is the PlanePartition of plane i.

    Raises
    ------
    ShapeError
        The arguments do not hold the same number of planes, or points of another network.
    InputError
        Numbers are not finite, e1 and e2 are parallel, or a polygon is not convex.
    CapacityError
        There are more than ``max_polygons``.
    NumericalError
        Values overflow float64 on a plane.

    See Also
    --------
    partition_lines : the same on lines.

    Notes
    -----
    Cost: about one forward pass for each vertex, in blocks. Memory: about 200 bytes for each polygon of a small network.

    References
    ----------
    .. [1] Sotoudeh and Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019 (the problem; SyReNN cuts
       polygons one by one, and this is another method: pwlnet/kernels/planes/mesh.py).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> a, b, c = images[:3]
    >>> planes = pwlnet.partition_planes(network, a, b - a, c - a, [[0, 0], [1, 0], [0, 1]])
    >>> part = planes.parts[0]
    >>> bool(abs(part.areas.sum() - 0.5) < 1e-12), len(part.patterns()) == part.n_polygons
    (True, True)
    """
    check_count(max_polygons, "max_polygons", or_none="no limit")
    check_count(n_checked, "n_checked", least=0)
    planes = as_planes(network, origins, e1, e2, polygons)
    batches = list(_partitions(network, planes, progress, n_threads(threads), n_checked, max_polygons, max(1, len(planes))))
    return PlanePartitions(
        network,
        tuple(planes),
        tuple(part for batch in batches for part in batch.parts),
        sum(batch.n_exact for batch in batches),
    )


def iter_plane_partitions(
    network: Network,
    origins: ArrayLike,
    e1: ArrayLike,
    e2: ArrayLike,
    polygons: ArrayLike | Sequence[ArrayLike],
    *,
    max_planes: int = 1024,
    progress: bool = False,
    threads: int | None = None,
    n_checked: int = 16,
) -> Iterator[PlanePartitions]:
    """Split polygons in planes as ``partition_planes`` does, and return them in batches while others are cut.

    Exact up to rounding: as for ``partition_planes``.

    Parameters
    ----------
    network, origins, e1, e2, polygons, progress, threads, n_checked
        As for ``partition_planes``.
    max_planes : int
        Planes of a batch.

    Returns
    -------
    iterator of PlanePartitions
        Of consecutive planes, in order.

    Raises
    ------
    ShapeError, InputError, NumericalError
        As for ``partition_planes``.
    """
    check_count(max_planes, "max_planes")
    check_count(n_checked, "n_checked", least=0)
    planes = as_planes(network, origins, e1, e2, polygons)
    return _partitions(network, planes, progress, n_threads(threads), n_checked, None, max_planes)


def _partitions(network, planes, progress, threads, n_checked, max_polygons, max_planes):
    """Yield PlanePartitions of up to ``max_planes`` consecutive planes."""
    n_polygons = 0
    with contextlib.closing(Progress(len(planes), progress, unit="plane")) as bar:
        for first in range(0, len(planes), max_planes):
            here = planes[first : first + max_planes]
            parts, whole = [None] * len(here), [k for k, plane in enumerate(here) if len(plane.polygon) > 2]
            for k in set(range(len(here))).difference(whole):
                parts[k] = _part(network, here[k], flat.partition_flat(network, here[k]), n_checked)
                bar.advance(1)
            n_exact = 0
            if whole:
                problem = make_problem(network, [here[k] for k in whole])
                for k, made in zip(whole, cut_planes(problem, len(whole), threads, bar), strict=True):
                    n_polygons += len(made.offsets) - 1
                    if max_polygons is not None and n_polygons > max_polygons:
                        geometry.refuse_many(n_polygons, max_polygons)
                    parts[k] = _part(network, here[k], made, n_checked, problem)
                n_exact = int(problem.questions.sum())
            yield PlanePartitions(network, tuple(here), tuple(parts), n_exact)


def _part(network, plane, made, n_checked, problem=None):
    """Return the PlanePartition of an Assembled."""
    for array in made[:-1]:
        array.setflags(write=False)
    residual = geometry.residual(network, plane, made.shared_vertices, made.outputs, made.error, n_checked)
    return PlanePartition(network, plane, *made[:-1], residual, problem, made.meshes)
