"""Scan one position of an elementwise switching op (ReLU, LeakyReLU, Clip) in time order.

Between events every pre-activation is affine in t, so leaving a piece is found exactly; the rows that arrive are filtered by
the slope of the current piece, and each crossing adds a newborn row with one entry.

Ties are decided by a rounding bound (rounding.py), not by luck: a value within its bound of a threshold at an event *is* on the
threshold, and its next piece is read off its next slope; a slope within its bound of zero *is* zero. A neuron that stays
exactly on a threshold is on the outer piece (ReLU: inactive), and is parked until its slope changes.

Legend: C channels, n breakpoints of the position.
"""

import numpy as np

from . import program as ir
from ._jit import kernel
from .affine import operand, rows_of
from .rounding import UNIT_ROUNDOFF, decision_bounds
from .rows import accumulate, collect, tile_height
from .switching import piece, state_of
from .workspace import (
    BIRTH_ERROR,
    BIRTH_T,
    CROSSING,
    CROSSING_CHANNEL,
    DONE,
    FIRST,
    FLIP_ID,
    FLIP_NEURON,
    FLIP_NEW,
    FLIP_OLD,
    FULL_IDS,
    FULL_ROWS,
    FULL_VALUES,
    GAIN,
    HIGH,
    LARGEST,
    LAST,
    LOW,
    N_BIRTHS,
    N_FLIPS,
    N_IDS,
    NEXT_VALUE,
    PARKED,
    SLOPE,
    SLOPE_TOLERANCE,
    SORTED_IDS,
    SPECIAL,
    START,
    STATE,
    STATUS,
    STEEPEST,
    TOLERANCE,
    TOP_ROW,
    TOP_VALUE,
    VALUE,
    VARIANCE,
    T,
)

MANY_EVENTS = 16  # from so many events on, extremes are recorded at every so-many-th


@kernel
def piece_range(code, i, state):
    """Pre-activations for which a neuron of op i is in a state: (low, high)."""
    if code.info[i, ir.OP] == ir.CLIP:
        low = -np.inf if state == 0 else code.numbers[code.info[i, ir.COEFFICIENTS] + state - 1]
        high = np.inf if state == 2 else code.numbers[code.info[i, ir.COEFFICIENTS] + state]
        return low, high
    return (0.0, np.inf) if state == 1 else (-np.inf, 0.0)


@kernel
def settle(code, i, z, slope, tolerance, slope_tolerance):
    """State just after a moment at which a neuron has pre-activation z and the given slope: (state, z, slope), snapped."""
    n_thresholds = 2 if code.info[i, ir.OP] == ir.CLIP else 1
    for k in range(n_thresholds):
        threshold = code.numbers[code.info[i, ir.COEFFICIENTS] + k] if code.info[i, ir.OP] == ir.CLIP else 0.0
        if abs(z - threshold) <= tolerance:
            if slope > slope_tolerance:
                return k + 1, threshold, slope
            if slope < -slope_tolerance:
                return k, threshold, slope
            return 2 * k, threshold, 0.0  # stands on the threshold: the outer piece
    return state_of(code, i, z), z, slope


@kernel
def neuron_number(code, i, p, c):
    """Number of a neuron over the network: channel by channel inside an op."""
    return code.info[i, ir.NEURON] + c * code.info[i, ir.HEIGHT] * code.info[i, ir.WIDTH] + p


@kernel
def set_piece(code, work, i, p, c):
    """Set gain and range of channel c for work.channel_labels[STATE, c]; returns 1 where the channel is parked."""
    low, high = piece_range(code, i, work.channel_labels[STATE, c])
    slope, _ = piece(code, i, p * code.info[i, ir.CHANNELS] + c, work.channel_labels[STATE, c])
    work.channels[GAIN, c] = slope
    if work.channels[SLOPE, c] == 0.0 and (work.channels[VALUE, c] == low or work.channels[VALUE, c] == high):
        work.channels[LOW, c], work.channels[HIGH, c] = -np.inf, np.inf
        return 1
    work.channels[LOW, c] = low + work.channels[TOLERANCE, c]
    work.channels[HIGH, c] = high - work.channels[TOLERANCE, c]
    return 0


