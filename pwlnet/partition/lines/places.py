"""Breakpoints of a line that is traced in order: those that wait to be handed out, and where the others were found.

Legend: T breakpoints and F flips of a part.
"""

import bisect
from typing import NamedTuple

import numpy as np

from ...errors import DigestMismatchError
from .joining import Points, points_of


class LineChunk(NamedTuple):
    """Consecutive breakpoints of one line; made by ``iter_line_chunks``.

    ``flip_offsets`` count from the part's first flip. ``border`` is a place before which all breakpoints are in this part or an
    earlier one, and behind which nothing depends on them: the line can be taken up there. ``ambiguous`` counts the near-ties
    before it, ``t_error`` bounds the rounding error of the breakpoints before it; in the last part (``t`` ends with 1.0) those
    of the whole line. ``residual`` is the line's, in the last part, and None in the others.
    """

    t: np.ndarray  # float64[T]
    flip_offsets: np.ndarray  # int64[T+1]
    flip_neurons: np.ndarray  # int64[F]
    flip_states: np.ndarray  # int32[F]
    border: float
    ambiguous: int
    t_error: float
    residual: object = None  # float


class Mark(NamedTuple):
    """A place where a line can be taken up; the near-ties before it, and the bound of the rounding errors of t before it."""

    border: float
    ambiguous: int
    t_error: float


START = Mark(0.0, 0, 0.0)


def end_point(*t):
    """An end of a line as a breakpoint without flips, or no breakpoint: Points."""
    none = np.zeros(0, np.int64)
    return Points(np.array(t, float), np.zeros(len(t)), np.zeros(len(t), np.int64), none, none, none.astype(np.int32))


class Waiting:
    """Breakpoints that wait to be handed out.

    Parameters
    ----------
    max_points : int
        Breakpoints of a part.
    after : float or None
        Drop the breakpoints up to this one.
    """

    def __init__(self, max_points, after):
        self._max_points, self._after = max_points, after
        self._points, self._n_waiting = [], 0
        self._mark, self._marks = START, []  # (breakpoints that still wait before it, Mark)

    def push(self, points, mark):
        """Take the breakpoints that come next, and the Mark that they reach up to, or None.

        Raises
        ------
        DigestMismatchError
            The one to drop last is not there.
        """
        points = self._behind(points)
        self._points.append(points)
        self._n_waiting += len(points.t)
        if mark is not None:
            self._marks.append((self._n_waiting, mark))

    def full_parts(self):
        """Hand out what fills a part: yields LineChunk."""
        while self._n_waiting >= self._max_points:
            yield self._take(self._max_points)

    def last_parts(self):
        """Hand out the rest: yields LineChunk."""
        yield from self.full_parts()
        if self._n_waiting:
            yield self._take(self._n_waiting)

    def _behind(self, points):
        """Those that are not dropped."""
        if self._after is None:
            return points
        n = int(np.searchsorted(points.t, self._after, side="right"))
        if n and points.t[n - 1] == self._after:
            self._after = None
        elif n < len(points.t):
            raise DigestMismatchError(
                f"t = {self._after} is no breakpoint of this line; give the line that was begun, and the same memory"
            )
        return points.split(n)[1]

    def _take(self, n):
        if len(self._points) > 1:
            self._points = [Points(*map(np.concatenate, zip(*self._points, strict=True)))]
        part, rest = self._points[0].split(n)
        self._points, self._n_waiting = [rest], self._n_waiting - n
        self._marks = [(k - n, mark) for k, mark in self._marks]
        while self._marks and self._marks[0][0] <= 0:
            self._mark = self._marks.pop(0)[1]
        offsets = np.concatenate([[0], np.cumsum(part.counts)])
        return LineChunk(part.t.copy(), offsets, part.neuron.copy(), part.new.copy(), *self._mark)


class Places:
    """Where the breakpoints inside (0, 1) were found, so that one of them can be found again.

    Attributes
    ----------
    n_points : int
        Breakpoints before the last window.
    """

    def __init__(self):
        self.n_points = 0
        self._begins, self._firsts, self._n_joined = [], [], []  # of windows: where, first breakpoint of its own, others before
        self._joined = {}  # number of a breakpoint at a border: (t, neurons)

    def add(self, t0, done, n_joined):
        """Count what is final before the window that begins at ``t0``: Joiner.add and n_joined."""
        for is_joined, points in enumerate(done):
            if is_joined and len(points.t):
                self._joined[self.n_points] = points.t[0], points.neuron
            self.n_points += len(points.t)
        self._begins.append(t0)
        self._firsts.append(self.n_points)
        self._n_joined.append(n_joined)

    def find(self, number, trace):
        """A breakpoint by its number: (t, neurons that flip). ``trace`` gives the Window between two places."""
        if number in self._joined:
            return self._joined[number]
        k = bisect.bisect_right(self._firsts, number) - 1
        points = points_of(trace(*self._begins[k : k + 2]))
        one = points.split(self._n_joined[k] + number - self._firsts[k])[1].split(1)[0]
        return one.t[0], one.neuron
