"""Which neurons float, in exact arithmetic: those without a state that is right on all pieces of a line or a plane."""

from fractions import Fraction
from itertools import pairwise

import numpy as np

from . import exact_line, exact_plane
from .description import SWITCHING, clip_bounds, pool_windows, shapes, values


def right_states(description, x):
    """The states that are right at a point, of every neuron: list of sets."""
    found_shapes, found, result = shapes(description), values(description, x), []
    for node in description:
        if node["kind"] in SWITCHING:
            source = node["inputs"][0]
            result += _right(node, found_shapes[source], found[source])
    return result


def _right(node, shape, z):
    if node["kind"] == "max_pool":
        windows = pool_windows(node, shape)
        return [{tap for tap, k in window if z[k] == max(z[entry] for _, entry in window)} for window in windows]
    if node["kind"] == "clip":
        low, high = clip_bounds(node)
        return [
            {s for s, right in ((0, low is not None and v <= low), (2, high is not None and v >= high)) if right}
            | ({1} if (low is None or v >= low) and (high is None or v <= high) else set())
            for v in z
        ]
    return [({0} if v <= 0 else set()) | ({1} if v >= 0 else set()) for v in z]


def line_floats(description, start, end):
    """The neurons that float on a line, and the share of the line with state 1: bool[K], list of Fractions."""
    t, _ = exact_line.partition(description, start, end)
    states = np.array(exact_line.states(description, start, end))
    start, end = ([Fraction(v) for v in np.asarray(p).ravel().tolist()] for p in (start, end))
    middles = [(a + b) / 2 for a, b in pairwise(t)]
    points = [[a + m * (b - a) for a, b in zip(start, end, strict=True)] for m in middles]
    widths = [b - a for a, b in pairwise(t)]
    shares = [sum((w for w, s in zip(widths, column, strict=True) if s == 1), Fraction(0)) for column in states.T.tolist()]
    return _floats(description, points), shares


def plane_floats(description, origin, e1, e2, cells):
    """The neurons that float on a polygon with the given cells (exact_plane.partition), and shares of state 1."""
    points = [exact_plane.point(origin, e1, e2, exact_plane.interior(vertices)) for _, _, vertices in cells]
    total = sum(area for _, area, _ in cells)
    columns = zip(*(states for states, _, _ in cells), strict=True)
    areas = [area for _, area, _ in cells]
    shares = [sum((a for a, s in zip(areas, column, strict=True) if s == 1), Fraction(0)) / total for column in columns]
    return _floats(description, points), shares


def _floats(description, points):
    common = None
    for x in points:
        here = right_states(description, x)
        common = here if common is None else [a & b for a, b in zip(common, here, strict=True)]
    return np.array([not states for states in common], bool)
