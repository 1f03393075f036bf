"""The exact partition of a convex polygon in a plane: the oracle for everything pwlnet says about planes.

The points of the plane are x = origin + u e1 + v e2. Node by node, every signal is kept as an exact affine function of
(u, v) on each cell, ``(constant + a u + b v) / denominator`` with Python integers: the three coefficients in one object array
[cells, 3, entries], one denominator for the node, as in `exact_line`. A cell is a convex polygon, the list of its corners,
counter-clockwise; a corner (u, v) = (p / w, q / w) is the tuple of integers (w, p, q), w > 0, without a common divisor, so
that its product with the coefficients has the sign of the signal there.

A switching node cuts every cell along the zero lines of its thresholds that have corners strictly on both sides, and reads
each state at an interior point (now the state in the whole interior). Cells with equal states of all neurons so far are then
joined: these states fix the affine pieces, and with them a set of linear inequalities, so that their region is convex, the
convex hull of its parts. States and numbers of neurons are those of `exact_line`; patterns without interior (a neuron on its
threshold along a line) don't occur.
"""

import math
from fractions import Fraction

import numpy as np

from .description import AFFINE, affine_rows, shapes
from .exact_line import RULES, affine, integers


def partition(description, origin, e1, e2, polygon):
    """Split a convex polygon into the regions on which every neuron keeps its state.

    Parameters
    ----------
    description : list of dict
        The network, see `description`.
    origin, e1, e2 : array_like of float or Fraction, [D]
        The plane; e1 and e2 may be parallel.
    polygon : array_like of float or Fraction, [V, 2]
        Corners (u, v) in either order; some may lie on the edge between others.

    Returns
    -------
    list of (states, area, vertices)
        One entry per pattern with interior in the polygon (none if the polygon has no interior), sorted by pattern: the tuple
        of the states of all neurons, the area in the units of (u, v), and the corners, pairs of Fractions, counter-clockwise
        from the one with the least u (then v). No corner lies between its neighbours, even where other cells have one there.
    """
    if len(hull(_corners(polygon))) < 3:
        return []
    plane = trace(description, origin, e1, e2, polygon)
    cells = zip(map(tuple, plane.pattern().tolist()), plane.polygons, strict=True)
    return sorted((states, _area(corners), _vertices(corners)) for states, corners in cells)


def point(origin, e1, e2, at):
    """The exact point of a plane at ``at`` = (u, v), a list of Fractions."""
    vectors = ([Fraction(v) for v in np.asarray(vector).ravel().tolist()] for vector in (origin, e1, e2))
    return [x + at[0] * a + at[1] * b for x, a, b in zip(*vectors, strict=True)]


def interior(vertices):
    """A point in the interior of a cell: the mean of its corners."""
    return tuple(sum(c) / len(vertices) for c in zip(*vertices, strict=True))


def area(vertices):
    """Area of a polygon of Fractions, negative if its vertices are in clockwise order."""
    return _area(_corners(vertices))


def trace(description, origin, e1, e2, polygon):
    """Follow a polygon with interior through the network; see `Plane`."""
    found_shapes = shapes(description)
    plane = Plane(_corners(polygon))
    for number, node in enumerate(description):
        inputs, input_shapes = node["inputs"], [found_shapes[i] for i in node["inputs"]]
        if node["kind"] == "input":
            vectors = [[Fraction(v) for v in np.asarray(vector).ravel().tolist()] for vector in (origin, e1, e2)]
            plane.signals[number] = integers(vectors)
        elif node["kind"] in AFFINE:
            plane.signals[number] = affine(affine_rows(node, input_shapes), [plane.signals[i] for i in inputs])
        else:
            RULES[node["kind"]](plane, number, node, inputs[0], input_shapes[0])
            plane.join()
    return plane


