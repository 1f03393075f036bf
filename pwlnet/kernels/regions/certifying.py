"""Whether the sign of a column at a vertex is proved.

A vertex carries a bound of its position error, which grows with each cut that it comes from. Where it does not prove a sign,
it is replaced by a bound from the vertex's own D hyperplanes ``a_q x + b_q = 0``: with R close to A^-1, the distance of the
computed x from their common point is at most |R| (|A x + b| + errors of the rows) / (1 - |I - R A|), in the maximum norm [1].

Where signs are asked for (``st.EXACT``), those that are still open, and those of values within the rounding error of the map,
are left to exact arithmetic: the kernel stops with ``NEED_SIGNS`` and tests the column again with the answers.

[1] Rump, "Verification methods: Rigorous results using floating-point arithmetic", Acta Numerica 19, 2010.
"""

from .._jit import kernel
from ..planes.words import ONE_BIT, count_bits, lowest_bit
from . import state as st

LARGE_ERROR = 2.0**-32  # of a coordinate; coordinates are at most 1
ROUNDOFF = 2.0**-53


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
def _distance_from_inverse(work, i):
    """Bound the norm of I - R A, with R from ``_invert`` and A the hyperplanes of vertex i."""
    at, m, dimensions = work.at, work.inverse, work.x.shape[0] - 1
    largest = 0.0
    for d in range(dimensions):
        total, size = 0.0, 0.0
        for c in range(dimensions):
            entry = 1.0 if c == d else 0.0
            word = work.bits[at[st.OFFSET] + i]
            for q in range(dimensions):
                a = work.planes[work.facets[at[st.LEVEL], lowest_bit(word)], c]
                word &= word - ONE_BIT
                entry -= m[d, dimensions + q] * a
                size += abs(m[d, dimensions + q] * a)
            total += abs(entry)
        largest = max(largest, total + (dimensions + 2) * ROUNDOFF * (size + 1.0))
    return largest


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
    distance = _distance_from_inverse(work, i)
    if not distance < 0.5:
        return
    error = (error / (1.0 - distance)) * st.ERROR_MARGIN
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
    """Prove the signs of the values at the vertices that are above the tolerance; count those that are not proved.

    Returns how many signs have to be asked for. Out: work.index[2], their vertices; work.at.
    """
    at, errors, offset, n = work.at, work.x[work.x.shape[0] - 1], work.at[st.OFFSET], 0
    exact = problem.settings[st.CERTIFY] == st.EXACT
    for i in range(at[st.N_VERTICES]):
        v = abs(work.values[i])
        is_open = v <= tolerance and tolerance > 0.0 and exact
        if v > tolerance and v <= tolerance + norm * errors[offset + i]:
            refine(problem, work, i)
            is_open = v <= tolerance + norm * errors[offset + i]
            if is_open and not exact:
                at[st.N_UNDECIDED] += 1
        if is_open and exact:
            work.index[2, n] = i
            n += 1
    return n


@kernel
def take_answers(work, tolerance):
    """Give the values at the vertices that were asked about the signs of the answers. Out: work.values, work.at."""
    at = work.at
    for q in range(at[st.N_ASKED]):
        i, sign = work.index[2, q], work.answers[q]
        if sign == 0:
            work.values[i] = 0.0
        elif not sign * work.values[i] > tolerance:
            work.values[i] = sign * 2.0 * tolerance
    at[st.ANSWERED] = 0
    at[st.N_EXACT] += at[st.N_ASKED]


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
