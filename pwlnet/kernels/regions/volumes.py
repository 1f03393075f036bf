"""Volumes and triangulations of cells, from their vertices and the words that say which hyperplanes these lie on.

A face is divided into the cones from one of its vertices, the apex, over those of its own facets that do not contain the apex,
and so on down to polygons, which are divided into triangles: a pulling triangulation. The coordinates of a face are projected
along the directions to the apexes of the larger faces, one coordinate fewer for each, so that a triangle costs one
determinant of two rows. All terms are positive, so nothing cancels. Which vertex sets are facets of a face is decided by the
words alone, also where more hyperplanes than dimensions meet: a hyperplane's vertices are a facet of a face if no other
hyperplane that contains them, and not the whole face, contains more of the face.

Related: Büeler, Enge and Fukuda, "Exact volume computation for polytopes: a practical study", 2000, Section 2.1 (Cohen and
Hickey's triangulation), who choose the apexes by a fixed order of the vertices. Here it is the vertex on the largest facets.

Legend: F dimensions, V vertices of all cells, n vertices of one cell, R cells, S simplices.
"""

from typing import NamedTuple

import numpy as np

from .._jit import entry_kernel, kernel
from ..arrays import fill
from ..planes.words import ONE_BIT, lowest_bit

N_BITS = 64
FIRST_APEX_UP_TO = 3  # dimensions of faces whose apex is their first vertex


class VolumeWork(NamedTuple):
    """Scratch memory of ``triangulate``, for cells of at most n vertices."""

    positions: np.ndarray  # int64[n]
    index: np.ndarray  # int64[F, n] vertices of the face of each level
    y: np.ndarray  # float64[F, F, n] their coordinates, with the apex at 0
    closure: np.ndarray  # uint64[F] hyperplanes that contain the face
    todo: np.ndarray  # uint64[F] hyperplanes whose facets have not been opened
    sizes: np.ndarray  # int64[F] vertices of the face
    apexes: np.ndarray  # int64[F] apex of the face: a vertex of the cell
    factors: np.ndarray  # float64[F] product of the heights of the apexes of larger faces
    counts: np.ndarray  # int64[64] vertices on each hyperplane


def volume_work(dimensions, n):
    """Allocate scratch memory for cells with at most n vertices: VolumeWork."""
    rows = max(1, dimensions)
    return VolumeWork(
        np.zeros(n, np.int64), np.zeros((rows, n), np.int64), np.zeros((rows, rows, n)),
        np.zeros(rows, np.uint64), np.zeros(rows, np.uint64),
        np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.ones(rows), np.zeros(N_BITS, np.int64),
    )  # fmt: skip


@kernel
def _choose_apex(bits, offset, work, level):
    """Return the position, in the face, of the vertex on the largest facets."""
    n, index, common = work.sizes[level], work.index[level], work.closure[level]
    fill(work.counts, 0)
    for q in range(n):
        rest = bits[offset + index[q]] & ~common
        while rest != np.uint64(0):
            work.counts[lowest_bit(rest)] += 1
            rest &= rest - ONE_BIT
    best, apex = -1, 0
    for q in range(n):
        rest, total = bits[offset + index[q]] & ~common, 0
        while rest != np.uint64(0):
            total += work.counts[lowest_bit(rest)]
            rest &= rest - ONE_BIT
        if total > best:
            best, apex = total, q
    return apex


@kernel
def _begin_face(bits, offset, work, level, left):
    """Choose the apex of a face of ``left`` dimensions; returns its position. Out: work.closure, work.todo, work.apexes."""
    n, index = work.sizes[level], work.index[level]
    union, common = np.uint64(0), ~np.uint64(0)
    for q in range(n):
        word = bits[offset + index[q]]
        union |= word
        common &= word
    work.closure[level] = common
    apex = _choose_apex(bits, offset, work, level) if left > FIRST_APEX_UP_TO and n > left + 1 else 0
    work.apexes[level] = index[apex]
    work.todo[level] = union & ~bits[offset + index[apex]]
    return apex


