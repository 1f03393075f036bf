"""Integrals of the Jacobian along a line, from the flips of its partition.

When one neuron flips, the gradients of all outputs change by a rank-one matrix u w^T: u is the gradient of the outputs with
respect to the neuron's post-activation times the change of its piece's slope, and w the gradient of its pre-activation. So
the integral over t from 0 to 1 is  J(0) + sum_k (1 - t_k) u_k w_k^T.  u is read off the gradients with respect to all
post-activations, which are kept; w is a backward pass of one row from the neuron down, over the positions that it reaches.
Flips at one t follow one another in any order. Ops that no switching op comes before are *static*: gradients with respect to
them only add up, and are pushed to the input once, at the end; a flip of the first layer costs next to nothing.

Legend: C outputs asked for, D inputs, K neurons, P positions, n breakpoints with 0 and 1, F flips.
"""

from typing import NamedTuple

import numpy as np

from .._jit import allocating_kernel, inlined_kernel, kernel
from ..ir import program as ir
from ..ir.affine import (
    add_adjoint,
    add_window,
    conv_weights,
    n_operands,
    n_ops,
    operand,
    pool_divisor,
    rows_of,
    tap_position,
    weights_of,
)
from ..ir.passes import n_values
from ..ir.switching import add_select_adjoint, from_source_order, piece
from ..lines.slope_changes import n_taps

NEVER = -1
EAGER, STATIC, FIRST, KEPT = 0, 1, 2, 3  # roles of ops


class Flips(NamedTuple):
    """Flips of a line: ranges int64[n+1] of breakpoints (of any first entry), neurons, their ops, their states after."""

    offsets: np.ndarray
    neurons: np.ndarray
    ops: np.ndarray
    states: np.ndarray


class Sweep(NamedTuple):
    """A sweep along a line: gradients of the outputs where it is, a row with marks of what it reaches, states, u."""

    gradients: np.ndarray
    row: np.ndarray
    reached: np.ndarray
    marks: np.ndarray
    states: np.ndarray
    u: np.ndarray


@inlined_kernel
def _touch(code, reached, marks, i, p):
    """Add position p of op i to those that the row reaches."""
    base, count = code.op_table[i, ir.POINTER], code.op_table[i + 1, ir.POINTER] - 1
    if marks[base + p] == 0:
        marks[base + p] = 1
        reached[base + reached[count]] = p
        reached[count] += 1


@kernel
def _clear(code, i, row, reached, marks):
    """Set op i's part of the row to zero again."""
    base, count, channels = code.op_table[i, ir.POINTER], code.op_table[i + 1, ir.POINTER] - 1, code.op_table[i, ir.CHANNELS]
    for n in range(reached[count]):
        p = reached[base + n]
        marks[base + p] = 0
        first = code.op_table[i, ir.VALUE] + p * channels
        row[first : first + channels] = 0.0
    reached[count] = 0


@inlined_kernel
def _poison(code, i, row, reached, marks):
    """Put NaN into the row of op i's operand: the adjoint of an op that is unknown."""
    j = operand(code, i, 0)
    _touch(code, reached, marks, j, 0)
    row[code.op_table[j, ir.VALUE]] = np.nan


@inlined_kernel
def _only_entry(g):
    """Index of the entry of g that isn't zero where there is one at most, else ``NEVER``."""
    found = 0
    for c in range(g.shape[0]):
        if g[c] != 0.0:
            if g[found] != 0.0 and found != c:
                return np.int64(NEVER)
            found = c
    return np.int64(found)


@allocating_kernel
def _push_affine(code, i, row, reached, marks):
    """Adjoint of a fully connected op."""
    j = operand(code, i, 0)
    g = row[code.op_table[i, ir.VALUE] : code.op_table[i + 1, ir.VALUE]]
    x = row[code.op_table[j, ir.VALUE] : code.op_table[j + 1, ir.VALUE]]
    w = weights_of(code, i).reshape(x.shape[0], g.shape[0])
    for p in range(code.op_table[j, ir.HEIGHT] * code.op_table[j, ir.WIDTH]):
        _touch(code, reached, marks, j, p)
    c = _only_entry(g)
    if c >= 0:
        for k in range(x.shape[0]):
            x[k] += g[c] * w[k, c]
    else:
        x += np.dot(w, g)


