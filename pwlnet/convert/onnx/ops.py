"""ONNX operators to graph nodes: arithmetic, matrix products, activations and no-ops.

A handler takes an `OnnxNode` and the `Graph`, adds nodes and returns the output tensor, or a tuple with one per output.
It is called only where at least one input depends on the network's input. `HANDLERS` maps operator types to handlers.
"""

import numpy as np

from ...errors import InputError
from .. import composed
from ..graph import Tensor
from .algebra import ALGEBRA, PRODUCT
from .layout import LAYOUT_HANDLERS
from .selection import SELECTIONS
from .windows import WINDOW_HANDLERS

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)  # stands for "no bound" in old files


# Arithmetic.


def _legacy_broadcast(node, x, y):
    """Add the trailing axes that ``axis`` requests before opset 7 to the second operand."""
    axis = node.attribute("axis") if node.opset < 7 else None
    if axis is None or not isinstance(x, Tensor) or isinstance(y, Tensor):
        return y
    tail = len(x.shape) - int(axis) % len(x.shape) - np.ndim(y)
    return np.reshape(y, np.shape(y) + (1,) * tail)


def _sum_of(node, graph, sign):
    if isinstance(node.get(0), Tensor) and isinstance(node.get(1), Tensor):
        return graph.add(node.get(0), node.get(1), (1.0, sign), name=node.name)
    if isinstance(node.get(0), Tensor):
        shift = _legacy_broadcast(node, node.get(0), node.weight(1, "second operand"))
        return graph.scale_shift(node.get(0), shift=sign * shift, name=node.name)
    return graph.scale_shift(node.get(1), sign, node.weight(0, "first operand"), name=node.name)


def _add(node, graph):
    return _sum_of(node, graph, 1.0)


def _sub(node, graph):
    return _sum_of(node, graph, -1.0)


def _mul(node, graph):
    if isinstance(node.get(0), Tensor) and isinstance(node.get(1), Tensor):
        node.refuse(PRODUCT)
    first = isinstance(node.get(0), Tensor)
    scale = node.weight(1 if first else 0, "factor")
    x = node.get(0 if first else 1)
    return graph.scale_shift(x, _legacy_broadcast(node, x, scale) if first else scale, name=node.name)


def _div(node, graph):
    if isinstance(node.get(1), Tensor):
        node.refuse("a division by a value that depends on the network's input, which is not piecewise linear")
    divisor = _legacy_broadcast(node, node.get(0), node.weight(1, "divisor"))
    if not divisor.all():
        raise InputError(f"node {node.name!r} divides by {node.proto.input[1]!r}, which holds a zero; check the file")
    return graph.scale_shift(node.get(0), 1.0 / divisor, name=node.name)


def _neg(node, graph):
    return graph.scale_shift(node.tensor(0), -1.0, name=node.name)


def _sum(node, graph):
    total = next(value for value in node.inputs if isinstance(value, Tensor))
    skipped = next(k for k, value in enumerate(node.inputs) if value is total)
    for k, value in enumerate(node.inputs):
        if k != skipped and isinstance(value, Tensor):
            total = graph.add(total, value, name=node.name)
        elif k != skipped:
            total = graph.scale_shift(total, shift=node.weight(k, "summand"), name=node.name)
    return total


# Matrix products.


def _swap(graph, x, name):
    """Exchange the last two axes."""
    axes = list(range(len(x.shape)))
    return graph.transpose(x, axes[:-2] + [axes[-1], axes[-2]], name=name)


def _gemm(node, graph):
    a, b, c = node.get(0), node.get(1), node.get(2)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        node.refuse(PRODUCT)
    for value in (a, b):
        if len(value.shape) != 2:
            node.refuse("which multiplies arrays that are not matrices; export the network again")
    alpha, beta = node.attribute("alpha"), node.attribute("beta")
    if isinstance(a, Tensor):
        weight = node.weight(1, "matrix B")
        x = _swap(graph, a, node.name) if node.attribute("transA") else a
        y = graph.linear(x, alpha * (weight if node.attribute("transB") else weight.T), name=node.name)
    elif isinstance(b, Tensor):
        weight = node.weight(0, "matrix A")
        x = b if node.attribute("transB") else _swap(graph, b, node.name)
        y = graph.linear(x, alpha * (weight.T if node.attribute("transA") else weight), name=node.name)
        y = _swap(graph, y, node.name)
    else:
        return graph.scale_shift(c, beta, alpha * node.evaluate([a, b, np.zeros(())])[0], name=node.name)
    if c is None:
        return y
    if isinstance(c, Tensor):
        return graph.add(y, c, (1.0, beta), name=node.name)
    return graph.scale_shift(y, shift=beta * node.weight(2, "vector C"), name=node.name)


def _matmul(node, graph):
    a, b = node.get(0), node.get(1)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        node.refuse(PRODUCT)
    if isinstance(a, Tensor):
        return composed.matmul(graph, a, node.weight(1, "matrix"), node.name)
    return composed.matmul(graph, node.weight(0, "matrix"), b, node.name)


# Activations.


def _relu(node, graph):
    return graph.relu(node.tensor(0), name=node.name)


def _leaky_relu(node, graph):
    return graph.leaky_relu(node.tensor(0), node.attribute("alpha"), name=node.name)


def _prelu(node, graph):
    x, slope = node.tensor(0), node.weight(1, "slope")
    if node.opset < 7 and slope.ndim == 1 and slope.size > 1:
        slope = slope.reshape(slope.shape + (1,) * (len(x.shape) - 2))
    return graph.leaky_relu(x, slope, name=node.name)


def _abs(node, graph):
    return graph.leaky_relu(node.tensor(0), -1.0, name=node.name)


