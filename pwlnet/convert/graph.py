"""The neutral graph: the output of every reader, and the input of lowering.

A `Graph` is a list of nodes over tensors with *concrete* shapes. Where the source has a batch axis it is kept, with length 1,
so that a reader can follow the shape arithmetic of the source. Constants are folded by the reader and never appear as
tensors. All layout operations (reshape, transpose, slice, pad, expand, upsample, ...) are one node kind, ``layout``: an index
array that says which input entry each output entry copies.

Each method adds one node, checks its arguments, infers the shape and returns the new `Tensor`. Weights are kept as given and
cast to float64 exactly by lowering.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import ConversionError, UnsupportedOperationError


def refuse(name, kind, reason=None):
    """Raise the error for nodes that cannot be converted exactly.

    Parameters
    ----------
    name : str
        The node's name in the source.
    kind : str
        Its type in the source: ``Sigmoid``.
    reason : str, optional
        Why it is not supported; by default, that it is not piecewise linear.
    """
    reason = reason or "which is not piecewise linear"
    raise UnsupportedOperationError(f"node {name!r} is {kind}, {reason}; docs/supported_ops.md lists what is supported")


MOST_ENTRIES, MOST_CONSTANTS = 2**24, 2**28  # of one value of a network; of constants
MOST_TERMS = 2**33


def require_size(shape, what, most=MOST_ENTRIES):
    """Refuse a shape of more than ``most`` entries, before memory is taken for it; ``what`` begins the sentence."""
    count = math.prod(int(n) for n in shape)
    if count > most:
        shown = str(tuple(int(n) for n in shape))
        raise ConversionError(
            f"{what} makes an array of shape {shown}, which has {count} entries; at most {most} are supported, check "
            "input_shape, or that the source is not damaged"
        )


@dataclass(frozen=True)
class Tensor:
    """A value of the graph: the index of the node that makes it, and its shape (batch axis of length 1 included)."""

    node: int
    shape: tuple

    @property
    def size(self):
        """Number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))

    def indices(self):
        """Return the flat index of each entry, int64 of this tensor's shape: the raw material of ``Graph.layout``."""
        return np.arange(self.size, dtype=np.int64).reshape(self.shape)


@dataclass(frozen=True)
class Node:
    """One operation: its kind, the source's name for it, the nodes it reads, its output shape and its attributes."""

    kind: str
    name: str
    inputs: tuple
    shape: tuple
    attributes: dict = field(repr=False)


