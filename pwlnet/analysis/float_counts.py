"""Counts of states over random draws, and states at pairs of points: callers of the kernels of ``kernels/floats``.

Legend: B sets or pairs, D inputs, K neurons, N ops, S counters of states, M most states of a neuron, m draws.
"""

from typing import NamedTuple

import numpy as np

from ..draws import make_scratch
from ..errors import CapacityError, UnsupportedOperationError
from ..evaluate import truncate_program
from ..kernels.floats import passes
from ..kernels.ir.passes import TILE
from ..kernels.ir.switching import n_states
from ..scheduling import n_threads, run_slots
from ..value_buffers import UNKNOWN, WORK_PER_CALL, fits_single, make_buffers, range_limits, work_per_tile

_ITEMS_PER_SLOT = 4  # of a call; more calls notice Ctrl-C
_MAX_DRAWS = 2**31 - 1


class StateCounts(NamedTuple):
    """States of the neurons of each set over its draws, neurons in the order of the network."""

    counts: np.ndarray  # int64[B, M + 1, K] draws with each state; last, those at a threshold
    firsts: np.ndarray  # int64[B, M + 1, K] number of the first draw with each state; -1: none


def _code(network, dtype):
    """Return the packed program up to the last switching op, with weights of a type."""
    code = network.code if dtype == "float64" else network.float32_code
    last = int(network.op_graph.switching[-1])
    return code if last == len(network.program.op) - 1 else truncate_program(code, last)


def _layout(network):
    """Return the first counter of each op, the number of counters, and the most states of a neuron."""
    graph, offsets = network.op_graph, np.zeros(len(network.program.op) + 1, np.int64)
    counts = _n_states(network)
    for i, n, states in zip(graph.switching, graph.neuron_counts, counts, strict=True):
        offsets[i + 1] = n * (states + 1)
    return np.cumsum(offsets), int(offsets.sum()), max(counts, default=1)


def _n_states(network):
    """Return the number of states of the neurons of each switching op."""
    counts = [int(n_states(network.code, i)) for i in network.op_graph.switching]
    if 0 in counts:
        raise UnsupportedOperationError(UNKNOWN)
    return counts


def count_states(network, draws, n_samples, *, dtype="float32", sets=None, threads=None, progress=None):
    """Count the states of all neurons over draws.

    Estimate: of each draw, the states are those of a forward pass with values of type ``dtype``. A neuron at a threshold has no
    state in this count, since either one is right. Memory does not depend on the number of draws.

    Parameters
    ----------
    network : Network
    draws : Draws
    n_samples : int
        Number of draws of each set.
    dtype : {"float32", "float64"}
        Sets whose values leave the range of float32 are evaluated in float64.
    sets : int64[n], optional
        Count for these sets only; results have n rows then.
    threads : int, optional
    progress : callable, optional
        Called with the number of further draws that are done.

    Returns
    -------
    StateCounts

    Raises
    ------
    CapacityError
        There are 2**31 draws or more.
    UnsupportedOperationError
        The kernels do not handle an op of the network.
    """
    if n_samples > _MAX_DRAWS:
        raise CapacityError(f"n_samples is {n_samples}, more than {_MAX_DRAWS}; draw several times, with different seeds")
    offsets, n_counters, most = _layout(network)
    sets = np.arange(len(draws.centers)) if sets is None else sets
    counts, firsts = np.zeros((len(sets), n_counters), np.int64), np.full((len(sets), n_counters), _MAX_DRAWS)
    if n_counters:
        dtypes = [dtype] if dtype == "float64" else ["float32", "float64"]
        pending = np.arange(len(sets))
        for kind in dtypes:
            if kind == "float32" and not fits_single(network):
                continue
            counts[pending], firsts[pending] = 0, _MAX_DRAWS
            results = counts[pending], firsts[pending]
            bad = _count(network, draws, sets[pending], n_samples, kind, offsets, results, threads, progress)
            counts[pending], firsts[pending] = results
            pending = pending[bad]
            if not pending.size:
                break
    return _by_neuron(network, np.where(firsts == _MAX_DRAWS, -1, firsts), counts, offsets, most)


