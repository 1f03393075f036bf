"""Reading of ONNX files: visit the nodes that the output depends on, fold constants, convert other nodes by handlers.

Nodes without a handler are refused by name, never dropped, with one exception that emits a warning: Softmax, LogSoftmax
and ArgMax at the end of the graph, since the order of the scores before them is the same.
"""

import warnings
from dataclasses import dataclass

from ...errors import PwlnetWarning
from ..graph import Graph, Tensor, refuse
from .model import independent_output, open_model
from .node import STANDARD_DOMAINS, OnnxNode, node_name
from .ops import HANDLERS

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
STEPS = ("Sign", "Floor", "Ceil", "Round", "ThresholdedRelu", "Shrink", "Hardmax", "Greater", "Less", "Equal", "TopK")
CURVED = (
    "Sigmoid Tanh Exp Log Sqrt Pow Reciprocal Erf Gelu Elu Selu Celu Softplus Softsign HardSwish Mish Swish Softmax "
    "LogSoftmax Sin Cos Tan Sinh Cosh Asin Acos Atan Asinh Acosh Atanh LRN LpNormalization LayerNormalization "
    "InstanceNormalization GroupNormalization MeanVarianceNormalization RMSNormalization ReduceL2 ReduceSumSquare "
    "ReduceLogSum ReduceLogSumExp ReduceProd LSTM GRU RNN Attention"
)


def read_onnx(path, input_shape=None):
    """Read an ONNX file into a neutral graph.

    Exact up to rounding: every weight is converted to the equal float64.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
        Shape of one input without the batch axis; needed if the file leaves dimensions open.

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
        A Softmax, LogSoftmax or ArgMax at the end was dropped.
    """
    source = open_model(path, input_shape)
    for proto in source.dropped:
        warnings.warn(
            f"node {node_name(proto)!r} is {proto.op_type} at the end of {path} and was dropped; the network's "
            f"outputs are the scores {source.output!r} before it",
            PwlnetWarning,
            stacklevel=4,
        )
    graph = Graph(source.shape, batched=source.batched)
    values = dict(source.constants)
    values[source.input] = graph.input
    for proto in source.nodes:
        inputs = tuple(values[name] if name else None for name in proto.input)
        outputs = _convert(OnnxNode(proto, source.opset, inputs), graph)
        values.update((name, value) for name, value in zip(proto.output, outputs) if name)
        if len(outputs) < len(proto.output):
            values.update((name, _MissingOutput(node_name(proto))) for name in proto.output[len(outputs) :] if name)
    output = values[source.output]
    if not isinstance(output, Tensor):
        raise independent_output(path, source.output)
    graph.output = output
    return graph


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
    if any(a.HasField("g") or a.graphs for a in proto.attribute):
        node.refuse("a control-flow operator; export the network without branches and loops")
    if node.op in RANDOM:
        node.refuse("which is random; export the network for inference")
    depends = any(isinstance(value, Tensor) for value in node.inputs)
    if not depends or node.op in HANDLERS:
        return
    if node.op in STEPS:
        node.refuse("which is not continuous")
    node.refuse(None if node.op in CURVED.split() else "which is not supported")
