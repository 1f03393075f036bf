"""Handlers of torch's sorting, running maxima, and writes at constant indices."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import composed
from ..graph import Tensor
from .algebra import axes_of, axis_of, constant_or_tensor
from .layout import merge
from .values import Unsupported


class Selected(NamedTuple):
    """Result of sorting or of a maximum over an axis."""

    values: Any
    indices: Any


class Extremes(NamedTuple):
    """Result of aminmax."""

    min: Any
    max: Any


def _with_indices(call, values):
    return Selected(values, Unsupported(call.name, call.kind, "whose indices depend on the input, and so jump"))


# Sorting.


def _ranked(call, x, dim, places, descending=False):
    x = x if x.shape else call.graph.reshape(x, (1,), name=call.name)
    axis = axis_of(x, dim)
    return composed.sorted_values(call.graph, x, axis, places(x.shape[axis]), call.name, call.kind, descending=descending)


def sort(call, x, dim=-1, descending=False, stable=False):
    """Sort along an axis; the values only."""
    return _with_indices(call, _ranked(call, x, dim, range, bool(descending)))


def stable_sort(call, x, *, stable=False, dim=-1, descending=False):
    """Sort along an axis, in ATen's form with ``stable``."""
    return sort(call, x, dim, descending)


def first_axis_sort(call, x):
    """Sort along axis 0."""
    return sort(call, x, 0).values


def top(call, x, k, dim=-1, largest=True, sorted=True):
    """Return the ``k`` largest or smallest values along an axis."""
    if int(k) == 1:
        values = composed.reduced(call.graph, x, [axis_of(x, dim)], "max" if largest else "min", call.name, keepdims=True)
    else:
        values = _ranked(call, x, dim, lambda n: range(int(k)), bool(largest))
    return _with_indices(call, values)


def _one_ranked(call, x, dim, keepdim, place):
    n = x.shape[axis_of(x, dim)]
    if place in (0, n - 1) and n > 2:
        values = composed.reduced(call.graph, x, [axis_of(x, dim)], "max" if place else "min", call.name, keepdims=True)
    else:
        values = _ranked(call, x, dim, lambda n: [place])
    shape = [1 if a == axis_of(x, dim) else size for a, size in enumerate(x.shape) if keepdim or a != axis_of(x, dim)]
    return call.graph.reshape(values, shape, name=call.name)


def kth_value(call, x, k, dim=-1, keepdim=False):
    """Return the ``k``-th smallest value along an axis."""
    return _with_indices(call, _one_ranked(call, x, dim, keepdim, int(k) - 1))


