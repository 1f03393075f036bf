"""Summaries of lines and planes: what the writer stores with every batch, and those of a store, without reading all rows.

Legend: as in ``schema.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import AnyArray, FloatArray, IntArray
from . import schema
from .certificates import correct_rows
from .float_sets import count_layers

if TYPE_CHECKING:
    import h5py

    from ..network import Network

_AT_ONCE = 2**20


class PlaneSummary(NamedTuple):
    """Numbers of polygons and vertices of planes, and areas in units of (u, v)."""

    n_polygons: IntArray  # int64[P]
    n_vertices: IntArray  # int64[P]
    area: FloatArray  # float64[P] sum of the areas of the polygons
    smallest_area: FloatArray  # float64[P]
    largest_area: FloatArray  # float64[P]
    residual: FloatArray  # float64[P] as in PlanePartitions

    def to_dict(self) -> dict[str, Any]:
        """Return totals and distributions as JSON values: dict."""
        counts, has = self.n_polygons, len(self.area) > 0
        spread = {name: float(getattr(np, name)(counts)) if has else None for name in ("min", "median", "max")}
        return {
            "planes": len(counts),
            "polygons": {"total": int(counts.sum()), **spread},
            "vertices": int(self.n_vertices.sum()),
            "area": math.fsum(self.area),
            "smallest_polygon": float(self.smallest_area.min()) if has else None,
            "largest_polygon": float(self.largest_area.max()) if has else None,
            "residual": float(self.residual.max(initial=0.0)),
        }


def derived_rows(name: str, arrays: dict[str, AnyArray], network: Network) -> dict[str, AnyArray]:
    """Compute the derived datasets of a batch.

    Parameters
    ----------
    name : str
        Its kind.
    arrays : dict of str to ndarray
        By field, as appended; offsets from 0.
    network : Network

    Returns
    -------
    dict of str to ndarray
        Of lines ``length``, ``shortest_t``, ``longest_t`` and ``op_flips``, as in LineSummary; of planes ``area``,
        ``smallest_area`` and ``largest_area``; of float sets the numbers of neurons by layer; of certificates ``correct``.
    """
    if name == "lines":
        from ..partition.lines.summary import count_op_flips, measure_lines

        measures = measure_lines(arrays["starts"], arrays["ends"], arrays["offsets"], arrays["t"])
        bounds = arrays["flip_offsets"][arrays["offsets"]]
        return {**measures, "op_flips": count_op_flips(network, arrays["flip_neurons"], bounds)}
    if name == "planes":
        offsets = arrays["polygon_offsets"].tolist()
        rows = [_measure_areas([arrays["areas"][a:b]]) for a, b in itertools.pairwise(offsets)]
        return {field: np.array([row[field] for row in rows]) for field in rows[0]}
    if name == "float_sets":
        return count_layers(network, arrays)
    if name == "certificates":
        return {"correct": correct_rows(arrays)}
    return {}


def derived_last_row(
    name: str, row: dict[str, AnyArray], file: h5py.File, network: Network, first: Mapping[str, int]
) -> dict[str, AnyArray]:
    """Compute the derived datasets of a line or a plane whose chunks are all in the store.

    Parameters
    ----------
    name : str
    row : dict of str to ndarray
        Its other rows, by field.
    file : h5py.File
    network : Network
    first : dict of str to int
        Rows at which it begins, by axis.

    Returns
    -------
    dict of str to ndarray
        As ``derived_rows``.
    """
    if name == "planes":
        areas = file["/polygons/area"]
        blocks = (areas[low : low + _AT_ONCE] for low in range(first["R"], len(areas), _AT_ONCE))
        return {field: np.array([value]) for field, value in _measure_areas(blocks).items()}
    from ..partition.lines.summary import count_op_flips

    t, neurons = file["/breakpoints/t"], file["/flips/neuron"]
    shortest, longest = np.inf, 0.0
    for low in range(first["T"], len(t) - 1, _AT_ONCE):
        widths = np.diff(t[low : low + _AT_ONCE + 1])
        shortest, longest = min(shortest, widths.min()), max(longest, widths.max())
    blocks = (neurons[low : low + _AT_ONCE] for low in range(first["F"], max(len(neurons), first["F"] + 1), _AT_ONCE))
    return {
        "length": np.linalg.norm(np.ascontiguousarray(row["ends"] - row["starts"]), axis=1),
        "shortest_t": np.array([shortest]),
        "longest_t": np.array([longest]),
        "op_flips": sum(count_op_flips(network, block, np.array([0, len(block)])) for block in blocks),
    }


def _measure_areas(blocks):
    """Compute the measures of a plane from the areas of its polygons, in blocks; they do not depend on these: dict."""
    smallest, largest = np.inf, -np.inf

    def entries():
        nonlocal smallest, largest
        for block in blocks:
            smallest, largest = min(smallest, block.min()), max(largest, block.max())
            yield from block.tolist()

    area = math.fsum(entries())
    return {"area": area, "smallest_area": smallest + 0.0, "largest_area": largest + 0.0}  # 0.0, not -0.0


def stored_line_summary(store, first, last):
    """Summarize lines ``first`` to ``last`` of a store, a bounded number of rows in memory: LineSummary."""
    from ..partition.lines.summary import DEFAULT_EDGES, LineSummary

    of_lines = {d.field: d for d in schema.LINES.stored}
    names = ("residual", "ambiguous", "t_error", "length", "shortest_t", "longest_t", "op_flips")
    rows = {name: store.read_rows(of_lines[name], first, last) for name in names}
    offsets = store.read_rows(of_lines["offsets"], first, last + 1)
    histogram = np.zeros(len(DEFAULT_EDGES) + 1, np.int64)
    for low in range(int(offsets[0]), int(offsets[-1]), _AT_ONCE):
        t = store.read_rows(of_lines["t"], low, min(low + _AT_ONCE + 1, int(offsets[-1])))
        lines = np.searchsorted(offsets, low + np.arange(len(t)), side="right") - 1
        inside = lines[1:] == lines[:-1]  # not from the end of a line to the start of the next
        lengths = (np.diff(t) * rows["length"][lines[:-1]])[inside]
        histogram += np.bincount(np.searchsorted(DEFAULT_EDGES, lengths, side="right"), minlength=len(histogram))
    rows |= {"n_segments": np.diff(offsets) - 1, "histogram": histogram}
    for array in rows.values():
        array.setflags(write=False)
    return LineSummary(network=store.network, edges=DEFAULT_EDGES, tolerances=store.tolerances, **rows)


def stored_plane_summary(store, first, last):
    """Summarize planes ``first`` to ``last`` of a store; no polygons are read: PlaneSummary."""
    of_planes = {d.field: d for d in schema.PLANES.stored}
    if not store.n_rows("planes"):
        return PlaneSummary(*np.zeros((2, 0), np.int64), *np.zeros((4, 0)))
    counts = [np.diff(store.read_rows(of_planes[name], first, last + 1)) for name in ("polygon_offsets", "vertex_offsets")]
    measures = [store.read_rows(of_planes[name], first, last) for name in PlaneSummary._fields[2:]]
    for array in (*counts, *measures):
        array.setflags(write=False)
    return PlaneSummary(*counts, *measures)
