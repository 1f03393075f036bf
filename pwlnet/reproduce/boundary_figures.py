"""The figures of ``acas-boundaries``: decision regions in the coordinates of the slices and in Cartesian ones, missed regions.

Regions are drawn by their outlines, from the largest to the smallest: one in a hole of another is drawn after it.
"""

import math

import numpy as np

from . import subjects
from .boundary_tables import hidden_advisories, rows_of
from .sampled_regions import grid_points, partition_slice, sample
from .slices import FAMILIES

COLOURS = ("#e8e8e8", "#56b4e9", "#e69f00", "#0072b2", "#d55e00")  # Okabe and Ito: blue is left, orange right, grey neither
_FEW, _SLICES = 12, 4  # networks of a figure that shows several slices, and the number of these; otherwise only the first one
_STEP = math.radians(1.0)  # of the corners of an arc
_ZOOMS = 4  # missed regions that are drawn


def to_cartesian(uv):
    """Convert polar coordinates (rho, theta) to (x, y): float64[N, 2]."""
    return np.stack([uv[:, 0] * np.cos(uv[:, 1]), uv[:, 0] * np.sin(uv[:, 1])], axis=1)


def draw_regions(ax, regions, *, cartesian=False, colours=COLOURS):
    """Draw decision regions.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    regions : DecisionRegions
    cartesian : bool
        The coordinates are polar; draw x = u cos v, y = u sin v.
    colours : sequence
        One for each class.
    """
    outlines = [regions.outlines(region)[0] for region in range(regions.n_regions)]
    for region in np.argsort([-_area(outline) for outline in outlines], kind="stable"):
        outline, colour = outlines[region], colours[regions.region_labels[region]]
        outline = to_cartesian(_subdivide(outline)) if cartesian else outline
        ax.fill(*outline.T, facecolor=colour, edgecolor=colour, linewidth=0.3)
    ax.autoscale(tight=True)
    if cartesian:
        ax.set_aspect("equal")


def _area(outline):
    x, y = (outline - outline[0]).T
    return abs(0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _subdivide(outline):
    """Insert points into sides over which the angle changes by more than a step: float64[*, 2]."""
    following = np.roll(outline, -1, axis=0)
    counts = np.maximum(1, np.ceil(np.abs(following[:, 1] - outline[:, 1]) / _STEP)).astype(np.int64)
    side = np.repeat(np.arange(len(outline)), counts)
    t = (np.arange(len(side)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[side]
    return outline[side] + t[:, None] * (following - outline)[side]


def draw(measured, options):
    """Draw the slices of each kind of network, and the largest missed regions of the coarse grid."""
    figures = {}
    for name, family in FAMILIES.items():
        networks = [m for m in measured.values() if m.dataset == name]
        if networks:
            figures[f"{name}.png"] = _panels(networks, family, False, options)
        if networks and family.polar:
            figures[f"{name}_cartesian.png"] = _panels(networks, family, True, options)
    missed = _largest_missed(measured, options.parameters["grid"])
    if missed:
        figures["missed.png"] = _zooms(missed, options)
    return figures


def _panels(networks, family, cartesian, options):
    """Draw a column for each network and a row for each of the first slices; of many networks, the first slice only."""
    from .. import plot

    n_slices = min(_SLICES, *(m.n_images for m in networks)) if len(networks) <= _FEW else 1
    panels = [(m, i) for i in range(n_slices) for m in networks]
    group = networks[0].key.rpartition("_")[0]  # networks with the same previous advisory are one row
    columns = len(networks) if n_slices > 1 else sum(m.key.rpartition("_")[0] == group for m in networks)
    n_rows = -(-len(panels) // columns)
    size = 1.3 if len(panels) > 1 else 4.0
    figure = plot.new_figure((max(columns * size, 4.0), n_rows * size + 0.5))
    axes = figure.subplots(n_rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for k, (ax, (m, i)) in enumerate(zip(axes.flat, panels)):
        draw_regions(ax, partition_slice(subjects.load(m.key), i, options.threads).regions, cartesian=cartesian)
        ax.tick_params(labelsize=5, length=2)
        ax.locator_params(nbins=4)
        if cartesian:
            ax.set(xlim=(-family.near, family.near), ylim=(-family.near, family.near))
        if n_slices == 1 or k < columns:
            ax.set_title(m.title, fontsize=6, pad=2)
        if n_slices > 1 and k % columns == 0:
            ax.set_ylabel(family.slices[i][0].replace(", ", ",\n"), fontsize=6)
    u, v = ("x, ft", "y, ft") if cartesian else family.axes
    what = f"; {family.slices[0][0]}" if n_slices == 1 else ""
    figure.supxlabel(f"{u}; vertical: {v}{what}", fontsize=7)
    _legend(figure, family)
    return figure


def _legend(figure, family):
    """Name the advisories above all axes."""
    names = [(name, colour) for name, colour in zip(family.advisories, COLOURS)]
    ax = figure.axes[0]
    handles = [ax.fill([], [], facecolor=colour, edgecolor="0.5", linewidth=0.4, label=name)[0] for name, colour in names]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7, frameon=False)


def _largest_missed(measured, grid):
    """Return the slices to zoom into, those with hidden advisories first: list of (Measured, index of the slice)."""
    candidates = []
    for m in measured.values():
        hidden = hidden_advisories(m).any(axis=1)
        for row in np.flatnonzero(rows_of(m, measure=0, grid=grid) & (m["n_missed"] > 0)):
            key = not hidden[row], -m["largest_missed"][row]
            candidates.append((key, (m, int(m["image"][row]))))
    return [each for _, each in sorted(candidates, key=lambda each: each[0])[:_ZOOMS]]


def _zooms(missed, options):
    """Draw the surroundings of missed regions with the points of the coarse grid."""
    from .. import plot

    figure = plot.new_figure((2.6 * len(missed), 3.0))
    for ax, (m, i) in zip(figure.subplots(1, len(missed), squeeze=False).flat, missed):
        subject = subjects.load(m.key)
        exact = partition_slice(subject, i, options.threads)
        draw_regions(ax, exact.regions)
        points = grid_points(subject.family, 0, options.parameters["grid"])
        outline = exact.regions.outlines(_region_to_show(subject, i, exact, points))[0]
        low, high = outline.min(axis=0), outline.max(axis=0)
        cell = (np.array(subject.family.upper) - subject.family.lower) / options.parameters["grid"]
        margin = np.maximum(3.0 * cell, 0.5 * (high - low))
        low, high = np.maximum(low - margin, subject.family.lower), np.minimum(high + margin, subject.family.upper)
        ax.plot(*points[((points > low) & (points < high)).all(axis=1)].T, "k.", ms=2)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.set_title(f"{m.title}\n{subject.family.slices[i][0]}", fontsize=7)
        ax.set_xlabel(subject.family.axes[0], fontsize=7)
        ax.set_ylabel(subject.family.axes[1], fontsize=7)
        ax.tick_params(labelsize=6)
    _legend(figure, subject.family)
    return figure


def _region_to_show(subject, i, exact, points):
    """Return the largest region of a hidden advisory; if there is none, the largest one without a grid point: int."""
    shown = sample(subject, i, exact, points)
    areas = np.where(shown.hit, -1.0, exact.regions.region_areas)
    hidden = shown.shares[exact.regions.region_labels] == 0.0
    return int(np.where(hidden, areas, -1.0).argmax() if hidden.any() else areas.argmax())
