"""Scan one position of an elementwise switching op in time order: find crossings, filter rows, give birth to rows.

Between two arriving rows every channel is affine, so its crossings of thresholds are found exactly. At an arriving row the
channels' slopes change; the row leaves filtered by the pieces that the channels are on. A crossing is a newborn row with one
entry. Rows that no later op reads are not kept.

Ties are decided by a rounding bound (rounding.py), not by luck: a value within its bound of a threshold at an event *is* on the
threshold, and its next piece is read off its next slope; a slope within its bound of zero *is* zero.

Legend: C channels, n breakpoints of the position.
"""

import numpy as np

from .._jit import ONE, TWO, inlined_kernel, kernel
from ..ir import program as ir
from .channel import finish, neuron_number, piece_range, set_piece, settle
from .rounding import UNIT_ROUNDOFF, add_squares
from .slope_changes import accumulate, add_whole_entry, close_row, drop_empty_row, gathered_rows, new_row, tile_height
from .workspace import (
    AMBIGUOUS,
    BIRTH_ERROR,
    BIRTH_ROW_ERROR,
    BIRTH_T,
    CHANNEL,
    CROSSING,
    CROSSING_SLOT,
    DONE,
    FLIP_ID,
    FLIP_NEURON,
    FLIP_NEW,
    FLIP_OLD,
    FULL_IDS,
    GAIN,
    HIGH,
    LARGEST,
    LOW,
    N_BIRTHS,
    N_FLIPS,
    N_IDS,
    NEXT_VALUE,
    PARKED,
    ROW,
    ROW_TOLERANCE,
    SLOPE,
    SLOPE_TOLERANCE,
    SORTED_IDS,
    SPECIAL,
    SQUARES,
    STATE,
    STATUS,
    STEEPEST,
    TOLERANCE,
    TOP_COLUMN,
    TOP_ROW,
    TOP_VALUE,
    VALUE,
    T,
    has_single_rows,
)

OWN_COLUMN = np.int64(-1)
MANY_EVENTS = 16  # from so many events on, extremes are recorded at every so-many-th


@inlined_kernel
def record_flip(work, breakpoint_id, neuron, old, new):
    """Append one flip."""
    k = work.counts[N_FLIPS]
    if k >= work.labels.shape[1]:
        work.counts[STATUS] = FULL_IDS
        return
    work.labels[FLIP_ID, k], work.labels[FLIP_NEURON, k] = breakpoint_id, neuron
    work.labels[FLIP_OLD, k], work.labels[FLIP_NEW, k] = old, new
    work.counts[N_FLIPS] = k + 1


@inlined_kernel
def new_birth(work, t, error, row_error):
    """Append a crossing of the current op; returns its provisional id, or -1 where a buffer is full."""
    k = work.counts[N_BIRTHS]
    breakpoint_id = work.counts[N_IDS] + k
    if breakpoint_id >= work.times.shape[1]:
        work.counts[STATUS] = FULL_IDS
        return np.int64(-1)
    work.times[BIRTH_T, k] = t
    work.times[BIRTH_ERROR, k] = error
    if has_single_rows(work):
        work.times[BIRTH_ROW_ERROR, k] = row_error
    work.counts[N_BIRTHS] = k + 1
    return breakpoint_id


@inlined_kernel
def find_crossings(code, work, i, slots, t0, t1):
    """Crossings inside the open interval, sorted by time, and the slots on a threshold at its end.

    Returns (crossings, specials).
    """
    n, n_special = 0, 0
    for slot in range(slots):
        x = work.channels[NEXT_VALUE, slot]
        if not (x < work.channels[LOW, slot] or x > work.channels[HIGH, slot]):
            continue
        tolerance, state = work.channels[TOLERANCE, slot], work.channel_labels[STATE, slot]
        while True:
            low, high = piece_range(code, i, state)
            if x < low - tolerance:
                threshold, state = low, state - 1
            elif x > high + tolerance:
                threshold, state = high, state + 1
            else:
                break
            t = t0 + (threshold - work.channels[VALUE, slot]) / work.channels[SLOPE, slot]
            t = min(max(t, t0), t1)
            k = n
            while k > 0 and work.channels[CROSSING, k - 1] > t:
                work.channels[CROSSING, k] = work.channels[CROSSING, k - 1]
                work.channel_labels[CROSSING_SLOT, k] = work.channel_labels[CROSSING_SLOT, k - 1]
                k -= 1
            work.channels[CROSSING, k], work.channel_labels[CROSSING_SLOT, k] = t, slot
            n += 1
        if abs(x - low) <= tolerance or abs(x - high) <= tolerance:
            work.channel_labels[SPECIAL, n_special] = slot
            n_special += 1
        elif has_single_rows(work):
            near = min(abs(x - low), abs(x - high)) <= work.channels[ROW_TOLERANCE, slot]
            work.counts[AMBIGUOUS] += np.int64(near)
    return n, n_special


