"""Statistics of enumerated regions: facets, volumes, inradii; counts of several networks.

Legend: R regions, F free inputs, D inputs, N facets of all regions, T networks, S sampled regions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import ArrayLike, BoolArray, FloatArray, IntArray, Integers
from ..errors import InputError
from ..partition.regions.enumerating import enumerate_regions
from ..partition.regions.inscribed import LocalRows, largest_ball
from ..validation import check_count, check_network
from .region_arguments import regions_in_memory, volumes_or_none

if TYPE_CHECKING:
    from ..network import Network
    from ..partition.regions.regions import Regions
    from ..store.region_rows import RegionRows

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
LARGEST = (1, 10, 100, 1000)


class VolumeStatistics(NamedTuple):
    """How the volume of a box is distributed over its regions.

    Attributes
    ----------
    total : float
        Sum of the volumes, in the units of the F free inputs.
    quantiles : float64[7]
        Volumes of regions at the ``region_statistics.QUANTILES``.
    gini : float
        Gini coefficient: 0 where all volumes are equal, 1 - 1 / R where one region has all.
    effective_shannon, effective_simpson : float
        Effective numbers of regions: exp of the entropy of the shares of the volume, and 1 over the sum of their squares.
        Both are R where all volumes are equal. The latter is 1 over the probability that two random points are in the same
        region.
    largest : dict of int to float
        Share of the volume in the largest k regions.
    log10_edges : float64[*]
        Edges of the bins of ``counts``, powers of ten.
    counts : int64[*]
        Number of regions by volume; those without volume within rounding are left out.
    volume_by_bin : float64[*]
        Share of the volume that they have together.
    """

    total: float
    quantiles: FloatArray
    gini: float
    effective_shannon: float
    effective_simpson: float
    largest: dict[int, float]
    log10_edges: FloatArray
    counts: IntArray
    volume_by_bin: FloatArray


@dataclass(frozen=True, eq=False)
class RegionStatistics:
    """Statistics of regions; made by ``summarize_regions``.

    Attributes
    ----------
    n_regions : int
    n_free : int
        F.
    complete : bool
        Whether these are all regions of the box.
    facet_counts : int64[*]
        Number of regions with k facets, at position k; sides of the box and of the polytope are facets.
    neighbour_counts : int64[*]
        The same for facets on whose other side the network has another state, or another class: numbers of neighbours.
    mean_facets, mean_neighbours : float
    volumes : VolumeStatistics or None
        None for no regions, and for those of a search, whose volumes are not computed.
    """

    n_regions: int
    n_free: int
    complete: bool
    facet_counts: IntArray = field(repr=False)
    neighbour_counts: IntArray = field(repr=False)
    mean_facets: float
    mean_neighbours: float
    volumes: VolumeStatistics | None = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dict that can be written as JSON."""
        values = {name: getattr(self, name) for name in ("n_regions", "n_free", "complete", "mean_facets", "mean_neighbours")}
        values |= {"facet_counts": self.facet_counts.tolist(), "neighbour_counts": self.neighbour_counts.tolist()}
        if self.volumes is not None:
            entries = self.volumes._asdict().items()
            values["volumes"] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in entries}
        return values


class RegionInradii(NamedTuple):
    """Radii of the largest balls inside regions, in the space of the free inputs.

    Attributes
    ----------
    lower, upper : float64[R]
        Bounds without linear programs, exact up to rounding: the distance of the region's witness from its facets, and the
        radius of a ball of the region's volume (inf where volumes are not computed).
    sample : int64[S]
        Regions for which the radius was computed, increasing.
    radius : float64[S]
        Chebyshev radius in the l2 norm, by one linear program each.
    center : float64[S, F]
    """

    lower: FloatArray
    upper: FloatArray
    sample: IntArray
    radius: FloatArray
    center: FloatArray


class RegionCounts(NamedTuple):
    """Numbers of regions of several networks; made by ``count_regions_of``.

    Attributes
    ----------
    labels : list
        Given with the networks, or 0, 1, ...
    n_regions : int64[T]
    complete : bool[T]
    seconds : float64[T]
    """

    labels: list[Any]
    n_regions: IntArray
    complete: BoolArray
    seconds: FloatArray


