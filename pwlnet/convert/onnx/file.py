"""Reading of ONNX files: visit the nodes that the output depends on, fold constants, convert other nodes by handlers.

Nodes without a handler are refused by name, never dropped, with one exception that emits a warning: functions at the end of
a classifier that do not change its decision (`ends`).
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ..._optional import require
from ...errors import ConversionError, PwlnetWarning
from ..ends import add_end, drop_ends
from ..graph import Graph, Tensor, refuse
from .ends import normalised_axes
from .model import independent_output, open_model, prepared_model
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
        inputs = tuple(values[name] if name else None for name in proto.input)
        if proto.output[0] in source.ends.replaced and isinstance(inputs[0], Tensor):
            values[proto.output[0]] = _end(graph, source, OnnxNode(source.ends.replaced[proto.output[0]], source.opset, inputs))
            continue
        outputs = _convert(OnnxNode(proto, source.opset, inputs), graph)
        values.update((name, value) for name, value in zip(proto.output, outputs) if name)
        if len(outputs) < len(proto.output):
            values.update((name, _MissingOutput(node_name(proto))) for name in proto.output[len(outputs) :] if name)
    output = values[source.output]
    if not isinstance(output, Tensor):
        raise independent_output(path, source.output)
    graph.output = _without_ends(graph, source, output)
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


def source_forward_onnx(path, input_shape=None, outputs=None):
    """Return the function that an ONNX file computes, evaluated by ONNX's reference implementation or onnxruntime.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
    outputs : int, str, or sequence of them, optional
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
    model = open_model(path, input_shape, outputs)
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


def source_in_own_precision(path, input_shape=None, outputs=None):
    """Return a function that evaluates an ONNX file in its own precision, and what evaluates it.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
    outputs : int, str, or sequence of them, optional
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
    model, reasons = open_model(path, input_shape, outputs), []
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
    """Return the ModelProto of a file in its own precision, up to the output of ``model``."""
    return prepared_model(path, model.chosen, model.row_of, model.input)[0]


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
    if node.op in ("Softmax", "LogSoftmax", "Sigmoid"):
        node.refuse("which is not piecewise linear (it is dropped where nothing but moves of entries follows it)")
    node.refuse(None if node.op in CURVED.split() else "which is not supported")
