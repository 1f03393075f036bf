"""Evaluation of ONNX nodes on constants: by ONNX's reference implementation, in later opsets of it, or by onnxruntime."""

import numpy as np

from ...errors import ConversionError
from ..graph import refuse
from .node import OnnxNode, onnx_module
from .sizes import require_small_result

MISSING = ("No implementation", "not implemented", "NotImplementedError", "OpRunImplementationError")


def evaluate(node, values):
    """Evaluate a node on arrays.

    Parameters
    ----------
    node : OnnxNode
    values : sequence of ndarray or None
        One per input of the node.

    Returns
    -------
    list of ndarray
        One per output of the node.

    Raises
    ------
    ConversionError
        Nothing installed can evaluate it, or the values do not fit the operator.
    UnsupportedOperationError
        Weights are stored in a type of 8-bit floats.
    """
    require_small_result(node, values)
    if node.op == "DequantizeLinear":
        return [_dequantized(node, *values)]
    latest = onnx_module("defs").onnx_opset_version()
    reasons, shapes_fit = [], True
    attempts = [(_by_reference, node.opset), (_by_onnxruntime, node.opset)]
    attempts[1:1] = [(_by_reference, version) for version in range(node.opset + 1, latest + 1)]
    for run, opset in attempts:
        if reasons and run is _by_reference and not shapes_fit:
            continue
        try:
            with np.errstate(all="ignore"):
                return [np.asarray(value) for value in run(node, values, opset)]
        except Exception as error:
            reasons.append(f"{type(error).__name__}: {error}".strip().splitlines()[0][:160])
            shapes_fit = shapes_fit and (run is _by_onnxruntime or any(word in reasons[-1] for word in MISSING))
    if shapes_fit:
        raise ConversionError(
            f"node {node.name!r} is {node.op} of opset {node.opset} on constants, which neither onnx.reference ({reasons[0]}) "
            "nor onnxruntime can evaluate; fold the constants before export, or export in another opset"
        )
    shapes = [None if value is None else np.shape(value) for value in values]
    raise ConversionError(
        f"node {node.name!r} is {node.op} and can't be evaluated for inputs of shapes {shapes} ({reasons[0]}); "
        "check input_shape, or that the file is not damaged"
    )


def _model(node, values, opset, describe):
    helper = onnx_module("helper")
    feeds = {name: value for name, value in zip(node.proto.input, values) if name}
    outputs = [name for name in node.proto.output if name]
    graph = helper.make_graph([node.proto], "node", [describe(n, v) for n, v in feeds.items()], [describe(n) for n in outputs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), feeds


def _by_reference(node, values, opset):
    helper, double = onnx_module("helper"), onnx_module().TensorProto.DOUBLE
    model, feeds = _model(node, values, opset, lambda name, value=None: helper.make_tensor_value_info(name, double, None))
    return onnx_module("reference").ReferenceEvaluator(model).run(None, feeds)


def _by_onnxruntime(node, values, opset):
    import onnxruntime  # only where it is installed

    helper = onnx_module("helper")

    def describe(name, value=None):
        if value is None:
            return onnx_module().ValueInfoProto(name=name)
        kind = helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
        return helper.make_tensor_value_info(name, kind, np.shape(value))

    model, feeds = _model(node, values, opset, describe)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value) for name, value in feeds.items()})


def _dequantized(node, codes, scale, zero=None):
    """Return ``(codes - zero) * scale`` in float64: for the whole tensor, along an axis, or for blocks along it."""
    if "float8" in str(np.asarray(codes).dtype):
        refuse(node.name, node.op, f"of weights stored as {np.asarray(codes).dtype}; store them as integers or as float32")
    codes, scale = np.asarray(codes).astype(np.float64), np.asarray(scale, np.float64)
    zero = np.zeros(()) if zero is None else np.asarray(zero).astype(np.float64)
    axis, block = int(node.attribute("axis", 1)), int(node.attribute("block_size", 0) or 0)

    def spread(value):
        if value.size == 1:
            return value.reshape(())
        if block:
            return np.take(np.repeat(value, block, axis=axis), np.arange(codes.shape[axis]), axis=axis)
        return value.reshape([-1 if a == axis % codes.ndim else 1 for a in range(codes.ndim)])

    try:
        return (codes - spread(zero)) * spread(scale)
    except (ValueError, IndexError) as error:
        raise ConversionError(
            f"node {node.name!r} is DequantizeLinear of codes of shape {codes.shape} with scales of shape {scale.shape} along "
            f"axis {axis}; the scales must be one, or one per entry of that axis, check the file"
        ) from error


def fold_stored_weights(nodes, constants, opset):
    """Replace each DequantizeLinear of constants by its result, so that any evaluation of the graph has it in float64.

    Parameters
    ----------
    nodes : list of NodeProto
    constants : dict
        Arrays by name; the results are added.
    opset : int

    Returns
    -------
    list of NodeProto
        The other nodes.
    """
    makers = {name: node for node in nodes for name in node.output if node.op_type == "Constant"}
    kept = []
    for proto in nodes:
        if proto.op_type == "DequantizeLinear" and all(not n or n in constants or n in makers for n in proto.input):
            values = [_constant(name, constants, makers, opset) if name else None for name in proto.input]
            constants[proto.output[0]] = evaluate(OnnxNode(proto, opset, tuple(values)), values)[0]
        else:
            kept.append(proto)
    return kept


def _constant(name, constants, makers, opset):
    return constants[name] if name in constants else evaluate(OnnxNode(makers[name], opset, ()), [])[0]
