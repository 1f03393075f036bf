"""Scan one position with many channels: only those that may cross a threshold, in tiles of arriving slope changes.

At the end of a tile the values and slopes of all channels follow from two sums of its rows, pushed through the weights once.
In between, a channel stays within sum_k |w_k| D_k of the chord of its values at the tile's ends, where D_k is the largest
deviation of source k (sources.py) from its chord. A channel whose chord stays farther from its thresholds is *inactive*: it
cannot cross. Inactive channels whose piece has slope 0 need no products at all, and those of the others are not scanned.

Legend: C channels, n breakpoints of the position, H breakpoints of a tile, M slots that need products.
"""

import numpy as np

from .._jit import inlined_kernel, kernel, separate_kernel
from ..ir import program as ir
from . import workspace as ws
from .channel import finish
from .rounding import add_squares
from .scan import MANY_EVENTS, add_squared, finish_window_scan, process_event, record_extremes
from .slope_changes import close_row, n_taps
from .sources import block_height, close_tile, multiply, open_tile
from .workspace import has_float32_slopes

WIDE_FROM = 128  # channels, with one tap
WIDE_FROM_OF_MANY = 256  # with many taps, where a row has few of the sources
LONG_FROM = 24  # breakpoints
FIRST_HEIGHT = 64  # of a tile, with one tap; doubled after few active slots, halved after many
FIRST_HEIGHT_OF_MANY = 256  # with many taps, which have more sources
LEAST_HEIGHT = 16
FEW_ACTIVE = 0.05  # of the channels
MANY_ACTIVE = 0.3
FEW_ROWS = 8  # a block of less than 1/8 of a tile's rows does not get a tile of its own


@inlined_kernel
def is_wide(code, i, f, n):
    """Return whether scanning op i, fed by op f, in tiles is worth it at a position with n breakpoints."""
    kind = code.op_table[f, ir.OP]
    matrix = kind == ir.AFFINE or (kind == ir.CONV2D and code.op_table[f, ir.GROUPS] == 1)
    least = WIDE_FROM if n_taps(code, f) == 1 else WIDE_FROM_OF_MANY
    return matrix and f != i and code.op_table[i, ir.CHANNELS] >= least and n >= LONG_FROM


def can_be_wide(code):
    """Return for each op whether ``is_wide`` may hold at one of its positions: bool[N]. Python only."""
    table = code.op_table[:-1]
    matrices = np.isin(table[table[:, ir.PRODUCER], ir.OP], (ir.AFFINE, ir.CONV2D))
    return (table[:, ir.ROLE] == ir.ELEMENTWISE) & (table[:, ir.CHANNELS] >= min(WIDE_FROM, WIDE_FROM_OF_MANY)) & matrices


@kernel
def _stash_channels(work, channels):
    """Move all slots to where inactive channels are stored: channel c in slot C + c."""
    for r in range(ws.N_SLOT_NUMBERS):
        numbers = work.channels[r]
        for c in range(channels):
            numbers[channels + c] = numbers[c]
    for c in range(channels):
        work.channel_labels[ws.STATE, channels + c] = work.channel_labels[ws.STATE, c]


@kernel
def _restore_channels(work, channels):
    """Move all channels from where inactive ones are stored to the slots of their own number."""
    for r in range(ws.N_SLOT_NUMBERS):
        numbers = work.channels[r]
        for c in range(channels):
            numbers[c] = numbers[channels + c]
    for c in range(channels):
        work.channel_labels[ws.STATE, c], work.channel_labels[ws.CHANNEL, c] = work.channel_labels[ws.STATE, channels + c], c


@inlined_kernel
def _move_slot(work, a, b):
    """Copy slot a to slot b."""
    for r in range(ws.N_SLOT_NUMBERS):
        work.channels[r, b] = work.channels[r, a]
    work.channel_labels[ws.STATE, b] = work.channel_labels[ws.STATE, a]


@kernel
def _activate_slots(work, channels, length, keep):
    """Give slots to channels that may cross, then to inactive ones whose slope changes are stored.

    Return the numbers of slots that may cross, that need products, and that are pinned.
    """
    n_active, n_pinned = np.int64(0), np.int64(0)
    for c in range(channels):
        k = channels + c
        v, low, high = work.channels[ws.VALUE, k], work.channels[ws.LOW, k], work.channels[ws.HIGH, k]
        v_end = v + work.channels[ws.SLOPE, k] * length + work.channels[ws.VALUE_CHANGE, c]
        reach = work.channels[ws.DEVIATION_BOUND, c]
        pinned = low == -np.inf and high == np.inf
        if not pinned and min(v, v_end) - reach >= low and max(v, v_end) + reach <= high:
            continue
        _move_slot(work, k, n_active)
        work.channel_labels[ws.CHANNEL, n_active] = c
        if pinned:
            work.channel_labels[ws.PINNED, n_pinned] = n_active
            n_pinned += 1
        n_active += 1
    if not keep:
        return n_active, n_active, n_pinned
    n_needed, o = n_active, 0
    for c in range(channels):
        if o < n_active and work.channel_labels[ws.CHANNEL, o] == c:
            o += 1
            continue
        gain = work.channels[ws.GAIN, channels + c]
        work.channel_labels[ws.CHANNEL, n_needed], work.channels[ws.GAIN, n_needed] = c, gain
        n_needed += np.int64(gain != 0.0)  # no branch, which would be mispredicted every other time
    return n_active, n_needed, n_pinned


