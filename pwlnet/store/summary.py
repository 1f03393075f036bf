"""The derived datasets: what the writer computes of every batch of lines, so that questions need no breakpoints.

Legend: L lines, S ops with neurons.
"""

import numpy as np

from . import schema

_AT_ONCE = 2**20


def line_summaries(arrays, network):
    """Summarize each line of a batch.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Fields of LinePartitions.
    network : Network

    Returns
    -------
    dict of str to ndarray
        ``length`` float64[L], ``shortest_t`` and ``longest_t`` float64[L], ``op_flips`` int64[L, S]: those of LineSummary.
    """
    offsets, flip_offsets = arrays["offsets"], arrays["flip_offsets"]
    n_lines = len(offsets) - 1
    widths = np.diff(arrays["t"])
    widths = np.delete(widths, offsets[1:-1] - 1)  # not from the end of a line to the start of the next
    firsts = offsets[:-1] - np.arange(n_lines)
    return {
        "length": np.linalg.norm(np.ascontiguousarray(arrays["ends"] - arrays["starts"]), axis=1),
        "shortest_t": np.minimum.reduceat(widths, firsts) if n_lines else widths,
        "longest_t": np.maximum.reduceat(widths, firsts) if n_lines else widths,
        "op_flips": op_flips(arrays["flip_neurons"], flip_offsets[offsets], network),
    }


def op_flips(neurons, bounds, network):
    """Count the flips of each line, ``neurons[bounds[i] : bounds[i + 1]]``, in each op that has neurons: int64[L, S]."""
    counts = np.diff(network.program.neuron_offsets)
    counts = counts[counts > 0]
    op_of_neuron = np.repeat(np.arange(len(counts)), counts)
    n_lines = len(bounds) - 1
    cells = np.repeat(np.arange(n_lines) * len(counts), np.diff(bounds))
    cells += op_of_neuron[neurons]
    return np.bincount(cells, minlength=n_lines * len(counts)).reshape(n_lines, len(counts))


def stored_summary(store, first, last):
    """Summarize lines ``first`` to ``last`` of a store, some rows at a time: LineSummary."""
    from ..partition.lines.summary import DEFAULT_EDGES, LineSummary

    of_lines = {d.field: d for d in schema.LINES.stored}
    names = ("residual", "ambiguous", "t_error", "length", "shortest_t", "longest_t", "op_flips")
    rows = {name: store._read(of_lines[name], first, last) for name in names}
    offsets = store._read(of_lines["offsets"], first, last + 1)
    histogram = np.zeros(len(DEFAULT_EDGES) + 1, np.int64)
    for low in range(int(offsets[0]), int(offsets[-1]), _AT_ONCE):
        t = store._read(of_lines["t"], low, min(low + _AT_ONCE + 1, int(offsets[-1])))
        lines = np.searchsorted(offsets, low + np.arange(len(t)), side="right") - 1
        inside = lines[1:] == lines[:-1]  # not from the end of a line to the start of the next
        lengths = (np.diff(t) * rows["length"][lines[:-1]])[inside]
        histogram += np.bincount(np.searchsorted(DEFAULT_EDGES, lengths, side="right"), minlength=len(histogram))
    rows |= {"n_segments": np.diff(offsets) - 1, "histogram": histogram}
    for array in rows.values():
        array.setflags(write=False)
    return LineSummary(network=store.network, edges=DEFAULT_EDGES, tolerances=store.tolerances, **rows)
