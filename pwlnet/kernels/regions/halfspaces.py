"""The half-spaces whose intersection is the activation region of a point, with bounds on all rounding errors.

A row is a condition ``v[plus] - v[minus] <= threshold`` on the values v that a switching op reads. Under the states of the
point every value is an affine function of the input, so a row is a half-space. Gradients come from forward passes of
``TILE`` input directions at a time, or from backward passes of ``TILE`` rows at a time, whichever is cheaper. Only the rows'
norms are kept where nothing else is needed.

Errors. Values carry a running bound  E_y = |W| E_x + gamma_n (|W| |x| + |b| + |W| E_x)  with gamma_n = n u / (1 - n u) for sums
of n terms in any order [1]. The error of a gradient, in the l1 norm, is at most gamma_N of the path times the products
|W| |W| ... |W| 1 of absolute weights, for passes in either direction. Both take one pass with absolute weights.

Legend: B points, D inputs, K neurons, M rows, N ops, T tile rows.

[1] Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, 2002, Section 3.1 (3.4) and Section 3.3.
"""

from typing import NamedTuple

import numpy as np

from .._atomic import take_next
from .._jit import ONE, ZERO, allocating_kernel, inlined_kernel, kernel, slot_kernel
from ..arrays import fill, fill_rows
from ..ir import program as ir
from ..ir.affine import PLAIN, add_adjoint, add_constant, apply_linear, n_operands, n_ops, operand, rows_of, tap_position
from ..ir.passes import TILE, load_inputs, run_ops
from ..ir.switching import add_select_adjoint, from_source_order, select

NONE, THREE = np.int64(-1), np.int64(3)
UNIT_ROUNDOFF = 2.0**-53
DESCRIBE, GRADIENTS, RADII = 0, 1, 2  # what a call computes
PHASE, BY_ROWS, NORM, LAST = 0, 1, 2, 3  # columns of ``options``
SIZE, ERROR, SLOPE = 0, 1, 2  # rows of ``bounds``: magnitude of a value, its error, sum of its absolute gradient
L1, SQUARES, LARGEST = 0, 1, 2  # columns of ``norms``; the l2 norm is LARGEST * sqrt(SQUARES)
OF_OP, OF_PATH = 0, 1  # columns of ``roundings``


class Rows(NamedTuple):
    """Conditions ``v[plus] - v[minus] <= threshold`` on the values v of an op, in the order of the neurons."""

    operand: np.ndarray  # int64[M] the op whose values they compare
    plus: np.ndarray  # int64[M] entry, -1 for none
    minus: np.ndarray  # int64[M] entry, -1 for none
    neuron: np.ndarray  # int64[M]
    other: np.ndarray  # int64[M] state of the neuron on the other side
    threshold: np.ndarray  # float64[M]


class RegionSlot(NamedTuple):
    """What one slot works with; arrays from ``rows`` to ``norms`` are shared in the phase GRADIENTS only."""

    code: ir.PackedProgram
    absolute: ir.PackedProgram  # the same with absolute parameters
    roundings: np.ndarray  # float64[N, 2] gamma of the sums of each op, and of the paths that end there
    options: np.ndarray  # int64[4] phase; whether passes are backward; norm of balls: 1, 2, or 0 for inf; last switching op
    points: np.ndarray  # float64[B, D]
    rows: Rows
    n_rows: np.ndarray  # int64[1]
    states: np.ndarray  # int32[1, K] source order
    stored: np.ndarray  # int32[K] stored order
    margins: np.ndarray  # float64[M] threshold - (v[plus] - v[minus]) at the point
    margin_errors: np.ndarray  # float64[M]
    gradient_errors: np.ndarray  # float64[M] in the l1 norm
    norms: np.ndarray  # float64[M, 3] of gradients
    gradients: np.ndarray  # float64[M, D] out, in the phase GRADIENTS
    tiles: np.ndarray  # int64[*] first input direction or first row of each tile, and their number
    next_item: np.ndarray  # int64[1] counter
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown; the results mean nothing then
    buffer: np.ndarray  # float64[T * n_values]
    bounds: np.ndarray  # float64[3 * n_values] scratch
    reached: np.ndarray  # int64[N] scratch
    radii: np.ndarray  # float64[B, 2] out: radius, sound lower bound
    nearest: np.ndarray  # int64[B] out: neuron


