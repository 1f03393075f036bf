"""Rounding errors of values and slopes along a line, as variances.

Each pre-activation z = sum_i w_i a_i + b carries the errors of its inputs and of the sum. Treated as independent, their
squares add up:  E_z^2 = sum_i w_i^2 (E_i^2 + (2 u max|a_i|)^2) + (u b)^2, with u the unit roundoff and the maximum over the
window; slopes likewise. That is one more pass with squared weights per window. It is equivariant to rescaling neurons, and it
does not grow with depth as the worst-case bound sum |w_i| E_i does (which is useless beyond a few layers). A decision uses
``Tolerances.rounding`` times this error.

A float64 array [2, n] of an op: row 0 squared error of values, row 1 squared error of slopes.

Slope changes in float32 are another source of errors. Except in pools they do not affect decisions, which are those of float64
with the slope changes as they are, but they are reported: how far they may have moved a breakpoint, and how many decisions are
within their bound. A slope change d_k, rounded by u_s |d_k| with the product that made it (u_s the unit roundoff of float32),
moves values by up to that times the window's length. The squares of these add up in ``at_start[FLOAT32_VARIANCE]``,
row 0 [n] of an op, and are pushed with squared weights.
"""

import numpy as np

from .._jit import ONE, TWO, ZERO, inline_view, inlined_kernel, kernel
from ..ir import program as ir
from ..ir.affine import PLAIN, SQUARED, add_constant, apply_linear, operand, rows_of, weights_of
from . import workspace as ws

UNIT_ROUNDOFF = 2.0**-53
LEAST_VARIANCE, LARGEST_VARIANCE = 2.0**-600, 2.0**1000  # beyond them, squares of errors and of weights may under- or overflow
SINGLE_ROUNDOFF, SINGLE_TINY = 2.0**-24, 2.0**-145  # tiny: of entries that underflow in float32
SINGLE_LARGE = 2.0**100  # slopes above it may overflow in float32


@kernel
def input_errors(code, start, length, variance):
    """Compute the errors of the input along the window: start + t * slope is rounded like its terms, even where they cancel."""
    x = rows_of(code, 0, 2, start)
    e = rows_of(code, 0, 2, variance)
    for k in range(x.shape[1]):
        largest = max(abs(x[0, k]), abs(x[0, k] + length * x[1, k])) + abs(x[1, k])
        e[0, k] = (2.0 * UNIT_ROUNDOFF * largest) ** 2
        e[1, k] = (2.0 * UNIT_ROUNDOFF * x[1, k]) ** 2


@kernel
def push_start(code, i, start, variance):
    """Compute values, slopes and their errors after affine op i at the window's start."""
    if code.op_table[i, ir.OP] == ir.AFFINE:
        _push_matrix(code, i, start, variance)
    else:
        apply_linear(code, i, TWO, TWO, start, PLAIN)
        apply_linear(code, i, TWO, TWO, variance, SQUARED)
    add_constant(code, i, ONE, TWO, start)
    add_bias_errors(code, i, variance)


@kernel
def add_bias_errors(code, i, variance):
    """Add the rounding errors of the constant part of affine op i."""
    b = code.parameters[code.op_table[i, ir.BIAS] : code.op_table[i, ir.BIAS] + code.op_table[i, ir.N_BIASES]]
    e = rows_of(code, i, 2, variance)
    if b.shape[0] == 0:
        return
    if code.op_table[i, ir.OP] == ir.GATHER:  # constants are exact, but not sums of them
        for k in range(e.shape[1]):
            if code.indices[code.op_table[i, ir.INDEX] + k] < 0:
                e[0, k] = (2.0 * UNIT_ROUNDOFF * b[k]) ** 2
        return
    for k in range(0, e.shape[1], b.shape[0]):
        for c in range(b.shape[0]):
            e[0, k + c] += (UNIT_ROUNDOFF * b[c]) ** 2


@inlined_kernel
def _next_used(x, e, k):
    """Return the first input from k on that is not certainly zero, or the number of inputs."""
    while k < x.shape[1] and x[0, k] == 0.0 and x[1, k] == 0.0 and e[0, k] == 0.0 and e[1, k] == 0.0:
        k += 1
    return min(k, x.shape[1])


