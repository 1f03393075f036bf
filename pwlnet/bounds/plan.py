"""What the kernels of bounds need to know of a network beside its program; made once per network.

Legend: N ops.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..kernels.bounds import slot as bs
from ..kernels.ir import program as ir
from ..op_graph import fan_in
from ..tolerances import UNIT_ROUNDOFF

if TYPE_CHECKING:
    from ..network import Network

_SPARE = 8  # roundings in addition to those of the longest sum
_BLOCK_BYTES = 2**26  # of the coefficients of a block
_PLANS: weakref.WeakKeyDictionary[Network, Any] = weakref.WeakKeyDictionary()


class Plan(NamedTuple):
    """Arrays that all slots share (``kernels/bounds/slot.py``)."""

    absolute: ir.PackedProgram
    transposed: np.ndarray  # float64[*]
    transposed_offsets: np.ndarray  # int64[N]
    table: np.ndarray  # int64[N, 3]
    roundings: np.ndarray  # float64[N, 4]
    largest_rounding: np.ndarray  # float64[1]


def plan_of(network):
    """Return the plan of a network: Plan."""
    if network not in _PLANS:
        _PLANS[network] = _make_plan(network)
    return _PLANS[network]


def _make_plan(network):
    code, program, n = network.code, network.program, len(network.program.op)
    absolute = code._replace(parameters=np.abs(code.parameters), row_weights=np.abs(code.row_weights))
    transposed, offsets, size = [np.zeros(0)], np.zeros(n, np.int64), 0
    for i in np.flatnonzero(program.op == ir.AFFINE):
        n_in = _n_values(program, network.op_graph.operands[i][0])
        weights = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]].reshape(n_in, -1)
        transposed.append(np.ascontiguousarray(weights.T).ravel())
        offsets[i], size = size, size + weights.size
    table = np.stack([_targets(network), _exact(network), _first_readers(network)], axis=1).astype(np.int64)
    roundings = _roundings(network)
    arrays = (
        np.concatenate(transposed),
        offsets,
        np.ascontiguousarray(table),
        roundings,
        roundings[:, bs.FORWARD].max(keepdims=True),
    )
    for array in (*arrays, absolute.parameters, absolute.row_weights):
        array.setflags(write=False)
    return Plan(absolute, *arrays)


def _n_values(program, i):
    return int(program.value_offsets[i + 1] - program.value_offsets[i])


def _targets(network):
    """Return which ops a switching op reads: bool[N]."""
    targets = np.zeros(len(network.program.op), bool)
    for i in network.op_graph.switching:
        targets[network.op_graph.operands[i]] = True
    return targets


def _first_readers(network):
    """Return the only reader of each op if it is a switching one, else -1: int64[N]."""
    readers = network.op_graph.readers
    return np.array([r[0] if len(r) == 1 and network.op_graph.is_switching[r[0]] else -1 for r in readers], np.int64)


def _exact(network):
    """Return the ops whose outputs have intervals over boxes that are their exact ranges, up to rounding: bool[N].

    They read copies of the inputs, each at most once, through at most one op that sums.
    """
    program, graph = network.program, network.op_graph
    copies, exact = np.zeros(len(program.op), bool), np.zeros(len(program.op), bool)
    copies[0] = exact[0] = True
    for i in range(1, len(program.op)):
        kind, j = int(program.op[i]), int(graph.operands[i][0])
        if kind == ir.SCALE:
            copies[i], exact[i] = copies[j], exact[j]
        elif kind == ir.GATHER:
            chosen = program.indices[program.index_offsets[i] : program.index_offsets[i + 1]]
            chosen = chosen[chosen >= 0]
            copies[i], exact[i] = copies[j] and len(np.unique(chosen)) == len(chosen), exact[j]
        elif kind in (ir.AFFINE, ir.CONV2D, ir.AVG_POOL):
            exact[i] = copies[j]
    return exact


def n_products(network):
    """Return the number of products in a forward pass, as if all ops were affine: an int."""
    return sum(fan_in(network, i) * _n_values(network.program, i) for i in range(1, len(network.program.op)))


def _fan_out(network, i):
    """Return the largest number of products with outputs of op i in the coefficient of one of its inputs."""
    program, kind = network.program, int(network.program.op[i])
    taps = int(program.attributes[i, ir.KERNEL_H] * program.attributes[i, ir.KERNEL_W])
    if kind == ir.AFFINE:
        return _n_values(program, i)
    if kind == ir.GATHER:
        chosen = program.indices[program.index_offsets[i] : program.index_offsets[i + 1]]
        return int(np.bincount(chosen[chosen >= 0], minlength=1).max())
    return taps * int(program.shapes[i, 0]) if kind == ir.CONV2D else max(taps, 1)


def _roundings(network):
    """Return gamma of the sums of each op: float64[N, 4] (columns of ``kernels/bounds/slot.py``)."""
    n, graph = len(network.program.op), network.op_graph
    result = np.zeros((n, 4))
    received = [sum(_fan_out(network, int(r)) for r in graph.readers[i]) for i in range(n)]
    for i in range(n):
        forward = fan_in(network, i) if i else 1
        backward = max((received[j] for j in graph.operands[i]), default=1)
        terms = np.array([forward, backward, _n_values(network.program, i) + 4 * n]) + _SPARE
        result[i, :3] = terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)
        result[i, bs.UNDERFLOW] = terms[1] * np.finfo(float).smallest_subnormal
    return result


def block_size(network, *, optimised):
    """Return how many neurons are bounded together: an int."""
    arrays = 5 if optimised else 1
    size = max(1, int(network.program.value_offsets[-1]))
    return int(min(max(1, _BLOCK_BYTES // (16 * arrays * size)), 128))
