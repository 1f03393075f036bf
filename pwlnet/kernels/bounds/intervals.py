"""Intervals of the values of all ops, and the error weights of their linear bounds (``slot.py``)."""

import numpy as np

from .._jit import ONE, TWO, allocating_kernel, inlined_kernel, kernel
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, operand, rows_of, tap_position
from . import slot as bs
from .relaxations import pool_slope, relax_elementwise, relax_pool, thresholds, value_at

_UNIT = 2.0**-51


@inlined_kernel
def source_index(code, i, e):
    """Return the neuron (numbered over the network) of entry e (stored order) of switching op i."""
    channels = code.op_table[i, ir.CHANNELS]
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    return code.op_table[i, ir.NEURON] + (e % channels) * positions + e // channels


@kernel
def measure(slot, i):
    """Compute centres, radii and magnitudes of the outputs of op i from their intervals."""
    low, high = rows_of(slot.code, i, 1, slot.low)[0], rows_of(slot.code, i, 1, slot.high)[0]
    centre, sizes = rows_of(slot.code, i, 1, slot.centre)[0], rows_of(slot.code, i, 2, slot.sizes)
    for k in range(low.shape[0]):
        c = 0.5 * low[k] + 0.5 * high[k]
        r = max(high[k] - c, c - low[k])
        centre[k] = c
        sizes[0, k] = max(abs(low[k]), abs(high[k]))
        sizes[1, k] = r * (1.0 + _UNIT) if r > 0.0 else 0.0
        if not (np.isfinite(c) and np.isfinite(r)):
            centre[k], sizes[0, k], sizes[1, k] = 0.0, np.inf, np.inf


@allocating_kernel
def affine_interval(slot, i):
    """Compute the intervals and error weights of the outputs of affine op i; return whether the op is known."""
    code, kind = slot.code, slot.code.op_table[i, ir.OP]
    known = apply_linear(slot.absolute, i, TWO, TWO, slot.sizes, PLAIN)
    known = add_constant(slot.absolute, i, ONE, TWO, slot.sizes) and known
    low, high = rows_of(code, i, 1, slot.low)[0], rows_of(code, i, 1, slot.high)[0]
    sizes = rows_of(code, i, 2, slot.sizes)
    weights = rows_of(code, i, 1, slot.weights)[0]
    forward, backward, constant = slot.roundings[i, bs.FORWARD], slot.roundings[i, bs.BACKWARD], slot.roundings[i, bs.CONSTANT]
    first, n_biases = code.op_table[i, ir.BIAS], code.op_table[i, ir.N_BIASES]
    for k in range(low.shape[0]):
        weights[k] = backward * sizes[0, k] * (1.0 + 4.0 * forward) + bs.TINY
        if n_biases > 0:
            weights[k] += constant * abs(code.parameters[first + k % n_biases])
    if kind == ir.GATHER or kind == ir.CONCAT:  # copies: exact
        for ends in (slot.low, slot.high):
            apply_linear(code, i, ONE, ONE, ends, PLAIN)
            add_constant(code, i, ONE, ONE, ends)
        return known
    known = apply_linear(code, i, ONE, ONE, slot.centre, PLAIN) and known
    known = add_constant(code, i, ONE, ONE, slot.centre) and known
    centre = rows_of(code, i, 1, slot.centre)[0]
    for k in range(low.shape[0]):
        radius = (sizes[1, k] + forward * sizes[0, k]) * (1.0 + 4.0 * forward) + bs.TINY
        pad = _UNIT * (abs(centre[k]) + radius)
        low[k], high[k] = centre[k] - radius - pad, centre[k] + radius + pad
        if not (np.isfinite(low[k]) and np.isfinite(high[k])):
            low[k], high[k] = -np.inf, np.inf
    return known


@kernel
def input_interval(slot, b):
    """Load the box of set b, or that around its ball."""
    code = slot.code
    low, high = rows_of(code, 0, 1, slot.low)[0], rows_of(code, 0, 1, slot.high)[0]
    weights = rows_of(code, 0, 1, slot.weights)[0]
    for k in range(low.shape[0]):
        low[k] = high[k] = 0.0
    for d in range(slot.box_lower.shape[1]):
        k = code.indices[code.op_table[-1, ir.INPUTS] + d]
        low[k], high[k] = slot.box_lower[b, d], slot.box_upper[b, d]
    for k in range(low.shape[0]):
        weights[k] = slot.roundings[0, bs.CONSTANT] * max(abs(low[k]), abs(high[k])) + bs.TINY
    measure(slot, 0)


@kernel
def impose_known(slot, b, i, e, low, high):
    """Intersect the interval of pre-activation e of elementwise op i with what is known of it."""
    code, neuron = slot.code, source_index(slot.code, i, e)
    if slot.known_lower.shape[0] > 0:
        low[e] = max(low[e], slot.known_lower[b, neuron])
        high[e] = min(high[e], slot.known_upper[b, neuron])
    state = slot.known_states[b, neuron] if slot.known_states.shape[0] > 0 else np.int32(-1)
    if state >= 0:
        first, last = thresholds(code, i)
        if state > 0:
            low[e] = max(low[e], last if state == 2 else first)
        if state == 0 or (state == 1 and last > first):
            high[e] = min(high[e], last if state == 1 else first)
    if low[e] > high[e]:
        slot.empty[b] = 1
        high[e] = low[e]


