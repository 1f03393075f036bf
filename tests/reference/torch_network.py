"""A network description as a torch module in float64: the oracle for values and gradients."""

import numpy as np

from .description import attribute


def to_torch(description):
    """Make a ``torch.nn.Module`` that evaluates a description in float64.

    ``module(x)`` takes [B, *input shape] or [B, D] and returns the last node's value [B, ...];
    ``module.every_node(x)`` returns the values of all nodes.
    """
    import torch

    class DescribedNetwork(torch.nn.Module):
        """The nodes of a description, evaluated one after another."""

        def every_node(self, x):
            found = []
            for node in description:
                if node["kind"] == "input":
                    found.append(x.to(torch.float64).reshape(len(x), *node["shape"]))
                else:
                    found.append(_evaluate(node, *(found[i] for i in node["inputs"])))
            return found

        def forward(self, x):
            return self.every_node(x)[-1]

    return DescribedNetwork()


def _evaluate(node, x, other=None, *more):
    import torch
    import torch.nn.functional as F

    kind = node["kind"]
    if kind == "linear":
        return F.linear(x, _tensor(node["weight"]), _bias(node))
    if kind == "conv":
        options = {name: attribute(node, name) for name in ("stride", "dilation", "groups")}
        return F.conv2d(_pad(node, x, 0.0), _tensor(node["weight"]), _bias(node), **options)
    if kind == "avg_pool":
        return _average(node, x)
    if kind == "max_pool":
        padded = _pad(node, x, -np.inf)
        return F.max_pool2d(padded, node["kernel"], attribute(node, "stride"), 0, attribute(node, "dilation"))
    if kind == "scale_shift":
        return _tensor(node["scale"]) * x + _tensor(node["shift"])
    if kind == "add":
        return node["coefficients"][0] * x + node["coefficients"][1] * other
    if kind == "concat":
        return torch.cat([x, other, *more], dim=node["axis"] + 1)
    if kind == "reshape":
        return x.reshape(len(x), *node["shape"])
    if kind == "transpose":
        return x.permute(0, *(axis + 1 for axis in node["axes"]))
    if kind == "gather":
        index = torch.as_tensor(node["index"])
        return torch.where(index >= 0, x.flatten(1)[:, index.clamp(min=0)], node["fill"])
    if kind == "relu":
        return torch.relu(x)
    if kind == "leaky_relu":
        return torch.where(x > 0, x, _tensor(node["slope"]) * x)
    return torch.clamp(x, node["lower"], node["upper"])


def _tensor(array):
    import torch

    return torch.as_tensor(np.asarray(array, np.float64))


def _bias(node):
    return None if node.get("bias") is None else _tensor(node["bias"])


def _pad(node, x, value):
    import torch.nn.functional as F

    top, left, bottom, right = attribute(node, "padding")
    return F.pad(x, (left, right, top, bottom), value=value)


def _average(node, x):
    import torch
    import torch.nn.functional as F

    area = node["kernel"][0] * node["kernel"][1]
    total = area * F.avg_pool2d(_pad(node, x, 0.0), node["kernel"], attribute(node, "stride"))
    if attribute(node, "count_pad"):
        return total / area
    inside = _pad(node, torch.ones_like(x), 0.0)
    return total / torch.round(area * F.avg_pool2d(inside, node["kernel"], attribute(node, "stride")))