@allocating_kernel
def _push_conv(code, i, row, reached, marks):
    """Adjoint of a convolution from the positions that the row reaches."""
    j, w = operand(code, i, 0), conv_weights(code, i)
    groups, taps, c_in, c_out = w.shape
    base, n = code.op_table[i, ir.POINTER], reached[code.op_table[i + 1, ir.POINTER] - 1]
    x = row[code.op_table[j, ir.VALUE] : code.op_table[j + 1, ir.VALUE]]
    part, columns = np.empty((n, c_out)), np.empty((n, taps * c_in))
    for group in range(groups):
        for a in range(n):
            first = code.op_table[i, ir.VALUE] + (reached[base + a] * groups + group) * c_out
            part[a] = row[first : first + c_out]
        matrix = w[group].reshape(taps * c_in, c_out)
        c = _only_entry(part[0]) if n == 1 else np.int64(NEVER)
        if c >= 0:
            for k in range(taps * c_in):
                columns[0, k] = part[0, c] * matrix[k, c]
        else:
            np.dot(part, matrix.T, columns)
        for a in range(n):
            add_window(code, i, group, reached[base + a], columns[a], x)
    for a in range(n):
        for tap in range(taps):
            q = tap_position(code, i, reached[base + a], tap)
            if q >= 0:
                _touch(code, reached, marks, j, q)


@kernel
def _push_taps(code, i, states, row, reached, marks):
    """Adjoint of ops whose entries read entries of the same channel: pools, scalings, sums, switching ops."""
    kind, channels = code.op_table[i, ir.OP], code.op_table[i, ir.CHANNELS]
    w, base = weights_of(code, i), code.op_table[i, ir.POINTER]
    taps = n_taps(code, i) if kind == ir.AVG_POOL or kind == ir.ADD else np.int64(1)
    if taps < 0 or (kind < ir.FIRST_SWITCHING and kind != ir.AVG_POOL and kind != ir.SCALE and kind != ir.ADD):
        _poison(code, i, row, reached, marks)
        return
    for a in range(reached[code.op_table[i + 1, ir.POINTER] - 1]):
        p = reached[base + a]
        g = row[code.op_table[i, ir.VALUE] + p * channels :][:channels]
        for tap in range(taps):
            j = operand(code, i, tap if kind == ir.ADD else 0)
            q = tap_position(code, i, p, tap) if kind == ir.AVG_POOL else p
            if q < 0 or kind == ir.MAX_POOL:
                continue
            _touch(code, reached, marks, j, q)
            x = row[code.op_table[j, ir.VALUE] + q * channels :][:channels]
            if kind == ir.AVG_POOL:
                divisor = pool_divisor(code, i, p)
                for c in range(channels):
                    x[c] += g[c] / divisor
            elif kind == ir.ADD:
                factor = code.parameters[code.op_table[i, ir.COEFFICIENTS] + tap]
                for c in range(channels):
                    x[c] += factor * g[c]
            elif kind == ir.SCALE:
                for c in range(channels):
                    x[c] += w[(p * channels + c) % w.shape[0]] * g[c]
            else:
                of = states[code.op_table[i, ir.NEURON] + p * channels :][:channels]
                for c in range(channels):
                    x[c] += piece(code, i, p * channels + c, of[c])[0] * g[c]
        if kind == ir.MAX_POOL:
            j = operand(code, i, 0)
            for c in range(channels):
                q = tap_position(code, i, p, states[code.op_table[i, ir.NEURON] + p * channels + c])
                _touch(code, reached, marks, j, q)
                row[code.op_table[j, ir.VALUE] + q * channels + c] += g[c]


