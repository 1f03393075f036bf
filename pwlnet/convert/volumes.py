"""Sliding windows over any number of spatial axes, as nodes over images.

A convolution over three axes is one over two: the taps along the first axis become channels, its outputs become blocks of
rows one below the other, and the rows that lie between two blocks are not read by anything. Weights are stored once. A
maximum is one MaxPool over the entries of each window (or one for each size of windows: those at the edges are smaller), an
average that of the entries of each window, or a matrix along each axis.

Spatial arguments are tuples with one number per spatial axis; padding is one tuple before and one after the axes.
"""

import itertools

import numpy as np

from ..errors import ConversionError
from .graph import count_windows, padded, require_size, require_terms
from .linear_maps import along_axis


def check_rank(x, dims, name):
    """Refuse tensors that are not [1, channels, *space] with ``dims`` spatial axes."""
    if len(x.shape) != dims + 2 or x.shape[0] != 1:
        raise ConversionError(
            f"node {name!r} needs an input [1, channels, {dims} spatial axes], but its input has shape {x.shape}; "
            "check input_shape"
        )


def conv(graph, x, weight, bias=None, *, stride, before, after, dilation, groups=1, name):
    """Convolve ``x`` [1, C, *space] with ``weight`` [O, C / groups, *kernel] over any number of spatial axes.

    Parameters
    ----------
    graph : Graph
    x : Tensor
    weight : float64[O, C / groups, *kernel]
    bias : float64[O], optional
    stride, before, after, dilation : tuple of int
    groups : int
    name : str

    Returns
    -------
    Tensor
    """
    weight = np.asarray(weight)
    dims = weight.ndim - 2
    check_rank(x, dims, name)
    if dims <= 2:
        image, kernel = (x, weight) if dims == 2 else (_with_height(graph, x, name), weight[:, :, None])
        lead, zero = ((), ()) if dims == 2 else ((1,), (0,))
        options = {"stride": lead + tuple(stride), "dilation": lead + tuple(dilation), "groups": groups}
        y = graph.conv(image, kernel, bias, padding=(*zero, *before, *zero, *after), name=name, **options)
        return y if dims == 2 else graph.reshape(y, y.shape[:2] + y.shape[3:], name=name)
    space, kernel = x.shape[2:], weight.shape[2:]
    if weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise ConversionError(
            f"node {name!r} has weight of shape {weight.shape} and groups={groups}, but its input has {x.shape[1]} "
            "channels; the weight must be [outputs, channels / groups, *kernel]"
        )
    axes = zip(space, kernel, stride, dilation, before, after, strict=True)
    out = [count_windows(n, k, s, d, b, a, False, name) for n, k, s, d, b, a in axes]
    height = before[1] + space[1] + after[1]
    require_terms(out, kernel, name)
    require_size((x.shape[1], kernel[0], out[0], height, *space[2:]), f"node {name!r}")
    block = -(-height // stride[1]) * stride[1]
    index = _unfolded(x.indices()[0], out[0], kernel[0], stride[0], dilation[0], before[0])  # [C, taps, D, H, ...]
    widths = [(0, 0), (0, 0), (0, 0), (before[1], block - before[1] - space[1])] + [(0, 0)] * (dims - 2)
    index = padded(index, widths, name, constant_values=-1)
    folded = index.reshape(1, x.shape[1] * kernel[0], out[0] * block, *space[2:])
    y = conv(
        graph,
        graph.layout(x, folded, name=name),
        weight.reshape(weight.shape[0], -1, *kernel[1:]),
        bias,
        stride=stride[1:],
        before=(0, *before[2:]),
        after=(0, *after[2:]),
        dilation=dilation[1:],
        groups=groups,
        name=name,
    )
    rows = np.arange(out[0])[:, None] * (block // stride[1]) + np.arange(out[1])
    return graph.layout(y, y.indices()[:, :, rows], name=name)


def _with_height(graph, x, name):
    return graph.layout(x, np.expand_dims(x.indices(), -2), name=name)


def _unfolded(index, out, kernel, stride, dilation, before):
    """Return the entries [C, taps, out, ...] that the windows of the first spatial axis read, -1 in the padding."""
    position = np.arange(out) * stride - before + np.arange(kernel)[:, None] * dilation
    inside = (position >= 0) & (position < index.shape[1])
    taken = np.take(index, np.where(inside, position, 0), axis=1)
    return np.where(inside.reshape(inside.shape + (1,) * (index.ndim - 2)), taken, -1)


def conv_transpose(graph, x, weight, bias=None, *, stride, before, after, output_padding, dilation, groups=1, name):
    """Apply a transposed convolution over any number of spatial axes, as zero insertion and a convolution.

    Parameters
    ----------
    graph : Graph
    x : Tensor
        [1, C, *space].
    weight : float64[C, O / groups, *kernel]
    bias : float64[O], optional
    stride, before, after, output_padding, dilation : tuple of int
    groups : int
    name : str

    Returns
    -------
    Tensor
    """
    weight = np.asarray(weight)
    dims, channels = weight.ndim - 2, x.shape[1]
    check_rank(x, dims, name)
    if weight.shape[0] != channels:
        raise ConversionError(
            f"node {name!r} has weight of shape {weight.shape}, but its input has {channels} channels; "
            "the weight must be [channels, outputs / groups, *kernel]"
        )
    kernel = weight.shape[2:]
    require_size((channels, *(n * s for n, s in zip(x.shape[2:], stride, strict=True))), f"node {name!r}")
    index = np.full((1, channels, *((n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True))), -1, np.int64)
    index[(slice(None), slice(None), *(slice(None, None, s) for s in stride))] = x.indices()
    edges = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    pads = [(e - b, e - a + o) for e, b, a, o in zip(edges, before, after, output_padding, strict=True)]
    for axis, (first, last) in enumerate(pads, start=2):  # negative padding crops
        index = np.take(index, np.arange(max(0, -first), index.shape[axis] - max(0, -last)), axis=axis)
    index = padded(index, [(0, 0), (0, 0)] + [(max(0, f), max(0, e)) for f, e in pads], name, constant_values=-1)
    flipped = np.flip(weight, tuple(range(2, weight.ndim))).reshape(groups, channels // groups, -1, *kernel)
    stored = np.moveaxis(flipped, 2, 1).reshape(-1, channels // groups, *kernel)
    none, ones = (0,) * dims, (1,) * dims
    options = {"stride": ones, "before": none, "after": none, "dilation": dilation, "groups": groups}
    return conv(graph, graph.layout(x, index, name=name), stored, bias, name=name, **options)


# Pools.


def windows(n, k, s, d, before, after, ceil_mode, name):
    """Return the entries inside the axis that each window reads: a list of int64[taps]."""
    count = count_windows(n, k, s, d, before, after, ceil_mode, name)
    require_size((count, k), f"node {name!r}")
    first = np.arange(count) * s - before
    entries = [f + np.arange(k) * d for f in first]
    return [e[(e >= 0) & (e < n)] for e in entries]


def adaptive_windows(n, size):
    """Return the entries that the windows of adaptive pooling read: window k is floor(k n / size) .. ceil((k + 1) n / size)."""
    return [np.arange(k * n // size, -(-(k + 1) * n // size)) for k in range(size)]


def max_over(graph, x, axes, *, name):
    """Compute the maximum over windows that are products of intervals.

    Parameters
    ----------
    graph : Graph
    x : Tensor
        [1, C, *space].
    axes : list of list of int64[*]
        For each spatial axis, the entries that each window reads.
    name : str

    Returns
    -------
    Tensor
        [1, C, *windows]. Windows of one size share a MaxPool, whose taps are numbered as the source flattens a window;
        windows of a single entry need none.
    """
    check_rank(x, len(axes), name)
    if any(not len(entries) for axis in axes for entries in axis):
        raise ConversionError(
            f"node {name!r} has a window that lies in the padding, so its maximum is undefined; reduce its padding or dilation"
        )
    channels = x.shape[1]
    by_size = []
    for axis in axes:
        sizes = np.array([len(entries) for entries in axis])
        by_size.append([(np.flatnonzero(sizes == k), np.stack([e for e in axis if len(e) == k])) for k in np.unique(sizes)])
    parts, done = [], 0
    order = np.empty((channels, *(len(axis) for axis in axes)), np.int64)
    for group in itertools.product(*by_size):
        index = _windowed(x.indices()[0], [entries for _, entries in group])
        taps = index.shape[-1]
        part = graph.layout(x, index.reshape(1, -1, 1, taps), name=name)
        part = part if taps == 1 else graph.max_pool(part, (1, taps), name=name)
        parts.append(graph.reshape(part, (-1,), name=name))
        places = np.ix_(np.arange(channels), *(members for members, _ in group))
        order[places] = done + np.arange(part.shape[1]).reshape(index.shape[:-1])
        done += part.shape[1]
    return graph.layout(graph.concat(parts, 0, name=name), order[None], name=name)


def _windowed(index, entries):
    """Return the numbers [C, *windows, taps] that windows read, given the entries int64[windows, taps] of each axis."""
    dims = len(entries)
    for k, axis in enumerate(entries):  # the axes become windows, taps, windows, taps, ...
        index = np.take(index, axis, axis=1 + 2 * k)
    index = index.transpose(0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2))
    return index.reshape(*index.shape[: dims + 1], -1)


def averages(axis, n, divisors):
    """Return the matrix float64[windows, n] of the sums over the entries of each window, divided by its divisor."""
    matrix = np.zeros((len(axis), n))
    for k, entries in enumerate(axis):
        matrix[k, entries] = 1.0 / divisors[k]
    return matrix


def mean_over(graph, x, axes, divisors=None, total_divisor=None, *, name):
    """Compute averages over windows that are products of intervals.

    Parameters
    ----------
    graph : Graph
    x : Tensor
        [1, C, *space].
    axes : list of list of int64[*]
        For each spatial axis, the entries that each window reads.
    divisors : list of sequence of int, optional
        For each spatial axis, what each window divides by; by default its number of entries.
    total_divisor : float, optional
        What every window divides by in place of the product of these.
    name : str

    Returns
    -------
    Tensor
        [1, C, *windows].
    """
    check_rank(x, len(axes), name)
    if total_divisor is not None:
        divisors = [[1] * len(axis) for axis in axes]
    if divisors is None:
        divisors = [[len(entries) for entries in axis] for axis in axes]
    alike = all(len({len(e) for e in axis}) == len(set(d)) == 1 for axis, d in zip(axes, divisors, strict=True))
    read = np.prod([sum(map(len, axis)) for axis in axes]) * x.shape[1]
    if alike and read <= 2 * x.size:
        index = _windowed(x.indices()[0], [np.stack(axis) for axis in axes])
        divisor = total_divisor or np.prod([d[0] for d in divisors])
        rows = graph.layout(x, index.reshape(1, -1, 1, index.shape[-1]), name=name)
        y = graph.avg_pool(rows, (1, index.shape[-1]), divisor=divisor, name=name)
        return graph.reshape(y, (1, *index.shape[:-1]), name=name)
    for k, axis in enumerate(axes):
        matrix = averages(axis, x.shape[2 + k], divisors[k])
        x = along_axis(graph, x, matrix / (total_divisor or 1.0) if k == 0 else matrix, 2 + k, name=name)
    return x


def avg_pool(graph, x, kernel, *, stride, before, after, ceil_mode=False, count_pad=True, divisor=0, dilation=None, name):
    """Average over windows of ``x`` [1, C, *space]; with ``count_pad``, padding counts in the divisor.

    Parameters
    ----------
    graph : Graph
    x : Tensor
    kernel, stride, before, after : tuple of int
    ceil_mode, count_pad : bool
    divisor : float
        What every window divides by; 0 for its number of entries.
    dilation : tuple of int, optional
    name : str

    Returns
    -------
    Tensor
    """
    dims = len(kernel)
    check_rank(x, dims, name)
    dilation = dilation or (1,) * dims
    given = list(zip(x.shape[2:], kernel, stride, dilation, before, after, strict=True))
    axes = [windows(n, k, s, d, b, a, ceil_mode, name) for n, k, s, d, b, a in given]
    divisors = None
    if count_pad:  # as in PyTorch, windows in ceil mode end with the padded input
        divisors = [
            [len([f for f in range(i * s - b, i * s - b + k * d, d) if f < n + a]) for i in range(len(axis))]
            for axis, (n, k, s, d, b, a) in zip(axes, given, strict=True)
        ]
    elif any(not len(entries) for axis in axes for entries in axis) and not divisor:
        raise ConversionError(f"node {name!r} has a window that lies in the padding, so its average is undefined; reduce it")
    return mean_over(graph, x, axes, divisors, divisor or None, name=name)
