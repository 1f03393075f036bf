"""Run the tasks of a study, or continue them, and summarize the stores."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import distribute, store
from .._version import __version__
from ..errors import ChecksumError, InputError, StoreError
from ..publishing import publish, reason
from .reading import Study, at
from .tasks import Task, make_tasks

SUMMARY = "summary.json"


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """What ``run_study`` wrote.

    Attributes
    ----------
    study : Study
    tasks : list of dict
        For each store, what ``summary.json`` has: analysis, network, kind, store, status ("computed", "continued" or "kept"),
        items, results, bytes, digest, seconds.
    seconds : float
    """

    study: Study
    tasks: list[dict[str, Any]]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` has, and the folder."""
        return {**_summary(self.study, self.tasks), "folder": str(self.study.folder), "seconds": self.seconds}


def run_study(
    study: Study,
    *,
    only: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
    report: Callable[[Task, int, int], None] | None = None,
) -> StudyResult:
    """Compute all analyses of a study, each of a network into one store, and write ``summary.json``.

    Exact up to rounding, a sound bound or an estimate, by the analysis. Digests depend on the study only, not on
    interruptions, threads or workers.

    Parameters
    ----------
    study : Study
    only : sequence of str, optional
        As for ``make_tasks``.
    resume : bool, optional
        Keep finished stores, which are verified and must belong to this study, and continue unfinished ones.
    overwrite : bool, optional
        Replace existing stores.
    threads : int, optional
        As for ``distribute.run``.
    workers : int, optional
        Start so many worker processes of dask on this machine.
    scheduler : str, optional
        Address of a dask scheduler that runs already.
    progress : bool, optional
    report : callable, optional
        Called with each task when it begins, its number from 1, and the number of tasks.

    Returns
    -------
    StudyResult

    Raises
    ------
    PwlnetError
        As for ``make_tasks`` and ``distribute.run``. What is finished is left for ``resume``.
    StoreError
        There are stores already, and neither ``resume`` nor ``overwrite`` was given.
    ImportError
        Workers need dask and distributed.
    """
    if resume and overwrite:
        raise InputError("resume and overwrite were given; give one of them")
    if workers is not None and scheduler is not None:
        raise InputError("workers and scheduler were given; give one of them")
    started, rows = time.monotonic(), []
    tasks = make_tasks(study, only=only)
    _check_existing(tasks, resume, overwrite)
    _make_folder(study.folder)
    earlier = _earlier(study.folder)
    try:
        with _client(workers, scheduler) as client:
            for number, task in enumerate(tasks, 1):
                if report is not None:
                    report(task, number, len(tasks))
                how = {"resume": resume, "overwrite": overwrite, "threads": threads, "progress": progress}
                row = _run_task(task, client, earlier.get(task.path.name, {}), **how)
                rows.append(row)
                earlier[task.path.name] = row
                _write_summary(study, earlier)
    except BaseException as error:
        error.__notes__ = [f"{len(rows)} of {len(tasks)} stores are finished in {study.folder}; --resume continues"]
        raise
    return StudyResult(study, rows, time.monotonic() - started)


@contextlib.contextmanager
def _client(workers, scheduler):
    """Provide a client of workers, or None for this process."""
    if workers is not None:
        with distribute.local_client(workers) as client:
            yield client
    elif scheduler is not None:
        from .._optional import require

        distributed = require("distributed", "dask", "a scheduler")
        try:
            client = distributed.Client(scheduler, timeout=_CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise InputError(f"scheduler is {scheduler!r}, which does not answer ({reason(error)}); start it first") from error
        with client:
            yield client
    else:
        yield None


_CONNECT_SECONDS = 30


def _check_existing(tasks, resume, overwrite):
    """Refuse stores that exist, unless they are continued or replaced."""
    existing = [task for task in tasks if task.path.exists()]
    if existing and not (resume or overwrite):
        more = f" and {len(existing) - 1} other stores exist" if len(existing) > 1 else " exists"
        raise StoreError(f"{existing[0].path}{more}; --resume continues the study, --overwrite replaces them")


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"folder {folder} can't be made ({reason(error)}); choose another with the key output") from error


