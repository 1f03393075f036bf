"""The rows of a region that are not redundant, by rays from an interior point and linear programs.

Coordinates: v = (y - p) / s with p an interior point and s its distance from the nearest row, so that the unit ball is inside.

Legend: D inputs, F free inputs, M rows, n facets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import FloatArray, IntArray
from ...errors import NumericalError
from ...tolerances import FACET_SLACK, INTERIOR_SHARE, LP_CERTIFICATE, PARALLEL
from .inscribed import LocalRows, largest_ball, local_rows, solve

if TYPE_CHECKING:
    from ...domains import Box
    from .region import Region

_RAY_BYTES = 2**26  # of the products of rows and rays in memory at a time
_RETRIES = 8  # rays from other interior points where several rows are hit at once
_STEP = 2.0**-10  # how far beyond a facet states are read, in the distance of the point on it from other rows


class Facets(NamedTuple):
    """The facets of a region, or of its part in a box.

    Attributes
    ----------
    rows : int64[n]
        Numbers of the region's rows, increasing; of several rows that are the same half-space, the first.
    flip_offsets : int64[n+1]
    flip_neurons, flip_states : int64[*]
        The neurons that change state across each facet, and their states after it.
    witnesses : float64[n, D]
        A point on each facet that is inside all other rows by a margin.
    unclear : int64[*]
        Rows that could not be decided.
    full_dimensional : bool
        Whether the region, or its part in the box among the free inputs, has interior points; else there are no facets, and
        all rows are unclear.
    n_programs : int
        Number of linear programs that were solved.
    """

    rows: IntArray
    flip_offsets: IntArray
    flip_neurons: IntArray
    flip_states: IntArray
    witnesses: FloatArray
    unclear: IntArray
    full_dimensional: bool
    n_programs: int

    @property
    def complete(self) -> bool:
        """Whether every row was decided."""
        return self.full_dimensional and not self.unclear.size


def find_facets(region: Region, box: Box | None) -> Facets:
    """Find the facets of a region, or of its part in a box (``Region.facets``).

    Parameters
    ----------
    region : Region
    box : Box or None

    Returns
    -------
    Facets

    Raises
    ------
    InfeasibleError
        They have no point in common.
    """
    local = local_rows(region, box)
    if not len(local.rows):
        return _make(region, local, {}, local.rows, [], True, 0)
    centered, n_programs = _centered(local)
    if centered is None:
        return _make(region, local, {}, local.rows, local.rows, False, n_programs)
    first_of = _merge_equal(centered)
    search = _Search(centered, np.unique(first_of))
    search.shoot_along_normals()
    search.decide_others()
    return _make(region, centered, search.witnesses, first_of, search.unclear, True, n_programs + search.n_programs)


class _Centered(NamedTuple):
    """Rows around an interior point, in units of its distance ``scale`` from the nearest row."""

    local: LocalRows
    point: np.ndarray  # float64[F] relative to local.point
    scale: float
    normals: np.ndarray
    slacks: np.ndarray  # at least 1
    lower: np.ndarray
    upper: np.ndarray


def _centered(local):
    """Choose an interior point: the region's own, or the Chebyshev centre; (None, programs) if there is none."""
    distances = np.concatenate([local.slacks, local.upper, -local.lower])
    finite = distances[np.isfinite(distances)]
    typical = float(np.median(np.abs(finite)))
    point, room, n_programs = np.zeros(len(local.lower)), float(finite.min()), 0
    if room <= INTERIOR_SHARE * typical or room <= 0.0:
        most = 8.0 * typical if typical > 0.0 else max(1.0, float(np.abs(local.point).max(initial=0.0)))
        point, room = largest_ball(local, 2, most)
        n_programs = 1
        if room <= FACET_SLACK * most:
            return None, n_programs
    slacks = (local.slacks - local.normals @ point) / room
    lower, upper = (local.lower - point) / room, (local.upper - point) / room
    return _Centered(local, point, room, local.normals, slacks, lower, upper), n_programs