class Graph:
    """A network as a list of nodes in topological order; node 0 is the input.

    Parameters
    ----------
    shape : tuple of int
        The input's full shape in the source, with the batch axis (length 1) where the source has one.
    batched : bool
        Whether axis 0 of the input is a batch axis. It is not part of ``Network.input_shape``.
    """

    def __init__(self, shape, *, batched):
        self.nodes = []
        self.notes = []  # what the reader warns of
        self.batched = bool(batched)
        self.input = self._add("input", "input", (), tuple(int(n) for n in shape), {})
        self.output = None
        self.ends = []

    def _add(self, kind, name, inputs, shape, attributes):
        shape = tuple(int(n) for n in shape)
        require_size(shape, f"node {name!r}" if inputs else "the input")
        self.nodes.append(Node(kind, str(name), tuple(t.node for t in inputs), shape, attributes))
        return Tensor(len(self.nodes) - 1, shape)

    def note(self, x, text):
        """Keep a warning about the node that makes ``x``, for networks whose output depends on it."""
        self.notes.append((x.node, text))

    def needed_notes(self):
        """Return the warnings about nodes that the output depends on, once each."""
        needed, stack = set(), [self.output.node]
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                stack.extend(self.nodes[node].inputs)
        return list(dict.fromkeys(text for node, text in self.notes if node in needed))

    # Affine family.

    def linear(self, x, weight, bias=None, *, name):
        """Multiply the last axis by ``weight`` [out, in] and add ``bias`` [out]."""
        weight = np.asarray(weight)
        if weight.ndim != 2 or not x.shape or x.shape[-1] != weight.shape[1]:
            raise ConversionError(
                f"node {name!r} has weight of shape {weight.shape}, but its input has shape {x.shape}; "
                f"the weight must be [outputs, {x.shape[-1] if x.shape else 0}]"
            )
        bias = _bias(bias, weight.shape[0], name)
        return self._add("linear", name, (x,), x.shape[:-1] + (weight.shape[0],), {"weight": weight, "bias": bias})

    def conv(self, x, weight, bias=None, *, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1, name):
        """Convolve ``x`` [1, C, H, W] or [C, H, W] with ``weight`` [O, C / groups, kh, kw].

        ``padding`` is (top, left, bottom, right) zeros. One-dimensional convolutions: reshape to height 1 first.
        """
        weight = np.asarray(weight)
        channels, height, width = self._image(x, name)
        if weight.ndim != 4 or weight.shape[1] * groups != channels or weight.shape[0] % groups:
            raise ConversionError(
                f"node {name!r} has weight of shape {weight.shape} and groups={groups}, "
                f"but its input has {channels} channels; the weight must be [outputs, channels / groups, height, width]"
            )
        out = _window_shape((height, width), weight.shape[2:], stride, padding, dilation, name)
        attributes = {
            "weight": weight,
            "bias": _bias(bias, weight.shape[0], name),
            "stride": _pair(stride),
            "padding": tuple(int(p) for p in padding),
            "dilation": _pair(dilation),
            "groups": int(groups),
        }
        return self._add("conv", name, (x,), x.shape[:-3] + (weight.shape[0],) + out, attributes)

    def conv_transpose(
        self,
        x,
        weight,
        bias=None,
        *,
        stride=(1, 1),
        padding=(0, 0, 0, 0),
        output_padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        name,
    ):
        """Apply a transposed convolution with ``weight`` [C, O / groups, kh, kw], as zero insertion and a convolution."""
        weight = np.asarray(weight)
        channels, height, width = self._image(x, name)
        if weight.ndim != 4 or weight.shape[0] != channels:
            raise ConversionError(
                f"node {name!r} has weight of shape {weight.shape}, but its input has {channels} channels; "
                "the weight must be [channels, outputs / groups, height, width]"
            )
        (sh, sw), (dh, dw) = _pair(stride), _pair(dilation)
        require_size((channels, height * sh, width * sw), f"node {name!r}")
        index = np.full((channels, (height - 1) * sh + 1, (width - 1) * sw + 1), -1, np.int64)
        index[:, ::sh, ::sw] = x.indices().reshape(channels, height, width)
        top, left, bottom, right = (int(p) for p in padding)
        edge_h, edge_w = dh * (weight.shape[2] - 1), dw * (weight.shape[3] - 1)
        pads = (edge_h - top, edge_h - bottom + output_padding[0]), (edge_w - left, edge_w - right + output_padding[1])
        for axis, (before, after) in enumerate(pads, start=1):  # negative padding crops
            index = np.take(index, np.arange(max(0, -before), index.shape[axis] - max(0, -after)), axis=axis)
        index = padded(index, ((0, 0), *((max(0, b), max(0, a)) for b, a in pads)), name, constant_values=-1)
        spread = self.layout(x, index.reshape(x.shape[:-3] + index.shape), name=name)
        flipped = weight[:, :, ::-1, ::-1].reshape(groups, channels // groups, -1, *weight.shape[2:])
        kernel = flipped.transpose(0, 2, 1, 3, 4).reshape(-1, channels // groups, *weight.shape[2:])
        return self.conv(spread, kernel, bias, dilation=dilation, groups=groups, name=name)

    def avg_pool(self, x, kernel, *, stride=None, padding=(0, 0, 0, 0), ceil_mode=False, count_pad=True, divisor=0, name):
        """Average over windows of ``x`` [1, C, H, W] or [C, H, W]; with ``count_pad``, padding counts in the divisor."""
        channels, height, width = self._image(x, name)
        stride = _pair(kernel if stride is None else stride)
        out = _window_shape((height, width), _pair(kernel), stride, padding, (1, 1), name, ceil_mode=ceil_mode)
        attributes = {
            "kernel": _pair(kernel),
            "stride": stride,
            "padding": tuple(int(p) for p in padding),
            "count_pad": bool(count_pad),
            "divisor": int(divisor or 0),
        }
        return self._add("avg_pool", name, (x,), x.shape[:-3] + (channels,) + out, attributes)

    def mean(self, x, axes, *, keepdims=False, name):
        """Average over ``axes``."""
        axes = sorted({int(a) % len(x.shape) for a in np.atleast_1d(axes)})
        kept = [a for a in range(len(x.shape)) if a not in axes]
        count = int(np.prod([x.shape[a] for a in axes]))
        index = x.indices().transpose(kept + axes).reshape(1, -1, 1, count)
        pooled = self.avg_pool(self.layout(x, index, name=name), (1, count), name=name)
        shape = [1 if a in axes else n for a, n in enumerate(x.shape)] if keepdims else [x.shape[a] for a in kept]
        return self.reshape(pooled, shape, name=name)

    def scale_shift(self, x, scale=None, shift=None, *, name):
        """Compute ``scale * x + shift`` with constants that broadcast to (or expand) ``x``'s shape."""
        scale = np.ones(()) if scale is None else np.asarray(scale)
        shift = np.zeros(()) if shift is None else np.asarray(shift)
        try:
            shape = np.broadcast_shapes(x.shape, scale.shape, shift.shape)
        except ValueError:
            raise ConversionError(
                f"node {name!r} combines shape {x.shape} with constants of shapes {scale.shape} and {shift.shape}, "
                "which do not broadcast; check the source's constants"
            ) from None
        if shape != x.shape:
            x = self.layout(x, np.broadcast_to(x.indices(), shape), name=name)
        return self._add("scale_shift", name, (x,), shape, {"scale": scale, "shift": shift})

    def batch_norm(self, x, mean, variance, epsilon, weight=None, bias=None, *, name):
        """Normalise axis 1 (axis 0 for a tensor of rank 1) with fixed statistics, in float64."""
        scale = 1.0 / np.sqrt(np.asarray(variance, np.float64) + float(epsilon))
        if weight is not None:
            scale = scale * np.asarray(weight, np.float64)
        shift = -np.asarray(mean, np.float64) * scale
        if bias is not None:
            shift = shift + np.asarray(bias, np.float64)
        tail = (1,) * max(0, len(x.shape) - 2)
        return self.scale_shift(x, scale.reshape(scale.shape + tail), shift.reshape(shift.shape + tail), name=name)

    def add(self, x1, x2, coefficients=(1.0, 1.0), *, name):
        """Compute ``coefficients[0] * x1 + coefficients[1] * x2``; shapes broadcast."""
        try:
            shape = np.broadcast_shapes(x1.shape, x2.shape)
        except ValueError:
            raise ConversionError(
                f"node {name!r} adds shapes {x1.shape} and {x2.shape}, which do not broadcast; check the source"
            ) from None
        parts = [t if t.shape == shape else self.layout(t, np.broadcast_to(t.indices(), shape), name=name) for t in (x1, x2)]
        return self._add("add", name, parts, shape, {"coefficients": tuple(float(c) for c in coefficients)})

    def concat(self, tensors, axis, *, name):
        """Join tensors along ``axis``."""
        tensors = list(tensors)
        rank = len(tensors[0].shape)
        axis = int(axis) % rank
        for t in tensors:
            if len(t.shape) != rank or any(
                a != b for k, (a, b) in enumerate(zip(t.shape, tensors[0].shape, strict=True)) if k != axis
            ):
                shapes = [t.shape for t in tensors]
                raise ConversionError(f"node {name!r} joins shapes {shapes} along axis {axis}; the other axes must agree")
        if len(tensors) == 1:
            return tensors[0]
        shape = list(tensors[0].shape)
        shape[axis] = sum(t.shape[axis] for t in tensors)
        return self._add("concat", name, tensors, shape, {"axis": axis})

    # Layout.

    def layout(self, x, index, *, fill=0.0, name):
        """Copy entries: output entry ``k`` is ``x.flat[index[k]]``, or the constant ``fill`` where the index is -1.

        Make ``index`` by applying any NumPy layout operation to ``x.indices()``.
        """
        index = np.asarray(index, dtype=np.int64, order="C")
        if index.size and (index.max(initial=-1) >= x.size or index.min(initial=0) < -1):
            raise ConversionError(f"node {name!r} reads outside its input of shape {x.shape}; check the source's indices")
        return self._add("layout", name, (x,), index.shape, {"index": index, "fill": float(fill)})

    def reshape(self, x, shape, *, name):
        """Reshape, with at most one -1 in ``shape``."""
        try:
            return self.layout(x, x.indices().reshape(tuple(int(n) for n in shape)), name=name)
        except ValueError:
            raise ConversionError(
                f"node {name!r} reshapes {x.shape} to {tuple(shape)}, which has another number of entries; "
                "check input_shape, or that the source does not mix the batch with the features"
            ) from None

    def transpose(self, x, axes, *, name):
        """Permute axes."""
        return self.layout(x, x.indices().transpose([int(a) for a in axes]), name=name)

    # Switching family.

    def relu(self, x, *, name):
        """Compute max(x, 0)."""
        return self._add("relu", name, (x,), x.shape, {})

    def leaky_relu(self, x, slope, *, name):
        """Compute ``x`` where positive, ``slope * x`` elsewhere; ``slope`` broadcasts to ``x``'s shape (PReLU: [C, 1, 1])."""
        slope = np.asarray(slope)
        try:
            np.broadcast_to(slope, x.shape)
        except ValueError:
            raise ConversionError(
                f"node {name!r} has slopes of shape {slope.shape}, which do not broadcast to its input's {x.shape}; "
                "give one slope, or one per channel"
            ) from None
        return self._add("leaky_relu", name, (x,), x.shape, {"slope": slope})

    def clip(self, x, lower=-np.inf, upper=np.inf, *, name):
        """Compute min(max(x, lower), upper); either bound may be infinite."""
        lower, upper = float(lower), float(upper)
        if not lower < upper:
            raise ConversionError(f"node {name!r} clips to [{lower}, {upper}]; the lower bound must be below the upper")
        if lower == 0.0 and upper == np.inf:
            return self.relu(x, name=name)
        return self._add("clip", name, (x,), x.shape, {"lower": lower, "upper": upper})

    def max_pool(self, x, kernel, *, stride=None, padding=(0, 0, 0, 0), dilation=(1, 1), ceil_mode=False, name):
        """Compute the maximum over windows of ``x`` [1, C, H, W] or [C, H, W]; padding is ignored."""
        channels, height, width = self._image(x, name)
        stride = _pair(kernel if stride is None else stride)
        kernel, dilation = _pair(kernel), _pair(dilation)
        out = _window_shape((height, width), kernel, stride, padding, dilation, name, ceil_mode=ceil_mode)
        attributes = {
            "kernel": kernel,
            "stride": stride,
            "padding": tuple(int(p) for p in padding),
            "dilation": dilation,
        }
        return self._add("max_pool", name, (x,), x.shape[:-3] + (channels,) + out, attributes)

    def _image(self, x, name):
        if len(x.shape) not in (3, 4) or (len(x.shape) == 4 and x.shape[0] != 1):
            raise ConversionError(
                f"node {name!r} needs an image [1, channels, height, width], but its input has shape {x.shape}; "
                "check input_shape"
            )
        return x.shape[-3:]


def _pair(value):
    if np.ndim(value) == 0:
        return int(value), int(value)
    first, second = value
    return int(first), int(second)


def _bias(bias, n, name):
    bias = np.zeros(n) if bias is None else np.asarray(bias)
    if bias.size != n:
        raise ConversionError(f"node {name!r} has bias of shape {bias.shape}, but {n} outputs; the bias must be [{n}]")
    return bias.reshape(n)


def count_windows(n, k, s, d, before, after, ceil_mode, name):
    """Return the number of windows of an axis; as in PyTorch, a window in ceil mode starts inside the input."""
    if min(k, s, d) < 1:
        raise ConversionError(
            f"node {name!r} has a window of {k}, stride {s} and dilation {d}; all must be at least 1, check the source"
        )
    room = n + before + after - d * (k - 1) - 1
    if room < 0:
        raise ConversionError(
            f"node {name!r} has a window of {k} (dilation {d}) on an input of {n} with padding {before} + {after}; "
            "the window must fit, check input_shape"
        )
    count = -(-room // s) + 1 if ceil_mode else room // s + 1
    return count - 1 if ceil_mode and (count - 1) * s >= n + before else count


def _window_shape(size, kernel, stride, padding, dilation, name, *, ceil_mode=False):
    """Return the output height and width of a sliding window."""
    top, left, bottom, right = (int(p) for p in padding)
    axes = zip(size, kernel, _pair(stride), _pair(dilation), (top, left), (bottom, right), strict=True)
    counts = tuple(count_windows(*axis, ceil_mode, name) for axis in axes)
    require_terms(counts, kernel, name)
    return counts


def require_terms(counts, kernel, name):
    """Refuse windows with more than 2**33 terms in one channel altogether: a damaged kernel or padding."""
    terms = math.prod(map(int, counts)) * math.prod(map(int, kernel))
    if terms > MOST_TERMS:
        raise ConversionError(
            f"node {name!r} has {tuple(map(int, counts))} windows of {tuple(map(int, kernel))}, which is {terms} terms in each "
            f"channel; at most {MOST_TERMS} are supported, check that the source is not damaged"
        )


def padded(array, widths, name, **options):
    """Return ``np.pad(array, widths, **options)``, refused if it is too large."""
    require_size([n + before + after for n, (before, after) in zip(array.shape, widths, strict=True)], f"node {name!r}")
    return np.pad(array, widths, **options)
