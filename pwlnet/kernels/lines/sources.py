"""The slope changes that arrive at a position in a tile of breakpoints: their effect on all channels, and on chosen ones.

A *source* is an entry of the receptive field (tap, channel) that some row of the tile changes.

Legend: C channels, S sources, H breakpoints of a tile, M slots that need products.
"""

import numpy as np

from .._jit import ZERO, allocating_kernel, inline_view, kernel, matrix_view
from ..arrays import fill_rows
from ..ir import program as ir
from ..ir.affine import row_weights_of, weights_of
from . import workspace as ws
from .slope_changes import add_row, n_taps, row_range, rows_before, tap_source

DENSE_FROM = 0.3  # share of non-zero entries in the matrix of sources and rows from which a matrix product is cheaper

# Where a tile's rows are a matrix: from an index of the values of rows on, or
COPIED = -1  # in work.tiles[PACKED], or
NO_MATRIX = -2  # nowhere


@kernel
def block_height(code, work, f, p, first):
    """Return the number of next rows that form a matrix in place: one per breakpoint from ``first`` on, with equal columns."""
    if n_taps(code, f) > 1:
        return np.int64(0)
    start, (j, q) = work.small[ws.CURSOR, 0], tap_source(code, f, p, 0)
    end = row_range(code, work, j, q)[1]
    width, columns = work.starts[start + 1] - work.starts[start], work.starts[start] + work.shifts[start]
    row = start
    while row < end and work.labels[ws.ROW_OF, work.ids[row]] == first + row - start:
        if work.starts[row] + work.shifts[row] != columns or work.starts[row + 1] - work.starts[row] != width:
            return row - start
        row += 1
    return row - start - (row < end)  # a breakpoint with several rows ends the block before it


@kernel
def _open_block(work, first, last):
    """List the sources of a block; return (number of sources, first index in the values of rows)."""
    start = work.small[ws.CURSOR, 0]
    work.small[ws.STOP, 0] = start + last - first
    n_sources, columns = work.starts[start + 1] - work.starts[start], work.starts[start] + work.shifts[start]
    for s in range(n_sources):
        work.small[ws.SOURCE, s] = work.columns[columns + s]
    return n_sources, work.starts[start]


@kernel
def _find_sources(code, work, f, p, last):
    """List the sources of a tile, and find where each tap's rows end; return (number of sources, number of entries)."""
    n_sources, n_entries = np.int64(0), np.int64(0)
    for tap in range(n_taps(code, f)):
        start = work.small[ws.CURSOR, tap]
        if start < 0:
            continue
        j, q = tap_source(code, f, p, tap)
        stop = rows_before(work, start, row_range(code, work, j, q)[1], last)
        work.small[ws.STOP, tap] = stop
        base = tap * code.op_table[j, ir.CHANNELS]
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
                if work.small[ws.SOURCE_AT, k] < 0:
                    work.small[ws.SOURCE_AT, k], work.small[ws.SOURCE, n_sources] = n_sources, k
                    n_sources += 1
    return n_sources, n_entries


@inline_view
def _packed(work, matrix, height, n_sources):
    """View the tile's rows as a matrix over the sources: float64[H, S]; in place in the values, or a copy."""
    cells = work.values[matrix:] if matrix >= 0 else work.tiles[ws.PACKED]
    return matrix_view(cells, ZERO, height, n_sources)


@inline_view
def _weights(work, n_sources, width):
    """View the weights of the sources for some slots: float64[S, width]."""
    return matrix_view(work.tiles[ws.WEIGHTS], ZERO, n_sources, width)


@inline_view
def _block(work, height, width, n_needed):
    """View where the products for some slots are put: float64[H, width]; those for all slots at once in their final place."""
    return matrix_view(work.tiles[ws.GATHERED if width == n_needed else ws.PRODUCT], ZERO, height, width)


@kernel
def _pack_rows(code, work, f, p, first, last, n_sources):
    """Fill ``_packed`` with the tile's rows."""
    packed = _packed(work, COPIED, last - first, n_sources)
    fill_rows(packed, 0.0)
    for tap in range(n_taps(code, f)):
        start = work.small[ws.CURSOR, tap]
        if start < 0:
            continue
        base = tap * code.op_table[tap_source(code, f, p, tap)[0], ir.CHANNELS]
        for row in range(start, work.small[ws.STOP, tap]):
            a, shift = work.labels[ws.ROW_OF, work.ids[row]] - first, work.shifts[row]
            for e in range(work.starts[row], work.starts[row + 1]):
                packed[a, work.small[ws.SOURCE_AT, base + work.columns[e + shift]]] += work.values[e]


