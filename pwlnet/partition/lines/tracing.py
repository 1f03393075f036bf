"""Run the line kernels on slots whose buffers grow: whole lines or windows, which are split if they need too much memory.

Legend: L lines, D inputs, K neurons, Q windows.
"""

import contextlib
import threading

import numpy as np

from ...errors import CapacityError, UnsupportedOperationError
from ...kernels.ir import passes
from ...kernels.ir import program as ir
from ...kernels.lines import trace as kernels
from ...kernels.lines import workspace
from ...scheduling import run_slots
from .scaling import always_rescaled, rescaled_line, unequal_sizes
from .windows import CUT, TraceResult, Window, concatenate, join_windows, largest_errors

FIRST_IDS = 1024  # initial sizes of the buffers
FIRST_VALUES = 2**18  # enough for a small network: rows are compacted only when half of the buffer is full
FIRST_FOUND = 2**15  # breakpoints in the output buffer
SHARES = {workspace.FULL_IDS: 0.25, workspace.FULL_ROWS: 0.05, workspace.FULL_VALUES: 0.7}  # of the memory
KEPT_BYTES = 2**28  # larger buffers are not kept for the next call
KEPT_BUFFERS = 8  # number of buffers that are kept for each network
_POOL = threading.Lock()
LEAST_WINDOW = 2.0**-40  # a window that does not fit at this length is an error
END_WINDOW = 2.0**-20  # length of the window in which a line's end is looked at again, from the end
_FOUND = {
    "t": np.float64,
    "error": np.float64,
    "flips_per_point": np.int64,
    "neuron": np.int64,
    "old_state": np.int32,
    "new_state": np.int32,
    "keep": np.int64,
}


class Stopped(Exception):
    """The kernels returned early because ``stop`` was set."""


class SlotBuffers:
    """The buffers of one slot; they grow, and are kept from call to call.

    Parameters
    ----------
    code : PackedProgram
    memory : int
        Largest size of the buffers in bytes; a window that needs more is cut in two.
    """

    def __init__(self, code, memory):
        self.code, self.memory = code, memory
        widest = int(code.op_table[:-1, ir.CHANNELS].max())
        self.sizes = {
            workspace.FULL_IDS: FIRST_IDS,
            workspace.FULL_ROWS: 16 * FIRST_IDS,
            workspace.FULL_VALUES: max(FIRST_VALUES, 64 * widest),
        }
        self.work = workspace.make_work(code, *self.sizes.values())
        kernels.load_scans(code, self.work)
        self.found = kernels.Found(**{name: np.empty(FIRST_FOUND, dtype) for name, dtype in _FOUND.items()})
        self.state = np.zeros(kernels.N_STATE, np.int64)
        self.forward_buffer = np.zeros(passes.TILE * int(code.op_table[-1, ir.VALUE]))  # check.py; new pages are costly

    @property
    def nbytes(self):
        """Size of all buffers in bytes."""
        return sum(array.nbytes for array in (*self.work, *self.found, self.forward_buffer))

    @property
    def status(self):
        """The status with which the kernel returned."""
        return int(self.state[kernels.STATUS])

    def begin(self, number):
        """Prepare for a list of windows, as slot ``number``."""
        self.state[:] = workspace.DONE, -1, 0, 0, number
        self.work.counts[workspace.NEXT_OP] = 0

    def drop_window(self):
        """Discard the window that does not fit, and return its index."""
        window = int(self.state[kernels.WINDOW])
        self.state[kernels.WINDOW] = -1
        self.work.counts[workspace.NEXT_OP] = 0
        return window

    def grow(self):
        """Double the buffer that is full; return False if it would exceed its share of the memory.

        Each buffer has a fixed share, so whether a line is split does not depend on the lines before it.
        """
        status = self.status
        if status == workspace.UNKNOWN_OP:
            raise UnsupportedOperationError(
                "the network has an op that the line kernels do not handle; every chain of ops must, see CONTRIBUTING.md"
            )
        if status == workspace.FULL_OUTPUT:
            size = 2 * len(self.found.t) + self.sizes[workspace.FULL_IDS]
            self.found = kernels.Found(*(_enlarged(array, size) for array in self.found))
            return True
        if 2 * self.sizes[status] * self._entry_bytes(status) > SHARES[status] * self.memory:
            return False
        self.sizes[status] *= 2
        self.work = workspace.enlarged(self.work, *self.sizes.values())
        return True

    def _entry_bytes(self, status):
        """Return the bytes of one entry of the buffers that are full according to ``status``."""
        work = self.work
        arrays = {
            workspace.FULL_IDS: (work.labels, work.times),
            workspace.FULL_ROWS: (work.ids, work.starts),
            workspace.FULL_VALUES: (work.values, work.columns),
        }
        return sum(a.itemsize * (len(a) if a.ndim == 2 else 1) for a in arrays[status])


