"""Numbers of paths through the connections of a network, as exact Python integers.

Counts are carried op by op: object arrays [M, P, C] (number of float neurons so far, position, channel), where all outputs of a
fully connected op, or of a group of a convolution at one position, have the same count.

Legend: K neurons, M numbers of float neurons of a path, P positions, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import BoolArray
from ..errors import UnsupportedOperationError
from ..kernels.ir import program as ir

if TYPE_CHECKING:
    from ..network import Network


class PathNumbers(NamedTuple):
    """Numbers of paths of one kind, to all outputs together."""

    by_float: tuple[int, ...]  # of int: entry k counts the paths with exactly k float neurons

    @property
    def total(self) -> int:
        """Number of paths."""
        return sum(self.by_float)

    @property
    def fixed(self) -> int:
        """Number of paths without float neurons."""
        return self.by_float[0]

    @property
    def float_(self) -> int:
        """Number of paths with at least one float neuron."""
        return self.total - self.fixed


class PathCounts(NamedTuple):
    """Numbers of paths of a network; the result of ``count_paths``."""

    inputs: PathNumbers  # that start at an input
    constants: PathNumbers  # that start at a constant: a bias, a constant of Gather, that of a Clip neuron

    @property
    def total(self) -> int:
        """Number of all paths."""
        return self.inputs.total + self.constants.total

    @property
    def fixed(self) -> int:
        """Number of paths without float neurons."""
        return self.inputs.fixed + self.constants.fixed

    @property
    def float_(self) -> int:
        """Number of paths with at least one float neuron."""
        return self.total - self.fixed


def count_by_floats(network: Network, float_mask: BoolArray, depth: int) -> PathCounts:
    """Count paths by the number of their float neurons.

    Parameters
    ----------
    network : Network
    float_mask : bool[K]
    depth : int
        Largest number of neurons on a path.

    Returns
    -------
    PathCounts
    """
    p, last_use = network.program, _last_uses(network)
    counts: list[Any] = []
    n_rows = 2 * (depth + 1)  # first the paths from inputs, then those from constants
    for i in range(len(p.op)):
        channels, height, width = p.shapes[i].tolist()
        shape = n_rows, height * width, channels
        if i == 0:
            value = np.full(shape, 0, object)
            value.reshape(n_rows, -1)[0, p.input_index] = 1
        else:
            value = _through(network, i, counts, shape)
            if p.op[i] >= ir.FIRST_SWITCHING:
                mask = float_mask[p.neuron_offsets[i] : p.neuron_offsets[i + 1]].reshape(channels, height * width).T
                value = _shifted(value, mask, depth + 1)
        counts.append(value)
        for j in network.op_graph.operands[i]:
            if last_use[j] == i:
                counts[j] = None  # the counts of large networks take memory
    sums = counts[-1].reshape(n_rows, -1)[:, p.output_index].sum(axis=1).tolist()
    return PathCounts(PathNumbers(tuple(sums[: depth + 1])), PathNumbers(tuple(sums[depth + 1 :])))


def _last_uses(network):
    """Return the last op that reads each op; itself where none does."""
    return [max([i, *readers.tolist()]) for i, readers in enumerate(network.op_graph.readers)]


def _shifted(value, mask, m):
    """Count the float neurons of an op (bool[P, C]) as one more on all paths through them."""
    result = value.copy()
    for first in (0, m):
        result[first + 1 : first + m, mask] = value[first : first + m - 1, mask]
        result[first, mask] = 0
    return result


def _through(network, i, counts, shape):
    """Count the paths to the entries of op i, with those that start at its constants: object[2 M, P, C]."""
    p, operands = network.program, network.op_graph.operands[i].tolist()
    kind, x = p.op[i], counts[operands[0]]
    m = shape[0] // 2
    n_constants = 1 if p.bias_offsets[i + 1] > p.bias_offsets[i] else 0
    if kind == ir.AFFINE:
        value = np.broadcast_to(x.sum(axis=(1, 2))[:, None, None], shape).copy()
    elif kind == ir.CONV2D:
        groups = int(p.attributes[i, ir.GROUPS])
        per_group = x.reshape(*x.shape[:2], groups, -1).sum(axis=3)
        value = np.repeat(_sum_windows(network, i, per_group), shape[2] // groups, axis=2)
    elif kind in (ir.AVG_POOL, ir.MAX_POOL):
        value = _sum_windows(network, i, x)
    elif kind == ir.ADD:
        value = x + counts[operands[1]]
    elif kind == ir.CONCAT:
        value = np.concatenate([counts[j] for j in operands], axis=2)
    elif kind == ir.GATHER:
        index = p.indices[p.index_offsets[i] : p.index_offsets[i + 1]]
        copied = np.concatenate([x.reshape(len(x), -1), np.full((len(x), 1), 0, object)], axis=1)[:, index]
        copied[m] = copied[m] + (index < 0).astype(object)
        return copied.reshape(shape)
    elif kind in (ir.SCALE, ir.RELU, ir.LEAKY_RELU, ir.CLIP):
        value, n_constants = x.copy(), n_constants or int(kind == ir.CLIP)
    else:
        raise UnsupportedOperationError(f"op {i} has the code {kind}, whose connections are not known; see CONTRIBUTING.md")
    value[m] = value[m] + n_constants
    return value


def _sum_windows(network, i, x):
    """Sum the entries object[2 M, P_in, G] of the windows of op i: object[2 M, P, G]."""
    table = network.code.op_table
    n_positions, taps = (
        int(n) for n in (table[i, ir.HEIGHT] * table[i, ir.WIDTH], table[i, ir.KERNEL_H] * table[i, ir.KERNEL_W])
    )
    first = int(table[i, ir.TAPS])
    sources = network.code.indices[first : first + n_positions * taps].reshape(n_positions, taps)
    padded = np.concatenate([x, np.full((x.shape[0], 1, x.shape[2]), 0, object)], axis=1)  # entry -1: the padding
    return sum(padded[:, sources[:, tap]] for tap in range(taps))
