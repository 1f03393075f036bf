"""Check that the arrays of a batch, a chunk or a row are consistent, before they are written and again in ``verify``."""

import numpy as np

from . import schema
from .certificates import certificates_problem
from .float_sets import float_sets_problem
from .region_consistency import region_problem
from .results import free_lengths, row_shape


def batch_problem(name, arrays, sizes):
    """Describe what is inconsistent in a batch, or return None.

    Parameters
    ----------
    name : str
        Its kind.
    arrays : dict of str to ndarray
        By field, offsets from 0; without derived datasets.
    sizes : dict of str to int
        Lengths of the network's axes, ``results.axis_sizes``.

    Returns
    -------
    str or None
        The start of a sentence: "t has ...".
    """
    kind = schema.KINDS[name]
    problem = _form_problem(kind, kind.datasets, arrays, sizes)
    if problem is None and kind is schema.LINES:
        problem = _lines_problem(arrays) or _flips_problem(arrays, sizes["K"])
    if problem is None and kind is schema.PLANES:
        problem = _planes_problem(arrays)
    if problem is None and kind is schema.FLOAT_SETS:
        problem = float_sets_problem(arrays, sizes["K"])
    if problem is None and kind is schema.CERTIFICATES:
        problem = certificates_problem(arrays)
    if problem is None and kind in (schema.ENUMERATIONS, schema.REGIONS, schema.ENUMERATION_ENDS):
        problem = region_problem(name, arrays, sizes)
    return problem or _row_problem(name, arrays)


def chunk_problem(name, arrays, sizes, before):
    """Describe what is inconsistent in a chunk of a line or a plane, or return None.

    Parameters
    ----------
    name : str
        "lines" or "planes".
    arrays : dict of str to ndarray
        Of the kind's ``chunk_datasets``, by field, offsets from 0.
    sizes : dict of str to int
        As for ``batch_problem``.
    before : float or int or None
        Where the chunks before it end: the last t (None: there are none), or the number of vertices.

    Returns
    -------
    str or None
        As for ``batch_problem``.
    """
    kind = schema.KINDS[name]
    problem = _form_problem(kind, kind.chunk_datasets, arrays, sizes)
    if problem is None and kind is schema.LINES:
        problem = _next_points_problem(arrays["t"], before) or _flips_problem(arrays, sizes["K"])
    if problem is None and kind is schema.PLANES:
        problem = _polygons_problem(arrays, before + len(arrays["shared_vertices"]))
    return problem


def row_problem(name, arrays, sizes):
    """Describe what is inconsistent in the row of a line or a plane whose chunks are known, or return None.

    Parameters
    ----------
    name : str
        "lines" or "planes".
    arrays : dict of str to ndarray
        Of the kind's ``row_datasets``, by field, offsets from 0.
    sizes : dict of str to int
        As for ``batch_problem``.

    Returns
    -------
    str or None
        As for ``batch_problem``.
    """
    kind = schema.KINDS[name]
    problem = _form_problem(kind, kind.row_datasets, arrays, sizes)
    n_rows = len(arrays[kind.datasets[0].field])
    if problem is None and n_rows != 1:
        problem = f"{kind.datasets[0].field} has {n_rows} rows, not 1"
    return problem or _row_problem(name, arrays)


def _form_problem(kind, datasets, arrays, sizes):
    """Compare dtypes, shapes and offsets with the schema."""
    return (
        _dtype_problem(datasets, arrays)
        or _shape_problem(datasets, arrays, sizes)
        or _offsets_problem(kind.counts, datasets, arrays)
    )


def _dtype_problem(datasets, arrays):
    for dataset in datasets:
        actual, expected = arrays[dataset.field].dtype, np.dtype(dataset.dtype)
        if actual.newbyteorder("<") != expected:
            return f"{dataset.field} has dtype {actual}, not {expected.name}"
    return None


def _shape_problem(datasets, arrays, sizes):
    rows = {dataset.axis: len(arrays[dataset.field]) for dataset in reversed(datasets) if not dataset.lead}
    for dataset in datasets:
        shape = arrays[dataset.field].shape
        if len(shape) != len(dataset.dims):
            return f"{dataset.field} has shape {shape}, not {' x '.join(dataset.dims)}"
        expected = (rows[dataset.axis] + dataset.lead, *row_shape(dataset, sizes, free_lengths(dataset, shape)))
        if shape != expected:
            return f"{dataset.field} has shape {shape}, not {expected}"
    return None


