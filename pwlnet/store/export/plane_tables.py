"""Read the polygons, corners and vertices of planes as flat columns, a bounded number of rows at a time.

Legend: as in ``schema.py``; n rows of a table.
"""

from typing import NamedTuple

import numpy as np

from ..polygon_rows import read_at, read_polygons

_OUTPUTS_AT_ONCE = 2**22  # numbers in memory for the classes


class Lists(NamedTuple):
    """A column with a list of numbers in each row."""

    offsets: np.ndarray  # int64[n + 1] range of each row in ``numbers``, from 0
    numbers: np.ndarray  # float64[*]

    def rows(self):
        """Return an array of arrays: object[n]."""
        column = np.empty(len(self.offsets) - 1, object)
        column[:] = np.split(self.numbers, self.offsets[1:-1])
        return column


def polygon_chunks(store, first, last, rows, *, patterns, classes, corners):
    """Yield chunks of the polygons of planes ``first`` to ``last``: dict of columns, each int64[n], float64[n] or Lists.

    Parameters
    ----------
    store : RegionStore
    first, last : int
    rows : int
        Polygons of a chunk.
    patterns : bool
        Add columns with the words of the activation patterns.
    classes : bool
        Add the largest output at the mean of the corners.
    corners : bool
        Add the coordinates of the corners, u and v in turn, as Lists.
    """
    for planes, polygons in _ranges(store, "polygon_offsets", first, last, rows):
        found = read_polygons(store, polygons, *planes)
        columns = {"plane": found.plane, "polygon": found.polygon, "area": read_at(store, "areas", polygons)}
        columns["n_corners"] = np.diff(found.offsets)
        if classes:
            columns["class"] = _classes(store, found)
        if corners:
            columns["corners"] = Lists(2 * found.offsets, read_at(store, "shared_vertices", found.row).reshape(-1))
        if patterns:
            packed = read_at(store, "packed", polygons)
            columns |= {f"pattern_{k}": packed[:, k] for k in range(packed.shape[1])}
        yield columns


def _classes(store, polygons):
    """Find the largest output at the mean of each polygon's corners, where it is the mean of the outputs: int64[n]."""
    offsets, n_outputs = polygons.offsets, store.network.n_outputs
    classes = np.empty(len(polygons.plane), np.int64)
    low = 0
    while low < len(classes):
        high = int(np.searchsorted(offsets, offsets[low] + _OUTPUTS_AT_ONCE // n_outputs, side="right")) - 1
        high = min(max(high, low + 1), len(classes))
        outputs = read_at(store, "outputs", polygons.row[offsets[low] : offsets[high]])
        sums = np.add.reduceat(outputs, offsets[low:high] - offsets[low], axis=0)
        classes[low:high] = (sums / np.diff(offsets[low : high + 1])[:, None]).argmax(axis=1)
        low = high
    return classes


def corner_chunks(store, first, last, rows):
    """Yield chunks of the corners of polygons, in order, of about ``rows`` rows; the arguments are those of polygon_chunks."""
    for planes, polygons in _ranges(store, "polygon_offsets", first, last, max(1, rows // 4)):
        found = read_polygons(store, polygons, *planes)
        counts = np.diff(found.offsets)
        uv = read_at(store, "shared_vertices", found.row)
        yield {
            "plane": np.repeat(found.plane, counts),
            "polygon": np.repeat(found.polygon, counts),
            "corner": np.arange(len(found.row)) - np.repeat(found.offsets[:-1], counts),
            "vertex": found.vertex,
            "u": uv[:, 0],
            "v": uv[:, 1],
        }


def vertex_chunks(store, first, last, rows, *, wide):
    """Yield chunks of the vertices of planes; ``wide`` adds outputs and their errors. Otherwise as polygon_chunks."""
    for (low, high), vertices in _ranges(store, "vertex_offsets", first, last, rows):
        offsets = read_at(store, "vertex_offsets", np.arange(low, high + 1))
        plane = np.searchsorted(offsets, vertices, side="right") - 1
        uv = read_at(store, "shared_vertices", vertices)
        columns = {"plane": plane + low, "vertex": vertices - offsets[plane], "u": uv[:, 0], "v": uv[:, 1]}
        for name in ("outputs", "error") if wide else ():
            values = read_at(store, name, vertices)
            columns |= {f"{name}_{k}": values[:, k] for k in range(values.shape[1])}
        yield columns


def _ranges(store, name, first, last, rows):
    """Split what planes have into consecutive rows: yields ((first plane, last plane), int64[n]); at least once."""
    if first == last:
        yield (first, last), np.zeros(0, np.int64)
    for block in range(first, last, rows):  # of planes: their offsets fit into memory, too
        end = min(block + rows, last)
        offsets = read_at(store, name, np.arange(block, end + 1))
        for low in range(int(offsets[0]), int(offsets[-1]), rows):
            high = min(low + rows, int(offsets[-1]))
            of = np.searchsorted(offsets, [low, high - 1], side="right") - 1
            yield (block + int(of[0]), block + int(of[1]) + 1), np.arange(low, high)
