"""Explore the cells of a box: what each thread works with, and how its results are combined.

Legend: D_in inputs, D free inputs, S stages, H columns of the largest stage.
"""

import time

import numpy as np

from ...errors import CapacityError, InputError
from ...kernels.regions import cells
from ...kernels.regions import state as st
from ...scheduling import n_threads, run_slots
from ...tolerances import UNIT_ROUNDOFF
from .buffers import empty_tasks, first_task, grow, make_problem, make_results, make_work
from .layers import make_layers
from .results import CellRun, ConditionCells, Points, Ranges, neuron_states, pack_signs

WANTS = ("signs", "ranges", "outputs", "patterns")
_BUDGET = 2**24  # steps of work of one call: some 50 ms
_TRIAL = 2**22  # steps of work that one thread does alone before others are started
_CUTS = 9  # that make a task, with several threads
_TASK_BYTES = 2**26


def explore(
    network,
    lower,
    upper,
    *,
    condition=None,
    want=(),
    certify=None,
    max_cells=None,
    time_limit=None,
    threads=None,
    stop_when_met=False,
    n_witnesses=16,
):
    """Find the cells of a network on a box with at most six free inputs: the regions of one activation pattern.

    Exact up to rounding: cells are cut in floating point. A value counts as zero within the rounding error of its affine map;
    ``certify`` counts the other signs at vertices that are not proved, to first order in rounding.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D_in]
        The box; sides may have width zero.
    condition : HalfSpaces, optional
        Find the cells that meet it.
    want : str or tuple of str
        Of "signs", "ranges", "outputs", "patterns": which fields of the result to compute.
    certify : bool, optional
        By default, where there is a condition.
    max_cells : int, optional
        Stop when more cells have been found.
    time_limit : float, optional
        Stop after so many seconds.
    threads : int, optional
    stop_when_met : bool
        Stop at the first cell that meets the condition.
    n_witnesses : int
        Largest number of witnesses, and of points on the boundary of the condition.

    Returns
    -------
    CellRun
        It does not depend on the number of threads, unless the time limit stops it.

    Raises
    ------
    CapacityError
        More than 6 inputs are free, or a cell has more than 64 facets.
    InputError
        ``want`` has another name.
    """
    wants = (want,) if isinstance(want, str) else tuple(want)
    if set(wants) - set(WANTS):
        raise InputError(f"want is {want!r}; the choices are {', '.join(map(repr, WANTS))}")
    lower, upper = (np.ascontiguousarray(x, np.float64).ravel() for x in (lower, upper))
    layers = make_layers(
        network, lower, upper, condition=condition, outputs="outputs" in wants, ranges="ranges" in wants
    )  # fmt: skip
    search = _Search(layers, lower, upper, wants, condition, condition is not None if certify is None else certify)
    search.settings[st.STOP_WHEN_MET] = int(stop_when_met and condition is not None)
    search.n_witnesses, search.max_cells = max(1, n_witnesses), max_cells
    search.deadline = None if time_limit is None else time.monotonic() + time_limit
    search.run(n_threads(threads))
    return _result(network, layers, search, wants, condition, Points(layers, lower, upper))


