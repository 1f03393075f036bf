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
    """Load the hyperplanes of a simple vertex as rows and their errors. Out: work.square, work.inverse, work.residual."""
    at, dimensions = work.at, work.x.shape[0] - 1
    word, column = work.bits[at[st.OFFSET] + i], at[st.OFFSET] + i
    for q in range(dimensions):
        facet = lowest_bit(word)
        word &= word - ONE_BIT
        row = work.planes[work.facets[at[st.LEVEL], facet]]
        v = row[dimensions]
        for d in range(dimensions):
            v += row[d] * work.x[d, column]
            work.square[q, d] = row[d]
            work.inverse[q, d] = row[d]
        work.residual[q] = abs(v) + 2.0 * problem.numbers[st.GAMMA] * row[dimensions + 1]


@kernel
def _invert(m, swaps):
    """Replace a matrix by its inverse (Gauss-Jordan, in place, with pivots); returns whether it is invertible.

    swaps int64[n] is scratch memory.
    """
    n = m.shape[0]
    for c in range(n):
        p = c
        for q in range(c + 1, n):
            if abs(m[q, c]) > abs(m[p, c]):
                p = q
        pivot = m[p, c]
        if pivot == 0.0:
            return False
        swaps[c] = p
        row, other, scale = m[c], m[p], 1.0 / pivot
        for d in range(n):
            swapped = other[d]
            other[d] = row[d]
            row[d] = swapped * scale
        row[c] = scale
        for q in range(n):
            if q == c:
                continue
            rest = m[q]
            factor = rest[c]
            rest[c] = 0.0
            for d in range(n):
                rest[d] -= factor * row[d]
    for c in range(n - 1, -1, -1):
        if swaps[c] != c:
            for q in range(n):
                swapped = m[q, c]
                m[q, c] = m[q, swaps[c]]
                m[q, swaps[c]] = swapped
    return True


@kernel
def _distance_from_inverse(a, r):
    """Bound the norm of I - R A."""
    n, largest = a.shape[0], 0.0
    for d in range(n):
        total, size = 0.0, 0.0
        for c in range(n):
            entry = 1.0 if c == d else 0.0
            for q in range(n):
                product = r[d, q] * a[q, c]
                entry -= product
                size += abs(product)
            total += abs(entry)
        largest = max(largest, total + (n + 2) * ROUNDOFF * (size + 1.0))
    return largest


@kernel
def refine(problem, work, i):
    """Replace the position error of a simple vertex by the bound from its own hyperplanes, if that is smaller."""
    dimensions, column = work.x.shape[0] - 1, work.at[st.OFFSET] + i
    if count_bits(work.bits[column]) != dimensions:
        return
    _load_planes(problem, work, i)
    if not _invert(work.inverse, work.swaps):
        return
    error = 0.0
    for d in range(dimensions):
        total = 0.0
        for q in range(dimensions):
            total += abs(work.inverse[d, q]) * work.residual[q]
        error = max(error, total)
    if not error < work.x[dimensions, column]:
        return
    distance = _distance_from_inverse(work.square, work.inverse)
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
