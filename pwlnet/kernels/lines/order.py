"""Order breakpoints: merge the crossings of one op into the known ones, and unite those that are one breakpoint.

Two crossings whose times agree within their rounding bounds are one breakpoint with several flips. A crossing is compared with
one representative, never through a chain of others, so a third crossing cannot merge distinct breakpoints.

Legend: M breakpoints.
"""

import numpy as np

from .._jit import allocating_kernel, inlined_kernel, kernel
from ..arrays import sorted_order
from ..ir import program as ir
from . import workspace as ws
from .rounding import UNSURE_FROM
from .workspace import has_float32_slopes

FEW_FLIPS = 32  # at one breakpoint; more of them are sorted by merge sort


@inlined_kernel
def _increasing(times):
    """Return whether no time is smaller than the one before it."""
    k = 1
    while k < times.shape[0] and times[k] >= times[k - 1]:
        k += 1
    return k >= times.shape[0]


@inlined_kernel
def _renumber(work, n, n_ids, known, first_flip):
    """Make the n breakpoints in work.labels[MERGED] the order, and relabel flips."""
    for k in range(n):
        work.labels[ws.ORDER, k] = work.labels[ws.MERGED, k]
        work.labels[ws.RANK, work.labels[ws.MERGED, k]] = k
    work.counts[ws.N_IDS] = n_ids
    for k in range(first_flip, work.counts[ws.N_FLIPS]):
        if work.labels[ws.FLIP_ID, k] >= known:
            work.labels[ws.FLIP_ID, k] = work.labels[ws.CROSSING_ID, work.labels[ws.FLIP_ID, k] - known]


@inlined_kernel
def _distance(work, breakpoint_id, t, error):
    """Return the distance of a crossing from a breakpoint, and the bound within which they are one; infinite for none (-1)."""
    if breakpoint_id < 0:
        return np.inf, 0.0
    return abs(work.times[ws.TIME, breakpoint_id] - t), error + work.times[ws.TIME_ERROR, breakpoint_id]


@allocating_kernel
def merge_crossings(work, first_flip, ambiguous):
    """Give each crossing of the current op its final id, and refresh ``order`` and ``rank``.

    Decisions within ``ambiguous`` times the sum of the bounds are counted in counts[AMBIGUOUS], but not those about crossings
    that float64 can't tell apart. Flips from ``first_flip`` on are relabelled.
    """
    known, crossings = work.counts[ws.N_IDS], work.counts[ws.N_CROSSINGS]
    if crossings == 0:
        return
    times = work.times[ws.CROSSING_TIME, :crossings]
    ordered = _increasing(times)  # those of one position are in order
    sequence = sorted_order(times[:0] if ordered else times)
    n, last, next_known, n_ids, joined_next = 0, np.int64(-1), 0, known, False
    for s in range(crossings):
        b = s if ordered else sequence[s]
        t, error = work.times[ws.CROSSING_TIME, b], work.times[ws.CROSSING_ERROR, b]
        while next_known < known and work.times[ws.TIME, work.labels[ws.ORDER, next_known]] <= t:
            last = work.labels[ws.ORDER, next_known]
            work.labels[ws.MERGED, n] = last
            n += 1
            next_known += 1
            joined_next = False
        reach = work.times[ws.CROSSING_FLOAT32_ERROR, b] if has_float32_slopes(work) else 0.0
        upcoming = work.labels[ws.ORDER, next_known] if next_known < known else np.int64(-1)
        before, bound_before = _distance(work, last, t, error)
        after, bound_after = _distance(work, upcoming, t, error)
        unsure = before <= ambiguous * bound_before or after <= ambiguous * bound_after
        if has_float32_slopes(work):
            unsure |= last >= 0 and before <= reach + work.times[ws.FLOAT32_ERROR, last]
            unsure |= upcoming >= 0 and after <= reach + work.times[ws.FLOAT32_ERROR, upcoming]
        near_before, near_after = before <= bound_before, after <= bound_after
        if joined_next or (near_after and (after < before or not near_before)):
            work.labels[ws.CROSSING_ID, b] = upcoming
            joined_next = True
            work.counts[ws.AMBIGUOUS] += np.int64(after > UNSURE_FROM * t)
        elif near_before:
            work.labels[ws.CROSSING_ID, b] = last
            work.counts[ws.AMBIGUOUS] += np.int64(before > UNSURE_FROM * t)
            if last >= known and error < work.times[ws.TIME_ERROR, last]:  # the more accurate duplicate of a new breakpoint
                work.times[ws.TIME, last], work.times[ws.TIME_ERROR, last] = t, error
        else:
            work.labels[ws.CROSSING_ID, b] = n_ids
            work.times[ws.TIME, n_ids], work.times[ws.TIME_ERROR, n_ids] = t, error
            if has_float32_slopes(work):
                work.times[ws.FLOAT32_ERROR, n_ids] = reach
            work.labels[ws.MERGED, n] = n_ids
            last = n_ids
            n += 1
            n_ids += 1
            work.counts[ws.AMBIGUOUS] += np.int64(unsure)
    while next_known < known:
        work.labels[ws.MERGED, n] = work.labels[ws.ORDER, next_known]
        n += 1
        next_known += 1
    _renumber(work, n, n_ids, known, first_flip)


