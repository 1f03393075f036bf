"""Integrals of the Jacobian along a line by many sampling rules at once, from the flips of its partition.

A rule's integral is a weighted sum of gradients, and the gradient is the same at all nodes of a segment. So one sweep that
keeps the gradient up to date (rank_one.py) serves all rules, with an addition per node instead of passes through the
network. Gradients of a few segments are held at a time, so that a rule's sums are read once for all of its nodes on them.

Legend: C outputs and E inputs of interest, K neurons, n breakpoints including 0 and 1, R rules, H segments held.
"""

import numpy as np

from .._jit import entry_kernel, kernel
from ..arrays import copy_into, fill_rows
from ..ir import program as ir
from ..ir.affine import rows_of
from .rank_one import begin_sweep, cross_breakpoint


@kernel
def _hold_gradients(code, rows, inputs, gradients, out):
    """Copy the gradients with respect to the chosen inputs. Out: out float64[C * E]."""
    g = rows_of(code, 0, rows, gradients)
    for r in range(rows):
        for e in range(inputs.shape[0]):
            out[r * inputs.shape[0] + e] = g[r, code.indices[code.op_table[-1, ir.INPUTS] + inputs[e]]]


@kernel
def _add_held(t, first, last, held, nodes, weights, sums):
    """Add weight times gradient at the nodes before the end of segment ``last - 1``; return the number of these nodes.

    held float64[H, C * E]: gradients of the segments from ``first`` on. Nodes of one segment make one addition.
    """
    end = t[last] if last < t.shape[0] - 1 else np.inf  # t = 1 belongs to the last segment
    s, n = first, 0
    while n < nodes.shape[0] and nodes[n] < end:
        while s < last - 1 and nodes[n] >= t[s + 1]:
            s += 1
        limit, weight = t[s + 1] if s < last - 1 else end, 0.0
        while n < nodes.shape[0] and nodes[n] < limit:
            weight += weights[n]
            n += 1
        gradient = held[s - first]
        for k in range(sums.shape[0]):
            sums[k] += weight * gradient[k]
    return n


@entry_kernel
def integrate_by_rules(
    code, static, start_states, t, flips, outputs, inputs, offsets, nodes, weights, held, sweep, integrals_out
):
    """Sum weights times gradients at the nodes of rules; a node on a breakpoint gets the gradient of the segment after it.

    static bool[ops]: the input alone; start_states int32[K] on the first segment (source order); t float64[n]; flips Flips;
    outputs int64[C]; inputs int64[E]; rule r has nodes and weights ``offsets[r]`` to ``offsets[r + 1]``, nodes in [0, 1] and
    not decreasing; held float64[H, C * E], H > 0, and sweep Sweep are scratch. Out: integrals_out float64[R, C * E].
    """
    begin_sweep(code, static, outputs, start_states, sweep)
    position = np.empty(offsets.shape[0] - 1, np.int64)
    copy_into(offsets[:-1], position)
    fill_rows(integrals_out, 0.0)
    for first in range(0, t.shape[0] - 1, held.shape[0]):
        last = min(first + held.shape[0], t.shape[0] - 1)
        for s in range(first, last):
            cross_breakpoint(code, static, sweep, flips, s, 1.0)
            _hold_gradients(code, outputs.shape[0], inputs, sweep.gradients, held[s - first])
        for r in range(position.shape[0]):
            rest, end = position[r], offsets[r + 1]
            position[r] += _add_held(t, first, last, held, nodes[rest:end], weights[rest:end], integrals_out[r])