@inlined_kernel
def _add_row(rows, n, x, plus, minus, neuron, other, threshold):
    """Append a row; return their number."""
    rows.operand[n], rows.plus[n], rows.minus[n] = x, plus, minus
    rows.neuron[n], rows.other[n], rows.threshold[n] = neuron, other, threshold
    return n + 1


@kernel
def _add_clip(code, i, k, neuron, state, rows, n):
    """Append the rows of neuron k (stored order) of a Clip; return the number of all rows."""
    x, base = operand(code, i, 0), code.op_table[i, ir.COEFFICIENTS]
    lower, upper = code.parameters[base], code.parameters[base + 1]
    if state == 0:
        return _add_row(rows, n, x, k, NONE, neuron, 2 if lower == upper else 1, lower)
    if state == 2:
        return _add_row(rows, n, x, NONE, k, neuron, 0 if lower == upper else 1, -upper)
    if np.isfinite(lower):
        n = _add_row(rows, n, x, NONE, k, neuron, 0, -lower)
    if np.isfinite(upper):
        n = _add_row(rows, n, x, k, NONE, neuron, 2, upper)
    return n


@kernel
def _add_window(code, i, k, neuron, state, rows, n):
    """Append the rows of window k (stored order) of a MaxPool, one for each other tap; return the number of all rows."""
    x, channels = operand(code, i, 0), code.op_table[i, ir.CHANNELS]
    p, c = k // channels, k % channels
    best = tap_position(code, i, p, state) * channels + c
    for tap in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
        q = tap_position(code, i, p, tap)
        if q >= 0 and tap != state:
            n = _add_row(rows, n, x, q * channels + c, best, neuron, tap, 0.0)
    return n


@kernel
def list_rows(code, states, rows):
    """List the rows of all neurons in states int32[K] (source order). Out: rows. Return their number, -1 for unknown ops."""
    n = ZERO
    for i in range(1, n_ops(code)):
        kind, channels = code.op_table[i, ir.OP], code.op_table[i, ir.CHANNELS]
        if kind < ir.FIRST_SWITCHING:
            continue
        positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
        for j in range(channels * positions):
            k, neuron = j % positions * channels + j // positions, code.op_table[i, ir.NEURON] + j
            state = np.int64(states[neuron])
            if kind == ir.RELU or kind == ir.LEAKY_RELU:
                x = operand(code, i, 0)
                n = _add_row(rows, n, x, k if state == 0 else NONE, NONE if state == 0 else k, neuron, 1 - state, 0.0)
            elif kind == ir.CLIP:
                n = _add_clip(code, i, k, neuron, state, rows, n)
            elif kind == ir.MAX_POOL:
                n = _add_window(code, i, k, neuron, state, rows, n)
            else:
                return NONE
    return n


@allocating_kernel
def bound_errors(absolute, roundings, last, stored, values, bounds):
    """Bound the rounding errors at a point of all values before op ``last``, and the absolute sums of their gradients.

    stored int32[K]: states in stored order; values float64[T * n_values], row 0 at the point.
    Out: bounds float64[3 * n_values].
    """
    v, e = rows_of(absolute, 0, TILE, values)[0], rows_of(absolute, 0, 3, bounds)
    for k in range(v.shape[0]):
        e[SIZE, k], e[ERROR, k], e[SLOPE, k] = abs(v[k]), 0.0, 1.0
    for i in range(1, last):
        v, e = rows_of(absolute, i, TILE, values)[0], rows_of(absolute, i, 3, bounds)
        if absolute.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            apply_linear(absolute, i, THREE, THREE, bounds, PLAIN)
            add_constant(absolute, i, ONE, THREE, bounds)
            for k in range(v.shape[0]):
                e[ERROR, k] += roundings[i, OF_OP] * (e[SIZE, k] + e[ERROR, k])
        else:
            x = rows_of(absolute, operand(absolute, i, 0), 3, bounds)
            of = stored[absolute.op_table[i, ir.NEURON] : absolute.op_table[i + 1, ir.NEURON]]
            select(absolute, i, of, x[ERROR], e[ERROR], True)
            select(absolute, i, of, x[SLOPE], e[SLOPE], True)
            for k in range(v.shape[0]):
                e[ERROR, k] += roundings[i, OF_OP] * (abs(v[k]) + e[ERROR, k])
        for k in range(v.shape[0]):
            e[SIZE, k] = abs(v[k])


