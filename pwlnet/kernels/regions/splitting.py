"""Cut a cell by the hyperplane where one column of its stage is 0.

An edge is a pair of vertices with D - 1 common facets or more, one of which is simple (on exactly D facets), or else such that
no third vertex lies on all the common facets. This is the combinatorial test of the double description method (Fukuda and
Prodon, "Double description method revisited", 1996, Proposition 7); the first case is a shortcut.

Legend: as in state.py.
"""

import numpy as np

from .._jit import inlined_kernel, kernel
from ..planes.words import ONE_BIT, count_bits, lowest_bit
from . import state as st

ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def evaluate(work, stage, k):
    """Compute the values of a column at the vertices of the current cell. Out: work.values."""
    a, at, values = work.maps[stage], work.at, work.values
    dimensions, offset, n = a.shape[0] - 2, at[st.OFFSET], at[st.N_VERTICES]
    constant = a[dimensions, k]
    for i in range(n):
        values[i] = constant
    d = 0
    while d + 1 < dimensions:
        first, second = a[d, k], a[d + 1, k]
        x, y = work.x[d, offset : offset + n], work.x[d + 1, offset : offset + n]
        for i in range(n):
            values[i] += first * x[i] + second * y[i]
        d += 2
    if d < dimensions:
        first, x = a[d, k], work.x[d, offset : offset + n]
        for i in range(n):
            values[i] += first * x[i]


@inlined_kernel
def count_signs(values, n, tolerance):
    """Return how many values are above and below the tolerance."""
    positive, negative = 0, 0
    for i in range(n):
        positive += values[i] > tolerance
        negative += values[i] < -tolerance
    return positive, negative


@kernel
def is_edge(work, i, j, common):
    """Return whether no third vertex of the current cell lies on all the common facets."""
    offset, others = work.at[st.OFFSET], 0
    for q in range(work.at[st.N_VERTICES]):
        others += q != i and q != j and (work.bits[offset + q] & common) == common
    return others == 0


@kernel
def sort_vertices(work, tolerance):
    """Sort the vertices by their signs; returns the numbers of each, and the facets in use. Out: work.index, other_bits."""
    n_positive, n_negative, n_zero, used = 0, 0, 0, np.uint64(0)
    offset, index, values = work.at[st.OFFSET], work.index, work.values
    for i in range(work.at[st.N_VERTICES]):
        v = values[i]
        index[0, n_positive], index[1, n_negative], index[2, n_zero] = i, i, i
        positive, negative = v > tolerance, v < -tolerance
        n_positive += positive
        n_negative += negative
        n_zero += 1 - positive - negative
        used |= work.bits[offset + i]
    for q in range(n_negative):
        work.other_bits[q] = work.bits[offset + index[1, q]]
    return n_positive, n_negative, n_zero, used


@kernel
def _add_crossing(problem, work, i, j, n, tolerance, norm):
    """Make vertex n on the edge from vertex i to vertex j. Out: work.new_x.

    Its position error is bounded as follows. With exact ends p, q and values a > 0 > b, the exact vertex is p + t (q - p) with
    t = a / (a - b). Errors of at most e of both values change t by at most e / (a - b - 2 e), and those of the ends count by
    their weights 1 - t and t.
    """
    x, new, offset, dimensions = work.x, work.new_x, work.at[st.OFFSET], work.x.shape[0] - 1
    a, b = work.values[i], work.values[j]
    t, length = a / (a - b), 0.0
    for d in range(dimensions):
        start = x[d, offset + i]
        step = x[d, offset + j] - start
        new[d, n] = start + t * step
        length = max(length, abs(step))
    e, f = x[dimensions, offset + i], x[dimensions, offset + j]
    error = tolerance + norm * max(e, f)  # of both values
    apart = (a - b) - 2.0 * error
    moved = (length + e + f) * error / apart if apart > 0.0 else st.LARGEST_ERROR
    bound = ((1.0 - t) * e + t * f + moved) * st.ERROR_MARGIN + problem.numbers[st.COORDINATE]
    new[dimensions, n] = min(bound, st.LARGEST_ERROR)


