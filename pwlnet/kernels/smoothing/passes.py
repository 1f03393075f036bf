"""Forward passes in which the values of float neurons, or of all neurons, are multiplied by factors.

A *draw* is one row of the results. It takes 1 to 3 rows of a tile: its reference point, unless all draws share one, which is
the first row of each tile then; with two passes, its values without repression; last, its values with repression. A draw's
bits depend on its own rows and the reference only, as for the passes of kernels/floats.

Legend: B draws, D inputs, K neurons, O outputs, T rows.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ONE, ZERO, allocating_kernel, inline_view, kernel, slot_kernel
from ..arrays import copy_into
from ..floats.draws import is_in_order
from ..floats.states import is_out_of_range
from ..floats.switching import mark_floats, scale_marked, scale_values, switch_rows
from ..floats.values import Buffers, apply_affine
from ..ir import program as ir
from ..ir.affine import n_ops, operand, rows_of
from ..ir.passes import TILE


class RepressionSlot(NamedTuple):
    """What one slot works with; float32 or float64 where no type is given: the type of the values."""

    code: ir.PackedProgram
    points: np.ndarray  # float64[B, D]
    references: np.ndarray  # float64[0, D] none, float64[1, D] shared, float64[B, D]
    factors: np.ndarray  # [0, K] none, [1, K] for all draws, [B, K]; in stored order
    gain: np.ndarray  # [1] factor of float neurons
    rows: np.ndarray  # int64[3] rows of a draw; 1 where the reference is shared, else 0; draws in a tile
    outputs: np.ndarray  # float64[B, O] out
    out_of_range: np.ndarray  # int64[B] out: 1 where values leave the range of float32; unchanged elsewhere
    limits: np.ndarray  # float64[2] of the sum of the sizes of an op's pre-activations
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown
    next_tile: np.ndarray  # int64[1] counter
    buffers: Buffers
    floats: np.ndarray  # bool[*] scratch: one op, stored order


@inline_view
def _inputs_of(code):
    """View the entry of the first op's value that each input fills: int64[D]."""
    return code.indices[code.op_table[-1, ir.INPUTS] : code.op_table[-1, ir.INPUTS] + code.op_table[-1, ir.N_INPUTS]]


@kernel
def _load_point(code_inputs, in_order, point, x):
    """Put a point into a row: code_inputs int64[D] entry of each input. Out: x [n]."""
    if in_order:
        copy_into(point, x)
        return
    for d in range(point.shape[0]):
        x[code_inputs[d]] = point[d]


@kernel
def _load_draws(code_inputs, slot, begin, draws, x):
    """Put the points and references of some draws into rows. Out: x [T, n]; return the number of rows."""
    in_order, per_draw, shared = is_in_order(code_inputs), slot.rows[0], slot.rows[1]
    own = ONE if slot.references.shape[0] > 0 and shared == 0 else ZERO  # a row of each draw is its reference
    if shared == 1:
        _load_point(code_inputs, in_order, slot.references[0], x[0])
    for b in range(draws):
        first = shared + b * per_draw
        if own == 1:
            _load_point(code_inputs, in_order, slot.references[begin + b], x[first])
        for r in range(first + own, first + per_draw):
            _load_point(code_inputs, in_order, slot.points[begin + b], x[r])
    return shared + draws * per_draw


@kernel
def _note_range(slot, begin, draws, x):
    """Note the draws that have a row out of range. Out: out_of_range."""
    per_draw, shared = slot.rows[0], slot.rows[1]
    all_are = shared == 1 and is_out_of_range(x[:1], ONE, slot.limits)
    for b in range(draws):
        for r in range(shared + b * per_draw, shared + (b + 1) * per_draw):
            if all_are or is_out_of_range(x[r : r + 1], ONE, slot.limits):
                slot.out_of_range[begin + b] = 1


@kernel
def _repress(code, i, slot, begin, draws, x, y):
    """Multiply values of switching op i by the draws' factors, or those of float neurons; return whether the op is known."""
    per_draw, shared, lo, hi = slot.rows[0], slot.rows[1], code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
    if slot.factors.shape[0] > 0:
        for b in range(draws):
            scale_values(slot.factors[begin + b if slot.factors.shape[0] > 1 else 0, lo:hi], y[b])
    if slot.references.shape[0] == 0:
        return True
    known, passes = True, per_draw if shared == 1 else per_draw - 1
    for b in range(draws):
        last = shared + (b + 1) * per_draw - 1
        reference = 0 if shared == 1 else last - passes
        known = mark_floats(code, i, x[reference], x[last - passes + 1], slot.floats) and known
        scale_marked(slot.floats, slot.gain[0], y[last])
    return known


@allocating_kernel
def _repress_tile(slot, begin, draws):
    """Evaluate some draws."""
    code, buffer = slot.code, slot.buffers.values
    filled = _load_draws(_inputs_of(code), slot, begin, draws, rows_of(code, ZERO, TILE, buffer))
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            if not apply_affine(code, i, TILE, filled, slot.buffers):
                slot.unknown[0] = 1
            continue
        x, y = rows_of(code, operand(code, i, 0), TILE, buffer), rows_of(code, i, TILE, buffer)
        known = switch_rows(code, i, filled, x, y)
        if not (_repress(code, i, slot, begin, draws, x, y) and known):
            slot.unknown[0] = 1
        _note_range(slot, begin, draws, x)
    y = rows_of(code, n_ops(code) - 1, TILE, buffer)
    _note_range(slot, begin, draws, y)
    for b in range(draws):
        r = slot.rows[1] + (b + 1) * slot.rows[0] - 1
        for o in range(slot.outputs.shape[1]):
            slot.outputs[begin + b, o] = y[r, code.indices[code.op_table[-1, ir.OUTPUTS] + o]]


@slot_kernel
def repression_slot(slot):
    """Evaluate draws, each time the next ones that no slot has taken. Out: outputs, out_of_range."""
    step = slot.rows[2]
    begin = take_next(slot.next_tile) * step
    while begin < slot.points.shape[0]:
        _repress_tile(slot, begin, min(step, slot.points.shape[0] - begin))
        begin = take_next(slot.next_tile) * step
