"""Forward passes for the check of lines: no outputs, but the size of the pre-activations, and those of chosen neurons.

The same tiles as in passes.py, so the same bits. Reading all pre-activations back costs more than computing them.

Legend: L lines, D inputs, B rows, S switching ops, T tile rows.
"""

import numpy as np

from .._jit import allocating_kernel, kernel, without_refcount
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, operand, rows_of
from ..ir.passes import TILE
from ..ir.switching import apply_switching

MAGNITUDE = 2**63 - 1  # the bits of a float64 without its sign: as whole numbers in the order of the magnitudes, NaN last


@kernel
def _load_points(code, starts, ends, lines, t, first, buffer):
    """Put points of lines into op 0, counted from the nearer end; returns the rows filled."""
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
    """Largest magnitude in x float64[n] as bits; not finite numbers are larger than all others."""
    bits = x.view(np.int64)
    largest = np.int64(0)
    for k in range(bits.shape[0]):
        largest = max(largest, bits[k] & MAGNITUDE)
    return largest


@kernel
def _switch(code, i, x, y, states):
    """Values of switching op i for one row; most ops are ReLU, which needs no states."""
    if code.op_table[i, ir.OP] == ir.RELU:
        for k in range(y.shape[0]):
            y[k] = max(x[k], 0.0)
    else:
        apply_switching(code, i, x, y, states)


@kernel
def _copy_chosen(code, i, z, neurons, first, last, z_out):
    """Copy the pre-activations of those neurons first, ... that belong to op i; returns the first one that doesn't."""
    channels = code.op_table[i, ir.CHANNELS]
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    while first < last and neurons[first] < code.op_table[i + 1, ir.NEURON]:
        k = neurons[first] - code.op_table[i, ir.NEURON]
        z_out[first] = z[k % positions * channels + k // positions]
        first += 1
    return first


@allocating_kernel
def check_points(code, starts, ends, lines, t, depth, offsets, neurons, buffer, states, largest_out, z_out):
    """Evaluate points of lines: the largest magnitude of each switching op's pre-activations, and those of chosen neurons.

    starts, ends float64[L, D]; lines int64[B] and t float64[B] say where the points are. depth int64[B]: the last op that a
    point needs, never increasing, so that the rows of a tile which an op is left with are its first. offsets int64[B+1],
    neurons int64[*]: row r wants neurons[offsets[r] : offsets[r + 1]], increasing. buffer float64[T * n_values], zero at first,
    and states int32[n_values] are scratch.
    Out: largest_out int64[B, S], the bits of a float64 that isn't finite where a pre-activation isn't, untouched behind the
    last op; z_out float64[*].
    """
    view = ir.PackedProgram(
        without_refcount(code.op_table),
        without_refcount(code.indices),
        without_refcount(code.parameters),
        without_refcount(code.row_weights),
    )
    values, cursor = without_refcount(buffer), np.empty(TILE, np.int64)
    for first in range(0, lines.shape[0], TILE):
        filled = _load_points(view, without_refcount(starts), without_refcount(ends), lines, t, first, values)
        cursor[:filled] = offsets[first : first + filled]
        s = 0
        for i in range(1, depth[first] + 1):
            while depth[first + filled - 1] < i:
                filled -= 1
            if view.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
                apply_linear(view, i, TILE, filled, values, PLAIN)
                add_constant(view, i, filled, TILE, values)
                continue
            x, y = rows_of(view, operand(view, i, 0), TILE, values), rows_of(view, i, TILE, values)
            for r in range(filled):
                _switch(view, i, x[r], y[r], states)
                kind = view.op_table[i, ir.OP]
                z = y[r] if kind == ir.MAX_POOL else x[r]
                known = kind == ir.MAX_POOL or kind == ir.RELU or kind == ir.LEAKY_RELU or kind == ir.CLIP
                largest_out[first + r, s] = _largest(z) if known else MAGNITUDE
                cursor[r] = _copy_chosen(view, i, z, neurons, cursor[r], offsets[first + r + 1], z_out)
            s += 1