@kernel
def begin(code, work, i, p, n, length, rounding):
    """Set up the channels of position p at the window's start; returns the number of parked channels."""
    channels = code.info[i, ir.CHANNELS]
    z = rows_of(code, operand(code, i, 0), 2, work.sweep[START])
    variance = rows_of(code, operand(code, i, 0), 2, work.sweep[VARIANCE])
    a = rows_of(code, i, 2, work.sweep[START])
    n_parked = 0
    for c in range(channels):
        k = p * channels + c
        v, s = z[0, k], z[1, k]
        tolerance, slope_tolerance = decision_bounds(variance, k, v, s, n, length, rounding)
        work.channels[TOLERANCE, c], work.channels[SLOPE_TOLERANCE, c] = tolerance, slope_tolerance
        state, v, s = settle(code, i, v, s, tolerance, slope_tolerance)
        work.channel_labels[STATE, c], work.channels[VALUE, c], work.channels[SLOPE, c] = state, v, s
        if set_piece(code, work, i, p, c) == 1:
            work.channel_labels[PARKED, n_parked] = c
            n_parked += 1
        slope, intercept = piece(code, i, k, state)
        a[0, k], a[1, k] = slope * v + intercept, slope * s
        work.channels[LARGEST, c], work.channels[STEEPEST, c] = abs(slope * v), abs(slope * s)
        work.states[FIRST, neuron_number(code, i, p, c)] = state
    return n_parked


@kernel
def finish(code, work, i, p, t1):
    """Record end states, and the rounding error of what the op gives.

    A kink at t, rounded to u t, displaces the value by the slope times that.
    """
    channels = code.info[i, ir.CHANNELS]
    before = rows_of(code, operand(code, i, 0), 2, work.sweep[VARIANCE])
    after = rows_of(code, i, 2, work.sweep[VARIANCE])
    for c in range(channels):
        k = p * channels + c
        work.states[LAST, neuron_number(code, i, p, c)] = work.channel_labels[STATE, c]
        used = work.channels[LARGEST, c] > 0.0 or work.channels[STEEPEST, c] > 0.0
        for r in range(2):
            size = work.channels[LARGEST, c] + t1 * work.channels[STEEPEST, c] if r == 0 else work.channels[STEEPEST, c]
            own = 2.0 * UNIT_ROUNDOFF * size
            after[r, k] = (before[r, k] if used else 0.0) + own * own


@kernel
def record_flip(work, breakpoint_id, neuron, old, new):
    """Append one flip."""
    k = work.counts[N_FLIPS]
    if k >= work.labels.shape[1]:
        work.counts[STATUS] = FULL_IDS
        return
    work.labels[FLIP_ID, k], work.labels[FLIP_NEURON, k] = breakpoint_id, neuron
    work.labels[FLIP_OLD, k], work.labels[FLIP_NEW, k] = old, new
    work.counts[N_FLIPS] = k + 1


@kernel
def new_row(work, channels, breakpoint_id):
    """Append a row and return the place of its values; -1 where a buffer is full."""
    row, top = work.counts[TOP_ROW], work.counts[TOP_VALUE]
    if row >= work.ids.shape[0]:
        work.counts[STATUS] = FULL_ROWS
        return np.int64(-1)
    if top + channels > work.values.shape[0]:
        work.counts[STATUS] = FULL_VALUES
        return np.int64(-1)
    work.ids[row] = breakpoint_id
    work.counts[TOP_ROW] = row + 1
    work.counts[TOP_VALUE] = top + channels
    return top


@kernel
def new_birth(work, t, error):
    """Append a crossing of the current op; returns its provisional id, or -1 where a buffer is full."""
    k = work.counts[N_BIRTHS]
    breakpoint_id = work.counts[N_IDS] + k
    if breakpoint_id >= work.times.shape[1]:
        work.counts[STATUS] = FULL_IDS
        return np.int64(-1)
    work.times[BIRTH_T, k] = t
    work.times[BIRTH_ERROR, k] = error
    work.counts[N_BIRTHS] = k + 1
    return breakpoint_id


