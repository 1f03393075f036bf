"""The smallest value of a function of the outputs on a box, by branch and bound.

Legend: D inputs, N open boxes.
"""

from typing import NamedTuple

import numpy as np

from ..bounds import bound_preactivations
from ..domains import Box
from ..partition.regions.exploring import explore
from ..tolerances import RANGE_GAP, UNIT_ROUNDOFF
from .cells import MOST_FREE
from .conditions import Rows
from .falsify import descend, falsify, likely_points
from .input_splits import InputSplits

_FEW_CELLS = 4096  # found in about a second
_ROUNDINGS = 8.0  # smallest gap: this many bounds of the rounding errors at a point


class Extreme(NamedTuple):
    """The smallest value of a function on a box."""

    value: float  # attained at ``point``, by a float64 forward pass
    point: np.ndarray  # float64[D]
    bound: float  # lower bound of all values, sound in floating point
    complete: bool  # whether value - bound is at most the gap that was asked for


class _Minimum(InputSplits):
    """Branch and bound for the smallest value of ``row @ y``: boxes that cannot have a smaller one by the gap are closed."""

    def __init__(self, network, row, lower, upper, gap, *, threads=None):
        super().__init__(network, Rows(row[None], np.zeros(1), np.array([0, 1])), lower, upper, None, threads=threads)
        self.value, self.point, self.gap, self.closed = np.inf, None, gap, np.inf

    def improve(self, point):
        """Take a point, if its value is smaller."""
        value = float(self.rows.margins(self.network.forward(point, threads=1))[0, 0])
        if value < self.value:
            self.value, self.point = value, point

    def _is_alive(self, lowest):
        alive = lowest < self.value - self.gap
        if not alive.all():
            self.closed = min(self.closed, float(lowest[~alive].min()))
        return alive

    def _look(self, boxes):
        how = {"threads": self.threads}
        points, margins = likely_points(self.network, self.rows, boxes.alive, boxes.lower, boxes.upper, **how)
        best = points[np.argsort(margins, kind="stable")[:4]]
        moved, _ = descend(self.network, self.rows, 0, best, self.lower, self.upper, n_steps=3, target=-np.inf, **how)
        self.improve(best[0])
        self.improve(moved)

    @property
    def bound(self):
        """Lower bound of all values: float."""
        return min(self.closed, float(min(part.bound.min(initial=np.inf) for part in (self.open, self.stuck))))


def minimize(network, row, lower, upper, *, gap, stop, max_branches=None, threads=None):
    """Minimise ``row @ y`` over the outputs y of a box.

    Parameters
    ----------
    network : Network
    row : float64[O]
    lower, upper : float64[D]
    gap : float
        Difference between the value and its bound at which the search ends, unless rounding errors are larger.
    stop : callable
        Returns whether time is up.
    max_branches : int, optional
    threads : int, optional

    Returns
    -------
    Extreme
    """
    search = _Minimum(network, row, lower, upper, gap, threads=threads)
    how = {"rng": np.random.default_rng(0), "target": -np.inf, "threads": threads}
    point, _ = falsify(network, search.rows, lower, upper, n_points=128, n_starts=8, **how)
    search.improve(point)
    search.gap = gap = max(gap, _ROUNDINGS * (search.value - _bound_at(network, row, search.point)))
    search.run(stop, max_branches)
    if search.n_branches == 0:
        search.run(_never(), 1)  # there is always a bound
    return Extreme(search.value, search.point, search.bound, search.value - search.bound <= gap)


def _never():
    return lambda: False


def _bound_at(network, row, point):
    """Return a lower bound of ``row @ y`` at a point: less than its value by rounding errors, which no split makes smaller."""
    spec = row[None], np.zeros(1)
    return float(
        bound_preactivations(network, Box(point[None], point[None]), method="ibp", spec=spec, threads=1).spec_lower[0, 0]
    )


def extremes(network, lower, upper, *, clock, max_branches=None, threads=None):
    """Find the smallest value of each output on a box, and of its negative.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D]
    clock : Clock
    max_branches : int, optional
        For each of them.
    threads : int, optional

    Returns
    -------
    (list of Extreme, list of Extreme)
    """
    if int((upper > lower).sum()) <= MOST_FREE and not clock.is_up():
        found = _by_cells(network, lower, upper, clock, threads)
        if found is not None:
            return found
    found = ([], [])
    samples = network.forward(
        np.clip(lower + (upper - lower) * np.random.default_rng(0).random((64, len(lower))), lower, upper)
    )
    sizes = np.maximum(np.ptp(samples, axis=0), UNIT_ROUNDOFF * np.abs(samples).max(axis=0))
    for o, size in enumerate(sizes.tolist()):
        for side, sign in zip(found, (1.0, -1.0), strict=True):
            row = np.where(np.arange(network.n_outputs) == o, sign, 0.0)
            limits = {"gap": RANGE_GAP * size, "stop": clock.is_up, "max_branches": max_branches}
            side.append(minimize(network, row, lower, upper, **limits, threads=threads))
    return found


def _by_cells(network, lower, upper, clock, threads):
    """Return the extremes by the cells of a box; None if it has more than a few."""
    limits = {"max_cells": _FEW_CELLS, "time_limit": clock.left, "threads": threads}
    run = explore(network, lower, upper, want="outputs", **limits)
    if not run.complete:
        return None
    ranges, found = run.outputs, ([], [])
    for o in range(network.n_outputs):
        for side, sign, points, ends in zip(
            found, (1.0, -1.0), (ranges.lower_at, ranges.upper_at), (ranges.lower, -ranges.upper), strict=True
        ):
            point = np.clip(points[o], lower, upper)
            value = sign * float(network.forward(point, threads=1)[0, o])
            side.append(Extreme(value, point, min(value, float(ends[o] - ranges.error[o])), True))
    return found
