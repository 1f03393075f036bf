"""Passes over a whole program: values, states, gradients, and the affine piece at a point.

Rows are processed in tiles of exactly TILE rows, padded with zeros, so a row's bits depend neither on its batch nor on how the
batch was split for threads (fully connected products have one fixed height; convolutions are computed row by row anyway).

Legend: B rows, D inputs, O outputs, K neurons, T tile rows.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ONE, ZERO, allocating_kernel, entry_kernel, inlined_kernel, kernel, slot_kernel
from ..arrays import copy_into, fill_rows
from . import program as ir
from .affine import PLAIN, add_adjoint, add_constant, apply_linear, n_ops, operand, rows_of
from .bits import pack
from .switching import add_select_adjoint, apply_switching, from_source_order, preactivations_of, select, to_source_order

TILE = np.int64(32)


@inlined_kernel
def n_values(code):
    """Return the number of values of all ops together."""
    return code.op_table[-1, ir.VALUE]


@allocating_kernel
def run_ops(code, rows, filled, buffer, states):
    """Compute the first ``filled`` rows of all ops after the input; return whether all ops are known.

    Out: buffer float64[T * n_values], states int32[T, K] in source order.
    """
    scratch = np.empty(n_values(code), np.int32)
    known = True
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            known = apply_linear(code, i, rows, filled, buffer, PLAIN) and known
            known = add_constant(code, i, filled, rows, buffer) and known
            continue
        x = rows_of(code, operand(code, i, 0), rows, buffer)
        y = rows_of(code, i, rows, buffer)
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        for r in range(filled):
            apply_switching(code, i, x[r], y[r], scratch)
            to_source_order(code, i, scratch[: hi - lo], states[r, lo:hi])
            known = known and scratch[0] >= 0
    return known


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


class ForwardSlot(NamedTuple):
    """What one slot works with: the program, the rows that all slots share, and buffers of its own."""

    code: ir.PackedProgram
    points: np.ndarray  # float64[B, D]
    outputs: np.ndarray  # float64[B, O] out; this one and the next three are filled unless they have no rows
    preactivations: np.ndarray  # float64[B, K] out
    states: np.ndarray  # int32[B, K] out
    packed: np.ndarray  # uint64[B, W] out, by the layout of bits.py:
    neuron_offsets: np.ndarray  # int64[N+1]
    word_offsets: np.ndarray  # int64[N+1]
    widths: np.ndarray  # int64[N]
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown; the results mean nothing then
    next_tile: np.ndarray  # int64[1] counter
    at_once: np.ndarray  # int64[1] rows of a tile that are filled, at most TILE
    buffer: np.ndarray  # float64[T * n_values], zero at first
    tile_states: np.ndarray  # int32[T, K] scratch


@allocating_kernel
def _forward_tile(code, slot, first, rows):
    """Evaluate rows ``first`` to ``first + rows``, those that exist."""
    last = n_ops(code) - 1
    filled = load_inputs(code, slot.points[first : first + rows], ZERO, TILE, slot.buffer)
    if not run_ops(code, TILE, filled, slot.buffer, slot.tile_states):
        slot.unknown[0] = 1
    if slot.packed.shape[0] > 0:
        packed = slot.packed[first : first + filled]
        pack(slot.tile_states[:filled], slot.neuron_offsets, slot.word_offsets, slot.widths, packed)
    y = rows_of(code, last, TILE, slot.buffer)
    for r in range(filled):
        for o in range(slot.outputs.shape[1] if slot.outputs.shape[0] > 0 else 0):
            slot.outputs[first + r, o] = y[r, code.indices[code.op_table[-1, ir.OUTPUTS] + o]]
        if slot.states.shape[0] > 0:
            copy_into(slot.tile_states[r], slot.states[first + r])
        if slot.preactivations.shape[0] > 0:
            copy_preactivations(code, r, slot.buffer, slot.preactivations[first + r])


@slot_kernel
def forward_slot(slot):
    """Evaluate tiles of rows, each time the next one that no slot has taken. Out: outputs, preactivations,
    states, packed."""
    rows = slot.at_once[0]
    first = take_next(slot.next_tile) * rows
    while first < slot.points.shape[0]:
        _forward_tile(slot.code, slot, first, rows)
        first = take_next(slot.next_tile) * rows


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


class JacobianSlot(NamedTuple):
    """What one slot works with: the program, and the rows that all slots share."""

    code: ir.PackedProgram
    states: np.ndarray  # int32[B, K]
    next_row: np.ndarray  # int64[1] counter
    jacobians: np.ndarray  # float64[B, O, D] out


@slot_kernel
def jacobian_slot(slot):
    """Compute the Jacobians for rows of states, each time the next one that no slot has taken. Out: jacobians."""
    b = take_next(slot.next_row)
    while b < slot.states.shape[0]:
        jacobian_of_states(slot.code, slot.states[b], slot.jacobians[b])
        b = take_next(slot.next_row)


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
