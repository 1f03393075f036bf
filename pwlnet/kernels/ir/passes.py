"""Passes over a whole program: values, states, gradients, and the affine piece at a point.

Rows are processed in tiles of exactly TILE rows, padded with zeros, so a row's bits depend neither on its batch nor on how the
batch was split for threads (fully connected products have one fixed height; convolutions are computed row by row anyway).

Legend: B rows, D inputs, O outputs, K neurons, T tile rows.
"""

import numpy as np

from .._jit import ONE, ZERO, allocating_kernel, entry_kernel, inlined_kernel, kernel
from ..arrays import copy_into, fill_rows
from . import program as ir
from .affine import PLAIN, add_adjoint, add_constant, apply_linear, n_ops, operand, rows_of
from .switching import add_select_adjoint, apply_switching, from_source_order, preactivations_of, select, to_source_order

TILE = np.int64(32)


@inlined_kernel
def n_values(code):
    """Return the number of values of all ops together."""
    return code.op_table[-1, ir.VALUE]


@allocating_kernel
def run_ops(code, rows, filled, buffer, states):
    """Compute the first ``filled`` rows of all ops after the input.

    Out: buffer float64[T * n_values], states int32[T, K] in source order.
    """
    scratch = np.empty(n_values(code), np.int32)
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            apply_linear(code, i, rows, filled, buffer, PLAIN)
            add_constant(code, i, filled, rows, buffer)
            continue
        x = rows_of(code, operand(code, i, 0), rows, buffer)
        y = rows_of(code, i, rows, buffer)
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        for r in range(filled):
            apply_switching(code, i, x[r], y[r], scratch)
            to_source_order(code, i, scratch[: hi - lo], states[r, lo:hi])


@kernel
def load_inputs(code, points, first, rows, buffer):
    """Load ``points[first : first + rows]`` (source order) into op 0, zeros past the end; return the number of rows filled."""
    x = rows_of(code, 0, rows, buffer)
    fill_rows(x, 0.0)
    filled = min(rows, points.shape[0] - first)
    for r in range(filled):
        for d in range(points.shape[1]):
            x[r, code.indices[code.op_table[-1, ir.INPUTS] + d]] = points[first + r, d]
    return filled


@entry_kernel
def forward(code, points, height, buffer, tile_states, outputs, preactivations, states):
    """Evaluate rows, ``height`` of them at a time, at most TILE.

    points float64[B, D]; buffer float64[T * n_values], zero at first, and tile_states int32[T, K] are scratch.
    Out, each filled unless it has no rows: outputs float64[B, O], preactivations float64[B, K], states int32[B, K].
    """
    last = n_ops(code) - 1
    for first in range(0, points.shape[0], height):
        filled = load_inputs(code, points[first : first + height], ZERO, TILE, buffer)
        run_ops(code, TILE, filled, buffer, tile_states)
        y = rows_of(code, last, TILE, buffer)
        for r in range(filled):
            if outputs.shape[0] > 0:
                for o in range(outputs.shape[1]):
                    outputs[first + r, o] = y[r, code.indices[code.op_table[-1, ir.OUTPUTS] + o]]
            if states.shape[0] > 0:
                copy_into(tile_states[r], states[first + r])
            if preactivations.shape[0] > 0:
                copy_preactivations(code, r, buffer, preactivations[first + r])


@kernel
def copy_preactivations(code, r, buffer, out):
    """Copy the pre-activations of tile row r in source order."""
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] >= ir.FIRST_SWITCHING:
            x = rows_of(code, operand(code, i, 0), TILE, buffer)
            y = rows_of(code, i, TILE, buffer)
            preactivations_of(code, i, x[r], y[r], out[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]])


@allocating_kernel
def jacobian_of_states(code, states, jacobian_out):
    """Compute the Jacobian of the affine piece with the given states: states int32[K] (source order), out float64[O, D]."""
    last = n_ops(code) - 1
    rows = code.op_table[-1, ir.N_OUTPUTS]
    buffer = np.zeros(rows * n_values(code))
    scratch = np.empty(n_values(code), np.int32)
    g = rows_of(code, last, rows, buffer)
    for o in range(rows):
        g[o, code.indices[code.op_table[-1, ir.OUTPUTS] + o]] = 1.0
    for i in range(last, 0, -1):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            add_adjoint(code, i, rows, buffer)
            continue
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        from_source_order(code, i, states[lo:hi], scratch)
        gy = rows_of(code, i, rows, buffer)
        gx = rows_of(code, operand(code, i, 0), rows, buffer)
        for r in range(rows):
            add_select_adjoint(code, i, scratch, gy[r], gx[r])
    g = rows_of(code, 0, rows, buffer)
    for o in range(rows):
        for d in range(code.op_table[-1, ir.N_INPUTS]):
            jacobian_out[o, d] = g[o, code.indices[code.op_table[-1, ir.INPUTS] + d]]


@entry_kernel
def jacobians(code, states, jacobians_out):
    """Compute the Jacobians for many state vectors: states int32[B, K], out float64[B, O, D]."""
    for b in range(states.shape[0]):
        jacobian_of_states(code, states[b], jacobians_out[b])


@entry_kernel
def values_of_states(code, states, point, outputs_out):
    """Compute the outputs of the affine piece with the given states at a point.

    states int32[K] (source order), point float64[D]. Out: outputs_out float64[O].
    """
    last = n_ops(code) - 1
    buffer = np.empty(n_values(code))
    scratch = np.empty(n_values(code), np.int32)
    load_inputs(code, point.reshape(1, -1), ZERO, ONE, buffer)
    for i in range(1, last + 1):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            apply_linear(code, i, ONE, ONE, buffer, PLAIN)
            add_constant(code, i, ONE, ONE, buffer)
            continue
        from_source_order(code, i, states[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]], scratch)
        x = rows_of(code, operand(code, i, 0), 1, buffer)
        select(code, i, scratch, x[0], rows_of(code, i, 1, buffer)[0], False)
    y = rows_of(code, last, 1, buffer)
    for o in range(outputs_out.shape[0]):
        outputs_out[o] = y[0, code.indices[code.op_table[-1, ir.OUTPUTS] + o]]
