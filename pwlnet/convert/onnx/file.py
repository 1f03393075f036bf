"""Reading of ONNX files: visit the nodes that the output depends on, fold constants, convert other nodes by handlers.

Nodes without a handler are refused by name, never dropped, with one exception that emits a warning: Softmax, LogSoftmax,
Sigmoid and ArgMax at the end of the graph, since the values before them decide the same.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ...errors import PwlnetWarning
from ..endings import Ending, check_axis
from ..graph import Graph, Tensor, refuse
from .branches import branch_taken, subgraphs
from .model import ENDINGS, independent_output, open_model
from .node import STANDARD_DOMAINS, OnnxNode, node_name, onnx_module
from .ops import HANDLERS

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
STEPS = ("Sign", "Floor", "Ceil", "Round", "ThresholdedRelu", "Shrink", "Hardmax", "Greater", "Less", "Equal", "TopK")
CURVED = (
    "Sigmoid Tanh Exp Log Sqrt Pow Reciprocal Erf Gelu Elu Selu Celu Softplus Softsign HardSwish Mish Swish Softmax "
    "LogSoftmax Sin Cos Tan Sinh Cosh Asin Acos Atan Asinh Acosh Atanh LRN LpNormalization LayerNormalization "
    "InstanceNormalization GroupNormalization MeanVarianceNormalization RMSNormalization ReduceL2 ReduceSumSquare "
    "ReduceLogSum ReduceLogSumExp ReduceProd LSTM GRU RNN Attention"
)


def read_onnx(path, input_shape=None, outputs=None):
    """Read an ONNX file into a neutral graph.

    Exact up to rounding: every weight is converted to the equal float64.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
        Shape of one input without the batch axis; needed if the file leaves dimensions open.
    outputs : tuple of int or str, optional
        Which outputs of several; more than one are flattened and joined.

    Returns
    -------
    Graph
        An input of rank 2 or more whose first dimension is 1 or open has a batch axis; any other input, such as [5] or
        [2, 2], is one input as a whole, unless ``input_shape`` says that its first dimension is a batch.

    Raises
    ------
    ConversionError
        The file is not a readable ONNX file, or not a network with one input and one output.
    ShapeError
        ``input_shape`` is missing or contradicts the file.
    InputError
        A weight is not finite.
    UnsupportedOperationError
        A node is not piecewise linear or not supported.

    Warns
    -----
    PwlnetWarning
        A Softmax, LogSoftmax, Sigmoid or ArgMax at the end was dropped.
    """
    return convert_model(path, open_model(path, input_shape, outputs))


def convert_model(path, source):
    """Return the neutral graph of an `OnnxModel`; as ``read_onnx``."""
    graph = Graph(source.shape, batched=source.batched)
    values = dict(source.constants)
    values[source.input] = graph.input
    endings = {}
    for proto in source.nodes:
        _visit(proto, source.opset, values, graph)
        if proto.output[0] in source.bypassed or endings.keys() & set(proto.input):
            _follow_ending(proto, source, values, graph, endings)
    found = [values[name] for name in source.outputs]
    for name, output in zip(source.outputs, found, strict=True):
        if not isinstance(output, Tensor):
            raise independent_output(path, name)
    if len(found) > 1:
        lead = (1,) if source.batched else ()
        flat = [graph.reshape(t, (*lead, -1), name="output") for t in found]
        found = [graph.concat(flat, len(lead), name="output")]
    graph.output = found[0]
    for proto in source.dropped:
        ending = Ending(node_name(proto), proto.op_type, ENDINGS[proto.op_type], graph.output)
        warnings.warn(ending.warning(f" of {path}"), PwlnetWarning, stacklevel=4)
    return graph


def _visit(proto, opset, values, graph):
    """Convert a node and enter its outputs into ``values``; of an If, the nodes of the branch that is taken."""
    node = OnnxNode(proto, opset, tuple(values[name] if name else None for name in proto.input))
    if node.op == "If" and proto.domain in STANDARD_DOMAINS:
        branch = branch_taken(node, node.inputs[0])
        inner = values | {tensor.name: onnx_module("numpy_helper").to_array(tensor) for tensor in branch.initializer}
        for nested in branch.node:
            _visit(nested, opset, inner, graph)
        outputs = tuple(inner[value.name] for value in branch.output)
    else:
        outputs = _convert(node, graph)
    values.update((name, value) for name, value in zip(proto.output, outputs) if name)
    if len(outputs) < len(proto.output):
        values.update((name, _MissingOutput(node_name(proto))) for name in proto.output[len(outputs) :] if name)


def _follow_ending(proto, source, values, graph, endings):
    """Check a Softmax or Sigmoid that was replaced by Identity, or what moves its entries."""
    known = next((endings[name] for name in proto.input if name in endings), None)
    value = values[proto.output[0]]
    if known is None and isinstance(value, Tensor):
        original = next((node for node in source.dropped if node.output[0] == proto.output[0]), None)
        if original is not None:
            family = ENDINGS[original.op_type]
            if family == "softmax":
                check_axis(node_name(original), original.op_type, _n_classes(original, source.opset, value.shape))
            endings[proto.output[0]] = Ending(node_name(original), original.op_type, family, value)
        return
    for name in proto.output:
        if known is not None and isinstance(values.get(name), Tensor):
            endings[name] = known.moved(graph, values[name])


def _n_classes(proto, opset, shape):
    """Return over how many entries a Softmax runs."""
    axis = OnnxNode(proto, opset, ()).attribute("axis", -1 if opset >= 13 else 1)
    rank = len(shape)
    if not -rank <= axis < max(rank, 1):
        return 0
    return int(np.prod(shape[axis % rank :], dtype=np.int64)) if opset < 13 else shape[axis]


@dataclass(frozen=True)
class _MissingOutput:
    """An output that no handler provides, such as the indices of a MaxPool."""

    node: str


# One node.


def _convert(node, graph):
    """Return the outputs of a node as a tuple: folded if no input depends on the network's input, else by its handler."""
    _check(node)
    if not any(isinstance(value, Tensor) for value in node.inputs):
        return tuple(node.evaluate(node.inputs))
    outputs = HANDLERS[node.op](node, graph)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _check(node):
    """Refuse a node without a handler, with the reason."""
    proto = node.proto
    if proto.domain not in STANDARD_DOMAINS:
        refuse(node.name, f"{proto.domain}.{node.op}", "which is not an operator of standard ONNX")
    for value in node.inputs:
        if isinstance(value, _MissingOutput):
            node.refuse(f"which reads a second output of node {value.node!r}; only first outputs are supported")
    if subgraphs(proto):
        node.refuse("which runs another graph repeatedly; export the network with its loops unrolled")
    if node.op in RANDOM:
        node.refuse("which is random; export the network for inference")
    depends = any(isinstance(value, Tensor) for value in node.inputs)
    if not depends or node.op in HANDLERS:
        return
    if node.op in STEPS:
        node.refuse("which is not continuous")
    node.refuse(None if node.op in CURVED.split() else "which is not supported")
