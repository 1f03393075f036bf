"""Volumes of cells from their vertices, and simplices that divide them.

Legend: F dimensions, V vertices of all cells, R cells, S simplices.
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
    if not points.shape[1]:
        return np.ones(len(offsets) - 1)
    return _divide(offsets, points, words, None, threads)[0]


def simplices_of_cells(offsets, points, words, threads=None):
    """Divide cells of at least one dimension into simplices; parameters as of ``volumes_of_cells``.

    Exact up to rounding: which vertices belong to a simplex is found from the words alone.

    Returns
    -------
    int64[R+1], int64[S, F+1]
        Offsets of the simplices of each cell, and the numbers of their corners among all vertices.
    """
    _, counts, _ = _divide(offsets, points, words, None, threads)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return ends, _divide(offsets, points, words, ends, threads)[2]


def _divide(offsets, points, words, ends, threads):
    """Return the volumes, the numbers of simplices, and the simplices, where their offsets are given."""
    n, dimensions = len(offsets) - 1, points.shape[1]
    x, words = np.ascontiguousarray(points.T), np.ascontiguousarray(words)
    offsets, most = np.ascontiguousarray(offsets, np.int64), int(np.diff(offsets).max(initial=1))
    volumes, counts, ends = np.zeros(n), np.zeros(n, np.int64), np.zeros(n + 1, np.int64) if ends is None else ends
    simplices = np.zeros((int(ends[-1]), dimensions + 1), np.int64)

    def compute(first, last):
        work, cells = kernels.volume_work(dimensions, most), slice(first, last + 1)
        kernels.cell_volumes(
            x, words, offsets[cells], work, ends[cells], simplices, volumes[first:last], counts[first:last]
        )  # fmt: skip

    run_chunks(compute, n, _CHUNK, threads)
    return volumes, counts, simplices
