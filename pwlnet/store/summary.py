"""The derived datasets: what the writer computes of every batch of lines, so that questions need no breakpoints.

Legend: L lines, S ops with neurons.
"""

import numpy as np


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
