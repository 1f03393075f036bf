"""The channels of one position during its scan: pieces, rounding bounds, states at the window's ends.

Each channel has a *slot*: an entry of the rows of work.channels and work.channel_labels. A neuron that stays exactly at a
threshold is on the outer piece (ReLU: inactive), and is *pinned* there until its slope changes.

Legend: C channels, n breakpoints of the position.
"""

import numpy as np

from .._jit import inlined_kernel, kernel
from ..ir import program as ir
from ..ir.affine import operand, rows_of
from ..ir.switching import piece, state_of
from . import workspace as ws
from .closeness import look_closer, neuron_number
from .rounding import SINGLE_LARGE, SINGLE_ROUNDOFF, SINGLE_TINY, UNIT_ROUNDOFF, decision_bounds, float32_variance, out_of_range
from .workspace import has_float32_slopes


@inlined_kernel
def piece_range(code, i, state):
    """Return the range of pre-activations for which a neuron of op i is in a state: (low, high); NaN if the op is unknown."""
    kind = code.op_table[i, ir.OP]
    if kind == ir.CLIP:
        low = -np.inf if state == 0 else code.parameters[code.op_table[i, ir.COEFFICIENTS] + state - 1]
        high = np.inf if state == 2 else code.parameters[code.op_table[i, ir.COEFFICIENTS] + state]
        return low, high
    if kind != ir.RELU and kind != ir.LEAKY_RELU:
        return np.nan, np.nan
    return (0.0, np.inf) if state == 1 else (-np.inf, 0.0)


@inlined_kernel
def resolve_contact(code, i, z, slope, tolerance, slope_tolerance):
    """Decide the state just after a moment with pre-activation z and a slope: (state, z, slope), set to the threshold or 0.

    The state is -1 if the op is unknown.
    """
    kind = code.op_table[i, ir.OP]
    if kind != ir.CLIP and kind != ir.RELU and kind != ir.LEAKY_RELU:
        return -1, z, slope
    n_thresholds = 2 if kind == ir.CLIP else 1
    for k in range(n_thresholds):
        threshold = code.parameters[code.op_table[i, ir.COEFFICIENTS] + k] if kind == ir.CLIP else 0.0
        if abs(z - threshold) <= tolerance:
            if slope > slope_tolerance:
                return k + 1, threshold, slope
            if slope < -slope_tolerance:
                return k, threshold, slope
            return 2 * k, threshold, 0.0  # stays at the threshold: the outer piece
    return state_of(code, i, z), z, slope


@inlined_kernel
def float32_tolerance(code, work, j, k, rounding):
    """Return the bound of the error of entry k of op j from float32 slope changes; 0 in float64."""
    return rounding * np.sqrt(float32_variance(code, work, j)[k]) if has_float32_slopes(work) else 0.0


@inlined_kernel
def set_piece(code, work, i, p, k):
    """Set gain and range of slot k for its state; return whether the slot is pinned at a threshold."""
    low, high = piece_range(code, i, work.channel_labels[ws.STATE, k])
    c = work.channel_labels[ws.CHANNEL, k]
    slope, _ = piece(code, i, p * code.op_table[i, ir.CHANNELS] + c, work.channel_labels[ws.STATE, k])
    if work.channel_labels[ws.STATE, k] < 0 or not low < high or slope != slope:
        work.counts[ws.STATUS] = ws.UNKNOWN_OP
    work.channels[ws.GAIN, k] = slope
    if work.channels[ws.SLOPE, k] == 0.0 and (work.channels[ws.VALUE, k] == low or work.channels[ws.VALUE, k] == high):
        work.channels[ws.LOW, k], work.channels[ws.HIGH, k] = -np.inf, np.inf
        return True
    tolerance = max(work.channels[ws.TOLERANCE, k], work.channels[ws.FLOAT32_TOLERANCE, k])
    work.channels[ws.LOW, k], work.channels[ws.HIGH, k] = low + tolerance, high - tolerance
    return False


@inlined_kernel
def is_near(code, i, z, tolerance):
    """Return whether pre-activation z is within a tolerance of a threshold of op i."""
    if code.op_table[i, ir.OP] != ir.CLIP:
        return abs(z) <= tolerance
    first = code.op_table[i, ir.COEFFICIENTS]
    return min(abs(z - code.parameters[first]), abs(z - code.parameters[first + 1])) <= tolerance


