"""Run a job: in this process, or on the workers of a client."""

import contextlib
import dataclasses
import os
import time
import warnings
from pathlib import Path
from typing import Any

from .._optional import require
from ..errors import CapacityError, InputError, StoreError
from ..publishing import new_file
from ..store import reader
from ..store.linking import linking
from ..validation import as_path, check_count
from .cluster import warm_workers, workers_of
from .jobs import Job
from .merging import Merger, ShardLinker, open_store, remove_folder
from .shards import Shard, compute_shard, folder_of, list_shards, plan

_SHARDS_PER_WORKER = 8  # at least, so that the last ones end at about the same time; a shard costs 40 ms
_QUEUED = 3  # shards per worker that are computed or wait for it


@dataclasses.dataclass(frozen=True)
class JobResult:
    """What ``run`` wrote.

    Attributes
    ----------
    path : pathlib.Path
        Of the store.
    kind : str
        Of its rows.
    n_items : int
    n_shards : int
        Shards that were computed now; 0 without a client.
    seconds : float
    """

    path: Path
    kind: str
    n_items: int
    n_shards: int
    seconds: float

    def digest(self) -> str:
        """Compute the SHA-256 (hex) of the results; it does not depend on how they were computed."""
        with reader.RegionStore(self.path) as stored:
            return stored.digest()


def run(
    job: Job,
    path: str | os.PathLike[str],
    *,
    client: Any = None,
    resume: bool = False,
    overwrite: bool = False,
    compression: str = "gzip",
    threads: int | None = None,
    shard: int | None = None,
    shared: bool = True,
    keep_shards: bool = False,
    linked: bool = False,
    retries: int = 2,
    progress: bool = False,
) -> JobResult:
    """Run a job and write its results to a store.

    Exact up to rounding, a sound bound or an estimate, as the job. The rows of the store, and so its digest, depend neither on
    the client nor on the numbers of workers, threads and shards.

    Parameters
    ----------
    job : Job
        Of ``lines_job``, ``planes_job``, ...
    path : str or path
        Of the store. With a client, workers write shards, stores of consecutive items, to the folder ``PATH.shards``.
    client : distributed.Client, optional
        Whose workers compute; this process by default.
    resume : bool, optional
        Continue a store that exists: whatever stopped the program, finished batches and shards are kept.
    overwrite : bool, optional
        Replace an existing store, and shards.
    compression : str, optional
        As for ``store.create``.
    threads : int, optional
        Of this process: all processors by default. Of a task on a worker: one by default, for one worker per processor; give
        the number of processors of a machine for one worker per machine.
    shard : int, optional
        Items of a shard; by default 8 or more shards for each worker. It is rounded up to a multiple of ``job.batch``.
    shared : bool, optional
        Whether all machines see the same ``path``. Otherwise the files of shards are sent to this process.
    keep_shards : bool, optional
        Keep the files of shards that are in the store; by default, they are removed one by one.
    linked : bool, optional
        Do not copy the rows of shards: the store names their files, as ``store.link``. Not for regions.
    retries : int, optional
        How often a shard is computed again after an error that is not one of pwlnet, such as a full disk. Shards of workers
        that end are computed again by others in any case.
    progress : bool, optional
        Show a progress bar.

    Returns
    -------
    JobResult

    Raises
    ------
    InputError
        Arguments that are not valid, workers with another version of pwlnet, or a folder that is not shared.
    CapacityError
        A shard ended several workers, one after the other: usually for want of memory.
    StoreError, DigestMismatchError
        As for ``store.create`` and ``store.resume``, and for shards of another job.

    Notes
    -----
    Shards are appended to the store in order while others are computed. This process reads each of them once and has one batch
    of it in memory. A task holds the inputs of its shard only; at most three shards for each worker are submitted at a time.

    Examples
    --------
    >>> import pwlnet, tempfile
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> job = pwlnet.distribute.lines_job(network, images[:4], images[4:8])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = pwlnet.distribute.run(job, f"{folder}/lines.h5")
    ...     result.n_items, len(result.digest())
    (4, 64)
    """
    if not isinstance(job, Job):
        raise InputError(f"job is a {type(job).__name__}; give the result of lines_job, planes_job, ...")
    path, started = as_path(path), time.monotonic()
    check_count(threads, "threads", or_none="the default")
    check_count(shard, "shard", or_none="the default")
    check_count(retries, "retries", least=0)
    if client is not None:
        workers_of(client)
    if linked:
        _check_linked(job, path, client, resume, overwrite)
    folder = folder_of(path)
    _check_folder(folder, resume, overwrite)
    options: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "compression": compression, "threads": threads}
    how: dict[str, Any] = {"compression": compression, "threads": threads or 1, "shared": shared, "retries": retries}
    if linked:
        return _run_linked(_Submission(client, job, folder, shard, **how), path, resume, overwrite, threads, progress)
    n_shards = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(open_store(job, path, **options))
        bar = stack.enter_context(contextlib.closing(_bar(job, progress)))
        try:
            if client is None:
                _run_here(job, writer, folder, bar, threads)
            else:
                n_shards = _Submission(client, job, folder, shard, **how).run(Merger(job, writer, keep=keep_shards), bar)
        except BaseException as error:
            error.add_note(f"{path} has the first {job.n_done(writer)} of {job.n_items} {job.unit}s; resume=True continues")
            raise
    remove_folder(folder)
    return JobResult(path, job.kind, job.n_items, n_shards, time.monotonic() - started)


