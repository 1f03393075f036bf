"""Regions in many dimensions: breadth-first over facets, from one region to all others.

Legend: D inputs, F free inputs, R regions, N facets, W words, K neurons, M0 rows of the domain.
"""

import time

import numpy as np

from ...errors import CapacityError, InfeasibleError, UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.ir import switching
from ...kernels.ir.passes import TILE
from ...kernels.regions import crossing as ck
from ...kernels.regions.dictionary import Dictionary
from ...kernels.regions.halfspaces import Rows
from ...patterns import ActivationPatterns
from ...scheduling import n_threads, run_slots
from ...tolerances import CONSTANT
from ..exact_values import exact_states
from .blocks import RegionBlock
from .graph import state_places
from .regions import Regions

_BATCH = 2**10  # regions that are described before their facets are crossed
_MOST_FREE = 16
_JITTER = 2.0**-6  # of the first point, so that it is on no hyperplane


def regions_by_search(network, lower, upper, wants, *, polytope, max_regions=None, time_limit=None, threads=None, bar=None):
    """Enumerate regions by crossing facets: Regions.

    Exact up to rounding: hyperplanes and faces closer than some 1e-9 of the box are not told apart; ``n_undecided`` counts
    facets and rows for which that matters.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D]
    wants : tuple of str
    polytope : (float64[M, D], float64[M])
    max_regions : int, optional
    time_limit : float, optional
    threads : int, optional
    bar : Progress, optional

    Returns
    -------
    Regions

    Raises
    ------
    CapacityError
        More than 16 inputs are free.
    InfeasibleError
        The polytope has no interior point in the box.
    """
    free = np.flatnonzero(upper > lower)
    if len(free) > _MOST_FREE:
        raise CapacityError(
            f"{len(free)} sides of the box have a positive width, but method 'search' handles at most {_MOST_FREE}; "
            "give lower[d] = upper[d] for the other inputs"
        )
    search = _Search(network, lower, upper, free, polytope, n_threads(threads))
    deadline = None if time_limit is None else time.monotonic() + time_limit
    stopped_by = search.run(max_regions, deadline, bar)
    return search.finish(wants, stopped_by, max_regions)