def summarize_regions(
    regions: Regions | RegionRows, *, bins_per_decade: int = 2, largest: Integers = LARGEST
) -> RegionStatistics:
    """Compute statistics of regions: numbers of facets and neighbours, and how the volume is distributed.

    Exact up to rounding: statistics of all regions that were found, not of a sample. Where the enumeration was stopped, they
    are those of the part of the box that was searched, and ``complete`` is False.

    Parameters
    ----------
    regions : Regions or RegionRows
        With patterns and facets. Volumes are computed, if they were not.
    bins_per_decade : int, optional
        Of the histogram of volumes.
    largest : sequence of int, optional
        Numbers k: the share of the volume in the largest k regions.

    Returns
    -------
    RegionStatistics

    Raises
    ------
    MissingDataError
        The regions were only counted.
    InputError
        ``bins_per_decade`` or an entry of ``largest`` is not a positive integer.

    References
    ----------
    .. [1] Hill, "Diversity and evenness: a unifying notation and its consequences", Ecology 54, 1973, for effective numbers.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> regions = pwlnet.enumerate_regions(network, [-0.5, -0.5], [0.5, 0.5], want=("facets", "volumes"))
    >>> statistics = pwlnet.summarize_regions(regions)
    >>> round(statistics.volumes.total, 12), int(statistics.facet_counts.sum()) == regions.n_regions
    (1.0, True)
    """
    check_count(bins_per_decade, "bins_per_decade")
    largest = [check_count(k, "largest") for k in largest]
    regions = regions_in_memory(regions)
    offsets, neurons = regions._needed("facet_offsets"), regions.facet_neurons
    n_facets = np.diff(offsets)
    inner = np.concatenate([[0], np.cumsum(neurons >= 0)])
    n_neighbours = np.diff(inner[offsets])
    n = int(regions.n_regions)
    volumes = volumes_or_none(regions) if n else None
    volumes = None if volumes is None else _volume_statistics(volumes, bins_per_decade, largest)
    means = [float(x.mean()) if n else math.nan for x in (n_facets, n_neighbours)]
    counts = np.bincount(n_facets), np.bincount(n_neighbours)
    n_free, complete = len(regions.free), bool(regions.complete)
    return RegionStatistics(n, n_free, complete, counts[0], counts[1], means[0], means[1], volumes)


def _volume_statistics(volumes, bins_per_decade, largest):
    """Return the VolumeStatistics of float64[R], R > 0."""
    ordered = np.sort(volumes)
    n, total = len(ordered), math.fsum(ordered)
    shares = ordered / total if total > 0.0 else np.full(n, 1.0 / n)
    gini = float(2.0 * np.dot(np.arange(1, n + 1), shares) / n - (n + 1.0) / n)
    positive = shares[shares > 0.0]
    entropy = -math.fsum(positive * np.log(positive))
    simpson = 1.0 / math.fsum(shares * shares)
    tops = {k: min(1.0, math.fsum(shares[-k:])) for k in largest}
    logs = np.log10(ordered[ordered > 0.0]) * bins_per_decade
    first = math.floor(logs[0]) if len(logs) else 0
    index = np.floor(logs).astype(np.int64) - first
    n_bins = int(index.max(initial=0)) + 1
    edges = 10.0 ** ((first + np.arange(n_bins + 1)) / bins_per_decade)
    by_bin = np.bincount(index, shares[n - len(logs) :], minlength=n_bins)
    counts = np.bincount(index, minlength=n_bins)
    quantiles = np.quantile(ordered, QUANTILES)
    return VolumeStatistics(total, quantiles, max(0.0, gini), math.exp(entropy), simpson, tops, edges, counts, by_bin)