@kernel
def _measure_packed(work, matrix, first, last, n_sources, t_start, t_end):
    """Compute the statistics of all sources from the rows as a matrix."""
    packed, source_stats = _packed(work, matrix, last - first, n_sources), work.source_stats
    slope_change, total, arrived = (
        source_stats[ws.SOURCE_SLOPE_CHANGE],
        source_stats[ws.SOURCE_VALUE_CHANGE],
        source_stats[ws.SOURCE_RELATIVE_SLOPE],
    )
    deviation, largest = source_stats[ws.SOURCE_DEVIATION], source_stats[ws.SOURCE_LARGEST_DEVIATION]
    for s in range(n_sources):
        slope_change[s] = total[s] = deviation[s] = largest[s] = 0.0
    times, ids, n = work.times[ws.TIME], work.labels[ws.SORTED_IDS, first:last], last - first
    for a in range(0, n, 4):
        a1, a2, a3 = min(a + 1, n - 1), min(a + 2, n - 1), min(a + 3, n - 1)
        one1, one2, one3 = min(1.0, n - 1.0 - a), min(1.0, max(0.0, n - 2.0 - a)), min(1.0, max(0.0, n - 3.0 - a))
        left0, left1 = t_end - times[ids[a]], one1 * (t_end - times[ids[a1]])
        left2, left3 = one2 * (t_end - times[ids[a2]]), one3 * (t_end - times[ids[a3]])
        row0, row1, row2, row3 = packed[a], packed[a1], packed[a2], packed[a3]
        for s in range(n_sources):
            x0, x1, x2, x3 = row0[s], row1[s], row2[s], row3[s]
            slope_change[s] += (x0 + x1 * one1) + (x2 * one2 + x3 * one3)
            total[s] += (x0 * left0 + x1 * left1) + (x2 * left2 + x3 * left3)
    for s in range(n_sources):
        arrived[s] = -total[s] / (t_end - t_start)
    before = t_start
    for a in range(0, n, 4):
        a1, a2, a3 = min(a + 1, n - 1), min(a + 2, n - 1), min(a + 3, n - 1)
        t0, t1, t2, t3 = times[ids[a]], times[ids[a1]], times[ids[a2]], times[ids[a3]]  # after the end: no time passes
        dt0, dt1, dt2, dt3 = t0 - before, t1 - t0, t2 - t1, t3 - t2
        row0, row1, row2, row3 = packed[a], packed[a1], packed[a2], packed[a3]
        for s in range(n_sources):
            slope = arrived[s]
            d0 = deviation[s] + slope * dt0
            slope += row0[s]
            d1 = d0 + slope * dt1
            slope += row1[s]
            d2 = d1 + slope * dt2
            slope += row2[s]
            d3 = d2 + slope * dt3
            arrived[s], deviation[s] = slope + row3[s], d3
            largest[s] = max(max(largest[s], max(abs(d0), abs(d1))), max(abs(d2), abs(d3)))
        before = t3


