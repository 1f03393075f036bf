"""Network descriptions of tests/reference as pwlnet networks."""

import numpy as np

from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from tests.reference.description import live as live


def to_network(description):
    """Convert a description (tests/reference/description.py) through the neutral graph."""
    graph = Graph(description[0]["shape"], batched=False)
    tensors = [graph.input]
    for k, node in enumerate(description[1:], start=1):
        inputs = [tensors[i] for i in node["inputs"]]
        arguments = {key: value for key, value in node.items() if key not in ("kind", "inputs")}
        tensors.append(_add(graph, node["kind"], inputs, arguments, f"node{k}"))
    graph.output = tensors[-1]
    return lower(graph)


def _add(graph, kind, inputs, arguments, name):
    if kind == "leaky_relu":
        return graph.leaky_relu(inputs[0], arguments["slope"], name=name)
    if kind == "concat":
        return graph.concat(inputs, arguments["axis"], name=name)
    if kind == "linear":
        return graph.linear(inputs[0], arguments["weight"], arguments.get("bias"), name=name)
    if kind == "conv":
        weight, bias = arguments.pop("weight"), arguments.pop("bias", None)
        return graph.conv(inputs[0], weight, bias, **arguments, name=name)
    if kind in ("avg_pool", "max_pool"):
        return getattr(graph, kind)(inputs[0], arguments.pop("kernel"), **arguments, name=name)
    if kind == "reshape":
        return graph.reshape(inputs[0], np.atleast_1d(arguments["shape"]), name=name)
    if kind == "gather":
        return graph.layout(inputs[0], arguments["index"], fill=arguments["fill"], name=name)
    if kind == "transpose":
        return graph.transpose(inputs[0], arguments["axes"], name=name)
    return getattr(graph, kind)(*inputs, **arguments, name=name)
