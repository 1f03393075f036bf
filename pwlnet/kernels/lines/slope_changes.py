"""Push rows of slope changes through affine ops, one output position at a time.

``collect`` finds the breakpoints that affect a position (all taps of its receptive field) in time order; ``accumulate``
adds up their rows, in tiles of consecutive breakpoints that stay in cache. The cost of a row is the number of its non-zero
entries times the channels that each of them affects. Convolutions, pools, sums, ... differ only in their taps.

Legend: C channels, n breakpoints of a position.
"""

import numpy as np

from .._jit import ZERO, inline_view, inlined_kernel, kernel, matrix_view
from ..arrays import fill_rows
from ..ir import program as ir
from ..ir.affine import n_operands, operand, pool_divisor, row_weights_of, tap_position
from ..ir.bits import popcount
from . import workspace as ws
from .workspace import has_float32_slopes


@inlined_kernel
def new_row(work, n_entries, breakpoint_id):
    """Append a row without entries, with room for ``n_entries``; return whether the buffers hold it."""
    row, top = work.counts[ws.TOP_ROW], work.counts[ws.TOP_VALUE]
    if row >= work.ids.shape[0]:
        work.counts[ws.STATUS] = ws.FULL_ROWS
        return False
    if top + n_entries > work.values.shape[0]:
        work.counts[ws.STATUS] = ws.FULL_VALUES
        return False
    work.ids[row] = breakpoint_id
    work.starts[row + 1] = top
    work.shifts[row] = work.counts[ws.TOP_COLUMN] - top
    work.counts[ws.TOP_ROW] = row + 1
    return True


@inlined_kernel
def add_entry(work, column, value):
    """Append an entry to the last row; ``new_row`` has made room for it."""
    top, top_column = work.counts[ws.TOP_VALUE], work.counts[ws.TOP_COLUMN]
    work.values[top], work.columns[top_column] = value, column
    work.starts[work.counts[ws.TOP_ROW]] = work.counts[ws.TOP_VALUE] = top + 1
    work.counts[ws.TOP_COLUMN] = top_column + 1


@inlined_kernel
def add_whole_entry(work, column, value):
    """Append an entry that must cancel earlier ones: in float32, its rounding error becomes a second entry (room is there)."""
    add_entry(work, column, value)
    if has_float32_slopes(work):
        rest = value - np.float64(work.values[work.counts[ws.TOP_VALUE] - 1])
        if rest != 0.0:
            add_entry(work, column, rest)


@inlined_kernel
def close_row(work, width, columns):
    """End the last row, whose ``width`` values are set, with the columns from ``columns`` on, which rows may share."""
    row, top = work.counts[ws.TOP_ROW], work.counts[ws.TOP_VALUE]
    work.starts[row] = work.counts[ws.TOP_VALUE] = top + width
    work.shifts[row - 1] = columns - top


@inlined_kernel
def drop_empty_row(work):
    """Remove the last row where it has no entries."""
    row = work.counts[ws.TOP_ROW]
    if work.starts[row - 1] == work.starts[row]:
        work.counts[ws.TOP_ROW] = row - 1


@inlined_kernel
def n_taps(code, f):
    """Return the number of taps of one position of op f, -1 if unknown; a switching op counts as a copy of its operand."""
    kind = code.op_table[f, ir.OP]
    if kind == ir.AFFINE:
        j = operand(code, f, 0)
        return code.op_table[j, ir.HEIGHT] * code.op_table[j, ir.WIDTH]
    if kind == ir.CONV2D or kind == ir.AVG_POOL or kind == ir.MAX_POOL:
        return code.op_table[f, ir.KERNEL_H] * code.op_table[f, ir.KERNEL_W]
    if kind == ir.ADD or kind == ir.CONCAT:
        return n_operands(code, f)
    if kind == ir.GATHER:
        return code.op_table[f, ir.CHANNELS]
    if kind == ir.SCALE or kind == ir.RELU or kind == ir.LEAKY_RELU or kind == ir.CLIP:
        return np.int64(1)
    return np.int64(-1)


