"""Run the line kernels over batches of lines: buffers, growth, cutting lines into windows, joining windows.

Legend: L lines, D inputs, K neurons, Q windows.
"""

import contextlib
import threading

import numpy as np

from .. import evaluate
from ..errors import CapacityError
from ..kernels import line as kernels
from ..kernels import program as ir
from ..kernels import workspace
from .line_join import Traced, Window, join_windows

FIRST_IDS = 1024  # first sizes of the buffers
FIRST_VALUES = 2**18  # room for the rows of a small network: they are moved together only when half of it is full
BYTES = {  # of one entry
    workspace.FULL_IDS: 8 * (workspace.N_LABELS + 4),
    workspace.FULL_ROWS: 16,
    workspace.FULL_VALUES: 12,
}
SHARES = {workspace.FULL_IDS: 0.25, workspace.FULL_ROWS: 0.05, workspace.FULL_VALUES: 0.7}  # of the memory
KEPT_BYTES = 2**28  # buffers up to this size are kept for the next call ...
KEPT_TRACERS = 8  # ... so many for each network
_POOL = threading.Lock()
LEAST_WINDOW = 2.0**-40  # a window that still doesn't fit at this length is given up
CUT = 0.4813717  # cuts are put off the middle: round fractions are where ties happen


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
        widest = int(self.code.info[:-1, ir.CHANNELS].max())
        self.sizes = {
            workspace.FULL_IDS: FIRST_IDS,
            workspace.FULL_ROWS: 16 * FIRST_IDS,
            workspace.FULL_VALUES: max(FIRST_VALUES, 64 * widest),
        }
        self.work = workspace.make_work(self.code, *self.sizes.values())

    @property
    def n_ids(self):
        """Breakpoints that the buffers hold."""
        return self.sizes[workspace.FULL_IDS]

    def grow(self, status):
        """Double the buffer that was full; returns False where its share of the memory forbids it.

        Each buffer has a share of its own, so whether a line is cut doesn't depend on the lines before it.
        """
        if 2 * self.sizes[status] * BYTES[status] > SHARES[status] * self.memory:
            self.work.counts[workspace.NEXT_OP] = 0  # the window will be cut: start it anew
            return False
        self.sizes[status] *= 2
        self.work = workspace.enlarged(self.work, *self.sizes.values())
        return True

    def trace(self, starts, ends, first_line=0):
        """Trace whole lines: Traced. ``first_line`` is the number of the first one in messages."""
        n_lines = starts.shape[0]
        lines = np.arange(n_lines)
        found, top, done = self.found(n_lines, 4 * FIRST_IDS, False), np.zeros(2, np.int64), 0
        parts = []
        while done < n_lines:
            done, status = self.run(starts, ends, lines, np.zeros(n_lines), np.ones(n_lines), done, top, found)
            if status == kernels.FULL_OUTPUT:
                found = self.found(n_lines, 2 * len(found.t) + self.n_ids, False, found)
            elif status != workspace.DONE and not self.grow(status):
                parts.append((done, self._trace_parts(starts[done], ends[done], first_line + done)))
                done += 1
        return _spliced(_trimmed(found, top), parts)

    def run(self, starts, ends, lines, t0, t1, done, top, found):
        """Call the kernel for windows from ``done`` on: (next window, status)."""
        ratio = self.tolerances.ambiguous / self.tolerances.rounding
        return kernels.trace_windows(
            self.code, self.work, starts, ends, lines, t0, t1, done, top, self.tolerances.rounding, ratio, found
        )

    def _trace_parts(self, start, end, number):
        """Trace one line that doesn't fit, cut into windows that do: Traced of one line."""
        starts, ends, one = start[None], end[None], np.zeros(1, np.int64)
        waiting, windows = [(CUT, 1.0), (0.0, CUT)], []
        while waiting:
            t0, t1 = waiting.pop()
            found, top, status = self.found(1, 4 * self.n_ids, True), np.zeros(2, np.int64), None
            while status != workspace.DONE:
                _, status = self.run(starts, ends, one, np.array([t0]), np.array([t1]), 0, top, found)
                if status == kernels.FULL_OUTPUT:
                    found = self.found(1, 2 * len(found.t) + self.n_ids, True)
                elif status != workspace.DONE and not self.grow(status):
                    break
            if status == workspace.DONE:
                windows.append(Window(t0, _trimmed(found, top), found.error[: top[0]], found.old[: top[1]],
                                      found.start_states[0], found.end_states[0]))  # fmt: skip
            elif t1 - t0 < LEAST_WINDOW:
                raise CapacityError(
                    f"line {number} has more breakpoints near t = {t0} than buffers of {self.memory} bytes hold; raise memory"
                )
            else:
                cut = t0 + CUT * (t1 - t0)
                waiting += [(cut, t1), (t0, cut)]
        return join_windows(windows)

    def found(self, n_windows, size, with_states, old=None):
        """Output buffers, with the contents of old ones."""
        k = int(self.code.info[-1, ir.NEURON])
        fields = {"t": float, "error": float, "counts": np.int64, "neuron": np.int64, "old": np.int32, "new": np.int32}
        new = {name: np.empty(size, dtype) for name, dtype in fields.items()}
        new["keep"] = np.empty(max(size, self.n_ids), np.int64)
        new |= {name: np.zeros(n_windows, np.int64) for name in ("window_points", "window_flips", "ambiguous")}
        new |= {name: np.zeros((n_windows * with_states, k), np.int32) for name in ("start_states", "end_states")}
        if old is not None:
            for name in new:
                if name != "keep":
                    new[name][: len(getattr(old, name))] = getattr(old, name)
        return kernels.Found(**new)


