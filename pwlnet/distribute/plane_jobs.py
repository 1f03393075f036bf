"""Partitions of planes as a job."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from ..network import Network
from ..validation import check_count
from .jobs import Job


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PlanesJob(Job):
    """Partitions of planes, each computed alone: bounds of errors then do not depend on the planes beside it."""

    kind: ClassVar[str] = "planes"
    unit: ClassVar[str] = "plane"

    planes: Sequence[Any] = dataclasses.field(repr=False)

    @property
    def steps(self):
        """Names of the steps of ``pwlnet.warmup`` that compile its kernels."""
        return ("forward", "planes")

    def compute(self, first, last, *, threads=None):
        """Compute items ``first`` to ``last`` (not included): dict of arrays by field."""
        from ..partition.planes.partitions import PlanePartitions, partition_planes
        from ..store.planes import planes_to_arrays

        planes = self.planes[first:last]
        made = [partition_planes(self.network, *plane, threads=threads) for plane in planes]
        parts = tuple(part for partitions in made for part in partitions.parts)
        return planes_to_arrays(PlanePartitions(self.network, tuple(planes), parts))

    def slice(self, first, last):
        """Return the fields that hold items ``first`` to ``last`` (not included): dict."""
        return {"planes": self.planes[first:last]}

    def _inputs(self, first, last):
        return [list(column) for column in zip(*self.planes[first:last], strict=True)]


def planes_job(
    network: Network,
    origins: ArrayLike,
    e1: ArrayLike,
    e2: ArrayLike,
    polygons: ArrayLike | Sequence[ArrayLike],
    *,
    batch: int = 8,
    parameters: Mapping[str, Any] | None = None,
    seeds: Mapping[str, int] | None = None,
) -> Job:
    """Describe partitions of planes as a job.

    Exact, as ``partition_planes``; each plane is partitioned alone.

    Parameters
    ----------
    network : Network
    origins, e1, e2, polygons
        As for ``partition_planes``.
    batch : int, optional
        Planes that are in memory and committed together; results do not depend on it.
    parameters, seeds
        As for ``lines_job``.

    Returns
    -------
    Job
        Items are planes.

    Raises
    ------
    ShapeError, InputError
        As for ``partition_planes``; or there are no planes.

    See Also
    --------
    pwlnet.store.save_large_plane : one plane with more polygons than fit into memory.
    """
    from ..partition.planes.polygons import as_planes

    planes = as_planes(network, origins, e1, e2, polygons)
    options = {"batch": check_count(batch, "batch"), "seeds": dict(seeds or {})}
    return PlanesJob(network=network, n_items=len(planes), planes=planes, **options)._finished(parameters)
