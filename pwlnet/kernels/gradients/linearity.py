"""How the gradients of chosen outputs change along a line, and how far the tangent plane at its start is off.

A sweep over the breakpoints (``rank_one``) keeps the gradients with respect to the input; on each segment they are compared
with those at the start, and the comparison is weighted by the segment's share of the line. The error of the tangent plane,
f(0) + t f'(0) - f(t), is affine between breakpoints: it grows by (g(0) - g) . d times the segment's share, its extremes are
at breakpoints, and the integral of its absolute value over a segment is that of one or two triangles.

Sweeps add up rounding errors, so after every ``REFRESH`` breakpoints the gradients are made anew by a backward pass; how far
the sweep had come away from it is the residual.

Legend: C outputs, D inputs, K neurons, n breakpoints with 0 and 1.
"""

import numpy as np

from .._jit import allocating_kernel, kernel
from ..ir import program as ir
from ..ir.affine import rows_of
from .rank_one import begin_sweep, cross_breakpoint

REFRESH = np.int64(256)

# Columns of ``change_out``: measures of the change from the start's gradient g0 to g.
L1, L2, LINF = 0, 1, 2  # norm of g - g0 relative to the norm of g0
ANGLE = 3  # between g and g0, radians
SIGN = 4  # share of the entries of g0 that aren't 0 whose sign is the opposite one
SYMMETRIC = 5  # mean over entries of |g - g0| / (|g| + |g0|)
RELATIVE = 6  # mean over entries of |(g0 - g) / (g + offset)|
N_MEASURES = 7
# Rows of ``change_out``.
MEAN, LARGEST, AT_END = 0, 1, 2
# Columns of ``tangent_out``, in units of the output; t in [0, 1].
LARGEST_ERROR, LARGEST_AT, MEAN_ERROR, END_ERROR = 0, 1, 2, 3
PREDICTED = 4  # change along the whole line by the tangent plane
VARIATION = 5  # largest change from the start's value
GRADIENT_NORM = 6  # l2 norm of the gradient at the start
N_TANGENT = 7


@kernel
def _ratio(a, b):
    """a / b for a, b >= 0; 0 where both are."""
    if b > 0.0:
        return a / b
    return np.inf if a > 0.0 else 0.0


@kernel
def _norms(g, g0):
    """Norms l1, l2, linf of g - g0; l2 and linf of g."""
    l1, l2, linf, own, top = 0.0, 0.0, 0.0, 0.0, 0.0
    for d in range(g.shape[0]):
        change = abs(g[d] - g0[d])
        l1 += change
        l2 += change * change
        linf = max(linf, change)
        own += g[d] * g[d]
        top = max(top, abs(g[d]))
    return l1, np.sqrt(l2), linf, np.sqrt(own), top


@kernel
def _angle(g, g0, norm, norm0):
    """Angle between g and g0: by sum and difference of the unit vectors, which is exact for small angles, too."""
    if norm == 0.0 or norm0 == 0.0:
        return 0.0 if norm == norm0 else 0.5 * np.pi
    apart, together = 0.0, 0.0
    for d in range(g.shape[0]):
        a, b = g[d] / norm, g0[d] / norm0
        apart += (a - b) * (a - b)
        together += (a + b) * (a + b)
    return 2.0 * np.arctan2(np.sqrt(apart), np.sqrt(together))


@kernel
def _compare_entries(g, g0, zero, offset, measures):
    """Measures that are means over entries; entries of up to ``zero`` count as 0."""
    opposite, used, symmetric, relative = 0, 0, 0.0, 0.0
    for d in range(g.shape[0]):
        a = g[d] if abs(g[d]) > zero else 0.0
        b = g0[d] if abs(g0[d]) > zero else 0.0
        if b != 0.0:
            used += 1
            if a * b < 0.0:
                opposite += 1
        if a != b:
            symmetric += abs(a - b) / (abs(a) + abs(b))
            relative += abs((b - a) / (a + offset))
    measures[SIGN] = opposite / max(1, used)
    measures[SYMMETRIC], measures[RELATIVE] = symmetric / g.shape[0], relative / g.shape[0]


@kernel
def _compare(g, g0, norms0, largest, noise, offset, measures):
    """All measures of the change from g0 to g; returns the largest absolute entry so far."""
    l1, l2, linf, norm, top = _norms(g, g0)
    largest = max(largest, top)
    measures[L1], measures[L2], measures[LINF] = _ratio(l1, norms0[L1]), _ratio(l2, norms0[L2]), _ratio(linf, norms0[LINF])
    measures[ANGLE] = _angle(g, g0, norm, norms0[L2]) if linf > 0.0 else 0.0
    _compare_entries(g, g0, noise * largest, offset, measures)
    return largest


