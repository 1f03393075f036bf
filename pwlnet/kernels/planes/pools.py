"""MaxPool on a mesh: compare taps, keep the largest one, and join faces.

Taps are compared one after the other with the largest one of those before. A line between two taps that both are less than a
third one cuts faces for nothing; such faces are joined after each comparison.

Legend: F faces, J functions.
"""

import numpy as np

from .._jit import entry_kernel
from .mesh import TINY
from .words import ONE_BIT


@entry_kernel
def compare_taps(vertices, n_vertices, first, last, best, taps):
    """Compute functions ``first`` to ``last``: half of the tap minus the largest one of the taps before it.

    best, taps int64[J] are columns. The difference of two values that are stored as 0 is stored as 0, other ones are not.
    """
    for v in range(n_vertices):
        row = vertices.rows[v]
        for j in range(first, last):
            x, largest = row[taps[j]], row[best[j]]
            d = 0.5 * (x - largest)
            row[j] = TINY if d == 0.0 and (x != 0.0 or largest != 0.0) else d


@entry_kernel
def keep_largest(vertices, n_vertices, best, taps):
    """Set the largest ones of the taps so far: the tap where the difference is positive."""
    for v in range(n_vertices):
        row = vertices.rows[v]
        for j in range(taps.shape[0]):
            if vertices.positive[v, j // 64] >> np.uint64(j % 64) & ONE_BIT != np.uint64(0):
                row[best[j]] = row[taps[j]]


@entry_kernel
def join_faces(faces, order, group, stamps, following, sides, faces_out):
    """Join the faces of each group.

    order int64[F]: the faces, group by group; group int64[F]: the group of each of them, from 0 on. stamps int64[E], -1 at
    first; following, sides int64[V]: scratch. The union of a group is convex. Returns the number of groups; -1 if a union is
    not one polygon. Out: faces_out (starts, vertices, edges).
    """
    n, corner, first = order.shape[0], np.int64(0), np.int64(0)
    faces_out.starts[0] = 0
    n_groups = np.int64(0)
    while first < n:
        last, total = first, np.int64(0)
        while last < n and group[last] == group[first]:
            f = order[last]
            for k in range(faces.starts[f], faces.starts[f + 1]):
                e = faces.edges[k]
                stamps[e] = -2 if stamps[e] == n_groups else n_groups  # -2: inside the union
            last += 1
        start = np.int64(-1)
        for i in range(first, last):
            f = order[i]
            lo, hi = faces.starts[f], faces.starts[f + 1]
            for k in range(lo, hi):
                e = faces.edges[k]
                if stamps[e] == n_groups:
                    v = np.int64(faces.vertices[k])
                    following[v], sides[v] = faces.vertices[k + 1 if k + 1 < hi else lo], e
                    start = v if start < 0 else start
                    total += 1
        if start < 0:
            return np.int64(-1)
        v = start
        for _ in range(total):
            faces_out.vertices[corner], faces_out.edges[corner] = v, sides[v]
            corner += 1
            v = following[v]
        if v != start:
            return np.int64(-1)
        n_groups += 1
        faces_out.starts[n_groups] = corner
        first = last
    return n_groups
