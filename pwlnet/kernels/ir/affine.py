"""Affine ops on rows of values: linear part, constant part, adjoint, and squared weights for rounding bounds.

A buffer holds the values of all ops for T rows: op ``i`` occupies ``buffer[T * value_offsets[i] : T * value_offsets[i + 1]]``
as a matrix [T, n_i], each row position-major (``p * C + c``). Convolutions compute one matrix product per row, so a row's bits
do not depend on the other rows; fully connected ops compute one product of all T rows, so callers keep T fixed.

Legend: T rows, P positions, C channels, N ops.
"""

import numpy as np

from .._jit import allocating_kernel, inline_view, inlined_kernel, kernel, matrix_view
from ..arrays import add_scaled, fill, fill_rows, square_into
from . import program as ir

PLAIN, SQUARED = np.bool_(False), np.bool_(True)
ROWS_ALIKE = 8
WIDE = 128


@inlined_kernel
def n_ops(code):
    """Return the number of ops."""
    return code.op_table.shape[0] - 1


@inline_view
def rows_of(code, i, rows, buffer):
    """View the values of op i: float64[T, n_i]."""
    lo, hi = code.op_table[i, ir.VALUE], code.op_table[i + 1, ir.VALUE]
    return matrix_view(buffer, rows * lo, rows, hi - lo)


@inlined_kernel
def operand(code, i, k):
    """Return the index of op i's k-th operand."""
    return code.indices[code.op_table[i, ir.OPERANDS] + k]


@inlined_kernel
def n_operands(code, i):
    """Return the number of op i's operands."""
    return code.op_table[i, ir.N_OPERANDS]


@inline_view
def weights_of(code, i):
    """View op i's weights: float64[*]."""
    return code.parameters[code.op_table[i, ir.WEIGHT] : code.op_table[i, ir.WEIGHT] + code.op_table[i, ir.N_WEIGHTS]]


@inline_view
def row_weights_of(code, i):
    """View op i's weights in the precision of the slope changes: float64[*] or float32[*]."""
    return code.row_weights[code.op_table[i, ir.WEIGHT] : code.op_table[i, ir.WEIGHT] + code.op_table[i, ir.N_WEIGHTS]]


