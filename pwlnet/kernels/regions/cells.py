"""Find the activation regions in a box, depth first, without linear programs.

On entering a stage, the cell's bounding box excludes most neurons, the others are evaluated at the vertices; those with both
signs are the stage's list of crossing columns. The list is cut one column after another, and both parts go on with the rest of
the list. The map of the next stage is carried along the path: one rank-one update for each active column.

A value v of a column at a vertex counts as zero, so that the vertex belongs to both parts, if |v| <= gamma * magnitude: the
rounding error of the map.

Related: Yang, Johnson, Tran, Yamaguchi, Hoxha and Prokhorov, "Reachability analysis of deep ReLU neural networks using
facet-vertex incidence", HSCC 2021, who also represent the cells of ReLU networks by vertices and facets. Here cells are kept on
one depth-first path only, words of bits number the facets of one cell at a time, and signs can be certified (certifying.py).

Legend: as in state.py.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import kernel, slot_kernel
from ..arrays import copy_into
from . import state as st
from .entering import enter_stage, in_condition, list_crossing, settle, test_column
from .leaves import LISTED, NO_ROOM, list_leaves
from .listing import note_row
from .recording import exclude, note_cell, note_met
from .splitting import split
from .tasks import export_task, load_task


class CellSlot(NamedTuple):
    """What one slot works with."""

    problem: st.Problem
    work: st.Work
    results: st.Results
    tasks: st.Tasks
    made: st.Tasks  # tasks that this slot makes
    n_tasks: np.ndarray  # int64[1]
    next_task: np.ndarray  # int64[1] counter
    first_met: np.ndarray  # int64[1] key from which on tasks are skipped


@kernel
def _pop(work):
    """Return to the cell on the level below."""
    at = work.at
    level = at[st.LEVEL] - 1
    at[st.LEVEL] = level
    if level >= 0:
        frame = work.frames[level]
        at[st.STAGE], at[st.POSITION], at[st.OFFSET], at[st.N_VERTICES] = frame[0], frame[1], frame[2], frame[3]
        at[st.NEXT_PLANE] = frame[4]


@kernel
def _push(work, second, below, above):
    """Put the negative part of a split on a new level, and keep the positive part on this one."""
    at = work.at
    level = at[st.LEVEL]
    frame = work.frames[level]
    frame[0], frame[1], frame[2], frame[3] = at[st.STAGE], at[st.POSITION], at[st.OFFSET], above
    frame[4] = at[st.NEXT_PLANE]
    copy_into(work.facets[level], work.facets[level + 1])
    copy_into(work.patterns[level], work.patterns[level + 1])
    at[st.LEVEL], at[st.OFFSET], at[st.N_VERTICES] = level + 1, second, below


@kernel
def _split_cell(problem, work, stage, k, touching):
    """Go on with both parts of the current cell; in the condition, with the positive one. Status in ``work.at``."""
    at, level = work.at, work.at[st.LEVEL]
    condition = in_condition(problem, stage)
    if not condition and level + 1 == work.frames.shape[0]:
        at[st.STATUS] = st.NEED_LEVELS
        return
    second, below, above = split(problem, work, stage, k)
    if at[st.STATUS] != st.RUNNING:
        return
    if condition:
        at[st.N_VERTICES] = above
        return
    more = stage + 1 < problem.settings[st.N_STAGES]
    if more:
        n = problem.stages[stage + 1, st.N_COLUMNS]
        for c in range(work.following.shape[1]):
            copy_into(work.following[level, c, :n], work.following[level + 1, c])
    _push(work, second, below, above)
    settle(problem, work, stage, k, False, touching)
    at[st.LEVEL] = level
    settle(problem, work, stage, k, True, touching)
    at[st.LEVEL] = level + 1


@kernel
def _cut_next(problem, work, results):
    """Test the next column of the list on the current cell, and split the cell if it crosses. Returns the work done."""
    at, stage, before = work.at, work.at[st.STAGE], work.at[st.N_UNDECIDED]
    position, asked = at[st.POSITION], at[st.N_EXACT]
    k = work.crossing[stage, position]
    n, dimensions = at[st.N_VERTICES], work.x.shape[0]
    positive, negative = test_column(problem, work, results, stage, k)
    spent = n * dimensions
    if at[st.STATUS] == st.NEED_SIGNS:
        at[st.N_UNDECIDED] = before
        return spent
    at[st.POSITION] = position + 1
    if positive == 0 or negative == 0:
        if negative > 0 and in_condition(problem, stage):
            exclude(problem, work, results, stage, k)
            _pop(work)
        else:
            settle(problem, work, stage, k, positive > 0, positive + negative < n)
        return spent
    last = stage == problem.settings[st.LEAF_STAGE] and position + 1 == work.n_crossing[stage]
    if last and problem.settings[st.COUNT_ONLY] == 1:
        at[st.N_CELLS] += 2
        _pop(work)
        return spent
    if last:
        listed = list_leaves(problem, work, results, stage, k)
        if listed == LISTED:
            _pop(work)
            return spent + positive * negative
        if listed == NO_ROOM:
            at[st.STATUS], at[st.POSITION], at[st.N_UNDECIDED], at[st.N_EXACT] = st.NEED_ROWS, position, before, asked
            return spent
    _split_cell(problem, work, stage, k, positive + negative < n)
    if at[st.STATUS] != st.RUNNING:  # the caller makes room, and the column is tested again
        at[st.POSITION], at[st.N_UNDECIDED], at[st.N_EXACT] = position, before, asked
    return spent + positive * negative + dimensions * (at[st.N_VERTICES] + problem.stages[stage, st.N_COLUMNS])


@kernel
def _step(problem, work, results, made):
    """Do the next step of a search: a cut, a new stage, or a finished cell. Returns the work done."""
    at, settings = work.at, problem.settings
    stage = at[st.STAGE]
    if at[st.ENTERING] > 0:  # after signs were asked for
        if not list_crossing(problem, work, results, stage, at[st.ENTERING] - 1):
            _pop(work)
        return at[st.N_VERTICES] * work.x.shape[0]
    if settings[st.EXPORT_DEPTH] > 0 and at[st.NEXT_PLANE] - st.N_FACETS >= settings[st.EXPORT_DEPTH]:
        if export_task(work, made):
            _pop(work)
        else:
            at[st.STATUS] = st.NEED_TASKS
        return at[st.N_VERTICES]
    if stage >= 0 and at[st.POSITION] < work.n_crossing[stage]:
        return _cut_next(problem, work, results)
    if stage == settings[st.N_LAYERS] - 1 and not note_cell(problem, work, results):
        at[st.STATUS] = st.NEED_ROWS
        return 0
    spent = at[st.N_VERTICES] * work.x.shape[0]
    maps_only = settings[st.MAPS] > 0 and settings[st.CONDITION] == 0
    if stage == settings[st.N_STAGES] - 1 or (stage == settings[st.N_LAYERS] - 1 and maps_only):
        if settings[st.CONDITION] == 1:
            if settings[st.LIST] == st.MET_PARTS and not note_row(problem, work, results):
                at[st.STATUS] = st.NEED_ROWS
                return 0
            note_met(problem, work, results)
        _pop(work)
        return spent
    if not enter_stage(problem, work, results, stage + 1):
        _pop(work)
    return spent * (1 + work.n_crossing[stage + 1]) + work.x.shape[0] * problem.stages[stage + 1, st.N_COLUMNS]


@slot_kernel
def explore_slot(slot):
    """Explore tasks, each time the next one that no slot has taken, until the budget is spent or something is missing.

    Out: slot.work, slot.results, slot.made; the status is in slot.work.at.
    """
    work, problem = slot.work, slot.problem
    at, spent = work.at, 0
    at[st.STATUS] = st.RUNNING
    while spent < problem.settings[st.BUDGET]:
        if at[st.LEVEL] < 0:
            if at[st.KEY] > 0:
                slot.results.task_exact[at[st.KEY] // 2] = at[st.N_EXACT] - at[st.EXACT_BEFORE]
            at[st.EXACT_BEFORE] = at[st.N_EXACT]
            t = take_next(slot.next_task)
            makes_tasks = problem.settings[st.EXPORT_DEPTH] > 0
            at[st.KEY] = -1 if makes_tasks else 2 * t + 1
            if t >= slot.n_tasks[0] or at[st.KEY] > min(slot.first_met[0], at[st.FIRST_MET]):
                at[st.STATUS] = st.FINISHED
                return
            load_task(work, slot.tasks, t)
        spent += _step(problem, work, slot.results, slot.made) + 16
        if at[st.STATUS] != st.RUNNING:
            return
        if at[st.KEY] >= 0 and min(slot.first_met[0], at[st.FIRST_MET]) <= at[st.KEY]:
            at[st.LEVEL] = -1
        elif at[st.KEY] < 0 and at[st.FIRST_MET] < st.NO_KEY:
            at[st.STATUS] = st.FINISHED
            return
