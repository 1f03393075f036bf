"""The affine maps of polygons: the network under given states, applied to the origin and the directions of a plane.

Legend: R polygons, K neurons, D inputs, O outputs.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ONE, ZERO, allocating_kernel, slot_kernel
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, n_ops, operand, rows_of
from ..ir.passes import load_inputs
from ..ir.switching import from_source_order, select

THREE = np.int64(3)
AT_ONCE = 64


class MapSlot(NamedTuple):
    """What one slot works with: the program, what all slots share, and buffers of its own."""

    code: ir.PackedProgram
    frame: np.ndarray  # float64[3, D] origin, e1, e2
    states: np.ndarray  # int32[R, K]
    maps: np.ndarray  # float64[R, O, 3] out
    next_block: np.ndarray  # int64[1] counter
    buffer: np.ndarray  # float64[3 * n_values]
    scratch: np.ndarray  # int32[n_values]


@allocating_kernel
def _map_of_states(code, slot, r):
    """Compute the map of polygon r."""
    last = n_ops(code) - 1
    load_inputs(code, slot.frame, ZERO, THREE, slot.buffer)
    for i in range(1, last + 1):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            apply_linear(code, i, THREE, THREE, slot.buffer, PLAIN)
            add_constant(code, i, ONE, THREE, slot.buffer)
            continue
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        from_source_order(code, i, slot.states[r, lo:hi], slot.scratch)
        x, y = rows_of(code, operand(code, i, 0), THREE, slot.buffer), rows_of(code, i, THREE, slot.buffer)
        for row in range(3):
            select(code, i, slot.scratch, x[row], y[row], row > 0)
    y = rows_of(code, last, THREE, slot.buffer)
    for o in range(slot.maps.shape[1]):
        k = code.indices[code.op_table[-1, ir.OUTPUTS] + o]
        slot.maps[r, o, 0], slot.maps[r, o, 1], slot.maps[r, o, 2] = y[1, k], y[2, k], y[0, k]


@slot_kernel
def map_slot(slot):
    """Compute the maps of blocks of polygons, each time the next block that no slot has taken. Out: maps."""
    first = take_next(slot.next_block) * AT_ONCE
    while first < slot.states.shape[0]:
        for r in range(first, min(first + AT_ONCE, slot.states.shape[0])):
            _map_of_states(slot.code, slot, r)
        first = take_next(slot.next_block) * AT_ONCE
