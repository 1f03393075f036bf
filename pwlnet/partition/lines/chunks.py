"""One long line in chunks: its breakpoints in order, with a bounded number of them in memory.

The line is cut into the same windows as in ``partition_lines``; they are traced, joined and returned in order, so the chunks
have the bits of the whole line. An interrupted line can be resumed at a boundary between planned windows that is not close to a
breakpoint, since nothing after it depends on what is before it.

Legend: D inputs, K neurons, T breakpoints and F flips of a chunk.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import ArrayLike, Dtype
from ...errors import CapacityError, DigestMismatchError, ShapeError
from ...scheduling import look_ahead, n_threads, single_threaded_blas
from ...tolerances import DEFAULT, Tolerances, as_tolerances
from ...validation import check_count, check_network
from . import check, windows
from .chunk_buffer import LINE_START, BreakpointIndex, ChunkBuffer, LineChunk, ResumePoint, end_point
from .rounds import Progress, Settings, check_limits, trace_in_rounds, waiting_bytes
from .tracing import borrowed_tracer
from .windows import Joiner, TraceResult, largest_error, retrace_close_boundaries

if TYPE_CHECKING:
    from ...network import Network


def iter_line_chunks(
    network: Network,
    start: ArrayLike,
    end: ArrayLike,
    *,
    max_points: int = 2**20,
    max_segments: int | None = None,
    progress: bool = False,
    threads: int | None = None,
    tolerances: Tolerances = DEFAULT,
    slope_dtype: Dtype | None = None,
    memory: int = 2**30,
    n_checked: int = 3,
) -> Iterator[LineChunk]:
    """Split one line as ``partition_lines`` does, and return its breakpoints in chunks while others are traced.

    Exact up to rounding: concatenated, the chunks are bit for bit the result of ``partition_lines``.

    Parameters
    ----------
    network : Network
    start, end : float64[D] or float64[*input_shape]
    max_points : int
        Number of breakpoints (entries of ``t``) of a chunk; the last one may have fewer.
    max_segments, progress, threads, tolerances, slope_dtype, memory, n_checked
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
    Memory: two chunks, three planned windows (a line has at most 64), and the buffers of the threads. With several threads
    also the windows that are traced in a quarter of a second, and finished ones up to 64 bytes times ``max_points`` or 64 MiB.
    For the residual, one or two windows are traced again at the end.

    See Also
    --------
    pwlnet.store.save_long_line : write the chunks to a store.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    >>> chunks = list(pwlnet.iter_line_chunks(network, np.zeros(64), np.ones(64), max_points=100))
    >>> len(chunks[0].t), chunks[0].t[0], chunks[-1].t[-1]
    (100, np.float64(0.0), np.float64(1.0))
    """
    check_count(max_points, "max_points")
    settings = Settings(network, as_tolerances(tolerances).with_slope_dtype(slope_dtype), memory, n_checked, max_segments)
    stream = LineStream(settings, start, end, threads=threads, progress=progress)
    return _with_residual(stream, stream.chunks(max_points))


def _with_residual(stream, chunks):
    """Yield the chunks, the last one with the residual of the line."""
    with contextlib.closing(chunks):
        for chunk in chunks:
            yield chunk if chunk.t[-1] < 1.0 else chunk._replace(residual=stream.residual(stream.retraced))


class LineStream:
    """One line that is traced in order, and checked at the end.

    Parameters
    ----------
    settings : Settings
    start, end : float64[D] or float64[*input_shape]
    threads : int, optional
    progress : bool
    number : int
        Number of the line in messages.

    Attributes
    ----------
    start, end : float64[D]
    ambiguous : int
        Number of near-ties of the line; final when all its chunks have been returned.
    t_error : float
        Bound of the rounding error of its breakpoints; final when all its chunks have been returned.
    """

    def __init__(self, settings, start, end, *, threads=None, progress=False, number=0):
        network = settings.network
        check_limits(settings.max_segments, settings.memory, settings.n_checked)
        self.start, self.end = _one_point(network, start, "start"), _one_point(network, end, "end")
        windows.refuse_long(self.start[None], self.end[None], number)
        self._settings, self._threads, self._progress = settings, n_threads(threads), progress
        self._number, self._index = number, BreakpointIndex()
        self.ambiguous, self.t_error = LINE_START.ambiguous, LINE_START.t_error
        (plan,) = windows.plan_lines(network, self.start[None], self.end[None], number, self._threads)
        self._cuts = plan.cuts
        self._largest = plan.largest[None] if windows.has_long_lines(network) else None  # as in partition_lines

    def chunks(self, max_points, resume_point=LINE_START, after=None):
        """Trace the line.

        Parameters
        ----------
        max_points : int
        resume_point : ResumePoint
            Where tracing begins: that of a chunk of the same line.
        after : float, optional
            Omit the breakpoints up to this one.

        Yields
        ------
        LineChunk

        Raises
        ------
        CapacityError
            There are too many segments, or even a very short window does not fit into the memory.
        DigestMismatchError
            ``after`` is not a breakpoint of this line, or ``resume_point`` not a window boundary.
        """
        self.ambiguous, self.t_error = resume_point.ambiguous, resume_point.t_error
        if resume_point.boundary == 1.0:
            return
        first = np.flatnonzero(self._cuts == resume_point.boundary)
        if not len(first):
            t = resume_point.boundary
            raise DigestMismatchError(f"t = {t} is not a window boundary of this line; resume with the same line")
        buffer = ChunkBuffer(max_points, after)
        with contextlib.ExitStack() as stack:
            stack.enter_context(single_threaded_blas())
            bar = stack.enter_context(contextlib.closing(Progress(1, self._progress)))
            planned = stack.enter_context(contextlib.closing(self._planned(self._cuts[first[0] :], waiting_bytes(max_points))))
            for points, reached in self._pieces(planned, resume_point, bar):
                buffer.push(points, reached)
                yield from buffer.full_chunks()
            yield from buffer.last_chunks()

    def retraced(self, numbers):
        """Compute breakpoints, given by number, by tracing their windows again: list of (t, neurons that flip)."""
        with self._tracer() as tracer:
            trace = functools.partial(tracer.fitting_window, self.start, self.end)
            return [self._index.find(k, trace) for k in numbers]

    def residual(self, find, n_points=None):
        """Compute the residual of the line as ``partition_lines`` does.

        Parameters
        ----------
        find : callable
            ``retraced``, or a function with the same argument and result.
        n_points : int, optional
            Number of breakpoints inside (0, 1), if the line was resumed.

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
        settings, n = self._settings, self._index.n_points if n_points is None else n_points
        self._check_number(n)
        count = min(n, settings.n_checked)
        found = find([k * (n - 1) // max(1, count - 1) for k in range(count)])
        t, flips = np.array([t for t, _ in found]), [neurons for _, neurons in found]
        counts, neurons = np.array([len(f) for f in flips], np.int64), np.concatenate([np.zeros(0, np.int64), *flips])
        traced = TraceResult(*(np.array([k]) for k in (count, len(neurons), 0, 0.0)), t, counts, neurons, neurons)
        line = self.start[None], self.end[None], traced, settings.n_checked
        with self._tracer() as tracer:
            buffers = tracer.forward_buffers
            return float(check.residuals(settings.network, *line, buffers, self._number, self._largest)[0])

    def _pieces(self, planned, resume_point, bar):
        """Yield consecutive Points of the line with its ends, each with the ResumePoint at which it ends, or None."""
        joiner = Joiner()
        yield end_point(0.0), resume_point
        for run in retrace_close_boundaries(planned, self._trace):
            for k, window in enumerate(run):
                done = joiner.add(window)
                self._index.add(window.t0, done, joiner.n_joined)
                for points in done:
                    yield self._with_errors(points), None
                if k == 0 and joiner.boundary_untouched:
                    yield end_point(), ResumePoint(float(window.t0), self.ambiguous, self.t_error)
                self.ambiguous += int(window.traced.ambiguous[0])
                bar.reach(window.t0)
                self._check_number(self._index.n_points + len(joiner.last().t))
        last = joiner.last()
        self._index.add(1.0, [last], 0)
        yield self._with_errors(last), None
        yield end_point(1.0), ResumePoint(1.0, self.ambiguous, self.t_error)
        bar.reach(1.0)

    def _with_errors(self, points):
        """Return the points unchanged, after their errors have been added to ``t_error``."""
        self.t_error = max(self.t_error, largest_error(points.error))
        return points

    def _check_number(self, n_points):
        """Raise CapacityError for too many segments."""
        most, n = self._settings.max_segments, n_points + 1
        if most is not None and n > most:
            problem = f"line {self._number} has at least {n} segments, more than max_segments={most}"
            raise CapacityError(f"{problem}; raise the limit or shorten the line")

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
        """Trace windows on all slots in rounds: yields _Planned."""
        with self._tracer(self._threads, stop) as tracer:
            starts, ends, lines = self.start[None], self.end[None], np.zeros(len(bounds), np.int64)
            rounds = trace_in_rounds(tracer, starts, ends, lines, bounds, self._number)
            for pair, windows in zip(bounds, itertools.chain.from_iterable(rounds), strict=True):
                yield _Planned(*pair, windows)

    def _trace(self, t0, t1):
        """Trace a window of the line: yields Window."""
        with self._tracer() as tracer:
            yield from tracer.iter_window(self.start, self.end, t0, t1, self._number)

    def _tracer(self, n_slots=1, stop=None):
        settings = self._settings
        return borrowed_tracer(settings.network, settings.tolerances, settings.memory, n_slots=n_slots, stop=stop)


class _Planned(NamedTuple):
    """A planned window, and the consecutive windows in which it was traced."""

    t0: float
    t1: float
    windows: list

    @property
    def nbytes(self):
        return sum(array.nbytes for window in self.windows for array in (*window.traced, *window[2:-1]))


def _one_point(network, point, name):
    """Validate a single input: float64[D]."""
    rows = check_network(network).as_points(point, name)
    if len(rows) != 1:
        raise ShapeError(
            f"{name} holds {len(rows)} points, but iter_line_chunks takes one line; use iter_line_partitions for many"
        )
    return np.array(rows[0])