def _offsets_problem(counts, datasets, arrays):
    lengths = {dataset.axis: len(arrays[dataset.field]) - dataset.lead for dataset in reversed(datasets)}
    for dataset in datasets:
        if dataset.lead:
            offsets, length = arrays[dataset.field], lengths[counts[dataset.path]]
            if offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
                return f"{dataset.field} do not split the {length} rows into consecutive ranges"
    return None


def _lines_problem(arrays):
    """Check the breakpoints of whole lines."""
    offsets, t = arrays["offsets"], arrays["t"]
    if (np.diff(offsets) < 2).any():
        return f"offsets do not split the {len(t)} breakpoints into lines of at least two"
    firsts, lasts = offsets[:-1], offsets[1:] - 1
    bad = np.flatnonzero((t[firsts] != 0.0) | (t[lasts] != 1.0))
    if bad.size:
        return f"t does not go from 0 to 1 on line {bad[0]}"
    rises = t[1:] > t[:-1]
    rises[lasts[:-1]] = True  # from the end of a line to the start of the next
    if not rises.all():
        row = np.flatnonzero(~rises)[0]
        return f"t does not increase from breakpoint {row} to {row + 1}"
    return None


def _next_points_problem(t, before):
    """Check the breakpoints of a chunk of a line."""
    if len(t) and before is None and t[0] != 0.0:
        return f"t starts with {t[0]}, not 0"
    if len(t) and before is not None and not t[0] > before:
        return f"t starts with {t[0]}, not after {before}"
    if not (t[1:] > t[:-1]).all() or not (t <= 1.0).all():
        return "t does not increase up to 1"
    return None


def _row_problem(name, arrays):
    """Check the arrays with a row per line or plane."""
    finite = {"lines": ("starts", "ends", "residual"), "planes": ("origins", "e1", "e2", "outlines")}
    for field in finite.get(name, ()):
        if not np.isfinite(arrays[field]).all():
            return f"{field} holds entries that are not finite"
    if name == "lines" and not ((arrays["t_error"] >= 0.0) & (arrays["t_error"] <= 1.0)).all():
        return "t_error holds entries that are not in [0, 1]"
    if name == "planes" and np.isnan(arrays["residual"]).any():
        return "residual holds entries that are NaN"
    if name == "planes" and (np.diff(arrays["outline_offsets"]) == 0).any():
        return "outline_offsets give a plane no corners"
    return None


def _flips_problem(arrays, n_neurons):
    neurons = arrays["flip_neurons"]
    bad = np.flatnonzero((neurons < 0) | (neurons >= n_neurons))
    if bad.size:
        return f"flip_neurons holds {neurons[bad[0]]}, but the network has neurons 0 to {n_neurons - 1}"
    return None


def _planes_problem(arrays):
    """Check the outlines and polygons of whole planes."""
    empty = np.flatnonzero(np.diff(arrays["polygon_offsets"]) == 0)
    if empty.size:
        return f"polygon_offsets give plane {empty[0]} no polygons"
    corners = np.diff(arrays["offsets"][arrays["polygon_offsets"]])
    return _polygons_problem(arrays, np.repeat(np.diff(arrays["vertex_offsets"]), corners))


def _polygons_problem(arrays, n_vertices):
    """Check polygons and vertices; ``n_vertices``: number of vertices of the plane, or int64[C] of that of each corner."""
    numbers = arrays["vertex_numbers"]
    empty = np.flatnonzero(np.diff(arrays["offsets"]) == 0)
    if empty.size:
        return f"offsets give polygon {empty[0]} no corners"
    bad = np.flatnonzero((numbers < 0) | (numbers >= n_vertices))
    if bad.size:
        n = n_vertices[bad[0]] if np.ndim(n_vertices) else n_vertices
        return f"vertex_numbers holds {numbers[bad[0]]}, but the plane has vertices 0 to {n - 1}"
    for field in ("areas", "shared_vertices", "outputs"):
        if not np.isfinite(arrays[field]).all():
            return f"{field} holds entries that are not finite"
    if (arrays["error"] < 0.0).any():
        return "error holds entries that are negative"
    return None
