"""Exact breakpoints of lines by the slope-change method.

One call traces many *windows* (a line, or a part of one): value and slope of everything at the window's start by a forward
pass of two rows, then op by op the slope changes (workspace.py). Affine ops push them (slope_changes.py), switching ops scan
them (scan.py, pool_scan.py), and the crossings of each op are merged into the list of breakpoints (order.py). The cost is the
number of non-zero slope changes times their fan-out, not breakpoints times a forward pass.

Legend: D inputs, K neurons, C channels, L lines, Q windows.
"""

from typing import NamedTuple

import numpy as np

from .._jit import allocating_kernel, borrowed, kernel, part
from ..ir import program as ir
from ..ir.affine import n_ops, rows_of
from .channel import begin
from .order import compact, net_flips, relabel_rows, settle_births
from .pool_scan import scan_pool
from .rounding import add_row_errors, input_errors, push_row_errors, push_start
from .scan import scan_rows
from .slope_changes import accumulate, add_entry, collect, drop_empty_row, gathered_rows, new_row, tile_height
from .wide import is_wide, scan_wide
from .workspace import (
    AMBIGUOUS,
    DONE,
    END_COLUMN,
    FIRST,
    FIRST_COLUMN,
    FIRST_ROW,
    LAST,
    N_BIRTHS,
    N_FLIPS,
    N_IDS,
    NEXT_OP,
    ROW_VARIANCE,
    SAVED_AMBIGUOUS,
    SAVED_COLUMN,
    SAVED_FLIPS,
    SAVED_ROW,
    SAVED_VALUE,
    SORTED_IDS,
    START,
    STATUS,
    TOP_COLUMN,
    TOP_ROW,
    TOP_VALUE,
    VARIANCE,
    Work,
    has_single_rows,
)

FULL_OUTPUT = 4


class Found(NamedTuple):
    """Output buffers: breakpoints and flips of consecutive windows."""

    t: np.ndarray  # float64[*]
    error: np.ndarray  # float64[*]
    counts: np.ndarray  # int64[*] flips of each breakpoint
    neuron: np.ndarray  # int64[*]
    old: np.ndarray  # int32[*]
    new: np.ndarray  # int32[*]
    keep: np.ndarray  # int64[*] scratch
    window_points: np.ndarray  # int64[Q]
    window_flips: np.ndarray  # int64[Q]
    ambiguous: np.ndarray  # int64[Q]
    row_error: np.ndarray  # float64[Q] what the rounding of float32 rows adds to error at most
    start_states: np.ndarray  # int32[Q or 0, K]
    end_states: np.ndarray  # int32[Q or 0, K]


@kernel
def _start_window(code, work, start, end, t0, length):
    """Point and direction at the window's start into op 0, and their rounding errors; no rows yet."""
    x = rows_of(code, 0, 2, work.sweep[START])
    for d in range(start.shape[0]):
        k = code.lists[code.info[-1, ir.INPUTS] + d]
        slope = end[d] - start[d]
        x[0, k] = start[d] + t0 * slope if t0 <= 0.5 else end[d] - (1.0 - t0) * slope
        x[1, k] = slope
    input_errors(code, work.sweep[START], length, work.sweep[VARIANCE])
    if has_single_rows(work):
        rows_of(code, 0, 2, work.sweep[ROW_VARIANCE])[:] = 0.0
    work.counts[:] = 0
    work.bases[:, 0] = 0
    work.starts[0] = 0


@part
def _store_position(code, work, i, p):
    """Keep the rows of position p of an affine op that several ops read."""
    channels = code.info[i, ir.CHANNELS]
    n = collect(code, work, i, p)
    height = tile_height(channels)
    for first in range(0, n, height):
        last = min(n, first + height)
        accumulate(code, work, i, p, first, last)
        rows = gathered_rows(work, last - first, channels)
        for a in range(last - first):
            if not new_row(work, channels, work.labels[SORTED_IDS, first + a]):
                return
            for c in range(channels):
                if rows[a, c] != 0.0:
                    add_entry(work, c, rows[a, c])
            drop_empty_row(work)


@part
def _scan_position(code, work, i, p, t0, t1, rounding):
    """Scan position p of elementwise op i over the window: rows, births and flips are appended to the work buffers."""
    f = code.info[i, ir.PRODUCER]
    n = collect(code, work, f, p)
    n_parked = begin(code, work, i, p, n, t1 - t0, rounding)
    if is_wide(code, i, f, n):
        scan_wide(code, work, i, p, n, t0, t1)
    else:
        scan_rows(code, work, i, p, n, n_parked, t0, t1)


