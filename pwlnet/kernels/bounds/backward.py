"""Linear lower bounds of rows of coefficients, pushed from an op back to the inputs.

A row g on the outputs y of an op stands for the number ``g . y``; its lower bound is ``g' . x + constant - slack`` with
coefficients g' on the inputs. An upper bound is minus the lower bound of -g. Neurons are replaced by their linear bounds
(``relaxations.py``); the sign of a coefficient tells which one (Zhang et al., NeurIPS 2018, Section 3; Singh et al., POPL 2019,
Section 4.3). How rounding errors are bounded: ``slot.py``.

Legend: R rows, D inputs.
"""

import numpy as np

from .._jit import inlined_kernel, kernel, summing_kernel
from ..ir import program as ir
from ..ir.affine import n_operands, operand, rows_of, tap_position
from . import slot as bs
from .adjoint import BOTTOM, LEFT, RIGHT, TOP, add_affine_adjoint, extend_like, extend_to_all, extend_to_window
from .relaxations import pool_slope

_UNIT = 2.0**-51


@summing_kernel
def _sizes(g, weights):
    """Return ``|g| . weights``."""
    total = 0.0
    for k in range(g.shape[0]):
        total += abs(g[k]) * weights[k]
    return total


@summing_kernel
def _dot(g, x):
    """Return ``g . x``."""
    total = 0.0
    for k in range(g.shape[0]):
        total += g[k] * x[k]
    return total


@summing_kernel
def least_over_box(g, low, high):
    """Return the minimum of ``g . x`` over a box."""
    total = 0.0
    for k in range(g.shape[0]):
        total += g[k] * (low[k] if g[k] >= 0.0 else high[k])
    return total


@summing_kernel
def _relax(g, lower_slope, lower_intercept, upper_slope, upper_intercept, gx):
    """Add the coefficients of one row on the pre-activations to gx; return the constant."""
    total = 0.0
    for k in range(g.shape[0]):
        f = g[k]
        gx[k] += f * (lower_slope[k] if f >= 0.0 else upper_slope[k])
        t = f * (lower_intercept[k] if f >= 0.0 else upper_intercept[k])
        total += t if f != 0.0 else 0.0
    return total


@inlined_kernel
def slope_of_row(slot, e, f, place):
    """Return slope and intercept of neuron e for coefficient f and the place of its slope in its range."""
    r = slot.relaxation
    base = bs.LOWER_FIRST if f >= 0.0 else bs.UPPER_FIRST
    kink = r[base + 2, e]
    if np.isnan(kink) or slot.fixed[e] >= 0:
        return (
            (r[bs.LOWER_SLOPE, e], r[bs.LOWER_INTERCEPT, e]) if f >= 0.0 else (r[bs.UPPER_SLOPE, e], r[bs.UPPER_INTERCEPT, e])
        )
    first, last = min(r[base, e], r[base + 1, e]), max(r[base, e], r[base + 1, e])
    slope = min(max(first + place * (last - first), first), last)
    value = r[base + 3, e]
    if kink == 0.0 and value == 0.0:
        return slope, 0.0
    shift = slope * kink
    pad = _UNIT * (abs(value) + abs(shift)) + bs.TINY
    return slope, (value - shift) - (pad if f >= 0.0 else -pad)


@kernel
def _relax_rows(slot, i, rows):
    """Push the rows through the neurons of elementwise op i."""
    code, j, area = slot.code, operand(slot.code, i, 0), slot.rectangle[i]
    extend_like(slot, i, j, rows)
    gy, gx = rows_of(code, i, rows, slot.coefficients), rows_of(code, j, rows, slot.coefficients)
    channels, width, base, r = (
        code.op_table[i, ir.CHANNELS],
        code.op_table[i, ir.WIDTH],
        code.op_table[i, ir.VALUE],
        slot.relaxation,
    )
    for row in range(rows):
        for y in range(area[TOP], area[BOTTOM]):
            a, b = (y * width + area[LEFT]) * channels, (y * width + area[RIGHT]) * channels
            if slot.alpha.shape[1] == 0:
                slot.constants[row] += _relax(
                    gy[row, a:b],
                    r[bs.LOWER_SLOPE, base + a : base + b],
                    r[bs.LOWER_INTERCEPT, base + a : base + b],
                    r[bs.UPPER_SLOPE, base + a : base + b],
                    r[bs.UPPER_INTERCEPT, base + a : base + b],
                    gx[row, a:b],
                )
                continue
            for k in range(a, b):
                f = gy[row, k]
                if f != 0.0:
                    place = slot.alpha[0 if f >= 0.0 else 1, rows * base + row * gy.shape[1] + k]
                    slope, intercept = slope_of_row(slot, base + k, f, place)
                    gx[row, k] += f * slope
                    slot.constants[row] += f * intercept


