"""What a search of the cells of a box has found.

Legend: D_in inputs, K neurons, O outputs, W words of a pattern.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...kernels.ir import bits
from ...patterns import ActivationPatterns


class ConditionCells(NamedTuple):
    """Cells that meet a condition ``A y <= b``.

    A cell is excluded if one row is positive at all its vertices, or at all vertices of what the rows before have left of it.
    """

    n_met: int  # cells of which a part with interior meets the condition, or fulfils rows with equality within rounding
    witnesses: np.ndarray  # float64[n, D_in] means of the vertices of such parts, the most negative margin first
    margins: np.ndarray  # float64[n] the largest row of A y - b there, by the cell's affine map
    n_boundary: int  # cells that meet the condition in a face, edge or vertex at most, within rounding
    boundary_points: np.ndarray  # float64[m, D_in] means of their vertices there
    clearance: float  # smallest value of a row that excluded a cell, less its error bound; inf if no cell was excluded


class NeuronStates(NamedTuple):
    """The states that neurons have on the cells."""

    states: np.ndarray  # int32[K] the state that holds on all cells, else -1
    touches: np.ndarray  # bool[K] a vertex of a cell is within rounding of a threshold that the neuron does not cross there
    witnesses: np.ndarray  # float64[K, 2, D_in] points inside cells where its states differ; NaN where it has one state


class Ranges(NamedTuple):
    """Least and largest values, by the vertices of cells."""

    lower: np.ndarray  # float64[n]
    upper: np.ndarray  # float64[n]
    lower_at: np.ndarray  # float64[n, D_in] where they are attained
    upper_at: np.ndarray  # float64[n, D_in]
    error: np.ndarray  # float64[n] bound of the rounding errors of both


@dataclass(frozen=True, eq=False)
class CellRun:
    """Cells of a network on a box.

    Attributes
    ----------
    n_cells : int
        Cells found; for MaxPool with three taps or more, distinct patterns.
    complete : bool
    stopped_by : str or None
        "max_cells", "time_limit" or "met", if not all cells were found.
    n_undecided : int
        Signs at vertices that the certificate did not prove.
    n_touching : int
        How often a column did not cross a cell, but was within rounding of 0 at a vertex of it.
    free : int64[D]
        Inputs whose sides have a positive width.
    condition : ConditionCells or None
    signs : NeuronStates or None
    ranges, outputs : Ranges or None
    packed : uint64[n_cells, W] or None
    witnesses : float64[n_cells, D_in] or None
        A point inside each cell.
    """

    n_cells: int
    complete: bool
    stopped_by: str | None
    n_undecided: int
    n_touching: int
    free: np.ndarray
    condition: ConditionCells | None = None
    signs: NeuronStates | None = None
    ranges: Ranges | None = None
    outputs: Ranges | None = None
    packed: np.ndarray | None = None
    witnesses: np.ndarray | None = None


class Points:
    """Turns coordinates of cells into inputs."""

    def __init__(self, layers, lower, upper):
        self._layers, self._lower, self._upper = layers, lower, upper

    def inputs(self, coordinates):
        """Return inputs float64[..., D_in] of coordinates float64[..., D]."""
        free, shape = self._layers.free, coordinates.shape[:-1]
        points = np.broadcast_to(self._lower, (*shape, len(self._lower))).copy()
        x = np.clip(coordinates * self._layers.scale, self._lower[free], self._upper[free])
        points[..., free] = np.where(np.isnan(coordinates), np.nan, x)
        return points


_ROWS = 2**14  # patterns that are packed at a time


def states_of_signs(layers, signs):
    """Return the states int32[B, K] of neurons by the signs bool[B, F] of functions."""
    states = np.repeat(layers.first_states[None], len(signs), axis=0)
    for first, neurons, values, when_positive, _ in layers.blocks:
        here = signs[:, first : first + len(neurons)]
        states[:, neurons] = np.where(here == when_positive, values, states[:, neurons])
    return states


def states_in_rows(network, block, classes):
    """Return a function of rows and neurons that gives their states: ``(rows, neurons) -> int64[*]``.

    ``block`` is a RegionBlock; where there are ``classes``, the neuron after the last one stands for the class.
    """
    states = ActivationPatterns(block.packed, network.pattern_layout).unpack()
    if classes is not None:
        states = np.column_stack([states, block.classes])

    def states_at(rows, neurons):
        return states[rows, neurons].astype(np.int64)

    return states_at


def pack_signs(network, layers, words):
    """Return pwlnet's packed patterns of words of signs, one bit for each function: uint64[B, W]."""
    n_functions = sum(len(block.neurons) for block in layers.blocks)
    layout = network.pattern_layout
    packed = np.zeros((len(words), int(layout.word_offsets[-1])), np.uint64)
    states_are_signs = not layers.first_states.any() and all(_is_field(network, block) for block in layers.blocks)
    for first in range(0, len(words), _ROWS):
        part = np.ascontiguousarray(words[first : first + _ROWS])
        signs = np.unpackbits(part.view(np.uint8), axis=1, bitorder="little", count=n_functions)
        if states_are_signs:
            _pack_blocks(network, layers, signs, packed[first : first + len(part)])
            continue
        states = np.ascontiguousarray(states_of_signs(layers, signs.astype(bool)))
        bits.pack(states, layout.neuron_offsets, layout.word_offsets, layout.widths, packed[first : first + len(part)])
    return packed


def _is_field(network, block):
    """Return whether the signs of a block are the states of all neurons of an op, one bit each."""
    if not len(block.neurons):
        return True
    op = int(network.op_graph.op_of(block.neurons[0]))
    whole = len(block.neurons) == network.program.neuron_offsets[op + 1] - network.program.neuron_offsets[op]
    return bool(whole and block.when_positive and (block.states == 1).all() and network.pattern_layout.widths[op] == 1)


def _pack_blocks(network, layers, signs, packed_out):
    """Pack the signs uint8[B, F] of neurons with two states. Out: packed_out uint64[B, W]."""
    for first, neurons, *_ in layers.blocks:
        if len(neurons):
            octets = np.packbits(signs[:, first : first + len(neurons)], axis=1, bitorder="little")
            column = 8 * int(network.pattern_layout.word_offsets[network.op_graph.op_of(neurons[0])])
            packed_out.view(np.uint8)[:, column : column + octets.shape[1]] = octets


def neuron_states(layers, seen, seen_at, touched):
    """Combine the signs that functions have had into states of neurons.

    The state of a neuron is set by the last one of its functions that sets states there. It varies if a function after the last
    one that always does so varies: where the last varying function sets the state, all earlier ones are overridden.

    Parameters
    ----------
    layers : Layers
    seen : bool[2, F]
        Whether functions were seen negative, and positive.
    seen_at : float64[2, F, D_in]
    touched : bool[F]

    Returns
    -------
    NeuronStates
    """
    states, touches = layers.first_states.copy(), np.zeros(len(layers.first_states), bool)
    varies = np.zeros(len(states), bool)
    witnesses = np.full((len(states), 2, seen_at.shape[2]), np.nan)
    for first, neurons, values, when_positive, _ in layers.blocks:
        here = slice(first, first + len(neurons))
        both, always = seen[0, here] & seen[1, here], ~seen[int(not when_positive), here]
        states[neurons] = np.where(always, values, states[neurons])
        varies[neurons] = np.where(always, False, varies[neurons] | both)
        touches[neurons] |= touched[here]
        witnesses[neurons[both]] = seen_at[:, here][:, both].swapaxes(0, 1)
    witnesses[~varies] = np.nan
    states[varies] = -1
    return NeuronStates(states.astype(np.int32), touches, witnesses)
