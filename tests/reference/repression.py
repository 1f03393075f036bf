"""Outputs with repressed float neurons, in exact arithmetic."""

from fractions import Fraction

from .description import AFFINE, SWITCHING, affine_rows, clip_bounds, pool_windows, shapes, values
from .description import _switch as switch


def strict_states(node, shape, z):
    """The state of each neuron of a switching node; None where it is not strictly in one."""
    if node["kind"] == "max_pool":
        windows = [[(z[entry], tap) for tap, entry in window] for window in pool_windows(node, shape)]
        largest = [[tap for value, tap in window if value == max(window)[0]] for window in windows]
        return [taps[0] if len(taps) == 1 else None for taps in largest]
    if node["kind"] != "clip":
        return [None if v == 0 else v > 0 for v in z]
    low, high = clip_bounds(node)
    return [
        None if v in (low, high) else (0 if low is not None and v < low else 2 if high is not None and v > high else 1)
        for v in z
    ]


def repressed_outputs(description, x, reference, eta, passes):
    """Outputs where the value of each neuron that floats between two points is multiplied by 1 + eta, a Fraction.

    With two passes, the states of ``x`` are those of its plain pass; with one, those of the pass with multiplied values.
    """
    plain, at_reference, found_shapes, found = values(description, x), values(description, reference), shapes(description), []
    for node in description:
        inputs = [found[i] for i in node["inputs"]]
        if node["kind"] == "input":
            found.append([Fraction(v) for v in x.ravel().tolist()])
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            found.append([sum((c * inputs[i][k] for i, k, c in terms), bias) for terms, bias in rows])
        elif node["kind"] in SWITCHING:
            source = node["inputs"][0]
            compared = plain[source] if passes == 2 else found[source]
            here, there = (strict_states(node, found_shapes[source], z) for z in (compared, at_reference[source]))
            new = [value for value, _ in switch(node, found_shapes[source], found[source])]
            pairs = zip(new, here, there, strict=True)
            found.append([v if a is not None and a == b else (1 + eta) * v for v, a, b in pairs])
    return found[-1]


def scaled_outputs(description, x, factors):
    """Outputs where the value of each neuron is multiplied by its factor; neurons node by node."""
    found_shapes, found, factors = shapes(description), [], iter(factors)
    for node in description:
        inputs = [found[i] for i in node["inputs"]]
        if node["kind"] == "input":
            found.append([Fraction(v) for v in x.ravel().tolist()])
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            found.append([sum((c * inputs[i][k] for i, k, c in terms), bias) for terms, bias in rows])
        elif node["kind"] in SWITCHING:
            source = node["inputs"][0]
            found.append([v * next(factors) for v, _ in switch(node, found_shapes[source], found[source])])
    return found[-1]