@kernel
def _is_facet(bits, offset, work, level, bit, common, m):
    """Return whether the m vertices on a hyperplane are a facet of a face, and no lower bit has the same ones."""
    others = common & ~work.closure[level] & ~bit
    while others != np.uint64(0):
        other = others & (~others + ONE_BIT)
        others ^= other
        n = 0
        for q in range(work.sizes[level]):
            n += (bits[offset + work.index[level, q]] & other) != np.uint64(0)
        if n > m or (n == m and other < bit):
            return False
    return True


@kernel
def _project(work, level, dimensions, n, apex):
    """Project the next level's vertices along the direction to the apex; returns its largest coordinate. Out: work.y."""
    y, left = work.y[level + 1], dimensions - level
    pivot = 0
    for d in range(1, left):
        if abs(y[d, apex]) > abs(y[pivot, apex]):
            pivot = d
    height, last = y[pivot, apex], left - 1
    if height == 0.0:
        return 0.0
    for q in range(n):
        y[last, q], y[pivot, q] = y[pivot, q], y[last, q]
    for d in range(last):
        step = y[d, apex] / height
        for q in range(n):
            y[d, q] -= step * y[last, q]
    return abs(height)


@kernel
def _open_facet(bits, offset, work, level, dimensions, bit):
    """Make the facet of a face on a hyperplane the face of the next level; returns whether there is one."""
    m, common, left = 0, ~np.uint64(0), dimensions - level
    index, facet, positions = work.index[level], work.index[level + 1], work.positions
    for q in range(work.sizes[level]):
        word = bits[offset + index[q]]
        facet[m], positions[m] = index[q], q
        on = (word & bit) != np.uint64(0)
        m += on
        common &= word if on else ~np.uint64(0)
    if m < left or (common & ~work.closure[level] != bit and not _is_facet(bits, offset, work, level, bit, common, m)):
        return False
    y, out = work.y[level], work.y[level + 1]
    for d in range(left):
        for q in range(m):
            out[d, q] = y[d, positions[q]]
    work.sizes[level + 1] = m
    apex = _begin_face(bits, offset, work, level + 1, left - 1)
    work.factors[level + 1] = work.factors[level] * _project(work, level, dimensions, m, apex)
    return True


@kernel
def _list_simplex(work, level, first, p, q, count, simplices):
    """Write a simplex of the apexes of all levels and some of three more vertices. Out: simplices."""
    row, length = simplices[count], level + 1
    for k in range(length):
        row[k] = work.apexes[k]
    if first >= 0:
        row[length] = first
        length += 1
    row[length], row[length + 1] = p, q


@kernel
def _add_triangles(bits, offset, work, level, count, simplices):
    """Divide a polygon; returns the sum of its triangles' determinants and the number of simplices. Out: simplices."""
    n, index, closure, y, total = work.sizes[level], work.index[level], work.closure[level], work.y[level], 0.0
    apex = work.apexes[level]
    for p in range(n):
        word = bits[offset + index[p]] & ~closure
        for q in range(p + 1, n):
            if word & bits[offset + index[q]] == np.uint64(0) or index[p] == apex or index[q] == apex:
                continue  # no edge, or one at the apex
            total += abs(y[0, p] * y[1, q] - y[1, p] * y[0, q])
            if count < simplices.shape[0]:
                _list_simplex(work, level, -1, index[p], index[q], count, simplices)
            count += 1
    return total * work.factors[level], count


@kernel
def _add_pyramids(bits, offset, work, level, bit, count, simplices):
    """Divide the pyramid over a polygon of a face of three dimensions, as ``_add_triangles``."""
    index, positions, y, m, common, total = work.index[level], work.positions, work.y[level], 0, ~np.uint64(0), 0.0
    for q in range(work.sizes[level]):
        word = bits[offset + index[q]]
        positions[m] = q
        on = (word & bit) != np.uint64(0)
        m += on
        common &= word if on else ~np.uint64(0)
    if m < 3 or (common & ~work.closure[level] != bit and not _is_facet(bits, offset, work, level, bit, common, m)):
        return 0.0, count
    first = positions[0]
    a0, a1, a2 = y[0, first], y[1, first], y[2, first]
    for i in range(1, m):
        p = positions[i]
        word, p0, p1, p2 = bits[offset + index[p]] & ~common, y[0, p], y[1, p], y[2, p]
        c0, c1, c2 = a1 * p2 - a2 * p1, a2 * p0 - a0 * p2, a0 * p1 - a1 * p0
        for j in range(i + 1, m):
            q = positions[j]
            if word & bits[offset + index[q]] != np.uint64(0):
                total += abs(c0 * y[0, q] + c1 * y[1, q] + c2 * y[2, q])
                if count < simplices.shape[0]:
                    _list_simplex(work, level, index[first], index[p], index[q], count, simplices)
                count += 1
    return total * work.factors[level], count


