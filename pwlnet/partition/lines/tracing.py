"""Run the line kernels: buffers that grow, whole lines many at a time, windows one by one, cuts where memory runs out.

Legend: L lines, D inputs, K neurons, Q windows.
"""

import contextlib
import threading

import numpy as np

from ... import evaluate
from ...errors import CapacityError, UnsupportedOperationError
from ...kernels.ir import passes
from ...kernels.ir import program as ir
from ...kernels.lines import trace as kernels
from ...kernels.lines import workspace
from .joining import Traced, Window, concatenate, join_windows, largest_errors

FIRST_IDS = 1024  # first sizes of the buffers
FIRST_VALUES = 2**18  # room for the rows of a small network: they are moved together only when half of it is full
FIRST_FOUND = 2**15  # breakpoints that are copied out together
SHARES = {workspace.FULL_IDS: 0.25, workspace.FULL_ROWS: 0.05, workspace.FULL_VALUES: 0.7}  # of the memory
KEPT_BYTES = 2**28  # buffers up to this size are kept for the next call ...
KEPT_TRACERS = 8  # ... so many for each network
_POOL = threading.Lock()
LEAST_WINDOW = 2.0**-40  # a window that still doesn't fit at this length is given up
CUT = 0.4813717  # cuts are put off the middle: round fractions are where ties happen
_FOUND = {
    "t": float,
    "error": float,
    "counts": np.int64,
    "neuron": np.int64,
    "old": np.int32,
    "new": np.int32,
    "keep": np.int64,
}


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
        self.code = network.float32_code if tolerances.single_rows else network.code
        self.tolerances = tolerances
        self.memory = memory
        widest = int(self.code.op_table[:-1, ir.CHANNELS].max())
        self.sizes = {
            workspace.FULL_IDS: FIRST_IDS,
            workspace.FULL_ROWS: 16 * FIRST_IDS,
            workspace.FULL_VALUES: max(FIRST_VALUES, 64 * widest),
        }
        self.work = workspace.make_work(self.code, *self.sizes.values())
        self._found = _found_buffers(FIRST_FOUND)
        self.forward_buffer = np.zeros(passes.TILE * int(self.code.op_table[-1, ir.VALUE]))  # check; new pages are costly

    @property
    def nbytes(self):
        """Bytes of all buffers."""
        return sum(array.nbytes for array in (*self.work, *self._found.values(), self.forward_buffer))

    def trace_lines(self, starts, ends, first_line=0):
        """Trace whole lines: Traced. ``first_line`` is the number of the first one in messages."""
        n_lines = len(starts)
        windows = np.arange(n_lines), np.zeros(n_lines), np.ones(n_lines)
        found, top = self._outputs(n_lines, 0), np.zeros(2, np.int64)
        pieces, copied, done, status = [], 0, 0, None
        while status != workspace.DONE:
            done, status = self._run(starts, ends, windows, done, top, found)
            if status == kernels.FULL_OUTPUT and not top.any():
                found = self._enlarged(found)
            elif status == workspace.DONE or status == kernels.FULL_OUTPUT or not self._grow(status):
                pieces.append(_copied(found, top, copied, done))
                top[:], copied = 0, done
                if status not in (workspace.DONE, kernels.FULL_OUTPUT):
                    parts = self._trace_parts(starts[done], ends[done], _halves(0.0, 1.0), first_line + done)
                    pieces.append(join_windows(parts))
                    done = copied = done + 1
        return concatenate(pieces)

    def trace_window(self, start, end, t0, t1, number=0):
        """Trace a part of one line: list of consecutive Window, one if memory allows."""
        return list(self.iter_window(start, end, t0, t1, number))

    def iter_window(self, start, end, t0, t1, number=0):
        """Trace a part of one line: yields consecutive Window, one if memory allows."""
        return self._trace_parts(start, end, [(t0, t1)], number)

    def _trace_parts(self, start, end, waiting, number):
        """Trace parts of one line, the last of ``waiting`` first, cut further until they fit: yields Window."""
        while waiting:
            t0, t1 = waiting.pop()
            window = self.fitting_window(start, end, t0, t1)
            if window is not None:
                yield window
            elif t1 - t0 < LEAST_WINDOW:
                raise CapacityError(
                    f"line {number} has more breakpoints near t = {t0} than buffers of {self.memory} bytes hold; raise memory"
                )
            else:
                waiting += _halves(t0, t1)

    def fitting_window(self, start, end, t0, t1):
        """Trace a part of one line in one piece: Window, or None where it doesn't fit into the buffers."""
        window = np.zeros(1, np.int64), np.array([t0]), np.array([t1])
        found, top, status = self._outputs(1, 1), np.zeros(2, np.int64), None
        while status != workspace.DONE:
            _, status = self._run(start[None], end[None], window, 0, top, found)
            if status == kernels.FULL_OUTPUT:
                found = self._enlarged(found)
            elif status != workspace.DONE and not self._grow(status):
                return None
        points, flips = top
        error, old = found.error[:points].copy(), found.old[:flips].copy()
        states = _small(found.start_states[0]), _small(found.end_states[0])
        return Window(t0, _copied(found, top, 0, 1), error, old, *states, float(found.row_error[0]))

    def _run(self, starts, ends, windows, done, top, found):
        """Call the kernel for windows (lines, t0, t1) from ``done`` on: (next window, status)."""
        bounds = self.tolerances.rounding, self.tolerances.ambiguous / self.tolerances.rounding
        return kernels.trace_windows(self.code, self.work, starts, ends, *windows, done, top, *bounds, found)

    def _outputs(self, n_windows, n_states):
        """Output buffers of the kernel; states of all neurons at both ends of the first ``n_states`` windows."""
        per_window = {name: np.zeros(n_windows, np.int64) for name in ("window_points", "window_flips", "ambiguous")}
        per_window["row_error"] = np.zeros(n_windows)
        k = int(self.code.op_table[-1, ir.NEURON])
        states = {name: np.zeros((n_states, k), np.int32) for name in ("start_states", "end_states")}
        return kernels.Found(**self._found, **per_window, **states)

    def _enlarged(self, found):
        """Outputs with room for the breakpoints and flips of one window that is larger than all before."""
        self._found = _found_buffers(2 * len(self._found["t"]) + self.sizes[workspace.FULL_IDS])
        return found._replace(**self._found)

    def _grow(self, status):
        """Double the buffer that was full; returns False where its share of the memory forbids it.

        Each buffer has a share of its own, so whether a line is cut doesn't depend on the lines before it.
        """
        if status == workspace.UNKNOWN_OP:
            raise UnsupportedOperationError(
                "the network has an op that the line kernels do not handle; every chain of ops must, see CONTRIBUTING.md"
            )
        if 2 * self.sizes[status] * _entry_bytes(self.work, status) > SHARES[status] * self.memory:
            self.work.counts[workspace.NEXT_OP] = 0  # the window will be cut: start it anew
            return False
        self.sizes[status] *= 2
        self.work = workspace.enlarged(self.work, *self.sizes.values())
        return True


