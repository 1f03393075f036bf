"""Batch jobs on one machine or on many: shards on the workers of a dask cluster, merged into one store.

A *job* is what is computed for each of n items: lines, planes, attributions, sets of inputs, images, or the parts of a box
whose regions are enumerated. ``run`` computes it in this process or, with a ``distributed.Client``, on its workers; the digest
of the store is the same, whatever the number of workers and shards. dask is needed with a client only (extra ``dask``).

    lines_job, planes_job, attributions_job, floats_job, certificates_job, regions_job
                                          jobs
    run                                   compute one into a store
    local_client, warm_workers            workers of this machine; kernels of all machines
    merge_shards                          join the shards of a job that was interrupted

``jobs`` and the modules with names in ``_jobs`` define jobs, ``running`` runs them, ``shards`` has the files of workers,
``merging`` joins them, ``cluster`` deals with clients.
"""

from .cluster import local_client, warm_workers
from .jobs import Job
from .line_jobs import attributions_job, lines_job
from .merging import merge_shards
from .plane_jobs import planes_job
from .region_jobs import regions_job
from .running import JobResult, run
from .set_jobs import certificates_job, floats_job

__all__ = [
    "Job",
    "JobResult",
    "attributions_job",
    "certificates_job",
    "floats_job",
    "lines_job",
    "local_client",
    "merge_shards",
    "planes_job",
    "regions_job",
    "run",
    "warm_workers",
]
