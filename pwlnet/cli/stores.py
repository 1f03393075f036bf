"""Subcommands for stores: verify, repair, merge, export. (info: networks.py)"""

import warnings

from .arguments import count, positive, row_range
from .output import show


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    verify = commands.add_parser("verify", parents=[common], help="compare a store with its checksums and its network")
    verify.add_argument("store", metavar="STORE.h5")
    verify.add_argument("--samples", type=count, default=16, metavar="N",
                        help="segments per line, polygons per plane, and regions per enumeration, to compare with the "
                        "network (default: 16; 0: none)")  # fmt: skip
    verify.set_defaults(run=run_verify)
    repair = commands.add_parser(
        "repair",
        parents=[common],
        help="keep the intact batches of a damaged store, or add missing checksums",
        description="Keep the batches of a damaged store that precede the first damaged one. If another program changed or "
        "copied an intact store, check it and add its checksums again; annotations are kept. Without --out and --yes, nothing "
        "is written: the command reports what could be kept.",
    )
    repair.add_argument("store", metavar="STORE.h5")
    where = repair.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="NEW.h5", help="write the kept batches to a new store")
    where.add_argument("--yes", action="store_true", help="replace the store by the repaired one, in place")
    repair.add_argument("--network", metavar="NET", help="use this network if the stored copy is damaged")
    repair.add_argument("--threads", type=positive, metavar="N", help="number of threads (default: all processors)")
    repair.set_defaults(run=run_repair)
    merge = commands.add_parser("merge", parents=[common], help="join stores of the same network and parameters")
    merge.add_argument("stores", metavar="STORE.h5", nargs="+", help="in the order of their lines, planes or regions")
    merge.add_argument("--out", metavar="NEW.h5", required=True, help="a new store")
    merge.add_argument("--overwrite", action="store_true", help="replace an existing store")
    merge.add_argument("--threads", type=positive, metavar="N", help="number of threads (default: all processors)")
    merge.set_defaults(run=run_merge)
    export = commands.add_parser("export", parents=[common], help="write results of a store for other programs")
    export.add_argument("store", metavar="STORE.h5")
    export.add_argument(
        "out", metavar="OUT", help=".parquet, .arrow, .csv, .geojson (polygons), or .nc (netCDF-4; needs memory for all rows)"
    )
    export.add_argument("--table", metavar="NAME",
                        help="segments, flips, lines, polygons, corners, vertices, planes, regions, facets, ... (default: "
                        "segments, or polygons or regions if there are only those; for .nc: lines, planes, ...)")  # fmt: skip
    export.add_argument("--rows", type=row_range, metavar="FIRST:LAST",
                        help="lines, planes or regions, or rows of another kind (default: all)")  # fmt: skip
    export.add_argument("--patterns", action="store_true", help="add the activation pattern of each segment, polygon or region")
    export.add_argument("--classes", action="store_true", help="add the largest output at the center of each polygon")
    export.add_argument("--wide", action="store_true", help="add arrays, such as starts, with a column per entry")
    export.add_argument("--overwrite", action="store_true", help="replace an existing file")
    export.set_defaults(run=run_export)


def run_verify(options):
    """Verify a store."""
    from .. import store
    from ..errors import ChecksumError, UnverifiedStoreWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnverifiedStoreWarning)  # verify reports it
        opened = store.open(options.store)
    with opened:
        problems = opened.verify(n_samples=options.samples)
        counts = {"lines": opened.n_lines, "breakpoints": opened.n_breakpoints, "batches": opened.n_batches}
        hidden = ("lines", "enumeration_ends")
        counts |= {name: n for name, n in opened.info()["rows"].items() if name not in hidden}
        counts |= {"polygons": opened.n_polygons} if opened.n_planes else {}
    if problems and options.json:
        show(options, {"store": options.store, **counts, "problems": problems})
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise ChecksumError(problems[0] + more)
    text = f"{options.store} is intact: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    show(options, {"store": options.store, **counts, "problems": []}, text)


def run_repair(options):
    """Repair a store."""
    from .. import store
    from ..loading import load_network

    network = load_network(options.network) if options.network else None
    repaired = store.repair(options.store, options.out, in_place=options.yes, network=network, threads=options.threads)
    kept = f"{repaired.n_batches} batches with {repaired.n_lines} lines"
    kept += f" and {repaired.n_planes} planes" if repaired.n_planes else ""
    kept += f" and {repaired.n_regions} regions" if repaired.n_regions else ""
    if not repaired.problems:
        text = f"{options.store} is intact: {kept}"
    else:
        text = f"{repaired.problems[0]}\n{kept} are intact, {repaired.n_batches_lost} batches are lost"
    if repaired.path is None:
        text += "" if not repaired.problems else "; --out NEW.h5 writes a new store, --yes replaces this one"
    else:
        text += f"; {repaired.path} holds them"
    show(options, {**repaired._asdict(), "path": repaired.path and str(repaired.path)}, text)


def run_merge(options):
    """Join stores."""
    from .. import store

    written = store.merge(options.stores, options.out, overwrite=options.overwrite, threads=options.threads)
    values = {"store": options.out, "lines": written.n_lines, "segments": written.n_segments}
    with store.open(options.out) as opened:
        values |= {"planes": opened.n_planes, "polygons": opened.n_polygons} if opened.n_planes else {}
        values |= {name: n for name in ("enumerations", "regions") if (n := opened.n_rows(name))}
    show(options, values)


def run_export(options):
    """Write a table."""
    from .. import store

    chosen = {name: getattr(options, name) for name in ("patterns", "classes", "wide", "overwrite")}
    with store.open(options.store) as opened:
        table = options.table or opened.default_table(whole=options.out.lower().endswith(".nc"))
        n_rows = opened.export(options.out, table, *(options.rows or ()), **chosen)
    show(options, {"path": options.out, "table": table, "rows": n_rows})
