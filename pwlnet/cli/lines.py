"""The subcommand that partitions lines."""

import contextlib
import itertools
import sys
import time
from pathlib import Path

from .arguments import RandomPoints, positive, read_rows, row_range
from .chosen_lines import ChosenLines
from .output import show, table
from .store_options import add_store_options, open_writer

_PLANNED = 16  # lines whose ends are looked at together


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    lines = commands.add_parser(
        "lines",
        parents=[common],
        help="partition lines into the segments on which a network is affine",
        description="Partition lines into the segments on which a network is affine, into a new store, batch by batch. "
        "FILE: .npy (read piece by piece), .npz (:NAME where it has several arrays) or .csv, one point per row.",
    )
    lines.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    start = lines.add_mutually_exclusive_group(required=True)
    start.add_argument("--starts", metavar="FILE", help="starts of the lines; a single row serves for all")
    start.add_argument("--from-zero", action="store_true", help="start all lines at 0")
    start.add_argument("--random", type=positive, metavar="N", help="N lines between uniformly drawn points")
    lines.add_argument("--ends", metavar="FILE", help="ends of the lines; a single row serves for all")
    lines.add_argument("--seed", type=int, default=0, help="of --random (default: %(default)s)")
    lines.add_argument("--range", type=float, nargs=2, default=(0.0, 1.0), metavar=("LOW", "HIGH"),
                       help="of --random (default: 0 1)")  # fmt: skip
    result = lines.add_mutually_exclusive_group(required=True)
    result.add_argument("--out", metavar="STORE.h5", help="a new store for all breakpoints")
    result.add_argument("--summary", action="store_true", help="count and measure only, keep no breakpoints")
    add_store_options(lines)
    lines.add_argument("--rows", type=row_range, metavar="FIRST:LAST",
                       help="only these lines (LAST not included); pwlnet merge joins the stores")  # fmt: skip
    lines.add_argument("--max-segments", type=positive, metavar="N", help="refuse lines with more segments")
    lines.add_argument("--batch", type=positive, default=2**20, metavar="N",
                       help="breakpoints in memory, and per commit (default: %(default)s); at least one line")  # fmt: skip
    lines.add_argument("--in-parts", action="store_true",
                       help="store every line part by part, so that none is in memory as a whole; lines of which more than "
                       "--batch neurons change their state from end to end always are")  # fmt: skip
    lines.add_argument("--float32-rows", action="store_true",
                       help="slope changes in float32: less time and memory on some large networks, less accurate breakpoints; "
                       "'t error' and 'ambiguous' tell what that costs")  # fmt: skip
    lines.set_defaults(run=run_lines)


def run_lines(options):
    """Partition lines and store or summarize them, batch by batch."""
    from ..errors import InputError
    from ..loading import load_network

    if options.summary and options.in_parts:
        raise InputError("--summary was given with --in-parts, which is about a store; leave one out")
    if options.summary and (options.resume or options.overwrite):
        raise InputError("--summary was given with --resume or --overwrite, which are about a store; leave one out")
    network = load_network(options.network, input_shape=options.input_shape)
    lines = _chosen_lines(options, network)
    began = time.perf_counter()
    summary = _summarized(options, lines) if options.summary else _stored(options, network, lines)
    seconds = time.perf_counter() - began
    breakpoints = int(summary.n_segments.sum()) - lines.n_lines
    times = {"seconds": seconds, "microseconds_per_breakpoint": 1e6 * seconds / max(1, breakpoints)}
    where = {} if options.summary else {"store": options.out}
    show(options, {**where, **summary.to_dict(), **times}, table({**where, **_rows(summary, options.summary), **times}))


def _tolerances(options):
    from ..tolerances import DEFAULT, SINGLE_ROWS

    return SINGLE_ROWS if options.float32_rows else DEFAULT


def _batches(options, lines):
    """Partitions of lines, batch by batch, with a progress bar on a terminal."""
    from ..partition.lines.partitions import iter_line_partitions

    if not lines.n_lines:
        return contextlib.nullcontext(())
    limits = {"max_points": options.batch, "max_segments": options.max_segments, "threads": options.threads}
    limits["tolerances"] = _tolerances(options)
    found = iter_line_partitions(lines.network, lines.starts, lines.ends, **limits, progress=sys.stderr.isatty())
    return contextlib.closing(found)


def _summarized(options, lines):
    from ..partition.lines.summary import LineSummary

    with _batches(options, lines) as batches:
        return LineSummary.of(batches)


