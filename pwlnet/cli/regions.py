"""The subcommand that enumerates the activation regions of a box."""

import argparse
import csv
import sys
from pathlib import Path

from .arguments import finite, positive, read_rows
from .boxes import add_box_options, check_box_options, read_box
from .output import on_terminal, show, table
from .store_options import add_store_options
from .timing import Stopwatch, load_kernels

_ROWS = 2**16  # regions of a CSV file that are written at a time
_LISTED = ("patterns", "facets")


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    regions = commands.add_parser(
        "regions",
        parents=[common],
        help="enumerate the activation regions of a box of inputs",
        description="Count the activation regions of a network in a box of inputs, exactly, and with --out or --csv list them. "
        "FILE: .npy, .npz (FILE.npz:NAME if it has several arrays) or .csv, one row per line.",
    )
    regions.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    add_box_options(regions, regions.add_mutually_exclusive_group(required=True), whole_range=True)
    regions.add_argument("--polytope", metavar="FILE", help="rows a_0, ..., b of A x <= b: the part of the box where all hold")
    regions.add_argument("--classes", metavar="RULE", help="max or min: divide regions by the largest or smallest output")
    regions.add_argument("--method", default="auto", metavar="NAME", help="auto (default), subdivision, search or planes")
    regions.add_argument("--want", type=names, metavar="NAME,...",
                         help="patterns, facets, affine_maps, volumes, vertices: what to list (default: patterns,facets with "
                         "--out or --csv, else only the number of regions)")  # fmt: skip
    regions.add_argument("--max-regions", type=positive, metavar="N", help="stop when so many regions are found")
    regions.add_argument("--time-limit", type=finite, metavar="SECONDS", help="stop after this time")
    regions.add_argument("--out", metavar="STORE.h5", help="write all regions to a new store")
    regions.add_argument("--csv", metavar="FILE.csv", help="write a row for each region: facets, volume, class, a point inside")
    add_store_options(regions)
    regions.add_argument("--progress", action="store_true", help="show the progress even if stderr is not a terminal")
    regions.set_defaults(run=run_regions)


def names(text):
    """Parse names: "patterns,facets" to a tuple."""
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list NAME,NAME,...")
    return parts


def run_regions(options):
    """Enumerate regions, write them where that is requested, and print what was found."""
    from ..errors import InputError
    from ..loading import load_network

    check_box_options(options)
    if options.resume and options.out is None:
        raise InputError("--resume was given without --out, the store to continue; give both")
    if options.csv is not None and Path(options.csv).exists() and not (options.overwrite or options.resume):
        raise InputError(f"{options.csv} exists; give another name, or --overwrite")
    network = load_network(options.network, input_shape=options.input_shape)
    arguments, how = _arguments(options, network)
    load_kernels(lambda: _enumerate_point(network, arguments, how))
    stopwatch = Stopwatch()
    regions = _store(options, network, arguments, how) if options.out else _enumerate(options, network, arguments, how)
    try:
        seconds = stopwatch.seconds
        if not getattr(regions, "is_finished", True):
            print(f"pwlnet: {options.out} has the first {len(regions)} regions; --resume continues", file=sys.stderr)
        if options.csv:
            _write_csv(options.csv, regions)
        values = _values(options, regions, seconds)
        show(options, values, table(_rows(values)))
    finally:
        getattr(regions, "close", lambda: None)()


def _arguments(options, network):
    """Return the bounds of the box, and the keywords of enumerate_regions that describe what is enumerated."""
    import numpy as np

    from ..errors import ShapeError

    box = read_box(options, network)
    want = options.want
    if want is None:
        want = _LISTED if options.out or options.csv else ()
    how = {"classes": options.classes, "want": want, "polytope": None}
    if options.polytope is not None:
        rows = np.asarray(read_rows(options.polytope))
        if rows.ndim != 2 or rows.shape[1] != network.n_inputs + 1:
            needed = f"(rows, {network.n_inputs + 1}) is needed: coefficients of {network.n_inputs} inputs and b"
            raise ShapeError(f"--polytope has shape {rows.shape}; {needed}")
        how["polytope"] = rows[:, :-1], rows[:, -1]
    return (box.lower, box.upper), how


def _limits(options):
    """Return the keywords of all enumerations that say when to stop and how to run."""
    limits = {name: getattr(options, name) for name in ("max_regions", "time_limit", "threads")}
    return {**limits, "progress": options.progress or on_terminal()}


def _enumerate_point(network, box, how):
    """Enumerate a tiny box: it takes all kernels and little time."""
    from ..partition.regions.enumerating import enumerate_regions

    lower, upper = box
    middle = lower + (upper - lower) / 2
    enumerate_regions(network, middle, middle + (upper - middle) / 1024, **how, max_regions=64, threads=1)


def _enumerate(options, network, box, how):
    """Enumerate the regions in memory: Regions."""
    from ..partition.regions.enumerating import enumerate_regions

    return enumerate_regions(network, *box, method=options.method, **how, **_limits(options))


