"""Join the windows of one line: drop the borders, and join what a border cut apart.

A neuron whose state differs across a border flips there. Rounding can put one crossing on both sides of a border, or report
it beside the border and again at it; so breakpoints within their rounding bounds of the border are joined with it, and flips
that undo each other cancel.

Legend: K neurons.
"""

from typing import NamedTuple

import numpy as np

from ..tolerances import UNIT_ROUNDOFF


class Traced(NamedTuple):
    """Breakpoints inside (0, 1) and flips of consecutive lines."""

    n_points: np.ndarray  # int64[L]
    t: np.ndarray  # float64[*]
    counts: np.ndarray  # int64[*] flips per breakpoint
    neuron: np.ndarray  # int64[*]
    new: np.ndarray  # int32[*]
    ambiguous: np.ndarray  # int64[L]


class Window(NamedTuple):
    """One part of a line."""

    t0: float
    traced: Traced
    error: np.ndarray  # float64[*] bounds of the rounding errors of t
    old: np.ndarray  # int32[*] state before each flip
    start_states: np.ndarray  # int32[K]
    end_states: np.ndarray  # int32[K]


def join_windows(windows):
    """Join consecutive windows of one line.

    Parameters
    ----------
    windows : list of Window

    Returns
    -------
    Traced
        Of one line.
    """
    t, error, counts, neuron, old, new = ([] for _ in range(6))
    for k, window in enumerate(windows):
        if k:
            before = windows[k - 1]
            differ = np.flatnonzero(before.end_states != window.start_states)
            if differ.size:
                t.append([window.t0])
                error.append([4.0 * UNIT_ROUNDOFF])
                counts.append([differ.size])
                neuron.append(differ)
                old.append(before.end_states[differ])
                new.append(window.start_states[differ])
        t.append(window.traced.t)
        error.append(window.error)
        counts.append(window.traced.counts)
        neuron.append(window.traced.neuron)
        old.append(window.old)
        new.append(window.traced.new)
    ambiguous = sum(int(w.traced.ambiguous[0]) for w in windows)
    return _merged(*(np.concatenate(x) for x in (t, error, counts, neuron, old, new)), ambiguous)


def _merged(t, error, counts, neuron, old, new, ambiguous):
    """Join neighbouring breakpoints within their bounds, and cancel flips that undo each other."""
    group = np.concatenate([[0], np.cumsum(np.diff(t) > error[1:] + error[:-1])]) if len(t) else np.empty(0, np.int64)
    if len(t) and group[-1] + 1 == len(t):
        return Traced(np.array([len(t)]), t, counts, neuron, new, np.array([ambiguous]))
    flip_group = np.repeat(group, counts)
    order = np.lexsort((np.arange(len(neuron)), neuron, flip_group))
    flip_group, neuron, old, new = (x[order] for x in (flip_group, neuron, old, new))
    first = np.concatenate([[True], (np.diff(flip_group) != 0) | (np.diff(neuron) != 0)]) if len(neuron) else []
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(neuron)) - 1
    kept = old[starts] != new[ends]
    flip_group, neuron, new = flip_group[starts][kept], neuron[starts][kept], new[ends][kept]
    groups, per_group = np.unique(flip_group, return_counts=True)
    best = np.full(int(group[-1]) + 1 if len(group) else 0, -1)
    for k in np.argsort(-error, kind="stable"):  # the most accurate spelling comes last
        best[group[k]] = k
    return Traced(np.array([len(groups)]), t[best[groups]], per_group, neuron, new.astype(np.int32), np.array([ambiguous]))