@kernel
def _relax_windows(slot, i, rows):
    """Push the rows through the windows of MaxPool op i."""
    code, j, area = slot.code, operand(slot.code, i, 0), slot.rectangle[i]
    extend_to_window(slot, i, rows)
    gy, gx = rows_of(code, i, rows, slot.coefficients), rows_of(code, j, rows, slot.coefficients)
    low, high = rows_of(code, j, 1, slot.low)[0], rows_of(code, j, 1, slot.high)[0]
    channels, width, base, relaxation = (
        code.op_table[i, ir.CHANNELS],
        code.op_table[i, ir.WIDTH],
        code.op_table[i, ir.VALUE],
        slot.relaxation,
    )
    for y in range(area[TOP], area[BOTTOM]):
        for p in range(y * width + area[LEFT], y * width + area[RIGHT]):
            for c in range(channels):
                e = base + p * channels + c
                threshold = relaxation[bs.UPPER_KINK, e]
                at = tap_position(code, i, p, slot.taps[e]) * channels + c
                for row in range(rows):
                    f = gy[row, p * channels + c]
                    if f >= 0.0 or slot.fixed[e] >= 0:
                        gx[row, at] += f
                        continue
                    slot.constants[row] += f * relaxation[bs.UPPER_INTERCEPT, e]
                    if np.isnan(threshold):
                        continue
                    for t in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
                        q = tap_position(code, i, p, t)
                        if q >= 0:
                            x = q * channels + c
                            gx[row, x] += f * pool_slope(low[x], high[x], threshold)


@kernel
def _add_constants(slot, i, rows):
    """Add ``g . b`` of affine op i to the constants of the rows; return whether the op is known."""
    code, area = slot.code, slot.rectangle[i]
    first, n = code.op_table[i, ir.BIAS], code.op_table[i, ir.N_BIASES]
    gy = rows_of(code, i, rows, slot.coefficients)
    channels, width = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH]
    if n == 0:
        return True
    kind, index = code.op_table[i, ir.OP], code.op_table[i, ir.INDEX]
    gather = kind == ir.GATHER
    if not gather and kind != ir.AFFINE and kind != ir.CONV2D and kind != ir.SCALE:
        return False
    for row in range(rows):
        for y in range(area[TOP], area[BOTTOM]):
            a, b = (y * width + area[LEFT]) * channels, (y * width + area[RIGHT]) * channels
            if gather:
                for k in range(a, b):
                    if code.indices[index + k] < 0:
                        slot.constants[row] += gy[row, k] * code.parameters[first + k]
            elif n == gy.shape[1]:
                slot.constants[row] += _dot(gy[row, a:b], code.parameters[first + a : first + b])
            else:
                for k in range(a, b, n):
                    slot.constants[row] += _dot(gy[row, k : k + n], code.parameters[first : first + n])
    return True


@kernel
def _add_slack(slot, i, rows):
    """Add the error bounds of op i to the slack of the rows."""
    code, area = slot.code, slot.rectangle[i]
    gy = rows_of(code, i, rows, slot.coefficients)
    channels, width, base = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH], code.op_table[i, ir.VALUE]
    for row in range(rows):
        for y in range(area[TOP], area[BOTTOM]):
            a, b = (y * width + area[LEFT]) * channels, (y * width + area[RIGHT]) * channels
            slot.slack[row] += _sizes(gy[row, a:b], slot.weights[base + a : base + b])


