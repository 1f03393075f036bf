"""Polygons without interior: segments and points, partitioned as lines."""

import numpy as np

from ..lines.partitions import partition_lines
from . import geometry


def partition_flat(network, plane, n_checked):
    """Partition a segment or a point of a plane: PlanePartition, whose "polygons" are segments, or a point, of area 0.

    Exact up to rounding, as partition_lines is.
    """
    from .partitions import PlanePartition

    corners = plane.polygon if len(plane.polygon) == 2 else np.repeat(plane.polygon, 2, axis=0)
    points = geometry.to_input_space(plane, corners)
    line = partition_lines(network, points[:1], points[1:], threads=1).parts[0]
    n = line.n_segments
    if len(plane.polygon) == 1:
        uv, numbers, offsets = plane.polygon, np.zeros(1, np.int32), np.array([0, 1])
        outputs = line.outputs()[:1]
    else:
        uv = corners[0] + line.t[:, None] * (corners[1] - corners[0])
        numbers = np.stack([np.arange(n), np.arange(1, n + 1)], axis=1).ravel().astype(np.int32)
        offsets, outputs = 2 * np.arange(n + 1), line.outputs()
    arrays = [
        offsets.astype(np.int64),
        numbers,
        uv,
        outputs,
        np.full(outputs.shape, np.nan),
        line.patterns().packed,
        np.zeros(n),
    ]
    for array in arrays:
        array.setflags(write=False)
    return PlanePartition(network, plane, *arrays, geometry.residual(network, plane, uv, outputs, n_checked))
