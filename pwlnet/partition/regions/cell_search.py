"""One search of the cells of a box: what each thread works with, how it is continued, and its rows in order.

Legend: D free inputs, S stages, H columns of the largest stage, W words of signs, O outputs, M rows.
"""

import itertools
import time
from typing import NamedTuple

import numpy as np

from ...errors import CapacityError
from ...kernels.regions import cells
from ...kernels.regions import state as st
from ...scheduling import run_slots
from .buffers import empty_tasks, first_task, grow, make_problem, make_results, make_work

NEEDS_CELLS = [st.SIGNS, st.RECORD, st.CONDITION, st.VERTICES]  # settings for which the last cells are made, too
_BUDGET = 2**24  # steps of work of one call: some 50 ms
_SHORT_BUDGET = 2**18  # while signs are asked for
_TRIAL = 2**22  # steps of work that one thread does alone before others are started
_CUTS = 9  # that make a task, with several threads
_TASK_BYTES = 2**26
_PENDING = 2**18  # rows of later tasks that are kept while an earlier one is not finished


class CellRows(NamedTuple):
    """Listed cells; those columns that were not requested are empty."""

    keys: np.ndarray  # int64[M]
    words: np.ndarray  # uint64[M, W]
    points: np.ndarray  # float64[M, D]
    ends: np.ndarray  # int64[M, 2] of facets and vertices
    facets: np.ndarray  # int32[*]
    planes: np.ndarray  # float64[*, D + 1]
    vertices: np.ndarray  # float64[*, D]
    vertex_bits: np.ndarray  # uint64[*]
    maps: np.ndarray  # float64[M, D + 1, O]

    def slice(self, first, last):
        """Return rows ``first`` to ``last``; ends count from the first of them."""
        before = self.ends[first - 1] if first else np.zeros(2, np.int64)
        after = self.ends[last - 1] if last else before
        of_facets, of_vertices = slice(before[0], after[0]), slice(before[1], after[1])
        rows = slice(first, last)
        return CellRows(
            self.keys[rows], self.words[rows], self.points[rows], self.ends[rows] - before, self.facets[of_facets],
            self.planes[of_facets], self.vertices[of_vertices], self.vertex_bits[of_vertices], self.maps[rows],
        )  # fmt: skip


class FoundRows(NamedTuple):
    """Rows, and where they end: a key, and how many rows of it there were so far."""

    rows: CellRows
    position: tuple

    @property
    def nbytes(self):
        """Bytes of the rows."""
        return sum(column.nbytes for column in self.rows)


def join_rows(parts):
    """Join CellRows, one after another."""
    if len(parts) == 1:
        return parts[0]
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    ends, before = joined[3], np.zeros(2, np.int64)
    first = 0
    for part in parts:
        n = len(part.ends)
        ends[first : first + n] += before
        before = before + (part.ends[-1] if n else 0)
        first += n
    return CellRows(*joined)


