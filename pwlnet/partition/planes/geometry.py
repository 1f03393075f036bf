"""Geometry of the polygons of a plane: areas, points, neighbours, comparison with forward passes.

Legend: R polygons, V vertices, D inputs, O outputs, M pairs of neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._types import IntArray
from ...errors import CapacityError, InputError
from ...kernels.planes import areas as area_kernels
from ...tolerances import UNIT_ROUNDOFF


class Adjacency(NamedTuple):
    """Pairs of polygons that share an edge."""

    polygons: IntArray  # int64[M, 2] the smaller number first
    vertices: IntArray  # int64[M, 2] numbers of the ends of the edge


def polygon_areas(offsets, numbers, uv):
    """Compute the areas of polygons, relative to their first corners: float64[R]."""
    areas = np.empty(len(offsets) - 1)
    area_kernels.polygon_areas(offsets, numbers, uv, areas)
    return areas


def to_input_space(plane, uv):
    """Return points of a plane in the input space: float64[V, D]."""
    return plane.origin + uv[:, :1] * plane.e1 + uv[:, 1:] * plane.e2


def centroids(part):
    """Return the mean of each polygon's corners: float64[R, 2]."""
    counts = np.diff(part.offsets)
    first = part.vertices[part.offsets[:-1]]
    d = part.vertices - np.repeat(first, counts, axis=0)
    return first + np.add.reduceat(d, part.offsets[:-1], axis=0) / counts[:, None] if len(counts) else np.zeros((0, 2))


def find_slivers(part):
    """Find polygons whose area is within the rounding errors of their coordinates: int64[*]."""
    counts, largest = np.diff(part.offsets), np.abs(part.plane.polygon).max(initial=0.0)
    first = np.repeat(part.vertices[part.offsets[:-1]], counts, axis=0)
    width = np.maximum.reduceat(np.abs(part.vertices - first).max(axis=1), part.offsets[:-1]) if len(counts) else counts
    return np.flatnonzero(part.areas <= 16.0 * UNIT_ROUNDOFF * largest * width)


def sides(part):
    """Return the sides of all polygons.

    Returns
    -------
    polygons : int64[S]
    ends : int64[S, 2]
        First and last vertex.
    others : int64[S]
        The polygon on the other side; -1 at the rim.
    """
    counts = np.diff(part.offsets)
    following = np.arange(len(part.vertex_numbers)) + 1
    following[part.offsets[1:] - 1] = part.offsets[:-1]
    ends = np.stack([part.vertex_numbers, part.vertex_numbers[following]], axis=1).astype(np.int64)
    polygons, keys = np.repeat(np.arange(len(counts)), counts), ends.min(axis=1) * len(part.shared_vertices) + ends.max(axis=1)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    others = np.full(len(keys), -1)
    others[order[same]], others[order[same + 1]] = polygons[order[same + 1]], polygons[order[same]]
    return polygons, ends, others


def adjacency(part):
    """Find the pairs of polygons that share an edge: Adjacency."""
    polygons, ends, others = sides(part)
    once = np.flatnonzero(others > polygons)
    pairs, shared = np.stack([polygons[once], others[once]], axis=1), np.sort(ends[once], axis=1)
    by_polygon = np.lexsort((shared[:, 1], shared[:, 0], pairs[:, 1], pairs[:, 0]))
    return Adjacency(pairs[by_polygon], shared[by_polygon])


def residual(network, plane, uv, outputs, error, n_checked):
    """Return the largest difference of outputs from forward passes at up to ``n_checked`` vertices, over the largest output."""
    if not n_checked or not len(uv) or not outputs.shape[1]:
        return 0.0
    chosen = np.unique(np.linspace(0, len(uv) - 1, min(n_checked, len(uv))).astype(np.int64))
    actual = network.forward(to_input_space(plane, uv[chosen]), threads=1)
    largest, difference = max(np.abs(actual).max(), np.abs(outputs).max()), np.abs(actual - outputs[chosen])
    if largest <= 2.0 * error.max():  # all outputs are 0 within their bounds, so that there is no relative difference
        return 0.0 if difference.max() <= 2.0 * error.max() else np.inf
    return float(difference.max() / largest)


def refuse_without_mesh(part):
    """Refuse a plane whose polygons cannot be cut further."""
    if part._problem is None:
        what = "has no interior" if len(part.plane.polygon) < 3 else "was loaded from a store"
        raise InputError(f"the plane {what}, so that its polygons cannot be cut further; use one made by partition_planes")


def refuse_many(n, most):
    """Refuse more polygons than a limit."""
    raise CapacityError(
        f"there are at least {n} polygons, more than max_polygons={most}; raise the limit or use smaller polygons"
    )
