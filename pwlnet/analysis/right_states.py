"""Which states of neurons are right at points: one, or, at a threshold or where taps of a window tie, several.

Legend: P points, n neurons, M most states of a neuron, K neurons.
"""

import numpy as np

from ..evaluate import forward, truncate_program
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


def short_numbers(x, width):
    """Round numbers to multiples of a power of two that is at most ``width``, of the same shape, where that is positive.

    At points with few bits, pre-activations that are zero on a whole piece are computed without rounding errors more often.
    """
    step = np.exp2(np.floor(np.log2(np.where(width > 0.0, width, 1.0))))
    return np.where(width > 0.0, np.round(x / step) * step, x)


def inner_points(part):
    """Return a point (u, v) with few bits in the interior of each polygon of a PlanePartition: float64[R, 2].

    The mean of n corners has a distance of at least 2 area / (n perimeter) from each edge, since the polygon is at least
    2 area / perimeter wide.
    """
    corners = part.shared_vertices[part.vertex_numbers]
    following = np.arange(1, len(corners) + 1)
    following[part.offsets[1:] - 1] = part.offsets[:-1]
    lengths = np.linalg.norm(corners[following] - corners, axis=1)
    perimeter = np.add.reduceat(lengths, part.offsets[:-1])
    around = perimeter * np.diff(part.offsets)
    width = np.divide(part.areas, around, out=np.zeros(len(around)), where=around > 0.0)
    return short_numbers(part.centroids(), width[:, None])


def _thresholds(network, i):
    """Return the thresholds of an elementwise op, increasing; None for MaxPool."""
    kind = network.program.op[i]
    if kind == ir.MAX_POOL:
        return None
    return tuple(network.program.coefficients[i, :2].tolist()) if kind == ir.CLIP else (0.0,)


def _up_to(code, i):
    """Return the program up to op i, whose outputs are all entries of that op's value, in stored order: PackedProgram."""
    n = code.op_table[i + 1, ir.VALUE] - code.op_table[i, ir.VALUE]
    op_table = truncate_program(code, i).op_table.copy()
    op_table[-1, ir.OUTPUTS], op_table[-1, ir.N_OUTPUTS] = len(code.indices), n
    indices = np.concatenate([code.indices, np.arange(n)])
    for array in (op_table, indices):
        array.setflags(write=False)  # as in ``code``: kernels are compiled for read-only arrays
    return code._replace(op_table=op_table, indices=indices)


def _tied_taps(network, i, points, neurons, most, threads):
    """Return which taps have the largest value of their window: bool[M, P, n]."""
    code, program = network.code, network.program
    source = int(network.op_graph.operands[i][0])
    values = forward(_up_to(code, source), np.ascontiguousarray(points), outputs=True, threads=threads).outputs
    channels, height, width = program.shapes[i].tolist()
    channel, position = np.divmod(neurons - program.neuron_offsets[i], height * width)
    taps = int(n_states(code, i))
    tied = np.full((most, len(points), len(neurons)), -np.inf)
    for tap in range(taps):
        q = code.indices[code.op_table[i, ir.TAPS] + position * taps + tap]
        tied[tap] = np.where(q >= 0, values[:, q * channels + channel], -np.inf)
    return tied == tied.max(axis=0)
