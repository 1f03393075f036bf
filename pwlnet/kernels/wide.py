"""Scan one position with many channels: only those that may cross a threshold, tile by tile of arriving rows.

At the end of a tile the values and slopes of all channels follow from two sums of its rows, pushed through the weights once.
In between, a channel stays within sum_k |w_k| D_k of the chord of its values at the tile's ends, where D_k is the largest
deviation of source k from its own chord. A channel whose chord keeps that far from its thresholds is *idle*: nothing can happen
to it. Idle channels that are off need no products at all, and those that are on leave with the rows unseen by the scan.

A *source* is an entry of the receptive field (tap, channel) that some row of the tile changes.

Legend: C channels, S sources, n breakpoints of the position, H breakpoints of a tile, M slots that need products.
"""

import numpy as np

from . import program as ir
from ._jit import allocating_kernel, inlined_kernel, kernel, view
from .affine import weights_of
from .channel import finish
from .rows import add_row, n_taps, row_range, rows_before, tap_source
from .scan import MANY_EVENTS, pass_event, pass_rest, record_extremes
from .workspace import (
    ARRIVED,
    CHANGE,
    CHANNEL,
    CURSOR,
    DEVIATION,
    DONE,
    FULL_VALUES,
    GAIN,
    GATHERED,
    HIGH,
    LARGEST,
    LARGEST_DEVIATION,
    LAST_TIME,
    LOW,
    N_CHANNEL_NUMBERS,
    PACKED,
    PARKED,
    PLACE,
    PRODUCT,
    REACH,
    ROW,
    ROW_OF,
    SLOPE,
    SLOPE_CHANGE,
    SORTED_IDS,
    SOURCE,
    SOURCE_AT,
    STATE,
    STATUS,
    STEEPEST,
    STOP,
    TOP_COLUMN,
    TOP_ROW,
    TOP_VALUE,
    TOTAL,
    TURN,
    VALUE,
    WEIGHTS,
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
DENSE_FROM = 0.3  # share of entries among sources times rows from which a matrix product is cheaper


@inlined_kernel
def is_wide(code, i, f, n):
    """Whether position scans of op i fed by op f pay off here for n breakpoints."""
    kind = code.info[f, ir.OP]
    matrix = kind == ir.AFFINE or (kind == ir.CONV2D and code.info[f, ir.GROUPS] == 1)
    least = WIDE_FROM if n_taps(code, f) == 1 else WIDE_FROM_OF_MANY
    return matrix and f != i and code.info[i, ir.CHANNELS] >= least and n >= LONG_FROM


@kernel
def _find_sources(code, work, f, p, last):
    """List the sources of a tile, and find where each tap's rows stop; returns (sources, entries)."""
    n_sources, n_entries = np.int64(0), np.int64(0)
    for tap in range(n_taps(code, f)):
        start = work.small[CURSOR, tap]
        if start < 0:
            continue
        j, q = tap_source(code, f, p, tap)
        stop = rows_before(work, start, row_range(code, work, j, q)[1], last)
        work.small[STOP, tap] = stop
        base = tap * code.info[j, ir.CHANNELS]
        n_entries += work.starts[stop] - work.starts[start]
        first, end = np.int64(-1), np.int64(-1)
        for row in range(start, stop):
            begin_list, end_list = work.starts[row] + work.shifts[row], work.starts[row + 1] + work.shifts[row]
            if begin_list == first and end_list == end:  # the same columns as a row before
                continue
            if end_list > begin_list + 1:
                first, end = begin_list, end_list
            for e in range(begin_list, end_list):
                k = base + work.columns[e]
                if work.small[SOURCE_AT, k] < 0:
                    work.small[SOURCE_AT, k], work.small[SOURCE, n_sources] = n_sources, k
                    n_sources += 1
    return n_sources, n_entries


@inlined_kernel
def _run_of_sources(work, base, first, end):
    """First source of columns first .. end of a tap where their sources follow one another, else -1."""
    if first == end:
        return np.int64(0)
    source = work.small[SOURCE_AT, base + work.columns[first]]
    for e in range(first, end):
        if work.small[SOURCE_AT, base + work.columns[e]] != source + e - first:
            return np.int64(-1)
    return source


@view
def _packed(work, height, n_sources):
    """The tile's rows as a matrix over the sources: float64[H, S]."""
    return work.tiles[PACKED, : height * n_sources].reshape(height, n_sources)


@view
def _weights(work, n_sources, width):
    """Weights of the sources for some slots: float64[S, width]."""
    return work.tiles[WEIGHTS, : n_sources * width].reshape(n_sources, width)


@view
def _block(work, height, width, n_needed):
    """Where products for some slots are put: float64[H, width]; those for all slots at once into their final place."""
    return work.tiles[GATHERED if width == n_needed else PRODUCT, : height * width].reshape(height, width)


@kernel
def _pack_rows(code, work, f, p, first, last, n_sources):
    """Fill ``_packed`` with the tile's rows."""
    packed = _packed(work, last - first, n_sources)
    packed[:] = 0.0
    for tap in range(n_taps(code, f)):
        start = work.small[CURSOR, tap]
        if start < 0:
            continue
        base = tap * code.info[tap_source(code, f, p, tap)[0], ir.CHANNELS]
        source, begin_list, end_list = np.int64(0), np.int64(-1), np.int64(-1)
        for row in range(start, work.small[STOP, tap]):
            a = work.labels[ROW_OF, work.ids[row]] - first
            e0, e1, shift = work.starts[row], work.starts[row + 1], work.shifts[row]
            if e1 == e0 + 1:
                packed[a, work.small[SOURCE_AT, base + work.columns[e0 + shift]]] += work.values[e0]
                continue
            if e0 + shift != begin_list or e1 + shift != end_list:
                begin_list, end_list = e0 + shift, e1 + shift
                source = _run_of_sources(work, base, begin_list, end_list)
            if source >= 0:
                target, values = packed[a, source : source + e1 - e0], work.values[e0:e1]
                for e in range(e1 - e0):
                    target[e] += values[e]
            else:
                for e in range(e0, e1):
                    packed[a, work.small[SOURCE_AT, base + work.columns[e + shift]]] += work.values[e]


@kernel
def _measure_packed(work, first, last, n_sources, t_start, t_end):
    """TURN, TOTAL and LARGEST_DEVIATION of all sources from the packed rows."""
    packed, flows = _packed(work, last - first, n_sources), work.flows
    for s in range(n_sources):
        flows[TURN, s] = flows[TOTAL, s] = 0.0
    for a in range(last - first):
        left = t_end - work.times[T, work.labels[SORTED_IDS, first + a]]
        for s in range(n_sources):
            x = packed[a, s]
            flows[TURN, s] += x
            flows[TOTAL, s] += x * left
    for s in range(n_sources):
        flows[DEVIATION, s] = flows[LARGEST_DEVIATION, s] = 0.0
        flows[ARRIVED, s] = -flows[TOTAL, s] / (t_end - t_start)
    before = t_start
    for a in range(last - first):
        t = work.times[T, work.labels[SORTED_IDS, first + a]]
        for s in range(n_sources):
            deviation = flows[DEVIATION, s] + flows[ARRIVED, s] * (t - before)
            flows[DEVIATION, s] = deviation
            flows[ARRIVED, s] += packed[a, s]
            deviation = abs(deviation)
            flows[LARGEST_DEVIATION, s] = max(flows[LARGEST_DEVIATION, s], deviation)
        before = t


@kernel
def _measure_rows(code, work, f, p, n_sources, t_start, t_end):
    """TURN, TOTAL and LARGEST_DEVIATION of all sources from the rows."""
    flows = work.flows
    for s in range(n_sources):
        flows[TURN, s] = flows[TOTAL, s] = flows[DEVIATION, s] = flows[LARGEST_DEVIATION, s] = 0.0
        flows[LAST_TIME, s] = t_start
    for again in range(2):
        for tap in range(n_taps(code, f)):
            start = work.small[CURSOR, tap]
            if start < 0:
                continue
            base = tap * code.info[tap_source(code, f, p, tap)[0], ir.CHANNELS]
            for row in range(start, work.small[STOP, tap]):
                t = work.times[T, work.ids[row]]
                for e in range(work.starts[row], work.starts[row + 1]):
                    s, x = work.small[SOURCE_AT, base + work.columns[e + work.shifts[row]]], work.values[e]
                    if again == 0:
                        flows[TURN, s] += x
                        flows[TOTAL, s] += x * (t_end - t)
                        continue
                    deviation = flows[DEVIATION, s] + flows[ARRIVED, s] * (t - flows[LAST_TIME, s])
                    flows[DEVIATION, s], flows[LAST_TIME, s] = deviation, t
                    flows[ARRIVED, s] += x
                    flows[LARGEST_DEVIATION, s] = max(flows[LARGEST_DEVIATION, s], abs(deviation))
        for s in range(n_sources * (1 - again)):
            flows[ARRIVED, s] = -flows[TOTAL, s] / (t_end - t_start)


@kernel
def _push_ends(code, work, f, n_sources):
    """Change of each channel's value and slope over the tile, and the reach around its chord; indexed by channel."""
    channels = code.info[f, ir.CHANNELS]
    w = weights_of(code, f).reshape(-1, channels)
    change, turn, reach = work.channels[CHANGE], work.channels[SLOPE_CHANGE], work.channels[REACH]
    for c in range(channels):
        change[c] = turn[c] = reach[c] = 0.0
    flows = work.flows
    for s in range(n_sources, n_sources + -n_sources % 4):  # round off: sources without any effect
        work.small[SOURCE, s] = 0
        flows[TOTAL, s] = flows[TURN, s] = flows[LARGEST_DEVIATION, s] = 0.0
    for s in range(0, n_sources, 4):
        k0, k1, k2, k3 = work.small[SOURCE, s], work.small[SOURCE, s + 1], work.small[SOURCE, s + 2], work.small[SOURCE, s + 3]
        x0, x1, x2, x3 = flows[TOTAL, s], flows[TOTAL, s + 1], flows[TOTAL, s + 2], flows[TOTAL, s + 3]
        y0, y1, y2, y3 = flows[TURN, s], flows[TURN, s + 1], flows[TURN, s + 2], flows[TURN, s + 3]
        d0, d1 = flows[LARGEST_DEVIATION, s], flows[LARGEST_DEVIATION, s + 1]
        d2, d3 = flows[LARGEST_DEVIATION, s + 2], flows[LARGEST_DEVIATION, s + 3]
        for c in range(channels):
            w0, w1, w2, w3 = w[k0, c], w[k1, c], w[k2, c], w[k3, c]
            change[c] += (x0 * w0 + x1 * w1) + (x2 * w2 + x3 * w3)
            turn[c] += (y0 * w0 + y1 * w1) + (y2 * w2 + y3 * w3)
            reach[c] += (d0 * abs(w0) + d1 * abs(w1)) + (d2 * abs(w2) + d3 * abs(w3))


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
def _gather_weights(code, work, f, n_sources, z0, z1):
    """Fill ``_weights`` for slots z0 .. z1."""
    w = weights_of(code, f).reshape(-1, code.info[f, ir.CHANNELS])
    gathered, channel = _weights(work, n_sources, z1 - z0), work.channel_labels[CHANNEL, z0:z1]
    for s in range(n_sources):
        k = work.small[SOURCE, s]
        for z in range(z1 - z0):
            gathered[s, z] = w[k, channel[z]]


@kernel
def _multiply_rows(code, work, f, p, first, last, n_sources, width, n_needed):
    """Products of the rows, entry by entry, for ``width`` slots: ``_block``."""
    w, out = _weights(work, n_sources, width), _block(work, last - first, width, n_needed)
    out[:] = 0.0
    for tap in range(n_taps(code, f)):
        start = work.small[CURSOR, tap]
        if start < 0:
            continue
        base = tap * code.info[tap_source(code, f, p, tap)[0], ir.CHANNELS]
        for row in range(start, work.small[STOP, tap]):
            e, n, shift = work.starts[row], work.starts[row + 1] - work.starts[row], work.shifts[row]
            for j in range(n):
                work.small[PLACE, j] = work.small[SOURCE_AT, base + work.columns[e + shift + j]]
            add_row(work, e, n, w, out, work.labels[ROW_OF, work.ids[row]] - first)


@allocating_kernel
def _multiply_packed(work, height, n_sources, width, n_needed):
    """Product of the packed rows for ``width`` slots: ``_block``."""
    np.dot(_packed(work, height, n_sources), _weights(work, n_sources, width), _block(work, height, width, n_needed))


@kernel
def _multiply(code, work, f, p, first, last, n_sources, n_needed, dense):
    """Arriving rows of the tile for the slots that need them: work.tiles[GATHERED], float64[H, M]."""
    block = max(1, work.tiles.shape[1] // max(1, n_sources))
    for z0 in range(0, n_needed, block):
        z1 = min(n_needed, z0 + block)
        width = z1 - z0
        _gather_weights(code, work, f, n_sources, z0, z1)
        if dense:
            _multiply_packed(work, last - first, n_sources, width, n_needed)
        else:
            _multiply_rows(code, work, f, p, first, last, n_sources, width, n_needed)
        if width == n_needed:
            return
        for a in range(last - first):
            for z in range(width):
                work.tiles[GATHERED, a * n_needed + z0 + z] = work.tiles[PRODUCT, a * width + z]


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
def _open_tile(code, work, f, p, first, last, t, t_end):
    """Measure the tile's sources, and what they do to all channels; returns (sources, whether the rows are packed)."""
    n_sources, n_entries = _find_sources(code, work, f, p, last)
    cells = n_sources * (last - first)
    dense = n_entries > DENSE_FROM * cells and cells <= work.tiles.shape[1]
    if dense:
        _pack_rows(code, work, f, p, first, last, n_sources)
        _measure_packed(work, first, last, n_sources, t, t_end)
    else:
        _measure_rows(code, work, f, p, n_sources, t, t_end)
    _push_ends(code, work, f, n_sources)
    return n_sources, dense


@kernel
def _close_tile(code, work, f, n_sources):
    """Forget the tile's sources, and go on behind its rows."""
    for s in range(n_sources):
        work.small[SOURCE_AT, work.small[SOURCE, s]] = -1
    for tap in range(n_taps(code, f)):
        if work.small[CURSOR, tap] >= 0:
            work.small[CURSOR, tap] = work.small[STOP, tap]


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
        n_sources, dense = _open_tile(code, work, f, p, first, last, t, t_end)
        n_open, n_needed, n_parked = _choose_slots(work, channels, t_end - t, keep)
        _multiply(code, work, f, p, first, last, n_sources, n_needed, dense)
        _pass_idle(work, n_open, channels, t_end - t)
        t = _pass_tile(code, work, i, p, first, last, t, n_open, n_needed, n_parked, keep)
        _close_tile(code, work, f, n_sources)
        if work.counts[STATUS] != DONE:
            return
        if last == n:
            pass_rest(code, work, i, p, n_open, t, t1, keep)
        elif keep:
            record_extremes(work, n_open)
        first = last
        height = height * 2 if n_open < FEW_OPEN * channels else height // 2 if n_open > MANY_OPEN * channels else height
    finish(code, work, i, p, t1)
