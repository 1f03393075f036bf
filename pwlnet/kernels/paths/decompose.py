"""Forward passes that keep the contributions of fixed and of float paths apart.

Three values of every entry are carried side by side: ``total``, that of the ordinary forward pass; ``scaled``, where the output
of every float neuron is multiplied by a factor (0 leaves the fixed paths); and ``rest``, the sum over the float paths. A
constant (a bias, the value of a saturated Clip) is the start of a path; it enters ``total`` and ``scaled`` once, and ``rest`` only
through the float neurons after it, which take over the whole of ``total``:

    rest_l = D_l (W_l rest_(l-1)) for fixed neurons, total_l for float ones.

Legend: B rows, K neurons, O outputs, T tile rows.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ZERO, allocating_kernel, inlined_kernel, kernel, slot_kernel
from ..arrays import fill_rows
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, n_ops, operand, rows_of
from ..ir.passes import TILE, load_inputs, n_values
from ..ir.switching import apply_switching, select, to_source_order


class DecomposeSlot(NamedTuple):
    """What one slot works with: the program, the rows that all slots share, and buffers of its own."""

    code: ir.PackedProgram
    points: np.ndarray  # float64[B, D]
    float_mask: np.ndarray  # uint8[B, K] or uint8[1, K] for all rows, in source order: 1 for float neurons
    factor: np.ndarray  # float64[1] multiplies the outputs of float neurons in ``scaled``
    is_live: np.ndarray  # int64[1] 1: gates of ``scaled`` are those of its values; 0: those of the forward pass
    outputs: np.ndarray  # float64[B, O] out
    scaled: np.ndarray  # float64[B, O] out
    rest: np.ndarray  # float64[B, O] out, filled unless it has no rows
    states: np.ndarray  # int32[B, K] out: the gates of ``scaled``, in source order; filled unless it has no rows
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown; the results mean nothing then
    next_tile: np.ndarray  # int64[1] counter
    total_buffer: np.ndarray  # float64[T * n_values], zero at first, as the next two
    scaled_buffer: np.ndarray
    rest_buffer: np.ndarray  # empty if ``rest`` has no rows


@inlined_kernel
def neuron_of(code, i, k):
    """Return the neuron (source order, over the whole network) of entry k of switching op i."""
    channels = code.op_table[i, ir.CHANNELS]
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    return code.op_table[i, ir.NEURON] + (k % channels) * positions + k // channels


@kernel
def scale_floats(code, i, float_mask, factor, y):
    """Multiply the entries of the float neurons of op i by a factor: float_mask uint8[K], y float64[n]."""
    for k in range(y.shape[0]):
        if float_mask[neuron_of(code, i, k)] != 0:
            y[k] = factor * y[k] if factor != 0.0 else 0.0


@kernel
def _take_floats(code, i, float_mask, total, y):
    """Copy the entries of the float neurons of op i from ``total``."""
    for k in range(y.shape[0]):
        if float_mask[neuron_of(code, i, k)] != 0:
            y[k] = total[k]


@kernel
def _switch_rows(code, i, slot, first, filled, scratch):
    """Apply switching op i to all three values; return whether it is known."""
    x, y = rows_of(code, operand(code, i, 0), TILE, slot.total_buffer), rows_of(code, i, TILE, slot.total_buffer)
    xs, ys = rows_of(code, operand(code, i, 0), TILE, slot.scaled_buffer), rows_of(code, i, TILE, slot.scaled_buffer)
    lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
    known = True
    for r in range(filled):
        float_mask = slot.float_mask[first + r if slot.float_mask.shape[0] > 1 else 0]
        apply_switching(code, i, x[r], y[r], scratch)
        known = known and scratch[0] >= 0
        if slot.rest.shape[0] > 0:
            xr, yr = rows_of(code, operand(code, i, 0), TILE, slot.rest_buffer), rows_of(code, i, TILE, slot.rest_buffer)
            select(code, i, scratch, xr[r], yr[r], True)
            _take_floats(code, i, float_mask, y[r], yr[r])
        if slot.is_live[0] != 0:
            apply_switching(code, i, xs[r], ys[r], scratch)
        else:
            select(code, i, scratch, xs[r], ys[r], False)
        scale_floats(code, i, float_mask, slot.factor[0], ys[r])
        if slot.states.shape[0] > 0:
            to_source_order(code, i, scratch[: hi - lo], slot.states[first + r, lo:hi])
    return known


@allocating_kernel
def _run_tile(code, slot, first, filled):
    """Compute all ops after the input for a tile of rows; return whether all ops are known."""
    scratch = np.empty(n_values(code), np.int32)
    known = True
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] >= ir.FIRST_SWITCHING:
            known = _switch_rows(code, i, slot, first, filled, scratch) and known
            continue
        for part in range(3 if slot.rest.shape[0] > 0 else 2):
            buffer = slot.total_buffer if part == 0 else (slot.scaled_buffer if part == 1 else slot.rest_buffer)
            known = apply_linear(code, i, TILE, filled, buffer, PLAIN) and known
            if part < 2:
                known = add_constant(code, i, filled, TILE, buffer) and known
    return known


@kernel
def _copy_outputs(code, first, filled, buffer, out):
    """Copy the outputs of a tile to the rows of ``out`` from ``first`` on."""
    y = rows_of(code, n_ops(code) - 1, TILE, buffer)
    for r in range(filled):
        for o in range(out.shape[1]):
            out[first + r, o] = y[r, code.indices[code.op_table[-1, ir.OUTPUTS] + o]]


@slot_kernel
def decompose_slot(slot):
    """Decompose tiles of rows, each time the next one that no slot has taken. Out: outputs, scaled, rest, states."""
    first = take_next(slot.next_tile) * TILE
    while first < slot.points.shape[0]:
        points = slot.points[first : first + TILE]
        filled = load_inputs(slot.code, points, ZERO, TILE, slot.total_buffer)
        load_inputs(slot.code, points, ZERO, TILE, slot.scaled_buffer)
        if slot.rest.shape[0] > 0:
            fill_rows(rows_of(slot.code, ZERO, TILE, slot.rest_buffer), 0.0)
        if not _run_tile(slot.code, slot, first, filled):
            slot.unknown[0] = 1
        _copy_outputs(slot.code, first, filled, slot.total_buffer, slot.outputs)
        _copy_outputs(slot.code, first, filled, slot.scaled_buffer, slot.scaled)
        if slot.rest.shape[0] > 0:
            _copy_outputs(slot.code, first, filled, slot.rest_buffer, slot.rest)
        first = take_next(slot.next_tile) * TILE