def _merge_equal(rows):
    """Return for each row the first one that is the same half-space within the tolerance: int64[M]."""
    first = np.arange(len(rows.slacks))
    both = np.column_stack([rows.normals, rows.slacks / np.maximum(1.0, np.abs(rows.slacks)), np.log2(rows.slacks)])
    key = both @ np.random.default_rng(0).standard_normal(both.shape[1])
    order = np.argsort(key, kind="stable")
    reach = PARALLEL * 8.0 * np.sqrt(both.shape[1])
    for at, m in enumerate(order.tolist()):
        for other in order[at + 1 :].tolist():
            if key[other] - key[m] > reach:
                break
            same = np.abs(rows.normals[other] - rows.normals[m]).max(initial=0.0) <= PARALLEL
            if same and abs(rows.slacks[other] - rows.slacks[m]) <= PARALLEL * rows.slacks[m]:
                low = min(first[m], first[other])
                first[m] = first[other] = low
    while (first[first] != first).any():
        first = first[first]
    return first


class _Search:
    """Decides which of the candidates int64[*] are facets."""

    def __init__(self, rows, candidates):
        self.rows, self.candidates = rows, candidates
        self.normals, self.slacks = rows.normals[candidates], rows.slacks[candidates]
        self.witnesses, self.unclear, self.n_programs = {}, [], 0
        self.open = np.ones(len(candidates), bool)
        self.open &= self._reach() > self.slacks  # the box alone proves the others redundant
        self._rng = np.random.default_rng(1)

    def _reach(self):
        """Return the largest value of each row over the box."""
        sides = np.where(self.normals > 0.0, self.rows.upper, self.rows.lower)
        with np.errstate(invalid="ignore"):
            return np.where(self.normals != 0.0, self.normals * sides, 0.0).sum(axis=1)

    def shoot_along_normals(self):
        """Shoot a ray from the interior point along the normal of each row."""
        index = np.flatnonzero(self.open)
        step = max(1, _RAY_BYTES // (8 * max(1, len(self.slacks))))
        for first in range(0, len(index), step):
            self._shoot(np.zeros(self.normals.shape[1]), self.normals[index[first : first + step]])

    def _shoot(self, origin, directions):
        """Shoot rays; keep each row that is hit alone, with the point, and return which row each ray hit (-1: none alone)."""
        slacks = self.slacks - self.normals @ origin
        speeds = self.normals @ directions.T
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            times = np.where(speeds > 0.0, slacks[:, None] / speeds, np.inf)
            sides = np.where(directions > 0.0, self.rows.upper - origin, self.rows.lower - origin) / directions
        first, ray = np.argmin(times, axis=0), np.arange(len(directions))
        t = times[first, ray]
        with np.errstate(invalid="ignore"):
            room = slacks[:, None] - np.where(np.isfinite(t), t, 0.0) * speeds
            beyond = np.where(np.isfinite(sides), sides, np.inf).min(axis=1, initial=np.inf)
        room[first, ray] = np.inf
        alone = np.isfinite(t) & (room.min(axis=0, initial=np.inf) > FACET_SLACK) & (beyond > t * (1.0 + FACET_SLACK))
        for k in np.flatnonzero(alone).tolist():
            m = int(first[k])
            if self.open[m]:
                self.open[m] = False
                self.witnesses[int(self.candidates[m])] = origin + t[k] * directions[k]
        return np.where(alone, first, -1)

    def decide_others(self):
        """Solve a linear program for each open row: it is redundant, or a ray to the solution finds another facet."""
        while self.open.any():
            m = int(np.flatnonzero(self.open)[0])
            status, v = self._is_redundant(m)
            if status is None:
                self._find_beyond(m, v)
            elif status:
                self.open[m] = False
            else:
                self._give_up(m)

    def _give_up(self, m):
        self.open[m] = False
        self.unclear.append(int(self.candidates[m]))

    def _is_redundant(self, m):
        """Decide whether the facets found so far and the box imply row m: (True, None), (None, a point) if not, (False, None).

        The dual solution must confirm that it is implied: u = sum of multiples of the facets' normals and of unit vectors.
        """
        known = np.searchsorted(self.candidates, sorted(self.witnesses))
        normals = np.concatenate([self.normals[known], self.normals[m : m + 1]])
        slacks = np.append(self.slacks[known], self.slacks[m] + 1.0)
        self.n_programs += 1
        try:
            result = solve(self.normals[m], normals, slacks, self.rows.lower, self.rows.upper)
        except NumericalError:
            return False, None
        if result.status != 0:
            return False, None
        largest = float(self.normals[m] @ result.x)
        if largest > self.slacks[m] + FACET_SLACK:
            return None, result.x
        weights = np.maximum(-result.ineqlin.marginals, 0.0)
        at_lower, at_upper = np.maximum(result.lower.marginals, 0.0), np.maximum(-result.upper.marginals, 0.0)
        rest = self.normals[m] - weights @ normals + at_lower - at_upper
        with np.errstate(invalid="ignore"):
            value = weights @ slacks + np.where(at_upper > 0.0, at_upper * self.rows.upper, 0.0).sum()
            value -= np.where(at_lower > 0.0, at_lower * self.rows.lower, 0.0).sum()
        confirmed = np.abs(rest).max(initial=0.0) <= LP_CERTIFICATE and value <= self.slacks[m] + FACET_SLACK + LP_CERTIFICATE
        return bool(confirmed), None

    def _find_beyond(self, m, v):
        """Find a facet between an interior point and v, which is inside all facets found so far and beyond row m."""
        origin = np.zeros(len(v))
        for _ in range(_RETRIES):
            before = len(self.witnesses)
            self._shoot(origin, (v - origin)[None])
            if len(self.witnesses) > before:
                return
            origin = self._rng.standard_normal(len(v))
            origin *= 0.5 / np.linalg.norm(origin)
        self._give_up(m)


def _make(region, rows, witnesses, first_of, unclear, full_dimensional, n_programs):
    """Assemble the result; keys of ``witnesses``, ``first_of`` and ``unclear`` count the rows that depend on free inputs."""
    local = rows.local if isinstance(rows, _Centered) else rows
    points = np.tile(local.point, (len(witnesses), 1))
    facets, groups, beyond = sorted(witnesses), [], points.copy()
    for n, m in enumerate(facets):
        points[n, local.free] += rows.point + rows.scale * witnesses[m]
        groups.append(np.flatnonzero(first_of == m))
        room = rows.slacks - rows.normals @ witnesses[m]
        room[groups[-1]] = 1.0
        step = rows.scale * _STEP * min(1.0, float(room.min(initial=1.0)))
        beyond[n] = points[n]
        beyond[n, local.free] += step * rows.normals[m]
    flips = _flips(region, [local.rows[group] for group in groups], beyond)
    offsets = np.concatenate([[0], np.cumsum([len(pair[0]) for pair in flips])]).astype(np.int64)
    neurons, states = (np.concatenate([np.empty(0, np.int64), *(pair[k] for pair in flips)]) for k in (0, 1))
    undecided = local.rows[np.sort(np.asarray(unclear, np.int64))] if full_dimensional else local.rows
    return Facets(
        local.rows[np.array(facets, np.int64)], offsets, neurons, states, points, undecided, full_dimensional, n_programs
    )


def _flips(region, groups, beyond):
    """Return for each facet the neurons that change state across it, and their states after it: list of pairs of int64[*].

    A neuron with one row on the facet, alone, changes to the state on the other side. Where several rows coincide, or neurons
    are constant on their threshold, later layers may or may not follow: they have the states at a point just beyond.

    Parameters
    ----------
    region : Region
    groups : list of int64[*]
        The rows on each facet.
    beyond : float64[n, D]
        A point just beyond each facet.
    """
    resting = np.unique(region.constant.neurons[region.constant.margins == 0.0])
    states = None
    if groups and (resting.size or max(len(rows) for rows in groups) > 1):
        states = region.network.states(beyond)
    pairs = []
    for n, rows in enumerate(groups):
        neurons, first = np.unique(region.neurons[rows], return_index=True)
        after = region.other_states[rows][first]
        if states is not None and (resting.size or len(rows) > 1):
            candidates = np.union1d(neurons, resting)
            neurons = candidates[states[n, candidates] != region.states[candidates]]
            after = states[n, neurons].astype(np.int64)
        pairs.append((neurons, after))
    return pairs
