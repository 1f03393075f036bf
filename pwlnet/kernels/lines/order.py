"""Order breakpoints: merge the crossings of one op into the known ones, and join those that are one breakpoint.

Two crossings whose times agree within their rounding bounds are one breakpoint with several flips. A crossing is compared with
one representative, never through a chain of others, so distinct breakpoints can't be glued together by a third.

Legend: M breakpoints.
"""

import numpy as np

from .._jit import allocating_kernel, inlined_kernel, kernel
from ..ir import program as ir
from .workspace import (
    AMBIGUOUS,
    BIRTH_ERROR,
    BIRTH_ID,
    BIRTH_ROW_ERROR,
    BIRTH_T,
    END_COLUMN,
    ERROR,
    FIRST_COLUMN,
    FIRST_ROW,
    FLIP_ID,
    FLIP_NEURON,
    FLIP_NEW,
    FLIP_OLD,
    MERGED,
    N_BIRTHS,
    N_FLIPS,
    N_IDS,
    ORDER,
    RANK,
    ROW_ERROR,
    TOP_COLUMN,
    TOP_ROW,
    TOP_VALUE,
    T,
    has_single_rows,
)

FEW_FLIPS = 32  # at one breakpoint; more of them are sorted by mergesort


@inlined_kernel
def _increasing(times):
    """Whether no time is below the one before."""
    k = 1
    while k < times.shape[0] and times[k] >= times[k - 1]:
        k += 1
    return k >= times.shape[0]


@inlined_kernel
def _renumber(work, n, n_ids, known, first_flip):
    """Take over the n breakpoints in work.labels[MERGED] as the order, and relabel flips."""
    for k in range(n):
        work.labels[ORDER, k] = work.labels[MERGED, k]
        work.labels[RANK, work.labels[MERGED, k]] = k
    work.counts[N_IDS] = n_ids
    for k in range(first_flip, work.counts[N_FLIPS]):
        if work.labels[FLIP_ID, k] >= known:
            work.labels[FLIP_ID, k] = work.labels[BIRTH_ID, work.labels[FLIP_ID, k] - known]


@allocating_kernel
def settle_births(work, first_flip, ambiguous):
    """Give each crossing of the current op its final id, and refresh ``order`` and ``rank``.

    Decisions within ``ambiguous`` times the joint bound are counted in counts[AMBIGUOUS]. Flips from ``first_flip`` on are
    relabelled.
    """
    known, births = work.counts[N_IDS], work.counts[N_BIRTHS]
    if births == 0:
        return
    times = work.times[BIRTH_T, :births]
    sequence = np.arange(births) if _increasing(times) else np.argsort(times)  # those of one position are in order
    n, last, next_known, n_ids, joined_next = 0, np.int64(-1), 0, known, False
    for s in range(births):
        b = sequence[s]
        t, error = work.times[BIRTH_T, b], work.times[BIRTH_ERROR, b]
        while next_known < known and work.times[T, work.labels[ORDER, next_known]] <= t:
            last = work.labels[ORDER, next_known]
            work.labels[MERGED, n] = last
            n += 1
            next_known += 1
            joined_next = False
        reach = work.times[BIRTH_ROW_ERROR, b] if has_single_rows(work) else 0.0
        before = t - work.times[T, last] if last >= 0 else np.inf
        bound_before = error + work.times[ERROR, last] if last >= 0 else 0.0
        after, bound_after, upcoming = np.inf, 0.0, np.int64(-1)
        if next_known < known:
            upcoming = work.labels[ORDER, next_known]
            after, bound_after = work.times[T, upcoming] - t, error + work.times[ERROR, upcoming]
        unsure = before <= ambiguous * bound_before or after <= ambiguous * bound_after
        if has_single_rows(work):
            unsure |= last >= 0 and before <= reach + work.times[ROW_ERROR, last]
            unsure |= upcoming >= 0 and after <= reach + work.times[ROW_ERROR, upcoming]
        near_before, near_after = before <= bound_before, after <= bound_after
        if joined_next or (near_after and (after < before or not near_before)):
            work.labels[BIRTH_ID, b] = upcoming
            joined_next = True
        elif near_before:
            work.labels[BIRTH_ID, b] = last
            if last >= known and error < work.times[ERROR, last]:  # the more accurate spelling of a new breakpoint
                work.times[T, last], work.times[ERROR, last] = t, error
        else:
            work.labels[BIRTH_ID, b] = n_ids
            work.times[T, n_ids], work.times[ERROR, n_ids] = t, error
            if has_single_rows(work):
                work.times[ROW_ERROR, n_ids] = reach
            work.labels[MERGED, n] = n_ids
            last = n_ids
            n += 1
            n_ids += 1
            work.counts[AMBIGUOUS] += np.int64(unsure)
    while next_known < known:
        work.labels[MERGED, n] = work.labels[ORDER, next_known]
        n += 1
        next_known += 1
    _renumber(work, n, n_ids, known, first_flip)


