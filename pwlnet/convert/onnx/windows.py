"""ONNX operators with sliding windows over any number of spatial axes: convolutions, transposed convolutions and pools.

Pools over one or two axes are pools of images, where one axis is handled as an image of height 1; see `volumes` for others.
"""

from dataclasses import dataclass

import numpy as np

from ...errors import ConversionError
from .. import volumes
from ..graph import Tensor
from .resizing import resize
from .sampling import grid_sample

AMBIGUOUS = "with an auto_pad that implementations read differently"
EXPLICIT = "export the network with explicit pads"


@dataclass(frozen=True)
class _Window:
    """A sliding window and the tensor that it is applied to: one number per spatial axis."""

    x: Tensor
    kernel: tuple
    stride: tuple
    dilation: tuple
    before: tuple
    after: tuple

    @property
    def options(self):
        """The arguments of ``volumes.conv`` and ``volumes.conv_transpose``."""
        return {"stride": self.stride, "before": self.before, "after": self.after, "dilation": self.dilation}

    def pooled(self, graph, pool, name, **options):
        """Apply ``graph.max_pool`` or ``graph.avg_pool`` over one or two axes."""
        lead, zero = ((), ()) if len(self.kernel) == 2 else ((1,), (0,))
        shape = self.x.shape
        image = self.x if not lead else graph.reshape(self.x, (*shape[:-1], 1, shape[-1]), name=name)
        padding = (*zero, *self.before, *zero, *self.after)
        y = pool(image, lead + self.kernel, stride=lead + self.stride, padding=padding, name=name, **options)
        return graph.reshape(y, (*y.shape[:-2], y.shape[-1]), name=name) if lead else y


