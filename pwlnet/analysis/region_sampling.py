"""What random points or grids show of the activation regions of a box: the numbers that are reported where regions are sampled.

Legend: B points, D inputs, F free inputs, C numbers of points, W words of a pattern.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._types import ArrayLike, FloatArray, IntArray, Integers
from ..errors import InputError
from ..partition.regions.enumerating import as_box
from ..partition.regions.locating import as_keys
from ..validation import check_count, check_network
from .region_arguments import regions_in_memory, volumes_or_none

if TYPE_CHECKING:
    from ..network import Network
    from ..partition.regions.regions import Regions
    from ..store.region_rows import RegionRows

_AT_ONCE = 2**16  # points


class SampledRegions(NamedTuple):
    """Regions that points find; made by ``count_sampled_regions``.

    Attributes
    ----------
    n_points : int64[C]
        Points in the box, and in the polytope of ``regions``.
    n_found : int64[C]
        Regions with a point: distinct activation patterns.
    chao1 : float64[C]
        Estimate of the number of regions by those that were found once and twice; for random points, its mean is at most the
        number of regions, approximately. NaN for grids.
    unseen_volume : float64[C]
        Estimate of the share of the volume in regions that were not found: the share of points that are alone in their region
        (Good and Turing). NaN for grids.
    share_found : float64[C] or None
        With ``regions``: ``n_found`` over their number.
    volume_found : float64[C] or None
        With ``regions``: the exact share of the volume in the regions that were found; NaN where volumes are not computed.
    """

    n_points: IntArray
    n_found: IntArray
    chao1: FloatArray
    unseen_volume: FloatArray
    share_found: FloatArray | None = None
    volume_found: FloatArray | None = None


def count_sampled_regions(
    network: Network,
    lower: ArrayLike,
    upper: ArrayLike,
    counts: Integers,
    *,
    rng: np.random.Generator | None = None,
    regions: Regions | RegionRows | None = None,
    threads: int | None = None,
) -> SampledRegions:
    """Count the activation regions that random points, or the points of grids, find in a box.

    Estimate: a lower bound on the number of regions, and estimates of it [1]_ and of the volume of those that are missing
    [2]_. With ``regions``, shares are exact up to rounding.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D]
    counts : sequence of int
        Numbers of points, increasing: the first ones of one sequence of random points. Without ``rng``, numbers of points
        of grids along each of the free inputs, at the centres of equal cells.
    rng : numpy.random.Generator, optional
        For points that are uniformly distributed in the box; by default, grids.
    regions : Regions or RegionRows, optional
        All regions of this box, by ``enumerate_regions``: for comparison. Points outside of their polytope are left out; where
        they are divided by classes, so are the regions that points find.
    threads : int, optional

    Returns
    -------
    SampledRegions

    Raises
    ------
    InputError
        ``counts`` is empty or not increasing; ``regions`` are of another network or box, or not complete.

    References
    ----------
    .. [1] Chao, "Nonparametric estimation of the number of classes in a population", Scandinavian Journal of Statistics 11,
       1984, in the form without division by zero.
    .. [2] Good, "The population frequencies of species and the estimation of population parameters", Biometrika 40, 1953.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> box = [-0.5, -0.5], [0.5, 0.5]
    >>> regions = pwlnet.enumerate_regions(network, *box)
    >>> found = pwlnet.count_sampled_regions(network, *box, [100, 1000], rng=np.random.default_rng(0), regions=regions)
    >>> bool((found.n_found <= regions.n_regions).all())
    True
    """
    check_network(network)
    lower, upper = as_box(network, lower, upper)
    counts = [check_count(n, "counts") for n in counts]
    if not counts or any(b <= a for a, b in itertools.pairwise(counts)):
        raise InputError(f"counts is {counts}; increasing numbers of points are needed")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise InputError(f"rng is {rng!r}; a numpy.random.Generator is needed, or None for grids")
    if regions is not None:
        regions = regions_in_memory(regions)
        _check_regions(network, lower, upper, regions)
    if rng is not None:
        points = rng.uniform(lower, upper, (counts[-1], len(lower)))
        keys = _keys(network, points, regions, threads)
        rows = [_statistics(keys[:n], regions, random=True) for n in counts]
    else:
        rows = [_statistics(_keys(network, _grid(lower, upper, n), regions, threads), regions, random=False) for n in counts]
    n_points, n_found, chao1, unseen, share, volume = (np.array(column) for column in zip(*rows, strict=True))
    shares = (None, None) if regions is None else (share, volume)
    return SampledRegions(n_points.astype(np.int64), n_found.astype(np.int64), chao1, unseen, *shares)


def _check_regions(network, lower, upper, regions):
    if regions.network != network or not (np.array_equal(regions.lower, lower) and np.array_equal(regions.upper, upper)):
        raise InputError("regions are of another network or another box; enumerate the regions of this one")
    if not regions.complete:
        raise InputError(f"regions are not complete (stopped by {regions.stopped_by}); enumerate all of them")


def _grid(lower, upper, n):
    """Return the centres of n^F equal cells: float64[n^F, D]."""
    free = np.flatnonzero(upper > lower)
    if n ** len(free) > 2**31:
        raise InputError(f"counts has {n}, which gives {n}^{len(free)} points; give at most 2^31 points, or rng")
    index = np.arange(n ** len(free))
    points = np.repeat(lower[None], len(index), axis=0)
    for d in free:
        index, cell = np.divmod(index, n)
        points[:, d] = lower[d] + (cell + 0.5) / n * (upper[d] - lower[d])
    return points


def _keys(network, points, regions, threads):
    """Return what is equal for points of one region: numbers of regions int64[B], or packed patterns as bytes."""
    parts = []
    for first in range(0, len(points), _AT_ONCE):
        part = points[first : first + _AT_ONCE]
        if regions is not None:
            numbers = regions.locate(part)
            if regions.polytope is not None:
                A, b = regions.polytope
                numbers = numbers[(part @ A.T <= b).all(axis=1)]
            parts.append(numbers)
            continue
        parts.append(as_keys(network.patterns(part, threads=threads).packed))
    return np.concatenate(parts)


def _statistics(keys, regions, *, random):
    """Return a row: points, regions, estimates of the number of regions and of the unseen volume, and exact shares or NaN."""
    n_points = len(keys)
    if regions is not None:
        keys = keys[keys >= 0]
    numbers, abundance = np.unique(keys, return_counts=True)
    n_found, once, twice = len(numbers), int((abundance == 1).sum()), int((abundance == 2).sum())
    chao1 = n_found + once * (once - 1) / (2.0 * (twice + 1)) if random else np.nan
    unseen = once / max(1, len(keys)) if random else np.nan
    if regions is None:
        return n_points, n_found, chao1, unseen, np.nan, np.nan
    volumes = volumes_or_none(regions)
    share = np.nan if volumes is None else float(volumes[numbers].sum() / volumes.sum())
    return n_points, n_found, chao1, unseen, n_found / regions.n_regions, share
