"""Partition many lines or planes into a store batch by batch; very long lines chunk by chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import ArrayLike
from ..validation import check_count
from .reader import RegionStore

if TYPE_CHECKING:
    from ..partition.lines.summary import LineSummary
    from .writer import StoreWriter


def append_lines_by_length(
    writer: StoreWriter,
    starts: ArrayLike,
    ends: ArrayLike,
    *,
    stream: bool = False,
    max_points: int = 2**20,
    max_segments: int | None = None,
    progress: bool = False,
    threads: int | None = None,
) -> Iterator[LineSummary]:
    """Partition lines and append them to a store, batch by batch; very long lines are written chunk by chunk.

    Exact up to rounding, and bit for bit what ``partition_lines`` gives. Lines that the store has already are skipped, and
    a line of which it has the first chunks is continued.

    Parameters
    ----------
    writer : StoreWriter
    starts, ends : float64[L, D] or float64[L, *input_shape]
        As for ``iter_line_partitions``: arrays, or any data that have a shape and can be sliced. All lines of the store,
        those that it has already included.
    stream : bool, optional
        Write every line chunk by chunk. By default, only lines of which more than ``max_points`` neurons change state from
        start to end.
    max_points : int, optional
        Breakpoints of a batch or chunk; a batch has at least one line.
    max_segments, progress, threads
        As for ``partition_lines``.

    Yields
    ------
    LineSummary
        Of each batch, or of each line in chunks, after it has been committed.

    Raises
    ------
    ShapeError, InputError, CapacityError, NumericalError
        As for ``iter_line_partitions``; what was committed before is kept.
    DigestMismatchError
        The store has the first chunks of another line.
    StoreError
        As for ``StoreWriter.append_lines``.

    See Also
    --------
    save_lines : write partitions that have been computed.
    """
    from ..partition.lines.ends import LineEnds
    from ..partition.lines.partitions import iter_line_partitions
    from ..partition.lines.summary import LineSummary
    from ..partition.lines.windows import WINDOW_POINTS

    network, lines = writer.network, LineEnds(writer.network, starts, ends)
    limits = {"max_segments": max_segments, "progress": progress, "threads": threads}
    for run in _runs(writer, lines, max_points, stream, threads):
        if run.in_chunks:
            (start,), (end,) = lines.read(run.first, run.last)
            writer.append_long_line(start, end, max_points=max(max_points, WINDOW_POINTS), **limits)
            with RegionStore(writer.path) as stored:
                yield stored.summary(run.first)
            continue
        options: dict[str, Any] = {"max_points": max_points, "tolerances": writer.tolerances, **limits}
        with contextlib.closing(iter_line_partitions(network, *lines.select(run.first, run.last), **options)) as batches:
            for batch in batches:
                writer.append_lines(batch)
                yield LineSummary.of(batch)


def _runs(writer, lines, max_points, stream, threads):
    """Yield the runs of lines that are left, the line that was started first."""
    from ..partition.lines.windows import Run, split_by_strategy

    first = writer.n_lines
    if writer.unfinished_t is not None and first < len(lines):
        yield Run(first, first + 1, True)
        first += 1
    yield from split_by_strategy(writer.network, lines, max_points=max_points, first=first, stream=stream, threads=threads)


def append_planes_in_batches(
    writer: StoreWriter,
    origins: ArrayLike,
    e1: ArrayLike,
    e2: ArrayLike,
    polygons: ArrayLike | Sequence[ArrayLike],
    *,
    stream: bool = False,
    max_planes: int = 128,
    max_polygons: int = 2**17,
    progress: bool = False,
    threads: int | None = None,
) -> Iterator[int | None]:
    """Partition planes and append them to a store, batch by batch, or each of them chunk by chunk.

    Exact, as ``partition_planes``. Planes that the store has already are skipped, and a plane of which it has the first chunks
    is continued.

    Parameters
    ----------
    writer : StoreWriter
    origins, e1, e2, polygons
        As for ``partition_planes``: all planes of the store, those that it has already included.
    stream : bool, optional
        Write every plane with interior chunk by chunk.
    max_planes : int, optional
        Planes of a batch. ``error`` depends, within rounding, on which planes are in the same batch: those from each multiple
        of this number on.
    max_polygons : int, optional
        Polygons of a chunk, as for ``iter_plane_chunks``.
    progress, threads
        As for ``partition_planes``.

    Yields
    ------
    int or None
        Decisions in integer arithmetic for the planes of a batch, after it has been committed; None for a plane in chunks.

    Raises
    ------
    ShapeError, InputError, NumericalError
        As for ``partition_planes``; what was committed before is kept.
    DigestMismatchError
        The store has the first chunks of another plane.
    StoreError
        As for ``StoreWriter.append_planes``.

    See Also
    --------
    save_planes : write partitions that have been computed.
    """
    from tqdm import tqdm

    from ..partition.planes.partitions import partition_planes
    from ..partition.planes.polygons import as_planes

    max_planes = check_count(max_planes, "max_planes")
    planes = as_planes(writer.network, origins, e1, e2, polygons)
    with tqdm(total=len(planes), initial=writer.n_planes, unit="plane", disable=not progress) as bar:
        while writer.n_planes < len(planes):
            first = writer.n_planes
            if writer.unfinished_polygons is not None or (stream and len(planes[first].polygon) > 2):
                writer.append_large_plane(*planes[first], max_polygons=max_polygons, threads=threads)
                yield None
            else:
                batch = planes[first : first + 1 if stream else first - first % max_planes + max_planes]
                origins, e1, e2 = (np.stack(points) for points in list(zip(*batch, strict=True))[:3])
                made = partition_planes(writer.network, origins, e1, e2, [plane.polygon for plane in batch], threads=threads)
                writer.append_planes(made)
                yield made.n_exact
            bar.update(writer.n_planes - first)
