"""Gradients along a line, updated by a rank-one matrix at each flip of the line's partition.

When one neuron flips, the gradients of all outputs change by a rank-one matrix u w^T: u is the gradient of the outputs with
respect to the neuron's post-activation times the change of its piece's slope, and w the gradient of its pre-activation with
respect to the input. So the integral over t from 0 to 1 is  J(0) + sum_k (1 - t_k) u_k w_k^T.  The gradients with respect to
all post-activations are kept, and u is read from them. w comes from a backward pass of one vector, the *cotangent*, from the
neuron down, over the positions at which it is not zero, its *support*. Flips at the same t are applied in any order. Ops that
no switching op comes before are *static*: gradients with respect to them only add up, and are pushed to the input once, at the
end, so a flip of the first layer costs next to nothing.

Legend: C outputs of interest, D inputs, K neurons, P positions, n breakpoints including 0 and 1, F flips.
"""

import enum
from typing import NamedTuple

import numpy as np

from .._jit import allocating_kernel, inlined_kernel, kernel
from ..arrays import copy_into, fill
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
from ..ir.switching import add_select_adjoint, from_source_order, piece
from ..lines.slope_changes import n_taps

NONE = np.int64(-1)


class GradientRole(enum.IntEnum):
    """How an integral along a line treats an op."""

    EAGER = 0  # its gradients are kept up to date
    STATIC = 1  # its gradients add up to an integral: no switching op comes before it
    FIRST = 2  # a switching op whose flips are taken into the integral at the static op below (integral.py)
    KEPT = 3  # an op that reads a FIRST one


EAGER, STATIC, FIRST, KEPT = map(int, GradientRole)  # for kernels, which compile comparisons of plain integers faster


class Flips(NamedTuple):
    """Flips of a line: ranges int64[n+1] of breakpoints (from any first entry), neurons, their ops, their states after."""

    offsets: np.ndarray
    neurons: np.ndarray
    ops: np.ndarray
    states: np.ndarray


class Sweep(NamedTuple):
    """Buffers of a sweep along a line."""

    gradients: np.ndarray  # float64[C * n_values] of the outputs with respect to all values
    cotangent: np.ndarray  # float64[n_values] zero between flips
    support: np.ndarray  # int64[*] positions of each op at which the cotangent is not zero, and at the end their number
    in_support: np.ndarray  # int64[*] 1 for positions in ``support``
    states: np.ndarray  # int32[K] in stored order
    u: np.ndarray  # float64[C]


def make_sweep(code, n_outputs):
    """Allocate the buffers of a sweep.

    Parameters
    ----------
    code : PackedProgram
    n_outputs : int

    Returns
    -------
    Sweep
    """
    n_values, n_pointers = int(code.op_table[-1, ir.VALUE]), int(code.op_table[-1, ir.POINTER])
    return Sweep(
        gradients=np.empty(n_outputs * n_values),
        cotangent=np.zeros(n_values),
        support=np.zeros(n_pointers, np.int64),
        in_support=np.zeros(n_pointers, np.int64),
        states=np.empty(int(code.op_table[-1, ir.NEURON]), np.int32),
        u=np.empty(n_outputs),
    )


@inlined_kernel
def _add_to_support(code, sweep, i, p):
    """Add position p of op i to the cotangent's support."""
    support, in_support = sweep.support, sweep.in_support
    base, count = code.op_table[i, ir.POINTER], code.op_table[i + 1, ir.POINTER] - 1
    if in_support[base + p] == 0:
        in_support[base + p] = 1
        support[base + support[count]] = p
        support[count] += 1


@kernel
def _clear(code, i, sweep):
    """Set op i's part of the cotangent to zero again."""
    support = sweep.support
    base, count, channels = code.op_table[i, ir.POINTER], code.op_table[i + 1, ir.POINTER] - 1, code.op_table[i, ir.CHANNELS]
    for n in range(support[count]):
        p = support[base + n]
        sweep.in_support[base + p] = 0
        first = code.op_table[i, ir.VALUE] + p * channels
        fill(sweep.cotangent[first : first + channels], 0.0)
    support[count] = 0


@inlined_kernel
def _poison(code, i, sweep):
    """Add NaN to the cotangent of op i's operand: the adjoint of an op that is unknown."""
    j = operand(code, i, 0)
    _add_to_support(code, sweep, j, 0)
    sweep.cotangent[code.op_table[j, ir.VALUE]] = np.nan


@inlined_kernel
def _only_entry(g):
    """Return the index of the only entry of g that is not zero, or ``NONE`` where there are several."""
    found = 0
    for c in range(g.shape[0]):
        if g[c] != 0.0:
            if g[found] != 0.0 and found != c:
                return NONE
            found = c
    return np.int64(found)


