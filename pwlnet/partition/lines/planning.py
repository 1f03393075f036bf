"""Where to cut long lines into windows that threads trace side by side.

A plan depends on the network and the line alone, never on threads or memory, so the bits of a result don't either.

Legend: L lines, D inputs, K neurons, S switching ops.
"""

from typing import NamedTuple

import numpy as np

from ... import evaluate
from .check import largest_preactivations, refuse_overflow
from .tracing import CUT

WINDOW_POINTS = 3000  # starting a window costs as much as 100 to 300 breakpoints; smaller buffers make up for most of it
MOST_WINDOWS = 64
INTERVALS = 8  # in which breakpoints are estimated
COUNTED = 0.9  # share of the neurons among which they are estimated: the last ops of a network are costly and have few


class Plan(NamedTuple):
    """What is known of a line before it is traced."""

    cuts: np.ndarray  # float64[W+1] borders of its windows, from 0.0 to 1.0
    largest: np.ndarray  # float64[S] largest absolute pre-activations at its ends


def has_long_lines(network):
    """Whether the states at both ends can differ in so many neurons that a line is cut."""
    return network.n_neurons >= 2 * WINDOW_POINTS


def count_changes(network, starts, ends):
    """Neurons in another state at a line's end than at its start: int64[L]. So many flips it has at least."""
    states = evaluate.forward(network.code, np.concatenate([starts, ends]), states=True, low_memory=True).states
    return np.count_nonzero(states[: len(starts)] != states[len(starts) :], axis=1)


def plan_lines(network, starts, ends, first_line=0, threads=None):
    """Plan the windows of each line by the number of neurons that change state along it: list of Plan.

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
        Values overflow at a line's end.
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
    """Borders of one line's windows: float64[W+1]."""
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
    """The code of the first ops, up to the one that completes the counted share of the neurons."""
    last = np.searchsorted(network.program.neuron_offsets[1:], COUNTED * network.n_neurons)
    return evaluate.truncate_program(network.code, int(last))