def median(call, x, dim=None, keepdim=False):
    """Return the lower median of all entries, or along an axis (values and indices)."""
    if dim is None:
        flat = call.graph.reshape(x, (-1,), name=call.name)
        return _one_ranked(call, flat, 0, False, (x.size - 1) // 2)
    return _with_indices(call, _one_ranked(call, x, dim, keepdim, (x.shape[axis_of(x, dim)] - 1) // 2))


def running_extreme(call, x, dim, *, sign=1.0):
    """Return the maximum or minimum of the entries up to each along an axis."""
    y = x if sign > 0 else call.graph.scale_shift(x, -1.0, name=call.name)
    y = composed.running_maximum(call.graph, y, axis_of(x, dim), call.name, call.kind)
    return _with_indices(call, y if sign > 0 else call.graph.scale_shift(y, -1.0, name=call.name))


def extremes(call, x, *, dim=None, keepdim=False):
    """Return the minimum and the maximum."""
    options = {"keepdims": bool(keepdim)}
    return Extremes(*(composed.reduced(call.graph, x, axes_of(x, dim), how, call.name, **options) for how in ("min", "max")))


def indices_only(call, *args, **kwargs):
    """Refuse operations that return positions or counts."""
    call.refuse("whose result is a position or a count, which jumps")


# Writing at constant indices.


def _numbers(x):
    return torch.arange(int(np.prod(x.shape, dtype=np.int64))).reshape(tuple(x.shape))


def _scatter_sum(call, x, source, places):
    target, source = (constant_or_tensor(call, a) for a in (x, source))
    return composed.scatter_sum(call.graph, target, source, places, call.name)


def _spread(call, value, shape):
    """Return a value broadcast to ``shape``."""
    if isinstance(value, Tensor):
        return call.graph.layout(value, np.broadcast_to(value.indices(), shape), name=call.name)
    return torch.as_tensor(call.array(value)).expand(tuple(shape)).clone()


def scatter(call, x, dim, index, src=None, *, value=None, reduce=None):
    """Write entries, or a number, at constant indices along an axis; with ``reduce="add"``, add them."""
    source = value if src is None else src
    if isinstance(index, Tensor):
        call.refuse("at indices that depend on the input, and so jump")
    source = source if isinstance(source, Tensor) and source.shape else _spread_or_keep(call, source, index.shape)
    if reduce is not None:
        return scatter_reduce(call, x, dim, index, source, reduce)
    if isinstance(x, Tensor) or isinstance(source, Tensor):
        return merge(_running(call, torch.scatter), x, dim, index, source)
    return torch.scatter(x, dim, index, source)


def _spread_or_keep(call, source, shape):
    full = isinstance(source, torch.Tensor) and source.ndim > 0
    return source.to(torch.float64) if full else _spread(call, source, shape)


def _running(call, function):
    return replace(call, run=function)


def scatter_reduce(call, x, dim, index, src, reduce="sum", *, include_self=True):
    """Add entries at constant indices along an axis."""
    if isinstance(index, Tensor) or reduce not in ("add", "sum") or not include_self:
        call.refuse(f"with reduce={reduce!r} or indices that depend on the input; sums at constant indices are supported")
    places = torch.gather(_numbers(x), int(dim), index).numpy()
    part = tuple(slice(0, n) for n in index.shape)
    if isinstance(src, Tensor):
        src = call.graph.layout(src, src.indices()[part], name=call.name)
    else:
        src = torch.as_tensor(call.array(src))[part]
    return _scatter_sum(call, x, src, places)


def index_add(call, x, dim, index, source, *, alpha=1):
    """Add slices at constant indices along an axis."""
    places = torch.index_select(_numbers(x), int(dim), index).numpy()
    if isinstance(source, Tensor):
        source = source if alpha == 1 else call.graph.scale_shift(source, float(alpha), name=call.name)
    else:
        source = float(alpha) * torch.as_tensor(call.array(source))
    return _scatter_sum(call, x, source, places)


def index_write(call, x, dim, index, source):
    """Write slices at constant indices along an axis."""
    function = torch.index_copy if call.operation == "index_copy" else torch.index_fill
    if function is torch.index_fill:
        places = torch.index_select(_numbers(x), int(dim), index)
        source, function = _spread(call, source, places.shape), torch.index_copy
    return merge(_running(call, function), x, int(dim), index, source)


def index_put(call, x, indices, values, accumulate=False):
    """Write entries, or add them, at constant indices."""
    if any(isinstance(i, Tensor) for i in indices):
        call.refuse("at indices that depend on the input, and so jump")
    places = _numbers(x)[tuple(slice(None) if i is None else i for i in indices)]
    values = _spread(call, values, places.shape)
    if accumulate:
        return _scatter_sum(call, x, values, places.numpy())

    def write(target, source):
        target = target.clone().reshape(-1)
        target[places.reshape(-1)] = source.reshape(-1)
        return target.reshape(tuple(x.shape))

    return merge(_running(call, write), x, values)


OPERATIONS = {
    **dict.fromkeys(("argsort", "searchsorted", "bucketize", "nonzero", "unique", "count_nonzero", "any", "all"), indices_only),
    "sort": sort,
    "msort": first_axis_sort,
    "topk": top,
    "kthvalue": kth_value,
    **dict.fromkeys(("median", "nanmedian"), median),
    "cummax": running_extreme,
    "cummin": partial(running_extreme, sign=-1.0),
    "aminmax": extremes,
    "scatter": scatter,
    **dict.fromkeys(("scatter_add",), scatter_reduce),
    "scatter_reduce": scatter_reduce,
    "index_add": index_add,
    **dict.fromkeys(("index_copy", "index_fill"), index_write),
    **dict.fromkeys(("index_put", "_unsafe_index_put"), index_put),
    **dict.fromkeys(("masked_scatter", "diagonal_scatter"), merge),
}