@kernel
def elementwise_interval(slot, b, i):
    """Compute relaxations, proved states, intervals and error weights of the neurons of elementwise op i."""
    code, source = slot.code, operand(slot.code, i, 0)
    x_low, x_high = rows_of(code, source, 1, slot.low)[0], rows_of(code, source, 1, slot.high)[0]
    low, high = rows_of(code, i, 1, slot.low)[0], rows_of(code, i, 1, slot.high)[0]
    base, r = code.op_table[i, ir.VALUE], slot.relaxation
    backward, constant = slot.roundings[i, bs.BACKWARD], slot.roundings[i, bs.CONSTANT]
    for e in range(low.shape[0]):
        impose_known(slot, b, i, e, x_low, x_high)
        z0, z1 = x_low[e], x_high[e]
        slot.fixed[base + e] = relax_elementwise(code, i, e, z0, z1, base + e, r)
        first, last = value_at(code, i, e, z0), value_at(code, i, e, z1)
        low[e], high[e] = min(first, last), max(first, last)
        for kink in (r[bs.LOWER_KINK, base + e], r[bs.UPPER_KINK, base + e]):
            if not np.isnan(kink) and z0 <= kink <= z1:
                low[e], high[e] = min(low[e], value_at(code, i, e, kink)), max(high[e], value_at(code, i, e, kink))
        if slot.fixed[base + e] < 0 and np.isnan(r[bs.LOWER_KINK, base + e]) and np.isnan(r[bs.UPPER_KINK, base + e]):
            low[e] = min(low[e], r[bs.LOWER_INTERCEPT, base + e])
            high[e] = max(high[e], r[bs.UPPER_INTERCEPT, base + e])
        if code.op_table[i, ir.OP] == ir.LEAKY_RELU:
            low[e] -= _UNIT * abs(low[e]) + bs.TINY
            high[e] += _UNIT * abs(high[e]) + bs.TINY
        intercept = max(abs(r[bs.LOWER_INTERCEPT, base + e]), abs(r[bs.UPPER_INTERCEPT, base + e]))
        steepest = 0.0
        for row in (bs.LOWER_SLOPE, bs.UPPER_SLOPE, bs.LOWER_FIRST, bs.LOWER_LAST, bs.UPPER_FIRST, bs.UPPER_LAST):
            steepest = max(steepest, abs(r[row, base + e]))
        for row in (bs.LOWER_VALUE, bs.UPPER_VALUE):
            if slot.fixed[base + e] < 0 and not np.isnan(r[row - 1, base + e]):  # intercepts of other slopes
                intercept = max(intercept, abs(r[row, base + e]) + steepest * abs(r[row - 1, base + e]))
        size = max(abs(low[e]), abs(high[e]))
        z = steepest * max(abs(z0), abs(z1)) if steepest > 0.0 else 0.0
        slot.weights[base + e] = backward * z + constant * max(intercept, size) + bs.TINY


@kernel
def pool_interval(slot, b, i):
    """Compute relaxations, proved winners, intervals and error weights of the windows of MaxPool op i."""
    code, source, channels = slot.code, operand(slot.code, i, 0), slot.code.op_table[i, ir.CHANNELS]
    x_low, x_high = rows_of(code, source, 1, slot.low)[0], rows_of(code, source, 1, slot.high)[0]
    low, high = rows_of(code, i, 1, slot.low)[0], rows_of(code, i, 1, slot.high)[0]
    base, r = code.op_table[i, ir.VALUE], slot.relaxation
    backward, constant = slot.roundings[i, bs.BACKWARD], slot.roundings[i, bs.CONSTANT]
    for e in range(low.shape[0]):
        p, c, neuron = e // channels, e % channels, source_index(code, i, e)
        known = np.int64(slot.known_states[b, neuron]) if slot.known_states.shape[0] > 0 else np.int64(-1)
        tap, winner = relax_pool(code, i, p, c, x_low, x_high, known, base + e, r)
        slot.taps[base + e], slot.fixed[base + e] = tap, winner
        low[e] = high[e] = -np.inf
        slopes = 0.0
        for t in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
            q = tap_position(code, i, p, t)
            if q >= 0:
                x = q * channels + c
                low[e], high[e] = max(low[e], x_low[x]), max(high[e], x_high[x])
                size = max(abs(x_low[x]), abs(x_high[x]))
                if t == tap:
                    slopes += size
                elif not np.isnan(r[bs.UPPER_KINK, base + e]) and size > 0.0:
                    slopes += pool_slope(x_low[x], x_high[x], r[bs.UPPER_KINK, base + e]) * size
        if winner >= 0:
            x = tap_position(code, i, p, winner) * channels + c
            high[e] = min(high[e], x_high[x])
        if slot.known_lower.shape[0] > 0:
            low[e], high[e] = max(low[e], slot.known_lower[b, neuron]), min(high[e], slot.known_upper[b, neuron])
        if low[e] > high[e]:
            slot.empty[b] = 1
            high[e] = low[e]
        size = max(abs(low[e]), abs(high[e]))
        slot.weights[base + e] = 2.0 * backward * slopes + constant * (abs(r[bs.UPPER_INTERCEPT, base + e]) + size) + bs.TINY


@kernel
def set_interval(slot, b, i):
    """Compute the intervals of the outputs of op i; return whether the op is known."""
    kind, known = slot.code.op_table[i, ir.OP], True
    if kind < ir.FIRST_SWITCHING:
        known = affine_interval(slot, i)
    elif kind == ir.MAX_POOL:
        pool_interval(slot, b, i)
    elif kind == ir.RELU or kind == ir.LEAKY_RELU or kind == ir.CLIP:
        known = not np.isnan(thresholds(slot.code, i)[0])
        elementwise_interval(slot, b, i)
    else:
        known = False
    return known
