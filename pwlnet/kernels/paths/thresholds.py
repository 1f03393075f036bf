"""Which neurons are exactly at a threshold between two states, at many points.

Legend: B rows, K neurons, T tile rows.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ZERO, allocating_kernel, kernel, slot_kernel
from ..arrays import copy_into
from ..ir import program as ir
from ..ir.affine import n_ops, operand, rows_of, tap_position
from ..ir.passes import TILE, load_inputs, run_ops
from ..ir.switching import state_of
from ..lines.channel import piece_range
from .decompose import neuron_of


class ThresholdSlot(NamedTuple):
    """What one slot works with: the program, the rows that all slots share, and buffers of its own."""

    code: ir.PackedProgram
    points: np.ndarray  # float64[B, D]
    states: np.ndarray  # int32[B, K] out, in source order
    at_threshold: np.ndarray  # uint8[B, K] out, in source order: 1 where a neighbouring state is as good
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown
    next_tile: np.ndarray  # int64[1] counter
    buffer: np.ndarray  # float64[T * n_values], zero at first
    tile_states: np.ndarray  # int32[T, K] scratch


@kernel
def find_thresholds(code, i, x, y, out):
    """Find the neurons of op i at a threshold, for one row; return whether the op is known.

    x float64[n_in], y float64[n] its values. Out: uint8[K], the entries of its neurons. A window of MaxPool is at a threshold if
    two taps have the maximum.
    """
    channels = code.op_table[i, ir.CHANNELS]
    for k in range(y.shape[0]):
        if code.op_table[i, ir.OP] == ir.MAX_POOL:
            n_winners = 0
            for tap in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
                q = tap_position(code, i, k // channels, tap)
                if q >= 0 and x[q * channels + k % channels] == y[k]:
                    n_winners += 1
            out[neuron_of(code, i, k)] = 1 if n_winners > 1 else 0
            continue
        state = state_of(code, i, x[k])
        if state < 0:
            return False
        low, high = piece_range(code, i, state)
        out[neuron_of(code, i, k)] = 1 if x[k] == low or x[k] == high else 0
    return True


@allocating_kernel
def _threshold_tile(code, slot, first):
    """Find the thresholds of a tile of rows."""
    filled = load_inputs(code, slot.points[first : first + TILE], ZERO, TILE, slot.buffer)
    if not run_ops(code, TILE, filled, slot.buffer, slot.tile_states):
        slot.unknown[0] = 1
    for r in range(filled):
        copy_into(slot.tile_states[r], slot.states[first + r])
    for i in range(1, n_ops(code)):
        if code.op_table[i, ir.OP] >= ir.FIRST_SWITCHING:
            x, y = rows_of(code, operand(code, i, 0), TILE, slot.buffer), rows_of(code, i, TILE, slot.buffer)
            for r in range(filled):
                if not find_thresholds(code, i, x[r], y[r], slot.at_threshold[first + r]):
                    slot.unknown[0] = 1


@slot_kernel
def threshold_slot(slot):
    """Find the thresholds of tiles of rows, each time the next one that no slot has taken. Out: states, at_threshold."""
    first = take_next(slot.next_tile) * TILE
    while first < slot.points.shape[0]:
        _threshold_tile(slot.code, slot, first)
        first = take_next(slot.next_tile) * TILE
