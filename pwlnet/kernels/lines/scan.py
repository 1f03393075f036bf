"""Scan one position of an elementwise switching op in time order: find crossings, filter the slope changes, add new ones.

Between two arriving rows of slope changes every channel is affine, so its crossings of thresholds are found exactly. At an
arriving row the slopes of the channels change; the row that leaves the op has these changes times the slopes of the pieces that
the channels are on. A crossing adds a row with one entry. Rows that no later op reads are not stored.

Ties are decided by a rounding bound (rounding.py), not by chance: a value within its bound of a threshold at an event *is* at
the threshold, and its next piece follows from its next slope; a slope within its bound of zero *is* zero.

Legend: C channels, n breakpoints of the position.
"""

import numpy as np

from .._jit import ONE, TWO, inlined_kernel, kernel
from ..arrays import fill
from ..ir import program as ir
from . import workspace as ws
from .channel import finish, neuron_number, piece_range, resolve_contact, set_piece
from .rounding import UNIT_ROUNDOFF, add_squares
from .slope_changes import accumulate, add_whole_entry, close_row, drop_empty_row, gathered_rows, new_row, tile_height
from .workspace import has_float32_slopes

OWN_COLUMN = np.int64(-1)
MANY_EVENTS = 16  # where a position has more events, extremes are recorded at every 16th only


@inlined_kernel
def record_flip(work, breakpoint_id, neuron, old, new):
    """Append one flip."""
    k = work.counts[ws.N_FLIPS]
    if k >= work.labels.shape[1]:
        work.counts[ws.STATUS] = ws.FULL_IDS
        return
    work.labels[ws.FLIP_ID, k], work.labels[ws.FLIP_NEURON, k] = breakpoint_id, neuron
    work.labels[ws.FLIP_OLD, k], work.labels[ws.FLIP_NEW, k] = old, new
    work.counts[ws.N_FLIPS] = k + 1


@inlined_kernel
def add_crossing(work, t, error, row_error):
    """Append a crossing of the current op; return its provisional id, or -1 where a buffer is full."""
    k = work.counts[ws.N_CROSSINGS]
    breakpoint_id = work.counts[ws.N_IDS] + k
    if breakpoint_id >= work.times.shape[1]:
        work.counts[ws.STATUS] = ws.FULL_IDS
        return np.int64(-1)
    work.times[ws.CROSSING_TIME, k] = t
    work.times[ws.CROSSING_ERROR, k] = error
    if has_float32_slopes(work):
        work.times[ws.CROSSING_FLOAT32_ERROR, k] = row_error
    work.counts[ws.N_CROSSINGS] = k + 1
    return breakpoint_id


@inlined_kernel
def find_crossings(code, work, i, slots, t0, t1):
    """Find the crossings inside the open interval, sorted by time, and the slots at a threshold at its end.

    Return (number of crossings, number of slots at a threshold).
    """
    n, n_at_threshold = 0, 0
    for slot in range(slots):
        x = work.channels[ws.NEXT_VALUE, slot]
        if not (x < work.channels[ws.LOW, slot] or x > work.channels[ws.HIGH, slot]):
            continue
        tolerance, state = work.channels[ws.TOLERANCE, slot], work.channel_labels[ws.STATE, slot]
        while True:
            low, high = piece_range(code, i, state)
            if x < low - tolerance:
                threshold, state = low, state - 1
            elif x > high + tolerance:
                threshold, state = high, state + 1
            else:
                break
            t = t0 + (threshold - work.channels[ws.VALUE, slot]) / work.channels[ws.SLOPE, slot]
            t = min(max(t, t0), t1)
            k = n
            while k > 0 and work.channels[ws.PENDING_TIME, k - 1] > t:
                work.channels[ws.PENDING_TIME, k] = work.channels[ws.PENDING_TIME, k - 1]
                work.channel_labels[ws.PENDING_SLOT, k] = work.channel_labels[ws.PENDING_SLOT, k - 1]
                k -= 1
            work.channels[ws.PENDING_TIME, k], work.channel_labels[ws.PENDING_SLOT, k] = t, slot
            n += 1
        if abs(x - low) <= tolerance or abs(x - high) <= tolerance:
            work.channel_labels[ws.AT_THRESHOLD, n_at_threshold] = slot
            n_at_threshold += 1
        elif has_float32_slopes(work):
            near = min(abs(x - low), abs(x - high)) <= work.channels[ws.FLOAT32_TOLERANCE, slot]
            work.counts[ws.AMBIGUOUS] += np.int64(near)
    return n, n_at_threshold


