"""Who evaluates an ONNX file: ONNX's reference implementation in float64, and onnxruntime in the precision of the file."""

import numpy as np

from ..._optional import require
from ...errors import ConversionError
from ...tolerances import DEFAULT
from ..check import Referee
from .model import load_model, open_model, pass_on
from .node import OnnxNode, onnx_module


def referees(path, model):
    """Return the referees of a file as a list of `Referee`, the more exact one first.

    Parameters
    ----------
    path : str or Path
    model : OnnxModel
        Of the same file.
    """
    return [
        Referee("onnx.reference in float64", _Lazy(_reference, path, model), DEFAULT.conversion),
        Referee("onnxruntime", _Lazy(_onnxruntime, path, model), DEFAULT.conversion_single),
    ]


def source_in_own_precision(path, input_shape=None):
    """Return a function that evaluates an ONNX file in its own precision, and what evaluates it.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
        As for ``read_onnx``.

    Returns
    -------
    source : callable
        Rows float64[B, *input_shape] to outputs float64[B, O].
    name : str
        What evaluates it: onnxruntime, or else ONNX's reference implementation.

    Raises
    ------
    ConversionError
        Neither of them can evaluate the file.
    """
    model, reasons = open_model(path, input_shape), []
    for run, name in ((_onnxruntime, "onnxruntime"), (_reference_as_is, "onnx.reference")):
        try:
            evaluate = run(path, model)
            kind = np.asarray(evaluate(np.zeros(model.shape))[0]).dtype
        except Exception as error:
            reasons.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0][:100])
            continue
        return _by_rows(evaluate, model.shape), f"{name} in {kind}"
    raise ConversionError(f"{path} can't be evaluated ({'; '.join(reasons)}); give a function that evaluates it")


class _Lazy:
    """Rows float64[B, ...] to outputs float64[B, O]; the evaluator is made at the first call."""

    def __init__(self, make, path, model):
        self.make, self.path, self.model = make, path, model

    def __call__(self, rows):
        return _by_rows(self.make(self.path, self.model), self.model.shape)(rows)


def _by_rows(evaluate, shape):
    """Return a function of rows, one at a time; several outputs are flattened and joined."""

    def run(rows):
        rows = np.asarray(rows, np.float64)
        found = [np.concatenate([np.ravel(part) for part in evaluate(row.reshape(shape))]) for row in rows]
        return np.array(found, np.float64).reshape(len(rows), -1)

    return run


def _reference(path, model):
    """Return a function that evaluates ``model`` in float64 by ONNX's reference implementation.

    Pools whose sizes or divisors at the edges differ from those of PyTorch and onnxruntime are refused. Batch normalization of
    opsets 9 to 13, where the reference implementation uses statistics of the batch, is evaluated here.
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
    graph = helper.make_graph(model.nodes, "source", [describe(model.input)], [describe(o) for o in model.outputs], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", model.opset)])
    corrected = [_batch_normalization()] if model.opset < 14 else None
    evaluator = onnx_module("reference").ReferenceEvaluator(proto, new_ops=corrected)
    return lambda x: evaluator.run(None, {model.input: x})


def _batch_normalization():
    """Return the operator with running statistics, as a class for ONNX's reference implementation."""

    class BatchNormalization(onnx_module("reference.op_run").OpRun):
        def _run(self, x, scale, bias, mean, variance, epsilon=None, **_):
            if mean.ndim == 1:
                tail = (1,) * (x.ndim - 2)
                scale, bias, mean, variance = (a.reshape(a.shape + tail) for a in (scale, bias, mean, variance))
            factor = scale / np.sqrt(variance + epsilon)
            return (x * factor + (bias - mean * factor),)

    return BatchNormalization


def _with_outputs(path, model):
    """Return the ModelProto of a file up to the outputs of ``model``, without the functions dropped at the end."""
    proto = load_model(path)
    for node in proto.graph.node:
        if node.output and node.output[0] in model.bypassed:
            pass_on(node)
    if [value.name for value in proto.graph.output] != list(model.outputs):
        kind = type(proto.graph.output[0])
        del proto.graph.output[:]
        proto.graph.output.extend(kind(name=name) for name in model.outputs)
    return proto


def _reference_as_is(path, model):
    """Return a function that evaluates the file up to the outputs of ``model`` by ONNX's reference implementation."""
    proto = _with_outputs(path, model)
    evaluator, onnx = onnx_module("reference").ReferenceEvaluator(proto), onnx_module()
    kind = next(value.type.tensor_type.elem_type for value in proto.graph.input if value.name == model.input)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    return lambda x: evaluator.run(None, {model.input: x.astype(dtype)})


def _onnxruntime(path, model):
    """Return a function that evaluates the file up to the outputs of ``model`` by onnxruntime."""
    runtime = require("onnxruntime", "test", "evaluating this file")
    proto = _with_outputs(path, model)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL  # some fusions round to 8 bits
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kind = next(value.type for value in session.get_inputs() if value.name == model.input)
    dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(kind, np.float32)
    return lambda x: session.run(list(model.outputs), {model.input: x.astype(dtype)})
