"""Subgraphs of ONNX: the branch of an If whose condition is known, and the unrolled body of a Loop.

Conditions and numbers of turns must not depend on the network's input; its shape is known during conversion, so tests of
shapes, as exporters write them for ``squeeze``, are constants. Subgraphs read the values of the graph around them by name.
"""

from collections import ChainMap

import numpy as np

from ...errors import ConversionError
from ..graph import Tensor
from ..piecewise import is_activation
from .layout import constant_tensor

MOST_TURNS = 1000


def subgraphs(proto):
    """Return the graphs in the attributes of a node."""
    return [g for a in proto.attribute for g in ([a.g] if a.HasField("g") else [*a.graphs])]


def reads(proto):
    """Return the names that a node reads: its inputs, and the outer names that its subgraphs use."""
    names = list(proto.input)
    for graph in subgraphs(proto):
        inner = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        inner |= {name for node in graph.node for name in node.output}
        used = [name for node in graph.node for name in reads(node)] + [value.name for value in graph.output]
        names += [name for name in used if name not in inner]
    return names


def take_branch(node, values, constants_of, convert):
    """Return the outputs of the branch that an If takes.

    Parameters
    ----------
    node : OnnxNode
    values : mapping
        The values of the graph around the node, by name.
    constants_of : callable
        From a subgraph to its initializers.
    convert : callable
        Converts nodes, and adds their outputs to a mapping of values.
    """
    condition = node.get(0)
    if is_activation(condition):
        node.refuse("which branches on a value that depends on the network's input; write both cases with Where, Max or Clip")
    taken = "then_branch" if bool(np.reshape(condition, -1)[0]) else "else_branch"
    return _run(_graph(node, taken), values, {}, constants_of, convert)


def _graph(node, key):
    return next(a.g for a in node.proto.attribute if a.name == key)


def _run(graph, values, inputs, constants_of, convert):
    scope = ChainMap({**constants_of(graph), **inputs}, values)
    convert(graph.node, scope)
    missing = [value.name for value in graph.output if value.name not in scope]
    if missing:
        raise ConversionError(f"a subgraph returns {missing[0]!r}, which none of its nodes makes; the file is damaged")
    return [scope[value.name] for value in graph.output]


def unroll(node, graph, values, constants_of, convert):
    """Return the outputs of a Loop whose number of turns is known: the last carried values, and the stacked results."""
    body, count, keep = _graph(node, "body"), node.get(0), node.get(1)
    for value in (count, keep):
        if is_activation(value):
            node.refuse("a loop whose number of turns depends on the network's input, so it is not one fixed network")
    count = MOST_TURNS + 1 if count is None else int(np.reshape(count, -1)[0])
    keep = True if keep is None else bool(np.reshape(keep, -1)[0])
    carried, rows, turn = list(node.inputs[2:]), [], 0
    names = [value.name for value in body.input]
    while keep and turn < count:
        if turn == MOST_TURNS:
            node.refuse(f"a loop of more than {MOST_TURNS} turns; export the network with its loops unrolled")
        inputs = dict(zip(names, [np.int64(turn), np.bool_(True), *carried]))
        again, *results = _run(body, values, inputs, constants_of, convert)
        if is_activation(again):
            node.refuse("a loop whose end depends on the network's input, so it is not one fixed network")
        keep, turn = bool(np.reshape(again, -1)[0]), turn + 1
        carried = results[: len(carried)]
        rows.append(results[len(carried) :])
    return [*carried, *(_stacked(node, graph, column) for column in zip(*rows))]


def _stacked(node, graph, column):
    """Return values as one, along a new first axis."""
    like = next((v for v in column if is_activation(v)), None)
    if like is None:
        return np.stack(column)
    tensors = [v if isinstance(v, Tensor) else constant_tensor(graph, like, np.asarray(v), node.name) for v in column]
    return graph.concat([graph.reshape(t, (1, *t.shape), name=node.name) for t in tensors], 0, name=node.name)
