"""Evaluators of ONNX files that are not ours: ONNX's reference implementation in float64, and onnxruntime.

None is trusted alone (`convert.check`). Faults of the reference implementation that are known are avoided: BatchNormalization
of opsets 6 to 13 normalises with statistics of its input, so that of opset 14 replaces it; some pools have other sizes
or divisors at the edges than those of PyTorch and onnxruntime, so files with these are not evaluated by it.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..._optional import require
from ...errors import ConversionError
from ...tolerances import SINGLE_ROUNDOFF, UNIT_ROUNDOFF
from ..check import Referee
from .model import load_model, open_model, prepared_model
from .node import OnnxNode, onnx_module

_ROUNDOFF = {np.dtype(np.float64): UNIT_ROUNDOFF, np.dtype(np.float16): 2.0**-11}
_NOT_WEIGHTS = ("Resize", "Upsample", "Clip", "Pad", "Range", "DequantizeLinear", "QuantizeLinear")


def referees(path, input_shape=None, outputs=None):
    """Return what evaluates an ONNX file independently of its conversion, the most precise first.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int, optional
    outputs : int, str, or sequence of them, optional
        As for ``read_onnx``.

    Returns
    -------
    iterator of Referee
        onnx.reference in float64, then onnxruntime in the file's precision. One that cannot evaluate the file raises when
        it is called.

    Raises
    ------
    ConversionError, ShapeError, InputError
        As for ``read_onnx``.
    """
    model = open_model(path, input_shape, outputs)
    yield Referee(
        "onnx.reference in float64",
        _Lazy(lambda: _run_reference(model), model.shape),
        perturbed=lambda size, rng: OnnxSource(_run_reference(_perturbed(model, size, rng)), model.shape),
    )
    kind = _input_dtype(path, model)
    name = f"onnxruntime in {kind}"
    yield Referee(name, _Lazy(lambda: _run_onnxruntime(path, model), model.shape), _ROUNDOFF.get(kind, SINGLE_ROUNDOFF))


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
        return OnnxSource(evaluate, model.shape), f"{name} in {kind}"
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
    """

    evaluate: object
    shape: tuple

    def __call__(self, rows):
        """Evaluate rows float64[B, ...] one at a time; outputs float64[B, O]."""
        rows = np.asarray(rows, np.float64)
        outputs = [np.ravel(self.evaluate(row.reshape(self.shape))) for row in rows]
        return np.array(outputs, np.float64).reshape(len(rows), -1)


class _Lazy:
    """An OnnxSource that is made by the first call."""

    def __init__(self, make, shape):
        self.make, self.shape, self.source = make, shape, None

    def __call__(self, rows):
        if self.source is None:
            self.source = OnnxSource(self.make(), self.shape)
        return self.source(rows)


def _run_reference(model):
    """Return a function that evaluates an OnnxModel in float64 by ONNX's reference implementation."""
    onnx, helper = onnx_module(), onnx_module("helper")
    for proto in model.nodes:
        if proto.op_type in ("MaxPool", "AveragePool"):
            node = OnnxNode(proto, model.opset, ())
            uneven = len(set(node.attribute("pads") or ())) > 1
            if uneven or node.attribute("ceil_mode", 0) or node.attribute("auto_pad").startswith("SAME"):
                raise NotImplementedError(f"{node.op} with ceil_mode, auto_pad or uneven pads is known to be wrong in it")

    def describe(name):
        return helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None)

    constants = [onnx.numpy_helper.from_array(value, name) for name, value in model.constants.items()]
    graph = helper.make_graph(model.nodes, "source", [describe(model.input)], [describe(model.output)], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", model.opset)])
    new_ops = [_inference_batch_norm()] if model.opset < 14 else None
    evaluator = onnx_module("reference").ReferenceEvaluator(proto, new_ops=new_ops)
    return lambda x: evaluator.run(None, {model.input: x})[0]


def _inference_batch_norm():
    """Return BatchNormalization as all opsets before 14 define it for inference, as an op of the reference implementation."""

    class BatchNormalization(onnx_module("reference.op_run").OpRun):
        op_domain = ""

        def _run(self, x, scale, bias, mean, variance, *, epsilon=None, **_):
            tail = () if np.ndim(scale) > 1 else (1,) * (x.ndim - 2)
            scale, bias, mean, variance = (a.reshape(a.shape + tail) for a in (scale, bias, mean, variance))
            return ((x - mean) * (scale / np.sqrt(variance + epsilon)) + bias,)

    return BatchNormalization


def _perturbed(model, size, rng):
    """Return an OnnxModel whose weights are perturbed by a relative size."""
    kept = {name for node in model.nodes if node.op_type in _NOT_WEIGHTS for name in node.input}

    def changed(name, value):
        if name in kept or value.dtype != np.float64:
            return value
        return value * (1.0 + size * np.sqrt(12.0) * (rng.random(value.shape) - 0.5))

    return replace(model, constants={name: changed(name, value) for name, value in model.constants.items()})


def _input_dtype(path, model):
    kinds = {value.name: value.type.tensor_type.elem_type for value in load_model(path).graph.input}
    return np.dtype(onnx_module("helper").tensor_dtype_to_np_dtype(kinds[model.input]))


def _with_output(path, model):
    """Return the ModelProto of a file, up to the output of ``model``."""
    return prepared_model(path, model.chosen, model.row_of, model.input)[0]


def _run_reference_as_is(path, model):
    """Return a function that evaluates the file up to the output of ``model`` by ONNX's reference implementation."""
    evaluator = onnx_module("reference").ReferenceEvaluator(_with_output(path, model))
    dtype = _input_dtype(path, model)
    return lambda x: evaluator.run(None, {model.input: x.astype(dtype)})[0]


def _run_onnxruntime(path, model):
    """Return a function that evaluates the file up to the output of ``model`` by onnxruntime."""
    runtime = require("onnxruntime", "test", "evaluating this file")
    proto = _with_output(path, model)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL  # some fusions round to 8 bits
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kind = next(value.type for value in session.get_inputs() if value.name == model.input)
    dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(kind, np.float32)
    return lambda x: session.run([model.output], {model.input: x.astype(dtype)})[0]