@allocating_kernel
def _push_affine(code, i, sweep):
    """Apply the adjoint of a fully connected op to the cotangent."""
    j, cotangent = operand(code, i, 0), sweep.cotangent
    g = cotangent[code.op_table[i, ir.VALUE] : code.op_table[i + 1, ir.VALUE]]
    x = cotangent[code.op_table[j, ir.VALUE] : code.op_table[j + 1, ir.VALUE]]
    w = weights_of(code, i).reshape(x.shape[0], g.shape[0])
    for p in range(code.op_table[j, ir.HEIGHT] * code.op_table[j, ir.WIDTH]):
        _add_to_support(code, sweep, j, p)
    c = _only_entry(g)
    if c >= 0:
        for k in range(x.shape[0]):
            x[k] += g[c] * w[k, c]
    else:
        gx = np.dot(w, g)
        for k in range(x.shape[0]):
            x[k] += gx[k]


@allocating_kernel
def _push_conv(code, i, sweep):
    """Apply the adjoint of a convolution to the cotangent, from the positions in its support."""
    j, w, cotangent, support = operand(code, i, 0), conv_weights(code, i), sweep.cotangent, sweep.support
    groups, taps, c_in, c_out = w.shape
    base, n = code.op_table[i, ir.POINTER], support[code.op_table[i + 1, ir.POINTER] - 1]
    x = cotangent[code.op_table[j, ir.VALUE] : code.op_table[j + 1, ir.VALUE]]
    part, columns = np.empty((n, c_out)), np.empty((n, taps * c_in))
    for group in range(groups):
        for a in range(n):
            first = code.op_table[i, ir.VALUE] + (support[base + a] * groups + group) * c_out
            copy_into(cotangent[first : first + c_out], part[a])
        matrix = w[group].reshape(taps * c_in, c_out)
        c = _only_entry(part[0]) if n == 1 else NONE
        if c >= 0:
            for k in range(taps * c_in):
                columns[0, k] = part[0, c] * matrix[k, c]
        else:
            np.dot(part, matrix.T, columns)
        for a in range(n):
            add_window(code, i, group, support[base + a], columns[a], x)
    for a in range(n):
        for tap in range(taps):
            q = tap_position(code, i, support[base + a], tap)
            if q >= 0:
                _add_to_support(code, sweep, j, q)


@kernel
def _push_taps(code, i, sweep):
    """Apply the adjoint of an op whose entries read entries of the same channel: pools, scalings, sums, switching ops."""
    states, cotangent, support = sweep.states, sweep.cotangent, sweep.support
    kind, channels = code.op_table[i, ir.OP], code.op_table[i, ir.CHANNELS]
    w, base = weights_of(code, i), code.op_table[i, ir.POINTER]
    taps = n_taps(code, i) if kind == ir.AVG_POOL or kind == ir.ADD else np.int64(1)
    if taps < 0 or (kind < ir.FIRST_SWITCHING and kind != ir.AVG_POOL and kind != ir.SCALE and kind != ir.ADD):
        _poison(code, i, sweep)
        return
    for a in range(support[code.op_table[i + 1, ir.POINTER] - 1]):
        p = support[base + a]
        g = cotangent[code.op_table[i, ir.VALUE] + p * channels :][:channels]
        for tap in range(taps):
            j = operand(code, i, tap if kind == ir.ADD else 0)
            q = tap_position(code, i, p, tap) if kind == ir.AVG_POOL else p
            if q < 0 or kind == ir.MAX_POOL:
                continue
            _add_to_support(code, sweep, j, q)
            x = cotangent[code.op_table[j, ir.VALUE] + q * channels :][:channels]
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
                _add_to_support(code, sweep, j, q)
                cotangent[code.op_table[j, ir.VALUE] + q * channels + c] += g[c]


