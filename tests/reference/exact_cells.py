"""The exact cells of a box with few free inputs: the oracle for regions in three dimensions, without linear programs.

A cell is a list of inequalities ``c . (x, 1) >= 0`` with integers, and its vertices, in homogeneous integers: all points where
D of the inequalities are equations and the others hold. It has interior, always. A function that is affine on the cell cuts it
if it is positive at one vertex and negative at another one. Inequalities that hold with equality at fewer than D vertices are
dropped, since they are redundant. Node by node, every signal is an affine function of the free inputs on each cell.
"""

import itertools
import math
from fractions import Fraction

import numpy as np

from .description import AFFINE, affine_rows, clip_bounds, leaky_slopes, pool_windows, shapes


def patterns(description, lower, upper):
    """Return the set of the patterns with interior in a box: tuples of the states of all neurons.

    Parameters
    ----------
    description : list of dict
    lower, upper : float64[D_in]
        At least one side has a positive width.
    """
    return {tuple(cell.states) for cell in cells_of(description, lower, upper)}


def cells_of(description, lower, upper):
    """Return the cells: a list of objects with ``states``, ``vertices`` and ``signals`` of all nodes."""
    free = [d for d in range(len(lower)) if lower[d] < upper[d]]
    cells = [_box(lower, upper, free)]
    found_shapes = shapes(description)
    for number, node in enumerate(description):
        if node["kind"] == "input":
            for cell in cells:
                cell.signals[0] = [_input(lower, free, d) for d in range(len(lower))]
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            for cell in cells:
                cell.signals[number] = [_sum(cell, node["inputs"], terms, bias, len(free)) for terms, bias in rows]
        else:
            cells = [part for cell in cells for part in _switch(cell, number, node, found_shapes[node["inputs"][0]])]
    return cells


def ranges(description, lower, upper):
    """Return the least and largest values of the pre-activations, and of the outputs: lists of pairs of Fractions."""
    cells = cells_of(description, lower, upper)
    neurons = [
        (number if node["kind"] == "max_pool" else node["inputs"][0], number)
        for number, node in enumerate(description)
        if node["kind"] not in ("input", *AFFINE)
    ]
    preactivations = [pair for read, size in neurons for pair in _extremes(cells, read, size)]
    return preactivations, _extremes(cells, len(description) - 1, len(description) - 1)


def _extremes(cells, number, like):
    """Return the range of each entry of a node's value."""
    pairs = []
    for k in range(len(cells[0].signals[like])):
        values = [_dot(cell.signals[number][k], v) / v[-1] for cell in cells for v in cell.vertices]
        pairs.append((min(values), max(values)))
    return pairs


def meets(description, lower, upper, A, b):
    """Return whether A y <= b holds somewhere in the box, and whether it does on a set with interior."""
    somewhere = inside = False
    last = len(description) - 1
    for cell in cells_of(description, lower, upper):
        rows, outputs = list(cell.rows), cell.signals[last]
        for coefficients, shift in zip(np.asarray(A).tolist(), np.asarray(b).tolist(), strict=True):
            row = [-sum(Fraction(c) * f[d] for c, f in zip(coefficients, outputs, strict=True)) for d in range(len(rows[0]))]
            row[-1] += Fraction(shift)
            if any(row):
                rows.append(_integers(row))
        part = _Cell(rows, {}, [])
        if part.vertices:
            somewhere, point = True, [*part.inside(), 1]
            inside = inside or all(_dot(row, point) > 0 for row in rows)
    return somewhere, inside


class _Cell:
    """One cell."""

    def __init__(self, rows, signals, states):
        n = len(rows[0]) - 1
        self.signals, self.states = dict(signals), list(states)
        vertices = {v for chosen in itertools.combinations(rows, n) if (v := _intersection(chosen)) is not None}
        self.vertices = [v for v in vertices if all(_dot(row, v) >= 0 for row in rows)]
        self.rows = [row for row in rows if sum(_dot(row, v) == 0 for v in self.vertices) >= n]

    def cut(self, function):
        """Return the parts of the cell on the two sides of a function, or the cell itself."""
        row = _integers(function)
        signs = [_dot(row, v) for v in self.vertices]
        if not min(signs) < 0 < max(signs):
            return [self]
        return [_Cell([*self.rows, tuple(s * c for c in row)], self.signals, self.states) for s in (1, -1)]

    def inside(self):
        """Return a point inside the cell: the mean of its vertices, Fractions."""
        n, points = len(self.vertices), [[Fraction(c, v[-1]) for c in v[:-1]] for v in self.vertices]
        return [sum(x) / n for x in zip(*points, strict=True)]


