"""The subcommand that partitions planes."""

import argparse
import contextlib
import sys
from pathlib import Path

from .arguments import finite, positive
from .chosen_planes import ChosenPlanes
from .output import on_terminal, show, table
from .store_options import add_store_options, open_writer
from .timing import Stopwatch, load_kernels


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    planes = commands.add_parser(
        "planes",
        parents=[common],
        help="partition planes into the polygons on which a network is affine",
        description="Compute the activation regions of a network on polygons in planes, exactly, and write them to a new store "
        "in batches. Point (u, v) of a plane is origin + u e1 + v e2. FILE: .npy, .npz (FILE.npz:NAME if it has several "
        "arrays) or .csv, one point per row; digits stands for the shipped images.",
    )
    planes.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    frame = planes.add_mutually_exclusive_group(required=True)
    frame.add_argument("--through", metavar="FILE", help="planes through three points: the first three rows, or --points; "
                       "(u, v) is (0, 0), (1, 0) and (0, 1) there")  # fmt: skip
    frame.add_argument("--origin", metavar="FILE", help="origins of the planes; a single row is used for all planes")
    frame.add_argument("--axes", type=int, nargs=2, metavar=("I", "J"), help="inputs I and J, counted from 0, are u and v")
    planes.add_argument("--points", type=row_triple, action="append", metavar="I,J,K",
                        help="a plane through these rows of --through; repeat it for more planes (default: 0,1,2)")  # fmt: skip
    planes.add_argument("--e1", metavar="FILE", help="first directions, with --origin; a single row is used for all planes")
    planes.add_argument("--e2", metavar="FILE", help="second directions")
    planes.add_argument("--at", nargs="+", metavar="VALUE|FILE",
                        help="the other inputs, with --axes: one number, a number for each in order, or a file with all inputs "
                        "of a point per plane (default: 0)")  # fmt: skip
    outline = planes.add_mutually_exclusive_group()
    outline.add_argument("--polygon", metavar="FILE",
                         help="corners (u, v) of a convex polygon, in order, one per row (default: the triangle of the three "
                         "points with --through, else the unit square)")  # fmt: skip
    outline.add_argument("--box", type=finite, nargs=4, metavar=("U0", "U1", "V0", "V1"), help="a rectangle instead")
    planes.add_argument("--out", metavar="STORE.h5", required=True, help="write all polygons to a new store")
    add_store_options(planes)
    planes.add_argument("--batch", type=positive, default=128, metavar="N",
                        help="planes in memory and per commit (default: %(default)s)")  # fmt: skip
    planes.add_argument("--stream", action="store_true",
                        help="write each plane in chunks, so that no plane is in memory as a whole")  # fmt: skip
    planes.add_argument("--progress", action="store_true", help="show the progress even if stderr is not a terminal")
    planes.set_defaults(run=run_planes)


def row_triple(text):
    """Parse three rows: "0,5,7" to (0, 5, 7)."""
    rows = text.split(",")
    if len(rows) != 3 or not all(row.isascii() and row.isdigit() for row in rows):
        raise argparse.ArgumentTypeError(f"{text} is not I,J,K, the numbers of three rows")
    return tuple(map(int, rows))


def run_planes(options):
    """Partition planes and store them, batch by batch."""
    from ..errors import InputError
    from ..loading import load_network

    for name, other in (("points", "through"), ("e1", "origin"), ("e2", "origin"), ("at", "axes")):
        if getattr(options, name) is not None and getattr(options, other) is None:
            raise InputError(f"--{name} was given without --{other}, to which it belongs; omit it, or give both")
    network = load_network(options.network, input_shape=options.input_shape)
    planes = ChosenPlanes(options, network)
    load_kernels(lambda: _partition_small_plane(planes))
    stopwatch = Stopwatch()
    summary, n_exact = _store(options, planes)
    seconds, totals = stopwatch.seconds, summary.to_dict()
    times = {"seconds": seconds, "microseconds_per_polygon": 1e6 * seconds / max(1, totals["polygons"]["total"])}
    values = {"store": options.out, **totals, "exact_decisions": n_exact, **times}
    show(options, values, table(_rows(values)))


def _partition_small_plane(planes):
    """Partition a tiny polygon of the first plane: it takes all kernels and little time."""
    import numpy as np

    from ..partition.planes.partitions import partition_planes

    origin, e1, e2, polygon = planes.planes[0]
    tiny = polygon.mean(axis=0) + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) / 1024
    partition_planes(planes.network, origin, e1, e2, tiny, threads=1, max_polygons=1000)


def _store(options, planes):
    """Append the planes to a store: PlaneSummary of all planes in it, and the decisions in integer arithmetic of this run.

    The latter is None if planes were written in chunks, which do not count them.
    """
    from .. import store

    n_exact = 0
    with open_writer(options, planes.network, parameters=_parameters(options)) as writer:
        planes.check_resumable(options.out, writer.n_planes)
        try:
            if writer.n_planes and on_terminal():
                have = f"{options.out} has the first {writer.n_planes} of {len(planes)} planes"
                print(f"{have}; computing the others", file=sys.stderr)
            how = {"stream": options.stream, "max_planes": options.batch, "threads": options.threads}
            how["progress"] = options.progress or on_terminal()
            with contextlib.closing(store.append_planes_in_batches(writer, *planes.arguments(), **how)) as batches:
                for count in batches:
                    n_exact = None if count is None or n_exact is None else n_exact + count
        except BaseException as error:
            left = writer.unfinished_polygons
            rest = "" if left is None else f" and {left} polygons of the next one"
            error.add_note(f"{options.out} has the first {writer.n_planes} of {len(planes)} planes{rest}; --resume continues")
            raise
        with store.open(options.out) as stored:
            return stored.plane_summary(), n_exact


def _rows(values):
    """Return the rows of the printed table: dict."""
    polygons = values["polygons"]
    spread = " / ".join(f"{polygons[name]:.6g}" for name in ("min", "median", "max"))
    rows = {"store": values["store"], "planes": values["planes"], "polygons": polygons["total"]}
    rows |= {"per plane (min / median / max)": spread} if values["planes"] > 1 else {}
    rows |= {name: values[name] for name in ("area", "smallest_polygon", "residual", "exact_decisions")}
    rows["exact_decisions"] = "not counted in chunks" if rows["exact_decisions"] is None else rows["exact_decisions"]
    return {**rows, **{name: values[name] for name in ("seconds", "microseconds_per_polygon")}}


def _parameters(options):
    """Return what the store's provenance records; names of files without their folders."""
    names = {name: getattr(options, name) for name in ("network", "through", "origin", "e1", "e2", "polygon")}
    given = {name: Path(value).name for name, value in names.items() if value}
    others = {name: getattr(options, name) for name in ("axes", "at", "box")}
    others["points"] = [list(rows) for rows in options.points or ()]
    return {"command": "planes", **given, **{name: value for name, value in others.items() if value}}
