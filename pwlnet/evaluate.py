"""Outputs, pre-activations, states, patterns and Jacobians of a network at many points, on several threads.

Slots (``scheduling.py``) take tiles of rows; the bits of a row do not depend on the number of slots (kernels/ir/passes.py).

Legend: B rows, D inputs, O outputs, K neurons, W words.
"""

from typing import NamedTuple

import numpy as np

from .errors import UnsupportedOperationError
from .kernels.ir import passes
from .kernels.ir import program as ir
from .scheduling import n_threads, run_slots

_WORK_PER_SLOT = 2**22  # least number of multiplications for another thread: about a millisecond
_WORK_PER_CALL = 2**28  # number of multiplications of a slot before Ctrl-C is noticed: a quarter of a second at most
_LOW_MEMORY_BYTES = 2**26  # size of the values that a slot computes at a time with ``low_memory``


class Values(NamedTuple):
    """Results of a forward pass; those that were not requested have no rows."""

    outputs: np.ndarray  # float64[B, O]
    preactivations: np.ndarray  # float64[B, K]
    states: np.ndarray  # int32[B, K]
    packed: np.ndarray  # uint64[B, W]


def forward(code, points, *, outputs=False, preactivations=False, states=False, layout=None, threads=None, low_memory=False):
    """Evaluate a network at points.

    Parameters
    ----------
    code : PackedProgram
    points : float64[B, D]
    outputs, preactivations, states : bool
        Which results to compute.
    layout : PatternLayout, optional
        Compute packed activation patterns, with this layout.
    threads : int, optional
    low_memory : bool
        Compute only few rows of a large network at a time. The bits are the same.

    Returns
    -------
    Values
        Results that were not requested have no rows.

    Raises
    ------
    UnsupportedOperationError
        The kernels do not handle an op of the network.
    """
    n, k = points.shape[0], int(code.op_table[-1, ir.NEURON])
    size, rows = int(code.op_table[-1, ir.VALUE]), int(passes.TILE)
    if low_memory:
        rows = int(min(max(1, _LOW_MEMORY_BYTES // (8 * size)), rows))
    no_layout = np.zeros(0, np.int64)
    bounds = (no_layout,) * 3 if layout is None else (layout.neuron_offsets, layout.word_offsets, layout.widths)
    values = Values(
        np.empty((n if outputs else 0, int(code.op_table[-1, ir.N_OUTPUTS]))),
        np.empty((n if preactivations else 0, k)),
        np.empty((n if states else 0, k), np.int32),
        np.empty((0, 0) if layout is None else (n, int(layout.word_offsets[-1])), np.uint64),
    )
    unknown, at_once = np.zeros(1, np.int64), np.array([rows])
    work = _work_per_row(code) if n > rows else 1
    n_slots = max(1, min(n_threads(threads), -(-n // rows)))
    if n_slots > 1:
        n_slots = max(1, min(n_slots, n * work // _WORK_PER_SLOT))
    buffers = [(np.zeros(passes.TILE * size), np.empty((passes.TILE, k), np.int32)) for _ in range(n_slots)]
    for part in _parts(n, work, n_slots, rows):
        here, counter = (array[part] for array in (points, *values)), np.zeros(1, np.int64)
        arrays = code, *here, *bounds, unknown, counter, at_once
        run_slots(passes.forward_slot, [passes.ForwardSlot(*arrays, *own) for own in buffers])
        if unknown[0]:
            raise UnsupportedOperationError(
                "the network has an op that the kernels do not handle; every chain of ops must handle it, see CONTRIBUTING.md"
            )
    return values


def _parts(n, work_per_row, n_slots, rows):
    """Yield slices of n rows that slots compute in one call: multiples of ``rows`` for each slot; one slice, if n is 0."""
    size = n_slots * rows * max(1, _WORK_PER_CALL // (max(1, work_per_row) * rows))
    yield from (slice(first, min(n, first + size)) for first in range(0, max(1, n), size))


def _work_per_row(code):
    """Return the number of multiplications and copies that one row takes."""
    table = code.op_table[:-1]
    positions = table[:, ir.HEIGHT] * table[:, ir.WIDTH]
    uses = np.where(table[:, ir.KERNEL_H] > 0, positions, 1)  # of each weight
    return int((table[:, ir.N_WEIGHTS] * uses + positions * table[:, ir.CHANNELS]).sum())


def truncate_program(code, i):
    """Return the program up to op i, included: PackedProgram, whose outputs are undefined."""
    op_table = code.op_table[: i + 2].copy()
    op_table[-1, : ir.N_OUTPUTS + 1] = code.op_table[-1, : ir.N_OUTPUTS + 1]
    op_table.setflags(write=False)  # as in ``code``: kernels are compiled for read-only arrays
    return code._replace(op_table=op_table)


def select_outputs(code, outputs):
    """Return the program with the outputs int64[C] only, in that order; ops that these do not need are not computed."""
    op_table, first = code.op_table.copy(), code.op_table[-1, ir.OUTPUTS]
    op_table[-1, ir.OUTPUTS], op_table[-1, ir.N_OUTPUTS] = len(code.indices), len(outputs)
    indices = np.concatenate([code.indices, code.indices[first + outputs]])
    for array in (op_table, indices):
        array.setflags(write=False)  # as in ``code``
    return code._replace(op_table=op_table, indices=indices)


def jacobians(code, states, threads=None):
    """Compute the Jacobians float64[B, O, D] of the affine pieces with states int32[B, K]."""
    out = np.empty((states.shape[0], int(code.op_table[-1, ir.N_OUTPUTS]), int(code.op_table[-1, ir.N_INPUTS])))
    states, n_slots = np.ascontiguousarray(states), max(1, min(n_threads(threads), len(states)))
    for part in _parts(len(states), _work_per_row(code) * max(1, out.shape[1]), n_slots, 1):
        run_slots(passes.jacobian_slot, [passes.JacobianSlot(code, states[part], np.zeros(1, np.int64), out[part])] * n_slots)
    return out