@kernel
def _triangulate_interval(x, offset, n, simplices):
    """Return the length and the number of simplices of a cell of one dimension. Out: simplices."""
    if n < 2:
        return 0.0, 0
    if simplices.shape[0] > 0:
        simplices[0, 0], simplices[0, 1] = 0, 1
    return abs(x[0, offset + 1] - x[0, offset]), 1


@kernel
def triangulate(x, bits, offset, n, work, simplices):
    """Divide a cell into simplices.

    Parameters
    ----------
    x : float64[F or more, V]
        Coordinates of vertices; rows from F on are ignored.
    bits : uint64[V]
        Bit f is set where the vertex lies on hyperplane f, of 64. Each facet has one; others may be faces of any dimension.
    offset, n : int
        The cell's vertices: columns ``offset`` to ``offset + n``.
    work : VolumeWork
        For F dimensions and at least n vertices.
    simplices : int64[S, F+1]
        Out: vertices of each simplex, counted from ``offset``, as far as there are rows.

    Returns
    -------
    float, int
        The volume, and the number of simplices.
    """
    dimensions, total, count, level = work.y.shape[0], 0.0, 0, 0
    if dimensions == 1:
        return _triangulate_interval(x, offset, n, simplices)
    for q in range(n):
        work.index[0, q] = q
    work.sizes[0] = n
    apex = _begin_face(bits, offset, work, 0, dimensions)
    for d in range(dimensions):
        for q in range(n):
            work.y[0, d, q] = x[d, offset + q] - x[d, offset + apex]
    work.factors[0] = 1.0
    while level >= 0:
        if dimensions - level == 2:
            part, count = _add_triangles(bits, offset, work, level, count, simplices)
            total += part
            level -= 1
            continue
        if work.todo[level] == np.uint64(0):
            level -= 1
            continue
        bit = work.todo[level] & (~work.todo[level] + ONE_BIT)
        work.todo[level] ^= bit
        if dimensions - level == 3:
            part, count = _add_pyramids(bits, offset, work, level, bit, count, simplices)
            total += part
        elif _open_facet(bits, offset, work, level, dimensions, bit):
            level += 1
    for d in range(2, dimensions + 1):
        total /= d
    return total, count


@kernel
def cell_volume(x, bits, offset, n, work, no_simplices):
    """Return the volume of a cell; parameters as of ``triangulate``. ``no_simplices`` is int64[0, F+1]."""
    volume, _ = triangulate(x, bits, offset, n, work, no_simplices)
    return volume


@entry_kernel
def cell_volumes(x, bits, offsets, work, ends, simplices_out, volumes_out, counts_out):
    """Compute the volumes of cells, and the numbers of their simplices; list the simplices where there is room for them.

    Parameters
    ----------
    x : float64[F, V]
    bits : uint64[V]
    offsets : int64[R+1]
        Cell r has the vertices ``offsets[r]`` to ``offsets[r + 1]``.
    work : VolumeWork
    ends : int64[R+1]
        Rows of the simplices of each cell: ``ends[r]`` to ``ends[r + 1]``.
    simplices_out : int64[S, F+1]
        Out: numbers of the vertices of each simplex among all.
    volumes_out : float64[R]
    counts_out : int64[R]
    """
    for r in range(offsets.shape[0] - 1):
        first, rows = offsets[r], simplices_out[ends[r] : ends[r + 1]]
        volumes_out[r], counts_out[r] = triangulate(x, bits, first, offsets[r + 1] - first, work, rows)
        for s in range(rows.shape[0]):
            for k in range(rows.shape[1]):
                rows[s, k] += first