@kernel
def relabel_rows(work, i, known):
    """Replace the provisional breakpoint ids in op i's rows of slope changes."""
    for row in range(work.bases[ws.FIRST_ROW, i], work.counts[ws.TOP_ROW]):
        if work.ids[row] >= known:
            work.ids[row] = work.labels[ws.CROSSING_ID, work.ids[row] - known]


@kernel
def compact(code, work, i):
    """Move op i's rows of slope changes over those that no later op reads, once half of a buffer is in use."""
    if 2 * work.counts[ws.TOP_ROW] < work.ids.shape[0] and 2 * work.counts[ws.TOP_VALUE] < work.values.shape[0]:
        return
    top, top_column = np.int64(0), np.int64(0)
    for j in range(i):
        if (
            code.op_table[j, ir.LAST_USE] > i
            and code.op_table[j, ir.ROLE] != ir.SKIPPED
            and code.op_table[j, ir.ROLE] != ir.FUSED
        ):
            positions = code.op_table[j, ir.HEIGHT] * code.op_table[j, ir.WIDTH]
            top = max(top, work.bases[ws.FIRST_ROW, j] + work.pointers[code.op_table[j, ir.POINTER] + positions])
            top_column = max(top_column, work.bases[ws.END_COLUMN, j])
    base, column = work.bases[ws.FIRST_ROW, i], work.bases[ws.FIRST_COLUMN, i]
    if top == base:
        return
    first, target = work.starts[base], work.starts[top]
    rows, size, columns = work.counts[ws.TOP_ROW] - base, work.counts[ws.TOP_VALUE] - first, work.counts[ws.TOP_COLUMN] - column
    for k in range(rows):
        work.ids[top + k] = work.ids[base + k]
        work.starts[top + k + 1] = work.starts[base + k + 1] - first + target
        work.shifts[top + k] = work.shifts[base + k] - column + top_column + first - target
    for k in range(size):
        work.values[target + k] = work.values[first + k]
    for k in range(columns):
        work.columns[top_column + k] = work.columns[column + k]
    work.bases[ws.FIRST_ROW, i], work.bases[ws.FIRST_COLUMN, i], work.bases[ws.END_COLUMN, i] = (
        top,
        top_column,
        top_column + columns,
    )
    work.counts[ws.TOP_ROW], work.counts[ws.TOP_VALUE], work.counts[ws.TOP_COLUMN] = (
        top + rows,
        target + size,
        top_column + columns,
    )


@allocating_kernel
def _sorted_flips(work, keep):
    """Sort the flips by rank of their breakpoint, then by neuron, then stably; ``keep`` int64[flips] receives the keys."""
    n, n_neurons, most = work.counts[ws.N_FLIPS], np.int64(work.states.shape[1]), np.int64(0)
    place, sequence = np.zeros(work.counts[ws.N_IDS] + 1, np.int64), np.empty(n, np.int64)
    for k in range(n):
        rank = work.labels[ws.RANK, work.labels[ws.FLIP_ID, k]]
        keep[k] = rank * n_neurons + work.labels[ws.FLIP_NEURON, k]
        place[rank + 1] += 1
        most = max(most, place[rank + 1])
    if most > FEW_FLIPS:
        return sorted_order(keep[:n])
    for rank in range(1, place.shape[0]):
        place[rank] += place[rank - 1]
    for k in range(n):
        rank = work.labels[ws.RANK, work.labels[ws.FLIP_ID, k]]
        sequence[place[rank]] = k
        place[rank] += 1
    for k in range(1, n):
        flip, j = sequence[k], k
        while j > 0 and keep[sequence[j - 1]] > keep[flip]:
            sequence[j] = sequence[j - 1]
            j -= 1
        sequence[j] = flip
    return sequence


@allocating_kernel
def net_flips(work, keep, out_t, out_error, out_counts, out_neuron, out_old, out_new):
    """Sort flips by breakpoint and neuron, cancel those that undo each other, and drop breakpoints without any.

    ``keep`` int64[flips] is scratch. Out: one entry per breakpoint (t, error, number of flips) and per flip (neuron, old and
    new state). Return (breakpoints, flips, largest error that float32 slope changes add).
    """
    row_error = 0.0
    n, sequence = work.counts[ws.N_FLIPS], _sorted_flips(work, keep)
    n_points, n_flips, k, last_rank = 0, 0, 0, np.int64(-1)
    while k < n:
        first = sequence[k]
        final = first
        while k < n and keep[sequence[k]] == keep[first]:
            final = sequence[k]
            k += 1
        if work.labels[ws.FLIP_OLD, first] == work.labels[ws.FLIP_NEW, final]:
            continue
        rank = work.labels[ws.RANK, work.labels[ws.FLIP_ID, first]]
        if rank != last_rank:
            out_t[n_points], out_error[n_points] = (
                work.times[ws.TIME, work.labels[ws.FLIP_ID, first]],
                work.times[ws.TIME_ERROR, work.labels[ws.FLIP_ID, first]],
            )
            if has_float32_slopes(work):
                row_error = max(row_error, work.times[ws.FLOAT32_ERROR, work.labels[ws.FLIP_ID, first]])
            out_counts[n_points] = 0
            n_points += 1
            last_rank = rank
        out_counts[n_points - 1] += 1
        out_neuron[n_flips] = work.labels[ws.FLIP_NEURON, first]
        out_old[n_flips], out_new[n_flips] = work.labels[ws.FLIP_OLD, first], work.labels[ws.FLIP_NEW, final]
        n_flips += 1
    return n_points, n_flips, row_error
