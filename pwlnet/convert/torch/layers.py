"""Handlers of torch layers with weights or windows: linear maps, convolutions, pooling, batch normalization."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import numpy as np
import torch

from ...errors import ConversionError
from ..graph import Tensor
from ..volumes import max_over, mean_over
from . import volumes
from .values import Unsupported

EPSILON = inspect.signature(torch.nn.functional.batch_norm).parameters["eps"].default

# Linear maps.


def linear(call, x, weight, bias=None):
    """Compute ``x @ weight.T + bias`` over the last axis."""
    if not isinstance(x, Tensor):
        call.refuse("with a weight that the network computes")
    weight = call.array(weight)
    out = call.graph.linear(x, np.atleast_2d(weight), None if bias is None else call.array(bias), name=call.name)
    return out if weight.ndim > 1 else call.graph.reshape(out, out.shape[:-1], name=call.name)


def _swapped(call, x):
    return call.graph.layout(x, np.swapaxes(x.indices(), -1, -2), name=call.name)


# Windows; a single spatial axis is treated as an image of height 1.


def _image(call, x, dims):
    if len(x.shape) not in (dims + 1, dims + 2):
        raise ConversionError(
            f"node {call.name!r} ({call.kind}) has an input of shape {x.shape}; it needs {dims + 2} axes "
            "(batch, channels, then space), check input_shape"
        )
    return x if dims == 2 else call.graph.layout(x, np.expand_dims(x.indices(), -2), name=call.name)


def _without_height(call, x, dims):
    return x if dims == 2 else call.graph.layout(x, x.indices().squeeze(-2), name=call.name)


def _pair(value, dims, lead):
    """Return a number or a sequence per spatial axis as a pair; ``lead`` is the height of one-dimensional layers."""
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    values = values * dims if len(values) == 1 else values
    return tuple(int(v) for v in ([lead] * (2 - dims) + values))


def _padding(value, dims):
    """Return torch's symmetric padding as (top, left, bottom, right)."""
    return _pair(value, dims, 0) * 2


