"""Linear bounds of single neurons: ``lower_slope z + lower_intercept <= f(z) <= upper_slope z + upper_intercept`` on [l, u].

A neuron with one kink is convex or concave. Its chord is a bound on one side; on the other side, all lines through the kink
with slopes between those of both pieces are. A Clip with both thresholds in [l, u] has lines through one
threshold on each side.
The chosen slope gives the bound with the smallest area (Zhang et al., "Efficient Neural Network Robustness Certification
with General Activation Functions", NeurIPS 2018, Section 3.2; Singh et al., "An Abstract Domain for Certifying Neural
Networks", POPL 2019, Section 4.2). Intercepts are rounded outward, for slopes as they are.
"""

import numpy as np

from .._jit import inlined_kernel, kernel
from ..ir import program as ir
from ..ir.affine import tap_position
from ..ir.switching import piece, state_of
from . import slot as bs

_UNIT = 2.0**-51


@inlined_kernel
def thresholds(code, i):
    """Return the first and last threshold of the neurons of elementwise op i; NaN for other ops."""
    kind, at = code.op_table[i, ir.OP], code.op_table[i, ir.COEFFICIENTS]
    if kind == ir.CLIP:
        return code.parameters[at], code.parameters[at + 1]
    if kind == ir.RELU or kind == ir.LEAKY_RELU:
        return 0.0, 0.0
    return np.nan, np.nan


@inlined_kernel
def has_windows(code, i):
    """Return whether op i is a switching op with windows, not an elementwise one."""
    return code.op_table[i, ir.OP] >= ir.FIRST_SWITCHING and code.op_table[i, ir.KERNEL_H] > 0


@inlined_kernel
def value_at(code, i, k, z):
    """Return the value of elementwise neuron k of op i at a pre-activation, finite or infinite."""
    slope, intercept = piece(code, i, k, state_of(code, i, z))
    return intercept if slope == 0.0 else slope * z + intercept


@inlined_kernel
def offset(value, slope, z, sign):
    """Return ``value - slope * z``, rounded upward for sign 1 and downward for -1."""
    shift = slope * z if slope != 0.0 else 0.0
    return (value - shift) + sign * (_UNIT * (abs(value) + abs(shift)) + bs.TINY)


@kernel
def _through_kink(r, e, first, slope, first_slope, last_slope, kink, value, sign):
    """Store a bound through a kink: row ``first`` of r is its slope. ``sign``: 1 for upper bounds."""
    r[first, e] = slope
    r[first + 1, e] = 0.0 if kink == 0.0 and value == 0.0 else offset(value, slope, kink, sign)
    base = bs.UPPER_FIRST if sign > 0 else bs.LOWER_FIRST
    r[base, e], r[base + 1, e] = first_slope, last_slope
    r[base + 2, e], r[base + 3, e] = kink, value


@kernel
def _line(r, e, first, slope, intercept, sign):
    """Store a bound with a slope that is not free."""
    r[first, e], r[first + 1, e] = slope, intercept
    base = bs.UPPER_FIRST if sign > 0 else bs.LOWER_FIRST
    r[base, e] = r[base + 1, e] = slope
    r[base + 2, e] = np.nan


@kernel
def _chord(code, i, k, z0, z1, kink, r, e, first, sign):
    """Store the chord of a neuron with one kink, above it for sign 1."""
    low, high, middle = value_at(code, i, k, z0), value_at(code, i, k, z1), value_at(code, i, k, kink)
    slope = (high - low) / (z1 - z0)
    if not np.isfinite(slope):
        slope = 0.0
    a, b, c = offset(low, slope, z0, sign), offset(high, slope, z1, sign), offset(middle, slope, kink, sign)
    _line(r, e, first, slope, max(a, max(b, c)) if sign > 0 else min(a, min(b, c)), sign)


