"""Find the polygons of points: a grid over the plane lists, for each grid cell, the polygons that touch it."""

import numpy as np

from ...errors import ShapeError
from ...kernels.planes import locate as locate_kernels
from ...validation import refuse_not_finite

_POLYGONS_PER_CELL = 1.0
_MOST_CELLS = 2**22


class Locator:
    """The grid of a PlanePartition."""

    def __init__(self, part):
        self._part = part
        corners = part.shared_vertices
        self._low, high = corners.min(axis=0), corners.max(axis=0)
        size = np.maximum(high - self._low, np.finfo(np.float64).tiny)
        n = min(_MOST_CELLS, max(1.0, part.n_polygons / _POLYGONS_PER_CELL))
        self._shape = np.maximum(1, np.minimum(2**20, np.round([np.sqrt(n), np.sqrt(n)]))).astype(np.int64)
        self._scale = self._shape / size
        starts = np.zeros(int(np.prod(self._shape)) + 1, np.int64)
        arguments = part.offsets, part.vertex_numbers, corners, self._low, self._scale, self._shape
        locate_kernels.count_touched(*arguments, starts)
        np.cumsum(starts, out=starts)
        self._lists = np.empty(starts[-1], np.int32)
        locate_kernels.list_touched(*arguments, starts, self._lists)
        self._starts = starts

    def __call__(self, points):
        points = np.asarray(points, np.float64)
        single = points.ndim == 1
        points = np.ascontiguousarray(np.atleast_2d(points))
        if points.ndim != 2 or points.shape[1] != 2:
            raise ShapeError(f"points has shape {points.shape}; give coordinates (u, v), (points, 2)")
        refuse_not_finite(points, "points")
        result = np.empty(len(points), np.int64)
        part = self._part
        locate_kernels.locate_points(
            part.offsets, part.vertex_numbers, part.shared_vertices, self._low, self._scale, self._shape, self._starts,
            self._lists, points, result,
        )  # fmt: skip
        return result[0] if single else result