@kernel
def find_crossings(code, work, i, channels, t0, t1):
    """Crossings inside the open interval, sorted by time, and the channels on a threshold at its end.

    Returns (crossings, specials).
    """
    n, n_special = 0, 0
    for c in range(channels):
        x = work.channels[NEXT_VALUE, c]
        if not (x < work.channels[LOW, c] or x > work.channels[HIGH, c]):
            continue
        tolerance, state = work.channels[TOLERANCE, c], work.channel_labels[STATE, c]
        while True:
            low, high = piece_range(code, i, state)
            if x < low - tolerance:
                threshold, state = low, state - 1
            elif x > high + tolerance:
                threshold, state = high, state + 1
            else:
                break
            t = t0 + (threshold - work.channels[VALUE, c]) / work.channels[SLOPE, c]
            t = min(max(t, t0), t1)
            k = n
            while k > 0 and work.channels[CROSSING, k - 1] > t:
                work.channels[CROSSING, k], work.channel_labels[CROSSING_CHANNEL, k] = (
                    work.channels[CROSSING, k - 1],
                    work.channel_labels[CROSSING_CHANNEL, k - 1],
                )
                k -= 1
            work.channels[CROSSING, k], work.channel_labels[CROSSING_CHANNEL, k] = t, c
            n += 1
        if abs(x - low) <= tolerance or abs(x - high) <= tolerance:
            work.channel_labels[SPECIAL, n_special] = c
            n_special += 1
    return n, n_special


@kernel
def emit_crossings(code, work, i, p, n):
    """Append births, flips and newborn rows for the crossings of one interval."""
    channels = code.info[i, ir.CHANNELS]
    for k in range(n):
        c = work.channel_labels[CROSSING_CHANNEL, k]
        slope, t = work.channels[SLOPE, c], work.channels[CROSSING, k]
        error = work.channels[TOLERANCE, c] / abs(slope) + 4.0 * UNIT_ROUNDOFF * abs(t)
        birth = new_birth(work, t, error)
        place = new_row(work, channels, birth)
        if birth < 0 or place < 0:
            return
        old = work.channel_labels[STATE, c]
        work.channel_labels[STATE, c] = old + 1 if slope > 0.0 else old - 1
        record_flip(work, birth, neuron_number(code, i, p, c), old, work.channel_labels[STATE, c])
        gain = work.channels[GAIN, c]
        set_piece(code, work, i, p, c)
        work.values[place : place + channels] = 0.0
        work.values[place + c] = slope * (work.channels[GAIN, c] - gain)
        work.channels[STEEPEST, c] = max(work.channels[STEEPEST, c], abs(slope * work.channels[GAIN, c]))
        low, high = piece_range(code, i, old)
        reached = max(abs(work.channels[NEXT_VALUE, c] * work.channels[GAIN, c]), abs(high if slope > 0.0 else low))
        work.channels[LARGEST, c] = max(work.channels[LARGEST, c], reached)


@kernel
def advance(work, channels, dt):
    """Move all channels forward by dt; returns whether some channel may have left its piece."""
    value, slope, next_value = work.channels[VALUE], work.channels[SLOPE], work.channels[NEXT_VALUE]
    low, high = work.channels[LOW], work.channels[HIGH]
    hits = np.int64(0)
    for c in range(channels):
        x = value[c] + slope[c] * dt
        next_value[c] = x
        hits += np.int64(x < low[c]) + np.int64(x > high[c])
    return hits


@kernel
def filter_row(work, channels, arriving, row):
    """Filter an arriving row by the current pieces and update slopes; returns the number of non-zero entries."""
    value, slope, next_value, gain = (
        work.channels[VALUE], work.channels[SLOPE], work.channels[NEXT_VALUE], work.channels[GAIN]
    )  # fmt: skip
    nonzero = np.int64(0)
    for c in range(channels):
        w = arriving[c] * gain[c]
        row[c] = w
        nonzero += np.int64(w != 0.0)
    for c in range(channels):
        slope[c] += arriving[c]
        value[c] = next_value[c]
    return nonzero


