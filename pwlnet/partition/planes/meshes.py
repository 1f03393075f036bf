"""Cut the meshes of planes, stage by stage: rows of values, signs, edges, faces.

A mesh starts as the polygons of some planes. ``cut_mesh`` cuts it by all stages; a mesh with too many faces is divided, and its
parts are cut one after the other, so that memory is bounded. Parts share the edges between them, the *seams*: both cut these
in the same way, and vertices there have the same keys in both.

Legend: V vertices, E edges, F faces, D inputs, C columns, W words.
"""

import dataclasses
import itertools
import threading

import numpy as np

from ...errors import CapacityError, NumericalError, UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.planes import edges as edge_kernels
from ...kernels.planes import faces as face_kernels
from ...kernels.planes import mesh as ms
from ...kernels.planes import parts, pools, rows
from .exact import CORNER, SIDE, Exact, ExactOps, Level, stage_code, unpack_bits
from .stages import OUTPUTS

WINDOW = 256  # functions that cut the faces in one round: it limits how many cells one face is cut into
MOST_FACES = 8192  # of a mesh; more are divided
FIRST_FACES = 2048  # of a mesh that has not been divided: soon, since its parts are cut on several threads
N_PARTS = 8  # into which a mesh is divided
MOST_BYTES = 2**26  # of the rows of a mesh that has more than one face
_MOST_QUESTIONS = 2**16
_NO_ANSWERS = np.zeros((0, 5), np.int64)


@dataclasses.dataclass
class Problem:
    """What all meshes of some planes share."""

    network: object
    stages: tuple
    planes: list  # of (float64[D, 3], float64[V, 2])
    exact_ops: ExactOps
    stop: np.ndarray  # int64[1]: not 0 to end early
    questions: np.ndarray  # int64[3]: exact answers so far: signs at vertices, orders on edges, signs at crossings
    local: threading.local = dataclasses.field(default_factory=threading.local)  # buffers of each thread


@dataclasses.dataclass
class Mesh:
    """A mesh, and how far it has been cut."""

    vertices: ms.Vertices
    edges: ms.Edges
    faces: ms.Faces
    n_vertices: int
    n_edges: int
    n_faces: int
    lines: np.ndarray  # int32[L, N_LINE_COLUMNS]
    levels: list  # of Level; the last one has the faces of this mesh
    numbers: np.ndarray | None = None  # int32[F] the faces' numbers in the last level; None: 0, 1, ...
    stage: int = 0
    comparison: int = 0  # MaxPool: the comparison that is being made
    first: int = 0  # the next function
    op_level: int = 0  # MaxPool: the level before the op
    winners: np.ndarray | None = None  # MaxPool: int16[F, windows] before the comparison
    is_part: bool = False  # of a mesh that was divided
    packed: np.ndarray | None = None  # uint64[F, W] activation patterns of a finished mesh

    def number(self, faces):
        """Return the numbers of faces in the last level."""
        return faces if self.numbers is None else self.numbers[faces]


class Stopped(Exception):
    """Cutting ended early because ``Problem.stop`` was set."""


def _empty(kind, n, widths):
    """Return arrays with room for n entries: those of a NamedTuple of arrays."""
    return kind(*(np.empty((n, *shape), dtype) for shape, dtype in widths))


def _vertex_arrays(n, width, n_words):
    shapes = [((width,), np.float64), ((2,), np.float64), ((ms.N_BOUNDS,), np.float64), ((n_words,), np.uint64)]
    shapes += [((n_words,), np.uint64), ((), np.uint64), ((2,), np.int32), ((), np.uint8)]
    return _empty(ms.Vertices, n, shapes)


def _edge_arrays(n):
    return _empty(ms.Edges, n, [((2,), np.int32), ((), np.int32), ((), np.float64), ((), np.uint8)])


def _grown(arrays, used, n):
    """Return arrays with room for n entries, and the first ``used`` ones copied."""
    grown = []
    for array in arrays:
        new = np.empty((n, *array.shape[1:]), array.dtype)
        new[:used] = array[:used]
        grown.append(new)
    return type(arrays)(*grown) if hasattr(arrays, "_fields") else grown


