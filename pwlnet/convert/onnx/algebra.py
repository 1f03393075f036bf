"""ONNX operators for products with constants, norms, sorting, cumulative sums, and writes at constant indices."""

import numpy as np

from ...errors import ConversionError
from .. import composed
from ..graph import Tensor
from .layout import constant_tensor, reduced_axes

PRODUCT = "a product of two values that both depend on the network's input, which is not piecewise linear"


def _operand(node, position):
    value = node.get(position)
    return value if isinstance(value, Tensor) else node.weight(position, "operand")


def _einsum(node, graph):
    if sum(isinstance(value, Tensor) for value in node.inputs) > 1:
        node.refuse(PRODUCT)
    operands = [_operand(node, k) for k in range(len(node.inputs))]
    return composed.einsum(graph, node.attribute("equation"), operands, node.name, node.op)


def _mean(node, graph):
    """Average several values of shapes that broadcast."""
    total = None
    for k in range(len(node.inputs)):
        value = _operand(node, k)
        if total is None:
            total = value
        elif isinstance(total, Tensor) and isinstance(value, Tensor):
            total = graph.add(total, value, name=node.name)
        elif isinstance(total, Tensor) or isinstance(value, Tensor):
            tensor, shift = (total, value) if isinstance(total, Tensor) else (value, total)
            total = graph.scale_shift(tensor, shift=shift, name=node.name)
        else:
            total = total + value
    return graph.scale_shift(total, 1.0 / len(node.inputs), name=node.name)


def _cumulative_sum(node, graph):
    x = node.tensor(0)
    axis = int(np.reshape(node.constant(1, "axis"), ())) % len(x.shape)
    options = {key: bool(node.attribute(key, 0)) for key in ("reverse", "exclusive")}
    return composed.cumulative_sum(graph, x, axis, node.name, **options)


def _reduce_l1(node, graph):
    x = node.tensor(0)
    axes, shape = reduced_axes(node, x)
    size = graph.leaky_relu(x, -1.0, name=node.name)
    return graph.reshape(composed.reduced(graph, size, axes, "sum", node.name) if axes else size, shape, name=node.name)


def _lp_normal(node, graph):
    """Convert a global pool of order 1: a sum of absolute values."""
    if int(node.attribute("p", 2)) != 1:
        node.refuse(f"a norm of order {node.attribute('p', 2)}, which is not piecewise linear; order 1 is supported")
    x = node.tensor(0)
    size = graph.leaky_relu(x, -1.0, name=node.name)
    return composed.reduced(graph, size, range(2, len(x.shape)), "sum", node.name, keepdims=True)


def _top(node, graph):
    x = node.tensor(0)
    axis = int(node.attribute("axis", -1)) % len(x.shape)
    count = node.attribute("k") if node.opset < 10 else np.reshape(node.constant(1, "number of values"), ())
    largest = bool(node.attribute("largest", 1)) if node.opset >= 11 else True
    if int(count) == 1:
        return composed.reduced(graph, x, [axis], "max" if largest else "min", node.name, keepdims=True)
    if not 0 < int(count) <= x.shape[axis]:
        raise ConversionError(f"node {node.name!r} takes {int(count)} of {x.shape[axis]} values; the file is damaged")
    return composed.sorted_values(graph, x, axis, range(int(count)), node.name, node.op, descending=largest)


def _scatter_elements(node, graph):
    data, index, updates = node.get(0), np.asarray(node.constant(1, "indices"), np.int64), node.get(2)
    axis = int(node.attribute("axis", 0)) % index.ndim
    index = np.where(index < 0, index + data.shape[axis], index)
    grid = list(np.indices(index.shape))
    grid[axis] = index
    return _written(node, graph, _entries(data.shape)[tuple(grid)], updates)


def _scatter_nd(node, graph):
    data, index, updates = node.get(0), np.asarray(node.constant(1, "indices"), np.int64), node.get(2)
    places = _entries(data.shape)[tuple(np.moveaxis(index, -1, 0))]
    return _written(node, graph, places, updates)


def _entries(shape):
    return np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)


def _written(node, graph, places, updates):
    """Write or add ``updates`` at flat places of the first input; of several writes at one place, the last holds."""
    how, data = node.attribute("reduction", "none"), node.get(0)
    data, updates = (v if isinstance(v, Tensor) else node.weight(k, "values") for k, v in ((0, data), (2, updates)))
    if how == "add":
        return composed.scatter_sum(graph, data, updates, places, node.name)
    if how != "none":
        node.refuse(f"with reduction {how!r}; 'none' and 'add' are supported")
    like = data if isinstance(data, Tensor) else updates
    parts = [v if isinstance(v, Tensor) else constant_tensor(graph, like, v, node.name) for v in (data, updates)]
    flat = graph.concat([graph.reshape(p, (-1,), name=node.name) for p in parts], 0, name=node.name)
    index = np.arange(data.size)
    index[places.ravel()] = data.size + np.arange(places.size)
    return graph.layout(flat, index.reshape(data.shape), name=node.name)


def _power(node, graph):
    exponent = node.get(1)
    if isinstance(exponent, Tensor) or (node.weight(1, "exponent") != 1.0).any():
        node.refuse("a power other than one, which is not piecewise linear")
    return node.tensor(0)


ALGEBRA = {
    "Einsum": _einsum,
    "Mean": _mean,
    "CumSum": _cumulative_sum,
    "ReduceL1": _reduce_l1,
    "GlobalLpPool": _lp_normal,
    "TopK": _top,
    "ScatterElements": _scatter_elements,
    "Scatter": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Pow": _power,
}
