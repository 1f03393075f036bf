"""Coordinates for drawing: straight edges that a transform bends are subdivided until they look smooth.

Legend: R polygons, S corners of all polygons, V vertices, T triangles.
"""

import numpy as np

from ..errors import InputError, ShapeError

_DEVIATION = 1 / 1000  # of a midpoint from the drawn edge, relative to the size of the drawing
_MOST_ROUNDS = 8  # an edge is divided into at most 2**8


def apply_transform(transform, points):
    """Transform coordinates (u, v) into those of the axes, and validate the result: float64[N, 2]."""
    if not len(points):
        return points
    result = np.asarray(transform(points), np.float64)
    if result.shape != points.shape:
        raise ShapeError(f"transform returned shape {result.shape} for {len(points)} points; return (points, 2)")
    if not np.isfinite(result).all():
        raise InputError("transform returned NaN or infinite coordinates; it must be defined on the whole polygon of the plane")
    return result


def drawn_corners(offsets, corners, transform):
    """Compute the corners to draw.

    Parameters
    ----------
    offsets : int64[R+1]
    corners : float64[S, 2]
    transform : callable, optional

    Returns
    -------
    offsets : int64[R+1]
    corners : float64[*, 2]
        Coordinates of the axes, with additional corners on curved edges.
    """
    if transform is None:
        return offsets, corners
    mapped = apply_transform(transform, corners)
    size = _size(mapped)
    candidates = np.ones(len(corners), bool)  # sides, by their first corners
    for _ in range(_MOST_ROUNDS):
        following = np.arange(1, len(corners) + 1)
        following[offsets[1:] - 1] = offsets[:-1]
        sides = np.flatnonzero(candidates)
        middle = 0.5 * (corners[sides] + corners[following[sides]])
        mapped_middle = apply_transform(transform, middle)
        curved = _deviates(mapped[sides], mapped[following[sides]], mapped_middle, size)
        sides, middle, mapped_middle = sides[curved], middle[curved], mapped_middle[curved]
        if not len(sides):
            break
        candidates[:] = False
        candidates[sides] = True
        corners, mapped = np.insert(corners, sides + 1, middle, axis=0), np.insert(mapped, sides + 1, mapped_middle, axis=0)
        candidates = np.insert(candidates, sides + 1, True)
        offsets = offsets + np.searchsorted(sides, offsets)
    return offsets, mapped


def drawn_triangles(triangles, vertices, values, transform):
    """Compute the triangles to draw.

    Parameters
    ----------
    triangles : int64[T, 3]
    vertices : float64[V, 2]
    values : float64[V]
        Affine on each triangle.
    transform : callable, optional

    Returns
    -------
    triangles : int64[*, 3]
    vertices : float64[*, 2]
        Coordinates of the axes.
    values : float64[*]
    """
    if transform is None:
        return triangles, vertices, values
    mapped = apply_transform(transform, vertices)
    size = _size(mapped)
    for _ in range(_MOST_ROUNDS):
        ends = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
        _, first, edge = np.unique(ends.min(axis=1) * len(vertices) + ends.max(axis=1), return_index=True, return_inverse=True)
        a, b = ends[first].T
        middle = 0.5 * (vertices[a] + vertices[b])
        mapped_middle = apply_transform(transform, middle)
        curved = np.flatnonzero(_deviates(mapped[a], mapped[b], mapped_middle, size))
        if not len(curved):
            break
        midpoint = np.full(len(first), -1)
        midpoint[curved] = len(vertices) + np.arange(len(curved))
        vertices, mapped = np.concatenate([vertices, middle[curved]]), np.concatenate([mapped, mapped_middle[curved]])
        values = np.concatenate([values, 0.5 * (values[a] + values[b])[curved]])
        triangles = _split(triangles, midpoint[edge].reshape(-1, 3))
    return triangles, mapped, values


def _split(triangles, midpoints):
    """Split triangles at the midpoints of their sides, -1 where there is none: int64[*, 3]."""
    count = (midpoints >= 0).sum(axis=1)
    # A triangle with one midpoint is turned until it is on the first side, one with two until the last side has none.
    turn = np.where(count == 1, np.argmax(midpoints >= 0, axis=1), np.where(count == 2, np.argmin(midpoints, axis=1) + 1, 0))
    columns = (np.arange(3) + turn[:, None]) % 3
    a, b, c = np.take_along_axis(triangles, columns, axis=1).T
    m, n, o = np.take_along_axis(midpoints, columns, axis=1).T
    one, two, three = count == 1, count == 2, count == 3
    pieces = [(count == 0, (a, b, c)), (one, (a, m, c)), (one, (m, b, c))]
    pieces += [(two, (m, b, n)), (two, (a, m, n)), (two, (a, n, c))]
    pieces += [(three, (a, m, o)), (three, (m, b, n)), (three, (o, n, c)), (three, (m, n, o))]
    return np.concatenate([np.stack(piece, axis=1)[chosen] for chosen, piece in pieces])


def _size(points):
    return float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def _deviates(first, last, middle, size):
    """Return whether the middle of each curved edge is visibly off the straight one: bool[*]."""
    return np.linalg.norm(middle - 0.5 * (first + last), axis=1) > _DEVIATION * size
