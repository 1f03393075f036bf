"""One very long line, partitioned and appended chunk by chunk."""

import contextlib

import numpy as np

from ..errors import DigestMismatchError
from . import schema
from .digest import digest_arrays


def append_long_line(
    writer, start, end, *, max_points=2**20, max_segments=None, progress=False, threads=None, memory=2**30, n_checked=3
):
    """Partition a line, append its chunks and finish it: ``StoreWriter.append_long_line``."""
    from ..partition.lines.chunk_buffer import LINE_START, ResumePoint
    from ..partition.lines.chunks import LineStream
    from ..partition.lines.rounds import Settings

    settings = Settings(writer.network, writer.tolerances, memory, n_checked, max_segments)
    stream = LineStream(settings, start, end, threads=threads, progress=progress, number=writer.n_lines)
    ends = {"start": stream.start, "end": stream.end, "memory": np.array(memory, np.int64)}
    line, after, state, resume_point = digest_arrays(ends.items()), writer.unfinished_t, writer.resume_state, LINE_START
    if state is not None and "line" in state:
        if state["line"] != line:
            raise DigestMismatchError(
                f"line {writer.n_lines} of {writer.path} was started with other ends or another memory; give the same, "
                "or write to a new store"
            )
        resume_point = ResumePoint(state["boundary"], state["ambiguous"], state["t_error"])
    with contextlib.closing(stream.chunks(max_points, resume_point, after)) as chunks:
        for chunk in chunks:
            state = {"line": line, "boundary": chunk.boundary, "ambiguous": chunk.ambiguous, "t_error": chunk.t_error}
            arrays = {dataset.field: getattr(chunk, dataset.field) for dataset in schema.LINES.chunk_datasets}
            writer.append_line_chunk(**arrays, resume_state=state)
    residual = stream.residual(lambda numbers: writer.unfinished_points(numbers)[1], writer.unfinished_points()[0])
    writer.finish_line(stream.start, stream.end, residual=residual, ambiguous=stream.ambiguous, t_error=stream.t_error)
