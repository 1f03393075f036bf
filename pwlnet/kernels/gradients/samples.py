"""Integrals of the Jacobian along a line by many sampling rules at once, from the flips of its partition.

A rule's integral is a weighted sum of gradients, and the gradient is the same at all nodes of a segment. So one sweep that
keeps the gradient up to date (rank_one.py) serves all rules, with an addition per node instead of passes through the
network. Gradients of a few segments are held at a time, so that a rule's sums are fetched once for all of its nodes there.

Legend: C outputs asked for, E inputs asked for, K neurons, n breakpoints with 0 and 1, R rules, H segments held.
"""

import numpy as np

from .._jit import allocating_kernel, kernel
from ..ir import program as ir
from ..ir.affine import rows_of
from .rank_one import begin_sweep, cross_breakpoint


@kernel
def _hold_gradients(code, rows, inputs, gradients, out):
    """Copy the gradients with respect to the chosen inputs: out float64[C * E]."""
    g = rows_of(code, 0, rows, gradients)
    for r in range(rows):
        for e in range(inputs.shape[0]):
            out[r * inputs.shape[0] + e] = g[r, code.indices[code.op_table[-1, ir.INPUTS] + inputs[e]]]


@kernel
def _add_held(t, first, last, held, nodes, weights, sums):
    """Add weight times gradient at the nodes below the end of segment ``last - 1``; returns how many nodes that were.

    held float64[H, C * E]: gradients of the segments from ``first`` on. Nodes of one segment are one addition.
    """
    end = t[last] if last < t.shape[0] - 1 else np.inf  # t = 1 belongs to the last segment
    s, n = first, 0
    while n < nodes.shape[0] and nodes[n] < end:
        while s < last - 1 and nodes[n] >= t[s + 1]:
            s += 1
        border, weight = t[s + 1] if s < last - 1 else end, 0.0
        while n < nodes.shape[0] and nodes[n] < border:
            weight += weights[n]
            n += 1
        gradient = held[s - first]
        for k in range(sums.shape[0]):
            sums[k] += weight * gradient[k]
    return n


@allocating_kernel
def integrate_by_rules(code, static, start_states, t, flips, outputs, inputs, offsets, nodes, weights, held, integrals_out):
    """Sums of weights times gradients at the nodes of rules; a node on a breakpoint gets the gradient of the segment behind it.

    static bool[ops]: the input alone; start_states int32[K] on the first segment (source order); t float64[n]; flips Flips;
    outputs int64[C]; inputs int64[E]; rule r has nodes and weights ``offsets[r]`` to ``offsets[r + 1]``, nodes in [0, 1] and
    not decreasing; held float64[H, C * E], H > 0, is scratch. Out: integrals_out float64[R, C * E].
    """
    sweep = begin_sweep(code, static, outputs, start_states)
    position = offsets[:-1].copy()
    integrals_out[:] = 0.0
    for first in range(0, t.shape[0] - 1, held.shape[0]):
        last = min(first + held.shape[0], t.shape[0] - 1)
        for s in range(first, last):
            cross_breakpoint(code, static, sweep, flips, s, 1.0)
            _hold_gradients(code, outputs.shape[0], inputs, sweep.gradients, held[s - first])
        for r in range(position.shape[0]):
            rest = slice(position[r], offsets[r + 1])
            position[r] += _add_held(t, first, last, held, nodes[rest], weights[rest], integrals_out[r])
