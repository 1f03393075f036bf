"""Values of a tile of rows in float64 or float32, op by op: the type is that of the buffer and of ``PackedProgram.row_weights``.

Fully connected products have one fixed height, and convolutions are computed row by row, so a row's bits depend neither on its
batch nor on its place (kernels/ir/passes.py). A convolution gathers whole rows of a window at a time, and its product is written
to where the values belong.

Legend: T rows, P positions, C channels.
"""

import numpy as np

from .._jit import allocating_kernel, kernel, matrix_view
from ..ir import program as ir
from ..ir.affine import (
    PLAIN,
    add_constant,
    apply_weightless,
    conv_row_weights,
    operand,
    row_weights_of,
    rows_alike_product,
    rows_of,
    tap_position,
)


@kernel
def _gather_windows(code, i, group, x, columns_out):
    """Gather the window entries of one row (im2col). Out: columns_out [P, taps * C_in / groups]."""
    c_all, groups = code.op_table[operand(code, i, 0), ir.CHANNELS], code.op_table[i, ir.GROUPS]
    c, width = c_all // groups, code.op_table[i, ir.KERNEL_W]
    adjacent = groups == 1 and code.op_table[i, ir.DILATION_W] == 1
    for p in range(columns_out.shape[0]):
        for tap in range(0, code.op_table[i, ir.KERNEL_H] * width, width):
            q, last = tap_position(code, i, p, tap), tap_position(code, i, p, tap + width - 1)
            if adjacent and q >= 0 and last >= 0:
                base, start = q * c_all, tap * c
                for k in range(width * c):
                    columns_out[p, start + k] = x[base + k]
                continue
            for a in range(tap, tap + width):
                q = tap_position(code, i, p, a)
                base = q * c_all + group * c
                for k in range(c):
                    columns_out[p, a * c + k] = x[base + k] if q >= 0 else 0.0


@allocating_kernel
def _convolve(code, i, filled, x, y, columns, out):
    """Compute y = W x for a convolution, row by row; columns, out: scratch of the type of the values."""
    w = conv_row_weights(code, i)
    groups, taps, c_in, c_out = w.shape
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    windows = matrix_view(columns, 0, positions, taps * c_in)
    for group in range(groups):
        matrix = w[group].reshape(taps * c_in, c_out)
        for r in range(filled):
            _gather_windows(code, i, group, x[r], windows)
            if groups == 1:
                np.dot(windows, matrix, matrix_view(y[r], 0, positions, c_out))
                continue
            part = matrix_view(out, 0, positions, c_out)
            np.dot(windows, matrix, part)
            for p in range(positions):
                for k in range(c_out):
                    y[r, (p * groups + group) * c_out + k] = part[p, k]


@allocating_kernel
def apply_affine(code, i, rows, filled, buffer, columns, out):
    """Compute the values of affine op i for the first ``filled`` rows; return whether the op is known."""
    x, y = rows_of(code, operand(code, i, 0), rows, buffer), rows_of(code, i, rows, buffer)
    kind = code.op_table[i, ir.OP]
    known = True
    if kind == ir.AFFINE:
        rows_alike_product(x, row_weights_of(code, i).reshape(x.shape[1], y.shape[1]), y)
    elif kind == ir.CONV2D:
        _convolve(code, i, filled, x, y, columns, out)
    else:
        known = apply_weightless(code, i, rows, filled, buffer, PLAIN)
    return add_constant(code, i, filled, rows, buffer) and known


def scratch_sizes(code):
    """Return the lengths of the scratch arrays of convolutions: (columns, out). Python only."""
    table = code.op_table[:-1]
    convolutions = table[table[:, ir.OP] == ir.CONV2D]
    positions = convolutions[:, ir.HEIGHT] * convolutions[:, ir.WIDTH]
    channels = convolutions[:, ir.CHANNELS] // convolutions[:, ir.GROUPS].clip(1)
    window = convolutions[:, ir.N_WEIGHTS] // convolutions[:, ir.CHANNELS].clip(1)
    return int((positions * window).max(initial=0)), int((positions * channels).max(initial=0))
