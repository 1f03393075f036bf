"""Push rows of slope changes through affine ops, one output position at a time.

``collect`` finds the breakpoints that reach a position (all taps of its receptive field) in time order; ``accumulate``
adds up their rows, in tiles of consecutive breakpoints that stay in cache. Products are matrix products on the contiguous
rows of each input position. Convolutions, pools, sums, ... differ in their taps only.

Legend: C channels, n breakpoints of a position.
"""

import numpy as np

from . import program as ir
from ._jit import kernel
from .affine import conv_weights, n_operands, operand, pool_divisor, tap_position, weights_of
from .bits import popcount
from .workspace import (
    ACTIVE,
    COLUMNS,
    CURSOR,
    GATHERED,
    N_IDS,
    ORDER,
    PRODUCT,
    RANK,
    ROW_OF,
    ROWS,
    SORTED_IDS,
    SPARSE_ROWS,
    TILE_DOUBLES,
    TILE_ROWS,
    VALUES,
)

SPARSE_FROM = 48  # below so many input channels a product of all channels beats gathering the active ones


@kernel
def n_taps(code, f):
    """Number of taps of one position of op f; a switching op stands for a copy of its operand."""
    kind = code.info[f, ir.OP]
    if kind == ir.AFFINE:
        j = operand(code, f, 0)
        return code.info[j, ir.HEIGHT] * code.info[j, ir.WIDTH]
    if kind == ir.CONV2D or kind == ir.AVG_POOL or kind == ir.MAX_POOL:
        return code.info[f, ir.KERNEL_H] * code.info[f, ir.KERNEL_W]
    if kind == ir.ADD or kind == ir.CONCAT:
        return n_operands(code, f)
    if kind == ir.GATHER:
        return code.info[f, ir.CHANNELS]
    return np.int64(1)