class Plane:
    """The cells so far: ``polygons``; per node ``signals`` (pieces [cells, 3, entries], denominator); ``states``."""

    def __init__(self, corners):
        self.polygons = [hull(corners)]
        assert _area(self.polygons[0]) == abs(_area(corners)) > 0  # the polygon is convex and has interior
        self.signals, self.states = {}, {}

    def cut(self, pieces):
        """Cut cells along the zero lines of the entries of ``pieces`` [cells, 3, entries] that pass through their interior."""
        parents, polygons = [], []
        for cell, corners in enumerate(self.polygons):
            z = np.array(corners, object) @ pieces[cell]
            parts = [corners]
            for entry in np.flatnonzero((z > 0).any(axis=0) & (z < 0).any(axis=0)):
                parts = [new for part in parts for new in _split(part, pieces[cell, :, entry].tolist())]
            polygons += parts
            parents += [cell] * len(parts)
        if len(polygons) > len(self.polygons):
            self._select(parents)
        self.polygons = polygons

    def join(self):
        """Join the cells with equal states."""
        groups = {}
        for cell, states in enumerate(self.pattern()):
            groups.setdefault(states.tobytes(), []).append(cell)
        if len(groups) < len(self.polygons):
            self.polygons = [_union([self.polygons[cell] for cell in cells]) for cells in groups.values()]
            self._select([cells[0] for cells in groups.values()])

    def _select(self, cells):
        self.signals = {node: (pieces[cells], d) for node, (pieces, d) in self.signals.items()}
        self.states = {node: states[cells] for node, states in self.states.items()}

    def inside(self, pieces):
        """The sign-giving integers of ``pieces`` [cells, 3, entries] at an interior point of each cell."""
        points = np.array([[sum(c) for c in zip(*corners, strict=True)] for corners in self.polygons], object)
        return (points[:, :, None] * pieces).sum(axis=1)

    def pattern(self):
        """States of all neurons of the nodes done so far, int64[cells, neurons]."""
        return np.concatenate([np.empty((len(self.polygons), 0), np.int64), *self.states.values()], axis=1)


def hull(corners):
    """The corners of the convex hull, counter-clockwise from the least u (then v); fewer than 3 without interior."""
    corners = sorted(set(corners), key=lambda c: (Fraction(c[1], c[0]), Fraction(c[2], c[0])))
    return _chain(corners)[:-1] + _chain(corners[::-1])[:-1]


def _chain(corners):
    """The corners at which a chain from the first to the last turns left."""
    chain = []
    for corner in corners:
        while len(chain) > 1 and _turn(*chain[-2:], corner) <= 0:
            chain.pop()
        chain.append(corner)
    return chain


def _turn(a, b, c):
    """A positive multiple of the signed area of a triangle."""
    (w, p, q), (x, r, s), (y, t, u) = a, b, c
    return w * (r * u - s * t) - p * (x * u - s * y) + q * (x * t - r * y)


def _split(corners, line):
    """The parts of a cell on the two sides of a line ``constant + a u + b v = 0``; the cell itself if it has one part."""
    z = [sum(c * x for c, x in zip(line, corner, strict=True)) for corner in corners]
    if not min(z) < 0 < max(z):
        return [corners]
    below, above = [], []
    for k, (corner, here) in enumerate(zip(corners, z, strict=True)):
        last = z[k - 1]
        if here * last < 0:
            new = _reduced([abs(here) * x + abs(last) * y for x, y in zip(corners[k - 1], corner, strict=True)])
            below.append(new)
            above.append(new)
        if here <= 0:
            below.append(corner)
        if here >= 0:
            above.append(corner)
    return [below, above]


def _union(polygons):
    """The union of cells, known to be convex."""
    if len(polygons) == 1:
        return polygons[0]
    union = hull([corner for corners in polygons for corner in corners])
    assert _area(union) == sum(map(_area, polygons))
    return union


def _corners(vertices):
    """Vertices (u, v) as triples of integers."""
    pairs = [[Fraction(c) for c in pair] for pair in np.asarray(vertices).tolist()]
    scales = [math.lcm(u.denominator, v.denominator) for u, v in pairs]  # the least: no common divisor remains
    return [(w, int(u * w), int(v * w)) for w, (u, v) in zip(scales, pairs, strict=True)]


def _reduced(corner):
    divisor = math.gcd(*corner)
    return tuple(c // divisor for c in corner)


def _vertices(corners):
    """The corners as pairs of Fractions, from the one with the least u (then v)."""
    vertices = [(Fraction(p, w), Fraction(q, w)) for w, p, q in corners]
    first = vertices.index(min(vertices))
    return vertices[first:] + vertices[:first]


def _area(corners):
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return sum((Fraction(p * s - q * r, w * x) for (w, p, q), (x, r, s) in pairs), Fraction(0)) / 2
