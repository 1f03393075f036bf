"""Join the shards of a job into one store, in order, as they are finished or afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, StoreError
from ..store.creation import open_or_create
from ..validation import as_path
from .jobs import Job
from .shards import Shard, folder_of, list_shards, opened_shard, plan

if TYPE_CHECKING:
    from ..store.linking import Linker
    from ..store.writer import StoreWriter


class _Shards:
    """The complete shards of a job that wait for those before them.

    Attributes
    ----------
    done : int
        Items of the shards that were appended.
    """

    def __init__(self, job: Job, done: int) -> None:
        self.done, self._job = done, job
        self._waiting: dict[int, Shard] = {}

    def add(self, shard: Shard) -> None:
        """Note a shard that is complete."""
        self._waiting[shard.first] = shard


class Merger(_Shards):
    """The store of a whole job, to which shards are appended in order.

    Parameters
    ----------
    job : Job
    writer : StoreWriter
    keep : bool
        Keep the files of shards that were appended.
    """

    def __init__(self, job: Job, writer: StoreWriter, *, keep: bool) -> None:
        job.finish_started(writer)
        super().__init__(job, job.n_done(writer))
        self._writer, self._keep = writer, keep
        self._state: dict | None = None

    @property
    def next_shard(self) -> Shard | None:
        """The shard that can be appended now, if it is complete."""
        first = min((first for first in self._waiting if first <= self.done), default=None)
        return None if first is None else self._waiting[first]

    def append_next(self) -> None:
        """Append the shard that follows, and remove its file."""
        shard = self.next_shard
        if shard is None:
            raise StoreError(f"the shard that begins with item {self.done} is missing; resume the job")
        with opened_shard(self._job, shard) as stored:
            self._state = self._job.copy(stored, self._writer, shard.first, shard.last, self._state)
        del self._waiting[shard.first]
        self.done = shard.last
        if not self._keep:
            shard.path.unlink()


class ShardLinker(_Shards):
    """A store that names the shards of a job, which stay where they are; has the interface of Merger.

    Parameters
    ----------
    job : Job
    linker : store.linking.Linker
    """

    def __init__(self, job: Job, linker: Linker) -> None:
        super().__init__(job, 0)
        self._linker = linker

    @property
    def next_shard(self) -> Shard | None:
        """The shard that can be appended now, if it is complete; one that overlaps with others can't be linked."""
        return self._waiting.get(self.done)

    def append_next(self) -> None:
        """Append the shard that follows."""
        shard = self._waiting.pop(self.done)
        with opened_shard(self._job, shard):
            self._linker.add(shard.path)
        self.done = shard.last


@contextlib.contextmanager
def open_store(
    job: Job,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    compression: str = "gzip",
    threads: int | None = None,
) -> Iterator[StoreWriter]:
    """Create the store of a job, or continue it: a context with the StoreWriter. A new store without rows is removed again."""
    path = as_path(path)
    is_new = not (resume and path.exists())
    made_with = {"parameters": dict(job.parameters), "seeds": dict(job.seeds), "tolerances": job.tolerances}
    with open_or_create(path, job.network, resume, overwrite, compression, {**made_with, "threads": threads}) as writer:
        try:
            yield writer
        except BaseException:
            if is_new and writer.is_empty:
                writer.close()
                path.unlink(missing_ok=True)
            raise


def merge_shards(job: Job, path: str | os.PathLike[str], *, keep: bool = False, compression: str = "gzip") -> int:
    """Join the shards of a job that was interrupted, as far as they follow each other.

    Parameters
    ----------
    job : Job
        The same job.
    path : str or path
        The store, as for ``run``; its shards are in the folder ``PATH.shards``. It is continued if it exists.
    keep : bool, optional
        Keep the shards.
    compression : str, optional
        Of a new store.

    Returns
    -------
    int
        Number of items that the store has now. ``run(..., resume=True)`` computes the others.

    Raises
    ------
    InputError
        There are no shards.
    StoreError, DigestMismatchError
        The store, or a shard, is damaged or of another job.
    """
    folder = folder_of(path)
    if not list_shards(folder):
        raise InputError(f"{folder} has no shards; give the path that run was called with")
    with open_store(job, path, resume=True, compression=compression) as writer:
        merger = Merger(job, writer, keep=keep)
        for shard, exists in plan(job, folder, merger.done, job.n_items):
            if not exists:
                break
            merger.add(shard)
            merger.append_next()
        done = merger.done
    remove_folder(folder)
    return done


def remove_folder(folder: Path) -> None:
    """Remove the folder of shards, if it is empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()
