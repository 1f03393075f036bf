"""ONNX operators without a handler: taken if they are affine in their only input, with a matrix found by basis vectors."""

import numpy as np

from ..graph import Tensor
from ..linear_maps import sparse_linear
from ..numeric import MOST_ENTRIES, MOST_INPUTS, find_affine


def affine(node, graph):
    """Convert an operator that is affine in one tensor; refuse any other."""
    sources = [value for value in node.inputs if isinstance(value, Tensor)]
    if len({s.node for s in sources}) != 1:
        node.refuse("which is not supported")
    x, shapes, evaluate = sources[0], [], node.evaluator()

    def run(point):
        return evaluate([point.reshape(x.shape) if isinstance(v, Tensor) else v for v in node.inputs])

    def function(point):
        parts = run(point)
        shapes[:] = [p.shape for p in parts]
        return np.concatenate([p.ravel() for p in parts])

    real = all(np.issubdtype(p.dtype, np.floating) for p in run(np.zeros(x.size)))
    found = find_affine(function, x.size) if real else None
    if found is None:
        large = x.size > MOST_INPUTS or sum(int(np.prod(s)) for s in shapes) * x.size > MOST_ENTRIES
        size = f" ({x.size} inputs are too many to find out whether it is linear)"
        node.refuse(f"which has no exact conversion{size}" if large else "which is not linear and has no exact conversion")
    matrix, shift = found
    y = sparse_linear(graph, x, matrix, (-1,), shift, name=node.name)
    graph.note(
        y,
        f"node {node.name!r} is {node.op}, which has no handler: it is linear, and its matrix ({matrix.shape[0]} x "
        f"{matrix.shape[1]}, {matrix.nnz} entries) was found numerically and checked on random points",
    )
    ends = np.cumsum([int(np.prod(s, dtype=np.int64)) for s in shapes])
    numbers = np.split(np.arange(matrix.shape[0]), ends[:-1])
    return tuple(graph.layout(y, n.reshape(s), name=node.name) for n, s in zip(numbers, shapes))