def _stored(options, network, lines):
    """Append batches to a store; the summary of all of them, those that were there already too."""
    from .. import store

    seeds = {"random": options.seed} if options.random else {}
    made_with = {"parameters": _parameters(options), "seeds": seeds, "tolerances": _tolerances(options)}
    writer = open_writer(options, network, **made_with)
    with writer:
        before = writer.n_lines
        lines.check_begun(options.out, before)
        try:
            if before and sys.stderr.isatty():
                print(f"{options.out} holds the first {before} of {lines.n_lines} lines; the rest follows", file=sys.stderr)
            with store.open(options.out) as stored:
                summary = stored.summary()
            return summary.merge(*_appended(options, writer, lines.behind(before)))
        except BaseException as error:
            part = "" if writer.unfinished_t is None else f" and the next one up to t = {writer.unfinished_t:.4g}"
            error.add_note(f"{options.out} holds the first {writer.n_lines} of {lines.n_lines} lines{part}; --resume goes on")
            raise


def _appended(options, writer, lines):
    """Append the lines, in batches or in parts: yields the LineSummary of each, when it is on the disk."""
    from ..partition.lines.summary import LineSummary

    for some, in_parts in _ways(options, writer, lines):
        if in_parts:
            yield _appended_in_parts(options, writer, some)
            continue
        with _batches(options, some) as batches:
            for batch in batches:
                writer.append_lines(batch)
                yield LineSummary.of(batch)


def _ways(options, writer, lines):
    """Consecutive lines, and whether they are stored in parts: one that is begun, and those that surely are very long."""
    from ..partition.lines.planning import count_changes, has_long_lines

    network, done = writer.network, 0
    if options.in_parts or writer.unfinished_t is not None:
        done = lines.n_lines if options.in_parts else min(1, lines.n_lines)
        yield from _one_by_one(lines, range(done))
    if network.n_neurons <= options.batch or not has_long_lines(network):
        if done < lines.n_lines:
            yield lines.behind(done), False
        return
    for first in range(done, lines.n_lines, _PLANNED):
        last = min(first + _PLANNED, lines.n_lines)
        are_long = (count_changes(network, *lines.read(first, last)) > options.batch).tolist()
        for is_long, group in itertools.groupby(range(first, last), key=dict(zip(range(first, last), are_long)).get):
            rows = list(group)
            yield from _one_by_one(lines, rows) if is_long else [(lines.rows(rows[0], rows[-1] + 1), False)]


def _one_by_one(lines, rows):
    return ((lines.rows(k, k + 1), True) for k in rows)


def _appended_in_parts(options, writer, lines):
    """Append a single line part by part: LineSummary."""
    from .. import store
    from ..partition.lines.planning import WINDOW_POINTS

    (start,), (end,) = lines.read(0, 1)
    limits = {"max_points": max(options.batch, WINDOW_POINTS), "max_segments": options.max_segments}
    writer.append_long_line(start, end, **limits, threads=options.threads, progress=sys.stderr.isatty())
    with store.open(options.out) as stored:
        return stored.summary(writer.n_lines - 1)


def _rows(summary, with_ops):
    """The table for people."""
    totals = summary.to_dict()
    rows = {
        "lines": totals["lines"],
        "segments": totals["segments"]["total"],
        "per line (min / median / max)": _spread(totals["segments"]),
        "per unit length": _spread(totals["density"]),
        "shortest segment": totals["shortest_segment"],
        "residual": totals["residual"],
        "ambiguous": totals["ambiguous"],
        "t_error": totals["t_error"],
    }
    for op in summary.by_op() if with_ops else ():
        share = op.n_flips / (op.n_neurons * len(summary))
        rows[f"flips in {op.name}"] = f"{op.n_flips}, {share:.3g} per neuron and line"
    return rows


def _spread(values):
    """Min, median and max in one place of the table; lines of length zero have no density."""
    return "none" if values["min"] is None else " / ".join(f"{values[name]:.4g}" for name in ("min", "median", "max"))


def _chosen_lines(options, network):
    """The lines that the options ask for: ChosenLines."""
    import numpy as np

    from ..errors import InputError

    if options.random:
        if options.ends:
            raise InputError("--random and --ends were given; --random draws both ends, leave one out")
        low, high = options.range
        if not low < high:
            raise InputError(f"--range is {low} {high}; LOW must be below HIGH")
        drawn = (options.seed, low, high, (options.random, network.n_inputs))
        lines = ChosenLines(network, RandomPoints(*drawn), RandomPoints(*drawn, skip=options.random))
    else:
        if not options.ends:
            raise InputError("--ends was not given; --starts and --from-zero need it")
        starts = np.zeros(network.n_inputs) if options.from_zero else read_rows(options.starts)
        lines = ChosenLines(network, starts, read_rows(options.ends))
    if not lines.n_lines:
        raise InputError("--starts and --ends hold no rows; give at least one line")
    return lines if options.rows is None else lines.rows(*options.rows)


def _parameters(options):
    """What the store's provenance records; names of files without their folders."""
    names = {name: getattr(options, name) for name in ("network", "starts", "ends")}
    given = {name: Path(value).name for name, value in names.items() if value}
    if options.random:
        given.update(random=options.random, range=list(options.range))
    return {"command": "lines", **given, "from_zero": options.from_zero, "max_segments": options.max_segments}