def _store(options, network, box, how):
    """Enumerate the regions into the store --out: RegionRows.

    They are streamed where that is possible, and else written when all of them are found.
    """
    from .. import store
    from ..errors import UnsupportedOperationError
    from ..partition.regions.layers import MOST_FREE

    made_with = {name: getattr(options, name) for name in ("overwrite", "compression")} | {"parameters": _parameters(options)}
    n_free = int((box[1] > box[0]).sum())
    if options.method == "subdivision" or (options.method == "auto" and n_free <= MOST_FREE):
        try:
            return store.save_large_regions(
                options.out, network, *box, **how, **_limits(options), resume=options.resume, **made_with
            )
        except UnsupportedOperationError:
            if options.resume:
                raise
        except KeyboardInterrupt as error:
            if Path(options.out).exists():
                error.add_note(f"{options.out} has the regions until then; --resume continues")
            raise
    regions = _enumerate(options, network, box, how)
    store.save_regions(options.out, regions, threads=options.threads, **made_with)
    return store.load_regions(options.out, network)


def _parameters(options):
    """Return what the store's provenance records; names of files without their folders."""
    files = {name: getattr(options, name) for name in ("network", "box", "around", "polytope")}
    given = {name: Path(value).name for name, value in files.items() if value}
    others = {name: getattr(options, name) for name in ("range", "epsilon", "limits", "classes", "want", "max_regions")}
    others = {name: list(value) if isinstance(value, tuple) else value for name, value in others.items()}
    return {"command": "regions", **given, **{name: value for name, value in others.items() if value is not None}}


def _blocks(regions):
    """Yield blocks of regions, of those in memory as of those in a store."""
    if hasattr(regions, "blocks"):
        yield from regions.blocks(_ROWS)
        return
    block = regions.block()
    for first in range(0, len(block), _ROWS):
        yield block[first : first + _ROWS]


def _write_csv(path, regions):
    """Write a row for each region that is listed."""
    import numpy as np

    from ..errors import InputError

    n_inputs, number = regions.network.n_inputs, 0
    try:
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            for block in _blocks(regions):
                columns = {"region": np.arange(number, number + len(block)).tolist()}
                for name, values in (
                    ("facets", None if block.facet_offsets is None else np.diff(block.facet_offsets)),
                    ("volume", block.volumes),
                    ("class", block.classes),
                ):
                    columns |= {} if values is None else {name: values.tolist()}
                if block.witnesses is not None:
                    columns |= {f"x{d}": block.witnesses[:, d].tolist() for d in range(n_inputs)}
                if not number:
                    writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
                number += len(block)
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror}); give another file") from error


def _values(options, regions, seconds):
    """Return what is printed as JSON: dict."""
    import numpy as np

    n = int(regions.n_regions)
    values = {"store": options.out} if options.out else {}
    values |= {"csv": options.csv} if options.csv else {}
    values |= {"regions": n, "dimensions": len(regions.free), "complete": bool(regions.complete)}
    values |= {"stopped_by": regions.stopped_by, "method": regions.method, "certified": bool(regions.certified)}
    values["exact_decisions"] = int(regions.n_exact)
    blocks = [] if not n else list(map(_totals, _blocks(regions))) if _is_listed(regions) else []
    if blocks and blocks[0]["facets"] is not None:
        values["mean_facets"] = sum(block["facets"] for block in blocks) / n
    if blocks and blocks[0]["volume"] is not None:
        low, high = min(block["smallest"] for block in blocks), max(block["largest"] for block in blocks)
        values |= {"volume": sum(block["volume"] for block in blocks), "smallest_volume": low, "largest_volume": high}
    if blocks and blocks[0]["classes"] is not None:
        counts = np.zeros(regions.network.n_outputs, np.int64)
        for block in blocks:
            counts += np.bincount(block["classes"], minlength=len(counts))
        values["regions_by_class"] = counts.tolist()
    return {**values, "seconds": seconds, "regions_per_second": n / seconds if seconds > 0.0 else None}


def _is_listed(regions):
    """Return whether regions were listed, not only counted."""
    return len(regions) > 0 if hasattr(regions, "blocks") else regions.packed is not None


def _totals(block):
    """Return sums over a block of regions, None where it lacks the column: dict."""
    volumes = block.volumes
    return {
        "facets": None if block.facet_offsets is None else int(block.facet_offsets[-1]),
        "volume": None if volumes is None else float(volumes.sum()),
        "smallest": None if volumes is None else float(volumes.min()),
        "largest": None if volumes is None else float(volumes.max()),
        "classes": block.classes,
    }


def _rows(values):
    """Return the rows of the printed table: dict."""
    rows = dict(values)
    if rows["complete"]:
        del rows["stopped_by"]
    if "regions_by_class" in rows:
        rows["regions_by_class"] = ", ".join(map(str, rows["regions_by_class"]))
    if rows["regions_per_second"] is None:
        del rows["regions_per_second"]
    return rows