def _run_linked(submission, path, resume, overwrite, threads, progress):
    """Compute the shards of a job, and make a store that names them: JobResult."""
    job, started = submission.job, time.monotonic()
    with (
        contextlib.closing(_bar(job, progress)) as bar,
        linking(path, overwrite=overwrite or resume, threads=threads) as linker,
    ):
        shards = ShardLinker(job, linker)
        n_shards = submission.run(shards, bar)
        if shards.done != job.n_items:
            raise StoreError(f"shards of {path} overlap, from runs with other sizes; merge_shards joins them, or begin again")
    return JobResult(path, job.kind, job.n_items, n_shards, time.monotonic() - started)


def _check_linked(job, path, client, resume, overwrite):
    """Refuse to link what can't be linked, or in place of an existing store."""
    if client is None or job.kind == "regions":
        why = "there is no client" if client is None else "regions can only be copied"
        raise InputError(f"linked is True, but {why}; leave it out")
    if path.exists() and not overwrite:
        if not resume:
            raise StoreError(f"{path} exists; give another path, or resume=True or overwrite=True")
        with reader.RegionStore(path) as stored:
            stored.check_made_with(job.network, dict(job.parameters), dict(job.seeds), job.tolerances)
            if not stored.is_linked:
                raise InputError(f"{path} was begun without linked=True; continue it so")


def _check_folder(folder, resume, overwrite):
    """Refuse, or remove, shards of an earlier run, unless it is resumed."""
    if resume or not folder.exists():
        return
    if not overwrite:
        raise StoreError(f"{folder} exists, with shards of an earlier run; give resume=True, or overwrite=True to remove them")
    for shard in list_shards(folder):
        shard.path.unlink()
    remove_folder(folder)


def _bar(job, progress):
    """Return a progress bar of items on stderr; one that shows nothing where ``progress`` is False."""
    from tqdm import tqdm

    return tqdm(total=job.n_items, unit=job.unit, disable=not progress)


def _reach(bar, n):
    """Set the number of finished items."""
    bar.update(n - bar.n)


def _run_here(job, writer, folder, bar, threads):
    """Compute what a store does not have, in this process; shards of an interrupted run are used as far as they follow it."""
    if folder.exists():
        merger = Merger(job, writer, keep=False)
        for shard, exists in plan(job, folder, merger.done, job.n_items):
            if not exists:
                break
            merger.add(shard)
            merger.append_next()
    _reach(bar, job.n_done(writer))
    for done in job.append(writer, threads=threads):
        _reach(bar, done)
    for shard in list_shards(folder):
        shard.path.unlink()


class _Submission:
    """The shards of a job that are computed on the workers of a client."""

    def __init__(self, client, job, folder, size, *, compression, threads, shared, retries):
        self._client, self.job, self._folder = client, job, folder
        self._options, self._retries = (compression, threads, shared), retries
        warm_workers(client, job.steps)
        n_workers = len(workers_of(client))
        self._size = max(1, -(-job.n_items // (_SHARDS_PER_WORKER * n_workers))) if size is None else size
        self._active: dict[Any, Shard] = {}
        self._done, self._queue, self._common = None, iter(()), None

    def run(self, merger, bar):
        """Compute and append all shards that are missing: number of those that were computed."""
        distributed = require("distributed", "dask", "a client")
        planned = plan(self.job, self._folder, merger.done, self._size)
        for shard, exists in planned:
            if exists:
                merger.add(shard)
        new = [shard for shard, exists in planned if not exists]
        _reach(bar, self.job.n_items - sum(shard.last - shard.first for shard in new))
        self._queue, self._done = iter(new), distributed.as_completed()
        self._folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # networks and inputs may be large
            self._common = self._client.submit(_same, self.job.with_items(0, 0, self.job.slice(0, 0)), pure=False)
            try:
                self._work(merger, bar)
            except BaseException:
                self._client.cancel([*self._active, self._common], force=True)
                raise
        return len(new)

    def _work(self, merger, bar):
        """Submit shards, and append those that are finished in between."""
        self._submit()
        while self._active or merger.next_shard is not None:
            if self._active and (merger.next_shard is None or self._done.has_ready()):
                future = next(self._done)
                shard = self._active.pop(future)
                self._receive(future, shard)
                self._submit()
                merger.add(shard)
                bar.update(shard.last - shard.first)
            else:
                merger.append_next()

    def _submit(self):
        """Submit as many shards as keep the workers busy: tasks hold their inputs."""
        most = max(1, _QUEUED * len(self._client.scheduler_info(n_workers=-1)["workers"]))
        while len(self._active) < most:
            shard = next(self._queue, None)
            if shard is None:
                return
            fields = self.job.slice(shard.first, shard.last)
            arguments = (self._common, fields, shard.first, shard.last, str(shard.path.absolute()), *self._options)
            future = self._client.submit(compute_shard, *arguments, pure=False, retries=self._retries)
            self._active[future] = shard
            self._done.add(future)

    def _receive(self, future, shard):
        """Take the result of a shard, or raise its error."""
        computed = self._result(future, shard)
        if computed.error is not None:
            computed.error.add_note(f"in {self.job.unit}s {shard.first} to {shard.last - 1}")
            raise computed.error
        if computed.content is not None:
            with new_file(shard.path, overwrite=True) as temporary:
                temporary.write_bytes(computed.content)
        if not shard.path.exists():
            raise InputError(
                f"a worker wrote {shard.path.name} to {self._folder}, which this process does not see; give a path in a folder "
                "that all machines share, or shared=False"
            )

    def _result(self, future, shard):
        """Return what a worker reports of a shard."""
        from distributed.scheduler import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            raise CapacityError(
                f"{self.job.unit}s {shard.first} to {shard.last - 1} ended several workers, one after the other, usually for "
                "want of memory; give workers more of it, or a smaller shard, and resume=True"
            ) from error


def _same(job):
    """Return the job: a task whose result workers share, and which is computed again if its worker ends."""
    return job