@kernel
def relabel_rows(work, i, known):
    """Replace provisional ids in op i's rows."""
    for row in range(work.bases[FIRST_ROW, i], work.counts[TOP_ROW]):
        if work.ids[row] >= known:
            work.ids[row] = work.labels[BIRTH_ID, work.ids[row] - known]


@kernel
def compact(code, work, i):
    """Move op i's rows down over those that no later op reads, once half of a buffer is in use."""
    if 2 * work.counts[TOP_ROW] < work.ids.shape[0] and 2 * work.counts[TOP_VALUE] < work.values.shape[0]:
        return
    top, top_column = np.int64(0), np.int64(0)
    for j in range(i):
        if code.info[j, ir.LAST_USE] > i and code.info[j, ir.ROLE] != ir.SKIPPED and code.info[j, ir.ROLE] != ir.FUSED:
            positions = code.info[j, ir.HEIGHT] * code.info[j, ir.WIDTH]
            top = max(top, work.bases[FIRST_ROW, j] + work.pointers[code.info[j, ir.POINTER] + positions])
            top_column = max(top_column, work.bases[END_COLUMN, j])
    base, column = work.bases[FIRST_ROW, i], work.bases[FIRST_COLUMN, i]
    if top == base:
        return
    first, target = work.starts[base], work.starts[top]
    rows, size, columns = work.counts[TOP_ROW] - base, work.counts[TOP_VALUE] - first, work.counts[TOP_COLUMN] - column
    for k in range(rows):
        work.ids[top + k] = work.ids[base + k]
        work.starts[top + k + 1] = work.starts[base + k + 1] - first + target
        work.shifts[top + k] = work.shifts[base + k] - column + top_column + first - target
    for k in range(size):
        work.values[target + k] = work.values[first + k]
    for k in range(columns):
        work.columns[top_column + k] = work.columns[column + k]
    work.bases[FIRST_ROW, i], work.bases[FIRST_COLUMN, i], work.bases[END_COLUMN, i] = top, top_column, top_column + columns
    work.counts[TOP_ROW], work.counts[TOP_VALUE], work.counts[TOP_COLUMN] = top + rows, target + size, top_column + columns


@allocating_kernel
def _sorted_flips(work, keep):
    """Indices of the flips by rank of their breakpoint, then by neuron, then as they were; ``keep`` int64[flips] gets keys."""
    n, n_neurons, most = work.counts[N_FLIPS], np.int64(work.states.shape[1]), np.int64(0)
    place, sequence = np.zeros(work.counts[N_IDS] + 1, np.int64), np.empty(n, np.int64)
    for k in range(n):
        rank = work.labels[RANK, work.labels[FLIP_ID, k]]
        keep[k] = rank * n_neurons + work.labels[FLIP_NEURON, k]
        place[rank + 1] += 1
        most = max(most, place[rank + 1])
    if most > FEW_FLIPS:
        return np.argsort(keep[:n], kind="mergesort")
    for rank in range(1, place.shape[0]):
        place[rank] += place[rank - 1]
    for k in range(n):
        rank = work.labels[RANK, work.labels[FLIP_ID, k]]
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
    new state). Returns (breakpoints, flips, what the rounding of float32 rows adds to the errors at most).
    """
    row_error = 0.0
    n, sequence = work.counts[N_FLIPS], _sorted_flips(work, keep)
    n_points, n_flips, k, last_rank = 0, 0, 0, np.int64(-1)
    while k < n:
        first = sequence[k]
        final = first
        while k < n and keep[sequence[k]] == keep[first]:
            final = sequence[k]
            k += 1
        if work.labels[FLIP_OLD, first] == work.labels[FLIP_NEW, final]:
            continue
        rank = work.labels[RANK, work.labels[FLIP_ID, first]]
        if rank != last_rank:
            out_t[n_points], out_error[n_points] = (
                work.times[T, work.labels[FLIP_ID, first]],
                work.times[ERROR, work.labels[FLIP_ID, first]],
            )
            if has_single_rows(work):
                row_error = max(row_error, work.times[ROW_ERROR, work.labels[FLIP_ID, first]])
            out_counts[n_points] = 0
            n_points += 1
            last_rank = rank
        out_counts[n_points - 1] += 1
        out_neuron[n_flips] = work.labels[FLIP_NEURON, first]
        out_old[n_flips], out_new[n_flips] = work.labels[FLIP_OLD, first], work.labels[FLIP_NEW, final]
        n_flips += 1
    return n_points, n_flips, row_error
