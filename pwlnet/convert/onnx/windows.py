"""ONNX operators with sliding windows: convolutions, pools, nearest-neighbour resizing.

One spatial axis is handled as an image of height 1. Padding is (top, left, bottom, right) throughout, as in ONNX.
"""

from dataclasses import dataclass

import numpy as np

from ..graph import Tensor

AMBIGUOUS = "with an auto_pad that implementations read differently"
EXPLICIT = "export the network with explicit pads"


@dataclass(frozen=True)
class _Window:
    """A sliding window, and the image that it is applied to."""

    image: Tensor
    kernel: tuple
    stride: tuple
    dilation: tuple
    padding: tuple
    flat: bool  # the source has one spatial axis

    def restored(self, graph, y, name):
        """Remove the height axis that ``_image`` added."""
        return graph.reshape(y, (*y.shape[:-2], y.shape[-1]), name=name) if self.flat else y


def _image(node, graph, x):
    if len(x.shape) not in (3, 4):
        axes = len(x.shape) - 2
        node.refuse(f"over {axes} spatial axes; one or two are supported")
    return x if len(x.shape) == 4 else graph.reshape(x, (*x.shape[:-1], 1, x.shape[-1]), name=node.name)


def _pair(value, filler):
    """Return one or two entries as a pair."""
    value = tuple(int(v) for v in value)
    return value if len(value) == 2 else (filler, *value)


def _padding(node):
    """Return explicit padding of one or two spatial axes; zeros if it is absent."""
    pads = node.attribute("pads")
    if not pads:
        return (0, 0, 0, 0)
    return tuple(int(p) for p in pads) if len(pads) == 4 else (0, int(pads[0]), 0, int(pads[1]))


