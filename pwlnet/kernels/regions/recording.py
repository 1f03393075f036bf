"""Results of a search: cells, states with witnesses, ranges of columns, cells that meet a condition.

Legend: as in state.py.
"""

import numpy as np

from .._jit import kernel
from ..planes.words import ONE_BIT, lowest_bit
from . import state as st
from .cell_points import key_of, mean_vertex
from .certifying import largest_bound
from .listing import note_row
from .splitting import evaluate


@kernel
def largest_error(work):
    """Return the largest position error of the current cell's vertices."""
    errors, offset, largest = work.x[work.x.shape[0] - 1], work.at[st.OFFSET], 0.0
    for i in range(work.at[st.N_VERTICES]):
        largest = max(largest, errors[offset + i])
    return largest


@kernel
def note_cell(problem, work, results):
    """Count the current cell, and record its signs and its pattern; returns False where the list has no room."""
    at, level, n_words = work.at, work.at[st.LEVEL], work.patterns.shape[1]
    if problem.settings[st.LIST] == 1 and not note_row(problem, work, results):
        return False
    at[st.N_CELLS] += 1
    if problem.settings[st.SIGNS] == 1:
        for w in range(n_words):
            word = work.patterns[level, w]
            _note_signs(work, results, 0, w, ~word & problem.valid[w] & ~results.seen[0, w])
            _note_signs(work, results, 1, w, word & ~results.seen[1, w])
    return True


@kernel
def _note_signs(work, results, sign, w, fresh):
    """Record the current cell as the first one with a sign of some functions: bits ``fresh`` of word w."""
    results.seen[sign, w] |= fresh
    while fresh != np.uint64(0):
        f = 64 * w + lowest_bit(fresh)
        fresh &= fresh - ONE_BIT
        mean_vertex(work, results.seen_at[sign, f])
        results.seen_key[sign, f] = key_of(work)


@kernel
def record_ranges(problem, work, results, stage):
    """Extend the ranges of the recorded columns by their values at the vertices, where these may be outside.

    work.middle and work.radius bound the columns on the cell's bounding box.
    """
    first, error, norms = problem.stages[stage, st.FIRST_RECORD], largest_error(work), work.norms[stage]
    magnitudes, gamma = work.maps[stage, work.x.shape[0]], problem.numbers[st.GAMMA]
    for k in range(problem.stages[stage, st.N_RECORDED]):
        extremes, slack = results.extremes[first + k], error * norms[k]
        low, high = work.middle[k] - work.radius[k], work.middle[k] + work.radius[k]
        inside = low >= extremes[0] and high <= extremes[1]
        if inside and low - slack >= extremes[2] and high + slack <= extremes[3]:
            continue
        evaluate(work, stage, k)
        low, high = work.values[0], work.values[0]
        for i in range(1, work.at[st.N_VERTICES]):
            low, high = min(low, work.values[i]), max(high, work.values[i])
        if low < extremes[0]:
            extremes[0] = low
            _note_extreme(work, results, first + k, 0, low)
        if high > extremes[1]:
            extremes[1] = high
            _note_extreme(work, results, first + k, 1, high)
        slack += gamma * magnitudes[k]
        if low - slack >= extremes[2] and high + slack <= extremes[3]:
            continue
        extremes[2] = -largest_bound(problem, work, stage, k, -1.0, -extremes[2])
        extremes[3] = largest_bound(problem, work, stage, k, 1.0, extremes[3])


@kernel
def _note_extreme(work, results, r, side, value):
    """Record the first vertex with a value as the place where a recorded column is least (side 0) or largest (side 1)."""
    i = 0
    while work.values[i] != value:
        i += 1
    for d in range(work.x.shape[0] - 1):
        results.extreme_at[r, side, d] = work.x[d, work.at[st.OFFSET] + i]
    results.extreme_key[r, side] = key_of(work)


