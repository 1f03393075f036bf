"""Plane partitions as arrays of the store and back, and one very large plane that is appended chunk by chunk.

Legend: as in ``schema.py``.
"""

import itertools

import numpy as np

from ..errors import CapacityError, DigestMismatchError
from . import schema
from .digest import digest_arrays
from .in_chunks import closing
from .results import axis_sizes, row_shape


def planes_to_arrays(planes):
    """Join the arrays of plane partitions.

    Parameters
    ----------
    planes : PlanePartitions

    Returns
    -------
    dict of str to ndarray
        Of ``schema.PLANES.datasets``, by field.
    """
    parts, sizes = planes.parts, axis_sizes(planes.network)
    arrays = {d.field: _joined(d, [getattr(part, d.field) for part in parts], sizes) for d in schema.PLANES.chunk_datasets}
    rows = plane_rows(planes.planes, planes.residual, sizes)
    counts = {"polygon_offsets": [part.n_polygons for part in parts]}
    counts["vertex_offsets"] = [len(part.shared_vertices) for part in parts]
    return {**rows, **{field: _offsets(numbers) for field, numbers in counts.items()}, **arrays}


def plane_rows(planes, residual, sizes):
    """Return the rows of planes besides their polygons: dict of arrays of ``schema.PLANES.row_datasets`` by field.

    Parameters
    ----------
    planes : sequence of Plane
    residual : float64[P]
    sizes : dict of str to int
        ``results.axis_sizes``.
    """
    outlines = [plane.polygon for plane in planes]
    columns = {"origins": [plane.origin for plane in planes], "e1": [plane.e1 for plane in planes]}
    columns |= {"e2": [plane.e2 for plane in planes]}
    rows = {field: np.array(points, np.float64).reshape(len(planes), sizes["D"]) for field, points in columns.items()}
    rows |= {"residual": np.asarray(residual, np.float64), "outline_offsets": _offsets([len(outline) for outline in outlines])}
    return {**rows, "outlines": np.concatenate([np.zeros((0, 2)), *outlines])}


def _joined(dataset, parts, sizes):
    """Join the arrays of a dataset; offsets count on."""
    if dataset.lead:
        return _offsets(np.concatenate([np.zeros(0, np.int64), *(np.diff(part) for part in parts)]))
    return np.concatenate(parts) if parts else np.zeros((0, *row_shape(dataset, sizes)), np.dtype(dataset.dtype))


