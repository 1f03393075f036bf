"""ONNX files exported for a fixed batch of several rows: the same file for one row, where its rows are independent."""

import math

import numpy as np

from ...tolerances import SINGLE_ROUNDOFF
from .node import onnx_module

SHAPED = ("Reshape", "Expand")
_ROWS, _MOST_ENTRIES = 32, 2**24  # rows that are compared, all where there are fewer; entries of a batch
_SAME = 2.0**14 * SINGLE_ROUNDOFF  # relative difference of rows that is rounding of a file in float32
BATCHED = frozenset(  # the first axis of their input is a batch by definition
    (
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalMaxPool",
        "GlobalAveragePool",
        "BatchNormalization",
        "Gemm",
        "Flatten",
    )
)


def has_batch_operators(model):
    """Return whether an operator of a model takes its first axis as a batch by definition."""
    return any(node.op_type in BATCHED for node in model.graph.node)


def to_one_row(model, name, batch):
    """Rewrite a model for a batch of one: its input ``name``, and shapes that begin with ``batch``; change it in place."""
    graph, numpy_helper = model.graph, onnx_module("numpy_helper")
    value = next(value for value in graph.input if value.name == name)
    value.type.tensor_type.shape.dim[0].dim_value = 1
    del graph.value_info[:]
    for output in graph.output:
        output.CopyFrom(type(output)(name=output.name))
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for node in graph.node:
        if node.op_type not in SHAPED or len(node.input) < 2 or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]])
        if shape.ndim == 1 and shape.size and shape[0] == batch:
            row = f"{node.output[0]}_row_shape"
            graph.initializer.append(numpy_helper.from_array(np.concatenate([[1], shape[1:]]).astype(np.int64), row))
            node.input[1] = row


def rows_are_independent(whole, single, name, shape):
    """Return whether a model gives for a batch what its form for one row gives for each row (of many, 32 are tried).

    Parameters
    ----------
    whole, single : ModelProto
    name : str
        Of the input.
    shape : tuple of int
        Of the batch.
    """
    if math.prod(shape) > _MOST_ENTRIES:
        return False
    rows = np.random.default_rng(0).standard_normal(shape)
    chosen = np.unique(np.linspace(0, len(rows) - 1, _ROWS).astype(np.int64))
    try:
        together = _evaluate(whole, name, rows)
        alone = [_evaluate(single, name, rows[k : k + 1]) for k in chosen]
    except Exception:
        return False
    if together.shape[:1] != shape[:1] or any(one.shape != (1, *together.shape[1:]) for one in alone):
        return False
    difference = np.abs(together[chosen] - np.concatenate(alone)).max(initial=0.0)
    return bool(difference <= _SAME * np.abs(together).max(initial=0.0))


def _evaluate(model, name, x):
    """Return the output of a model, by onnxruntime where it is installed and takes the model, else by onnx.reference."""
    kind = next(value.type.tensor_type.elem_type for value in model.graph.input if value.name == name)
    x = x.astype(onnx_module("helper").tensor_dtype_to_np_dtype(kind))
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {name: x})[0], np.float64)
    except Exception:
        return np.asarray(onnx_module("reference").ReferenceEvaluator(model).run(None, {name: x})[0], np.float64)
