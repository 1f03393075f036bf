"""Values of a tile of rows in float64 or float32, op by op: the type of the buffer and of ``PackedProgram.row_weights``.

Fully connected products have one fixed height, and convolutions are computed row by row, so a row's bits depend neither on its
batch nor on its place (kernels/ir/passes.py). A convolution gathers whole rows of a window at a time, and its product is
written to where the values belong.

Legend: T rows, P positions, C channels.
"""

from typing import NamedTuple

import numpy as np

from .._jit import allocating_kernel, kernel, matrix_view
from ..arrays import copy_into, fill
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


class Constants(NamedTuple):
    """Factors and constants of each entry of the values of all ops, of the type of the values: no loops over channels."""

    scales: np.ndarray  # [n_values] of SCALE; 1 elsewhere
    shifts: np.ndarray  # [n_values] of AFFINE, CONV2D and SCALE; 0 elsewhere


@kernel
def _gather_windows(code, i, group, x, columns_out):
    """Gather the window entries of one row (im2col). Out: columns_out [P, taps * C_in / groups]."""
    c_all, groups = code.op_table[operand(code, i, 0), ir.CHANNELS], code.op_table[i, ir.GROUPS]
    c, width = c_all // groups, code.op_table[i, ir.KERNEL_W]
    taps = code.op_table[i, ir.KERNEL_H] * width
    if c_all == 1:  # short loops over the columns of a window would take most of the time
        for p in range(columns_out.shape[0]):
            at = code.op_table[i, ir.TAPS] + p * taps
            for tap in range(taps):
                q = code.indices[at + tap]
                columns_out[p, tap] = x[q] if q >= 0 else 0.0
        return
    adjacent = groups == 1 and code.op_table[i, ir.DILATION_W] == 1
    for p in range(columns_out.shape[0]):
        for tap in range(0, taps, width):
            q, last = tap_position(code, i, p, tap), tap_position(code, i, p, tap + width - 1)
            if adjacent and q >= 0 and last >= 0:
                copy_into(x[q * c_all : (q + width) * c_all], columns_out[p, tap * c : (tap + width) * c])
                continue
            for a in range(tap, tap + width):
                q, part = tap_position(code, i, p, a), columns_out[p, a * c : (a + 1) * c]
                if q >= 0:
                    copy_into(x[q * c_all + group * c : q * c_all + (group + 1) * c], part)
                else:
                    fill(part, 0.0)


@kernel
def _add_shift(shifts, filled, y):
    """Add a constant to each entry of the first rows."""
    for r in range(filled):
        for k in range(y.shape[1]):
            y[r, k] += shifts[k]


@allocating_kernel
def _convolve(code, i, filled, x, y, columns, products):
    """Compute y = W x for a convolution, row by row; columns, products: scratch of the type of the values."""
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
            part = matrix_view(products, 0, positions, c_out)
            np.dot(windows, matrix, part)
            for p in range(positions):
                for k in range(c_out):
                    y[r, (p * groups + group) * c_out + k] = part[p, k]


@kernel
def _apply_scale(code, i, scales, shifts, filled, x, y):
    """Compute the values of a Scale without a loop over channels; return False for other ops."""
    if code.op_table[i, ir.OP] != ir.SCALE:
        return False
    for r in range(filled):
        for k in range(y.shape[1]):
            y[r, k] = x[r, k] * scales[k] + shifts[k]
    return True


@allocating_kernel
def apply_affine(code, i, rows, filled, buffers):
    """Compute the values of affine op i for the first ``filled`` rows; return whether the op is known."""
    buffer, lo, hi = buffers.values, code.op_table[i, ir.VALUE], code.op_table[i + 1, ir.VALUE]
    x, y = rows_of(code, operand(code, i, 0), rows, buffer), rows_of(code, i, rows, buffer)
    shifts, kind = buffers.constants.shifts[lo:hi], code.op_table[i, ir.OP]
    if kind == ir.AFFINE:
        rows_alike_product(x, row_weights_of(code, i).reshape(x.shape[1], y.shape[1]), y)
        _add_shift(shifts, filled, y)
    elif kind == ir.CONV2D:
        _convolve(code, i, filled, x, y, buffers.columns, buffers.products)
        _add_shift(shifts, filled, y)
    elif not _apply_scale(code, i, buffers.constants.scales[lo:hi], shifts, filled, x, y):
        known = apply_weightless(code, i, rows, filled, buffer, PLAIN)
        return add_constant(code, i, filled, rows, buffer) and known
    return True


class Buffers(NamedTuple):
    """What the values of a tile are computed in: all of the type of the values."""

    values: np.ndarray  # [T * n_values], zero at first
    columns: np.ndarray  # [*] windows of a convolution
    products: np.ndarray  # [*] products of a group of a convolution
    constants: Constants
