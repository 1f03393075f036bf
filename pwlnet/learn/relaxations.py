"""Interval bound propagation (IBP) through layers, for training in any dtype, and rounded outward for certificates.

An affine layer maps a box with centre c and radius r to centre W c + b and radius |W| r; other layers are monotone in each
entry, and map bounds to bounds. Rounded outward, the radius also grows by a bound of the rounding of the centre: a sum of
n products, in whatever order, is wrong by at most gamma_n = n u / (1 - n u) times the sum of their absolute values
(N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM 2002, Section 3.1).

Legend: B images, O outputs, J neurons before the last layer.
"""

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ..errors import InputError, UnsupportedOperationError
from ..tolerances import UNIT_ROUNDOFF


class Box(NamedTuple):
    """Intervals [lower, upper], entry by entry."""

    lower: torch.Tensor
    upper: torch.Tensor


class Nearest:
    """Differentiable arithmetic rounded to nearest, for training."""

    @staticmethod
    def down(x):
        """Return a lower bound of the numbers that are rounded to x."""
        return x

    up = down

    @staticmethod
    def enlarge(radius, centre, apply_absolute, n_terms):
        """Return the radius after an affine layer."""
        return apply_absolute(radius, None)


class Outward:
    """float64 arithmetic with every result rounded outward, so that the box contains every exact value."""

    SPARE = 8  # roundings in addition to those of the sum: differences of weights, scale and shift of a normalisation, the bias

    @staticmethod
    def down(x):
        """Return a lower bound of the numbers that are rounded to x."""
        return torch.nextafter(x, torch.full_like(x, -torch.inf))

    @staticmethod
    def up(x):
        """Return an upper bound of the numbers that are rounded to x."""
        return torch.nextafter(x, torch.full_like(x, torch.inf))

    @staticmethod
    def enlarge(radius, centre, apply_absolute, n_terms):
        """Return the radius after an affine layer, plus bounds of the rounding of the centre and of the radius."""
        n = n_terms + Outward.SPARE
        gamma = n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)
        total = apply_absolute(radius + gamma * centre.abs(), gamma)
        return total * (1 + 4 * gamma) + torch.finfo(total.dtype).tiny  # tiny: products that underflow


def affine(box, apply, apply_absolute, n_terms, rounding):
    """Propagate a box through an affine map.

    ``apply(x)`` is W x + b; ``apply_absolute(r, g)`` is |W| r + g |b|, without bias if g is None; each entry sums
    ``n_terms`` products.
    """
    centre = (box.lower + box.upper) / 2
    radius = rounding.up(torch.maximum(box.upper - centre, centre - box.lower))
    image = apply(centre)
    radius = rounding.enlarge(radius, centre, apply_absolute, n_terms)
    return Box(rounding.down(image - radius), rounding.up(image + radius))


def _scaled(bias, factor):
    return None if bias is None or factor is None else factor * bias.abs()


def _linear(layer, box, rounding):
    def absolute(x, factor):
        return functional.linear(x, layer.weight.abs(), _scaled(layer.bias, factor))

    return affine(box, layer, absolute, layer.in_features, rounding)


def _convolution(layer, box, rounding):
    convolve = functional.conv1d if isinstance(layer, nn.Conv1d) else functional.conv2d
    window = layer.stride, layer.padding, layer.dilation, layer.groups

    def absolute(x, factor):
        return convolve(x, layer.weight.abs(), _scaled(layer.bias, factor), *window)

    return affine(box, layer, absolute, layer.weight[0].numel(), rounding)


def _batch_norm(layer, box, rounding):
    """Propagate with running statistics, also in training, since these are the ones that the trained model uses."""
    axes = (1, -1, *[1] * (box.lower.ndim - 2))
    scale = torch.rsqrt(layer.running_var + layer.eps)
    scale = (scale if layer.weight is None else scale * layer.weight).reshape(axes)
    shift = torch.zeros_like(layer.running_mean) if layer.bias is None else layer.bias
    mean, shift = layer.running_mean.reshape(axes), shift.reshape(axes)

    def absolute(x, factor):
        extra = 0.0 if factor is None else factor * (scale.abs() * mean.abs() + shift.abs())
        return scale.abs() * x + extra

    return affine(box, lambda x: (x - mean) * scale + shift, absolute, 2, rounding)


def _average(layer, box, rounding):
    """Propagate through window means: non-negative weights, at most as many as a channel has entries."""
    return affine(box, layer, lambda x, factor: layer(x), box.lower[0, 0].numel(), rounding)


def _relu(layer, box, rounding):
    return Box(torch.relu(box.lower), torch.relu(box.upper))


def _leaky_relu(layer, box, rounding):
    ends = (functional.leaky_relu(x, layer.negative_slope) for x in box)
    lower, upper = ends
    return Box(rounding.down(lower), rounding.up(upper))


def _clamp(layer, box, rounding):
    return Box(*(x.clamp(layer.min_val, layer.max_val) for x in box))


def _ends(layer, box, rounding):
    """Propagate through a layer that moves entries or takes maxima."""
    return Box(layer(box.lower), layer(box.upper))


def _no_op(layer, box, rounding):
    return box


STEPS = {  # layer type -> step(layer, box, rounding); not for subclasses, which may compute something else
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
    nn.ReLU: _relu,
    nn.ReLU6: _clamp,
    nn.Hardtanh: _clamp,
    nn.LeakyReLU: _leaky_relu,
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


def evaluate(layers, x):
    """Evaluate the layers of ``list_layers`` at points."""
    for _, layer in layers:
        x = layer(x)
    return x


def propagate(layers, box, rounding):
    """Propagate a box through the layers of ``list_layers``."""
    for _, layer in layers:
        box = STEPS[type(layer)](layer, box, rounding)
    return box


def margins(layers, box, labels, rounding):
    """Compute lower bounds of the score of the label minus that of each class: [B, O], zero for the label itself.

    A fully connected last layer is merged with the differences, so that terms common to both scores cancel (Gowal et al. 2018,
    Section 3, "Elision of the last layer").
    """
    last = layers[-1][1]
    if type(last) is nn.Linear:
        box = propagate(layers[:-1], box, rounding)
        weight = last.weight[labels][:, None] - last.weight  # [B, O, J]
        bias = 0 * weight[..., 0] if last.bias is None else last.bias[labels][:, None] - last.bias

        def apply(x):
            return torch.einsum("boj,bj->bo", weight, x) + bias

        def absolute(x, factor):
            return torch.einsum("boj,bj->bo", weight.abs(), x) + (0.0 if factor is None else factor * bias.abs())

        lower = affine(box, apply, absolute, last.in_features, rounding).lower
    else:
        box = propagate(layers, box, rounding)
        lower = rounding.down(box.lower.gather(1, labels[:, None]) - box.upper)
    return lower.masked_fill(functional.one_hot(labels, lower.shape[1]).bool(), 0.0)


def ball(images, epsilon, limits, rounding):
    """Return the l_inf ball of radius epsilon around images as a box, intersected with the limits (lower, upper) if given."""
    lower, upper = rounding.down(images - epsilon), rounding.up(images + epsilon)
    if limits is not None:
        lower, upper = torch.maximum(lower, limits[0]), torch.minimum(upper, limits[1])
    return Box(lower, upper)


def double_copy(model):
    """Return a copy of a model in float64 on the CPU, in evaluation mode; float32 weights are cast exactly."""
    return copy.deepcopy(model).to(device="cpu", dtype=torch.float64).eval()
