"""Scan one position of a MaxPool op in time order: the upper envelope of the window's signals, channel by channel.

The state is the winning tap. On an open segment it is the largest signal; of signals that are identical there, the one with
the lowest tap index. Ties are decided by the same rounding bound as in scan.py.

Legend: C channels, T taps of the window (padding taps have position -1 and never win).
"""

import numpy as np

from .._jit import ONE, kernel, separate_kernel
from ..arrays import fill_rows
from ..ir import program as ir
from ..ir.affine import rows_of
from . import workspace as ws
from .channel import float32_tolerance, neuron_number
from .rounding import SINGLE_LARGE, UNIT_ROUNDOFF, decision_bounds, float32_variance, out_of_range
from .scan import add_crossing, record_flip
from .slope_changes import add_entry, collect, drop_empty_row, n_taps, new_row, row_range, tap_source
from .workspace import has_float32_slopes


@kernel
def _load_taps(code, work, i, p, n, length, rounding, value, slope):
    """Load start values and slopes of all taps, and per channel the bounds of their rounding errors."""
    channels = code.op_table[i, ir.CHANNELS]
    for c in range(channels):
        work.channels[ws.TOLERANCE, c] = work.channels[ws.SLOPE_TOLERANCE, c] = work.channels[ws.FLOAT32_TOLERANCE, c] = 0.0
    for tap in range(n_taps(code, i)):
        j, q = tap_source(code, i, p, tap)
        if q < 0:
            continue
        x, variance = rows_of(code, j, 2, work.at_start[ws.VALUE_AND_SLOPE]), rows_of(code, j, 2, work.at_start[ws.VARIANCE])
        for c in range(channels):
            k = q * channels + c
            v, s = x[0, k], x[1, k]
            value[tap, c], slope[tap, c] = v, s
            if out_of_range(variance, k, v, s) or (has_float32_slopes(work) and not max(abs(v), abs(s)) < SINGLE_LARGE):
                work.counts[ws.STATUS] = ws.EXTREME
            error, slope_error = decision_bounds(variance, k, v, s, n, length, rounding)
            work.channels[ws.TOLERANCE, c] = max(work.channels[ws.TOLERANCE, c], 2.0 * error)
            work.channels[ws.SLOPE_TOLERANCE, c] = max(work.channels[ws.SLOPE_TOLERANCE, c], 2.0 * slope_error)
            row_error = float32_tolerance(code, work, j, k, rounding)
            work.channels[ws.FLOAT32_TOLERANCE, c] = max(work.channels[ws.FLOAT32_TOLERANCE, c], 2.0 * row_error)
    for c in range(channels):  # inactive taps are equal: in float32 only within the error of the slope changes
        work.channels[ws.TOLERANCE, c] += work.channels[ws.FLOAT32_TOLERANCE, c]
        work.channels[ws.SLOPE_TOLERANCE, c] += work.channels[ws.FLOAT32_TOLERANCE, c] / length


@kernel
def _best_after(value, slope, c, taps, inside, tolerance, slope_tolerance):
    """Return the tap that is largest just after a moment: by value, then slope, then the lowest index."""
    top = -np.inf
    for tap in range(taps):
        if inside[tap] >= 0:
            top = max(top, value[tap, c])
    steepest = -np.inf
    for tap in range(taps):
        if inside[tap] >= 0 and value[tap, c] >= top - tolerance:
            steepest = max(steepest, slope[tap, c])
    for tap in range(taps):
        if inside[tap] >= 0 and value[tap, c] >= top - tolerance and slope[tap, c] >= steepest - slope_tolerance:
            return tap
    return 0


@kernel
def _begin(code, work, i, p, value, slope, inside):
    """Set the initial winners, and the op's values at the window's start."""
    channels, taps = code.op_table[i, ir.CHANNELS], value.shape[0]
    a = rows_of(code, i, 2, work.at_start[ws.VALUE_AND_SLOPE])
    for c in range(channels):
        best = _best_after(value, slope, c, taps, inside, work.channels[ws.TOLERANCE, c], work.channels[ws.SLOPE_TOLERANCE, c])
        work.channel_labels[ws.STATE, c] = best
        a[0, p * channels + c], a[1, p * channels + c] = value[best, c], slope[best, c]
        work.channels[ws.LARGEST, c], work.channels[ws.STEEPEST, c] = abs(value[best, c]), abs(slope[best, c])
        work.states[ws.WINDOW_START, neuron_number(code, i, p, c)] = best


