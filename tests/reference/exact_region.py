"""The exact half-spaces of an activation region, and exact linear programs: the oracle for regions of points.

Under the states of a point every value is an affine function of the input, kept here as rows of Fractions
``[entries, D + 1]``, the constant last. Nothing here imports pwlnet.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from .description import AFFINE, affine_rows, clip_bounds, leaky_slopes, pool_windows, shapes


class Row(NamedTuple):
    """A condition ``gradient @ (y - x) <= margin`` of one threshold of a neuron."""

    neuron: int
    other: int  # state on the other side
    gradient: tuple  # of Fractions
    margin: Fraction


def region_rows(description, x):
    """The rows of the region of a point, in the order of the neurons: list of Row."""
    point = [Fraction(v) for v in np.asarray(x, np.float64).ravel().tolist()] + [Fraction(1)]
    size, found, rows, neuron = len(point) - 1, [], [], 0
    node_shapes = shapes(description)
    for node in description:
        inputs = [found[i] for i in node["inputs"]]
        if node["kind"] == "input":
            eye = np.full((size, size + 1), Fraction(0))
            eye[range(size), range(size)] = Fraction(1)
            found.append(eye)
        elif node["kind"] in AFFINE:
            found.append(_affine(node, [node_shapes[i] for i in node["inputs"]], inputs, size))
        else:
            value, own = _switch(node, node_shapes[node["inputs"][0]], inputs[0], point, neuron)
            found.append(value)
            rows += own
            neuron += len(value)
    return rows


def _affine(node, input_shapes, inputs, size):
    out = []
    for terms, bias in affine_rows(node, input_shapes):
        row = np.full(size + 1, Fraction(0))
        for i, k, c in terms:
            row = row + c * inputs[i][k]
        row[-1] += bias
        out.append(row)
    return np.array(out, object).reshape(len(out), size + 1)


def _row(neuron, other, function, point, threshold=Fraction(0)):
    """The condition ``function <= threshold``."""
    return Row(neuron, other, tuple(function[:-1]), threshold - sum(f * v for f, v in zip(function, point, strict=True)))


def _switch(node, shape, z, point, neuron):
    """The values of a switching node under the states at the point, and its rows."""
    at, zero = z @ np.array(point, object), np.full(len(point), Fraction(0))
    values, rows = [], []
    if node["kind"] in ("relu", "leaky_relu"):
        slopes = leaky_slopes(node, shape) if node["kind"] == "leaky_relu" else [Fraction(0)] * len(z)
        for k, slope in enumerate(slopes):
            on = at[k] > 0
            values.append(z[k] if on else slope * z[k])
            rows.append(_row(neuron + k, 0 if on else 1, -z[k] if on else z[k], point))
    elif node["kind"] == "clip":
        low, high = clip_bounds(node)
        for k in range(len(z)):
            if low is not None and at[k] <= low:
                rows.append(_row(neuron + k, 2 if low == high else 1, z[k], point, low))
                values.append(_constant(zero, low))
            elif high is not None and at[k] >= high:
                rows.append(_row(neuron + k, 0 if low == high else 1, -z[k], point, -high))
                values.append(_constant(zero, high))
            else:
                rows += [_row(neuron + k, 0, -z[k], point, -low)] if low is not None else []
                rows += [_row(neuron + k, 2, z[k], point, high)] if high is not None else []
                values.append(z[k])
    else:
        for n, window in enumerate(pool_windows(node, shape)):
            tap, best = max(window, key=lambda entry: (at[entry[1]], -entry[0]))
            values.append(z[best])
            rows += [_row(neuron + n, other, z[k] - z[best], point) for other, k in window if other != tap]
    return np.array(values, object).reshape(len(values), len(point)), rows


def _constant(zero, value):
    row = zero.copy()
    row[-1] = value
    return row


def half_space(row):
    """What is equal for rows that are the same half-space: gradient and margin by the size of the first entry."""
    size = next(abs(g) for g in row.gradient if g)
    return tuple(g / size for g in row.gradient), row.margin / size


def facets(rows):
    """The facets of a region with interior points: list of lists of row numbers, rows of one half-space together.

    None if the region has no interior points. A row is a facet if it can be exceeded where all others hold.
    """
    used = [m for m, row in enumerate(rows) if any(row.gradient)]
    groups = {}
    for m in used:
        groups.setdefault(half_space(rows[m]), []).append(m)
    firsts = [group[0] for group in groups.values()]
    if firsts and not _has_interior([rows[m] for m in firsts]):
        return None
    found = []
    for group in groups.values():
        others = [rows[m] for m in firsts if m != group[0]]
        own = rows[group[0]]
        normals, margins = [row.gradient for row in others], [row.margin for row in others]
        largest = maximum([*normals, own.gradient], [*margins, own.margin + 1], own.gradient)
        if largest > own.margin:
            found.append(group)
    return sorted(found)


def _has_interior(rows):
    """Whether all rows can hold with room to spare."""
    normals = [(*row.gradient, Fraction(1)) for row in rows] + [(Fraction(0),) * len(rows[0].gradient) + (Fraction(1),)]
    objective = (Fraction(0),) * len(rows[0].gradient) + (Fraction(1),)
    return maximum(normals, [*(row.margin for row in rows), Fraction(1)], objective) > 0


def maximum(normals, bounds, objective):
    """The maximum of ``objective @ v`` with ``normals @ v <= bounds`` and bounds >= 0, which must be bounded.

    The simplex method with Bland's rule on v = p - q, p and q >= 0.
    """
    n, m = len(objective), len(bounds)
    table = [[*row, *(-g for g in row)] + [Fraction(int(k == i)) for k in range(m)] + [bound]
             for i, (row, bound) in enumerate(zip(normals, bounds, strict=True))]  # fmt: skip
    cost = [*objective, *(-c for c in objective)] + [Fraction(0)] * (m + 1)
    basis = list(range(2 * n, 2 * n + m))
    while True:
        column = next((k for k in range(2 * n + m) if cost[k] > 0), None)
        if column is None:
            return -cost[-1]
        choices = [(table[i][-1] / table[i][column], basis[i], i) for i in range(m) if table[i][column] > 0]
        _, _, i = min(choices)
        pivot = table[i][column]
        table[i] = [v / pivot for v in table[i]]
        for other in [*(table[k] for k in range(m) if k != i), cost]:
            factor = other[column]
            if factor:
                for k, v in enumerate(table[i]):
                    if v:
                        other[k] -= factor * v
        basis[i] = column
