"""Decide neuron by neuron, on one set, which are fixed and which float.

Legend: K neurons, D entries of op 0, M rows of a specification, B parts.
"""

import itertools
import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..domains import Ball, Box
from ..errors import NumericalError
from ..kernels._jit import compile_seconds
from .bisection import Bisection
from .evidence import Evidence, descend
from .intervals import propagate
from .preactivations import bound_preactivations
from .proving import Prover
from .relaxation import Target

_SAMPLES = 256
_SEARCHED = 64  # targets of a local search at a time
_ROUNDS = 12  # steps of a local search
_BISECTED_INPUTS = 6  # inputs that vary, at most, for bisection
_BISECTION_SHARE = 0.4  # of the time that is left
_FIRST_BOXES = 2048  # before the linear programs
_BOXES = 200000
_EXACT_PRODUCTS = 20000  # of an evaluation in rational arithmetic
_NODES = (1, 4, 16, 64)  # nodes of branch and bound for each neuron, round by round


class Parts(NamedTuple):
    """Bounds on B parts of a set; they mean nothing where a part is empty."""

    lower: np.ndarray  # float64[B, K]
    upper: np.ndarray
    spec_lower: np.ndarray  # float64[B, M] of the rows of the specification
    spec_upper: np.ndarray
    is_empty: np.ndarray  # bool[B]