class _Search:
    """One exploration."""

    def __init__(self, layers, lower, upper, wants, condition, certify):
        self.layers = layers
        lists = "patterns" in wants or layers.merges
        chosen = {
            st.N_STAGES: len(layers.stages),
            st.N_LAYERS: layers.n_layers,
            st.CERTIFY: certify,
            st.CONDITION: condition is not None,
            st.SIGNS: "signs" in wants,
            st.RECORD: 1 if "ranges" in wants else len(layers.stages) if "outputs" in wants else 0,
            st.LIST: lists,
            st.BUDGET: _BUDGET,
        }
        self.settings = np.zeros(st.N_SETTINGS, np.int64)
        self.settings[list(chosen)] = list(map(int, chosen.values()))
        self.settings[st.COUNT_ONLY] = not (wants or lists or condition is not None)
        self.problem = make_problem(layers, self.settings)
        self.root = first_task(layers, self.problem, lower, upper)
        self.stopped_by, self.deadline, self.max_cells, self.n_witnesses = None, None, None, 1
        self.slots, self.rows = [], []

    def run(self, threads):
        """Search on several threads; tasks are cells after some cuts, made by one more slot."""
        first_met, nothing = np.full(1, st.NO_KEY), empty_tasks(self.root, 0, 0)
        n, tasks = 1, self.root
        if threads > 1:
            if self._finishes_alone(nothing):
                return
            per_task = tasks.maps.nbytes + tasks.planes.nbytes
            self.settings[st.EXPORT_DEPTH] = max(1, min(_CUTS, int(np.log2(max(2.0, _TASK_BYTES / per_task)))))
            self._work_until_finished([self._make_slot(tasks, nothing, np.ones(1, np.int64), np.zeros(1, np.int64), first_met)])
            self.settings[st.EXPORT_DEPTH] = 0
            n, tasks = int(self.slots[0].work.at[st.N_TASKS]), self.slots[0].made
        if self.stopped_by in (None, "met"):
            self.stopped_by = None
            shared = tasks, nothing, np.array([n]), np.zeros(1, np.int64), first_met
            self._work_until_finished([self._make_slot(*shared) for _ in range(max(1, min(threads, n)))])
        for slot in self.slots:
            self._take_rows(slot)

    def _finishes_alone(self, nothing):
        """Return whether a short search by one thread finds everything; otherwise nothing is kept of it."""
        first_met = np.full(1, st.NO_KEY)
        slot = self._make_slot(self.root, nothing, np.ones(1, np.int64), np.zeros(1, np.int64), first_met)
        self.settings[st.BUDGET] = _TRIAL
        run_slots(cells.explore_slot, [slot])
        self.settings[st.BUDGET] = _BUDGET
        if slot.work.at[st.STATUS] != st.FINISHED:
            return False
        self.slots = [slot]
        self._take_rows(slot)
        if slot.work.at[st.FIRST_MET] < st.NO_KEY:
            self.stopped_by = "met"
        return True

    def _make_slot(self, tasks, *shared):
        """Return a slot without results, with room for the largest task."""
        largest = int(tasks.info[:, st.TASK_N_VERTICES].max(initial=1))
        work = make_work(self.layers, self.problem, largest)
        return cells.CellSlot(self.problem, work, make_results(self.layers, self.problem, self.n_witnesses), tasks, *shared)

    def _work_until_finished(self, slots):
        """Call slots until all are finished, and make room for what they need in between."""
        first, first_met = len(self.slots), slots[0].first_met
        self.slots += slots
        waiting = list(range(first, len(self.slots)))
        while waiting:
            run_slots(cells.explore_slot, [self.slots[k] for k in waiting])
            first_met[0] = min(int(slot.work.at[st.FIRST_MET]) for slot in self.slots)
            for k in waiting:
                self._make_room(k)
            waiting = [k for k in waiting if self.slots[k].work.at[st.STATUS] != st.FINISHED]
            if not waiting:
                break
            n = sum(int(slot.work.at[st.N_CELLS]) for slot in self.slots)
            if self.max_cells is not None and n > self.max_cells:
                self.stopped_by = "max_cells"
            elif self.deadline is not None and time.monotonic() > self.deadline:
                self.stopped_by = "time_limit"
            if self.stopped_by is not None:
                return
        if first_met[0] < st.NO_KEY and self.settings[st.STOP_WHEN_MET]:
            self.stopped_by = "met"

    def _make_room(self, k):
        """Make room for what slot k needs."""
        slot = self.slots[k]
        status = int(slot.work.at[st.STATUS])
        if status == st.TOO_MANY_FACETS:
            raise CapacityError(
                f"a cell has more than {st.N_FACETS} facets at a time, but at most {st.N_FACETS} are handled; divide the box"
            )
        if status == st.NEED_ROWS:
            self._take_rows(slot)
        elif status not in (st.RUNNING, st.FINISHED):
            self.slots[k] = grow(slot, status)

    def _take_rows(self, slot):
        """Move the listed rows of a slot to the list of all rows."""
        n = int(slot.work.at[st.N_ROWS])
        if n:
            r = slot.results
            self.rows.append((r.row_keys[:n].copy(), r.row_patterns[:n].copy(), r.row_points[:n].copy()))
        slot.work.at[st.N_ROWS] = 0

    def total(self, entry):
        """Return the sum of an entry of all slots."""
        return sum(int(slot.work.at[entry]) for slot in self.slots)

    def listed(self):
        """Return the listed rows in order: (uint64[n, W], float64[n, D])."""
        if not self.rows:
            results = self.slots[0].results
            return results.row_patterns[:0], results.row_points[:0]
        keys, patterns, points = (np.concatenate(x) for x in zip(*self.rows, strict=True))
        order = np.argsort(keys, kind="stable")
        return patterns[order], points[order]


def _first_of(slots, values, keys):
    """Return, entry by entry, the number of the slot with the least value, and among these the least key."""
    best = np.zeros(values[0].shape, np.int64)
    least, key = values[0].copy(), keys[0].copy()
    for k in range(1, len(slots)):
        better = (values[k] < least) | ((values[k] == least) & (keys[k] < key))
        best[better], least[better], key[better] = k, values[k][better], keys[k][better]
    return best


