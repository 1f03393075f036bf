"""Networks as plain data, for the oracles: a list of nodes, each a dict; nothing here imports pwlnet.

Node 0 is ``{"kind": "input", "inputs": [], "shape": (C, H, W) or (n,)}``; the last node is the output. Kinds,
attributes and defaults are those of the methods of ``pwlnet.convert.graph.Graph``. Shapes have no batch axis; pairs are
tuples; padding is (top, left, bottom, right). Weights are float64 arrays and stand for exactly these dyadic numbers;
the divisor of an average is the exact integer (1/3 is a third, not its float).

    linear(weight, bias)    conv(weight, bias, stride, padding, dilation, groups)    scale_shift(scale, shift)
    avg_pool(kernel, stride, padding, count_pad)    add(coefficients)    concat(axis)    reshape(shape)
    transpose(axes)    gather(index, fill)    relu()    leaky_relu(slope)    clip(lower, upper)
    max_pool(kernel, stride, padding, dilation)

Every tensor is used flat here (C order). An affine node is a list of rows, one per output entry:
``(terms, bias)`` with terms ``(input number, entry of that input, coefficient)``, coefficient and bias Fractions.
"""

import itertools
from fractions import Fraction

import numpy as np

SWITCHING = ("relu", "leaky_relu", "clip", "max_pool")
AFFINE = ("linear", "conv", "avg_pool", "scale_shift", "add", "concat", "reshape", "transpose", "gather")


def attribute(node, name):
    """One attribute of a node, or its default."""
    if name == "stride" and node["kind"] != "conv":
        return node.get(name, node["kernel"])
    defaults = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "count_pad": True}
    return node.get(name, defaults.get(name))


def shapes(description):
    """Shape of every node's value, a list of tuples."""
    found = []
    for node in description:
        found.append(output_shape(node, [found[i] for i in node["inputs"]]))
    return found


