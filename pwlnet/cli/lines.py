"""Subcommands about line partitions: lines, verify."""

import time
from pathlib import Path

from .arguments import positive, read_rows, shape
from .output import show

_VERIFIED_LINES = 64


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    lines = commands.add_parser(
        "lines",
        parents=[common],
        help="partition lines into the segments on which a network is affine",
        description="Partition lines into the segments on which a network is affine, into a new store. "
        "FILE: .npy, .npz (:NAME where it has several arrays) or .csv, one point per row.",
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
    lines.add_argument("--out", required=True, metavar="STORE.h5")
    lines.add_argument("--overwrite", action="store_true", help="replace an existing store")
    lines.add_argument("--input-shape", type=shape, metavar="C,H,W", help="where an ONNX file leaves it open")
    lines.add_argument("--threads", type=positive, metavar="N", help="default: all processors")
    lines.add_argument("--max-segments", type=positive, metavar="N", help="refuse lines with more segments")
    lines.add_argument("--batch", type=positive, default=64, metavar="N", help="lines per commit (default: 64)")
    lines.set_defaults(run=run_lines)
    verify = commands.add_parser("verify", parents=[common], help="check a store against checksums and its network")
    verify.add_argument("store", metavar="STORE.h5")
    verify.add_argument("--samples", type=int, default=16, metavar="N",
                        help="segments per line to check against the network (default: 16; 0: none)")  # fmt: skip
    verify.set_defaults(run=run_verify)


def run_lines(options):
    """Partition lines and store them, batch by batch."""
    from .. import store
    from ..loading import load_network

    began = time.perf_counter()
    network = load_network(options.network, input_shape=options.input_shape)
    starts, ends = _line_ends(options, network)
    with store.create(options.out, network, parameters=_parameters(options), overwrite=options.overwrite) as writer:
        try:
            columns = _append_batches(writer, starts, ends, options)
        except BaseException as error:
            error.add_note(f"{options.out} holds the first {writer.n_lines} of {len(starts)} lines")
            raise
    show(options, {"store": options.out, **_summary(columns), "seconds": time.perf_counter() - began})


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
    """Starts and ends of the lines that the options ask for: float64[L, D] each."""
    import numpy as np

    from ..errors import InputError
    from ..partition.line import line_ends

    if options.random:
        if options.ends:
            raise InputError("--random and --ends were given; --random draws both ends, leave one out")
        low, high = options.range
        if not low < high:
            raise InputError(f"--range is {low} {high}; LOW must be below HIGH")
        points = np.random.default_rng(options.seed).uniform(low, high, (2, options.random, network.n_inputs))
        return points[0], points[1]
    if not options.ends:
        raise InputError("--ends was not given; --starts and --from-zero need it")
    starts = np.zeros(network.n_inputs) if options.from_zero else read_rows(options.starts)
    starts, ends = line_ends(network, starts, read_rows(options.ends))
    if not len(starts):
        raise InputError("--starts and --ends hold no rows; give at least one line")
    return starts, ends


def _parameters(options):
    """What the store's provenance records; names of files without their folders."""
    names = {name: getattr(options, name) for name in ("network", "starts", "ends")}
    given = {name: Path(value).name for name, value in names.items() if value}
    if options.random:
        given.update(random=options.random, seed=options.seed, range=list(options.range))
    return {"command": "lines", **given, "from_zero": options.from_zero, "max_segments": options.max_segments}


def _append_batches(writer, starts, ends, options):
    """Partition and append batch by batch; the columns of the summary."""
    import numpy as np
    from tqdm import tqdm

    from ..errors import PwlnetError
    from ..partition.line import partition_lines

    limits = {"max_segments": options.max_segments, "threads": options.threads}
    columns = {"n_segments": [], "density": [], "residual": [], "ambiguous": []}
    with tqdm(total=len(starts), unit="line", disable=None) as bar:  # None: only on a terminal, on stderr
        for first in range(0, len(starts), options.batch):
            part = slice(first, first + options.batch)
            try:
                lines = partition_lines(writer.network, starts[part], ends[part], **limits)
            except PwlnetError as error:
                error.add_note(f"counted from line {first}")
                raise
            writer.append_lines(lines)
            for name, column in columns.items():
                column.append(getattr(lines, name))
            bar.update(len(lines.starts))
    return {name: np.concatenate(column) for name, column in columns.items()}


def _summary(columns):
    import numpy as np

    segments = columns["n_segments"]
    return {
        "lines": len(segments),
        "segments": {
            "min": int(segments.min()),
            "median": float(np.median(segments)),
            "max": int(segments.max()),
            "total": int(segments.sum()),
        },
        "density_median": float(np.median(columns["density"])),
        "residual_max": float(columns["residual"].max()),
        "ambiguous": int(columns["ambiguous"].sum()),
    }
