"""Flips of lines in the form that the kernels of rank-one sweeps take.

Legend: K neurons, F flips, n breakpoints with 0 and 1.
"""

from typing import NamedTuple

import numpy as np

from ..errors import NumericalError
from ..kernels.gradients import rank_one
from ..partition.lines.check import first_states
from ..partition.lines.scaling import always_rescaled


class LineFlips(NamedTuple):
    """Breakpoints t float64[n], states int32[K] on the first segment (in source order), and flips of one line."""

    t: np.ndarray
    states: np.ndarray
    flips: rank_one.Flips


def iter_line_flips(lines, first, last):
    """Yield the breakpoints and flips of lines ``first`` to ``last`` of a LinePartitions: LineFlips.

    Raises
    ------
    NumericalError
        The weights are so large or small that gradients may under- or overflow.
    """
    if always_rescaled(lines.network):
        raise NumericalError(
            "the network has weights, or products of weights, beyond 2**-200 to 2**200, with which gradients may under- or "
            "overflow; rescale its layers"
        )
    for i, states in zip(range(first, last), first_states(lines, first, last), strict=True):
        points = slice(lines.offsets[i], lines.offsets[i + 1])
        offsets = lines.flip_offsets[points.start : points.stop + 1]
        flips = slice(offsets[0], offsets[-1])
        neurons, after = lines.flip_neurons[flips], lines.flip_states[flips]
        ops = lines.network.op_graph.op_of(neurons)
        yield LineFlips(lines.t[points], states, rank_one.Flips(offsets, neurons, ops, after))


def line_flips(lines, i):
    """Return the breakpoints and flips of line i: LineFlips."""
    return next(iter_line_flips(lines, i, i + 1))