@kernel
def _push_copies(code, i, row, reached, marks):
    """Adjoint of concatenations and gathers."""
    if code.op_table[i, ir.OP] != ir.CONCAT and code.op_table[i, ir.OP] != ir.GATHER:
        _poison(code, i, row, reached, marks)
        return
    channels, base = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.POINTER]
    for a in range(reached[code.op_table[i + 1, ir.POINTER] - 1]):
        p = reached[base + a]
        g = row[code.op_table[i, ir.VALUE] + p * channels :][:channels]
        if code.op_table[i, ir.OP] == ir.GATHER:
            j = operand(code, i, 0)
            for c in range(channels):
                source = code.indices[code.op_table[i, ir.INDEX] + p * channels + c]
                if source >= 0:
                    _touch(code, reached, marks, j, source // code.op_table[j, ir.CHANNELS])
                    row[code.op_table[j, ir.VALUE] + source] += g[c]
            continue
        first = 0
        for k in range(n_operands(code, i)):
            j = operand(code, i, k)
            _touch(code, reached, marks, j, p)
            x = row[code.op_table[j, ir.VALUE] + p * code.op_table[j, ir.CHANNELS] :][: code.op_table[j, ir.CHANNELS]]
            for c in range(x.shape[0]):
                x[c] += g[first + c]
            first += x.shape[0]


@kernel
def _add_outer(code, i, u, factor, row, reached, gradients):
    """Add factor u w^T to the gradients with respect to op i, w being its part of the row."""
    base, channels = code.op_table[i, ir.POINTER], code.op_table[i, ir.CHANNELS]
    target, w = rows_of(code, i, u.shape[0], gradients), row[code.op_table[i, ir.VALUE] : code.op_table[i + 1, ir.VALUE]]
    a, n = 0, reached[code.op_table[i + 1, ir.POINTER] - 1]
    while a < n:
        b = a + 1
        while b < n and reached[base + b] == reached[base + b - 1] + 1:  # neighbours at once
            b += 1
        first, last = reached[base + a] * channels, (reached[base + b - 1] + 1) * channels
        x = w[first:last]
        for r in range(u.shape[0]):
            f, y = factor * u[r], target[r, first:last]
            for k in range(last - first):
                y[k] += f * x[k]
        a = b


@kernel
def push_flip(code, roles, i, factor, t, sweep, sums):
    """Push the row from op i down, and add its outer product with u to the gradients on the way.

    Rows end at static ops, where the product gets a factor, and at kept ones (``integral.py``).
    """
    row, reached, marks = sweep.row, sweep.reached, sweep.marks
    for j in range(i, -1, -1):
        if reached[code.op_table[j + 1, ir.POINTER] - 1] == 0:
            continue
        kind = code.op_table[j, ir.OP]
        if roles[j] == STATIC:
            _add_outer(code, j, sweep.u, factor, row, reached, sweep.gradients)
        elif roles[j] == KEPT:
            _add_outer(code, j, sweep.u, 1.0, row, reached, sweep.gradients)
            _add_outer(code, j, sweep.u, -t, row, reached, sums)
        else:
            if kind >= ir.FIRST_SWITCHING:
                _add_outer(code, j, sweep.u, 1.0, row, reached, sweep.gradients)
            if kind == ir.AFFINE:
                _push_affine(code, j, row, reached, marks)
            elif kind == ir.CONV2D:
                _push_conv(code, j, row, reached, marks)
            elif kind == ir.CONCAT or kind == ir.GATHER:
                _push_copies(code, j, row, reached, marks)
            else:
                _push_taps(code, j, sweep.states, row, reached, marks)
        _clear(code, j, row, reached, marks)


@kernel
def begin_flip(code, i, k, old, new, sweep):
    """Put the gradient of neuron k's pre-activation into the row of op i's operand, and u; returns whether u isn't zero."""
    channels, j, u = code.op_table[i, ir.CHANNELS], operand(code, i, 0), sweep.u
    h = rows_of(code, i, u.shape[0], sweep.gradients)
    pool = code.op_table[i, ir.OP] == ir.MAX_POOL
    change = 1.0 if pool else piece(code, i, k, new)[0] - piece(code, i, k, old)[0]
    used = False
    for r in range(u.shape[0]):
        u[r] = change * h[r, k]
        used = used or u[r] != 0.0
    if not used:
        return False
    p, c = k // channels, k % channels
    if not pool:
        _touch(code, sweep.reached, sweep.marks, j, p)
        sweep.row[code.op_table[j, ir.VALUE] + k] = 1.0
        return True
    for tap, sign in ((old, -1.0), (new, 1.0)):
        q = tap_position(code, i, p, tap)
        _touch(code, sweep.reached, sweep.marks, j, q)
        sweep.row[code.op_table[j, ir.VALUE] + q * channels + c] += sign
    return True


@kernel
def push_rows(code, i, rows, sweep):
    """Add the adjoint of op i in its states at hand to the gradients with respect to its operands."""
    if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
        add_adjoint(code, i, rows, sweep.gradients)
        return
    of = sweep.states[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]]
    gy, gx = rows_of(code, i, rows, sweep.gradients), rows_of(code, operand(code, i, 0), rows, sweep.gradients)
    for r in range(rows):
        add_select_adjoint(code, i, of, gy[r], gx[r])