@inlined_kernel
def tap_source(code, f, p, tap):
    """Return the operand and the input position of a tap: (op, position); position -1 in the padding, both for unknown ops."""
    kind = code.op_table[f, ir.OP]
    if kind == ir.AFFINE:
        return operand(code, f, 0), tap
    if kind == ir.CONV2D or kind == ir.AVG_POOL or kind == ir.MAX_POOL:
        return operand(code, f, 0), tap_position(code, f, p, tap)
    if kind == ir.ADD or kind == ir.CONCAT:
        return operand(code, f, tap), p
    j = operand(code, f, 0)
    if kind == ir.GATHER:
        source = code.indices[code.op_table[f, ir.INDEX] + p * code.op_table[f, ir.CHANNELS] + tap]
        return j, (source // code.op_table[j, ir.CHANNELS] if source >= 0 else np.int64(-1))
    if kind == ir.SCALE or kind == ir.RELU or kind == ir.LEAKY_RELU or kind == ir.CLIP:
        return j, p
    return np.int64(-1), np.int64(-1)


@inlined_kernel
def row_range(code, work, j, q):
    """Return the range of rows of position q of op j: (first, past-the-last)."""
    base = code.op_table[j, ir.POINTER] + q
    return work.bases[ws.FIRST_ROW, j] + work.pointers[base], work.bases[ws.FIRST_ROW, j] + work.pointers[base + 1]


@kernel
def collect(code, work, f, p):
    """Find the breakpoints in position p's receptive field, in time order; return their number.

    Sets work.labels[SORTED_IDS] and [ROW_OF], and work.small[CURSOR] to the first row of each tap.
    """
    taps = n_taps(code, f)
    if taps < 0:
        work.counts[ws.STATUS] = ws.UNKNOWN_OP
    touched = 0
    lowest, highest = work.counts[ws.N_IDS], np.int64(-1)
    for tap in range(taps):
        j, q = tap_source(code, f, p, tap)
        work.small[ws.CURSOR, tap] = -1
        if q < 0:
            if j < 0:
                work.counts[ws.STATUS] = ws.UNKNOWN_OP
            continue
        first, last = row_range(code, work, j, q)
        work.small[ws.CURSOR, tap] = first
        if last > first:
            touched += 1
            lowest = min(lowest, work.labels[ws.RANK, work.ids[first]])
            highest = max(highest, work.labels[ws.RANK, work.ids[last - 1]])
    if touched == 0:
        return 0
    for tap in range(taps):
        j, q = tap_source(code, f, p, tap)
        if q < 0:
            continue
        first, last = row_range(code, work, j, q)
        for row in range(first, last):
            rank = work.labels[ws.RANK, work.ids[row]]
            work.marks[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
    n = 0
    for w in range(lowest >> 6, (highest >> 6) + 1):
        word = work.marks[w]
        work.marks[w] = np.uint64(0)
        while word != np.uint64(0):
            bit = word & (~word + np.uint64(1))
            breakpoint_id = work.labels[ws.ORDER, (w << 6) + popcount(bit - np.uint64(1))]
            work.labels[ws.SORTED_IDS, n] = breakpoint_id
            work.labels[ws.ROW_OF, breakpoint_id] = n
            n += 1
            word ^= bit
    return n


@inlined_kernel
def tile_height(channels):
    """Return the number of rows of one tile of gathered rows."""
    return max(ws.TILE_ROWS, ws.TILE_DOUBLES // channels)


@inlined_kernel
def rows_before(work, start, end, last):
    """Return the end of a tap's rows from ``start`` on whose breakpoint comes before index ``last`` in labels[SORTED_IDS]."""
    stop = start
    while stop < end and work.labels[ws.ROW_OF, work.ids[stop]] < last:
        stop += 1
    return stop


@inline_view
def gathered_rows(work, height, channels):
    """View where ``accumulate`` puts its sums: float64[height, C]."""
    return matrix_view(work.tiles[ws.GATHERED], ZERO, height, channels)


@kernel
def accumulate(code, work, f, p, first, last):
    """Sum the rows of breakpoints ``first`` to ``last`` of labels[SORTED_IDS]: ``gathered_rows`` [last - first, C]."""
    channels = code.op_table[f, ir.CHANNELS]
    out = gathered_rows(work, last - first, channels)
    fill_rows(out, 0.0)
    kind = code.op_table[f, ir.OP]
    dense = kind == ir.AFFINE or (kind == ir.CONV2D and code.op_table[f, ir.GROUPS] == 1)
    for tap in range(n_taps(code, f)):
        start = work.small[ws.CURSOR, tap]
        if start < 0:
            continue
        j, q = tap_source(code, f, p, tap)
        stop = rows_before(work, start, row_range(code, work, j, q)[1], last)
        work.small[ws.CURSOR, tap] = stop
        if stop == start:
            continue
        if dense:
            c_in = code.op_table[j, ir.CHANNELS]
            _add_products(work, row_weights_of(code, f).reshape(-1, channels), tap * c_in, start, stop, first, out)
        elif kind == ir.CONV2D:
            _add_grouped(code, work, f, tap, start, stop, first, out)
        else:
            _add_simple(code, work, f, p, tap, start, stop, first, out)


@inlined_kernel
def add_row(work, e, n, w, out, a):
    """Add entries e .. e + n times the rows work.small[WEIGHT_ROW, :n] of ``w`` to row a of ``out``, eight at a time."""
    width, j = out.shape[1], np.int64(0)
    place, x, zero = work.small[ws.WEIGHT_ROW], work.values, work.values.dtype.type(0.0)
    while n - j > 4:
        r0, r1, r2, r3 = place[j], place[j + 1], place[j + 2], place[j + 3]
        r4, r5, r6, r7 = place[j + 4], r0, r0, r0
        x0, x1, x2, x3 = x[e + j], x[e + j + 1], x[e + j + 2], x[e + j + 3]
        x4, x5, x6, x7 = x[e + j + 4], zero, zero, zero
        if n - j > 5:
            r5, x5 = place[j + 5], x[e + j + 5]
        if n - j > 6:
            r6, x6 = place[j + 6], x[e + j + 6]
        if n - j > 7:
            r7, x7 = place[j + 7], x[e + j + 7]
        for c in range(width):
            low = (x0 * w[r0, c] + x1 * w[r1, c]) + (x2 * w[r2, c] + x3 * w[r3, c])
            high = (x4 * w[r4, c] + x5 * w[r5, c]) + (x6 * w[r6, c] + x7 * w[r7, c])
            out[a, c] += low + high
        j += 8
    if n - j > 1:
        r0, r1, r2, r3 = place[j], place[j + 1], place[j], place[j]
        x0, x1, x2, x3 = x[e + j], x[e + j + 1], zero, zero
        if n - j > 2:
            r2, x2 = place[j + 2], x[e + j + 2]
        if n - j > 3:
            r3, x3 = place[j + 3], x[e + j + 3]
        for c in range(width):
            out[a, c] += (x0 * w[r0, c] + x1 * w[r1, c]) + (x2 * w[r2, c] + x3 * w[r3, c])
    elif n - j == 1:
        r0, x0 = place[j], x[e + j]
        for c in range(width):
            out[a, c] += x0 * w[r0, c]


@inlined_kernel
def _add_products(work, w, k0, start, stop, first, out):
    """Add the products of rows ``start`` .. ``stop`` with weights ``w[k0:]`` to ``out``."""
    for row in range(start, stop):
        e, n, shift = work.starts[row], work.starts[row + 1] - work.starts[row], work.shifts[row]
        for j in range(n):
            work.small[ws.WEIGHT_ROW, j] = k0 + work.columns[e + shift + j]
        add_row(work, e, n, w, out, work.labels[ws.ROW_OF, work.ids[row]] - first)


@kernel
def _add_grouped(code, work, f, tap, start, stop, first, out):
    """Add the products of one tap of a grouped convolution, group by group."""
    groups, taps = code.op_table[f, ir.GROUPS], code.op_table[f, ir.KERNEL_H] * code.op_table[f, ir.KERNEL_W]
    c_in, c_out = code.op_table[operand(code, f, 0), ir.CHANNELS] // groups, out.shape[1] // groups
    w = row_weights_of(code, f).reshape(-1, c_out)
    for row in range(start, stop):
        a = work.labels[ws.ROW_OF, work.ids[row]] - first
        for e in range(work.starts[row], work.starts[row + 1]):
            column, x = work.columns[e + work.shifts[row]], work.values[e]
            group = column // c_in
            k = (group * taps + tap) * c_in + column - group * c_in
            for c in range(c_out):
                out[a, group * c_out + c] += x * w[k, c]


@kernel
def _add_simple(code, work, f, p, tap, start, stop, first, out):
    """Add the rows of one tap of an op without a matrix: pools, scalings, sums, concatenations, copies."""
    kind, channels = code.op_table[f, ir.OP], out.shape[1]
    factor, divisor, offset = 1.0, 1.0, np.int64(0)
    if kind == ir.AVG_POOL:
        divisor = pool_divisor(code, f, p)
    elif kind == ir.ADD:
        factor = code.parameters[code.op_table[f, ir.COEFFICIENTS] + tap]
    elif kind == ir.CONCAT:
        for k in range(tap):
            offset += code.op_table[operand(code, f, k), ir.CHANNELS]
    elif kind != ir.SCALE and kind != ir.GATHER and kind != ir.RELU and kind != ir.LEAKY_RELU and kind != ir.CLIP:
        work.counts[ws.STATUS] = ws.UNKNOWN_OP
        return
    w = row_weights_of(code, f)
    source = np.int64(-1)
    if kind == ir.GATHER:  # tap = output channel
        source = code.indices[code.op_table[f, ir.INDEX] + p * channels + tap] % code.op_table[operand(code, f, 0), ir.CHANNELS]
    for row in range(start, stop):
        a = work.labels[ws.ROW_OF, work.ids[row]] - first
        for e in range(work.starts[row], work.starts[row + 1]):
            c = np.int64(work.columns[e + work.shifts[row]])
            if kind == ir.GATHER:
                if c == source:
                    out[a, tap] += work.values[e]
            elif kind == ir.SCALE:
                out[a, c] += work.values[e] * w[(p * channels + c) % w.shape[0]]
            else:
                out[a, offset + c] += work.values[e] * factor / divisor
