"""The map of a stage, and which of its columns cross a cell.

Legend: as in state.py.
"""

import numpy as np

from .._jit import inlined_kernel, kernel
from ..planes.words import ONE_BIT
from . import state as st
from .certifying import certify, take_answers, tighten
from .recording import exclude, is_excluded, largest_error, record_ranges
from .splitting import count_signs, evaluate

BOX_MARGIN = 2.0**-49  # relative, of a bounding box


@kernel
def add_column(problem, work, stage, k, factor, size):
    """Add a multiple of column k of a stage to the map of the next one, and ``size`` times its magnitude.

    Out: work.following of the current level.
    """
    a, following = work.maps[stage], work.following[work.at[st.LEVEL]]
    rows, n = a.shape[0], problem.stages[stage + 1, st.N_COLUMNS]
    first = problem.stages[stage, st.WEIGHT] + k * n
    weights, sizes = problem.weights[first : first + n], problem.sizes[first : first + n]
    for c in range(rows - 1):
        f, row = a[c, k] * factor, following[c]
        if f != 0.0:
            for j in range(n):
                row[j] += f * weights[j]
    f, row = a[rows - 1, k] * size, following[rows - 1]
    for j in range(n):
        row[j] += f * sizes[j]


@kernel
def _begin_stage(problem, work, stage):
    """Take the map of a stage, and begin that of the next one by its constants and the columns that are only carried."""
    a, following = work.maps[stage], work.following[work.at[st.LEVEL]]
    rows, n = a.shape[0], problem.stages[stage, st.N_COLUMNS]
    for c in range(rows):
        for j in range(n):
            a[c, j] = following[c, j]
    if stage + 1 == problem.settings[st.N_STAGES]:
        return
    more, biases = problem.stages[stage + 1, st.N_COLUMNS], problem.biases[stage + 1]
    for c in range(rows - 2):
        for j in range(more):
            following[c, j] = 0.0
    for j in range(more):
        following[rows - 2, j] = biases[0, j]
        following[rows - 1, j] = biases[1, j]
    for k in range(problem.stages[stage, st.N_CUT], n):
        add_column(problem, work, stage, k, 1.0, 1.0)


@kernel
def _bound_on_box(problem, work, stage, n):
    """Bound n columns on the bounding box of the cell's vertices. Out: work.middle, work.radius, work.norms."""
    a, middle, radius, norms = work.maps[stage], work.middle, work.radius, work.norms[stage]
    dimensions, offset, gamma = a.shape[0] - 2, work.at[st.OFFSET], problem.numbers[st.GAMMA]
    for j in range(n):
        middle[j], radius[j], norms[j] = a[dimensions, j], gamma * a[dimensions + 1, j], 0.0
    for d in range(dimensions):
        row, x = a[d], work.x[d]
        least = x[offset]
        largest = least
        for i in range(1, work.at[st.N_VERTICES]):
            least, largest = min(least, x[offset + i]), max(largest, x[offset + i])
        center = 0.5 * (least + largest)
        half = 0.5 * (largest - least) * (1.0 + BOX_MARGIN) + BOX_MARGIN * abs(center)
        for j in range(n):
            size = abs(row[j])
            middle[j] += center * row[j]
            radius[j] += half * size
            norms[j] += size


@kernel
def test_column(problem, work, results, stage, k):
    """Evaluate a column at the vertices; returns how many values are positive and negative. Out: work.values.

    The status is NEED_SIGNS where exact signs are asked for first, and nothing else has changed then.
    """
    at, tolerance = work.at, problem.numbers[st.GAMMA] * work.maps[stage, work.x.shape[0], k]
    evaluate(work, stage, k)
    if problem.settings[st.CERTIFY] > 0:
        n_open = certify(problem, work, tolerance, work.norms[stage, k])
        if n_open > 0 and at[st.ANSWERED] == 1:
            take_answers(work, tolerance)
        elif n_open > 0:
            at[st.STATUS], at[st.N_ASKED], at[st.ASKED_COLUMN] = st.NEED_SIGNS, n_open, k
            return 0, 0
    positive, negative = count_signs(work.values, at[st.N_VERTICES], tolerance)
    if positive + negative < at[st.N_VERTICES] and (positive == 0 or negative == 0):
        results.touched[problem.stages[stage, st.FIRST_BIT] + k] = 1
        at[st.N_TOUCHING] += 1
    return positive, negative


@kernel
def settle(problem, work, stage, k, positive, touching):
    """Note the sign of a column on the current cell, and add the column to the next map.

    A column that is within rounding of 0 at a vertex (``touching``) may have the other sign close to it, so its magnitude is
    added in any case.
    """
    level, bit = work.at[st.LEVEL], problem.stages[stage, st.FIRST_BIT] + k
    if positive and stage < problem.settings[st.N_LAYERS]:
        work.patterns[level, bit // 64] |= ONE_BIT << np.uint64(bit % 64)
    if stage + 1 < problem.settings[st.N_STAGES]:
        factor = problem.factors[stage, 1 if positive else 0, k]
        other = problem.factors[stage, 0 if positive else 1, k]
        size = max(abs(factor), abs(other)) if touching else abs(factor)
        if size != 0.0:
            add_column(problem, work, stage, k, factor, size)


@inlined_kernel
def in_condition(problem, stage):
    """Return whether a stage is the condition."""
    return problem.settings[st.CONDITION] == 1 and stage == problem.settings[st.N_STAGES] - 1


@kernel
def enter_stage(problem, work, results, stage):
    """Begin a stage on the current cell: its map, its ranges, and the list of the columns that cross the cell.

    Returns False where a row of the condition excludes the cell.
    """
    at, n_cut = work.at, problem.stages[stage, st.N_CUT]
    at[st.STAGE], at[st.POSITION] = stage, 0
    _begin_stage(problem, work, stage)
    _bound_on_box(problem, work, stage, max(n_cut, problem.stages[stage, st.N_RECORDED]))
    if 0 < problem.settings[st.RECORD] <= stage + 1:
        tighten(problem, work)
        record_ranges(problem, work, results, stage)
    if in_condition(problem, stage) and is_excluded(problem, work, stage):
        return False
    work.n_crossing[stage] = 0
    return list_crossing(problem, work, results, stage, 0)


@kernel
def list_crossing(problem, work, results, stage, first):
    """List the columns from ``first`` on that cross the cell; goes on after ``at[ENTERING]`` where signs were asked for.

    Returns False where a row of the condition excludes the cell.
    """
    at, condition = work.at, in_condition(problem, stage)
    error = largest_error(work) if problem.settings[st.CERTIFY] > 0 else 0.0
    crossing, n = work.crossing[stage], work.n_crossing[stage]
    at[st.ENTERING] = 0
    for k in range(first, problem.stages[stage, st.N_CUT]):
        spread = work.radius[k] + error * work.norms[stage, k]
        if work.middle[k] > spread:
            settle(problem, work, stage, k, True, False)
            continue
        if work.middle[k] < -spread:
            settle(problem, work, stage, k, False, False)
            continue
        positive, negative = test_column(problem, work, results, stage, k)
        if at[st.STATUS] == st.NEED_SIGNS:
            at[st.ENTERING] = k + 1
            break
        if positive > 0 and negative > 0:
            crossing[n] = k
            n += 1
        elif condition and negative > 0:
            exclude(problem, work, results, stage, k)
            return False
        else:
            settle(problem, work, stage, k, positive > 0, positive + negative < at[st.N_VERTICES])
    work.n_crossing[stage] = n
    return True
