"""What random networks and lines hold: names of features, to be counted over many of them."""

from fractions import Fraction
from itertools import pairwise

import numpy as np

from .description import AFFINE, SWITCHING, attribute, clip_bounds, pool_windows, shapes
from .exact_line import trace
from .random_lines import first_rows

MANY = 8  # neurons that flip at one t, and then are called many
WINDOWS = ("conv", "avg_pool", "max_pool")
OF_NETWORKS = (
    *AFFINE, *SWITCHING, *(f"{kind} with {what}" for kind in WINDOWS for what in ("padding", "stride", "overlap")),
    "conv with dilation", "max_pool with dilation", "conv in groups", "padding counts", "padding does not count",
    "prelu", "slope 1/64", "slope 0", "slope 1", "slope above 1", "negative slope", "absolute value",
    "hardtanh", "relu6", "lower bound only", "upper bound only", "gathered constant", "gathered copies",
    "residual", "branches added", "branches joined", "identical branches", "joined along rows or columns",
    "no bias", "zero biases", "zero row", "zero row and bias", "duplicate neurons", "opposite neurons",
    *(f"depth {n}" for n in range(1, 6)), *(f"width {n}" for n in range(1, 9)),
)  # fmt: skip
OF_LINES = (
    "start = end", "along a zero set of the first layer", "along a zero set of a later layer", "through a vertex",
    "a vertex at an end", "touches a threshold", "several flips at one t", "many flips at one t",
    "flips in several layers at one t", "flips both ways at one t", "a neuron that flips twice",
)  # fmt: skip


def of_network(description):
    """Names out of ``OF_NETWORKS`` that hold for a network; depth: switching nodes on the longest path."""
    found, found_shapes, depths = set(), shapes(description), []
    for node in description:
        depths.append(max((depths[i] for i in node["inputs"]), default=0) + (node["kind"] in SWITCHING))
        found |= {node["kind"]} | _held(_OF_KIND.get(node["kind"], _nothing)(node, description, found_shapes))
    return (found | {f"depth {depths[-1]}"}) & set(OF_NETWORKS)


def _held(features):
    return {name for name, holds in features.items() if holds}


def _nothing(node, description, found_shapes):
    return {}


def _weights(node, description, found_shapes):
    rows = node["weight"].reshape(len(node["weight"]), -1)
    bias = np.zeros(len(rows)) if node["bias"] is None else node["bias"]
    zero = ~rows.any(axis=1)
    both = np.column_stack([rows, bias])[~zero]
    return {
        "no bias": node["bias"] is None,
        "zero biases": node["bias"] is not None and not bias.any(),
        "zero row": zero.any(),
        "zero row and bias": (zero & (bias == 0)).any(),
        "duplicate neurons": len(np.unique(both, axis=0)) < len(both),
        "opposite neurons": any((row == -other).all() for k, row in enumerate(both) for other in both[:k]),
        f"width {len(rows)}": node["kind"] == "linear",
    }


def _window(node, description, found_shapes):
    kind, shape = node["kind"], found_shapes[node["inputs"][0]]
    if kind == "conv":
        node = {"kernel": node["weight"].shape[2:], **node}
    counts = np.bincount([k for window in pool_windows({**node, "kind": "max_pool"}, shape) for _, k in window])
    return {
        f"{kind} with padding": max(attribute(node, "padding")) > 0,
        f"{kind} with stride": max(attribute(node, "stride")) > 1,
        f"{kind} with dilation": max(attribute(node, "dilation")) > 1,
        f"{kind} with overlap": counts.max() > 1,
        "conv in groups": attribute(node, "groups") > 1,
        "padding counts": kind == "avg_pool" and attribute(node, "count_pad") and any(node["padding"]),
        "padding does not count": kind == "avg_pool" and not attribute(node, "count_pad") and any(node["padding"]),
    }


def _leaky_relu(node, description, found_shapes):
    slopes = np.ravel(node["slope"])
    return {
        "prelu": slopes.size > 1,
        "slope 1/64": (slopes == 1 / 64).any(),
        "slope 0": (slopes == 0).any(),
        "slope 1": (slopes == 1).any(),
        "slope above 1": (slopes > 1).any(),
        "negative slope": (slopes < 0).any(),
        "absolute value": (slopes == -1).any(),
    }


def _clip(node, description, found_shapes):
    lower, upper = node["lower"], node["upper"]
    return {
        "hardtanh": (lower, upper) == (-1.0, 1.0),
        "relu6": (lower, upper) == (0.0, 6.0),
        "lower bound only": upper == np.inf,
        "upper bound only": lower == -np.inf,
    }


