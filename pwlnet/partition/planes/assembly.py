"""Join finished meshes: the polygons of each plane, with shared vertices, outputs and activation patterns.

Legend: R polygons, V vertices, O outputs, F faces, W words.
"""

from typing import NamedTuple

import numpy as np

from ...kernels.ir import bits
from ...kernels.ir import program as ir
from ...kernels.planes import mesh as ms
from ...kernels.planes import parts as part_kernels
from .exact import unpack_bits
from .geometry import polygon_areas


class Assembled(NamedTuple):
    """The polygons of one plane: the fields of PlanePartition, and the meshes that they come from."""

    offsets: np.ndarray
    vertex_numbers: np.ndarray
    shared_vertices: np.ndarray
    outputs: np.ndarray
    error: np.ndarray
    packed: np.ndarray
    areas: np.ndarray
    meshes: tuple


class Joined(NamedTuple):
    """Faces of several meshes as polygons that share vertices."""

    offsets: np.ndarray  # int64[R+1]
    numbers: np.ndarray  # int32[*]
    uv: np.ndarray  # float64[V, 2]
    rows: np.ndarray  # float64[V, C]
    error: np.ndarray  # float64[V]
    more: tuple  # other values of the vertices


def assemble(problem, meshes, first, last):
    """Return the Assembled of planes ``first`` to ``last``, which the meshes hold, faces in the order of the planes."""
    bounds = [np.searchsorted(mesh.levels[0].parents[mesh.ancestors(0)], np.arange(first, last + 1)) for mesh in meshes]
    made = []
    for k in range(last - first):
        spans = [(mesh, int(b[k]), int(b[k + 1])) for mesh, b in zip(meshes, bounds, strict=True) if b[k] < b[k + 1]]
        made.append(_assemble_plane(problem, spans))
    return made


def _assemble_plane(problem, spans):
    """Join the polygons of one plane: Assembled."""
    joined, units = join(spans), problem.stages[-1].units
    packed = [mesh.packed[first:last] for mesh, first, last in spans]
    areas = polygon_areas(joined.offsets, joined.numbers, joined.uv)
    outputs, error = joined.rows * units, joined.error[:, None] * units
    return Assembled(joined.offsets, joined.numbers, joined.uv, outputs, error, np.concatenate(packed), areas, tuple(spans))


def join(spans, *of_vertices):
    """Join faces of meshes, vertices at seams once.

    Parameters
    ----------
    spans : list of (Mesh, int, int)
        Faces from the first number to the last, not included.
    *of_vertices : callable
        Called with a mesh: more values of its vertices, [V, ...].

    Returns
    -------
    Joined
    """
    counts, numbers, vertices, n = [], [], [], 0
    for mesh, first, last in spans:
        starts = mesh.faces.starts
        corners, v = mesh.faces.vertices[starts[first] : starts[last]], mesh.vertices
        used = slice(0, mesh.n_vertices)
        if (first, last) != (0, mesh.n_faces):
            is_used = np.zeros(mesh.n_vertices, bool)
            is_used[corners] = True
            corners, used = (np.cumsum(is_used) - 1)[corners], np.flatnonzero(is_used)
        counts.append(np.diff(starts[first : last + 1]))
        numbers.append(corners + np.int32(n))
        more = [values(mesh)[used] for values in of_vertices]
        vertices.append((v.keys[used], v.on_seam[used], v.uv[used], v.rows[used], v.bounds[used, ms.ERROR], *more))
        n += len(vertices[-1][0])
    keys, on_seam, *columns = (np.concatenate(x) for x in zip(*vertices, strict=True))
    numbers = np.concatenate(numbers).astype(np.int32, copy=False)
    if len(spans) > 1:
        seam = np.flatnonzero(on_seam)
        _, kept, inverse = np.unique(keys[seam], return_index=True, return_inverse=True)
        target = np.arange(n)
        target[seam] = seam[kept][inverse]
        keep = target == np.arange(n)
        part_kernels.replace_numbers(numbers, (np.cumsum(keep) - 1)[target])
        columns = [column[keep] for column in columns]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return Joined(offsets, numbers, *columns[:3], tuple(columns[3:]))


def with_patterns(problem, mesh):
    """Give a finished mesh the packed activation patterns of its faces, and return it."""
    mesh.packed = _pack_states(problem, mesh)
    return mesh


def _pack_states(problem, mesh):
    """Return the packed activation patterns of the faces of a finished mesh: uint64[F, W]."""
    layout, network, n_faces = problem.network.pattern_layout, problem.network, mesh.n_faces
    packed = np.zeros((n_faces, int(layout.word_offsets[-1])), np.uint64)
    decided = _decisions(problem, mesh)
    for s, stage in enumerate(problem.stages):
        if stage.op < 0:
            break
        op = stage.op
        columns = slice(int(layout.word_offsets[op]), int(layout.word_offsets[op + 1]))
        kind = int(network.program.op[op])
        if kind in (ir.RELU, ir.LEAKY_RELU):
            for first, words in decided[s]:
                packed[:, columns.start + first // 64 : columns.start + first // 64 + words.shape[1]] = words
            continue
        states = _states(problem, stage, kind, decided[s], n_faces)
        one = [np.array(x, np.int64) for x in ((0, states.shape[1]), (0, columns.stop - columns.start), (layout.widths[op],))]
        result = np.empty((n_faces, columns.stop - columns.start), np.uint64)
        bits.pack(np.ascontiguousarray(states, np.int32), *one, result)
        packed[:, columns] = result
    return packed


def _decisions(problem, mesh):
    """Return what each stage decided on the faces: list of [(first function, uint64[F, W])], for MaxPool int16[F, windows]."""
    found = [[] for _ in problem.stages]
    numbers, depth = mesh.number(np.arange(mesh.n_faces)), len(mesh.levels) - 1
    while depth > 0:
        level = mesh.levels[depth]
        if level.winners is not None:
            found[level.stage] = level.winners[numbers]
        else:
            found[level.stage].append((level.first, level.states[numbers]))
        numbers, depth = level.parents[numbers], level.parent
    return found


def _states(problem, stage, kind, decided, n_faces):
    """Return the states of a stage that is Clip or MaxPool: int[F, J]."""
    if kind == ir.MAX_POOL:
        return decided if len(decided) else np.broadcast_to(stage.first_taps, (n_faces, len(stage.first_taps)))
    program = problem.network.program
    lower, upper = np.isfinite(program.coefficients[stage.op, :2])
    n = int(program.neuron_offsets[stage.op + 1] - program.neuron_offsets[stage.op])
    positive = np.zeros((n_faces, stage.n_functions), bool)
    for first, words in decided:
        size = min(64 * words.shape[1], stage.n_functions - first)
        positive[:, first : first + size] = unpack_bits(words, size)
    states = np.ones((n_faces, n), np.int32)
    if upper:
        states[~positive[:, stage.n_functions - n :]] = 2
    if lower:
        states[~positive[:, :n]] = 0
    return states
