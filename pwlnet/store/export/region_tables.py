"""Read regions, their facets and their vertices as flat columns, a bounded number of rows at a time.

Legend: as in ``schema.py``; n rows of a table.
"""

import itertools

import numpy as np

from ...errors import StoreError
from .. import schema
from ..region_consistency import rows_of_enumerations

_FIELDS = {dataset.field: dataset for dataset in schema.REGIONS.datasets}
_NAMES = {"volumes": "volume", "classes": "class"}
_WIDE_NAMES = {"witnesses": "witness", "affine_maps_A": "slope", "affine_maps_c": "constant"}
_RAGGED = {  # of a table: its offsets, the name of the number, and its columns
    "facets": ("facet_offsets", "facet", {"facet_neurons": "neuron", "facet_states": "state", "facet_h": "h", "facet_G": "G"}),
    "region_vertices": ("vertex_offsets", "vertex", {"vertex_facets": "facets", "vertices": "x"}),
}


def table_chunks(store, table, first, last, rows, *, patterns, wide):
    """Return the chunks of a table: iterator of dict of columns, each an array [n].

    Parameters
    ----------
    store : RegionStore
    table : str
        "regions", "facets" or "region_vertices".
    first, last : int
        Regions of the store, of all enumerations.
    rows : int
        Of a chunk.
    patterns, wide : bool
        As for ``to_dataframe``; for "regions" only.
    """
    if store.n_rows("enumerations") and not store.n_rows("regions"):
        raise StoreError(f"{store.path} has no regions: none were found, or they were only counted; read 'enumerations'")
    store.read("regions", first, first)  # raises if the store has none
    if table == "regions":
        return _region_chunks(store, first, last, rows, patterns, wide)
    return _ragged_chunks(store, table, first, last, rows)


def _region_chunks(store, first, last, rows, patterns, wide):
    for low in range(first, max(last, first + 1), rows):
        high = min(low + rows, last)
        columns = _numbers(store, np.arange(low, high))
        for field, name in (("facet_offsets", "n_facets"), ("vertex_offsets", "n_vertices")):
            columns[name] = np.diff(store.read_rows(_FIELDS[field], low, high + 1))
        for field, name in _NAMES.items():
            columns |= _entries(store.read_rows(_FIELDS[field], low, high), name, flat=True)
        for field, name in _WIDE_NAMES.items() if wide else ():
            columns |= _entries(store.read_rows(_FIELDS[field], low, high), name)
        if patterns:
            columns |= _entries(store.read_rows(_FIELDS["packed"], low, high), "pattern")
        yield columns


def _ragged_chunks(store, table, first, last, rows):
    """Yield chunks of the facets or vertices of regions ``first`` to ``last``, in order; at least one."""
    offsets_of, number, fields = _RAGGED[table]
    for block in range(first, max(last, first + 1), rows):  # of regions: their offsets fit into memory, too
        regions = np.arange(block, min(block + rows, last))
        offsets = store.read_rows(_FIELDS[offsets_of], block, block + len(regions) + 1)
        starts = range(int(offsets[0]), int(offsets[-1]), rows)
        for low in starts if starts or block > first else [int(offsets[0])]:
            high = min(low + rows, int(offsets[-1]))
            at = np.searchsorted(offsets, np.arange(low, high), side="right") - 1
            columns = {**_numbers(store, block + at), number: np.arange(low, high) - offsets[at]}
            for field, name in fields.items():
                columns |= _entries(store.read_rows(_FIELDS[field], low, high), name, flat=field not in ("vertices", "facet_G"))
            yield columns


def _numbers(store, regions):
    """Return the columns of the numbers of regions of the store: of their enumerations, and in these."""
    firsts = np.array([0, *itertools.accumulate(rows_of_enumerations(store))])
    firsts = firsts[: store.n_rows("enumerations")]
    enumeration = np.searchsorted(firsts, regions, side="right") - 1  # the last of several that begin there has rows
    return {"enumeration": enumeration, "region": regions - firsts[enumeration]}


def _entries(values, name, flat=False):
    """Return a column per entry of a row; ``flat``: of rows with at most one number, a column with the name, or none."""
    values = values.reshape(len(values), int(np.prod(values.shape[1:])))
    if flat:
        return {name: values[:, 0]} if values.shape[1] else {}
    return {f"{name}_{k}": values[:, k] for k in range(values.shape[1])}