def _offsets(counts):
    """Return the ranges of consecutive rows: int64[n + 1]."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def planes_from_arrays(network, arrays):
    """Build the plane partitions that arrays hold; inverse of ``planes_to_arrays``, without ``n_exact``.

    Parameters
    ----------
    network : Network
    arrays : dict of str to ndarray
        Of ``schema.PLANES.datasets``, by field; read-only.

    Returns
    -------
    PlanePartitions
        Its arrays are views.
    """
    from ..partition.planes.partitions import PlanePartition, PlanePartitions
    from ..partition.planes.polygons import Plane

    names = ("outline_offsets", "polygon_offsets", "vertex_offsets")
    ranges = zip(*([slice(*ends) for ends in itertools.pairwise(arrays[name].tolist())] for name in names), strict=True)
    planes, parts = [], []
    for k, (outline, polygons, vertices) in enumerate(ranges):
        offsets = arrays["offsets"][polygons.start : polygons.stop + 1]
        of_axis = {"R": polygons, "V": vertices, "C": slice(offsets[0], offsets[-1])}
        views = {d.field: arrays[d.field][of_axis[d.axis]] for d in schema.PLANES.chunk_datasets if not d.lead}
        views["offsets"] = offsets - offsets[0]
        views["offsets"].setflags(write=False)
        planes.append(Plane(*(arrays[name][k] for name in ("origins", "e1", "e2")), arrays["outlines"][outline]))
        parts.append(PlanePartition(network, planes[-1], **views, residual=float(arrays["residual"][k])))
    return PlanePartitions(network, tuple(planes), tuple(parts))


def append_large_plane(writer, plane, chunks, n_checked):
    """Append the chunks of a plane and finish it; those that are stored are compared, and not stored again.

    Parameters
    ----------
    writer : StoreWriter
    plane : Plane
    chunks : iterator of PlaneChunk
        All chunks of the plane.
    n_checked : int
        As for ``partition_planes``.

    Raises
    ------
    DigestMismatchError
        The stored chunks belong to another plane, or have other polygons.
    """
    key = digest_arrays(zip(plane._fields, plane, strict=True))
    number, state = writer.n_planes, writer.plane_resume_state
    if state is not None and state.get("plane", key) != key:
        raise DigestMismatchError(
            f"plane {number} of {writer.path} was started with another origin, other directions or another polygon; give the "
            "same, or write to a new store"
        )
    stored, done, sizes = writer.unfinished_lengths("planes"), dict.fromkeys(schema.PLANES.chunk_axes, 0), np.zeros(2)
    with closing(iter(chunks)) as chunks:
        for chunk in chunks:
            arrays = _chunk_arrays(chunk)
            lengths = {d.axis: len(arrays[d.field]) for d in schema.PLANES.chunk_datasets if not d.lead}
            known = {axis: min(max(stored[axis] - done[axis], 0), lengths[axis]) for axis in done}
            _refuse_other_rows(writer, arrays, done, known)
            if known != lengths:
                new = {d.field: arrays[d.field][known[d.axis] :] for d in schema.PLANES.chunk_datasets}
                new["offsets"] = new["offsets"] - new["offsets"][0]
                writer.append_chunk("planes", new, resume_state={"plane": key})
            done = {axis: done[axis] + lengths[axis] for axis in done}
            sizes = np.maximum(sizes, [np.abs(arrays[name]).max(initial=0.0) for name in ("outputs", "error")])
    if any(done[axis] < stored[axis] for axis in done):
        raise DigestMismatchError(
            f"the plane has {done['R']} polygons, but {writer.path} has {stored['R']} of plane {number}; write to a new store"
        )
    writer.finish_plane(plane, residual=_residual(writer, plane, sizes, n_checked))


def _residual(writer, plane, sizes, n_checked):
    """Compute the residual of a plane whose chunks are all stored, as partition_planes does, from the vertices that it checks.

    ``sizes``: the largest output and the largest error of all vertices.
    """
    from ..partition.planes.geometry import residual

    n = writer.unfinished_lengths("planes")["V"]
    chosen = np.unique(np.linspace(0, n - 1, min(n_checked, n)).astype(np.int64)).tolist()
    uv, outputs, error = (
        np.concatenate(
            [writer.read_unfinished("planes", name, 0, 0), *(writer.read_unfinished("planes", name, k, k + 1) for k in chosen)]
        )
        for name in ("shared_vertices", "outputs", "error")
    )
    outputs, error = (
        np.concatenate([x, np.full((1, x.shape[1]), size)]) for x, size in zip((outputs, error), sizes, strict=True)
    )
    return residual(writer.network, plane, uv, outputs, error, len(uv))  # the last row, of no vertex, has the largest values


def _chunk_arrays(chunk):
    """Return the arrays of a PlaneChunk by field, numbers of vertices as they are stored."""
    arrays = {d.field: np.ascontiguousarray(getattr(chunk, d.field)) for d in schema.PLANES.chunk_datasets}
    largest = int(arrays["vertex_numbers"].max(initial=0))
    if largest > np.iinfo(np.int32).max:
        raise CapacityError(f"a plane has more than {largest} vertices, more than a store can hold; use a smaller polygon")
    return {**arrays, "vertex_numbers": arrays["vertex_numbers"].astype(np.int32)}


def _refuse_other_rows(writer, arrays, done, known):
    """Refuse a chunk whose first ``known`` rows, by axis, are not those that are stored after ``done``."""
    for dataset in schema.PLANES.chunk_datasets:
        first, n = done[dataset.axis], known[dataset.axis]
        if not n:
            continue
        rows = arrays[dataset.field][: n + dataset.lead]
        stored = writer.read_unfinished("planes", dataset.field, first, first + n)
        if dataset.lead:
            rows, stored = rows - rows[0], stored - stored[0]
        if rows.tobytes() != stored.tobytes():
            raise DigestMismatchError(
                f"plane {writer.n_planes} of {writer.path} was started with other {dataset.field} than those of the plane now; "
                "write to a new store"
            )
