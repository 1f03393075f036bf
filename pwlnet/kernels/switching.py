"""Switching ops: the state of each neuron, the value under that state, and the adjoint.

A state is the index of the affine piece that a neuron is on. Elementwise ops: ReLU and LeakyReLU have states 0 (z <= 0) and
1 (z > 0); Clip has 0 (z <= lower), 1 (between) and 2 (z >= upper). MaxPool: the index ``row * kernel_w + column`` of the
winning tap in the window, the lowest one on ties. Stored order of states: like values, ``p * C + c``.

Legend: P positions, C channels.
"""

import numpy as np

from . import program as ir
from ._jit import kernel
from .affine import operand, tap_position, weights_of


@kernel
def piece(program, i, k, state):
    """Slope and intercept of neuron k (stored order) of elementwise op i in a state."""
    code = program.op[i]
    if code == ir.RELU:
        return float(state), 0.0
    if code == ir.LEAKY_RELU:
        w = weights_of(program, i)
        return (1.0 if state == 1 else w[k % w.shape[0]]), 0.0
    if state == 1:
        return 1.0, 0.0
    return 0.0, program.coefficients[i, 0 if state == 0 else 1]


@kernel
def state_of(program, i, z):
    """State of an elementwise neuron with pre-activation z."""
    if program.op[i] == ir.CLIP:
        if z <= program.coefficients[i, 0]:
            return 0
        return 2 if z >= program.coefficients[i, 1] else 1
    return 1 if z > 0.0 else 0


@kernel
def winner(program, i, p, c, x):
    """Winning tap of MaxPool op i at position p, channel c, for input values x: (tap, input entry)."""
    channels = program.shapes[i, 0]
    best, entry = -1, -1
    for tap in range(program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W]):
        q = tap_position(program, i, p, tap)
        if q >= 0 and (best < 0 or x[q * channels + c] > x[entry]):
            best, entry = tap, q * channels + c
    return best, entry


@kernel
def apply_switching(program, i, x, y, states_out):
    """Values and states of switching op i for one row: x float64[n_in], y float64[n], states_out int32[n]."""
    if program.op[i] == ir.MAX_POOL:
        channels = program.shapes[i, 0]
        for p in range(program.shapes[i, 1] * program.shapes[i, 2]):
            for c in range(channels):
                tap, entry = winner(program, i, p, c, x)
                states_out[p * channels + c] = tap
                y[p * channels + c] = x[entry]
        return
    for k in range(y.shape[0]):
        state = state_of(program, i, x[k])
        slope, intercept = piece(program, i, k, state)
        states_out[k] = state
        y[k] = slope * x[k] + intercept


@kernel
def select(program, i, states, x, y, linear):
    """Values of switching op i under given states for one row; the linear part alone where ``linear``."""
    channels = program.shapes[i, 0]
    if program.op[i] == ir.MAX_POOL:
        for k in range(y.shape[0]):
            q = tap_position(program, i, k // channels, states[k])
            y[k] = x[q * channels + k % channels]
        return
    for k in range(y.shape[0]):
        slope, intercept = piece(program, i, k, states[k])
        y[k] = slope * x[k] + (0.0 if linear else intercept)


@kernel
def add_select_adjoint(program, i, states, gy, gx):
    """Add the adjoint of ``select`` for one row to gx."""
    channels = program.shapes[i, 0]
    if program.op[i] == ir.MAX_POOL:
        for k in range(gy.shape[0]):
            q = tap_position(program, i, k // channels, states[k])
            gx[q * channels + k % channels] += gy[k]
        return
    for k in range(gy.shape[0]):
        slope, _ = piece(program, i, k, states[k])
        gx[k] += slope * gy[k]


@kernel
def to_source_order(program, i, stored, out):
    """Reorder one op's entries from position-major to the source's channel-major numbering."""
    channels = program.shapes[i, 0]
    positions = program.shapes[i, 1] * program.shapes[i, 2]
    for p in range(positions):
        for c in range(channels):
            out[c * positions + p] = stored[p * channels + c]


@kernel
def from_source_order(program, i, numbered, out):
    """The inverse of ``to_source_order``."""
    channels = program.shapes[i, 0]
    positions = program.shapes[i, 1] * program.shapes[i, 2]
    for p in range(positions):
        for c in range(channels):
            out[p * channels + c] = numbered[c * positions + p]


@kernel
def preactivations_of(program, i, x, y, out):
    """Pre-activations of op i for one row in source order; for MaxPool the window's maximum."""
    to_source_order(program, i, y if program.op[i] == ir.MAX_POOL else x, out)


@kernel
def n_states(program, i):
    """Number of states of each neuron of op i."""
    code = program.op[i]
    if code == ir.MAX_POOL:
        return program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W]
    return np.int64(3) if code == ir.CLIP else np.int64(2)


@kernel
def operand_of_switching(program, i):
    """The op whose values are the pre-activations of op i."""
    return operand(program, i, 0)
