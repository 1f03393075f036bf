"""One long line in parts: its breakpoints in order, a bounded number of them in memory.

The line is cut into the windows of ``partition_lines``; they are traced, put together and handed out one after the other, so
the parts have the bits of the whole. Behind a border between planned windows that touches no breakpoint, nothing depends on
what lies before it: there a line that was stopped can be taken up again.

Legend: D inputs, K neurons, T breakpoints and F flips of a part.
"""

import contextlib
import functools
import itertools
from typing import NamedTuple

import numpy as np

from ...errors import CapacityError, DigestMismatchError, ShapeError
from ...scheduling import look_ahead, n_threads, single_threaded_blas
from ...tolerances import DEFAULT
from . import check, planning
from .joining import Joiner, Traced, largest_error, retrace_close_boundaries
from .partitions import waiting_bytes
from .places import START, Mark, Places, Waiting, end_point
from .rounds import Progress, Settings, check_limits, check_points, trace_in_rounds
from .tracing import borrowed_tracer


def iter_line_chunks(
    network,
    start,
    end,
    *,
    max_points=2**20,
    max_segments=None,
    progress=False,
    threads=None,
    tolerances=DEFAULT,
    memory=2**30,
    n_checked=3,
):
    """Split one line as ``partition_lines`` does, and hand out its breakpoints in parts while others are traced.

    Exact up to rounding: put together, the parts are bit for bit what ``partition_lines`` gives.

    Parameters
    ----------
    network : Network
    start, end : float64[D] or float64[*input_shape]
    max_points : int
        Breakpoints (entries of ``t``) of a part; the last one may have fewer.
    max_segments, progress, threads, tolerances, memory, n_checked
        As for ``partition_lines``.

    Returns
    -------
    iterator of LineChunk
        The first one's ``t`` begins with 0.0, the last one's ends with 1.0. ``close()`` it, or leave the loop, to stop the
        threads.

    Raises
    ------
    ShapeError
        ``start`` or ``end`` is not one point of the network.
    InputError, CapacityError, NumericalError
        As for ``partition_lines``; CapacityError as soon as there are too many segments.

    Notes
    -----
    Memory: two parts; three of the planned windows, at most 64 for a line, and more that wait up to 64 bytes times
    ``max_points`` or 64 MiB where there are several threads; the threads' buffers. For the residual, a window or two are
    traced again in the end.

    See Also
    --------
    pwlnet.store.save_long_line : to the disk, part by part.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    >>> parts = list(pwlnet.iter_line_chunks(network, np.zeros(64), np.ones(64), max_points=100))
    >>> len(parts[0].t), parts[0].t[0], parts[-1].t[-1]
    (100, np.float64(0.0), np.float64(1.0))
    """
    check_points(max_points)
    settings = Settings(network, tolerances, memory, n_checked, max_segments)
    stream = LineStream(settings, start, end, threads=threads, progress=progress)
    return _with_residual(stream, stream.parts(max_points))


def _with_residual(stream, parts):
    """The parts, the last one with the line's residual."""
    with contextlib.closing(parts):
        for part in parts:
            yield part if part.t[-1] < 1.0 else part._replace(residual=stream.residual(stream.retraced))


