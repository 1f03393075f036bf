"""The ONNX operator that samples an image at the points of a constant grid: a sparse matrix for each channel."""

import numpy as np

from ..graph import Tensor
from ..linear_maps import sparse_linear

MODES = {"bilinear": "linear", "bicubic": "cubic"}  # their names in opsets 16 to 19
STEEPNESS = -0.75  # of the cubic filter


def grid_sample(node, graph):
    """Convert GridSample over two or three axes."""
    from scipy import sparse

    x = node.get(0)
    if not isinstance(x, Tensor) or isinstance(node.get(1), Tensor):
        node.refuse("at points that depend on the network's input, which is not piecewise linear")
    grid, space = node.weight(1, "grid"), x.shape[2:]
    mode, padding = node.attribute("mode"), node.attribute("padding_mode")
    mode, align = MODES.get(mode, mode), bool(node.attribute("align_corners"))
    points = grid.reshape(-1, len(space))[:, ::-1]  # the last axis of the image comes first
    index, weights = np.zeros((len(points), 1), np.int64), np.ones((len(points), 1))
    for n, coordinate in zip(space, points.T):
        taps, factors = _taps(n, coordinate, mode, padding, align)
        index = (index[:, :, None] * n + taps[:, None]).reshape(len(points), -1)
        weights = (weights[:, :, None] * factors[:, None]).reshape(len(points), -1)
    rows = np.repeat(np.arange(len(points)), index.shape[1])
    one = sparse.csr_array((weights.ravel(), (rows, index.ravel())), shape=(len(points), int(np.prod(space))))
    matrix = sparse.kron(sparse.eye_array(x.shape[1]), one, format="csr")
    return sparse_linear(graph, x, matrix, (1, x.shape[1], *grid.shape[1:-1]), name=node.name)


def _taps(n, coordinate, mode, padding, align):
    """Return the entries of an axis that each point reads, int64[points, taps], and their weights."""
    x = (coordinate + 1) / 2 * (n - 1) if align else ((coordinate + 1) * n - 1) / 2
    if mode != "cubic":
        x = _moved_inside(x, n, padding, align)
    if mode == "nearest":
        taps, weights = np.rint(x)[:, None], np.ones((len(x), 1))
    elif mode == "linear":
        taps = np.floor(x)[:, None] + [0, 1]
        weights = 1 - np.abs(taps - x[:, None])
    else:
        taps = np.floor(x)[:, None] + [-1, 0, 1, 2]
        t, a = np.abs(taps - x[:, None]), STEEPNESS
        weights = np.where(t <= 1, ((a + 2) * t - (a + 3)) * t * t + 1, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a)
        taps = np.rint(_moved_inside(taps, n, padding, align))
    inside = (taps >= 0) & (taps < n)
    return np.where(inside, taps, 0).astype(np.int64), np.where(inside, weights, 0.0)


def _moved_inside(x, n, padding, align):
    """Return coordinates clipped to the axis or reflected at its borders; with zeros outside, as they are."""
    if padding == "zeros":
        return x
    if padding == "reflection":
        low, length = (0.0, n - 1.0) if align else (-0.5, float(n))
        if length == 0.0:
            return np.zeros_like(x)
        away = np.mod(x - low, 2 * length)
        x = low + np.minimum(away, 2 * length - away)
    return np.clip(x, 0, n - 1)
