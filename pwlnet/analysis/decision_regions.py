"""Decision regions on planes: where which output is the largest, or the smallest.

Legend: Q pieces, R polygons, V vertices, O outputs, B boundary segments.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from .._types import FloatArray, Int32Array, IntArray
from ..conditions import DECISION_RULES
from ..errors import InputError
from ..partition.planes import geometry, outputs
from ..validation import check_choice, check_index

if TYPE_CHECKING:
    from ..partition.planes.partitions import PlanePartition


@dataclass(frozen=True, eq=False)
class DecisionRegions:
    """Class polygons of a plane; made by ``PlanePartition.classes``.

    A *piece* is the part of an activation polygon on which one output is the largest (or smallest). A *region* is a maximal
    set of pieces of one class that are connected by edges. Exact: which pieces there are, which share vertices, and which are
    connected. Where outputs are equal on a whole piece, its class is the lowest of them.

    Attributes
    ----------
    part : PlanePartition
    rule : {"max", "min"}
    offsets : int64[Q+1]
        Piece q has ``vertices[offsets[q] : offsets[q + 1]]``, counter-clockwise.
    vertex_numbers : int32[*]
        Number of the shared vertex of each corner.
    shared_vertices : float64[V, 2]
    labels : int64[Q]
        Class of each piece: the number of the largest (smallest) output.
    polygon : int64[Q]
        Activation polygon of each piece.
    areas : float64[Q]
    regions : int64[Q]
        Number of the region of each piece; regions are numbered in the order of their first pieces.
    """

    part: PlanePartition = field(repr=False)
    rule: str
    offsets: IntArray = field(repr=False)
    vertex_numbers: Int32Array = field(repr=False)
    shared_vertices: FloatArray = field(repr=False)
    labels: IntArray = field(repr=False)
    polygon: IntArray = field(repr=False)
    areas: FloatArray = field(repr=False)
    regions: IntArray = field(repr=False)

    @property
    def n_pieces(self) -> int:
        """Number of pieces, Q."""
        return len(self.labels)

    @property
    def n_regions(self) -> int:
        """Number of connected regions."""
        return int(self.regions.max(initial=-1)) + 1

    @functools.cached_property
    def vertices(self) -> FloatArray:
        """Corners of all pieces: float64[*, 2]."""
        return self.shared_vertices[self.vertex_numbers]

    @property
    def class_areas(self) -> FloatArray:
        """Area of each class: float64[O]."""
        return np.asarray(np.bincount(self.labels, self.areas, self.part.network.n_outputs), np.float64)

    @property
    def shares(self) -> FloatArray:
        """Share of the polygon's area of each class: float64[O]."""
        return self.class_areas / self.areas.sum()

    @property
    def region_labels(self) -> IntArray:
        """Class of each region: int64[regions]."""
        labels = np.empty(self.n_regions, np.int64)
        labels[self.regions] = self.labels
        return labels

    @property
    def region_areas(self) -> FloatArray:
        """Area of each region: float64[regions]."""
        return np.asarray(np.bincount(self.regions, self.areas, self.n_regions), np.float64)

    @functools.cached_property
    def _sides(self):
        """Sides of pieces between regions, or at the rim: (pieces, ends int64[S, 2], piece on the other side or -1)."""
        piece, ends, other = geometry.sides(self)
        rim = (other < 0) | (self.regions[piece] != self.regions[other])
        return piece[rim], ends[rim], other[rim]

    def boundaries(self) -> tuple[FloatArray, IntArray]:
        """Return the segments between regions of two classes.

        Returns
        -------
        segments : float64[B, 2, 2]
            Both ends (u, v); the class on the left comes first.
        classes : int64[B, 2]
            Class on the left, class on the right.
        """
        piece, ends, other = self._sides
        chosen = (other > piece) & (self.labels[piece] != self.labels[other])
        classes = np.stack([self.labels[piece[chosen]], self.labels[other[chosen]]], axis=1)
        return self.shared_vertices[ends[chosen]], classes

    def outlines(self, region: int) -> list[FloatArray]:
        """Return the boundary of a region.

        Parameters
        ----------
        region : int

        Returns
        -------
        list of float64[*, 2]
            The outline, counter-clockwise, then the holes, clockwise; corners in order.

        Raises
        ------
        InputError
            There is no such region.
        """
        if not self.n_regions:
            raise InputError(f"region is {region!r}, but there are no regions")
        region = check_index(region, "region", self.n_regions, "regions", of="the plane")
        piece, ends, _ = self._sides
        loops = _trace_loops(ends[self.regions[piece] == region], self.shared_vertices)
        loops = [self.shared_vertices[loop] for loop in loops]
        areas = [geometry.polygon_areas(np.array([0, len(x)]), np.arange(len(x)), x)[0] for x in loops]
        return [loops[k] for k in np.argsort(areas, kind="stable")[::-1]]

    def __repr__(self) -> str:
        return f"DecisionRegions({self.n_pieces} pieces, {self.n_regions} regions, rule {self.rule!r})"