@kernel
def _measure_rows(code, work, f, p, n_sources, t_start, t_end):
    """Compute the statistics of all sources from the rows."""
    source_stats = work.source_stats
    for s in range(n_sources):
        source_stats[ws.SOURCE_SLOPE_CHANGE, s] = source_stats[ws.SOURCE_VALUE_CHANGE, s] = source_stats[
            ws.SOURCE_DEVIATION, s
        ] = source_stats[ws.SOURCE_LARGEST_DEVIATION, s] = 0.0
        source_stats[ws.SOURCE_LAST_TIME, s] = t_start
    for again in range(2):
        for tap in range(n_taps(code, f)):
            start = work.small[ws.CURSOR, tap]
            if start < 0:
                continue
            base = tap * code.op_table[tap_source(code, f, p, tap)[0], ir.CHANNELS]
            for row in range(start, work.small[ws.STOP, tap]):
                t = work.times[ws.TIME, work.ids[row]]
                for e in range(work.starts[row], work.starts[row + 1]):
                    s, x = work.small[ws.SOURCE_AT, base + work.columns[e + work.shifts[row]]], work.values[e]
                    if again == 0:
                        source_stats[ws.SOURCE_SLOPE_CHANGE, s] += x
                        source_stats[ws.SOURCE_VALUE_CHANGE, s] += x * (t_end - t)
                        continue
                    deviation = source_stats[ws.SOURCE_DEVIATION, s] + source_stats[ws.SOURCE_RELATIVE_SLOPE, s] * (
                        t - source_stats[ws.SOURCE_LAST_TIME, s]
                    )
                    source_stats[ws.SOURCE_DEVIATION, s], source_stats[ws.SOURCE_LAST_TIME, s] = deviation, t
                    source_stats[ws.SOURCE_RELATIVE_SLOPE, s] += x
                    source_stats[ws.SOURCE_LARGEST_DEVIATION, s] = max(
                        source_stats[ws.SOURCE_LARGEST_DEVIATION, s], abs(deviation)
                    )
        for s in range(n_sources * (1 - again)):
            source_stats[ws.SOURCE_RELATIVE_SLOPE, s] = -source_stats[ws.SOURCE_VALUE_CHANGE, s] / (t_end - t_start)


@kernel
def _push_ends(code, work, f, n_sources):
    """Compute the change of each channel's value and slope over the tile, and the bound of the deviation from its chord."""
    channels = code.op_table[f, ir.CHANNELS]
    w = weights_of(code, f).reshape(-1, channels)
    change, slope_change, reach = (
        work.channels[ws.VALUE_CHANGE],
        work.channels[ws.SLOPE_CHANGE],
        work.channels[ws.DEVIATION_BOUND],
    )
    for c in range(channels):
        change[c] = slope_change[c] = reach[c] = 0.0
    source_stats, source = work.source_stats, work.small[ws.SOURCE]
    value_changes, slope_changes, largest = (
        source_stats[ws.SOURCE_VALUE_CHANGE],
        source_stats[ws.SOURCE_SLOPE_CHANGE],
        source_stats[ws.SOURCE_LARGEST_DEVIATION],
    )
    for s in range(n_sources, n_sources + -n_sources % 8):  # round up with sources that have no effect
        source[s] = 0
        value_changes[s] = slope_changes[s] = largest[s] = 0.0
    for s in range(0, n_sources, 8):
        r0, r1, r2, r3 = w[source[s]], w[source[s + 1]], w[source[s + 2]], w[source[s + 3]]
        r4, r5, r6, r7 = w[source[s + 4]], w[source[s + 5]], w[source[s + 6]], w[source[s + 7]]
        x0, x1, x2, x3 = value_changes[s], value_changes[s + 1], value_changes[s + 2], value_changes[s + 3]
        x4, x5, x6, x7 = value_changes[s + 4], value_changes[s + 5], value_changes[s + 6], value_changes[s + 7]
        y0, y1, y2, y3 = slope_changes[s], slope_changes[s + 1], slope_changes[s + 2], slope_changes[s + 3]
        y4, y5, y6, y7 = slope_changes[s + 4], slope_changes[s + 5], slope_changes[s + 6], slope_changes[s + 7]
        d0, d1, d2, d3 = largest[s], largest[s + 1], largest[s + 2], largest[s + 3]
        d4, d5, d6, d7 = largest[s + 4], largest[s + 5], largest[s + 6], largest[s + 7]
        for c in range(channels):
            w0, w1, w2, w3, w4, w5, w6, w7 = r0[c], r1[c], r2[c], r3[c], r4[c], r5[c], r6[c], r7[c]
            change[c] += ((x0 * w0 + x1 * w1) + (x2 * w2 + x3 * w3)) + ((x4 * w4 + x5 * w5) + (x6 * w6 + x7 * w7))
            slope_change[c] += ((y0 * w0 + y1 * w1) + (y2 * w2 + y3 * w3)) + ((y4 * w4 + y5 * w5) + (y6 * w6 + y7 * w7))
            w0, w1, w2, w3 = abs(w0), abs(w1), abs(w2), abs(w3)
            w4, w5, w6, w7 = abs(w4), abs(w5), abs(w6), abs(w7)
            reach[c] += ((d0 * w0 + d1 * w1) + (d2 * w2 + d3 * w3)) + ((d4 * w4 + d5 * w5) + (d6 * w6 + d7 * w7))