@kernel
def _challenger(work, c, length, value, slope, inside):
    """Find the next tap to overtake the winner of channel c within ``length``: (time from now, tap), or (inf, -1).

    Of taps that have caught up by then, the steepest one; of equally steep ones, the one with the lowest index.
    """
    best, tolerance = work.channel_labels[ws.STATE, c], work.channels[ws.TOLERANCE, c]
    v, s = value[best, c], slope[best, c]
    earliest = np.inf
    for tap in range(value.shape[0]):
        ahead = value[tap, c] + slope[tap, c] * length > v + s * length + tolerance
        if inside[tap] >= 0 and slope[tap, c] > s and ahead:
            earliest = min(earliest, max(0.0, (v - value[tap, c]) / (slope[tap, c] - s)))
    if earliest == np.inf:
        return earliest, -1
    steepest, chosen = s, -1
    for again in range(2):
        for tap in range(value.shape[0]):
            if inside[tap] < 0 or slope[tap, c] <= s:
                continue
            if value[tap, c] + slope[tap, c] * length <= v + s * length + tolerance:
                continue
            if value[tap, c] + slope[tap, c] * earliest < v + s * earliest - tolerance:
                continue
            if again == 0:
                steepest = max(steepest, slope[tap, c])
            elif chosen < 0 and slope[tap, c] >= steepest - work.channels[ws.SLOPE_TOLERANCE, c]:
                chosen = tap
    return earliest, chosen


@kernel
def _envelope(work, channels, t0, t1, value, slope, inside):
    """Find the next change of the winner of each channel inside an open interval, sorted by time; return their number.

    The new winner of each change is put into work.channel_labels[AT_THRESHOLD]. The caller applies the first and calls again.
    """
    n = 0
    for c in range(channels):
        earliest, challenger = _challenger(work, c, t1 - t0, value, slope, inside)
        if challenger < 0:
            continue
        earliest = min(max(t0 + earliest, t0), t1)
        k = n
        while k > 0 and work.channels[ws.PENDING_TIME, k - 1] > earliest:
            work.channels[ws.PENDING_TIME, k] = work.channels[ws.PENDING_TIME, k - 1]
            work.channel_labels[ws.PENDING_SLOT, k] = work.channel_labels[ws.PENDING_SLOT, k - 1]
            work.channel_labels[ws.AT_THRESHOLD, k] = work.channel_labels[ws.AT_THRESHOLD, k - 1]
            k -= 1
        work.channels[ws.PENDING_TIME, k] = earliest
        work.channel_labels[ws.PENDING_SLOT, k], work.channel_labels[ws.AT_THRESHOLD, k] = c, challenger
        n += 1
    return n


@kernel
def _cross(code, work, i, p, t0, t1, value, slope, inside, keep):
    """Record all changes of winners inside (t0, t1), then move every tap to t1."""
    channels, taps = code.op_table[i, ir.CHANNELS], value.shape[0]
    t = t0
    while True:
        n = _envelope(work, channels, t, t1, value, slope, inside)
        if n == 0:
            break
        c, new, moment = (
            work.channel_labels[ws.PENDING_SLOT, 0],
            work.channel_labels[ws.AT_THRESHOLD, 0],
            work.channels[ws.PENDING_TIME, 0],
        )  # apply the earliest, then search again
        old = work.channel_labels[ws.STATE, c]
        change = slope[new, c] - slope[old, c]
        error = (work.channels[ws.TOLERANCE, c] - work.channels[ws.FLOAT32_TOLERANCE, c]) / change + 4.0 * UNIT_ROUNDOFF * abs(
            moment
        )
        crossing = add_crossing(work, moment, error, work.channels[ws.FLOAT32_TOLERANCE, c] / change)
        if crossing < 0 or (keep and not new_row(work, ONE, crossing)):
            return
        if keep:
            add_entry(work, c, change)
        work.channel_labels[ws.STATE, c] = new
        work.channels[ws.STEEPEST, c] = max(work.channels[ws.STEEPEST, c], abs(slope[new, c]))
        record_flip(work, crossing, neuron_number(code, i, p, c), old, new)
        for tap in range(taps):
            for k in range(channels):
                value[tap, k] += slope[tap, k] * (moment - t)
        value[new, c] = max(value[new, c], value[old, c])
        t = moment
    for tap in range(taps):
        for c in range(channels):
            value[tap, c] += slope[tap, c] * (t1 - t)
    for c in range(channels):
        work.channels[ws.LARGEST, c] = max(work.channels[ws.LARGEST, c], abs(value[work.channel_labels[ws.STATE, c], c]))


