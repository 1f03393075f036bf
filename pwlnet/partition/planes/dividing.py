"""Divide meshes with too many faces, so that memory is bounded, and parts can be cut on several threads.

Parts share the edges between them, the *seams*: both cut these in the same way, and vertices there have the same keys in both.

Legend: F faces.
"""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from ...kernels.planes import mesh as ms
from ...kernels.planes import parts

MOST_FACES = 8192  # of a mesh; more are divided
FIRST_FACES = 2048  # of a mesh that has not been divided: soon, since its parts are cut on several threads
N_PARTS = 8  # into which a mesh is divided
MOST_BYTES = 2**26  # of the rows of a mesh that has more than one face


class Piece(NamedTuple):
    """Faces ``first`` to ``last`` of a mesh, until they become a mesh of their own."""

    mesh: object
    first: int
    last: int

    def take_out(self):
        """Return the faces as a mesh of their own."""
        return _part(self.mesh, self.first, self.last, Numbers(self.mesh))


def divide(mesh, next_width, is_last):
    """Divide a mesh with too many faces.

    Parameters
    ----------
    mesh : Mesh
    next_width : int
        Columns of the rows of its next stage.
    is_last : bool
        Whether no stage will cut it after its present one.

    Returns
    -------
    list of Piece, or of the mesh alone
    """
    row_bytes = 8 * max(mesh.vertices.rows.shape[1], next_width) * mesh.n_vertices
    most = MOST_FACES if mesh.is_part or (is_last and mesh.is_cut) else min(FIRST_FACES, MOST_FACES)
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
    return [Piece(mesh, int(a), int(b)) for a, b in itertools.pairwise(bounds)]


class Numbers:
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
    keep_used(part, faces, numbers)
    return part


def divide_off(mesh, first, last):
    """Return a copy of faces ``first`` to ``last`` of a finished mesh."""
    return Piece(mesh, first, last).take_out()


def keep_used(mesh, faces, numbers):
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