def conv(call, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve over one to three spatial axes."""
    kernel, dims = _kernel(call, weight)
    if dims > 2:
        return volumes.conv(call, x, kernel, None if bias is None else call.array(bias), stride, padding, dilation, groups)
    dilation = _pair(dilation, dims, 1)
    if padding == "same":
        edges = [d * (k - 1) for d, k in zip(dilation, kernel.shape[2:], strict=True)]
        padding = tuple(e // 2 for e in edges) + tuple(e - e // 2 for e in edges)
    else:
        padding = _padding(0 if padding == "valid" else padding, dims)
    options = {"stride": _pair(stride, dims, 1), "padding": padding, "dilation": dilation, "groups": groups}
    bias = None if bias is None else call.array(bias)
    return _without_height(call, call.graph.conv(_image(call, x, dims), kernel, bias, name=call.name, **options), dims)


def conv_transpose(call, x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Apply a transposed convolution over one to three spatial axes."""
    kernel, dims = _kernel(call, weight)
    if dims > 2:
        bias = None if bias is None else call.array(bias)
        return volumes.conv_transpose(call, x, kernel, bias, stride, padding, output_padding, groups, dilation)
    options = {
        "stride": _pair(stride, dims, 1),
        "padding": _padding(padding, dims),
        "output_padding": _pair(output_padding, dims, 0),
        "dilation": _pair(dilation, dims, 1),
        "groups": groups,
    }
    bias = None if bias is None else call.array(bias)
    out = call.graph.conv_transpose(_image(call, x, dims), kernel, bias, name=call.name, **options)
    return _without_height(call, out, dims)


def convolution(call, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """Convert ATen's convolution, transposed or not."""
    if transposed:
        return conv_transpose(call, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(call, x, weight, bias, stride, padding, dilation, groups)


def _kernel(call, weight):
    kernel = call.array(weight)
    dims = kernel.ndim - 2
    if dims not in (1, 2, 3):
        call.refuse(f"with {dims} spatial axes, where pwlnet has one to three")
    return (kernel[:, :, None] if dims == 1 else kernel), dims


def max_pool(call, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, dims):
    """Compute the maximum over windows."""
    if return_indices:
        call.refuse("with return_indices=True")
    if dims > 2:
        return volumes.max_pool(call, x, kernel_size, _default(stride, kernel_size), padding, dilation, ceil_mode, dims)
    out = call.graph.max_pool(
        _image(call, x, dims),
        _pair(kernel_size, dims, 1),
        stride=_pair(_default(stride, kernel_size), dims, 1),
        padding=_padding(padding, dims),
        dilation=_pair(dilation, dims, 1),
        ceil_mode=bool(ceil_mode),
        name=call.name,
    )
    return _without_height(call, out, dims)


def avg_pool(
    call,
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    dims,
):
    """Compute the average over windows."""
    if dims > 2:
        strides = _default(stride, kernel_size)
        options = padding, ceil_mode, count_include_pad, divisor_override, dims
        return volumes.avg_pool(call, x, kernel_size, strides, *options)
    out = call.graph.avg_pool(
        _image(call, x, dims),
        _pair(kernel_size, dims, 1),
        stride=_pair(_default(stride, kernel_size), dims, 1),
        padding=_padding(padding, dims),
        ceil_mode=bool(ceil_mode),
        count_pad=bool(count_include_pad),
        divisor=divisor_override or 0,
        name=call.name,
    )
    return _without_height(call, out, dims)


def _default(stride, kernel):
    return kernel if stride is None or (isinstance(stride, (tuple, list)) and not stride) else stride


def _adaptive_sizes(image, output_size, dims):
    """Return the sizes of the spatial axes before and after; None keeps an axis."""
    sizes = output_size if isinstance(output_size, (tuple, list)) else [output_size] * dims
    sizes = [1] * (2 - dims) + list(sizes)
    return image.shape[-2:], tuple(n if s is None else int(s) for n, s in zip(image.shape[-2:], sizes, strict=True))


def adaptive_avg_pool(call, x, output_size, *, dims):
    """Average over windows that split each axis: one pooling if they are equal, otherwise a linear map per axis."""
    if dims > 2:
        return volumes.adaptive_pool(call, x, output_size, dims, mean_over)
    image = _image(call, x, dims)
    before, after = _adaptive_sizes(image, output_size, dims)
    if all(n % s == 0 for n, s in zip(before, after, strict=True)):
        kernel = tuple(n // s for n, s in zip(before, after, strict=True))
        return _without_height(call, call.graph.avg_pool(image, kernel, name=call.name), dims)
    return volumes.adaptive_pool(call, x, output_size, dims, mean_over)


def adaptive_max_pool(call, x, output_size, return_indices=False, *, dims):
    """Compute the maximum over windows that split each axis; windows of different sizes become one pooling for each size."""
    if return_indices:
        call.refuse("with return_indices=True")
    if dims > 2:
        return volumes.adaptive_pool(call, x, output_size, dims, max_over)
    image = _image(call, x, dims)
    before, after = _adaptive_sizes(image, output_size, dims)
    if any(n % s for n, s in zip(before, after, strict=True)):
        return volumes.adaptive_pool(call, x, output_size, dims, max_over)
    kernel = tuple(n // s for n, s in zip(before, after, strict=True))
    return _without_height(call, call.graph.max_pool(image, kernel, name=call.name), dims)


def with_indices(handler):
    """Return the handler of an ATen operation that returns (values, indices)."""

    def both(call, *args, **kwargs):
        indices = Unsupported(call.name, call.kind, "whose indices are not piecewise linear")
        return handler(call, *args, **kwargs), indices

    return both


# Batch normalization.


def batch_norm(call, x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=EPSILON):
    """Normalize with running statistics."""
    if training or running_mean is None or running_var is None:
        call.refuse("which uses the statistics of the batch (track_running_stats=False or training=True)")
    mean = call.array(running_mean)
    if len(x.shape) < 2 or x.shape[1] != mean.size:
        raise ConversionError(
            f"node {call.name!r} ({call.kind}) has an input of shape {x.shape}; it needs {mean.size} channels; "
            "check input_shape"
        )
    weight, bias = (None if w is None else call.array(w) for w in (weight, bias))
    return call.graph.batch_norm(x, mean, call.array(running_var), eps, weight, bias, name=call.name)


def aten_batch_norm(call, x, weight, bias, mean, variance, training, momentum, eps, cudnn_enabled=False):
    """Convert ATen's batch normalization, whose arguments have another order."""
    return batch_norm(call, x, mean, variance, weight, bias, training, momentum, eps)


def aten_batch_norm_inference(call, x, weight, bias, mean, variance, momentum, eps):
    """Convert ATen's batch normalization for inference, which also returns two empty tensors."""
    unused = Unsupported(call.name, call.kind, "whose saved statistics depend on the batch")
    return batch_norm(call, x, mean, variance, weight, bias, False, momentum, eps), unused, unused


def batch_norm_module(call, module, x, *, ranks):
    """Convert a BatchNorm module."""
    if len(x.shape) not in ranks:
        raise ConversionError(
            f"node {call.name!r} ({call.kind}) has an input of shape {x.shape}; it needs "
            f"{' or '.join(map(str, ranks))} axes, batch axis included, check input_shape"
        )
    weights = module.running_mean, module.running_var, module.weight, module.bias
    return batch_norm(call, x, *weights, False, module.momentum, module.eps)


OPERATIONS = {
    "linear": linear,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), conv_transpose),
    "aten::convolution": convolution,
    **{f"max_pool{n}d": partial(max_pool, dims=n) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": with_indices(partial(max_pool, dims=n)) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": partial(avg_pool, dims=n) for n in (1, 2, 3)},
    **{f"{u}adaptive_avg_pool{n}d": partial(adaptive_avg_pool, dims=n) for n in (1, 2, 3) for u in ("", "aten::_")},
    **{f"adaptive_max_pool{n}d": partial(adaptive_max_pool, dims=n) for n in (1, 2, 3)},
    **{f"aten::adaptive_max_pool{n}d": with_indices(partial(adaptive_max_pool, dims=n)) for n in (1, 2, 3)},
    **volumes.OPERATIONS,
    "batch_norm": batch_norm,
    "aten::batch_norm": aten_batch_norm,
    "aten::_native_batch_norm_legit_no_training": aten_batch_norm_inference,
}
MODULES: dict[Any, Any] = {
    **volumes.MODULES,
    torch.nn.BatchNorm1d: partial(batch_norm_module, ranks=(2, 3)),
    torch.nn.BatchNorm2d: partial(batch_norm_module, ranks=(4,)),
    torch.nn.BatchNorm3d: partial(batch_norm_module, ranks=(5,)),
    torch.nn.SyncBatchNorm: partial(batch_norm_module, ranks=(2, 3, 4, 5)),
}
