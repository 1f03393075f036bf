"""ONNX operators without a handler: taken if they are affine in their only input (see `numeric`)."""

from ..graph import Tensor
from ..numeric import convert


def affine(node, graph):
    """Convert an operator that is affine in one tensor; refuse any other."""
    sources = [value for value in node.inputs if isinstance(value, Tensor)]
    if len({s.node for s in sources}) != 1:
        node.refuse("which is not supported")
    evaluate = node.evaluator()

    def run(point):
        return evaluate([point if isinstance(v, Tensor) else v for v in node.inputs])

    return tuple(convert(graph, sources[0], run, node.name, node.op))
