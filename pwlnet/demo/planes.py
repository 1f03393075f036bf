"""The decision regions of a shipped controller with two inputs: exact, and what a grid of points misses."""

import time

import numpy as np

from .. import datasets, plot, store
from ..analysis.queries import find_where
from ..conditions import HalfSpaces
from ..loading import load_network
from ..partition.planes.partitions import partition_planes
from .text import text_table

CORNERS = np.array([[-np.pi, -8.0], [np.pi, -8.0], [np.pi, 8.0], [-np.pi, 8.0]])  # angle in rad, angular speed in rad/s
TORQUES = ("0", "-2.5", "2.5", "-5", "5")  # N m
GRID = 250  # points of each axis
HEADINGS = ("torque (N m)", "share of the states", "share of a grid", "connected regions", "without a grid point")


def show(out):
    """Print the exact share of each decision of the controller, and store, verify and plot its decision regions.

    Writes ``pendulum.h5`` and ``pendulum_regions.png``.

    Parameters
    ----------
    out : Path
        Folder for the files.
    """
    network = load_network(datasets.control_network_path("pendulum"))
    start = time.perf_counter()
    planes = partition_planes(network, np.zeros(2), [1.0, 0.0], [0.0, 1.0], CORNERS)
    part = planes.parts[0]
    regions = part.classes()
    seconds = time.perf_counter() - start
    print(
        f"Controller of a pendulum, 2 inputs: {part.n_polygons} activation regions, {regions.n_regions} decision regions, "
        f"{planes.n_exact} decisions with integers, {seconds:.2f} s"
    )
    u, v = ((np.arange(GRID) + 0.5) / GRID * (high - low) + low for low, high in zip(CORNERS[0], CORNERS[2], strict=True))
    grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    chosen = network.forward(grid).argmax(axis=1)
    rows = []
    for c, torque in enumerate(TORQUES):
        here = np.flatnonzero(regions.region_labels == c)
        missed = sum(not _contains_any(regions, r, grid[chosen == c]) for r in here)
        share = f"{regions.shares[c]:.5f}", f"{(chosen == c).mean():.5f}"
        rows.append((torque, *share, str(len(here)), str(missed)))
    print(text_table(HEADINGS, rows))
    weak = HalfSpaces(np.eye(5)[[3, 4]] - np.eye(5)[0], np.zeros(2))
    print(f"states in which torque 0 scores at least as high as both strong torques: {_answer(part, weak)}")
    path = out / "pendulum.h5"
    path.unlink(missing_ok=True)
    store.save_planes(path, planes)
    with store.open(path) as opened:
        problems = opened.verify()
    print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB) {'; '.join(problems) or 'verified: checksums, consistency'}")
    figure = plot.new_figure((6.0, 4.5))
    ax = figure.add_subplot()
    plot.decision_regions(regions, ax=ax, names=[f"{torque} N m" for torque in TORQUES])
    ax.set(xlabel="angle (rad)", ylabel="angular speed (rad/s)")
    figure.savefig(out / "pendulum_regions.png", dpi=150)
    print(f"{out / 'pendulum_regions.png'}")


def _contains_any(regions, r, points):
    """Return whether any of some points is in region r: inside an odd number of its loops."""
    inside = np.zeros(len(points), np.int64)
    for loop in regions.outlines(r):
        a, b = loop, np.roll(loop, -1, axis=0)
        low, high = loop.min(axis=0), loop.max(axis=0)
        near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        u, v = points[near, 0, None], points[near, 1, None]
        crosses = (a[:, 1] > v) != (b[:, 1] > v)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = a[:, 0] + (v - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
        inside[near] += (crosses & (u < at)).sum(axis=1)
    return bool((inside % 2).any())


def _answer(part, condition):
    """Return the answer of a query as text."""
    found = find_where(part, condition)
    if not found.exists:
        return "none"
    state = ", ".join(f"{x:.3f}" for x in found.witness)
    return f"a share of {found.share:.4f}, for example ({state})"
