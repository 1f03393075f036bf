"""A closer look at neurons that are near a threshold at the start of a window.

The bounds of a scan (rounding.py) hold along the whole window, and may be far larger than the error at its start: for x - 1
from x = 0 to 1e15 the value is -1, its bound is above 1. So a neuron within its bound at the start is looked at again:

- a neuron of the first layer is computed from both ends of the line in twice the precision [1]_ (the ends are exact, x(t) and
  its slope are not), so that its sign is certain unless 2**-96 of the sizes of its terms cancels;
- of other neurons the errors at the start are computed, op by op, and only where a neuron needs them. They are zero where all
  terms are zero, as those of a network without biases at the origin.

What is a tie then is decided as one, and counted in counts[AMBIGUOUS] unless it is certain.

.. [1] Ogita, Rump and Oishi, "Accurate Sum and Dot Product", SIAM J. Sci. Comput. 26(6), 2005, Algorithm 5.3.
"""

import numpy as np

from .._jit import TWO, inline_view, inlined_kernel, kernel, matrix_view
from ..ir import program as ir
from ..ir.affine import SQUARED, apply_linear, conv_weights, operand, rows_of, tap_position, weights_of
from ..ir.switching import piece
from . import workspace as ws
from .rounding import UNIT_ROUNDOFF, add_bias_errors

SPLIT = 2.0**27 + 1.0  # Dekker's: halves of 26 bits
TWICE_ROUNDOFF = 2.0**-96  # of sums in twice the precision: 2**-106, and up to a thousand terms


@inlined_kernel
def neuron_number(code, i, p, c):
    """Return the number of a neuron in the network: channel by channel inside an op."""
    return code.op_table[i, ir.NEURON] + c * code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH] + p


@inline_view
def line_ends(code, work):
    """View start and end of the line as op 0's values: float64[2, n_0]."""
    return matrix_view(work.at_start[ws.START_VARIANCE], TWO * code.op_table[-1, ir.VALUE], TWO, code.op_table[1, ir.VALUE])


@inlined_kernel
def _two_sum(a, b):
    """Return the rounded sum, and its error."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@inlined_kernel
def _two_product(a, b):
    """Return the rounded product, and its error."""
    p, x, y = a * b, a * SPLIT, b * SPLIT
    a1, b1 = x - (x - a), y - (y - b)
    a2, b2 = a - a1, b - b1
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


@inlined_kernel
def _add_product(high, low, w, x):
    """Return high + low + w * x, as a sum of two."""
    p, e = _two_product(w, x)
    high, rest = _two_sum(high, p)
    return high, low + (e + rest)


@kernel
def _entry_at(code, j, k, x):
    """Compute entry k of op j, the input or an affine op that reads the input x, in twice the precision.

    Return (high, low, sum of the magnitudes of all terms).
    """
    if j == 0:
        return x[k], 0.0, 0.0
    high, low, size, n = 0.0, 0.0, 0.0, code.op_table[j, ir.N_BIASES]
    if n > 0:
        high = code.parameters[code.op_table[j, ir.BIAS] + k % n]
        size = abs(high)
    if code.op_table[j, ir.OP] == ir.AFFINE:
        w = weights_of(code, j).reshape(x.shape[0], -1)
        for e in range(x.shape[0]):
            high, low = _add_product(high, low, w[e, k], x[e])
            size += abs(w[e, k] * x[e])
        return high, low, size
    w = conv_weights(code, j)
    c_in, c_out, c_all = w.shape[2], w.shape[3], code.op_table[0, ir.CHANNELS]
    p, c = k // code.op_table[j, ir.CHANNELS], k % code.op_table[j, ir.CHANNELS]
    group = c // c_out
    for tap in range(w.shape[1]):
        q = tap_position(code, j, p, tap)
        if q >= 0:
            for e in range(c_in):
                factor, entry = w[group, tap, e, c - group * c_out], x[q * c_all + group * c_in + e]
                high, low = _add_product(high, low, factor, entry)
                size += abs(factor * entry)
    return high, low, size


@kernel
def _from_ends(code, work, j, k, t0):
    """Compute entry k of op j at the window's start from both ends of the line: (value, slope, bounds of their errors)."""
    ends = line_ends(code, work)
    h0, l0, size0 = _entry_at(code, j, k, ends[0])
    h1, l1, size1 = _entry_at(code, j, k, ends[1])
    slope, rest = _two_sum(h1, -h0)
    rest += l1 - l0
    high, low = _add_product(h0, l0 + t0 * rest, t0, slope)
    return high + low, slope + rest, TWICE_ROUNDOFF * (size0 + t0 * size1), TWICE_ROUNDOFF * (size0 + size1)


