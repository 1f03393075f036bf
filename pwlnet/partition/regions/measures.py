"""Volumes of regions and their facets, simplices, and masses under densities.

Legend: R regions, D inputs, F free inputs, N facets, V vertices, S simplices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import ArrayLike, FloatArray, IntArray
from ...errors import CapacityError, InputError, ShapeError
from ...validation import as_array, check_number
from .cell_volumes import simplices_of_cells, volumes_of_cells
from .graph import as_regions
from .matching import vertices_of_facets

if TYPE_CHECKING:
    from .regions import Regions


class Simplices(NamedTuple):
    """Simplices that divide regions."""

    offsets: IntArray  # int64[R+1] simplices of each region
    vertices: IntArray  # int64[S, F+1] numbers of their corners among the vertices of all regions
    points: FloatArray  # float64[V, F]

    def volumes(self) -> FloatArray:
        """Compute the volume of each simplex, in the F free inputs: float64[S].

        Exact up to rounding.
        """
        corners = self.points[self.vertices]
        volumes, f = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])), self.points.shape[1]
        for k in range(2, f + 1):
            volumes /= k
        return volumes


class Masses(NamedTuple):
    """Masses of regions under a normal density."""

    masses: FloatArray  # float64[R]
    errors: FloatArray  # float64[R] estimates of their errors


def region_volumes(regions: Regions, *, threads: int | None = None) -> FloatArray:
    """Compute the volumes of regions from their vertices.

    Exact up to rounding: sums of the volumes of simplices, all of which are positive.

    Parameters
    ----------
    regions : Regions
    threads : int, optional

    Returns
    -------
    float64[R]
        In the F free inputs; 1 where no input is free.

    References
    ----------
    .. [1] Büeler, Enge and Fukuda, "Exact volume computation for polytopes: a practical study", 2000, Section 2.1.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> from pwlnet.partition.regions.measures import region_volumes
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> lower, upper = np.full(network.n_inputs, -0.05), np.full(network.n_inputs, 0.05)
    >>> regions = pwlnet.enumerate_regions(network, lower, upper, want="vertices")
    >>> bool(np.isclose(region_volumes(regions).sum(), 0.1**network.n_inputs))
    True
    """
    offsets, points, words = as_regions(regions).vertices()
    return volumes_of_cells(offsets, points, words, threads)


def region_simplices(regions: Regions, *, threads: int | None = None) -> Simplices:
    """Divide regions into simplices, whose corners are the regions' vertices.

    Exact up to rounding.

    Parameters
    ----------
    regions : Regions
        With at least one free input.
    threads : int, optional

    Returns
    -------
    Simplices

    Raises
    ------
    InputError
        No input is free.
    """
    if not len(as_regions(regions).free):
        raise InputError("the box is a point, which has no simplices; give a box with a side of positive width")
    vertices = regions.vertices()
    offsets, corners = simplices_of_cells(*vertices, threads)
    return Simplices(offsets, corners, vertices.points)


def facet_areas(regions: Regions, *, which: ArrayLike | None = None, threads: int | None = None) -> FloatArray:
    """Compute the volumes of facets, of F - 1 dimensions.

    Exact up to rounding.

    Parameters
    ----------
    regions : Regions
    which : bool[N], optional
        Facets to compute; by default all.
    threads : int, optional

    Returns
    -------
    float64[N]
        1 for facets that are points; 0 for facets that are not computed.

    Raises
    ------
    MissingDataError
        The regions were enumerated without facets.
    """
    offsets = as_regions(regions)._needed("facet_offsets")
    n_facets = int(offsets[-1])
    which = np.ones(n_facets, bool) if which is None else np.asarray(which, bool)
    facets, areas = np.flatnonzero(which), np.zeros(n_facets)
    if len(regions.free) < 2:
        areas[facets] = 1.0
        return areas
    normals = regions.halfspaces().G[facets]
    axes = np.abs(normals).argmax(axis=1)
    largest = np.abs(normals[np.arange(len(facets)), axes])
    owners = np.repeat(np.arange(regions.n_regions), np.diff(offsets))[facets]
    row, points, words = vertices_of_facets(regions, facets, owners)
    axis = axes[row]
    points[np.arange(len(row)), axis] = points[:, -1]  # projected along the axis, the last one in its place
    ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(facets)))])
    projected = volumes_of_cells(ends, points[:, :-1], words, threads)
    areas[facets] = projected * np.linalg.norm(normals / largest[:, None], axis=1)
    return areas


def uniform_masses(regions: Regions, *, threads: int | None = None) -> FloatArray:
    """Compute the share of each region in the volume of all: its probability under the uniform density.

    Exact up to rounding.

    Parameters
    ----------
    regions : Regions
        All regions of a box or polytope.
    threads : int, optional

    Returns
    -------
    float64[R]
        Their sum is 1.

    Raises
    ------
    InputError
        There are no regions.
    """
    volumes = region_volumes(regions, threads=threads)
    if not volumes.sum() > 0.0:
        raise InputError(f"{len(volumes)} regions have no volume; give regions of a box with interior")
    return volumes / volumes.sum()


def normal_masses(
    regions: Regions,
    mean: ArrayLike | float,
    sigma: ArrayLike | float,
    *,
    tolerance: float | None = None,
    max_evaluations: int = 2**24,
) -> Masses:
    """Compute the mass of each region under a normal density with independent coordinates.

    Estimate: ``errors`` are differences between two cubature rules, summed over simplices; zero to rounding for intervals and
    for boxes with sides along the axes, whose masses are products of one-dimensional ones.

    Parameters
    ----------
    regions : Regions
    mean, sigma : float64[D] or float
        Of each input; those of inputs that are not free are not used.
    tolerance : float, optional
        Simplices are divided until the sum of all errors is at most this.
    max_evaluations : int, optional
        Stop after so many evaluations of the density; ``errors`` says what has been reached.

    Returns
    -------
    Masses
        The density is that of the F free inputs.

    Raises
    ------
    InputError
        ``sigma`` is not positive, or no input is free.
    ShapeError
        ``mean`` or ``sigma`` is neither a number nor one for each input.

    References
    ----------
    .. [1] Grundmann and Möller, "Invariant integration formulas for the n-simplex by combinatorial methods", SIAM Journal on
       Numerical Analysis 15, 1978, Theorem 4: the rules of degrees 5 and 7.
    """
    from ...tolerances import MASS_ERROR
    from .cubature import integrate_normal

    regions = as_regions(regions)
    tolerance = MASS_ERROR if tolerance is None else check_number(tolerance, "tolerance", above=True)
    mean, sigma = (_per_input(regions, value, name) for value, name in ((mean, "mean"), (sigma, "sigma")))
    if not (sigma > 0.0).all():
        raise InputError(f"sigma has the entry {sigma.min():g}; give positive numbers")
    if not len(regions.free):
        raise InputError("the box is a point, which has no mass; give a box with a side of positive width")
    offsets, points, _ = regions.vertices()
    points = (points - mean) / sigma
    masses, is_box = _box_masses(offsets, points)
    errors = np.where(is_box, np.finfo(float).eps * masses, 0.0)
    if is_box.all():
        return Masses(masses, errors)
    simplices = region_simplices(regions)
    owner = np.repeat(np.arange(regions.n_regions), np.diff(simplices.offsets))
    use = ~is_box[owner]
    if int(use.sum()) > max_evaluations:
        raise CapacityError(f"{int(use.sum())} simplices need more than max_evaluations={max_evaluations}; raise the limit")
    found = integrate_normal(
        points[simplices.vertices[use]], owner[use], regions.n_regions, tolerance, max_evaluations
    )  # fmt: skip
    return Masses(masses + found[0], errors + found[1])


def _per_input(regions, value, name):
    """Return a number for each free input: float64[F]."""
    value = np.asarray(as_array(value, name), np.float64)
    if value.shape not in ((), (len(regions.lower),)):
        raise ShapeError(f"{name} has shape {value.shape}; give a number, or one for each of the {len(regions.lower)} inputs")
    if not np.isfinite(value).all():
        raise InputError(f"{name} has an entry that is not finite; give finite numbers")
    return np.broadcast_to(value, (len(regions.lower),))[regions.free]


def _box_masses(offsets, points):
    """Return the masses of regions that are boxes under the standard normal density, and which ones are."""
    n, f = len(offsets) - 1, points.shape[1]
    owner, counts = np.repeat(np.arange(n), np.diff(offsets)), np.diff(offsets)
    low, high = np.full((n, f), np.inf), np.full((n, f), -np.inf)
    np.minimum.at(low, owner, points)
    np.maximum.at(high, owner, points)
    at_corner = ((points == low[owner]) | (points == high[owner])).all(axis=1)
    is_box = (counts == 2**f) & (np.bincount(owner[at_corner], minlength=n) == counts)
    masses = np.where(is_box, interval_masses(low, high).prod(axis=1), 0.0)
    return masses, is_box


def interval_masses(low, high):
    """Return the standard normal masses of intervals, without cancellation in the tails: float64 of the same shape."""
    from scipy.special import ndtr

    swap = low > 0.0  # on the left side of 0, small masses are differences of small numbers
    return np.where(swap, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
