"""Read polygons of a store by their rows, with their corners, however large their planes are.

Legend: R polygons, C corners, V vertices, n polygons that are read, c their corners.
"""

from typing import NamedTuple

import numpy as np

from . import schema

FIELDS = {dataset.field: dataset for dataset in schema.PLANES.stored}
_GAP = 4096  # rows between needed ones that are read rather than skipped


class PolygonRows(NamedTuple):
    """Polygons of a store: their planes, their numbers in these, and their corners."""

    plane: np.ndarray  # int64[n]
    polygon: np.ndarray  # int64[n]
    offsets: np.ndarray  # int64[n + 1] ranges of corners, from 0
    vertex: np.ndarray  # int64[c] number of the vertex in the plane
    row: np.ndarray  # int64[c] row of the vertex in the store


def read_polygons(store, rows, first, last):
    """Read polygons, but for their coordinates and outputs (``read_at`` with the rows of vertices).

    Parameters
    ----------
    store : RegionStore
    rows : int64[n]
        Counted from the first polygon of the store.
    first, last : int
        They are in planes ``first`` to ``last`` (not included).

    Returns
    -------
    PolygonRows
    """
    firsts, vertices = (store.read_rows(FIELDS[name], first, last + 1) for name in ("polygon_offsets", "vertex_offsets"))
    plane = np.searchsorted(firsts, rows, side="right") - 1
    begins, ends = (read_at(store, "offsets", rows + k) for k in (0, 1))
    counts = ends - begins
    offsets = np.concatenate([[0], np.cumsum(counts)])
    corners = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], counts)
    number = read_at(store, "vertex_numbers", corners).astype(np.int64)
    return PolygonRows(plane + first, rows - firsts[plane], offsets, number, number + np.repeat(vertices[plane], counts))


def read_at(store, field, rows):
    """Read rows of a dataset of planes.

    Parameters
    ----------
    store : RegionStore
    field : str
    rows : int64[n]
        In any order, repeated or not; those near to each other are read together.

    Returns
    -------
    ndarray
    """
    dataset = FIELDS[field]
    needed, places = np.unique(rows, return_inverse=True)
    if not needed.size:
        return store.read_rows(dataset, 0, 0)
    runs = np.split(needed, np.flatnonzero(np.diff(needed) > _GAP) + 1)
    blocks = [store.read_rows(dataset, int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in runs]
    return np.concatenate(blocks)[places]