class Decider:
    """The state of all neurons on one set.

    Parameters
    ----------
    elimination : Elimination
    point_set : PointSet
    rng : numpy.random.Generator
    deadline : float
        ``time.monotonic()`` at which to stop.
    options : dict
        Method and threads of ``bound_preactivations``.
    spec : (float64[M, O], float64[M]), optional
        Rows of outputs, which are the input of the last block of the elimination (see output_claims.py).
    """

    def __init__(self, elimination, point_set, rng, deadline, options, spec=None):
        network = elimination.network
        self.elimination, self.point_set, self.rng, self.deadline, self.options = elimination, point_set, rng, deadline, options
        self.network, self.spec, n = network, spec, network.n_neurons
        self.lower, self.upper = np.full(n, -np.inf), np.full(n, np.inf)
        self.pool_states = np.full(n, -1)
        self.evidence = Evidence(elimination, point_set, _EXACT_PRODUCTS)
        self.place = {}  # block and stored index of each neuron
        for s, block in enumerate(elimination.blocks):
            self.place |= {int(number): (s, k) for k, number in enumerate(block.numbers)}
        self.intervals = self._known = None

    def run(self, *, use_programs, max_nodes, progress):
        """Decide as many neurons as the time allows."""
        if not self.network.n_neurons:
            return
        before = compile_seconds()
        self.bound(self.options["method"])
        self.deadline += compile_seconds() - before
        self._sample()
        self._search()
        if self.is_over():
            return
        self.bound("alpha_crown")
        use_programs = use_programs and self.point_set.is_polytope
        self._bisect(_FIRST_BOXES if use_programs else _BOXES)
        if use_programs:
            prover = Prover(self, max_nodes, progress)
            prover.run(_NODES)
            self._bisect(_BOXES)
            prover.run(itertools.repeat(_NODES[-1]))

    def result(self):
        """Return lower, upper bool[K], states int32[K], and the witnesses.

        Raises
        ------
        NumericalError
            Proofs and points contradict each other.
        """
        states = self.states()
        wrong = np.flatnonzero(self.evidence.floats & (states >= 0))
        if len(wrong):
            raise NumericalError(
                f"neuron {wrong[0]} is proved to be fixed in state {states[wrong[0]]}, but two points have different states; "
                "report this as a bug"
            )
        return self.evidence.floats.copy(), states < 0, states, self.evidence.witnesses()

    def states(self):
        """Return the state of each neuron that is proved to be fixed, else -1: int32[K]."""
        states = self.pool_states.copy()
        for block in self.elimination.blocks:
            if block.windows is not None or not block.n:
                continue
            thresholds, lower, upper = block.thresholds[:, None], self.lower[block.numbers], self.upper[block.numbers]
            below, above = upper <= thresholds, lower >= thresholds
            piece = (above & ~below).sum(axis=0)
            states[block.numbers] = np.where((below | above).all(axis=0), block.states[piece], -1)
        return states.astype(np.int32)

    def is_over(self):
        """Return whether the time is over."""
        return time.monotonic() > self.deadline

    def open_neurons(self):
        """Return the neurons that are not decided: int64."""
        return np.flatnonzero((self.states() < 0) & ~self.evidence.floats)

    def bound(self, method):
        """Take sound bounds under the known states into account."""
        known = self._known
        if known is not None:
            known = replace(known, lower=self.lower[None], upper=self.upper[None], states=self.states()[None])
        only_open, threads = known is not None, self.options["threads"]
        self._known = bound_preactivations(
            self.network, self._domain(), method=method, known=known, spec=self.spec, only_open=only_open, threads=threads
        )
        self._take(self._known.lower[0], self._known.upper[0], self._known.states[0])

    def tighten(self, node):
        """Return intervals on a node, or None if it is empty."""
        return self.intervals_on(self.bound_parts([node]), 0)

    def bound_parts(self, nodes):
        """Bound all values on nodes by linear bounds: Parts."""
        n = len(nodes)
        lower, upper, states = (np.repeat(x[None], n, axis=0) for x in (self.lower, self.upper, self.states()))
        for b, node in enumerate(nodes):
            for (s, k), (lo, hi) in node.cuts.items():
                block = self.elimination.blocks[s]
                number = block.numbers[k]
                lower[b, number], upper[b, number] = max(lower[b, number], lo), min(upper[b, number], hi)
                states[b, number] = block.states[int((0.5 * lo + 0.5 * hi > block.thresholds).sum())]
            for (s, k), tap in node.taps.items():
                states[b, self.elimination.blocks[s].numbers[k]] = tap
        known = replace(self._known, lower=lower, upper=upper, states=states)
        how = {"method": "crown", "spec": self.spec, "only_open": True, "threads": 1 if n == 1 else self.options["threads"]}
        found = bound_preactivations(self.network, self._domain(n), known=known, **how)
        lower, upper = np.fmax(lower, found.lower), np.fmin(upper, found.upper)
        is_empty = found.empty | (lower > upper).any(axis=1) | (found.spec_lower > found.spec_upper).any(axis=1)
        return Parts(lower, upper, found.spec_lower, found.spec_upper, is_empty)

    def intervals_on(self, parts, b):
        """Return intervals on one of several nodes, or None if it is empty."""
        if parts.is_empty[b]:
            return None
        intervals = self._propagate(parts.lower[b], parts.upper[b], parts.spec_lower[b], parts.spec_upper[b])
        return None if (intervals.z_lo[-1] > intervals.z_hi[-1]).any() else intervals

    def _propagate(self, lower, upper, spec_lower, spec_upper):
        """Return intervals, with known bounds of all neurons and of the rows of the specification."""
        intervals = propagate(self.elimination, self.point_set.lower, self.point_set.upper, lower, upper)
        if self.spec is None:
            return intervals
        (*z_lo, last_lo), (*z_hi, last_hi) = intervals.z_lo, intervals.z_hi
        last_lo, last_hi = np.fmax(last_lo, spec_lower), np.fmin(last_hi, spec_upper)
        return intervals._replace(z_lo=(*z_lo, last_lo), z_hi=(*z_hi, last_hi))

    def _domain(self, n=1):
        """Return the set, n times."""

        def repeated(x):
            return np.repeat(self.elimination.unload(x[:, None]), n, axis=0)

        point_set = self.point_set
        if point_set.is_box:
            return Box(repeated(point_set.lower), repeated(point_set.upper))
        return Ball(repeated(point_set.center), point_set.radius, point_set.norm)

    def _bounds_of(self, domain, known):
        found = bound_preactivations(self.network, domain, known=known, **self.options)
        return np.atleast_2d(found.lower), np.atleast_2d(found.upper), np.atleast_2d(found.states)

    def _take(self, lower, upper, states):
        """Intersect the bounds with other ones, and with the intervals that follow."""
        self.lower, self.upper = np.fmax(self.lower, lower), np.fmin(self.upper, upper)
        pools = self.pool_states < 0
        for block in self.elimination.blocks:
            pools[block.numbers] &= block.windows is not None
        self.pool_states[pools] = states[pools]
        self.refresh()

    def refresh(self):
        """Propagate intervals with the bounds known so far."""
        known = self._known
        self.intervals = self._propagate(self.lower, self.upper, known.spec_lower[0], known.spec_upper[0])
        for s, block in enumerate(self.elimination.blocks):
            lo, hi = self.intervals.z_lo[s], self.intervals.z_hi[s]
            if block.windows is None:
                self.lower[block.numbers], self.upper[block.numbers] = lo, hi
                continue
            winners = _winners(block.windows, lo, hi)
            fresh = (self.pool_states[block.numbers] < 0) & (winners >= 0)
            self.pool_states[block.numbers[fresh]] = winners[fresh]

    def _sample(self):
        points = self.point_set.sample(self.rng, _SAMPLES)
        self.evidence.add(np.concatenate([self.point_set.center[None], points]))

    def _search(self):
        """Look for points against the claims of all open neurons by local search."""
        by_block = {}
        for number in self.open_neurons().tolist():
            for target in self.claims(number)[0]:
                by_block.setdefault(target.block, []).append((target, self._start(number)))
        for pairs in by_block.values():
            for first in range(0, len(pairs), _SEARCHED):
                if self.is_over():
                    return
                targets, starts = zip(*pairs[first : first + _SEARCHED], strict=True)
                for begin in (np.array(starts), np.repeat(self.point_set.center[None], len(targets), axis=0)):
                    points, _ = descend(self.elimination, self.point_set, list(targets), begin, _ROUNDS)
                    self.evidence.add(points)

    def _start(self, number):
        """Return the point seen so far that is nearest to the other side: float64[D]."""
        pair = self.evidence.pair[number]
        at = pair[0] if self.evidence.largest[number] > 0 else pair[1]
        return self.evidence.points[at] if at >= 0 else self.point_set.center

    def claims(self, number):
        """Return the claims that are left to prove that a neuron is fixed, as alternatives: list of lists of Target.

        Each alternative is a list of claims, all of which must hold.
        """
        s, k = self.place[number]
        block = self.elimination.blocks[s]
        if block.windows is not None:
            return self._pool_claims(s, k, number)
        needed = [[]]
        for t in block.thresholds.tolist():
            if self.lower[number] >= t or self.upper[number] <= t:
                continue
            above, below = Target(s, (k,), (1.0,), t), Target(s, (k,), (-1.0,), -t)
            if self.evidence.largest[number] > t:
                choices = [above]
            else:
                choices = [below] if self.evidence.least[number] < t else [below, above]
            needed = [[*claims, choice] for claims in needed for choice in choices]
        return needed

    def _pool_claims(self, s, k, number):
        """Return for each tap that won at all points that it is not below the other ones."""
        window, alternatives, bits = self.elimination.blocks[s].windows[k].tolist(), [], int(self.evidence.common_taps[number])
        lo, hi = self.intervals.z_lo[s], self.intervals.z_hi[s]
        for tap, j in enumerate(window):
            if j < 0 or (tap < 62 and not bits >> tap & 1):
                continue
            others = (i for i in dict.fromkeys(window) if i not in (-1, j))
            claims = [Target(s, (j, i), (1.0, -1.0), 0.0) for i in others if lo[j] < hi[i]]
            alternatives.append(claims)
        return alternatives or [[]]

    def _bisect(self, most):
        """Decide by bisection into up to ``most`` boxes, if few inputs vary."""
        lower, upper = (self.elimination.unload(x[:, None])[0] for x in (self.point_set.lower, self.point_set.upper))
        if not self.point_set.is_box or (lower < upper).sum() > _BISECTED_INPUTS or not len(self.open_neurons()):
            return
        least, largest, winners = self._required()
        candidates = np.isin(np.arange(len(least)), self.open_neurons()) & (
            (least > -np.inf) | (largest < np.inf) | (winners >= 0)
        )
        known = self.states()

        def bound(low, high):
            return self._bounds_of(Box(low, high), np.repeat(known[None], len(low), axis=0))

        def is_open(low, high, states):
            wrong = (low < least) | (high > largest) | ((winners >= 0) & (states != winners))
            return wrong & candidates & ~self.evidence.floats

        def look(points):
            self.evidence.add(self.elimination.load(points).T)

        until = time.monotonic() + _BISECTION_SHARE * (self.deadline - time.monotonic())
        left = Bisection(bound, lower, upper, is_open).run(look, until, most)
        if left is not None:
            done = candidates & ~left & ~self.evidence.floats
            self.lower[done], self.upper[done] = np.maximum(self.lower, least)[done], np.minimum(self.upper, largest)[done]
            self.pool_states[done & (winners >= 0)] = winners[done & (winners >= 0)]
            self.refresh()

    def _required(self):
        """Return the bounds and the winning tap by which each neuron would be fixed, where points leave one choice."""
        n = self.network.n_neurons
        least, most, winners = np.full(n, -np.inf), np.full(n, np.inf), np.full(n, -1)
        for number in self.open_neurons().tolist():
            if self.elimination.blocks[self.place[number][0]].windows is not None:
                bits = int(self.evidence.first_taps[number])
                winners[number] = bits.bit_length() - 1 if bits.bit_count() == 1 else -1
                continue
            alternatives = self.claims(number)
            for target in alternatives[0] if len(alternatives) == 1 else ():
                if target.weights[0] > 0:
                    least[number] = max(least[number], target.threshold)
                else:
                    most[number] = min(most[number], -target.threshold)
        return least, most, winners


def _winners(windows, lo, hi):
    """Return the lowest tap of each window that is not below another one, by intervals; -1 where there is none: int64[n]."""
    winners = np.full(len(windows), -1)
    for tap in range(windows.shape[1] - 1, -1, -1):
        j = windows[:, tap]
        others = np.where((windows >= 0) & (windows != j[:, None]), hi[windows], -np.inf).max(axis=1)
        winners[(j >= 0) & (lo[j] >= others)] = tap
    return winners
