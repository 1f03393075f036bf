"""An ONNX file before conversion: loaded, validated, reduced to what the output depends on, all floats as float64."""

import copy
import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ConversionError, InputError, ShapeError
from ..choice import choose
from .branches import reads, subgraphs
from .node import STANDARD_DOMAINS, float_types, node_name, onnx_module

ENDINGS = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid", "ArgMax": "argmax", "Hardmax": "argmax"}
INCREASING = ("Log", "Exp")  # they may follow a Softmax or Sigmoid at the end
RESHAPES = ("Identity", "Cast", "Dropout", "Squeeze", "Unsqueeze", "Flatten", "Reshape")
MOVES = (*RESHAPES, "Transpose", "Slice", "Gather", "Split")  # they may follow it, too, and stay in force


@dataclass(frozen=True)
class OnnxModel:
    """A prepared ONNX graph: float64 constants, sorted nodes, one input, the chosen outputs.

    Attributes
    ----------
    outputs : tuple of str
        The tensors to compute: where an ArgMax was dropped, its input.
    dropped : list of NodeProto
        Softmax, Sigmoid and ArgMax at the end, as in the file.
    bypassed : frozenset of str
        The first outputs of nodes that ``nodes`` has as Identity instead.
    """

    opset: int
    constants: dict
    nodes: list
    input: str
    shape: tuple
    batched: bool
    outputs: tuple
    dropped: list
    bypassed: frozenset


def open_model(path, input_shape, outputs=None):
    """Load a file and determine the shape of its input, its constants, and the nodes that its output depends on.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int or None
        Shape of one input without the batch axis.
    outputs : tuple of int or str, optional
        Which outputs of several.

    Returns
    -------
    OnnxModel
    """
    model = load_model(path)
    graph = model.graph
    constants = _constants(path, graph)
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    chosen = _chosen(path, graph, outputs)
    producers = {name: node for node in graph.node for name in node.output if name}
    endings = [_without_ending(name, producers) for name in chosen]
    found = tuple(name for name, _, _ in endings)
    dropped = [node for _, nodes, _ in endings for node in nodes]
    bypassed = frozenset(name for _, _, names in endings for name in names)
    nodes, used = _needed(path, graph, found, producers, constants, inputs)
    if len(used) > 1:
        names = ", ".join(repr(name) for name in used)
        raise ConversionError(f"{path} has {len(used)} inputs ({names}); a network needs one, make the others constants")
    if not used:
        raise independent_output(path, found[0])
    shape, batched = _input_shape(path, inputs[used[0]], input_shape)
    read = {name for node in nodes for name in reads(node)}
    constants = {name: value for name, value in constants.items() if name in read}
    _require_finite(path, constants)
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    dropped = [copy.deepcopy(node) for node in dropped]
    for node in nodes:
        if node.output[0] in bypassed:
            pass_on(node)
        _node_to_float64(node)
    return OnnxModel(max(versions), constants, nodes, used[0], shape, batched, found, dropped, bypassed)


def pass_on(node):
    """Make a node return its first input."""
    node.op_type = "Identity"
    del node.attribute[:]
    del node.input[1:]


def _chosen(path, graph, outputs):
    """Return the names of the chosen outputs of a file."""
    shown = {value.name: value.name for value in graph.output}
    if len(shown) > 1 and outputs is None:
        names = ", ".join(map(repr, shown))
        raise ConversionError(f"{path} has {len(shown)} outputs ({names}); choose one, such as outputs={next(iter(shown))!r}")
    if not shown:
        raise ConversionError(f"{path} has no outputs; a network needs one, export it again")
    return choose(shown, outputs, str(path), lambda name: f"rank {_rank(graph, name)}")


def _rank(graph, name):
    return next(len(value.type.tensor_type.shape.dim) for value in graph.output if value.name == name)


# The file.


def load_model(path):
    """Return the ModelProto of a file with its external data, its local functions inlined."""
    onnx = onnx_module()
    try:
        model = onnx.load_model_from_string(Path(path).read_bytes())
    except Exception as error:  # protobuf's DecodeError is not public
        text = str(getattr(error, "strerror", None) or error)
        raise ConversionError(f"{path} is not a readable ONNX file ({text}); check the path, or export it again") from error
    if not model.HasField("graph") or not any(e.domain in STANDARD_DOMAINS for e in model.opset_import):
        missing = "an operator set" if model.HasField("graph") else "a graph"
        raise ConversionError(
            f"{path} is not a readable ONNX file (it is empty or damaged, without {missing}); check the path, or "
            "export it again"
        )
    try:
        onnx_module("external_data_helper").load_external_data_for_model(model, str(Path(path).parent))
    except Exception as error:
        raise ConversionError(
            f"{path} keeps weights in another file that can't be read ({error}); put that file beside it"
        ) from error
    return onnx_module("inliner").inline_local_functions(model) if model.functions else model


def _constants(path, graph):
    """Return the initializers, floats as float64."""
    if graph.sparse_initializer:
        raise ConversionError(f"{path} has sparse initializers, which are not supported; save dense weights")
    return {tensor.name: _array(path, tensor) for tensor in graph.initializer}


def _require_finite(path, constants):
    """Refuse weights that are not finite; a scalar may be infinite, such as the bound of a Clip."""
    for name, value in constants.items():
        bad = np.isnan(value) | (np.isinf(value) & (value.size > 1)) if value.dtype == np.float64 else np.zeros(1, bool)
        if bad.any():
            raise InputError(
                f"initializer {name!r} of {path} has {int(bad.sum())} entries that are not finite; a network needs "
                "finite weights, check how it was trained or saved"
            )


