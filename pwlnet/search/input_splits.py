"""Branch and bound by splitting the sides of boxes, best first, many boxes at a time.

Legend: B boxes of a batch, N open boxes, U polytopes, M rows, D inputs, K neurons.
"""

from typing import NamedTuple

import numpy as np

from ..bounds import bound_preactivations
from ..domains import Box
from .conditions import with_sums
from .falsify import descend, few_threads, likely_points

_WORK_PER_BATCH = 2**29  # multiplications: some tenths of a second
_LARGEST_BATCH = 256
_FEW_SIDES = 6
_NARROWEST = 2.0**-30  # of a side of the first box: narrower ones are not split


class OpenBoxes(NamedTuple):
    """Boxes that are not decided yet."""

    lower: np.ndarray  # float64[N, D]
    upper: np.ndarray  # float64[N, D]
    alive: np.ndarray  # bool[N, U] polytopes that may hold in them
    bound: np.ndarray  # float64[N] lower bound of the smallest margin
    states: np.ndarray  # int16[N, K] states of neurons that are proved to be fixed there, -1 for others

    def take(self, chosen):
        """Return some of the boxes: OpenBoxes."""
        return OpenBoxes(*(x[chosen] for x in self))

    def joined(self, *others):
        """Return these boxes and others: OpenBoxes."""
        return OpenBoxes(*(np.concatenate(parts) for parts in zip(self, *others, strict=True)))

    def __len__(self):
        return len(self.lower)


def first_box(network, rows, lower, upper):
    """Return one open box: OpenBoxes."""
    alive, states = np.ones((1, len(rows.starts) - 1), bool), np.full((1, network.n_neurons), -1, np.int16)
    return OpenBoxes(lower[None].copy(), upper[None].copy(), alive, np.full(1, -np.inf), states)


class InputSplits:
    """A search that can be continued.

    Parameters
    ----------
    network : Network
    rows : Rows
    lower, upper : float64[D]
    confirm : callable
        Takes a point float64[D]; returns whether a condition holds there, exactly.
    threads : int, optional

    Attributes
    ----------
    open : OpenBoxes
    stuck : OpenBoxes
        Boxes that are too small to be split.
    witness : float64[D] or None
    n_branches : int
        Boxes that were bounded.
    """

    def __init__(self, network, rows, lower, upper, confirm, *, threads=None):
        self.network, self.rows, self.confirm = network, rows, confirm
        self.lower, self.upper, self.threads = lower, upper, threads
        self.open = first_box(network, rows, lower, upper)
        self.stuck = self.open.take(slice(0, 0))
        self.witness, self.n_branches = None, 0
        self._spec = with_sums(rows)
        work = max(1, int(network.program.weights.size)) * max(1, network.n_neurons)
        self._batch = int(np.clip(_WORK_PER_BATCH // work, 1, _LARGEST_BATCH))

    def run(self, stop, max_branches=None):
        """Split boxes until none is open, a witness is found, ``stop()`` is true, or more boxes than allowed were bounded."""
        least = np.inf if max_branches is None else max_branches
        while len(self.open) and self.witness is None and not stop() and self.n_branches < least:
            order = np.argsort(self.open.bound, kind="stable")
            batch, rest = self.open.take(order[: self._batch]), self.open.take(order[self._batch :])
            is_first = self.n_branches == 0
            kept, slopes = self._bound(batch, "crown")
            if is_first and len(kept) and self._is_wide:
                kept, slopes = self._bound(kept, "alpha_crown")
            self.open = rest.joined(kept)  # what is open if the search is interrupted
            if len(kept):
                self._look(kept)
                halves, stuck = self._split(kept, slopes)
                self.open, self.stuck = rest.joined(halves), self.stuck.joined(stuck)

    @property
    def _is_wide(self):
        """Whether so many sides have a positive width that slower and tighter bounds of the first box pay off."""
        return int((self.upper > self.lower).sum()) > _FEW_SIDES

    def _bound(self, batch, method):
        """Bound the margins in boxes; return those in which a polytope may hold, and how much each input matters there."""
        spec = self._spec
        found = bound_preactivations(
            self.network,
            Box(batch.lower, batch.upper),
            method=method,
            known=batch.states.astype(np.int32) if self.network.n_neurons else None,
            spec=(spec.A, -spec.b),
            only_open=True,
            slopes=True,
            threads=few_threads(self.network, len(batch), 1 + self.network.n_neurons, self.threads),
        )
        self.n_branches += len(batch)
        lowest = np.maximum.reduceat(found.spec_lower, spec.starts[:-1], axis=1)
        lowest = np.where(np.isnan(lowest), -np.inf, lowest)  # of values beyond the range of float64
        lowest = np.where(found.empty[:, None], np.inf, lowest)
        alive = batch.alive & self._is_alive(lowest)
        kept = alive.any(axis=1)
        bound = np.where(alive, lowest, np.inf).min(axis=1)
        matters = np.repeat(alive, np.diff(spec.starts), axis=1)
        slopes = np.einsum("bmd,bm->bd", np.abs(found.spec_slopes), matters)[kept]
        states = np.where(found.states <= np.iinfo(np.int16).max, found.states, -1)
        states = np.where(batch.states >= 0, batch.states, states).astype(np.int16)
        return OpenBoxes(batch.lower, batch.upper, alive, bound, states).take(kept), slopes

    def _is_alive(self, lowest):
        """Return in which boxes polytopes may hold, by lower bounds of their margins float64[B, U]: bool[B, U]."""
        return lowest <= 0.0

    def _look(self, boxes):
        """Look for a witness in boxes."""
        how = {"threads": self.threads}
        points, margins = likely_points(self.network, self.rows, boxes.alive, boxes.lower, boxes.upper, **how)
        best = np.argsort(margins, kind="stable")[:8]
        polytope = int(self.rows.margins(self.network.forward(points[best[:1]], threads=1))[0].argmin())
        moved, margin = descend(self.network, self.rows, polytope, points[best], self.lower, self.upper, n_steps=3, **how)
        for point in [moved, points[best[0]]] if margin < margins[best[0]] else [points[best[0]], moved]:
            if self.confirm(point):
                self.witness = point
                return

    def _split(self, boxes, slopes):
        """Halve the side of each box that matters most; return the halves, and boxes that are too small."""
        width = boxes.upper - boxes.lower
        middle = boxes.lower + width / 2
        possible = (width > _NARROWEST * (self.upper - self.lower)) & (middle > boxes.lower) & (middle < boxes.upper)
        key = slopes * width
        flat = key.max(axis=1) == 0.0
        key[flat] = (width / np.maximum(self.upper - self.lower, np.finfo(np.float64).tiny))[flat]
        key = np.where(possible, key, -1.0)
        side = key.argmax(axis=1)
        rows = np.arange(len(boxes))
        large = key[rows, side] >= 0.0
        first, second = boxes.take(large), boxes.take(large)
        at = (np.arange(len(first)), side[large])
        first.upper[at] = middle[large][at]
        second.lower[at] = middle[large][at]
        return first.joined(second), boxes.take(~large)