def find_inradii(
    regions: Regions | RegionRows, *, n_sample: int | None = 1000, rng: np.random.Generator | None = None
) -> RegionInradii:
    """Compute the radii of the largest balls inside regions.

    Exact up to rounding: ``radius``, for a random sample of regions, by one linear program for each, a few milliseconds; the
    bounds ``lower`` and ``upper`` are for all regions.

    Parameters
    ----------
    regions : Regions or RegionRows
        With patterns and facets; half-spaces and volumes are computed, if they were not.
    n_sample : int or None, optional
        Number of regions with linear programs; None for all.
    rng : numpy.random.Generator, optional
        Needed where there are more regions than ``n_sample``.

    Returns
    -------
    RegionInradii

    Raises
    ------
    InputError
        ``rng`` is needed, or ``n_sample`` is not an integer.
    MissingDataError
        The regions were only counted.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> regions = pwlnet.enumerate_regions(network, [-0.1, -0.1], [0.1, 0.1])
    >>> inradii = find_inradii(regions, n_sample=None)
    >>> bool((inradii.lower <= 1.001 * inradii.radius).all() and (inradii.radius <= 1.001 * inradii.upper).all())
    True
    """
    regions = regions_in_memory(regions)
    n, n_free = int(regions.n_regions), len(regions.free)
    n_sample = check_count(n_sample, "n_sample", least=0, or_none="all regions")
    witnesses, offsets = regions._needed("witnesses")[:, regions.free], regions._needed("facet_offsets")
    sample = np.arange(n)
    if n_sample is not None and n_sample < n:
        if not isinstance(rng, np.random.Generator):
            raise InputError(f"rng is {rng!r}, but {n_sample} of {n} regions are to be drawn; give a numpy.random.Generator")
        sample = np.sort(rng.choice(n, n_sample, replace=False))
    if not n_free:
        return RegionInradii(np.zeros(n), np.zeros(n), sample, np.zeros(len(sample)), np.zeros((len(sample), 0)))
    G, h = regions.halfspaces()
    norms = np.linalg.norm(G, axis=1)
    normals = G / norms[:, None]
    counts = np.diff(offsets)
    slacks = h / norms - np.einsum("nf,nf->n", normals, np.repeat(witnesses, counts, axis=0))
    lower = np.full(n, np.inf)
    np.minimum.at(lower, np.repeat(np.arange(n), counts), slacks)
    volumes, unit_ball = volumes_or_none(regions), math.pi ** (n_free / 2) / math.gamma(n_free / 2 + 1)
    upper = np.full(n, np.inf) if volumes is None else (volumes / unit_ball) ** (1.0 / n_free)
    center, radius, everywhere = np.empty((len(sample), n_free)), np.empty(len(sample)), np.ones(n_free, bool)
    for k, r in enumerate(sample):
        rows, unbounded = slice(offsets[r], offsets[r + 1]), np.full(n_free, np.inf)
        local = LocalRows(
            witnesses[r], everywhere, np.arange(counts[r]), normals[rows], slacks[rows], -unbounded, unbounded
        )  # fmt: skip
        v, radius[k] = largest_ball(local, 2)
        center[k] = witnesses[r] + v
    return RegionInradii(np.maximum(lower, 0.0), upper, sample, radius, center)


def count_regions_of(
    networks: Iterable[Network] | Iterable[tuple[str, Network]],
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    max_regions: int | None = None,
    time_limit: float | None = None,
    threads: int | None = None,
) -> RegionCounts:
    """Count the activation regions of several networks in a box, such as one network at several times of its training.

    Exact up to rounding: as ``enumerate_regions``, where ``complete``; else the number of regions until the search was stopped.

    Parameters
    ----------
    networks : iterable of Network, or of (label, Network)
        A generator may train the network further before it yields it again: one network is in memory at a time.
    lower, upper : float64[D]
        The box, in the input units of all networks.
    max_regions : int, optional
    time_limit : float, optional
        Seconds for each network.
    threads : int, optional

    Returns
    -------
    RegionCounts

    Raises
    ------
    InputError, ShapeError, CapacityError
        As for ``enumerate_regions``.

    Examples
    --------
    >>> import pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> counts = count_regions_of([("trained", network)], [-0.1, -0.1], [0.1, 0.1])
    >>> counts.labels, bool(counts.complete.all())
    (['trained'], True)
    """
    if not isinstance(networks, Iterable):
        raise InputError(f"networks is of type {type(networks).__name__}; give several Networks, or pairs (label, Network)")
    labels, found, complete, seconds = [], [], [], []
    how: dict[str, Any] = {"max_regions": max_regions, "time_limit": time_limit, "threads": threads}
    for k, item in enumerate(networks):
        label, network = item if isinstance(item, tuple) and len(item) == 2 else (k, item)
        start = time.perf_counter()
        regions = enumerate_regions(check_network(network), lower, upper, want=(), **how)
        seconds.append(time.perf_counter() - start)
        labels.append(label)
        found.append(regions.n_regions)
        complete.append(regions.complete)
    return RegionCounts(labels, np.array(found, np.int64), np.array(complete, bool), np.array(seconds))
