"""Interval bound propagation (IBP) through torch layers, differentiable, for training in any dtype.

An affine layer maps a box with centre c and radius r to centre W c + b and radius |W| r; other layers are monotone in each
entry, and map bounds to bounds. Nothing here is rounded outward: certificates are computed on the converted network
(``pwlnet.bound_preactivations``).

Legend: B images, O outputs, J neurons before the last layer.
"""

import functools
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ..errors import InputError, UnsupportedOperationError


class Box(NamedTuple):
    """Intervals [lower, upper], entry by entry."""

    lower: torch.Tensor
    upper: torch.Tensor


def affine(box, apply, apply_absolute):
    """Propagate a box through an affine map: ``apply(x)`` is W x + b; ``apply_absolute(r)`` is |W| r."""
    image = apply((box.lower + box.upper) / 2)
    radius = apply_absolute((box.upper - box.lower) / 2)
    return Box(image - radius, image + radius)


def _linear(layer, box):
    return affine(box, layer, lambda x: functional.linear(x, layer.weight.abs()))


def _convolution(layer, box):
    convolve = functional.conv1d if isinstance(layer, nn.Conv1d) else functional.conv2d
    window = layer.stride, layer.padding, layer.dilation, layer.groups
    return affine(box, layer, lambda x: convolve(x, layer.weight.abs(), None, *window))


def _batch_norm(layer, box):
    """Propagate with running statistics, also in training, since these are the ones that the trained model uses."""
    axes = (1, -1, *[1] * (box.lower.ndim - 2))
    scale = torch.rsqrt(layer.running_var + layer.eps)
    scale = (scale if layer.weight is None else scale * layer.weight).reshape(axes)
    shift = torch.zeros_like(layer.running_mean) if layer.bias is None else layer.bias
    mean, shift = layer.running_mean.reshape(axes), shift.reshape(axes)
    return affine(box, lambda x: (x - mean) * scale + shift, lambda x: scale.abs() * x)


def _average(layer, box):
    """Propagate through window means, whose weights are not negative."""
    return affine(box, layer, layer)


def _clamp(layer, box):
    return Box(*(x.clamp(layer.min_val, layer.max_val) for x in box))


def _ends(layer, box):
    """Propagate through a layer that is monotone in each entry, or moves entries."""
    return Box(layer(box.lower), layer(box.upper))


def _no_op(layer, box):
    return box


STEPS = {  # layer type -> step(layer, box); not for subclasses, which may compute something else
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.AvgPool1d: _average,
    nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: _average,
    nn.MaxPool1d: _ends,
    nn.MaxPool2d: _ends,
    nn.ReLU: _ends,
    nn.ReLU6: _clamp,
    nn.Hardtanh: _clamp,
    nn.LeakyReLU: _ends,
    nn.Flatten: _ends,
    nn.Unflatten: _ends,
    nn.Identity: _no_op,
    nn.Dropout: _no_op,
    nn.Dropout2d: _no_op,
}
REFUSALS = (  # a layer type, the condition for refusing it, and the reason
    ((nn.Conv1d, nn.Conv2d), lambda layer: layer.padding_mode != "zeros", "pads with {0.padding_mode!r} instead of zeros"),
    ((nn.BatchNorm1d, nn.BatchNorm2d), lambda layer: layer.running_var is None, "has no running statistics"),
    ((nn.LeakyReLU,), lambda layer: layer.negative_slope < 0, "has a negative slope for negative inputs"),
    ((nn.AvgPool2d,), lambda layer: (layer.divisor_override or 1) < 0, "divides by {0.divisor_override}"),
    (
        (nn.Module,),
        lambda layer: bool(layer._forward_hooks or layer._forward_pre_hooks),
        "has hooks",
    ),
)


def list_layers(model, prefix=""):
    """Return the layers of a Sequential and of nested ones as pairs (name, layer); refuse unsupported layers."""
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        raise UnsupportedOperationError(
            f"model is a {type(model).__name__}, but bounds need a torch.nn.Sequential; write it as one"
        )
    layers = []
    _refuse(prefix.removesuffix(".") or "model", model)
    for name, layer in model._modules.items():  # named_children() omits repeated layers
        if isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward:
            layers += list_layers(layer, f"{prefix}{name}.")
            continue
        if type(layer) not in STEPS:
            known = ", ".join(kind.__name__ for kind in STEPS)
            raise UnsupportedOperationError(
                f"layer {prefix + name!r} is {type(layer).__name__}, for which there are no bounds; supported: {known}"
            )
        _refuse(prefix + name, layer)
        layers.append((prefix + name, layer))
    if not layers:
        raise InputError("model has no layers; give a torch.nn.Sequential with some")
    return layers


def _refuse(name, layer):
    for kinds, refused, reason in REFUSALS:
        if isinstance(layer, kinds) and refused(layer):
            raise UnsupportedOperationError(
                f"layer {name!r} is {type(layer).__name__} and {reason.format(layer)}, for which there are no bounds; "
                "change the layer"
            )


def propagate(layers, box):
    """Propagate a box through the layers of ``list_layers``."""
    for _, layer in layers:
        box = STEPS[type(layer)](layer, box)
    return box


def margins(layers, box, labels):
    """Compute lower bounds of the score of the label minus that of each class: [B, O], zero for the label itself.

    A fully connected last layer is merged with the differences, so that terms common to both scores cancel (Gowal et al. 2018,
    Section 3, "Elision of the last layer").
    """
    last = layers[-1][1]
    if type(last) is nn.Linear:
        box = propagate(layers[:-1], box)
        weight = last.weight[labels][:, None] - last.weight  # [B, O, J]
        bias = 0 * weight[..., 0] if last.bias is None else last.bias[labels][:, None] - last.bias
        product = functools.partial(torch.einsum, "boj,bj->bo")
        lower = affine(box, lambda x: product(weight, x) + bias, lambda x: product(weight.abs(), x)).lower
    else:
        box = propagate(layers, box)
        lower = box.lower.gather(1, labels[:, None]) - box.upper
    return lower.masked_fill(functional.one_hot(labels, lower.shape[1]).bool(), 0.0)


def ball(images, epsilon, limits):
    """Return the l_inf ball of radius epsilon around images as a box, intersected with the limits (lower, upper) if given."""
    lower, upper = images - epsilon, images + epsilon
    if limits is not None:
        lower, upper = torch.maximum(lower, limits[0]), torch.minimum(upper, limits[1])
    return Box(lower, upper)
