"""Handlers of torch layers over three spatial axes, and of adaptive pools whose windows differ in size."""

import torch

from ...errors import ConversionError
from .. import volumes


def tuple_of(value, dims):
    """Return a number or a sequence per spatial axis as a tuple of ``dims`` integers."""
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return tuple(int(v) for v in (values * dims if len(values) == 1 else values))


def with_batch(call, x, dims):
    """Return ``x`` with a batch axis, and whether it had none."""
    if len(x.shape) not in (dims + 1, dims + 2):
        raise ConversionError(
            f"node {call.name!r} ({call.kind}) has an input of shape {x.shape}; it needs {dims + 2} axes "
            "(batch, channels, then space), check input_shape"
        )
    alone = len(x.shape) == dims + 1
    return (call.graph.reshape(x, (1, *x.shape), name=call.name) if alone else x), alone


def _result(call, y, alone):
    return call.graph.reshape(y, y.shape[1:], name=call.name) if alone else y


def conv(call, x, kernel, bias, stride, padding, dilation, groups):
    """Convolve over three spatial axes."""
    dims = kernel.ndim - 2
    x, alone = with_batch(call, x, dims)
    dilation = tuple_of(dilation, dims)
    if padding == "same":
        edges = [d * (k - 1) for d, k in zip(dilation, kernel.shape[2:], strict=True)]
        before, after = tuple(e // 2 for e in edges), tuple(e - e // 2 for e in edges)
    else:
        before = after = tuple_of(0 if padding == "valid" else padding, dims)
    options = {"stride": tuple_of(stride, dims), "before": before, "after": after, "dilation": dilation, "groups": groups}
    return _result(call, volumes.conv(call.graph, x, kernel, bias, name=call.name, **options), alone)


def conv_transpose(call, x, kernel, bias, stride, padding, output_padding, groups, dilation):
    """Apply a transposed convolution over three spatial axes."""
    dims = kernel.ndim - 2
    x, alone = with_batch(call, x, dims)
    padding = tuple_of(padding, dims)
    options = {"stride": tuple_of(stride, dims), "before": padding, "after": padding, "groups": groups}
    options |= {"output_padding": tuple_of(output_padding, dims), "dilation": tuple_of(dilation, dims)}
    return _result(call, volumes.conv_transpose(call.graph, x, kernel, bias, name=call.name, **options), alone)


def max_pool(call, x, kernel, stride, padding, dilation, ceil_mode, dims):
    """Compute the maximum over windows of any number of axes."""
    x, alone = with_batch(call, x, dims)
    options = (tuple_of(v, dims) for v in (kernel, stride, dilation, padding, padding))
    axes = [volumes.windows(*given, bool(ceil_mode), call.name) for given in zip(x.shape[2:], *options, strict=True)]
    return _result(call, volumes.max_over(call.graph, x, axes, name=call.name), alone)


def avg_pool(call, x, kernel, stride, padding, ceil_mode, count_pad, divisor, dims):
    """Compute the average over windows of any number of axes."""
    x, alone = with_batch(call, x, dims)
    padding = tuple_of(padding, dims)
    options = {"stride": tuple_of(stride, dims), "before": padding, "after": padding, "divisor": divisor or 0}
    options |= {"ceil_mode": bool(ceil_mode), "count_pad": bool(count_pad)}
    return _result(call, volumes.avg_pool(call.graph, x, tuple_of(kernel, dims), name=call.name, **options), alone)


def adaptive_pool(call, x, output_size, dims, over):
    """Apply ``volumes.max_over`` or ``volumes.mean_over`` to the windows that split each axis; None keeps an axis."""
    x, alone = with_batch(call, x, dims)
    sizes = output_size if isinstance(output_size, (tuple, list)) else [output_size] * dims
    axes = [volumes.adaptive_windows(n, n if size is None else int(size)) for n, size in zip(x.shape[2:], sizes, strict=True)]
    return _result(call, over(call.graph, x, axes, name=call.name), alone)


def lp_pool(call, *args, **kwargs):
    """Refuse the pool: torch computes a root of a sum of powers."""
    call.refuse("which is not piecewise linear (a root of a sum of powers)")


def fractional(call, *args, **kwargs):
    """Refuse pools whose windows are random."""
    call.refuse("whose windows are random")


def unpool(call, *args, **kwargs):
    """Refuse the inverse of max pooling."""
    call.refuse("which places entries by the indices of a maximum, which are not continuous")


MODULES = dict.fromkeys((torch.nn.FractionalMaxPool2d, torch.nn.FractionalMaxPool3d), fractional)
OPERATIONS = {
    **dict.fromkeys([f"lp_pool{n}d" for n in (1, 2, 3)], lp_pool),
    **dict.fromkeys([f"fractional_max_pool{n}d{s}" for n in (2, 3) for s in ("", "_with_indices")], fractional),
    **dict.fromkeys([f"max_unpool{n}d" for n in (1, 2, 3)], unpool),
}
