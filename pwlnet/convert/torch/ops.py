"""Handlers of torch's arithmetic, activations and reductions, and the table of all operations.

A handler takes the `Call` and the operation's arguments, with graph tensors for activations, and returns graph tensors.
To add an operation, add a row to ``OPERATIONS`` here, in `layers` or in `layout`, under torch's name of the function,
method or ATen operator (``aten::name`` for the ATen form only).
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from ..graph import Tensor
from . import algebra as algebra
from . import layers as layers
from . import layout as layout
from . import resizing
from . import selection as selection
from . import sorting as sorting
from .values import Unsupported


class Reduced(NamedTuple):
    """Result of a maximum or minimum over an axis."""

    values: Any
    indices: Any


# Arithmetic.


def add(call, x, other, alpha=1):
    """Compute ``x + alpha * other``; either may be a constant."""
    return _combined(call, x, other, 1.0, float(alpha))


def subtract(call, x, other, alpha=1):
    """Compute ``x - alpha * other``; either may be a constant."""
    return _combined(call, x, other, 1.0, -float(alpha))


def subtract_from(call, x, other, alpha=1):
    """Compute ``other - alpha * x``."""
    return _combined(call, other, x, 1.0, -float(alpha))


def _combined(call, x, y, a, b):
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return call.graph.add(x, y, (a, b), name=call.name)
    if isinstance(x, Tensor):
        return call.graph.scale_shift(x, None if a == 1.0 else a, b * call.array(y), name=call.name)
    return call.graph.scale_shift(y, None if b == 1.0 else b, a * call.array(x), name=call.name)


def multiply(call, x, other):
    """Compute ``x * other`` if one of them is a constant."""
    if isinstance(x, Tensor) and isinstance(other, Tensor):
        call.refuse("which multiplies two activations")
    x, constant = (x, other) if isinstance(x, Tensor) else (other, x)
    return call.graph.scale_shift(x, call.array(constant), name=call.name)


def divide(call, x, other, *, rounding_mode=None):
    """Compute ``x / other`` for a constant ``other`` without zeros."""
    if isinstance(other, Tensor):
        call.refuse("which divides by an activation")
    if rounding_mode is not None:
        call.refuse("which rounds")
    divisor = call.array(other)
    if not divisor.all():
        call.refuse("with a zero in its divisor")
    return call.graph.scale_shift(x, 1.0 / divisor, name=call.name)


def negate(call, x):
    """Compute ``-x``."""
    return call.graph.scale_shift(x, -1.0, name=call.name)


# Activations.


def relu(call, x, inplace=False):
    """Compute max(x, 0)."""
    return call.graph.relu(x, name=call.name)


def absolute(call, x):
    """Compute abs(x), as a leaky ReLU of slope -1."""
    return call.graph.leaky_relu(x, -1.0, name=call.name)


def leaky_relu(call, x, negative_slope=0.01, inplace=False):
    """Compute ``x`` where positive, ``negative_slope * x`` elsewhere."""
    return call.graph.leaky_relu(x, call.array(negative_slope), name=call.name)


def randomized_relu(call, x, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    """Apply a leaky ReLU with the mean slope, as RReLU does in eval mode."""
    if training:
        call.refuse("which is random (training=True)")
    return call.graph.leaky_relu(x, (lower + upper) / 2, name=call.name)


def parametric_relu(call, x, weight):
    """Apply a leaky ReLU with one slope, or one per entry of axis 1."""
    slope = call.array(weight)
    if slope.size > 1:
        slope = slope.reshape(slope.shape + (1,) * (len(x.shape) - 2))
    return call.graph.leaky_relu(x, slope.reshape(()) if slope.size == 1 else slope, name=call.name)


def hardtanh(call, x, min_val=-1.0, max_val=1.0, inplace=False):
    """Clip to [min_val, max_val]."""
    return call.graph.clip(x, min_val, max_val, name=call.name)


def relu6(call, x, inplace=False):
    """Clip to [0, 6]."""
    return call.graph.clip(x, 0.0, 6.0, name=call.name)


def hardsigmoid(call, x, inplace=False):
    """Clip x / 6 + 1 / 2 to [0, 1]."""
    return call.graph.clip(call.graph.scale_shift(x, 1.0 / 6.0, 0.5, name=call.name), 0.0, 1.0, name=call.name)


def threshold(call, x, threshold, value, inplace=False):
    """Compute max(x, threshold) if the two constants agree."""
    if float(threshold) != float(value):
        call.refuse(f"which jumps at {threshold} to {value}")
    return call.graph.clip(x, float(threshold), name=call.name)


def soft_shrink(call, x, lambd=0.5):
    """Compute ``x`` minus ``x`` clipped to [-lambd, lambd]."""
    if float(lambd) == 0.0:
        return x
    clipped = call.graph.clip(x, -float(lambd), float(lambd), name=call.name)
    return call.graph.add(x, clipped, (1.0, -1.0), name=call.name)


def clamp(call, x, min=None, max=None):
    """Clip to bounds that are numbers, constants or activations."""
    low, high = (_number(bound) for bound in (min, max))
    if low is not False and high is not False:
        return call.graph.clip(x, -np.inf if low is None else low, np.inf if high is None else high, name=call.name)
    if min is not None:
        x = maximum(call, x, min)
    return x if max is None else minimum(call, x, max)


def clamp_min(call, x, min):
    """Compute max(x, min)."""
    return clamp(call, x, min)


def clamp_max(call, x, max):
    """Compute min(x, max)."""
    return clamp(call, x, None, max)


def _number(bound):
    """Return a bound as a float if it is one number, None if there is none, False if it is an array."""
    if isinstance(bound, Tensor) or (isinstance(bound, torch.Tensor) and bound.ndim):
        return False
    return None if bound is None else float(bound)


def maximum(call, x, other):
    """Compute max(x, y) = y + relu(x - y)."""
    return _extreme(call, x, other, 1.0)


def minimum(call, x, other):
    """Compute min(x, y) = y - relu(y - x)."""
    return _extreme(call, x, other, -1.0)


def _extreme(call, x, y, sign):
    x, y = (x, y) if isinstance(x, Tensor) else (y, x)
    difference = _combined(call, x, y, sign, -sign)
    return _combined(call, call.graph.relu(difference, name=call.name), y, sign, 1.0)


# Reductions.


def mean(call, x, dim=None, keepdim=False, *, dtype=None):
    """Compute the average over axes."""
    return call.graph.mean(x, _axes(x, dim), keepdims=keepdim, name=call.name)


def total(call, x, dim=None, keepdim=False, *, dtype=None):
    """Compute the sum over axes, as average pooling with divisor 1."""
    rows, kernel, shape = _rows(call, x, dim, keepdim)
    return call.graph.reshape(call.graph.avg_pool(rows, kernel, divisor=1, name=call.name), shape, name=call.name)


def maximum_over(call, x, dim=None, keepdim=False):
    """Compute the maximum over axes."""
    rows, kernel, shape = _rows(call, x, dim, keepdim)
    return call.graph.reshape(call.graph.max_pool(rows, kernel, name=call.name), shape, name=call.name)


def minimum_over(call, x, dim=None, keepdim=False):
    """Compute the minimum over axes, as -max(-x)."""
    return negate(call, maximum_over(call, negate(call, x), dim, keepdim))


def maximum_any(call, x, other=None, keepdim=False, *, dim=None):
    """Compute torch.max: of all entries, over an axis (values and indices), or of two tensors."""
    return _any_extreme(call, x, other, keepdim, dim, maximum, maximum_over)


def minimum_any(call, x, other=None, keepdim=False, *, dim=None):
    """Compute torch.min: of all entries, over an axis (values and indices), or of two tensors."""
    return _any_extreme(call, x, other, keepdim, dim, minimum, minimum_over)


def _any_extreme(call, x, other, keepdim, dim, of_two, over):
    if isinstance(other, (Tensor, torch.Tensor)):
        return of_two(call, x, other)
    axis = dim if other is None else other
    if axis is None:
        return over(call, x)
    indices = Unsupported(call.name, call.kind, "whose indices are not piecewise linear")
    return Reduced(over(call, x, axis, keepdim), indices)


def _axes(x, dim):
    """Return the axes of a reduction as a sorted list; None means all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return list(range(len(x.shape)))
    dims = dim if isinstance(dim, (tuple, list)) else [dim]
    if any(not -len(x.shape) <= d < len(x.shape) for d in dims):
        raise IndexError(f"axes {dim} of a tensor of shape {x.shape}")
    return sorted({int(d) % len(x.shape) for d in dims})


