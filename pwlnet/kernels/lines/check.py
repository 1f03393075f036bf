"""Forward passes for the check of lines: the size of the pre-activations, and those of chosen neurons, without outputs.

Tiles are as in passes.py, so the bits are the same. Reading all pre-activations back costs more than computing them.

Legend: L lines, D inputs, B rows, S switching ops, T tile rows.
"""

import numpy as np

from .._jit import entry_kernel, kernel
from ..arrays import copy_into
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, operand, rows_of
from ..ir.passes import TILE
from ..ir.switching import apply_switching

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
            slope = end[d] - start[d]
            x[r, k] = start[d] + at * slope if at <= 0.5 else end[d] - (1.0 - at) * slope
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


@entry_kernel
def check_points(code, starts, ends, lines, t, depth, offsets, neurons, buffer, states, largest_out, z_out):
    """Evaluate points of lines: the largest magnitude of each switching op's pre-activations, and those of chosen neurons.

    starts, ends float64[L, D]; lines int64[B] and t float64[B] are line and parameter of each point. depth int64[B]: the
    last op to evaluate for a point, never increasing, so that an op is evaluated for the first rows of a tile. offsets
    int64[B+1], neurons int64[*]: row r needs neurons[offsets[r] : offsets[r + 1]], increasing. buffer float64[T * n_values],
    zero at first, and states int32[n_values] are scratch.
    Out: largest_out int64[B, S], the bits of a float64 that is not finite where a pre-activation is not, unchanged after the
    last op; z_out float64[*].
    """
    cursor = np.empty(TILE, np.int64)
    for first in range(0, lines.shape[0], TILE):
        filled = _load_points(code, starts, ends, lines, t, first, buffer)
        copy_into(offsets[first : first + filled], cursor)
        s = 0
        for i in range(1, depth[first] + 1):
            while depth[first + filled - 1] < i:
                filled -= 1
            if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
                apply_linear(code, i, TILE, filled, buffer, PLAIN)
                add_constant(code, i, filled, TILE, buffer)
                continue
            x, y = rows_of(code, operand(code, i, 0), TILE, buffer), rows_of(code, i, TILE, buffer)
            for r in range(filled):
                _switch(code, i, x[r], y[r], states)
                z = y[r] if code.op_table[i, ir.OP] == ir.MAX_POOL else x[r]
                largest_out[first + r, s] = _largest(z)
                cursor[r] = _copy_chosen(code, i, z, neurons, cursor[r], offsets[first + r + 1], z_out)
            s += 1
