"""Which neurons are fixed on a box with at most two sides that are not of width zero: exact, from the cells of its partition.

On each cell every signal is affine, so that its least and largest values are at corners of cells.
"""

from fractions import Fraction

import numpy as np

from . import exact_line, exact_plane
from .description import SWITCHING, clip_bounds, pool_windows, shapes


def fixed_states(description, lower, upper):
    """The states that are right on the whole box, for every neuron: a list of sets, empty for float neurons.

    Relu and leaky_relu: 0 where z <= 0 on the box, 1 where z >= 0. Clip: 0, 1, 2 where z is at most, between, at least its
    bounds. Max_pool: the taps that are not below any other tap of the window anywhere.
    """
    found, all_shapes = [], shapes(description)
    values = corner_values(description, lower, upper)
    for node in description:
        if node["kind"] in SWITCHING:
            source = node["inputs"][0]
            found += _RULES[node["kind"]](node, values[source], all_shapes[source])
    return found


def corner_values(description, lower, upper):
    """Values of all nodes at the corners of all cells: dict of object arrays of Fractions [corners, entries]."""
    lower, upper = (np.asarray(x, float).ravel() for x in (lower, upper))
    free = np.flatnonzero(lower < upper)
    if len(free) > 2:
        raise ValueError(f"{len(free)} sides have a width")
    if len(free) < 2:
        return _line_values(exact_line.trace(description, lower, upper))
    directions = [np.where(np.arange(len(lower)) == d, 1.0, 0.0) for d in free]
    origin = np.where(np.isin(np.arange(len(lower)), free), 0.0, lower)
    (a, b), (c, d) = lower[free].tolist(), upper[free].tolist()
    plane = exact_plane.trace(description, origin, *directions, [(a, b), (c, b), (c, d), (a, d)])
    return _plane_values(plane)


def _line_values(line):
    values = {}
    for node, (pieces, denominator) in line.signals.items():
        rows = []
        for ends, (start, slope) in zip(zip(line.t[:-1], line.t[1:], strict=True), pieces, strict=True):
            for t in ends:
                rows.append([(int(x) + t * int(y)) / denominator for x, y in zip(start, slope, strict=True)])
        values[node] = np.array(rows, object)
    return values


def _plane_values(plane):
    values = {}
    for node, (pieces, denominator) in plane.signals.items():
        rows = []
        for corners, (one, u, v) in zip(plane.polygons, pieces, strict=True):
            for w, p, q in corners:
                rows.append([Fraction(int(w * x + p * y + q * z), w * denominator) for x, y, z in zip(one, u, v, strict=True)])
        values[node] = np.array(rows, object)
    return values


def _two_pieces(node, values, shape):
    return [{s for s, right in ((0, z.max() <= 0), (1, z.min() >= 0)) if right} for z in values.T]


def _clip(node, values, shape):
    low, high = clip_bounds(node)
    found = []
    for z in values.T:
        right = {
            0: low is not None and z.max() <= low,
            1: (low is None or z.min() >= low) and (high is None or z.max() <= high),
            2: high is not None and z.min() >= high,
        }
        found.append({s for s, holds in right.items() if holds})
    return found


def _max_pool(node, values, shape):
    found = []
    for window in pool_windows(node, shape):
        z = values[:, [entry for _, entry in window]]
        best = z.max(axis=1)
        found.append({tap for (tap, _), column in zip(window, z.T, strict=True) if (column == best).all()})
    return found


_RULES = {"relu": _two_pieces, "leaky_relu": _two_pieces, "clip": _clip, "max_pool": _max_pool}
assert set(_RULES) == set(SWITCHING)
