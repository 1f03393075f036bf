"""Handlers of torch operations that resample images: a matrix along each axis, or a sparse matrix for each channel.

Torch computes the weights: it resamples the basis vectors of one axis, or of one channel.
"""

from functools import partial

import numpy as np
import torch

from ..graph import Tensor
from ..linear_maps import along_axis, sparse_linear
from ..volumes import adaptive_windows, averages
from .layout import layout

NEAREST = ("nearest", "nearest-exact")
LARGEST_MATRIX = 2**27  # entries of the matrix of a grid, before it is stored sparse


def interpolate(
    call,
    x,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """Resize as torch.nn.functional.interpolate, in all modes."""
    options = (size, scale_factor, mode, align_corners)
    if call.operation == "interpolate":
        options += (recompute_scale_factor, antialias)
    if mode in NEAREST:
        return layout(call, x, *options)
    sizes = _sizes(call, x, *options)
    scales = [None] * len(sizes)
    if scale_factor is not None and not recompute_scale_factor:
        factors = scale_factor if isinstance(scale_factor, (tuple, list)) else [scale_factor]
        scales = [float(f) for f in factors] * (len(sizes) if len(factors) == 1 else 1)
    return _along_axes(call, x, sizes, scales, mode.removeprefix("bi").removeprefix("tri"), bool(align_corners), antialias)


def corners(call, x, size=None, scale_factor=None):
    """Resize as torch.nn.functional.upsample_bilinear: bilinear, with aligned corners."""
    run = torch.nn.functional.interpolate
    sizes = list(run(_blank(x), size, scale_factor, "bilinear", True).shape[2:])
    return _along_axes(call, x, sizes, [None] * len(sizes), "linear", True, False)


def aten_resize(call, x, output_size, align_corners, *scales, kind, antialias=False, **named):
    """Resize as an ATen operator: its scales are one list, or one argument per axis."""
    sizes = _sizes(call, x, output_size, align_corners, *scales, **named)
    given = [*scales, *named.values()]
    if len(given) == 1 and (given[0] is None or isinstance(given[0], (tuple, list))):
        given = list(given[0] or ())
    scales = [None if s is None else float(s) for s in given] + [None] * (len(sizes) - len(given))
    return _along_axes(call, x, sizes, scales, kind, bool(align_corners), antialias)


def _blank(x):
    return torch.zeros((), dtype=torch.float64).expand(1, 1, *x.shape[2:])


def _sizes(call, x, *args, **kwargs):
    """Return the sizes of the axes after resizing one channel; torch refuses arguments that do not fit."""
    return list(call.run(_blank(x), *args, **kwargs).shape[2:])


def _along_axes(call, x, sizes, scales, kind, align_corners, antialias):
    """Apply the matrix of each axis, first those that shrink."""
    axes = [(2 + k, size, scale) for k, (size, scale) in enumerate(zip(sizes, scales, strict=True))]
    for axis, size, scale in sorted(axes, key=lambda a: a[1] / x.shape[a[0]]):
        matrix = _axis_matrix(call, x.shape[axis], size, scale, kind, align_corners, antialias)
        x = along_axis(call.graph, x, matrix, axis, name=call.name)
    return x


def _axis_matrix(call, n, size, scale, kind, align_corners, antialias):
    """Return the matrix float64[size, n] by which torch resizes an axis."""
    if kind == "area":
        windows = adaptive_windows(n, size)
        return averages(windows, n, [len(w) for w in windows])
    basis, aten = torch.eye(n, dtype=torch.float64)[None], torch.ops.aten
    if kind == "linear" and not antialias:
        return aten.upsample_linear1d(basis, [size], align_corners, scale)[0].T.numpy().copy()
    filters = {
        ("linear", True): "_upsample_bilinear2d_aa",
        ("cubic", False): "upsample_bicubic2d",
        ("cubic", True): "_upsample_bicubic2d_aa",
        ("lanczos", True): "_upsample_lanczos2d_aa",
    }
    name = filters.get((kind, bool(antialias)))
    if name is None:
        call.refuse(f"with mode={kind!r}, which is not supported")
    # Along the width: torch's filters with antialiasing are wrong for images of width 1.
    resized = getattr(aten, name)(basis[:, :, None], [1, size], align_corners, None, scale)
    return resized[0, :, 0].T.numpy().copy()


def grid_sample(call, x, grid, *args, **kwargs):
    """Sample at the points of a constant grid, which is a sparse linear map of each channel."""
    if not isinstance(x, Tensor) or isinstance(grid, Tensor):
        call.refuse("at points that the network computes, which is not piecewise linear")
    from scipy import sparse

    grid = torch.as_tensor(call.array(grid))
    n, pixels = int(np.prod(x.shape[2:])), int(np.prod(grid.shape[1:-1]))
    if n * pixels > LARGEST_MATRIX:
        call.refuse(f"from {n} to {pixels} pixels, which are too many for its matrix")
    basis = torch.eye(n, dtype=torch.float64).reshape(1, n, *x.shape[2:])
    sampled = call.run(basis, grid, *args, **kwargs)
    one = sparse.csr_array(sampled[0].reshape(n, pixels).T.numpy())
    matrix = sparse.kron(sparse.eye_array(x.shape[1]), one, format="csr")
    return sparse_linear(call.graph, x, matrix, (1, x.shape[1], *sampled.shape[2:]), name=call.name)


def fold(call, x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Add up blocks that overlap: the transpose of the copies that torch.nn.functional.unfold makes."""
    from scipy import sparse

    pair = [output_size] * 2 if isinstance(output_size, int) else list(output_size)
    taps = kernel_size**2 if isinstance(kernel_size, int) else int(np.prod(kernel_size))
    image = (*x.shape[:-2], x.shape[-2] // taps, *pair)
    numbers = torch.arange(1.0, 1.0 + np.prod(image), dtype=torch.float64).reshape(image)
    copied = torch.nn.functional.unfold(numbers, kernel_size, dilation, padding, stride)
    if tuple(copied.shape) != x.shape:
        raise ValueError(f"blocks of shape {x.shape}, where an image of {image[-2:]} has {tuple(copied.shape)}")
    rows = np.rint(copied.numpy().ravel()).astype(np.int64) - 1
    columns = np.flatnonzero(rows >= 0)
    place = rows[columns], columns
    matrix = sparse.csr_array((np.ones(columns.size), place), shape=(numbers.numel(), x.size))
    return sparse_linear(call.graph, x, matrix, image, name=call.name)


OPERATIONS = {
    **dict.fromkeys(("interpolate", "upsample"), interpolate),
    "upsample_nearest": layout,
    "upsample_bilinear": corners,
    **{f"{u}{n}d": layout for n in (1, 2, 3) for u in ("upsample_nearest", "aten::_upsample_nearest_exact")},
    **{f"upsample_{name}": partial(aten_resize, kind="linear") for name in ("linear1d", "bilinear2d", "trilinear3d")},
    "upsample_bicubic2d": partial(aten_resize, kind="cubic"),
    "_upsample_bilinear2d_aa": partial(aten_resize, kind="linear", antialias=True),
    "_upsample_bicubic2d_aa": partial(aten_resize, kind="cubic", antialias=True),
    "_upsample_lanczos2d_aa": partial(aten_resize, kind="lanczos", antialias=True),
    **dict.fromkeys(("grid_sample", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), grid_sample),
    **dict.fromkeys(("fold", "col2im"), fold),
    **{f"aten::{name}_pad{n}d": layout for name in ("reflection", "replication") for n in (1, 2, 3)},
}
