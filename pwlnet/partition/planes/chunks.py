"""One plane with very many polygons, in chunks: ``iter_plane_chunks``.

Legend: R polygons of a chunk, V new vertices of a chunk, D inputs, O outputs, W words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..._types import ArrayLike, FloatArray, IntArray, WordArray
from ...errors import InputError
from ...kernels.planes import mesh as ms
from ...scheduling import n_threads
from ...validation import check_count
from ..lines.rounds import Progress
from .geometry import polygon_areas
from .polygons import Plane, as_planes
from .running import finished_meshes, make_problem

if TYPE_CHECKING:
    from ...network import Network


@dataclass(frozen=True, eq=False)
class PlaneChunk:
    """Consecutive polygons of one plane; made by ``iter_plane_chunks``.

    Attributes
    ----------
    plane : Plane
    first_polygon, first_vertex : int
        Numbers of the chunk's first polygon, and of its first new vertex, in the whole plane.
    offsets : int64[R+1]
        Polygon ``first_polygon + r`` has ``vertex_numbers[offsets[r] : offsets[r + 1]]``.
    vertex_numbers : int64[*]
        Numbers in the whole plane, of new vertices and those of chunks before.
    shared_vertices : float64[V, 2]
        The new vertices.
    outputs, error : float64[V, O]
    packed : uint64[R, W]
    areas : float64[R]
        As in PlanePartition.
    """

    plane: Plane = field(repr=False)
    first_polygon: int
    first_vertex: int
    offsets: IntArray = field(repr=False)
    vertex_numbers: IntArray = field(repr=False)
    shared_vertices: FloatArray = field(repr=False)
    outputs: FloatArray = field(repr=False)
    error: FloatArray = field(repr=False)
    packed: WordArray = field(repr=False)
    areas: FloatArray = field(repr=False)

    @property
    def n_polygons(self) -> int:
        """Number of polygons of the chunk, R."""
        return len(self.areas)


def iter_plane_chunks(
    network: Network,
    origin: ArrayLike,
    e1: ArrayLike,
    e2: ArrayLike,
    polygon: ArrayLike,
    *,
    max_polygons: int = 2**17,
    progress: bool = False,
    threads: int | None = None,
) -> Iterator[PlaneChunk]:
    """Split one polygon as ``partition_planes`` does, and return its activation regions in chunks while others are cut.

    Exact up to rounding: as for ``partition_planes``. Memory does not grow with the number of polygons, but for the numbers of
    vertices between parts that are cut one after the other.

    Parameters
    ----------
    network : Network
    origin, e1, e2 : float64[D] or with the network's input shape
    polygon : float64[V, 2]
        Corners (u, v) of a convex polygon.
    max_polygons : int
        A chunk ends when it has this many, or more by those of one part.
    progress : bool
        Show the share of the area that is finished on stderr.
    threads : int, optional
        All processors by default. Results do not depend on it.

    Returns
    -------
    iterator of PlaneChunk
        ``close()`` it, or leave the loop, to stop the threads.

    Raises
    ------
    ShapeError, InputError, NumericalError
        As for ``partition_planes``; also for more than one plane, and for a polygon without interior.
    """
    check_count(max_polygons, "max_polygons")
    planes = as_planes(network, origin, e1, e2, polygon)
    if len(planes) != 1 or len(planes[0].polygon) < 3:
        what = f"{len(planes)} planes were given" if len(planes) != 1 else "the polygon has no interior"
        raise InputError(f"{what}; give one plane and a polygon with interior, or use partition_planes")
    return _chunks(network, planes[0], max_polygons, progress, n_threads(threads))


def _chunks(network, plane, max_polygons, progress, threads):
    """Yield PlaneChunk."""
    problem, seam, n_polygons, n_vertices = make_problem(network, [plane]), {}, 0, 0
    whole = polygon_areas(np.array([0, len(plane.polygon)]), np.arange(len(plane.polygon)), plane.polygon)[0]
    with contextlib.closing(Progress(100, progress, unit="% of area")) as bar, contextlib.ExitStack() as stack:
        meshes, held, done, shown = finished_meshes(problem, [(0, 1)], threads), [], 0.0, 0
        stack.callback(meshes.close)
        for _, mesh in meshes:
            held.append(mesh)
            if sum(one.n_faces for one in held) >= max_polygons:
                chunk = _make_chunk(problem, plane, held, seam, n_polygons, n_vertices)
                held, done = [], done + chunk.areas.sum() / whole
                n_polygons, n_vertices = n_polygons + chunk.n_polygons, n_vertices + len(chunk.shared_vertices)
                bar.advance(int(100 * done) - shown)
                shown = int(100 * done)
                yield chunk
        if held:
            yield _make_chunk(problem, plane, held, seam, n_polygons, n_vertices)
            bar.advance(100 - shown)


def _make_chunk(problem, plane, meshes, seam, first_polygon, first_vertex):
    """Join meshes to a PlaneChunk. ``seam`` holds the number of each vertex at a seam so far, by key, and gets the new ones."""
    counts, numbers, vertices, packed, n = [], [], [], [], first_vertex
    for mesh in meshes:
        v, size = mesh.vertices, mesh.n_vertices
        target, is_new = np.empty(size, np.int64), np.ones(size, bool)
        at_seam = np.flatnonzero(v.on_seam[:size])
        known = [(k, seam.get(key)) for k, key in zip(at_seam.tolist(), v.keys[at_seam].tolist(), strict=True)]
        for k, number in known:
            if number is not None:
                is_new[k], target[k] = False, number
        target[is_new] = n + np.arange(is_new.sum())
        for k, number in known:
            if number is None:
                seam[int(v.keys[k])] = int(target[k])
        n += int(is_new.sum())
        counts.append(np.diff(mesh.faces.starts[: mesh.n_faces + 1]))
        numbers.append(target[mesh.faces.vertices[: mesh.faces.starts[mesh.n_faces]]])
        new = np.flatnonzero(is_new)
        local = polygon_areas(mesh.faces.starts[: mesh.n_faces + 1], mesh.faces.vertices, v.uv)
        vertices.append((v.uv[new], v.rows[new], v.bounds[new, ms.ERROR], local))
        packed.append(mesh.packed)
    *columns, areas = zip(*vertices, strict=True)
    (uv, rows, error), units = (np.concatenate(x) for x in columns), problem.stages[-1].units
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    arrays = (
        offsets,
        np.concatenate(numbers),
        uv,
        rows * units,
        error[:, None] * units,
        np.concatenate(packed),
        np.concatenate(areas),
    )
    for array in arrays:
        array.setflags(write=False)
    return PlaneChunk(plane, first_polygon, first_vertex, *arrays)
