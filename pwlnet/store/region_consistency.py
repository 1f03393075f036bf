"""Check that the arrays of enumerations and of their regions are consistent, and that their rows follow each other.

Legend: as in ``schema.py``; K neurons.
"""

import itertools

import numpy as np

from ..partition.regions.blocks import CLASS_MODES, COLUMNS, METHODS, STOPS
from . import schema

_FLAGS = {  # fields with small numbers, and how many there are
    "enumerations": {"methods": len(METHODS), "columns": 2 ** len(COLUMNS), "class_modes": 1 + len(CLASS_MODES)},
    "enumeration_ends": {"complete": 2, "stopped_by": 1 + len(STOPS), "certified": 2},
}


def region_problem(name, arrays, sizes):
    """Describe what is inconsistent in a batch of one of the kinds of regions, or return None.

    Parameters
    ----------
    name : str
        "enumerations", "regions" or "enumeration_ends".
    arrays : dict of str to ndarray
        By field, offsets from 0; dtypes, shapes and offsets are right.
    sizes : dict of str to int
        ``results.axis_sizes``.

    Returns
    -------
    str or None
        The start of a sentence.
    """
    for field, n in _FLAGS.get(name, {}).items():
        if ((arrays[field] < 0) | (arrays[field] >= n)).any():
            return f"{field} holds numbers that are not in 0 to {n - 1}"
    if name == "enumerations":
        return _headers_problem(arrays)
    if name == "enumeration_ends":
        return _ends_problem(arrays)
    return _widths_problem(arrays, sizes) or _entries_problem(arrays, sizes)


def _headers_problem(arrays):
    for field in ("lower", "upper", "polytope_A", "polytope_b"):
        if not np.isfinite(arrays[field]).all():
            return f"{field} holds entries that are not finite"
    return None if (arrays["lower"] <= arrays["upper"]).all() else "lower is above upper"


def _ends_problem(arrays):
    if ((arrays["complete"] == 1) != (arrays["stopped_by"] == 0)).any():
        return "complete does not agree with stopped_by"
    if (arrays["n_exact"] < 0).any() or (arrays["n_rows"] < 0).any():
        return "n_exact or n_rows holds negative numbers"
    if ((arrays["n_rows"] != 0) & (arrays["n_rows"] != arrays["n_regions"])).any() or (arrays["n_regions"] < 0).any():
        return "n_regions does not agree with n_rows"
    return None


def _widths_problem(arrays, sizes):
    """Check the lengths of the axes "*"."""
    allowed = {
        "packed": sizes["W"],
        "witnesses": sizes["D"],
        "classes": 1,
        "volumes": 1,
        "facet_h": 1,
        "affine_maps_c": sizes["O"],
    }
    for field, width in allowed.items():
        if arrays[field].shape[1] not in (0, width):
            return f"{field} has rows of {arrays[field].shape[1]} numbers, not {width} or none"
    if arrays["affine_maps_A"].shape[1] != arrays["affine_maps_c"].shape[1]:
        return "affine_maps_A and affine_maps_c have different numbers of outputs"
    return None


def _entries_problem(arrays, sizes):
    for field in ("witnesses", "volumes", "affine_maps_A", "affine_maps_c", "vertices", "facet_G", "facet_h"):
        if not np.isfinite(arrays[field]).all():
            return f"{field} holds entries that are not finite"
    if (arrays["volumes"] < 0.0).any():
        return "volumes holds entries that are negative"
    classes, neurons = arrays["classes"], arrays["facet_neurons"]
    if ((classes < 0) | (classes >= sizes["O"])).any():
        return f"classes holds numbers that are not in 0 to {sizes['O'] - 1}"
    if neurons.max(initial=-1) > sizes["K"]:  # K: a cut between classes
        return f"facet_neurons holds {neurons.max()}, but the network has neurons 0 to {sizes['K'] - 1}"
    if (arrays["facet_states"] < 0).any():
        return "facet_states holds negative numbers"
    return None


def sides_problem(arrays, header):
    """Describe which facets are on sides of the box or the polytope that do not exist, or return None.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Of regions, by field.
    header : RegionHeader
    """
    n_sides = 2 * len(header.lower) + (len(header.polytope[1]) if header.polytope else 0)
    least = int(arrays["facet_neurons"].min(initial=0))
    if least < -n_sides:
        return f"facet_neurons holds {least}, but the box and its polytope have {n_sides} sides: -1 to {-n_sides}"
    return None


def order_problems(store):
    """Describe how the numbers of enumerations, regions and ends of a store disagree: list of str.

    Parameters
    ----------
    store : RegionStore
    """
    n_begun, n_rows, n_ended = (store.n_rows(name) for name in ("enumerations", "regions", "enumeration_ends"))
    if not n_ended <= n_begun <= n_ended + 1:
        return [f"{store.path} has {n_begun} enumerations, but {n_ended} of them ended; restore a copy"]
    ended = sum(rows_of_enumerations(store))
    if ended > n_rows or (ended < n_rows and n_begun == n_ended):
        return [f"the enumerations of {store.path} have {ended} regions, but there are {n_rows}; restore a copy"]
    return []


def rows_of_enumerations(store):
    """Read how many rows of regions each enumeration that ended has: list of int."""
    n = store.n_rows("enumeration_ends")
    dataset = next(dataset for dataset in schema.ENUMERATION_ENDS.datasets if dataset.field == "n_rows")
    return store.read_rows(dataset, 0, n).tolist() if n else []


def row_range(store, number):
    """Return the rows of regions of an enumeration, from and to (not included): (int, int)."""
    firsts = [0, *itertools.accumulate(rows_of_enumerations(store))]
    is_open = number + 1 == len(firsts)
    return firsts[number], store.n_rows("regions") if is_open else firsts[number + 1]
