"""Operations without a handler: taken if they are affine in their only activation, with a matrix found by basis vectors."""

import numpy as np
import torch
from torch.fx.node import map_aggregate

from ..graph import Tensor
from ..linear_maps import sparse_linear
from ..numeric import MOST_ENTRIES, MOST_INPUTS, find_affine


def affine(call, *args, **kwargs):
    """Convert an operation that is affine in one tensor; refuse any other."""
    sources = []
    map_aggregate((args, kwargs), lambda a: sources.append(a) if isinstance(a, Tensor) else None)
    if call.is_known_nonlinear():
        call.refuse()
    if len({s.node for s in sources}) != 1 or call.run is None:
        call.refuse("which has no exact conversion")
    x, shapes = sources[0], []

    def run(point):
        tensor = torch.from_numpy(point.reshape(x.shape))
        taken = map_aggregate((args, kwargs), lambda a: tensor.clone() if isinstance(a, Tensor) else a)
        return call.evaluate(*taken[0], **taken[1])

    def function(point):
        parts, shapes[:] = _parts(run(point)), []
        shapes.extend(tuple(p.shape) for p in parts)
        return np.concatenate([p.detach().numpy().ravel() for p in parts])

    result = run(np.zeros(x.size))
    found = find_affine(function, x.size) if _is_real(result) else None
    if found is None:
        large = x.size > MOST_INPUTS or (shapes and sum(int(np.prod(s)) for s in shapes) * x.size > MOST_ENTRIES)
        size = f", and {x.size} inputs are too many to find out whether it is linear" if large else ""
        call.refuse(f"which has no exact conversion{size}" if large else "which is not linear and has no exact conversion")
    matrix, shift = found
    y = sparse_linear(call.graph, x, matrix, (-1,), shift, name=call.name)
    call.graph.note(
        y,
        f"node {call.name!r} is {call.kind}, which has no handler: it is linear, and its matrix ({matrix.shape[0]} x "
        f"{matrix.shape[1]}, {matrix.nnz} entries) was found numerically and checked on random points",
    )
    ends = np.cumsum([int(np.prod(s, dtype=np.int64)) for s in shapes])
    numbers = np.split(np.arange(matrix.shape[0]), ends[:-1])
    outputs = [call.graph.layout(y, n.reshape(s), name=call.name) for n, s in zip(numbers, shapes, strict=True)]
    return map_aggregate(result, lambda a: outputs.pop(0) if isinstance(a, torch.Tensor) else a)


def _parts(result):
    parts = []
    map_aggregate(result, lambda a: parts.append(a) if isinstance(a, torch.Tensor) else None)
    return parts


def _is_real(result):
    parts = _parts(result)
    return bool(parts) and all(p.is_floating_point() and p.layout == torch.strided for p in parts)