def _trace_loops(ends, uv):
    """Join directed sides, with the inside on the left, to closed loops: list of int64[*]."""
    leaving = {}
    for k, (a, _) in enumerate(ends.tolist()):
        leaving.setdefault(a, []).append(k)
    loops = []
    while leaving:
        start = next(iter(leaving))
        k = leaving[start].pop()
        loop, (before, v) = [start], ends[k].tolist()
        if not leaving[start]:
            del leaving[start]
        while v != start or (v in leaving and _continues(leaving[v], ends, uv, before, v, loop[1] if len(loop) > 1 else v)):
            loop.append(v)
            candidates = leaving[v]
            k = candidates.pop(_first_clockwise(candidates, ends, uv, before, v))
            if not candidates:
                del leaving[v]
            before, v = ends[k].tolist()
        loops.append(np.array(loop))
    return loops


def _continues(candidates, ends, uv, before, v, second):
    """Return whether a loop that is back at its start goes on there: a side that leaves comes before the loop's first one."""
    back, first = _angle(uv, v, before), _angle(uv, v, second)
    gap = (back - first) % (2.0 * np.pi)
    return any((back - _angle(uv, v, int(ends[k, 1]))) % (2.0 * np.pi) < gap for k in candidates)


def _first_clockwise(candidates, ends, uv, before, v):
    """Return which of the sides that leave v comes first, clockwise from the side that arrives from ``before``."""
    if len(candidates) == 1:
        return 0
    back = _angle(uv, v, before)
    return int(np.argmin([(back - _angle(uv, v, int(ends[k, 1]))) % (2.0 * np.pi) for k in candidates]))


def _angle(uv, v, w):
    """Return the direction from vertex v to w."""
    d = uv[w] - uv[v]
    return np.arctan2(d[1], d[0])


def decision_regions(part: PlanePartition, rule: Literal["max", "min"] = "max") -> DecisionRegions:
    """Compute the decision regions of a plane: DecisionRegions.

    Parameters
    ----------
    part : PlanePartition
    rule : {"max", "min"}
        Whether the class is the largest output, or the smallest one.

    Raises
    ------
    InputError
        Another rule, or a plane without interior, or one that was loaded from a store.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    check_choice(rule, DECISION_RULES, "rule")
    geometry.refuse_without_mesh(part)
    pieces = outputs.cut_by_largest(part, DECISION_RULES[rule])
    labels, n = pieces.decided.astype(np.int64), len(pieces.decided)
    pairs = geometry.adjacency(pieces).polygons
    pairs = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    regions = connected_components(graph, directed=False)[1]
    _, first, numbers = np.unique(regions, return_index=True, return_inverse=True)
    regions = np.argsort(np.argsort(first))[numbers]
    areas = geometry.polygon_areas(pieces.offsets, pieces.vertex_numbers, pieces.shared_vertices)
    arrays = (
        pieces.offsets,
        pieces.vertex_numbers,
        pieces.shared_vertices,
        labels,
        pieces.polygon,
        areas,
        regions.astype(np.int64),
    )
    for array in arrays:
        array.setflags(write=False)
    return DecisionRegions(part, rule, *arrays)
