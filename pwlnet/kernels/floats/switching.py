"""Switching ops on a tile of rows: values, states of a row, float neurons between two rows, and scaling of values.

Values are float32 or float64: the type of the arrays. NaN stays NaN, so that a row with an overflow is noticed.

Legend: T rows, n neurons of one op, in stored order.
"""

from .._jit import inlined_kernel, kernel
from ..arrays import fill, fill_rows
from ..ir import program as ir
from ..ir.affine import row_weights_of, tap_position
from ..ir.switching import state_of, winner


@kernel
def switch_rows(code, i, filled, x, y):
    """Compute the values of switching op i for the first ``filled`` rows; return whether the op is known, NaN otherwise."""
    kind, n = code.op_table[i, ir.OP], y.shape[1]
    if kind == ir.RELU:
        for r in range(filled):
            for k in range(n):
                z = x[r, k]
                y[r, k] = 0.0 if z <= 0.0 else z
    elif kind == ir.LEAKY_RELU:
        w = row_weights_of(code, i)
        for r in range(filled):
            for first in range(0, n, w.shape[0]):
                _leak(w, x[r, first : first + w.shape[0]], y[r, first : first + w.shape[0]])
    elif kind == ir.CLIP:
        low, high = code.parameters[code.op_table[i, ir.COEFFICIENTS]], code.parameters[code.op_table[i, ir.COEFFICIENTS] + 1]
        for r in range(filled):
            for k in range(n):
                z = x[r, k]
                y[r, k] = low if z <= low else (high if z >= high else z)
    elif kind == ir.MAX_POOL:
        _pool_rows(code, i, filled, x, y)
    else:
        fill_rows(y, float("nan"))
        return False
    return True


@inlined_kernel
def _leak(w, x, y):
    """Compute the values of a LeakyReLU with the slopes w."""
    for c in range(w.shape[0]):
        y[c] = x[c] if x[c] > 0.0 else w[c] * x[c]


@kernel
def _pool_rows(code, i, filled, x, y):
    """Compute the values of a MaxPool: the largest entry of each window, channel by channel."""
    channels = code.op_table[i, ir.CHANNELS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
        is_first = True
        for tap in range(taps):
            q = tap_position(code, i, p, tap)
            if q < 0:
                continue
            for r in range(filled):
                for c in range(channels):
                    z, best = x[r, q * channels + c], y[r, p * channels + c]
                    y[r, p * channels + c] = z if is_first or z > best or z != z else best
            is_first = False


@kernel
def find_states(code, i, x, states_out):
    """Find the states of switching op i for a row of pre-activations; return whether it is known. Out: states_out int32[n]."""
    if code.op_table[i, ir.OP] == ir.MAX_POOL:
        channels = code.op_table[i, ir.CHANNELS]
        for k in range(states_out.shape[0]):
            states_out[k] = winner(code, i, k // channels, k % channels, x)[0]
        return True
    for k in range(states_out.shape[0]):
        states_out[k] = state_of(code, i, x[k])
    return state_of(code, i, 0.0) >= 0


@kernel
def mark_floats(code, i, a, b, floats_out):
    """Find the neurons of switching op i that float between two rows of pre-activations; return whether the op is known.

    A neuron is fixed if both rows are strictly on the same affine piece: the same sign, the same piece of a Clip, or the same
    tap of a window larger than all others. Out: floats_out bool[n].
    """
    kind, n = code.op_table[i, ir.OP], a.shape[0]
    if kind == ir.RELU or kind == ir.LEAKY_RELU:
        for k in range(n):
            floats_out[k] = not (((a[k] > 0.0) & (b[k] > 0.0)) | ((a[k] < 0.0) & (b[k] < 0.0)))
    elif kind == ir.CLIP:
        low, high = code.parameters[code.op_table[i, ir.COEFFICIENTS]], code.parameters[code.op_table[i, ir.COEFFICIENTS] + 1]
        for k in range(n):
            inside = (a[k] > low) & (b[k] > low) & (a[k] < high) & (b[k] < high)
            floats_out[k] = not (inside | ((a[k] < low) & (b[k] < low)) | ((a[k] > high) & (b[k] > high)))
    elif kind == ir.MAX_POOL:
        _mark_windows(code, i, a, b, floats_out)
    else:
        fill(floats_out, True)
        return False
    return True


@kernel
def _mark_windows(code, i, a, b, floats_out):
    """Find the windows of a MaxPool that float between two rows: another tap is the largest, or several are. Out: bool[n]."""
    channels = code.op_table[i, ir.CHANNELS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    for p in range(code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]):
        for c in range(channels):
            tap_a, tap_b, entry_a, entry_b, tied_a, tied_b = -1, -1, 0, 0, False, False
            for tap in range(taps):
                q = tap_position(code, i, p, tap)
                if q < 0:
                    continue
                entry = q * channels + c
                if tap_a < 0 or a[entry] > a[entry_a]:
                    tap_a, entry_a, tied_a = tap, entry, False
                elif not a[entry] < a[entry_a]:
                    tied_a = True
                if tap_b < 0 or b[entry] > b[entry_b]:
                    tap_b, entry_b, tied_b = tap, entry, False
                elif not b[entry] < b[entry_b]:
                    tied_b = True
            floats_out[p * channels + c] = tied_a or tied_b or tap_a != tap_b


@kernel
def scale_marked(floats, gain, y):
    """Multiply the marked values of a row by ``gain``."""
    for k in range(y.shape[0]):
        y[k] = y[k] * gain if floats[k] else y[k]


@kernel
def scale_values(factors, y):
    """Multiply the values of a row by factors."""
    for k in range(y.shape[0]):
        y[k] *= factors[k]