def _same_padding(node, space, kernel, stride, dilation, mode):
    """Return the padding by which the output has ceil(input / stride) entries per axis."""
    if any(d != 1 for d in dilation) and node.op != "Conv":
        node.refuse(f"{AMBIGUOUS}, {mode} with a dilation; {EXPLICIT}")
    edges = []
    for n, k, s, d in zip(space, kernel, stride, dilation):
        total = (-(-n // s) - 1) * s + d * (k - 1) + 1 - n
        if total < 0 and node.op != "Conv":
            node.refuse(f"{AMBIGUOUS}, {mode} with a stride larger than the kernel; {EXPLICIT}")
        edges.append(_split(max(0, total), mode))
    return tuple(zip(*edges))


def _split(total, mode):
    """Split padding into before and after; SAME_UPPER puts an odd row at the end."""
    small, large = total // 2, total - total // 2
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _integers(node, key, default, dims):
    return tuple(int(v) for v in node.attribute(key) or (default,) * dims)


def _window(node, kernel):
    x, kernel = node.tensor(0), tuple(int(k) for k in kernel)
    dims = len(x.shape) - 2
    if dims < 1 or dims != len(kernel):
        node.refuse(f"with a window of {len(kernel)} axes on an input of shape {x.shape}; check the file")
    stride, dilation = _integers(node, "strides", 1, dims), _integers(node, "dilations", 1, dims)
    mode, pads = node.attribute("auto_pad", "NOTSET"), _integers(node, "pads", 0, 2 * dims)
    _require_window(node, dims, kernel, stride, dilation, pads)
    if mode == "VALID" or (mode != "NOTSET" and node.op == "ConvTranspose"):
        pads = (0,) * 2 * dims
    before, after = pads[:dims], pads[dims:]
    if mode not in ("NOTSET", "VALID") and node.op != "ConvTranspose":
        before, after = _same_padding(node, x.shape[2:], kernel, stride, dilation, mode)
    return _Window(x, kernel, stride, dilation, before, after)


def _require_window(node, dims, kernel, stride, dilation, pads):
    """Refuse numbers of a window that do not fit its axes or each other."""
    given, mode = node.attribute("kernel_shape"), node.attribute("auto_pad", "NOTSET")
    fits = len(stride) == len(dilation) == dims and len(pads) == 2 * dims and min(*kernel, *stride, *dilation) > 0
    fits = fits and min(pads) >= 0 and tuple(given or kernel) == kernel
    if fits and "Conv" not in node.op:  # a window that lies in the padding has no maximum
        fits = all(p < d * (k - 1) + 1 for p, k, d in zip(pads, kernel * 2, dilation * 2))
    if not fits or mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ConversionError(
            f"node {node.name!r} has a window of {kernel} with kernel_shape {given}, strides {stride}, dilations {dilation}, "
            f"pads {pads} and auto_pad {mode!r} on {dims} axes; there must be one number per axis (two pads), of which the "
            "pads are at least 0 and in pools less than the window, and the others at least 1"
        )


def _conv(node, graph):
    weight, bias = node.weight(1, "weight"), node.optional_weight(2, "bias")
    window = _window(node, weight.shape[2:])
    return volumes.conv(graph, window.x, weight, bias, groups=node.attribute("group"), name=node.name, **window.options)


def _conv_transpose(node, graph):
    weight, bias = node.weight(1, "weight"), node.optional_weight(2, "bias")
    window = _window(node, weight.shape[2:])
    extra = _integers(node, "output_padding", 0, len(window.kernel))
    before, after = _transposed_padding(node, window, extra)
    options = window.options | {"before": before, "after": after, "output_padding": extra, "groups": node.attribute("group")}
    return volumes.conv_transpose(graph, window.x, weight, bias, name=node.name, **options)


def _transposed_padding(node, window, extra):
    """Return the padding of a transposed convolution: explicit, or derived from ``output_shape`` or ``auto_pad``."""
    mode, wanted, space = node.attribute("auto_pad", "NOTSET"), node.attribute("output_shape"), window.x.shape[2:]
    if wanted is None and mode in ("NOTSET", "VALID"):
        return window.before, window.after
    if wanted is None:
        if any(k < s for k, s in zip(window.kernel, window.stride)):
            node.refuse(f"{AMBIGUOUS}, {mode} with a stride larger than the kernel; {EXPLICIT}")
        wanted = [n * s for n, s in zip(space, window.stride)]
    axes = zip(space, window.kernel, window.stride, window.dilation, extra, wanted[-len(space) :])
    return tuple(zip(*(_split((n - 1) * s + more + d * (k - 1) + 1 - int(out), mode) for n, k, s, d, more, out in axes)))


def _max_pool(node, graph):
    window, ceil_mode = _window(node, node.attribute("kernel_shape")), bool(node.attribute("ceil_mode", 0))
    if len(window.kernel) < 3:
        lead = (1,) * (2 - len(window.kernel))
        return window.pooled(graph, graph.max_pool, node.name, dilation=lead + window.dilation, ceil_mode=ceil_mode)
    given = (window.x.shape[2:], window.kernel, window.stride, window.dilation, window.before, window.after)
    axes = [volumes.windows(*axis, ceil_mode, node.name) for axis in zip(*given)]
    return volumes.max_over(graph, window.x, axes, name=node.name)


def _average_pool(node, graph):
    window = _window(node, node.attribute("kernel_shape"))
    options = {"ceil_mode": bool(node.attribute("ceil_mode", 0)), "count_pad": bool(node.attribute("count_include_pad", 0))}
    if len(window.kernel) < 3 and all(d == 1 for d in window.dilation):
        return window.pooled(graph, graph.avg_pool, node.name, **options)
    return volumes.avg_pool(graph, window.x, window.kernel, name=node.name, **window.options, **options)


def _lp_pool(node, graph):
    """Convert the pool of p = 1, a sum of absolute values."""
    _require_p_1(node)
    window = _window(node, node.attribute("kernel_shape"))
    absolute = graph.leaky_relu(window.x, -1.0, name=node.name)
    options = window.options | {"divisor": 1, "ceil_mode": bool(node.attribute("ceil_mode", 0))}
    return volumes.avg_pool(graph, absolute, window.kernel, name=node.name, **options)


def _global_lp_pool(node, graph):
    """Convert the pool of p = 1, a sum of absolute values."""
    _require_p_1(node)
    x = graph.leaky_relu(node.tensor(0), -1.0, name=node.name)
    rows = graph.reshape(x, (*x.shape[:2], int(np.prod(x.shape[2:], dtype=np.int64))), name=node.name)
    y = graph.linear(rows, np.ones((1, rows.shape[2])), name=node.name)
    return graph.reshape(y, x.shape[:2] + (1,) * (len(x.shape) - 2), name=node.name)


def _require_p_1(node):
    p = node.attribute("p", 2)
    if p != 1:
        node.refuse(f"with p={p}, which is not piecewise linear; only p=1 is")


def _global_average_pool(node, graph):
    x = node.tensor(0)
    return graph.mean(x, range(2, len(x.shape)), keepdims=True, name=node.name)


def _global_max_pool(node, graph):
    x = node.tensor(0)
    count = int(np.prod(x.shape[2:], dtype=np.int64))
    y = graph.max_pool(graph.reshape(x, (*x.shape[:2], 1, count), name=node.name), (1, count), name=node.name)
    return graph.reshape(y, x.shape[:2] + (1,) * (len(x.shape) - 2), name=node.name)


WINDOW_HANDLERS = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "LpPool": _lp_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "GlobalLpPool": _global_lp_pool,
    "GridSample": grid_sample,
    "Resize": resize,
    "Upsample": resize,
}
