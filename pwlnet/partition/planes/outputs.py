"""Cut the polygons of a plane further, by the outputs: where one is the largest, where affine conditions hold.

The stages of the network are followed by one more, whose functions are affine in the outputs, so that decisions are as exact
as those of the network.

Legend: R polygons, V vertices, O outputs, J functions, M functions of a condition.
"""

import dataclasses
import threading
from typing import NamedTuple

import numpy as np

from ...kernels.planes import mesh as ms
from ...kernels.planes.mesh import UNIT_ROUNDOFF
from ...scheduling import single_threaded_blas
from . import assembly
from .cutting import cut_mesh
from .dividing import divide_off
from .exact import unpack_bits
from .stages import CONDITIONS, LARGEST, Comparison, Stage


class Pieces(NamedTuple):
    """Pieces of the polygons of a plane; they share vertices."""

    offsets: np.ndarray  # int64[Q+1]
    vertex_numbers: np.ndarray  # int32[*]
    shared_vertices: np.ndarray  # float64[V, 2]
    polygon: np.ndarray  # int64[Q] the polygon of the plane that each is a piece of
    decided: np.ndarray  # int16[Q] the largest output, or bool[Q, J] functions that are positive inside
    signs: np.ndarray  # int8[V, J] exact signs of the functions at the vertices; no columns for the largest output


def cut_by_largest(part, sign):
    """Cut the polygons of a plane where another output becomes the largest one of ``sign`` times the outputs: Pieces."""
    n = part.network.n_outputs
    units = part._problem.stages[-1].units
    unit = units.max()
    steps = tuple(Comparison(*(np.array([k]) for k in (0, o, 2 + o, o))) for o in range(1, n))
    matrix, shift = sign * np.eye(n), np.zeros(n)
    stage = Stage(
        LARGEST, None, 1, 2 + n, np.concatenate([[2.0 * unit], np.full(1 + n, unit)]), None, comparisons=steps,
        first_taps=np.zeros(1, np.int64), best=1, matrix=matrix, shift=shift,
    )  # fmt: skip

    def make_rows(rows):
        y = sign * rows * (units / unit)
        return np.concatenate([np.zeros((len(y), 1)), y[:, :1], y], axis=1), 1.0, 0.0

    meshes, polygons = _cut(part, stage, make_rows)
    joined = assembly.join(meshes)
    winners = [_winners(mesh, n) for mesh, _, _ in meshes]
    signs = np.zeros((len(joined.uv), 0), np.int8)
    return Pieces(joined.offsets, joined.numbers, joined.uv, polygons, np.concatenate(winners), signs)


def _winners(mesh, n):
    """Return the largest of n outputs on the faces of a mesh that has been cut: int16[F]."""
    if n == 1:
        return np.zeros(mesh.n_faces, np.int16)
    return mesh.levels[-1].winners[mesh.number(np.arange(mesh.n_faces)), 0]


def cut_by_conditions(part, matrix, shift):
    """Cut the polygons of a plane where ``matrix @ y - shift`` changes sign: Pieces.

    Parameters
    ----------
    part : PlanePartition
    matrix : float64[J, O]
    shift : float64[J]
    """
    units = part._problem.stages[-1].units
    n = len(shift)
    sizes = np.abs(matrix) @ units + np.abs(shift)
    own = np.ldexp(1.0, np.frexp(np.where(sizes > 0.0, sizes, 1.0))[1])
    scaled = matrix * units / own[:, None]
    stage = Stage(CONDITIONS, None, n, n, own, None, matrix=matrix, shift=shift)

    def make_rows(rows):
        growth = float(np.abs(scaled).sum(axis=1).max(initial=0.0))
        return rows @ scaled.T - shift / own, growth, float((np.abs(shift) / own).max(initial=0.0))

    meshes, polygons = _cut(part, stage, make_rows)
    joined = assembly.join(meshes, _signs_at_vertices)
    decided = [_positive(mesh, n) for mesh, _, _ in meshes]
    return Pieces(joined.offsets, joined.numbers, joined.uv, polygons, np.concatenate(decided), joined.more[0][:, :n])


def _signs_at_vertices(mesh):
    """Return the signs of all functions at the vertices of a mesh: int8[V, 64 W]."""
    v, n = mesh.vertices, mesh.n_vertices
    width = 64 * v.positive.shape[1]
    return unpack_bits(v.positive[:n], width).astype(np.int8) - unpack_bits(v.negative[:n], width).astype(np.int8)


def _positive(mesh, n):
    """Return which of n functions of the last stage are positive on the faces: bool[F, n]."""
    result = np.zeros((mesh.n_faces, n), bool)
    numbers, depth = mesh.number(np.arange(mesh.n_faces)), len(mesh.levels) - 1
    stage = mesh.levels[depth].stage if depth else -1
    while depth > 0 and n and mesh.levels[depth].stage == stage:
        level = mesh.levels[depth]
        result[:, level.first : level.last] = unpack_bits(level.states[numbers], level.last - level.first)
        numbers, depth = level.parents[numbers], level.parent
    return result


def _cut(part, stage, make_rows):
    """Cut copies of the meshes of a plane by one more stage.

    ``make_rows(rows of outputs) -> (rows, growth of bounds, size of constants)``. Returns [(Mesh, 0, number of faces)], and the
    polygon of each face int64[Q].
    """
    problem = part._problem
    n_stages = len(problem.stages)
    own = dataclasses.replace(problem, stages=(*problem.stages, stage), stop=np.zeros(1, np.int64), local=threading.local())
    cut, polygons, first_polygon = [], [], 0
    with single_threaded_blas():
        for mesh, first, last in part._meshes:
            begun = divide_off(mesh, first, last)
            _set_rows(begun, stage, make_rows)
            begun.stage = n_stages
            depth, numbers = len(begun.levels) - 1, begun.number(np.arange(begun.n_faces))
            order = np.argsort(numbers)
            for done in cut_mesh(own, begun):
                cut.append((done, 0, done.n_faces))
                polygons.append(first_polygon + order[np.searchsorted(numbers[order], done.ancestors(depth))])
            first_polygon += last - first
    return cut, np.concatenate(polygons)


def _set_rows(mesh, stage, make_rows):
    """Give a mesh with rows of outputs the rows of one more stage."""
    n, old = mesh.n_vertices, mesh.vertices
    new, growth, constant = make_rows(old.rows[:n])
    rows = np.empty((len(old.keys), stage.width))
    rows[:n] = new
    largest = np.abs(old.rows[:n]).max(axis=1, initial=0.0)
    rounding = 1.01 * (old.rows.shape[1] + 4) * float(UNIT_ROUNDOFF) * (growth * largest + constant)
    for k in (ms.DRIFT, ms.ERROR):
        old.bounds[:n, k] = np.minimum((growth * old.bounds[:n, k] + rounding) * (1.0 + 2.0**-40), float(ms.UNBOUNDED))
    offsets = mesh.edges.offset[: mesh.n_edges]
    np.minimum(offsets * growth * (1.0 + 2.0**-40), float(ms.UNBOUNDED), out=offsets)
    n_words = max(1, -(-stage.n_functions // 64))
    words = [np.zeros((len(old.keys), n_words), np.uint64) for _ in range(2)]
    mesh.vertices = old._replace(rows=rows, positive=words[0], negative=words[1])
