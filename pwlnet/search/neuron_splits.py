"""Branch and bound by splitting neurons into their pieces, for boxes with many sides of positive width.

Legend: U polytopes, D inputs.
"""

import math
import time

import numpy as np

from ..bounds.branching import CLOSED
from ..bounds.output_claims import OutputClaims
from ..bounds.plan import n_products
from .conditions import with_sums
from .falsify import descend

_MOST_PRODUCTS = 2**25  # of a forward pass: the matrices of larger networks take too much memory
_NODES = 16  # of a polytope, before the next one has its turn
_STEPS = 4  # of local search at each node


def can_split(network):
    """Return whether a network is small enough for linear programs."""
    return n_products(network) <= _MOST_PRODUCTS


class NeuronSplits:
    """A search for a witness, and for a proof that there is none.

    Parameters
    ----------
    network : Network
    rows : Rows
    alive : bool[U]
        Polytopes that may hold.
    lower, upper : float64[D]
    confirmer : Confirmer
    clock : Clock
    threads : int, optional

    Attributes
    ----------
    witness : float64[D] or None
    n_branches, n_open : int
        Nodes that were bounded, and that are not closed.
    """

    def __init__(self, network, rows, alive, lower, upper, confirmer, clock, *, threads=None):
        self.network, self.rows, self.lower, self.upper = network, rows, lower, upper
        self.confirmer, self.clock, self.threads = confirmer, clock, threads
        self._alive, self._claims = np.flatnonzero(alive), None
        self.witness, self.n_branches, self.n_open = None, 0, len(self._alive)

    def run(self, max_branches=None):
        """Split neurons until nothing is left to split, a witness is found, or the time or ``max_branches`` is used up."""
        rows = with_sums(self.rows)
        self._claims = claims = OutputClaims(
            self.network, self.lower, self.upper, rows.A, rows.b, rows.starts,
            deadline=math.inf if self.clock.limit is None else time.monotonic() + self.clock.left,
            look=self._look, look_exactly=self._look_exactly, threads=self.threads,
        )  # fmt: skip
        bounds = claims.root_lower
        left = [u for u in self._alive[np.argsort(bounds[self._alive], kind="stable")].tolist() if not bounds[u] > 0.0]
        self.n_branches, stuck, most = 1, [], math.inf if max_branches is None else max_branches
        while left and self.witness is None and self.n_branches < most and not self.clock.is_up():
            for u in list(left):
                target, before = claims.targets[u], claims.n_nodes
                outcome = claims.prove(target, int(min(_NODES, most - self.n_branches)), self._is_found)
                self.n_branches += claims.n_nodes - before
                if outcome == CLOSED:
                    left.remove(u)
                    stuck += [u] if claims.is_stuck(target) else []
                if self.witness is not None or self.n_branches >= most or self.clock.is_up():
                    break
        self.n_open = 0 if self.witness is not None else sum(claims.n_open(claims.targets[u]) for u in left + stuck)

    def _is_found(self):
        return self.witness is not None

    def _look(self, u, point):
        """Move a point to where a polytope may hold."""
        how = {"n_steps": _STEPS, "stop": self.clock.is_up, "threads": self.threads}
        found, _ = descend(
            self.network, self.rows, u, np.clip(point, self.lower, self.upper)[None], self.lower, self.upper, **how
        )
        if self.witness is None and self.confirmer(found):
            self.witness = found

    def _look_exactly(self, u, point):
        if self.witness is None:
            self.witness = self.confirmer.first([point])
