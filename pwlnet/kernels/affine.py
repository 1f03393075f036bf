"""Affine ops on rows of values: linear part, constant part, adjoint, and squared weights for rounding bounds.

A buffer holds the values of all ops for T rows: op ``i`` occupies ``buffer[T * value_offsets[i] : T * value_offsets[i + 1]]``
as a matrix [T, n_i], each row position-major (``p * C + c``). Convolutions make one matrix product per row, so a row's bits
don't depend on the other rows; fully connected ops make one product of all T rows, so callers keep T fixed.

Legend: T rows, P positions, C channels, N ops.
"""

import numpy as np

from . import program as ir
from ._jit import kernel


@kernel
def rows_of(program, i, rows, buffer):
    """View of op i's values: float64[T, n_i]."""
    lo, hi = rows * program.value_offsets[i], rows * program.value_offsets[i + 1]
    return buffer[lo:hi].reshape(rows, program.value_offsets[i + 1] - program.value_offsets[i])


@kernel
def operand(program, i, k):
    """Index of op i's k-th operand."""
    return program.operands[program.operand_offsets[i] + k]


@kernel
def n_operands(program, i):
    """Number of op i's operands."""
    return program.operand_offsets[i + 1] - program.operand_offsets[i]


@kernel
def weights_of(program, i):
    """Op i's weights: float64[*]."""
    return program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]


@kernel
def conv_weights(program, i):
    """Weights of a convolution: float64[groups, taps, C_in / groups, C_out / groups]."""
    groups = program.attributes[i, ir.GROUPS]
    taps = program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W]
    c_in = program.shapes[operand(program, i, 0), 0] // groups
    c_out = program.shapes[i, 0] // groups
    return weights_of(program, i).reshape(groups, taps, c_in, c_out)


@kernel
def tap_position(program, i, p, tap):
    """Input position that tap ``tap`` of output position ``p`` reads, -1 in the padding."""
    a = program.attributes[i]
    j = program.operands[program.operand_offsets[i]]
    height, width = program.shapes[j, 1], program.shapes[j, 2]
    kernel_w, out_w = a[ir.KERNEL_W], program.shapes[i, 2]
    y = (p // out_w) * a[ir.STRIDE_H] - a[ir.PAD_TOP] + (tap // kernel_w) * a[ir.DILATION_H]
    x = (p % out_w) * a[ir.STRIDE_W] - a[ir.PAD_LEFT] + (tap % kernel_w) * a[ir.DILATION_W]
    if y < 0 or y >= height or x < 0 or x >= width:
        return -1
    return y * width + x


@kernel
def pool_divisor(program, i, p):
    """Divisor of an average-pooling window at output position ``p``."""
    a = program.attributes[i]
    if a[ir.DIVISOR] > 0:
        return float(a[ir.DIVISOR])
    j = program.operands[program.operand_offsets[i]]
    height, width = program.shapes[j, 1], program.shapes[j, 2]
    y0 = (p // program.shapes[i, 2]) * a[ir.STRIDE_H] - a[ir.PAD_TOP]
    x0 = (p % program.shapes[i, 2]) * a[ir.STRIDE_W] - a[ir.PAD_LEFT]
    y1, x1 = y0 + a[ir.KERNEL_H], x0 + a[ir.KERNEL_W]
    if a[ir.COUNT_PAD] == 1:  # PyTorch clips windows to the padded input, which matters in ceil mode only
        rows = min(y1, height + a[ir.PAD_BOTTOM]) - y0
        columns = min(x1, width + a[ir.PAD_RIGHT]) - x0
    else:
        rows = min(y1, height) - max(y0, 0)
        columns = min(x1, width) - max(x0, 0)
    return float(rows * columns)


@kernel
def _gather_columns(program, i, group, x, columns_out):
    """Window entries of one row, one output position per row of ``columns_out`` [P, taps * C_in / groups]."""
    c_all = program.shapes[operand(program, i, 0), 0]
    c = c_all // program.attributes[i, ir.GROUPS]
    taps = program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W]
    for p in range(columns_out.shape[0]):
        for tap in range(taps):
            q = tap_position(program, i, p, tap)
            if q < 0:
                columns_out[p, tap * c : (tap + 1) * c] = 0.0
            else:
                base = q * c_all + group * c
                for k in range(c):
                    columns_out[p, tap * c + k] = x[base + k]


@kernel
def _conv_rows(program, i, x, y, squared):
    """y = W x (or W**2 x) for a convolution, row by row."""
    w = conv_weights(program, i)
    groups, taps, c_in, c_out = w.shape
    positions = program.shapes[i, 1] * program.shapes[i, 2]
    columns = np.empty((positions, taps * c_in))
    out = np.empty((positions, c_out))
    for group in range(groups):
        matrix = w[group].reshape(taps * c_in, c_out)
        if squared:
            matrix = matrix * matrix
        for r in range(x.shape[0]):
            _gather_columns(program, i, group, x[r], columns)
            np.dot(columns, matrix, out)
            for p in range(positions):
                base = p * groups * c_out + group * c_out
                for k in range(c_out):
                    y[r, base + k] = out[p, k]


@kernel
def _pool_rows(program, i, x, y, squared):
    """y = average of windows (with squared coefficients where ``squared``)."""
    channels = program.shapes[i, 0]
    taps = program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W]
    y[:] = 0.0
    for p in range(program.shapes[i, 1] * program.shapes[i, 2]):
        divisor = pool_divisor(program, i, p)
        divisor = divisor * divisor if squared else divisor
        for tap in range(taps):
            q = tap_position(program, i, p, tap)
            if q >= 0:
                for r in range(x.shape[0]):
                    for c in range(channels):
                        y[r, p * channels + c] += x[r, q * channels + c]
        for r in range(x.shape[0]):
            for c in range(channels):
                y[r, p * channels + c] /= divisor