@kernel
def measure_rows(code, slot):
    """Compute margins and error bounds of the rows from values and bounds. Out: margins, margin_errors, gradient_errors."""
    rows = slot.rows
    for m in range(slot.n_rows[0]):
        j = rows.operand[m]
        v, e = rows_of(code, j, TILE, slot.buffer)[0], rows_of(code, j, 3, slot.bounds)
        value, size, error, slope = 0.0, abs(rows.threshold[m]), 0.0, 0.0
        if rows.plus[m] >= 0:
            k = rows.plus[m]
            value, size, error, slope = v[k], size + abs(v[k]), e[ERROR, k], e[SLOPE, k]
        if rows.minus[m] >= 0:
            k = rows.minus[m]
            value, size, error, slope = value - v[k], size + abs(v[k]), error + e[ERROR, k], slope + e[SLOPE, k]
        slot.margins[m] = rows.threshold[m] - value
        slot.margin_errors[m] = 2.0 * (error + 4.0 * UNIT_ROUNDOFF * size if size > 0.0 else error)
        slot.gradient_errors[m] = 2.0 * slot.roundings[j, OF_PATH] * slope


@allocating_kernel
def describe(code, slot, b):
    """Evaluate point b. Out: states, stored, rows, n_rows, margins and errors; unknown."""
    load_inputs(code, slot.points[b : b + 1], ZERO, TILE, slot.buffer)
    known = run_ops(code, TILE, ONE, slot.buffer, slot.states)
    n = list_rows(code, slot.states[0], slot.rows) if known else NONE
    slot.n_rows[0] = max(n, 0)
    if n < 0:
        slot.unknown[0] = 1
        return
    for i in range(1, n_ops(code)):
        lo, hi = code.op_table[i, ir.NEURON], code.op_table[i + 1, ir.NEURON]
        if hi > lo:
            from_source_order(code, i, slot.states[0, lo:hi], slot.stored[lo:hi])
    bound_errors(slot.absolute, slot.roundings, slot.options[LAST], slot.stored, slot.buffer, slot.bounds)
    measure_rows(code, slot)


@allocating_kernel
def push_directions(code, last, stored, first, n_inputs, buffer):
    """Compute the slopes of all values before op ``last`` in the input directions from ``first`` on; return their number."""
    x = rows_of(code, 0, TILE, buffer)
    fill_rows(x, 0.0)
    filled = min(TILE, n_inputs - first)
    for r in range(filled):
        x[r, code.indices[code.op_table[-1, ir.INPUTS] + first + r]] = 1.0
    for i in range(1, last):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            apply_linear(code, i, TILE, filled, buffer, PLAIN)
            continue
        x, y = rows_of(code, operand(code, i, 0), TILE, buffer), rows_of(code, i, TILE, buffer)
        for r in range(filled):
            select(code, i, stored[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]], x[r], y[r], True)
    return filled


@kernel
def tile_end(rows, first, n_rows, most):
    """Return the end of a tile of rows that compare values of one op: at most ``most`` from ``first`` on."""
    last = first + 1
    while last < n_rows and last - first < most and rows.operand[last] == rows.operand[first]:
        last += 1
    return last


@allocating_kernel
def pull_rows(code, stored, rows, first, last, reached, buffer):
    """Compute the gradients of rows of one op with respect to the input; they are the first rows of op 0 in the buffer."""
    top = rows.operand[first]
    fill(buffer[: TILE * code.op_table[top + 1, ir.VALUE]], 0.0)
    fill(reached, 0)
    g = rows_of(code, top, TILE, buffer)
    for m in range(first, last):
        if rows.plus[m] >= 0:
            g[m - first, rows.plus[m]] += 1.0
        if rows.minus[m] >= 0:
            g[m - first, rows.minus[m]] -= 1.0
    reached[top] = 1
    for i in range(top, 0, -1):
        if reached[i] == 0:
            continue
        for k in range(n_operands(code, i)):
            reached[operand(code, i, k)] = 1
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            add_adjoint(code, i, TILE, buffer)
            continue
        gy, gx = rows_of(code, i, TILE, buffer), rows_of(code, operand(code, i, 0), TILE, buffer)
        for r in range(last - first):
            of = stored[code.op_table[i, ir.NEURON] : code.op_table[i + 1, ir.NEURON]]
            add_select_adjoint(code, i, of, gy[r], gx[r])


@inlined_kernel
def _difference(y, plus, minus):
    """Return y[plus] - y[minus], without entries that are -1."""
    return (y[plus] if plus >= 0 else 0.0) - (y[minus] if minus >= 0 else 0.0)


