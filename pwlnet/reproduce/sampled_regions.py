"""Exact decision regions of a slice, and what a grid of sample points shows of them.

Areas and grids refer to a *measure*: the coordinates (u, v) of the slice, or, if these are polar, the Cartesian ones, which
cover a disc. A grid has n x n points, the centres of equal cells; of a Cartesian grid, those in the disc.

Legend: Q pieces, R connected regions, O advisories, N grid points.
"""

import functools
import time
from typing import NamedTuple

import numpy as np

from ..analysis.queries import find_where
from ..conditions import HalfSpaces
from ..partition.planes.partitions import partition_planes

MEASURES = ("slice", "disc")


class ExactSlice(NamedTuple):
    """Exact decision regions of a slice.

    Attributes
    ----------
    part : PlanePartition
    regions : DecisionRegions
    seconds : float
        Time of the partition, the pieces and their connected regions.
    """

    part: object
    regions: object
    seconds: float


class Shown(NamedTuple):
    """What a grid shows of the exact regions.

    Attributes
    ----------
    n_points : int
    seconds : float
        Time of the forward passes.
    shares : float64[O]
        Fraction of the grid points with each advisory.
    hit : bool[R]
        Whether a region contains a grid point.
    n_unplaced : int
        Number of grid points so close to a boundary that rounding gives them an advisory that their activation region does not
        have. They count for ``shares`` only.
    """

    n_points: int
    seconds: float
    shares: np.ndarray
    hit: np.ndarray
    n_unplaced: int


def partition_slice(subject, i, threads=None):
    """Compute the exact decision regions of slice i: ExactSlice.

    Parameters
    ----------
    subject : slices.Slices
    i : int
    threads : int, optional

    Returns
    -------
    ExactSlice
    """
    _load_kernels(subject.network, subject.family.rule)
    start = time.perf_counter()
    planes = partition_planes(subject.network, subject.images[i], *subject.directions, subject.polygon, threads=threads)
    regions = planes.parts[0].classes(subject.family.rule)
    return ExactSlice(planes.parts[0], regions, time.perf_counter() - start)


@functools.lru_cache(maxsize=1)
def _load_kernels(network, rule):
    """Compile or load the kernels, so that the time of the first slice is comparable with that of the others."""
    directions = np.eye(2, network.n_inputs)
    partition_planes(network, 0.0 * directions[0], *directions, [[0, 0], [1, 0], [0, 1]], threads=1).parts[0].classes(rule)
    network.forward(np.zeros((1, network.n_inputs)))


def measures(subject):
    """Return the measures of a subject: tuple of indices into MEASURES."""
    return (0, 1) if subject.family.polar else (0,)


def piece_areas(regions, measure):
    """Compute the area of each piece: float64[Q].

    Exact up to rounding: on the disc, it is the integral of u over the piece.
    """
    if measure == 0:
        return regions.areas
    counts = np.diff(regions.offsets)
    first = np.repeat(regions.vertices[regions.offsets[:-1]], counts, axis=0)
    a = regions.vertices - first
    following = np.arange(1, len(a) + 1)
    following[regions.offsets[1:] - 1] = regions.offsets[:-1]
    b = a[following]
    moments = (a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]) / 6.0 * (a[:, 0] + b[:, 0])
    return regions.areas * first[regions.offsets[:-1], 0] + np.add.reduceat(moments, regions.offsets[:-1])


def grid_points(family, measure, n):
    """Create the points of a grid: float64[N, 2], coordinates (u, v)."""
    centres = (np.arange(n) + 0.5) / n
    if measure == 0:
        u, v = (low + centres * (high - low) for low, high in zip(family.lower, family.upper))
        return np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
    x = family.upper[0] * (2.0 * centres - 1.0)
    x, y = (each.ravel() for each in np.meshgrid(x, x, indexing="ij"))
    rho = np.hypot(x, y)
    inside = rho < family.upper[0]
    return np.stack([rho[inside], np.arctan2(y[inside], x[inside])], axis=1)


def sample(subject, i, exact, uv, threads=None):
    """Evaluate the network at grid points, and find the exact regions that contain them: Shown.

    Parameters
    ----------
    subject : slices.Slices
    i : int
    exact : ExactSlice
        Of the same slice.
    uv : float64[N, 2]
    threads : int, optional

    Returns
    -------
    Shown
    """
    points = subject.points(i, uv)
    start = time.perf_counter()
    labels = subject.advisory(subject.network.forward(points, threads=threads))
    seconds = time.perf_counter() - start
    n = subject.network.n_outputs
    piece_of = np.full(
        exact.part.n_polygons * n, -1
    )  # a class has one piece of an activation polygon at most: it is convex there
    piece_of[exact.regions.polygon * n + exact.regions.labels] = np.arange(exact.regions.n_pieces)
    pieces = piece_of[exact.part.locate(uv) * n + labels]
    hit = np.zeros(exact.regions.n_regions, bool)
    hit[exact.regions.regions[pieces[pieces >= 0]]] = True
    shares = np.bincount(labels, minlength=n) / len(uv)
    return Shown(len(uv), seconds, shares, hit, int(np.count_nonzero(pieces < 0)))


def occurring(subject, exact):
    """Return which advisories occur anywhere on a slice, even at a single point: bool[O]. Exact."""
    condition = HalfSpaces.smallest if subject.family.rule == "min" else HalfSpaces.largest
    n = subject.network.n_outputs
    return np.array([find_where(exact.part, condition(k, n)).exists for k in range(n)])