@kernel
def _push_matrix(code, i, start, variance):
    """Apply a fully connected op to values, slopes and both errors, reading its weights once and skipping zero inputs."""
    x, e = rows_of(code, operand(code, i, 0), 2, start), rows_of(code, operand(code, i, 0), 2, variance)
    y, f = rows_of(code, i, 2, start), rows_of(code, i, 2, variance)
    w, last = weights_of(code, i).reshape(x.shape[1], y.shape[1]), x.shape[1]
    values, slopes, value_errors, slope_errors = y[0], y[1], f[0], f[1]
    for c in range(y.shape[1]):
        values[c] = slopes[c] = value_errors[c] = slope_errors[c] = 0.0
    k0 = _next_used(x, e, ZERO)
    while k0 < last:
        k1 = _next_used(x, e, k0 + 1)
        k2 = _next_used(x, e, k1 + 1)
        k3 = _next_used(x, e, k2 + 1)
        following = _next_used(x, e, k3 + 1)
        (v0, s0), (e0, d0) = (x[0, k0], x[1, k0]), (e[0, k0], e[1, k0])
        w0, w1, w2, w3 = w[k0], w[k0], w[k0], w[k0]
        v1 = v2 = v3 = s1 = s2 = s3 = e1 = e2 = e3 = d1 = d2 = d3 = 0.0
        if k1 < last:
            w1, v1, s1, e1, d1 = w[k1], x[0, k1], x[1, k1], e[0, k1], e[1, k1]
        if k2 < last:
            w2, v2, s2, e2, d2 = w[k2], x[0, k2], x[1, k2], e[0, k2], e[1, k2]
        if k3 < last:
            w3, v3, s3, e3, d3 = w[k3], x[0, k3], x[1, k3], e[0, k3], e[1, k3]
        for c in range(y.shape[1]):
            a0, a1, a2, a3 = w0[c], w1[c], w2[c], w3[c]
            values[c] += (v0 * a0 + v1 * a1) + (v2 * a2 + v3 * a3)
            slopes[c] += (s0 * a0 + s1 * a1) + (s2 * a2 + s3 * a3)
            a0, a1, a2, a3 = a0 * a0, a1 * a1, a2 * a2, a3 * a3
            value_errors[c] += (e0 * a0 + e1 * a1) + (e2 * a2 + e3 * a3)
            slope_errors[c] += (d0 * a0 + d1 * a1) + (d2 * a2 + d3 * a3)
        k0 = following


@kernel
def push_float32_errors(code, work, i):
    """Compute the errors from float32 slope changes after affine op i."""
    apply_linear(code, i, TWO, ONE, work.at_start[ws.FLOAT32_VARIANCE], SQUARED)


@inline_view
def float32_variance(code, work, j):
    """View the squared errors of op j's values at the window's end from float32 slope changes: float64[n]."""
    return rows_of(code, j, 2, work.at_start[ws.FLOAT32_VARIANCE])[0]


@kernel
def add_float32_errors(code, work, i, p, first, length):
    """Add the errors of the float32 slope changes from row ``first`` on, which position p of op i stores."""
    errors, u = float32_variance(code, work, i)[p * code.op_table[i, ir.CHANNELS] :], length * SINGLE_ROUNDOFF
    for row in range(first, work.counts[ws.TOP_ROW]):
        for e in range(work.starts[row], work.starts[row + 1]):
            x = u * work.values[e]
            errors[work.columns[e + work.shifts[row]]] += x * x


@kernel
def add_squares(code, work, i, p, slots, length):
    """Add the errors of the float32 slope changes that left the slots of position p of op i, and reset their sums."""
    errors, u = float32_variance(code, work, i)[p * code.op_table[i, ir.CHANNELS] :], length * SINGLE_ROUNDOFF
    for z in range(slots):
        errors[work.channel_labels[ws.CHANNEL, z]] += u * u * work.channels[ws.SQUARES, z]
        work.channels[ws.SQUARES, z] = 0.0


@inlined_kernel
def out_of_range(variance, k, value, slope):
    """Return whether errors of entry k may have under- or overflowed, NaN included; an entry that is exactly zero has none.

    Errors of entries that are summed up before may be smaller; they then do not matter, since weights are limited (scaling.py).
    """
    e, d = variance[0, k], variance[1, k]
    if e >= LEAST_VARIANCE and e <= LARGEST_VARIANCE and d <= LARGEST_VARIANCE:
        return False
    return not (e == 0.0 and d == 0.0 and value == 0.0 and slope == 0.0)


@inlined_kernel
def decision_bounds(variance, k, value, slope, n, length, rounding):
    """Return the bounds within which entry k's value and slope count as zero along a window: (value, slope).

    The error at the start, that of the slope over the window, and one rounding for each of its n events add up.
    """
    step = UNIT_ROUNDOFF * max(abs(value), abs(value + slope * length))
    drift = variance[1, k] + n * (UNIT_ROUNDOFF * slope) ** 2
    error = rounding * np.sqrt(variance[0, k] + n * step * step + drift * length * length)
    return error, rounding * np.sqrt(drift)