@kernel
def _apply_slope_changes(code, work, i, p, event, value, slope, inside, keep):
    """Apply the slope changes of all taps at an event, and add those of the op to its last row."""
    channels, taps, row = code.op_table[i, ir.CHANNELS], value.shape[0], work.channels[ws.EVENT_ROW]
    for c in range(channels):
        row[c] = -slope[work.channel_labels[ws.STATE, c], c]
    for tap in range(taps):
        cursor = work.small[ws.CURSOR, tap]
        if cursor < 0:
            continue
        j, q = tap_source(code, i, p, tap)
        _, end = row_range(code, work, j, q)
        while cursor < end and work.ids[cursor] == event:
            for e in range(work.starts[cursor], work.starts[cursor + 1]):
                slope[tap, work.columns[e + work.shifts[cursor]]] += work.values[e]
            cursor += 1
        work.small[ws.CURSOR, tap] = cursor
    for c in range(channels):
        best = _best_after(value, slope, c, taps, inside, work.channels[ws.TOLERANCE, c], work.channels[ws.SLOPE_TOLERANCE, c])
        if best != work.channel_labels[ws.STATE, c]:
            record_flip(work, event, neuron_number(code, i, p, c), work.channel_labels[ws.STATE, c], best)
            value[best, c] = max(value[best, c], value[work.channel_labels[ws.STATE, c], c])
            work.channel_labels[ws.STATE, c] = best
        row[c] += slope[best, c]
        if keep and row[c] != 0.0:
            add_entry(work, c, row[c])
        work.channels[ws.STEEPEST, c] = max(work.channels[ws.STEEPEST, c], abs(slope[best, c]))


@separate_kernel
def scan_pool(code, work, i, p, t0, t1, rounding):
    """Scan position p of MaxPool op i over the window [t0, t1]."""
    channels, taps = code.op_table[i, ir.CHANNELS], n_taps(code, i)
    if taps < 0:
        work.counts[ws.STATUS] = ws.UNKNOWN_OP
        return
    value = work.taps[0, : taps * channels].reshape(taps, channels)
    slope = work.taps[1, : taps * channels].reshape(taps, channels)
    fill_rows(value, 0.0)
    fill_rows(slope, 0.0)
    keep = code.op_table[i, ir.LAST_USE] > i
    n = collect(code, work, i, p)
    inside = np.empty(taps, np.int64)
    for tap in range(taps):
        inside[tap] = tap_source(code, i, p, tap)[1]
    _load_taps(code, work, i, p, n, t1 - t0, rounding, value, slope)
    if work.counts[ws.STATUS] != ws.DONE:
        return
    _begin(code, work, i, p, value, slope, inside)
    t = t0
    for a in range(n):
        event = work.labels[ws.SORTED_IDS, a]
        _cross(code, work, i, p, t, work.times[ws.TIME, event], value, slope, inside, keep)
        if work.counts[ws.STATUS] != ws.DONE or (keep and not new_row(work, channels, event)):
            return
        _apply_slope_changes(code, work, i, p, event, value, slope, inside, keep)
        if keep:
            drop_empty_row(work)
        t = work.times[ws.TIME, event]
    _cross(code, work, i, p, t, t1, value, slope, inside, keep)
    _finish(code, work, i, p, t1, rounding)


@kernel
def _finish(code, work, i, p, t1, rounding):
    """Record the states at the window's end, and the rounding errors of the op's values and slopes."""
    channels = code.op_table[i, ir.CHANNELS]
    after = rows_of(code, i, 2, work.at_start[ws.VARIANCE])
    for c in range(channels):
        k = p * channels + c
        work.states[ws.WINDOW_END, neuron_number(code, i, p, c)] = work.channel_labels[ws.STATE, c]
        for r in range(2):
            size = (
                work.channels[ws.LARGEST, c] + t1 * work.channels[ws.STEEPEST, c] if r == 0 else work.channels[ws.STEEPEST, c]
            )
            error = 2.0 * UNIT_ROUNDOFF * size
            after[r, k] = error * error
        for tap in range(n_taps(code, i)):
            j, q = tap_source(code, i, p, tap)
            if q >= 0:
                before = rows_of(code, j, 2, work.at_start[ws.VARIANCE])
                after[0, k] = max(after[0, k], before[0, q * channels + c])
                after[1, k] = max(after[1, k], before[1, q * channels + c])
        if has_float32_slopes(work):
            half = 0.5 * work.channels[ws.FLOAT32_TOLERANCE, c] / rounding
            float32_variance(code, work, i)[k] = half * half
