"""Adjoints of affine ops on rows of coefficients that are not zero in a rectangle of positions only.

The rows of a block belong to neighbouring positions of a convolution, so that their coefficients on the ops before it are zero
outside a small window.

Legend: R rows, P positions, C channels.
"""

import numpy as np

from .._jit import allocating_kernel, inlined_kernel, kernel
from ..arrays import add_scaled, fill, fill_rows
from ..ir import program as ir
from ..ir.affine import conv_weights, n_operands, operand, pool_divisor, rows_of, tap_position

TOP, BOTTOM, LEFT, RIGHT = 0, 1, 2, 3
DENSE = 0.95


@kernel
def extend(slot, i, rows, top, bottom, left, right):
    """Extend the rectangle of op i, with coefficients zero in what is new."""
    code, old = slot.code, slot.rectangle[i]
    channels, width = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH]
    g = rows_of(code, i, rows, slot.coefficients)
    empty = old[BOTTOM] <= old[TOP]
    y0, y1 = (top, bottom) if empty else (min(top, old[TOP]), max(bottom, old[BOTTOM]))
    x0, x1 = (left, right) if empty else (min(left, old[LEFT]), max(right, old[RIGHT]))
    for y in range(y0, y1):
        inside = not empty and old[TOP] <= y < old[BOTTOM]
        for r in range(rows):
            if not inside:
                fill(g[r, (y * width + x0) * channels : (y * width + x1) * channels], 0.0)
            else:
                fill(g[r, (y * width + x0) * channels : (y * width + old[LEFT]) * channels], 0.0)
                fill(g[r, (y * width + old[RIGHT]) * channels : (y * width + x1) * channels], 0.0)
    old[TOP], old[BOTTOM], old[LEFT], old[RIGHT] = y0, y1, x0, x1


@kernel
def extend_to_all(slot, i, rows):
    """Extend the rectangle of op i to all positions; return whether it had none before."""
    new = slot.rectangle[i, BOTTOM] <= slot.rectangle[i, TOP]
    extend(slot, i, rows, 0, slot.code.op_table[i, ir.HEIGHT], 0, slot.code.op_table[i, ir.WIDTH])
    return new


@kernel
def extend_like(slot, i, j, rows):
    """Extend the rectangle of op j by that of op i, which has the same positions."""
    area = slot.rectangle[i]
    extend(slot, j, rows, area[TOP], area[BOTTOM], area[LEFT], area[RIGHT])


@kernel
def extend_to_window(slot, i, rows):
    """Extend the rectangle of op i's operand by the windows of op i's rectangle."""
    a, j, area = slot.code.op_table[i], operand(slot.code, i, 0), slot.rectangle[i]
    height, width = slot.code.op_table[j, ir.HEIGHT], slot.code.op_table[j, ir.WIDTH]
    top = area[TOP] * a[ir.STRIDE_H] - a[ir.PAD_TOP]
    bottom = (area[BOTTOM] - 1) * a[ir.STRIDE_H] - a[ir.PAD_TOP] + (a[ir.KERNEL_H] - 1) * a[ir.DILATION_H] + 1
    left = area[LEFT] * a[ir.STRIDE_W] - a[ir.PAD_LEFT]
    right = (area[RIGHT] - 1) * a[ir.STRIDE_W] - a[ir.PAD_LEFT] + (a[ir.KERNEL_W] - 1) * a[ir.DILATION_W] + 1
    top, left = min(max(top, 0), height - 1), min(max(left, 0), width - 1)
    bottom, right = max(min(bottom, height), top + 1), max(min(right, width), left + 1)
    extend(slot, j, rows, top, bottom, left, right)


@allocating_kernel
def _full(slot, i, rows, new):
    """Add W^T g for a fully connected op: columns of g that are zero in all rows are left out."""
    j = operand(slot.code, i, 0)
    gy, gx = rows_of(slot.code, i, rows, slot.coefficients), rows_of(slot.code, j, rows, slot.coefficients)
    n_out, n_in = gy.shape[1], gx.shape[1]
    first = slot.transposed_offsets[i]
    w = slot.transposed[first : first + n_out * n_in].reshape(n_out, n_in)
    used, n_used, single = np.zeros(n_out, np.bool_), 0, True
    for r in range(rows):
        n_here = 0
        for k in range(n_out):
            if gy[r, k] != 0.0:
                used[k] = True
                n_here += 1
        single = single and n_here <= 1
    if single:  # the first rows of a block: one entry each
        _add_rows(gy, w, new, gx)
        return
    for k in range(n_out):
        n_used += used[k]
    if n_used >= DENSE * n_out:
        if new:
            np.dot(gy, w, gx)
        else:
            add_scaled(1.0, np.dot(gy, w), gx)
        return
    packed, part = np.empty((rows, n_used)), np.empty((n_used, n_in))
    n = 0
    for k in range(n_out):
        if used[k]:
            for r in range(rows):
                packed[r, n] = gy[r, k]
            for m in range(n_in):
                part[n, m] = w[k, m]
            n += 1
    if new:
        np.dot(packed, part, gx)
    else:
        add_scaled(1.0, np.dot(packed, part), gx)


@kernel
def _add_rows(gy, w, new, gx):
    """Add ``gy @ w`` to gx, or replace gx by it (``new``), where each row of gy has at most one entry that is not zero."""
    for r in range(gy.shape[0]):
        if new:
            fill(gx[r], 0.0)
        for k in range(gy.shape[1]):
            f = gy[r, k]
            if f != 0.0:
                for m in range(gx.shape[1]):
                    gx[r, m] += f * w[k, m]


