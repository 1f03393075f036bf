"""Handlers of torch operations that copy or keep entries: layout, concatenation, padding, dropout, softmax.

All layout operations have one handler, in which torch applies the operation to the numbers of the entries.
"""

from dataclasses import replace

import numpy as np
import torch
from torch.fx.node import map_aggregate

from ..ends import add_end
from ..graph import Tensor
from .names import ALPHA_DROPOUTS, DROPOUTS, KEPT, LAYOUTS, MERGED
from .values import Unsupported, probe


def layout(call, x, *args, fill=0.0, **kwargs):
    """Convert an operation that only copies entries: torch applies it to their numbers 1, 2, ...; 0 stands for ``fill``."""
    if call.operation in ("expand_as", "view_as", "reshape_as"):
        args = tuple(probe(a) if isinstance(a, Tensor) else a for a in args)
        if not isinstance(x, Tensor):
            return call.run(x, *args, **kwargs)
    if not isinstance(x, Tensor):
        call.refuse("applied to a constant instead of an activation")
    result = call.run(torch.as_tensor(x.indices() + 1.0), *args, **kwargs)
    return map_aggregate(result, lambda numbers: _copied(call, x, numbers, fill))


def _copied(call, x, numbers, fill=0.0):
    exact = numbers.numpy()
    index = np.rint(exact).astype(np.int64) - 1
    if not np.array_equal(index + 1, exact):
        call.refuse("which does not only copy entries")
    return call.graph.layout(x, index, fill=fill, name=call.name)


def pad(call, x, pad, mode="constant", value=None):
    """Pad as torch.nn.functional.pad, in all modes."""
    if mode != "constant":
        return layout(call, x, pad, mode=mode)
    return layout(call, x, pad, fill=float(value or 0.0))


def join(call, tensors, dim=0):
    """Concatenate activations and constants."""
    reference = next(t for t in tensors if isinstance(t, Tensor))
    parts = [t if isinstance(t, Tensor) else _constant_tensor(call, reference, t) for t in tensors]
    return call.graph.concat(parts, dim, name=call.name)


def merge(call, *args, **kwargs):
    """Convert an operation that copies entries of several tensors: torch applies it to the numbers of all entries."""
    sources = []
    map_aggregate((args, kwargs), lambda a: sources.append(a) if _is_source(a) else None)
    reference = next(s for s in sources if isinstance(s, Tensor))
    parts = [s if isinstance(s, Tensor) else _constant_tensor(call, reference, s) for s in sources]
    flat = call.graph.concat([call.graph.reshape(p, (-1,), name=call.name) for p in parts], 0, name=call.name)
    ends = np.cumsum([p.size for p in parts])
    numbers = [torch.as_tensor(p.indices() + 1.0 + end - p.size) for p, end in zip(parts, ends, strict=True)]
    args, kwargs = map_aggregate((args, kwargs), lambda a: numbers.pop(0) if _is_source(a) else a)
    return _copied(call, flat, call.run(*args, **kwargs))


def _is_source(a):
    return isinstance(a, Tensor) or (isinstance(a, torch.Tensor) and a.is_floating_point())


def _constant_tensor(call, reference, constant):
    """Return a constant as a graph tensor."""
    array = call.array(constant)
    blank = call.graph.layout(reference, np.full(array.shape, -1), name=call.name)
    return call.graph.scale_shift(blank, None, array, name=call.name)


def where(call, condition, x, other):
    """Select by a constant condition."""
    if isinstance(condition, Tensor):
        call.refuse("which branches on an activation")
    x, other = (a if isinstance(a, Tensor) else torch.as_tensor(a, dtype=torch.float64) for a in (x, other))
    return merge(replace(call, run=torch.where), condition, x, other)


def masked_fill(call, x, mask, value):
    """Fill with a number where a constant mask is True."""
    if isinstance(mask, Tensor) or isinstance(value, Tensor):
        call.refuse("which branches on an activation")
    return layout(call, x, mask, 0.0, fill=float(value))


