"""One line or plane in chunks: rows along ``Kind.chunk_axes``, a bounded number of them in memory; the other rows come last.

Legend: as in ``schema.py``.
"""

import contextlib

import numpy as np

from ..errors import InputError
from . import schema
from .consistency import chunk_problem, row_problem
from .results import axis_sizes, row_shape

_AT_ONCE = 2**20  # numbers of a dataset in memory
START = {"lines": None, "planes": 0}  # where the first chunk begins: see chunk_end


@contextlib.contextmanager
def closing(items):
    """Close a generator, with its threads, when the block is left; other iterators are only provided."""
    try:
        yield items
    finally:
        if hasattr(items, "close"):
            items.close()


def chunk_end(name, arrays, before):
    """Return where a chunk ends: its last t, or the number of vertices so far; ``before``: the end of the chunk before."""
    if name == "planes":
        return before + len(arrays["shared_vertices"])
    return float(arrays["t"][-1]) if len(arrays["t"]) else before


def chunk_rows(name, chunk, sizes, before):
    """Validate a chunk and return its rows.

    Parameters
    ----------
    name : str
        "lines" or "planes".
    chunk : dict of str to array
        Of the kind's ``chunk_datasets``, by field; offsets from 0.
    sizes : dict of str to int
        ``results.axis_sizes``.
    before : float or int or None
        ``chunk_end`` of the chunk before, or START.

    Returns
    -------
    dict of str to ndarray
        Rows of all datasets of the kind, offsets without their 0; none of those that a chunk does not have.

    Raises
    ------
    InputError
        The arrays are inconsistent, or do not continue the chunk before.
    """
    kind = schema.KINDS[name]
    arrays = {dataset.field: np.ascontiguousarray(chunk[dataset.field]) for dataset in kind.chunk_datasets}
    problem = chunk_problem(name, arrays, sizes, before)
    if problem:
        raise InputError(f"the chunk can't be appended: {problem}; give the chunks of one {name[:-1]} in order")
    return {**_no_rows(kind.stored, sizes), **{d.field: arrays[d.field][d.lead :] for d in kind.chunk_datasets}}


def last_rows(name, row, derived, lengths, sizes):
    """Return the rows that finish a line or a plane.

    Parameters
    ----------
    name : str
    row : dict of str to array
        Of the kind's ``row_datasets``, by field; offsets from 0.
    derived : dict of str to array
        Of its derived datasets.
    lengths : dict of str to int
        Rows of its chunks, by axis.
    sizes : dict of str to int

    Returns
    -------
    dict of str to ndarray
        Rows of all datasets of the kind, offsets without their 0; none of those of chunks.
    """
    kind = schema.KINDS[name]
    offsets = [d for d in kind.datasets if d.lead and d.axis == kind.axes[0] and kind.counts[d.path] in kind.chunk_axes]
    counts = {dataset.field: np.array([lengths[kind.counts[dataset.path]]]) for dataset in offsets}
    row = {dataset.field: row[dataset.field][dataset.lead :] for dataset in kind.row_datasets}
    return {**_no_rows(kind.stored, sizes), **row, **counts, **derived}


def iter_stored_chunks(store, name, number):
    """Read a line or a plane of a store in chunks; of a plane all vertices come before the polygons.

    Parameters
    ----------
    store : RegionStore
    name : str
        "lines" or "planes".
    number : int

    Yields
    ------
    dict of str to ndarray
        As ``chunk_rows`` takes it.
    """
    kind, sizes = schema.KINDS[name], axis_sizes(store.network)
    ranges = store.axis_ranges(kind, number, number + 1)
    counted = [kind.counts[d.path] for d in kind.datasets if d.lead and d.axis == kind.axes[0]]
    for axis in reversed([axis for axis in counted if axis in kind.chunk_axes]):
        widths = [int(np.prod(row_shape(d, sizes), dtype=np.int64)) for d in kind.chunk_datasets if d.axis == axis]
        step = max(1, _AT_ONCE // max(1, *widths))
        for first in range(*ranges[axis], step):
            yield _read_chunk(store, kind, axis, first, min(first + step, ranges[axis][1]), sizes)


def _read_chunk(store, kind, axis, first, last, sizes):
    """Read rows along one of the chunk axes, and those that belong to them; of other axes none."""
    ranges, chunk = {axis: (first, last)}, {}
    for dataset in kind.chunk_datasets:
        if dataset.axis not in ranges:
            chunk[dataset.field] = np.zeros((dataset.lead, *row_shape(dataset, sizes)), np.dtype(dataset.dtype))
            continue
        low, high = ranges[dataset.axis]
        rows = store.read_rows(dataset, low, high + dataset.lead)
        if dataset.lead:
            ranges[kind.counts[dataset.path]] = int(rows[0]), max(int(rows[0]), int(rows[-1]))
            rows = rows - rows[0]
        chunk[dataset.field] = rows
    return chunk


def stored_row(store, name, number):
    """Read what is stored of a line or a plane besides its chunks: dict of arrays by field, as ``last_rows`` takes them."""
    kind = schema.KINDS[name]
    return store.read_datasets(kind, number, number + 1, kind.row_datasets)


def stored_problem(store, name, number):
    """Describe what is inconsistent in a line or a plane of a store, or return None; a bounded number of rows in memory."""
    sizes, end, n_rows = axis_sizes(store.network), START[name], 0
    for chunk in iter_stored_chunks(store, name, number):
        problem = chunk_problem(name, chunk, sizes, end)
        if problem:
            return problem
        end, n_rows = chunk_end(name, chunk, end), n_rows + n_chunk_rows(name, chunk)
    return end_problem(name, end, n_rows) or row_problem(name, stored_row(store, name, number), sizes)


def n_chunk_rows(name, arrays):
    """Return the number of breakpoints or polygons of a chunk."""
    return len(arrays["areas"] if name == "planes" else arrays["t"])


def end_problem(name, end, n_rows):
    """Describe why chunks are not a whole line or plane, or return None; ``n_rows``: number of breakpoints or polygons."""
    if name == "lines" and end != 1.0:
        return f"t ends with {end}, not 1"
    if name == "planes" and not n_rows:
        return "there are no polygons"
    return None


def _no_rows(datasets, sizes):
    """Return empty arrays by field."""
    return {d.field: np.zeros((0, *row_shape(d, sizes)), np.dtype(d.dtype)) for d in datasets}