def _count(network, draws, sets, n_samples, dtype, offsets, results, threads, progress):
    """Count the states of n sets; return which of these have values out of range: bool[n]. In and out: results, their rows."""
    code, n_slots = _code(network, dtype), n_threads(threads)
    tiles = max(1, WORK_PER_CALL // work_per_tile(code))
    step = int(TILE) * min(tiles, max(1, -(-n_samples // (int(TILE) * n_slots))))
    starts = np.arange(0, n_samples, step)
    largest, n_items = int(network.op_graph.neuron_counts.max()), n_slots * _ITEMS_PER_SLOT
    slots = [
        (make_scratch(draws), make_buffers(code, int(TILE), dtype), np.empty(3 * largest, np.int32)) for _ in range(n_slots)
    ]
    unknown, out_of_range = np.zeros(1, np.int64), np.zeros(len(sets), bool)
    counts, firsts = results
    for begin in range(0, len(sets) * len(starts), n_items):
        which = np.arange(begin, min(begin + n_items, len(sets) * len(starts)))
        row, first = which // len(starts), starts[which % len(starts)]
        items = np.stack([sets[row], first, np.minimum(first + step, n_samples)], axis=1)
        new = np.zeros((len(items), counts.shape[1]), np.int32)
        new_first, bad = np.full(new.shape, _MAX_DRAWS, np.int32), np.zeros(len(items), np.int64)
        shared = code, draws, items, new, new_first, bad, offsets, range_limits(dtype), unknown, np.zeros(1, np.int64)
        run_slots(passes.sample_slot, [passes.SampleSlot(*shared, *own) for own in slots[: len(items)]])
        if unknown[0]:
            raise UnsupportedOperationError(UNKNOWN)
        for k, b in enumerate(row.tolist()):
            counts[b] += new[k]
            np.minimum(firsts[b], new_first[k], out=firsts[b])
        out_of_range[row[bad != 0]] = True
        if progress is not None:
            progress(int((items[:, 2] - items[:, 1]).sum()))
    return out_of_range


def _by_neuron(network, firsts, counts, offsets, most):
    """Reorder counters by state and neuron, neurons in the order of the network: StateCounts."""
    n_sets, k, graph = len(counts), network.n_neurons, network.op_graph
    shape = n_sets, most + 1, k
    result = StateCounts(np.zeros(shape, np.int64), np.full(shape, -1, np.int64))
    for i, lo, hi, states in zip(
        graph.switching, graph.neuron_starts, graph.neuron_starts[1:], _n_states(network), strict=False
    ):
        channels = int(network.program.shapes[i, 0])
        for source, target in zip((counts, firsts), result, strict=True):
            part = source[:, offsets[i] : offsets[i + 1]].reshape(n_sets, states + 1, -1, channels)
            part = part.swapaxes(2, 3).reshape(n_sets, states + 1, hi - lo)
            target[:, :states, lo:hi], target[:, most, lo:hi] = part[:, :states], part[:, states]
    return result


def compare_pairs(network, first, second, *, dtype="float64", states=True, threads=None):
    """Find the neurons that float between two points, for many pairs.

    Exact up to rounding, in float64: a neuron whose computed pre-activation is at a threshold at either point floats.

    Parameters
    ----------
    network : Network
    first, second : float64[B, D]
    dtype : {"float64", "float32"}
        Type of the values. Pairs whose values leave the range of float32 are evaluated in float64.
    states : bool
        Whether to return states.
    threads : int, optional

    Returns
    -------
    (bool[B, K], int32[B, K])
        The float neurons, and the states at the first points; without ``states``, these have no rows.

    Raises
    ------
    UnsupportedOperationError
        The kernels do not handle an op of the network.
    """
    k = network.n_neurons
    floats, states = np.empty((len(first), k), bool), np.empty((len(first) if states else 0, k), np.int32)
    if not k or not len(first):
        return floats, states
    single = dtype == "float32" and fits_single(network)
    bad = _compare(network, first, second, "float32" if single else "float64", floats, states, threads)
    if single and bad.any():
        rows = np.flatnonzero(bad)
        again = floats[rows], states[rows if len(states) else rows[:0]]
        _compare(network, first[rows], second[rows], "float64", *again, threads)
        floats[rows] = again[0]
        if len(states):
            states[rows] = again[1]
    return floats, states


def _compare(network, first, second, dtype, floats, states, threads):
    """Compare the states at pairs of points; return where values are out of range. Out: floats, states."""
    code, n = _code(network, dtype), len(first)
    half, unknown, bad = int(TILE) // 2, np.zeros(1, np.int64), np.zeros(n, np.int64)
    n_slots = max(1, min(n_threads(threads), -(-n // half)))
    largest = int(network.op_graph.neuron_counts.max())
    slots = [
        (make_buffers(code, int(TILE), dtype), np.empty(largest, bool), np.empty(largest, np.int32)) for _ in range(n_slots)
    ]
    step = half * n_slots * max(1, WORK_PER_CALL // work_per_tile(code))
    for begin in range(0, n, step):
        part = slice(begin, min(n, begin + step))
        arrays = (x[part] for x in (first, second, floats, states, bad))
        shared = (code, *arrays, range_limits(dtype), unknown, np.zeros(1, np.int64))
        run_slots(passes.pair_slot, [passes.PairSlot(*shared, *own) for own in slots])
        if unknown[0]:
            raise UnsupportedOperationError(UNKNOWN)
    return bad != 0
