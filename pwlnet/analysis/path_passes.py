"""Runs of the kernels of fixed and float paths, and the masks of float neurons that analyses share.

Legend: B rows, D inputs, O outputs, K neurons, M numbers of float neurons of a path.
"""

from __future__ import annotations

from typing import NamedTuple, get_args

import numpy as np

from .. import evaluate
from .._types import Gates
from ..errors import InputError, ShapeError, UnsupportedOperationError
from ..float_sets import FloatSet
from ..kernels.ir import program as ir
from ..kernels.ir.passes import TILE
from ..kernels.paths import decompose, maps, thresholds
from ..scheduling import n_threads, run_slots
from ..validation import as_array, as_points, check_choice, check_network

GATES = get_args(Gates)
_MEMORY = 2**31  # bytes of the buffers of all slots; one slot may have more


class Parts(NamedTuple):
    """Result of a pass that keeps fixed and float paths apart."""

    outputs: np.ndarray  # float64[B, O] of the forward pass
    scaled: np.ndarray  # float64[B, O]
    rest: np.ndarray  # float64[B, O], or no rows
    states: np.ndarray  # int32[B, K] gates of ``scaled``


def as_float_mask(network, float_mask, n_rows, name="float_mask"):
    """Convert a mask of float neurons to uint8[1, K] or uint8[B, K]; of a FloatSet, ``upper``.

    Raises
    ------
    ShapeError
        It is not (K,), (1, K) or (B, K).
    InputError
        Its entries are not booleans.
    """
    mask = float_mask.upper if isinstance(float_mask, FloatSet) else as_array(float_mask, name)
    check_network(network)
    k = network.n_neurons
    if mask.dtype != bool:
        raise InputError(f"{name} has dtype {mask.dtype}; give booleans, True for float neurons, or a FloatSet")
    if mask.shape not in ((k,), (1, k), (n_rows, k)):
        raise ShapeError(
            f"{name} has shape {mask.shape}, but there are {n_rows} rows and {k} neurons; give ({k},) or ({n_rows}, {k})"
        )
    return np.array(np.atleast_2d(mask), order="C").view(np.uint8)  # a copy: results keep it


def rows_like(network, x, x_adversarial):
    """Return two arrays of points in rows, as many of the second as of the first.

    Raises
    ------
    ShapeError
        The numbers differ, or they are not points of the network.
    """
    arguments = (x, "x"), (x_adversarial, "x_adversarial")
    a, b = (as_points(points, network.n_inputs, network.input_shape, name) for points, name in arguments)
    if len(a) != len(b):
        raise ShapeError(f"x has {len(a)} rows and x_adversarial {len(b)}; give one attacked point for each point")
    return a, b


def split(network, points, mask, *, gates="frozen", factor=0.0, with_rest=False, threads=None):
    """Evaluate points with the outputs of float neurons multiplied by a factor, and the float paths separately: Parts.

    Parameters
    ----------
    network : Network
    points : float64[B, D]
    mask : uint8[B, K] or uint8[1, K]
    gates : {"frozen", "live"}
    factor : float
    with_rest : bool
        Compute the sum over float paths by its own recursion; frozen gates only.
    threads : int, optional

    Raises
    ------
    InputError
        Unknown gates.
    """
    options = np.array([float(factor)]), np.array([int(check_choice(gates, GATES, "gates") == "live")])
    n, size, unknown = len(points), int(TILE) * int(network.code.op_table[-1, ir.VALUE]), np.zeros(1, np.int64)
    outputs = (np.empty((rows, network.n_outputs)) for rows in (n, n, n * with_rest))
    parts = Parts(*outputs, np.empty((n, network.n_neurons), np.int32))
    own = [(np.zeros(size), np.zeros(size), np.zeros(size * with_rest)) for _ in range(_slots(n, 3 * size, TILE, threads))]
    for rows in _calls(network.code, n, 3, len(own), TILE):
        shared = (
            points[rows],
            _rows_of_mask(mask, rows),
            *options,
            *(part[rows] for part in parts),
            unknown,
            np.zeros(1, np.int64),
        )
        run_slots(decompose.decompose_slot, [decompose.DecomposeSlot(network.code, *shared, *buffers) for buffers in own])
    _refuse_unknown(unknown)
    return parts