@kernel
def _concat_rows(program, i, rows, buffer, y):
    """Channels of all operands side by side."""
    channels = program.shapes[i, 0]
    start = 0
    for k in range(n_operands(program, i)):
        j = operand(program, i, k)
        x = rows_of(program, j, rows, buffer)
        c_in = program.shapes[j, 0]
        for r in range(rows):
            for p in range(program.shapes[i, 1] * program.shapes[i, 2]):
                for c in range(c_in):
                    y[r, p * channels + start + c] = x[r, p * c_in + c]
        start += c_in


@kernel
def _gather_rows(program, i, x, y):
    """Copies of entries; constants (index -1) are 0 in the linear part."""
    base = program.index_offsets[i]
    for k in range(y.shape[1]):
        source = program.indices[base + k]
        for r in range(y.shape[0]):
            y[r, k] = x[r, source] if source >= 0 else 0.0


@kernel
def apply_linear(program, i, rows, buffer, squared):
    """Linear part of affine op i on all rows; with squared coefficients where ``squared`` (variances)."""
    x = rows_of(program, operand(program, i, 0), rows, buffer)
    y = rows_of(program, i, rows, buffer)
    code = program.op[i]
    if code == ir.AFFINE:
        w = weights_of(program, i).reshape(x.shape[1], y.shape[1])
        if squared:
            _squared_product(x, w, y)
        else:
            np.dot(x, w, y)
    elif code == ir.CONV2D:
        _conv_rows(program, i, x, y, squared)
    elif code == ir.AVG_POOL:
        _pool_rows(program, i, x, y, squared)
    elif code == ir.SCALE:
        w = weights_of(program, i)
        for r in range(rows):
            for k in range(y.shape[1]):
                f = w[k % w.shape[0]]
                y[r, k] = x[r, k] * (f * f if squared else f)
    elif code == ir.ADD:
        x2 = rows_of(program, operand(program, i, 1), rows, buffer)
        f1, f2 = program.coefficients[i, 0], program.coefficients[i, 1]
        if squared:
            f1, f2 = f1 * f1, f2 * f2
        for r in range(rows):
            for k in range(y.shape[1]):
                y[r, k] = f1 * x[r, k] + f2 * x2[r, k]
    elif code == ir.CONCAT:
        _concat_rows(program, i, rows, buffer, y)
    elif code == ir.GATHER:
        _gather_rows(program, i, x, y)


@kernel
def _squared_product(x, w, y):
    """y = x @ w**2 without a copy of the squares."""
    y[:] = 0.0
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            f = x[r, k]
            if f != 0.0:
                for o in range(y.shape[1]):
                    y[r, o] += f * w[k, o] * w[k, o]


