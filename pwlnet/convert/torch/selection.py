"""Handlers of torch's comparisons, signs and selections, and of arithmetic with their results.

``OPERATIONS`` are rows of the table of `ops`. ``OF_PIECES`` are the handlers of operations that have a `Piecewise` among their
arguments: comparisons and masks, which jump. Any other operation takes such a value as a tensor, if it is continuous.
"""

from functools import partial

import numpy as np
import torch

from .. import selection
from ..graph import Tensor
from ..piecewise import Piecewise, bend, clipping, is_activation
from ..seams import materialise
from ..selection import Place
from . import layout, sorting
from .names import LAYOUTS
from .values import probe


def _place(call):
    return Place(call.graph, call.name, call.kind)


def _value(call, a):
    """Return an activation as it is, and a constant as an array; truth values stay so, and infinities may stay in masks."""
    if is_activation(a):
        return a
    if isinstance(a, (bool, int, float)):
        return np.asarray(a)
    if isinstance(a, torch.Tensor) and a.dtype == torch.bool:
        return a.detach().cpu().numpy()
    return call.array(a)


def compare(call, x, other, *, how):
    """Compare two values, at least one of them an activation."""
    return selection.compare(_place(call), _value(call, x), _value(call, other), how)


def sign(call, x):
    """Compute -1, 0 or 1."""
    return selection.sign(_place(call), x)


def heaviside(call, x, values):
    """Compute 0, ``values`` or 1 for negative, zero and positive entries."""
    place = _place(call)
    at_zero = selection.multiply(place, selection.compare(place, x, 0.0, "eq"), _value(call, values))
    return selection.combine(place, selection.compare(place, x, 0.0, "gt"), at_zero, 1.0, 1.0)


def copysign(call, x, other):
    """Compute ``abs(x)`` with the sign of ``other``, positive at zero."""
    place = _place(call)
    if not is_activation(other):
        other = _value(call, other)
        signs = np.where(np.signbit(other), -1.0, 1.0)
    else:
        signs = selection.combine(place, selection.compare(place, other, 0.0, "ge"), 1.0, 2.0, -1.0)
    size = call.graph.leaky_relu(x, -1.0, name=call.name) if isinstance(x, Tensor) else np.abs(_value(call, x))
    return selection.multiply(place, size, signs)


def logic(call, x, other=None, *, how):
    """Combine truth values."""
    values = [_value(call, v) for v in (x, other) if v is not None]
    return selection.logic(_place(call), values, how)


def where(call, condition, x, other):
    """Select by a condition, which may depend on activations."""
    if not is_activation(condition) and not any(isinstance(v, Piecewise) for v in (x, other)):
        return layout.where(call, condition, x, other)
    if _is_mask(x) and not _is_mask(condition):  # the method x.where(condition, other)
        condition, x = x, condition
    place, values = _place(call), [_value(call, v) for v in (condition, x, other)]
    if not is_activation(condition):
        mask = values[0].astype(np.float64)
        parts = [selection.multiply(place, v, m) for v, m in zip(values[1:], (mask, 1.0 - mask)) if is_activation(v)]
        rest = [v * m for v, m in zip(values[1:], (mask, 1.0 - mask)) if not is_activation(v)]
        return selection.combine(place, *parts, *rest, 1.0, 1.0)
    return selection.where(place, *values)


def _is_mask(a):
    return a.boolean if isinstance(a, Piecewise) else isinstance(a, torch.Tensor) and a.dtype == torch.bool


def masked_fill(call, x, mask, value):
    """Fill with a value where a mask holds."""
    if not is_activation(mask) and isinstance(x, Tensor) and not is_activation(value):
        return layout.masked_fill(call, x, mask, value)
    return where(call, mask, value, x)


def unary(call, x, *args, outer, **kwargs):
    """Apply a function of one variable to a value that may jump."""
    return selection.unary(_place(call), x, outer(*args, **kwargs))


def _clamped(min=None, max=None):
    lower, upper = (-np.inf if min is None else float(min)), (np.inf if max is None else float(max))
    return clipping(lower, upper)


def add(call, x, other, alpha=1):
    """Compute ``x + alpha * other``; of two truth values, whether one of them holds."""
    if all(isinstance(v, Piecewise) and v.boolean for v in (x, other)):
        return logic(call, x, other, how="or")
    return selection.combine(_place(call), _value(call, x), _value(call, other), 1.0, float(alpha))


def subtract(call, x, other, alpha=1):
    """Compute ``x - alpha * other``."""
    return selection.combine(_place(call), _value(call, x), _value(call, other), 1.0, -float(alpha))


def subtract_from(call, x, other, alpha=1):
    """Compute ``other - alpha * x``."""
    return subtract(call, other, x, alpha)


def multiply(call, x, other):
    """Compute ``x * other`` where one of them is constant in each interval."""
    return selection.multiply(_place(call), _value(call, x), _value(call, other))


def divide(call, x, other, *, rounding_mode=None):
    """Compute ``x / other`` for a constant ``other`` without zeros."""
    if is_activation(other):
        call.refuse("which divides by an activation")
    divisor = call.array(other)
    if rounding_mode is not None or not divisor.all():
        call.refuse("which rounds" if rounding_mode is not None else "with a zero in its divisor")
    return selection.multiply(_place(call), x, 1.0 / divisor)


def negate(call, x):
    """Compute ``-x``."""
    return selection.multiply(_place(call), x, -1.0)