def _trimmed(found, top):
    points, flips = int(top[0]), int(top[1])
    return Traced(
        found.window_points, found.t[:points].copy(), found.counts[:points].copy(), found.neuron[:flips].copy(),
        found.new[:flips].copy(), found.ambiguous,
    )  # fmt: skip


def _spliced(traced, parts):
    """Put lines that were traced in parts into their places among the others."""
    for line, part in parts:
        point = int(traced.n_points[:line].sum())
        flip = int(traced.counts[:point].sum())
        n_points, ambiguous = traced.n_points.copy(), traced.ambiguous.copy()
        n_points[line], ambiguous[line] = part.n_points[0], part.ambiguous[0]
        pairs = zip(traced[1:5], part[1:5], (point, point, flip, flip), strict=True)
        middle = [np.concatenate([whole[:at], new, whole[at:]]) for whole, new, at in pairs]
        traced = Traced(n_points, *middle, ambiguous)
    return traced


@contextlib.contextmanager
def borrowed_tracer(network, tolerances, memory):
    """A tracer of this thread alone; buffers are kept with the network for the next call, unless they have become large."""
    idle = network.__dict__.setdefault("_idle_tracers", [])
    with _POOL:
        fitting = [t for t in idle if t.tolerances == tolerances and t.memory == memory]
        if fitting:
            idle.remove(fitting[-1])
    tracer = fitting[-1] if fitting else Tracer(network, tolerances, memory)
    yield tracer
    if sum(array.nbytes for array in tracer.work) <= KEPT_BYTES:  # not after an error: a window may be half traced
        with _POOL:
            if len(idle) < KEPT_TRACERS:
                idle.append(tracer)


def trace_lines(network, starts, ends, tolerances, memory, threads, progress):
    """Trace lines on threads, in chunks of a few lines: list of Traced, in order."""
    results = {}
    n_lines = starts.shape[0]
    bar = _progress_bar(n_lines, progress)

    def work(first, last):
        with borrowed_tracer(network, tolerances, memory) as tracer:
            results[first] = tracer.trace(starts[first:last], ends[first:last], first)
        bar.update(last - first)

    chunk = max(1, min(64, -(-n_lines // (4 * evaluate.n_threads(threads)))))
    with bar:
        evaluate.run_chunks(work, n_lines, chunk, threads)
    return [results[k] for k in sorted(results)]


def assemble(traced, counts):
    """Join traced chunks and add the ends: (offsets, t, flip_offsets, flip_neurons, flip_states)."""
    offsets = np.concatenate([[0], np.cumsum(counts + 2)]).astype(np.int64)
    inner = np.ones(offsets[-1], bool)
    inner[offsets[:-1]] = inner[offsets[1:] - 1] = False
    t = np.zeros(offsets[-1])
    t[offsets[1:] - 1] = 1.0
    flips = np.zeros(offsets[-1], np.int64)
    if traced:
        t[inner] = np.concatenate([part.t for part in traced])
        flips[inner] = np.concatenate([part.counts for part in traced])
    flip_offsets = np.concatenate([[0], np.cumsum(flips)]).astype(np.int64)
    neurons = np.concatenate([part.neuron for part in traced] + [np.empty(0, np.int64)])
    states = np.concatenate([part.new for part in traced] + [np.empty(0, np.int32)])
    return offsets, t, flip_offsets, neurons, states


def initial_states(network, start, end, t, tolerances):
    """States on a line's first segment: int32[K]. A trace up to the middle of the segment, so ties are decided alike."""
    starts, ends = np.ascontiguousarray(start[None]), np.ascontiguousarray(end[None])
    stop = np.array([0.5 * t[1] if len(t) > 2 else 1.0])
    zero, top = np.zeros(1), np.zeros(2, np.int64)
    with evaluate.single_threaded_blas(), borrowed_tracer(network, tolerances, 2**30) as tracer:
        status = None
        while status != workspace.DONE:
            found = tracer.found(1, tracer.n_ids, True)
            _, status = tracer.run(starts, ends, np.zeros(1, np.int64), zero, stop, 0, top, found)
            if status != workspace.DONE and not tracer.grow(status):
                raise CapacityError("the line's start needs more memory than 1 GiB; report this as a bug")
    return found.start_states[0]


class _NoBar:
    """Stands in for a progress bar that nobody asked for."""

    def update(self, n):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


def _progress_bar(n_lines, progress):
    if not progress:
        return _NoBar()
    from tqdm import tqdm

    return tqdm(total=n_lines, unit="line")