@allocating_kernel
def _convolution(slot, i, rows):
    """Add W^T g for a convolution."""
    code, j, area = slot.code, operand(slot.code, i, 0), slot.rectangle[i]
    gy, gx = rows_of(code, i, rows, slot.coefficients), rows_of(code, j, rows, slot.coefficients)
    w = conv_weights(code, i)
    groups, taps, c_in, c_out = w.shape
    c_all, width = groups * c_in, code.op_table[i, ir.WIDTH]
    part, columns = np.empty((rows, c_out)), np.empty((rows, taps * c_in))
    matrix = np.empty((c_out, taps * c_in))
    for group in range(groups):
        for k in range(taps * c_in):
            for c in range(c_out):
                matrix[c, k] = w[group, k // c_in, k % c_in, c]
        for y in range(area[TOP], area[BOTTOM]):
            for p in range(y * width + area[LEFT], y * width + area[RIGHT]):
                zero = True
                for r in range(rows):
                    for c in range(c_out):
                        part[r, c] = gy[r, (p * groups + group) * c_out + c]
                        zero = zero and part[r, c] == 0.0
                if zero:
                    continue
                np.dot(part, matrix, columns)
                for tap in range(taps):
                    q = tap_position(code, i, p, tap)
                    if q >= 0:
                        _add_block(columns, tap * c_in, q * c_all + group * c_in, c_in, gx)


@inlined_kernel
def _add_block(columns, first, at, n, gx):
    """Add n columns from ``first`` on to those of gx from ``at`` on."""
    for r in range(gx.shape[0]):
        for c in range(n):
            gx[r, at + c] += columns[r, first + c]


@kernel
def _pool(slot, i, rows):
    """Add the adjoint of average pooling."""
    code, j, area = slot.code, operand(slot.code, i, 0), slot.rectangle[i]
    gy, gx = rows_of(code, i, rows, slot.coefficients), rows_of(code, j, rows, slot.coefficients)
    channels, width = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH]
    for y in range(area[TOP], area[BOTTOM]):
        for p in range(y * width + area[LEFT], y * width + area[RIGHT]):
            divisor = pool_divisor(code, i, p)
            for tap in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
                q = tap_position(code, i, p, tap)
                if q >= 0:
                    for r in range(rows):
                        for c in range(channels):
                            gx[r, q * channels + c] += gy[r, p * channels + c] / divisor


@kernel
def _elements(slot, i, k, j, rows, scales, factor):
    """Add a multiple of g to the coefficients of op j, or its products with op i's weights (``scales``).

    The channels of j begin at channel k of op i's.
    """
    code, area = slot.code, slot.rectangle[i]
    gy, gx = rows_of(code, i, rows, slot.coefficients), rows_of(code, j, rows, slot.coefficients)
    channels, width, c_in = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH], code.op_table[j, ir.CHANNELS]
    first, n_weights = code.op_table[i, ir.WEIGHT], code.op_table[i, ir.N_WEIGHTS]
    for y in range(area[TOP], area[BOTTOM]):
        for p in range(y * width + area[LEFT], y * width + area[RIGHT]):
            for r in range(rows):
                for c in range(c_in):
                    f = code.parameters[first + (p * channels + c) % n_weights] if scales else factor
                    gx[r, p * c_in + c] += f * gy[r, p * channels + k + c]


@kernel
def _copies(slot, i, rows):
    """Add the coefficients of copied entries."""
    code, j, area = slot.code, operand(slot.code, i, 0), slot.rectangle[i]
    gy, gx = rows_of(code, i, rows, slot.coefficients), rows_of(code, j, rows, slot.coefficients)
    channels, width, base = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH], code.op_table[i, ir.INDEX]
    for r in range(rows):
        for y in range(area[TOP], area[BOTTOM]):
            for k in range((y * width + area[LEFT]) * channels, (y * width + area[RIGHT]) * channels):
                source = code.indices[base + k]
                if source >= 0:
                    gx[r, source] += gy[r, k]


@allocating_kernel
def add_affine_adjoint(slot, i, rows):
    """Add W^T g of affine op i to the coefficients of its operands; return whether the op is known."""
    code, kind, j = slot.code, slot.code.op_table[i, ir.OP], operand(slot.code, i, 0)
    if kind == ir.AFFINE:
        new = extend_to_all(slot, j, rows)
        _full(slot, i, rows, new)
    elif kind == ir.CONV2D or kind == ir.AVG_POOL:
        extend_to_window(slot, i, rows)
        if kind == ir.CONV2D:
            _convolution(slot, i, rows)
        else:
            _pool(slot, i, rows)
    elif kind == ir.GATHER:
        extend_to_all(slot, j, rows)
        _copies(slot, i, rows)
    elif kind == ir.SCALE or kind == ir.ADD or kind == ir.CONCAT:
        channel = 0
        for k in range(n_operands(code, i)):
            j = operand(code, i, k)
            extend_like(slot, i, j, rows)
            factor = code.parameters[code.op_table[i, ir.COEFFICIENTS] + k] if kind == ir.ADD else 1.0
            _elements(slot, i, channel, j, rows, kind == ir.SCALE, factor)
            channel += code.op_table[j, ir.CHANNELS] if kind == ir.CONCAT else 0
    else:
        fill_rows(rows_of(code, j, rows, slot.coefficients), np.nan)
        return False
    return True
