"""List both parts of a cell whose last column is cut, without making them.

Most cells are such parts. Their rows are the same, bit for bit, as if they had been made.

Legend: as in state.py.
"""

import numpy as np

from .._jit import kernel
from ..planes.words import ONE_BIT, count_bits, lowest_bit
from . import state as st
from .cell_points import key_of
from .splitting import ALL_BITS, cut_edges, sort_vertices

NOT_SIMPLE = -1  # the cell has to be split
NO_ROOM = 0
LISTED = 1


@kernel
def _note_point(work, results, row, side, n_side, n_new):
    """Record the mean of the vertices of one side and of the new ones. Out: results.row_points."""
    offset, n = work.at[st.OFFSET], n_side + n_new
    for d in range(work.x.shape[0] - 1):
        total = 0.0
        for q in range(n_side):
            total += work.x[d, offset + work.index[side, q]]
        for q in range(n_new):
            total += work.new_x[d, q]
        results.row_points[row, d] = total / n


@kernel
def _note_facets(problem, work, results, row, stage, k, side, n_side, new_facet):
    """Append the facets of one side: those of its vertices, and the new one. Out: results.row_facets, row_planes."""
    at, dimensions, level = work.at, work.x.shape[0] - 1, work.at[st.LEVEL]
    facets, bit = ONE_BIT << np.uint64(new_facet), ONE_BIT << np.uint64(new_facet)
    for q in range(n_side):
        facets |= work.bits[at[st.OFFSET] + work.index[side, q]]
    n = at[st.N_ROW_FACETS]
    while facets != np.uint64(0):
        lowest = facets & (~facets + ONE_BIT)
        facets ^= lowest
        is_new = lowest == bit
        plane = work.facets[level, lowest_bit(lowest)]
        results.row_facets[n] = problem.stages[stage, st.FIRST_BIT] + k if is_new else work.plane_ids[plane]
        if problem.settings[st.PLANES] == 1:
            value = work.maps[stage, dimensions, k] if is_new else work.planes[plane, dimensions]
            for d in range(dimensions):
                a = work.maps[stage, d, k] if is_new else work.planes[plane, d]
                value += a * results.row_points[row, d]
            for d in range(dimensions + 1):
                a = work.maps[stage, d, k] if is_new else work.planes[plane, d]
                results.row_planes[n, d] = a if value > 0.0 else -a
        n += 1
    results.row_ends[row, 0] = n
    at[st.N_ROW_FACETS] = n


@kernel
def _note_map(problem, work, results, row, stage, k, factor):
    """Record the map of the last stage's columns, with column k times a factor. Out: results.row_maps."""
    n = problem.stages[stage + 1, st.N_COLUMNS]
    first = problem.stages[stage, st.WEIGHT] + k * n
    following, a = work.following[work.at[st.LEVEL]], work.maps[stage]
    for c in range(work.x.shape[0]):
        f = a[c, k] * factor
        for j in range(problem.settings[st.MAPS]):
            results.row_maps[row, c, j] = following[c, j] + f * problem.weights[first + j]


@kernel
def list_leaves(problem, work, results, stage, k):
    """Append both parts of the current cell, the negative one first.

    work.values has the values of column k at the vertices. Returns LISTED; or NO_ROOM or NOT_SIMPLE, and nothing has changed.
    """
    at, dimensions, settings = work.at, work.x.shape[0] - 1, problem.settings
    tolerance = problem.numbers[st.GAMMA] * work.maps[stage, dimensions + 1, k]
    for i in range(at[st.N_VERTICES]):
        if count_bits(work.bits[at[st.OFFSET] + i]) != dimensions:
            return NOT_SIMPLE
    n_positive, n_negative, n_zero, used = sort_vertices(work, tolerance)
    if n_zero > 0 or used == ALL_BITS:
        return NOT_SIMPLE
    if at[st.N_ROWS] + 2 > results.row_keys.shape[0]:
        return NO_ROOM
    if settings[st.FACETS] == 1 and at[st.N_ROW_FACETS] + 2 * st.N_FACETS > results.row_facets.shape[0]:
        return NO_ROOM
    facet = lowest_bit(~used)
    n_new = cut_edges(
        problem, work, n_positive, n_negative, ONE_BIT << np.uint64(facet), tolerance, work.norms[stage, k]
    )  # fmt: skip
    if n_new < 0:
        return NOT_SIMPLE
    number = problem.stages[stage, st.FIRST_BIT] + k
    for side in (1, 0):
        row, n_side = at[st.N_ROWS], n_negative if side == 1 else n_positive
        for w in range(work.patterns.shape[1]):
            results.row_patterns[row, w] = work.patterns[at[st.LEVEL], w]
        if side == 0:
            results.row_patterns[row, number // 64] |= ONE_BIT << np.uint64(number % 64)
        results.row_keys[row] = key_of(work)
        _note_point(work, results, row, side, n_side, n_new)
        if settings[st.FACETS] == 1:
            _note_facets(problem, work, results, row, stage, k, side, n_side, facet)
        if settings[st.MAPS] > 0:
            _note_map(problem, work, results, row, stage, k, problem.factors[stage, 1 - side, k])
        at[st.N_ROWS] = row + 1
    at[st.N_CELLS] += 2
    return LISTED