@part
def trace_window(code, work, start, end, t0, t1, rounding, ambiguous):
    """Find breakpoints and flips of one window; returns the status. Results stay in the work buffers.

    Called again after a buffer was full and has been enlarged, it goes on with the op at hand.
    """
    counts = work.counts
    if counts[NEXT_OP] == 0:
        _start_window(code, work, start, end, t0, t1 - t0)
        counts[NEXT_OP] = 1
    else:
        counts[TOP_ROW], counts[TOP_VALUE], counts[TOP_COLUMN] = counts[SAVED_ROW], counts[SAVED_VALUE], counts[SAVED_COLUMN]
        counts[N_FLIPS], counts[AMBIGUOUS], counts[STATUS] = counts[SAVED_FLIPS], counts[SAVED_AMBIGUOUS], DONE
    for i in range(counts[NEXT_OP], n_ops(code)):
        role = code.info[i, ir.ROLE]
        if role == ir.SKIPPED:
            continue
        if role == ir.STORED or role == ir.FUSED:
            push_start(code, i, work.sweep[START], work.sweep[VARIANCE])
            if has_single_rows(work):
                push_row_errors(code, work, i)
        if role == ir.FUSED:
            continue
        work.bases[FIRST_ROW, i], work.bases[FIRST_COLUMN, i] = counts[TOP_ROW], counts[TOP_COLUMN]
        counts[N_BIRTHS] = 0
        known, first_flip = counts[N_IDS], counts[N_FLIPS]
        counts[NEXT_OP], counts[SAVED_FLIPS], counts[SAVED_AMBIGUOUS] = i, first_flip, counts[AMBIGUOUS]
        counts[SAVED_ROW], counts[SAVED_VALUE], counts[SAVED_COLUMN] = counts[TOP_ROW], counts[TOP_VALUE], counts[TOP_COLUMN]
        pointer = code.info[i, ir.POINTER]
        for p in range(code.info[i, ir.HEIGHT] * code.info[i, ir.WIDTH]):
            first_row = counts[TOP_ROW]
            if role == ir.STORED:
                _store_position(code, work, i, p)
            elif role == ir.ELEMENTWISE:
                _scan_position(code, work, i, p, t0, t1, rounding)
            else:
                scan_pool(code, work, i, p, t0, t1, rounding)
            work.pointers[pointer + p + 1] = counts[TOP_ROW] - work.bases[FIRST_ROW, i]
            if counts[STATUS] != DONE:
                return counts[STATUS]
            if has_single_rows(work) and role != ir.ELEMENTWISE:
                add_row_errors(code, work, i, p, first_row, t1 - t0)
        if counts[N_BIRTHS] > 0:
            settle_births(work, first_flip, ambiguous)
            relabel_rows(work, i, known)
        work.bases[END_COLUMN, i] = counts[TOP_COLUMN]
        compact(code, work, i)
    counts[NEXT_OP] = 0
    return np.int64(DONE)


@allocating_kernel
def _borrow_code(code):
    """The program's arrays without reference counts."""
    return ir.Code(borrowed(code.info), borrowed(code.lists), borrowed(code.numbers), borrowed(code.factors))


@allocating_kernel
def _borrow_work(work):
    """The buffers without reference counts."""
    return Work(
        borrowed(work.counts),
        borrowed(work.values),
        borrowed(work.columns),
        borrowed(work.ids),
        borrowed(work.starts),
        borrowed(work.shifts),
        borrowed(work.pointers),
        borrowed(work.bases),
        borrowed(work.times),
        borrowed(work.labels),
        borrowed(work.marks),
        borrowed(work.tiles),
        borrowed(work.small),
        borrowed(work.flows),
        borrowed(work.sweep),
        borrowed(work.states),
        borrowed(work.taps),
        borrowed(work.channels),
        borrowed(work.channel_labels),
    )


@allocating_kernel
def trace_windows(code, work, starts, ends, lines, t0, t1, first, top, rounding, ambiguous, found):
    """Trace windows ``first``, ``first + 1``, ... and append their results to ``found``.

    starts, ends float64[L, D]; lines int64[Q], t0, t1 float64[Q] say which part of which line each window is. ``top`` int64[2]:
    breakpoints and flips in use, updated. Returns (next window, status): DONE after the last one; otherwise a buffer was too
    small for window ``next``, which the caller repeats with larger ones.
    """
    code_view, work_view = _borrow_code(code), _borrow_work(work)
    for q in range(first, lines.shape[0]):
        line = lines[q]
        status = trace_window(code_view, work_view, starts[line], ends[line], t0[q], t1[q], rounding, ambiguous)
        if status != DONE:
            return q, status
        n = work.counts[N_FLIPS]
        a, b = top[0], top[1]
        if a + n > found.t.shape[0] or b + n > found.neuron.shape[0] or n > found.keep.shape[0]:
            work.counts[NEXT_OP], work.counts[SAVED_FLIPS] = n_ops(code), n  # nothing is left to do but to copy
            work.counts[SAVED_AMBIGUOUS] = work.counts[AMBIGUOUS]
            return q, np.int64(FULL_OUTPUT)
        points, flips, row_error = net_flips(
            work_view,
            found.keep,
            found.t[a:],
            found.error[a:],
            found.counts[a:],
            found.neuron[b:],
            found.old[b:],
            found.new[b:],
        )
        found.window_points[q], found.window_flips[q] = points, flips
        found.ambiguous[q], found.row_error[q] = work.counts[AMBIGUOUS], row_error
        top[0], top[1] = a + points, b + flips
        if found.start_states.shape[0] > 0:
            found.start_states[q] = work.states[FIRST]
            found.end_states[q] = work.states[LAST]
    return lines.shape[0], np.int64(DONE)