@inline_view
def conv_weights(code, i):
    """View the weights of a convolution: float64[groups, taps, C_in / groups, C_out / groups]."""
    groups = code.op_table[i, ir.GROUPS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    c_in = code.op_table[operand(code, i, 0), ir.CHANNELS] // groups
    c_out = code.op_table[i, ir.CHANNELS] // groups
    return weights_of(code, i).reshape(groups, taps, c_in, c_out)


@inline_view
def conv_row_weights(code, i):
    """View the weights of a convolution in the precision of the slope changes, in the shape of ``conv_weights``."""
    groups = code.op_table[i, ir.GROUPS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    c_in = code.op_table[operand(code, i, 0), ir.CHANNELS] // groups
    c_out = code.op_table[i, ir.CHANNELS] // groups
    return row_weights_of(code, i).reshape(groups, taps, c_in, c_out)


@inlined_kernel
def tap_position(code, i, p, tap):
    """Return the input position that tap ``tap`` of output position ``p`` reads, -1 in the padding."""
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    return code.indices[code.op_table[i, ir.TAPS] + p * taps + tap]


@kernel
def pool_divisor(code, i, p):
    """Return the divisor of an average-pooling window at output position ``p``."""
    a = code.op_table[i]
    if a[ir.DIVISOR] > 0:
        return float(a[ir.DIVISOR])
    j = code.indices[code.op_table[i, ir.OPERANDS]]
    height, width = code.op_table[j, ir.HEIGHT], code.op_table[j, ir.WIDTH]
    y0 = (p // code.op_table[i, ir.WIDTH]) * a[ir.STRIDE_H] - a[ir.PAD_TOP]
    x0 = (p % code.op_table[i, ir.WIDTH]) * a[ir.STRIDE_W] - a[ir.PAD_LEFT]
    y1, x1 = y0 + a[ir.KERNEL_H], x0 + a[ir.KERNEL_W]
    if a[ir.COUNT_PAD] == 1:  # PyTorch clips windows to the padded input, which matters in ceil mode only
        rows = min(y1, height + a[ir.PAD_BOTTOM]) - y0
        columns = min(x1, width + a[ir.PAD_RIGHT]) - x0
    else:
        rows = min(y1, height) - max(y0, 0)
        columns = min(x1, width) - max(x0, 0)
    return float(rows * columns)


@kernel
def _gather_columns(code, i, group, x, columns_out):
    """Gather the window entries of one row (im2col). Out: columns_out float64[P, taps * C_in / groups]."""
    c_all = code.op_table[operand(code, i, 0), ir.CHANNELS]
    c = c_all // code.op_table[i, ir.GROUPS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    for p in range(columns_out.shape[0]):
        for tap in range(taps):
            q = tap_position(code, i, p, tap)
            if q < 0:
                fill(columns_out[p, tap * c : (tap + 1) * c], 0.0)
            else:
                base = q * c_all + group * c
                for k in range(c):
                    columns_out[p, tap * c + k] = x[base + k]


@allocating_kernel
def _conv_rows(code, i, x, y, squared):
    """Compute y = W x (or W**2 x) for a convolution, row by row."""
    w = conv_weights(code, i)
    groups, taps, c_in, c_out = w.shape
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    columns = np.empty((positions, taps * c_in))
    out, squares = np.empty((positions, c_out)), np.empty((taps * c_in if squared else 0, c_out))
    for group in range(groups):
        matrix = w[group].reshape(taps * c_in, c_out)
        if squared:
            square_into(matrix, squares)
        for r in range(x.shape[0]):
            _gather_columns(code, i, group, x[r], columns)
            np.dot(columns, squares if squared else matrix, out)
            for p in range(positions):
                base = p * groups * c_out + group * c_out
                for k in range(c_out):
                    y[r, base + k] = out[p, k]


@kernel
def _pool_rows(code, i, x, y, squared):
    """Compute y = average of windows (with squared coefficients where ``squared``)."""
    channels = code.op_table[i, ir.CHANNELS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    fill_rows(y, 0.0)
    for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
        divisor = pool_divisor(code, i, p)
        divisor = divisor * divisor if squared else divisor
        for tap in range(taps):
            q = tap_position(code, i, p, tap)
            if q >= 0:
                for r in range(x.shape[0]):
                    for c in range(channels):
                        y[r, p * channels + c] += x[r, q * channels + c]
        for r in range(x.shape[0]):
            for c in range(channels):
                y[r, p * channels + c] /= divisor


@kernel
def _concat_rows(code, i, rows, filled, buffer, y):
    """Concatenate the channels of all operands."""
    channels = code.op_table[i, ir.CHANNELS]
    start = 0
    for k in range(n_operands(code, i)):
        j = operand(code, i, k)
        x = rows_of(code, j, rows, buffer)
        c_in = code.op_table[j, ir.CHANNELS]
        for r in range(filled):
            for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
                for c in range(c_in):
                    y[r, p * channels + start + c] = x[r, p * c_in + c]
        start += c_in


@kernel
def _gather_rows(code, i, x, y):
    """Copy entries; constants (index -1) are 0 in the linear part."""
    base = code.op_table[i, ir.INDEX]
    for k in range(y.shape[1]):
        source = code.indices[base + k]
        for r in range(y.shape[0]):
            y[r, k] = x[r, source] if source >= 0 else 0.0


@kernel
def apply_linear(code, i, rows, filled, buffer, squared):
    """Apply the linear part of affine op i to the first ``filled`` rows; with squared coefficients for variances (``squared``).

    Fully connected products use all rows, so that their height is fixed. Return whether the op is known; NaN otherwise.
    """
    all_x = rows_of(code, operand(code, i, 0), rows, buffer)
    all_y = rows_of(code, i, rows, buffer)
    x, y = all_x[:filled], all_y[:filled]
    kind = code.op_table[i, ir.OP]
    if kind == ir.AFFINE:
        w = weights_of(code, i).reshape(x.shape[1], y.shape[1])
        if squared:
            _squared_product(x, w, y)
        else:
            rows_alike_product(all_x, w, all_y)
    elif kind == ir.CONV2D:
        _conv_rows(code, i, x, y, squared)
    else:
        return apply_weightless(code, i, rows, filled, buffer, squared)
    return True


@kernel
def apply_weightless(code, i, rows, filled, buffer, squared):
    """Apply the linear part of an affine op without matrix products, as ``apply_linear`` does."""
    y = rows_of(code, i, rows, buffer)
    x, y = rows_of(code, operand(code, i, 0), rows, buffer)[:filled], y[:filled]
    kind = code.op_table[i, ir.OP]
    if kind == ir.AVG_POOL:
        _pool_rows(code, i, x, y, squared)
    elif kind == ir.SCALE:
        w = weights_of(code, i)
        for r in range(filled):
            for k in range(0, y.shape[1], w.shape[0]):
                for c in range(w.shape[0]):
                    y[r, k + c] = x[r, k + c] * (w[c] * w[c] if squared else w[c])
    elif kind == ir.ADD:
        x2 = rows_of(code, operand(code, i, 1), rows, buffer)
        f1, f2 = code.parameters[code.op_table[i, ir.COEFFICIENTS] + 0], code.parameters[code.op_table[i, ir.COEFFICIENTS] + 1]
        if squared:
            f1, f2 = f1 * f1, f2 * f2
        for r in range(filled):
            for k in range(y.shape[1]):
                y[r, k] = f1 * x[r, k] + f2 * x2[r, k]
    elif kind == ir.CONCAT:
        _concat_rows(code, i, rows, filled, buffer, y)
    elif kind == ir.GATHER:
        _gather_rows(code, i, x, y)
    else:
        fill_rows(y, np.nan)
        return False
    return True


@allocating_kernel
def rows_alike_product(x, w, y):
    """Compute y = x @ w, such that a row's bits do not depend on its place in a tile.

    OpenBLAS (SkylakeX kernels) cuts a product of more than 192 columns, not a multiple of 8, differently for the first 24
    rows of a tile and for the last 8. Products of eight rows treat all rows alike.
    """
    rows, columns = y.shape
    height = ROWS_ALIKE if columns > WIDE and columns % ROWS_ALIKE != 0 and rows % ROWS_ALIKE == 0 else rows
    for first in range(0, rows, height):
        np.dot(x[first : first + height], w, y[first : first + height])


@kernel
def _squared_product(x, w, y):
    """Compute y = x @ w**2 without a copy of the squares."""
    fill_rows(y, 0.0)
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            f = x[r, k]
            if f != 0.0:
                for o in range(y.shape[1]):
                    y[r, o] += f * w[k, o] * w[k, o]


@kernel
def add_constant(code, i, first_rows, rows, buffer):
    """Add op i's constant part to its first ``first_rows`` rows; return whether the op is known, NaN otherwise."""
    b = code.parameters[code.op_table[i, ir.BIAS] : code.op_table[i, ir.BIAS] + code.op_table[i, ir.N_BIASES]]
    if b.shape[0] == 0:
        return True
    y, kind = rows_of(code, i, rows, buffer), code.op_table[i, ir.OP]
    if kind == ir.GATHER:
        base = code.op_table[i, ir.INDEX]
        for r in range(first_rows):
            for k in range(y.shape[1]):
                if code.indices[base + k] < 0:
                    y[r, k] = b[k]
        return True
    if kind != ir.AFFINE and kind != ir.CONV2D and kind != ir.SCALE:
        fill_rows(y, np.nan)
        return False
    for r in range(first_rows):
        for k in range(0, y.shape[1], b.shape[0]):
            for c in range(b.shape[0]):
                y[r, k + c] += b[c]
    return True


@inlined_kernel
def add_window(code, i, group, p, columns, x):
    """Add the gradient float64[taps * C_in / groups] of the window of position p to the values x that it reads."""
    c_all, groups = code.op_table[operand(code, i, 0), ir.CHANNELS], code.op_table[i, ir.GROUPS]
    c, width = c_all // groups, code.op_table[i, ir.KERNEL_W]
    contiguous = groups == 1 and code.op_table[i, ir.DILATION_W] == 1  # the entries of a row of the window are adjacent
    for first in range(0, code.op_table[i, ir.KERNEL_H] * width, width):
        a = first
        while a < first + width:
            q, b = tap_position(code, i, p, a), a + 1
            if q >= 0:
                while contiguous and b < first + width and tap_position(code, i, p, b) >= 0:
                    b += 1
                base = q * c_all + group * c
                for k in range((b - a) * c):
                    x[base + k] += columns[a * c + k]
            a = b


@allocating_kernel
def _conv_adjoint(code, i, gy, gx):
    """Add W^T gy to gx for a convolution."""
    w = conv_weights(code, i)
    groups, taps, c_in, c_out = w.shape
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    part = np.empty((positions, c_out))
    columns, matrix = np.empty((positions, taps * c_in)), np.empty((c_out, taps * c_in))
    for group in range(groups):
        for k in range(taps * c_in):
            for c in range(c_out):
                matrix[c, k] = w[group, k // c_in, k % c_in, c]
        for r in range(gy.shape[0]):
            for p in range(positions):
                base = p * groups * c_out + group * c_out
                for k in range(c_out):
                    part[p, k] = gy[r, base + k]
            np.dot(part, matrix, columns)
            for p in range(positions):
                add_window(code, i, group, p, columns[p], gx[r])


@kernel
def _pool_adjoint(code, i, gy, gx):
    """Add the adjoint of average pooling, applied to gy, to gx."""
    channels = code.op_table[i, ir.CHANNELS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
        divisor = pool_divisor(code, i, p)
        for tap in range(taps):
            q = tap_position(code, i, p, tap)
            if q >= 0:
                for r in range(gy.shape[0]):
                    for c in range(channels):
                        gx[r, q * channels + c] += gy[r, p * channels + c] / divisor


@allocating_kernel
def add_adjoint(code, i, rows, buffer):
    """Add the adjoint of affine op i applied to its rows to the rows of its operands."""
    gy = rows_of(code, i, rows, buffer)
    gx = rows_of(code, operand(code, i, 0), rows, buffer)
    kind = code.op_table[i, ir.OP]
    if kind == ir.AFFINE:
        add_scaled(1.0, np.dot(gy, weights_of(code, i).reshape(gx.shape[1], gy.shape[1]).T), gx)
    elif kind == ir.CONV2D:
        _conv_adjoint(code, i, gy, gx)
    elif kind == ir.AVG_POOL:
        _pool_adjoint(code, i, gy, gx)
    elif kind == ir.SCALE:
        w = weights_of(code, i)
        for r in range(rows):
            for k in range(0, gy.shape[1], w.shape[0]):
                for c in range(w.shape[0]):
                    gx[r, k + c] += w[c] * gy[r, k + c]
    elif kind == ir.ADD:
        add_scaled(code.parameters[code.op_table[i, ir.COEFFICIENTS] + 0], gy, gx)
        add_scaled(code.parameters[code.op_table[i, ir.COEFFICIENTS] + 1], gy, rows_of(code, operand(code, i, 1), rows, buffer))
    elif kind == ir.CONCAT:
        _concat_adjoint(code, i, rows, buffer, gy)
    elif kind == ir.GATHER:
        base = code.op_table[i, ir.INDEX]
        for k in range(gy.shape[1]):
            source = code.indices[base + k]
            if source >= 0:
                for r in range(rows):
                    gx[r, source] += gy[r, k]
    else:
        fill_rows(gx, np.nan)


@kernel
def _concat_adjoint(code, i, rows, buffer, gy):
    """Add each operand's channels of the gradient to the operand's gradient."""
    channels = code.op_table[i, ir.CHANNELS]
    start = 0
    for k in range(n_operands(code, i)):
        j = operand(code, i, k)
        gx = rows_of(code, j, rows, buffer)
        c_in = code.op_table[j, ir.CHANNELS]
        for r in range(rows):
            for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
                for c in range(c_in):
                    gx[r, p * c_in + c] += gy[r, p * channels + start + c]
        start += c_in
