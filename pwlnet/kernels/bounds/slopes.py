"""Better slopes of the linear bounds of neurons, by projected gradient ascent (alpha-CROWN).

Each row has slopes of its own: the place of a slope in its range of valid ones, in [0, 1]. The lower bound of a row, as a
function of the slope at a neuron, has the derivative ``f (z - kink)``: f is the row's coefficient on the neuron, z the neuron's
pre-activation at the minimum over the inputs, in the network whose neurons are replaced by the linear bounds that the row uses
(Xu et al., "Fast and Complete: Enabling Complete Verification with Rapid and Massively Parallel Incomplete Verifiers", ICLR
2021, Section 3.1; the derivative by the envelope theorem). Every step gives a sound bound; the best one of each row is kept.
The first step has the slopes of CROWN, so that no bound is worse than CROWN's.
"""

import numpy as np

from .._jit import allocating_kernel, inlined_kernel, kernel
from ..arrays import copy_into, fill
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, n_ops, operand, rows_of, tap_position
from . import slot as bs
from .adjoint import BOTTOM, LEFT, RIGHT, TOP
from .backward import lower_bounds, slope_of_row
from .relaxations import has_windows, pool_slope

FIRST_STEP, SHRINK = 0.5, 0.9  # of the steps, in units of the range of slopes


@inlined_kernel
def _is_elementwise(code, i):
    return code.op_table[i, ir.OP] >= ir.FIRST_SWITCHING and not has_windows(code, i)


@kernel
def _start_places(slot, last, rows):
    """Set all slopes to those of CROWN."""
    code, r = slot.code, slot.relaxation
    for i in range(1, last + 1):
        base, n = code.op_table[i, ir.VALUE], code.op_table[i + 1, ir.VALUE] - code.op_table[i, ir.VALUE]
        if not _is_elementwise(code, i):
            continue
        for side in range(2):
            start, slope = (bs.LOWER_FIRST, bs.LOWER_SLOPE) if side == 0 else (bs.UPPER_FIRST, bs.UPPER_SLOPE)
            for k in range(n):
                first, end = min(r[start, base + k], r[start + 1, base + k]), max(r[start, base + k], r[start + 1, base + k])
                place = 0.0 if r[slope, base + k] == first or not end > first else 1.0
                for row in range(rows):
                    slot.alpha[side, rows * base + row * n + k] = place


@kernel
def _minimisers(slot, b, rows):
    """Load the point of set b at which each row is least as the input of the relaxed network."""
    code, reached = slot.code, slot.rectangle[0, BOTTOM] > slot.rectangle[0, TOP]
    x, g = rows_of(code, 0, rows, slot.values), rows_of(code, 0, rows, slot.coefficients)
    low, high = rows_of(code, 0, 1, slot.low)[0], rows_of(code, 0, 1, slot.high)[0]
    for row in range(rows):
        for k in range(x.shape[1]):
            x[row, k] = (low[k] if g[row, k] >= 0.0 else high[k]) if reached else low[k]
        if slot.options[bs.NORM] == 0 or not reached:
            continue
        largest, at, total = 0.0, 0, 0.0
        for k in range(x.shape[1]):
            total += g[row, k] * g[row, k]
            if abs(g[row, k]) > largest:
                largest, at = abs(g[row, k]), k
        for d in range(slot.centers.shape[1]):
            k = code.indices[code.op_table[-1, ir.INPUTS] + d]
            x[row, k] = slot.centers[b, d]
            if slot.options[bs.NORM] == 2 and total > 0.0:
                x[row, k] -= slot.radii[b] * g[row, k] / np.sqrt(total)
            elif slot.options[bs.NORM] == 1 and k == at and largest > 0.0:
                x[row, k] -= slot.radii[b] * (1.0 if g[row, k] > 0.0 else -1.0)


@kernel
def _follow_neurons(slot, i, rows):
    """Evaluate elementwise op i by the linear bounds that each row uses."""
    code, base = slot.code, slot.code.op_table[i, ir.VALUE]
    x, y = rows_of(code, operand(code, i, 0), rows, slot.values), rows_of(code, i, rows, slot.values)
    g, used = rows_of(code, i, rows, slot.coefficients), slot.rectangle[i, BOTTOM] > slot.rectangle[i, TOP]
    for row in range(rows):
        for k in range(y.shape[1]):
            f = g[row, k] if used and _inside(slot, i, k) else 0.0
            place = slot.alpha[0 if f >= 0.0 else 1, rows * base + row * y.shape[1] + k]
            slope, intercept = slope_of_row(slot, base + k, f, place)
            y[row, k] = slope * x[row, k] + intercept


