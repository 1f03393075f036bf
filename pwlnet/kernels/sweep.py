"""Passes over a whole program: values, states, gradients, and the affine piece at a point.

Rows are processed in tiles of exactly TILE rows, padded with zeros, so a row's bits depend neither on the batch it came in nor
on how the batch was cut for threads (fully connected products of one fixed height; convolutions are row by row anyway).

Legend: B rows, D inputs, O outputs, K neurons, T tile rows.
"""

import numpy as np

from . import program as ir
from ._jit import kernel
from .affine import add_adjoint, add_constant, apply_linear, operand, rows_of
from .switching import add_select_adjoint, apply_switching, from_source_order, preactivations_of, select, to_source_order

TILE = 32


@kernel
def n_values(program):
    """Number of values of all ops together."""
    return program.value_offsets[-1]


@kernel
def run_ops(program, rows, buffer, states):
    """Fill all ops after the input: buffer float64[T * n_values], states int32[T, K] in source order."""
    scratch = np.empty(n_values(program), np.int32)
    for i in range(1, program.op.shape[0]):
        if program.op[i] < ir.FIRST_SWITCHING:
            apply_linear(program, i, rows, buffer, False)
            add_constant(program, i, rows, rows, buffer)
            continue
        x = rows_of(program, operand(program, i, 0), rows, buffer)
        y = rows_of(program, i, rows, buffer)
        lo, hi = program.neuron_offsets[i], program.neuron_offsets[i + 1]
        for r in range(rows):
            apply_switching(program, i, x[r], y[r], scratch)
            to_source_order(program, i, scratch[: hi - lo], states[r, lo:hi])


@kernel
def load_inputs(program, points, first, rows, buffer):
    """Put ``points[first : first + rows]`` (source order) into op 0, zeros past the end; returns the rows filled."""
    x = rows_of(program, 0, rows, buffer)
    x[:] = 0.0
    filled = min(rows, points.shape[0] - first)
    for r in range(filled):
        for d in range(points.shape[1]):
            x[r, program.input_index[d]] = points[first + r, d]
    return filled


@kernel
def forward(program, points, outputs, preactivations, states):
    """Evaluate rows.

    points float64[B, D]. Out, each filled unless it has no rows: outputs float64[B, O], preactivations float64[B, K],
    states int32[B, K].
    """
    last = program.op.shape[0] - 1
    buffer = np.empty(TILE * n_values(program))
    tile_states = np.empty((TILE, program.neuron_offsets[-1]), np.int32)
    for first in range(0, points.shape[0], TILE):
        filled = load_inputs(program, points, first, TILE, buffer)
        run_ops(program, TILE, buffer, tile_states)
        y = rows_of(program, last, TILE, buffer)
        for r in range(filled):
            if outputs.shape[0] > 0:
                for o in range(outputs.shape[1]):
                    outputs[first + r, o] = y[r, program.output_index[o]]
            if states.shape[0] > 0:
                states[first + r] = tile_states[r]
            if preactivations.shape[0] > 0:
                _copy_preactivations(program, r, buffer, preactivations[first + r])


@kernel
def _copy_preactivations(program, r, buffer, out):
    """Pre-activations of tile row r in source order."""
    for i in range(1, program.op.shape[0]):
        if program.op[i] >= ir.FIRST_SWITCHING:
            x = rows_of(program, operand(program, i, 0), TILE, buffer)
            y = rows_of(program, i, TILE, buffer)
            preactivations_of(program, i, x[r], y[r], out[program.neuron_offsets[i] : program.neuron_offsets[i + 1]])


@kernel
def jacobian_of_states(program, states, jacobian_out):
    """Jacobian of the affine piece with the given states: states int32[K] (source order), out float64[O, D]."""
    last = program.op.shape[0] - 1
    rows = program.output_index.shape[0]
    buffer = np.zeros(rows * n_values(program))
    scratch = np.empty(n_values(program), np.int32)
    g = rows_of(program, last, rows, buffer)
    for o in range(rows):
        g[o, program.output_index[o]] = 1.0
    for i in range(last, 0, -1):
        if program.op[i] < ir.FIRST_SWITCHING:
            add_adjoint(program, i, rows, buffer)
            continue
        lo, hi = program.neuron_offsets[i], program.neuron_offsets[i + 1]
        from_source_order(program, i, states[lo:hi], scratch)
        gy = rows_of(program, i, rows, buffer)
        gx = rows_of(program, operand(program, i, 0), rows, buffer)
        for r in range(rows):
            add_select_adjoint(program, i, scratch, gy[r], gx[r])
    g = rows_of(program, 0, rows, buffer)
    for o in range(rows):
        for d in range(program.input_index.shape[0]):
            jacobian_out[o, d] = g[o, program.input_index[d]]


@kernel
def jacobians(program, states, jacobians_out):
    """Jacobians for many state vectors: states int32[B, K], out float64[B, O, D]."""
    for b in range(states.shape[0]):
        jacobian_of_states(program, states[b], jacobians_out[b])


@kernel
def values_of_states(program, states, point, outputs_out):
    """Outputs of the affine piece with the given states at a point: states int32[K], point float64[D], out float64[O]."""
    last = program.op.shape[0] - 1
    buffer = np.empty(n_values(program))
    scratch = np.empty(n_values(program), np.int32)
    load_inputs(program, point.reshape(1, -1), 0, 1, buffer)
    for i in range(1, last + 1):
        if program.op[i] < ir.FIRST_SWITCHING:
            apply_linear(program, i, 1, buffer, False)
            add_constant(program, i, 1, 1, buffer)
            continue
        from_source_order(program, i, states[program.neuron_offsets[i] : program.neuron_offsets[i + 1]], scratch)
        x = rows_of(program, operand(program, i, 0), 1, buffer)
        select(program, i, scratch, x[0], rows_of(program, i, 1, buffer)[0], False)
    y = rows_of(program, last, 1, buffer)
    for o in range(outputs_out.shape[0]):
        outputs_out[o] = y[0, program.output_index[o]]