@inlined_kernel
def _add_to_norms(norms, m, g):
    """Add an entry of a gradient to the norms of row m; squares are relative to the largest entry, so none underflows."""
    size = abs(g)
    if size == 0.0:
        return
    norms[m, L1] += size
    if size > norms[m, LARGEST]:
        ratio = norms[m, LARGEST] / size
        norms[m, SQUARES] = 1.0 + norms[m, SQUARES] * ratio * ratio
        norms[m, LARGEST] = size
    else:
        ratio = size / norms[m, LARGEST]
        norms[m, SQUARES] += ratio * ratio


@allocating_kernel
def gradients_of_tile(code, slot, first):
    """Compute the gradients of a tile; return the first item of the next. Out: gradients if it has rows, else norms."""
    rows, n_inputs, n_rows = slot.rows, slot.points.shape[1], slot.n_rows[0]
    kept, gradients = slot.gradients.shape[0] > 0, slot.gradients
    if slot.options[BY_ROWS] == 1:
        last = tile_end(rows, first, n_rows, TILE)
        pull_rows(code, slot.stored, rows, first, last, slot.reached, slot.buffer)
        x, inputs = rows_of(code, 0, TILE, slot.buffer), code.op_table[-1, ir.INPUTS]
        for m in range(first, last):
            for d in range(n_inputs):
                g = x[m - first, code.indices[inputs + d]]
                if kept:
                    gradients[m, d] = g
                else:
                    _add_to_norms(slot.norms, m, g)
        return last
    filled = push_directions(code, slot.options[LAST], slot.stored, first, n_inputs, slot.buffer)
    begin = ZERO
    while begin < n_rows:
        end = tile_end(rows, begin, n_rows, n_rows)
        y = rows_of(code, rows.operand[begin], TILE, slot.buffer)
        for r in range(filled):
            for m in range(begin, end):
                g = _difference(y[r], rows.plus[m], rows.minus[m])
                if kept:
                    gradients[m, first + r] = g
                else:
                    _add_to_norms(slot.norms, m, g)
        begin = end
    return first + filled


@inlined_kernel
def dual_norm(norms, m, norm):
    """Return the norm of row m's gradient that is dual to ``norm`` (1, 2, or 0 for inf)."""
    if norm == 2:
        return norms[m, LARGEST] * np.sqrt(norms[m, SQUARES])
    return norms[m, LARGEST] if norm == 1 else norms[m, L1]


@inlined_kernel
def lower_radius(margin, margin_error, dual, gradient_error, n_inputs):
    """Return a sound lower bound of margin / dual norm of the exact row."""
    room, slope = margin - margin_error, dual * (1.0 + 8.0 * (n_inputs + 8) * UNIT_ROUNDOFF) + gradient_error
    if slope == 0.0:
        return np.inf
    return max(room, 0.0) / slope * (1.0 - 16.0 * UNIT_ROUNDOFF)


@kernel
def find_nearest(slot, b):
    """Find the row that is nearest to point b; the lowest neuron wins ties. Out: radii, nearest."""
    radius, lower, neuron = np.inf, np.inf, NONE
    for m in range(slot.n_rows[0]):
        dual = dual_norm(slot.norms, m, slot.options[NORM])
        error = slot.gradient_errors[m]
        lower = min(lower, lower_radius(slot.margins[m], slot.margin_errors[m], dual, error, slot.points.shape[1]))
        if dual > 0.0 and (neuron < 0 or slot.margins[m] / dual < radius):
            radius, neuron = slot.margins[m] / dual, slot.rows.neuron[m]
    slot.radii[b, 0], slot.radii[b, 1], slot.nearest[b] = radius, min(lower, radius), neuron


@slot_kernel
def region_slot(slot):
    """Do what ``options`` says: describe points, compute gradients tile by tile, or compute the radii of points."""
    if slot.options[PHASE] == GRADIENTS:
        item = take_next(slot.next_item)
        while item < slot.tiles.shape[0]:
            gradients_of_tile(slot.code, slot, slot.tiles[item])
            item = take_next(slot.next_item)
        return
    b = take_next(slot.next_item)
    while b < slot.points.shape[0]:
        describe(slot.code, slot, b)
        if slot.options[PHASE] == RADII:
            fill_rows(slot.norms, 0.0)
            item, last = ZERO, slot.n_rows[0] if slot.options[BY_ROWS] == 1 else slot.points.shape[1]
            while item < last and slot.n_rows[0] > 0:
                item = gradients_of_tile(slot.code, slot, item)
            find_nearest(slot, b)
        b = take_next(slot.next_item)
