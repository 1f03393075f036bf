"""The meshes of planes: their arrays, and how they begin, as the polygons of some planes.

Legend: V vertices, E edges, F faces, D inputs, C columns, W words.
"""

import dataclasses
import threading

import numpy as np

from ...errors import NumericalError, UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.planes import mesh as ms
from ...kernels.planes import rows
from .exact import CORNER, SIDE, Level
from .integers import ExactOps
from .polygons import Plane


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
    is_cut: bool = False  # by all functions of its stage: the rows of the next one come next
    is_part: bool = False  # of a mesh that was divided
    packed: np.ndarray | None = None  # uint64[F, W] activation patterns of a finished mesh

    def number(self, faces):
        """Return the numbers of faces in the last level."""
        return faces if self.numbers is None else self.numbers[faces]

    def ancestors(self, depth):
        """Return the face of the level of a depth that each face is a part of: int32[F]."""
        numbers, at = self.number(np.arange(self.n_faces)), len(self.levels) - 1
        while at > depth:
            level = self.levels[at]
            numbers, at = level.parents[numbers], level.parent
        return numbers


class Stopped(Exception):
    """Cutting ended early because ``Problem.stop`` was set."""


def _empty(kind, n, widths):
    """Return arrays with room for n entries: those of a NamedTuple of arrays."""
    return kind(*(np.empty((n, *shape), dtype) for shape, dtype in widths))


def vertex_arrays(n, width, n_words):
    """Return arrays for n vertices with rows of ``width`` columns: Vertices."""
    shapes = [((width,), np.float64), ((2,), np.float64), ((ms.N_BOUNDS,), np.float64), ((n_words,), np.uint64)]
    shapes += [((n_words,), np.uint64), ((), np.uint64), ((2,), np.int32), ((), np.uint8)]
    return _empty(ms.Vertices, n, shapes)


def edge_arrays(n):
    """Return arrays for n edges: Edges."""
    return _empty(ms.Edges, n, [((2,), np.int32), ((), np.int32), ((), np.float64), ((), np.uint8)])


def grown(arrays, used, n):
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
    vertices, edges = vertex_arrays(2 * n + 64, stage.width, n_words), edge_arrays(n)
    vertices.uv[:n] = np.concatenate([polygon for _, polygon in planes])
    of_plane, corner = np.repeat(np.arange(len(planes)), counts), np.arange(n) - np.repeat(starts[:-1], counts)
    following = np.where(corner + 1 < np.repeat(counts, counts), np.arange(n) + 1, np.repeat(starts[:-1], counts))
    lines = np.zeros((2 * n, ms.N_LINE_COLUMNS), np.int32)
    for kind, part in ((CORNER, lines[:n]), (SIDE, lines[n:])):
        part[:, ms.STAGE], part[:, ms.FUNCTION], part[:, ms.FACE] = kind, corner, of_plane
    vertices.lines[:n] = np.arange(n)[:, None]
    vertices.keys[:n] = np.random.default_rng(first).integers(2**64, size=n, dtype=np.uint64)  # any that differ
    vertices.on_seam[:n] = 0
    edges.ends[:, 0], edges.ends[:, 1], edges.line[:] = np.arange(n), following, n + np.arange(n)
    edges.offset[:], edges.on_seam[:] = 0.0, 0
    every = np.arange(n, dtype=np.int32)
    faces = ms.Faces(starts, every, every.copy(), np.arange(len(planes), dtype=np.int32), np.zeros((len(planes), 0), np.uint64))
    _load_corners(problem, vertices, planes, counts, stage)
    root = Level(-1, 0, 0, 0, np.arange(first, last, dtype=np.int32))
    return Mesh(vertices, edges, faces, n, n, len(planes), lines, [root])


def _load_corners(problem, vertices, planes, counts, stage):
    """Compute the rows and bounds of the corners of polygons."""
    network, n, first = problem.network, int(counts.sum()), 0
    order, points, relative = network.program.input_index, np.empty((n, network.n_inputs)), 0.0
    units = stage.chain.load_unit[order]
    for (frame, polygon), count in zip(planes, counts.tolist(), strict=True):
        e1, e2, origin = frame.T[:, order]
        points[first : first + count] = origin + polygon[:, :1] * e1 + polygon[:, 1:] * e2
        relative = max(relative, float((Plane(origin, e1, e2, polygon).sizes() / units).max(initial=0.0)))
        first += count
    if not np.isfinite(points).all():
        raise NumericalError("the points of a plane overflow float64; use smaller polygons or directions")
    growth, gamma, constant = stage.chain.growth
    error = (4.0 * float(ms.UNIT_ROUNDOFF) * relative * growth + gamma * (growth * relative + constant)) * (1 + 2.0**-40)
    vertices.bounds[:n, : ms.LARGEST] = error + float(ms.TINY)
    if not rows.load_points(network.code, points, n, row_buffer(problem), stage.chain, vertices.rows):
        raise UnsupportedOperationError("the network has an op that the kernels do not handle, see CONTRIBUTING.md")


def row_buffer(problem):
    """Return the buffer of this thread for the values of a block of rows."""
    if not hasattr(problem.local, "buffer"):
        problem.local.buffer = np.zeros(int(rows.HEIGHT) * int(problem.network.code.op_table[-1, ir.VALUE]))
    return problem.local.buffer
