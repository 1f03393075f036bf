"""Vertices of regions that consist of several cells.

Legend: F free inputs, R regions, V vertices of the cells of all regions.
"""

import numpy as np

from .._jit import entry_kernel, kernel


@kernel
def _is_same(points, i, j, size):
    """Return whether two vertices are one, within rounding."""
    n_far = 0
    for d in range(points.shape[1]):
        n_far += not abs(points[i, d] - points[j, d]) <= size
    return n_far == 0


@kernel
def _extent(points, first, last):
    """Return the largest extent of some points along an axis."""
    largest = 0.0
    for d in range(points.shape[1]):
        low, high = points[first, d], points[first, d]
        for i in range(first, last):
            low, high = min(low, points[i, d]), max(high, points[i, d])
        largest = max(largest, high - low)
    return largest


@entry_kernel
def join_vertices(offsets, points, tolerance, words, keep_out):
    """Combine the vertices of the cells of each region, and find those that are vertices of the region.

    A vertex of a cell may lie on fewer facets of its own cell than of the region. It is a vertex of the region if no other one
    is on all its facets and on more.

    Parameters
    ----------
    offsets : int64[R+1]
        Vertices of the cells of region r: ``offsets[r]`` to ``offsets[r + 1]``.
    points : float64[V, F]
    tolerance : float
        Distance within which two vertices are one, relative to the extent of the region.
    words : uint64[V]
        Bit j is set where the vertex lies on facet j of the region. Out: the same for all vertices at the same place.
    keep_out : bool[V]
        Out: one vertex for each vertex of the region.
    """
    for r in range(offsets.shape[0] - 1):
        first, last = offsets[r], offsets[r + 1]
        if first == last:
            continue
        size = tolerance * _extent(points, first, last)
        for i in range(first, last):
            keep_out[i] = True
            for j in range(first, i):
                if keep_out[j] and _is_same(points, i, j, size):
                    words[j] |= words[i]
                    keep_out[i] = False
                    break
        for i in range(first, last):
            for j in range(first, last):
                if i != j and keep_out[i] and keep_out[j] and (words[i] & ~words[j]) == np.uint64(0):
                    keep_out[i] = words[i] == words[j] and i < j
