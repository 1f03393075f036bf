"""Arguments that describe planes: origins, directions, convex polygons.

Legend: P planes, D inputs, V corners of a polygon.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import ArrayLike, FloatArray
from ...errors import InputError, ShapeError
from ...validation import as_array, check_network, refuse_not_finite

if TYPE_CHECKING:
    from ...network import Network


class Plane(NamedTuple):
    """One plane and its polygon."""

    origin: FloatArray  # float64[D]
    e1: FloatArray  # float64[D]
    e2: FloatArray  # float64[D]
    polygon: FloatArray  # float64[V, 2] counter-clockwise, or the ends of a segment, or a point

    def sizes(self) -> FloatArray:
        """Return a bound of the absolute value of each input, and of what is added for it, on the polygon: float64[D]."""
        u, v = np.abs(self.polygon).max(axis=0)
        return np.abs(self.origin) + u * np.abs(self.e1) + v * np.abs(self.e2)


def as_planes(
    network: Network, origins: ArrayLike, e1: ArrayLike, e2: ArrayLike, polygons: ArrayLike | Sequence[ArrayLike]
) -> list[Plane]:
    """Validate planes.

    Parameters
    ----------
    network : Network
    origins, e1, e2 : float64[P, D] or float64[D], or with the network's input shape
    polygons : float64[V, 2] or list of float64[V, 2]

    Returns
    -------
    list of Plane

    Raises
    ------
    ShapeError, InputError
        Naming the argument and the plane.
    """
    arrays = [check_network(network).as_points(x, name) for x, name in ((origins, "origins"), (e1, "e1"), (e2, "e2"))]
    if not np.iterable(polygons):
        raise InputError(f"polygons is of type {type(polygons).__name__}; give the corners (u, v) of polygons")
    listed = [polygons] if _is_one_polygon(polygons) else list(polygons)
    counts = {"origins": len(arrays[0]), "e1": len(arrays[1]), "e2": len(arrays[2]), "polygons": len(listed)}
    n = max(counts.values()) if min(counts.values()) else 0
    if any(count not in (1, n) for count in counts.values()):
        given = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ShapeError(f"there are {given}; give the same number of each, or one for all planes")
    corners = [
        as_convex_polygon(polygon, "polygons" if len(listed) == 1 else f"polygons[{k}]") for k, polygon in enumerate(listed)
    ]
    origin, e1, e2 = (np.broadcast_to(x, (n, x.shape[1])) for x in arrays)
    alone = len(arrays[1]) == len(arrays[2]) == 1
    for k in range(min(n, 1) if alone else n):
        _refuse_parallel(e1[k], e2[k], "" if alone else f" of plane {k}")
    return [Plane(origin[k], e1[k], e2[k], corners[k if len(corners) > 1 else 0]) for k in range(n)]


def _is_one_polygon(polygons):
    """Return whether an argument is the polygon of all planes."""
    try:
        return np.ndim(polygons) == 2
    except ValueError:  # polygons with different numbers of corners
        return False


def _refuse_parallel(e1, e2, of_plane):
    """Refuse directions that do not span a plane."""
    a, b = (x / largest if (largest := np.abs(x).max(initial=0.0)) > 0.0 else x for x in (e1, e2))
    k = int(np.abs(a).argmax()) if len(a) else 0
    if len(a) and a[k] != 0.0 and b.any() and _spans(e1, e2, k):
        return
    raise InputError(
        f"e1 and e2{of_plane} are parallel, or one of them is zero, so that they span no plane; give two directions, or use "
        "partition_lines"
    )


def _spans(e1, e2, k):
    """Return whether e1, with entry k not 0, and e2 are linearly independent, in exact arithmetic."""
    p, q = Fraction(float(e1[k])), Fraction(float(e2[k]))
    return any(p * Fraction(y) != q * Fraction(x) for x, y in zip(e1.tolist(), e2.tolist(), strict=True))


def as_convex_polygon(polygon, name):
    """Validate a convex polygon; return float64[V, 2] counter-clockwise, without repeated corners.

    Two corners are a segment, and one is a point; so are corners on one line.

    Raises
    ------
    ShapeError
        It does not have corners of two coordinates.
    InputError
        It has coordinates that are not finite real numbers, or it is not convex.
    """
    array = as_array(polygon, name)
    if array.ndim != 2 or array.shape[1] != 2 or not len(array):
        raise ShapeError(f"{name} has shape {array.shape}; give the corners of a convex polygon, (corners, 2)")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; real numbers are needed, convert it to float64")
    corners = np.require(array, np.float64, ["C_CONTIGUOUS", "ALIGNED"])
    refuse_not_finite(corners, name)
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    if len(corners) < 2:
        return np.asarray(array[:1], np.float64) + 0.0
    exact = [(Fraction(u), Fraction(v)) for u, v in corners.tolist()]
    turns = [_turn(exact[k - 2], exact[k - 1], exact[k]) for k in range(len(exact))]
    if not any(turns):
        ends = sorted(range(len(exact)), key=exact.__getitem__)
        chosen = sorted({ends[0], ends[-1]})
        return corners[chosen] + 0.0
    if min(turns) < 0 < max(turns) or _n_wraps(exact) != 1:
        raise InputError(f"{name} is not convex, or its corners are not in order around it; give them in order")
    return (corners if max(turns) > 0 else corners[::-1]) + 0.0


def _turn(a, b, c):
    """Return the sign of the turn from a to b to c: 1 to the left."""
    value = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
    return (value > 0) - (value < 0)


def _n_wraps(exact):
    """Count how often the corners go around: 1 if the sides change between upwards and downwards twice."""
    sides = [(b[1] - a[1], b[0] - a[0]) for a, b in zip(exact, exact[1:] + exact[:1], strict=True)]
    upward = [side > (0, 0) for side in sides]
    return sum(a != b for a, b in zip(upward, upward[1:] + upward[:1], strict=True)) // 2