@inlined_kernel
def emit_crossings(code, work, i, p, n, keep, room, columns):
    """Append births, flips and newborn rows for the crossings of one interval.

    The rows have one entry each; where ``columns`` >= 0 they have ``room`` entries instead, one for each slot from 0 on, with
    the columns from there on.
    """
    single = TWO if has_single_rows(work) else ONE
    for k in range(n):
        slot = work.channel_labels[CROSSING_SLOT, k]
        c = work.channel_labels[CHANNEL, slot]
        slope, t = work.channels[SLOPE, slot], work.channels[CROSSING, k]
        error = work.channels[TOLERANCE, slot] / abs(slope) + 4.0 * UNIT_ROUNDOFF * abs(t)
        birth = new_birth(work, t, error, work.channels[ROW_TOLERANCE, slot] / abs(slope))
        if birth < 0 or (keep and not new_row(work, room if columns >= 0 else single, birth)):
            return
        old = work.channel_labels[STATE, slot]
        work.channel_labels[STATE, slot] = old + 1 if slope > 0.0 else old - 1
        record_flip(work, birth, neuron_number(code, i, p, c), old, work.channel_labels[STATE, slot])
        gain = work.channels[GAIN, slot]
        set_piece(code, work, i, p, slot)
        if not keep:
            continue
        turn = slope * (work.channels[GAIN, slot] - gain)
        if has_single_rows(work):
            work.channels[SQUARES, slot] += turn * turn
        if columns >= 0:
            values = work.values[work.counts[TOP_VALUE] :][:room]
            values[:] = 0.0
            values[slot] = turn
            close_row(work, room, columns)
        else:
            add_whole_entry(work, c, turn)
        work.channels[STEEPEST, slot] = max(work.channels[STEEPEST, slot], abs(slope * work.channels[GAIN, slot]))
        low, high = piece_range(code, i, old)
        reached = max(abs(work.channels[NEXT_VALUE, slot] * work.channels[GAIN, slot]), abs(high if slope > 0.0 else low))
        work.channels[LARGEST, slot] = max(work.channels[LARGEST, slot], reached)


@inlined_kernel
def advance(work, slots, dt):
    """Move all slots forward by dt; returns a number that is zero only where no channel may have left its piece."""
    value, slope, next_value = work.channels[VALUE], work.channels[SLOPE], work.channels[NEXT_VALUE]
    low, high = work.channels[LOW], work.channels[HIGH]
    hits = np.int64(0)
    for k in range(slots):
        x = value[k] + slope[k] * dt
        next_value[k] = x
        hits += np.int64(x < low[k]) + np.int64(x > high[k])
    return hits


@inlined_kernel
def arrive(work, slots, arriving):
    """Apply an arriving row to the slots' slopes, and move them to their next values; the row leaves in work.channels[ROW]."""
    value, slope, next_value = work.channels[VALUE], work.channels[SLOPE], work.channels[NEXT_VALUE]
    gain, row = work.channels[GAIN], work.channels[ROW]
    for k in range(slots):
        row[k] = arriving[k] * gain[k]
        slope[k] += arriving[k]
        value[k] = next_value[k]


@inlined_kernel
def keep_row(work, slots):
    """Append the non-zero entries of work.channels[ROW] to the last row, for which there is room."""
    row, channel = work.channels[ROW], work.channel_labels[CHANNEL]
    top, shift = work.counts[TOP_VALUE], work.counts[TOP_COLUMN] - work.counts[TOP_VALUE]
    for k in range(slots):
        work.values[top], work.columns[top + shift] = row[k], channel[k]
        top += np.int64(row[k] != 0.0)
    work.starts[work.counts[TOP_ROW]] = work.counts[TOP_VALUE] = top
    work.counts[TOP_COLUMN] = top + shift