class CellSearch:
    """A search of the cells of a network on a box.

    Parameters
    ----------
    layers : Layers
    lower, upper : float64[D_in]
    settings : dict of int to int
        Entries of ``Problem.settings``, besides the numbers of stages.
    n_witnesses : int
    exact : ExactSigns, optional
        Answers what the kernel asks.
    root : Tasks, optional
        The first cell, by default the box.
    """

    def __init__(self, layers, lower, upper, settings, *, n_witnesses=1, exact=None, root=None):
        self.layers, self.exact, self.n_witnesses = layers, exact, max(1, n_witnesses)
        self.settings = np.zeros(st.N_SETTINGS, np.int64)
        self.settings[[st.N_STAGES, st.N_LAYERS, st.BUDGET]] = len(layers.stages), layers.n_layers, _BUDGET
        for entry, value in settings.items():
            self.settings[entry] = int(value)
        self.settings[st.LEAF_STAGE] = -1 if self.settings[NEEDS_CELLS].any() else layers.n_layers - 1
        self.problem = make_problem(layers, self.settings)
        self.root = first_task(layers, self.problem, lower, upper) if root is None else root
        self.stopped_by, self.deadline, self.max_cells = None, None, None
        self.slots, self._pending, self._found, self._position, self._closing = [], {}, {}, (0, 0), False
        self._last_key = np.inf  # rows with larger keys belong to tasks that others do

    def run(self, threads):
        """Search on several threads; all rows are kept."""
        for _ in self.stream(threads, keep=True):
            pass

    def rows(self):
        """Return all rows that ``run`` has kept, in order: CellRows."""
        parts = [part for key in sorted(self._pending) for part in self._pending[key]]
        return join_rows(parts) if parts else _rows_of(self.slots[0].results, 0, 0, 0)

    def stream(self, threads, *, tasks=False, start=(0, 0), last_task=None, keep=False):
        """Search on several threads; tasks are cells after some cuts, made by one more slot.

        Parameters
        ----------
        threads : int
        tasks : bool
            Make tasks also for one thread, so that the search can be continued from any of them.
        start : (int, int)
            Position at which to continue: ``(2 k, 0)`` is that of task k.
        last_task : int, optional
            Stop before this task.
        keep : bool
            Keep all rows instead of yielding them.

        Yields
        ------
        FoundRows
            In the order of a search by one thread.
        """
        self._position = start
        first_met, nothing = np.full(1, st.NO_KEY), empty_tasks(self.root, 0, 0)
        n, made = 1, self.root
        if threads > 1 or tasks:
            if not tasks and self._finishes_alone(nothing):
                yield from self._emitted(np.inf, keep)
                return
            n, made = self.make_tasks()
            if last_task is not None and last_task < n:
                n, self._last_key = last_task, 2 * last_task - 1
            first_met = self.slots[0].first_met
        if self.stopped_by in (None, "met"):
            self.stopped_by = None
            shared = made, nothing, np.array([n]), np.array([min(n, start[0] // 2)]), first_met
            yield from self._work([self._make_slot(*shared) for _ in range(max(1, min(threads, n)))], keep)

    def make_tasks(self):
        """Make the cells after some cuts, in one more slot; smaller ones are found on the way: (number of tasks, Tasks)."""
        nothing, made = empty_tasks(self.root, 0, 0), self.root
        per_task = made.maps.nbytes + made.planes.nbytes
        self.settings[st.EXPORT_DEPTH] = max(1, min(_CUTS, int(np.log2(max(2.0, _TASK_BYTES / per_task)))))
        maker = self._make_slot(made, nothing, np.ones(1, np.int64), np.zeros(1, np.int64), np.full(1, st.NO_KEY))
        for _ in self._work([maker], True):
            pass
        self.settings[st.EXPORT_DEPTH] = 0
        return int(self.slots[0].work.at[st.N_TASKS]), self.slots[0].made

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
        results = make_results(self.layers, self.problem, self.n_witnesses, len(tasks.info))
        return cells.CellSlot(self.problem, work, results, tasks, *shared)

    def _work(self, slots, keep):
        """Call slots until all are finished, and make room for what they need in between; yields rows that are complete."""
        first, first_met = len(self.slots), slots[0].first_met
        self.slots += slots
        waiting = list(range(first, len(self.slots)))
        while waiting:
            called = self._called(waiting, keep)
            run_slots(cells.explore_slot, [self.slots[k] for k in called])
            first_met[0] = min(int(slot.work.at[st.FIRST_MET]) for slot in self.slots)
            asked = any(self.slots[k].work.at[st.STATUS] == st.NEED_SIGNS for k in called)
            for k in called:
                self._make_room(k)
            self.settings[st.BUDGET] = _SHORT_BUDGET if asked else min(_BUDGET, 2 * int(self.settings[st.BUDGET]))
            waiting = [k for k in waiting if self.slots[k].work.at[st.STATUS] != st.FINISHED]
            if not keep:
                yield from self._emitted(min((self._key_of(k) for k in waiting), default=np.inf), keep)
            if self._closing or (waiting and self._is_stopped()):
                return
        if first_met[0] < st.NO_KEY and self.settings[st.STOP_WHEN_MET]:
            self.stopped_by = "met"

    def _key_of(self, k):
        """Return the least key of rows that slot k may still find."""
        slot = self.slots[k]
        return int(slot.work.at[st.KEY]) if slot.work.at[st.LEVEL] >= 0 else 2 * int(slot.next_task[0]) + 1

    def _called(self, waiting, keep):
        """Return the slots to call: only that with the earliest task where many rows wait for it."""
        if keep or sum(len(part.keys) for parts in self._pending.values() for part in parts) <= _PENDING:
            return waiting
        return [min(waiting, key=self._key_of)]

    def _is_stopped(self):
        n = sum(int(slot.work.at[st.N_CELLS]) for slot in self.slots)
        if self.max_cells is not None and n > self.max_cells:
            self.stopped_by = "max_cells"
        elif self.deadline is not None and time.monotonic() > self.deadline:
            self.stopped_by = "time_limit"
        return self.stopped_by is not None

    def _make_room(self, k):
        """Make room for what slot k needs, or answer it."""
        slot = self.slots[k]
        status = int(slot.work.at[st.STATUS])
        if status == st.TOO_MANY_FACETS:
            raise CapacityError(
                f"a cell has more than {st.N_FACETS} facets at a time, but at most {st.N_FACETS} are handled; divide the box"
            )
        if status == st.NEED_SIGNS:
            self.exact.answer(self.problem, slot.work)
        elif (status == st.NEED_ROWS and slot.work.at[st.N_ROWS] == 0) or status not in (st.RUNNING, st.FINISHED, st.NEED_ROWS):
            self.slots[k] = grow(slot, status)
        self._take_rows(slot)

    def _take_rows(self, slot):
        """Move the listed rows of a slot to those that are pending, by key."""
        at = slot.work.at
        n = int(at[st.N_ROWS])
        if n:
            taken = _rows_of(slot.results, n, int(at[st.N_ROW_FACETS]), int(at[st.N_ROW_VERTICES]))
            starts = [0, *(np.flatnonzero(np.diff(taken.keys)) + 1).tolist(), n]
            for first, last in itertools.pairwise(starts):
                part = taken if last - first == n else taken.slice(first, last)
                self._pending.setdefault(int(taken.keys[first]), []).append(part)
            at[[st.N_ROWS, st.N_ROW_FACETS, st.N_ROW_VERTICES]] = 0

    def _emitted(self, frontier, keep):
        """Yield the pending rows with keys up to ``frontier``, without those before the start."""
        parts, frontier = [], min(frontier, self._last_key)
        for key in () if keep else sorted(k for k in self._pending if k <= frontier):
            for part in self._pending.pop(key):
                before = self._found.get(key, 0)
                self._found = {key: before + len(part.keys)}
                skipped = len(part.keys) if key < self._position[0] else 0
                if key == self._position[0]:
                    skipped = min(len(part.keys), max(0, self._position[1] - before))
                if skipped < len(part.keys):
                    self._position = key, before + len(part.keys)
                    parts.append(part.slice(skipped, len(part.keys)) if skipped else part)
        if parts:
            yield FoundRows(join_rows(parts), self._position)

    def stop(self):
        """Make a search on another thread end soon."""
        self._closing = True

    def exact_before(self, key):
        """Return how many signs the finished tasks before a key asked for, without those of the slot that made the tasks."""
        return sum(int(slot.results.task_exact[: key // 2].sum()) for slot in self.slots[1:])

    def total(self, entry):
        """Return the sum of an entry of all slots."""
        return sum(int(slot.work.at[entry]) for slot in self.slots)


def _rows_of(results, n, n_facets, n_vertices):
    """Return a copy of the first rows of a slot: CellRows."""
    r = results
    return CellRows(
        r.row_keys[:n].copy(), r.row_patterns[:n].copy(), r.row_points[:n].copy(), r.row_ends[:n].copy(),
        r.row_facets[:n_facets].copy(), r.row_planes[:n_facets].copy(), r.row_vertices[:n_vertices].copy(),
        r.row_bits[:n_vertices].copy(), r.row_maps[:n].copy(),
    )  # fmt: skip