def _entry_bytes(work, status):
    """Bytes of one entry of the buffers that ``status`` says are full."""
    arrays = {
        workspace.FULL_IDS: (work.labels, work.times),
        workspace.FULL_ROWS: (work.ids, work.starts),
        workspace.FULL_VALUES: (work.values, work.columns),
    }
    return sum(a.itemsize * (len(a) if a.ndim == 2 else 1) for a in arrays[status])


def _found_buffers(size):
    return {name: np.empty(size, dtype) for name, dtype in _FOUND.items()}


def _copied(found, top, first, last):
    """What was found in windows ``first`` to ``last``: Traced, in arrays of its own."""
    points, flips = top
    n_points = found.window_points[first:last]
    t_error = np.fmin(largest_errors(found.error[:points], n_points) + found.row_error[first:last], 1.0)
    return Traced(
        n_points, found.window_flips[first:last], found.ambiguous[first:last], t_error,
        found.t[:points].copy(), found.counts[:points].copy(), found.neuron[:flips].copy(), found.new[:flips].copy(),
    )  # fmt: skip


def _small(states):
    """The same numbers in bytes, where they fit: a line may have many windows."""
    return states.astype(np.min_scalar_type(states.max(initial=0)))


def _halves(t0, t1):
    """The two parts of a window, the second one first."""
    cut = t0 + CUT * (t1 - t0)
    return [(cut, t1), (t0, cut)]


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
    if tracer.nbytes <= KEPT_BYTES:  # not after an error: a window may be half traced
        with _POOL:
            if len(idle) < KEPT_TRACERS:
                idle.append(tracer)


def initial_states(network, start, end, t, tolerances):
    """States on a line's first segment: int32[K]. A trace up to the middle of the segment, so ties are decided alike."""
    stop = 0.5 * t[1] if len(t) > 2 else 1.0
    with evaluate.single_threaded_blas(), borrowed_tracer(network, tolerances, 2**30) as tracer:
        return tracer.trace_window(np.array(start), np.array(end), 0.0, stop)[0].start_states.astype(np.int32)