class Tracer:
    """Traces lines of one network on several slots.

    Parameters
    ----------
    network : Network
    tolerances : Tolerances
    buffers : list of SlotBuffers
    stop : int64[1]
        If not zero, kernels return as soon as possible, and Stopped is raised.
    is_rescaled : bool
        Whether the network is one that was rescaled for the line (scaling.py).
    """

    def __init__(self, network, tolerances, buffers, stop, *, is_rescaled=False):
        self.network, self.buffers, self.stop = network, buffers, stop
        self._tolerances, self._is_rescaled = tolerances, is_rescaled
        self._bounds = np.array([tolerances.rounding, tolerances.ambiguous / tolerances.rounding])

    @property
    def forward_buffers(self):
        """A buffer for forward passes of each slot: list of float64[T * n_values]."""
        return [buffers.forward_buffer for buffers in self.buffers]

    def trace_lines(self, starts, ends, first_line=0):
        """Trace whole lines.

        Parameters
        ----------
        starts, ends : float64[L, D]
        first_line : int
            Number of the first line in messages.

        Returns
        -------
        TraceResult
        """
        n = len(starts)
        windows = self._windows(starts, ends, np.arange(n), np.zeros(n), np.ones(n), n)
        too_large, extreme = self._run(windows)
        dropped = sorted(too_large + extreme)
        bounds = np.repeat(dropped, 2).astype(np.int64) + np.tile([0, 1], len(dropped))
        fitting = [self._collect(windows, a, b) for a, b in np.concatenate([[0], bounds, [n]]).reshape(-1, 2)]
        pieces = [fitting[0]]
        for q, after in zip(dropped, fitting[1:], strict=True):
            if q in extreme:
                tracer, start, end = self._rescaled(starts[q], ends[q], first_line + q)
                pieces += [tracer.trace_lines(start[None], end[None], first_line + q), after]
            else:
                parts = self._trace_parts(starts[q], ends[q], _halves(0.0, 1.0), first_line + q)
                pieces += [join_windows(parts), after]
        traced = concatenate(pieces)
        for q in np.flatnonzero(windows.found[:, kernels.AT_END]):
            traced.ambiguous[q] += self._count_unsure_ends(starts[q], ends[q], windows.end_states[q])
        return traced

    def trace_windows(self, starts, ends, lines, t0, t1, first_line=0):
        """Trace windows of lines.

        Parameters
        ----------
        starts, ends : float64[L, D]
        lines : int64[Q]
            Line of each window.
        t0, t1 : float64[Q]
            Ends of each window.
        first_line : int
            Number of the first line in messages.

        Returns
        -------
        list of list of Window
            For each window, the consecutive windows in which it was traced: one, if it fits into the buffers.
        """
        windows = self._windows(starts, ends, lines, t0, t1, len(lines))
        too_large, extreme = self._run(windows)
        dropped = {*too_large, *extreme}
        results = [None if q in dropped else [self._window(windows, q)] for q in range(len(lines))]
        for q, line in enumerate(lines.tolist()):
            number = first_line + line
            if q in extreme:
                tracer, start, end = self._rescaled(starts[line], ends[line], number)
                results[q] = list(tracer.iter_window(start, end, t0[q], t1[q], number))
            elif q in dropped:
                results[q] = list(self._trace_parts(starts[line], ends[line], _halves(t0[q], t1[q]), number))
            else:
                results[q] = [self._with_end(results[q][0], starts[line], ends[line], windows, q)]
        return results

    def iter_window(self, start, end, t0, t1, number=0):
        """Trace a window of one line: yields consecutive Windows, one if it fits into the buffers."""
        return self._trace_parts(start, end, [(t0, t1)], number)

    def fitting_window(self, start, end, t0, t1, number=0):
        """Trace a window of one line without splitting it: Window, or None if it does not fit into the buffers."""
        windows = self._windows(start[None], end[None], np.zeros(1, np.int64), np.array([t0]), np.array([t1]), 1)
        too_large, extreme = self._run(windows)
        if extreme:
            tracer, start, end = self._rescaled(start, end, number)
            return tracer.fitting_window(start, end, t0, t1, number)
        return None if too_large else self._with_end(self._window(windows, 0), start, end, windows, 0)

    def _rescaled(self, start, end, number):
        """Return a tracer of the network that is rescaled for a line, and start and end in its units."""
        if self._is_rescaled:
            raise unequal_sizes(number)
        network, start, end, _ = rescaled_line(self.network, start, end, number)
        code = network.float32_code if self._tolerances.slope_dtype == "float32" else network.code
        buffers = network.__dict__.setdefault("_line_buffers", [])
        if not buffers:
            buffers.append(SlotBuffers(code, self.buffers[0].memory))
        return Tracer(network, self._tolerances, buffers, self.stop, is_rescaled=True), start, end

    def _with_end(self, window, start, end, windows, q):
        """Add the decisions at the line's end that are not certain to those of window q, if it ends there: Window."""
        if windows.t1[q] == 1.0 and windows.found[q, kernels.AT_END]:
            window.traced.ambiguous[0] += self._count_unsure_ends(start, end, window.end_states)
        return window

    def _count_unsure_ends(self, start, end, states):
        """Count the neurons whose state at a line's end is not certain, by tracing the line's end in reverse."""
        before = self.fitting_window(end, start, 0.0, END_WINDOW)
        return 1 if before is None else int((before.start_states != states).sum() + before.traced.ambiguous[0])

    def _trace_parts(self, start, end, pending, number):
        """Trace windows of one line, the last of ``pending`` first, and split them until they fit: yields Window."""
        while pending:
            t0, t1 = pending.pop()
            window = self.fitting_window(start, end, t0, t1, number)
            if window is not None:
                yield window
            elif t1 - t0 < LEAST_WINDOW:
                memory = self.buffers[0].memory
                raise CapacityError(
                    f"line {number} has more breakpoints near t = {t0} than buffers of {memory} bytes hold; raise memory"
                )
            else:
                pending += _halves(t0, t1)

    def _windows(self, starts, ends, lines, t0, t1, n_states):
        """Create the input and output arrays of the kernel, with states at both ends of the first ``n_states`` windows."""
        n, k = len(lines), self.network.n_neurons
        states = [np.zeros((n_states, k), np.int32) for _ in range(2)]
        return kernels.Windows(
            starts, ends, lines, t0, t1, self._bounds, np.zeros(1, np.int64), self.stop,
            np.zeros((n, kernels.N_FOUND), np.int64), np.zeros(n), *states,
        )  # fmt: skip

    def _run(self, windows):
        """Trace windows, and return the indices of those that do not fit into the buffers, and of those out of range."""
        if not self._is_rescaled and always_rescaled(self.network):
            return [], list(range(len(windows.lines)))
        active = self.buffers[: max(1, min(len(self.buffers), len(windows.lines)))]
        too_large, extreme = [], []
        for number, buffers in enumerate(active):
            buffers.begin(number)
        while active:
            run_slots(kernels.trace_slot, [kernels.LineSlot(b.code, b.work, b.found, windows, b.state) for b in active])
            if self.stop[0]:
                raise Stopped
            active = [buffers for buffers in active if buffers.status != workspace.DONE]
            for buffers in active:
                if buffers.status == workspace.EXTREME:
                    extreme.append(buffers.drop_window())
                elif not buffers.grow():
                    too_large.append(buffers.drop_window())
        return sorted(too_large), sorted(extreme)

    def _slices(self, windows, first, last):
        """Return views of the slots' buffers for windows ``first`` to ``last``, one per window: dict of lists by field."""
        table = windows.found[first:last].tolist()
        points = {name: [] for name in ("t", "error", "flips_per_point")}
        flips = {name: [] for name in ("neuron", "old_state", "new_state")}
        for slot, first_point, n_points, first_flip, n_flips, *_ in table:
            found = self.buffers[slot].found
            for name, pieces in points.items():
                pieces.append(getattr(found, name)[first_point : first_point + n_points])
            for name, pieces in flips.items():
                pieces.append(getattr(found, name)[first_flip : first_flip + n_flips])
        return points | flips

    def _collect(self, windows, first, last):
        """Copy the results of windows ``first`` to ``last``, each as one line: TraceResult."""
        table = windows.found[first:last]
        if len(np.unique(table[:, kernels.SLOT])) <= 1 and len(table):  # consecutive in the buffer of one slot
            found = self.buffers[int(table[0, kernels.SLOT])].found
            points = slice(table[0, kernels.FIRST_POINT], table[-1, kernels.FIRST_POINT] + table[-1, kernels.N_POINTS])
            flips = slice(table[0, kernels.FIRST_FLIP], table[-1, kernels.FIRST_FLIP] + table[-1, kernels.N_FLIPS])
            t, error, counts = (x[points].copy() for x in (found.t, found.error, found.flips_per_point))
            neuron, new = found.neuron[flips].copy(), found.new_state[flips].copy()
        else:
            pieces, none = self._slices(windows, first, last), self.buffers[0].found
            t, error, counts, neuron, new = (
                np.concatenate([getattr(none, name)[:0], *pieces[name]])
                for name in ("t", "error", "flips_per_point", "neuron", "new_state")
            )
        n_points, n_flips, ambiguous = (table[:, k].copy() for k in (kernels.N_POINTS, kernels.N_FLIPS, kernels.AMBIGUOUS))
        t_error = np.fmin(largest_errors(error, n_points) + windows.float32_error[first:last], 1.0)
        return TraceResult(n_points, n_flips, ambiguous, t_error, t, counts, neuron, new)

    def _window(self, windows, q):
        """Copy the result of window q: Window."""
        (error,), (old,) = (self._slices(windows, q, q + 1)[name] for name in ("error", "old_state"))
        states = _small(windows.start_states[q]), _small(windows.end_states[q])
        traced = self._collect(windows, q, q + 1)
        return Window(float(windows.t0[q]), traced, error.copy(), old.copy(), *states, float(windows.float32_error[q]))


