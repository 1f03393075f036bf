"""Windows of long lines: where a line is split so that threads trace it in parallel, and how the results are joined.

A plan depends only on the network and the line, not on the number of threads or the memory; so do the bits of a result.

A neuron whose state differs across a window boundary flips there. Because of rounding, one crossing may be found on both sides
of a boundary, or next to the boundary and again on it. So breakpoints within rounding of a boundary are merged, and flips that
cancel are removed. Other breakpoints are not changed: the kernel has decided their ties.

The error of t is a bound, and at most 1, the length of a line.

Legend: L lines, D inputs, K neurons, S switching ops, W windows.
"""

import itertools
from typing import NamedTuple

import numpy as np

from ... import evaluate
from ...errors import NumericalError
from ...tolerances import UNIT_ROUNDOFF

WINDOW_POINTS = 3000  # the start of a window costs as much as 100 to 300 breakpoints; smaller buffers compensate for most
MOST_WINDOWS = 64
INTERVALS = 8  # number of intervals in which breakpoints are estimated
LINES_AT_ONCE = 16  # lines whose states at both ends are computed together
COUNTED = 0.9  # share of the neurons that are used for the estimate: the last ops are costly and have few breakpoints
CUT = 0.4813717  # where windows are split: not in the middle, since ties are likely at simple fractions
_BOUNDARY_ERROR = 4.0 * UNIT_ROUNDOFF  # of t, which is at most 1


def largest_preactivations(network, z):
    """Return the largest absolute pre-activation of each switching op in each row of z float64[B, K]: float64[B, S].

    Not finite on overflow. z may have the neurons of the first ops only; S is then the number of these ops.
    """
    starts = network.op_graph.neuron_starts
    first = starts[starts < z.shape[1]]
    return np.maximum(np.maximum.reduceat(z, first, axis=1), -np.minimum.reduceat(z, first, axis=1))


def refuse_overflow(largest, lines):
    """Raise NumericalError if values overflow along a line, so that its crossings are not reliable.

    ``largest`` float64[B, S] then has an entry that is not finite; ``lines`` int64[B] is the line of each row.
    """
    bad = lines[~np.isfinite(largest).all(axis=1)]
    if bad.size:
        raise NumericalError(
            f"line {bad.min()} has pre-activations that overflow float64; values below 1e308 are needed, "
            "rescale the network or shorten the line"
        )