def _rows(call, x, dim, keepdim):
    """Return ``x`` as [1, rows, 1, entries to reduce], the window over a row, and the shape of the result."""
    axes = _axes(x, dim)
    kept = [a for a in range(len(x.shape)) if a not in axes]
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    rows = call.graph.layout(x, x.indices().transpose(kept + axes).reshape(1, -1, 1, count), name=call.name)
    shape = [1 if a in axes else n for a, n in enumerate(x.shape) if keepdim or a not in axes]
    return rows, (1, count), shape


OPERATIONS = {
    **dict.fromkeys(("add", "radd"), add),
    **dict.fromkeys(("sub", "subtract"), subtract),
    "rsub": subtract_from,
    **dict.fromkeys(("mul", "multiply"), multiply),
    **dict.fromkeys(("div", "truediv", "divide", "true_divide"), divide),
    **dict.fromkeys(("neg", "negative"), negate),
    "relu": relu,
    **dict.fromkeys(("abs", "absolute"), absolute),
    "leaky_relu": leaky_relu,
    "rrelu": randomized_relu,
    **dict.fromkeys(("prelu", "_prelu_kernel"), parametric_relu),
    "hardtanh": hardtanh,
    "relu6": relu6,
    "hardsigmoid": hardsigmoid,
    **dict.fromkeys(("threshold", "_threshold"), threshold),
    "softshrink": soft_shrink,
    **dict.fromkeys(("clamp", "clip"), clamp),
    "clamp_min": clamp_min,
    "clamp_max": clamp_max,
    "maximum": maximum,
    "minimum": minimum,
    "max": maximum_any,
    "min": minimum_any,
    "amax": maximum_over,
    "amin": minimum_over,
    "mean": mean,
    "sum": total,
    **layers.OPERATIONS,
    **layout.OPERATIONS,
    **algebra.OPERATIONS,
    **sorting.OPERATIONS,
    **selection.OPERATIONS,
    **resizing.OPERATIONS,
}
MODULES = {**layers.MODULES, **layout.MODULES}
TABLES = OPERATIONS, MODULES, layout.ALIASING, selection.OF_PIECES
