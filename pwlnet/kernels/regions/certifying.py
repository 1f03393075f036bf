"""Whether the sign of a column at a vertex is proved, to first order in rounding errors.

A vertex carries a bound of its position error, which grows with each cut that it comes from. Where it does not prove a sign, it
is replaced by a bound from the vertex's own D hyperplanes ``a_q x + b_q = 0``: the distance of the computed x from their common
point is at most |A^-1| (|A x + b| + errors of the rows).
"""

from .._jit import kernel
from ..planes.words import ONE_BIT, count_bits, lowest_bit
from . import state as st

LARGE_ERROR = 2.0**-32  # of a coordinate; coordinates are at most 1


@kernel
def _load_planes(problem, work, i):
    """Load the hyperplanes of a simple vertex as rows [A, 1] and their errors. Out: work.inverse, work.residual."""
    at, m, dimensions = work.at, work.inverse, work.x.shape[0] - 1
    word, column = work.bits[at[st.OFFSET] + i], at[st.OFFSET] + i
    for q in range(dimensions):
        facet = lowest_bit(word)
        word &= word - ONE_BIT
        row = work.planes[work.facets[at[st.LEVEL], facet]]
        v = row[dimensions]
        for d in range(dimensions):
            v += row[d] * work.x[d, column]
            m[q, d], m[q, dimensions + d] = row[d], 0.0
        m[q, dimensions + q] = 1.0
        work.residual[q] = abs(v) + 2.0 * problem.numbers[st.GAMMA] * row[dimensions + 1]


@kernel
def _invert(m):
    """Reduce rows [A, 1] to [1, A^-1] in place (Gauss-Jordan, with pivots); returns whether A is invertible."""
    n = m.shape[0]
    for c in range(n):
        p = c
        for q in range(c + 1, n):
            if abs(m[q, c]) > abs(m[p, c]):
                p = q
        pivot = m[p, c]
        if pivot == 0.0:
            return False
        for d in range(2 * n):
            swapped = m[p, d]
            m[p, d] = m[c, d]
            m[c, d] = swapped / pivot
        for q in range(n):
            factor = m[q, c]
            if q != c and factor != 0.0:
                for d in range(2 * n):
                    m[q, d] -= factor * m[c, d]
    return True


@kernel
def refine(problem, work, i):
    """Replace the position error of a simple vertex by the bound from its own hyperplanes, if that is smaller."""
    dimensions, column = work.x.shape[0] - 1, work.at[st.OFFSET] + i
    if count_bits(work.bits[column]) != dimensions:
        return
    _load_planes(problem, work, i)
    if not _invert(work.inverse):
        return
    error = 0.0
    for d in range(dimensions):
        total = 0.0
        for q in range(dimensions):
            total += abs(work.inverse[d, dimensions + q]) * work.residual[q]
        error = max(error, total)
    if error < work.x[dimensions, column]:
        work.x[dimensions, column] = error


@kernel
def tighten(problem, work):
    """Replace the position errors of the current cell's vertices that are large by better bounds, where there are such."""
    errors, offset = work.x[work.x.shape[0] - 1], work.at[st.OFFSET]
    for i in range(work.at[st.N_VERTICES]):
        if errors[offset + i] > LARGE_ERROR:
            refine(problem, work, i)


@kernel
def certify(problem, work, tolerance, norm):
    """Prove the signs of the values at the vertices that are above the tolerance; count those that are not proved."""
    at, errors, offset = work.at, work.x[work.x.shape[0] - 1], work.at[st.OFFSET]
    for i in range(at[st.N_VERTICES]):
        v = abs(work.values[i])
        if v > tolerance and v <= tolerance + norm * errors[offset + i]:
            refine(problem, work, i)
            if v <= tolerance + norm * errors[offset + i]:
                at[st.N_UNDECIDED] += 1


@kernel
def largest_bound(problem, work, stage, k, sign, largest):
    """Bound ``sign`` times a column on the current cell from above, by its values at the vertices and their errors.

    Returns ``largest`` where the bound is not above it. The errors of vertices that matter are refined, and are afterwards what
    they were before: results that depend on the order of the search would depend on the number of threads.
    """
    errors, offset, norm = work.x[work.x.shape[0] - 1], work.at[st.OFFSET], work.norms[stage, k]
    tolerance = problem.numbers[st.GAMMA] * work.maps[stage, work.x.shape[0], k]
    for i in range(work.at[st.N_VERTICES]):
        v, before = sign * work.values[i] + tolerance, errors[offset + i]
        if v + norm * before > largest:
            refine(problem, work, i)
            largest = max(largest, v + norm * errors[offset + i])
            errors[offset + i] = before
    return largest
