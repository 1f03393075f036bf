"""Checks of an ONNX file by the rules of the format, where what breaks them would be converted wrongly or not at all."""

import functools
import re
from collections import Counter

from ...errors import ConversionError
from ..graph import refuse
from .node import node_name, onnx_module

_FIELDS = {  # the field that holds an attribute's value, by its type
    "FLOAT": "f",
    "INT": "i",
    "STRING": "s",
    "TENSOR": "t",
    "GRAPH": "g",
    "SPARSE_TENSOR": "sparse_tensor",
    "TYPE_PROTO": "tp",
    "FLOATS": "floats",
    "INTS": "ints",
    "STRINGS": "strings",
    "TENSORS": "tensors",
    "GRAPHS": "graphs",
    "SPARSE_TENSORS": "sparse_tensors",
    "TYPE_PROTOS": "type_protos",
}
_FLAGS = {  # attributes that are 0 or 1; programs disagree about other numbers
    "auto_round", "ceil_mode", "center_point_box", "count_include_pad", "exclusive", "keepdims", "noop_with_empty_axes",
    "reverse", "select_last_index", "spatial", "storage_order", "training_mode", "transA", "transB",
}  # fmt: skip
_SHOWN = 300
_WORD = re.compile(r"[A-Za-z0-9_.:]{1,200}", re.ASCII)


def shown(error):
    """Return the first line of an error's text, without what is too long to show."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    text = "".join(letter if letter.isprintable() else "?" for letter in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def require_opset(path, version):
    """Refuse an operator set that does not exist, or that the installed onnx does not know."""
    latest = onnx_module("defs").onnx_opset_version()
    if not 1 <= version <= latest:
        raise ConversionError(
            f"{path} is written for operator set {version}, but the installed onnx knows 1 to {latest}; update onnx, or export "
            f"the network for operator set {latest} or lower"
        )


def require_text(path, graph):
    """Refuse names that are not text, and operators whose type is not a word."""
    for node in graph.node:
        names = [node.op_type, node.domain, node.name, *node.input, *node.output, *(a.name for a in node.attribute)]
        if any(isinstance(name, bytes) for name in names) or not _WORD.fullmatch(node.op_type):
            raise ConversionError(
                f"{path} has a node of type {node.op_type[:_SHOWN]!r}, whose type is not a word or whose names are not text; "
                "the file is damaged, export it again"
            )
    names = [value.name for value in (*graph.initializer, *graph.input, *graph.output)]
    if any(isinstance(name, bytes) for name in names):
        raise ConversionError(f"{path} has names that are not text (UTF-8); the file is damaged, export it again")


def require_one_maker(path, graph):
    """Refuse a graph in which two nodes, inputs or initializers make a value of the same name."""
    made = [name for node in graph.node for name in node.output if name]
    stored, inputs = [tensor.name for tensor in graph.initializer], [value.name for value in graph.input]
    both = Counter(made + stored) + Counter(name for name in inputs if name not in set(stored))  # an input may have a default
    twice = [name for name, count in (both | Counter(inputs)).items() if count > 1]
    if twice:
        raise ConversionError(
            f"{path} defines the value {twice[0][:_SHOWN]!r} more than once; the file is damaged, export it again"
        )


def require_valid(node):
    """Refuse a node whose inputs or attributes are not those of its operator.

    Parameters
    ----------
    node : OnnxNode
    """
    schema = schema_of(node.op, node.opset)
    if schema is None:
        refuse(node.name, node.op, f"which is not an operator of ONNX's operator set {node.opset}")
    names = list(node.proto.input)
    least, most = schema.min_input, schema.max_input
    single = type(schema.inputs[0].option).Single if schema.inputs else None
    missing = [p.name for p, name in zip(schema.inputs, names) if p.option == single and not name]
    if missing or not least <= len(names) <= most:
        what = f"without its input {missing[0]!r}" if missing else f"with {len(names)} inputs"
        needed = str(least) if least == most else f"at least {least}" if most > len(names) else f"{least} to {most}"
        raise ConversionError(
            f"node {node.name!r} is {node.op} {what}; it needs {needed}, so the file is damaged, export it again"
        )
    given = set()
    for attribute in node.proto.attribute:
        _require_valid_attribute(node, schema, attribute, given)
        given.add(attribute.name)
    for key, declared in schema.attributes.items():
        if declared.required and key not in given:
            raise ConversionError(
                f"node {node.name!r} is {node.op} without the attribute {key!r}, which it needs; the file is damaged, export "
                "it again"
            )


def _require_valid_attribute(node, schema, attribute, given):
    key, declared = attribute.name, schema.attributes.get(attribute.name)
    what = f"node {node.name!r} is {node.op} of operator set {node.opset} with the attribute {key[:_SHOWN]!r}"
    if declared is None:
        known = ", ".join(sorted(schema.attributes)) or "none"
        raise ConversionError(
            f"{what}, which it does not have ({known}); the file is damaged, or written for another operator set"
        )
    if key in given:
        raise ConversionError(f"{what} twice; the file is damaged, export it again")
    kind, wanted = _kind(attribute), declared.type.name
    field = _FIELDS.get(kind)
    present = {f.name for f, _ in attribute.ListFields()} & set(_FIELDS.values())
    if kind != wanted or present - {field} or not (present or wanted.endswith("S")):
        raise ConversionError(f"{what} of type {kind}, without a value of type {wanted}; the file is damaged, export it again")
    if key in _FLAGS and attribute.i not in (0, 1):
        raise ConversionError(f"{what}, which is {attribute.i}; it is 0 or 1, so the file is damaged, export it again")


def _kind(attribute):
    """Return the name of an attribute's type."""
    kinds = onnx_module().AttributeProto.AttributeType
    return kinds.Name(attribute.type) if attribute.type in kinds.values() else str(attribute.type)


@functools.lru_cache(maxsize=1024)
def schema_of(op, opset):
    """Return the schema of an operator of standard ONNX, None if this operator set has none of that name."""
    defs = onnx_module("defs")
    try:
        return defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None


def type_name(number):
    """Return the name of an element type: ``FLOAT``, or its number where the format has none."""
    kinds = onnx_module().TensorProto.DataType
    return kinds.Name(number) if number in kinds.values() else f"number {number}"


def unfit(node, error):
    """Return the error for a node that NumPy cannot compute with the values in the file.

    Parameters
    ----------
    node : OnnxNode
    error : Exception

    Returns
    -------
    ConversionError
    """
    shapes = ", ".join("none" if v is None else str(tuple(getattr(v, "shape", ()))) for v in node.inputs[:8])
    return ConversionError(
        f"node {node_name(node.proto)!r} is {node.op} with inputs of shapes {shapes}, which do not fit together or to its "
        f"attributes ({shown(error)}); check input_shape, or that the file is not damaged"
    )