@kernel
def _advance_inactive(work, channels, length):
    """Move inactive channels to the end of the tile; the effect on active ones does not matter."""
    change, slope_change, reach = (
        work.channels[ws.VALUE_CHANGE],
        work.channels[ws.SLOPE_CHANGE],
        work.channels[ws.DEVIATION_BOUND],
    )
    value, slope = work.channels[ws.VALUE, channels:], work.channels[ws.SLOPE, channels:]
    gain = work.channels[ws.GAIN, channels:]
    largest, steepest = work.channels[ws.LARGEST, channels:], work.channels[ws.STEEPEST, channels:]
    for c in range(channels):
        v, s, g = value[c], slope[c], abs(gain[c])
        v_end, s_end = v + s * length + change[c], s + slope_change[c]
        value[c], slope[c] = v_end, s_end
        largest[c] = max(largest[c], g * (max(abs(v), abs(v_end)) + reach[c]))
        steepest[c] = max(steepest[c], g * max(abs(s), abs(s_end)))


@kernel
def _deactivate_slots(work, channels, n_active):
    """Store the channels that had a slot as inactive ones again."""
    for z in range(n_active):
        _move_slot(work, z, channels + work.channel_labels[ws.CHANNEL, z])


@kernel
def _list_columns(work, n_needed):
    """Append the channels of the slots that need products as columns that the tile's rows share; return their index."""
    top = work.counts[ws.TOP_COLUMN]
    if top + n_needed > work.columns.shape[0]:
        work.counts[ws.STATUS] = ws.FULL_VALUES
        return np.int64(-1)
    for z in range(n_needed):
        work.columns[top + z] = work.channel_labels[ws.CHANNEL, z]
    work.counts[ws.TOP_COLUMN] = top + n_needed
    return top


@inlined_kernel
def _keep_row(work, arriving, n_active, n_needed, columns):
    """Fill the last row: the changes that leave active slots, and those that pass through inactive ones."""
    values, row, gain = work.values[work.counts[ws.TOP_VALUE] :][:n_needed], work.channels[ws.EVENT_ROW], work.channels[ws.GAIN]
    for z in range(n_needed):  # active ones too: a loop from n_active on would not be vectorized
        values[z] = arriving[z] * gain[z]
    for z in range(n_active):
        values[z] = row[z]
    if has_float32_slopes(work):
        add_squared(work.channels[ws.SQUARES], values, n_needed)
    close_row(work, n_needed, columns)


@kernel
def _scan_tile(code, work, i, p, first, last, t, n_active, n_needed, n_pinned, keep, columns, crossings):
    """Scan the active slots over the tile's breakpoints; return the time of the last one."""
    keep = keep and n_needed > 0
    for a in range(last - first):
        if work.counts[ws.STATUS] != ws.DONE:
            return t
        event, o = work.labels[ws.SORTED_IDS, first + a], a * n_needed
        arriving = work.tiles[ws.GATHERED, o:][:n_needed]
        n_pinned = process_event(code, work, i, p, n_active, t, event, arriving, n_pinned, keep, n_needed, crossings)
        if work.counts[ws.STATUS] != ws.DONE:
            return t
        if keep:
            _keep_row(work, arriving, n_active, n_needed, columns)
            if a % MANY_EVENTS == 0:
                record_extremes(work, n_active)
        t = work.times[ws.TIME, event]
    return t


@inlined_kernel
def _tile_end(code, work, f, p, first, n, height):
    """Return the past-the-last breakpoint of the next tile, and whether its rows are a block."""
    block = block_height(code, work, f, p, first)
    if first + block < n and block < height // FEW_ROWS:
        return min(n, first + height), False
    pieces = (block + height - 1) // height
    return first + (block + pieces - 1) // pieces, True


@separate_kernel
def scan_wide(code, work, i, p, n, t0, t1):
    """Scan position p of op i over the window [t0, t1]; ``collect`` and ``begin`` have been called.

    An op with one position gives the rows of its crossings all columns of the tile: the rows of a tile then form a matrix, a
    *block*, which the next op multiplies in place.
    """
    channels, f = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.PRODUCER]
    keep, single = code.op_table[i, ir.LAST_USE] > i, code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH] == 1
    first, t, height = np.int64(0), t0, FIRST_HEIGHT if n_taps(code, f) == 1 else FIRST_HEIGHT_OF_MANY
    _stash_channels(work, channels)
    while first < n:
        height = max(LEAST_HEIGHT, min(height, work.tiles.shape[1] // channels))
        last, block = _tile_end(code, work, f, p, first, n, height)
        t_end = t1 if last == n else work.times[ws.TIME, work.labels[ws.SORTED_IDS, last - 1]]
        n_sources, matrix = open_tile(code, work, f, p, first, last, t, t_end, block)
        n_active, n_needed, n_pinned = _activate_slots(work, channels, t_end - t, keep)
        multiply(code, work, f, p, first, last, n_sources, n_needed, matrix)
        _advance_inactive(work, channels, t_end - t)
        columns = _list_columns(work, n_needed) if keep else np.int64(-1)
        crossings = columns if single else np.int64(-1)
        t = _scan_tile(code, work, i, p, first, last, t, n_active, n_needed, n_pinned, keep, columns, crossings)
        close_tile(code, work, f, n_sources)
        if work.counts[ws.STATUS] != ws.DONE:
            return
        if last == n:
            finish_window_scan(code, work, i, p, n_active, t, t1, keep, n_needed, crossings)
        elif keep:
            record_extremes(work, n_active)
        if has_float32_slopes(work):
            add_squares(code, work, i, p, n_needed, t1 - t0)
        _deactivate_slots(work, channels, n_active)
        first = last
        height = (
            height * 2 if n_active < FEW_ACTIVE * channels else height // 2 if n_active > MANY_ACTIVE * channels else height
        )
    _restore_channels(work, channels)
    finish(code, work, i, p, t1)
