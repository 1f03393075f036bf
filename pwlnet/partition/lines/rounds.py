"""Trace and check many lines in rounds, and collect them into batches.

A round has as many lines or windows as all threads trace in a fraction of a second, estimated from the time of the last round.
Their number has no effect on the results.

Legend: L lines, D inputs.
"""

import itertools
import threading
import time
from typing import NamedTuple

import numpy as np

from ...errors import CapacityError
from ...validation import check_count
from . import check, windows
from .tracing import Stopped, borrowed_tracer
from .windows import TraceResult, join_windows, refuse_long, retrace_close_boundaries

ROUND_SECONDS = 0.25  # long relative to the overhead of a round, short for interactive use and Ctrl-C
FIRST_SECONDS = 0.05  # of the first round, before the time of a line is known
NEURONS_PER_SECOND = 500_000  # initial estimate: neurons of the network divided by seconds per line
MOST_LINES = 4096
MOST_BYTES = 2**24  # of a round's starts, ends or states
_BYTES_PER_POINT = 64  # of a batch: enough for a breakpoint with its flips, and for the inputs of most networks
_LEAST_BYTES = 2**26  # a lower limit of the size of waiting results, and of the starts of a batch


class Settings(NamedTuple):
    """How lines are traced."""

    network: object
    tolerances: object
    memory: int
    n_checked: int
    max_segments: object


class Block(NamedTuple):
    """Consecutive lines that have been traced and checked."""

    starts: np.ndarray  # float64[L, D]
    ends: np.ndarray  # float64[L, D]
    traced: TraceResult
    residual: np.ndarray  # float64[L]

    @property
    def nbytes(self):
        """Size of all arrays."""
        return sum(array.nbytes for array in (self.starts, self.ends, *self.traced, self.residual))

    def lines(self, first, last):
        """Return lines ``first`` to ``last`` (not included) of these: Block."""
        if last - first == len(self.starts):
            return self
        return Block(self.starts[first:last], self.ends[first:last], self.traced.lines(first, last), self.residual[first:last])


def check_limits(max_segments, memory, n_checked):
    """Validate the limits of a computation."""
    check_count(max_segments, "max_segments", or_none="no limit")
    check_count(memory, "memory", least=2**20)
    check_count(n_checked, "n_checked", least=0)


class Pace:
    """Estimates how many items a round should have, from the seconds of one thread per item in the round before.

    Parameters
    ----------
    seconds : float
        Initial estimate of the seconds per item.
    threads : int
    """

    def __init__(self, seconds, threads):
        self._seconds, self._threads, self._round_seconds = seconds, threads, FIRST_SECONDS

    def n_items(self):
        """Return the number of items for the next round, at least one for each thread."""
        available = self._threads * self._round_seconds
        n = int(available / self._seconds) if available < MOST_LINES * self._seconds else MOST_LINES
        return max(self._threads, n)

    def record_time(self, seconds, n_items):
        """Record the time of a round."""
        self._seconds, self._round_seconds = seconds * min(self._threads, n_items) / n_items, ROUND_SECONDS


