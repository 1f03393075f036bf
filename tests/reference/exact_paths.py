"""Sums over the paths of a network by their number of float neurons, in exact arithmetic; and numbers of paths.

A path goes from an input or a constant (a bias, the value of a saturated clip) to an output, through one entry of each node.
At given states, its contribution is the product of the coefficients and slopes along it, times the input or the constant. Every
entry of every node has a list: number m is the sum over the paths to it with m float neurons so far.
"""

from fractions import Fraction

from .description import AFFINE, affine_rows, clip_bounds, leaky_slopes, pool_windows, shapes
from .description import _switch as switch


def depth(description):
    """Largest number of switching nodes on a path to the output."""
    found = []
    for node in description:
        found.append(max([found[i] for i in node["inputs"]], default=0) + (node["kind"] not in (*AFFINE, "input")))
    return found[-1]


def contributions(description, x, states, floats):
    """Sums over paths to each output: list (outputs) of lists (number of float neurons) of Fractions.

    ``states`` and ``floats`` are those of all neurons, in the order of ``description.point_states``.
    """
    n, found_shapes, found, first = depth(description) + 1, shapes(description), [], 0
    for node in description:
        inputs, shape = [found[i] for i in node["inputs"]], found_shapes[node["inputs"][0]] if node["inputs"] else None
        if node["kind"] == "input":
            found.append([[Fraction(v)] + [Fraction(0)] * (n - 1) for v in x.ravel().tolist()])
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            found.append([_combine(terms, bias, inputs, n) for terms, bias in rows])
        else:
            pieces = _pieces(node, shape, states[first:])
            values = []
            for k, (source, slope, constant) in enumerate(pieces):
                value = [slope * v for v in inputs[0][source]]
                value[0] += constant
                values.append([Fraction(0), *value[:-1]] if floats[first + k] else value)
            found.append(values)
            first += len(pieces)
    return found[-1]


def live_outputs(description, x, floats, factor):
    """Outputs where the value of each float neuron is multiplied by a factor, and later neurons take their states from that."""
    found_shapes, found, first = shapes(description), [], 0
    for node in description:
        inputs, shape = [found[i] for i in node["inputs"]], found_shapes[node["inputs"][0]] if node["inputs"] else None
        if node["kind"] == "input":
            found.append([Fraction(v) for v in x.ravel().tolist()])
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            found.append([sum((c * inputs[i][k] for i, k, c in terms), bias) for terms, bias in rows])
        else:
            values = [value for value, _ in switch(node, shape, inputs[0])]
            found.append([factor * v if floats[first + k] else v for k, v in enumerate(values)])
            first += len(values)
    return found[-1]


def _combine(terms, bias, inputs, n):
    """One row of an affine node."""
    return [sum((c * inputs[i][k][m] for i, k, c in terms), bias if m == 0 else Fraction(0)) for m in range(n)]


def _pieces(node, shape, states):
    """Per neuron of a switching node in its state: (entry of the input, slope, constant)."""
    if node["kind"] == "max_pool":
        return [
            (dict(window)[state], Fraction(1), Fraction(0))
            for window, state in zip(pool_windows(node, shape), states, strict=False)
        ]
    size = 1
    for extent in shape:
        size *= extent
    slopes = [Fraction(0)] * size if node["kind"] != "leaky_relu" else leaky_slopes(node, shape)
    pieces = []
    for k in range(size):
        if states[k] == 1:
            pieces.append((k, Fraction(1), Fraction(0)))
        elif node["kind"] == "clip":
            pieces.append((k, Fraction(0), clip_bounds(node)[0 if states[k] == 0 else 1]))
        else:
            pieces.append((k, slopes[k], Fraction(0)))
    return pieces


def input_paths(description, floats):
    """Numbers of paths from inputs to all outputs, by number of float neurons; connections of weight 0 do not count."""
    n, found_shapes, found, first = depth(description) + 1, shapes(description), [], 0
    for node in description:
        inputs, shape = [found[i] for i in node["inputs"]], found_shapes[node["inputs"][0]] if node["inputs"] else None
        if node["kind"] == "input":
            size = 1
            for extent in node["shape"]:
                size *= extent
            found.append([[1] + [0] * (n - 1)] * size)
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            found.append([[sum(inputs[i][k][m] for i, k, _ in terms) for m in range(n)] for terms, _ in rows])
        else:
            entries = [[(0, k)] for k in range(len(inputs[0]))] if node["kind"] != "max_pool" else pool_windows(node, shape)
            values = [[sum(inputs[0][k][m] for _, k in window) for m in range(n)] for window in entries]
            found.append([[0, *v[:-1]] if floats[first + k] else v for k, v in enumerate(values)])
            first += len(entries)
    return [sum(v[m] for v in found[-1]) for m in range(n)]