def _hard_sigmoid(node, graph):
    y = graph.scale_shift(node.tensor(0), node.attribute("alpha"), node.attribute("beta"), name=node.name)
    return graph.clip(y, 0.0, 1.0, name=node.name)


def _clip(node, graph):
    if node.opset < 11:
        lower, upper = node.attribute("min"), node.attribute("max")
    else:
        lower, upper = node.get(1), node.get(2)
    if isinstance(lower, Tensor) or isinstance(upper, Tensor):
        x = node.get(0) if lower is None else _larger(graph, node.get(0), lower, node.name)
        return x if upper is None else _smaller(graph, x, upper, node.name)
    bounds = [-np.inf if lower is None else float(lower), np.inf if upper is None else float(upper)]
    if np.isnan(bounds).any():
        raise InputError(f"node {node.name!r} clips to {bounds}; the bounds must be numbers, check the file")
    lower, upper = (b if abs(b) < LARGEST_FLOAT32 else np.copysign(np.inf, b) for b in bounds)
    if lower == -np.inf and upper == np.inf:
        return node.tensor(0)
    return graph.clip(node.tensor(0), lower, upper, name=node.name)


def _larger(graph, a, b, name):
    """Compute max(a, b) of tensors and constants, at least one of them a tensor."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        excess = graph.relu(graph.add(a, b, (1.0, -1.0), name=name), name=name)
        return graph.add(b, excess, name=name)
    x, bound = (a, np.asarray(b, np.float64)) if isinstance(a, Tensor) else (b, np.asarray(a, np.float64))
    if (bound == -np.inf).all():
        return graph.layout(x, np.broadcast_to(x.indices(), np.broadcast_shapes(x.shape, bound.shape)), name=name)
    if not np.isfinite(bound).all():
        raise InputError(f"node {name!r} compares with values that are not finite; it needs finite ones, check the file")
    shape = np.broadcast_shapes(x.shape, bound.shape)
    if shape == x.shape and (bound == bound.flat[0]).all():
        return graph.clip(x, lower=bound.flat[0], name=name)
    excess = graph.relu(graph.scale_shift(x, shift=-bound, name=name), name=name)
    return graph.scale_shift(excess, shift=bound, name=name)


def _smaller(graph, a, b, name):
    """Compute min(a, b) = -max(-a, -b)."""
    a, b = (graph.scale_shift(v, -1.0, name=name) if isinstance(v, Tensor) else -np.asarray(v) for v in (a, b))
    return graph.scale_shift(_larger(graph, a, b, name), -1.0, name=name)


def _max(node, graph):
    return _folded(node, graph, np.maximum, _larger)


def _min(node, graph):
    return _folded(node, graph, np.minimum, _smaller)


def _folded(node, graph, of_constants, of_tensors):
    """Apply a commutative operation of two values to any number: the constants first, among themselves."""
    tensors = [value for value in node.inputs if isinstance(value, Tensor)]
    constants = [np.asarray(value, np.float64) for value in node.inputs if not isinstance(value, Tensor)]
    result = tensors[0]
    for value in tensors[1:]:
        result = of_tensors(graph, result, value, node.name)
    for value in constants[1:]:
        constants[0] = of_constants(constants[0], value)
    return of_tensors(graph, result, constants[0], node.name) if constants else result


def _batch_norm(node, graph):
    if node.opset >= 14 and node.attribute("training_mode"):
        node.refuse("which uses the statistics of its batch (training_mode is 1); export the network for inference")
    x = node.tensor(0)
    weight, bias = node.weight(1, "scale"), node.weight(2, "bias")
    mean, variance, epsilon = node.weight(3, "mean"), node.weight(4, "variance"), node.attribute("epsilon")
    shape = x.shape[1:] if node.opset < 9 and not node.attribute("spatial", 1) else x.shape[1:2]
    given = [array.shape for array in (weight, bias, mean, variance)]
    if any(other != shape for other in given):
        node.refuse(
            f"whose scale, bias, mean and variance have the shapes {given}; {shape} is needed, export the network again"
        )
    if mean.ndim == 1:
        return graph.batch_norm(x, mean, variance, epsilon, weight, bias, name=node.name)
    scale = weight / np.sqrt(variance + epsilon)  # spatial=0 of old opsets: statistics for each entry
    return graph.scale_shift(x, scale, bias - mean * scale, name=node.name)


def _dropout(node, graph):
    training = node.constant(2, "training_mode")
    if training is not None and bool(training) and node.get(1) is not None and float(node.constant(1, "ratio")) != 0.0:
        node.refuse("which drops entries at random (training_mode is true); export the network for inference")
    return node.tensor(0)


def _identity(node, graph):
    return node.tensor(0)


def _cast_like(node, graph):
    like = node.get(1)
    if isinstance(like, Tensor) and not isinstance(node.get(0), Tensor):
        return np.asarray(node.constant(0, "input"), np.float64)
    if not isinstance(like, Tensor) and not np.issubdtype(np.asarray(like).dtype, np.floating):
        node.refuse("a conversion to a type that is not floating point, which is not piecewise linear")
    return node.tensor(0)


ACTIVATIONS = {
    "Relu": _relu,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Abs": _abs,
    "HardSigmoid": _hard_sigmoid,
    "Clip": _clip,
    "Max": _max,
    "Min": _min,
}
ARITHMETIC = {
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Neg": _neg,
    "Sum": _sum,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
}
NO_OPS = {"Identity": _identity, "Dropout": _dropout, "CastLike": _cast_like}

HANDLERS = ARITHMETIC | ACTIVATIONS | NO_OPS | LAYOUT_HANDLERS | WINDOW_HANDLERS | SELECTIONS | ALGEBRA