def refuse_long(starts, ends, first_line):
    """Raise NumericalError if the differences of starts and ends float64[L, D] overflow."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(ends - starts).all(axis=1)
    if not finite.all():
        raise NumericalError(
            f"line {first_line + int(np.argmin(finite))} has a start and an end whose difference overflows float64; "
            "give points below 8e307, or rescale the inputs of the network"
        )


class Plan(NamedTuple):
    """The planned windows of a line, and the size of its pre-activations."""

    cuts: np.ndarray  # float64[W+1] boundaries of its windows, from 0.0 to 1.0
    largest: np.ndarray  # float64[S] largest absolute pre-activations at its ends


def has_long_lines(network):
    """Return whether lines can have so many flips that they are split into windows."""
    return network.n_neurons >= 2 * WINDOW_POINTS


def count_changes(network, starts, ends, threads=None):
    """Count the neurons whose states differ at both ends of each line, a lower bound of its flips: int64[L]."""
    points = np.concatenate([starts, ends])
    states = evaluate.forward(network.code, points, states=True, threads=threads, low_memory=True).states
    return np.count_nonzero(states[: len(starts)] != states[len(starts) :], axis=1)


class Run(NamedTuple):
    """Consecutive lines that are traced in the same way."""

    first: int
    last: int  # not included
    in_chunks: bool  # a single line, whose breakpoints are never all in memory


def split_by_strategy(network, lines, *, max_points, first=0, stream=False, threads=None):
    """Decide which lines are traced as a whole, many together, and which ones in chunks, one after another.

    A line is traced in chunks if more than ``max_points`` neurons change state from its start to its end, which is a lower
    bound of its flips. The number of breakpoints of a line is not known before it is traced.

    Parameters
    ----------
    network : Network
    lines : LineEnds
    max_points : int
        Breakpoints of one line that may be in memory.
    first : int, optional
        The first line; those before it are skipped.
    stream : bool, optional
        Trace every line in chunks.
    threads : int, optional

    Yields
    ------
    Run
    """
    n_lines = len(lines)
    if stream:
        yield from (Run(k, k + 1, True) for k in range(first, n_lines))
        return
    if network.n_neurons <= max_points or not has_long_lines(network):
        if first < n_lines:
            yield Run(first, n_lines, False)
        return
    for low in range(first, n_lines, LINES_AT_ONCE):
        high = min(low + LINES_AT_ONCE, n_lines)
        is_long = count_changes(network, *lines.read(low, high), threads) > max_points
        for in_chunks, group in itertools.groupby(range(low, high), key=lambda k, low=low, is_long=is_long: is_long[k - low]):
            rows = list(group)
            runs = [(k, k + 1) for k in rows] if in_chunks else [(rows[0], rows[-1] + 1)]
            yield from (Run(*run, bool(in_chunks)) for run in runs)


def plan_lines(network, starts, ends, first_line=0, threads=None):
    """Plan the windows of each line from the number of neurons that change state along it: list of Plan.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D]
    first_line : int
        Number of the first line in messages.
    threads : int, optional

    Raises
    ------
    NumericalError
        Values overflow at an end of a line.
    """
    n = len(starts)
    points = np.concatenate([starts, ends])
    _, z, states, _ = evaluate.forward(network.code, points, preactivations=True, states=True, threads=threads, low_memory=True)
    largest = largest_preactivations(network, z)
    largest = np.maximum(largest[:n], largest[n:])
    refuse_overflow(largest, first_line + np.arange(n))
    changes = np.count_nonzero(states[:n] != states[n:], axis=1)
    return [Plan(_cuts(network, *line, threads), row) for *line, row in zip(starts, ends, changes, largest, strict=True)]


def _cuts(network, start, end, changes, threads):
    """Return the window boundaries of one line: float64[W+1]."""
    if changes < 2 * WINDOW_POINTS:
        return np.array([0.0, 1.0])
    t = np.concatenate([[0.0], (np.arange(INTERVALS - 1) + 1.0 + CUT - 0.5) / INTERVALS, [1.0]])
    points = start + t[:, None] * (end - start)
    states = evaluate.forward(_counted_part(network), points, states=True, threads=threads, low_memory=True).states
    estimate = np.concatenate([[0], np.cumsum(np.count_nonzero(states[1:] != states[:-1], axis=1))]) + t  # increases
    n_windows = min(MOST_WINDOWS, max(int(changes), int(estimate[-1])) // WINDOW_POINTS)
    inner = np.interp((np.arange(1, n_windows) + CUT - 0.5) / n_windows * estimate[-1], estimate, t)
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))


def _counted_part(network):
    """Return the first ops of the program, with a share COUNTED of the neurons: PackedProgram."""
    last = np.searchsorted(network.program.neuron_offsets[1:], COUNTED * network.n_neurons)
    return evaluate.truncate_program(network.code, int(last))


class TraceResult(NamedTuple):
    """Breakpoints inside (0, 1) and flips of consecutive lines."""

    n_points: np.ndarray  # int64[L]
    n_flips: np.ndarray  # int64[L]
    ambiguous: np.ndarray  # int64[L]
    t_error: np.ndarray  # float64[L] largest bound of the rounding errors of t
    t: np.ndarray  # float64[*]
    flips_per_point: np.ndarray  # int64[*] flips per breakpoint
    neuron: np.ndarray  # int64[*]
    new_state: np.ndarray  # int32[*]

    def lines(self, first, last):
        """Return the results of lines ``first`` to ``last``: TraceResult."""
        points = slice(int(self.n_points[:first].sum()), int(self.n_points[:last].sum()))
        flips = slice(int(self.n_flips[:first].sum()), int(self.n_flips[:last].sum()))
        return TraceResult(*(x[first:last] for x in self[:4]), *(x[points] for x in self[4:6]), *(x[flips] for x in self[6:]))


class Window(NamedTuple):
    """The trace of one window of a line."""

    t0: float
    traced: TraceResult
    error: np.ndarray  # float64[*] bounds of the rounding errors of t with float64 slope changes; they decide ties
    old_state: np.ndarray  # int32[*] state before each flip
    start_states: np.ndarray  # int[K]
    end_states: np.ndarray  # int[K]
    float32_error: float = 0.0  # largest error that float32 slope changes add


class Points(NamedTuple):
    """Consecutive breakpoints of one line, with their flips."""

    t: np.ndarray
    error: np.ndarray
    flips_per_point: np.ndarray
    neuron: np.ndarray
    old_state: np.ndarray
    new_state: np.ndarray

    def split(self, k):
        """Split into the first k points and the others."""
        flip = int(self.flips_per_point[:k].sum())
        cut = list(zip(self, (k, k, k, flip, flip, flip), strict=True))
        return Points(*(x[:n] for x, n in cut)), Points(*(x[n:] for x, n in cut))


def concatenate(pieces):
    """Concatenate the results of consecutive lines: TraceResult."""
    return pieces[0] if len(pieces) == 1 else TraceResult(*map(np.concatenate, zip(*pieces, strict=True)))


def largest_error(error):
    """Return the largest of the errors float64[*] of one line's breakpoints, 0.0 without breakpoints."""
    return float(np.fmin(error, 1.0).max(initial=0.0))


