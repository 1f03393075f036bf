"""How the gradients of chosen outputs change along a line, and how far the tangent plane at its start is off.

A sweep over the breakpoints (``rank_one``) keeps the gradients with respect to the input; on each segment they are compared
with those at the start, and the comparison is weighted by the segment's share of the line. The error of the tangent plane,
f(0) + t f'(0) - f(t), is affine between breakpoints: it grows by (g(0) - g) . d times the segment's share, its extremes are
at breakpoints, and the integral of its absolute value over a segment is that of one or two triangles.

Sweeps add up rounding errors, so after every ``REFRESH`` breakpoints the gradients are computed anew by a backward pass; their
distance from those of the sweep is the residual.

Legend: C outputs, D inputs, K neurons, n breakpoints including 0 and 1.
"""

import numpy as np

from .._jit import entry_kernel, kernel
from ..arrays import copy_into, fill
from ..ir import program as ir
from ..ir.affine import rows_of
from .rank_one import begin_sweep, cross_breakpoint

REFRESH = np.int64(256)

# Columns of ``change_out``: measures of the change from the gradient g0 at the start to g.
L1, L2, LINF = 0, 1, 2  # norm of g - g0 relative to the norm of g0
ANGLE = 3  # between g and g0, radians
SIGN = 4  # share of the non-zero entries of g0 whose sign is the opposite one in g
SYMMETRIC = 5  # mean over entries of |g - g0| / (|g| + |g0|)
RELATIVE = 6  # mean over entries of |(g0 - g) / (g + offset)|
N_MEASURES = 7
# Rows of ``change_out``.
MEAN, LARGEST, AT_END = 0, 1, 2
# Columns of ``tangent_out``, in units of the output; t in [0, 1].
LARGEST_ERROR, LARGEST_AT, MEAN_ERROR, END_ERROR = 0, 1, 2, 3
PREDICTED = 4  # change along the whole line according to the tangent plane
VARIATION = 5  # largest change from the value at the start
GRADIENT_NORM = 6  # l2 norm of the gradient at the start
N_TANGENT = 7


@kernel
def _ratio(a, b):
    """Return a / b for a, b >= 0, and 0 where both are 0."""
    if b > 0.0:
        return a / b
    return np.inf if a > 0.0 else 0.0


@kernel
def _norms(g, g0):
    """Return the norms l1, l2, linf of g - g0, and l2, linf of g."""
    l1, l2, linf, squares, top = 0.0, 0.0, 0.0, 0.0, 0.0
    for d in range(g.shape[0]):
        change = abs(g[d] - g0[d])
        l1 += change
        l2 += change * change
        linf = max(linf, change)
        squares += g[d] * g[d]
        top = max(top, abs(g[d]))
    return l1, np.sqrt(l2), linf, np.sqrt(squares), top


@kernel
def _angle(g, g0, norm, norm0):
    """Return the angle between g and g0, from sum and difference of the unit vectors, accurate for small angles too."""
    if norm == 0.0 or norm0 == 0.0:
        return 0.0 if norm == norm0 else 0.5 * np.pi
    difference, total = 0.0, 0.0
    for d in range(g.shape[0]):
        a, b = g[d] / norm, g0[d] / norm0
        difference += (a - b) * (a - b)
        total += (a + b) * (a + b)
    return 2.0 * np.arctan2(np.sqrt(difference), np.sqrt(total))


@kernel
def _compare_entries(g, g0, zero, offset, measures):
    """Compute the measures that are means over entries; entries of magnitude up to ``zero`` count as 0."""
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
    """Compute all measures of the change from g0 to g; return the largest magnitude of an entry so far."""
    l1, l2, linf, norm, top = _norms(g, g0)
    largest = max(largest, top)
    measures[L1], measures[L2], measures[LINF] = _ratio(l1, norms0[L1]), _ratio(l2, norms0[L2]), _ratio(linf, norms0[LINF])
    measures[ANGLE] = _angle(g, g0, norm, norms0[L2]) if linf > 0.0 else 0.0
    _compare_entries(g, g0, noise * largest, offset, measures)
    return largest


@kernel
def _absolute_integral(a, b, width):
    """Return the integral of |x| where x goes linearly from a to b."""
    if a * b >= 0.0:
        return 0.5 * width * abs(a + b)
    return 0.5 * width * (a * a + b * b) / (abs(a) + abs(b))


