"""Exact decision regions of control networks on slices of their inputs, and what grids of sample points miss.

For each slice (``slices.py``), the network's advisory is the smallest or largest output. The exact regions come from
``partition_planes`` and ``PlanePartition.classes``; whether an advisory occurs at all, from ``find_where``. They are compared
with two grids, of 250 x 250 and 1000 x 1000 points. A region is *missed* if it contains no grid point; an advisory is *hidden*
if it occurs, but at no grid point. Areas of ACAS Xu, whose slices have polar coordinates, are given in these (uniform in rho
and theta) and in Cartesian ones (x = rho cos theta, y = rho sin theta), each with grids that are uniform in these coordinates.
Connected regions are those of the (rho, theta) rectangle in both cases: none continues across theta = pi or rho = 0.
"""

import numpy as np

from . import subjects
from .boundary_figures import draw
from .boundary_tables import tabulate
from .experiment import Experiment
from .sampled_regions import grid_points, measures, occurring, partition_slice, piece_areas, sample

N_ADVISORIES = 5
COLUMNS = (
    "image",  # index of the slice
    "measure",  # index into sampled_regions.MEASURES
    "grid",  # points in each direction
    "n_points",
    "n_polygons",  # activation regions
    "n_regions",  # connected decision regions
    "exact_seconds",
    "grid_seconds",
    "smallest",  # share of the smallest region
    "n_missed",  # regions without a grid point
    "missed",  # their share
    "largest_missed",  # share of the largest one,
    "missed_advisory",  # its advisory,
    "missed_u",  # and the middle of its largest piece
    "missed_v",
    "n_unplaced",
    *(f"exact_{k}" for k in range(N_ADVISORIES)),  # shares
    *(f"sampled_{k}" for k in range(N_ADVISORIES)),
    *(f"occurs_{k}" for k in range(N_ADVISORIES)),
)
PARAMETERS = {"grid": 250, "fine_grid": 1000}
ACAS = tuple(f"acas_{a}_{t}" for a in range(1, 6) for t in (1, 5))
HCAS = tuple(f"hcas_{a}_00" for a in range(5))


def measure(subject, i, options):
    """Measure a slice: one row per measure and grid."""
    exact = partition_slice(subject, i, options.threads)
    occurs = occurring(subject, exact)
    rows = []
    for k in measures(subject):
        areas = piece_areas(exact.regions, k)
        for n in (options.parameters["grid"], options.parameters["fine_grid"]):
            shown = sample(subject, i, exact, grid_points(subject.family, k, n), options.threads)
            rows.append([i, k, n, *_numbers(exact, areas, shown), *occurs])
    return np.array(rows, np.float64)


def _numbers(exact, areas, shown):
    """Compare the exact regions with those that a grid shows: list of numbers."""
    regions, total = exact.regions, areas.sum()
    shares = np.bincount(regions.regions, areas, regions.n_regions) / total
    by_class = np.bincount(regions.labels, areas, N_ADVISORIES) / total
    missed = np.flatnonzero(~shown.hit)
    largest = [0.0, np.nan, np.nan, np.nan]
    if len(missed):
        region = missed[shares[missed].argmax()]
        pieces = np.flatnonzero(regions.regions == region)
        piece = pieces[areas[pieces].argmax()]
        middle = regions.vertices[regions.offsets[piece] : regions.offsets[piece + 1]].mean(axis=0)
        largest = [shares[region], regions.region_labels[region], *middle]
    return [
        *(shown.n_points, exact.part.n_polygons, regions.n_regions, exact.seconds, shown.seconds, shares.min()),
        *(len(missed), shares[missed].sum(), *largest, shown.n_unplaced, *by_class, *shown.shares),
    ]


EXPERIMENT = Experiment(
    name="acas-boundaries",
    title="Exact decision regions of ACAS Xu and HorizontalCAS, and what sampling them on a grid misses",
    source="slices of Sotoudeh and Thakur, github.com/95616ARG/SyReNN, experiments/acas_planes.py",
    keys=subjects.SLICES,
    columns=COLUMNS,
    measure=measure,
    tabulate=tabulate,
    draw=draw,
    parameters=PARAMETERS,
    defaults=("control_pendulum", *ACAS, *HCAS),
    unit="slice",
)
