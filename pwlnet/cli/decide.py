"""The subcommand that decides whether outputs can meet a condition on a box of inputs."""

import argparse

from .arguments import finite, positive, read_rows, shape
from .boxes import add_box_options, check_box_options, read_box
from .output import show, table
from .timing import load_kernels

_SHOWN = 8  # inputs of a witness in the table for people


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    decide = commands.add_parser(
        "decide",
        parents=[common],
        help="decide whether the outputs can meet a condition on a box of inputs",
        description="Decide whether some input in a box has outputs that meet a condition: sat, with such an input; unsat, "
        "proved; or undecided. FILE: .npy, .npz (FILE.npz:NAME if it has several arrays) or .csv, one row per line.",
    )
    decide.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    what = decide.add_mutually_exclusive_group(required=True)
    what.add_argument("--vnnlib", metavar="FILE", help="boxes and conditions in VNN-LIB (.vnnlib or .vnnlib.gz)")
    what.add_argument("--acas", metavar="FILE",
                      help="a property of ACAS Xu: constraints of ERAN, with --acas-box, or a file of Marabou; sat where it is "
                      "violated")  # fmt: skip
    what.add_argument("--property", type=condition, metavar="KIND:K",
                      help="largest:K or smallest:K, where output K is that (or equal), or not-largest:K or not-smallest:K, "
                      "where another one is (or equal); needs --box or --around")  # fmt: skip
    what.add_argument("--halfspaces", metavar="FILE", help="rows a_0, ..., b of A y <= b, all of which hold")
    decide.add_argument("--acas-box", metavar="FILE", help="the intervals of --acas, in ERAN's format")
    decide.add_argument("--units", choices=["raw", "normalized"],
                        help="of inputs and outputs, with --acas (default: raw for .nnet, else normalized)")  # fmt: skip
    box = decide.add_mutually_exclusive_group()
    add_box_options(decide, box)
    decide.add_argument("--time-limit", type=finite, metavar="SECONDS", help="stop after this time")
    decide.add_argument("--max-branches", type=positive, metavar="N", help="stop after this many boxes for each given box")
    decide.add_argument("--method", default="auto", metavar="NAME", help="auto (default), splits, neurons or cells")
    decide.add_argument("--confirm", action="store_true", help="evaluate NET, an ONNX file, at a witness in its own precision")
    decide.add_argument("--threads", type=positive, metavar="N", help="number of threads (default: all cores)")
    decide.add_argument("--input-shape", type=shape, metavar="C,H,W", help="if the ONNX file does not specify it")
    decide.set_defaults(run=run_decide)


def condition(text):
    """Parse a condition: "not-largest:3" to ("not-largest", 3)."""
    kind, _, index = text.partition(":")
    if kind not in ("largest", "smallest", "not-largest", "not-smallest") or not (index.isascii() and index.isdigit()):
        raise argparse.ArgumentTypeError(f"{text} is not largest:K, smallest:K, not-largest:K or not-smallest:K")
    return kind, int(index)


def run_decide(options):
    """Decide, and print the answer."""
    from ..analysis.decisions import decide
    from ..loading import load_network

    _check_combination(options)
    network = load_network(options.network, input_shape=options.input_shape)
    boxes, conditions = _cases(options, network)
    how = {"method": options.method, "threads": options.threads}
    confirm = options.network if options.confirm else None
    load_kernels(lambda: _decide_point(network, boxes[0], conditions[0], options.threads))
    limits = {"time_limit": options.time_limit, "max_branches": options.max_branches}
    decision = decide(network, boxes, conditions, confirm=confirm, **limits, **how)
    values = _values(decision, len(boxes))
    show(options, values, table(_rows(values)))


def _check_combination(options):
    """Refuse options that do not belong together."""
    from ..errors import InputError

    for name, other in (("acas_box", "acas"), ("units", "acas")):
        if getattr(options, name) is not None and getattr(options, other) is None:
            name, other = name.replace("_", "-"), other.replace("_", "-")
            raise InputError(f"--{name} was given without --{other}, to which it belongs; omit it, or give both")
    has_box = options.box is not None or options.around is not None
    if (options.vnnlib or options.acas) and has_box:
        raise InputError("--box or --around was given with a file that has a box; omit it")
    if (options.property or options.halfspaces) and not has_box:
        raise InputError("--property and --halfspaces need a box; give --box or --around")
    check_box_options(options)


