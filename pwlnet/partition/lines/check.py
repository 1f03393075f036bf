"""Residuals of lines, and comparison of a partition with forward passes.

Legend: L lines, D inputs, K neurons, S switching ops, B rows, T tile rows.
"""

import numpy as np

from ... import evaluate
from ...kernels.ir import passes
from ...kernels.ir import program as ir
from ...kernels.lines import check
from ...scheduling import run_slots
from .ends import points_at
from .scaling import always_rescaled
from .tracing import initial_states
from .windows import largest_preactivations, refuse_overflow

_LEAST_SCALE = 2.0**-700  # of the pre-activations of an op; below it, underflow may matter
_STATES_AT_ONCE = 2**20  # states in memory at a time


def residuals(network, starts, ends, traced, n_checked, buffers, first_line=0, largest=None, stop=None):
    """Compute the largest relative distance of a flipping neuron from its threshold at sampled breakpoints: float64[L].

    At each of these breakpoints, the network is evaluated in float64 up to the last op with a flip. The distance is relative to
    the largest pre-activation of the neuron's op at these points and at the ends of the line.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D]
    traced : TraceResult
    n_checked : int
        Number of breakpoints to check per line, evenly spaced in their order.
    buffers : list of float64[T * n_values]
        Temporary memory of each slot, ``Tracer.forward_buffers``.
    first_line : int
        Number of the first line in messages.
    largest : float64[L, S], optional
        Largest absolute pre-activation of each op at both ends, if the caller has computed it.
    stop : int64[1], optional
        If not zero, return as soon as possible; the result is then undefined.

    Raises
    ------
    NumericalError
        Values overflow at an end of a line or, up to the last op with a flip, at a sampled breakpoint.
    """
    graph = network.op_graph
    lines, chosen = _sample(traced, n_checked, graph)
    flips, rows = _flips_of(chosen, traced)
    neurons = traced.neuron[flips]
    ops = graph.switching_index(neurons)
    from_ends = [] if largest is not None else [_distinct(x) for x in (starts, ends)]
    t_ends = [np.full(len(x), at) for (x, _), at in zip(from_ends, (0.0, 1.0), strict=False)]
    n = sum(map(len, t_ends))
    depth = np.full(n + len(chosen), graph.switching.max(initial=0))
    depth[n + rows] = graph.switching[ops]  # the last flip of each row counts
    points = np.concatenate([*(x for x, _ in from_ends), lines]), np.concatenate([*t_ends, traced.t[chosen]])
    sizes, z = _evaluate(network, starts, ends, points, depth, n + rows, neurons, buffers, stop)
    if from_ends:
        (distinct, of_start), (_, of_end) = from_ends
        largest = np.maximum(sizes[of_start], sizes[len(distinct) + of_end])
        refuse_overflow(largest, first_line + np.arange(len(largest)))
    refuse_overflow(sizes[n:], first_line + lines)
    scale = largest.copy()
    np.maximum.at(scale, lines, sizes[n:])
    scale[scale == 0.0] = 1.0
    residual = np.zeros(len(scale))
    np.maximum.at(residual, lines[rows], _distances(network, z, neurons) / scale[lines[rows], ops])
    return residual


def _sample(traced, n_checked, graph):
    """Choose evenly spaced breakpoints of each line: (line, index in t) of each, those with flips in late ops first."""
    n_points = traced.n_points
    count = np.minimum(n_points, n_checked)
    lines = np.repeat(np.arange(len(n_points)), count)
    order = np.arange(lines.size) - np.repeat(np.cumsum(count) - count, count)
    first = (np.cumsum(n_points) - n_points)[lines]
    chosen = first + order * (n_points[lines] - 1) // np.maximum(1, count[lines] - 1)
    last_flips = np.cumsum(traced.flips_per_point)[chosen] - 1
    late = np.argsort(-graph.switching_index(traced.neuron[last_flips]), kind="stable")
    return lines[late], chosen[late]


def _flips_of(chosen, traced):
    """Find the flips at breakpoints: index of each flip in ``neuron``, and index of its breakpoint in ``chosen``."""
    count = traced.flips_per_point[chosen]
    rows = np.repeat(np.arange(len(chosen)), count)
    first = (np.cumsum(traced.flips_per_point) - traced.flips_per_point)[chosen]
    return np.arange(rows.size) + np.repeat(first - (np.cumsum(count) - count), count), rows


def _distinct(points):
    """Drop rows that repeat the row before: indices of the rows kept, and for each row its index among them."""
    new = np.ones(len(points), bool)
    new[1:] = (points[1:] != points[:-1]).any(axis=1)
    return np.flatnonzero(new), np.cumsum(new) - 1


