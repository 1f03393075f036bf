"""ONNX operators that resize or sample images: copies of entries, or a matrix along each axis.

The coordinates, filters and edges follow the text of Resize in the operator's specification.
"""

import numpy as np

from ...errors import ConversionError
from ..graph import require_size
from ..linear_maps import along_axis

FILTERS = {"linear": 1, "cubic": 2}  # half of the width of the filter


def resize(node, graph):
    """Convert Resize and Upsample, in all modes."""
    x, mode = node.tensor(0), node.attribute("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        node.refuse(f"in mode {mode!r}; the modes are 'nearest', 'linear' and 'cubic'")
    given = node.attribute("axes")
    axes = list(range(len(x.shape))) if given is None else [int(a) % len(x.shape) for a in given]
    resized, outside = [], np.zeros((1,) * len(x.shape), bool)
    for k, (axis, (size, scale)) in enumerate(zip(axes, _targets(node, x, axes), strict=True)):
        if size == x.shape[axis] and scale == 1.0 and _rule(node) != "tf_crop_and_resize":
            continue
        require_size((size, x.shape[axis]), f"node {node.name!r}")
        position, beyond = _coordinates(node, x.shape[axis], size, scale, _region(node, k, len(axes)))
        resized.append((axis, _matrix(node, mode, x.shape[axis], position, scale)))
        outside = outside | beyond.reshape((-1,) + (1,) * (len(x.shape) - axis - 1))
    for axis, matrix in sorted(resized, key=lambda a: a[1].shape[0] / a[1].shape[1]):
        x = along_axis(graph, x, matrix, axis, name=node.name)
    if not outside.any():
        return x
    fill = float(node.attribute("extrapolation_value", 0.0))
    return graph.layout(x, np.where(outside, -1, x.indices()), fill=fill, name=node.name)


def _is_old(node):
    return node.op == "Upsample" or node.opset < 11


def _rule(node):
    return "asymmetric" if _is_old(node) else node.attribute("coordinate_transformation_mode")


def _targets(node, x, axes):
    """Return the size and the scale of each axis after resizing."""
    lengths = [x.shape[a] for a in axes]
    scales, sizes = node.constant(1, "scales"), None
    if not _is_old(node):
        scales, sizes = node.constant(2, "scales"), node.constant(3, "sizes")
    if scales is None and node.op == "Upsample":
        scales = node.attribute("scales")
        if scales is None:
            scales = [1.0] * (len(axes) - 2) + [node.attribute("height_scale"), node.attribute("width_scale")]
    if node.op == "Upsample" and np.size(scales) and min(map(float, np.ravel(scales))) < 1.0:
        node.refuse("with a scale below 1, for which Upsample is not defined; export it in opset 10 or later, as Resize")
    if scales is not None and np.size(scales):
        lengths = np.asarray(lengths, np.float32)  # sizes as onnxruntime computes them: 6 * 1.1666666 is 7
        return [(int(np.floor(n * np.float32(s))), float(s)) for n, s in zip(lengths, scales, strict=True)]
    if sizes is None:
        raise ConversionError(f"node {node.name!r} is {node.op} without scales and sizes; it needs one of them, check the file")
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    ratios = [int(m) / n for n, m in zip(lengths, sizes, strict=True)]
    if policy == "stretch":
        return [(int(m), r) for m, r in zip(sizes, ratios, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [(int(np.floor(scale * n + 0.5)), scale) for n in lengths]


def _region(node, k, count):
    """Return the part of axis number ``k`` that tf_crop_and_resize reads, as (start, end) in [0, 1]."""
    if _rule(node) != "tf_crop_and_resize":
        return 0.0, 1.0
    region = node.weight(1, "region of interest")
    return float(region[k]), float(region[k + count])


def _coordinates(node, n, size, scale, region):
    """Return where each of ``size`` outputs lies among ``n`` inputs, and which of them take the extrapolation value."""
    rule, i = _rule(node), np.arange(size, dtype=np.float64)
    if rule == "asymmetric":
        x = i / scale
    elif rule == "align_corners":
        x = i * (n - 1) / max(1, size - 1)
    elif rule == "half_pixel" or (rule == "pytorch_half_pixel" and size > 1):
        x = (i + 0.5) / scale - 0.5
    elif rule == "pytorch_half_pixel":
        x = 0.0 * i
    elif rule == "half_pixel_symmetric":
        x = n / 2 * (1 - size / (n * scale)) + (i + 0.5) / scale - 0.5
    elif rule == "tf_half_pixel_for_nn":
        x = (i + 0.5) / scale
    elif rule == "tf_crop_and_resize":
        start, end = region
        step = (end - start) * (n - 1) / (size - 1) if size > 1 else 0.0
        x = start * (n - 1) + i * step if size > 1 else np.array([0.5 * (start + end) * (n - 1)])
        return x, (x < 0) | (x > n - 1)
    else:
        node.refuse(f"with coordinate_transformation_mode {rule!r}, which is not supported")
    return x, np.zeros(size, bool)


def _matrix(node, mode, n, position, scale):
    """Return the matrix float64[size, n] that interpolates at positions of an axis."""
    matrix, rows = np.zeros((len(position), n)), np.arange(len(position))
    if mode == "nearest":
        matrix[rows, _nearest(node, n, position)] = 1.0
        return matrix
    radius, antialias = FILTERS[mode], bool(node.attribute("antialias", 0)) and scale < 1.0
    stretch = 1.0 / scale if antialias else 1.0
    first = np.floor(position - radius * stretch).astype(np.int64)
    taps = first[:, None] + np.arange(int(np.ceil(2 * radius * stretch)) + 2)
    weights = _filter(node, mode, (taps - position[:, None]) / stretch)
    inside = (taps >= 0) & (taps < n)
    if node.attribute("exclude_outside", 0):
        weights = np.where(inside, weights, 0.0)
    if antialias or node.attribute("exclude_outside", 0):
        total = weights.sum(1, keepdims=True)
        if not total.all():
            node.refuse("with exclude_outside and outputs that lie outside of the input altogether")
        weights = weights / total
    np.add.at(matrix, (np.broadcast_to(rows[:, None], taps.shape), np.clip(taps, 0, n - 1)), weights)
    return matrix


def _filter(node, mode, distance):
    """Return the weights of entries at distances from an output."""
    t = np.abs(distance)
    if mode == "linear":
        return np.maximum(0.0, 1.0 - t)
    a = -0.75 if _is_old(node) else float(node.attribute("cubic_coeff_a"))
    near, far = ((a + 2) * t - (a + 3)) * t * t + 1, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _nearest(node, n, position):
    """Return the nearest of ``n`` inputs for each output."""
    rounding = "floor" if _is_old(node) else node.attribute("nearest_mode")
    if rounding not in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        node.refuse(f"with nearest_mode {rounding!r}, which is not supported")
    rounded = {
        "floor": np.floor(position),
        "ceil": np.ceil(position),
        "round_prefer_floor": np.ceil(position - 0.5),
        "round_prefer_ceil": np.floor(position + 0.5),
    }[rounding]
    return np.clip(rounded, 0, n - 1).astype(np.int64)
