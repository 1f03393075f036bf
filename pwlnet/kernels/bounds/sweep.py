"""Bounds of all values of a network over sets of inputs, op by op from the inputs on.

Intervals come first; where a switching op reads an op's outputs, linear bounds of these tighten the intervals, and the ops
after it use the tightened ones. Each slot takes the next set that no slot has taken, so results do not depend on the number
of slots.
"""

import numpy as np

from .._atomic import take_next
from .._jit import allocating_kernel, kernel, slot_kernel
from ..arrays import fill, fill_rows
from ..ir import program as ir
from ..ir.affine import n_ops, operand, rows_of, tap_position
from . import slot as bs
from .adjoint import extend
from .backward import lower_bounds
from .intervals import input_interval, measure, set_interval, source_index
from .relaxations import has_windows, thresholds
from .slopes import improve_bounds


@kernel
def _start_rows(slot, i, n):
    """Load rows e and -e for the n chosen entries of op i: rows float64[2 n, ...], zero elsewhere."""
    code, rows = slot.code, 2 * n
    channels, width = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH]
    fill_rows(slot.rectangle, 0)
    top, bottom, left, right = code.op_table[i, ir.HEIGHT], 0, width, 0
    for k in range(n):
        p = slot.chosen[k] // channels
        top, bottom = min(top, p // width), max(bottom, p // width + 1)
        left, right = min(left, p % width), max(right, p % width + 1)
    extend(slot, i, rows, top, bottom, left, right)
    g = rows_of(code, i, rows, slot.coefficients)
    for k in range(n):
        g[k, slot.chosen[k]] = 1.0
        g[n + k, slot.chosen[k]] = -1.0


@allocating_kernel
def _bound_rows(slot, b, i, rows):
    """Compute the lower bounds of the rows of op i, and improve their slopes if requested; return whether all ops are known."""
    if slot.alpha.shape[1] > 0 and slot.options[bs.N_STEPS] > 0:
        return improve_bounds(slot, b, i, rows)
    return lower_bounds(slot, b, i, rows)


@allocating_kernel
def _tighten_chosen(slot, b, i, n):
    """Tighten the intervals of the n chosen entries of op i by linear bounds; return whether all ops are known."""
    _start_rows(slot, i, n)
    known = _bound_rows(slot, b, i, 2 * n)
    low, high = rows_of(slot.code, i, 1, slot.low)[0], rows_of(slot.code, i, 1, slot.high)[0]
    for k in range(n):
        e = slot.chosen[k]
        low[e], high[e] = max(low[e], slot.row_bounds[k]), min(high[e], -slot.row_bounds[n + k])
        if low[e] > high[e]:
            slot.empty[b] = 1
            high[e] = low[e]
    return known


@kernel
def _is_open(slot, b, i, e):
    """Return whether the interval of entry e of op i leaves the state of its first reader's neuron open."""
    reader = slot.plan[i, bs.FIRST_READER]
    if slot.options[bs.ONLY_OPEN] == 0 or reader < 0:
        return True
    first, last = thresholds(slot.code, reader)
    if not first <= last:  # not an elementwise op
        return True
    if slot.known_states.shape[0] > 0 and slot.known_states[b, source_index(slot.code, reader, e)] >= 0:
        return False
    low, high = rows_of(slot.code, i, 1, slot.low)[0, e], rows_of(slot.code, i, 1, slot.high)[0, e]
    return low < first < high or low < last < high


@allocating_kernel
def _tighten(slot, b, i):
    """Tighten the intervals of the outputs of op i, a block of neighbouring entries at a time."""
    code, known, n = slot.code, True, 0
    channels, width = code.op_table[i, ir.CHANNELS], code.op_table[i, ir.WIDTH]
    size = channels * width * code.op_table[i, ir.HEIGHT]
    for e in range(size):
        if _is_open(slot, b, i, e):
            slot.chosen[n] = e
            n += 1
        # entries of one position, or of as many neighbouring positions as fill half a block, share a rectangle
        ends = e + 1 == size or n == slot.options[bs.BLOCK]
        if (e + 1) % channels == 0 and n > 0 and size > channels:
            ends = ends or n + channels > slot.options[bs.BLOCK] or (e + 1) % (channels * width) == 0 or 2 * n >= 64
        if ends and n > 0:
            known = _tighten_chosen(slot, b, i, n) and known
            n = 0
    return known


@allocating_kernel
def _decide_windows(slot, b, i):
    """Prove winners of the windows of MaxPool op i by linear bounds of differences between taps."""
    code, j, known = slot.code, operand(slot.code, i, 0), True
    channels, width, base = code.op_table[i, ir.CHANNELS], code.op_table[j, ir.WIDTH], code.op_table[i, ir.VALUE]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    high, low = rows_of(code, j, 1, slot.high)[0], rows_of(code, j, 1, slot.low)[0]
    if taps > slot.options[bs.BLOCK]:
        return known
    for e in range(code.op_table[i + 1, ir.VALUE] - base):
        p, c, n, best = e // channels, e % channels, 0, slot.taps[base + e]
        if slot.fixed[base + e] >= 0:
            continue
        winner = tap_position(code, i, p, best) * channels + c
        top, bottom, left, right = code.op_table[j, ir.HEIGHT], 0, width, 0
        for tap in range(taps):
            q = tap_position(code, i, p, tap)
            if q >= 0:
                top, bottom = min(top, q // width), max(bottom, q // width + 1)
                left, right = min(left, q % width), max(right, q % width + 1)
                if tap != best and high[q * channels + c] > low[winner]:
                    slot.chosen[n] = q * channels + c
                    n += 1
        fill_rows(slot.rectangle, 0)
        extend(slot, j, n, top, bottom, left, right)
        g = rows_of(code, j, n, slot.coefficients)
        for k in range(n):
            g[k, winner], g[k, slot.chosen[k]] = 1.0, -1.0
        known = _bound_rows(slot, b, j, n) and known
        wins = True
        for k in range(n):
            wins = wins and slot.row_bounds[k] >= 0.0
        if wins:
            slot.fixed[base + e] = best
            out_high = rows_of(code, i, 1, slot.high)[0]
            out_high[e] = min(out_high[e], high[winner])
    return known


@allocating_kernel
def _bound_specification(slot, b):
    """Bound the rows ``C y + d`` of the specification, and keep the slopes of the lower bounds."""
    code, last, known = slot.code, n_ops(slot.code) - 1, True
    block = min(slot.options[bs.BLOCK], max(1, slot.specification.shape[0]))
    ends_low, ends_high = rows_of(code, last, 1, slot.low)[0], rows_of(code, last, 1, slot.high)[0]
    for first in range(0, slot.specification.shape[0], block):
        n = min(block, slot.specification.shape[0] - first)
        fill_rows(slot.rectangle, 0)
        extend(slot, last, 2 * n, 0, code.op_table[last, ir.HEIGHT], 0, code.op_table[last, ir.WIDTH])
        g = rows_of(code, last, 2 * n, slot.coefficients)
        for k in range(n):
            for o in range(slot.specification.shape[1]):
                e = code.indices[code.op_table[-1, ir.OUTPUTS] + o]
                g[k, e] += slot.specification[first + k, o]
                g[n + k, e] -= slot.specification[first + k, o]
        known = _bound_rows(slot, b, last, 2 * n) and known
        inputs = rows_of(code, 0, 2 * n, slot.coefficients)
        for k in range(n):
            shift, low, high = slot.offsets[first + k], slot.row_bounds[k], -slot.row_bounds[n + k]
            pad = abs(low) + abs(shift) + abs(high)
            for o in range(
                slot.specification.shape[1]
            ):  # several outputs may read one entry, whose coefficient is a rounded sum
                e = code.indices[code.op_table[-1, ir.OUTPUTS] + o]
                size = max(abs(ends_low[e]), abs(ends_high[e]))
                pad += abs(slot.specification[first + k, o]) * size * slot.specification.shape[1]
            pad = 2.0**-51 * pad + bs.TINY
            slot.spec_lower[b, first + k] = low + shift - pad if np.isfinite(low) and np.isfinite(pad) else -np.inf
            slot.spec_upper[b, first + k] = high + shift + pad if np.isfinite(high) and np.isfinite(pad) else np.inf
            for d in range(slot.slopes.shape[2] if slot.slopes.shape[0] > 0 else 0):
                reached = slot.rectangle[0, 1] > slot.rectangle[0, 0]
                slot.slopes[b, first + k, d] = inputs[k, code.indices[code.op_table[-1, ir.INPUTS] + d]] if reached else 0.0
    return known


@kernel
def _store(slot, b):
    """Store the bounds of set b in source order."""
    code, last = slot.code, n_ops(slot.code) - 1
    for i in range(1, last + 1):
        if code.op_table[i, ir.OP] >= ir.FIRST_SWITCHING:
            x = i if has_windows(code, i) else operand(code, i, 0)
            low, high = rows_of(code, x, 1, slot.low)[0], rows_of(code, x, 1, slot.high)[0]
            base = code.op_table[i, ir.VALUE]
            for e in range(code.op_table[i + 1, ir.VALUE] - base):
                k = source_index(code, i, e)
                slot.lower[b, k], slot.upper[b, k] = low[e], high[e]
                slot.states[b, k] = np.int32(slot.fixed[base + e])
    low, high = rows_of(code, last, 1, slot.low)[0], rows_of(code, last, 1, slot.high)[0]
    for o in range(slot.output_lower.shape[1]):
        e = code.indices[code.op_table[-1, ir.OUTPUTS] + o]
        slot.output_lower[b, o], slot.output_upper[b, o] = low[e], high[e]


@allocating_kernel
def _bound_set(slot, b):
    """Bound all values over set b; return whether all ops are known."""
    code, method, last = slot.code, slot.options[bs.METHOD], n_ops(slot.code) - 1
    fill(slot.fixed, -1)
    input_interval(slot, b)
    known = True
    for i in range(1, last + 1):
        known = set_interval(slot, b, i) and known
        if not known:
            return False
        is_target, exact = slot.plan[i, bs.TARGET] == 1, slot.plan[i, bs.EXACT] == 1
        linear = (method == bs.CROWN and is_target) or (method != bs.IBP and i == last)
        if (linear and not exact) or (exact and slot.options[bs.NORM] != 0 and (is_target or i == last)):
            known = _tighten(slot, b, i) and known
        if method == bs.CROWN and has_windows(code, i):
            known = _decide_windows(slot, b, i) and known
        measure(slot, i)
    known = _bound_specification(slot, b) and known
    _store(slot, b)
    return known


@slot_kernel
def bound_slot(slot):
    """Bound the values over sets, each time the next one that no slot has taken. Out: lower, upper, ... of BoundSlot."""
    b = take_next(slot.next_item)
    while b < slot.box_lower.shape[0]:
        if not _bound_set(slot, b):
            slot.unknown[0] = 1
        b = take_next(slot.next_item)
