"""Join the windows of one line: drop the borders, and join what a border cut apart.

A neuron whose state differs across a border flips there. Rounding can put one crossing on both sides of a border, or report
it beside the border and again at it; so breakpoints next to a border within their rounding bounds are joined, and flips that
undo each other cancel. Away from borders nothing is touched: the kernel has decided about ties there.

An error of t is a bound, and so at most 1, the length of a line: also where the kernel has a greater one, or none is known.

Legend: L lines, K neurons.
"""

from typing import NamedTuple

import numpy as np

from ...tolerances import UNIT_ROUNDOFF

_BORDER_ERROR = 4.0 * UNIT_ROUNDOFF  # of t, which is at most 1


class Traced(NamedTuple):
    """Breakpoints inside (0, 1) and flips of consecutive lines."""

    n_points: np.ndarray  # int64[L]
    n_flips: np.ndarray  # int64[L]
    ambiguous: np.ndarray  # int64[L]
    t_error: np.ndarray  # float64[L] largest bound of the rounding errors of t
    t: np.ndarray  # float64[*]
    counts: np.ndarray  # int64[*] flips per breakpoint
    neuron: np.ndarray  # int64[*]
    new: np.ndarray  # int32[*]

    def lines(self, first, last):
        """The part of it that belongs to lines ``first`` to ``last``."""
        points = slice(int(self.n_points[:first].sum()), int(self.n_points[:last].sum()))
        flips = slice(int(self.n_flips[:first].sum()), int(self.n_flips[:last].sum()))
        return Traced(*(x[first:last] for x in self[:4]), *(x[points] for x in self[4:6]), *(x[flips] for x in self[6:]))


class Window(NamedTuple):
    """One part of a line."""

    t0: float
    traced: Traced
    error: np.ndarray  # float64[*] bounds of the rounding errors of t, float64 rows assumed: what decides about ties
    old: np.ndarray  # int32[*] state before each flip
    start_states: np.ndarray  # int[K]
    end_states: np.ndarray  # int[K]
    row_error: float = 0.0  # what float32 rows add to error at most


class Points(NamedTuple):
    """Consecutive breakpoints of one line, with their flips."""

    t: np.ndarray
    error: np.ndarray
    counts: np.ndarray
    neuron: np.ndarray
    old: np.ndarray
    new: np.ndarray

    def split(self, k):
        """The first k points, and the others."""
        flip = int(self.counts[:k].sum())
        cut = list(zip(self, (k, k, k, flip, flip, flip), strict=True))
        return Points(*(x[:n] for x, n in cut)), Points(*(x[n:] for x, n in cut))


def concatenate(pieces):
    """Put consecutive Traced after one another."""
    return pieces[0] if len(pieces) == 1 else Traced(*map(np.concatenate, zip(*pieces, strict=True)))


def largest_error(error):
    """The largest of the errors float64[*] of one line's breakpoints, 0.0 where there are none: float."""
    return float(np.fmin(error, 1.0).max(initial=0.0))


def largest_errors(error, n_points):
    """The largest of the errors float64[*] of each of several lines, which have ``n_points`` int64[L]: float64[L]."""
    largest, filled = np.zeros(len(n_points)), n_points > 0
    if filled.any():  # reduceat gives an empty range the error behind it
        largest[filled] = np.maximum.reduceat(error, (np.cumsum(n_points) - n_points)[filled])
    return np.fmin(largest, 1.0)


def join_windows(windows):
    """Join consecutive windows of one line.

    Parameters
    ----------
    windows : iterable of Window

    Returns
    -------
    Traced
        Of one line.
    """
    joiner, pieces, ambiguous = Joiner(), [], 0
    for window in windows:
        pieces += joiner.add(window)
        ambiguous += int(window.traced.ambiguous[0])
    t, error, counts, neuron, _, new = map(np.concatenate, zip(*pieces, joiner.last(), strict=True))
    of_line = len(t), len(neuron), ambiguous, largest_error(error)
    return Traced(*(np.array([n]) for n in of_line), t, counts, neuron, new)


class Joiner:
    """Joins the windows of one line as they come.

    Attributes
    ----------
    boundary_untouched : bool
        Whether the border before the last window left everything as it was, so that both sides can be told apart.
    n_joined : int
        Breakpoints at the beginning of the last window that were joined with those before.
    """

    def __init__(self):
        self._before = self._rest = None
        self.boundary_untouched, self.n_joined = True, 0

    def add(self, window):
        """Take the next window: the breakpoints before it that are final, list of Points (what is left of the window before
        it, and what was joined at the border)."""
        points, done = points_of(window), []
        if self._before is not None:
            kept, merged, rest = _joined(self._rest, _border(self._before, window), points)
            self.n_joined = len(points.t) - len(rest.t)
            self.boundary_untouched = len(kept.t) == len(self._rest.t) and not self.n_joined and not len(merged.t)
            row_error = max(self._before.row_error, window.row_error)
            points, done = rest, [_with_row_error(kept, row_error), _with_row_error(merged, row_error)]
        self._before, self._rest = window, points
        return done

    def last(self):
        """What is left of the last window: Points."""
        return _with_row_error(self._rest, self._before.row_error)


