"""The subcommand that runs a study."""

import math
import sys

from .arguments import finite, positive
from .output import on_terminal, show


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    run = commands.add_parser(
        "run",
        parents=[common],
        help="run a study: a TOML file that names networks, images and analyses",
        description="Run all analyses of a study file, each of a network into one store in the folder of the study, and write "
        "summary.json there. After Ctrl-C, or any other interruption, --resume continues.",
    )
    run.add_argument("study", metavar="STUDY.toml", help="see docs/guide/studies.md")
    run.add_argument("--only", metavar="NAME", action="append", default=[],
                     help="this analysis only, or one of its stores: ANALYSIS.NETWORK; repeat it for more")  # fmt: skip
    existing = run.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="keep finished stores, and continue unfinished ones")
    existing.add_argument("--overwrite", action="store_true", help="replace existing stores")
    run.add_argument("--dry-run", action="store_true",
                     help="compute small random samples, and estimate numbers of results, bytes and time")  # fmt: skip
    run.add_argument("--sample-seconds", type=finite, default=2.0, metavar="S",
                     help="time for the sample of each store, with --dry-run (default: %(default)s)")  # fmt: skip
    run.add_argument("--threads", type=positive, metavar="N", help="number of threads (default: all processors)")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--workers", type=positive, metavar="N", help="compute in N processes of this machine, by dask")
    where.add_argument("--scheduler", metavar="ADDRESS", help="compute on the workers of this dask scheduler")
    run.add_argument("--progress", action="store_true", help="show the progress even if stderr is not a terminal")
    run.set_defaults(run=run_run)


def run_run(options):
    """Run a study, or estimate what it takes."""
    from .. import studies
    from ..errors import InputError

    if options.dry_run and (options.workers is not None or options.scheduler is not None or options.overwrite):
        raise InputError("--dry-run was given with --workers, --scheduler or --overwrite, which it does not use; omit them")
    study = studies.read_study(options.study)
    if options.dry_run:
        how = {"only": options.only, "resume": options.resume, "threads": options.threads}
        rows = [each.to_dict() for each in studies.estimate_study(study, seconds=options.sample_seconds, **how)]
        show(options, {"study": study.name, "folder": str(study.folder), "stores": rows}, _estimates_text(study, rows))
        return
    is_shown = options.progress or on_terminal()
    chosen = {name: getattr(options, name) for name in ("only", "resume", "overwrite", "threads", "workers", "scheduler")}
    made = studies.run_study(study, progress=is_shown, report=_report if is_shown else None, **chosen)
    show(options, made.to_dict(), _result_text(made))


def _report(task, number, n):
    """Print what is computed next, on stderr."""
    print(f"{number}/{n} {task.path.name}: {task.job.n_items} {task.job.unit}s", file=sys.stderr)


def _columns(rows):
    """Format rows of texts as a table, the first one as a head; numbers are on the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(widths[0]) if k == 0 else cell.rjust(widths[k]) for k, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _result_text(made):
    """Format the table of the stores."""
    table = [("store", "status", "items", "results", "size", "seconds", "digest")]
    for row in made.tasks:
        counts = {name: n for name, n in row["results"].items() if name not in ("lines", "planes")}
        results = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items())
        items = f"{row['items']} {row['unit']}s"
        numbers = (_size(row["bytes"]), f"{row['seconds']:.3g}", row["digest"][:12])
        table.append((row["store"], row["status"], items, results, *numbers))
    total = sum(row["bytes"] for row in made.tasks)
    last = f"{made.study.name}: {len(made.tasks)} stores, {_size(total)}, in {made.study.folder}; {made.seconds:.3g} seconds"
    return f"{_columns(table)}\n{last}"


def _estimates_text(study, rows):
    """Format the table of estimates."""
    table = [("store", "items", "done", "sampled", "counted", "estimate", "range", "size", "seconds", "range")]
    for row in rows:
        results, seconds = row["results"], row["seconds"]
        numbers = (f"{row['items']} {row['unit']}s", str(row["done"]), str(row["sampled"]), row["counted"].replace("_", " "))
        estimates = (f"{results['value']:.4g}", _range(results), _size(row["bytes"]["value"]))
        table.append((row["store"], *numbers, *estimates, f"{seconds['value']:.3g}", _range(seconds)))
    size = _size(sum(row["bytes"]["value"] for row in rows))
    total = sum(row["seconds"]["value"] for row in rows)
    notes = [
        f"{study.name}: about {size} and {total:.3g} seconds in all. Estimates by random samples; ranges have 95 % confidence"
    ]
    if any(row["kind"] == "regions" for row in rows):
        notes.append("Regions: a few cells of a box have most of them, so the estimate is more often too low than too high")
    return "\n".join([_columns(table), *notes])


def _range(estimate):
    """Format the range of an estimate."""
    if estimate["high"] is None:
        return f"{estimate['low']:.3g} or more"
    return f"{estimate['low']:.3g} to {estimate['high']:.3g}"


def _size(n_bytes):
    """Format a number of bytes."""
    if n_bytes is None or math.isinf(n_bytes):
        return "unknown"
    names = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min(max(0, int(math.log2(max(1, n_bytes))) // 10), len(names) - 1)
    return f"{n_bytes / 2 ** (10 * power):.3g} {names[power]}"