def copy(call, x, source, *args):
    """Broadcast ``source`` to the shape of ``x``."""
    if not isinstance(source, Tensor):
        return torch.as_tensor(call.array(source)).expand(x.shape)
    return call.graph.layout(source, np.broadcast_to(source.indices(), x.shape), name=call.name)


def filled(call, x, value):
    """Return a constant of the shape of ``x``."""
    return torch.as_tensor(call.array(value)).expand(x.shape)


# Operations that are the identity in eval mode.


def keep(call, x, *args, **kwargs):
    """Return ``x``: a no-op in eval mode and in exact arithmetic."""
    for a in (*args, *kwargs.values()):
        dtype = a.dtype if isinstance(a, torch.Tensor) else a
        if isinstance(dtype, str) and "Tensor" in dtype:
            call.refuse(f"to {dtype!r}; give a torch dtype")
        if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
            call.refuse(f"to {dtype}, which is not a real floating dtype")
    return x


def dropout(call, x, p=0.5, training=True, inplace=False):
    """Return ``x``: a no-op in eval mode."""
    if training and float(p) > 0.0:
        call.refuse("which drops entries at random in eval mode (training=True); pass training=self.training")
    return x


def alpha_dropout(call, x, p=0.5, training=False, inplace=False):
    """Return ``x``: a no-op in eval mode."""
    return dropout(call, x, p, training, inplace)


def softmax(call, x, dim=None, *args, _stacklevel=3, dtype=None):
    """Return a result that only the output may be, which is then the logits."""
    axis = (0 if len(x.shape) in (0, 1, 3) else 1) if dim is None else int(dim)
    return _at_the_end(call, x, (axis,))


def softmin(call, x, dim=None, *args, _stacklevel=3, dtype=None):
    """Return the softmax of ``-x``."""
    return softmax(call, call.graph.scale_shift(x, -1.0, name=call.name), dim)


def sigmoid(call, x):
    """Return a result that only the output may be, which is then the logits."""
    return _at_the_end(call, x, ())


def argmax(call, x, dim=None, keepdim=False):
    """Return a result that only the output may be, which is then the scores."""
    axes = tuple(range(len(x.shape))) if dim is None else (int(dim),)
    end = add_end(call.graph, x, axes, name=call.name, kind=call.kind, indices=True)
    return Unsupported(call.name, call.kind, "whose indices are not continuous", tensor=end.tensor, final=True)


def _at_the_end(call, x, axes):
    end = add_end(call.graph, x, axes, name=call.name, kind=call.kind)
    reason = "which is not piecewise linear (it is dropped where nothing but moves of entries follows it)"
    return Unsupported(call.name, call.kind, reason, tensor=end.tensor)


ALIASING = LAYOUTS | KEPT | DROPOUTS | ALPHA_DROPOUTS

OPERATIONS = {
    **dict.fromkeys(LAYOUTS, layout),
    **dict.fromkeys(KEPT | {"clone"}, keep),
    **dict.fromkeys(MERGED, merge),
    **dict.fromkeys(DROPOUTS, dropout),
    **dict.fromkeys(ALPHA_DROPOUTS, alpha_dropout),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    "aten::constant_pad_nd": lambda call, x, padding, value=0: layout(call, x, padding, fill=float(value)),
    **dict.fromkeys(("cat", "concat", "concatenate"), join),
    "where": where,
    "masked_fill": masked_fill,
    "aten::copy": copy,
    "aten::fill": filled,
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax"), softmax),
    **dict.fromkeys(("special_softmax", "special_log_softmax"), softmax),
    "softmin": softmin,
    "argmax": argmax,
    **dict.fromkeys(("sigmoid", "special_expit", "expit", "logsigmoid", "log_sigmoid"), sigmoid),
    "aten::log_sigmoid_forward": lambda call, x: (sigmoid(call, x), None),
}


def circular(call, module, x):
    """Convert a module of circular padding, whose check of the rank can't be traced."""
    return layout(replace(call, run=torch.nn.functional.pad), x, list(module.padding), mode="circular")


MODULES = {
    **dict.fromkeys((torch.nn.CircularPad1d, torch.nn.CircularPad2d, torch.nn.CircularPad3d), circular),
}
