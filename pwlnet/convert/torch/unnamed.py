"""Torch operations without a handler: taken if they are affine in their only activation (see `numeric`)."""

import torch
from torch.fx.node import map_aggregate

from ..graph import Tensor
from ..numeric import convert


def affine(call, *args, **kwargs):
    """Convert an operation that is affine in one tensor; refuse any other."""
    sources = []
    map_aggregate((args, kwargs), lambda a: sources.append(a) if isinstance(a, Tensor) else None)
    if call.is_known_nonlinear() or len({s.node for s in sources}) != 1:
        call.refuse()

    def run(point):
        tensor = torch.from_numpy(point)
        taken = map_aggregate((args, kwargs), lambda a: tensor.clone() if isinstance(a, Tensor) else a)
        return call.evaluate(*taken[0], **taken[1])

    result = run(torch.zeros(sources[0].shape, dtype=torch.float64).numpy())
    if any(p.layout != torch.strided for p in _parts(result)):
        call.refuse()
    outputs = convert(call.graph, sources[0], lambda x: [p.numpy() for p in _parts(run(x))], call.name, call.kind)
    return map_aggregate(result, lambda a: outputs.pop(0) if isinstance(a, torch.Tensor) else a)


def _parts(result):
    parts = []
    map_aggregate(result, lambda a: parts.append(a.detach().resolve_conj()) if isinstance(a, torch.Tensor) else None)
    return parts