@inlined_kernel
def _inside(slot, i, k):
    """Return whether entry k of op i lies in the rectangle of its coefficients."""
    p, area = k // slot.code.op_table[i, ir.CHANNELS], slot.rectangle[i]
    y, x = p // slot.code.op_table[i, ir.WIDTH], p % slot.code.op_table[i, ir.WIDTH]
    return area[TOP] <= y < area[BOTTOM] and area[LEFT] <= x < area[RIGHT]


@kernel
def _follow_windows(slot, i, rows):
    """Evaluate MaxPool op i by the linear bounds that each row uses."""
    code, j, base, r = slot.code, operand(slot.code, i, 0), slot.code.op_table[i, ir.VALUE], slot.relaxation
    x, y = rows_of(code, j, rows, slot.values), rows_of(code, i, rows, slot.values)
    g, used = rows_of(code, i, rows, slot.coefficients), slot.rectangle[i, BOTTOM] > slot.rectangle[i, TOP]
    low, high = rows_of(code, j, 1, slot.low)[0], rows_of(code, j, 1, slot.high)[0]
    channels = code.op_table[i, ir.CHANNELS]
    for k in range(y.shape[1]):
        p, c, e = k // channels, k % channels, base + k
        at = tap_position(code, i, p, slot.taps[e]) * channels + c
        for row in range(rows):
            f = g[row, k] if used and _inside(slot, i, k) else 0.0
            y[row, k] = x[row, at]
            if f < 0.0 and slot.fixed[e] < 0:
                y[row, k] = r[bs.UPPER_INTERCEPT, e]
                for t in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
                    q = tap_position(code, i, p, t)
                    if q >= 0 and not np.isnan(r[bs.UPPER_KINK, e]):
                        z = q * channels + c
                        y[row, k] += pool_slope(low[z], high[z], r[bs.UPPER_KINK, e]) * x[row, z]


@allocating_kernel
def _follow(slot, b, last, rows):
    """Evaluate the relaxed network of each row at its minimum, up to op ``last``; return whether all ops are known."""
    code, known = slot.code, True
    _minimisers(slot, b, rows)
    for i in range(1, last):
        if code.op_table[i, ir.OP] < ir.FIRST_SWITCHING:
            known = apply_linear(code, i, rows, rows, slot.values, PLAIN) and known
            known = add_constant(code, i, rows, rows, slot.values) and known
        elif has_windows(code, i):
            _follow_windows(slot, i, rows)
        else:
            _follow_neurons(slot, i, rows)
    return known


@kernel
def _step(slot, last, rows, size):
    """Move all slopes along the signs of their derivatives."""
    code, r = slot.code, slot.relaxation
    for i in range(1, last + 1):
        if not _is_elementwise(code, i) or slot.rectangle[i, BOTTOM] <= slot.rectangle[i, TOP]:
            continue
        base = code.op_table[i, ir.VALUE]
        g, x = rows_of(code, i, rows, slot.coefficients), rows_of(code, operand(code, i, 0), rows, slot.values)
        for k in range(g.shape[1]):
            if slot.fixed[base + k] >= 0 or not _inside(slot, i, k):
                continue
            for row in range(rows):
                f = g[row, k]
                side = 0 if f >= 0.0 else 1
                kink = r[bs.LOWER_KINK if side == 0 else bs.UPPER_KINK, base + k]
                change = f * (x[row, k] - kink)
                if f != 0.0 and change != 0.0 and not np.isnan(change):
                    at = rows * base + row * g.shape[1] + k
                    moved = slot.alpha[side, at] + (size if change > 0.0 else -size)
                    slot.alpha[side, at] = min(max(moved, 0.0), 1.0)


@allocating_kernel
def improve_bounds(slot, b, last, rows):
    """Compute lower bounds of the rows that op ``last`` has, with optimised slopes. Out: ``row_bounds``.

    Coefficients and rectangles are those of the last step. Return whether all ops are known.
    """
    code, size, known = slot.code, FIRST_STEP, True
    start = rows_of(code, last, rows, slot.coefficients)
    kept, best = start.copy(), np.full(rows, -np.inf)
    area = slot.rectangle[last].copy()
    _start_places(slot, last, rows)
    for step in range(slot.options[bs.N_STEPS] + 1):
        if step > 0:
            known = _follow(slot, b, last, rows) and known
            _step(slot, last, rows, size)
            size *= SHRINK
            for i in range(n_ops(code)):
                fill(slot.rectangle[i], 0)
            copy_into(area, slot.rectangle[last])
            for row in range(rows):
                copy_into(kept[row], start[row])
        known = lower_bounds(slot, b, last, rows) and known
        for row in range(rows):
            best[row] = max(best[row], slot.row_bounds[row])
    copy_into(best, slot.row_bounds)
    return known
