"""Exact decision regions of HorizontalCAS over all its inputs, in three dimensions, and what a grid of sample points misses.

The inputs are the position (x, y) of the intruder and its heading psi, over their whole range; the advisory is the largest
output. ``enumerate_regions`` divides this box into activation regions and by advisory. Regions of one advisory that share a
facet are one *part*; parts at psi = -pi and psi = pi, the same heading, are not joined. The shipped pendulum, with two
inputs, is measured in the same way.

There is one row for each advisory. Volumes are shares of the box; the width of a part in an input is the difference of its
largest and smallest value there, as a share of the range of the input. A grid has n points in each direction, the centres of
equal cells; a part is *missed* if it contains none of them.

Legend: R regions, P parts, F inputs, O advisories.
"""

import time
from typing import NamedTuple

import numpy as np

from ..partition.regions.enumerating import enumerate_regions
from ..partition.regions.graph import region_graph
from . import subjects
from .experiment import Experiment, skipped
from .slices import FAMILIES
from .tables import Table

N_ADVISORIES = 5
COLUMNS = (
    "image",  # 0; the other slices of a subject have rows of NaN
    "advisory",
    "n_activation",  # activation regions of the box
    "n_regions",  # of these, divided by advisory, those of this one
    "share",  # of the volume
    "n_parts",
    "largest_part",  # share of the volume
    "smallest_part",
    "thinnest",  # the least width of a part
    "n_missed",  # parts without a grid point
    "missed",  # their share of the volume
    "sampled",  # share of the grid points
    "n_exact",  # decisions with integers
    "seconds",  # of enumeration and parts, of all advisories
)
PARAMETERS = {"grid": 50}
_RANGES = {"hcas": ((-np.pi, np.pi),), "control": ()}  # of the inputs after the first two
KEYS = tuple(key for key in subjects.SLICES if key.partition("_")[0] in _RANGES)


class Parts(NamedTuple):
    """Connected parts of the decision regions of a box.

    Attributes
    ----------
    labels : int64[R]
        Part of each region.
    advisories : int64[P]
    volumes : float64[P]
    lower, upper : float64[P, F]
        Smallest and largest value of each input.
    """

    labels: np.ndarray
    advisories: np.ndarray
    volumes: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def domain(family):
    """Return the whole range of the inputs of a family: (float64[D], float64[D])."""
    ranges = _RANGES[family.name]
    lower, upper = (np.array([*ends, *(r[k] for r in ranges)]) for k, ends in enumerate((family.lower, family.upper)))
    return lower, upper


def find_parts(regions):
    """Find the connected parts of decision regions.

    Exact up to rounding: which regions share a facet is exact.

    Parameters
    ----------
    regions : Regions
        With classes, facets and corners.

    Returns
    -------
    Parts
    """
    graph = region_graph(regions)
    classes = np.asarray(regions.classes, np.int64)
    inside = graph.neighbours >= 0
    keep = inside & (classes[graph.owners] == classes[np.where(inside, graph.neighbours, 0)])
    n, labels = graph.components(keep)
    advisories = np.empty(n, np.int64)
    advisories[labels] = classes
    corners = regions.vertices()
    of_corner = np.repeat(labels, np.diff(corners.offsets))
    lower, upper = np.full((n, corners.points.shape[1]), np.inf), np.full((n, corners.points.shape[1]), -np.inf)
    np.minimum.at(lower, of_corner, corners.points)
    np.maximum.at(upper, of_corner, corners.points)
    return Parts(labels, advisories, np.bincount(labels, regions.volumes(), n), lower, upper)


def measure(subject, i, options):
    """Measure a network: one row per advisory."""
    if i:
        return skipped(i, COLUMNS)
    box = domain(subject.family)
    want = ("patterns", "facets", "volumes", "vertices")
    _load_kernels(subject, box, want)
    start = time.perf_counter()
    regions = enumerate_regions(subject.network, *box, classes=subject.family.rule, want=want, threads=options.threads)
    parts = find_parts(regions)
    seconds = time.perf_counter() - start
    n_activation = len(np.unique(regions.packed, axis=0))
    hit, sampled = _sample(subject, regions, parts, box, options.parameters["grid"])
    widths = ((parts.upper - parts.lower) / (box[1] - box[0])).min(axis=1)
    shares = parts.volumes / np.prod(box[1] - box[0])
    rows = np.zeros((N_ADVISORIES, len(COLUMNS)))
    for k in range(N_ADVISORIES):
        own = parts.advisories == k
        numbers = shares[own].max(initial=0.0), shares[own].min(initial=1.0), widths[own].min(initial=1.0)
        missed = own & ~hit
        counts = n_activation, np.count_nonzero(regions.classes == k), shares[own].sum(), np.count_nonzero(own)
        rows[k] = [0, k, *counts, *numbers, missed.sum(), shares[missed].sum(), sampled[k], regions.n_exact, seconds]
    return rows