@kernel
def _start_near(code, work, i, k, t0, length, n, rounding, slot):
    """Decide the state of neuron k, which is near a threshold at the window's start: (state, value, slope)."""
    start_bound, slope_bound, value_certain, slope_certain = look_closer(code, work, i, k, t0, length, rounding)
    j = operand(code, i, 0)
    z, variance = rows_of(code, j, 2, work.at_start[ws.VALUE_AND_SLOPE]), rows_of(code, j, 2, work.at_start[ws.VARIANCE])
    tolerance, slope_tolerance = decision_bounds(variance, k, z[0, k], z[1, k], n, length, rounding)
    work.channels[ws.TOLERANCE, slot], work.channels[ws.SLOPE_TOLERANCE, slot] = tolerance, slope_tolerance
    state, v, s = resolve_contact(code, i, z[0, k], z[1, k], start_bound, slope_bound)
    certain = value_certain and z[0, k] == v and (s != 0.0 or (slope_certain and z[1, k] == 0.0))
    if not certain and is_near(code, i, z[0, k], start_bound):
        work.counts[ws.AMBIGUOUS] += 1
    return state, v, s


@kernel
def begin(code, work, i, p, n, t0, length, rounding):
    """Fill the slots of position p at the window's start, in the order of channels; return the number of pinned ones."""
    channels = code.op_table[i, ir.CHANNELS]
    z = rows_of(code, operand(code, i, 0), 2, work.at_start[ws.VALUE_AND_SLOPE])
    variance = rows_of(code, operand(code, i, 0), 2, work.at_start[ws.VARIANCE])
    a = rows_of(code, i, 2, work.at_start[ws.VALUE_AND_SLOPE])
    n_pinned = 0
    for c in range(channels):
        k = p * channels + c
        v, s = z[0, k], z[1, k]
        tolerance, slope_tolerance = decision_bounds(variance, k, v, s, n, length, rounding)
        work.channels[ws.TOLERANCE, c], work.channels[ws.SLOPE_TOLERANCE, c] = tolerance, slope_tolerance
        work.channels[ws.FLOAT32_TOLERANCE, c] = float32_tolerance(code, work, operand(code, i, 0), k, rounding)
        if out_of_range(variance, k, v, s) or (has_float32_slopes(work) and not max(abs(v), abs(s)) < SINGLE_LARGE):
            work.counts[ws.STATUS] = ws.EXTREME
        if tolerance > 0.0 and is_near(code, i, v, tolerance):
            state, v, s = _start_near(code, work, i, k, t0, length, n, rounding, c)
        else:
            state, v, s = resolve_contact(code, i, v, s, tolerance, slope_tolerance)
        work.channel_labels[ws.CHANNEL, c], work.channel_labels[ws.STATE, c] = c, state
        work.channels[ws.VALUE, c], work.channels[ws.SLOPE, c] = v, s
        if set_piece(code, work, i, p, c):
            work.channel_labels[ws.PINNED, n_pinned] = c
            n_pinned += 1
        if has_float32_slopes(work):
            float32_variance(code, work, i)[k] = work.channels[ws.SQUARES, c] = 0.0
        slope, intercept = piece(code, i, k, state)
        a[0, k], a[1, k] = slope * v + intercept, slope * s
        work.channels[ws.LARGEST, c], work.channels[ws.STEEPEST, c] = abs(slope * v), abs(slope * s)
        work.states[ws.WINDOW_START, neuron_number(code, i, p, c)] = state
    return n_pinned


@kernel
def finish(code, work, i, p, t1):
    """Record the states at the window's end, and the rounding errors of the op's values and slopes.

    A kink at t, rounded to u t, displaces the value by the slope times that.
    """
    channels = code.op_table[i, ir.CHANNELS]
    before = rows_of(code, operand(code, i, 0), 2, work.at_start[ws.VARIANCE])
    after, a = rows_of(code, i, 2, work.at_start[ws.VARIANCE]), rows_of(code, i, 2, work.at_start[ws.VALUE_AND_SLOPE])
    for slot in range(channels):
        c = work.channel_labels[ws.CHANNEL, slot]
        k = p * channels + c
        work.states[ws.WINDOW_END, neuron_number(code, i, p, c)] = work.channel_labels[ws.STATE, slot]
        largest, steepest = work.channels[ws.LARGEST, slot], work.channels[ws.STEEPEST, slot]
        unit = (
            2.0 * UNIT_ROUNDOFF if not has_float32_slopes(work) else 4.0 * SINGLE_ROUNDOFF**2
        )  # of entries with their remainders
        used = largest > 0.0 or steepest > 0.0
        if has_float32_slopes(work) and not steepest < SINGLE_LARGE:
            work.counts[ws.STATUS] = ws.EXTREME
        if has_float32_slopes(work) and used:
            float32_variance(code, work, i)[k] += float32_variance(code, work, operand(code, i, 0))[k]
            float32_variance(code, work, i)[k] += work.counts[ws.N_IDS] * SINGLE_TINY**2
        largest = max(largest, abs(a[0, k]))  # also of a Clip that stays at its bound
        for r in range(2):
            error = unit * (largest + t1 * steepest if r == 0 else steepest)
            after[r, k] = (before[r, k] if used else 0.0) + error * error