def largest_errors(error, n_points):
    """Return the largest error of each line from the errors float64[*] of all breakpoints; n_points int64[L]: float64[L]."""
    largest, filled = np.zeros(len(n_points)), n_points > 0
    if filled.any():  # reduceat would give an empty range the next error
        largest[filled] = np.maximum.reduceat(error, (np.cumsum(n_points) - n_points)[filled])
    return np.fmin(largest, 1.0)


def join_windows(windows):
    """Join consecutive windows of one line.

    Parameters
    ----------
    windows : iterable of Window

    Returns
    -------
    TraceResult
        The result of one line.
    """
    joiner, pieces, ambiguous = Joiner(), [], 0
    for window in windows:
        pieces += joiner.add(window)
        ambiguous += int(window.traced.ambiguous[0])
    t, error, counts, neuron, _, new = map(np.concatenate, zip(*pieces, joiner.last(), strict=True))
    of_line = len(t), len(neuron), ambiguous, largest_error(error)
    return TraceResult(*(np.array([n]) for n in of_line), t, counts, neuron, new)


class Joiner:
    """Joins the windows of one line, one after another.

    Attributes
    ----------
    boundary_untouched : bool
        Whether no breakpoint was changed at the boundary before the last window, so both sides are independent.
    n_joined : int
        Number of breakpoints at the beginning of the last window that were merged with those before them.
    """

    def __init__(self):
        self._before = self._rest = None
        self.boundary_untouched, self.n_joined = True, 0

    def add(self, window):
        """Add the next window, and return the breakpoints before it that are final.

        Returns
        -------
        list of Points
            The rest of the window before it, and the breakpoints that were merged at the boundary; empty for the first window.
        """
        points, done = window_points(window), []
        if self._before is not None:
            kept, merged, rest = _joined(self._rest, _boundary_points(self._before, window), points)
            self.n_joined = len(points.t) - len(rest.t)
            self.boundary_untouched = len(kept.t) == len(self._rest.t) and not self.n_joined and not len(merged.t)
            float32_error = max(self._before.float32_error, window.float32_error)
            points, done = rest, [_with_float32_error(kept, float32_error), _with_float32_error(merged, float32_error)]
        self._before, self._rest = window, points
        return done

    def last(self):
        """Return the rest of the last window: Points."""
        return _with_float32_error(self._rest, self._before.float32_error)