@kernel
def relax_elementwise(code, i, k, z0, z1, e, r):
    """Store the bounds of neuron k (stored order) of elementwise op i on [z0, z1] in column e of ``relaxation``.

    Return its state if it has one on all of [z0, z1], and -1 otherwise.
    """
    below, above = state_of(code, i, z0), state_of(code, i, z1)
    first, last = thresholds(code, i)
    while below < above and z0 >= (first if below == 0 else last):
        below += 1  # an end at a threshold belongs to both pieces
    while below < above and z1 <= (last if above == 2 else first):
        above -= 1
    if below >= above:
        slope, intercept = piece(code, i, k, above)
        _line(r, e, bs.LOWER_SLOPE, slope, intercept, -1)
        _line(r, e, bs.UPPER_SLOPE, slope, intercept, 1)
        return above
    kink = last if below == 1 else first
    if not (np.isfinite(z0) and np.isfinite(z1)):
        low, high, at = value_at(code, i, k, z0), value_at(code, i, k, z1), value_at(code, i, k, kink)
        at = at if below + 1 == above else low
        _line(r, e, bs.LOWER_SLOPE, 0.0, min(low, min(high, at)), -1)
        _line(r, e, bs.UPPER_SLOPE, 0.0, max(low, max(high, at)), 1)
        return -1
    middle = 0.5 * z0 + 0.5 * z1
    if below + 1 == above:
        s0, s1 = piece(code, i, k, below)[0], piece(code, i, k, above)[0]
        value = value_at(code, i, k, kink)
        best = s1 if middle > kink else s0
        if s1 >= s0:  # convex: lines through the kink are below
            _through_kink(r, e, bs.LOWER_SLOPE, best, s0, s1, kink, value, -1)
            _chord(code, i, k, z0, z1, kink, r, e, bs.UPPER_SLOPE, 1)
        else:
            _chord(code, i, k, z0, z1, kink, r, e, bs.LOWER_SLOPE, -1)
            _through_kink(r, e, bs.UPPER_SLOPE, best, s0, s1, kink, value, 1)
        return -1
    # rounded toward zero: lines with slopes up to these are valid
    steepest = max(0.0, (last - first) / (z1 - first) * (1.0 - _UNIT))
    _through_kink(r, e, bs.LOWER_SLOPE, steepest if middle > first else 0.0, 0.0, steepest, first, first, -1)
    steepest = max(0.0, (last - first) / (last - z0) * (1.0 - _UNIT))
    _through_kink(r, e, bs.UPPER_SLOPE, steepest if middle < last else 0.0, 0.0, steepest, last, last, 1)
    return -1


@kernel
def pool_slope(low, high, threshold):
    """Return the coefficient of a tap in the upper bound of a maximum, rounded upward; 0 where the tap is never above."""
    if high <= threshold:
        return 0.0
    return (high - threshold) / (high - low) * (1.0 + _UNIT)


@kernel
def relax_pool(code, i, p, c, low, high, known, e, r):
    """Store the bounds of the maximum of a window; ``low`` and ``high`` are the bounds of the op's inputs x.

    Lower: the tap with the largest lower bound, at least. Upper: ``m + sum s_t (x_t - l_t)`` with the largest lower bound m
    and ``s_t = (u_t - m) / (u_t - l_t)`` over all taps that may exceed m, or the largest upper bound, which is better at the
    centre. Row UPPER_KINK holds m for the first, and NaN for the second.

    Return (tap of the lower bound, proved winner or -1).
    """
    channels = code.op_table[i, ir.CHANNELS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    best, m, top, second = -1, -np.inf, -np.inf, -np.inf
    for tap in range(taps):
        q = tap_position(code, i, p, tap)
        if q >= 0:
            if best < 0 or low[q * channels + c] > m:
                best, m = tap, low[q * channels + c]
            top = max(top, high[q * channels + c])
    total, constant, size = 0.0, m, abs(m)
    for tap in range(taps):
        q = tap_position(code, i, p, tap)
        if q >= 0 and tap != best:
            second = max(second, high[q * channels + c])
        if q >= 0 and high[q * channels + c] > m:
            x = q * channels + c
            slope = pool_slope(low[x], high[x], m)
            total += 0.5 * (high[x] - m)
            constant -= slope * low[x]
            size += slope * abs(low[x])
    if known >= 0:
        best = known
    winner = known if known >= 0 else (best if m >= second else -1)
    _line(r, e, bs.LOWER_SLOPE, 1.0, 0.0, -1)
    _line(r, e, bs.UPPER_SLOPE, 0.0, top, 1)
    if winner < 0 and np.isfinite(size) and m + total < top:
        r[bs.UPPER_INTERCEPT, e] = constant + (taps + 2) * _UNIT * size + bs.TINY
        r[bs.UPPER_KINK, e] = m
    return best, winner