def _load_kernels(subject, box, want):
    """Compile or load the kernels, so that the time of the first network is comparable with that of the others."""
    lower, upper = box
    regions = enumerate_regions(
        subject.network, lower, lower + (upper - lower) / 64.0, classes=subject.family.rule, want=want, threads=1
    )
    find_parts(regions)


def _sample(subject, regions, parts, box, n):
    """Return which parts contain a grid point, and the share of the grid points of each advisory: bool[P], float64[O]."""
    centres = [low + (np.arange(n) + 0.5) / n * (high - low) for low, high in zip(*box, strict=True)]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, len(centres))
    numbers = regions.locate(points)
    hit = np.zeros(len(parts.volumes), bool)
    hit[parts.labels[numbers[numbers >= 0]]] = True
    advisories = subject.advisory(subject.network.forward(points))
    return hit, np.bincount(advisories, minlength=N_ADVISORIES) / len(points)


def tabulate(measured, options):
    """Tabulate all networks: the whole box, and each advisory."""
    grid = options.parameters["grid"]
    return [_whole(measured, grid), _by_advisory(measured, grid)]


def _rows_of(m):
    """Return the rows of a network: dict of str to float64[O]."""
    chosen = m["image"] == 0
    return {name: m[name][chosen] for name in COLUMNS}


def _whole(measured, grid):
    headings = ("network", "activation regions", "divided by advisory", "parts", "smallest part, share", "thinnest part, width",
                f"parts that {grid} points in each direction miss", "their volume, %", "seconds")  # fmt: skip
    rows = []
    for m in measured.values():
        v = _rows_of(m)
        sums = [int(v[name].sum()) for name in ("n_regions", "n_parts")]
        missed = int(v["n_missed"].sum()), 100.0 * v["missed"].sum()
        rows.append(
            (m.title, int(v["n_activation"][0]), *sums, v["smallest_part"].min(), v["thinnest"].min(), *missed, v["seconds"][0])
        )
    notes = (
        "Volumes and widths are shares of the box of all inputs. A part is a connected set of regions of one advisory.",
        "The width of a part is the smallest one of all inputs.",
    )
    return Table("Decision regions over all inputs", headings, rows, notes)


def _by_advisory(measured, grid):
    headings = ("network", "advisory", "share, %", f"share of the grid points ({grid}), %", "regions", "parts",
                "largest part, %", "missed parts")  # fmt: skip
    rows = []
    for m in measured.values():
        v, names = _rows_of(m), FAMILIES[m.dataset].advisories
        for k in range(N_ADVISORIES):
            counts = int(v["n_regions"][k]), int(v["n_parts"][k])
            shares = 100.0 * v["share"][k], 100.0 * v["sampled"][k]
            rows.append((m.title, names[k], *shares, *counts, 100.0 * v["largest_part"][k], int(v["n_missed"][k])))
    return Table("Advisories", headings, rows, ("An advisory without regions occurs nowhere on a set with interior.",))


def draw(measured, options):
    """Draw the volumes of the turns of HorizontalCAS, and the parts, by time: a column for each previous advisory."""
    networks = [m for m in measured.values() if m.dataset == "hcas"]
    if not networks:
        return {}
    from .. import plot
    from .boundary_figures import COLOURS

    groups = {}
    for m in networks:
        groups.setdefault(m.key.split("_")[1], []).append(m)
    figure = plot.new_figure((2.0 * len(groups) + 1.0, 3.6))
    axes = figure.subplots(2, len(groups), squeeze=False, sharex="col", sharey="row")
    names = FAMILIES["hcas"].advisories
    for column, (previous, of_group) in enumerate(groups.items()):
        labels = [m.key.split("_")[2] for m in of_group]
        for row, name in enumerate(("share", "n_parts")):
            values, ax = np.array([_rows_of(m)[name] for m in of_group]), axes[row, column]
            bottom = np.zeros(len(of_group))
            for k in range(int(name == "share"), N_ADVISORIES):  # clear of conflict has most of the volume
                heights = values[:, k] * (100.0 if name == "share" else 1.0)
                ax.bar(labels, heights, bottom=bottom, color=COLOURS[k], label=names[k], edgecolor="0.5", linewidth=0.3)
                bottom += heights
            ax.tick_params(labelsize=6)
        axes[0, column].set_title(f"previous {names[int(previous)]}", fontsize=7)
    axes[0, 0].set_ylabel("volume of turns, %", fontsize=7)
    axes[1, 0].set_ylabel("parts", fontsize=7)
    figure.supxlabel("seconds until loss of vertical separation", fontsize=7)
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=7, frameon=False)
    return {"shares.png": figure}


EXPERIMENT = Experiment(
    name="horizontal-regions",
    title="Exact decision regions of HorizontalCAS over all three inputs, and what a grid of sample points misses",
    source="networks of github.com/sisl/HorizontalCAS",
    keys=KEYS,
    columns=COLUMNS,
    measure=measure,
    tabulate=tabulate,
    draw=draw,
    parameters=PARAMETERS,
    unit="slice",
)