@kernel
def _advance_error(slope, t, last, tangent):
    """Update the error of the tangent plane to the end of a segment on which the output has the given slope."""
    width, error = last - t, tangent[END_ERROR]
    new = error + (tangent[PREDICTED] - slope) * width
    tangent[MEAN_ERROR] += _absolute_integral(error, new, width)
    if abs(new) > tangent[LARGEST_ERROR]:
        tangent[LARGEST_ERROR], tangent[LARGEST_AT] = abs(new), last
    tangent[END_ERROR] = new
    tangent[VARIATION] = max(tangent[VARIATION], abs(tangent[PREDICTED] * last - new))


@kernel
def _dot(a, b):
    """Return the sum of products, added in order."""
    total = 0.0
    for d in range(a.shape[0]):
        total += a[d] * b[d]
    return total


@kernel
def _distance(g, fresh, largest):
    """Return the largest difference between two gradients relative to the largest entry so far."""
    distance = 0.0
    for d in range(g.shape[0]):
        distance = max(distance, abs(g[d] - fresh[d]))
    return _ratio(distance, largest)


@kernel
def _begin_line(g0, zeros, d, norms0, largest, change_out, tangent_out):
    """Compute the norms of the gradients at the start, and the tangent plane; ``zeros`` float64[D]."""
    for r in range(g0.shape[0]):
        norms0[r, L1], norms0[r, L2], norms0[r, LINF], norm, largest[r] = _norms(g0[r], zeros)
        fill(tangent_out[r], 0.0)
        for row in range(change_out.shape[1]):
            fill(change_out[r, row], 0.0)
        tangent_out[r, PREDICTED], tangent_out[r, GRADIENT_NORM] = _dot(g0[r], d), norm


@kernel
def _measure_segment(g, g0, norms0, d, t, last, noise, offset, largest, measures, change_out, tangent_out):
    """Compare the gradients of a segment, from t to ``last``, with those at the start, and update the measures of the line."""
    for r in range(g.shape[0]):
        largest[r] = _compare(g[r], g0[r], norms0[r], largest[r], noise, offset, measures)
        for m in range(N_MEASURES):
            change_out[r, MEAN, m] += (last - t) * measures[m]
            change_out[r, LARGEST, m] = max(change_out[r, LARGEST, m], measures[m])
            change_out[r, AT_END, m] = measures[m]
        _advance_error(_dot(g[r], d), t, last, tangent_out[r])


@entry_kernel
def sweep_linearity(
    code, static, start_states, t, flips, outputs, direction, noise, offset, sweep, fresh, change_out, tangent_out
):
    """Measure one line; return the residual: the largest relative distance of swept gradients from fresh ones.

    static bool[ops]: the input only. start_states int32[K] on the first segment (source order); t float64[n]; flips Flips;
    outputs int64[C]; direction float64[D], end - start; noise: part of the largest entry up to which entries count as 0;
    sweep and fresh, Sweep, are scratch. Out: change_out float64[C, 3, N_MEASURES], tangent_out float64[C, N_TANGENT].
    """
    rows, n_inputs, last = outputs.shape[0], direction.shape[0], t.shape[0] - 2
    d, g0 = np.empty(n_inputs), np.empty((rows, n_inputs))  # in the order of op 0
    for k in range(n_inputs):
        d[code.indices[code.op_table[-1, ir.INPUTS] + k]] = direction[k]
    states, measures = np.empty(start_states.shape[0], np.int32), np.empty(N_MEASURES)
    copy_into(start_states, states)
    largest, norms0, residual = np.zeros(rows), np.empty((rows, 3)), 0.0
    begin_sweep(code, static, outputs, states, sweep)
    g, anew = rows_of(code, 0, rows, sweep.gradients), rows_of(code, 0, rows, fresh.gradients)
    for r in range(rows):
        copy_into(g[r], g0[r])
    _begin_line(g0, np.zeros(n_inputs), d, norms0, largest, change_out, tangent_out)
    for n in range(last + 1):
        cross_breakpoint(code, static, sweep, flips, n, 1.0)
        for f in range(flips.offsets[n] - flips.offsets[0], flips.offsets[n + 1] - flips.offsets[0]):
            states[flips.neurons[f]] = flips.states[f]
        if n > 0 and (n == last or n % REFRESH == 0):
            begin_sweep(code, static, outputs, states, fresh)
            for r in range(rows):
                residual = max(residual, _distance(g[r], anew[r], largest[r]))
            copy_into(fresh.gradients, sweep.gradients)
            copy_into(fresh.states, sweep.states)
        _measure_segment(g, g0, norms0, d, t[n], t[n + 1], noise, offset, largest, measures, change_out, tangent_out)
    return residual
