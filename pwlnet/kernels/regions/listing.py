"""Rows of listed cells: signs, a point inside, facets, vertices, and the map of the columns of the last stage.

Legend: as in state.py.
"""

import numpy as np

from .._jit import kernel
from ..planes.words import ONE_BIT, count_bits, lowest_bit
from . import state as st
from .cell_points import key_of, mean_vertex


@kernel
def find_facets(work):
    """Find which bits of the current cell's vertices are facets: uint64.

    A bit is none where the vertices on it are all on another one, too, and fewer than those on that: the hyperplane touches the
    cell in a face of lower dimension, which is part of a facet. Two facets have different vertices.
    """
    at, dimensions = work.at, work.x.shape[0] - 1
    offset, used, all_simple = at[st.OFFSET], np.uint64(0), True
    for i in range(at[st.N_VERTICES]):
        word = work.bits[offset + i]
        used |= word
        all_simple = all_simple and count_bits(word) == dimensions
    if all_simple:
        return used
    facets, rest = used, used
    while rest != np.uint64(0):
        bit = rest & (~rest + ONE_BIT)
        rest ^= bit
        common, n = ~np.uint64(0), 0
        for i in range(at[st.N_VERTICES]):
            word = work.bits[offset + i]
            if word & bit != np.uint64(0):
                common &= word
                n += 1
        others = common & ~bit
        while others != np.uint64(0):
            other = others & (~others + ONE_BIT)
            others ^= other
            m = 0
            for i in range(at[st.N_VERTICES]):
                m += work.bits[offset + i] & other != np.uint64(0)
            if m > n:
                facets &= ~bit
                break
    return facets


@kernel
def _note_facets(problem, work, results, row, facets, first):
    """Append the facets; returns the end of the list. Out: results.row_facets, results.row_planes."""
    level, dimensions = work.at[st.LEVEL], work.x.shape[0] - 1
    while facets != np.uint64(0):
        f = lowest_bit(facets)
        facets &= facets - ONE_BIT
        plane = work.facets[level, f]
        results.row_facets[first] = work.plane_ids[plane]
        if problem.settings[st.PLANES] == 1:
            value = work.planes[plane, dimensions]
            for d in range(dimensions):
                value += work.planes[plane, d] * results.row_points[row, d]
            for d in range(dimensions + 1):
                results.row_planes[first, d] = work.planes[plane, d] if value > 0.0 else -work.planes[plane, d]
        first += 1
    results.row_ends[row, 0] = first
    return first


@kernel
def _note_vertices(work, results, row, facets, first):
    """Append the vertices; returns the end of the list. Out: results.row_vertices, results.row_bits."""
    offset, dimensions = work.at[st.OFFSET], work.x.shape[0] - 1
    for i in range(work.at[st.N_VERTICES]):
        for d in range(dimensions):
            results.row_vertices[first + i, d] = work.x[d, offset + i]
        word, rank, rest = np.uint64(0), 0, facets
        while rest != np.uint64(0):
            bit = rest & (~rest + ONE_BIT)
            rest ^= bit
            if work.bits[offset + i] & bit != np.uint64(0):
                word |= ONE_BIT << np.uint64(rank)
            rank += 1
        results.row_bits[first + i] = word
    end = first + work.at[st.N_VERTICES]
    results.row_ends[row, 1] = end
    return end


@kernel
def _has_room(problem, work, results):
    """Return whether there is room for one more row."""
    at, settings = work.at, problem.settings
    if at[st.N_ROWS] == results.row_keys.shape[0]:
        return False
    if settings[st.FACETS] == 1 and at[st.N_ROW_FACETS] + st.N_FACETS > results.row_facets.shape[0]:
        return False
    return settings[st.VERTICES] == 0 or at[st.N_ROW_VERTICES] + at[st.N_VERTICES] <= results.row_bits.shape[0]


@kernel
def note_row(problem, work, results):
    """Append the current cell to the list; returns False where there is no room."""
    at, level, settings = work.at, work.at[st.LEVEL], problem.settings
    if not _has_room(problem, work, results):
        return False
    row = at[st.N_ROWS]
    for w in range(work.patterns.shape[1]):
        results.row_patterns[row, w] = work.patterns[level, w]
    mean_vertex(work, results.row_points[row])
    results.row_keys[row] = key_of(work)
    if settings[st.FACETS] == 1 or settings[st.VERTICES] == 1:
        facets = find_facets(work)
        if settings[st.FACETS] == 1:
            at[st.N_ROW_FACETS] = _note_facets(problem, work, results, row, facets, at[st.N_ROW_FACETS])
        if settings[st.VERTICES] == 1:
            at[st.N_ROW_VERTICES] = _note_vertices(work, results, row, facets, at[st.N_ROW_VERTICES])
    following = work.following[level]
    for c in range(work.x.shape[0] if settings[st.MAPS] > 0 else 0):
        for k in range(settings[st.MAPS]):
            results.row_maps[row, c, k] = following[c, k]
    at[st.N_ROWS] = row + 1
    return True
