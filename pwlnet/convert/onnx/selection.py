"""ONNX comparisons, signs and selections, and arithmetic with their results.

``SELECTIONS`` are rows of the table of handlers. ``OF_PIECES`` are the handlers of nodes that have a `Piecewise` among their
inputs: comparisons and masks, which jump. Any other node takes such a value as a tensor, if it is continuous.
"""

import numpy as np

from .. import selection
from ..piecewise import Piecewise, bend, clipping, function, is_activation
from ..seams import materialise
from ..selection import Place
from .layout import LAYOUT_HANDLERS, MOVES
from .node import float_types, onnx_module


def _place(node, graph):
    return Place(graph, node.name, node.op)


def as_tensor(value):
    """Return a Piecewise as a tensor, and anything else unchanged."""
    return materialise(value) if isinstance(value, Piecewise) else value


def _value(node, position, what="operand"):
    value = node.get(position)
    if is_activation(value):
        return value
    return np.asarray(value) if np.asarray(value).dtype == bool else node.weight(position, what)


def _comparison(how):
    def handler(node, graph):
        first, second = (node.get(k) for k in (0, 1))
        return selection.compare(_place(node, graph), first, second, how)

    return handler


def _logic(how):
    def handler(node, graph):
        return selection.logic(_place(node, graph), list(node.inputs), how)

    return handler


def _unary(outer):
    def handler(node, graph):
        return selection.unary(_place(node, graph), node.get(0), outer(node))

    return handler


def _sign(node, graph):
    return selection.sign(_place(node, graph), node.get(0))


def _where(node, graph):
    place = _place(node, graph)
    if is_activation(node.get(0)):
        return selection.where(place, node.get(0), _value(node, 1), _value(node, 2))
    if not any(isinstance(value, Piecewise) for value in node.inputs):
        return LAYOUT_HANDLERS["Where"](node, graph)
    mask = np.asarray(node.get(0), np.float64)
    first, second = (selection.multiply(place, v, m) if is_activation(v) else v * m for v, m in _branches(node, mask))
    return selection.combine(place, first, second, 1.0, 1.0)


def _branches(node, mask):
    return (_value(node, 1), mask), (_value(node, 2), 1.0 - mask)


def _cast(node, graph):
    x, to = node.get(0), node.attribute("to")
    types = onnx_module().TensorProto
    if to in ("BOOL", types.BOOL):
        return selection.truth(_place(node, graph), x)
    if to in float_types() or isinstance(to, str):
        return selection.combine(_place(node, graph), x, 0.0, 1.0, 1.0) if isinstance(x, Piecewise) else x
    if not (isinstance(x, Piecewise) and selection.is_integral(x)):
        node.refuse("a conversion to a type that is not floating point, which cuts off fractions and so jumps")
    return x


def _sum_of(sign):
    def handler(node, graph):
        return selection.combine(_place(node, graph), _value(node, 0), _value(node, 1), 1.0, sign)

    return handler


def _mul(node, graph):
    return selection.multiply(_place(node, graph), _value(node, 0), _value(node, 1))


def _div(node, graph):
    if is_activation(node.get(1)):
        node.refuse("a division by a value that depends on the network's input, which is not piecewise linear")
    divisor = node.weight(1, "divisor")
    if not divisor.all():
        node.refuse("a division by zero")
    return selection.multiply(_place(node, graph), node.get(0), 1.0 / divisor)


def _neg(node, graph):
    return selection.multiply(_place(node, graph), node.get(0), -1.0)


def _moved(node, graph):
    """Move the entries of a value that may jump."""
    x = node.get(0)
    if not isinstance(x, Piecewise):
        return LAYOUT_HANDLERS[node.op](node.with_inputs([as_tensor(v) for v in node.inputs]), graph)
    others = [node.constant(k, f"input {name!r}") for k, name in enumerate(node.proto.input) if k]
    numbers = np.arange(1.0, 1.0 + np.prod(x.shape, dtype=np.int64)).reshape(x.shape)
    moved = [np.rint(index).astype(np.int64) - 1 for index in node.evaluate([numbers, *others])]
    if any((index < 0).any() for index in moved):
        return LAYOUT_HANDLERS[node.op](node.with_inputs([as_tensor(v) for v in node.inputs]), graph)
    return tuple(x.taken(index.ravel(), index.shape) for index in moved)


def _shape(node, graph):
    return np.asarray(node.evaluate([np.zeros(node.get(0).shape)])[0])


def _shrink(node, graph):
    lambd, bias = float(node.attribute("lambd", 0.5)), float(node.attribute("bias", 0.0))
    outer = function([-lambd, lambd], [bias, 0.0, 0.0, 0.0, -bias], [1.0, 0.0, 0.0, 0.0, 1.0])
    return selection.unary(_place(node, graph), node.get(0), outer)


def _thresholded_relu(node, graph):
    alpha = float(node.attribute("alpha", 1.0))
    return selection.unary(_place(node, graph), node.get(0), function([alpha], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]))


def _never(node, graph):
    """Return False: activations are neither infinite nor NaN."""
    return np.zeros(node.get(0).shape, bool)


def _bounds(node):
    values = [node.attribute(k) for k in ("min", "max")] if node.opset < 11 else [node.constant(k, "bound") for k in (1, 2)]
    lower, upper = (s * np.inf if v is None else float(v) for s, v in zip((-1, 1), values))
    return clipping(lower, upper)


def _leaky(node):
    return bend(node.attribute("alpha"))


SELECTIONS = {
    "Greater": _comparison("gt"),
    "GreaterOrEqual": _comparison("ge"),
    "Less": _comparison("lt"),
    "LessOrEqual": _comparison("le"),
    "Equal": _comparison("eq"),
    "And": _logic("and"),
    "Or": _logic("or"),
    "Xor": _logic("xor"),
    "Not": _logic("not"),
    "Sign": _sign,
    "Where": _where,
    "Cast": _cast,
    "Shrink": _shrink,
    "ThresholdedRelu": _thresholded_relu,
    "IsNaN": _never,
    "IsInf": _never,
}
OF_PIECES = {
    **SELECTIONS,
    "Add": _sum_of(1.0),
    "Sub": _sum_of(-1.0),
    "Mul": _mul,
    "Div": _div,
    "Neg": _neg,
    "Relu": _unary(lambda node: bend(0.0)),
    "Abs": _unary(lambda node: bend(-1.0)),
    "LeakyRelu": _unary(_leaky),
    "Clip": _unary(_bounds),
    "Identity": lambda node, graph: node.get(0),
    "Shape": _shape,
    "Size": _shape,
    **dict.fromkeys(MOVES.split(), _moved),
}
