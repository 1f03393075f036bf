"""The size of what an ONNX node makes of constants, before memory is taken for it.

A small file can ask for any size: by a shape that it holds (Expand, ConstantOfShape, ...), or by constants that broadcast.
"""

import math

import numpy as np

from ..graph import MOST_CONSTANTS, require_size

ELEMENTWISE = "Add Sub Mul Div Pow Mod Max Min Sum Mean And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Where PRelu"


def require_small_result(node, values):
    """Refuse a node whose result on constants would be too large.

    Parameters
    ----------
    node : OnnxNode
    values : sequence of ndarray or None
        One per input of the node.
    """
    rule = _RULES.get(node.op)
    if rule is None or not values or values[0] is None:
        return
    try:
        shape = rule(node, values)
    except (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError):
        return  # what the evaluation of the node says of it is what is wrong
    require_size(shape, f"node {node.name!r}", MOST_CONSTANTS)


def _numbers(value):
    """Return the integers of an array, for products without overflow."""
    return [max(0, int(n)) for n in np.ravel(value)]


def _broadcast(node, values):
    shapes = [np.shape(v) for v in values if v is not None]
    rank = max(map(len, shapes))
    return [max(axis) for axis in zip(*((1,) * (rank - len(s)) + s for s in shapes))]


def _expand(node, values):
    wanted = _numbers(values[1])
    shape = (1,) * (len(wanted) - np.ndim(values[0])) + np.shape(values[0])
    return [max(n, m) for n, m in zip(shape, [1] * (len(shape) - len(wanted)) + wanted)]


def _tile(node, values):
    return [np.size(values[0]), *_numbers(values[1])]


def _range(node, values):
    start, limit, step = (float(np.reshape(v, ())) for v in values)
    return [max(0, math.ceil((limit - start) / step))]


def _pad(node, values):
    pads, shape = _numbers(values[1] if len(values) > 1 else node.attribute("pads")), np.shape(values[0])
    half, axes = len(pads) // 2, values[3] if len(values) > 3 and values[3] is not None else range(len(shape))
    extra = {int(a) % len(shape): k for k, a in enumerate(axes)}
    return [n + (pads[extra[a]] + pads[extra[a] + half] if a in extra else 0) for a, n in enumerate(shape)]


def _resize(node, values):
    sizes = values[3] if len(values) > 3 and values[3] is not None else None
    if sizes is not None and np.size(sizes):
        return _numbers(sizes)
    scales = values[1] if node.op == "Upsample" or node.opset < 11 else values[2]
    return [int(n * float(s)) + 1 for n, s in zip(np.shape(values[0]), np.ravel(scales))]


def _matmul(node, values):
    first, second = (np.shape(v) for v in values)
    lead = _broadcast(node, [np.empty(s[:-2] + (0,)) for s in (first, second)])[:-1]
    return [*lead, *first[-2:-1], *(second[-1:] if len(second) > 1 else ())]


def _gemm(node, values):
    first, second = (np.shape(v) for v in values[:2])
    return [first[1 if node.attribute("transA") else 0], second[0 if node.attribute("transB") else 1]]


def _gather(node, values):
    shape, axis = list(np.shape(values[0])), int(node.attribute("axis", 0))
    shape[axis] = np.size(values[1])
    return shape


_RULES = {
    **dict.fromkeys(ELEMENTWISE.split(), _broadcast),
    "ConstantOfShape": lambda node, values: _numbers(values[0]),
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    "OneHot": lambda node, values: [np.size(values[0]), *_numbers(values[1])],
    "CenterCropPad": lambda node, values: [np.size(values[0]), *_numbers(values[1])],
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Gather": _gather,
}
