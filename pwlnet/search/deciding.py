"""Decision of one box: falsification, then branch and bound, over sides and cells where few inputs vary, else over neurons.

Legend: D inputs, U polytopes, N open boxes.
"""

import numpy as np

from .cells import MOST_FREE, SAT, UNDECIDED, UNSAT, decide_cells
from .conditions import make_rows
from .confirm import Confirmer
from .falsify import falsify
from .input_splits import InputSplits
from .neuron_splits import NeuronSplits, can_split

METHODS = ("auto", "splits", "neurons", "cells")
_FIRST_CELLS = 64  # branches before cells are tried; each time 16 times as many
_MOST_STUCK = 256  # boxes whose cells are tried one by one


class BoxSearch:
    """The decision of whether a union of conditions holds in a box.

    Parameters
    ----------
    network : Network
    union : sequence of HalfSpaces
    lower, upper : float64[D]
    clock : Clock
    max_branches : int, optional
    threads : int, optional
    method : str, optional
        One of `METHODS`.

    Attributes
    ----------
    status : str
    witness : float64[D] or None
    engine : str
        What decided, or was used last: "exact", "falsification", "splits", "neurons" or "cells".
    stopped_by : str or None
        "time_limit", "max_branches" or "resolution", where the status is "undecided" after ``finish``.
    n_branches, n_cells : int
    open_boxes : (float64[N, D], float64[N, D])
        Boxes that are left.
    n_open : int
        Their number; for "neurons", the number of parts of the box that are left.
    """

    def __init__(self, network, union, lower, upper, *, clock, max_branches=None, threads=None, method="auto"):
        self.network, self.union, self.lower, self.upper = network, union, lower, upper
        self.clock, self.max_branches, self.threads, self.method = clock, max_branches, threads, method
        self.confirmer = Confirmer(network, union, lower, upper)
        self.status, self.witness, self.engine, self.n_branches, self.n_cells = UNDECIDED, None, "exact", 0, 0
        self.stopped_by, self._splits, self._neurons = None, None, None

    def begin(self):
        """Decide what takes little time: trivial conditions, single points, conditions that hold at many points."""
        if not self.union:
            self.status = UNSAT
        elif not (self.upper > self.lower).any() or any(not len(part.b) for part in self.union):
            middle = np.clip(self.lower + (self.upper - self.lower) / 2, self.lower, self.upper)
            self._take("exact", middle if self.confirmer(middle) else None)
            self.status = SAT if self.witness is not None else UNSAT
        elif not self.clock.is_up():
            self._falsify()

    def finish(self):
        """Decide what ``begin`` did not, unless the time or the number of branches is used up before."""
        if self.status == UNDECIDED and not self.clock.is_up():
            if self.method == "cells":
                self._try_cells(None)
            elif self.method == "neurons":
                self._run_neurons(np.ones(len(self.union), bool))
            elif self.method == "auto" and not self._few_free and can_split(self.network):
                self._run_wide()
            else:
                self._run_splits()
        if self.status == UNDECIDED:
            self.stopped_by = "time_limit" if self.clock.is_up() else self._reason()

    def _take(self, engine, witness):
        self.engine = engine
        if witness is not None:
            self.status, self.witness = SAT, witness

    def _falsify(self):
        """Try to find a witness fast."""
        rng = np.random.default_rng(0)
        rows = make_rows(self.union)
        how = {"stop": self.clock.is_up, "threads": self.threads}
        point, _ = falsify(self.network, rows, self.lower, self.upper, rng=rng, **how)
        if self.confirmer(point):
            self._take("falsification", point)

    @property
    def _few_free(self):
        return int((self.upper > self.lower).sum()) <= MOST_FREE

    def _run_splits(self):
        """Split boxes; between rounds, try cells with as many cells as there were branches."""
        rows = make_rows(self.union)
        self._splits = splits = InputSplits(self.network, rows, self.lower, self.upper, self.confirmer, threads=self.threads)
        goal = _FIRST_CELLS
        while self.status == UNDECIDED:
            most = goal if self.max_branches is None else min(goal, self.max_branches)
            self.engine = "splits"
            splits.run(self.clock.is_up, most if self.method == "auto" and self._few_free else self.max_branches)
            self.n_branches = splits.n_branches
            if splits.witness is not None:
                self._take("splits", splits.witness)
            elif not len(splits.open):
                self._decide_stuck()
                return
            elif self.clock.is_up() or (self.max_branches is not None and self.n_branches >= self.max_branches):
                return
            else:
                self._try_cells(4 * goal)
                goal *= 16

    def _run_wide(self):
        """Bound the box itself; then split neurons."""
        rows = make_rows(self.union)
        splits = InputSplits(self.network, rows, self.lower, self.upper, self.confirmer, threads=self.threads)
        splits.run(self.clock.is_up, 1)
        self.engine, self.n_branches = "splits", splits.n_branches
        left = splits.open.joined(splits.stuck)
        if splits.witness is not None:
            self._take("splits", splits.witness)
        elif not len(left):
            self.status = UNSAT
        elif not self.clock.is_up() and (self.max_branches is None or self.n_branches < self.max_branches):
            self._run_neurons(left.alive.any(axis=0))

    def _run_neurons(self, alive):
        """Split neurons, for the polytopes that may hold."""
        self._neurons = neurons = NeuronSplits(
            self.network, make_rows(self.union), alive, self.lower, self.upper, self.confirmer, self.clock, threads=self.threads
        )
        self.engine = "neurons"
        neurons.run(None if self.max_branches is None else self.max_branches - self.n_branches)
        self.n_branches += neurons.n_branches
        if neurons.witness is not None:
            self._take("neurons", neurons.witness)
        elif not neurons.n_open:
            self.status = UNSAT

    def _try_cells(self, max_cells):
        """Decide by the cells of the whole box."""
        answer = self._cells(range(len(self.union)), self.lower, self.upper, max_cells)
        if answer.status == SAT:
            self._take("cells", answer.witness)
        elif answer.status == UNSAT:
            self.status, self.engine = UNSAT, "cells"

    def _cells(self, polytopes, lower, upper, max_cells):
        how = {"max_cells": max_cells, "threads": self.threads}
        answer = decide_cells(self.network, self.union, polytopes, lower, upper, self.confirmer, self.clock, **how)
        self.n_cells += answer.n_cells
        return answer

    def _decide_stuck(self):
        """Decide the boxes that were too small to be split, by their cells."""
        stuck, left = self._splits.stuck, []
        for k in range(len(stuck)):
            if not self._few_free or k >= _MOST_STUCK or self.clock.is_up():
                left.append(k)
                continue
            answer = self._cells(np.flatnonzero(stuck.alive[k]), stuck.lower[k], stuck.upper[k], None)
            if answer.status == SAT:
                self._take("cells", answer.witness)
                return
            if answer.status == UNDECIDED:
                left.append(k)
        self._splits.stuck = stuck.take(left)
        if not left:
            self.status = UNSAT

    def _reason(self):
        """Return why a search ended without an answer before its time was up."""
        if self.max_branches is not None and self.n_branches >= self.max_branches:
            return "max_branches"
        return "resolution"

    @property
    def n_open(self):
        """Number of parts of the box that are left: int."""
        if self.status != UNDECIDED or self._neurons is None:
            return len(self.open_boxes[0])
        return self._neurons.n_open

    @property
    def open_boxes(self):
        """Boxes that are left: (float64[N, D], float64[N, D])."""
        if self.status != UNDECIDED:
            return np.zeros((0, len(self.lower))), np.zeros((0, len(self.lower)))
        if self._splits is None:
            return self.lower[None], self.upper[None]
        return tuple(np.concatenate([getattr(x, name) for x in (self._splits.open, self._splits.stuck)])
                     for name in ("lower", "upper"))  # fmt: skip
