"""ONNX operators that move entries or reduce axes: reshape, slice, concat, pad, sums, means and maxima.

Operators that only move entries are run by ONNX's reference implementation on the numbers of the entries, so the rules of
every opset for axes, negative steps and special values apply.
"""

import numpy as np

from ...errors import ConversionError
from ..graph import Tensor, padded


def constant_tensor(graph, like, value, name):
    """Return a constant as a tensor of the graph, derived from any tensor ``like``."""
    spread = graph.layout(like, np.full(np.shape(value), -1), name=name)
    return graph.scale_shift(spread, shift=value, name=name)


# Reductions.


def reduced_axes(node, x):
    """Return the axes of a reduction, and the shape of its result."""
    given = node.constant(1, "axes") if node.get(1) is not None else node.attribute("axes")
    if given is None or np.size(given) == 0:
        axes = [] if node.attribute("noop_with_empty_axes", 0) else list(range(len(x.shape)))
    else:
        axes = sorted({int(a) % len(x.shape) for a in np.atleast_1d(given)})
    keep = node.attribute("keepdims")
    return axes, [1 if a in axes else n for a, n in enumerate(x.shape) if keep or a not in axes]


def _gathered(node, graph, x):
    """Return ``x`` as [rows, count] with the reduced axes last (None if nothing is reduced), and the shape of the result."""
    axes, shape = reduced_axes(node, x)
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    if count == 1:
        return None, shape
    kept = [a for a in range(len(x.shape)) if a not in axes]
    return graph.layout(x, x.indices().transpose(kept + axes).reshape(-1, count), name=node.name), shape


def _reduce_linear(weights_of):
    def handler(node, graph):
        x = node.tensor(0)
        rows, shape = _gathered(node, graph, x)
        if rows is not None:
            x = graph.linear(rows, weights_of(rows.shape[1]), name=node.name)
        return graph.reshape(x, shape, name=node.name)

    return handler


def _reduce_max(node, graph, x=None):
    x = node.tensor(0) if x is None else x
    rows, shape = _gathered(node, graph, x)
    if rows is not None:
        image = graph.reshape(rows, (1, rows.shape[0], 1, rows.shape[1]), name=node.name)
        x = graph.max_pool(image, (1, rows.shape[1]), name=node.name)
    return graph.reshape(x, shape, name=node.name)


def _reduce_min(node, graph):
    y = _reduce_max(node, graph, graph.scale_shift(node.tensor(0), -1.0, name=node.name))
    return graph.scale_shift(y, -1.0, name=node.name)


# Layout.


def _layout(node, graph):
    """Convert an operator that only moves entries: run it on the numbers of the entries from 1 on; added zeros stay 0."""
    x = node.tensor(0, "data")
    others = [node.constant(k, f"input {name!r}") for k, name in enumerate(node.proto.input) if k]
    moved = node.evaluate([x.indices().astype(np.float64) + 1.0, *others])
    return tuple(graph.layout(x, np.rint(index).astype(np.int64) - 1, name=node.name) for index in moved)


def _concat(node, graph):
    like = next(value for value in node.inputs if isinstance(value, Tensor))
    parts = []
    for k, value in enumerate(node.inputs):
        if isinstance(value, Tensor):
            parts.append(value)
        elif value.size:
            parts.append(constant_tensor(graph, like, node.weight(k, "part"), node.name))
    return graph.concat(parts, node.attribute("axis", 1), name=node.name)


def _pad(node, graph):
    x, mode = node.tensor(0), node.attribute("mode", "constant")
    if node.opset < 11:
        pads, fill = node.attribute("pads", node.attribute("paddings")), node.attribute("value", 0.0)
    else:
        pads, fill = node.constant(1, "padding"), node.constant(2, "fill value")
    axes = node.constant(3, "axes")
    axes = range(len(x.shape)) if axes is None else [int(a) % len(x.shape) for a in axes]
    if mode not in ("constant", "reflect", "edge", "wrap") or len(pads) != 2 * len(axes):
        raise ConversionError(
            f"node {node.name!r} pads {len(axes)} axes by an array of shape {np.shape(pads)} in mode {mode!r}; the padding "
            "must have two numbers per axis and the mode be constant, reflect, edge or wrap"
        )
    index, widths = x.indices(), np.zeros((len(x.shape), 2), np.int64)
    widths[list(axes)] = np.reshape(pads, (2, -1)).T
    for axis, (before, after) in enumerate(widths):  # negative padding crops
        index = np.take(index, np.arange(max(0, -before), index.shape[axis] - max(0, -after)), axis=axis)
    options = {"constant_values": -1} if mode == "constant" else {}
    index = padded(index, np.maximum(widths, 0).tolist(), node.name, mode=mode, **options)
    return graph.layout(x, index, fill=0.0 if fill is None else float(np.reshape(fill, ())), name=node.name)


def _where(node, graph):
    condition = np.asarray(node.constant(0, "condition"), bool)
    chosen = []
    for position, mask in ((1, condition), (2, ~condition)):
        value = node.get(position)
        shape = np.broadcast_shapes(*(np.shape(v) if not isinstance(v, Tensor) else v.shape for v in node.inputs))
        if isinstance(value, Tensor):
            index = np.where(mask, np.broadcast_to(value.indices(), shape), -1)
            chosen.append(graph.layout(value, index, name=node.name))
        else:
            chosen.append(np.where(mask, node.weight(position, "branch"), 0.0))
    first, second = chosen
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return graph.add(first, second, name=node.name)
    if isinstance(first, Tensor):
        return graph.scale_shift(first, shift=second, name=node.name)
    return graph.scale_shift(second, shift=first, name=node.name)


def _shape(node, graph):
    return np.asarray(node.evaluate([np.zeros(node.tensor(0).shape)])[0])


REDUCTIONS = {
    "ReduceMean": _reduce_linear(lambda n: np.full((1, n), 1.0 / n)),
    "ReduceSum": _reduce_linear(lambda n: np.ones((1, n))),
    "ReduceMax": _reduce_max,
    "ReduceMin": _reduce_min,
}
MOVES = (
    "Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather GatherElements GatherND Expand Tile Split DepthToSpace "
    "SpaceToDepth Trilu Compress ReverseSequence CenterCropPad"
)
LAYOUT_HANDLERS = (
    REDUCTIONS
    | dict.fromkeys(MOVES.split(), _layout)
    | {"Concat": _concat, "Pad": _pad, "Where": _where, "Shape": _shape, "Size": _shape}
)
