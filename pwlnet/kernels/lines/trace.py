"""Exact breakpoints of lines by the slope-change method.

One call traces many *windows* (a line, or a part of one): value and slope of everything at the window's start by a forward
pass of two rows, then op by op the slope changes (workspace.py). Affine ops push them (slope_changes.py), switching ops scan
them (scan.py, pool_scan.py), and the crossings of each op are merged into the list of breakpoints (order.py). The cost is the
number of non-zero slope changes times their fan-out, not breakpoints times a forward pass.

Legend: D inputs, K neurons, C channels, L lines, Q windows.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import address_of, allocating_kernel, by_address, inlined_kernel, kernel, slot_kernel
from ..arrays import copy_into, fill
from ..ir import program as ir
from ..ir.affine import n_ops, rows_of
from . import workspace as ws
from .channel import begin
from .closeness import line_ends
from .order import compact, merge_crossings, net_flips, relabel_rows
from .points import coordinate
from .pool_scan import scan_pool
from .rounding import add_float32_errors, float32_variance, input_errors, push_float32_errors, push_start
from .scan import scan_rows
from .slope_changes import accumulate, add_entry, collect, drop_empty_row, gathered_rows, new_row, tile_height
from .wide import can_be_wide, is_wide, scan_wide
from .workspace import Work, has_float32_slopes

_call_wide, _call_pool = by_address(scan_wide), by_address(scan_pool)

# Columns of ``Windows.found``.
SLOT = 0
FIRST_POINT = 1  # first breakpoint in the slot's ``Found``
N_POINTS = 2
FIRST_FLIP = 3
N_FLIPS = 4
AMBIGUOUS = 5
AT_END = 6  # neurons within rounding of a threshold at the window's end
N_FOUND = 7

# Entries of ``LineSlot.state``.
STATUS = 0
WINDOW = 1  # the window at hand where a buffer was full, else -1
TOP_POINT = 2  # breakpoints and flips in use in ``Found``
TOP_FLIP = 3
NUMBER = 4  # of the slot
N_STATE = 5


class Found(NamedTuple):
    """Output buffers of one slot: breakpoints and flips of the windows that it traced."""

    is_kept = True  # from call to call: _slots.py

    t: np.ndarray  # float64[*]
    error: np.ndarray  # float64[*]
    flips_per_point: np.ndarray  # int64[*] flips of each breakpoint
    neuron: np.ndarray  # int64[*]
    old_state: np.ndarray  # int32[*]
    new_state: np.ndarray  # int32[*]
    keep: np.ndarray  # int64[*] scratch


class Windows(NamedTuple):
    """The windows to trace, which all slots share; each slot takes the next one, and says where its results are."""

    starts: np.ndarray  # float64[L, D]
    ends: np.ndarray  # float64[L, D]
    lines: np.ndarray  # int64[Q] line of each window
    t0: np.ndarray  # float64[Q]
    t1: np.ndarray  # float64[Q]
    bounds: np.ndarray  # float64[2] Tolerances.rounding, and Tolerances.ambiguous relative to it
    next_window: np.ndarray  # int64[1] counter
    stop: np.ndarray  # int64[1] not zero: leave as soon as possible
    found: np.ndarray  # int64[Q, N_FOUND]
    float32_error: np.ndarray  # float64[Q] what the rounding of float32 rows adds to the errors at most
    start_states: np.ndarray  # int32[Q or 0, K]
    end_states: np.ndarray  # int32[Q or 0, K]


class LineSlot(NamedTuple):
    """What one slot works with: the program, its own buffers, the windows."""

    code: ir.PackedProgram
    work: Work
    found: Found
    windows: Windows
    state: np.ndarray  # int64[N_STATE]


@kernel
def _start_window(code, work, start, end, t0, length):
    """Load point and direction at the window's start, and their rounding errors, into op 0; reset the work buffers."""
    x, ends = rows_of(code, 0, 2, work.at_start[ws.VALUE_AND_SLOPE]), line_ends(code, work)
    for d in range(start.shape[0]):
        k = code.indices[code.op_table[-1, ir.INPUTS] + d]
        x[0, k], x[1, k] = coordinate(start, end, t0, d)
        ends[0, k], ends[1, k] = start[d], end[d]
    input_errors(code, work.at_start[ws.VALUE_AND_SLOPE], length, work.at_start[ws.VARIANCE])
    if has_float32_slopes(work):
        fill(float32_variance(code, work, 0), 0.0)
    fill(work.counts, 0)
    for row in range(work.bases.shape[0]):
        work.bases[row, 0] = 0
    work.starts[0] = 0


