"""Enumerations of regions and their blocks as arrays of the store and back.

Legend: as in ``schema.py``; n regions of a block, F free inputs.
"""

from typing import NamedTuple

import numpy as np

from ..errors import InputError, ShapeError
from ..partition.regions.blocks import CLASS_MODES, COLUMNS, METHODS, RAGGED, STOPS, RegionBlock, RegionHeader
from . import schema
from .results import row_shape

_FLAT = ("volumes", "classes", "facet_h")  # one number per row, or none
_DATASETS = {dataset.field: dataset for dataset in schema.REGIONS.datasets}


class RegionCounts(NamedTuple):
    """How an enumeration ended, as in Regions; ``n_rows``: regions that are stored, 0 if they were only counted."""

    n_regions: int
    n_rows: int
    complete: bool
    stopped_by: str | None
    certified: bool
    n_exact: int


def free_widths(header, sizes):
    """Return the lengths of the axes "*" of regions, by field: dict of tuple of int.

    Parameters
    ----------
    header : RegionHeader
    sizes : dict of str to int
        ``results.axis_sizes``.
    """
    n_free, has = len(header.free), set(header.fields)
    full = {
        "packed": (sizes["W"],), "witnesses": (sizes["D"],), "classes": (1,), "volumes": (1,),
        "affine_maps_A": (sizes["O"], n_free), "affine_maps_c": (sizes["O"],), "vertices": (n_free,),
        "facet_G": (n_free,), "facet_h": (1,),
    }  # fmt: skip
    return {field: shape if field in has else (0,) * len(shape) for field, shape in full.items()}


def header_to_arrays(header):
    """Return the row of an enumeration: dict of arrays of ``schema.ENUMERATIONS.datasets`` by field."""
    A, b = header.polytope or (np.zeros((0, len(header.lower))), np.zeros(0))
    columns = sum(2**k for k, name in enumerate(COLUMNS) if name in header.want)
    numbers = {"methods": METHODS.index(header.method), "columns": columns}
    numbers["class_modes"] = 0 if header.classes is None else 1 + CLASS_MODES.index(header.classes)
    return {
        "lower": header.lower[None], "upper": header.upper[None], "polytope_A": A, "polytope_b": b,
        "polytope_offsets": np.array([0, len(b)], np.int64),
        **{field: np.array([number], np.int64) for field, number in numbers.items()},
    }  # fmt: skip


def header_from_arrays(arrays):
    """Build the header of an enumeration; inverse of ``header_to_arrays``: RegionHeader."""
    columns, mode = int(arrays["columns"][0]), int(arrays["class_modes"][0])
    return RegionHeader(
        arrays["lower"][0],
        arrays["upper"][0],
        (arrays["polytope_A"], arrays["polytope_b"]),
        tuple(name for k, name in enumerate(COLUMNS) if columns >> k & 1),
        CLASS_MODES[mode - 1] if mode else None,
        METHODS[int(arrays["methods"][0])],
    )


def counts_to_arrays(counts):
    """Return the row that ends an enumeration: dict of arrays of ``schema.ENUMERATION_ENDS.datasets`` by field."""
    numbers = counts._asdict() | {"stopped_by": 0 if counts.stopped_by is None else 1 + STOPS.index(counts.stopped_by)}
    return {field: np.array([number], np.int64) for field, number in numbers.items()}


def counts_from_arrays(arrays):
    """Build the end of an enumeration; inverse of ``counts_to_arrays``: RegionCounts."""
    row = {field: int(array[0]) for field, array in arrays.items()}
    row["stopped_by"] = STOPS[row["stopped_by"] - 1] if row["stopped_by"] else None
    return RegionCounts(**{**row, "complete": bool(row["complete"]), "certified": bool(row["certified"])})


def block_to_arrays(block, header, sizes):
    """Return the rows of a block.

    Parameters
    ----------
    block : RegionBlock
    header : RegionHeader
        Of its enumeration.
    sizes : dict of str to int
        ``results.axis_sizes``.

    Returns
    -------
    dict of str to ndarray
        Of ``schema.REGIONS.datasets``, by field.

    Raises
    ------
    InputError
        The block has other arrays than the header says.
    ShapeError
        An array has another shape.
    """
    given, n = block.arrays(), len(block)
    if set(given) != set(header.fields):
        names = [", ".join(sorted(names)) or "no arrays" for names in (given, header.fields)]
        raise InputError(f"the block has {names[0]}, but its enumeration has {names[1]}; give blocks of what was requested")
    lengths = {"Q": n, **{axis: len(given.get(field, ())) for axis, field in (("J", "facet_neurons"), ("Z", "vertex_facets"))}}
    widths, arrays = free_widths(header, sizes), {}
    for field, dataset in _DATASETS.items():
        dtype, width = np.dtype(dataset.dtype), row_shape(dataset, sizes, widths.get(field, ()))
        if field not in given:
            arrays[field] = np.zeros((lengths[dataset.axis] + dataset.lead, *width), dtype)
            continue
        array = np.ascontiguousarray(given[field], dtype)
        if width == (1,) and array.ndim == 1:
            array = array[:, None]
        if array.shape[1:] != width:
            raise ShapeError(f"{field} has shape {array.shape}; each region of this enumeration needs {width} numbers")
        arrays[field] = array
    return arrays


def block_from_arrays(arrays, header):
    """Build a block of the arrays that are given; inverse of ``block_to_arrays``: RegionBlock."""
    columns = {field: arrays[field] for field in header.fields if field in arrays}
    return RegionBlock(**{field: a[:, 0] if field in _FLAT else a for field, a in columns.items()})


def empty_block(header, sizes):
    """Return a block without regions: RegionBlock."""
    widths = free_widths(header, sizes)
    shapes = {field: row_shape(dataset, sizes, widths.get(field, ())) for field, dataset in _DATASETS.items()}
    arrays = {
        field: np.zeros((int(field in RAGGED), *shapes[field]), np.dtype(dataset.dtype)) for field, dataset in _DATASETS.items()
    }
    return block_from_arrays(arrays, header)
