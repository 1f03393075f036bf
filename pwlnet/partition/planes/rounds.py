"""One round of cuts of a mesh by some functions: signs, crossings, faces; with exact answers where rounding errors may matter.

Legend: V vertices, E edges, F faces, J functions.
"""

import dataclasses

import numpy as np

from ...errors import CapacityError, NumericalError
from ...kernels.planes import edges as edge_kernels
from ...kernels.planes import faces as face_kernels
from ...kernels.planes import mesh as ms
from ...kernels.planes import rows
from .exact import Exact, Level, stage_code
from .meshes import edge_arrays, grown

_MOST_QUESTIONS = 2**16
_NO_ANSWERS = np.zeros((0, 5), np.int64)


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


def faces_of_vertices(mesh):
    """Return a face at each vertex, as a number in the last level: int32[V]."""
    result = np.zeros(mesh.n_vertices, np.int32)
    result[mesh.faces.vertices[: mesh.faces.starts[mesh.n_faces]]] = _faces_of_corners(mesh)
    return result


def _faces_of_corners(mesh):
    """Return the face of each corner, and of the edge after it, as a number in the last level: int32[*]."""
    return mesh.number(np.repeat(np.arange(mesh.n_faces), np.diff(mesh.faces.starts[: mesh.n_faces + 1])))


def _exact(problem, mesh, lines=None):
    """Return what answers questions about a mesh; ``lines`` may be longer than those of the mesh."""
    return Exact(problem.exact_ops, problem.stages, problem.planes, mesh.levels, mesh.lines if lines is None else lines)


def _decide_signs(problem, mesh, stage, first, last):
    """Set the signs of functions at all vertices."""
    room, zeros = _MOST_QUESTIONS, np.bool_(stage.zeros_exact)
    while True:
        asked = np.empty((room, 2), np.int64)
        n = rows.find_signs(mesh.vertices, mesh.n_vertices, first, last, zeros, asked)
        if n <= room:
            break
        room = n
    if n < 0:
        raise NumericalError("values overflow float64 on a plane; use a smaller polygon, or rescale the network")
    if n:
        exact, at, depth = _exact(problem, mesh), faces_of_vertices(mesh), len(mesh.levels) - 1
        signs = np.empty(n, np.int64)
        for k, (v, j) in enumerate(asked[:n].tolist()):
            function = exact.function(mesh.stage, j, depth, int(at[v]), mesh.comparison)
            signs[k] = exact.sign(function, mesh.vertices.lines[v])
        problem.questions[0] += n
        rows.answer_signs(mesh.vertices, asked, signs, n)


def cut_by(problem, mesh, stage, first, last):
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
        mesh.vertices = grown(mesh.vertices, mesh.n_vertices, room)
    new_edges = edge_arrays(mesh.n_edges + n_crossings + n_cuts + 2 * n_points)
    label = np.uint64((code + 1) << 32)
    edge_kernels.split_edges(mesh.vertices, mesh.edges, mesh.n_edges, words[1], crossings, new_edges, label, counts)
    lines = grown([mesh.lines], len(mesh.lines), len(mesh.lines) + n_cuts)[0]
    n_new = mesh.n_faces + n_cuts + n_points
    new_faces = ms.Faces(
        np.zeros(n_new + 1, np.int64), np.empty(5 * n_new, np.int32), np.empty(5 * n_new, np.int32),
        np.empty(n_new, np.int32), np.empty((n_new, n_words), np.uint64),
    )  # fmt: skip
    state = _FaceState(new_edges, new_faces, lines, counts, most)
    deferred = _cut_all_faces(problem, mesh, state, crossings, words, depth, code, label)
    n_vertices, n_edges, n_faces, _, n_lines = counts[: ms.N_LINES + 1].tolist()
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
        at[mesh.faces.edges[: mesh.faces.starts[mesh.n_faces]]] = _faces_of_corners(mesh)
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
    n_cells = 1 + state.most + min(state.most * (state.most - 1) // 2, face_kernels.CROSSINGS_PER_CUT * state.most)
    n_sides, was_deferred = 32 + 2 * state.most, False
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
            mesh.vertices = grown(mesh.vertices, int(counts[ms.N_VERTICES]), 2 * len(mesh.vertices.keys) + 64)
        elif status == ms.NEED_EDGES:
            state.edges = grown(state.edges, int(counts[ms.N_EDGES]), 2 * len(state.edges.line) + 64)
        elif status == ms.NEED_FACES or status == ms.NEED_CORNERS:
            state.faces = _more_faces(state.faces, counts)
        elif status == ms.NEED_LINES:
            state.lines = grown([state.lines], int(counts[ms.N_LINES]), 2 * len(state.lines) + 64)[0]
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
    n, corners, room = int(counts[ms.N_FACES]), int(counts[ms.N_CORNERS]), 2 * len(faces.parents) + 64
    (starts,) = grown([faces.starts], n + 1, room + 1)
    parents, states = grown([faces.parents, faces.states], n, room)
    vertices, edges = grown([faces.vertices, faces.edges], corners, 2 * len(faces.vertices) + 64)
    return ms.Faces(starts, vertices, edges, parents, states)


def _answer_questions(problem, mesh, questions, n, depth, lines):
    """Return the questions with the exact answers to those asked."""
    exact = _exact(problem, mesh, lines)
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
    return chosen_faces(faces, order)


def chosen_faces(faces, chosen):
    """Return faces ``chosen``: Faces."""
    counts = np.diff(faces.starts)[chosen]
    starts = np.concatenate([[0], np.cumsum(counts)])
    at = np.arange(starts[-1]) - np.repeat(starts[:-1] - faces.starts[chosen], counts)
    return ms.Faces(starts, faces.vertices[at], faces.edges[at], faces.parents[chosen], faces.states[chosen])
