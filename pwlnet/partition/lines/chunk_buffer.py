"""Breakpoints of a line that is traced in order: a buffer from which chunks are taken, and an index to compute them again.

Legend: T breakpoints and F flips of a chunk.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np

from ..._types import FloatArray, Int32Array, IntArray
from ...errors import DigestMismatchError
from .windows import Points, window_points


class LineChunk(NamedTuple):
    """Consecutive breakpoints of one line; made by ``iter_line_chunks``.

    ``flip_offsets`` count from the chunk's first flip. ``boundary`` is a line parameter at which tracing can resume: all
    breakpoints before it are in this chunk or an earlier one, and nothing after it depends on them. ``ambiguous`` counts the
    near-ties before it, and ``t_error`` bounds the rounding error of the breakpoints before it; in the last chunk (``t`` ends
    with 1.0) they are those of the whole line. ``residual`` is that of the line in the last chunk, and None in the others.
    """

    t: FloatArray  # float64[T]
    flip_offsets: IntArray  # int64[T+1]
    flip_neurons: IntArray  # int64[F]
    flip_states: Int32Array  # int32[F]
    boundary: float
    ambiguous: int
    t_error: float
    residual: float | None = None  # float


class ResumePoint(NamedTuple):
    """A line parameter at which tracing can resume, with the number of near-ties and the bound of the errors of t before it."""

    boundary: float
    ambiguous: int
    t_error: float


LINE_START = ResumePoint(0.0, 0, 0.0)


def end_point(*t):
    """Return breakpoints without flips, such as the ends of a line: Points."""
    none = np.zeros(0, np.int64)
    return Points(np.array(t, float), np.zeros(len(t)), np.zeros(len(t), np.int64), none, none, none.astype(np.int32))


class ChunkBuffer:
    """Breakpoints that have been traced and not yet returned.

    Parameters
    ----------
    max_points : int
        Number of breakpoints of a chunk.
    after : float or None
        Drop the breakpoints up to this one.
    """

    def __init__(self, max_points, after):
        self._max_points, self._after = max_points, after
        self._points, self._n_points = [], 0
        self._resume_point, self._resume_points = LINE_START, []  # (number of breakpoints in the buffer before it, ResumePoint)

    def push(self, points, resume_point):
        """Append the next breakpoints, and the ResumePoint at which they end, or None.

        Raises
        ------
        DigestMismatchError
            The last breakpoint to drop is missing.
        """
        points = self._after_last(points)
        self._points.append(points)
        self._n_points += len(points.t)
        if resume_point is not None:
            self._resume_points.append((self._n_points, resume_point))

    def full_chunks(self):
        """Yield LineChunk as long as there are enough breakpoints for one."""
        while self._n_points >= self._max_points:
            yield self._take(self._max_points)

    def last_chunks(self):
        """Yield LineChunk of the remaining breakpoints."""
        yield from self.full_chunks()
        if self._n_points:
            yield self._take(self._n_points)

    def _after_last(self, points):
        """Return the breakpoints that are not dropped."""
        if self._after is None:
            return points
        n = int(np.searchsorted(points.t, self._after, side="right"))
        if n and points.t[n - 1] == self._after:
            self._after = None
        elif n < len(points.t):
            raise DigestMismatchError(
                f"t = {self._after} is not a breakpoint of this line; resume with the same line and the same memory"
            )
        return points.split(n)[1]

    def _take(self, n):
        if len(self._points) > 1:
            self._points = [Points(*map(np.concatenate, zip(*self._points, strict=True)))]
        taken, rest = self._points[0].split(n)
        self._points, self._n_points = [rest], self._n_points - n
        self._resume_points = [(k - n, resume_point) for k, resume_point in self._resume_points]
        while self._resume_points and self._resume_points[0][0] <= 0:
            self._resume_point = self._resume_points.pop(0)[1]
        offsets = np.concatenate([[0], np.cumsum(taken.flips_per_point)])
        return LineChunk(taken.t.copy(), offsets, taken.neuron.copy(), taken.new_state.copy(), *self._resume_point)


class BreakpointIndex:
    """The windows in which the breakpoints inside (0, 1) were found, to compute single breakpoints again.

    Attributes
    ----------
    n_points : int
        Breakpoints before the last window.
    """

    def __init__(self):
        self.n_points = 0
        self._begins = []  # of each window: t0,
        self._firsts = []  # the number of its first breakpoint,
        self._n_joined = []  # and how many of its breakpoints were merged with the window before
        self._joined = {}  # number of a breakpoint at a boundary: (t, neurons)

    def add(self, t0, done, n_joined):
        """Add the window that begins at ``t0``: the final breakpoints before it (``Joiner.add``), and ``Joiner.n_joined``."""
        for is_joined, points in enumerate(done):
            if is_joined and len(points.t):
                self._joined[self.n_points] = points.t[0], points.neuron
            self.n_points += len(points.t)
        self._begins.append(t0)
        self._firsts.append(self.n_points)
        self._n_joined.append(n_joined)

    def find(self, number, trace):
        """Return a breakpoint by its number: (t, neurons that flip). ``trace`` returns the Window between two values of t."""
        if number in self._joined:
            return self._joined[number]
        k = bisect.bisect_right(self._firsts, number) - 1
        points = window_points(trace(*self._begins[k : k + 2]))
        one = points.split(self._n_joined[k] + number - self._firsts[k])[1].split(1)[0]
        return one.t[0], one.neuron
