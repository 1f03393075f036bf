"""Hand out cells as tasks: a search that begins at one of them continues as the search by one thread would have.

Legend: as in state.py, T tasks.
"""

import numpy as np

from .._jit import kernel
from ..arrays import copy_into, fill
from ..planes.words import ONE_BIT, lowest_bit
from . import state as st


@kernel
def _copy_map(source, out):
    for c in range(source.shape[0]):
        copy_into(source[c], out[c])


@kernel
def export_task(work, tasks):
    """Append the current cell to the tasks; returns False where there is no room. Out: tasks."""
    at, t, dimensions = work.at, work.at[st.N_TASKS], work.x.shape[0] - 1
    first, n, offset, level, stage = at[st.N_TASK_VERTICES], at[st.N_VERTICES], at[st.OFFSET], at[st.LEVEL], at[st.STAGE]
    if t == tasks.info.shape[0] or first + n > tasks.bits.shape[0]:
        return False
    info = tasks.info[t]
    info[st.TASK_STAGE], info[st.TASK_POSITION] = stage, at[st.POSITION]
    info[st.TASK_CROSSING] = work.n_crossing[stage] if stage >= 0 else 0
    info[st.TASK_VERTEX], info[st.TASK_N_VERTICES] = first, n
    used = np.uint64(0)
    for i in range(n):
        used |= work.bits[offset + i]
        tasks.bits[first + i] = work.bits[offset + i]
        for d in range(dimensions + 1):
            tasks.x[first + i, d] = work.x[d, offset + i]
    while used != np.uint64(0):
        f = lowest_bit(used)
        used &= used - ONE_BIT
        plane = work.facets[level, f]
        copy_into(work.planes[plane], tasks.planes[t, f])
        tasks.plane_ids[t, f] = work.plane_ids[plane]
    if stage >= 0:
        _copy_map(work.maps[stage], tasks.maps[t, 0])
        copy_into(work.crossing[stage], tasks.crossing[t])
    _copy_map(work.following[level], tasks.maps[t, 1])
    copy_into(work.patterns[level], tasks.patterns[t])
    at[st.N_TASKS], at[st.N_TASK_VERTICES] = t + 1, first + n
    return True


@kernel
def load_task(work, tasks, t):
    """Begin a search at a task. Out: work."""
    at, info, dimensions = work.at, tasks.info[t], work.x.shape[0] - 1
    first, n, stage = info[st.TASK_VERTEX], info[st.TASK_N_VERTICES], info[st.TASK_STAGE]
    at[st.LEVEL], at[st.STAGE], at[st.POSITION] = 0, stage, info[st.TASK_POSITION]
    at[st.OFFSET], at[st.N_VERTICES], at[st.NEXT_PLANE] = 0, n, st.N_FACETS
    for i in range(n):
        work.bits[i] = tasks.bits[first + i]
        for d in range(dimensions + 1):
            work.x[d, i] = tasks.x[first + i, d]
    for f in range(st.N_FACETS):
        work.facets[0, f] = f
        copy_into(tasks.planes[t, f], work.planes[f])
        work.plane_ids[f] = tasks.plane_ids[t, f]
    if stage >= 0:
        work.n_crossing[stage] = info[st.TASK_CROSSING]
        _copy_map(tasks.maps[t, 0], work.maps[stage])
        copy_into(tasks.crossing[t], work.crossing[stage])
        norms = work.norms[stage]
        fill(norms, 0.0)
        for d in range(dimensions):
            for j in range(norms.shape[0]):
                norms[j] += abs(work.maps[stage, d, j])
    _copy_map(tasks.maps[t, 1], work.following[0])
    copy_into(tasks.patterns[t], work.patterns[0])
