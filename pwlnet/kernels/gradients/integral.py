"""Integrals of the Jacobian along a line.

The integral over t from 0 to 1 is  J(0) + sum_k (1 - t_k) u_k w_k^T  (``rank_one.py``). For three kinds of ops w need not be
pushed down to the input, and they have most flips and most of the network's width:

*Static* ops, which no switching op comes before: gradients with respect to them only add up, and go to the input at the end.

*First* ops: switching ops that read a static op, and are read by convolutions and fully connected ops only, the *kept* ones.
With H(t) the integral from 0 to t of the gradients with respect to a kept op, and W its matrix, a first neuron's share is

    s(1) (W^T H(1))_k - sum over its flips at t_j of  (s after - s before) (W^T H(t_j))_k ,

s being its slope. So a flip of a first neuron costs one column of W. Kept ops hold their gradients G and B = H - t G: where
G changes by d, B changes by -t d. The cotangents of later neurons end at kept ops.

Legend: C outputs of interest, D inputs, K neurons, n breakpoints including 0 and 1, F flips.
"""

import numpy as np

from .._jit import entry_kernel, kernel, summing_kernel
from ..arrays import fill
from ..ir import program as ir
from ..ir.affine import n_ops, operand, rows_of, tap_position, weights_of
from ..ir.passes import n_values
from ..ir.switching import piece
from .rank_one import EAGER, FIRST, KEPT, begin_flip, begin_sweep, push_flip, push_rows, stored_place


@summing_kernel
def _product(n, w, t, g, b):
    """Return the scalar product of n weights with b + t g."""
    total = 0.0
    for k in range(n):
        total += w[k] * (b[k] + t * g[k])
    return total