@inlined_kernel
def record_extremes(work, slots):
    """Keep the largest post-activation and the steepest slope seen, for the rounding errors behind this op."""
    value, slope, gain = work.channels[VALUE], work.channels[SLOPE], work.channels[GAIN]
    largest, steepest = work.channels[LARGEST], work.channels[STEEPEST]
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
def settle_specials(code, work, i, p, breakpoint_id, n_special, n_parked, arriving):
    """Slots that stand on a threshold at an event: choose their next piece; returns the number of parked ones."""
    for k in range(n_parked):  # parked channels move only when their slope changes
        work.channel_labels[SPECIAL, n_special + k] = work.channel_labels[PARKED, k]
    still = 0
    for k in range(n_special + n_parked):
        slot = work.channel_labels[SPECIAL, k]
        if k >= n_special and arriving[slot] == 0.0:
            work.channel_labels[PARKED, still] = slot
            still += 1
            continue
        old, before = work.channel_labels[STATE, slot], work.channels[SLOPE, slot] * work.channels[GAIN, slot]
        state, work.channels[VALUE, slot], work.channels[SLOPE, slot] = settle(
            code,
            i,
            work.channels[VALUE, slot],
            work.channels[SLOPE, slot],
            work.channels[TOLERANCE, slot],
            work.channels[SLOPE_TOLERANCE, slot],
        )
        work.channel_labels[STATE, slot] = state
        if set_piece(code, work, i, p, slot):
            work.channel_labels[PARKED, still] = slot
            still += 1
        after = work.channels[SLOPE, slot] * work.channels[GAIN, slot]
        work.channels[ROW, slot] += after - before
        work.channels[STEEPEST, slot] = max(work.channels[STEEPEST, slot], abs(after))
        if state != old:
            record_flip(work, breakpoint_id, neuron_number(code, i, p, work.channel_labels[CHANNEL, slot]), old, state)
    return still


@inlined_kernel
def pass_event(code, work, i, p, slots, t, event, arriving, n_parked, keep, room, columns):
    """Move the slots from t to an event and apply its row; where ``keep``, begin a row with ``room`` entries.

    The row is in work.channels[ROW]; ``columns`` as for ``emit_crossings``. Returns the number of parked slots;
    counts[STATUS] tells where a buffer was full.
    """
    t_event, n_special = work.times[T, event], 0
    if advance(work, slots, t_event - t) > 0:
        n_crossings, n_special = find_crossings(code, work, i, slots, t, t_event)
        emit_crossings(code, work, i, p, n_crossings, keep, room, columns)
    if work.counts[STATUS] != DONE or (keep and not new_row(work, room, event)):
        return n_parked
    arrive(work, slots, arriving)
    if n_special + n_parked > 0:
        n_parked = settle_specials(code, work, i, p, event, n_special, n_parked, arriving)
    return n_parked


@inlined_kernel
def pass_rest(code, work, i, p, slots, t, t1, keep, room, columns):
    """Move the slots from the last event to t1; ``room`` and ``columns`` as for ``emit_crossings``."""
    if advance(work, slots, t1 - t) > 0:
        n_crossings, _ = find_crossings(code, work, i, slots, t, t1)
        emit_crossings(code, work, i, p, n_crossings, keep, room, columns)
    for k in range(slots):
        work.channels[VALUE, k] = work.channels[NEXT_VALUE, k]
    if keep:
        record_extremes(work, slots)


@kernel
def scan_rows(code, work, i, p, n, n_parked, t0, t1):
    """Scan position p of op i over the window [t0, t1]; ``collect`` and ``begin`` have been called."""
    channels, f = code.info[i, ir.CHANNELS], code.info[i, ir.PRODUCER]
    keep = code.info[i, ir.LAST_USE] > i
    height = tile_height(channels)
    t = t0
    for first in range(0, n, height):
        last = min(n, first + height)
        accumulate(code, work, f, p, first, last)
        arriving = gathered_rows(work, last - first, channels)
        for a in range(last - first):
            event = work.labels[SORTED_IDS, first + a]
            n_parked = pass_event(code, work, i, p, channels, t, event, arriving[a], n_parked, keep, channels, OWN_COLUMN)
            if work.counts[STATUS] != DONE:
                return
            if keep:
                keep_row(work, channels)
                if has_single_rows(work):
                    add_squared(work.channels[SQUARES], work.channels[ROW], channels)
                drop_empty_row(work)
                if n <= MANY_EVENTS or a % MANY_EVENTS == 0:
                    record_extremes(work, channels)
            t = work.times[T, event]
    pass_rest(code, work, i, p, channels, t, t1, keep, channels, OWN_COLUMN)
    if has_single_rows(work):
        add_squares(code, work, i, p, channels, t1 - t0)
    finish(code, work, i, p, t1)