def trace_blocks(settings, lines, threads, advance, stop):
    """Trace and check lines.

    Parameters
    ----------
    settings : Settings
    lines : LineEnds
    threads : int
    advance : callable
        Called with the number of lines, or the fraction of one, of each round.
    stop : int64[1]
        If not zero, tracing ends as soon as possible, and Stopped is raised.

    Yields
    ------
    Block
        Blocks of consecutive lines, in order.

    Raises
    ------
    CapacityError
        A line has too many segments.
    NumericalError
        Values overflow along a line.
    """
    network, first = settings.network, 0
    pace = Pace(max(network.n_neurons, 1) / NEURONS_PER_SECOND, threads)
    most = max(threads, min(MOST_LINES, MOST_BYTES // (8 * max(network.n_inputs, network.n_neurons))))
    with borrowed_tracer(network, settings.tolerances, settings.memory, n_slots=threads, stop=stop) as tracer:
        while first < len(lines):
            last = min(len(lines), first + min(pace.n_items(), most))
            starts, ends = lines.read(first, last)
            refuse_long(starts, ends, first)
            blocks, seconds, block = _trace_runs(settings, tracer, first, starts, ends, advance), 0.0, None
            while True:
                began = time.perf_counter()
                block = next(blocks, None)
                seconds += time.perf_counter() - began  # without the time until the next block is requested
                if block is None:
                    break
                yield block
            pace.record_time(seconds, last - first)
            first = last


def _trace_runs(settings, tracer, first, starts, ends, advance):
    """Trace and check lines from number ``first`` on: yields a Block for each line with windows, or run of lines without."""
    network = settings.network
    if not windows.has_long_lines(network):
        traced = tracer.trace_lines(starts, ends, first)
        yield _checked(settings, tracer, first, starts, ends, traced, None)
        advance(len(starts))
        return
    plans = windows.plan_lines(network, starts, ends, first, len(tracer.buffers))
    is_long = [len(plan.cuts) > 2 for plan in plans]
    for long, run in itertools.groupby(range(len(plans)), key=is_long.__getitem__):
        a, *_ = run = list(run)
        b = run[-1] + 1
        if long:
            results = _trace_long(tracer, first + a, starts[a:b], ends[a:b], plans[a:b], advance)
            bounds = [(k, k + 1) for k in run]
        else:
            results, bounds = [tracer.trace_lines(starts[a:b], ends[a:b], first + a)], [(a, b)]
            advance(b - a)
        for (k, m), traced in zip(bounds, results, strict=True):
            largest = np.stack([plan.largest for plan in plans[k:m]])
            yield _checked(settings, tracer, first + k, starts[k:m], ends[k:m], traced, largest)


def _trace_long(tracer, first, starts, ends, plans, advance):
    """Trace lines in their planned windows, and join the windows: yields the TraceResult of each line.

    Only the windows of one round and those of one line are in memory.
    """
    pairs = [np.stack([plan.cuts[:-1], plan.cuts[1:]], axis=1) for plan in plans]
    counts = np.array([len(of_line) for of_line in pairs])
    lines, bounds = np.repeat(np.arange(len(plans)), counts), np.concatenate(pairs)

    def trace_all():
        done = 0
        for results in trace_in_rounds(tracer, starts, ends, lines, bounds, first):
            advance(float(np.sum(1.0 / counts[lines[done : done + len(results)]])))
            done += len(results)
            results.reverse()
            while results:
                yield results.pop()

    planned = zip(*bounds.T.tolist(), trace_all(), strict=True)
    for k, n in enumerate(counts):

        def trace(t0, t1, k=k):
            return tracer.iter_window(starts[k], ends[k], t0, t1, first + k)

        runs = retrace_close_boundaries(itertools.islice(planned, int(n)), trace)
        yield join_windows(itertools.chain.from_iterable(runs))


def trace_in_rounds(tracer, starts, ends, lines, bounds, first_line):
    """Trace windows of lines in rounds: yields lists of lists of Window, as ``Tracer.trace_windows`` returns them.

    Parameters
    ----------
    tracer : Tracer
    starts, ends : float64[L, D]
    lines : int64[Q]
        Line of each window.
    bounds : float64[Q, 2]
        Ends of each window.
    first_line : int
    """
    threads, done = len(tracer.buffers), 0
    pace = Pace(1.0, threads)
    most = max(threads, MOST_BYTES // (8 * max(1, tracer.network.n_neurons)))
    while done < len(lines):
        last = min(len(lines), done + min(pace.n_items(), most))
        began, (t0, t1) = time.perf_counter(), np.ascontiguousarray(bounds[done:last].T)
        parts = tracer.trace_windows(starts, ends, np.ascontiguousarray(lines[done:last]), t0.copy(), t1.copy(), first_line)
        pace.record_time(time.perf_counter() - began, last - done)
        done = last
        yield parts


def _checked(settings, tracer, first, starts, ends, traced, largest):
    """Check traced lines from number ``first`` on: Block. Raises CapacityError and NumericalError."""
    most, n_segments = settings.max_segments, traced.n_points + 1
    too_many = np.flatnonzero(n_segments > most) if most is not None else ()
    if len(too_many):
        k = too_many[0]
        raise CapacityError(
            f"line {first + k} has {n_segments[k]} segments, more than max_segments={most}; raise the limit or shorten the line"
        )
    residual = check.residuals(
        settings.network, starts, ends, traced, settings.n_checked, tracer.forward_buffers, first, largest, tracer.stop
    )
    if tracer.stop[0]:
        raise Stopped
    return Block(starts, ends, traced, residual)


def waiting_bytes(max_points):
    """Return the size in bytes of finished results above which no others are computed until some are used."""
    return max(_LEAST_BYTES, _BYTES_PER_POINT * max_points)


def batches(blocks, max_points, max_bytes):
    """Split and collect blocks into batches, in order.

    Parameters
    ----------
    blocks : iterable of Block
    max_points : int or inf
        Largest number of breakpoints of a batch; a line with more is a batch alone.
    max_bytes : int or inf
        Largest size of the starts of a batch; a line with more is a batch alone.

    Yields
    ------
    list of Block
    """
    held, points, size = [], 0, 0
    for block in blocks:
        first = 0
        while first < len(block.starts):
            upto = np.cumsum(block.traced.n_points[first:] + 2)
            sizes = block.starts[0].nbytes * np.arange(1, len(upto) + 1)
            n = int(np.count_nonzero((upto <= max_points - points) & (sizes <= max_bytes - size)))
            if n == 0 and held:
                yield held
                held, points, size = [], 0, 0
                continue
            n = max(n, 1)
            held.append(block.lines(first, first + n))
            first, points, size = first + n, points + int(upto[n - 1]), size + int(sizes[n - 1])
    if held:
        yield held


def assemble(batch, n_inputs):
    """Join the lines of a batch, add their ends, and empty ``batch``: the array fields of LinePartitions, read-only."""
    columns = {
        "starts": [np.empty((0, n_inputs)), *(x.starts for x in batch)],
        "ends": [np.empty((0, n_inputs)), *(x.ends for x in batch)],
        "residual": [np.empty(0), *(x.residual for x in batch)],
    }
    for name in TraceResult._fields:
        seed = np.empty(0, {"t": np.float64, "t_error": np.float64, "new_state": np.int32}.get(name, np.int64))
        columns[name] = [seed, *(getattr(x.traced, name) for x in batch)]
    batch.clear()

    def joined(name):
        return np.concatenate(columns.pop(name))

    offsets = np.concatenate([[0], np.cumsum(joined("n_points") + 2)]).astype(np.int64)
    inner = np.ones(offsets[-1], bool)
    inner[offsets[:-1]] = inner[offsets[1:] - 1] = False
    t = np.zeros(offsets[-1])
    t[offsets[1:] - 1] = 1.0
    t[inner] = joined("t")
    flip_offsets = np.zeros(offsets[-1] + 1, np.int64)
    flip_offsets[1:][inner] = joined("flips_per_point")
    np.cumsum(flip_offsets, out=flip_offsets)
    flips = joined("neuron"), joined("new_state")
    of_lines = (joined(name) for name in ("residual", "ambiguous", "t_error"))
    arrays = joined("starts"), joined("ends"), offsets, t, flip_offsets, *flips, *of_lines
    for array in arrays:
        array.setflags(write=False)
    return arrays


class Progress:
    """A progress bar on stderr that also shows fractions of lines, or of other units; no-op unless ``shown``."""

    def __init__(self, n_lines, shown, unit="line"):
        self._done, self._lock, self._bar = 0.0, threading.Lock(), None
        if shown:
            from tqdm import tqdm

            self._bar = tqdm(total=n_lines, unit=unit)

    def advance(self, n_lines):
        """Add lines, or a fraction of one; may be called from any thread."""
        if self._bar is not None:
            with self._lock:
                self._done += n_lines
                shown = round(self._done, 2)
                self._bar.n = int(shown) if shown.is_integer() else shown
                self._bar.update(0)

    def reach(self, n_lines):
        """Set the number of finished lines; must be called from one thread only."""
        self.advance(n_lines - self._done)

    def close(self):
        """Close the bar, and leave it on the screen."""
        if self._bar is not None:
            self._bar.close()
