"""Random regions, and random points of regions.

Legend: R regions, D inputs, F free inputs, S simplices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..._types import ArrayLike, FloatArray, IntArray
from ...errors import InputError
from ...validation import as_array, check_count
from .graph import as_regions
from .measures import region_simplices, region_volumes

if TYPE_CHECKING:
    from .regions import Regions


def random_regions(regions: Regions, n: int, *, rng: np.random.Generator) -> IntArray:
    """Draw regions, each with a probability proportional to its volume.

    Exact up to rounding.

    Parameters
    ----------
    regions : Regions
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    int64[n]

    Raises
    ------
    InputError
        The regions have no volume, or ``rng`` is no generator.
    """
    n = check_count(n, "n", least=0)
    regions = as_regions(regions)
    _check_generator(rng)
    return _draw(region_volumes(regions), n, rng)


def sample_points(regions: Regions, which: ArrayLike, *, rng: np.random.Generator) -> FloatArray:
    """Draw a uniform random point of each of some regions.

    Exact up to rounding: a simplex of the region is drawn by its volume, and a point of it by uniform spacings.

    Parameters
    ----------
    regions : Regions
        With at least one free input.
    which : int64[n]
        Numbers of regions, which may be repeated: ``random_regions`` for uniform points of all of them.
    rng : numpy.random.Generator

    Returns
    -------
    float64[n, D]
        Rounding may put a point of a thin region on the other side of its boundary.

    Raises
    ------
    InputError
        ``which`` has an entry that is no region's number, or ``rng`` is no generator.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> from pwlnet.partition.regions.sampling import random_regions, sample_points
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> lower, upper = np.full(network.n_inputs, -0.05), np.full(network.n_inputs, 0.05)
    >>> regions, rng = pwlnet.enumerate_regions(network, lower, upper, want="vertices"), np.random.default_rng(0)
    >>> points = sample_points(regions, random_regions(regions, 100, rng=rng), rng=rng)
    >>> points.shape == (100, network.n_inputs)
    True
    """
    regions, which = as_regions(regions), np.atleast_1d(as_array(which, "which"))
    _check_generator(rng)
    if which.ndim != 1 or (which.size and which.dtype.kind not in "iu"):
        raise InputError(f"which is an array of shape {which.shape} and type {which.dtype}; give numbers of regions")
    which = which.astype(np.int64)
    if which.size and not (which.min() >= 0 and which.max() < regions.n_regions):
        raise InputError(
            f"which has entries from {which.min()} to {which.max()}; give numbers from 0 to {regions.n_regions - 1}"
        )
    points = np.tile(regions.lower, (len(which), 1))
    if not len(regions.free) or not len(which):
        return points
    simplices = region_simplices(regions)
    ends = np.concatenate([[0.0], np.cumsum(simplices.volumes())])
    first, last = ends[simplices.offsets[which]], ends[simplices.offsets[which + 1]]
    at = np.searchsorted(ends, first + rng.random(len(which)) * (last - first), side="right") - 1
    at = np.clip(at, simplices.offsets[which], simplices.offsets[which + 1] - 1)
    weights = rng.standard_exponential((len(which), len(regions.free) + 1))
    weights /= weights.sum(axis=1, keepdims=True)
    x = np.einsum("nk,nkd->nd", weights, simplices.points[simplices.vertices[at]])
    points[:, regions.free] = np.clip(x, regions.lower[regions.free], regions.upper[regions.free])
    return points


def _draw(volumes, n, rng):
    """Draw indices by weights: int64[n]."""
    ends = np.cumsum(volumes)
    if not len(ends) or not ends[-1] > 0.0:
        raise InputError(f"{len(volumes)} regions have no volume; give regions of a box with interior")
    at = np.searchsorted(ends, rng.random(n) * ends[-1], side="right")
    return np.minimum(at, np.flatnonzero(volumes > 0.0)[-1]).astype(np.int64)


def _check_generator(rng):
    if not isinstance(rng, np.random.Generator):
        raise InputError(f"rng is of type {type(rng).__name__}; give numpy.random.default_rng(seed)")