def fixed_maps(network, states, mask, threads=None):
    """Compute the affine maps of the fixed paths at given gates: (float64[B, O, D], float64[B, O])."""
    n, size = len(states), int(network.code.op_table[-1, ir.VALUE])
    states, height = np.ascontiguousarray(states), max(1, network.n_outputs)
    matrices, constants = np.empty((n, network.n_outputs, network.n_inputs)), np.empty((n, network.n_outputs))
    own = [(np.zeros(height * size), np.empty(size, np.int32)) for _ in range(_slots(n, height * size, 1, threads))]
    for rows in _calls(network.code, n, height, len(own), 1):
        shared = states[rows], _rows_of_mask(mask, rows), np.zeros(1, np.int64), matrices[rows], constants[rows]
        run_slots(maps.fixed_map_slot, [maps.FixedMapSlot(network.code, *shared, *buffers) for buffers in own])
    return matrices, constants


def polynomials(network, points, states, mask, degree, threads=None):
    """Sum the paths by their number of float neurons, at given gates: float64[B, degree + 1, O]."""
    n, size = len(points), (degree + 1) * int(network.code.op_table[-1, ir.VALUE])
    states, coefficients = np.ascontiguousarray(states), np.empty((n, degree + 1, network.n_outputs))
    scratch = int(network.code.op_table[-1, ir.VALUE])
    own = [(np.zeros(size), np.empty(scratch, np.int32)) for _ in range(_slots(n, size, 1, threads))]
    for rows in _calls(network.code, n, degree + 1, len(own), 1):
        shared = points[rows], states[rows], _rows_of_mask(mask, rows), np.zeros(1, np.int64), coefficients[rows]
        run_slots(maps.polynomial_slot, [maps.PolynomialSlot(network.code, *shared, *buffers) for buffers in own])
    return coefficients


def states_and_thresholds(network, points, threads=None):
    """Return the states of all neurons, and which are exactly at a threshold: (int32[B, K], bool[B, K])."""
    n, k, size = len(points), network.n_neurons, int(TILE) * int(network.code.op_table[-1, ir.VALUE])
    states, at_threshold, unknown = np.empty((n, k), np.int32), np.zeros((n, k), np.uint8), np.zeros(1, np.int64)
    own = [(np.zeros(size), np.empty((int(TILE), k), np.int32)) for _ in range(_slots(n, size, TILE, threads))]
    for rows in _calls(network.code, n, 1, len(own), TILE):
        shared = points[rows], states[rows], at_threshold[rows], unknown, np.zeros(1, np.int64)
        run_slots(thresholds.threshold_slot, [thresholds.ThresholdSlot(network.code, *shared, *buffers) for buffers in own])
    _refuse_unknown(unknown)
    return states, at_threshold.view(bool)


def float_pairs(network, x, x_adversarial, threads=None):
    """Find the neurons that do not have the same strict state at both points of each pair: bool[B, K].

    A neuron that is exactly at a threshold at either point floats (scope "pair").
    """
    (s, at), (s_adversarial, at_adversarial) = (states_and_thresholds(network, p, threads) for p in (x, x_adversarial))
    return (s != s_adversarial) | at | at_adversarial


def switching_depths(network):
    """Count the switching ops on the longest path to each op, itself included: int64[N]."""
    graph, depths = network.op_graph, np.zeros(len(network.program.op), np.int64)
    for i in range(1, len(depths)):
        depths[i] = max(depths[graph.operands[i]], default=0) + graph.is_switching[i]
    return depths


def _slots(n_rows, buffer_size, rows_per_item, threads):
    """Return the number of slots for some rows, each with a buffer of a number of float64."""
    return max(1, min(n_threads(threads), -(-n_rows // int(rows_per_item)), _MEMORY // (8 * max(1, buffer_size))))


def _calls(code, n_rows, passes, n_slots, rows_per_item):
    """Yield slices of rows that slots compute in one call, short enough for Ctrl-C; each row takes some forward passes."""
    yield from evaluate._parts(n_rows, passes * evaluate._work_per_row(code), n_slots, int(rows_per_item))


def _rows_of_mask(mask, rows):
    """Return the mask for a slice of rows; one row is for all."""
    return mask[rows] if len(mask) > 1 else mask


def _refuse_unknown(unknown):
    if unknown[0]:
        raise UnsupportedOperationError(
            "the network has an op that the kernels do not handle; every chain of ops must handle it, see CONTRIBUTING.md"
        )