@inlined_kernel
def _reads_input(code, j):
    """Return whether op j is the input, or a matrix or convolution of it."""
    kind = code.op_table[j, ir.OP]
    return j == 0 or ((kind == ir.AFFINE or kind == ir.CONV2D) and operand(code, j, 0) == 0)


@kernel
def _switch_errors(code, work, i):
    """Compute the errors of values and slopes at the window's start after switching op i."""
    a = rows_of(code, i, 2, work.at_start[ws.VALUE_AND_SLOPE])
    before = rows_of(code, operand(code, i, 0), 2, work.at_start[ws.START_VARIANCE])
    after = rows_of(code, i, 2, work.at_start[ws.START_VARIANCE])
    channels = code.op_table[i, ir.CHANNELS]
    for k in range(after.shape[1]):
        p, c = k // channels, k % channels
        state, slope, entry = work.states[ws.WINDOW_START, neuron_number(code, i, p, c)], 1.0, k
        if code.op_table[i, ir.OP] == ir.MAX_POOL:
            entry = tap_position(code, i, p, state) * channels + c
        else:
            slope, _ = piece(code, i, k, state)
        for r in range(2):
            after[r, k] = slope * slope * before[r, entry] + (2.0 * UNIT_ROUNDOFF * a[r, k]) ** 2


@kernel
def _find_start_errors(code, work, last, t0):
    """Compute the errors at the window's start of the ops up to ``last``, if they are not known."""
    start = work.at_start[ws.START_VARIANCE]
    for i in range(work.counts[ws.N_START_ERRORS], last + 1):
        if i == 0:
            x, e = rows_of(code, 0, 2, work.at_start[ws.VALUE_AND_SLOPE]), rows_of(code, 0, 2, start)
            for k in range(x.shape[1]):
                e[0, k] = (2.0 * UNIT_ROUNDOFF * (abs(x[0, k]) + t0 * abs(x[1, k]))) ** 2
                e[1, k] = (2.0 * UNIT_ROUNDOFF * x[1, k]) ** 2
        elif code.op_table[i, ir.ROLE] == ir.SKIPPED:
            continue
        elif code.op_table[i, ir.OP] >= ir.FIRST_SWITCHING:
            _switch_errors(code, work, i)
        else:
            apply_linear(code, i, TWO, TWO, start, SQUARED)
            add_bias_errors(code, i, start)
    work.counts[ws.N_START_ERRORS] = max(work.counts[ws.N_START_ERRORS], last + 1)


@kernel
def look_closer(code, work, i, k, t0, length, rounding):
    """Look again at neuron k (stored order) of elementwise op i, which is near a threshold at the window's start.

    More accurate values, slopes and errors are put in place of those in ``work.at_start``.

    Returns
    -------
    start_bound, slope_bound : float64
        Bounds of the errors of value and slope at the start.
    value_certain, slope_certain : bool
        Whether a value that is a threshold, and a slope that is zero, are exactly that.
    """
    j = operand(code, i, 0)
    x = rows_of(code, j, 2, work.at_start[ws.VALUE_AND_SLOPE])
    grid = 2.0 * UNIT_ROUNDOFF * t0  # no t between t0 and t0 + grid
    if _reads_input(code, j):
        v, s, value_error, slope_error = _from_ends(code, work, j, k, t0)
        if abs(v) + abs(s) < np.inf:
            variance = rows_of(code, j, 2, work.at_start[ws.VARIANCE])
            x[0, k], x[1, k] = v, s
            largest = max(abs(v), abs(v + s * length)) + (t0 + length) * abs(s)
            variance[0, k], variance[1, k] = (2.0 * UNIT_ROUNDOFF * largest) ** 2, (2.0 * UNIT_ROUNDOFF * s) ** 2
            return max(value_error, grid * abs(s)), slope_error, True, True
    _find_start_errors(code, work, j, t0)
    errors = rows_of(code, j, 2, work.at_start[ws.START_VARIANCE])
    bound = max(rounding * np.sqrt(errors[0, k]), grid * abs(x[1, k]))
    return bound, rounding * np.sqrt(errors[1, k]), errors[0, k] == 0.0, errors[1, k] == 0.0