class LineStream:
    """One line that is traced in order, and checked in the end.

    Parameters
    ----------
    settings : Settings
    start, end : float64[D] or float64[*input_shape]
    threads : int, optional
    progress : bool
    number : int
        Of the line, in messages.

    Attributes
    ----------
    start, end : float64[D]
    ambiguous : int
        Near-ties of the line; known when all its parts are out.
    t_error : float
        Bound of the rounding error of its breakpoints; likewise.
    """

    def __init__(self, settings, start, end, *, threads=None, progress=False, number=0):
        network = settings.network
        check_limits(settings.max_segments, settings.memory, settings.n_checked)
        self.start, self.end = _one_point(network, start, "start"), _one_point(network, end, "end")
        self._settings, self._threads, self._progress = settings, n_threads(threads), progress
        self._number, self._places = number, Places()
        self.ambiguous, self.t_error = START.ambiguous, START.t_error
        (plan,) = planning.plan_lines(network, self.start[None], self.end[None], number, self._threads)
        self._cuts = plan.cuts
        self._largest = plan.largest[None] if planning.has_long_lines(network) else None  # as partition_lines has it

    def parts(self, max_points, mark=START, after=None):
        """Trace the line.

        Parameters
        ----------
        max_points : int
        mark : Mark
            Where to begin: of a part of the same line.
        after : float, optional
            Leave out the breakpoints up to this one.

        Yields
        ------
        LineChunk

        Raises
        ------
        CapacityError
            There are too many segments, or a window doesn't fit into the memory however short it is.
        DigestMismatchError
            ``after`` is no breakpoint, or ``mark`` no border of this line.
        """
        self.ambiguous, self.t_error = mark.ambiguous, mark.t_error
        if mark.border == 1.0:
            return
        first = np.flatnonzero(self._cuts == mark.border)
        if not len(first):
            raise DigestMismatchError(f"t = {mark.border} is no border of a window of this line; give the line that was begun")
        waiting = Waiting(max_points, after)
        with contextlib.ExitStack() as stack:
            stack.enter_context(single_threaded_blas())
            bar = stack.enter_context(contextlib.closing(Progress(1, self._progress)))
            planned = stack.enter_context(contextlib.closing(self._planned(self._cuts[first[0] :], waiting_bytes(max_points))))
            for points, reached in self._pieces(planned, mark, bar):
                waiting.push(points, reached)
                yield from waiting.full_parts()
            yield from waiting.last_parts()

    def retraced(self, places):
        """Breakpoints by their number, from tracing their windows again: list of (t, neurons that flip)."""
        with self._tracer() as tracer:
            trace = functools.partial(tracer.fitting_window, self.start, self.end)
            return [self._places.find(k, trace) for k in places]

    def residual(self, find, n_points=None):
        """Check the line, as ``partition_lines`` does.

        Parameters
        ----------
        find : callable
            ``retraced``, or another source of the same.
        n_points : int, optional
            Breakpoints inside (0, 1), where not all of them came from here.

        Returns
        -------
        float

        Raises
        ------
        CapacityError
            There are too many segments.
        NumericalError
            Values overflow at a checked breakpoint.
        """
        settings, n = self._settings, self._places.n_points if n_points is None else n_points
        self._check_number(n)
        count = min(n, settings.n_checked)
        found = find([k * (n - 1) // max(1, count - 1) for k in range(count)])
        t, flips = np.array([t for t, _ in found]), [neurons for _, neurons in found]
        counts, neurons = np.array([len(f) for f in flips], np.int64), np.concatenate([np.zeros(0, np.int64), *flips])
        traced = Traced(*(np.array([k]) for k in (count, len(neurons), 0, 0.0)), t, counts, neurons, neurons)
        line = self.start[None], self.end[None], traced, settings.n_checked
        with self._tracer() as tracer:
            buffers = tracer.forward_buffers
            return float(check.residuals(settings.network, *line, buffers, self._number, self._largest)[0])

    def _pieces(self, planned, mark, bar):
        """Consecutive Points of the line, its ends too, each with the Mark that it reaches up to, where there is one."""
        joiner = Joiner()
        yield end_point(0.0), mark
        for run in retrace_close_boundaries(planned, self._trace):
            for k, window in enumerate(run):
                done = joiner.add(window)
                self._places.add(window.t0, done, joiner.n_joined)
                for points in done:
                    yield self._noted(points), None
                if k == 0 and joiner.boundary_untouched:
                    yield end_point(), Mark(float(window.t0), self.ambiguous, self.t_error)
                self.ambiguous += int(window.traced.ambiguous[0])
                bar.reach(window.t0)
                self._check_number(self._places.n_points + len(joiner.last().t))
        last = joiner.last()
        self._places.add(1.0, [last], 0)
        yield self._noted(last), None
        yield end_point(1.0), Mark(1.0, self.ambiguous, self.t_error)
        bar.reach(1.0)

    def _noted(self, points):
        """Points of the line, as they are; their errors count."""
        self.t_error = max(self.t_error, largest_error(points.error))
        return points

    def _check_number(self, n_points):
        """Refuse a line with too many segments."""
        most, n = self._settings.max_segments, n_points + 1
        if most is not None and n > most:
            many = f"line {self._number} has at least {n} segments, more than max_segments={most}"
            raise CapacityError(f"{many}; raise the limit or shorten the line")

    def _planned(self, cuts, max_bytes):
        """Trace the planned windows from the first cut on, in order: yields (from, to, iterable of Window)."""
        bounds = np.stack([cuts[:-1], cuts[1:]], axis=1)
        if len(bounds) == 1:
            yield *bounds[0], self._trace(*bounds[0])
        elif self._threads == 1:
            for pair in bounds:
                yield *pair, list(self._trace(*pair))
        else:
            stop = np.zeros(1, np.int64)
            with contextlib.closing(
                look_ahead(self._in_rounds(bounds, stop), max_bytes, functools.partial(stop.fill, 1))
            ) as ahead:
                yield from ahead

    def _in_rounds(self, bounds, stop):
        """Trace windows on all threads, some at a time: yields _Planned."""
        with self._tracer(self._threads, stop) as tracer:
            starts, ends, lines = self.start[None], self.end[None], np.zeros(len(bounds), np.int64)
            rounds = trace_in_rounds(tracer, starts, ends, lines, bounds, self._number)
            for pair, windows in zip(bounds, itertools.chain.from_iterable(rounds), strict=True):
                yield _Planned(*pair, windows)

    def _trace(self, t0, t1):
        """Trace a part of the line: yields Window."""
        with self._tracer() as tracer:
            yield from tracer.iter_window(self.start, self.end, t0, t1, self._number)

    def _tracer(self, n_slots=1, stop=None):
        settings = self._settings
        return borrowed_tracer(settings.network, settings.tolerances, settings.memory, n_slots=n_slots, stop=stop)


class _Planned(NamedTuple):
    """A planned window, and the windows in which it was traced."""

    t0: float
    t1: float
    windows: list

    @property
    def nbytes(self):
        return sum(array.nbytes for window in self.windows for array in (*window.traced, *window[2:-1]))


def _one_point(network, point, name):
    """A single input: float64[D]."""
    rows = network.as_points(point, name)
    if len(rows) != 1:
        raise ShapeError(f"{name} holds {len(rows)} points of the network; one line has one, iter_line_partitions takes many")
    return np.array(rows[0])