@inlined_kernel
def emit_crossings(code, work, i, p, n, keep, room, columns):
    """Append crossings, flips and rows of slope changes for the crossings of one interval.

    The rows have one entry each; where ``columns`` >= 0 they have ``room`` entries instead, one for each slot from 0 on, whose
    columns begin there.
    """
    single = TWO if has_float32_slopes(work) else ONE
    for k in range(n):
        slot = work.channel_labels[ws.PENDING_SLOT, k]
        c = work.channel_labels[ws.CHANNEL, slot]
        slope, t = work.channels[ws.SLOPE, slot], work.channels[ws.PENDING_TIME, k]
        error = work.channels[ws.TOLERANCE, slot] / abs(slope) + 4.0 * UNIT_ROUNDOFF * abs(t)
        crossing = add_crossing(work, t, error, work.channels[ws.FLOAT32_TOLERANCE, slot] / abs(slope))
        if crossing < 0 or (keep and not new_row(work, room if columns >= 0 else single, crossing)):
            return
        old = work.channel_labels[ws.STATE, slot]
        work.channel_labels[ws.STATE, slot] = old + 1 if slope > 0.0 else old - 1
        record_flip(work, crossing, neuron_number(code, i, p, c), old, work.channel_labels[ws.STATE, slot])
        gain = work.channels[ws.GAIN, slot]
        set_piece(code, work, i, p, slot)
        if not keep:
            continue
        slope_change = slope * (work.channels[ws.GAIN, slot] - gain)
        if has_float32_slopes(work):
            work.channels[ws.SQUARES, slot] += slope_change * slope_change
        if columns >= 0:
            values = work.values[work.counts[ws.TOP_VALUE] :][:room]
            fill(values, 0.0)
            values[slot] = slope_change
            close_row(work, room, columns)
        else:
            add_whole_entry(work, c, slope_change)
        work.channels[ws.STEEPEST, slot] = max(work.channels[ws.STEEPEST, slot], abs(slope * work.channels[ws.GAIN, slot]))
        low, high = piece_range(code, i, old)
        reached = max(abs(work.channels[ws.NEXT_VALUE, slot] * work.channels[ws.GAIN, slot]), abs(high if slope > 0.0 else low))
        work.channels[ws.LARGEST, slot] = max(work.channels[ws.LARGEST, slot], reached)


@inlined_kernel
def advance(work, slots, dt):
    """Move all slots forward by dt; return a number that is zero only where no channel may have left its piece."""
    value, slope, next_value = work.channels[ws.VALUE], work.channels[ws.SLOPE], work.channels[ws.NEXT_VALUE]
    low, high = work.channels[ws.LOW], work.channels[ws.HIGH]
    hits = np.int64(0)
    for k in range(slots):
        x = value[k] + slope[k] * dt
        next_value[k] = x
        hits += np.int64(x < low[k]) + np.int64(x > high[k])
    return hits


@inlined_kernel
def apply_slope_changes(work, slots, arriving):
    """Apply arriving slope changes to the slots, and move them to their next values; set work.channels[EVENT_ROW]."""
    value, slope, next_value = work.channels[ws.VALUE], work.channels[ws.SLOPE], work.channels[ws.NEXT_VALUE]
    gain, row = work.channels[ws.GAIN], work.channels[ws.EVENT_ROW]
    for k in range(slots):
        row[k] = arriving[k] * gain[k]
        slope[k] += arriving[k]
        value[k] = next_value[k]


@inlined_kernel
def keep_row(work, slots):
    """Append the non-zero entries of work.channels[EVENT_ROW] to the last row, which has room for them."""
    row, channel = work.channels[ws.EVENT_ROW], work.channel_labels[ws.CHANNEL]
    top, shift = work.counts[ws.TOP_VALUE], work.counts[ws.TOP_COLUMN] - work.counts[ws.TOP_VALUE]
    for k in range(slots):
        work.values[top], work.columns[top + shift] = row[k], channel[k]
        top += np.int64(row[k] != 0.0)
    work.starts[work.counts[ws.TOP_ROW]] = work.counts[ws.TOP_VALUE] = top
    work.counts[ws.TOP_COLUMN] = top + shift


@inlined_kernel
def record_extremes(work, slots):
    """Update the largest post-activation and the steepest slope, for the rounding errors after this op."""
    value, slope, gain = work.channels[ws.VALUE], work.channels[ws.SLOPE], work.channels[ws.GAIN]
    largest, steepest = work.channels[ws.LARGEST], work.channels[ws.STEEPEST]
    for k in range(slots):
        y = abs(value[k] * gain[k])
        largest[k] = y if y > largest[k] else largest[k]
    for k in range(slots):
        y = abs(slope[k] * gain[k])
        steepest[k] = y if y > steepest[k] else steepest[k]


@inlined_kernel
def add_squared(squares, row, n):
    """Add the squares of a row's entries."""
    for k in range(n):
        x = np.float64(row[k])
        squares[k] += x * x