@kernel
def _begin_gradients(code, roles, outputs, sweep):
    """Gradients of the outputs with respect to all ops at t = 0, down to static and kept ones."""
    last, rows = n_ops(code) - 1, outputs.shape[0]
    g = rows_of(code, last, rows, sweep.gradients)
    for r in range(rows):
        g[r, code.indices[code.op_table[-1, ir.OUTPUTS] + outputs[r]]] = 1.0
    for i in range(last, 0, -1):
        if roles[i] == EAGER:
            push_rows(code, i, rows, sweep)


@allocating_kernel
def begin_sweep(code, roles, outputs, start_states):
    """A sweep at t = 0: gradients of C outputs with respect to ops that are eager, static or kept.

    roles int64[ops]. The input at least is static, and no op is that comes after one that isn't.
    outputs int64[C], start_states int32[K] on the first segment (source order).
    """
    rows = outputs.shape[0]
    gradients, row = np.zeros(rows * n_values(code)), np.zeros(n_values(code))
    reached, marks = np.zeros(code.op_table[-1, ir.POINTER], np.int64), np.zeros(code.op_table[-1, ir.POINTER], np.int64)
    states = np.empty_like(start_states)
    for i in range(1, n_ops(code)):
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        if hi > lo:
            from_source_order(code, i, start_states[lo:hi], states[lo:hi])
    sweep = Sweep(gradients, row, reached, marks, states, np.empty(rows))
    _begin_gradients(code, roles, outputs, sweep)
    return sweep


@inlined_kernel
def stored_place(code, i, neuron):
    """Place of a neuron of op i, numbered over the network, in the op's stored order."""
    number, positions = neuron - code.op_table[i, ir.NEURON], code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    return number % positions * code.op_table[i, ir.CHANNELS] + number // positions


@kernel
def cross_breakpoint(code, roles, sweep, flips, n, factor):
    """Flip the neurons of breakpoint n, and add the change of the gradients, times a factor at the static ops.

    All ops are eager or static.
    """
    for f in range(flips.offsets[n] - flips.offsets[0], flips.offsets[n + 1] - flips.offsets[0]):
        i, new = flips.ops[f], flips.states[f]
        k = stored_place(code, i, flips.neurons[f])
        place = code.op_table[i, ir.NEURON] + k
        if begin_flip(code, i, k, sweep.states[place], new, sweep):
            push_flip(code, roles, operand(code, i, 0), factor, 0.0, sweep, sweep.gradients)
        sweep.states[place] = new
