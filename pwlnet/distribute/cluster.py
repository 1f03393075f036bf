"""Workers of a dask cluster: local ones, and kernels that are compiled before they are needed."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from .._optional import require
from .._version import __version__
from ..errors import InputError
from ..validation import check_count

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@contextlib.contextmanager
def local_client(n_workers: int | None = None, *, threads: int = 1, memory_limit: str | int | None = None) -> Iterator[Any]:
    """Start worker processes of dask on this machine: a context with their client.

    Parameters
    ----------
    n_workers : int, optional
        Number of processes; one for each processor by default.
    threads : int, optional
        Processors that each worker has for itself; see ``run``.
    memory_limit : str or int, optional
        Of each worker, as for ``distributed.LocalCluster``; by default its share of the machine's memory.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ImportError
        dask or distributed are not installed.
    InputError
        The numbers are not valid.

    Examples
    --------
    >>> import pwlnet
    >>> with pwlnet.distribute.local_client(2) as client:  # doctest: +SKIP
    ...     pwlnet.distribute.run(job, "lines.h5", client=client)
    """
    distributed = require("distributed", "dask", "local_client")
    from ..scheduling import n_threads

    count = check_count(n_workers, "n_workers", or_none="all processors")
    count = max(1, n_threads() // check_count(threads, "threads")) if count is None else count
    import dask

    before = dask.config.get("distributed.nanny.pre-spawn-environ", {})
    # With dask's threshold, glibc returns each large array to the system, and gets it back page by page: a tenth of the time.
    kept = {name: value for name, value in before.items() if name != "MALLOC_TRIM_THRESHOLD_"}
    settings = {"distributed.nanny.pre-spawn-environ": {**kept, **_ENVIRONMENT}}
    options = {"n_workers": count, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    memory = {} if memory_limit is None else {"memory_limit": memory_limit}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(**options, **memory) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def warm_workers(client: Any, steps: Sequence[str] | None = None) -> dict[str, float]:
    """Compile kernels on one worker of each machine, or load them from the cache on disk; the other workers load them.

    ``run`` does it for the kernels that its job needs.

    Parameters
    ----------
    client : distributed.Client
    steps : sequence of str, optional
        Names of ``pwlnet.warmup.STEPS``; all by default.

    Returns
    -------
    dict of str to float
        Seconds, by machine.

    Raises
    ------
    InputError
        This is no client, it has no workers, or they have another version of pwlnet.
    """
    hosts: dict[str, str] = {}
    for address, worker in workers_of(client).items():
        hosts.setdefault(str(worker.get("host", address)), address)
    options = {"pure": False, "allow_other_workers": False}
    futures = {host: client.submit(_warm, steps, workers=[address], **options) for host, address in hosts.items()}
    seconds = {}
    for host, (version, elapsed) in zip(futures, client.gather(list(futures.values())), strict=True):
        if version != __version__:
            raise InputError(f"workers on {host} have pwlnet {version}, and this is {__version__}; install the same version")
        seconds[host] = elapsed
    return seconds


def workers_of(client: Any) -> dict[str, Any]:
    """Return the workers of a client, by address; InputError if there are none."""
    if not hasattr(client, "scheduler_info") or not hasattr(client, "submit"):
        raise InputError(f"client is a {type(client).__name__}; give a distributed.Client, or None for this process")
    client.wait_for_workers(1, timeout=_WAIT)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise InputError("the client has no workers; start some, such as those of local_client")
    return dict(workers)


_WAIT = 300.0  # seconds for the first worker of a cluster that starts


def _warm(steps):
    """Compile kernels on a worker: version of pwlnet, and seconds."""
    from ..warmup import compile_kernels

    return __version__, sum(compile_kernels(steps, processes=False, notice=False).values())
