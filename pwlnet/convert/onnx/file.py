"""Reading of ONNX files: visit the nodes that the output depends on, fold constants, convert other nodes by handlers.

Nodes without a handler are refused by name, never dropped, with one exception that emits a warning: Softmax, LogSoftmax
and ArgMax at the end of the graph, since the order of the scores before them is the same.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ..._optional import require
from ...errors import ConversionError, PwlnetWarning
from ..graph import Graph, Tensor, refuse
from .model import independent_output, load_model, open_model
from .node import STANDARD_DOMAINS, OnnxNode, node_name, onnx_module
from .ops import HANDLERS
from .unnamed import affine

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
    for note in graph.needed_notes():
        warnings.warn(note, PwlnetWarning, stacklevel=4)
    return graph


def source_forward_onnx(path, input_shape=None):
    """Return the function that an ONNX file computes, evaluated by ONNX's reference implementation or onnxruntime.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
        As for ``read_onnx``.

    Returns
    -------
    OnnxSource or None
        A callable from rows float64[B, *input_shape] (or flattened) to outputs float64[B, O], the same tensor as that of
        ``read_onnx``. None, with a warning, if neither ONNX's reference implementation nor an installed onnxruntime can
        evaluate the file.

    Raises
    ------
    ConversionError, ShapeError, InputError
        As for ``read_onnx``.

    Warns
    -----
    PwlnetWarning
        Neither of them can evaluate the file.
    """
    model = open_model(path, input_shape)
    reasons = []
    for run, in_float64 in ((_run_reference, True), (_run_onnxruntime, False)):
        try:
            evaluate = run(path, model)
            evaluate(np.zeros(model.shape))
        except Exception as error:
            reasons.append(f"{type(error).__name__}: {error}".splitlines()[0][:100])
            continue
        return OnnxSource(evaluate, model.shape, in_float64)
    warnings.warn(
        f"{path} was converted, but not compared with its source: onnx.reference can't evaluate it ({reasons[0]}), nor "
        f"onnxruntime ({reasons[1]}); compare some outputs yourself, or install onnxruntime",
        PwlnetWarning,
        stacklevel=4,
    )
    return None


def source_in_own_precision(path, input_shape=None):
    """Return a function that evaluates an ONNX file in its own precision, and what evaluates it.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
        As for ``read_onnx``.

    Returns
    -------
    source : OnnxSource
    name : str
        What evaluates it: onnxruntime, or else ONNX's reference implementation.

    Raises
    ------
    ConversionError
        Neither of them can evaluate the file.
    """
    model, reasons = open_model(path, input_shape), []
    for run, name in ((_run_onnxruntime, "onnxruntime"), (_run_reference_as_is, "onnx.reference")):
        try:
            evaluate = run(path, model)
            kind = np.asarray(evaluate(np.zeros(model.shape))).dtype
        except Exception as error:
            reasons.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0][:100])
            continue
        return OnnxSource(evaluate, model.shape, False), f"{name} in {kind}"
    raise ConversionError(f"{path} can't be evaluated ({'; '.join(reasons)}); give a function that evaluates it")


@dataclass(frozen=True)
class OnnxSource:
    """The function that an ONNX file computes, callable on rows.

    Attributes
    ----------
    evaluate : callable
        From one input of ``shape`` to one output.
    shape : tuple of int
        The input shape of the file, batch axis included.
    in_float64 : bool
        Whether ONNX's reference implementation evaluates every node in float64; otherwise onnxruntime does, in the
        precision of the file.
    """

    evaluate: object
    shape: tuple
    in_float64: bool

    def __call__(self, rows):
        """Evaluate rows float64[B, ...] one at a time; outputs float64[B, O]."""
        rows = np.asarray(rows, np.float64)
        outputs = [np.ravel(self.evaluate(row.reshape(self.shape))) for row in rows]
        return np.array(outputs, np.float64).reshape(len(rows), -1)


def _run_reference(path, model):
    """Return a function that evaluates ``model`` in float64 by ONNX's reference implementation.

    Pools whose sizes or divisors at the edges differ from those of PyTorch and onnxruntime are refused.
    """
    onnx, helper = onnx_module(), onnx_module("helper")
    for proto in model.nodes:
        if proto.op_type in ("MaxPool", "AveragePool"):
            node = OnnxNode(proto, model.opset, ())
            uneven = len(set(node.attribute("pads") or ())) > 1
            if uneven or node.attribute("ceil_mode", 0) or node.attribute("auto_pad").startswith("SAME"):
                raise NotImplementedError(f"{node.op} with ceil_mode, auto_pad or uneven pads")

    def describe(name):
        return helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None)

    constants = [onnx.numpy_helper.from_array(value, name) for name, value in model.constants.items()]
    graph = helper.make_graph(model.nodes, "source", [describe(model.input)], [describe(model.output)], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", model.opset)])
    evaluator = onnx_module("reference").ReferenceEvaluator(proto)
    return lambda x: evaluator.run(None, {model.input: x})[0]


def _with_output(path, model):
    """Return the ModelProto of a file, up to the output of ``model``."""
    proto = load_model(path)
    if proto.graph.output[0].name != model.output:
        proto.graph.output[0].CopyFrom(type(proto.graph.output[0])(name=model.output))
    return proto


def _run_reference_as_is(path, model):
    """Return a function that evaluates the file up to the output of ``model`` by ONNX's reference implementation."""
    proto = _with_output(path, model)
    evaluator, onnx = onnx_module("reference").ReferenceEvaluator(proto), onnx_module()
    kind = next(value.type.tensor_type.elem_type for value in proto.graph.input if value.name == model.input)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    return lambda x: evaluator.run(None, {model.input: x.astype(dtype)})[0]


def _run_onnxruntime(path, model):
    """Return a function that evaluates the file up to the output of ``model`` by onnxruntime."""
    runtime = require("onnxruntime", "test", "evaluating this file")
    proto = _with_output(path, model)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kind = next(value.type for value in session.get_inputs() if value.name == model.input)
    dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(kind, np.float32)
    return lambda x: session.run([model.output], {model.input: x.astype(dtype)})[0]


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
    outputs = HANDLERS.get(node.op, affine)(node, graph)
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
    if node.op in CURVED.split():
        node.refuse()
