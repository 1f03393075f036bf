"""Scan one position with many channels: only those that may cross a threshold, tile by tile of arriving rows.

At the end of a tile the values and slopes of all channels follow from two sums of its rows, pushed through the weights once.
In between, a channel stays within sum_k |w_k| D_k of the chord of its values at the tile's ends, where D_k is the largest
deviation of source k (sources.py) from its own chord. A channel whose chord keeps that far from its thresholds is *idle*:
nothing can happen to it. Idle channels that are off need no products at all, and those that are on leave with the rows unseen
by the scan.

Legend: C channels, n breakpoints of the position, H breakpoints of a tile, M slots that need products.
"""

import numpy as np

from . import program as ir
from ._jit import inlined_kernel, kernel
from .channel import finish
from .rows import n_taps
from .scan import MANY_EVENTS, pass_event, pass_rest, record_extremes
from .sources import close_tile, multiply, open_tile
from .workspace import (
    CHANGE,
    CHANNEL,
    DONE,
    FULL_VALUES,
    GAIN,
    GATHERED,
    HIGH,
    LARGEST,
    LOW,
    N_CHANNEL_NUMBERS,
    PARKED,
    REACH,
    ROW,
    SLOPE,
    SLOPE_CHANGE,
    SORTED_IDS,
    STATE,
    STATUS,
    STEEPEST,
    TOP_COLUMN,
    TOP_ROW,
    TOP_VALUE,
    VALUE,
    T,
)

WIDE_FROM = 128  # channels, with one tap
WIDE_FROM_OF_MANY = 256  # with many taps: a row's share of the sources is small
LONG_FROM = 24  # breakpoints
FIRST_HEIGHT = 48  # of a tile, with one tap; twice as high after few open slots, half as high after many
FIRST_HEIGHT_OF_MANY = 256  # with many taps, which have more sources
LEAST_HEIGHT = 16
FEW_OPEN = 0.05  # of the channels
MANY_OPEN = 0.15


@inlined_kernel
def is_wide(code, i, f, n):
    """Whether position scans of op i fed by op f pay off here for n breakpoints."""
    kind = code.info[f, ir.OP]
    matrix = kind == ir.AFFINE or (kind == ir.CONV2D and code.info[f, ir.GROUPS] == 1)
    least = WIDE_FROM if n_taps(code, f) == 1 else WIDE_FROM_OF_MANY
    return matrix and f != i and code.info[i, ir.CHANNELS] >= least and n >= LONG_FROM


@inlined_kernel
def _swap_slots(work, a, b):
    """Exchange two slots."""
    if a == b:
        return
    for r in range(N_CHANNEL_NUMBERS):
        if r < CHANGE:  # the rest is indexed by channel, or scratch
            work.channels[r, a], work.channels[r, b] = work.channels[r, b], work.channels[r, a]
    for r in (CHANNEL, STATE):
        work.channel_labels[r, a], work.channel_labels[r, b] = work.channel_labels[r, b], work.channel_labels[r, a]


@kernel
def _choose_slots(work, channels, length, keep):
    """Put slots that may cross first, then idle ones whose rows are kept.

    Returns (slots that may cross, slots that need products, parked slots).
    """
    n_open, n_parked = 0, 0
    for k in range(channels):
        c = work.channel_labels[CHANNEL, k]
        v, low, high = work.channels[VALUE, k], work.channels[LOW, k], work.channels[HIGH, k]
        v_end = v + work.channels[SLOPE, k] * length + work.channels[CHANGE, c]
        reach = work.channels[REACH, c]
        parked = low == -np.inf and high == np.inf
        if not parked and min(v, v_end) - reach >= low and max(v, v_end) + reach <= high:
            continue
        _swap_slots(work, k, n_open)
        if parked:
            work.channel_labels[PARKED, n_parked] = n_open
            n_parked += 1
        n_open += 1
    n_needed = n_open
    if keep:
        for k in range(n_open, channels):
            if work.channels[GAIN, k] != 0.0:
                _swap_slots(work, k, n_needed)
                n_needed += 1
    return n_open, n_needed, n_parked