def retrace_close_boundaries(planned, trace):
    """Merge planned windows whose boundary is within rounding of a breakpoint, and trace them again as one.

    So the kernel decides which neurons share a breakpoint. Boundaries are chosen so that this is very unlikely.

    Parameters
    ----------
    planned : iterable of (float, float, iterable of Window)
        Consecutive planned windows: from, to, and the windows in which they were traced. At most two are in memory.
    trace : callable
        Maps (from, to) to the iterable of Window of this part of the line.

    Yields
    ------
    iterable of Window
        The windows of one planned window, or of several merged ones.
    """
    begin = end = before = windows = None
    whole = True  # whether ``windows`` are those from begin to end, not only those of the last planned window
    for t0, t1, parts in planned:
        if windows is None:
            begin, end, before, windows = t0, t1, parts, parts
            continue
        close = boundary_is_close(before[-1], parts[0])
        if not close and not whole:
            windows, whole = list(trace(begin, end)), True
            close = boundary_is_close(windows[-1], parts[0])
        if close:
            windows, whole = parts, False
        else:
            yield windows
            begin, windows, whole = t0, parts, True
        end, before = t1, parts
    yield windows if whole else trace(begin, end)


def boundary_is_close(before, window):
    """Return whether the boundary between two windows is within rounding of a breakpoint, or states differ across it."""
    left, right = np.abs(before.traced.t[-1:] - window.t0), np.abs(window.traced.t[:1] - window.t0)
    near = (left <= before.error[-1:] + _BOUNDARY_ERROR).any() or (right <= window.error[:1] + _BOUNDARY_ERROR).any()
    return bool(near or (before.end_states != window.start_states).any())


def _with_float32_error(points, float32_error):
    """Add the errors of float32 slope changes, which do not take part in decisions about ties: Points."""
    return points._replace(error=points.error + float32_error)


def window_points(window):
    """Return the breakpoints of a window: Points."""
    traced = window.traced
    return Points(traced.t, window.error, traced.flips_per_point, traced.neuron, window.old_state, traced.new_state)


def _boundary_points(before, window):
    """Return the boundary between two windows as a breakpoint of the neurons whose states differ across it, if any."""
    neuron = np.flatnonzero(before.end_states != window.start_states)
    states = (x[neuron].astype(np.int32) for x in (before.end_states, window.start_states))
    n = min(1, neuron.size)
    return Points(np.full(n, window.t0), np.full(n, _BOUNDARY_ERROR), np.full(n, neuron.size), neuron, *states)


def _joined(left, boundary, right):
    """Join points left of a boundary, on it and right of it; merge those that are one breakpoint: (left, merged, right)."""
    if len(boundary.t):
        on_left = _run_length(np.abs(left.t - boundary.t)[::-1] <= left.error[::-1] + boundary.error)
        on_right = _run_length(np.abs(right.t - boundary.t) <= right.error + boundary.error)
    else:
        meet = len(left.t) and len(right.t) and right.t[0] - left.t[-1] <= right.error[0] + left.error[-1]
        on_left = on_right = int(meet)
    kept, tail = left.split(len(left.t) - on_left)
    head, rest = right.split(on_right)
    merged = _merged(Points(*map(np.concatenate, zip(tail, boundary, head, strict=True))))
    if len(boundary.t):  # the error of a flip on the boundary is not known
        merged = merged._replace(error=np.ones(len(merged.t)))
    return [kept, merged, rest]


def _run_length(flags):
    """Return the number of True before the first False."""
    return len(flags) if flags.all() else int(np.argmin(flags))


def _merged(points):
    """Merge floating-point duplicates of one breakpoint into the most accurate one; empty if all flips cancel.

    Its error bounds the distance to all of the duplicates.
    """
    if len(points.t) < 2:
        return points
    order = np.argsort(points.neuron, kind="stable")
    neuron, old, new = points.neuron[order], points.old_state[order], points.new_state[order]
    first = np.flatnonzero(np.diff(neuron, prepend=-1))
    last = np.append(first[1:], len(neuron)) - 1
    first, last = (x[old[first] != new[last]] for x in (first, last))
    best, n = np.argmin(points.error), min(1, len(first))
    t, error = points.t[best : best + n], np.max(np.abs(points.t - points.t[best]) + points.error)
    return Points(t, np.full(n, error), np.full(n, len(first)), neuron[first], old[first], new[last])