@kernel
def _push_copies(code, i, sweep):
    """Apply the adjoint of a concatenation or gather to the cotangent."""
    if code.op_table[i, ir.OP] != ir.CONCAT and code.op_table[i, ir.OP] != ir.GATHER:
        _poison(code, i, sweep)
        return
    cotangent, support = sweep.cotangent, sweep.support
    channels, base = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.POINTER]
    for a in range(support[code.op_table[i + 1, ir.POINTER] - 1]):
        p = support[base + a]
        g = cotangent[code.op_table[i, ir.VALUE] + p * channels :][:channels]
        if code.op_table[i, ir.OP] == ir.GATHER:
            j = operand(code, i, 0)
            for c in range(channels):
                source = code.indices[code.op_table[i, ir.INDEX] + p * channels + c]
                if source >= 0:
                    _add_to_support(code, sweep, j, source // code.op_table[j, ir.CHANNELS])
                    cotangent[code.op_table[j, ir.VALUE] + source] += g[c]
            continue
        first = 0
        for k in range(n_operands(code, i)):
            j = operand(code, i, k)
            _add_to_support(code, sweep, j, p)
            x = cotangent[code.op_table[j, ir.VALUE] + p * code.op_table[j, ir.CHANNELS] :][: code.op_table[j, ir.CHANNELS]]
            for c in range(x.shape[0]):
                x[c] += g[first + c]
            first += x.shape[0]


@kernel
def _add_outer(code, i, factor, sweep, gradients):
    """Add factor u w^T to the gradients with respect to op i, w being its part of the cotangent."""
    base, channels, u, support = code.op_table[i, ir.POINTER], code.op_table[i, ir.CHANNELS], sweep.u, sweep.support
    target = rows_of(code, i, u.shape[0], gradients)
    w = sweep.cotangent[code.op_table[i, ir.VALUE] : code.op_table[i + 1, ir.VALUE]]
    a, n = 0, support[code.op_table[i + 1, ir.POINTER] - 1]
    while a < n:
        b = a + 1
        while b < n and support[base + b] == support[base + b - 1] + 1:  # neighbours together
            b += 1
        first, last = support[base + a] * channels, (support[base + b - 1] + 1) * channels
        x = w[first:last]
        for r in range(u.shape[0]):
            f, y = factor * u[r], target[r, first:last]
            for k in range(last - first):
                y[k] += f * x[k]
        a = b


@kernel
def push_flip(code, roles, i, factor, t, sweep, sums):
    """Push the cotangent from op i down, and add its outer product with u to the gradients on the way.

    It ends at static ops, where the product gets a factor, and at kept ones (``integral.py``).
    """
    for j in range(i, -1, -1):
        if sweep.support[code.op_table[j + 1, ir.POINTER] - 1] == 0:
            continue
        kind = code.op_table[j, ir.OP]
        if roles[j] == STATIC:
            _add_outer(code, j, factor, sweep, sweep.gradients)
        elif roles[j] == KEPT:
            _add_outer(code, j, 1.0, sweep, sweep.gradients)
            _add_outer(code, j, -t, sweep, sums)
        else:
            if kind >= ir.FIRST_SWITCHING:
                _add_outer(code, j, 1.0, sweep, sweep.gradients)
            if kind == ir.AFFINE:
                _push_affine(code, j, sweep)
            elif kind == ir.CONV2D:
                _push_conv(code, j, sweep)
            elif kind == ir.CONCAT or kind == ir.GATHER:
                _push_copies(code, j, sweep)
            else:
                _push_taps(code, j, sweep)
        _clear(code, j, sweep)


@kernel
def begin_flip(code, i, k, old, new, sweep):
    """Set u, and the cotangent of op i's operand to the gradient of neuron k's pre-activation; return whether u is not zero."""
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
        _add_to_support(code, sweep, j, p)
        sweep.cotangent[code.op_table[j, ir.VALUE] + k] = 1.0
        return True
    for tap, sign in ((old, -1.0), (new, 1.0)):
        q = tap_position(code, i, p, tap)
        _add_to_support(code, sweep, j, q)
        sweep.cotangent[code.op_table[j, ir.VALUE] + q * channels + c] += sign
    return True


@kernel
def push_rows(code, i, rows, sweep):
    """Add the adjoint of op i in its current states to the gradients with respect to its operands."""
    if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
        add_adjoint(code, i, rows, sweep.gradients)
        return
    of = sweep.states[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]]
    gy, gx = rows_of(code, i, rows, sweep.gradients), rows_of(code, operand(code, i, 0), rows, sweep.gradients)
    for r in range(rows):
        add_select_adjoint(code, i, of, gy[r], gx[r])


@kernel
def _begin_gradients(code, roles, outputs, sweep):
    """Compute the gradients of the outputs with respect to all ops at t = 0, down to static and kept ones."""
    last, rows = n_ops(code) - 1, outputs.shape[0]
    fill(sweep.gradients, 0.0)
    g = rows_of(code, last, rows, sweep.gradients)
    for r in range(rows):
        g[r, code.indices[code.op_table[-1, ir.OUTPUTS] + outputs[r]]] = 1.0
    for i in range(last, 0, -1):
        if roles[i] == EAGER:
            push_rows(code, i, rows, sweep)


@kernel
def begin_sweep(code, roles, outputs, start_states, sweep):
    """Begin a sweep at t = 0 with gradients with respect to the ops that are eager, static or kept.

    roles int64[ops]. The input at least is static, and no op is that comes after one that is not. outputs int64[C];
    start_states int32[K] on the first segment (source order). Out: sweep.
    """
    for i in range(1, n_ops(code)):
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        if hi > lo:
            from_source_order(code, i, start_states[lo:hi], sweep.states[lo:hi])
    _begin_gradients(code, roles, outputs, sweep)


@inlined_kernel
def stored_place(code, i, neuron):
    """Return the index in op i's stored order of one of its neurons, which is numbered over the network."""
    number, positions = neuron - code.op_table[i, ir.NEURON], code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    return number % positions * code.op_table[i, ir.CHANNELS] + number // positions


@kernel
def cross_breakpoint(code, roles, sweep, flips, n, factor):
    """Flip the neurons of breakpoint n, and add the change of the gradients, times a factor at static ops.

    All ops are eager or static.
    """
    for f in range(flips.offsets[n] - flips.offsets[0], flips.offsets[n + 1] - flips.offsets[0]):
        i, new = flips.ops[f], flips.states[f]
        k = stored_place(code, i, flips.neurons[f])
        place = code.op_table[i, ir.NEURON] + k
        if begin_flip(code, i, k, sweep.states[place], new, sweep):
            push_flip(code, roles, operand(code, i, 0), factor, 0.0, sweep, sweep.gradients)
        sweep.states[place] = new