@kernel
def record_extremes(work, channels):
    """Keep the largest post-activation and the steepest slope seen, for the rounding errors behind this op."""
    value, slope, gain = work.channels[VALUE], work.channels[SLOPE], work.channels[GAIN]
    largest, steepest = work.channels[LARGEST], work.channels[STEEPEST]
    for c in range(channels):
        y = abs(value[c] * gain[c])
        largest[c] = y if y > largest[c] else largest[c]
    for c in range(channels):
        y = abs(slope[c] * gain[c])
        steepest[c] = y if y > steepest[c] else steepest[c]


@kernel
def settle_specials(code, work, i, p, breakpoint_id, n_special, n_parked, arriving, row):
    """Channels that stand on a threshold at an event: choose their next piece; returns (flips, parked channels)."""
    for k in range(n_parked):  # parked channels move only when their slope changes
        work.channel_labels[SPECIAL, n_special + k] = work.channel_labels[PARKED, k]
    n_flips, still = 0, 0
    for k in range(n_special + n_parked):
        c = work.channel_labels[SPECIAL, k]
        if k >= n_special and arriving[c] == 0.0:
            work.channel_labels[PARKED, still] = c
            still += 1
            continue
        old, before = work.channel_labels[STATE, c], work.channels[SLOPE, c] * work.channels[GAIN, c]
        state, work.channels[VALUE, c], work.channels[SLOPE, c] = settle(
            code,
            i,
            work.channels[VALUE, c],
            work.channels[SLOPE, c],
            work.channels[TOLERANCE, c],
            work.channels[SLOPE_TOLERANCE, c],
        )
        work.channel_labels[STATE, c] = state
        if set_piece(code, work, i, p, c) == 1:
            work.channel_labels[PARKED, still] = c
            still += 1
        row[c] += work.channels[SLOPE, c] * work.channels[GAIN, c] - before
        work.channels[STEEPEST, c] = max(work.channels[STEEPEST, c], abs(work.channels[SLOPE, c] * work.channels[GAIN, c]))
        if state != old:
            record_flip(work, breakpoint_id, neuron_number(code, i, p, c), old, state)
            n_flips += 1
    return n_flips, still


@kernel
def scan_position(code, work, i, p, t0, t1, rounding):
    """Scan position p of op i over the window [t0, t1]: rows, births and flips are appended to the work buffers."""
    channels = code.info[i, ir.CHANNELS]
    f = code.info[i, ir.PRODUCER]
    n = collect(code, work, f, p)
    n_parked = begin(code, work, i, p, n, t1 - t0, rounding)
    height = tile_height(channels)
    t = t0
    for first in range(0, n, height):
        last = min(n, first + height)
        arriving = accumulate(code, work, f, p, first, last)
        for a in range(last - first):
            event = work.labels[SORTED_IDS, first + a]
            t_event = work.times[T, event]
            hits = advance(work, channels, t_event - t)
            n_special = 0
            if hits > 0:
                n_crossings, n_special = find_crossings(code, work, i, channels, t, t_event)
                emit_crossings(code, work, i, p, n_crossings)
            if work.counts[STATUS] != DONE:
                return
            place = new_row(work, channels, event)
            if place < 0:
                return
            row = work.values[place : place + channels]
            nonzero = filter_row(work, channels, arriving[a], row)
            if n_special + n_parked > 0:
                flips, n_parked = settle_specials(code, work, i, p, event, n_special, n_parked, arriving[a], row)
                nonzero += flips
            if nonzero == 0:
                work.counts[TOP_ROW] -= 1
                work.counts[TOP_VALUE] -= channels
            if n <= MANY_EVENTS or a % MANY_EVENTS == 0:
                record_extremes(work, channels)
            t = t_event
    if advance(work, channels, t1 - t) > 0:
        n_crossings, _ = find_crossings(code, work, i, channels, t, t1)
        emit_crossings(code, work, i, p, n_crossings)
    work.channels[VALUE, :channels] = work.channels[NEXT_VALUE, :channels]
    record_extremes(work, channels)
    finish(code, work, i, p, t1)
