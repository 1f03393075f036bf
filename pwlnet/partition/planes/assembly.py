"""Join finished meshes: the polygons of each plane, with shared vertices, outputs and activation patterns.

Legend: R polygons, V vertices, O outputs, F faces, W words.
"""

from typing import NamedTuple

import numpy as np

from ...kernels.ir import bits
from ...kernels.ir import program as ir
from ...kernels.planes import mesh as ms
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


def assemble(problem, meshes, first, last):
    """Return the Assembled of planes ``first`` to ``last``, which the meshes hold."""
    of_plane = [_plane_of_faces(mesh) - first for mesh in meshes]
    if last - first == 1:
        return [_assemble_plane(problem, meshes, [np.arange(mesh.n_faces) for mesh in meshes])]
    made = []
    for k in range(last - first):
        chosen = [(mesh, np.flatnonzero(numbers == k)) for mesh, numbers in zip(meshes, of_plane, strict=True)]
        chosen = [(mesh, faces) for mesh, faces in chosen if len(faces)]
        made.append(_assemble_plane(problem, [mesh for mesh, _ in chosen], [faces for _, faces in chosen]))
    return made


def _plane_of_faces(mesh):
    """Return the plane of each face: int32[F]."""
    numbers, depth = mesh.number(np.arange(mesh.n_faces)), len(mesh.levels) - 1
    while depth > 0:
        level = mesh.levels[depth]
        numbers, depth = level.parents[numbers], level.parent
    return mesh.levels[0].parents[numbers]


def _assemble_plane(problem, meshes, chosen):
    """Join faces of meshes that are the polygons of one plane."""
    counts, numbers, keys, on_seam, uv, outputs, bounds, packed = [], [], [], [], [], [], [], []
    units, n = problem.stages[-1].units, 0
    for mesh, faces in zip(meshes, chosen, strict=True):
        sizes = np.diff(mesh.faces.starts[: mesh.n_faces + 1])[faces]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        at = np.arange(starts[-1]) - np.repeat(starts[:-1] - mesh.faces.starts[faces], sizes)
        corners = mesh.faces.vertices[at]
        used = np.zeros(mesh.n_vertices, bool)
        used[corners] = True
        renumbered = np.cumsum(used) - 1 + n
        vertices, used = mesh.vertices, np.flatnonzero(used)
        counts.append(sizes)
        numbers.append(renumbered[corners])
        keys.append(vertices.keys[used])
        on_seam.append(vertices.on_seam[used])
        uv.append(vertices.uv[used])
        outputs.append(vertices.rows[used] * units)
        bounds.append(vertices.bounds[used, ms.ERROR])
        packed.append(pack_states(problem, mesh)[faces])
        n += len(used)
    counts, numbers, keys, on_seam, uv, outputs, bounds, packed = (
        np.concatenate(x) for x in (counts, numbers, keys, on_seam, uv, outputs, bounds, packed)
    )
    if len(meshes) > 1:
        seam = np.flatnonzero(on_seam)
        _, kept, inverse = np.unique(keys[seam], return_index=True, return_inverse=True)
        target = np.arange(n)
        target[seam] = seam[kept][inverse]
        keep = target == np.arange(n)
        renumbered = np.cumsum(keep) - 1
        numbers = renumbered[target[numbers]]
        uv, outputs, bounds = uv[keep], outputs[keep], bounds[keep]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    numbers = numbers.astype(np.int32)
    error = bounds[:, None] * units
    arrays = offsets, numbers, uv, outputs, error, packed, polygon_areas(offsets, numbers, uv)
    for array in arrays:
        array.setflags(write=False)
    return Assembled(*arrays, tuple(meshes))


def pack_states(problem, mesh):
    """Return the packed activation patterns of the faces of a finished mesh: uint64[F, W]."""
    layout, network = problem.network.pattern_layout, problem.network
    packed = np.zeros((mesh.n_faces, int(layout.word_offsets[-1])), np.uint64)
    decided = decisions(problem, mesh)
    for s, stage in enumerate(problem.stages[:-1]):
        op = stage.op
        columns = slice(int(layout.word_offsets[op]), int(layout.word_offsets[op + 1]))
        kind = int(network.program.op[op])
        if kind in (ir.RELU, ir.LEAKY_RELU):
            for first, words in decided[s]:
                packed[:, columns.start + first // 64 : columns.start + first // 64 + words.shape[1]] = words
            continue
        states = _states(problem, stage, kind, decided[s], mesh.n_faces)
        one = [np.array(x, np.int64) for x in ((0, states.shape[1]), (0, columns.stop - columns.start), (layout.widths[op],))]
        result = np.empty((mesh.n_faces, columns.stop - columns.start), np.uint64)
        bits.pack(np.ascontiguousarray(states, np.int32), *one, result)
        packed[:, columns] = result
    return packed


def decisions(problem, mesh):
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
