"""Which states of neurons are right at points: one, or, at a threshold or where taps of a window tie, several.

Legend: P points, n neurons, M most states of a neuron, K neurons.
"""

import numpy as np

from ..evaluate import forward, select_outputs, truncate_program
from ..kernels.ir import program as ir
from ..kernels.ir.switching import n_states


def n_states_of_neurons(network):
    """Return the number of states of each neuron: int64[K]."""
    graph = network.op_graph
    return np.repeat([int(n_states(network.code, i)) for i in graph.switching], graph.neuron_counts).astype(np.int64)


def right_states(network, points, states, neurons, threads=None):
    """Return the states that are right at all points.

    Parameters
    ----------
    network : Network
    points : float64[P, D]
    states : int32[P, K]
        A right state of each neuron at each point.
    neurons : int64[n]
        Increasing.
    threads : int, optional

    Returns
    -------
    bool[M, n]
    """
    most = int(n_states_of_neurons(network).max(initial=1))
    z = forward(network.code, np.ascontiguousarray(points), preactivations=True, threads=threads).preactivations[:, neurons]
    right = states[None, :, neurons] == np.arange(most)[:, None, None]
    ops = network.op_graph.op_of(neurons)
    for i in np.unique(ops).tolist():
        here = np.flatnonzero(ops == i)
        thresholds = _thresholds(network, i)
        if thresholds is None:
            right[:, :, here] |= _tied_taps(network, i, points, neurons[here], most, threads)
            continue
        for s, threshold in enumerate(thresholds):
            at = z[:, here] == threshold
            right[s][:, here] |= at
            right[s + 1][:, here] |= at
    return right.all(axis=1)


def _thresholds(network, i):
    """Return the thresholds of an elementwise op, increasing; None for MaxPool."""
    kind = network.program.op[i]
    if kind == ir.MAX_POOL:
        return None
    return tuple(network.program.coefficients[i, :2].tolist()) if kind == ir.CLIP else (0.0,)


def _tied_taps(network, i, points, neurons, most, threads):
    """Return which taps have the largest value of their window: bool[M, P, n]."""
    code, program = network.code, network.program
    source = int(network.op_graph.operands[i][0])
    n_values = int(code.op_table[source + 1, ir.VALUE] - code.op_table[source, ir.VALUE])
    part = select_outputs(truncate_program(code, source), np.arange(n_values))
    values = forward(part, np.ascontiguousarray(points), outputs=True, threads=threads).outputs
    channels, height, width = program.shapes[i].tolist()
    channel, position = np.divmod(neurons - program.neuron_offsets[i], height * width)
    taps = int(n_states(code, i))
    tied = np.full((most, len(points), len(neurons)), -np.inf)
    for tap in range(taps):
        q = code.indices[code.op_table[i, ir.TAPS] + position * taps + tap]
        tied[tap] = np.where(q >= 0, values[:, q * channels + channel], -np.inf)
    return tied == tied.max(axis=0)