@kernel
def _same_entries(code, work, i, k1, k2, r):
    """Return whether values (r = 0) or slopes (1) of entries k1 and k2 of matrix or convolution i are computed alike."""
    x = rows_of(code, operand(code, i, 0), 2, work.at_start[ws.VALUE_AND_SLOPE])
    channels, n, first = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.N_BIASES], code.op_table[i, ir.BIAS]
    if r == 0 and n > 0 and code.parameters[first + k1 % n] != code.parameters[first + k2 % n]:
        return False
    if code.op_table[i, ir.OP] == ir.AFFINE:
        w, n_different = weights_of(code, i).reshape(x.shape[1], -1), 0
        for k in range(x.shape[1]):
            n_different += int(w[k, k1] != w[k, k2] and x[r, k] != 0.0)
        return n_different == 0
    if k1 % channels != k2 % channels:
        return False
    c_all = code.op_table[operand(code, i, 0), ir.CHANNELS]
    for tap in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
        q1, q2 = tap_position(code, i, k1 // channels, tap), tap_position(code, i, k2 // channels, tap)
        for k in range(c_all):
            if (x[r, q1 * c_all + k] if q1 >= 0 else 0.0) != (x[r, q2 * c_all + k] if q2 >= 0 else 0.0):
                return False
    return True


@kernel
def _same_pieces(code, work, i, k1, k2):
    """Return the slopes and intercepts on which elementwise neurons k1 and k2 of op i are at the window's start."""
    channels = code.op_table[i, ir.CHANNELS]
    s1 = work.states[ws.WINDOW_START, neuron_number(code, i, k1 // channels, k1 % channels)]
    s2 = work.states[ws.WINDOW_START, neuron_number(code, i, k2 // channels, k2 % channels)]
    (g1, b1), (g2, b2) = piece(code, i, k1, s1), piece(code, i, k2, s2)
    return g1, b1, g2, b2


@kernel
def _same_factors(code, i, k1, k2, r):
    """Return whether op i, a Scale, does the same to values (r = 0) or slopes (1) of entries k1 and k2."""
    w, n, b = weights_of(code, i), code.op_table[i, ir.N_BIASES], code.op_table[i, ir.BIAS]
    if r == 0 and n > 0 and code.parameters[b + k1 % n] != code.parameters[b + k2 % n]:
        return False
    return w[k1 % w.shape[0]] == w[k2 % w.shape[0]]


@kernel
def same_signal(code, work, i, k1, k2, r):
    """Return whether values (r = 0) or slopes (1) of entries k1 and k2 of op i are certainly equal at the window's start.

    They are if both are exactly zero, or computed in the same way from the same numbers, as those of a uniform image are.
    """
    a = rows_of(code, i, 2, work.at_start[ws.VALUE_AND_SLOPE])
    if a[r, k1] != a[r, k2]:
        return False
    while k1 != k2:
        kind = code.op_table[i, ir.OP]
        if kind == ir.AFFINE or kind == ir.CONV2D:
            return _same_entries(code, work, i, k1, k2, r)
        if kind == ir.GATHER:
            first, b = code.op_table[i, ir.INDEX], code.op_table[i, ir.BIAS]
            j1, j2 = code.indices[first + k1], code.indices[first + k2]
            if j1 < 0 and j2 < 0:
                return r == 1 or code.parameters[b + k1] == code.parameters[b + k2]
            if j1 < 0 or j2 < 0:
                return False
            k1, k2 = j1, j2
        elif kind == ir.SCALE:
            if not _same_factors(code, i, k1, k2, r):
                return False
        elif kind >= ir.FIRST_SWITCHING and kind != ir.MAX_POOL:
            g1, b1, g2, b2 = _same_pieces(code, work, i, k1, k2)
            if g1 == 0.0 and g2 == 0.0:
                return r == 1 or b1 == b2
            if g1 != g2 or b1 != b2:  # at the kink, which has been decided
                return r == 0 and a[0, k1] == 0.0
        else:
            a, e = rows_of(code, i, 2, work.at_start[ws.VALUE_AND_SLOPE]), rows_of(code, i, 2, work.at_start[ws.VARIANCE])
            return a[r, k1] == a[r, k2] and (i == 0 or e[r, k1] == e[r, k2])
        i = operand(code, i, 0)
    return True
