"""Arrays of a search of cells: allocated for a problem, and enlarged while it runs.

Legend: as in kernels/regions/state.py.
"""

import numpy as np

from ...kernels.regions import state as st
from ...tolerances import UNIT_ROUNDOFF

_VERTICES, _SCRATCH, _LEVELS, _ROWS, _TASKS = 1024, 256, 64, 2**14, 64
_PADDING = 16  # entries of at least 8 bytes: two cache lines
_ROW_FACETS, _ROW_VERTICES = 16 * _ROWS, 2**17
_GROWTH = {
    st.NEED_VERTICES: (("x", 1), ("bits", 0)),
    st.NEED_SCRATCH: (("values", 0), ("index", 1), ("new_x", 1), ("new_bits", 0), ("other_bits", 0), ("answers", 0)),
    st.NEED_LEVELS: (("frames", 0), ("following", 0), ("patterns", 0), ("facets", 0)),
}


def make_problem(layers, settings):
    """Return the Problem of a network on a box."""
    stages = layers.stages
    table = np.zeros((len(stages), 6), np.int64)
    width = max([1, *(len(s.matrix.biases) for s in stages)])
    biases, factors = np.zeros((len(stages), 2, width)), np.zeros((len(stages), 2, width))
    weights, sizes, offset = [np.zeros(0)], [np.zeros(0)], 0
    for k, stage in enumerate(stages):
        n = len(stage.matrix.biases)
        table[k, [st.N_CUT, st.N_RECORDED, st.N_COLUMNS]] = stage.n_cut, stage.n_recorded, n
        biases[k, 0, :n], biases[k, 1, :n], factors[k, :, :n] = stage.matrix.biases, stage.matrix.bias_sizes, stage.factors
        table[k, st.WEIGHT] = offset
        if k + 1 < len(stages):
            weights.append(stages[k + 1].matrix.weights.ravel())
            sizes.append(stages[k + 1].matrix.sizes.ravel())
            offset += len(weights[-1])
    table[1:, st.FIRST_BIT] = np.cumsum(table[:, st.N_CUT])[:-1]
    table[1:, st.FIRST_RECORD] = np.cumsum(table[:, st.N_RECORDED])[:-1]
    n_functions = int(table[: layers.n_layers, st.N_CUT].sum())
    valid = np.zeros(max(1, -(-n_functions // 64)), np.uint64)
    for f in range(n_functions):
        valid[f // 64] |= np.uint64(1) << np.uint64(f % 64)
    roundoff = float(UNIT_ROUNDOFF)
    numbers = np.array([layers.roundings * roundoff, 16.0 * roundoff])
    return st.Problem(
        settings, numbers, table, np.concatenate(weights), np.concatenate(sizes), biases, factors, valid
    )  # fmt: skip


def empty_tasks(like, n, n_vertices):
    """Return room for n tasks with so many vertices: Tasks."""
    shapes = [a.shape[1:] for a in like]
    counts = n, n_vertices, n_vertices, n, n, n, n, n
    return st.Tasks(*(np.zeros((k, *shape), a.dtype) for k, shape, a in zip(counts, shapes, like, strict=True)))


def first_task(layers, problem, lower, upper):
    """Return the box as the only task: Tasks."""
    free, width, n_words = layers.free, problem.biases.shape[2], len(problem.valid)
    d = len(free)
    corners = 1 << d
    sides = np.array([lower[free], upper[free]]) / layers.scale  # exact: powers of two
    info = np.array([[-1, 0, 0, 0, corners]])
    tasks = st.Tasks(
        info, np.zeros((corners, d + 1)), np.zeros(corners, np.uint64), np.zeros((1, 2, d + 2, width)),
        np.zeros((1, width), np.int64), np.zeros((1, n_words), np.uint64), np.zeros((1, st.N_FACETS, d + 2)),
        np.zeros((1, st.N_FACETS), np.int64),
    )  # fmt: skip
    tasks.plane_ids[0] = -1 - np.arange(st.N_FACETS)  # the sides of the box; the others are not used
    at = np.arange(corners)
    for k in range(d):
        upper_side = at >> k & 1
        tasks.x[:, k] = sides[upper_side, k]
        tasks.bits[:] |= np.uint64(1) << (2 * k + upper_side).astype(np.uint64)
        for side in range(2):
            tasks.planes[0, 2 * k + side, k] = 1.0
            tasks.planes[0, 2 * k + side, d] = -sides[side, k]
    if layers.stages:
        matrix = layers.stages[0].matrix
        n = len(matrix.biases)
        tasks.maps[0, 1, :d, :n] = matrix.weights
        tasks.maps[0, 1, d, :n], tasks.maps[0, 1, d + 1, :n] = matrix.biases, matrix.bias_sizes
    return tasks


def make_work(layers, problem, most):
    """Return the buffers of one thread, with room for a cell of ``most`` vertices: Work."""
    n_stages, _, width = problem.biases.shape
    d, n_words, stages = len(layers.free), len(problem.valid), max(1, n_stages)
    scratch, room = max(_SCRATCH, most), max(_VERTICES, most)
    at = np.zeros(st.N_AT, np.int64)
    at[st.LEVEL], at[st.FIRST_MET] = -1, st.NO_KEY
    n_planes = st.N_FACETS + int(problem.stages[:, st.N_CUT].sum()) + 1
    work = st.Work(
        at, np.full(1, np.inf), np.zeros((_LEVELS, 5), np.int64), np.zeros((stages, d + 2, width)),
        np.zeros((_LEVELS, d + 2, width)), np.zeros((_LEVELS, n_words), np.uint64), np.zeros((_LEVELS, st.N_FACETS), np.int64),
        np.zeros((stages, width), np.int64), np.zeros(stages, np.int64), np.zeros((stages, width)),
        np.zeros((n_planes, d + 2)), np.zeros(n_planes, np.int64), np.zeros((d + 1, room)), np.zeros(room, np.uint64),
        np.zeros(scratch), np.zeros((3, scratch), np.int64), np.zeros((d + 1, scratch)), np.zeros(scratch, np.uint64),
        np.zeros(scratch, np.uint64), np.zeros(width), np.zeros(width), np.zeros((d, d)), np.zeros((d, d)),
        np.zeros(d, np.int64), np.zeros(d),
        np.zeros(scratch, np.int8),
    )  # fmt: skip
    return st.Work(*map(_padded, work))


def _padded(array):
    """Return a copy of an array that shares no cache lines with others: what threads write often must not be near."""
    room = np.zeros(array.size + 2 * _PADDING, array.dtype)
    copy = room[_PADDING : _PADDING + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def make_results(layers, problem, n_witnesses, n_tasks):
    """Return the results of one thread, empty: Results."""
    settings, d, n_words = problem.settings, len(layers.free), len(problem.valid)
    n_functions = int(problem.stages[:, st.N_CUT].sum())
    f = n_functions if settings[st.SIGNS] else 0
    recorded = int(problem.stages[:, st.N_RECORDED].sum()) if settings[st.RECORD] else 0
    n_rows = _ROWS if settings[st.LIST] else 0
    n_facets = _ROW_FACETS if settings[st.FACETS] else 0
    n_vertices = _ROW_VERTICES if settings[st.VERTICES] else 0
    n_met = n_witnesses if settings[st.CONDITION] else 0
    extremes = np.empty((recorded, 4))
    extremes[:] = np.inf, -np.inf, np.inf, -np.inf
    return st.Results(
        np.zeros(n_functions, np.int8), np.zeros((2, n_words), np.uint64), np.zeros((2, f, d)),
        np.full((2, f), st.NO_KEY), extremes, np.zeros((recorded, 2, d)), np.full((recorded, 2), st.NO_KEY),
        np.zeros((n_rows, n_words), np.uint64), np.zeros((n_rows, d)), np.zeros(n_rows, np.int64),
        np.zeros((n_rows, 2), np.int64), np.zeros(n_facets, np.int32),
        np.zeros((n_facets if settings[st.PLANES] else 0, d + 1)),
        np.zeros((n_vertices, d)), np.zeros(n_vertices, np.uint64),
        np.zeros((n_rows if settings[st.MAPS] else 0, d + 1, int(settings[st.MAPS]))),
        np.zeros(n_tasks, np.int64),
        np.zeros(n_met), np.zeros((n_met, d)), np.zeros(n_met, np.int64), np.zeros((n_met, d)), np.zeros(n_met, np.int64),
    )  # fmt: skip


def _enlarged(array, axis):
    """Return a copy of an array with twice the room along an axis."""
    added = np.zeros([max(1, n) if k == axis else n for k, n in enumerate(array.shape)], array.dtype)
    return np.concatenate([array, added], axis=axis)


def grow(slot, status):
    """Return a slot with twice the room of what its status asks for: CellSlot."""
    if status == st.NEED_TASKS:
        like, made = slot.tasks, slot.made
        n, vertices = max(_TASKS, 2 * len(made.info)), max(_TASKS << len(like.planes[0, 0]) - 1, 2 * len(made.bits))
        room = empty_tasks(like, n, vertices)
        for new, old in zip(room, made, strict=True):
            new[: len(old)] = old
        return slot._replace(made=room)
    if status == st.NEED_ROWS:  # for the vertices of one cell
        names = ("row_vertices", "row_bits")
        larger = {name: _enlarged(getattr(slot.results, name), 0) for name in names}
        return slot._replace(results=slot.results._replace(**larger))
    larger = {name: _enlarged(getattr(slot.work, name), axis) for name, axis in _GROWTH[status]}
    return slot._replace(work=slot.work._replace(**larger))
