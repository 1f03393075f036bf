"""Run the line kernels over batches of lines: buffers, growth, cutting lines into windows, joining windows.

Legend: L lines, D inputs, K neurons, Q windows.
"""

import threading
from typing import NamedTuple

import numpy as np

from .. import evaluate
from ..errors import CapacityError
from ..kernels import line as kernels
from ..kernels import program as ir
from ..kernels import workspace

FIRST_IDS = 4096
LEAST_WINDOW = 2.0**-40  # a window that still doesn't fit at this length is given up
CUT = 0.4813717  # cuts are put off the middle: round fractions are where ties happen


class Traced(NamedTuple):
    """Breakpoints inside (0, 1) and flips of consecutive lines."""

    n_points: np.ndarray  # int64[L]
    t: np.ndarray  # float64[*]
    counts: np.ndarray  # int64[*] flips per breakpoint
    neuron: np.ndarray  # int64[*]
    new: np.ndarray  # int32[*]
    ambiguous: np.ndarray  # int64[L]


class Tracer:
    """The buffers of one thread for one network; they grow, and are kept from call to call.

    Parameters
    ----------
    network : Network
    tolerances : Tolerances
    memory : int
        Bytes that the buffers may take; a window that needs more is cut in two.
    """

    def __init__(self, network, tolerances, memory):
        self.code = network.code
        self.tolerances = tolerances
        self.memory = memory
        self.values_per_id = self._values_per_id()
        self.work = None
        self.n_ids = 0
        self._grow()

    def _values_per_id(self):
        """A first guess of row values per breakpoint; only where memory starts, not where it ends."""
        info = self.code.info[:-1]
        return 8 * int(info[info[:, ir.ROLE] != ir.SKIPPED, ir.CHANNELS].max(initial=1)) + 64

    def _bytes(self, n_ids):
        return n_ids * (14 * 8 + 8 * 8 + 8 * self.values_per_id)

    def _grow(self):
        """Double the buffers; returns False where the memory limit forbids it."""
        n_ids = 2 * self.n_ids or FIRST_IDS
        if self.work is not None and self._bytes(n_ids) > self.memory:
            return False
        self.n_ids = n_ids
        self.work = workspace.make_work(self.code, n_ids, 8 * n_ids, n_ids * self.values_per_id)
        return True

    def trace(self, starts, ends):
        """Trace whole lines, cut into windows where memory asks for it: Traced."""
        n_lines = starts.shape[0]
        windows = [(i, 0.0, 1.0) for i in range(n_lines)]
        found, top, first = self._found(len(windows), 4 * FIRST_IDS, False), np.zeros(2, np.int64), 0
        while True:
            lines, t0, t1 = (np.array(column) for column in zip(*windows, strict=True)) if windows else _no_windows()
            first, status = kernels.trace_windows(
                self.code, self.work, starts, ends, lines, t0, t1, first, top,
                self.tolerances.rounding, self.tolerances.ambiguous / self.tolerances.rounding, found,
            )  # fmt: skip
            if status == workspace.DONE:
                break
            if status == kernels.FULL_OUTPUT:
                found = self._found(len(windows), 2 * len(found.t) + self.n_ids, len(windows) > n_lines, found)
            elif not self._grow():
                windows[first : first + 1] = self._halves(windows[first])
                found = self._found(len(windows), len(found.t), True, found, first if len(windows) > n_lines + 1 else None)
                if len(windows) == n_lines + 1:  # the first cut: states of earlier windows were not kept
                    first, top[:] = 0, 0
        return self._joined(np.array([w[0] for w in windows], np.int64), np.array([w[1] for w in windows]), found, n_lines)

    def _halves(self, window):
        line, t0, t1 = window
        if t1 - t0 < LEAST_WINDOW:
            raise CapacityError(
                f"line {line} has more breakpoints between t = {t0} and {t1} than {self.memory} bytes hold; raise memory"
            )
        cut = t0 + CUT * (t1 - t0)
        return [(line, t0, cut), (line, cut, t1)]

    def _found(self, n_windows, size, with_states, old=None, inserted=None):
        """Output buffers, with the contents of old ones; ``inserted``: window before which one was inserted."""
        k = int(self.code.info[-1, ir.NEURON])
        states = (n_windows, k) if with_states else (0, k)
        fields = {"t": float, "error": float, "counts": np.int64, "neuron": np.int64, "old": np.int32, "new": np.int32}
        new = {name: np.empty(size, dtype) for name, dtype in fields.items()}
        new["keep"] = np.empty(max(size, self.n_ids), np.int64)
        new |= {name: np.zeros(n_windows, np.int64) for name in ("window_points", "window_flips", "ambiguous")}
        new |= {name: np.zeros(states, np.int32) for name in ("start_states", "end_states")}
        if old is not None:
            for name in new:
                kept = getattr(old, name)
                if name != "keep" and kept.size:
                    n = min(len(kept), len(new[name]))
                    new[name][:n] = kept[:n]
        del inserted
        return kernels.Found(**new)

    def _joined(self, lines, t0, found, n_lines):
        """Drop window borders: a neuron whose state differs across one flips there."""
        if len(lines) == n_lines:
            n_points, n_flips = int(found.window_points.sum()), int(found.window_flips.sum())
            return Traced(
                found.window_points, found.t[:n_points], found.counts[:n_points], found.neuron[:n_flips],
                found.new[:n_flips], found.ambiguous,
            )  # fmt: skip
        from .line_join import join_windows

        return join_windows(lines, t0, found, n_lines)


def _no_windows():
    return np.empty(0, np.int64), np.empty(0), np.empty(0)


def trace_lines(network, starts, ends, tolerances, memory, threads):
    """Trace lines on threads, in chunks of a few lines; yields nothing, returns a list of (first line, Traced)."""
    local = threading.local()
    results = {}

    def work(first, last):
        if not hasattr(local, "tracer"):
            local.tracer = Tracer(network, tolerances, memory)
        results[first] = local.tracer.trace(starts[first:last], ends[first:last])

    n_lines = starts.shape[0]
    chunk = max(1, min(64, -(-n_lines // (4 * evaluate.n_threads(threads)))))
    evaluate.run_chunks(work, n_lines, chunk, threads)
    return [results[k] for k in sorted(results)]