def _split(total, mode):
    """Split padding into before and after; SAME_UPPER puts an odd row at the end."""
    small, large = total // 2, total - total // 2
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _same_padding(node, image, kernel, stride, dilation, mode):
    """Return the padding by which the output has ceil(input / stride) entries per axis."""
    if dilation != (1, 1):
        node.refuse(f"{AMBIGUOUS}, {mode} with a dilation; {EXPLICIT}")
    edges = []
    for n, k, s in zip(image.shape[2:], kernel, stride):
        total = (-(-n // s) - 1) * s + k - n
        if total < 0 and node.op != "Conv":
            node.refuse(f"{AMBIGUOUS}, {mode} with a stride larger than the kernel; {EXPLICIT}")
        edges.append(_split(max(0, total), mode))
    (top, bottom), (left, right) = edges
    return top, left, bottom, right


def _window(node, graph, kernel):
    x = node.tensor(0)
    image = _image(node, graph, x)
    kernel = _pair(kernel, 1)
    stride = _pair(node.attribute("strides") or (1, 1), 1)
    dilation = _pair(node.attribute("dilations") or (1, 1), 1)
    mode = node.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        padding = _padding(node)
    elif mode == "VALID" or node.op == "ConvTranspose":
        padding = (0, 0, 0, 0)
    else:
        padding = _same_padding(node, image, kernel, stride, dilation, mode)
    return _Window(image, kernel, stride, dilation, padding, flat=len(x.shape) == 3)


def _kernel(weight):
    """Return the weight of a convolution with two spatial axes."""
    return weight if weight.ndim != 3 else weight[:, :, None, :]


def _conv(node, graph):
    weight, bias = node.weight(1, "weight"), node.optional_weight(2, "bias")
    window = _window(node, graph, weight.shape[2:])
    y = graph.conv(
        window.image,
        _kernel(weight),
        bias,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=node.attribute("group"),
        name=node.name,
    )
    return window.restored(graph, y, node.name)


def _conv_transpose(node, graph):
    weight, bias = node.weight(1, "weight"), node.optional_weight(2, "bias")
    window = _window(node, graph, weight.shape[2:])
    extra = _pair(node.attribute("output_padding") or (0, 0), 0)
    y = graph.conv_transpose(
        window.image,
        _kernel(weight),
        bias,
        stride=window.stride,
        padding=_transposed_padding(node, window, extra),
        output_padding=extra,
        dilation=window.dilation,
        groups=node.attribute("group"),
        name=node.name,
    )
    return window.restored(graph, y, node.name)


def _transposed_padding(node, window, extra):
    """Return the padding of a transposed convolution: explicit, or derived from ``output_shape`` or ``auto_pad``."""
    mode, wanted = node.attribute("auto_pad", "NOTSET"), node.attribute("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID"):
        return window.padding
    if wanted is None:
        if any(k < s for k, s in zip(window.kernel, window.stride)):
            node.refuse(f"{AMBIGUOUS}, {mode} with a stride larger than the kernel; {EXPLICIT}")
        wanted = [n * s for n, s in zip(window.image.shape[2:], window.stride)]
    edges = []
    axes = zip(window.image.shape[2:], window.kernel, window.stride, window.dilation, extra, _pair(wanted[-2:], 1))
    for n, k, s, d, more, out in axes:
        edges.append(_split((n - 1) * s + more + d * (k - 1) + 1 - out, mode))
    (top, bottom), (left, right) = edges
    return top, left, bottom, right


def _max_pool(node, graph):
    window = _window(node, graph, node.attribute("kernel_shape"))
    y = graph.max_pool(
        window.image,
        window.kernel,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        ceil_mode=bool(node.attribute("ceil_mode", 0)),
        name=node.name,
    )
    return window.restored(graph, y, node.name)


def _average_pool(node, graph):
    window = _window(node, graph, node.attribute("kernel_shape"))
    if window.dilation != (1, 1):
        node.refuse(f"with dilation {window.dilation}; only undilated windows are supported")
    y = graph.avg_pool(
        window.image,
        window.kernel,
        stride=window.stride,
        padding=window.padding,
        ceil_mode=bool(node.attribute("ceil_mode", 0)),
        count_pad=bool(node.attribute("count_include_pad", 0)),
        name=node.name,
    )
    return window.restored(graph, y, node.name)


def _global_average_pool(node, graph):
    x = node.tensor(0)
    return graph.mean(x, range(2, len(x.shape)), keepdims=True, name=node.name)


def _global_max_pool(node, graph):
    x = node.tensor(0)
    count = int(np.prod(x.shape[2:], dtype=np.int64))
    y = graph.max_pool(graph.reshape(x, (*x.shape[:2], 1, count), name=node.name), (1, count), name=node.name)
    return graph.reshape(y, x.shape[:2] + (1,) * (len(x.shape) - 2), name=node.name)


def _resize(node, graph):
    x, mode = node.tensor(0), node.attribute("mode", "nearest")
    if mode != "nearest":
        node.refuse(f"in mode {mode!r}; only 'nearest' is supported")
    axes = [int(a) % len(x.shape) for a in node.attribute("axes") or range(len(x.shape))]
    scales, sizes = _resize_target(node)
    index = x.indices()
    for k, axis in enumerate(axes):
        n = x.shape[axis]
        scale = sizes[k] / n if scales is None else float(scales[k])
        size = int(np.floor(n * scale)) if sizes is None else int(sizes[k])
        index = np.take(index, _nearest(node, n, size, scale), axis=axis)
    return graph.layout(x, index, name=node.name)


def _resize_target(node):
    """Return scales and sizes of a Resize or an Upsample; one of them may be None."""
    if node.op == "Upsample" or node.opset < 11:
        scales = node.constant(1, "scales")
        return (node.attribute("scales") if scales is None else scales), None
    scales, sizes = node.constant(2, "scales"), node.constant(3, "sizes")
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch" and sizes is not None:
        node.refuse("with keep_aspect_ratio_policy; only 'stretch' is supported")
    return (None if scales is None or not np.size(scales) else scales), (None if not np.size(sizes) else sizes)


def _nearest(node, n, size, scale):
    """Return the nearest of ``n`` inputs for each of ``size`` outputs, by the rules of Resize."""
    old = node.op == "Upsample" or node.opset < 11
    rule = "asymmetric" if old else node.attribute("coordinate_transformation_mode")
    rounding = "floor" if old else node.attribute("nearest_mode")
    i = np.arange(size, dtype=np.float64)
    if rule == "asymmetric":
        x = i / scale
    elif rule == "align_corners":
        x = i * (n - 1) / max(1, size - 1)
    elif rule == "half_pixel" or (rule == "pytorch_half_pixel" and size > 1):
        x = (i + 0.5) / scale - 0.5
    elif rule == "pytorch_half_pixel":
        x = 0.0 * i
    else:
        node.refuse(f"with coordinate_transformation_mode {rule!r}, which is not supported")
    rounded = {
        "floor": np.floor(x),
        "ceil": np.ceil(x),
        "round_prefer_floor": np.ceil(x - 0.5),
        "round_prefer_ceil": np.floor(x + 0.5),
    }[rounding]
    return np.clip(rounded, 0, n - 1).astype(np.int64)


WINDOW_HANDLERS = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "Resize": _resize,
    "Upsample": _resize,
}