def _switch(cell, number, node, shape):
    """Return the parts of a cell on which a switching node keeps its states, with the node's signals."""
    z, kind, parts = cell.signals[node["inputs"][0]], node["kind"], [cell]
    for function in _thresholds(node, shape, z):
        parts = [new for part in parts for new in part.cut(function)]
    for part in parts:
        values = [sum(c * x for c, x in zip(f, [*part.inside(), 1], strict=True)) for f in z]
        if kind == "max_pool":
            best = [max(w, key=lambda entry: (values[entry[1]], -entry[0])) for w in pool_windows(node, shape)]
            part.signals[number], states = [z[k] for _, k in best], [tap for tap, _ in best]
        else:
            part.signals[number], states = zip(*_pieces(node, shape, z, values), strict=True)
        part.states += states
    return parts


def _thresholds(node, shape, z):
    """List the functions whose signs are the states of a node."""
    if node["kind"] == "max_pool":
        pairs = (pair for w in pool_windows(node, shape) for pair in itertools.combinations([k for _, k in w], 2))
        return [[a - b for a, b in zip(z[i], z[j], strict=True)] for i, j in pairs]
    bounds = [b for b in clip_bounds(node) if b is not None] if node["kind"] == "clip" else [Fraction(0)]
    return [[*f[:-1], f[-1] - b] for f in z for b in bounds]


def _pieces(node, shape, z, values):
    """Yield the function and the state of each neuron of an elementwise node."""
    zero = [Fraction(0)] * len(z[0])
    slopes = leaky_slopes(node, shape) if node["kind"] == "leaky_relu" else [Fraction(0)] * len(z)
    low, high = clip_bounds(node) if node["kind"] == "clip" else (None, None)
    for f, value, slope in zip(z, values, slopes, strict=True):
        if node["kind"] != "clip":
            yield (f, 1) if value > 0 else ([slope * c for c in f], 0)
        elif low is not None and value <= low:
            yield [*zero[:-1], low], 0
        elif high is not None and value >= high:
            yield [*zero[:-1], high], 2
        else:
            yield f, 1


def _box(lower, upper, free):
    rows = []
    for k, d in enumerate(free):
        for sign, side in ((1, lower[d]), (-1, upper[d])):
            row = [Fraction(0)] * (len(free) + 1)
            row[k], row[-1] = Fraction(sign), -sign * Fraction(float(side))
            rows.append(_integers(row))
    return _Cell(rows, {}, [])


def _input(lower, free, d):
    """Return input d as a function of the free inputs."""
    function = [Fraction(int(d == other)) for other in free]
    return [*function, Fraction(0) if d in free else Fraction(float(lower[d]))]


def _sum(cell, inputs, terms, bias, n):
    total = [Fraction(0)] * n + [bias]
    for i, k, c in terms:
        total = [t + c * f for t, f in zip(total, cell.signals[inputs[i]][k], strict=True)]
    return total


def _integers(row):
    """Return a positive multiple of a row in integers without a common divisor."""
    scale = math.lcm(*(c.denominator for c in row))
    whole = [int(c * scale) for c in row]
    divisor = math.gcd(*whole) or 1
    return tuple(c // divisor for c in whole)


def _dot(row, vertex):
    return sum(a * b for a, b in zip(row, vertex, strict=True))


def _intersection(rows):
    """Return the point (x, w), w > 0, where the rows are 0, or None where it is not unique: by minors (Cramer's rule)."""
    n = len(rows)
    point = [(-1) ** k * _determinant([row[:k] + row[k + 1 :] for row in rows]) for k in range(n + 1)]
    if point[-1] == 0:
        return None
    divisor = math.gcd(*point) * (1 if point[-1] > 0 else -1)
    return tuple(c // divisor for c in point)


def _determinant(rows):
    if not rows:
        return 1
    first, *rest = rows
    return sum((-1) ** k * c * _determinant([row[:k] + row[k + 1 :] for row in rest]) for k, c in enumerate(first) if c)


def random_box(rng, description, n_free):
    """Draw a box with n_free sides of positive width, or as many as there are inputs; dyadic numbers: (lower, upper)."""
    n = int(np.prod(description[0]["shape"]))
    lower = rng.integers(-4, 5, n) / 4.0
    upper = lower.copy()
    chosen = rng.permutation(n)[:n_free]
    upper[chosen] += rng.choice((0.5, 1.0, 2.0, 4.0), len(chosen))
    lower[chosen] -= rng.choice((0.0, 0.5, 1.0, 2.0), len(chosen))
    return lower, upper