def _evaluate(network, starts, ends, points, depth, rows, neurons, buffers, stop):
    """Evaluate points (lines, t), each up to its op ``depth``; depths are in decreasing order.

    Returns the largest pre-activations of each switching op float64[B, S], 0 after that depth, and the pre-activation of each
    of ``neurons`` at the point with the index in ``rows`` (increasing, as are the neurons of one row).
    """
    code = network.code
    largest, z = np.zeros((len(depth), len(network.op_graph.switching)), np.int64), np.zeros(len(neurons))
    offsets = np.searchsorted(rows, np.arange(len(depth) + 1))
    shared = code, starts, ends, *points, depth, offsets, neurons
    counter, stop = np.zeros(1, np.int64), np.zeros(1, np.int64) if stop is None else stop
    n_slots = max(1, min(len(buffers), -(-len(depth) // int(passes.TILE))))
    slots = [
        check.CheckSlot(*shared, counter, stop, largest, z, buffer, np.empty(int(code.op_table[-1, ir.VALUE]), np.int32))
        for buffer in buffers[:n_slots]
    ]
    run_slots(check.check_slot, slots)
    return largest.view(np.float64), z


def _distances(network, z, neurons):
    """Compute the distance of pre-activations from the nearest threshold of their neurons; 0 for MaxPool.

    The pre-activation of a MaxPool is its maximum, which is in general not zero where the index of the maximum changes.
    """
    program = network.program
    op = network.op_graph.op_of(neurons)
    kind = program.op[op]
    low, high = (np.where(kind == ir.CLIP, program.coefficients[op, k], 0.0) for k in range(2))
    return np.where(kind == ir.MAX_POOL, 0.0, np.minimum(np.abs(z - low), np.abs(z - high)))


def find_problems(lines, n_samples, rng):
    """Describe the sampled segments whose states differ from those of a forward pass: list of str.

    The points of many lines are evaluated together. The flips are followed from the states of a forward pass, too.
    """
    problems, at_once = [], max(1, _STATES_AT_ONCE // max(1, lines.network.n_neurons * max(1, n_samples)))
    for first in range(0, len(lines), at_once):
        problems += _problems_of(lines, first, min(len(lines), first + at_once), n_samples, rng)
    return problems


def _problems_of(lines, first, last, n_samples, rng):
    """Describe the sampled segments of lines ``first`` to ``last`` whose states differ: list of str."""
    network, parts = lines.network, lines.parts[first:last]
    chosen = [_chosen_segments(part.n_segments, n_samples, rng) for part in parts]
    middles = [0.5 * (part.t[k] + part.t[k + 1]) for part, k in zip(parts, chosen, strict=True)]
    points = np.concatenate([points_at(part.start, part.end, t) for part, t in zip(parts, middles, strict=True)])
    actual = evaluate.forward(network.code, points, states=True).states
    rows = zip(parts, chosen, first_states(lines, first, last), strict=True)
    differ = actual != np.concatenate([states_on(part, segments, row) for part, segments, row in rows])
    suspects, problems = np.flatnonzero(differ.any(axis=1)), []
    if not suspects.size:
        return problems
    line = np.repeat(np.arange(first, last), [len(segments) for segments in chosen])
    certain = _is_certain(lines, evaluate.forward(network.code, points[suspects], preactivations=True).preactivations)
    for k, wrong in zip(suspects, differ[suspects] & certain, strict=True):
        if wrong.any():
            problems.append(
                f"line {line[k]}, segment {np.concatenate(chosen)[k]} (t = {np.concatenate(middles)[k]:.17g}): "
                f"neuron {np.argmax(wrong)} and {np.count_nonzero(wrong) - 1} others are in another state than the flips say"
            )
    return problems


def _is_certain(lines, z):
    """Return which neurons' states follow from their pre-activations float64[B, K] without doubt: bool[B, K]."""
    network = lines.network
    if always_rescaled(network):  # values may have underflowed
        return np.zeros(z.shape, bool)
    scale = np.repeat(largest_preactivations(network, z), network.op_graph.neuron_counts, axis=1)
    distance = _distances(network, z, np.arange(network.n_neurons))
    return (distance > _noise(lines) * scale) & (scale > _LEAST_SCALE)


def _chosen_segments(n, n_samples, rng):
    """Choose segments of a line of n: int64[<= n_samples], increasing."""
    if rng is not None:
        return np.sort(rng.choice(n, size=min(n, n_samples), replace=False))
    return np.unique(np.linspace(0, n - 1, min(n, n_samples)).astype(np.int64))


def first_states(lines, first, last):
    """Compute the states on the first segment of each line: int32[L, K].

    By forward passes; a line on which a neuron is close to a threshold is traced instead.
    """
    network, offsets = lines.network, lines.offsets
    starts, ends = lines.starts[first:last], lines.ends[first:last]
    middles = starts + 0.5 * lines.t[offsets[first:last] + 1, None] * (ends - starts)  # as points_at, for many lines
    _, z, states, _ = evaluate.forward(network.code, middles, preactivations=True, states=True, threads=1)
    certain = _is_certain(lines, z)
    for row in np.flatnonzero(~certain.all(axis=1)):
        t = lines.t[offsets[first + row] : offsets[first + row + 1]]
        states[row] = initial_states(network, starts[row], ends[row], t, lines.tolerances)
    return states


def states_on(part, segments, row):
    """Return the states on segments of a LinePartition, given in increasing order: int32[len(segments), K].

    ``row`` int[K] are those on the first segment; it is changed.
    """
    lines = part._lines
    first = int(lines.offsets[part.index])
    states, done = np.empty((len(segments), row.size), np.int32), int(lines.flip_offsets[first])
    for k, segment in enumerate(segments):
        last = int(lines.flip_offsets[first + segment + 1])
        row[lines.flip_neurons[done:last]] = lines.flip_states[done:last]  # of several flips of a neuron, the last one counts
        states[k], done = row, last
    return states


def _noise(lines):
    """Return the relative distance from a threshold below which a forward pass does not determine the state."""
    return lines.tolerances.ambiguous * 2.0 * lines.tolerances.slope_roundoff