@kernel
def _store_position(code, work, i, p):
    """Store the slope changes of position p of an affine op that several ops read."""
    channels = code.op_table[i, ir.CHANNELS]
    n = collect(code, work, i, p)
    height = tile_height(channels)
    for first in range(0, n, height):
        last = min(n, first + height)
        accumulate(code, work, i, p, first, last)
        rows = gathered_rows(work, last - first, channels)
        for a in range(last - first):
            if not new_row(work, channels, work.labels[ws.SORTED_IDS, first + a]):
                return
            for c in range(channels):
                if rows[a, c] != 0.0:
                    add_entry(work, c, rows[a, c])
            drop_empty_row(work)


@kernel
def _scan_position(code, work, i, p, t0, t1, rounding):
    """Scan position p of elementwise op i over the window: append rows, crossings and flips to the work buffers."""
    f = code.op_table[i, ir.PRODUCER]
    n = collect(code, work, f, p)
    n_pinned = begin(code, work, i, p, n, t0, t1 - t0, rounding)
    if work.counts[ws.STATUS] != ws.DONE:  # an op that is unknown, or values that are not in range
        return
    if is_wide(code, i, f, n):
        _call_wide(work.addresses[ws.WIDE], (code, work, i, p, n, t0, t1))
    else:
        scan_rows(code, work, i, p, n, n_pinned, t0, t1)


@inlined_kernel
def _save_counts(counts, i):
    """Save how full the buffers are before op i."""
    counts[ws.NEXT_OP], counts[ws.SAVED_FLIPS], counts[ws.SAVED_AMBIGUOUS] = i, counts[ws.N_FLIPS], counts[ws.AMBIGUOUS]
    counts[ws.SAVED_ROW], counts[ws.SAVED_VALUE] = counts[ws.TOP_ROW], counts[ws.TOP_VALUE]
    counts[ws.SAVED_COLUMN], counts[ws.SAVED_AT_END] = counts[ws.TOP_COLUMN], counts[ws.AT_END]


@inlined_kernel
def _restore_counts(counts):
    """Discard what an unfinished op has added to the buffers."""
    counts[ws.N_FLIPS], counts[ws.AMBIGUOUS] = counts[ws.SAVED_FLIPS], counts[ws.SAVED_AMBIGUOUS]
    counts[ws.TOP_ROW], counts[ws.TOP_VALUE] = counts[ws.SAVED_ROW], counts[ws.SAVED_VALUE]
    counts[ws.TOP_COLUMN], counts[ws.STATUS] = counts[ws.SAVED_COLUMN], ws.DONE
    counts[ws.AT_END] = counts[ws.SAVED_AT_END]


@kernel
def _trace_op(code, work, i, role, t0, t1, rounding, stop):
    """Append the slope changes, crossings and flips of all positions of op i to the work buffers; return the status."""
    counts, pointer = work.counts, code.op_table[i, ir.POINTER]
    for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
        if stop[0] != 0:
            return np.int64(ws.STOPPED)
        first_row = counts[ws.TOP_ROW]
        if role == ir.STORED:
            _store_position(code, work, i, p)
        elif role == ir.ELEMENTWISE:
            _scan_position(code, work, i, p, t0, t1, rounding)
        else:
            _call_pool(work.addresses[ws.POOLS], (code, work, i, p, t0, t1, rounding))
        work.pointers[pointer + p + 1] = counts[ws.TOP_ROW] - work.bases[ws.FIRST_ROW, i]
        if counts[ws.STATUS] != ws.DONE:
            break
        if has_float32_slopes(work) and role != ir.ELEMENTWISE:
            add_float32_errors(code, work, i, p, first_row, t1 - t0)
    return counts[ws.STATUS]