def start_mesh(problem, first, last):
    """Make the mesh of planes ``first`` to ``last``, before anything cuts it.

    Returns
    -------
    Mesh
    """
    planes, stage = problem.planes[first:last], problem.stages[0]
    counts = np.array([len(polygon) for _, polygon in planes])
    starts = np.concatenate([[0], np.cumsum(counts)])
    n = int(starts[-1])
    n_words = max(1, -(-stage.n_functions // 64))
    vertices, edges = _vertex_arrays(2 * n + 64, stage.width, n_words), _edge_arrays(n)
    vertices.uv[:n] = np.concatenate([polygon for _, polygon in planes])
    of_plane, corner = np.repeat(np.arange(len(planes)), counts), np.arange(n) - np.repeat(starts[:-1], counts)
    following = np.where(corner + 1 < np.repeat(counts, counts), np.arange(n) + 1, np.repeat(starts[:-1], counts))
    lines = np.zeros((2 * n, ms.N_LINE_COLUMNS), np.int32)
    for kind, part in ((CORNER, lines[:n]), (SIDE, lines[n:])):
        part[:, ms.STAGE], part[:, ms.FUNCTION], part[:, ms.FACE] = kind, corner, of_plane
    vertices.lines[:n] = np.arange(n)[:, None]
    vertices.keys[:n] = _hashed((np.uint64(first) + of_plane.astype(np.uint64)) << np.uint64(32) | corner.astype(np.uint64))
    vertices.on_seam[:n] = 0
    edges.ends[:, 0], edges.ends[:, 1], edges.line[:] = np.arange(n), following, n + np.arange(n)
    edges.offset[:], edges.on_seam[:] = 0.0, 0
    every = np.arange(n, dtype=np.int32)
    faces = ms.Faces(starts, every, every.copy(), np.arange(len(planes), dtype=np.int32), np.zeros((len(planes), 0), np.uint64))
    _load_corners(problem, vertices, planes, counts, stage)
    root = Level(-1, 0, 0, 0, np.arange(first, last, dtype=np.int32))
    return Mesh(vertices, edges, faces, n, n, len(planes), lines, [root])


def _hashed(keys):
    """Return a hash of each key (the finalizer of SplitMix64), since keys of two vertices are added later."""
    x = (keys + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _load_corners(problem, vertices, planes, counts, stage):
    """Compute the rows and bounds of the corners of polygons."""
    network, n = problem.network, int(counts.sum())
    order, first = network.program.input_index, 0
    unit = np.empty(network.n_inputs)
    loads = stage.chain
    unit[:] = loads.load_unit[order]
    relative = 0.0
    points = np.empty((n, network.n_inputs))
    largest = 0.0
    for (frame, polygon), count in zip(planes, counts.tolist(), strict=True):
        e1, e2, origin = frame.T[:, order]
        points[first : first + count] = origin + polygon[:, :1] * e1 + polygon[:, 1:] * e2
        size = np.abs(origin) + np.abs(polygon[:, :1]).max() * np.abs(e1) + np.abs(polygon[:, 1:]).max() * np.abs(e2)
        relative = max(relative, float((size / unit).max(initial=0.0)))
        first += count
    if not np.isfinite(points).all():
        raise NumericalError("the points of a plane overflow float64; use smaller polygons or directions")
    largest = relative
    growth, gamma, constant = stage.chain.growth
    error = (4.0 * float(ms.UNIT_ROUNDOFF) * relative * growth + gamma * (growth * largest + constant)) * (1 + 2.0**-40)
    vertices.bounds[:n, : ms.LARGEST] = error + float(rows.TINY)
    buffer = _row_buffer(problem)
    if not rows.load_points(network.code, points, n, buffer, stage.chain, vertices.rows, 0):
        raise UnsupportedOperationError("the network has an op that the kernels do not handle, see CONTRIBUTING.md")


def _row_buffer(problem):
    """Return the buffer of this thread for the values of a block of rows."""
    if not hasattr(problem.local, "buffer"):
        problem.local.buffer = np.zeros(int(rows.HEIGHT) * int(problem.network.code.op_table[-1, ir.VALUE]))
    return problem.local.buffer


def _cells(problem, n_cells, n_sides, n_words, n_edges):
    """Return the buffers of this thread for the cells of one face."""
    cells = getattr(problem.local, "cells", None)
    if cells is not None:
        n_sides, n_cells = max(n_sides, cells.vertices.shape[1]), max(n_cells, len(cells.n_sides))
        enough = n_sides == cells.vertices.shape[1] and n_cells == len(cells.n_sides) and n_words <= cells.cut.shape[1]
        if enough and n_edges <= len(cells.stamps):
            return cells
        n_words, n_edges = max(n_words, cells.cut.shape[1]), max(n_edges, len(cells.stamps))
    ints = np.int32
    problem.local.cells = ms.Cells(
        np.empty((n_cells, n_sides), ints), np.empty((n_cells, n_sides), ints), np.empty(n_cells, np.int64),
        np.empty((n_cells, n_words), np.uint64), np.empty((n_cells, n_words), np.uint64),
        np.empty(2 * n_sides + 4, ints), np.empty(2 * n_sides + 4, ints), np.empty(2 * n_sides + 4, np.int8),
        np.zeros(n_edges, np.int64), np.empty(n_edges, ints), np.empty(n_edges, ints),
    )  # fmt: skip
    return problem.local.cells


def is_finished(problem, mesh):
    """Return whether a mesh has been cut by all stages."""
    return mesh.stage == len(problem.stages) or problem.stages[mesh.stage].op == OUTPUTS


def cut_until_divided(problem, mesh):
    """Cut a mesh by the stages that remain, until it is finished, or has too many faces: list of Mesh, its parts.

    Raises
    ------
    Stopped
        ``problem.stop`` was set.
    """
    while not is_finished(problem, mesh):
        if problem.stop[0]:
            raise Stopped
        cut_round(problem, mesh)
        divided = [mesh] if is_finished(problem, mesh) else _divide(mesh)
        if len(divided) > 1:
            return divided
    return [mesh]


def cut_mesh(problem, mesh):
    """Cut a mesh by the stages that remain: yields finished meshes, one or the parts."""
    waiting = [mesh]
    while waiting:
        waiting += cut_until_divided(problem, waiting.pop())[::-1]
        while waiting and is_finished(problem, waiting[-1]):
            yield waiting.pop()


def cut_round(problem, mesh):
    """Cut a mesh by the next functions of its stage, and go on to the next stage after the last ones."""
    stage = problem.stages[mesh.stage]
    is_pool = stage.comparisons or stage.first_taps is not None
    n_functions = stage.n_functions
    if is_pool:
        n_functions = len(stage.comparisons[mesh.comparison].windows) if stage.comparisons else 0
        if mesh.first == 0 and mesh.winners is None:
            mesh.op_level = len(mesh.levels) - 1
            mesh.winners = np.broadcast_to(stage.first_taps.astype(np.int16), (mesh.n_faces, len(stage.first_taps)))
    last = min(mesh.first + WINDOW, n_functions)
    if last > mesh.first:
        if is_pool:
            step = stage.comparisons[mesh.comparison]
            pools.compare_taps(mesh.vertices, mesh.n_vertices, mesh.first, last, step.windows + stage.best, step.columns)
        _cut_by(problem, mesh, stage, mesh.first, last)
    mesh.first = last
    if mesh.first < n_functions:
        return
    mesh.first = 0
    if is_pool and n_functions:
        _finish_comparison(mesh, stage)
        mesh.comparison += 1
        if mesh.comparison < len(stage.comparisons):
            return
    mesh.comparison, mesh.winners = 0, None
    _advance(problem, mesh)


def _advance(problem, mesh):
    """Compute the rows of the next stage."""
    mesh.stage += 1
    if mesh.stage == len(problem.stages):
        return
    stage = problem.stages[mesh.stage]
    n, old = mesh.n_vertices, mesh.vertices
    new_rows = np.empty((2 * n + 64, stage.width))
    if stage.dense is not None:
        growth = np.empty(n)
        rows.advance_dense(old, stage.dense, n, new_rows, growth)
    else:
        growth = np.full(n, stage.chain.growth[0])
        if not rows.advance_rows(problem.network.code, stage.chain, old, n, _row_buffer(problem), new_rows):
            raise UnsupportedOperationError("the network has an op that the kernels do not handle, see CONTRIBUTING.md")
    rows.grow_offsets(mesh.edges, mesh.n_edges, growth)
    n_words = max(1, -(-stage.n_functions // 64))
    room = len(new_rows)
    words = [np.empty((room, n_words), np.uint64) for _ in range(2)]
    others = _grown([old.uv, old.bounds, old.keys, old.lines, old.on_seam], n, room)
    uv, bounds, keys, lines, on_seam = others
    mesh.vertices = ms.Vertices(new_rows, uv, bounds, *words, keys, lines, on_seam)


def _faces_of_vertices(mesh):
    """Return a face at each vertex, as a number in the last level: int32[V]."""
    result = np.zeros(mesh.n_vertices, np.int32)
    faces, n = mesh.faces, mesh.n_faces
    result[faces.vertices[: faces.starts[n]]] = mesh.number(np.repeat(np.arange(n), np.diff(faces.starts[: n + 1])))
    return result


def _exact(problem, mesh):
    return Exact(problem.exact_ops, problem.stages, problem.planes, mesh.levels, mesh.lines)


def _decide_signs(problem, mesh, stage, first, last):
    """Set the signs of functions at all vertices."""
    n = -1
    asked, zeros = np.empty((_MOST_QUESTIONS, 2), np.int64), np.bool_(stage.zeros_exact)
    while n != 0:
        n = rows.find_signs(mesh.vertices, np.int64(0), mesh.n_vertices, first, last, zeros, asked)
        if n < 0:
            raise NumericalError("values overflow float64 on a plane; use a smaller polygon, or rescale the network")
        if n > len(asked):
            asked = np.empty((n, 2), np.int64)
            continue
        if n:
            exact, at, depth = _exact(problem, mesh), _faces_of_vertices(mesh), len(mesh.levels) - 1
            signs = np.empty(n, np.int64)
            for k, (v, j) in enumerate(asked[:n].tolist()):
                function = exact.function(mesh.stage, j, depth, int(at[v]), mesh.comparison)
                signs[k] = exact.sign(function, mesh.vertices.lines[v])
            problem.questions[0] += n
            rows.answer_signs(mesh.vertices, asked, signs, n)
        return


def _cut_by(problem, mesh, stage, first, last):
    """Cut a mesh by functions ``first`` to ``last`` of its stage."""
    _decide_signs(problem, mesh, stage, first, last)
    words = first // 64, -(-last // 64)
    n_words = words[1] - words[0]
    n_crossings = edge_kernels.count_crossings(mesh.vertices, mesh.edges, mesh.n_edges, *words)
    sizes = np.zeros(3, np.int64)
    face_kernels.estimate_cuts(mesh.vertices, mesh.faces, mesh.n_faces, *words, sizes)
    n_cuts, n_points, most = sizes.tolist()
    depth, code = len(mesh.levels) - 1, stage_code(mesh.stage, mesh.comparison)
    if n_cuts == 0:
        states = np.empty((mesh.n_faces, n_words), np.uint64)
        face_kernels.read_states(mesh.vertices, mesh.faces, mesh.n_faces, *words, states)
        _append_level(mesh, first, last, mesh.number(np.arange(mesh.n_faces, dtype=np.int32)), states)
        return
    crossings = _order_crossings(problem, mesh, n_crossings, words, code)
    counts = np.zeros(ms.N_COUNTS, np.int64)
    counts[ms.N_VERTICES], counts[ms.N_LINES] = mesh.n_vertices, len(mesh.lines)
    room = mesh.n_vertices + n_crossings + n_points
    if room > len(mesh.vertices.keys):
        mesh.vertices = _grown(mesh.vertices, mesh.n_vertices, room)
    new_edges = _edge_arrays(mesh.n_edges + n_crossings + n_cuts + 2 * n_points)
    label = np.uint64((code + 1) << 32)
    edge_kernels.split_edges(mesh.vertices, mesh.edges, mesh.n_edges, words[1], crossings, new_edges, label, counts)
    lines = _grown([mesh.lines], len(mesh.lines), len(mesh.lines) + n_cuts)[0]
    n_new = mesh.n_faces + n_cuts + n_points
    new_faces = ms.Faces(
        np.zeros(n_new + 1, np.int64), np.empty(5 * n_new, np.int32), np.empty(5 * n_new, np.int32),
        np.empty(n_new, np.int32), np.empty((n_new, n_words), np.uint64),
    )  # fmt: skip
    state = _FaceState(new_edges, new_faces, lines, counts, most)
    deferred = _cut_all_faces(problem, mesh, state, crossings, words, depth, code, label)
    n_vertices, n_edges, n_faces, n_corners, n_lines = counts[: ms.N_LINES + 1].tolist()
    faces = state.faces
    if deferred:
        faces = _in_order(faces, n_faces)
    lines = state.lines[:n_lines]
    fresh = lines[len(mesh.lines) :]
    fresh[:, ms.FACE] = mesh.number(fresh[:, ms.FACE])
    if mesh.winners is not None:
        mesh.winners = mesh.winners[faces.parents[:n_faces]]
    parents = mesh.number(faces.parents[:n_faces].copy())
    _append_level(mesh, first, last, parents, faces.states[:n_faces])
    mesh.edges, mesh.faces, mesh.lines = state.edges, faces, lines
    mesh.n_vertices, mesh.n_edges, mesh.n_faces, mesh.numbers = n_vertices, n_edges, n_faces, None
    del n_corners


def _append_level(mesh, first, last, parents, states):
    """Note the faces after a round as a level."""
    mesh.levels.append(Level(mesh.stage, first, last, len(mesh.levels) - 1, parents, states=states))
    mesh.numbers = None


def _order_crossings(problem, mesh, n_crossings, words, code):
    """Find the crossings of all edges, in order."""
    n, ints = mesh.n_edges, np.int32
    crossings = ms.Crossings(
        np.empty(n + 1, np.int64), np.empty(n_crossings, ints), np.empty(n_crossings), np.empty(n_crossings, np.uint8),
        np.empty(n + 1, ints), np.empty(n + 1, ints),
    )  # fmt: skip
    undecided = np.empty(n, np.int64)
    n_undecided = edge_kernels.order_crossings(mesh.vertices, mesh.edges, n, *words, crossings, undecided)
    if n_undecided:
        exact, depth, at = _exact(problem, mesh), len(mesh.levels) - 1, np.zeros(n, np.int32)
        faces, n_faces = mesh.faces, mesh.n_faces
        at[faces.edges[: faces.starts[n_faces]]] = mesh.number(
            np.repeat(np.arange(n_faces), np.diff(faces.starts[: n_faces + 1]))
        )
        for e in undecided[:n_undecided].tolist():
            here = slice(crossings.starts[e], crossings.starts[e + 1])
            functions = [exact.function(mesh.stage, j, depth, int(at[e]), mesh.comparison) for j in crossings.functions[here]]
            ends = [exact.point(mesh.vertices.lines[v]) for v in mesh.edges.ends[e]]
            order = exact.order(exact.line(int(mesh.edges.line[e])), functions, *ends)
            crossings.functions[here] = crossings.functions[here][[k for k, _ in order]]
            crossings.t[here] = np.sort(crossings.t[here])
            crossings.same[here] = [same for _, same in order]
        problem.questions[1] += n_undecided
    return crossings


@dataclasses.dataclass
class _FaceState:
    """What grows while faces are cut."""

    edges: ms.Edges
    faces: ms.Faces
    lines: np.ndarray
    counts: np.ndarray
    most: int  # cuts of one face


def _cut_all_faces(problem, mesh, state, crossings, words, depth, code, label):
    """Cut all faces; return whether some were deferred, so that the new faces are not in the order of their parents."""
    counts, chosen = state.counts, np.arange(mesh.n_faces, dtype=np.int32)
    n_cells = 1 + state.most + min(state.most * (state.most - 1) // 2, 4 * state.most)
    n_sides, was_deferred = 32, False
    questions = ms.Questions(np.empty((_MOST_QUESTIONS, 4), np.int64), _NO_ANSWERS, np.empty(mesh.n_faces, np.int32))
    while True:
        cells = _cells(problem, n_cells, n_sides, words[1] - words[0], len(state.edges.line))
        if counts[ms.CLOCK] == 0:
            cells.stamps[:] = 0
        status = face_kernels.cut_faces(
            mesh.vertices, mesh.faces, mesh.edges, crossings, chosen, *words, code, depth, label, state.lines, state.edges,
            state.faces, cells, questions, counts,
        )  # fmt: skip
        if status == ms.INCONSISTENT:
            raise CapacityError("a face was cut inconsistently; this is an error in pwlnet, report it with the network")
        if status == ms.NEED_VERTICES:
            mesh.vertices = _grown(mesh.vertices, int(counts[ms.N_VERTICES]), 2 * len(mesh.vertices.keys) + 64)
        elif status == ms.NEED_EDGES:
            state.edges = _grown(state.edges, int(counts[ms.N_EDGES]), 2 * len(state.edges.line) + 64)
        elif status == ms.NEED_FACES or status == ms.NEED_CORNERS:
            state.faces = _more_faces(state.faces, counts)
        elif status == ms.NEED_LINES:
            state.lines = _grown([state.lines], int(counts[ms.N_LINES]), 2 * len(state.lines) + 64)[0]
        elif status == ms.NEED_CELLS:
            n_cells = 2 * len(cells.n_sides)
        elif status == ms.NEED_SIDES:
            n_sides = 2 * cells.vertices.shape[1]
        elif counts[ms.N_DEFERRED]:
            was_deferred, chosen = True, questions.deferred[: counts[ms.N_DEFERRED]].copy()
            questions = _answer_questions(problem, mesh, questions, int(counts[ms.N_QUESTIONS]), depth, state.lines)
            counts[ms.N_DEFERRED] = counts[ms.N_QUESTIONS] = counts[ms.NEXT] = 0
        else:
            return was_deferred


def _more_faces(faces, counts):
    """Return faces with twice the room."""
    n, corners = int(counts[ms.N_FACES]), int(counts[ms.N_CORNERS])
    starts, parents, states = _grown([faces.starts, faces.parents, faces.states], n + 1, 2 * len(faces.starts) + 64)
    vertices, edges = _grown([faces.vertices, faces.edges], corners, 2 * len(faces.vertices) + 64)
    return ms.Faces(starts, vertices, edges, parents[:-1], states[:-1])


def _answer_questions(problem, mesh, questions, n, depth, lines):
    """Return the questions with the exact answers to those asked."""
    exact = Exact(problem.exact_ops, problem.stages, problem.planes, mesh.levels, lines)
    asked = np.unique(questions.asked[:n], axis=0)
    answers = np.empty((len(asked), 5), np.int64)
    answers[:, :4] = asked
    for k, (f, *functions) in enumerate(asked.tolist()):
        face = int(mesh.number(np.array([f]))[0])
        i, j, g = (exact.function(mesh.stage, x, depth, face, mesh.comparison) for x in functions)
        answers[k, 4] = exact.sign_at_crossing(g, i, j)
    problem.questions[2] += len(asked)
    both = np.concatenate([questions.answers, answers])
    return questions._replace(answers=both[np.lexsort(both[:, 3::-1].T)])


def _in_order(faces, n):
    """Return the first n faces in the order of their parents."""
    order = np.argsort(faces.parents[:n], kind="stable")
    return _chosen_faces(faces, order)


def _chosen_faces(faces, chosen):
    """Return faces ``chosen``: Faces."""
    counts = np.diff(faces.starts)[chosen]
    starts = np.concatenate([[0], np.cumsum(counts)])
    at = np.arange(starts[-1]) - np.repeat(starts[:-1] - faces.starts[chosen], counts)
    return ms.Faces(starts, faces.vertices[at], faces.edges[at], faces.parents[chosen], faces.states[chosen])


def _finish_comparison(mesh, stage):
    """Note which tap is the largest one in each window, and join faces on which these are the same."""
    step, n = stage.comparisons[mesh.comparison], mesh.n_faces
    winners, depth, faces = np.array(mesh.winners), len(mesh.levels) - 1, mesh.number(np.arange(n, dtype=np.int32))
    while depth > mesh.op_level and mesh.levels[depth].winners is None:
        level = mesh.levels[depth]
        won = unpack_bits(level.states[faces], level.last - level.first)
        for k in np.flatnonzero(won.any(axis=0)):
            j = level.first + int(k)
            winners[won[:, k], step.windows[j]] = step.taps[j]
        depth, faces = level.parent, level.parents[faces]
    if depth > mesh.op_level:  # after a comparison before this one
        faces = mesh.levels[depth].parents[faces]
    pools.keep_largest(mesh.vertices, mesh.n_vertices, step.windows + stage.best, step.columns)
    order = np.lexsort((*winners.T[::-1], faces)) if n > 1 else np.arange(n)
    changes = (np.diff(faces[order]) != 0) | (winners[order[1:]] != winners[order[:-1]]).any(axis=1)
    group = np.empty(n, np.int64)
    group[order] = np.concatenate([[0], np.cumsum(changes)])
    if group.max(initial=-1) + 1 < n:
        first = np.full(group.max() + 1, n)
        np.minimum.at(first, group, np.arange(n))
        rank = np.argsort(np.argsort(first))  # groups in the order of their first faces
        group = rank[group]
        order = np.argsort(group, kind="stable")
        joined, n_joined = _join_faces(mesh, order, group[order])
        representative = np.sort(first)
        mesh.faces, mesh.n_faces, mesh.numbers, mesh.winners = joined, n_joined, None, None
        _keep_used(mesh, joined, _Numbers(mesh))
        winners, faces = winners[representative], faces[representative]
    mesh.levels.append(Level(mesh.stage, 0, 0, mesh.op_level, faces.astype(np.int32), winners=winners))
    mesh.numbers, mesh.winners = None, winners


def _join_faces(mesh, order, group):
    """Join the faces of each group, given in order: Faces, their number."""
    n, corners = len(order), int(mesh.faces.starts[mesh.n_faces])
    joined = ms.Faces(
        np.zeros(n + 1, np.int64), np.empty(corners, np.int32), np.empty(corners, np.int32), np.empty(n, np.int32),
        np.zeros((n, 0), np.uint64),
    )  # fmt: skip
    stamps = np.full(mesh.n_edges, -1, np.int64)
    following, sides = np.empty(mesh.n_vertices, np.int64), np.empty(mesh.n_vertices, np.int64)
    count = pools.join_faces(mesh.faces, order, group, stamps, following, sides, joined)
    if count < 0:
        raise CapacityError("faces were joined inconsistently; this is an error in pwlnet, report it with the network")
    n, corners = int(count), int(joined.starts[count])
    parts_of = (
        joined.starts[: n + 1],
        joined.vertices[:corners],
        joined.edges[:corners],
        joined.parents[:n],
        joined.states[:n],
    )
    return ms.Faces(*parts_of), n


def _divide(mesh):
    """Divide a mesh with too many faces: list of Mesh."""
    row_bytes = 8 * mesh.vertices.rows.shape[1] * mesh.n_vertices
    most = MOST_FACES if mesh.is_part else min(FIRST_FACES, MOST_FACES)
    if mesh.n_faces <= most and (row_bytes <= MOST_BYTES or mesh.n_faces < 2):
        return [mesh]
    if mesh.winners is not None and mesh.levels[-1].winners is None:
        return [mesh]  # faces that may be joined stay together
    n_parts = min(mesh.n_faces, max(N_PARTS, N_PARTS * mesh.n_faces // (2 * most), N_PARTS * row_bytes // (2 * MOST_BYTES)))
    bounds = np.linspace(0, mesh.n_faces, n_parts + 1).astype(np.int64)
    if mesh.winners is not None:  # between faces of one parent before the op, nothing is divided
        parents = mesh.levels[-1].parents[mesh.number(np.arange(mesh.n_faces))]
        starts = np.flatnonzero(np.diff(parents, prepend=-1))
        bounds = np.unique(np.append(starts[np.searchsorted(starts, bounds[:-1], side="right") - 1], mesh.n_faces))
        if len(bounds) < 3:
            return [mesh]
    part_of_face = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    scratch = np.full(mesh.n_edges, -1, np.int64)
    parts.mark_seams(mesh.vertices, mesh.edges, mesh.faces, mesh.n_faces, part_of_face, scratch)
    numbers = _Numbers(mesh)
    return [_part(mesh, int(a), int(b), numbers) for a, b in itertools.pairwise(bounds)]


class _Numbers:
    """Scratch to number what parts of a mesh use."""

    def __init__(self, mesh):
        self._arrays = {
            name: (np.empty(n, np.int64), np.full(n, -1, np.int64))
            for name, n in (("vertices", mesh.n_vertices), ("edges", mesh.n_edges), ("lines", len(mesh.lines)))
        }
        self._stamp = 0

    def renumber(self, name, items):
        """Replace items by numbers 0, 1, ...; return the items in this order."""
        self._stamp += 1
        used = np.empty(len(items), np.int32)
        return used[: parts.renumber(items, *self._arrays[name], self._stamp, used)]

    def numbers_of_vertices(self, vertices):
        """Return the numbers that vertices got last: int32."""
        return self._arrays["vertices"][0][vertices].astype(np.int32)


def _part(mesh, first, last, numbers):
    """Return faces ``first`` to ``last`` of a mesh as a mesh of its own."""
    part, chosen = dataclasses.replace(mesh, levels=list(mesh.levels), is_part=True), np.arange(first, last, dtype=np.int32)
    part.numbers = mesh.number(chosen)
    part.winners = None if mesh.winners is None else mesh.winners[chosen]
    lo, hi = mesh.faces.starts[first], mesh.faces.starts[last]
    faces = ms.Faces(
        mesh.faces.starts[first : last + 1] - lo, mesh.faces.vertices[lo:hi].copy(), mesh.faces.edges[lo:hi].copy(),
        mesh.faces.parents[first:last], mesh.faces.states[first:last],
    )  # fmt: skip
    _keep_used(part, faces, numbers)
    return part


def divide_off(mesh, first, last):
    """Return a copy of faces ``first`` to ``last`` of a finished mesh."""
    return _part(mesh, first, last, _Numbers(mesh))


def _keep_used(mesh, faces, numbers):
    """Keep only what some faces use."""
    old = mesh.vertices
    vertex_used, edge_used = numbers.renumber("vertices", faces.vertices), numbers.renumber("edges", faces.edges)
    n = len(vertex_used)
    vertices = ms.Vertices(*(_taken(array, vertex_used, n + n // 2 + 64) for array in old))
    edges = ms.Edges(*(array[edge_used] for array in mesh.edges))
    ends = numbers.numbers_of_vertices(edges.ends)
    lines = np.concatenate([vertices.lines[:n].ravel(), edges.line])
    line_used = numbers.renumber("lines", lines)
    vertices.lines[:n] = lines[: 2 * n].reshape(n, 2)
    mesh.vertices, mesh.edges = vertices, edges._replace(line=lines[2 * n :].copy(), ends=ends)
    mesh.faces, mesh.lines = faces, mesh.lines[line_used]
    mesh.n_vertices, mesh.n_edges, mesh.n_faces = n, len(edge_used), len(faces.starts) - 1


def _taken(array, chosen, room):
    """Return entries of an array, with room for more."""
    result = np.empty((room, *array.shape[1:]), array.dtype)
    result[: len(chosen)] = array[chosen]
    return result
