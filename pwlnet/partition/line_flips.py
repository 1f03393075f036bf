"""Flips of one line as the kernels of rank-one sweeps take them.

Legend: K neurons, F flips, n breakpoints with 0 and 1.
"""

from typing import NamedTuple

import numpy as np

from ..kernels import rank_one
from .line_check import first_states


class LineFlips(NamedTuple):
    """One line: t float64[n], states int32[K] on its first segment (source order), and its flips."""

    t: np.ndarray
    states: np.ndarray
    flips: rank_one.Flips


def line_flips(lines, i):
    """Breakpoints and flips of line i of a LinePartitions: LineFlips."""
    points = slice(lines.offsets[i], lines.offsets[i + 1])
    offsets = lines.flip_offsets[points.start : points.stop + 1]
    flips = slice(offsets[0], offsets[-1])
    neurons = lines.flip_neurons[flips]
    ops = np.searchsorted(lines.network.program.neuron_offsets, neurons, side="right") - 1
    return LineFlips(lines.t[points], first_states(lines, i), rank_one.Flips(offsets, neurons, ops, lines.flip_states[flips]))