class _Search:
    """The regions that are known, and which of them have been described."""

    def __init__(self, network, lower, upper, free, polytope, threads):
        self.network, self.lower, self.upper, self.free, self.threads = network, lower, upper, free, threads
        self.polytope, self.width = polytope, (upper - lower)[free]
        self.domain = _domain_rows(lower, free, self.width, polytope)
        n_words = int(network.pattern_layout.word_offsets[-1])
        self.words, self.count = np.zeros((4 * _BATCH, n_words), np.uint64), np.zeros(1, np.int64)
        self.points, self.alias = np.zeros((4 * _BATCH, len(free))), np.arange(4 * _BATCH)
        self.table = np.full(16 * _BATCH, -1, np.int64)
        self.centers, self.facets, self.n_described, self.n_undecided = [], [], 0, 0
        self._places, self._thresholds = state_places(network.pattern_layout), _thresholds(network)
        self._slots = [self._make_slot() for _ in range(threads)] if network.n_neurons else []

    def run(self, max_regions, deadline, bar):
        """Search; returns what stopped it, or None."""
        start = _interior_point(self.domain, len(self.free))
        states = exact_states(self.network, self._inputs(start[None])[0])
        self._admit(ActivationPatterns.from_states(states[None], self.network.pattern_layout).packed)
        self.points[0] = start
        if not self.network.n_neurons:
            return None
        while self.n_described < self.count[0]:
            ids = np.arange(self.n_described, min(self.n_described + _BATCH, int(self.count[0])))
            self._describe(ids)
            self.n_described += len(ids)
            if bar is not None:
                bar.advance(len(ids))
            n = int(self.count[0])
            if max_regions is not None and n > max_regions:
                return "max_regions"
            if deadline is not None and time.monotonic() > deadline and self.n_described < n:
                return "time_limit"
        return None

    def _inputs(self, z):
        """Return the inputs of points of the unit box."""
        x = np.broadcast_to(self.lower, (len(z), len(self.lower))).copy()
        x[:, self.free] = np.clip(x[:, self.free] + self.width * z, self.lower[self.free], self.upper[self.free])
        return x

    def _describe(self, ids):
        """Find the facets of regions, and the regions behind them."""
        kept = self.alias[ids] == ids
        alive = ids[kept]
        centers, facets = np.zeros((len(alive), len(self.free))), []
        if len(alive):
            self._run(ck.DESCRIBE, points=np.ascontiguousarray(self.points[alive]), centers=centers)
        names = ("region", "neuron", "other", "point", "normal")
        for slot in self._slots:
            n = int(slot.counts[ck.N_FACETS])
            facets.append([getattr(slot, name)[:n].copy() for name in names] if len(alive) else [])
            slot.counts[ck.N_FACETS] = 0
        if not len(alive):
            return
        region, *columns = (np.concatenate(parts) for parts in zip(*facets, strict=True))
        order = np.argsort(region, kind="stable")
        region, (neuron, other, point, normal) = region[order], (c[order] for c in columns)
        inside = np.flatnonzero(neuron >= 0)
        self._cross(alive[region[inside]], neuron[inside], other[inside], point[inside], normal[inside])
        self.centers.append((alive, centers))
        self.facets.append((alive[region], neuron, other, normal))

    def _run(self, phase, **arrays):
        """Run the kernel on some points, and make room while it is needed."""
        n, counter = len(arrays["points"]), np.zeros(1, np.int64)
        f, k = len(self.free), self.network.n_neurons
        empty = {
            "normals": np.zeros((0, f)), "neurons": np.zeros(0, np.int64), "others": np.zeros(0, np.int64),
            "states_before": np.zeros((0, k), np.int32), "centers": np.zeros((0, f)),
            "found": np.zeros(0, np.int8),
        } | arrays  # fmt: skip
        waiting = list(range(min(len(self._slots), n)))
        for s in waiting:
            slot = self._slots[s]._replace(**empty, next_item=counter)
            slot.options[ck.PHASE], slot.counts[ck.PENDING] = phase, -1
            self._slots[s] = slot
        while waiting:
            run_slots(ck.crossing_slot, [self._slots[s] for s in waiting])
            waiting = [s for s in waiting if self._slots[s].counts[ck.PENDING] >= 0]
            for s in waiting:
                self._slots[s] = _with_more_room(self._slots[s])
        if any(slot.counts[ck.UNKNOWN] for slot in self._slots):
            raise UnsupportedOperationError(
                "the network has an op that the kernels do not handle; every chain of ops must handle it, see CONTRIBUTING.md"
            )

    def _cross(self, owners, neurons, others, points, normals):
        """Admit the regions behind facets that are new."""
        changed = self.words[owners]
        word, shift, width = self._places[neurons].T
        at, shift = np.arange(len(owners)), shift.astype(np.uint64)
        mask = ((np.uint64(1) << width.astype(np.uint64)) - np.uint64(1)) << shift
        changed[at, word] = (changed[at, word] & ~mask) | (others.astype(np.uint64) << shift)
        before = int(self.count[0])
        _, first = self._admit(changed)
        if len(first):
            self._enter(
                before + np.arange(len(first)), owners[first], (neurons[first], others[first]), points[first], normals[first]
            )

    def _enter(self, ids, owners, changes, points, normals):
        """Find points inside new regions; where several neurons change, or none, give the number of the true region."""
        f, layout = len(self.free), self.network.pattern_layout
        before = np.ascontiguousarray(ActivationPatterns(self.words[owners], layout).unpack(), np.int32)
        inside, found = np.zeros((len(ids), f)), np.zeros(len(ids), np.int8)
        neurons, others = (change.astype(np.int64) for change in changes)
        self._run(
            ck.CROSS, points=np.ascontiguousarray(points), normals=np.ascontiguousarray(normals[:, :f]), neurons=neurons,
            others=others, states_before=before, centers=inside, found=found,
        )  # fmt: skip
        self.points[ids] = inside
        failed = ids[found == ck.FAILED]
        several = np.flatnonzero((found == ck.SEVERAL) | ((found == ck.CROSSED) & self._doubtful(self._inputs(inside))))
        self.alias[failed] = -2
        self.n_undecided += len(failed)
        if len(several):  # neurons that are 0 on a region have any state in floating point
            states = np.array([exact_states(self.network, x) for x in self._inputs(inside[several])], np.int32)
            true, first = self._admit(ActivationPatterns.from_states(states, layout).packed)
            self.alias[ids[several]] = true
            self.points[true[first]] = inside[several[first]]

    def _doubtful(self, x):
        """Return at which points a value is so close to a threshold that it may be there on the whole region: bool[n]."""
        program, z = self.network.program, self.network.preactivations(x, threads=self.threads)
        found = np.zeros(len(x), bool)
        for i in self.network.op_graph.switching.tolist():
            here = z[:, program.neuron_offsets[i] : program.neuron_offsets[i + 1]]
            size = np.abs(here).max(initial=0.0)
            for threshold in self._thresholds[i]:
                found |= (np.abs(here - threshold) <= CONSTANT * max(size, abs(threshold))).any(axis=1)
        return found

    def _admit(self, packed):
        """Give patterns numbers: (int64[n], int64[*] the first of each new one)."""
        packed = np.ascontiguousarray(packed)
        n = int(self.count[0]) + len(packed)
        if n > len(self.words):
            more = max(n, 2 * len(self.words)) - len(self.words)
            self.words = np.concatenate([self.words, np.zeros((more, self.words.shape[1]), np.uint64)])
            self.points = np.concatenate([self.points, np.zeros((more, len(self.free)))])
            self.alias = np.concatenate([self.alias, np.arange(len(self.alias), len(self.words))])
        if 2 * n > len(self.table):
            self._rebuild_table(n)
        ids, first, before = np.zeros(len(packed), np.int64), np.zeros(len(packed), np.int64), int(self.count[0])
        ck.admit(self.words, self.count, self.table, packed, ids, first)
        return ids, first[: int(self.count[0]) - before].copy()

    def _rebuild_table(self, n):
        self.table = np.full(1 << int(4 * n).bit_length(), -1, np.int64)
        known, count = self.words[: int(self.count[0])].copy(), np.zeros(1, np.int64)
        scratch = np.zeros(len(known), np.int64)
        ck.admit(self.words, count, self.table, known, scratch, scratch.copy())

    def _make_slot(self):
        """Return a slot with buffers."""
        network, f, d, k = self.network, len(self.free), len(self.lower), self.network.n_neurons
        graph, code = network.op_graph, network.code
        counts = zip(graph.switching.tolist(), graph.neuron_counts, strict=True)
        n_rows = int(sum(int(n) * (switching.n_states(code, i) - 1) for i, n in counts))
        n_domain = len(self.domain)
        most, room = n_domain + n_rows, _BATCH * (2 * f + 8)
        empty, at = np.zeros((0, f)), np.zeros(most + f, np.int64)
        dictionary = Dictionary(
            np.zeros((f + 1, most + f)), at, np.zeros(f, np.int64), at.copy(), np.zeros(most, np.int64), np.zeros(f),
            np.zeros((f + 1, f)), np.zeros((most, f)), np.zeros(most), np.zeros(4, np.int64), np.zeros(most + f),
            np.zeros(f + 1), np.zeros(most), np.zeros(f), np.zeros(1, np.int64),
        )  # fmt: skip
        rows = Rows(*(np.empty(n_rows, np.int64) for _ in range(5)), np.empty(n_rows))
        options, size = np.array([ck.DESCRIBE, int(graph.switching[-1]), n_domain], np.int64), int(code.op_table[-1, ir.VALUE])
        return ck.CrossingSlot(
            code, options, self.free, self.lower, self.width, self.domain, empty, empty, np.zeros(0, np.int64),
            np.zeros(0, np.int64), np.zeros((0, k), np.int32), empty, np.zeros(0, np.int8), np.zeros(1, np.int64), rows,
            np.zeros(most, np.int64), np.zeros((n_rows, f + 1)), dictionary,
            np.zeros((int(TILE), d)), np.zeros((int(TILE), k), np.int32), np.zeros(k, np.int32),
            np.zeros(int(TILE) * size), np.zeros(6, np.int64),
            np.zeros(room + most, np.int64), np.zeros(room + most, np.int32), np.zeros(room + most, np.int32),
            np.zeros((room + most, f)), np.zeros((room + most, f + 1)),
        )  # fmt: skip

    def finish(self, wants, stopped_by, max_regions):
        """Return the Regions."""
        n = int(self.count[0])
        kept = np.flatnonzero(self.alias[:n] == np.arange(n))
        witnesses = self._inputs(self._best_points(n)[kept])
        number = np.full(n, -2, np.int64)
        number[kept] = np.arange(len(kept))
        described = kept if stopped_by is None else kept[: np.searchsorted(kept, self.n_described)]
        block = RegionBlock(packed=self.words[kept].copy(), witnesses=witnesses)
        if self.network.n_neurons:
            block = self._with_facets(block, wants, number, kept)
        if stopped_by is not None:
            n_kept = len(described) if max_regions is None else min(len(described), max_regions)
            block = block[:n_kept]
        facts = {"complete": stopped_by is None, "stopped_by": stopped_by, "method": "search", "certified": False, "n_exact": 0}
        facts["n_undecided"] = self.n_undecided + sum(int(slot.counts[ck.N_OPEN]) for slot in self._slots)
        polytope = self.polytope if len(self.polytope[1]) else None
        domain = self.lower, self.upper, polytope
        n_regions = len(block)
        return Regions.of_block(self.network, domain, n_regions, block if wants else RegionBlock(), **facts)

    def _best_points(self, n):
        """Return a point inside each region: the mean of vertices and a point, where it has the pattern."""
        points = self.points[:n].copy()
        for ids, centers in self.centers:
            same = (self.network.patterns(self._inputs(centers)).packed == self.words[ids]).all(axis=1)
            points[ids[same]] = centers[same]
        return points

    def _with_facets(self, block, wants, number, kept):
        """Return the block with its facets, in the order of the regions."""
        owner, neuron, other, normal = (np.concatenate(parts) for parts in zip(*self.facets, strict=True))
        m0, f = -1 - neuron[neuron < 0], len(self.free)
        d = self.free[np.minimum(m0 % f, f - 1)]
        public = np.where(m0 < 2 * f, 2 * d + m0 // f, m0 - 2 * f + 2 * len(self.lower))
        neuron = neuron.copy()
        neuron[neuron < 0] = -1 - public
        row = number[owner]
        counts = np.bincount(row, minlength=len(kept))
        order = np.argsort(row, kind="stable")
        columns = {
            "facet_offsets": np.concatenate([[0], np.cumsum(counts)]), "facet_neurons": neuron[order],
            "facet_states": other[order],
        }  # fmt: skip
        if "halfspaces" in wants:
            columns["facet_G"] = normal[order, :f] / self.width
            columns["facet_h"] = normal[order, f] + columns["facet_G"] @ self.lower[self.free]
        return RegionBlock(packed=block.packed, witnesses=block.witnesses, **columns)


def _thresholds(network):
    """Return the thresholds of the values that each switching op reads: dict of tuple; none of MaxPool."""
    program, found = network.program, {}
    for i in network.op_graph.switching.tolist():
        kind = int(program.op[i])
        bounds = program.coefficients[i, :2] if kind == ir.CLIP else np.zeros(1) if kind != ir.MAX_POOL else np.zeros(0)
        found[i] = tuple(float(t) for t in bounds if np.isfinite(t))
    return found


def _domain_rows(lower, free, width, polytope):
    """Return the rows of the unit box and of the polytope in its coordinates: float64[M0, F + 1], g of unit length."""
    f, (a, b) = len(free), polytope
    box = np.zeros((2 * f, f + 1))
    box[np.arange(f), np.arange(f)] = -1.0
    box[f + np.arange(f), np.arange(f)] = box[f:, f] = 1.0
    g, h = a[:, free] * width, b - a @ lower
    norm = np.linalg.norm(g, axis=1)
    flat = norm == 0.0
    if (h[flat] < 0.0).any():
        raise InfeasibleError("the polytope and the box have no interior point in common; check the signs of A x <= b")
    rows = np.column_stack([g, h]) / np.where(flat, 1.0, norm)[:, None]
    rows[flat, f] = 2.0  # holds everywhere
    return np.concatenate([box, rows])


def _interior_point(domain, f):
    """Return a point inside the domain, at no special place: float64[F]."""
    from scipy.optimize import linprog

    found = linprog(
        np.append(np.zeros(f), -1.0), np.column_stack([domain[:, :f], np.ones(len(domain))]), domain[:, f],
        bounds=[(None, None)] * f + [(0.0, None)],
    )  # fmt: skip
    if found.status != 0 or -found.fun <= 0.0:
        raise InfeasibleError("the polytope and the box have no interior point in common; check the signs of A x <= b")
    step = np.random.default_rng(0).standard_normal(f)
    return found.x[:f] + _JITTER * found.x[f] * step / max(1.0, np.linalg.norm(step))


def _with_more_room(slot):
    """Return a slot with twice the room for facets."""
    names = ("region", "neuron", "other", "point", "normal")
    return slot._replace(**{name: np.concatenate([getattr(slot, name)] * 2) for name in names})
