"""The end of an ONNX graph: the chosen outputs, and the functions there that do not change a classifier's decision.

Softmax, LogSoftmax, Sigmoid, Hardmax, and Log of a Softmax or Sigmoid become Identity where only operators that move entries
follow them; ArgMax is cut off with what follows it. `pwlnet.convert.ends` decides whether that is right, with the shapes.
"""

from dataclasses import dataclass

from ...errors import ConversionError, InputError
from .node import STANDARD_DOMAINS, onnx_module

SOFTMAXES = ("Softmax", "LogSoftmax", "Hardmax")
RESHAPES = ("Identity", "Cast", "CastLike", "Dropout", "Squeeze", "Unsqueeze", "Flatten", "Reshape", "Transpose")
MOVES = (*RESHAPES, "Slice", "Gather", "GatherElements", "GatherND", "Expand", "Tile", "Split", "DepthToSpace", "SpaceToDepth")
SHAPE_QUERIES = ("Shape", "Size")
_SHOWN = 6


@dataclass(frozen=True)
class Ends:
    """What was dropped: nodes that became Identity (by their output, as they were), and ArgMax nodes cut off."""

    replaced: dict
    cut: tuple


def choose_outputs(path, model, outputs):
    """Reduce a model to the chosen output; several are flattened and joined by nodes added to it.

    Parameters
    ----------
    path : Path
    model : ModelProto
        Changed in place.
    outputs : None, int, str, or sequence of them

    Raises
    ------
    InputError
        ``outputs`` is of another type.
    ConversionError
        There is no such output, or several and none was chosen.
    """
    values = list(model.graph.output)
    if outputs is None and len(values) != 1:
        shown = ", ".join(f"{v.name!r} of shape {_shape(v)}" for v in values[:_SHOWN]) or "none"
        shown += f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
        advice = "export it" if not values else f"choose it, such as outputs=0 or outputs={values[0].name!r}"
        raise ConversionError(f"{path} has {len(values)} outputs ({shown}); a network has one, {advice}")
    chosen = values if outputs is None else [_chosen(path, values, one) for one in _as_list(outputs)]
    del model.graph.output[:]
    if len(chosen) == 1:
        model.graph.output.append(chosen[0])
        return
    _join(model, chosen)


def _as_list(outputs):
    items = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    bad = [one for one in items if isinstance(one, bool) or not (isinstance(one, str) or hasattr(one, "__index__"))]
    if bad or not items:
        what = f"holds a {type(bad[0]).__name__}" if bad else "is empty"
        raise InputError(f"outputs {what}; give a position, a name, or a sequence of them")
    return items


def _chosen(path, values, one):
    if isinstance(one, str):
        named = [v for v in values if v.name == one]
        if named:
            return named[0]
    elif -len(values) <= int(one) < len(values):
        return values[int(one)]
    names = ", ".join(repr(v.name) for v in values[:_SHOWN])
    raise ConversionError(f"outputs={one!r} is not an output of {path}, which has {len(values)} ({names}); choose one of them")


def _shape(value):
    return [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]


def _join(model, chosen):
    """Append nodes that flatten the chosen outputs and join them."""
    helper, graph = onnx_module("helper"), model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    prefix = "outputs"
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    old = any(entry.domain in STANDARD_DOMAINS and entry.version < 5 for entry in model.opset_import)
    if not old:
        graph.initializer.append(helper.make_tensor(f"{prefix}_shape", onnx_module().TensorProto.INT64, [1], [-1]))
    parts = []
    for k, value in enumerate(chosen):
        parts.append(f"{prefix}_{k}")
        inputs, options = ([value.name], {"shape": [-1]}) if old else ([value.name, f"{prefix}_shape"], {})
        graph.node.append(helper.make_node("Reshape", inputs, parts[-1:], name=parts[-1], **options))
    graph.node.append(helper.make_node("Concat", parts, [prefix], name=prefix, axis=0))
    graph.output.append(type(chosen[0])(name=prefix))


def replace_ends(model):
    """Drop the functions at the end of a model that do not change the decision; change it in place: Ends."""
    producers = {name: node for node in model.graph.node for name in node.output if name}
    cut, name = [], model.graph.output[0].name
    while len(cut) < len(model.graph.node):
        node = _through(name, producers, RESHAPES)
        if node is None or node.op_type != "ArgMax" or not node.input:
            break
        cut.append(node)
        name = node.input[0]
    if cut:
        model.graph.output[0].CopyFrom(type(model.graph.output[0])(name=name))
    replaced = {}
    for node in _ends(model.graph, producers):
        replaced[node.output[0]] = type(node).FromString(node.SerializeToString())
        node.op_type = "Identity"
        del node.attribute[:]
        del node.input[1:]
    return Ends(replaced, tuple(cut))


def _through(name, producers, kinds):
    """Return the node that makes a value, or the first one before nodes of some kinds; None for an input."""
    node, seen = producers.get(name), set()
    while node is not None and node.domain in STANDARD_DOMAINS and node.op_type in kinds and node.input:
        if id(node) in seen:  # a damaged file
            return None
        seen.add(id(node))
        node = producers.get(node.input[0])
    return node if node is not None and node.domain in STANDARD_DOMAINS else None


def _ends(graph, producers):
    """Return the nodes that can become Identity: every path from the output leads to one of them through moves only."""
    ends, logarithms, path, stack = {}, {}, {}, [graph.output[0].name]
    while stack:
        node = producers.get(stack.pop())
        if node is None or node.domain not in STANDARD_DOMAINS or not node.input:
            return []
        if id(node) in path or id(node) in ends or id(node) in logarithms:
            continue
        if node.op_type in (*SOFTMAXES, "Sigmoid"):
            ends[id(node)] = node
            continue
        if node.op_type == "Log":
            below = _through(node.input[0], producers, MOVES)
            if below is None or below.op_type not in ("Softmax", "Sigmoid"):
                return []
            logarithms[id(node)] = node
        elif node.op_type in MOVES or node.op_type == "Concat":
            path[id(node)] = node
        else:
            return []
        stack.extend(node.input if node.op_type == "Concat" else node.input[:1])
    last = {name for node in (*ends.values(), *logarithms.values(), *path.values()) for name in node.output}
    for node in _needed_nodes(graph, producers):
        inside = id(node) in path or id(node) in logarithms or node.op_type in SHAPE_QUERIES
        if not inside and last.intersection(node.input):
            return []
    return [*ends.values(), *logarithms.values()]


def _needed_nodes(graph, producers):
    """Return the nodes that the output depends on."""
    seen, nodes, stack = set(), [], [graph.output[0].name]
    while stack:
        node = producers.get(stack.pop())
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            nodes.append(node)
            stack.extend(node.input)
    return nodes


def normalised_axes(node, rank):
    """Return the axes over which an end (an OnnxNode as it was) normalises or compares a value of ``rank`` axes."""
    if node.op not in (*SOFTMAXES, "ArgMax"):
        return ()
    axis = int(node.attribute("axis", 0 if node.op == "ArgMax" else 1)) % max(1, rank)
    return tuple(range(axis, rank)) if node.opset < 13 and node.op in SOFTMAXES else (axis,)