def _enlarged(array, size):
    larger = np.empty(size, array.dtype)
    larger[: len(array)] = array
    return larger


def _small(states):
    """Convert states to the smallest integer type that holds them: a line may have many windows."""
    return states.astype(np.min_scalar_type(states.max(initial=0)))


def _halves(t0, t1):
    """Split a window in two: the second half first."""
    cut = t0 + CUT * (t1 - t0)
    return [(cut, t1), (t0, cut)]


@contextlib.contextmanager
def borrowed_tracer(network, tolerances, memory, *, n_slots=1, stop=None):
    """Create a tracer for one caller; its buffers are kept with the network for the next call, unless they are large."""
    code = network.float32_code if tolerances.slope_dtype == "float32" else network.code
    idle = network.__dict__.setdefault("_idle_buffers", [])
    with _POOL:
        buffers = [b for b in idle if b.code is code and b.memory == memory][:n_slots]
        for b in buffers:
            idle.remove(b)
    buffers += [SlotBuffers(code, memory) for _ in range(n_slots - len(buffers))]
    yield Tracer(network, tolerances, buffers, np.zeros(1, np.int64) if stop is None else stop)
    with _POOL:  # not after an error: a window may be incomplete
        kept = [b for b in buffers if b.nbytes <= KEPT_BYTES]
        idle += kept[: max(0, KEPT_BUFFERS - len(idle))]


def initial_states(network, start, end, t, tolerances):
    """Return the states on a line's first segment: int32[K].

    The line is traced up to the middle of the segment, so ties are decided as in the partition.
    """
    stop = 0.5 * t[1] if len(t) > 2 else 1.0
    with borrowed_tracer(network, tolerances, 2**30) as tracer:
        windows = tracer.iter_window(np.array(start), np.array(end), 0.0, stop)
        return next(windows).start_states.astype(np.int32)
