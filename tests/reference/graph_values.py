"""Values of a neutral graph (pwlnet/convert/graph.py) in float64 NumPy: the oracle for readers and lowering.

It reads a node's ``kind``, ``inputs``, ``shape`` and ``attributes`` and imports nothing from pwlnet.
"""

import numpy as np


def evaluate(graph, x):
    """Value of ``graph.output`` for one input ``x`` (any shape of the right size), float64 of the output's shape."""
    return every_value(graph, x)[graph.output.node]


def evaluate_rows(graph, rows):
    """Values for rows [B, ...], flattened to float64[B, O]."""
    return np.stack([evaluate(graph, row).ravel() for row in rows])


def every_value(graph, x):
    """Values of all nodes for one input."""
    values = []
    for node in graph.nodes:
        operands = [values[i] for i in node.inputs]
        if node.kind == "input":
            value = np.asarray(x, np.float64).reshape(node.shape)
        else:
            value = KINDS[node.kind](node, *operands)
        assert value.shape == tuple(node.shape), (node.kind, node.name, value.shape, node.shape)
        values.append(value)
    return values


def _float(value):
    return np.asarray(value, np.float64)


def _linear(node, x):
    return x @ _float(node.attributes["weight"]).T + _float(node.attributes["bias"])


def _scale_shift(node, x):
    return np.broadcast_to(_float(node.attributes["scale"]) * x + _float(node.attributes["shift"]), node.shape)


def _add(node, x, y):
    first, second = node.attributes["coefficients"]
    return first * x + second * y


def _concat(node, *parts):
    return np.concatenate(parts, axis=node.attributes["axis"])


def _layout(node, x):
    index = node.attributes["index"]
    if not x.size:
        return np.full(index.shape, node.attributes["fill"])
    return np.where(index < 0, node.attributes["fill"], x.ravel()[np.maximum(index, 0)])


def _leaky_relu(node, x):
    return np.where(x > 0, x, _float(node.attributes["slope"]) * x)


def _clip(node, x):
    return np.minimum(np.maximum(x, node.attributes["lower"]), node.attributes["upper"])


def _windows(node, x, kernel, dilation, outside):
    """Windows of an image as [C, H', W', kh * kw], ``outside`` beyond it; and rows and columns of their entries."""
    (height, width), (rows, columns) = x.shape[-2:], node.shape[-2:]
    (sh, sw), (top, left) = node.attributes["stride"], node.attributes["padding"][:2]
    row = np.arange(rows)[:, None] * sh - top + np.arange(kernel[0]) * dilation[0]
    column = np.arange(columns)[:, None] * sw - left + np.arange(kernel[1]) * dilation[1]
    row, column = np.broadcast_arrays(row[:, None, :, None], column[None, :, None, :])
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    image = x.reshape(-1, height, width)
    picked = image[:, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    shape = (len(image), rows, columns, kernel[0] * kernel[1])
    return np.where(inside, picked, outside).reshape(shape), row.reshape(shape[1:]), column.reshape(shape[1:])


def _conv(node, x):
    weight, groups = _float(node.attributes["weight"]), node.attributes["groups"]
    windows, _, _ = _windows(node, x, weight.shape[2:], node.attributes["dilation"], 0.0)
    channels, rows, columns, entries = windows.shape
    grouped = windows.reshape(groups, channels // groups, rows, columns, entries)
    kernels = weight.reshape(groups, len(weight) // groups, channels // groups, entries)
    out = np.einsum("gcrse,goce->gors", grouped, kernels).reshape(len(weight), rows, columns)
    return (out + _float(node.attributes["bias"])[:, None, None]).reshape(node.shape)


def _max_pool(node, x):
    windows, _, _ = _windows(node, x, node.attributes["kernel"], node.attributes["dilation"], -np.inf)
    return windows.max(axis=-1).reshape(node.shape)


def _avg_pool(node, x):
    """Divisor: the given one; else the entries inside the padded image, or inside the image, by ``count_pad``."""
    windows, row, column = _windows(node, x, node.attributes["kernel"], (1, 1), 0.0)
    before, after = node.attributes["padding"][:2], node.attributes["padding"][2:]
    counted = np.ones(row.shape, bool)
    for place, size, first, last in zip((row, column), x.shape[-2:], before, after, strict=True):
        margin = (first, last) if node.attributes["count_pad"] else (0, 0)
        counted &= (place >= -margin[0]) & (place < size + margin[1])
    divisor = node.attributes["divisor"] or counted.sum(axis=-1)
    return (windows.sum(axis=-1) / divisor).reshape(node.shape)


KINDS = {
    "linear": _linear,
    "conv": _conv,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "scale_shift": _scale_shift,
    "add": _add,
    "concat": _concat,
    "layout": _layout,
    "relu": lambda node, x: np.maximum(x, 0.0),
    "leaky_relu": _leaky_relu,
    "clip": _clip,
}