@kernel
def add_constant(program, i, first_rows, rows, buffer):
    """Add op i's constant part to its first ``first_rows`` rows."""
    b = program.biases[program.bias_offsets[i] : program.bias_offsets[i + 1]]
    if b.shape[0] == 0:
        return
    y = rows_of(program, i, rows, buffer)
    if program.op[i] == ir.GATHER:
        base = program.index_offsets[i]
        for r in range(first_rows):
            for k in range(y.shape[1]):
                if program.indices[base + k] < 0:
                    y[r, k] = b[k]
        return
    for r in range(first_rows):
        for k in range(0, y.shape[1], b.shape[0]):
            for c in range(b.shape[0]):
                y[r, k + c] += b[c]


@kernel
def _conv_adjoint(program, i, gy, gx):
    """gx += W^T gy for a convolution."""
    w = conv_weights(program, i)
    groups, taps, c_in, c_out = w.shape
    positions = program.shapes[i, 1] * program.shapes[i, 2]
    part = np.empty((positions, c_out))
    columns = np.empty((positions, taps * c_in))
    for group in range(groups):
        matrix = np.ascontiguousarray(w[group].reshape(taps * c_in, c_out).T)
        for r in range(gy.shape[0]):
            for p in range(positions):
                base = p * groups * c_out + group * c_out
                for k in range(c_out):
                    part[p, k] = gy[r, base + k]
            np.dot(part, matrix, columns)
            for p in range(positions):
                for tap in range(taps):
                    q = tap_position(program, i, p, tap)
                    if q >= 0:
                        base = q * groups * c_in + group * c_in
                        for k in range(c_in):
                            gx[r, base + k] += columns[p, tap * c_in + k]


@kernel
def _pool_adjoint(program, i, gy, gx):
    """gx += (average of windows)^T gy."""
    channels = program.shapes[i, 0]
    taps = program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W]
    for p in range(program.shapes[i, 1] * program.shapes[i, 2]):
        divisor = pool_divisor(program, i, p)
        for tap in range(taps):
            q = tap_position(program, i, p, tap)
            if q >= 0:
                for r in range(gy.shape[0]):
                    for c in range(channels):
                        gx[r, q * channels + c] += gy[r, p * channels + c] / divisor


@kernel
def add_adjoint(program, i, rows, buffer):
    """Add the adjoint of affine op i applied to its rows to the rows of its operands."""
    gy = rows_of(program, i, rows, buffer)
    gx = rows_of(program, operand(program, i, 0), rows, buffer)
    code = program.op[i]
    if code == ir.AFFINE:
        w = weights_of(program, i).reshape(gx.shape[1], gy.shape[1])
        gx += np.dot(gy, w.T)
    elif code == ir.CONV2D:
        _conv_adjoint(program, i, gy, gx)
    elif code == ir.AVG_POOL:
        _pool_adjoint(program, i, gy, gx)
    elif code == ir.SCALE:
        w = weights_of(program, i)
        for r in range(rows):
            for k in range(gy.shape[1]):
                gx[r, k] += w[k % w.shape[0]] * gy[r, k]
    elif code == ir.ADD:
        gx += program.coefficients[i, 0] * gy
        second = rows_of(program, operand(program, i, 1), rows, buffer)
        second += program.coefficients[i, 1] * gy
    elif code == ir.CONCAT:
        _concat_adjoint(program, i, rows, buffer, gy)
    elif code == ir.GATHER:
        base = program.index_offsets[i]
        for k in range(gy.shape[1]):
            source = program.indices[base + k]
            if source >= 0:
                for r in range(rows):
                    gx[r, source] += gy[r, k]


@kernel
def _concat_adjoint(program, i, rows, buffer, gy):
    """Hand each operand its channels of the gradient."""
    channels = program.shapes[i, 0]
    start = 0
    for k in range(n_operands(program, i)):
        j = operand(program, i, k)
        gx = rows_of(program, j, rows, buffer)
        c_in = program.shapes[j, 0]
        for r in range(rows):
            for p in range(program.shapes[i, 1] * program.shapes[i, 2]):
                for c in range(c_in):
                    gx[r, p * c_in + c] += gy[r, p * channels + start + c]
        start += c_in
