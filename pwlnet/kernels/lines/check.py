"""Forward passes for the check of lines: the size of the pre-activations, and those of chosen neurons, without outputs.

Tiles are as in passes.py, so the bits are the same. Reading all pre-activations back costs more than computing them.

Legend: L lines, D inputs, B rows, S switching ops, T tile rows.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import kernel, slot_kernel
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, operand, rows_of
from ..ir.passes import TILE
from ..ir.switching import apply_switching
from .points import coordinate

MAGNITUDE = 2**63 - 1  # the bits of a float64 without its sign: as integers they are ordered as the magnitudes, NaN last


@kernel
def _load_points(code, starts, ends, lines, t, first, buffer):
    """Load points of lines into op 0, counted from the nearer end; return the number of rows filled."""
    x = rows_of(code, 0, TILE, buffer)
    filled = min(TILE, lines.shape[0] - first)
    for r in range(filled):
        start, end, at = starts[lines[first + r]], ends[lines[first + r]], t[first + r]
        for d in range(start.shape[0]):
            k = code.indices[code.op_table[-1, ir.INPUTS] + d]
            x[r, k], _ = coordinate(start, end, at, d)
    return filled


@kernel
def _largest(x):
    """Return the largest magnitude in x float64[n] as bits; infinities and NaN are larger than all others."""
    bits = x.view(np.int64)
    largest = np.int64(0)
    for k in range(bits.shape[0]):
        largest = max(largest, bits[k] & MAGNITUDE)
    return largest


@kernel
def _switch(code, i, x, y, states):
    """Compute the values of switching op i for one row; most ops are ReLU, which needs no states."""
    if code.op_table[i, ir.OP] == ir.RELU:
        for k in range(y.shape[0]):
            y[k] = max(x[k], 0.0)
    else:
        apply_switching(code, i, x, y, states)


@kernel
def _copy_chosen(code, i, z, neurons, first, last, z_out):
    """Copy the pre-activations of neurons first, first + 1, ... while they belong to op i; return the first that does not."""
    channels = code.op_table[i, ir.CHANNELS]
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    while first < last and neurons[first] < code.op_table[i + 1, ir.NEURON]:
        k = neurons[first] - code.op_table[i, ir.NEURON]
        z_out[first] = z[k % positions * channels + k // positions]
        first += 1
    return first


class CheckSlot(NamedTuple):
    """What one slot works with: the program, the points that all slots share, and buffers of its own."""

    code: ir.PackedProgram
    starts: np.ndarray  # float64[L, D]
    ends: np.ndarray  # float64[L, D]
    lines: np.ndarray  # int64[B] line of each point
    t: np.ndarray  # float64[B]
    depth: np.ndarray  # int64[B] last op that a point needs, never increasing: in a tile, the rows that an op needs come first
    offsets: np.ndarray  # int64[B+1] the pre-activations to return for point r are those of
    neurons: np.ndarray  # int64[*] neurons[offsets[r] : offsets[r + 1]], increasing
    next_tile: np.ndarray  # int64[1] counter
    stop: np.ndarray  # int64[1] not zero: leave as soon as possible
    largest: np.ndarray  # int64[B, S] out: bits of the largest magnitude in each switching op; untouched after the last op
    z: np.ndarray  # float64[*] out
    buffer: np.ndarray  # float64[T * n_values], zero at first
    states: np.ndarray  # int32[n_values] scratch


@kernel
def _check_tile(code, slot, first, cursor):
    """Evaluate the tile of points that begins with point ``first``; ``cursor`` int64[T] is scratch."""
    values = slot.buffer
    filled = _load_points(code, slot.starts, slot.ends, slot.lines, slot.t, first, values)
    for r in range(filled):
        cursor[r] = slot.offsets[first + r]
    s = 0
    for i in range(1, slot.depth[first] + 1):
        while slot.depth[first + filled - 1] < i:
            filled -= 1
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            apply_linear(code, i, TILE, filled, values, PLAIN)
            add_constant(code, i, filled, TILE, values)
            continue
        x, y = rows_of(code, operand(code, i, 0), TILE, values), rows_of(code, i, TILE, values)
        for r in range(filled):
            _switch(code, i, x[r], y[r], slot.states)
            kind = code.op_table[i, ir.OP]
            z = y[r] if kind == ir.MAX_POOL else x[r]
            known = kind == ir.MAX_POOL or kind == ir.RELU or kind == ir.LEAKY_RELU or kind == ir.CLIP
            slot.largest[first + r, s] = _largest(z) if known else MAGNITUDE
            cursor[r] = _copy_chosen(code, i, z, slot.neurons, cursor[r], slot.offsets[first + r + 1], slot.z)
        s += 1


@slot_kernel
def check_slot(slot):
    """Evaluate tiles of points of lines, each time the next one that no slot has taken.

    Out: slot.largest (the bits of a float64 that isn't finite where a pre-activation isn't), slot.z.
    """
    cursor = np.empty(TILE, np.int64)
    first = take_next(slot.next_tile) * TILE
    while first < slot.lines.shape[0] and slot.stop[0] == 0:
        _check_tile(slot.code, slot, first, cursor)
        first = take_next(slot.next_tile) * TILE
