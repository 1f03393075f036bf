"""Partition many lines into a store: short lines batch by batch, very long ones chunk by chunk."""

import contextlib

from .reader import RegionStore


def append_lines_by_length(
    writer, starts, ends, *, stream=False, max_points=2**20, max_segments=None, progress=False, threads=None
):
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
        options = {"max_points": max_points, "tolerances": writer.tolerances, **limits}
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
