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
from .affine import apply_linear, rows_of

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
def affine_errors(code, i, variance):
    """Errors behind affine op i."""
    apply_linear(code, i, 2, 2, variance, True)
    b = code.numbers[code.info[i, ir.BIAS] : code.info[i, ir.BIAS] + code.info[i, ir.N_BIASES]]
    e = rows_of(code, i, 2, variance)
    if b.shape[0] == 0 or code.info[i, ir.OP] == ir.GATHER:
        return
    for k in range(0, e.shape[1], b.shape[0]):
        for c in range(b.shape[0]):
            e[0, k + c] += (UNIT_ROUNDOFF * b[c]) ** 2


@inlined_kernel
def decision_bounds(variance, k, value, slope, n, length, rounding):
    """Bounds within which entry k's value and slope count as zero along a window: (value, slope).

    To the error at the start come that of the slope over the window, and one rounding for each of its n events.
    """
    step = UNIT_ROUNDOFF * max(abs(value), abs(value + slope * length))
    drift = variance[1, k] + n * (UNIT_ROUNDOFF * slope) ** 2
    error = rounding * np.sqrt(variance[0, k] + n * step * step + drift * length * length)
    return error, rounding * np.sqrt(drift)