def _gather(node, description, found_shapes):
    index = node["index"][node["index"] >= 0]
    return {"gathered constant": index.size < node["index"].size, "gathered copies": len(np.unique(index)) < index.size}


def _merge(node, description, found_shapes):
    first, second = node["inputs"]
    apart = not {first, second} & (_ancestors(description, first) | _ancestors(description, second))
    same = first != second and _same(description, first, second)
    return {
        "residual": not apart,
        "branches added": apart and node["kind"] == "add",
        "branches joined": apart and node["kind"] == "concat",
        "identical branches": same,
        "joined along rows or columns": node.get("axis", 0) > 0,
    }


def _ancestors(description, number):
    inputs = description[number]["inputs"]
    return set(inputs).union(*(_ancestors(description, i) for i in inputs))


def _same(description, first, second):
    """Whether two nodes compute the same in the same way."""
    a, b = description[first], description[second]
    if first == second:
        return True
    return a.keys() == b.keys() and all(
        all(_same(description, i, j) for i, j in zip(a[key], b[key], strict=True)) if key == "inputs"
        else np.array_equal(a[key], b[key])
        for key in a
    )  # fmt: skip


_OF_KIND = {
    "linear": _weights,
    "conv": lambda *node: _weights(*node) | _window(*node),
    "avg_pool": _window,
    "max_pool": _window,
    "leaky_relu": _leaky_relu,
    "clip": _clip,
    "gather": _gather,
    "add": _merge,
    "concat": _merge,
}


def of_line(description, start, end):
    """Names out of ``OF_LINES`` that hold for a line through a network."""
    line = trace(description, start, end)
    found, moving = _of_flips(description, line), (start != end).any()
    switching = [node for node in description if node["kind"] in SWITCHING and node["kind"] != "max_pool"]
    for depth, node in enumerate(switching):
        pieces, denominator = line.signals[node["inputs"][0]]
        for level in [b for b in clip_bounds(node) if b is not None] if node["kind"] == "clip" else [Fraction(0)]:
            above = pieces * level.denominator
            above[:, 0] -= level.numerator * denominator
            # Where all signals are constant, zero is no coincidence of the line's direction.
            along = (above == 0).all(axis=1).any(axis=1) & (pieces[:, 1] != 0).any(axis=1)
            found |= {f"along a zero set of {'a later' if depth else 'the first'} layer"} if moving and along.any() else set()
            left, right = above[:-1], above[1:]
            kink = line.at(line.t[1:-1], left) == 0
            inner = [a + b for a, b in pairwise(line.t)]
            before, after = line.at([t / 2 for t in inner[:-1]], left), line.at([t / 2 for t in inner[1:]], right)
            found |= {"touches a threshold"} if (kink & (before * after > 0)).any() else set()
    return found | (_of_vertices(description, line.t, start, end) if moving else {"start = end"})


def _of_flips(description, line):
    flips = line.flips()
    layer = np.repeat(np.arange(len(line.states)), [states.shape[1] for states in line.states.values()])
    neurons = [[n for n, _ in at] for at in flips]
    states = line.pattern()
    ways = [{int(np.sign(states[k, n] - states[k - 1, n])) for n in at} for k, at in enumerate(neurons)]
    every = [n for at in neurons for n in at]
    return _held(
        {
            "several flips at one t": max(map(len, flips)) > 1,
            "many flips at one t": max(map(len, flips)) >= MANY,
            "flips in several layers at one t": any(len(set(layer[at])) > 1 for at in neurons),
            "flips both ways at one t": any(len(way) > 1 for way in ways),
            "a neuron that flips twice": len(set(every)) < len(every),
        }
    )


def _of_vertices(description, t, start, end):
    """Where the line meets thresholds (of ReLUs) in the first layer that are not parallel."""
    rows = first_rows(description)
    rows = rows[rows[:, :-1].any(axis=1)]
    exact = [[Fraction(v) for v in row] for row in rows.tolist()]
    found = set()
    for s in t:
        x = [Fraction(a) + s * (Fraction(b) - Fraction(a)) for a, b in zip(start.tolist(), end.tolist(), strict=True)]
        zero = [sum(w * v for w, v in zip(row, [*x, 1], strict=True)) == 0 for row in exact]
        if np.linalg.matrix_rank(rows[zero][:, :-1]) > 1:
            found |= {"through a vertex"} | ({"a vertex at an end"} if s in (0, 1) else set())
    return found