@kernel
def _stop_at(slot, i, rows):
    """Add the minima of the rows over the intervals of the outputs of op i to the constants."""
    code, area = slot.code, slot.rectangle[i]
    gy = rows_of(code, i, rows, slot.coefficients)
    channels, width, base = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH], code.op_table[i, ir.VALUE]
    for row in range(rows):
        for y in range(area[TOP], area[BOTTOM]):
            a, b = (y * width + area[LEFT]) * channels, (y * width + area[RIGHT]) * channels
            slot.constants[row] += least_over_box(gy[row, a:b], slot.low[base + a : base + b], slot.high[base + a : base + b])


@kernel
def dual_norm(g, norm):
    """Return an upper bound of the norm of g that is dual to the l1 norm (1) or the l2 norm (2)."""
    largest, total = 0.0, 0.0
    for k in range(g.shape[0]):
        largest = max(largest, abs(g[k]))
    if norm == 1 or largest == 0.0 or not np.isfinite(largest):
        return largest
    for k in range(g.shape[0]):
        f = g[k] / largest
        total += f * f
    return largest * np.sqrt(total) * (1.0 + (g.shape[0] + 8) * _UNIT) + bs.TINY


@kernel
def _over_inputs(slot, b, row, rows):
    """Return the minimum of a row over the inputs of set b."""
    g = rows_of(slot.code, 0, rows, slot.coefficients)[row]
    low, high = rows_of(slot.code, 0, 1, slot.low)[0], rows_of(slot.code, 0, 1, slot.high)[0]
    if slot.options[bs.NORM] == 0:
        return least_over_box(g, low, high)
    total, first = 0.0, slot.code.op_table[-1, ir.INPUTS]
    for d in range(slot.centers.shape[1]):
        total += g[slot.code.indices[first + d]] * slot.centers[b, d]
    return total - slot.radii[b] * dual_norm(g, slot.options[bs.NORM]) * (1.0 + _UNIT)


@kernel
def lower_bounds(slot, b, last, rows):
    """Compute lower bounds of the rows, whose coefficients are those of op ``last`` in its rectangle.

    Out: ``row_bounds``; -inf where a number is not finite. Coefficients of all ops before it, and their rectangles, are kept.
    Return whether all ops are known.
    """
    code, known = slot.code, True
    for row in range(rows):
        slot.constants[row] = slot.slack[row] = 0.0
    underflow = bs.TINY
    for i in range(last, -1, -1):
        if slot.rectangle[i, BOTTOM] <= slot.rectangle[i, TOP]:
            continue
        if i == 0:
            extend_to_all(slot, 0, rows)
        _add_slack(slot, i, rows)
        kind = code.op_table[i, ir.OP]
        if i == 0:
            continue
        for o in range(n_operands(code, i)):
            sizes = rows_of(code, operand(code, i, o), 2, slot.sizes)[0]
            for k in range(sizes.shape[0]):
                underflow += slot.roundings[i, bs.UNDERFLOW] * sizes[k]
        if kind < ir.FIRST_SWITCHING:
            known = _add_constants(slot, i, rows) and known
            known = add_affine_adjoint(slot, i, rows) and known
        elif slot.options[bs.METHOD] == bs.IBP:
            _stop_at(slot, i, rows)
        elif kind == ir.MAX_POOL:
            _relax_windows(slot, i, rows)
        elif kind == ir.RELU or kind == ir.LEAKY_RELU or kind == ir.CLIP:
            _relax_rows(slot, i, rows)
        else:
            known = False
    reaches_inputs = slot.rectangle[0, BOTTOM] > slot.rectangle[0, TOP]
    for row in range(rows):
        value = _over_inputs(slot, b, row, rows) if reaches_inputs else 0.0
        slack = slot.slack[row] * bs.ROUND_UP
        bound = slot.constants[row] + value - slack
        bound -= _UNIT * (abs(slot.constants[row]) + abs(value) + slack) + underflow
        slot.row_bounds[row] = bound if np.isfinite(bound) else -np.inf
    return known
