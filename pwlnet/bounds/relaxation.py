"""Build the linear program that relaxes a network below a target, under splits of some neurons into their pieces.

Legend: V entries of v, m entries of one op's input.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from .intervals import ABOVE, BELOW, EQUAL, hull, is_on_grid
from .relaxed_lp import Program


class Target(NamedTuple):
    """A claim ``weights . z[entries] >= threshold`` about the input of a block; weights are 1 or -1.

    If ``largest``, the claim is that the largest of ``z[entries]`` is at least the threshold; all weights are 1.
    """

    block: int
    entries: tuple
    weights: tuple
    threshold: float
    largest: bool = False


class Node(NamedTuple):
    """A part of the set: intervals of the inputs of elementwise neurons, winning taps of windows; both by (block, index)."""

    cuts: dict
    taps: dict
    intervals: object = None  # Intervals of all values on it; None for those of the whole set


ROOT = Node({}, {})
_WIDER = 2.0**-8  # relative to 1 + the size of a bound


class _Rows:
    """Rows of a matrix under construction."""

    def __init__(self):
        self.rows, self.columns, self.values, self.b, self.n = [], [], [], [], 0

    def add(self, columns, values, b):
        self.rows += [self.n] * len(columns)
        self.columns += columns
        self.values += values
        self.b.append(b)
        self.n += 1

    def matrix(self, n_columns):
        return sp.csr_matrix((self.values, (self.rows, self.columns)), shape=(self.n, n_columns))


class Builder:
    """Builds programs for one set and one network.

    Parameters
    ----------
    elimination : Elimination
    intervals : Intervals
    point_set : PointSet
        Gives the rows that describe the set beside its bounding box.
    """

    def __init__(self, elimination, intervals, point_set):
        self.elimination, self.point_set, self._hulls = elimination, point_set, {}
        self.update(intervals)

    def update(self, intervals):
        """Use other intervals from now on."""
        self.intervals = intervals

    def intervals_of(self, node):
        """Return the intervals of all values on a node."""
        return self.intervals if node.intervals is None else node.intervals

    def lines(self, s, k, lo, hi):
        """Return the hull of a neuron over an interval (cached)."""
        key = s, k, lo, hi
        if key not in self._hulls:
            self._hulls[key] = hull(self.elimination.blocks[s], k, lo, hi)
        return self._hulls[key]

    def needed(self, target, node):
        """Return which entries of v and of each z the target depends on: bool[V], list of bool[m]."""
        blocks = self.elimination.blocks
        v, z = np.zeros(self.elimination.n_entries, bool), [np.zeros(len(block.c), bool) for block in blocks]
        z[target.block][list(target.entries)] = True
        for s, k in node.cuts:
            if s < target.block:
                z[s][k] = v[blocks[s].first + k] = True
        for s, k in node.taps:
            if s < target.block:
                v[blocks[s].first + k] = True
        for s in range(target.block, -1, -1):
            block = blocks[s]
            used = v[block.first : block.first + block.n]
            if block.windows is not None:
                taps = block.windows[used]
                z[s][taps[taps >= 0]] = True
            else:
                intervals = self.intervals_of(node)
                lo, hi = intervals.z_lo[s], intervals.z_hi[s]
                z[s] |= used & ~(self._is_constant(block, lo, hi))
            v[np.unique(block.Z[z[s]].indices)] = True
            if block.E is not None:
                v[np.unique(block.E[z[s]].indices)] = True
        return v, z

    def _is_constant(self, block, lo, hi):
        """Return the neurons with slope 0 on their interval."""
        piece = (lo[None] >= block.thresholds[:, None]).sum(axis=0), (hi[None] > block.thresholds[:, None]).sum(axis=0)
        piece = np.minimum(*piece), piece[1]
        return (piece[0] == piece[1]) & (block.slopes[piece[1], np.arange(block.n)] == 0.0)

    def build(self, target, node=ROOT, *, elastic=False, widen=False):
        """Build the program ``min weights . z[entries]``, or that of the largest of the entries, at a node.

        Parameters
        ----------
        target : Target
        node : Node, optional
        elastic : bool, optional
            Minimise instead the least violation s of what the node adds to the root. It is positive if the node is empty.
        widen : bool, optional
            Widen the bounds of values that are results of rounding, so that the solution does not depend on them.

        Returns
        -------
        Program
        """
        v_needed, z_needed = self.needed(target, node)
        layout = _Layout(self, target, node, elastic, v_needed, z_needed)
        if widen:
            layout.widen()
        for s in range(target.block):
            block = self.elimination.blocks[s]
            for k in np.flatnonzero(v_needed[block.first : block.first + block.n]).tolist():
                if block.windows is None:
                    layout.add_neuron(s, k)
                else:
                    layout.add_window(s, k)
        return layout.finish()


class _Layout:
    """A program under construction."""

    def __init__(self, builder, target, node, elastic, v_needed, z_needed):
        self.builder, self.target, self.node, self.elastic = builder, target, node, elastic
        self.own, self.root = builder.intervals_of(node), builder.intervals
        blocks, intervals = builder.elimination.blocks, self.root if elastic else self.own
        self.chords = {}
        self.v = np.cumsum(v_needed) - 1
        self.v[~v_needed] = -1
        n = int(v_needed.sum())
        lo, hi, self.z = [intervals.v_lo[v_needed]], [intervals.v_hi[v_needed]], []
        for s, needed in enumerate(z_needed):
            column = np.where(needed, n + np.cumsum(needed) - 1, -1)
            self.z.append(column)
            n += int(needed.sum())
            lo.append(intervals.z_lo[s][needed])
            hi.append(intervals.z_hi[s][needed])
        self.lo, self.hi, self.n = np.concatenate(lo), np.concatenate(hi), n
        self.eq, self.ub = _Rows(), _Rows()
        self.z_needed, self.blocks = z_needed, blocks
        self.slack = n
        if elastic:
            self.n += 1
            room = 1.0 + float((self.hi - self.lo).max(initial=0.0))
            self.lo, self.hi = np.append(self.lo, 0.0), np.append(self.hi, 4.0 * room)
        elif target.largest:
            self.n, entries = self.n + 1, list(target.entries)
            self.lo = np.append(self.lo, self.own.z_lo[target.block][entries].max())
            self.hi = np.append(self.hi, self.own.z_hi[target.block][entries].max())

    def widen(self):
        """Widen the bounds of all variables but the inputs where they are results of rounding."""
        inner = np.arange(len(self.lo)) >= (self.v[: self.builder.elimination.n_inputs] >= 0).sum()
        for bound, sign in ((self.lo, -1.0), (self.hi, 1.0)):
            rounded = inner & ~is_on_grid(bound)
            bound[rounded] += sign * _WIDER * (1.0 + np.abs(bound[rounded]))

    def _at_most(self, columns, values, b, *, is_split):
        """Add a row ``values x <= b``; one of the node may be violated by the slack."""
        if is_split and self.elastic:
            columns, values = [*columns, self.slack], [*values, -1.0]
        self.ub.add(columns, values, b)

    def _equal(self, columns, values, b, *, is_split):
        if is_split and self.elastic:
            self._at_most(columns, values, b, is_split=True)
            self._at_most(columns, [-x for x in values], -b, is_split=True)
        else:
            self.eq.add(columns, values, b)

    def add_neuron(self, s, k):
        """Add the rows of an elementwise neuron."""
        y, z = int(self.v[self.blocks[s].first + k]), int(self.z[s][k])
        lo, hi = float(self.own.z_lo[s][k]), float(self.own.z_hi[s][k])
        is_split = self.elastic and (lo, hi) != (self.root.z_lo[s][k], self.root.z_hi[s][k])
        if is_split and z >= 0:
            self._at_most([z], [1.0], hi, is_split=True)
            self._at_most([z], [-1.0], -lo, is_split=True)
        for kind, slope, intercept in self.builder.lines(s, k, lo, hi):
            if slope == 0.0 and not is_split:
                continue  # the bounds of y say so
            columns, sizes = ([y], [1.0]) if slope == 0.0 else ([y, z], [1.0, -slope])
            if kind == EQUAL:
                self._equal(columns, sizes, intercept, is_split=is_split)
                continue
            self.chords.setdefault((s, k), []).append(self.ub.n)
            if kind == BELOW:
                self._at_most(columns, sizes, intercept, is_split=is_split)
            elif kind == ABOVE:
                self._at_most(columns, [-x for x in sizes], -intercept, is_split=is_split)

    def add_window(self, s, k):
        """Add the rows of a window of MaxPool."""
        block = self.blocks[s]
        y, taps = int(self.v[block.first + k]), block.windows[k]
        tap = self.node.taps.get((s, k))
        columns = self.z[s][taps[taps >= 0]].tolist()
        if tap is not None:
            winner = int(self.z[s][taps[tap]])
            self._equal([y, winner], [1.0, -1.0], 0.0, is_split=True)
            for column in columns:
                if column != winner:
                    self._at_most([column, winner], [1.0, -1.0], 0.0, is_split=True)
            return
        entries = taps[taps >= 0]
        low, high = self.root.z_lo[s][entries], self.root.z_hi[s][entries]
        kept = [c for c, top in zip(columns, high, strict=True) if top >= low.max()]
        kept = list(dict.fromkeys(kept))
        if len(kept) == 1:
            self.eq.add([y, kept[0]], [1.0, -1.0], 0.0)
            return
        for column in kept:
            self.ub.add([column, y], [1.0, -1.0], 0.0)
        others = [-float(dict(zip(columns, low.tolist(), strict=True))[c]) for c in kept]
        total = np.nextafter(sum(np.nextafter(x, np.inf) for x in others) + low.max(), np.inf)
        size = sum(map(abs, others)) + abs(low.max())
        total += len(kept) * 2.0**-51 * size
        self.ub.add([y, *kept], [1.0] + [-1.0] * len(kept), float(total))

    def finish(self):
        """Return the program."""
        self._add_set()
        if self.target.largest and not self.elastic:
            for k in self.target.entries:
                self.ub.add([int(self.z[self.target.block][k]), self.slack], [1.0, -1.0], 0.0)
        z_rows, exact, E, c, e = [], [], [], [], []
        for s, needed in enumerate(self.z_needed[: self.target.block + 1]):
            block, kept = self.blocks[s], np.flatnonzero(needed)
            if not len(kept):
                continue
            Z = block.Z[kept].tocoo()
            rows, at = np.concatenate([Z.row, np.arange(len(kept))]), self.z[s][kept]
            values = np.concatenate([-Z.data, np.ones(len(kept))])
            columns = np.concatenate([self.v[Z.col], at])
            z_rows.append(sp.csr_matrix((values, (rows, columns)), shape=(len(kept), self.n)))
            errors = sp.csr_matrix((len(kept), self.n))
            if block.E is not None:
                part = block.E[kept].tocoo()
                errors = sp.csr_matrix((part.data, (part.row, self.v[part.col])), errors.shape)
            E.append(errors)
            c.append(block.c[kept])
            e.append(block.e[kept])
            exact += [(s, int(k), int(column)) for k, column in zip(kept, at, strict=True)]
        objective = np.zeros(self.n)
        if self.elastic or self.target.largest:
            objective[self.slack] = 1.0
        else:
            for k, weight in zip(self.target.entries, self.target.weights, strict=True):
                objective[self.z[self.target.block][k]] += weight
        A_eq = sp.vstack([*z_rows, self.eq.matrix(self.n)]).tocsr()
        n_other = self.eq.n
        E_eq = sp.vstack([*E, sp.csr_matrix((n_other, self.n))]).tocsr()
        b = np.concatenate([*c, self.eq.b])
        return Program(
            objective, A_eq, b, E_eq if E_eq.nnz else None, np.concatenate([*e, np.zeros(n_other)]),
            self.ub.matrix(self.n), np.array(self.ub.b), self.lo, self.hi, exact, self.v, tuple(self.z), self.chords,
        )  # fmt: skip

    def _add_set(self):
        """Add the rows of the set: for a ball of the 1-norm, ``t >= |x - center|`` and ``sum t <= radius``."""
        ball = self.builder.point_set.ball_rows()
        if ball is None:
            return
        center, radius = ball
        free = np.flatnonzero(self.v[: len(center)] >= 0)
        first, self.n = self.n, self.n + len(free)
        self.lo = np.append(self.lo, np.zeros(len(free)))
        self.hi = np.append(self.hi, np.full(len(free), radius))
        for t, d in enumerate(free.tolist(), start=first):
            self.ub.add([int(self.v[d]), t], [1.0, -1.0], float(center[d]))
            self.ub.add([int(self.v[d]), t], [-1.0, -1.0], -float(center[d]))
        self.ub.add(list(range(first, self.n)), [1.0] * len(free), float(radius))
