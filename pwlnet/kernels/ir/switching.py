"""Switching ops: the state of each neuron, the value under that state, and the adjoint.

A state is the index of the affine piece that a neuron is on. Elementwise ops: ReLU and LeakyReLU have states 0 (z <= 0) and
1 (z > 0); Clip has 0 (z <= lower), 1 (between) and 2 (z >= upper). MaxPool: the index ``row * kernel_w + column`` of the
winning tap in the window, the lowest one on ties. Stored order of states: like values, ``p * C + c``.

Legend: P positions, C channels.
"""

import numpy as np

from .._jit import inlined_kernel, kernel
from ..arrays import fill
from . import program as ir
from .affine import tap_position, weights_of


@inlined_kernel
def piece(code, i, k, state):
    """Return the slope and intercept of neuron k (stored order) of elementwise op i in a state; NaN for other ops."""
    kind = code.op_table[i, ir.OP]
    if kind == ir.RELU:
        return float(state), 0.0
    if kind == ir.LEAKY_RELU:
        w = weights_of(code, i)
        return (1.0 if state == 1 else w[k % w.shape[0]]), 0.0
    if kind != ir.CLIP:
        return np.nan, np.nan
    if state == 1:
        return 1.0, 0.0
    return 0.0, code.parameters[code.op_table[i, ir.COEFFICIENTS] + (0 if state == 0 else 1)]


@inlined_kernel
def state_of(code, i, z):
    """Return the state of an elementwise neuron with pre-activation z; -1 for other ops."""
    kind = code.op_table[i, ir.OP]
    if kind == ir.CLIP:
        if z <= code.parameters[code.op_table[i, ir.COEFFICIENTS] + 0]:
            return 0
        return 2 if z >= code.parameters[code.op_table[i, ir.COEFFICIENTS] + 1] else 1
    if kind != ir.RELU and kind != ir.LEAKY_RELU:
        return -1
    return 1 if z > 0.0 else 0


@kernel
def winner(code, i, p, c, x):
    """Return the winning tap of MaxPool op i at position p, channel c, for input values x: (tap, input entry)."""
    channels = code.op_table[i, ir.CHANNELS]
    best, entry = -1, -1
    for tap in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
        q = tap_position(code, i, p, tap)
        if q >= 0 and (best < 0 or x[q * channels + c] > x[entry]):
            best, entry = tap, q * channels + c
    return best, entry


@kernel
def apply_switching(code, i, x, y, states_out):
    """Compute values and states of switching op i for one row: x float64[n_in], y float64[n], states_out int32[n].

    NaN and -1 if the op is unknown.
    """
    if code.op_table[i, ir.OP] == ir.MAX_POOL:
        channels = code.op_table[i, ir.CHANNELS]
        for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
            for c in range(channels):
                tap, entry = winner(code, i, p, c, x)
                states_out[p * channels + c] = tap
                y[p * channels + c] = x[entry]
        return
    if state_of(code, i, 0.0) < 0 or np.isnan(piece(code, i, 0, 0)[0]):
        fill(y, np.nan)
        fill(states_out[: y.shape[0]], -1)
        return
    for k in range(y.shape[0]):
        state = state_of(code, i, x[k])
        slope, intercept = piece(code, i, k, state)
        states_out[k] = state
        y[k] = slope * x[k] + intercept


@kernel
def select(code, i, states, x, y, linear):
    """Compute the values of switching op i under given states for one row; only the linear part where ``linear``."""
    channels = code.op_table[i, ir.CHANNELS]
    if code.op_table[i, ir.OP] == ir.MAX_POOL:
        for k in range(y.shape[0]):
            q = tap_position(code, i, k // channels, states[k])
            y[k] = x[q * channels + k % channels]
        return
    for k in range(y.shape[0]):
        slope, intercept = piece(code, i, k, states[k])
        y[k] = slope * x[k] + (0.0 if linear else intercept)


@kernel
def add_select_adjoint(code, i, states, gy, gx):
    """Add the adjoint of ``select`` for one row to gx."""
    channels = code.op_table[i, ir.CHANNELS]
    if code.op_table[i, ir.OP] == ir.MAX_POOL:
        for k in range(gy.shape[0]):
            q = tap_position(code, i, k // channels, states[k])
            gx[q * channels + k % channels] += gy[k]
        return
    for k in range(gy.shape[0]):
        slope, _ = piece(code, i, k, states[k])
        gx[k] += slope * gy[k]


@kernel
def to_source_order(code, i, stored, out):
    """Reorder one op's entries from position-major to the source's channel-major numbering."""
    channels = code.op_table[i, ir.CHANNELS]
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    for p in range(positions):
        for c in range(channels):
            out[c * positions + p] = stored[p * channels + c]


@kernel
def from_source_order(code, i, numbered, out):
    """Reorder one op's entries from the source's channel-major numbering to position-major."""
    channels = code.op_table[i, ir.CHANNELS]
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    for p in range(positions):
        for c in range(channels):
            out[p * channels + c] = numbered[c * positions + p]


@kernel
def preactivations_of(code, i, x, y, out):
    """Copy the pre-activations of op i for one row in source order; for MaxPool the maximum of the window."""
    kind = code.op_table[i, ir.OP]
    if kind == ir.RELU or kind == ir.LEAKY_RELU or kind == ir.CLIP:
        to_source_order(code, i, x, out)
    elif kind == ir.MAX_POOL:
        to_source_order(code, i, y, out)
    else:
        fill(out, np.nan)


def n_states(code, i):
    """Return the number of states of each neuron of op i; 0 for an op that has none. Python only."""
    kind = code.op_table[i, ir.OP]
    if kind == ir.MAX_POOL:
        return code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    if kind == ir.CLIP:
        return 3
    return 2 if kind == ir.RELU or kind == ir.LEAKY_RELU else 0