def _cases(options, network):
    """Return boxes and conditions: two lists of the same length."""
    from ..errors import InputError

    if options.vnnlib:
        from ..properties.vnnlib import read_vnnlib

        boxes, conditions = read_vnnlib(options.vnnlib)
    elif options.acas:
        from ..properties.acas import read_acas_property

        is_raw = str(options.network).lower().endswith(".nnet")
        units = options.units or ("raw" if is_raw else "normalized")
        boxes, conditions = read_acas_property(options.acas, options.acas_box, units=units)
    else:
        boxes, conditions = [read_box(options, network)], [_condition(options, network)]
    if not boxes:
        raise InputError("the file has no box with points; there is nothing to decide")
    return boxes, conditions


def _condition(options, network):
    """Return the condition: list of HalfSpaces."""
    import numpy as np

    from ..conditions import HalfSpaces
    from ..errors import ShapeError
    from ..validation import check_index

    n = network.n_outputs
    if options.halfspaces:
        rows = np.asarray(read_rows(options.halfspaces))
        if rows.ndim != 2 or rows.shape[1] != n + 1:
            raise ShapeError(
                f"--halfspaces has shape {rows.shape}; (rows, {n + 1}) is needed: coefficients of {n} outputs and b"
            )
        return [HalfSpaces(rows[:, :-1], rows[:, -1])]
    kind, k = options.property
    k = check_index(k, "--property", n, "outputs")
    is_largest = kind.endswith("largest")
    if not kind.startswith("not-"):
        return [HalfSpaces.largest(k, n) if is_largest else HalfSpaces.smallest(k, n)]
    sign = 1.0 if is_largest else -1.0
    return [HalfSpaces(sign * (np.eye(n)[k] - np.eye(n)[other])[None], [0.0]) for other in range(n) if other != k]


def _decide_point(network, box, union, threads):
    """Decide a small box: it takes all kernels and little time."""
    from ..analysis.decisions import decide
    from ..domains import Box, box_rows

    lower, upper = box_rows(network, box)
    middle = lower[0] + (upper[0] - lower[0]) / 2
    small = Box(middle, middle + (upper[0] - middle) / 1024)
    decide(network, small, union, max_branches=1, method="splits", threads=threads)


def _values(decision, n_boxes):
    """Return what is printed as JSON: dict."""
    values = {"status": decision.status, "boxes": n_boxes, "engine": decision.engine}
    if decision.witness is not None:
        confirmed = decision.confirmation
        values |= {"witness": decision.witness.tolist(), "box": decision.box, "margin": confirmed.margin}
        values |= {"condition": confirmed.polytope, "source": confirmed.source}
        values |= {"source_margin": confirmed.source_margin, "source_holds": confirmed.source_holds}
    values |= {"open_boxes": decision.n_open, "stopped_by": decision.stopped_by, "branches": decision.n_branches}
    return {**values, "cells": decision.n_cells, "seconds": decision.seconds}


def _rows(values):
    """Return the rows of the printed table: dict."""
    rows = {"status": values["status"]}
    if "witness" in values:
        entries = [f"{x:.6g}" for x in values["witness"][:_SHOWN]]
        more = len(values["witness"]) - len(entries)
        rows["witness"] = ", ".join(entries) + (f", ... ({more} more)" if more else "")
        rows["confirmed"] = f"by exact arithmetic, margin {values['margin']:.6g}"
        if values["source"]:
            holds = "holds" if values["source_holds"] else "does not hold"
            rows["source"] = f"{values['source']}: {holds}, margin {values['source_margin']:.6g}"
    if values["open_boxes"]:
        rows |= {"open boxes": values["open_boxes"], "stopped by": values["stopped_by"]}
    return {**rows, **{name: values[name] for name in ("engine", "branches", "cells", "seconds")}}
