"""Branch and bound over the pieces of neurons: prove a claim about one input of a switching op, or find a point against it.

Each node is a part of the set: elementwise neurons restricted to intervals of their pre-activation, windows to a winning tap.
Its linear program relaxes the other neurons. A node is closed if its safe or exact dual bound (relaxed_lp.py) proves the claim,
or that the node is empty; never by the solver's word.
"""

import time
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np

from ..tolerances import UNIT_ROUNDOFF
from .evidence import descend
from .intervals import value_at
from .relaxation import ROOT, Node
from .relaxed_lp import exact_lower, safe_lower, solve

CLOSED, REFUTED, STUCK, INTERRUPTED = "closed", "refuted", "stuck", "interrupted"
_NEARLY = 2.0**20 * UNIT_ROUNDOFF  # relative distance from the threshold within which rational arithmetic is tried
_LEAST_PRICE = 2.0**-10  # of a neuron's distance from its graph, for neurons whose rows are not active
_ROUNDS = 4  # of local search from the solution of a linear program


class Claims:
    """Claims about one set and their open nodes.

    Parameters
    ----------
    builder : Builder
    evidence : Evidence
    deadline : float
        ``time.monotonic()`` at which to stop.
    tighten : callable
        Takes a node; returns sound Intervals of all values on it, or None if they prove that it is empty.
    """

    def __init__(self, builder, evidence, deadline, tighten):
        self.builder, self.evidence, self.deadline, self.tighten = builder, evidence, deadline, tighten
        self.elimination = builder.elimination
        self._open, self._stuck = {}, Counter()
        self.n_programs = self.n_nodes = 0

    def is_stuck(self, target):
        """Return whether no attempt is left for a target."""
        return target in self._stuck

    def n_open(self, target):
        """Return the number of nodes of a target that are not closed."""
        return len(self._open.get(target, [ROOT])) + self._stuck[target]

    def prove(self, target, n_nodes, is_refuted):
        """Examine up to ``n_nodes`` open nodes of a target: CLOSED, REFUTED, STUCK or INTERRUPTED.

        Parameters
        ----------
        target : Target
        n_nodes : int
        is_refuted : callable
            Returns whether the evidence contradicts the claim.
        """
        nodes = self._open.setdefault(target, [ROOT])
        for _ in range(n_nodes):
            if not nodes:
                break
            if time.monotonic() > self.deadline:
                return INTERRUPTED
            node = nodes.pop()
            outcome = self._examine(target, node, is_refuted)
            self.n_nodes += 1
            if outcome == INTERRUPTED:
                nodes.append(node)
                return INTERRUPTED
            if outcome == STUCK:
                self._stuck[target] += 1
            if outcome in (REFUTED, STUCK):
                return outcome
            nodes += outcome
        return INTERRUPTED if nodes else CLOSED

    def _examine(self, target, node, is_refuted):
        """Return the nodes that replace a node (none if it is closed), or another outcome."""
        if (node.cuts or node.taps) and node.intervals is None:
            intervals = self.tighten(node)
            if intervals is None or self._holds(target, intervals):
                return []
            node = node._replace(intervals=intervals)
        program = self.builder.build(target, node)
        solution = self._solve(program)
        if solution.status == 2 and (node.cuts or node.taps):
            return self._examine_empty(target, node)
        if solution.status != 0:
            return INTERRUPTED if time.monotonic() > self.deadline else STUCK
        if self._is_proved(program, solution, target.threshold) or self._is_proved_widened(program, solution, target, node):
            return []
        point = self._point(program, solution)
        self._look(target, point)
        if is_refuted():
            return REFUTED
        children = self._split(target, node, program, solution)
        if children is not None:
            return children
        self._look_exactly(target, point)
        return REFUTED if is_refuted() else STUCK

    def _holds(self, target, intervals):
        """Return whether intervals prove a claim about one entry."""
        if target.largest:
            return bool(intervals.z_lo[target.block][list(target.entries)].max() >= target.threshold)
        (k, *others), sign = target.entries, target.weights[0]
        if others:
            return bool(intervals.z_lo[target.block][k] >= intervals.z_hi[target.block][others[0]])
        bound = intervals.z_lo[target.block][k] if sign > 0 else -intervals.z_hi[target.block][k]
        return bool(bound >= target.threshold)

    def _solve(self, program):
        self.n_programs += 1
        return solve(program, self.deadline - time.monotonic())

    def _is_proved(self, program, solution, threshold, *, strictly=False):
        bound = safe_lower(program, solution.y_eq, solution.y_ub)
        if bound > threshold or (bound == threshold and not strictly):
            return True
        if not self._is_close(program, bound, threshold):
            return False
        exact, limit = exact_lower(self.elimination, program, solution.y_eq, solution.y_ub), Fraction(threshold)
        return exact > limit or (exact == limit and not strictly)

    def _is_close(self, program, bound, threshold):
        """Return whether a bound is so close to the threshold that rational arithmetic may prove the claim, and affordable."""
        scale = 1.0 + abs(threshold) + float(np.maximum(np.abs(program.lo), np.abs(program.hi)).max(initial=0.0))
        affordable = self.elimination.n_products <= self.evidence.exact_products
        return affordable and np.isfinite(scale) and np.isfinite(bound) and bound >= threshold - _NEARLY * scale

    def _is_proved_widened(self, program, solution, target, node):
        """Try again without the bounds that are results of rounding, if the claim holds but for rounding."""
        if not self._is_close(program, safe_lower(program, solution.y_eq, solution.y_ub), target.threshold):
            return False
        widened = self.builder.build(target, node, widen=True)
        other = self._solve(widened)
        return other.status == 0 and self._is_proved(widened, other, target.threshold)

    def _examine_empty(self, target, node):
        """Prove that a node which the solver calls empty is empty; split it otherwise."""
        program = self.builder.build(target, node, elastic=True)
        solution = self._solve(program)
        if solution.status == 0 and self._is_proved(program, solution, 0.0, strictly=True):
            return []
        if solution.status != 0:
            return INTERRUPTED if time.monotonic() > self.deadline else STUCK
        children = self._split(target, node, program, solution)
        return STUCK if children is None else children

    def _point(self, program, solution):
        """Return the inputs of a solution, moved into the set: float64[D]."""
        point_set = self.evidence.point_set
        point, columns = point_set.center.copy(), program.v_columns[: len(point_set.center)]
        point[columns >= 0] = solution.x[columns[columns >= 0]]
        return point_set.pull(point[None])[0]

    def _look(self, target, point):
        """Search near a point for one that contradicts the claim."""
        found, _ = descend(self.elimination, self.evidence.point_set, [target], point[None], _ROUNDS)
        self.evidence.add(np.concatenate([point[None], found]))

    def _look_exactly(self, target, point):
        """Take a point into account in rational arithmetic."""
        self.evidence.add_exactly(point, target.block)

    def _split(self, target, node, program, solution):
        """Return nodes that cover a node, one for each piece of the neuron that is relaxed most; None if none is relaxed."""
        best = self._candidates(target, node, program, solution, 1)
        return self._pieces(*best[0], node, program, solution) if best else None

    def _candidates(self, target, node, program, solution, n):
        """Return the n neurons with several pieces that are relaxed most, by block and index: list of (int, int)."""
        found = []
        for s in range(target.block):
            gaps = self._gaps(s, node, program, solution)
            found += [(-gap, s, k) for k, gap in sorted(gaps.items(), key=lambda item: (-item[1], item[0]))[:n]]
        return [(s, k) for _, s, k in sorted(found)[:n]]

    def _pieces(self, s, k, node, program, solution):
        """Return nodes that cover a node, one for each piece of a neuron, that of the solution last: list of Node."""
        if self.elimination.blocks[s].windows is not None:
            return [Node(node.cuts, {**node.taps, (s, k): tap}) for tap in self._taps(s, k, node)]
        lo, hi = (float(x[s][k]) for x in self.builder.intervals_of(node)[2:])
        ends = [lo, *(t for t in self.elimination.blocks[s].thresholds.tolist() if lo < t < hi), hi]
        z = solution.x[program.z_columns[s][k]]
        pieces = sorted(pairwise(ends), key=lambda piece: max(piece[0] - z, z - piece[1]), reverse=True)
        return [Node({**node.cuts, (s, k): piece}, node.taps, None) for piece in pieces]

    def _gaps(self, s, node, program, solution):
        """Return the distances of the values of a block's neurons with several pieces from their graphs, by index: dict."""
        block = self.elimination.blocks[s]
        y = program.v_columns[block.first : block.first + block.n]
        if block.windows is not None:
            gaps = {}
            for k in np.flatnonzero(y >= 0).tolist():
                if (s, k) not in node.taps and len(self._taps(s, k, node)) > 1:
                    columns = program.z_columns[s][block.windows[k][block.windows[k] >= 0]]
                    gaps[k] = abs(float(solution.x[y[k]] - solution.x[columns].max()))
            return gaps
        lo, hi = (x[s] for x in self.builder.intervals_of(node)[2:])
        inner = ((lo < block.thresholds[:, None]) & (block.thresholds[:, None] < hi)).any(axis=0)
        k = np.flatnonzero((y >= 0) & (program.z_columns[s] >= 0) & inner)
        if not len(k):
            return {}
        gaps = np.abs(solution.x[y[k]] - value_at(block, k, solution.x[program.z_columns[s][k]])[0])
        prices = [np.abs(solution.y_ub[program.chords.get((s, j), [])]).max(initial=0.0) for j in k.tolist()]
        return dict(zip(k.tolist(), (gaps * (np.array(prices) + _LEAST_PRICE)).tolist(), strict=True))

    def _taps(self, s, k, node):
        """Return the taps of a window that may win, by intervals: list of int."""
        window = self.elimination.blocks[s].windows[k]
        lo, hi = (x[s] for x in self.builder.intervals_of(node)[2:])
        best = max(lo[j] for j in window if j >= 0)
        return [t for t, j in enumerate(window.tolist()) if j >= 0 and hi[j] >= best]
