"""Rounding errors of values and slopes along a line, as variances.

Each pre-activation z = sum_i w_i a_i + b carries the errors of its inputs and of its own sum. Treated as independent, their
squares add up:  E_z^2 = sum_i w_i^2 (E_i^2 + (2 u max|a_i|)^2) + (u b)^2, with u the unit roundoff and the maximum over the
window; slopes likewise. That is one more pass with squared weights per window. It is equivariant to rescaling neurons, and it
doesn't grow with depth as the worst-case bound sum |w_i| E_i does (which is useless beyond a few layers). A decision uses
``Tolerances.rounding`` times this error.

A float64 array [2, n] of an op: row 0 squared error of values, row 1 squared error of slopes.
"""

import numpy as np

from . import program as ir
from ._jit import inlined_kernel, kernel
from .affine import add_constant, apply_linear, operand, rows_of, weights_of

UNIT_ROUNDOFF = 2.0**-53


@kernel
def input_errors(code, start, length, variance):
    """Errors of the input along the window: start + t * slope is rounded as its terms are, also where they cancel."""
    x = rows_of(code, 0, 2, start)
    e = rows_of(code, 0, 2, variance)
    for k in range(x.shape[1]):
        largest = max(abs(x[0, k]), abs(x[0, k] + length * x[1, k])) + abs(x[1, k])
        e[0, k] = (2.0 * UNIT_ROUNDOFF * largest) ** 2
        e[1, k] = (2.0 * UNIT_ROUNDOFF * x[1, k]) ** 2


@kernel
def push_start(code, i, start, variance):
    """Values, slopes and their errors behind affine op i at the window's start."""
    if code.info[i, ir.OP] == ir.AFFINE:
        _push_matrix(code, i, start, variance)
    else:
        apply_linear(code, i, 2, 2, start, False)
        apply_linear(code, i, 2, 2, variance, True)
    add_constant(code, i, 1, 2, start)
    b = code.numbers[code.info[i, ir.BIAS] : code.info[i, ir.BIAS] + code.info[i, ir.N_BIASES]]
    e = rows_of(code, i, 2, variance)
    if b.shape[0] == 0 or code.info[i, ir.OP] == ir.GATHER:
        return
    for k in range(0, e.shape[1], b.shape[0]):
        for c in range(b.shape[0]):
            e[0, k + c] += (UNIT_ROUNDOFF * b[c]) ** 2


@kernel
def _push_matrix(code, i, start, variance):
    """A fully connected op reads its weights once for values, slopes and both errors, and skips inputs that are zero."""
    x, e = rows_of(code, operand(code, i, 0), 2, start), rows_of(code, operand(code, i, 0), 2, variance)
    y, f = rows_of(code, i, 2, start), rows_of(code, i, 2, variance)
    w = weights_of(code, i).reshape(x.shape[1], y.shape[1])
    for c in range(y.shape[1]):
        y[0, c] = y[1, c] = f[0, c] = f[1, c] = 0.0
    for k in range(x.shape[1]):
        if x[0, k] == 0.0 and x[1, k] == 0.0 and e[0, k] == 0.0 and e[1, k] == 0.0:
            continue
        v, s, v_error, s_error = x[0, k], x[1, k], e[0, k], e[1, k]
        for c in range(y.shape[1]):
            y[0, c] += v * w[k, c]
            y[1, c] += s * w[k, c]
            f[0, c] += v_error * (w[k, c] * w[k, c])
            f[1, c] += s_error * (w[k, c] * w[k, c])


@inlined_kernel
def decision_bounds(variance, k, value, slope, n, length, rounding):
    """Bounds within which entry k's value and slope count as zero along a window: (value, slope).

    To the error at the start come that of the slope over the window, and one rounding for each of its n events.
    """
    step = UNIT_ROUNDOFF * max(abs(value), abs(value + slope * length))
    drift = variance[1, k] + n * (UNIT_ROUNDOFF * slope) ** 2
    error = rounding * np.sqrt(variance[0, k] + n * step * step + drift * length * length)
    return error, rounding * np.sqrt(drift)
