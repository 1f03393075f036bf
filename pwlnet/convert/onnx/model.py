"""An ONNX file before conversion: loaded, validated, reduced to what the output depends on, all floats as float64."""

from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

import numpy as np

from ...errors import ConversionError, InputError, ShapeError
from .batches import has_batch_operators, rows_are_independent, to_one_row
from .branches import reads, subgraphs
from .constants import fold_stored_weights
from .ends import Ends, choose_outputs, replace_ends
from .node import STANDARD_DOMAINS, float_types, node_name, onnx_module
from .validity import require_one_maker, require_opset, require_text, shown, type_name


@dataclass(frozen=True)
class OnnxModel:
    """A prepared ONNX graph: float64 constants, sorted nodes, one input, one output.

    ``chosen`` and ``row_of`` reproduce the changes to the file (`prepared_model`): the outputs that were asked for, and
    the batch size for which it was exported if it was rewritten for one row.
    """

    opset: int
    constants: dict
    nodes: list
    input: str
    shape: tuple
    batched: bool
    output: str
    ends: Ends
    chosen: object = None
    row_of: int | None = None


def open_model(path, input_shape, outputs=None):
    """Load a file and determine the shape of its input, its constants, and the nodes that its output depends on.

    Parameters
    ----------
    path : str or Path
    input_shape : tuple of int or None
        Shape of one input without the batch axis.
    outputs : int, str, or sequence of them, optional
        Which of several outputs.

    Returns
    -------
    OnnxModel
    """
    model, ends = prepared_model(path, outputs)
    name = _input_name(path, model.graph)
    row_of = _fixed_batch(path, model, name, input_shape, outputs)
    if row_of is not None:
        to_one_row(model, name, row_of)
    graph = model.graph
    constants = _constants(path, graph)
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    producers = {name: node for node in graph.node for name in node.output if name}
    output = graph.output[0].name
    nodes, _ = _needed(path, graph, output, producers, constants, inputs)
    shape, batched = _input_shape(path, inputs[name], input_shape)
    read = {name for node in nodes for name in reads(node)}
    constants = {name: value for name, value in constants.items() if name in read}
    _require_finite(path, constants)
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    for node in nodes:
        _node_to_float64(node)
    nodes = fold_stored_weights(nodes, constants, max(versions))
    return OnnxModel(max(versions), constants, nodes, name, shape, batched, output, ends, outputs, row_of)


def prepared_model(path, outputs, row_of=None, input_name=None):
    """Return the ModelProto of a file reduced to the chosen output, without what is dropped at its end, and its Ends.

    With ``row_of``, the batch size of the file, it is rewritten for one row of its input ``input_name``.
    """
    model = load_model(path)
    require_text(path, model.graph)
    require_one_maker(path, model.graph)
    require_opset(path, max(entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS))
    choose_outputs(path, model, outputs)
    ends = replace_ends(model)
    if row_of is not None:
        to_one_row(model, input_name, row_of)
    return model, ends