@kernel
def _gather_weights(code, work, f, n_sources, z0, z1):
    """Fill ``_weights`` for slots z0 .. z1."""
    w = row_weights_of(code, f).reshape(-1, code.op_table[f, ir.CHANNELS])
    gathered, channel = _weights(work, n_sources, z1 - z0), work.channel_labels[ws.CHANNEL, z0:z1]
    for s in range(n_sources):
        row, out = w[work.small[ws.SOURCE, s]], gathered[s]
        for z in range(z1 - z0):
            out[z] = row[np.uint64(channel[z])]


@kernel
def _multiply_rows(code, work, f, p, first, last, n_sources, width, n_needed):
    """Compute the products of the rows, entry by entry, for ``width`` slots: ``_block``."""
    w, out = _weights(work, n_sources, width), _block(work, last - first, width, n_needed)
    fill_rows(out, 0.0)
    for tap in range(n_taps(code, f)):
        start = work.small[ws.CURSOR, tap]
        if start < 0:
            continue
        base = tap * code.op_table[tap_source(code, f, p, tap)[0], ir.CHANNELS]
        for row in range(start, work.small[ws.STOP, tap]):
            e, n, shift = work.starts[row], work.starts[row + 1] - work.starts[row], work.shifts[row]
            for j in range(n):
                work.small[ws.WEIGHT_ROW, j] = work.small[ws.SOURCE_AT, base + work.columns[e + shift + j]]
            add_row(work, e, n, w, out, work.labels[ws.ROW_OF, work.ids[row]] - first)


@allocating_kernel
def _multiply_matrix(work, matrix, height, n_sources, width, n_needed):
    """Compute the product of the rows as a matrix for ``width`` slots: ``_block``."""
    np.dot(_packed(work, matrix, height, n_sources), _weights(work, n_sources, width), _block(work, height, width, n_needed))


@kernel
def multiply(code, work, f, p, first, last, n_sources, n_needed, matrix):
    """Compute the arriving rows of the tile for the slots that need them: work.tiles[GATHERED], float64[H, M]."""
    block = max(1, work.tiles.shape[1] // max(1, n_sources))
    for z0 in range(0, n_needed, block):
        z1 = min(n_needed, z0 + block)
        width = z1 - z0
        _gather_weights(code, work, f, n_sources, z0, z1)
        if matrix != NO_MATRIX:
            _multiply_matrix(work, matrix, last - first, n_sources, width, n_needed)
        else:
            _multiply_rows(code, work, f, p, first, last, n_sources, width, n_needed)
        if width == n_needed:
            return
        for a in range(last - first):
            for z in range(width):
                work.tiles[ws.GATHERED, a * n_needed + z0 + z] = work.tiles[ws.PRODUCT, a * width + z]


@kernel
def open_tile(code, work, f, p, first, last, t, t_end, block):
    """Compute the statistics of the tile's sources and their effect on all channels; return (sources, place of the matrix)."""
    if block:
        n_sources, matrix = _open_block(work, first, last)
    else:
        n_sources, n_entries = _find_sources(code, work, f, p, last)
        cells = n_sources * (last - first)
        dense = n_entries > DENSE_FROM * cells and cells <= work.tiles.shape[1]
        matrix = np.int64(COPIED if dense else NO_MATRIX)
    if matrix == COPIED:
        _pack_rows(code, work, f, p, first, last, n_sources)
    if matrix == NO_MATRIX:
        _measure_rows(code, work, f, p, n_sources, t, t_end)
    else:
        _measure_packed(work, matrix, first, last, n_sources, t, t_end)
    _push_ends(code, work, f, n_sources)
    return n_sources, matrix


@kernel
def close_tile(code, work, f, n_sources):
    """Reset the tile's sources, and move the cursors past its rows."""
    for s in range(n_sources):
        work.small[ws.SOURCE_AT, work.small[ws.SOURCE, s]] = -1
    for tap in range(n_taps(code, f)):
        if work.small[ws.CURSOR, tap] >= 0:
            work.small[ws.CURSOR, tap] = work.small[ws.STOP, tap]
