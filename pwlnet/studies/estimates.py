"""What a run of a study would take: small random samples of its tasks, and what they say about the whole.

Items that follow each other form a block. Blocks are drawn without replacement and computed as a run computes them; the range
of a total is that of Student's t for the mean of the blocks, with the correction for a finite number of blocks [1]_.

References
----------
.. [1] Cochran, "Sampling Techniques", 3rd edition, 1977, Sections 2.6 (finite populations) and 2.8 (confidence limits).
"""

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import distribute, store
from ..errors import InputError
from .reading import Study, at
from .running import n_done, with_recorded_text
from .tasks import Task, make_tasks

CONFIDENCE = 0.95
_BLOCKS = 32  # blocks of a task, if it has so many items
_LARGEST_BLOCK = 16
_FEWEST = 3  # blocks whose spread says something
_PATIENCE = 4.0  # how many times the given time may be exceeded for so many blocks, and for a cell to be complete
_COMMITTED_SEGMENTS = 2**20  # about the segments of lines that a run commits together
_NAMES = {
    "lines": "segments",
    "attributions": "segments",
    "planes": "polygons",
    "float_sets": "float_sets",
    "certificates": "certificates",
    "measures": "measures",
    "regions": "regions",
}


@dataclasses.dataclass(frozen=True)
class Range:
    """An estimate of a total with its range.

    Attributes
    ----------
    value : float
    low, high : float
        Of 95 % confidence, by the spread of the blocks. ``high`` is inf if the sample says nothing about the rest.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return a dict of JSON values; None: not known."""
        return {name: None if math.isinf(x) else x for name, x in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class TaskEstimate:
    """What a task would take.

    Attributes
    ----------
    task : Task
    n_done : int
        Items that the store has already.
    n_sampled : int
        Items that were computed for the estimate.
    counted : str
        What ``results`` counts: segments, polygons, regions, ...
    results, bytes : Range
        Of the whole store.
    seconds : Range
        Of the items that are missing.
    """

    task: Task
    n_done: int
    n_sampled: int
    counted: str
    results: Range
    bytes: Range
    seconds: Range

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of JSON values."""
        task = self.task
        row = {"analysis": task.name, "network": task.network_name, "kind": task.kind, "store": task.path.name}
        row |= {"items": task.job.n_items, "unit": task.job.unit, "done": self.n_done, "sampled": self.n_sampled}
        row |= {"counted": self.counted}
        return {**row, **{name: getattr(self, name).to_dict() for name in ("results", "bytes", "seconds")}}


def estimate_study(
    study: Study,
    *,
    only: Sequence[str] = (),
    resume: bool = False,
    threads: int | None = None,
    seconds: float = 2.0,
) -> list[TaskEstimate]:
    """Estimate what a run would take, by computing a small random sample of each task.

    Estimate: with ranges of 95 % confidence if blocks are nearly normally distributed. Numbers of regions in the cells of a box
    are not: a few cells have most regions, so that a small sample tends to find too few.

    Parameters
    ----------
    study : Study
    only : sequence of str, optional
        As for ``make_tasks``.
    resume : bool, optional
        Subtract from the seconds what existing stores have.
    threads : int, optional
        As for the run in this process.
    seconds : float, optional
        Time for the sample of each task; exceeded by the time of one block, up to four times where three blocks, or a cell of
        a box, take longer, and by compilation.

    Returns
    -------
    list of TaskEstimate

    Raises
    ------
    PwlnetError
        As for ``make_tasks``; or, with ``resume``, a store of something else.
    """
    if not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
        raise InputError(f"seconds is {seconds}; give a number above 0")
    tasks = make_tasks(study, only=only)
    estimates = []
    for task in tasks:
        with at(task.place):
            done = n_done(task, with_recorded_text(task)) if resume and task.path.exists() else 0
            estimates.append(_estimate(task, done, threads, seconds, study.seed))
    return estimates


def _estimate(task, done, threads, limit, seed):
    """Estimate what a task takes: TaskEstimate."""
    job = task.job
    size = max(1, min(_LARGEST_BLOCK, job.n_items // _BLOCKS))
    cuts = [*range(0, job.n_items, size), job.n_items]
    order = np.random.default_rng(seed).permutation(len(cuts) - 1)
    sampler = _RegionSampler if job.kind == "regions" else _ItemSampler
    with tempfile.TemporaryDirectory() as folder:
        empty = _empty_bytes(job, Path(folder))
        blocks, is_cut_off = sampler(job, Path(folder), threads, empty).draw([(cuts[k], cuts[k + 1]) for k in order], limit)
    table = np.array(blocks, np.float64).reshape(-1, 4)  # items, results, bytes, seconds
    columns = [_total(table[:, 0], table[:, k], job.n_items, is_cut_off) for k in (1, 2, 3)]
    results, size_range, time_range = columns
    missing = (job.n_items - done) / job.n_items
    times = [missing * x if missing else 0.0 for x in (time_range.value, time_range.low, time_range.high)]
    size_range = Range(*(empty + x for x in (size_range.value, size_range.low, size_range.high)))
    sampled = int(table[:, 0].sum())
    return TaskEstimate(task, done, sampled, _NAMES[job.kind], results, size_range, Range(*times))


def _total(items, values, n, is_cut_off):
    """Estimate the total of values over n items, from blocks with some of them: Range.

    The estimate is the ratio of sums, times n. A block that was cut off counts with what it had: its total is a lower bound.
    """
    from scipy.special import stdtrit

    seen = float(values.sum())
    if not items.sum():
        return Range(seen, 0.0, math.inf)
    mean, m = seen / items.sum(), len(items)
    total = mean * n
    if items.sum() >= n:
        return Range(total, total, math.inf if is_cut_off else total)
    if m < _FEWEST:
        return Range(total, seen, math.inf)
    deviations = values - mean * items
    rest = 1.0 - items.sum() / n
    error = n / items.sum() * math.sqrt(m * rest * (deviations**2).sum() / (m - 1))
    reach = float(stdtrit(m - 1, 0.5 + CONFIDENCE / 2)) * error
    return Range(total, max(seen, total - reach), math.inf if is_cut_off else total + reach)


def _empty_bytes(job, folder):
    """Return the bytes of a store without results."""
    path = folder / "empty.h5"
    store.create(path, job.network, parameters=dict(job.parameters), seeds=dict(job.seeds), tolerances=job.tolerances).close()
    return path.stat().st_size


def _is_enough(seconds, limit, n_blocks):
    """Return whether no further block is computed."""
    return seconds > (limit if n_blocks >= _FEWEST else _PATIENCE * limit)


class _ItemSampler:
    """Compute blocks of a job whose items are independent, and write them to a store."""

    def __init__(self, job: distribute.Job, folder: Path, threads: int | None, empty: int):
        self.job, self.folder, self.threads, self.empty = job, folder, threads, empty

    def draw(self, blocks, limit):
        """Compute blocks until the time is over: list of (items, results, bytes, seconds), and whether one was cut off."""
        self.job.compute(blocks[0][0], blocks[0][0] + 1, threads=self.threads)  # loads the kernels
        path, rows = self.folder / "sample.h5", []
        start = time.perf_counter()
        with store.create(path, self.job.network, tolerances=self.job.tolerances) as writer:
            for first, last in blocks:
                begin = time.perf_counter()
                arrays = self.job.compute(first, last, threads=self.threads)
                computed = time.perf_counter()
                writer.append(self.job.kind, arrays)
                now = time.perf_counter()
                rows.append((last - first, self._count(arrays), computed - begin, now - computed))
                if _is_enough(now - start, limit, len(rows)):
                    break
        return self._with_bytes(np.array(rows), max(0, path.stat().st_size - self.empty)), False

    def _with_bytes(self, rows, grown):
        """Divide the growth of the file, which is in large pieces, by results; and count a commit for each batch only."""
        items, counts, seconds, writing = rows.T
        share = counts / max(1.0, counts.sum())
        batch = _COMMITTED_SEGMENTS * items.sum() / max(1.0, counts.sum()) if self.job.kind == "lines" else self.job.batch
        commit = writing.min()
        seconds = seconds + writing - commit + commit * np.minimum(1.0, items / batch)
        return np.stack([items, counts, grown * share, seconds], axis=1)

    def _count(self, arrays):
        """Return the number of results of a block."""
        if self.job.kind == "lines":
            return len(arrays["t"]) - len(arrays["starts"])
        if self.job.kind == "attributions":
            return int(arrays["n_segments"].sum())
        if self.job.kind == "planes":
            return len(arrays["areas"])
        return len(next(iter(arrays.values())))


class _RegionSampler:
    """Enumerate the regions of random cells of a box, and write them to a store."""

    def __init__(self, job: distribute.Job, folder: Path, threads: int | None, empty: int):
        self.job, self.folder, self.threads, self.empty = job, folder, threads, empty

    def draw(self, blocks, limit):
        """Enumerate cells until the time is over: list of (items, results, bytes, seconds), and whether one was cut off."""
        rows, is_cut_off, start = [], False, time.perf_counter()
        for first, last in blocks:
            row, is_cut_off = self._cells(first, last, start + _PATIENCE * limit)
            rows.append(row)
            if is_cut_off or _is_enough(time.perf_counter() - start, limit, len(rows)):
                break
        return rows, is_cut_off

    def _cells(self, first, last, deadline):
        """Enumerate the regions of some cells: a row of the sample, and whether the time was over before they were complete."""
        path, n, is_cut_off = self.folder / f"{first}.h5", 0, False
        enumeration = self.job.part(first, last)._enumeration()
        enumeration.search.make_tasks()  # a run cuts the box once
        before = time.perf_counter()

        def found():
            nonlocal n, is_cut_off
            stream = enumeration.blocks(self.threads, tasks=True, start=(2 * first, 0), last_task=last)
            with contextlib.closing(stream):
                for block, _ in stream:
                    n += len(block)
                    yield block, None
                    if time.perf_counter() > deadline:
                        is_cut_off = True
                        return

        with store.create(path, self.job.network, parameters=dict(self.job.parameters)) as writer:
            store.append_regions(writer, self.job.header(), found())
        seconds = time.perf_counter() - before
        grown = max(0, path.stat().st_size - self.empty)
        path.unlink()
        return (last - first, n, grown, seconds), is_cut_off