def _input_name(path, graph):
    """Return the name of the only input that the output depends on."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    producers = {name: node for node in graph.node for name in node.output if name}
    output = graph.output[0].name
    _, used = _needed(path, graph, output, producers, constants, inputs)
    if len(used) > 1:
        names = ", ".join(repr(name) for name in used)
        raise ConversionError(f"{path} has {len(used)} inputs ({names}); a network needs one, make the others constants")
    if not used:
        raise independent_output(path, output)
    return used[0]


def _fixed_batch(path, model, name, requested, outputs):
    """Return the batch size of a file exported for several rows that are independent of each other, otherwise None."""
    value = next(value for value in model.graph.input if value.name == name)
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    requested = None if requested is None else [int(n) for n in np.atleast_1d(requested)]
    if len(dims) < 2 or dims[0] < 2 or min(dims) < 1 or requested not in (None, dims[1:]):
        return None
    if requested is None and not has_batch_operators(model):
        return None
    single, _ = prepared_model(path, outputs, dims[0], name)
    if rows_are_independent(model, single, name, tuple(dims)):
        return dims[0]
    if requested is not None:
        raise ShapeError(
            f"input_shape is {tuple(requested)}, but {path} was exported for a batch of {dims[0]} and does not compute each "
            f"row alone; export it with a batch of 1, or pass input_shape={tuple(dims)} for all rows as one input"
        )
    return None


# The file.


def load_model(path):
    """Return the ModelProto of a file with its external data, its local functions inlined."""
    onnx = onnx_module()
    try:
        model = onnx.load_model_from_string(Path(path).read_bytes())
    except Exception as error:  # protobuf's DecodeError is not public
        text = getattr(error, "strerror", None) or shown(error)
        raise ConversionError(f"{path} is not a readable ONNX file ({text}); check the path, or export it again") from error
    if not model.HasField("graph") or not any(e.domain in STANDARD_DOMAINS for e in model.opset_import):
        domains = [e.domain for e in model.opset_import]
        if model.HasField("graph") and domains:
            names = ", ".join(repr(domain[:80]) for domain in domains)
            raise ConversionError(f"{path} has operators of {names} only, which are not operators of standard ONNX")
        missing = "an operator set" if model.HasField("graph") else "a graph"
        raise ConversionError(
            f"{path} is not a readable ONNX file (it is empty or damaged, without {missing}); check the path, or "
            "export it again"
        )
    try:
        onnx_module("external_data_helper").load_external_data_for_model(model, str(Path(path).parent))
    except Exception as error:
        raise ConversionError(
            f"{path} keeps weights in another file that can't be read ({shown(error)}); put that file beside it"
        ) from error
    if not model.functions:
        return model
    try:
        return onnx_module("inliner").inline_local_functions(model)
    except (onnx_module("checker").ValidationError, RuntimeError) as error:
        raise ConversionError(
            f"{path} has local functions that can't be inlined ({shown(error)}); the file is damaged, or export "
            "it without functions"
        ) from error


def _constants(path, graph):
    """Return the initializers, floats as float64."""
    if graph.sparse_initializer:
        raise ConversionError(f"{path} has sparse initializers, which are not supported; save dense weights")
    return {tensor.name: array_of(tensor, path) for tensor in graph.initializer}


def _require_finite(path, constants):
    """Refuse weights that are not finite; a scalar may be infinite, such as the bound of a Clip."""
    for name, value in constants.items():
        bad = np.isnan(value) | (np.isinf(value) & (value.size > 1)) if value.dtype == np.float64 else np.zeros(1, bool)
        if bad.any():
            raise InputError(
                f"initializer {name!r} of {path} has {int(bad.sum())} entries that are not finite; a network needs "
                "finite weights, check how it was trained or saved"
            )


def array_of(tensor, place):
    """Return a TensorProto as an array, floats as float64; ``place`` names where it is, for errors."""
    try:
        value = onnx_module("numpy_helper").to_array(tensor)
    except Exception as error:
        raise ConversionError(
            f"initializer {tensor.name!r} of {place} can't be read ({shown(error)}); the file is damaged, export it again"
        ) from error
    return value.astype(np.float64) if tensor.data_type in float_types() else value


def _node_to_float64(node):
    """Convert the constants and types of a node to float64."""
    onnx = onnx_module()
    double, numpy_helper = onnx.TensorProto.DOUBLE, onnx_module("numpy_helper")
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in float_types():
            attribute.t.CopyFrom(numpy_helper.from_array(array_of(attribute.t, node_name(node))))
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            value = np.float64(attribute.f) if attribute.name == "value_float" else np.array(attribute.floats, np.float64)
            attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(np.asarray(value))))
        elif attribute.name in ("to", "dtype") and attribute.i in float_types():
            attribute.i = double
    for graph in subgraphs(node):
        for tensor in graph.initializer:
            if tensor.data_type in float_types():
                tensor.CopyFrom(numpy_helper.from_array(array_of(tensor, node_name(node)), tensor.name))
        for inner in graph.node:
            _node_to_float64(inner)
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(onnx.helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))


# Which nodes, in which order.


def _needed(path, graph, output, producers, constants, inputs):
    """Return the nodes that the output depends on in topological order, and the graph inputs that they read."""
    seen, used, stack = set(), [], [(output, "the graph's output")]
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
    needed = [node for node in graph.node if seen.intersection(node.output)]
    return _sorted(path, needed, {"", *constants, *used}), sorted(used, key=list(inputs).index)


def _sorted(path, nodes, ready):
    """Return nodes in an order in which each follows what it reads; in the file's order where that is one."""
    waiting, readers, missing = [], {}, {}
    for k, node in enumerate(nodes):
        needs = {name for name in reads(node) if name not in ready}
        missing[k] = len(needs)
        for name in needs:
            readers.setdefault(name, []).append(k)
        if not needs:
            waiting.append(k)
    ordered = []
    while waiting:
        k = heappop(waiting)
        ordered.append(nodes[k])
        for reader in (r for name in nodes[k].output for r in readers.get(name, ())):
            missing[reader] -= 1
            if not missing[reader]:
                heappush(waiting, reader)
    if len(ordered) < len(nodes):
        stuck = next(nodes[k] for k in missing if missing[k])
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
        kind = type_name(tensor.elem_type)
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
