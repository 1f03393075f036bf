"""Where to cut long lines into windows that threads trace side by side.

A plan depends on the network and the line alone, never on threads or memory, so the bits of a result don't either.

Legend: L lines, D inputs, K neurons, S switching ops.
"""

import itertools
from typing import NamedTuple

import numpy as np

from ... import evaluate
from .check import largest_preactivations, refuse_overflow
from .tracing import CUT

WINDOW_POINTS = 3000  # starting a window costs as much as 100 to 300 breakpoints; smaller buffers make up for most of it
MOST_WINDOWS = 64
INTERVALS = 8  # in which breakpoints are estimated
LINES_AT_ONCE = 16  # whose states at both ends are compared together
COUNTED = 0.9  # share of the neurons among which they are estimated: the last ops of a network are costly and have few


class Plan(NamedTuple):
    """What is known of a line before it is traced."""

    cuts: np.ndarray  # float64[W+1] borders of its windows, from 0.0 to 1.0
    largest: np.ndarray  # float64[S] largest absolute pre-activations at its ends


class Run(NamedTuple):
    """Consecutive lines that are traced in the same way."""

    first: int
    last: int  # not included
    in_chunks: bool  # a single line, whose breakpoints are never all in memory


def split_by_strategy(network, lines, *, max_points, first=0, stream=False):
    """Decide which lines are traced as a whole, many together, and which ones in chunks, one after the other.

    A line is traced in chunks if more than ``max_points`` neurons change state from its start to its end: it has at least
    so many flips. How many breakpoints a line has is not known before it is traced.

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
        is_long = count_changes(network, *lines.read(low, high)) > max_points
        for in_chunks, group in itertools.groupby(range(low, high), key=lambda k, low=low, is_long=is_long: is_long[k - low]):
            rows = list(group)
            runs = [(k, k + 1) for k in rows] if in_chunks else [(rows[0], rows[-1] + 1)]
            yield from (Run(*run, bool(in_chunks)) for run in runs)


def has_long_lines(network):
    """Whether the states at both ends can differ in so many neurons that a line is cut."""
    return network.n_neurons >= 2 * WINDOW_POINTS


def count_changes(network, starts, ends):
    """Neurons in another state at a line's end than at its start: int64[L]. So many flips it has at least."""
    _, states = evaluate.forward_low_memory(network.code, np.concatenate([starts, ends]))
    return np.count_nonzero(states[: len(starts)] != states[len(starts) :], axis=1)


def plan_lines(network, starts, ends, first_line=0):
    """Plan the windows of each line by the number of neurons that change state along it: list of Plan.

    Parameters
    ----------
    network : Network
    starts, ends : float64[L, D]
    first_line : int
        Number of the first line in messages.

    Raises
    ------
    NumericalError
        Values overflow at a line's end.
    """
    n = len(starts)
    z, states = evaluate.forward_low_memory(network.code, np.concatenate([starts, ends]), preactivations=True)
    largest = largest_preactivations(network, z)
    largest = np.maximum(largest[:n], largest[n:])
    refuse_overflow(largest, first_line + np.arange(n))
    changes = np.count_nonzero(states[:n] != states[n:], axis=1)
    return [Plan(_cuts(network, *line), row) for *line, row in zip(starts, ends, changes, largest, strict=True)]


def _cuts(network, start, end, changes):
    """Borders of one line's windows: float64[W+1]."""
    if changes < 2 * WINDOW_POINTS:
        return np.array([0.0, 1.0])
    t = np.concatenate([[0.0], (np.arange(INTERVALS - 1) + 1.0 + CUT - 0.5) / INTERVALS, [1.0]])
    _, states = evaluate.forward_low_memory(_counted_part(network), start + t[:, None] * (end - start))
    estimate = np.concatenate([[0], np.cumsum(np.count_nonzero(states[1:] != states[:-1], axis=1))]) + t  # increases
    n_windows = min(MOST_WINDOWS, max(int(changes), int(estimate[-1])) // WINDOW_POINTS)
    inner = np.interp((np.arange(1, n_windows) + CUT - 0.5) / n_windows * estimate[-1], estimate, t)
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))


def _counted_part(network):
    """The code of the first ops, up to the one that completes the counted share of the neurons."""
    last = np.searchsorted(network.program.neuron_offsets[1:], COUNTED * network.n_neurons)
    return evaluate.truncate_program(network.code, int(last))