@kernel
def note_met(problem, work, results):
    """Record the current cell, or what is left of it, as one that meets the condition."""
    at, stage = work.at, work.at[st.STAGE]
    at[st.N_MET] += 1
    a, n = work.maps[stage], at[st.N_WITNESSES]
    dimensions, room = a.shape[0] - 2, results.met_keys.shape[0]
    point = work.residual[:dimensions]
    mean_vertex(work, point)
    margin = -np.inf
    for k in range(problem.stages[stage, st.N_CUT]):
        v = a[dimensions, k]
        for d in range(dimensions):
            v += a[d, k] * point[d]
        margin = max(margin, -v)
    if problem.settings[st.STOP_WHEN_MET] == 1:
        at[st.FIRST_MET] = min(at[st.FIRST_MET], key_of(work))
    if n == room and margin >= results.met_margins[n - 1]:
        return
    n = min(n, room - 1)
    while n > 0 and results.met_margins[n - 1] > margin:  # sorted by insertion
        results.met_margins[n], results.met_keys[n] = results.met_margins[n - 1], results.met_keys[n - 1]
        for d in range(dimensions):
            results.met_points[n, d] = results.met_points[n - 1, d]
        n -= 1
    results.met_margins[n], results.met_keys[n] = margin, key_of(work)
    for d in range(dimensions):
        results.met_points[n, d] = point[d]
    at[st.N_WITNESSES] = min(at[st.N_WITNESSES] + 1, room)


@kernel
def exclude(problem, work, results, stage, k):
    """Record that no vertex of the current cell satisfies row k of the condition strictly; work.values are its values."""
    dimensions = work.x.shape[0] - 1
    tolerance = problem.numbers[st.GAMMA] * work.maps[stage, dimensions + 1, k]
    largest = -np.inf
    for i in range(work.at[st.N_VERTICES]):
        largest = max(largest, work.values[i])
    if largest < -tolerance:
        work.clearance[0] = -largest_bound(problem, work, stage, k, 1.0, -work.clearance[0])
        return
    n = 0
    for i in range(work.at[st.N_VERTICES]):
        if work.values[i] >= -tolerance:
            work.index[2, n] = i
            n += 1
    if not _face_is_excluded(problem, work, stage, k, n):
        _note_boundary(work, results, n)


@kernel
def _face_is_excluded(problem, work, stage, k, n):
    """Return whether another row of the condition excludes the n vertices of work.index[2]."""
    dimensions, error = work.x.shape[0] - 1, largest_error(work)
    for other in range(problem.stages[stage, st.N_CUT]):
        if other == k:
            continue
        evaluate(work, stage, other)
        largest = -np.inf
        for q in range(n):
            largest = max(largest, work.values[work.index[2, q]])
        slack = problem.numbers[st.GAMMA] * work.maps[stage, dimensions + 1, other] + error * work.norms[stage, other]
        if largest < -slack:
            work.clearance[0] = min(work.clearance[0], -largest - slack)
            return True
    return False


@kernel
def _note_boundary(work, results, n):
    """Record the mean of the n vertices of work.index[2] as a point on the boundary of the condition."""
    at, row = work.at, work.at[st.N_BOUNDARY_POINTS]
    at[st.N_BOUNDARY] += 1
    if row == results.boundary_keys.shape[0]:
        return
    for d in range(work.x.shape[0] - 1):
        total = 0.0
        for q in range(n):
            total += work.x[d, at[st.OFFSET] + work.index[2, q]]
        results.boundary_points[row, d] = total / n
    results.boundary_keys[row] = key_of(work)
    at[st.N_BOUNDARY_POINTS] = row + 1


@kernel
def is_excluded(problem, work, stage):
    """Return whether one row of the condition excludes the whole cell, by more than all errors; records its clearance.

    work.middle and work.radius bound the rows on the cell's bounding box.
    """
    error, clearance = largest_error(work), -np.inf
    n_rows, norms = problem.stages[stage, st.N_CUT], work.norms[stage]
    for k in range(n_rows):
        clearance = max(clearance, -(work.middle[k] + work.radius[k] + error * norms[k]))
    if clearance > 0.0 and clearance >= work.clearance[0]:
        return True
    for k in range(n_rows):
        spread = work.radius[k] + error * norms[k]
        if work.middle[k] > spread:
            continue
        evaluate(work, stage, k)
        clearance = max(clearance, -largest_bound(problem, work, stage, k, 1.0, -work.clearance[0]))
    if clearance > 0.0:
        work.clearance[0] = min(work.clearance[0], clearance)
        return True
    return False