def with_recorded_text(task: Task) -> distribute.Job:
    """Return the job of a task whose store exists, with the text of the study that the store records.

    The text may have changed since, in comments or in other analyses; settings and inputs are compared when the store is
    opened.
    """
    with store.open(task.path) as opened:
        recorded = opened.provenance["parameters"].get("study")
    if not isinstance(recorded, dict):
        raise StoreError(f"{task.path} was not written by a study; move it, or --overwrite replaces it")
    return dataclasses.replace(task.job, parameters={**task.job.parameters, "study": recorded})


def _run_task(task, client, earlier, *, resume, **how):
    """Compute the store of a task, or continue it: a row of the summary."""
    with at(task.place):
        is_there = resume and task.path.exists()
        job, before = task.job, 0
        if is_there:
            job = with_recorded_text(task)
            before = n_done(task, job)
        result = distribute.run(job, task.path, client=client, resume=resume, **how)
        kept = is_there and before == job.n_items
        if kept:
            _verify(task.path)
        row = {"analysis": task.name, "network": task.network_name, "kind": task.kind, "store": task.path.name}
        row |= {"status": "kept" if kept else "continued" if is_there else "computed", **describe_store(task.path)}
    seconds = result.seconds
    if is_there and earlier.get("digest") == row["digest"]:
        seconds = earlier.get("seconds", seconds)
    return {**row, "items": job.n_items, "unit": job.unit, "seconds": seconds}


def n_done(task: Task, job: distribute.Job) -> int:
    """Return how many items the store of a task has; DigestMismatchError if it is a store of something else."""
    with store.open(task.path) as opened:
        opened.check_made_with(job.network, dict(job.parameters), dict(job.seeds), job.tolerances)
        return _n_items(opened, job)


def _n_items(opened, job):
    """Return how many items of a job a store has; of regions all or none."""
    if job.kind == "regions":
        return job.n_items if opened.n_rows("enumeration_ends") else 0
    return opened.n_rows(job.kind)


def _verify(path):
    """Compare a finished store with its checksums."""
    with store.open(path) as opened:
        problems = opened.verify()
    if problems:
        raise ChecksumError(f"{problems[0]}; --only with --overwrite computes the store again")


def describe_store(path: Path) -> dict[str, Any]:
    """Return what a store holds: dict with ``results`` (numbers of rows by their names), ``bytes`` and ``digest``."""
    with store.open(path) as opened:
        counts = {"lines": opened.n_lines, "segments": opened.n_breakpoints - opened.n_lines} if opened.n_lines else {}
        counts |= {"planes": opened.n_planes, "polygons": opened.n_polygons} if opened.n_planes else {}
        for name in ("attributions", "float_sets", "certificates", "measures", "regions"):
            n = opened.n_rows(name)
            counts |= {name: int(n)} if n else {}
        digest = opened.digest()
    return {"results": counts, "bytes": path.stat().st_size, "digest": digest}


def _earlier(folder):
    """Read the rows of the summary of an earlier run, by store; none if there is no readable one."""
    try:
        rows = json.loads((folder / SUMMARY).read_text("utf-8"))["stores"]
        return {row["store"]: row for row in rows if isinstance(row["store"], str)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _summary(study, rows):
    return {"study": study.name, "sha256": study.sha256, "pwlnet": __version__, "stores": rows}


def _write_summary(study, rows):
    """Write the summary of all stores of the study that are finished, in the order of the file."""
    names = [f"{analysis['name']}.{network}.h5" for analysis in study.analyses for network in analysis["networks"]]
    known = [rows[name] for name in names if name in rows and (study.folder / name).exists()]
    content = json.dumps(_summary(study, known), indent=2) + "\n"
    publish(study.folder / SUMMARY, content.encode(), overwrite=True)