@kernel
def _pull(code, i, k, t, gradients, sums, y):
    """Add entry k of the operand of W^T H(t) of kept op i to y[C]."""
    rows, values = y.shape[0], code.op_table[i + 1, ir.VALUE] - code.op_table[i, ir.VALUE]
    start, weights = rows * code.op_table[i, ir.VALUE], weights_of(code, i)
    if code.op_table[i, ir.OP] == ir.AFFINE:
        for r in range(rows):
            at = start + r * values
            y[r] += _product(values, weights[k * values :], t, gradients[at:], sums[at:])
        return
    if code.op_table[i, ir.OP] != ir.CONV2D:
        fill(y, np.nan)
        return
    a, j = code.op_table[i], operand(code, i, 0)
    channels, width = code.op_table[j, ir.CHANNELS], code.op_table[j, ir.WIDTH]
    c_in, c_out = channels // a[ir.GROUPS], a[ir.CHANNELS] // a[ir.GROUPS]
    p, group, c = k // channels, k % channels // c_in, k % c_in
    for tap_y in range(a[ir.KERNEL_H]):
        y_out, beside = divmod(p // width + a[ir.PAD_TOP] - tap_y * a[ir.DILATION_H], a[ir.STRIDE_H])
        if beside != 0 or y_out < 0 or y_out >= a[ir.HEIGHT]:
            continue
        for tap_x in range(a[ir.KERNEL_W]):
            x_out, beside = divmod(p % width + a[ir.PAD_LEFT] - tap_x * a[ir.DILATION_W], a[ir.STRIDE_W])
            if beside != 0 or x_out < 0 or x_out >= a[ir.WIDTH]:
                continue
            tap = (group * a[ir.KERNEL_H] + tap_y) * a[ir.KERNEL_W] + tap_x
            w, at = weights[(tap * c_in + c) * c_out :], start + (y_out * a[ir.WIDTH] + x_out) * a[ir.CHANNELS] + group * c_out
            for r in range(rows):
                y[r] += _product(c_out, w, t, gradients[at:], sums[at:])
                at += values


@kernel
def _flip_first(code, roles, i, k, t, old, new, sweep, sums):
    """Add the effect of a flip of neuron k of first op i to the integrals at the static op below."""
    u, rows = sweep.u, sweep.u.shape[0]
    fill(u, 0.0)
    for j in range(i + 1, n_ops(code)):
        if roles[j] == KEPT and operand(code, j, 0) == i:
            _pull(code, j, k, t, sweep.gradients, sums, u)
    below, channels, gradients = operand(code, i, 0), code.op_table[i, ir.CHANNELS], sweep.gradients
    values = code.op_table[below + 1, ir.VALUE] - code.op_table[below, ir.VALUE]
    start = rows * code.op_table[below, ir.VALUE]
    if code.op_table[i, ir.OP] != ir.MAX_POOL:
        change = piece(code, i, k, new)[0] - piece(code, i, k, old)[0]
        for r in range(rows):
            gradients[start + r * values + k] -= change * u[r]
        return
    before, after = tap_position(code, i, k // channels, old), tap_position(code, i, k // channels, new)
    for r in range(rows):
        gradients[start + r * values + before * channels + k % channels] += u[r]
        gradients[start + r * values + after * channels + k % channels] -= u[r]


@kernel
def _flip_above_kept(code, i, k, t, old, new, sweep, sums):
    """Do as ``begin_flip`` and ``push_flip`` do, for neuron k of an elementwise op that reads a kept one."""
    rows, below = sweep.u.shape[0], operand(code, i, 0)
    h, g = rows_of(code, i, rows, sweep.gradients), rows_of(code, below, rows, sweep.gradients)
    b = rows_of(code, below, rows, sums)
    change = piece(code, i, k, new)[0] - piece(code, i, k, old)[0]
    for r in range(rows):
        u = change * h[r, k]
        g[r, k] += u
        b[r, k] -= t * u


@kernel
def _finish(code, roles, rows, sweep, sums):
    """Compute the integrals from 0 to 1 at kept ops, and from them and the static ops down to the input."""
    for i in range(n_ops(code) - 1, 0, -1):
        if roles[i] == KEPT:
            g, b = rows_of(code, i, rows, sweep.gradients), rows_of(code, i, rows, sums)
            for r in range(rows):
                for k in range(g.shape[1]):
                    g[r, k] += b[r, k]
        if roles[i] != EAGER:
            push_rows(code, i, rows, sweep)


@entry_kernel
def integrate_jacobian(code, roles, start_states, t, flips, outputs, sweep, jacobian_out):
    """Integrate the Jacobian over t from 0 to 1.

    roles int64[ops]; start_states int32[K] on the first segment (source order); t float64[n]; flips Flips; outputs int64[C];
    sweep Sweep is scratch. Out: jacobian_out float64[C, D].
    """
    rows = outputs.shape[0]
    sums = np.zeros(rows * n_values(code))
    begin_sweep(code, roles, outputs, start_states, sweep)
    for n in range(t.shape[0]):
        for f in range(flips.offsets[n] - flips.offsets[0], flips.offsets[n + 1] - flips.offsets[0]):
            i, new = flips.ops[f], flips.states[f]
            k = stored_place(code, i, flips.neurons[f])
            place = code.op_table[i, ir.NEURON] + k
            if roles[i] == FIRST:
                _flip_first(code, roles, i, k, t[n], sweep.states[place], new, sweep, sums)
            elif roles[operand(code, i, 0)] == KEPT and code.op_table[i, ir.OP] != ir.MAX_POOL:
                _flip_above_kept(code, i, k, t[n], sweep.states[place], new, sweep, sums)
            elif begin_flip(code, i, k, sweep.states[place], new, sweep):
                push_flip(code, roles, operand(code, i, 0), 1.0 - t[n], t[n], sweep, sums)
            sweep.states[place] = new
    _finish(code, roles, rows, sweep, sums)
    g = rows_of(code, 0, rows, sweep.gradients)
    for r in range(rows):
        for d in range(code.op_table[-1, ir.N_INPUTS]):
            jacobian_out[r, d] = g[r, code.indices[code.op_table[-1, ir.INPUTS] + d]]
