"""The subcommand that partitions lines."""

import contextlib
import sys
from pathlib import Path

from .arguments import RandomPoints, finite, positive, read_rows, row_range, seed
from .chosen_lines import ChosenLines
from .output import on_terminal, show, table
from .store_options import add_store_options, open_writer
from .timing import Stopwatch, load_kernels


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    lines = commands.add_parser(
        "lines",
        parents=[common],
        help="partition lines into the segments on which a network is affine",
        description="Compute all breakpoints of lines, exact up to rounding, and write them to a new store in batches. "
        "FILE: .npy (read in slices), .npz (FILE.npz:NAME if it has several arrays) or .csv, one point per row.",
    )
    lines.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    start = lines.add_mutually_exclusive_group(required=True)
    start.add_argument("--starts", metavar="FILE", help="starts of the lines; a single row is used for all lines")
    start.add_argument("--from-zero", action="store_true", help="start all lines at the zero vector")
    start.add_argument("--random", type=positive, metavar="N", help="N lines between uniformly distributed random points")
    lines.add_argument("--ends", metavar="FILE", help="ends of the lines; a single row is used for all lines")
    lines.add_argument("--seed", type=seed, default=0, help="seed of --random (default: %(default)s)")
    lines.add_argument("--range", type=finite, nargs=2, default=(0.0, 1.0), metavar=("LOW", "HIGH"),
                       help="range of the coordinates of --random (default: 0 1)")  # fmt: skip
    result = lines.add_mutually_exclusive_group(required=True)
    result.add_argument("--out", metavar="STORE.h5", help="write all breakpoints to a new store")
    result.add_argument("--summary", action="store_true", help="print counts and lengths only, and keep no breakpoints")
    add_store_options(lines)
    lines.add_argument("--rows", type=row_range, metavar="FIRST:LAST",
                       help="compute these lines only (LAST not included); pwlnet merge joins the stores")  # fmt: skip
    lines.add_argument("--max-segments", type=positive, metavar="N", help="refuse lines with more than N segments")
    lines.add_argument("--batch", type=positive, default=2**20, metavar="N",
                       help="breakpoints in memory and per commit (default: %(default)s); at least one line")  # fmt: skip
    lines.add_argument("--stream", action="store_true",
                       help="write each line in chunks, so that no line is in memory as a whole; always done for lines on "
                       "which more than --batch neurons change state between the two ends")  # fmt: skip
    lines.add_argument("--slope-dtype", choices=("float64", "float32"), default="float64",
                       help="precision of slope changes (default: %(default)s); float32 takes less time and memory on some "
                       "large networks, and breakpoints are less accurate: see 't error' and 'ambiguous'")  # fmt: skip
    lines.set_defaults(run=run_lines)


def run_lines(options):
    """Partition lines, and store or summarize them, batch by batch."""
    from ..errors import InputError
    from ..loading import load_network

    if options.summary and options.stream:
        raise InputError("--summary was given with --stream, which applies to a store; omit one of them")
    if options.summary and (options.resume or options.overwrite):
        raise InputError("--summary was given with --resume or --overwrite, which apply to a store; omit one of them")
    network = load_network(options.network, input_shape=options.input_shape)
    lines = _chosen_lines(options, network)
    load_kernels(lambda: _partition_zero_line(options, network))
    stopwatch = Stopwatch()
    summary = _summarize(options, lines) if options.summary else _store(options, lines)
    seconds = stopwatch.seconds
    breakpoints = int(summary.n_segments.sum()) - lines.n_lines
    times = {"seconds": seconds, "microseconds_per_breakpoint": 1e6 * seconds / max(1, breakpoints)}
    where = {} if options.summary else {"store": options.out}
    show(options, {**where, **summary.to_dict(), **times}, table({**where, **_rows(summary, options.summary), **times}))


def _tolerances(options):
    from ..tolerances import DEFAULT

    return DEFAULT.with_slope_dtype(options.slope_dtype)


def _limits(options):
    """Return the keyword arguments that partitions with and without a store share."""
    limits = {"max_points": options.batch, "max_segments": options.max_segments, "threads": options.threads}
    return {**limits, "progress": on_terminal()}


def _partition_zero_line(options, network):
    """Partition a line of length zero: it takes all kernels and no time."""
    import numpy as np

    from ..partition.lines.partitions import partition_lines

    zero = np.zeros((1, network.n_inputs))
    partition_lines(network, zero, zero, tolerances=_tolerances(options), threads=1)


def _summarize(options, lines):
    """Summarize the lines: LineSummary."""
    from ..partition.lines.partitions import iter_line_partitions
    from ..partition.lines.summary import LineSummary

    batches = iter_line_partitions(lines.network, lines.starts, lines.ends, tolerances=_tolerances(options), **_limits(options))
    with contextlib.closing(batches):
        return LineSummary.of(batches)


def _store(options, lines):
    """Append the lines to a store: LineSummary of all lines in it, including those of earlier runs."""
    from .. import store

    seeds = {"random": options.seed} if options.random else {}
    made_with = {"parameters": _parameters(options), "seeds": seeds, "tolerances": _tolerances(options)}
    with open_writer(options, lines.network, **made_with) as writer:
        before = writer.n_lines
        lines.check_resumable(options.out, before)
        try:
            if before and on_terminal():
                print(f"{options.out} has the first {before} of {lines.n_lines} lines; computing the others", file=sys.stderr)
            with store.open(options.out) as stored:
                summary = stored.summary()
            appended = store.append_lines_by_length(writer, lines.starts, lines.ends, stream=options.stream, **_limits(options))
            return summary.merge(*appended)
        except BaseException as error:
            rest = "" if writer.unfinished_t is None else f" and the next one up to t = {writer.unfinished_t:.4g}"
            error.add_note(f"{options.out} has the first {writer.n_lines} of {lines.n_lines} lines{rest}; --resume continues")
            raise


def _rows(summary, with_ops):
    """Return the rows of the printed table: dict."""
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
    """Format min, median and max as one entry of the table; lines of length zero have no density."""
    return "none" if values["min"] is None else " / ".join(f"{values[name]:.4g}" for name in ("min", "median", "max"))


def _chosen_lines(options, network):
    """Return the lines that the options specify: ChosenLines."""
    import numpy as np

    from ..errors import InputError

    if options.random:
        if options.ends:
            raise InputError("--random and --ends were given; --random generates both ends, omit one of them")
        low, high = options.range
        if not low < high:
            raise InputError(f"--range is {low} {high}; LOW must be below HIGH")
        random = (options.seed, low, high, (options.random, network.n_inputs))
        lines = ChosenLines(network, RandomPoints(*random), RandomPoints(*random, skip=options.random))
    else:
        if not options.ends:
            raise InputError("--ends was not given; it is required with --starts and --from-zero")
        starts = np.zeros(network.n_inputs) if options.from_zero else read_rows(options.starts)
        lines = ChosenLines(network, starts, read_rows(options.ends))
    if not lines.n_lines:
        raise InputError("--starts and --ends have no rows; give at least one line")
    return lines if options.rows is None else lines.select(*options.rows)


def _parameters(options):
    """Return what the store's provenance records; names of files without their folders."""
    names = {name: getattr(options, name) for name in ("network", "starts", "ends")}
    given = {name: Path(value).name for name, value in names.items() if value}
    if options.random:
        given.update(random=options.random, range=list(options.range))
    return {"command": "lines", **given, "from_zero": options.from_zero, "max_segments": options.max_segments}
