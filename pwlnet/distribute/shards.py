"""Shards: stores of parts of a job, one file each, in a folder beside the store of the whole."""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import PwlnetError, StoreError
from ..publishing import new_file
from ..store import create
from ..store.reader import RegionStore
from .jobs import Job

_NAME = re.compile(r"(\d{12})-(\d{12})\.h5")


class Shard(NamedTuple):
    """Items ``first`` to ``last`` (not included) of a job, and their file."""

    first: int
    last: int
    path: Path


class Computed(NamedTuple):
    """What a worker reports of a shard."""

    first: int
    last: int
    seconds: float
    error: PwlnetError | None
    content: bytes | None  # of the file, where it is not written to a shared folder


def folder_of(path: str | os.PathLike[str]) -> Path:
    """Return the folder of the shards of a store."""
    path = Path(path)
    return path.with_name(f"{path.name}.shards")


def shard_path(folder: Path, first: int, last: int) -> Path:
    """Return the path of a shard, which names its items."""
    return folder / f"{first:012d}-{last:012d}.h5"


def list_shards(folder: Path) -> list[Shard]:
    """List the shards of a folder, by their names, in order; of those that begin with the same item the longest one first."""
    if not folder.is_dir():
        return []
    names = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    shards = [Shard(int(match[1]), int(match[2]), path) for match, path in names]
    return sorted(shards, key=lambda shard: (shard.first, -shard.last))


def plan(job: Job, folder: Path, done: int, size: int) -> list[tuple[Shard, bool]]:
    """Cover the items of a job from ``done`` on by shards that exist and by new ones.

    Parameters
    ----------
    job : Job
    folder : pathlib.Path
    done : int
        Items that the store has already; a shard that begins before is used for the rest.
    size : int
        Items of a new shard.

    Returns
    -------
    list of (Shard, bool)
        In order; whether it exists.

    Raises
    ------
    StoreError
        A shard is damaged, or of another job.
    """
    planned, next_item = [], done
    for shard in [*list_shards(folder), Shard(job.n_items, job.n_items, folder)]:
        if shard.last <= next_item and shard.last < job.n_items:
            continue
        if shard.first > next_item or (shard.first == job.n_items > next_item):
            planned += new_shards(job, folder, next_item, shard.first, size)
            next_item = shard.first
        if shard.first <= next_item < shard.last:
            with opened_shard(job, shard):
                planned.append((shard, True))
            next_item = shard.last
    return planned


def new_shards(job: Job, folder: Path, first: int, last: int, size: int) -> list[tuple[Shard, bool]]:
    """Divide items into new shards, which end at multiples of the job's batch: results may depend on what is in a batch."""
    size = -(-size // job.batch) * job.batch
    cuts = [first, *range(first - first % job.batch + size, last, size), last]
    return [(Shard(a, b, shard_path(folder, a, b)), False) for a, b in itertools.pairwise(cuts) if a < b]


@contextlib.contextmanager
def opened_shard(job: Job, shard: Shard) -> Iterator[RegionStore]:
    """Open a shard, and refuse it if it is damaged, incomplete or of another job (StoreError)."""
    with RegionStore(shard.path) as stored:
        stored.check_made_with(job.network, dict(job.parameters), dict(job.seeds), job.tolerances)
        n = stored.n_rows("enumeration_ends" if job.kind == "regions" else job.kind)
        needed = 1 if job.kind == "regions" else shard.last - shard.first
        if n != needed or not stored.is_verified:
            raise StoreError(f"{shard.path} is not a complete shard; remove it, and resume the job")
        yield stored


def compute_shard(
    job: Job, fields: dict[str, Any], first: int, last: int, path: str, compression: str, threads: int, shared: bool
) -> Computed:
    """Compute items ``first`` to ``last`` (not included) of a job into a shard; runs on a worker.

    Parameters
    ----------
    job : Job
        Without its items.
    fields : dict
        Of ``Job.slice``, for these items.
    first, last : int
    path : str
        Of the shard. If it exists, another attempt has completed it.
    compression : str
    threads : int
    shared : bool
        The folder is shared with the client; otherwise the content of the file is returned.

    Returns
    -------
    Computed
        With the error that the part raises: it would be raised again by each attempt.
    """
    start, target, content, raised = time.perf_counter(), Path(path), None, None
    part = job.with_items(first, last, fields)
    try:
        if shared:
            _write(part, target, compression, threads)
        else:
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                _write(part, Path(folder) / target.name, compression, threads)
                content = (Path(folder) / target.name).read_bytes()
    except PwlnetError as error:
        raised = error
    return Computed(first, last, time.perf_counter() - start, raised, content)


def _write(part, path, compression, threads):
    """Write a shard, unless another attempt has completed it; it appears complete or not at all."""
    if path.exists():
        # A shard of another job, whose tasks went on after it was interrupted, is replaced.
        with contextlib.suppress(StoreError), opened_shard(part, Shard(0, part.n_items, path)):
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    made_with = {"parameters": dict(part.parameters), "seeds": dict(part.seeds), "tolerances": part.tolerances}
    how = {"threads": threads, "compression": compression}
    with new_file(path, overwrite=True) as temporary, create(temporary, part.network, **made_with, **how) as writer:
        for _ in part.append(writer, threads=threads):
            pass