@kernel
def trace_window(code, work, start, end, t0, t1, bounds, stop):
    """Find the breakpoints and flips of one window; return the status. Results stay in the work buffers.

    Called again after a buffer was full and has been enlarged, it continues with the unfinished op. Where ``stop[0]`` is not
    zero it returns before the next position.
    """
    counts, rounding, ambiguous = work.counts, bounds[0], bounds[1]
    if counts[ws.NEXT_OP] == 0:
        _start_window(code, work, start, end, t0, t1 - t0)
        counts[ws.NEXT_OP] = 1
    else:
        _restore_counts(counts)
    for i in range(counts[ws.NEXT_OP], n_ops(code)):
        role = code.op_table[i, ir.ROLE]
        if role == ir.SKIPPED:
            continue
        if role == ir.STORED or role == ir.FUSED:
            push_start(code, i, work.at_start[ws.VALUE_AND_SLOPE], work.at_start[ws.VARIANCE])
            if has_float32_slopes(work):
                push_float32_errors(code, work, i)
        if role == ir.FUSED:
            continue
        work.bases[ws.FIRST_ROW, i], work.bases[ws.FIRST_COLUMN, i] = counts[ws.TOP_ROW], counts[ws.TOP_COLUMN]
        counts[ws.N_CROSSINGS] = 0
        known, first_flip = counts[ws.N_IDS], counts[ws.N_FLIPS]
        _save_counts(counts, i)
        status = _trace_op(code, work, i, role, t0, t1, rounding, stop)
        if status != ws.DONE:
            return status
        if counts[ws.N_CROSSINGS] > 0:
            merge_crossings(work, first_flip, ambiguous)
            relabel_rows(work, i, known)
        work.bases[ws.END_COLUMN, i] = counts[ws.TOP_COLUMN]
        compact(code, work, i)
    counts[ws.NEXT_OP] = 0
    return np.int64(ws.DONE)


@allocating_kernel
def _store_window(work, found, windows, state, q):
    """Append the results of window q to the slot's; returns DONE, or FULL_OUTPUT where they don't fit."""
    n, a, b = work.counts[ws.N_FLIPS], state[TOP_POINT], state[TOP_FLIP]
    if a + n > found.t.shape[0] or b + n > found.neuron.shape[0] or n > found.keep.shape[0]:
        work.counts[ws.NEXT_OP], work.counts[ws.SAVED_FLIPS] = work.bases.shape[1], n  # only the copy is left to do
        work.counts[ws.SAVED_AMBIGUOUS] = work.counts[ws.AMBIGUOUS]
        work.counts[ws.SAVED_AT_END] = work.counts[ws.AT_END]
        return np.int64(ws.FULL_OUTPUT)
    points, flips, windows.float32_error[q] = net_flips(
        work,
        found.keep,
        found.t[a:],
        found.error[a:],
        found.flips_per_point[a:],
        found.neuron[b:],
        found.old_state[b:],
        found.new_state[b:],
    )
    windows.found[q, SLOT] = state[NUMBER]
    windows.found[q, FIRST_POINT], windows.found[q, N_POINTS] = a, points
    windows.found[q, FIRST_FLIP], windows.found[q, N_FLIPS] = b, flips
    windows.found[q, AMBIGUOUS], windows.found[q, AT_END] = work.counts[ws.AMBIGUOUS], work.counts[ws.AT_END]
    state[TOP_POINT], state[TOP_FLIP] = a + points, b + flips
    if windows.start_states.shape[0] > 0:
        copy_into(work.states[ws.WINDOW_START], windows.start_states[q])
        copy_into(work.states[ws.WINDOW_END], windows.end_states[q])
    return np.int64(ws.DONE)


@allocating_kernel
def _trace_windows(code, work, found, windows, state):
    """Trace windows until none is left, a buffer is full, or the caller wants to stop."""
    q = state[WINDOW]
    if q < 0:
        q = take_next(windows.next_window)
    while q < windows.lines.shape[0]:
        state[WINDOW] = q
        line, t0, t1 = windows.lines[q], windows.t0[q], windows.t1[q]
        status = trace_window(code, work, windows.starts[line], windows.ends[line], t0, t1, windows.bounds, windows.stop)
        if status == ws.DONE:
            status = _store_window(work, found, windows, state, q)
        if status != ws.DONE:
            state[STATUS] = status
            return
        q = take_next(windows.next_window)
    state[STATUS], state[WINDOW] = ws.DONE, -1


@slot_kernel
def trace_slot(slot):
    """Trace windows, each time the next one that no slot has taken, and append the results to ``slot.found``.

    Out: slot.windows.found, slot.state. Its STATUS is DONE where no window is left; STOPPED; or that of a buffer that was too
    small for window ``state[WINDOW]``, which the next call repeats with a larger one.
    """
    _trace_windows(slot.code, slot.work, slot.found, slot.windows, slot.state)


def load_scans(code, work):
    """Compile the scans that only some networks need, or load them, and put their addresses into the buffers.

    Parameters
    ----------
    code : PackedProgram
    work : Work
    """
    table = code.op_table[:-1]
    if can_be_wide(code).any():
        work.addresses[ws.WIDE] = address_of(scan_wide, code, work, 0, 0, 0, 0.0, 0.0)
    if (table[:, ir.ROLE] == ir.POOL).any():
        work.addresses[ws.POOLS] = address_of(scan_pool, code, work, 0, 0, 0.0, 0.0, 0.0)