def _array(path, tensor):
    try:
        value = onnx_module("numpy_helper").to_array(tensor)
    except Exception as error:
        raise ConversionError(
            f"initializer {tensor.name!r} of {path} can't be read ({error}); the file is damaged, export it again"
        ) from error
    return value.astype(np.float64) if tensor.data_type in float_types() else value


def _node_to_float64(node):
    """Convert the constants and types of a node to float64."""
    onnx = onnx_module()
    double, numpy_helper = onnx.TensorProto.DOUBLE, onnx_module("numpy_helper")
    for graph in subgraphs(node):
        for tensor in graph.initializer:
            if tensor.data_type in float_types():
                tensor.CopyFrom(numpy_helper.from_array(_array(node_name(node), tensor), tensor.name))
        for inner in graph.node:
            _node_to_float64(inner)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in float_types():
            attribute.t.CopyFrom(numpy_helper.from_array(_array(node_name(node), attribute.t)))
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            value = np.float64(attribute.f) if attribute.name == "value_float" else np.array(attribute.floats, np.float64)
            attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(np.asarray(value))))
        elif attribute.name in ("to", "dtype") and attribute.i in float_types():
            attribute.i = double
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(onnx.helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))


# Which nodes, in which order.


def _without_ending(output, producers):
    """Find a Softmax, Sigmoid or ArgMax that only moves of entries follow.

    Returns
    -------
    output : str
        What to compute instead: ``output``, or the input of an ArgMax.
    dropped : list of NodeProto
    bypassed : list of str
        First outputs of the nodes to replace by Identity.
    """
    dropped, bypassed, name, passed = [], [], output, []
    while name in producers:
        node = producers[name]
        family = ENDINGS.get(node.op_type) if node.domain in STANDARD_DOMAINS else None
        if family == "argmax":
            if not all(op in RESHAPES for op in passed):
                break
            dropped.append(node)
            output, bypassed = node.input[0], []
        elif family is not None:
            dropped.append(node)
            bypassed.append(name)
        elif node.op_type in INCREASING and _is_ending(producers.get(node.input[0])):
            bypassed.append(name)
        elif node.op_type not in MOVES or node.domain not in STANDARD_DOMAINS:
            break
        passed.append(node.op_type)
        name = node.input[0]
    return output, dropped, bypassed


def _is_ending(node):
    return node is not None and ENDINGS.get(node.op_type, "argmax") != "argmax"


def _needed(path, graph, outputs, producers, constants, inputs):
    """Return the nodes that the outputs depend on in topological order, and the graph inputs that they read."""
    seen, used, stack = set(), [], [(output, "the graph's output") for output in outputs]
    while stack:
        name, reader = stack.pop()
        if not name or name in seen or name in constants:
            continue
        seen.add(name)
        if name in producers:
            stack.extend((read, f"node {node_name(producers[name])!r}") for read in reversed(reads(producers[name])))
        elif name in inputs:
            used.append(name)
        else:
            raise ConversionError(f"{reader} of {path} reads {name!r}, which nothing makes; the file is damaged")
    nodes = [node for node in graph.node if seen.intersection(node.output)]
    return _sorted(path, nodes, {"", *constants, *used}), sorted(used, key=list(inputs).index)


def _sorted(path, nodes, ready):
    """Return nodes in topological order, otherwise in the order of the file."""
    readers, waiting = {}, {}
    for k, node in enumerate(nodes):
        missing = set(reads(node)) - ready
        waiting[k] = len(missing)
        for name in missing:
            readers.setdefault(name, []).append(k)
    free = [k for k, count in waiting.items() if not count]  # sorted, hence a heap
    ordered = []
    while free:
        node = nodes[heapq.heappop(free)]
        ordered.append(node)
        for name in node.output:
            for k in readers.pop(name, ()):
                waiting[k] -= 1
                if not waiting[k]:
                    heapq.heappush(free, k)
    if len(ordered) < len(nodes):
        stuck = nodes[min(k for k, count in waiting.items() if count)]
        raise ConversionError(f"node {node_name(stuck)!r} of {path} reads its own output; the file is damaged")
    return ordered


def independent_output(path, output):
    """Return the error for an output that is a constant."""
    return ConversionError(
        f"{path} has output {output!r}, which does not depend on its input; a network's output must, check the export"
    )


# The input.


def _input_shape(path, value, requested):
    """Return the full shape of the input, with batch axis 1, and whether it has a batch axis."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in float_types():
        kind = onnx_module().TensorProto.DataType.Name(tensor.elem_type)
        raise ConversionError(f"{path} has input {value.name!r} of type {kind}; a network needs a float input")
    requested = None if requested is None else tuple(int(n) for n in np.atleast_1d(requested))
    if not tensor.HasField("shape"):
        if requested is None:
            raise ShapeError(f"{path} has input {value.name!r} without a shape; pass input_shape, without the batch axis")
        return (1, *requested), True
    dims = tuple(d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim)
    shown = [d.dim_value or d.dim_param or "?" for d in tensor.shape.dim]
    batched = len(dims) > 1 and dims[0] in (1, None)
    if requested is None:
        shape = (1, *dims[1:]) if batched else dims
        if None in shape or not shape:
            raise ShapeError(
                f"{path} has input {value.name!r} of shape {shown}, which leaves dimensions open; pass input_shape, "
                "without the batch axis"
            )
        return shape, batched
    if not batched and _agrees(requested, dims):
        return requested, False
    if len(dims) > 1 and _agrees(requested, dims[1:]):
        return (1, *requested), True
    raise ShapeError(
        f"input_shape is {requested}, but {path} has input {value.name!r} of shape {shown}"
        f"{', batch axis first' if batched else ''}; leave input_shape out or make them agree"
    )


def _agrees(requested, dims):
    return len(requested) == len(dims) and all(d in (None, n) for n, d in zip(requested, dims))
