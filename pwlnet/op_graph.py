"""Which op reads which, and which ops have neurons: derived once from the arrays of a program.

Legend: N ops, S switching ops, K neurons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._types import ArrayLike, BoolArray, IntArray
from .kernels.ir import program as ir

if TYPE_CHECKING:
    from .kernels.ir.program import Program


class OpGraph(NamedTuple):
    """The ops of a program as a graph; available as ``Network.op_graph``."""

    operands: tuple[IntArray, ...]  # of int64[*], length N: the ops that each op reads
    readers: tuple[IntArray, ...]  # of int64[*], length N: the ops that read each op, increasing
    is_switching: BoolArray  # bool[N]
    switching: IntArray  # int64[S] the switching ops, increasing
    neuron_starts: IntArray  # int64[S+1] first neuron of each switching op, then K
    neuron_counts: IntArray  # int64[S] neurons of each switching op

    def switching_index(self, neurons: ArrayLike) -> Any:
        """Return the position in ``switching`` of the op that each neuron belongs to: int64, shape of ``neurons``."""
        return np.searchsorted(self.neuron_starts, neurons, side="right") - 1

    def op_of(self, neurons: ArrayLike) -> Any:
        """Return the op that each neuron belongs to: int64, shape of ``neurons``."""
        return self.switching[self.switching_index(neurons)]


def make_op_graph(program: Program) -> OpGraph:
    """Derive the graph of the ops of a program.

    Parameters
    ----------
    program : Program

    Returns
    -------
    OpGraph
        Its arrays are read-only.
    """
    n = len(program.op)
    operands = tuple(program.operands[program.operand_offsets[i] : program.operand_offsets[i + 1]] for i in range(n))
    readers = tuple(np.array([j for j in range(i + 1, n) if i in operands[j]], np.int64) for i in range(n))
    is_switching = program.op >= ir.FIRST_SWITCHING
    switching = np.flatnonzero(is_switching)
    starts = np.append(program.neuron_offsets[switching], program.neuron_offsets[-1])
    arrays = is_switching, switching, starts, np.diff(starts)
    for array in (*operands, *readers, *arrays):
        array.setflags(write=False)
    return OpGraph(operands, readers, *arrays)


def fan_in(network, i):
    """Return the largest number of products in an output of op i; for ops without weights its taps, at least 2: an int."""
    program, j = network.program, int(network.op_graph.operands[i][0])
    taps = int(program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W])
    if program.op[i] == ir.AFFINE:
        return int(program.value_offsets[j + 1] - program.value_offsets[j])
    return taps * int(program.shapes[j, 0]) if program.op[i] == ir.CONV2D else max(taps, 2)
