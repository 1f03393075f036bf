"""The affine map of the fixed paths at given gates, and the contributions of paths by their number of float neurons.

Legend: B rows, K neurons, D inputs, O outputs, M numbers of float neurons of a path (0 to M - 1), N values of all ops.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ONE, ZERO, allocating_kernel, kernel, slot_kernel
from ..arrays import fill, fill_rows
from ..ir import program as ir
from ..ir.affine import PLAIN, add_adjoint, add_constant, apply_linear, n_ops, operand, rows_of
from ..ir.passes import load_inputs
from ..ir.switching import add_select_adjoint, from_source_order, select
from .decompose import neuron_of, scale_floats


class FixedMapSlot(NamedTuple):
    """What one slot works with: the program, the rows that all slots share, and buffers of its own."""

    code: ir.PackedProgram
    states: np.ndarray  # int32[B, K] gates, in source order
    float_mask: np.ndarray  # uint8[B, K] or uint8[1, K]
    next_row: np.ndarray  # int64[1] counter
    matrices: np.ndarray  # float64[B, O, D] out
    constants: np.ndarray  # float64[B, O] out
    buffer: np.ndarray  # float64[max(O, 1) * N]
    states_stored: np.ndarray  # int32[N] scratch


@allocating_kernel
def _fixed_matrix(code, states, float_mask, buffer, scratch, matrix_out):
    """Compute the matrix of the fixed paths by a backward pass. Out: matrix_out float64[O, D]."""
    rows, last = matrix_out.shape[0], n_ops(code) - 1
    fill(buffer, 0.0)
    g = rows_of(code, last, rows, buffer)
    for o in range(rows):
        g[o, code.indices[code.op_table[-1, ir.OUTPUTS] + o]] = 1.0
    for i in range(last, 0, -1):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            add_adjoint(code, i, rows, buffer)
            continue
        from_source_order(code, i, states[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]], scratch)
        gy = rows_of(code, i, rows, buffer)
        gx = rows_of(code, operand(code, i, 0), rows, buffer)
        for r in range(rows):
            scale_floats(code, i, float_mask, 0.0, gy[r])
            add_select_adjoint(code, i, scratch, gy[r], gx[r])
    g = rows_of(code, ZERO, rows, buffer)
    for o in range(rows):
        for d in range(matrix_out.shape[1]):
            matrix_out[o, d] = g[o, code.indices[code.op_table[-1, ir.INPUTS] + d]]


@allocating_kernel
def _run_rows(code, states, float_mask, rows, buffer, scratch):
    """Compute all ops after the input, at given gates, for rows by number of float neurons on the paths (the last row: or more).

    Constants start paths without float neurons, in row 0. With a single row, float neurons give 0.
    """
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            apply_linear(code, i, rows, rows, buffer, PLAIN)
            add_constant(code, i, ONE, rows, buffer)
            continue
        from_source_order(code, i, states[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]], scratch)
        x, y = rows_of(code, operand(code, i, 0), rows, buffer), rows_of(code, i, rows, buffer)
        for m in range(rows):
            select(code, i, scratch, x[m], y[m], m > 0)
        _shift_floats(code, i, float_mask, y)


@kernel
def _shift_floats(code, i, float_mask, y):
    """Count the float neurons of op i as one more on all paths through them: move their entries to the next row."""
    for k in range(y.shape[1]):
        if float_mask[neuron_of(code, i, k)] != 0:
            for m in range(y.shape[0] - 1, 0, -1):
                y[m, k] = y[m - 1, k]
            y[0, k] = 0.0


@slot_kernel
def fixed_map_slot(slot):
    """Compute the affine maps of the fixed paths, each time of the next row that no slot has taken. Out: matrices, constants."""
    code, last = slot.code, n_ops(slot.code) - 1
    b = take_next(slot.next_row)
    while b < slot.states.shape[0]:
        float_mask = slot.float_mask[b if slot.float_mask.shape[0] > 1 else 0]
        _fixed_matrix(code, slot.states[b], float_mask, slot.buffer, slot.states_stored, slot.matrices[b])
        fill_rows(rows_of(code, ZERO, ONE, slot.buffer), 0.0)
        _run_rows(code, slot.states[b], float_mask, ONE, slot.buffer, slot.states_stored)
        y = rows_of(code, last, ONE, slot.buffer)
        for o in range(slot.constants.shape[1]):
            slot.constants[b, o] = y[0, code.indices[code.op_table[-1, ir.OUTPUTS] + o]]
        b = take_next(slot.next_row)


class PolynomialSlot(NamedTuple):
    """What one slot works with: the program, the rows that all slots share, and buffers of its own."""

    code: ir.PackedProgram
    points: np.ndarray  # float64[B, D]
    states: np.ndarray  # int32[B, K] gates, in source order
    float_mask: np.ndarray  # uint8[B, K] or uint8[1, K]
    next_row: np.ndarray  # int64[1] counter
    coefficients: np.ndarray  # float64[B, M, O] out
    buffer: np.ndarray  # float64[M * N], zero at first
    states_stored: np.ndarray  # int32[N] scratch


@slot_kernel
def polynomial_slot(slot):
    """Sum paths by their number of float neurons, each time for the next row that no slot has taken. Out: coefficients."""
    code, last, rows = slot.code, n_ops(slot.code) - 1, np.int64(slot.coefficients.shape[1])
    b = take_next(slot.next_row)
    while b < slot.points.shape[0]:
        float_mask = slot.float_mask[b if slot.float_mask.shape[0] > 1 else 0]
        load_inputs(code, slot.points[b : b + 1], ZERO, rows, slot.buffer)
        _run_rows(code, slot.states[b], float_mask, rows, slot.buffer, slot.states_stored)
        y = rows_of(code, last, rows, slot.buffer)
        for m in range(rows):
            for o in range(slot.coefficients.shape[2]):
                slot.coefficients[b, m, o] = y[m, code.indices[code.op_table[-1, ir.OUTPUTS] + o]]
        b = take_next(slot.next_row)
