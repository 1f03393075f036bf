"""Line summaries: those that the writer stores with every batch of lines, and those of a store without its breakpoints."""

import numpy as np

from . import schema

_AT_ONCE = 2**20


def derived_rows(arrays, network):
    """Compute the derived datasets of a batch of lines.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Fields of LinePartitions.
    network : Network

    Returns
    -------
    dict of str to ndarray
        ``length``, ``shortest_t``, ``longest_t`` and ``op_flips``, as in LineSummary.
    """
    from ..partition.lines.summary import count_op_flips, measure_lines

    measures = measure_lines(arrays["starts"], arrays["ends"], arrays["offsets"], arrays["t"])
    bounds = arrays["flip_offsets"][arrays["offsets"]]
    return {**measures, "op_flips": count_op_flips(network, arrays["flip_neurons"], bounds)}


def stored_summary(store, first, last):
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
