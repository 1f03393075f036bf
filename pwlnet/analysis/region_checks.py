"""Checks of enumerated regions that do not use how they were found.

Legend: D inputs, O outputs, R regions, F free inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import PathLike
from ..convert.source import open_source
from ..errors import MissingDataError
from ..partition.regions.graph import region_graph
from ..tolerances import REGION_CHECK
from ..validation import check_count

if TYPE_CHECKING:
    from ..partition.regions.regions import Regions


class RegionCheck(NamedTuple):
    """What ``Regions.verify`` has compared."""

    n_regions: int
    complete: bool
    n_equal: int  # pairs of regions with equal patterns (and classes)
    n_wrong_witnesses: int  # witnesses outside the box or polytope, or with another pattern by a forward pass
    output_error: float  # largest difference of outputs at witnesses from affine maps, relative to the largest output
    volume_error: float  # difference of the sum of volumes from the domain's volume, relative to this; NaN if not known
    n_one_sided: int  # facets whose neighbour has no facet with this region behind it
    n_components: int  # connected components of the graph of regions: 1 for all of a convex set
    n_missing: int  # of random points: those whose pattern is not among the regions; 0 if not complete
    source: str | None  # what evaluated the source of the network
    source_error: float | None  # largest difference of its outputs at witnesses, relative to the largest output

    @property
    def ok(self) -> bool:
        """Whether all comparisons agree; ``source_error`` is in the precision of the source, and is left to the reader."""
        counts = self.n_equal, self.n_wrong_witnesses, self.n_one_sided, self.n_missing
        errors = np.nan_to_num([self.output_error, self.volume_error])
        in_one_piece = self.n_components == 1 or not self.complete
        return bool(not any(counts) and (errors <= REGION_CHECK).all() and in_one_piece)


def check_regions(
    regions: Regions,
    *,
    source: Callable[..., Any] | PathLike | None = None,
    n_points: int = 2000,
    n_source: int = 200,
    threads: int | None = None,
) -> RegionCheck:
    """Check enumerated regions (``Regions.verify``).

    Exact up to rounding: patterns are compared, and volumes and outputs within rounding errors.

    Parameters
    ----------
    regions : Regions
    source : torch.nn.Module, path of an ONNX file, or callable, optional
    n_points, n_source : int
    threads : int, optional

    Returns
    -------
    RegionCheck
    """
    if regions.packed is None or regions.facet_offsets is None:
        raise MissingDataError(
            "these regions have no patterns or facets; give want=('patterns', 'facets') to enumerate_regions"
        )
    n_points, n_source = check_count(n_points, "n_points", least=0), check_count(n_source, "n_source", least=0)
    network, x = regions.network, regions._needed("witnesses")
    graph, maps = region_graph(regions, threads=threads), regions.affine_maps()
    y = network.forward(x, threads=threads)
    size = max(1.0, float(np.abs(y).max(initial=0.0)))
    by_maps = np.einsum("rof,rf->ro", maps.A, x[:, regions.free]) + maps.c
    name, source_error = _source_error(source, network, x, y, n_source, size)
    inside = graph.neighbours >= 0
    pairs = np.column_stack([graph.owners[inside], graph.neighbours[inside]])
    one_sided = len(pairs) - _n_common(pairs, pairs[:, ::-1])
    return RegionCheck(
        regions.n_regions,
        regions.complete,
        regions.n_regions - len(np.unique(regions.finder[0])),
        int((regions.locate(x) != np.arange(regions.n_regions)).sum()),
        float(np.abs(y - by_maps).max(initial=0.0)) / size,
        _volume_error(regions),
        int(one_sided),
        graph.n_components,
        _n_missing(regions, n_points),
        name,
        source_error,
    )


def _n_common(pairs, others):
    """Return how many pairs are among others."""
    if not len(pairs):
        return 0
    span = int(pairs.max()) + 1
    return int(np.isin(pairs[:, 0] * span + pairs[:, 1], others[:, 0] * span + others[:, 1]).sum())


def _volume_error(regions):
    """Return the relative difference of the sum of volumes from the volume of the box; of a polytope, by its parts."""
    if not regions.complete or regions.method == "search":
        return np.nan
    expected = regions.domain_volume()
    return float(abs(regions.volumes().sum() - expected) / expected)


def _n_missing(regions, n_points):
    """Return how many random points of the box, and of the polytope, have no region."""
    if not regions.complete or not n_points:
        return 0
    points = regions.lower + (regions.upper - regions.lower) * np.random.default_rng(0).random((n_points, len(regions.lower)))
    if regions.polytope is not None:
        a, b = regions.polytope
        points = points[(points @ a.T <= b).all(axis=1)]
    return int((regions.locate(points) < 0).sum()) if len(points) else 0


def _source_error(source, network, x, y, n_source, size):
    """Return what evaluates the source, and its largest relative difference at some witnesses."""
    if source is None:
        return None, None
    opened = open_source(source, network)
    chosen = np.unique(np.linspace(0, len(x) - 1, min(n_source, len(x))).astype(np.int64))
    errors = [np.abs(opened(x[k])[0] - y[k]).max(initial=0.0) for k in chosen]
    return opened.name, float(max(errors, default=0.0)) / size
