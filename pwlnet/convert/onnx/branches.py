"""ONNX nodes with subgraphs: which names they read, and the branch of an If whose condition is known during conversion."""

import numpy as np

from ..graph import Tensor
from .node import onnx_module


def subgraphs(node):
    """Return the graphs that a node has as attributes."""
    kinds = onnx_module().AttributeProto
    found = [a.g for a in node.attribute if a.type == kinds.GRAPH]
    return found + [g for a in node.attribute if a.type == kinds.GRAPHS for g in a.graphs]


def reads(node):
    """Return the names that a node reads: its inputs, and what its subgraphs use of the graph around them."""
    names = list(node.input)
    for graph in subgraphs(node):
        made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        for inner in graph.node:
            names.extend(name for name in reads(inner) if name not in made)
            made.update(inner.output)
        names.extend(value.name for value in graph.output if value.name not in made)
    return names


def branch_taken(node, condition):
    """Return the graph of an If node that runs for a condition.

    Parameters
    ----------
    node : OnnxNode
    condition : object
        The value of its first input: a graph tensor is refused.
    """
    if isinstance(condition, Tensor):
        node.refuse(
            "which chooses a branch by values that depend on the network's input, so it need not be continuous; export the "
            "network without that branch"
        )
    wanted = "then_branch" if bool(np.all(condition)) else "else_branch"
    return next(a.g for a in node.proto.attribute if a.name == wanted)
