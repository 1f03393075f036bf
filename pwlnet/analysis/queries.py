"""Queries on partitions: where a condition on the outputs holds, and the range of each output.

Legend: J functions, M rows of a condition, O outputs, D inputs, Q pieces, V vertices.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._types import FloatArray, IntArray
from ..conditions import HalfSpaces, as_union
from ..domains import Box, box_rows, check_domain
from ..errors import InputError, ShapeError
from ..network import Network
from ..partition.lines.partitions import LinePartition, LinePartitions
from ..partition.planes import geometry, outputs
from ..partition.planes.flat import output_errors
from ..partition.planes.partitions import PlanePartition, PlanePartitions
from ..partition.regions.exploring import explore
from ..partition.regions.meeting import parts_that_meet
from ..partition.regions.regions import Regions
from ..search.clock import Clock
from ..search.extremes import extremes
from ..tolerances import UNIT_ROUNDOFF
from ..validation import check_count, check_number

_ROUNDINGS = 4.0  # of a condition, relative to the sizes of what is added


class PlanePieces(NamedTuple):
    """Where a condition holds on a plane: convex polygons."""

    offsets: IntArray  # int64[Q+1]
    vertices: FloatArray  # float64[*, 2]
    polygon: IntArray  # int64[Q] activation polygon of each piece
    areas: FloatArray  # float64[Q]


class LinePieces(NamedTuple):
    """Where a condition holds on a line: intervals."""

    t: FloatArray  # float64[Q, 2]


class RegionPieces(NamedTuple):
    """Where a condition holds in enumerated regions: parts of them with interior."""

    region: IntArray  # int64[Q]
    witnesses: FloatArray  # float64[Q, D] a point inside each part
    volumes: FloatArray  # float64[Q]


class Found(NamedTuple):
    """Answer of ``find_where``."""

    exists: bool
    share: float  # of the area, length or volume; 0.0 also where the condition holds at single points or on edges only
    witness: FloatArray | None  # float64[D] a point where the condition holds
    margin: float  # largest entry of A y - b there, by a forward pass of the network; not positive, up to rounding
    # One of them; a tuple of them for a PlanePartitions or LinePartitions.
    pieces: PlanePieces | LinePieces | RegionPieces | tuple[PlanePieces | LinePieces | RegionPieces, ...]


class OutputRange(NamedTuple):
    """Answer of ``output_range``."""

    lower: FloatArray  # float64[O]
    upper: FloatArray  # float64[O]
    lower_witnesses: FloatArray  # float64[O, D] where each output is smallest
    upper_witnesses: FloatArray  # float64[O, D]
    lower_bounds: FloatArray | None = None  # float64[O] of a box: no value is below, with all rounding errors
    upper_bounds: FloatArray | None = None  # float64[O]
    complete: bool = True  # False where a limit left a larger gap between a bound and the value that is attained


def find_where(
    partition: PlanePartition | PlanePartitions | LinePartition | LinePartitions | Regions,
    condition: HalfSpaces | Sequence[HalfSpaces],
) -> Found:
    """Find where the outputs of a network satisfy a condition, on planes, on lines, or in regions of boxes.

    Exact on planes and in regions: whether the condition holds anywhere, and on which pieces, is decided as the partition is;
    single points and edges count. Exact up to rounding on lines, and on polygons without interior.

    Parameters
    ----------
    partition : PlanePartition, PlanePartitions, LinePartition, LinePartitions or Regions
    condition : HalfSpaces or list of HalfSpaces
        A list stands for the union.

    Returns
    -------
    Found
        Of a PlanePartitions or LinePartitions: ``share`` of the total area or length.

    Raises
    ------
    InputError, ShapeError
        Another kind of partition or condition, or a condition on another number of outputs.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> lines = pwlnet.partition_lines(network, images[:1], images[1:2])
    >>> found = pwlnet.find_where(lines.parts[0], pwlnet.HalfSpaces.largest(network.forward(images[0]).argmax(), 10))
    >>> found.exists, 0.0 < found.share < 1.0
    (True, True)
    """
    union = as_union(condition, _network_of(partition).n_outputs)
    matrix = np.concatenate([np.zeros((0, _network_of(partition).n_outputs)), *(part.A for part in union)])
    shift = np.concatenate([np.zeros(0), *(part.b for part in union)])
    ends = np.cumsum([0, *(len(part.b) for part in union)])
    answers = [_find(part, matrix, shift, ends) for part in _parts_of(partition)]
    total = sum(size for _, size, *_ in answers)
    share = sum(held for held, *_ in answers) / total if total > 0.0 else 0.0
    candidates = np.concatenate([np.zeros((0, _network_of(partition).n_inputs)), *(points for *_, points, _ in answers)])
    witness, margin = _deepest(_network_of(partition), candidates, union)
    pieces = tuple(x for *_, x in answers)
    exists = len(candidates) > 0
    return Found(exists, float(share), witness, margin, pieces if _is_collection(partition) else pieces[0])


def output_range(
    partition: PlanePartition | PlanePartitions | LinePartition | LinePartitions | Regions | Network,
    box: Box | None = None,
    *,
    time_limit: float | None = None,
    max_branches: int | None = 4096,
    threads: int | None = None,
) -> OutputRange:
    """Compute the minimum and maximum of each output, on planes or lines, or on a box.

    Exact up to rounding on planes and lines: outputs are affine between the vertices or breakpoints, where they are evaluated.
    On a box, ``lower`` and ``upper`` are attained at the witnesses, and ``lower_bounds`` and ``upper_bounds`` are proved; they
    differ by rounding errors where the box has few cells and at most six sides of positive width, and otherwise by at most a
    thousandth of the output's range, unless a limit ends the search [1]_.

    Parameters
    ----------
    partition : PlanePartition, PlanePartitions, LinePartition or LinePartitions; Regions; or Network
    box : Box, optional
        One box, with a Network only.
    time_limit : float, optional
        Seconds, on a box.
    max_branches : int or None, optional
        Largest number of boxes that branch and bound may bound for each extreme; None for no limit.
    threads : int, optional

    Returns
    -------
    OutputRange

    Raises
    ------
    InputError
        Another kind of partition, or one without parts; a box without a network.
    ShapeError
        The box does not fit the network, or is a batch of boxes.

    References
    ----------
    .. [1] Bunel et al., "Branch and Bound for Piecewise Linear Neural Network Verification", JMLR 21, 2020, Section 4.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> box = pwlnet.Box(np.full(network.n_inputs, -0.1), np.full(network.n_inputs, 0.1))
    >>> found = pwlnet.output_range(network, box)
    >>> bool((found.lower_bounds <= found.lower).all()), found.complete
    (True, True)
    """
    if isinstance(partition, Network) and box is not None:
        return _range_on_box(partition, box, time_limit, max_branches, threads)
    if box is not None:
        raise InputError(f"box was given with a {type(partition).__name__}; give a Network with it, or omit it")
    if isinstance(partition, Regions):
        return _range_of_regions(partition, threads)
    parts = _parts_of(partition)
    if not parts:
        raise InputError("the partition has no lines or planes, so that outputs have no range; give at least one")
    values = [part.outputs if isinstance(part, PlanePartition) else part.outputs() for part in parts]
    points = [part.points() for part in parts]
    columns = np.arange(values[0].shape[1])

    def extreme(sign):
        at = [(sign * y).argmax(axis=0) for y in values]
        best = np.stack([y[k, columns] for y, k in zip(values, at, strict=True)])
        which = (sign * best).argmax(axis=0)
        witnesses = np.stack([points[w][at[w][o]] for o, w in enumerate(which)]) if len(columns) else np.zeros((0, 0))
        return best[which, columns], witnesses

    (lower, lower_at), (upper, upper_at) = extreme(-1.0), extreme(1.0)
    return OutputRange(lower, upper, lower_at, upper_at)


def _range_on_box(network, box, time_limit, max_branches, threads):
    """Answer for a box: OutputRange."""
    clock = Clock(None if time_limit is None else check_number(time_limit, "time_limit"))
    max_branches = check_count(max_branches, "max_branches", or_none="no limit")
    lower, upper = box_rows(network, check_domain(box, (Box,)))
    if len(lower) != 1:
        raise ShapeError(f"box has {len(lower)} boxes; give one")
    how = {"clock": clock, "max_branches": max_branches, "threads": threads}
    found = extremes(network, lower[0], upper[0], **how)
    values, bounds = (np.array([[getattr(x, name) for x in side] for side in found]) for name in ("value", "bound"))
    points = [np.array([x.point for x in side]).reshape(-1, network.n_inputs) for side in found]
    complete = all(x.complete for side in found for x in side)
    return OutputRange(values[0], -values[1], *points, bounds[0], -bounds[1], complete)


def _range_of_regions(regions, threads):
    """Answer for enumerated regions, by the vertices of their cells: OutputRange."""
    if not regions.complete:
        raise InputError(f"the regions are not complete (stopped by {regions.stopped_by}); enumerate all of them")
    how = {"want": "outputs", "polytope": regions.polytope, "certify": "exact", "threads": threads}
    found = explore(regions.network, regions.lower, regions.upper, **how).outputs
    bounds = found.lower - found.error, found.upper + found.error
    return OutputRange(found.lower, found.upper, found.lower_at, found.upper_at, *bounds, True)


def _is_collection(partition):
    return isinstance(partition, PlanePartitions | LinePartitions)


def _parts_of(partition):
    """Return the parts of a partition, or the one that it is: list."""
    if _is_collection(partition):
        return list(partition.parts)
    if isinstance(partition, PlanePartition | LinePartition | Regions):
        return [partition]
    given = f"partition is a {type(partition).__name__}"
    raise InputError(f"{given}; give a result of partition_lines or partition_planes, or a Network with a box")


def _network_of(partition):
    _parts_of(partition)
    return partition.network


@functools.singledispatch
def _find(part, matrix, shift, ends):
    """Return (size of the pieces, size of the part, candidates for a witness float64[B, D], pieces).

    There is a candidate if, and only if, the condition holds somewhere. Function j is ``matrix[j] @ y - shift[j]``; the union's
    k-th polytope has functions ``ends[k]`` to ``ends[k + 1]``.
    """
    raise InputError(f"partition is a {type(part).__name__}; give a result of partition_lines or partition_planes")


@_find.register
def _(part: PlanePartition, matrix: FloatArray, shift: FloatArray, ends: Any) -> Any:
    if len(part.plane.polygon) < 3:
        return _find_flat(part, matrix, shift, ends)
    geometry.refuse_without_mesh(part)
    cut = outputs.cut_by_conditions(part, matrix, shift)
    inside = _any_polytope(~cut.decided, ends)
    areas = geometry.polygon_areas(cut.offsets, cut.vertex_numbers, cut.shared_vertices)
    chosen = np.flatnonzero(inside)
    counts = np.diff(cut.offsets)[chosen]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - cut.offsets[chosen], counts)
    pieces = PlanePieces(offsets, cut.shared_vertices[cut.vertex_numbers[at]], cut.polygon[chosen], areas[chosen])
    touching = cut.shared_vertices[_any_polytope(cut.signs <= 0, ends)]
    uv = touching
    if len(chosen):
        centres = np.add.reduceat(pieces.vertices, offsets[:-1], axis=0) / counts[:, None]
        largest = np.argsort(-pieces.areas, kind="stable")[:64]
        uv = np.concatenate([centres[largest], touching[:: max(1, len(touching) // 256)]])
    return areas[chosen].sum(), areas.sum(), geometry.to_input_space(part.plane, uv), pieces


def _any_polytope(holds, ends):
    """Return where all functions of some polytope hold: bool[Q] from bool[Q, J]."""
    result = np.zeros(len(holds), bool)
    for first, last in itertools.pairwise(ends):
        result |= holds[:, first:last].all(axis=1)
    return result


def _find_flat(part, matrix, shift, ends):
    """Answer for a polygon without interior: at its vertices and segments."""
    if len(part.plane.polygon) == 1:
        t = np.zeros(1)
    else:
        a, b = part.plane.polygon
        axis = int(np.abs(b - a).argmax())
        t = (part.shared_vertices[:, axis] - a[axis]) / (b[axis] - a[axis])
    intervals = _intervals(t, part.outputs, part.error, matrix, shift, ends)
    uv = part.plane.polygon[0] + intervals.mean(axis=1)[:, None] * (part.plane.polygon[-1] - part.plane.polygon[0])
    empty = PlanePieces(np.zeros(1, np.int64), np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0))
    return 0.0, 0.0, geometry.to_input_space(part.plane, uv), empty


@_find.register
def _(part: Regions, matrix: FloatArray, shift: FloatArray, ends: Any) -> Any:
    """``size`` is the volume; pieces of a union are those of its polytopes, without what earlier ones have."""
    conditions = [HalfSpaces(matrix[first:last], shift[first:last]) for first, last in itertools.pairwise(ends)]
    found = parts_that_meet(part, conditions)
    order = np.argsort(-found.volumes, kind="stable")[:64]
    points = np.concatenate([found.witnesses[order], found.boundary_points])
    size = float(part.volumes().sum())
    return float(found.volumes.sum()), size, points, RegionPieces(found.regions, found.witnesses, found.volumes)


@_find.register
def _(part: LinePartition, matrix: FloatArray, shift: FloatArray, ends: Any) -> Any:
    values = part.outputs()
    intervals = _intervals(part.t, values, output_errors(part.t, values, part.t_error), matrix, shift, ends)
    by_length = np.argsort(intervals[:, 0] - intervals[:, 1], kind="stable")[:64]
    middle = intervals[by_length].mean(axis=1)
    length = float(np.linalg.norm(part.end - part.start))
    points = part.start + middle[:, None] * (part.end - part.start)
    widths = intervals[:, 1] - intervals[:, 0]
    return widths.sum() * length, length, points, LinePieces(intervals)


def _intervals(t, values, errors, matrix, shift, ends):
    """Return the intervals of t where some polytope holds, joined where they touch: float64[Q, 2].

    The functions are affine between consecutive entries of t, where the outputs are float64[n, O], with errors float64[n, O].
    """
    g = values @ matrix.T - shift
    sizes = np.abs(values) @ np.abs(matrix).T + np.abs(shift)
    g[np.abs(g) <= errors @ np.abs(matrix).T + _ROUNDINGS * UNIT_ROUNDOFF * sizes] = 0.0
    found = []
    for first, last in itertools.pairwise(ends):
        a, b = g[:-1, first:last], g[1:, first:last]
        if len(t) == 1:
            a = b = g[:, first:last]
        with np.errstate(divide="ignore", invalid="ignore"):
            root = a / (a - b)
        low = np.where(a <= 0.0, 0.0, np.where(b <= 0.0, root, np.inf)).max(axis=1, initial=0.0)
        high = np.where(b <= 0.0, 1.0, np.where(a <= 0.0, root, -np.inf)).min(axis=1, initial=1.0)
        start, step = (t[:-1], np.diff(t)) if len(t) > 1 else (t, np.zeros(1))
        chosen = low <= high
        low, high, start, step = (x[chosen] for x in (low, high, start, step))
        found.append(np.stack([start + low * step, start + high * step], axis=1))
    return _join_intervals(np.concatenate([np.zeros((0, 2)), *found]))


def _join_intervals(intervals):
    """Join intervals that touch or overlap: float64[Q, 2], in order."""
    intervals = intervals[np.lexsort(intervals.T[::-1])]
    joined = []
    for low, high in intervals.tolist():
        if joined and low <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], high)
        else:
            joined.append([low, high])
    return np.array(joined).reshape(-1, 2)


def _deepest(network, points, union):
    """Return the point at which a condition holds best, by a forward pass, and the largest entry of A y - b there."""
    if not len(points):
        return None, np.nan
    y = network.forward(points)
    margins = np.min([part.margins(y) for part in union], axis=0)
    k = int(margins.argmin())
    return points[k], float(margins[k])
