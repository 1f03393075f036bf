"""Subcommands about line partitions: lines, verify."""

import contextlib
import sys
import time
from pathlib import Path

from .arguments import RandomPoints, positive, read_rows, shape
from .output import show, table

_VERIFIED_LINES = 64


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
    lines.add_argument("--overwrite", action="store_true", help="replace an existing store")
    lines.add_argument("--input-shape", type=shape, metavar="C,H,W", help="where an ONNX file leaves it open")
    lines.add_argument("--threads", type=positive, metavar="N", help="default: all processors")
    lines.add_argument("--max-segments", type=positive, metavar="N", help="refuse lines with more segments")
    lines.add_argument("--batch", type=positive, default=2**20, metavar="N",
                       help="breakpoints in memory, and per commit (default: %(default)s); at least one line")  # fmt: skip
    lines.set_defaults(run=run_lines)
    verify = commands.add_parser("verify", parents=[common], help="check a store against checksums and its network")
    verify.add_argument("store", metavar="STORE.h5")
    verify.add_argument("--samples", type=int, default=16, metavar="N",
                        help="segments per line to check against the network (default: 16; 0: none)")  # fmt: skip
    verify.set_defaults(run=run_verify)


def run_lines(options):
    """Partition lines and store or summarize them, batch by batch."""
    from ..loading import load_network
    from ..partition.line import iter_line_partitions
    from ..partition.line_summary import LineSummary

    network = load_network(options.network, input_shape=options.input_shape)
    starts, ends, n_lines = _line_ends(options, network)
    began = time.perf_counter()
    limits = {"max_points": options.batch, "max_segments": options.max_segments, "threads": options.threads}
    with contextlib.closing(iter_line_partitions(network, starts, ends, **limits, progress=sys.stderr.isatty())) as batches:
        summary = LineSummary.of(batches) if options.summary else _stored(options, network, batches, n_lines)
    seconds = time.perf_counter() - began
    breakpoints = int(summary.n_segments.sum()) - n_lines
    times = {"seconds": seconds, "microseconds_per_breakpoint": 1e6 * seconds / max(1, breakpoints)}
    where = {} if options.summary else {"store": options.out}
    show(options, {**where, **summary.to_dict(), **times}, table({**where, **_rows(summary, options.summary), **times}))


def _stored(options, network, batches, n_lines):
    """Append batches to a new store; the summary of all of them."""
    from .. import store
    from ..partition.line_summary import LineSummary

    with store.create(
        options.out, network, parameters=_parameters(options), overwrite=options.overwrite, threads=options.threads
    ) as writer:
        try:
            return LineSummary.of(_appended(writer, batches))
        except BaseException as error:
            error.add_note(f"{options.out} holds the first {writer.n_lines} of {n_lines} lines")
            raise


def _appended(writer, batches):
    """Pass batches on, each when it is on the disk."""
    for lines in batches:
        writer.append_lines(lines)
        yield lines


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
    }
    for op in summary.by_op() if with_ops else ():
        share = op.n_flips / (op.n_neurons * len(summary))
        rows[f"flips in {op.name}"] = f"{op.n_flips}, {share:.3g} per neuron and line"
    return rows


def _spread(values):
    """Min, median and max in one place of the table; lines of length zero have no density."""
    return "none" if values["min"] is None else " / ".join(f"{values[name]:.4g}" for name in ("min", "median", "max"))


def run_verify(options):
    """Check a store."""
    from .. import store
    from ..errors import ChecksumError

    with store.open(options.store) as opened:
        problems = opened.verify()
        if not problems and options.samples > 0:
            problems = _problems_with_the_network(opened, options)
        counts = {"lines": opened.n_lines, "breakpoints": opened.n_breakpoints, "batches": opened.n_batches}
    if problems and options.json:
        show(options, {"store": options.store, **counts, "problems": problems})
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise ChecksumError(problems[0] + more)
    text = f"{options.store} is sound: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    show(options, {"store": options.store, **counts, "problems": []}, text)


def _problems_with_the_network(opened, options):
    """Problems that evaluating the network at sampled segments shows, for a block of lines at a time."""
    problems = []
    for first in range(0, opened.n_lines, _VERIFIED_LINES):
        last = min(first + _VERIFIED_LINES, opened.n_lines)
        where = f"counted from line {first} of {opened.path}"
        problems += [f"{problem} ({where})" for problem in opened.lines(first, last).check(n_samples=options.samples)]
    return problems


def _line_ends(options, network):
    """Starts and ends of the lines that the options ask for, of which slices can be read, and how many there are."""
    import numpy as np

    from ..errors import InputError
    from ..partition.line_ends import LineEnds

    if options.random:
        if options.ends:
            raise InputError("--random and --ends were given; --random draws both ends, leave one out")
        low, high = options.range
        if not low < high:
            raise InputError(f"--range is {low} {high}; LOW must be below HIGH")
        drawn = (options.seed, low, high, (options.random, network.n_inputs))
        return RandomPoints(*drawn), RandomPoints(*drawn, skip=options.random), options.random
    if not options.ends:
        raise InputError("--ends was not given; --starts and --from-zero need it")
    starts = np.zeros(network.n_inputs) if options.from_zero else read_rows(options.starts)
    ends = read_rows(options.ends)
    n_lines = len(LineEnds(network, starts, ends))
    if not n_lines:
        raise InputError("--starts and --ends hold no rows; give at least one line")
    return starts, ends, n_lines


def _parameters(options):
    """What the store's provenance records; names of files without their folders."""
    names = {name: getattr(options, name) for name in ("network", "starts", "ends")}
    given = {name: Path(value).name for name, value in names.items() if value}
    if options.random:
        given.update(random=options.random, seed=options.seed, range=list(options.range))
    return {"command": "lines", **given, "from_zero": options.from_zero, "max_segments": options.max_segments}
