"""Reading of ONNX files: visit the nodes that the output depends on, fold constants, convert other nodes by handlers.

Nodes without a handler are refused by name, never dropped, with one exception that emits a warning: functions at the end of
a classifier that do not change its decision (`ends`).
"""

import warnings
from dataclasses import dataclass

from ...errors import ConversionError, PwlnetError, PwlnetWarning
from ..ends import add_end, drop_ends
from ..graph import Graph, Tensor, refuse
from ..piecewise import Piecewise, is_activation
from .branches import subgraphs, take_branch, unroll
from .ends import normalised_axes
from .model import array_of, independent_output, open_model
from .node import STANDARD_DOMAINS, OnnxNode, node_name
from .ops import HANDLERS
from .selection import OF_PIECES, as_tensor
from .unnamed import affine
from .validity import require_valid, shown, unfit

_OF_NUMPY = (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError)  # for shapes and numbers in a damaged file
RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
STEPS = ("Floor", "Ceil", "Round", "Hardmax", "ArgMax", "ArgMin", "NonZero", "Unique", "Mod", "BitShift")
QUANTISED = [
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
]
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
    outputs : int, str, or sequence of them, optional
        Which of several outputs; several are flattened and joined.

    Returns
    -------
    Graph
        An input of rank 2 or more whose first dimension is 1 or open has a batch axis; so has one of several rows if the file
        has an operator that takes them as a batch (Gemm, Conv, ...) and computes each row alone. Any other input, such as [5]
        or [2, 2], is one input as a whole, unless ``input_shape`` says that its first dimension is a batch.

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
        A function at the end was dropped, or the file was exported for several rows and is converted for one.
    """
    source = open_model(path, input_shape, outputs)
    if source.row_of is not None and input_shape is None:
        whole = (source.row_of, *source.shape[1:])
        warnings.warn(
            f"{path} was exported for a batch of {source.row_of}; the network takes one row, pass input_shape={whole} for one "
            "that takes all rows as one input",
            PwlnetWarning,
            stacklevel=4,
        )
    graph = Graph(source.shape, batched=source.batched)
    values = dict(source.constants)
    values[source.input] = graph.input
    for proto in source.nodes:
        first = values[proto.input[0]] if proto.input and proto.input[0] else None
        if proto.output[0] in source.ends.replaced and is_activation(first):
            node = OnnxNode(source.ends.replaced[proto.output[0]], source.opset, (as_tensor(first),))
            values[proto.output[0]] = _end(graph, source, node)
        else:
            _convert_nodes([proto], values, source.opset, graph)
    output = as_tensor(values[source.output])
    if not isinstance(output, Tensor):
        raise independent_output(path, source.output)
    graph.output = _without_ends(graph, source, output)
    for note in graph.needed_notes():
        warnings.warn(note, PwlnetWarning, stacklevel=4)
    return graph


def _end(graph, source, node):
    """Return the logits in place of the result of a function at the end; the logarithm of one is no new end."""
    if node.op == "Log":
        return node.inputs[0]
    axes = normalised_axes(node, len(node.inputs[0].shape))
    return add_end(graph, node.inputs[0], axes, name=node.name, kind=node.op).tensor


def _without_ends(graph, source, output):
    """Return the output after a check that what was dropped at the end does not change the decision, with a warning."""
    for proto in source.ends.cut[-1:]:
        node = OnnxNode(proto, source.opset, (output,))
        axes = normalised_axes(node, len(output.shape))
        output = add_end(graph, output, axes, name=node.name, kind=node.op, indices=True).tensor
    if graph.ends:
        warnings.warn(drop_ends(graph, output), PwlnetWarning, stacklevel=5)
    return output


@dataclass(frozen=True)
class _MissingOutput:
    """An output that no handler provides, such as the indices of a MaxPool."""

    node: str


# Nodes.


def _convert_nodes(nodes, values, opset, graph):
    """Convert nodes in their order, and add their outputs to ``values``."""
    for proto in nodes:
        missing = next((name for name in proto.input if name and name not in values), None)
        if missing is not None:
            raise ConversionError(
                f"node {node_name(proto)!r} reads {missing!r}, which no node before it makes; the file is damaged"
            )
        node = OnnxNode(proto, opset, tuple(values[name] if name else None for name in proto.input))
        try:
            outputs = _convert_subgraphs(node, values, graph) if subgraphs(proto) else _convert(node, graph)
        except PwlnetError:
            raise
        except _OF_NUMPY as error:
            raise unfit(node, error) from error
        values.update((name, value) for name, value in zip(proto.output, outputs) if name)
        if len(outputs) < len(proto.output):
            values.update((name, _MissingOutput(node_name(proto))) for name in proto.output[len(outputs) :] if name)


def _convert_subgraphs(node, values, graph):
    """Convert an If or a Loop with a condition and a number of turns that are known."""

    def convert(nodes, scope):
        _convert_nodes(nodes, scope, node.opset, graph)

    def constants_of(body):
        return {tensor.name: array_of(tensor, f"node {node.name!r}") for tensor in body.initializer}

    if node.op in ("If", "Loop"):
        _check(node)
        require_valid(node)
    if node.op == "If":
        return take_branch(node, values, constants_of, convert)
    if node.op == "Loop":
        return unroll(node, graph, values, constants_of, convert)
    node.refuse("a control-flow operator; export the network with its loops unrolled")


def _convert(node, graph):
    """Return the outputs of a node as a tuple: folded if no input depends on the network's input, else by its handler."""
    _check(node)
    if not any(is_activation(value) for value in node.inputs):
        return tuple(node.evaluate(node.inputs))
    require_valid(node)
    pieces = any(isinstance(value, Piecewise) for value in node.inputs)
    if pieces and node.op in OF_PIECES:
        outputs = OF_PIECES[node.op](node, graph)
    else:
        outputs = HANDLERS.get(node.op, affine)(node.with_inputs(map(as_tensor, node.inputs)) if pieces else node, graph)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _check(node):
    """Refuse a node without a handler, with the reason."""
    proto = node.proto
    if proto.domain not in STANDARD_DOMAINS:
        refuse(node.name, shown(f"{proto.domain}.{node.op}"), "which is not an operator of standard ONNX")
    for value in node.inputs:
        if isinstance(value, _MissingOutput):
            node.refuse(f"which reads a second output of node {value.node!r}; only first outputs are supported")
    if node.op in RANDOM:
        node.refuse("which is random; export the network for inference")
    depends = any(is_activation(value) for value in node.inputs)
    if not depends or node.op in HANDLERS:
        return
    if node.op in QUANTISED:
        node.refuse("which is quantised: it rounds, so it jumps; export the network before quantisation")
    if node.op in STEPS:
        node.refuse("which jumps, so it is not continuous")
    if node.op in ("Softmax", "LogSoftmax", "Sigmoid"):
        node.refuse("which is not piecewise linear (it is dropped where nothing but moves of entries follows it)")
    if node.op in CURVED.split():
        node.refuse()
