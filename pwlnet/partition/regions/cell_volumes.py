"""Volumes of cells from their vertices.

Legend: F dimensions, V vertices of all cells, R cells.
"""

import numpy as np

from ...kernels.regions import volumes as kernels
from ...scheduling import run_chunks

_CHUNK = 2**9  # cells of one call


def volumes_of_cells(offsets, points, words, threads=None):
    """Compute the volume of each cell.

    Exact up to rounding: a sum of positive terms, of volumes of simplices.

    Parameters
    ----------
    offsets : int64[R+1]
        Cell r has the vertices ``offsets[r]`` to ``offsets[r + 1]``.
    points : float64[V, F]
    words : uint64[V]
        Bit j is set where the vertex is on hyperplane j of its cell.
    threads : int, optional

    Returns
    -------
    float64[R]
        1 without dimensions.
    """
    n, dimensions = len(offsets) - 1, points.shape[1]
    volumes = np.ones(n)
    if not dimensions:
        return volumes
    x, words = np.ascontiguousarray(points.T), np.ascontiguousarray(words)
    offsets, most = np.ascontiguousarray(offsets, np.int64), int(np.diff(offsets).max(initial=1))
    nothing, counts = np.zeros((0, dimensions + 1), np.int64), np.zeros(n, np.int64)

    def compute(first, last):
        work = kernels.volume_work(dimensions, most)
        kernels.cell_volumes(x, words, offsets[first : last + 1], work, nothing, volumes[first:last], counts[first:last])

    run_chunks(compute, n, _CHUNK, threads)
    return volumes
