"""One very long line, appended part by part: breakpoints and flips first, the line itself when they are all there.

Legend: T breakpoints and F flips of a part.
"""

import contextlib

import numpy as np

from ..errors import DigestMismatchError, InputError
from . import schema
from .consistency import row_problem
from .digest import digest_arrays
from .summary import op_flips

_AT_ONCE = 2**20
_FIELDS = ("t", "flip_offsets", "flip_neurons", "flip_states")


def append_long_line(
    writer, start, end, *, max_points=2**20, max_segments=None, progress=False, threads=None, memory=2**30, n_checked=3
):
    """Partition a line, append its parts and finish it: ``StoreWriter.append_long_line``."""
    from ..partition.lines.chunk_buffer import LINE_START, ResumePoint
    from ..partition.lines.chunks import LineStream
    from ..partition.lines.rounds import Settings

    settings = Settings(writer.network, writer.tolerances, memory, n_checked, max_segments)
    stream = LineStream(settings, start, end, threads=threads, progress=progress, number=writer.n_lines)
    ends = {"start": stream.start, "end": stream.end, "memory": np.array(memory, np.int64)}
    line, after, memo, mark = digest_arrays(ends.items()), writer.unfinished_t, writer.unfinished_memo, LINE_START
    if memo is not None and "line" in memo:
        if memo["line"] != line:
            raise DigestMismatchError(
                f"line {writer.n_lines} of {writer.path} was begun with other ends or another memory; give the same, "
                "or write to a new store"
            )
        mark = ResumePoint(memo["border"], memo["ambiguous"], memo["t_error"])
    with contextlib.closing(stream.chunks(max_points, mark, after)) as parts:
        for part in parts:
            memo = {"line": line, "border": part.boundary, "ambiguous": part.ambiguous, "t_error": part.t_error}
            writer.append_part(*part[: len(_FIELDS)], memo=memo)
    residual = stream.residual(lambda numbers: writer.unfinished_points(numbers)[1], writer.unfinished_points()[0])
    writer.finish_line(stream.start, stream.end, residual=residual, ambiguous=stream.ambiguous, t_error=stream.t_error)


def stored_parts(store, line):
    """A line of a store in parts: yields arrays as ``part_rows`` takes them, by field.

    Parameters
    ----------
    store : RegionStore
    line : int
    """
    datasets = {dataset.field: dataset for dataset in schema.LINES.datasets}
    first, last = store._axis_ends(schema.LINES, line, line + 1)["T"]
    for row in range(first, last, _AT_ONCE):
        end = min(row + _AT_ONCE, last)
        offsets = store._read(datasets["flip_offsets"], row, end + 1)
        low, high = int(offsets[0]), int(offsets[-1])
        flips = {name: store._read(datasets[name], low, max(low, high)) for name in ("flip_neurons", "flip_states")}
        yield {"t": store._read(datasets["t"], row, end), "flip_offsets": offsets - low, **flips}


def stored_line(store, line):
    """What a line of a store has beside its breakpoints, and is needed to finish it: dict."""
    rows = {name: array[0] for name, array in _line_row(store, line).items()}
    return {"start": rows.pop("starts"), "end": rows.pop("ends"), **rows}


def _line_row(store, line):
    """The row of a line in the datasets that are not derived: arrays of length one by field."""
    return {d.field: store._read(d, line, line + 1) for d in schema.LINES.datasets if d.dims[0] == "L"}


def stored_problem(store, line, n_neurons):
    """Say what is wrong with a long line of a store, or None; some of its rows in memory at a time."""
    dtypes = {dataset.field: np.dtype(dataset.dtype) for dataset in schema.LINES.datasets}
    last_t = None
    for part in stored_parts(store, line):
        problem = _problem(part, dtypes, last_t, n_neurons)
        if problem:
            return problem
        last_t = part["t"][-1]
    if last_t != 1.0:
        return f"t ends with {last_t}, not 1"
    return row_problem(_line_row(store, line))


def breakpoint_at(file, row):
    """One breakpoint of a store: (t, neurons that flip)."""
    first, last = file["/flips/offsets"][row : row + 2]
    return float(file["/breakpoints/t"][row]), file["/flips/neuron"][first:last]


def part_rows(part, last_t, sizes):
    """Check a part and give its rows.

    Parameters
    ----------
    part : dict of str to array
        ``t`` float64[T], ``flip_offsets`` int64[T+1], ``flip_neurons`` int64[F], ``flip_states`` int32[F].
    last_t : float or None
        Of the part before; None: there is none.
    sizes : dict of str to int
        ``results.axis_sizes``.

    Returns
    -------
    dict of str to ndarray
        Rows of all datasets of lines, none for those that have a row per line.

    Raises
    ------
    InputError
        They contradict one another, or don't go on where the part before ends.
    """
    dtypes = {dataset.field: np.dtype(dataset.dtype) for dataset in schema.LINES.datasets}
    arrays = {field: np.ascontiguousarray(part[field]) for field in _FIELDS}
    problem = _problem(arrays, dtypes, last_t, sizes["K"])
    if problem:
        raise InputError(f"the part can't be appended: {problem}; give the parts of one line in their order")
    empty = {d.field: np.zeros((0, *(sizes[dim] for dim in d.dims[1:])), d.dtype) for d in schema.LINES.stored}
    return {**empty, **arrays, "flip_offsets": arrays["flip_offsets"][1:]}


def _problem(arrays, dtypes, last_t, n_neurons):
    """What is wrong with a part, or None."""
    t, offsets, neurons = arrays["t"], arrays["flip_offsets"], arrays["flip_neurons"]
    for field, array in arrays.items():
        rows = {"t": len(t), "flip_offsets": len(t) + 1}.get(field, len(neurons))
        if array.dtype != dtypes[field] or array.shape != (rows,):
            return f"{field} has dtype {array.dtype} and shape {array.shape}, not {dtypes[field]} and ({rows},)"
    if offsets[0] != 0 or offsets[-1] != len(neurons) or (np.diff(offsets) < 0).any():
        return f"flip_offsets do not cut the {len(neurons)} flips into ranges that follow one another"
    if len(t) and last_t is None and t[0] != 0.0:
        return f"t starts with {t[0]}, not 0"
    if len(t) and last_t is not None and not t[0] > last_t:
        return f"t starts with {t[0]}, not behind {last_t}"
    if not (t[1:] > t[:-1]).all() or not (t <= 1.0).all():
        return "t does not increase up to 1"
    if len(neurons) and not (neurons.min() >= 0 and neurons.max() < n_neurons):
        return f"flip_neurons goes from {neurons.min()} to {neurons.max()}, but the network has {n_neurons} neurons"
    return None


def line_rows(line, file, network, first_t, first_flip):
    """Rows of the line whose parts are all there.

    Parameters
    ----------
    line : dict of str to array
        ``starts`` and ``ends`` float64[1, D], ``residual`` float64[1], ``ambiguous`` int64[1], ``t_error`` float64[1].
    file : h5py.File
        With all parts.
    network : Network
    first_t, first_flip : int
        Rows where the line begins.

    Returns
    -------
    dict of str to ndarray
        Rows of all datasets of lines, none for those that have a row per breakpoint or flip.
    """
    t, neurons = file["/breakpoints/t"], file["/flips/neuron"]
    shortest, longest = np.inf, 0.0
    for row in range(first_t, len(t) - 1, _AT_ONCE):
        widths = np.diff(t[row : row + _AT_ONCE + 1])
        shortest, longest = min(shortest, widths.min()), max(longest, widths.max())
    counts = sum(
        op_flips(block, np.array([0, len(block)]), network)
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
