"""Whether the arrays of a batch of lines fit one another: asked before they are written, and again by ``verify``.

Legend: L lines, T breakpoints, F flips, D inputs, K neurons.
"""

import numpy as np

from . import schema


def batch_problem(arrays, n_inputs, n_neurons):
    """Say what is wrong with a batch of lines, or None.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Fields of LinePartitions, offsets from 0.
    n_inputs, n_neurons : int

    Returns
    -------
    str or None
        The start of a sentence: "t has ...".
    """
    return _dtype_problem(arrays) or _shape_problem(arrays, n_inputs) or _content_problem(arrays, n_neurons)


def _dtype_problem(arrays):
    for dataset in schema.LINES.datasets:
        found, wanted = arrays[dataset.field].dtype, np.dtype(dataset.dtype)
        if found.newbyteorder("<") != wanted:
            return f"{dataset.field} has dtype {found}, not {wanted.name}"
    return None


def _shape_problem(arrays, n_inputs):
    starts, t, neurons = arrays["starts"], arrays["t"], arrays["flip_neurons"]
    sizes = {"L": len(starts), "T": len(t), "F": len(neurons)}
    for dataset in schema.LINES.datasets:
        rows = sizes[dataset.axis] + dataset.lead
        wanted = (rows, n_inputs) if len(dataset.dims) == 2 else (rows,)
        if arrays[dataset.field].shape != wanted:
            return f"{dataset.field} has shape {arrays[dataset.field].shape}, not {wanted}"
    return None


def _content_problem(arrays, n_neurons):
    offsets, flip_offsets, t = arrays["offsets"], arrays["flip_offsets"], arrays["t"]
    if offsets[0] != 0 or offsets[-1] != len(t) or (np.diff(offsets) < 2).any():
        return f"offsets do not cut the {len(t)} breakpoints into lines of two and more"
    neurons = arrays["flip_neurons"]
    if flip_offsets[0] != 0 or flip_offsets[-1] != len(neurons) or (np.diff(flip_offsets) < 0).any():
        return f"flip_offsets do not cut the {len(neurons)} flips into one range for each breakpoint"
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
    for name in ("starts", "ends", "residual"):
        if not np.isfinite(arrays[name]).all():
            return f"{name} holds entries that are not finite"
    return None