def _combined_ranges(slots):
    """Return the extremes float64[R, 4] of all slots, and where they are attained, float64[R, 2, D]."""
    results = [slot.results for slot in slots]
    extremes = results[0].extremes.copy()
    at = results[0].extreme_at.copy()
    for side, sign in ((0, 1.0), (1, -1.0)):
        best = _first_of(slots, [sign * r.extremes[:, side] for r in results], [r.extreme_key[:, side] for r in results])
        for k, r in enumerate(results):
            extremes[best == k, side], at[best == k, side] = r.extremes[best == k, side], r.extreme_at[best == k, side]
    extremes[:, 2] = np.min([r.extremes[:, 2] for r in results], axis=0)
    extremes[:, 3] = np.max([r.extremes[:, 3] for r in results], axis=0)
    return extremes, at


def _ranges(combined, columns, shifts, points):
    """Return the Ranges of some recorded columns."""
    extremes, at = combined[0][columns], points.inputs(combined[1][columns])
    lower, upper = extremes[:, 0] + shifts, extremes[:, 1] + shifts
    error = np.maximum(extremes[:, 0] - extremes[:, 2], extremes[:, 3] - extremes[:, 1])
    rounding = 2.0 * float(UNIT_ROUNDOFF) * (np.abs(shifts) + np.maximum(np.abs(lower), np.abs(upper)))
    return Ranges(lower, upper, at[:, 0].copy(), at[:, 1].copy(), error + rounding)


def _signs(layers, slots, points):
    """Return the NeuronStates."""
    results, n = [slot.results for slot in slots], slots[0].results.seen_key.shape[1]
    keys = [r.seen_key for r in results]
    best = _first_of(slots, keys, keys)
    at = results[0].seen_at.copy()
    for k, r in enumerate(results):
        at[best == k] = r.seen_at[best == k]
    words = np.bitwise_or.reduce([r.seen for r in results])
    seen = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little", count=n).astype(bool)
    touched = np.max([r.touched[:n] for r in results], axis=0).astype(bool)
    return neuron_states(layers, seen, points.inputs(at), touched)


def _condition(search, points):
    """Return the ConditionCells."""
    slots, n = search.slots, search.n_witnesses
    found = [(slot.results, int(slot.work.at[st.N_WITNESSES]), int(slot.work.at[st.N_BOUNDARY_POINTS])) for slot in slots]
    margins, keys, at = (
        np.concatenate([getattr(r, name)[:count] for r, count, _ in found])
        for name in ("met_margins", "met_keys", "met_points")
    )
    if search.stopped_by == "met":
        order = np.flatnonzero(keys == keys.min())[:1]
    else:
        order = np.lexsort((keys, margins))[:n]
    boundary_keys, boundary = (
        np.concatenate([getattr(r, name)[:count] for r, _, count in found]) for name in ("boundary_keys", "boundary_points")
    )
    first = np.argsort(boundary_keys, kind="stable")[:n]
    clearance = min(float(slot.work.clearance[0]) for slot in slots)
    return ConditionCells(
        search.total(st.N_MET), points.inputs(at[order]), margins[order], search.total(st.N_BOUNDARY),
        points.inputs(boundary[first]), clearance,
    )  # fmt: skip


def _result(network, layers, search, wants, condition, points):
    """Return the CellRun."""
    n_cells, fields = search.total(st.N_CELLS), {}
    if condition is not None:
        fields["condition"] = _condition(search, points)
    if "signs" in wants:
        fields["signs"] = _signs(layers, search.slots, points)
    if search.settings[st.RECORD]:
        combined = _combined_ranges(search.slots)
        if "ranges" in wants:
            fields["ranges"] = _ranges(combined, layers.sources, layers.shifts, points)
        if "outputs" in wants:
            n = network.n_outputs
            fields["outputs"] = _ranges(combined, layers.first_output + np.arange(n), np.zeros(n), points)
    if search.settings[st.LIST]:
        words, at = search.listed()
        packed = pack_signs(network, layers, words)
        if layers.merges:
            _, first = np.unique(packed, axis=0, return_index=True)
            first.sort()
            packed, at, n_cells = packed[first], at[first], len(first)
        if "patterns" in wants:
            fields |= {"packed": packed, "witnesses": points.inputs(at)}
    return CellRun(
        n_cells, search.stopped_by is None, search.stopped_by, search.total(st.N_UNDECIDED), search.total(st.N_TOUCHING),
        layers.free, **fields,
    )  # fmt: skip