def output_shape(node, inputs):
    """Shape of a node's value, from those of its inputs."""
    kind = node["kind"]
    if kind in ("input", "reshape"):
        return tuple(node["shape"])
    shape = inputs[0]
    if kind == "linear":
        return shape[:-1] + (len(node["weight"]),)
    if kind in ("conv", "avg_pool", "max_pool"):
        kernel = node["weight"].shape[2:] if kind == "conv" else node["kernel"]
        channels = len(node["weight"]) if kind == "conv" else shape[0]
        top, left, bottom, right = attribute(node, "padding")
        room = (shape[1] + top + bottom, shape[2] + left + right)
        parts = zip(room, kernel, attribute(node, "stride"), attribute(node, "dilation"), strict=True)
        return (channels, *((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in parts))
    if kind == "concat":
        return tuple(sum(s[k] for s in inputs) if k == node["axis"] else n for k, n in enumerate(shape))
    if kind == "transpose":
        return tuple(shape[k] for k in node["axes"])
    return node["index"].shape if kind == "gather" else shape


def window_taps(node, kernel, shape, position):
    """The taps of one window inside the image: (tap = ky * kw + kx, y, x), in order of tap."""
    (top, left), (height, width) = attribute(node, "padding")[:2], shape[1:]
    (sy, sx), (dy, dx) = attribute(node, "stride"), attribute(node, "dilation")
    taps = []
    for ky, kx in itertools.product(range(kernel[0]), range(kernel[1])):
        y, x = position[0] * sy + ky * dy - top, position[1] * sx + kx * dx - left
        if 0 <= y < height and 0 <= x < width:
            taps.append((ky * kernel[1] + kx, y, x))
    return taps


def pool_windows(node, shape):
    """Per output entry of a pool: its taps inside the image, as (tap, entry of the input)."""
    out = output_shape(node, [shape])
    windows = []
    for channel, *position in np.ndindex(out):
        taps = window_taps(node, node["kernel"], shape, position)
        windows.append([(tap, (channel * shape[1] + y) * shape[2] + x) for tap, y, x in taps])
    return windows


def affine_rows(node, inputs):
    """The rows of an affine node whose inputs have these shapes (module docstring)."""
    kind, shape = node["kind"], inputs[0]
    if kind == "linear":
        return _linear_rows(node, shape)
    if kind == "conv":
        return _conv_rows(node, shape)
    if kind == "avg_pool":
        area = node["kernel"][0] * node["kernel"][1] if attribute(node, "count_pad") else None
        windows = pool_windows(node, shape)
        return [([(0, k, Fraction(1, area or len(w))) for _, k in w], Fraction(0)) for w in windows]
    if kind == "scale_shift":
        pairs = zip(_flat(node["scale"], shape), _flat(node["shift"], shape), strict=True)
        return [([(0, k, scale)] if scale else [], shift) for k, (scale, shift) in enumerate(pairs)]
    if kind == "add":
        parts = [(i, Fraction(c)) for i, c in enumerate(node["coefficients"]) if c]
        return [([(i, k, c) for i, c in parts], Fraction(0)) for k in range(int(np.prod(shape)))]
    if kind == "gather":
        index, fill = node["index"].ravel().tolist(), Fraction(node["fill"])
        return [([(0, k, Fraction(1))], Fraction(0)) if k >= 0 else ([], fill) for k in index]
    entries = [np.arange(np.prod(s, dtype=int)).reshape(s) for s in inputs]
    if kind == "concat":
        sources = np.concatenate([np.full(s, i) for i, s in enumerate(inputs)], axis=node["axis"])
        entries = np.concatenate(entries, axis=node["axis"])
    else:
        entries = entries[0].transpose(node["axes"]) if kind == "transpose" else entries[0]
        sources = np.zeros_like(entries)
    copies = zip(sources.ravel().tolist(), entries.ravel().tolist(), strict=True)
    return [([(i, k, Fraction(1))], Fraction(0)) for i, k in copies]


def _flat(constant, shape):
    return [Fraction(c) for c in np.broadcast_to(np.asarray(constant, np.float64), shape).ravel().tolist()]


def _bias(node):
    bias = node.get("bias")
    return [Fraction(0)] * len(node["weight"]) if bias is None else [Fraction(b) for b in np.asarray(bias).tolist()]


def _linear_rows(node, shape):
    weight = [[Fraction(w) for w in row] for row in node["weight"].tolist()]
    rows = []
    for line in range(int(np.prod(shape[:-1]))):
        for row, bias in zip(weight, _bias(node), strict=True):
            rows.append(([(0, line * shape[-1] + k, w) for k, w in enumerate(row) if w], bias))
    return rows


def _conv_rows(node, shape):
    weight, bias = node["weight"], _bias(node)
    exact = [[[Fraction(w) for w in taps] for taps in row] for row in weight.reshape(*weight.shape[:2], -1).tolist()]
    per_group = len(weight) // attribute(node, "groups")
    rows = []
    for out, *position in np.ndindex(output_shape(node, [shape])):
        first = out // per_group * weight.shape[1]
        taps = window_taps(node, weight.shape[2:], shape, position)
        terms = []
        for c, kernel in enumerate(exact[out]):
            image = (first + c) * shape[1] * shape[2]
            terms += [(0, image + y * shape[2] + x, kernel[tap]) for tap, y, x in taps if kernel[tap]]
        rows.append((terms, bias[out]))
    return rows


def live(description):
    """Without the nodes that the output doesn't need: a network has no neurons for them."""
    needed, waiting = {0}, [len(description) - 1]
    while waiting:
        k = waiting.pop()
        if k not in needed:
            needed.add(k)
            waiting += description[k]["inputs"]
    number = {old: new for new, old in enumerate(sorted(needed))}
    return [{**description[k], "inputs": [number[i] for i in description[k]["inputs"]]} for k in sorted(needed)]


def leaky_slopes(node, shape):
    """The slope of each entry of a leaky_relu node, Fractions."""
    return _flat(node["slope"], shape)


def clip_bounds(node):
    """The bounds of a clip node, Fractions; None where there is none."""
    return [Fraction(b) if np.isfinite(b) else None for b in (node["lower"], node["upper"])]


def values(description, x):
    """Exact values of every node at one point: a list of flat lists of Fractions."""
    found_shapes, found = shapes(description), []
    for node in description:
        inputs = [found[i] for i in node["inputs"]]
        if node["kind"] == "input":
            found.append([Fraction(v) for v in np.asarray(x).ravel().tolist()])
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            found.append([sum((c * inputs[i][k] for i, k, c in terms), bias) for terms, bias in rows])
        else:
            found.append([value for value, _ in _switch(node, found_shapes[node["inputs"][0]], inputs[0])])
    return found


def point_states(description, x):
    """Exact state of every neuron at one point, by the sign of its value there (on a threshold: the lower state)."""
    found_shapes, found = shapes(description), values(description, x)
    return [
        state
        for node in description
        if node["kind"] in SWITCHING
        for _, state in _switch(node, found_shapes[node["inputs"][0]], found[node["inputs"][0]])
    ]


def _switch(node, shape, z):
    """The (value, state) of each neuron of a switching node at a point with input ``z``."""
    if node["kind"] == "relu":
        return [(v, 1) if v > 0 else (Fraction(0), 0) for v in z]
    if node["kind"] == "leaky_relu":
        return [(v, 1) if v > 0 else (s * v, 0) for v, s in zip(z, leaky_slopes(node, shape), strict=True)]
    if node["kind"] == "clip":
        low, high = clip_bounds(node)
        pieces = [(low, 0) if low is not None and v <= low else (v, 1) for v in z]
        return [(high, 2) if high is not None and v >= high else p for v, p in zip(z, pieces, strict=True)]
    best = [max(w, key=lambda entry: (z[entry[1]], -entry[0])) for w in pool_windows(node, shape)]
    return [(z[k], tap) for tap, k in best]