@kernel
def cut_edges(problem, work, n_positive, n_negative, bit, tolerance, norm):
    """Make the vertices where edges meet the hyperplane; returns their number, -1 where there is no room.

    Out: work.new_x, work.new_bits.
    """
    n, dimensions, offset = 0, work.x.shape[0] - 1, work.at[st.OFFSET]
    least, room, others = dimensions - 1, work.new_bits.shape[0], work.other_bits
    for p in range(n_positive):
        i = work.index[0, p]
        facets = work.bits[offset + i]
        simple = count_bits(facets) == dimensions
        for q in range(n_negative):
            common = facets & others[q]
            if count_bits(common) < least:
                continue
            j = work.index[1, q]
            if not simple and count_bits(others[q]) != dimensions and not is_edge(work, i, j, common):
                continue
            if n == room:
                return -1
            _add_crossing(problem, work, i, j, n, tolerance, norm)
            work.new_bits[n] = common | bit
            n += 1
    return n


@inlined_kernel
def _place(source, values, offset, second, index, n_positive, n_negative, n_zero, new, n_new):
    """Move a row of vertices to both children; the negative one begins at ``second``. ``values`` is scratch memory."""
    for q in range(n_negative):
        source[second + q] = source[offset + index[1, q]]
    for q in range(n_zero):
        values[q] = source[offset + index[2, q]]
        source[second + n_negative + q] = values[q]
    for q in range(n_positive):  # to a place before, since vertices are in order
        source[offset + q] = source[offset + index[0, q]]
    for q in range(n_zero):
        source[offset + n_positive + q] = values[q]
    for q in range(n_new):
        source[second + n_negative + n_zero + q] = new[q]
        source[offset + n_positive + n_zero + q] = new[q]


@kernel
def split(problem, work, stage, k):
    """Replace the current cell by its positive part, and put the negative part above it.

    Returns its offset and number of vertices, and the number of the positive one's; status in ``work.at`` where something is
    missing, and nothing has changed then. Out: work.
    """
    at, a, dimensions = work.at, work.maps[stage], work.x.shape[0] - 1
    tolerance = problem.numbers[st.GAMMA] * a[dimensions + 1, k]
    n_positive, n_negative, n_zero, used = sort_vertices(work, tolerance)
    offset = at[st.OFFSET]
    if used == ALL_BITS:
        at[st.STATUS] = st.TOO_MANY_FACETS
        return offset, 0, 0
    facet = lowest_bit(~used)
    bit = ONE_BIT << np.uint64(facet)
    n_new = cut_edges(problem, work, n_positive, n_negative, bit, tolerance, work.norms[stage, k])
    above, below = n_positive + n_zero + n_new, n_negative + n_zero + n_new
    second = offset + max(at[st.N_VERTICES], above)
    if n_new < 0 or max(above, below) > work.values.shape[0]:
        at[st.STATUS] = st.NEED_SCRATCH
    elif second + below > work.bits.shape[0]:
        at[st.STATUS] = st.NEED_VERTICES
    if at[st.STATUS] != st.RUNNING:
        return offset, 0, 0
    for q in range(n_zero):
        work.bits[offset + work.index[2, q]] |= bit
    _place(
        work.bits, work.other_bits, offset, second, work.index, n_positive, n_negative, n_zero, work.new_bits, n_new
    )  # fmt: skip
    for d in range(dimensions + 1):
        _place(work.x[d], work.values, offset, second, work.index, n_positive, n_negative, n_zero, work.new_x[d], n_new)
    plane = at[st.NEXT_PLANE]
    for c in range(dimensions + 2):
        work.planes[plane, c] = a[c, k]
    work.plane_ids[plane] = problem.stages[stage, st.FIRST_BIT] + k
    work.facets[at[st.LEVEL], facet] = plane
    at[st.NEXT_PLANE] = plane + 1
    return second, below, above
