"""Small ONNX models for the tests: built from short descriptions of their nodes, evaluated by onnxruntime."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ONNX_TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}


def op(kind, inputs, output="y", **attributes):
    """A node; ``inputs`` and ``output`` are names separated by spaces, ``-`` for an absent one."""
    domain = attributes.pop("domain", "")
    names = ["" if name == "-" else name for name in inputs.split()]
    outputs = output.split()
    return helper.make_node(kind, names, outputs, name=f"{kind.lower()}_{outputs[0]}", domain=domain, **attributes)


def build(shape, *nodes, opset=17, output="y", constants=None, elem_type=TensorProto.FLOAT):
    """A model with input x of ``shape`` (None: no shape at all) and one output; lists are int64, arrays keep their "
    "type."""
    tensors = []
    for name, value in (constants or {}).items():
        array = np.asarray(value, np.int64 if isinstance(value, list) else None)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        tensors.append(numpy_helper.from_array(array, name))
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", elem_type, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in output.split()],
        tensors,
    )
    domains = {"", *(node.domain for node in nodes)}
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(d, opset) for d in sorted(domains)], ir_version=8)


def save(model, folder, name="net.onnx"):
    path = folder / name
    onnx.save(model, path)
    return path


def run(model, rows, shape):
    """Outputs [B, O] of onnxruntime for rows [B, D], each fed as one input of ``shape``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.array([session.run(None, {"x": row.reshape(shape).astype(np.float32)})[0].ravel() for row in rows])