def cast(call, x, *args, **kwargs):
    """Convert to another type: whole numbers and truth values keep their values in any type."""
    dtype = next((a.dtype if isinstance(a, torch.Tensor) else a for a in (*args, *kwargs.values()) if _is_type(a)), None)
    dtype = {"bool": torch.bool, "int": torch.int64, "long": torch.int64}.get(call.operation, dtype)
    if dtype == torch.bool:
        return selection.truth(_place(call), x)
    if dtype is not None and not dtype.is_floating_point and not (isinstance(x, Piecewise) and selection.is_integral(x)):
        call.refuse(f"to {dtype}, which cuts off fractions and so jumps")
    if isinstance(x, Piecewise) and x.boolean:
        return selection.combine(_place(call), x, 0.0, 1.0, 1.0)
    return x


def _is_type(a):
    return isinstance(a, torch.dtype) or (isinstance(a, torch.Tensor) and a.ndim > 0)


def moved(call, x, *args, **kwargs):
    """Convert a layout operation of one value that may jump."""
    if not isinstance(x, Piecewise):
        args, kwargs = torch.fx.node.map_aggregate((args, kwargs), as_tensor)
        return layout.layout(call, x, *args, **kwargs)
    if call.operation in ("expand_as", "view_as", "reshape_as"):
        args = tuple(probe(a) if is_activation(a) else a for a in args)
    numbers = torch.arange(int(np.prod(x.shape)), dtype=torch.float64).reshape(x.shape)
    result = call.run(numbers + 1.0, *args, **kwargs)

    def copied(a):
        index = np.rint(a.numpy()).astype(np.int64) - 1
        return (
            layout.layout(call, materialise(x), *args, **kwargs) if (index < 0).any() else x.taken(index.ravel(), index.shape)
        )

    return torch.fx.node.map_aggregate(result, copied)


def finite_test(call, x, *, holds):
    """Return the result of a test for infinities and NaN, which activations are not."""
    return torch.full(x.shape, holds)


def masked_put(call, x, indices, values, accumulate=False):
    """Write a number where a mask of the shape of ``x`` holds: ``x[x < 0] = 0``."""
    if not isinstance(indices[0], Piecewise):
        x, values = (as_tensor(v) for v in (x, values))
        return sorting.index_put(call, x, indices, values, accumulate)
    mask = indices[0]
    if len(indices) > 1 or accumulate or mask.shape != x.shape or np.size(_value(call, values)) != 1:
        call.refuse("which writes to entries chosen by an activation; write it with torch.where")
    return where(call, mask, float(np.reshape(_value(call, values), ())), x)


def as_tensor(a):
    """Return a Piecewise as a tensor, and anything else unchanged."""
    return materialise(a) if isinstance(a, Piecewise) else a


def jumps(call, *args, **kwargs):
    """Refuse functions with infinitely many jumps."""
    call.refuse("which jumps at each whole number, so it is not continuous")


def hard_shrink(call, x, lambd=0.5):
    """Refuse a function that jumps, unless its threshold is zero."""
    if float(lambd) != 0.0:
        call.refuse(
            f"which jumps by {float(lambd)} at {float(lambd)} and -{float(lambd)}, so it is not continuous; use Softshrink"
        )
    return x


NUMBER_TYPES = {"float", "double", "half", "bfloat16", "to", "type", "type_as", "_to_copy"}
NAMES = {
    "gt": "gt greater",
    "ge": "ge greater_equal",
    "lt": "lt less",
    "le": "le less_equal",
    "eq": "eq",
    "ne": "ne not_equal",
}
LOGIC = {
    "and": "and and_ logical_and bitwise_and __and__",
    "or": "or or_ logical_or bitwise_or __or__",
    "xor": "xor xor_ logical_xor bitwise_xor __xor__",
    "not": "not invert logical_not bitwise_not __invert__",
}
COMPARISONS = {name: partial(compare, how=how) for how, names in NAMES.items() for name in names.split()}
TRUTH = {name: partial(logic, how=how) for how, names in LOGIC.items() for name in names.split()}
CASTS = dict.fromkeys(NUMBER_TYPES | {"int", "long", "bool"}, cast)
OPERATIONS = {
    **COMPARISONS,
    **TRUTH,
    **dict.fromkeys(("sign", "sgn"), sign),
    "heaviside": heaviside,
    "copysign": copysign,
    "signbit": partial(compare, other=0.0, how="lt"),
    "where": where,
    "masked_fill": masked_fill,
    **dict.fromkeys(("bool", "int", "long"), cast),
    **{name: partial(finite_test, holds=name == "isfinite") for name in ("isfinite", "isnan", "isinf")},
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "fix", "frac"), jumps),
    "hardshrink": hard_shrink,
}
OF_PIECES = {
    **OPERATIONS,
    **CASTS,
    **dict.fromkeys(("add", "radd"), add),
    **dict.fromkeys(("sub", "subtract"), subtract),
    "rsub": subtract_from,
    **dict.fromkeys(("mul", "multiply"), multiply),
    **dict.fromkeys(("div", "truediv", "divide", "true_divide"), divide),
    **dict.fromkeys(("neg", "negative"), negate),
    **dict.fromkeys(("relu", "relu_"), partial(unary, outer=lambda inplace=False: bend(0.0))),
    **dict.fromkeys(("abs", "absolute"), partial(unary, outer=lambda: bend(-1.0))),
    **dict.fromkeys(("clamp", "clip", "clamp_min"), partial(unary, outer=_clamped)),
    "clamp_max": partial(unary, outer=lambda max: _clamped(None, max)),
    **dict.fromkeys(LAYOUTS - {"take", "take_along_dim"}, moved),
    **dict.fromkeys(("contiguous", "detach", "clone", "alias"), lambda call, x, *args, **kwargs: x),
    **dict.fromkeys(("index_put", "_unsafe_index_put"), masked_put),
}
