"""Cut the meshes of planes, stage by stage, until they are finished or divided.

Legend: F faces, J functions.
"""

import numpy as np

from ...errors import CapacityError, UnsupportedOperationError
from ...kernels.planes import mesh as ms
from ...kernels.planes import pools, rows
from .dividing import Numbers, Piece, divide, keep_used
from .exact import Level, unpack_bits
from .meshes import Stopped, grown, row_buffer
from .rounds import cut_by
from .stages import OUTPUTS

WINDOW = 256  # functions that cut the faces in one round: it limits how many cells one face is cut into


def is_finished(problem, mesh):
    """Return whether a mesh has been cut by all stages."""
    return mesh.stage == len(problem.stages) or problem.stages[mesh.stage].op == OUTPUTS


def cut_until_divided(problem, mesh):
    """Cut a mesh, or a Piece of one, by the stages that remain, until it is finished, or has too many faces.

    Returns
    -------
    list of Mesh or Piece
        The finished mesh, or two pieces or more.

    Raises
    ------
    Stopped
        ``problem.stop`` was set.
    """
    mesh = mesh.take_out() if isinstance(mesh, Piece) else mesh
    while not is_finished(problem, mesh):
        if problem.stop[0]:
            raise Stopped
        if mesh.is_cut:
            _advance(problem, mesh)
            continue
        cut_round(problem, mesh)
        following = problem.stages[mesh.stage + 1] if mesh.stage + 1 < len(problem.stages) else None
        divided = divide(mesh, 0 if following is None else following.width, following is None or following.op == OUTPUTS)
        if len(divided) > 1:
            return divided
    return [mesh]


def cut_mesh(problem, mesh):
    """Cut a mesh by the stages that remain: yields finished meshes, one or the parts."""
    waiting = [mesh]
    while waiting:
        found = cut_until_divided(problem, waiting.pop())
        if len(found) == 1:
            yield found[0]
        else:
            waiting += found[::-1]


def cut_round(problem, mesh):
    """Cut a mesh by the next functions of its stage; after the last ones, ``is_cut`` is set."""
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
        cut_by(problem, mesh, stage, mesh.first, last)
    mesh.first = last
    if mesh.first < n_functions:
        return
    mesh.first = 0
    if is_pool and n_functions:
        _finish_comparison(mesh, stage)
        mesh.comparison += 1
        if mesh.comparison < len(stage.comparisons):
            return
    mesh.comparison, mesh.winners, mesh.is_cut = 0, None, True


def _advance(problem, mesh):
    """Compute the rows of the next stage."""
    mesh.stage, mesh.is_cut = mesh.stage + 1, False
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
        if not rows.advance_rows(problem.network.code, stage.chain, old, n, row_buffer(problem), new_rows):
            raise UnsupportedOperationError("the network has an op that the kernels do not handle, see CONTRIBUTING.md")
    rows.grow_offsets(mesh.edges, mesh.n_edges, growth)
    n_words = max(1, -(-stage.n_functions // 64))
    room = len(new_rows)
    words = [np.empty((room, n_words), np.uint64) for _ in range(2)]
    others = grown([old.uv, old.bounds, old.keys, old.lines, old.on_seam], n, room)
    uv, bounds, keys, lines, on_seam = others
    mesh.vertices = ms.Vertices(new_rows, uv, bounds, *words, keys, lines, on_seam)


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
        keep_used(mesh, joined, Numbers(mesh))
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