@kernel
def _pass_idle(work, n_open, channels, length):
    """Move idle slots to the end of the tile."""
    for k in range(n_open, channels):
        c = work.channel_labels[CHANNEL, k]
        v, s, gain = work.channels[VALUE, k], work.channels[SLOPE, k], abs(work.channels[GAIN, k])
        v_end, s_end = v + s * length + work.channels[CHANGE, c], s + work.channels[SLOPE_CHANGE, c]
        work.channels[VALUE, k], work.channels[SLOPE, k] = v_end, s_end
        largest = gain * (max(abs(v), abs(v_end)) + work.channels[REACH, c])
        work.channels[LARGEST, k] = max(work.channels[LARGEST, k], largest)
        work.channels[STEEPEST, k] = max(work.channels[STEEPEST, k], gain * max(abs(s), abs(s_end)))


@kernel
def _list_columns(work, n_needed):
    """Append the channels of the slots that need products as columns that the tile's rows share; returns where."""
    top = work.counts[TOP_COLUMN]
    if top + n_needed > work.columns.shape[0]:
        work.counts[STATUS] = FULL_VALUES
        return np.int64(0)
    for z in range(n_needed):
        work.columns[top + z] = work.channel_labels[CHANNEL, z]
    work.counts[TOP_COLUMN] = top + n_needed
    return top


@inlined_kernel
def _keep_row(work, o, n_open, n_needed, columns):
    """Fill the last row: what left the open slots, and what arrived at the idle ones."""
    top = work.counts[TOP_VALUE]
    values, arriving = work.values[top : top + n_needed], work.tiles[GATHERED, o : o + n_needed]
    for z in range(n_open):
        values[z] = work.channels[ROW, z]
    for z in range(n_open, n_needed):
        values[z] = arriving[z] * work.channels[GAIN, z]
    row = work.counts[TOP_ROW]
    work.starts[row] = work.counts[TOP_VALUE] = top + n_needed
    work.shifts[row - 1] = columns - top


@kernel
def _pass_tile(code, work, i, p, first, last, t, n_open, n_needed, n_parked, keep):
    """Scan the open slots over the tile's breakpoints; returns the last one's time."""
    arriving = work.tiles[GATHERED]
    keep = keep and n_needed > 0
    columns = _list_columns(work, n_needed) if keep else np.int64(0)
    for a in range(last - first):
        if work.counts[STATUS] != DONE:
            return t
        event, o = work.labels[SORTED_IDS, first + a], a * n_needed
        n_parked = pass_event(code, work, i, p, n_open, t, event, arriving[o : o + n_needed], n_parked, keep, n_needed)
        if work.counts[STATUS] != DONE:
            return t
        if keep:
            _keep_row(work, o, n_open, n_needed, columns)
            if a % MANY_EVENTS == 0:
                record_extremes(work, n_open)
        t = work.times[T, event]
    return t


@kernel
def scan_wide(code, work, i, p, n, t0, t1):
    """Scan position p of op i over the window [t0, t1]; ``collect`` and ``begin`` have been called."""
    channels, f = code.info[i, ir.CHANNELS], code.info[i, ir.PRODUCER]
    keep = code.info[i, ir.LAST_USE] > i
    first, t, height = 0, t0, FIRST_HEIGHT if n_taps(code, f) == 1 else FIRST_HEIGHT_OF_MANY
    while first < n:
        height = max(LEAST_HEIGHT, min(height, work.tiles.shape[1] // channels))
        last = min(n, first + height)
        t_end = t1 if last == n else work.times[T, work.labels[SORTED_IDS, last - 1]]
        n_sources, dense = open_tile(code, work, f, p, first, last, t, t_end)
        n_open, n_needed, n_parked = _choose_slots(work, channels, t_end - t, keep)
        multiply(code, work, f, p, first, last, n_sources, n_needed, dense)
        _pass_idle(work, n_open, channels, t_end - t)
        t = _pass_tile(code, work, i, p, first, last, t, n_open, n_needed, n_parked, keep)
        close_tile(code, work, f, n_sources)
        if work.counts[STATUS] != DONE:
            return
        if last == n:
            pass_rest(code, work, i, p, n_open, t, t1, keep)
        elif keep:
            record_extremes(work, n_open)
        first = last
        height = height * 2 if n_open < FEW_OPEN * channels else height // 2 if n_open > MANY_OPEN * channels else height
    finish(code, work, i, p, t1)