@kernel
def _absolute_integral(a, b, width):
    """Integral of |x| where x goes from a to b evenly."""
    if a * b >= 0.0:
        return 0.5 * width * abs(a + b)
    return 0.5 * width * (a * a + b * b) / (abs(a) + abs(b))


@kernel
def _advance_error(slope, t, last, tangent):
    """Go to the end of a segment, along which the output changes by ``slope``, with the tangent plane's error."""
    width, error = last - t, tangent[END_ERROR]
    new = error + (tangent[PREDICTED] - slope) * width
    tangent[MEAN_ERROR] += _absolute_integral(error, new, width)
    if abs(new) > tangent[LARGEST_ERROR]:
        tangent[LARGEST_ERROR], tangent[LARGEST_AT] = abs(new), last
    tangent[END_ERROR] = new
    tangent[VARIATION] = max(tangent[VARIATION], abs(tangent[PREDICTED] * last - new))


@kernel
def _dot(a, b):
    """Sum of products, in order."""
    total = 0.0
    for d in range(a.shape[0]):
        total += a[d] * b[d]
    return total


@kernel
def _distance(g, fresh, largest):
    """Largest distance of two gradients relative to the largest entry met."""
    apart = 0.0
    for d in range(g.shape[0]):
        apart = max(apart, abs(g[d] - fresh[d]))
    return _ratio(apart, largest)


@kernel
def _begin_line(g0, zeros, d, norms0, largest, tangent_out):
    """Norms of the gradients at the start, and the tangent plane; ``zeros`` float64[D]."""
    for r in range(g0.shape[0]):
        norms0[r, L1], norms0[r, L2], norms0[r, LINF], norm, largest[r] = _norms(g0[r], zeros)
        tangent_out[r, :] = 0.0
        tangent_out[r, PREDICTED], tangent_out[r, GRADIENT_NORM] = _dot(g0[r], d), norm


@kernel
def _measure_segment(g, g0, norms0, d, t, last, noise, offset, largest, measures, change_out, tangent_out):
    """Compare the gradients of a segment, from t to ``last``, with those at the start, and add to the line's numbers."""
    for r in range(g.shape[0]):
        largest[r] = _compare(g[r], g0[r], norms0[r], largest[r], noise, offset, measures)
        for m in range(N_MEASURES):
            change_out[r, MEAN, m] += (last - t) * measures[m]
            change_out[r, LARGEST, m] = max(change_out[r, LARGEST, m], measures[m])
            change_out[r, AT_END, m] = measures[m]
        _advance_error(_dot(g[r], d), t, last, tangent_out[r])


@allocating_kernel
def sweep_linearity(code, static, start_states, t, flips, outputs, direction, noise, offset, change_out, tangent_out):
    """Measure one line; returns the residual: the largest relative distance of swept gradients from fresh ones.

    static bool[ops]: the input only. start_states int32[K] on the first segment (source order); t float64[n]; flips Flips;
    outputs int64[C]; direction float64[D], end - start; noise: part of the largest entry up to which entries count as 0.
    Out: change_out float64[C, 3, N_MEASURES], tangent_out float64[C, N_TANGENT].
    """
    rows, last = outputs.shape[0], t.shape[0] - 2
    d = np.empty(direction.shape[0])  # in the order of op 0
    for k in range(d.shape[0]):
        d[code.indices[code.op_table[-1, ir.INPUTS] + k]] = direction[k]
    states, measures, largest, norms0 = start_states.copy(), np.empty(N_MEASURES), np.zeros(rows), np.empty((rows, 3))
    sweep = begin_sweep(code, static, outputs, states)
    g = rows_of(code, 0, rows, sweep.gradients)
    g0, residual = g.copy(), 0.0
    _begin_line(g0, np.zeros_like(d), d, norms0, largest, tangent_out)
    change_out[:] = 0.0
    for n in range(last + 1):
        cross_breakpoint(code, static, sweep, flips, n, 1.0)
        for f in range(flips.offsets[n] - flips.offsets[0], flips.offsets[n + 1] - flips.offsets[0]):
            states[flips.neurons[f]] = flips.states[f]
        if n > 0 and (n == last or n % REFRESH == 0):
            fresh = begin_sweep(code, static, outputs, states)
            anew = rows_of(code, 0, rows, fresh.gradients)
            for r in range(rows):
                residual = max(residual, _distance(g[r], anew[r], largest[r]))
            sweep, g = fresh, anew
        _measure_segment(g, g0, norms0, d, t[n], t[n + 1], noise, offset, largest, measures, change_out, tangent_out)
    return residual
