"""One very long line, appended chunk by chunk: breakpoints and flips first, the row of the line itself in the end.

Legend: T breakpoints and F flips of a chunk.
"""

import contextlib

import numpy as np

from ..errors import DigestMismatchError, InputError
from . import schema
from .consistency import row_problem
from .digest import digest_arrays

_AT_ONCE = 2**20
_FIELDS = ("t", "flip_offsets", "flip_neurons", "flip_states")


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
            writer.append_line_chunk(*chunk[: len(_FIELDS)], resume_state=state)
    residual = stream.residual(lambda numbers: writer.unfinished_points(numbers)[1], writer.unfinished_points()[0])
    writer.finish_line(stream.start, stream.end, residual=residual, ambiguous=stream.ambiguous, t_error=stream.t_error)


def iter_stored_chunks(store, line):
    """Read a line of a store in chunks: yields arrays by field, as ``line_chunk_rows`` takes them.

    Parameters
    ----------
    store : RegionStore
    line : int
    """
    datasets = {dataset.field: dataset for dataset in schema.LINES.datasets}
    first, last = store.axis_ranges(schema.LINES, line, line + 1)["T"]
    for row in range(first, last, _AT_ONCE):
        end = min(row + _AT_ONCE, last)
        offsets = store.read_rows(datasets["flip_offsets"], row, end + 1)
        low, high = int(offsets[0]), int(offsets[-1])
        flips = {name: store.read_rows(datasets[name], low, max(low, high)) for name in ("flip_neurons", "flip_states")}
        yield {"t": store.read_rows(datasets["t"], row, end), "flip_offsets": offsets - low, **flips}


def stored_line(store, line):
    """Read what ``StoreWriter.finish_line`` takes of a line of a store: dict."""
    rows = {name: array[0] for name, array in _line_row(store, line).items()}
    return {"start": rows.pop("starts"), "end": rows.pop("ends"), **rows}


def _line_row(store, line):
    """Read the row of a line in the datasets that are not derived: arrays of length one by field."""
    return {d.field: store.read_rows(d, line, line + 1) for d in schema.LINES.datasets if d.dims[0] == "L"}


def stored_problem(store, line, n_neurons):
    """Describe what is inconsistent in a long line of a store, or return None; a bounded number of rows in memory."""
    dtypes = {dataset.field: np.dtype(dataset.dtype) for dataset in schema.LINES.datasets}
    last_t = None
    for chunk in iter_stored_chunks(store, line):
        problem = _problem(chunk, dtypes, last_t, n_neurons)
        if problem:
            return problem
        last_t = chunk["t"][-1]
    if last_t != 1.0:
        return f"t ends with {last_t}, not 1"
    return row_problem(_line_row(store, line))


def breakpoint_at(file, row):
    """Read one breakpoint of a store: (t, neurons that flip)."""
    first, last = file["/flips/offsets"][row : row + 2]
    return float(file["/breakpoints/t"][row]), file["/flips/neuron"][first:last]


def line_chunk_rows(chunk, last_t, sizes):
    """Validate a chunk and return its rows.

    Parameters
    ----------
    chunk : dict of str to array
        ``t`` float64[T], ``flip_offsets`` int64[T+1], ``flip_neurons`` int64[F], ``flip_states`` int32[F].
    last_t : float or None
        Of the chunk before; None if there is none.
    sizes : dict of str to int
        ``results.axis_sizes``.

    Returns
    -------
    dict of str to ndarray
        Rows of all datasets of lines; none of those with a row per line.

    Raises
    ------
    InputError
        The arrays are inconsistent, or do not continue the chunk before.
    """
    dtypes = {dataset.field: np.dtype(dataset.dtype) for dataset in schema.LINES.datasets}
    arrays = {field: np.ascontiguousarray(chunk[field]) for field in _FIELDS}
    problem = _problem(arrays, dtypes, last_t, sizes["K"])
    if problem:
        raise InputError(f"the chunk can't be appended: {problem}; give the chunks of one line in order")
    empty = {d.field: np.zeros((0, *(sizes[dim] for dim in d.dims[1:])), d.dtype) for d in schema.LINES.stored}
    return {**empty, **arrays, "flip_offsets": arrays["flip_offsets"][1:]}


def _problem(arrays, dtypes, last_t, n_neurons):
    """Describe what is inconsistent in a chunk, or return None."""
    t, offsets, neurons = arrays["t"], arrays["flip_offsets"], arrays["flip_neurons"]
    for field, array in arrays.items():
        rows = {"t": len(t), "flip_offsets": len(t) + 1}.get(field, len(neurons))
        if array.dtype != dtypes[field] or array.shape != (rows,):
            return f"{field} has dtype {array.dtype} and shape {array.shape}, not {dtypes[field]} and ({rows},)"
    if offsets[0] != 0 or offsets[-1] != len(neurons) or (np.diff(offsets) < 0).any():
        return f"flip_offsets do not split the {len(neurons)} flips into consecutive ranges"
    if len(t) and last_t is None and t[0] != 0.0:
        return f"t starts with {t[0]}, not 0"
    if len(t) and last_t is not None and not t[0] > last_t:
        return f"t starts with {t[0]}, not after {last_t}"
    if not (t[1:] > t[:-1]).all() or not (t <= 1.0).all():
        return "t does not increase up to 1"
    if len(neurons) and not (neurons.min() >= 0 and neurons.max() < n_neurons):
        return f"flip_neurons goes from {neurons.min()} to {neurons.max()}, but the network has {n_neurons} neurons"
    return None


def line_rows(line, file, network, first_t, first_flip):
    """Compute the rows of the line whose chunks are all in the store.

    Parameters
    ----------
    line : dict of str to array
        ``starts`` and ``ends`` float64[1, D], ``residual`` float64[1], ``ambiguous`` int64[1], ``t_error`` float64[1].
    file : h5py.File
        With all chunks.
    network : Network
    first_t, first_flip : int
        Rows at which the line begins.

    Returns
    -------
    dict of str to ndarray
        Rows of all datasets of lines; none of those with a row per breakpoint or flip.
    """
    from ..partition.lines.summary import count_op_flips

    t, neurons = file["/breakpoints/t"], file["/flips/neuron"]
    shortest, longest = np.inf, 0.0
    for row in range(first_t, len(t) - 1, _AT_ONCE):
        widths = np.diff(t[row : row + _AT_ONCE + 1])
        shortest, longest = min(shortest, widths.min()), max(longest, widths.max())
    counts = sum(
        count_op_flips(network, block, np.array([0, len(block)]))
        for block in (neurons[row : row + _AT_ONCE] for row in range(first_flip, max(len(neurons), first_flip + 1), _AT_ONCE))
    )
    rows = {d.field: np.zeros(0, d.dtype) for d in schema.LINES.stored}
    return {
        **rows,
        **line,
        "offsets": np.array([len(t) - first_t]),
        "length": np.linalg.norm(np.ascontiguousarray(line["ends"] - line["starts"]), axis=1),
        "shortest_t": np.array([shortest]),
        "longest_t": np.array([longest]),
        "op_flips": counts,
    }