def retrace_close_boundaries(planned, trace):
    """Put planned windows together whose border came within rounding of a breakpoint, and trace them again as one.

    Which neurons share a breakpoint is for the kernel to decide. Borders are put where that is very unlikely.

    Parameters
    ----------
    planned : iterable of (float, float, iterable of Window)
        Consecutive planned windows: from, to, and what they were traced in. At most two of them are held.
    trace : callable
        Traces a part of the line: iterable of Window, of (from, to).

    Yields
    ------
    iterable of Window
        Of planned windows, or of several of them.
    """
    begin = end = before = windows = None
    whole = True  # windows are those from begin to end, not the planned ones before end
    for t0, t1, parts in planned:
        if windows is None:
            begin, end, before, windows = t0, t1, parts, parts
            continue
        close = border_is_close(before[-1], parts[0])
        if not close and not whole:
            windows, whole = list(trace(begin, end)), True
            close = border_is_close(windows[-1], parts[0])
        if close:
            windows, whole = parts, False
        else:
            yield windows
            begin, windows, whole = t0, parts, True
        end, before = t1, parts
    yield windows if whole else trace(begin, end)


def border_is_close(before, window):
    """Whether the border between two windows is within rounding errors of a breakpoint on either side, or on it."""
    left, right = np.abs(before.traced.t[-1:] - window.t0), np.abs(window.traced.t[:1] - window.t0)
    near = (left <= before.error[-1:] + _BORDER_ERROR).any() or (right <= window.error[:1] + _BORDER_ERROR).any()
    return bool(near or (before.end_states != window.start_states).any())


def _with_row_error(points, row_error):
    """Points whose ties are decided: what float32 rows add to their errors matters now."""
    return points._replace(error=points.error + row_error)


def points_of(window):
    """The breakpoints of a window: Points."""
    traced = window.traced
    return Points(traced.t, window.error, traced.counts, traced.neuron, window.old, traced.new)


def _border(before, window):
    """The border between two windows as a breakpoint: neurons whose states differ across it; none where there are none."""
    neuron = np.flatnonzero(before.end_states != window.start_states)
    states = (x[neuron].astype(np.int32) for x in (before.end_states, window.start_states))
    n = min(1, neuron.size)
    return Points(np.full(n, window.t0), np.full(n, _BORDER_ERROR), np.full(n, neuron.size), neuron, *states)


def _joined(left, border, right):
    """Points left of a border, on it, and right of it, in pieces; those that are one breakpoint are joined."""
    if len(border.t):
        on_left = _run_length(np.abs(left.t - border.t)[::-1] <= left.error[::-1] + border.error)
        on_right = _run_length(np.abs(right.t - border.t) <= right.error + border.error)
    else:
        meet = len(left.t) and len(right.t) and right.t[0] - left.t[-1] <= right.error[0] + left.error[-1]
        on_left = on_right = int(meet)
    kept, tail = left.split(len(left.t) - on_left)
    head, rest = right.split(on_right)
    merged = _merged(Points(*map(np.concatenate, zip(tail, border, head, strict=True))))
    if len(border.t):  # a neuron whose state differs across it has no crossing of a known error there
        merged = merged._replace(error=np.ones(len(merged.t)))
    return [kept, merged, rest]


def _run_length(flags):
    """Number of True before the first False."""
    return len(flags) if flags.all() else int(np.argmin(flags))


def _merged(points):
    """Several spellings of one breakpoint as one, under the most accurate; none where all flips undo each other.

    Its error is that of the spelling which is farthest off.
    """
    if len(points.t) < 2:
        return points
    order = np.argsort(points.neuron, kind="stable")
    neuron, old, new = points.neuron[order], points.old[order], points.new[order]
    first = np.flatnonzero(np.diff(neuron, prepend=-1))
    last = np.append(first[1:], len(neuron)) - 1
    first, last = (x[old[first] != new[last]] for x in (first, last))
    best, n = np.argmin(points.error), min(1, len(first))
    t, error = points.t[best : best + n], np.max(np.abs(points.t - points.t[best]) + points.error)
    return Points(t, np.full(n, error), np.full(n, len(first)), neuron[first], old[first], new[last])