@kernel
def resolve_contacts(code, work, i, p, breakpoint_id, n_at_threshold, n_pinned, arriving):
    """Choose the next piece of the slots that are at a threshold at an event; return the number of pinned ones."""
    for k in range(n_pinned):  # pinned channels move only when their slope changes
        work.channel_labels[ws.AT_THRESHOLD, n_at_threshold + k] = work.channel_labels[ws.PINNED, k]
    still = 0
    for k in range(n_at_threshold + n_pinned):
        slot = work.channel_labels[ws.AT_THRESHOLD, k]
        if k >= n_at_threshold and arriving[slot] == 0.0:
            work.channel_labels[ws.PINNED, still] = slot
            still += 1
            continue
        moving = work.channels[ws.SLOPE, slot]
        if moving == 0.0 and k < n_at_threshold and arriving[slot] == 0.0:  # it does not move, and keeps its state
            continue
        old, before = work.channel_labels[ws.STATE, slot], moving * work.channels[ws.GAIN, slot]
        state, work.channels[ws.VALUE, slot], work.channels[ws.SLOPE, slot] = resolve_contact(
            code,
            i,
            work.channels[ws.VALUE, slot],
            work.channels[ws.SLOPE, slot],
            work.channels[ws.TOLERANCE, slot],
            work.channels[ws.SLOPE_TOLERANCE, slot],
        )
        work.channel_labels[ws.STATE, slot] = state
        work.counts[ws.AMBIGUOUS] += np.int64(moving != 0.0 and work.channels[ws.SLOPE, slot] == 0.0)
        if set_piece(code, work, i, p, slot):
            work.channel_labels[ws.PINNED, still] = slot
            still += 1
        after = work.channels[ws.SLOPE, slot] * work.channels[ws.GAIN, slot]
        work.channels[ws.EVENT_ROW, slot] += after - before
        work.channels[ws.STEEPEST, slot] = max(work.channels[ws.STEEPEST, slot], abs(after))
        if state != old:
            record_flip(work, breakpoint_id, neuron_number(code, i, p, work.channel_labels[ws.CHANNEL, slot]), old, state)
    return still


@inlined_kernel
def process_event(code, work, i, p, slots, t, event, arriving, n_pinned, keep, room, columns):
    """Move the slots from t to an event and apply its slope changes; where ``keep``, begin a row with ``room`` entries.

    The row is in work.channels[EVENT_ROW]; ``columns`` as for ``emit_crossings``. Return the number of pinned slots;
    counts[STATUS] says whether a buffer was full.
    """
    t_event, n_at_threshold = work.times[ws.TIME, event], 0
    if advance(work, slots, t_event - t) > 0:
        n_crossings, n_at_threshold = find_crossings(code, work, i, slots, t, t_event)
        emit_crossings(code, work, i, p, n_crossings, keep, room, columns)
    if work.counts[ws.STATUS] != ws.DONE or (keep and not new_row(work, room, event)):
        return n_pinned
    apply_slope_changes(work, slots, arriving)
    if n_at_threshold + n_pinned > 0:
        n_pinned = resolve_contacts(code, work, i, p, event, n_at_threshold, n_pinned, arriving)
    return n_pinned


@inlined_kernel
def finish_window_scan(code, work, i, p, slots, t, t1, keep, room, columns):
    """Move the slots from the last event to t1; ``room`` and ``columns`` as for ``emit_crossings``."""
    if advance(work, slots, t1 - t) > 0:
        n_crossings, n_at_threshold = find_crossings(code, work, i, slots, t, t1)
        work.counts[ws.AT_END] += n_at_threshold
        emit_crossings(code, work, i, p, n_crossings, keep, room, columns)
    for k in range(slots):
        work.channels[ws.VALUE, k] = work.channels[ws.NEXT_VALUE, k]
    if keep:
        record_extremes(work, slots)


@kernel
def scan_rows(code, work, i, p, n, n_pinned, t0, t1):
    """Scan position p of op i over the window [t0, t1]; ``collect`` and ``begin`` have been called."""
    channels, f = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.PRODUCER]
    keep = code.op_table[i, ir.LAST_USE] > i
    height = tile_height(channels)
    t = t0
    for first in range(0, n, height):
        last = min(n, first + height)
        accumulate(code, work, f, p, first, last)
        arriving = gathered_rows(work, last - first, channels)
        for a in range(last - first):
            event = work.labels[ws.SORTED_IDS, first + a]
            n_pinned = process_event(code, work, i, p, channels, t, event, arriving[a], n_pinned, keep, channels, OWN_COLUMN)
            if work.counts[ws.STATUS] != ws.DONE:
                return
            if keep:
                keep_row(work, channels)
                if has_float32_slopes(work):
                    add_squared(work.channels[ws.SQUARES], work.channels[ws.EVENT_ROW], channels)
                drop_empty_row(work)
                if n <= MANY_EVENTS or a % MANY_EVENTS == 0:
                    record_extremes(work, channels)
            t = work.times[ws.TIME, event]
    finish_window_scan(code, work, i, p, channels, t, t1, keep, channels, OWN_COLUMN)
    if has_float32_slopes(work):
        add_squares(code, work, i, p, channels, t1 - t0)
    finish(code, work, i, p, t1)