@kernel
def tap_source(code, f, p, tap):
    """Operand and input position of a tap: (op, position); position -1 in the padding."""
    kind = code.info[f, ir.OP]
    if kind == ir.AFFINE:
        return operand(code, f, 0), tap
    if kind == ir.CONV2D or kind == ir.AVG_POOL or kind == ir.MAX_POOL:
        return operand(code, f, 0), tap_position(code, f, p, tap)
    if kind == ir.ADD or kind == ir.CONCAT:
        return operand(code, f, tap), p
    j = operand(code, f, 0)
    if kind == ir.GATHER:
        source = code.lists[code.info[f, ir.INDEX] + p * code.info[f, ir.CHANNELS] + tap]
        return j, (source // code.info[j, ir.CHANNELS] if source >= 0 else np.int64(-1))
    return j, p


@kernel
def row_range(code, work, j, q):
    """First and past-the-last row of position q of op j."""
    base = code.info[j, ir.POINTER] + q
    return work.bases[ROWS, j] + work.pointers[base], work.bases[ROWS, j] + work.pointers[base + 1]


@kernel
def collect(code, work, f, p):
    """Find the breakpoints in position p's receptive field, in time order: work.sorted_ids; returns how many.

    Also sets work.row_of for them, and work.cursors to each tap's first row.
    """
    taps = n_taps(code, f)
    touched = 0
    lowest, highest = work.counts[N_IDS], np.int64(-1)
    for tap in range(taps):
        j, q = tap_source(code, f, p, tap)
        work.small[CURSOR, tap] = -1
        if q < 0:
            continue
        first, last = row_range(code, work, j, q)
        work.small[CURSOR, tap] = first
        if last > first:
            touched += 1
            lowest = min(lowest, work.labels[RANK, work.ids[first]])
            highest = max(highest, work.labels[RANK, work.ids[last - 1]])
    if touched == 0:
        return 0
    for tap in range(taps):
        j, q = tap_source(code, f, p, tap)
        if q < 0:
            continue
        first, last = row_range(code, work, j, q)
        for row in range(first, last):
            rank = work.labels[RANK, work.ids[row]]
            work.marks[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
    n = 0
    for w in range(lowest >> 6, (highest >> 6) + 1):
        word = work.marks[w]
        work.marks[w] = np.uint64(0)
        while word != np.uint64(0):
            bit = word & (~word + np.uint64(1))
            breakpoint_id = work.labels[ORDER, (w << 6) + popcount(bit - np.uint64(1))]
            work.labels[SORTED_IDS, n] = breakpoint_id
            work.labels[ROW_OF, breakpoint_id] = n
            n += 1
            word ^= bit
    return n


@kernel
def tile_height(channels):
    """Rows of one tile of gathered rows."""
    return max(TILE_ROWS, TILE_DOUBLES // channels)


@kernel
def accumulate(code, work, f, p, first, last):
    """Sum the rows of breakpoints ``first`` .. ``last`` (places in work.sorted_ids) into work.gathered [last - first, C]."""
    channels = code.info[f, ir.CHANNELS]
    height = last - first
    out = work.tiles[GATHERED, : height * channels].reshape(height, channels)
    out[:] = 0.0
    kind = code.info[f, ir.OP]
    for tap in range(n_taps(code, f)):
        start = work.small[CURSOR, tap]
        if start < 0:
            continue
        j, q = tap_source(code, f, p, tap)
        _, end = row_range(code, work, j, q)
        stop = start
        while stop < end and work.labels[ROW_OF, work.ids[stop]] < last:
            stop += 1
        work.small[CURSOR, tap] = stop
        m = stop - start
        if m == 0:
            continue
        c_in = code.info[j, ir.CHANNELS]
        base = work.bases[VALUES, j] + (start - work.bases[ROWS, j]) * c_in
        rows = work.values[base : base + m * c_in].reshape(m, c_in)
        if kind == ir.AFFINE:
            w = weights_of(code, f).reshape(-1, channels)[tap * c_in : (tap + 1) * c_in]
            _add_product(work, rows, w, start, m, first, out)
        elif kind == ir.CONV2D:
            if code.info[f, ir.GROUPS] == 1:
                _add_product(work, rows, conv_weights(code, f)[0, tap], start, m, first, out)
            else:
                _add_grouped(code, work, f, tap, rows, start, first, out)
        else:
            _add_simple(code, work, f, p, tap, rows, start, first, out)
    return out


@kernel
def _add_product(work, rows, w, start, m, first, out):
    """Add rows @ w to the rows of ``out`` that belong to the same breakpoints."""
    c_out = w.shape[1]
    product = work.tiles[PRODUCT, : m * c_out].reshape(m, c_out)
    _product(work, rows, w, product)
    if m == out.shape[0]:  # every breakpoint of the tile, in order
        out += product
        return
    for k in range(m):
        a = work.labels[ROW_OF, work.ids[start + k]] - first
        for c in range(c_out):
            out[a, c] += product[k, c]


@kernel
def _product(work, rows, w, product):
    """product = rows @ w; with many input channels only the active ones, a few rows at a time."""
    m, c_in = rows.shape
    c_out = w.shape[1]
    if c_in < SPARSE_FROM:
        np.dot(rows, w, product)
        return
    for k0 in range(0, m, SPARSE_ROWS):
        k1 = min(m, k0 + SPARSE_ROWS)
        n_active = _active_columns(rows[k0:k1], work.tiles[COLUMNS], work.small[ACTIVE])
        if 4 * n_active > 3 * c_in or n_active * (c_out + k1 - k0) > work.tiles.shape[1]:
            np.dot(rows[k0:k1], w, product[k0:k1])
            continue
        if n_active * (k1 - k0) <= 2 * (k1 - k0):  # a newborn row or two
            for k in range(k0, k1):
                product[k] = 0.0
                for z in range(n_active):
                    x = rows[k, work.small[ACTIVE, z]]
                    if x != 0.0:
                        for c in range(c_out):
                            product[k, c] += x * w[work.small[ACTIVE, z], c]
            continue
        split = n_active * (k1 - k0)
        x = work.tiles[COLUMNS, :split].reshape(k1 - k0, n_active)
        part = work.tiles[COLUMNS, split : split + n_active * c_out].reshape(n_active, c_out)
        for k in range(k0, k1):
            for z in range(n_active):
                x[k - k0, z] = rows[k, work.small[ACTIVE, z]]
        for z in range(n_active):
            for c in range(c_out):
                part[z, c] = w[work.small[ACTIVE, z], c]
        np.dot(x, part, product[k0:k1])


@kernel
def _active_columns(rows, sums, active_out):
    """Columns with a non-zero entry; returns how many."""
    c_in = rows.shape[1]
    for c in range(c_in):
        sums[c] = 0.0
    for k in range(rows.shape[0]):
        for c in range(c_in):
            sums[c] += abs(rows[k, c])
    n = 0
    for c in range(c_in):
        if sums[c] > 0.0:
            active_out[n] = c
            n += 1
    return n


@kernel
def _add_grouped(code, work, f, tap, rows, start, first, out):
    """A grouped convolution's tap, group by group."""
    w = conv_weights(code, f)
    groups, _, c_in, c_out = w.shape
    for k in range(rows.shape[0]):
        a = work.labels[ROW_OF, work.ids[start + k]] - first
        for group in range(groups):
            for ci in range(c_in):
                x = rows[k, group * c_in + ci]
                if x != 0.0:
                    for co in range(c_out):
                        out[a, group * c_out + co] += x * w[group, tap, ci, co]


@kernel
def _add_simple(code, work, f, p, tap, rows, start, first, out):
    """Taps without a matrix: pools, scalings, sums, concatenations, copies."""
    kind = code.info[f, ir.OP]
    m, c_in = rows.shape
    channels = out.shape[1]
    w = weights_of(code, f)
    offset = 0
    if kind == ir.CONCAT:
        for k in range(tap):
            offset += code.info[operand(code, f, k), ir.CHANNELS]
    for k in range(m):
        a = work.labels[ROW_OF, work.ids[start + k]] - first
        if kind == ir.AVG_POOL:
            divisor = pool_divisor(code, f, p)
            for c in range(c_in):
                out[a, c] += rows[k, c] / divisor
        elif kind == ir.SCALE:
            base = p * channels
            for c in range(c_in):
                out[a, c] += rows[k, c] * w[(base + c) % w.shape[0]]
        elif kind == ir.ADD:
            for c in range(c_in):
                out[a, c] += rows[k, c] * code.numbers[code.info[f, ir.COEFFICIENTS] + tap]
        elif kind == ir.CONCAT:
            for c in range(c_in):
                out[a, offset + c] += rows[k, c]
        elif kind == ir.GATHER:  # tap = output channel
            source = code.lists[code.info[f, ir.INDEX] + p * channels + tap]
            out[a, tap] += rows[k, source % c_in]
        else:
            for c in range(c_in):
                out[a, c] += rows[k, c]
