"""Proofs that the outputs of a network meet no polytope ``A y <= b`` of a union on a box, by pieces of neurons.

The rows ``A y - b`` are the input of a last block of the elimination. The claim about a polytope is that its largest row is
positive on the whole box; branching.py proves it, or leaves nodes open.

Legend: M rows of all polytopes, U polytopes, O outputs, D inputs.
"""

from itertools import pairwise

import numpy as np

from ..domains import Box
from ..scheduling import n_threads
from .branching import Claims
from .deciding import Decider
from .elimination import Elimination
from .point_sets import point_sets
from .relaxation import Builder, Target

_LEAST = float(np.finfo(np.float64).smallest_subnormal)  # what is at least this is positive
_DEPTH = 3  # levels of splits for each linear program, which takes longer than linear bounds
_CANDIDATES = 8  # neurons whose splits are tried at each node


class OutputClaims(Claims):
    """The claims about the polytopes of a union on one box; bounds of the box itself are computed first.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D]
    A, b : float64[M, O], float64[M]
    starts : int64[U+1]
        Polytope u has the rows ``starts[u]`` to ``starts[u + 1]``.
    deadline : float
        ``time.monotonic()`` at which to stop.
    look, look_exactly : callable
        Take the number of a polytope and a point float64[D] at which it may hold; the latter, where that is all that is left.
    threads : int, optional
    """

    def __init__(self, network, lower, upper, A, b, starts, *, deadline, look, look_exactly, threads=None):
        elimination = Elimination(network, (A, b))
        (point_set,) = point_sets(network, Box(lower, upper))
        options = {"method": "crown", "threads": n_threads(threads)}
        decider = Decider(elimination, point_set, None, deadline, options, spec=(A, -b))
        for method in ("crown", "alpha_crown"):
            decider.bound(method)
        super().__init__(Builder(elimination, decider.intervals, point_set), decider.evidence, deadline, decider.tighten)
        self._decider = decider
        last, self._look_at, self._look_at_exactly = len(elimination.blocks) - 1, look, look_exactly
        self.targets = []
        for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            entries = tuple(range(first, end))
            self.targets.append(Target(last, entries, (1.0,) * len(entries), _LEAST, len(entries) > 1))
        z_lo = decider.intervals.z_lo[last]
        self.root_lower = np.maximum.reduceat(z_lo, starts[:-1])  # float64[U] of the largest row of each polytope

    def _split(self, target, node, program, solution):
        """Return nodes that cover what is open of a node, by the splits that improve the bounds most; None without any."""
        candidates = self._candidates(target, node, program, solution, _CANDIDATES)
        if not candidates:
            return None
        nodes, done = [node], []
        for _ in range(_DEPTH):
            split = [self._best_split(target, part, candidates, program, solution) for part in nodes]
            done += [part for part, children in zip(nodes, split, strict=True) if children is None]
            nodes = [child for children in split if children is not None for child in children]
        return done + nodes

    def _best_split(self, target, node, candidates, program, solution):
        """Return nodes that cover what is open of a node, by one of several neurons; None if none of them has two pieces."""
        choices = [self._pieces(*neuron, node, program, solution) for neuron in candidates if neuron not in node.taps]
        choices = [children for children in choices if len(children) > 1]
        if not choices:
            return None
        parts = self._decider.bound_parts([child for children in choices for child in children])
        bounds = parts.spec_lower[:, list(target.entries)].max(axis=1)
        bounds = np.where(parts.is_empty, np.inf, np.where(np.isnan(bounds), -np.inf, bounds))
        ends = np.cumsum([0, *map(len, choices)]).tolist()
        missing = [np.minimum(bounds[first:end], 0.0).mean() for first, end in pairwise(ends)]
        best = int(np.argmax(missing))
        children = []
        for b, child in zip(range(ends[best], ends[best + 1]), choices[best], strict=True):
            intervals = None if bounds[b] >= target.threshold else self._decider.intervals_on(parts, b)
            if intervals is not None:
                children.append(child._replace(intervals=intervals))
        return children

    def _look(self, target, point):
        self._look_at(self.targets.index(target), self.elimination.unload(point[:, None])[0])

    def _look_exactly(self, target, point):
        self._look_at_exactly(self.targets.index(target), self.elimination.unload(point[:, None])[0])
