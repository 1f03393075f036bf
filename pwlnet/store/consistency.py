"""Check that the arrays of a batch are consistent, before they are written and again in ``verify``."""

import numpy as np

from . import schema
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
    problem = _dtype_problem(kind, arrays) or _shape_problem(kind, arrays, sizes) or _offsets_problem(kind, arrays)
    if problem is None and kind is schema.LINES:
        problem = _lines_problem(arrays, sizes["K"])
    return problem


def _dtype_problem(kind, arrays):
    for dataset in kind.datasets:
        actual, expected = arrays[dataset.field].dtype, np.dtype(dataset.dtype)
        if actual.newbyteorder("<") != expected:
            return f"{dataset.field} has dtype {actual}, not {expected.name}"
    return None


def _shape_problem(kind, arrays, sizes):
    rows = {dataset.axis: len(arrays[dataset.field]) for dataset in reversed(kind.datasets) if not dataset.lead}
    for dataset in kind.datasets:
        shape = arrays[dataset.field].shape
        if len(shape) != len(dataset.dims):
            return f"{dataset.field} has shape {shape}, not {' x '.join(dataset.dims)}"
        expected = (rows[dataset.axis] + dataset.lead, *row_shape(dataset, sizes, free_lengths(dataset, shape)))
        if shape != expected:
            return f"{dataset.field} has shape {shape}, not {expected}"
    return None


def _offsets_problem(kind, arrays):
    lengths = {dataset.axis: len(arrays[dataset.field]) - dataset.lead for dataset in reversed(kind.datasets)}
    for dataset in kind.datasets:
        if dataset.lead:
            offsets, length = arrays[dataset.field], lengths[kind.counts[dataset.path]]
            if offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
                return f"{dataset.field} do not split the {length} rows into consecutive ranges"
    return None


def _lines_problem(arrays, n_neurons):
    offsets, neurons, t = arrays["offsets"], arrays["flip_neurons"], arrays["t"]
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
    bad = np.flatnonzero((neurons < 0) | (neurons >= n_neurons))
    if bad.size:
        return f"flip_neurons holds {neurons[bad[0]]}, but the network has neurons 0 to {n_neurons - 1}"
    return row_problem(arrays)


def row_problem(arrays):
    """Describe what is wrong with the arrays of a row per line, or return None.

    Parameters
    ----------
    arrays : dict of str to ndarray
        By field; only those are checked.

    Returns
    -------
    str or None
        As for ``batch_problem``.
    """
    for name in ("starts", "ends", "residual"):
        if not np.isfinite(arrays[name]).all():
            return f"{name} holds entries that are not finite"
    if not ((arrays["t_error"] >= 0.0) & (arrays["t_error"] <= 1.0)).all():
        return "t_error holds entries that are not in [0, 1]"
    return None
