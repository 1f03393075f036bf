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
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import distribute, store
from ..errors import InputError
from ..kernels import _jit
from ..store import schema
from ..store.regions import block_to_arrays
from ..store.results import axis_sizes
from .reading import Study, at
from .running import n_done, with_recorded_text
from .tasks import Task, make_tasks

CONFIDENCE = 0.95
_BLOCKS = 12  # blocks of a task, at least, if it has so many items
_LARGEST_BLOCK = 64
_DATASET_BYTES = 3400  # of an empty dataset of HDF5
_SHORTEST = 2.0**-14  # seconds; clocks do not show less
_GZIP_LEVEL = 1  # as stores are compressed
_FEWEST = 3  # blocks whose spread says something
_PATIENCE = 4.0  # how many times the given time may be exceeded for so many blocks, and for a cell to be complete
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
        row: dict[str, Any] = {"analysis": task.name, "network": task.network_name, "kind": task.kind, "store": task.path.name}
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
    job, rng = task.job, np.random.default_rng([seed, zlib.crc32(task.path.name.encode())])
    sampler = (_RegionSampler if job.kind == "regions" else _ItemSampler)(job, threads)
    table, is_cut_off = _draw(sampler, job.n_items, limit, rng)
    results, size, seconds = (_total(table[:, 0], table[:, k], job.n_items, is_cut_off) for k in (1, 2, 3))
    missing = (job.n_items - done) / job.n_items
    times = [missing * x if missing else 0.0 for x in (seconds.value, seconds.low, seconds.high)]
    empty = _empty_bytes(job)
    size = Range(*(empty + x for x in (size.value, size.low, size.high)))
    return TaskEstimate(task, done, int(table[:, 0].sum()), _NAMES[job.kind], results, size, Range(*times))


def _draw(sampler, n, limit, rng):
    """Compute random blocks until the time is over: items, results, bytes, seconds of each; and whether one was cut off."""
    rows, parts, is_cut_off = [], {}, False
    one = int(rng.integers(n))
    for _ in range(2):  # the first one loads the kernels, unless it takes long by itself
        start = time.perf_counter() - _jit.compile_seconds()
        sampler.compute(one, one + 1, time.perf_counter() + limit)
        each = max(time.perf_counter() - _jit.compile_seconds() - start, _SHORTEST)
        if each > limit:
            break
    size = max(1, min(_LARGEST_BLOCK, n // _BLOCKS, int(limit / (_BLOCKS * each))))
    cuts, start = [*range(0, n, size), n], time.perf_counter()
    for k in rng.permutation(len(cuts) - 1):
        n_results, arrays, seconds, is_cut_off = sampler.compute(cuts[k], cuts[k + 1], start + _PATIENCE * limit)
        rows.append((cuts[k + 1] - cuts[k], n_results, 0.0, seconds))
        for name, array in arrays:
            parts.setdefault(name, []).append(_shuffled(array))
        if is_cut_off or _is_enough(time.perf_counter() - start, limit, len(rows)):
            break
    before = time.perf_counter()
    packed = sum(len(zlib.compress(b"".join(each), _GZIP_LEVEL)) for each in parts.values())
    packing, table = time.perf_counter() - before, np.array(rows, np.float64)
    share = table[:, 1] / max(1.0, table[:, 1].sum())
    table[:, 2], table[:, 3] = packed * share, table[:, 3] + packing * share
    return table, is_cut_off


def _is_enough(seconds, limit, n_blocks):
    """Return whether no further block is computed."""
    return seconds > (limit if n_blocks >= _FEWEST else _PATIENCE * limit)


def _shuffled(array):
    """Return the bytes of an array as stores compress them: the first bytes of all numbers, then the second ones, ..."""
    array = np.ascontiguousarray(array)
    return np.ascontiguousarray(array.reshape(-1).view(np.uint8).reshape(array.size, array.itemsize).T).tobytes()


def _total(items, values, n, is_cut_off):
    """Estimate the total of values over n items, from blocks with some of them: Range.

    The estimate is the ratio of sums, times n. A block that was cut off counts with what it had: its total is a lower bound.
    """
    from scipy.special import stdtrit

    seen = max(0.0, float(values.sum()))
    if not items.sum():
        return Range(seen, 0.0, math.inf)
    mean, m = seen / items.sum(), len(items)
    total = mean * n
    if items.sum() >= n:
        return Range(seen, seen, math.inf if is_cut_off else seen)
    if m < _FEWEST:
        return Range(total, seen, math.inf)
    deviations = values - mean * items
    rest = 1.0 - items.sum() / n
    error = n / items.sum() * math.sqrt(m * rest * (deviations**2).sum() / (m - 1))
    reach = float(stdtrit(m - 1, 0.5 + CONFIDENCE / 2)) * error
    return Range(total, max(seen, total - reach), math.inf if is_cut_off else total + reach)


def _empty_bytes(job):
    """Return the bytes of a store whose results are empty."""
    made_with = {"parameters": dict(job.parameters), "seeds": dict(job.seeds), "tolerances": job.tolerances}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.h5"
        store.create(path, job.network, **made_with).close()
        n_datasets = 0 if job.kind == "lines" else len(schema.KINDS[job.kind].stored)  # those of lines are always there
        return path.stat().st_size + n_datasets * _DATASET_BYTES


class _ItemSampler:
    """Compute blocks of a job whose items are independent."""

    def __init__(self, job: distribute.Job, threads: int | None):
        self.job, self.threads = job, threads

    def compute(self, first, last, deadline):
        """Compute a block: number of results, arrays by name, seconds, and False: it is complete."""
        start = time.perf_counter()
        arrays = self.job.compute(first, last, threads=self.threads)
        return self._count(arrays), list(arrays.items()), time.perf_counter() - start, False

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
    """Enumerate the regions of blocks of cells of a box."""

    def __init__(self, job: distribute.Job, threads: int | None):
        self.job, self.threads = job, threads

    def compute(self, first, last, deadline):
        """Enumerate a block: number of regions, arrays, seconds, and whether the time was over before it was complete."""
        enumeration, n, arrays = self.job.part(first, last)._enumeration(), 0, []
        sizes, start, is_cut_off = axis_sizes(self.job.network), time.perf_counter(), False
        enumeration.search.make_tasks()  # a block does it again, a run does it once
        cut_seconds = time.perf_counter() - start
        enumeration = self.job.part(first, last)._enumeration()
        start = time.perf_counter()
        blocks = enumeration.blocks(self.threads, tasks=True, start=(2 * first, 0), last_task=last)
        with contextlib.closing(blocks):
            for block, _ in blocks:
                n += len(block)
                arrays += block_to_arrays(block, self.job.header(), sizes).items()
                if time.perf_counter() > deadline:
                    is_cut_off = True
                    break
        return n, arrays, time.perf_counter() - start - cut_seconds, is_cut_off  # the mean is right, a block may be below 0
