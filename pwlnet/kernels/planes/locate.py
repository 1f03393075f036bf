"""Find the polygons of points by a grid.

A polygon is listed in each grid cell that it touches, row by row: the interval of a polygon in a row of cells is that of its
corners in the row, and of its sides at the ends of the row.

Legend: R polygons, V vertices, N points.
"""

import numpy as np

from .._jit import entry_kernel, inlined_kernel, kernel

_MARGIN = 2.0**-20  # of a grid cell: more than the rounding errors of coordinates in grid units


@inlined_kernel
def _clamp(x, n):
    """Return the grid line below x, in 0 to n - 1."""
    return min(max(np.int64(np.floor(x)), 0), n - 1)


@kernel
def _row_interval(offsets, numbers, uv, low, scale, r, y):
    """Return the interval in u, in grid units, of polygon r in row y of the grid."""
    left, right = np.inf, -np.inf
    first, last = offsets[r], offsets[r + 1]
    for k in range(first, last):
        a, b = numbers[k], numbers[k + 1 if k + 1 < last else first]
        ua, va = (uv[a, 0] - low[0]) * scale[0], (uv[a, 1] - low[1]) * scale[1]
        ub, vb = (uv[b, 0] - low[0]) * scale[0], (uv[b, 1] - low[1]) * scale[1]
        if y - _MARGIN <= va <= y + 1 + _MARGIN:
            left, right = min(left, ua), max(right, ua)
        for edge in range(2):
            t = y + edge
            if (va - t) * (vb - t) < 0.0:
                u = ua + (t - va) / (vb - va) * (ub - ua)
                left, right = min(left, u), max(right, u)
    return left - _MARGIN, right + _MARGIN


@kernel
def _rows(offsets, numbers, uv, low, scale, shape, r):
    """Return the first and last row of the grid that polygon r touches."""
    bottom, top = np.inf, -np.inf
    for k in range(offsets[r], offsets[r + 1]):
        v = (uv[numbers[k], 1] - low[1]) * scale[1]
        bottom, top = min(bottom, v), max(top, v)
    return _clamp(bottom - _MARGIN, shape[1]), _clamp(top + _MARGIN, shape[1])


@entry_kernel
def count_touched(offsets, numbers, uv, low, scale, shape, starts_out):
    """Count the polygons of each grid cell. Out: starts_out int64[cells + 1]: entry c + 1 is the number of cell c."""
    for r in range(offsets.shape[0] - 1):
        first, last = _rows(offsets, numbers, uv, low, scale, shape, r)
        for y in range(first, last + 1):
            left, right = _row_interval(offsets, numbers, uv, low, scale, r, y)
            if left <= right:
                for x in range(_clamp(left, shape[0]), _clamp(right, shape[0]) + 1):
                    starts_out[y * shape[0] + x + 1] += 1


@entry_kernel
def list_touched(offsets, numbers, uv, low, scale, shape, starts, lists_out):
    """List the polygons of each grid cell, in order. Out: lists_out int32[*]; starts int64[cells + 1] is used, and restored."""
    for r in range(offsets.shape[0] - 1):
        first, last = _rows(offsets, numbers, uv, low, scale, shape, r)
        for y in range(first, last + 1):
            left, right = _row_interval(offsets, numbers, uv, low, scale, r, y)
            if left <= right:
                for x in range(_clamp(left, shape[0]), _clamp(right, shape[0]) + 1):
                    c = y * shape[0] + x
                    lists_out[starts[c]] = r
                    starts[c] += 1
    for c in range(starts.shape[0] - 1, 0, -1):
        starts[c] = starts[c - 1]
    starts[0] = 0


@kernel
def _depth(offsets, numbers, uv, r, u, v):
    """Return the smallest signed distance of a point from the sides of polygon r, positive inside.

    The side between two vertices gives opposite numbers for the polygons on both sides.
    """
    depth = np.inf
    first, last = offsets[r], offsets[r + 1]
    for k in range(first, last):
        a, b = numbers[k], numbers[k + 1 if k + 1 < last else first]
        p, q = (a, b) if a < b else (b, a)
        du, dv = uv[q, 0] - uv[p, 0], uv[q, 1] - uv[p, 1]
        length = np.hypot(du, dv)
        if length > 0.0:
            side = (du * (v - uv[p, 1]) - dv * (u - uv[p, 0])) / length
            depth = min(depth, side if a < b else -side)
    return depth


@entry_kernel
def locate_points(offsets, numbers, uv, low, scale, shape, starts, lists, points, polygons_out):
    """Find the polygon of each point float64[N, 2]: the first one in which it is, or -1. Out: polygons_out int64[N]."""
    for n in range(points.shape[0]):
        u, v = points[n, 0], points[n, 1]
        polygons_out[n] = -1
        x, y = (u - low[0]) * scale[0], (v - low[1]) * scale[1]
        if not (-_MARGIN <= x <= shape[0] + _MARGIN and -_MARGIN <= y <= shape[1] + _MARGIN):
            continue
        c = _clamp(y, shape[1]) * shape[0] + _clamp(x, shape[0])
        best, near = -np.inf, np.int64(-1)
        for k in range(starts[c], starts[c + 1]):
            depth = _depth(offsets, numbers, uv, lists[k], u, v)
            if depth > best:
                best, near = depth, np.int64(lists[k])
            if depth >= 0.0:
                polygons_out[n] = lists[k]
                break
        if polygons_out[n] < 0 and near >= 0:
            size = max(abs(u), abs(v), abs(low[0]), abs(low[1]), shape[0] / scale[0], shape[1] / scale[1])
            if best >= -16.0 * 2.0**-53 * size:
                polygons_out[n] = near
