"""Switching ops on a tile of rows: values, and how many rows have each state, or which neurons differ between two rows.

Counters of states are kept op by op: that of state s of neuron k (stored order) of op i is ``state_offsets[i] + s * n_i + k``.

Legend: T rows, n neurons of one op, S counters.
"""

from .._jit import inlined_kernel, kernel, summing_kernel
from ..arrays import fill, fill_rows
from ..ir import program as ir
from ..ir.affine import tap_position, weights_of
from ..ir.switching import winner


@summing_kernel
def _sum_of_sizes(x):
    """Return the sum of the absolute values of a vector."""
    total = x[0] * 0
    for k in range(x.shape[0]):
        total += abs(x[k])
    return total


@kernel
def is_out_of_range(x, filled, limits):
    """Return whether values of the first rows are too large for the type, or all of them are too small: limits float64[2]."""
    total = 0.0
    for r in range(filled):
        total += float(_sum_of_sizes(x[r]))
    return not (limits[0] <= total <= limits[1])


@inlined_kernel
def _note(count, first_draw, states_first, slot, counts):
    """Add to the counter of a state; return whether its first draw is in this tile and not known yet."""
    counts[slot] += count
    return count > 0 and states_first[slot] > first_draw


@kernel
def count_states(code, i, filled, first_draw, x, y, seen, base, counts, firsts):
    """Compute the values of switching op i, and count the rows of each state; return whether the op is known.

    ``seen``: scratch int32[2 * n]. In and out: counts int32[S], firsts int32[S], the number of the first draw of each state.
    """
    kind, n = code.op_table[i, ir.OP], y.shape[1]
    if kind == ir.RELU:
        fill(seen[:n], 0)
        for r in range(filled):
            for k in range(n):
                z = x[r, k]
                seen[k] += z > 0.0
                y[r, k] = z if z > 0.0 else 0.0
        _note_two(filled, first_draw, 0.0, x, seen, base, counts, firsts)
    elif kind == ir.LEAKY_RELU:
        w = weights_of(code, i)
        fill(seen[:n], 0)
        for r in range(filled):
            for first in range(0, n, w.shape[0]):
                for c in range(w.shape[0]):
                    z = x[r, first + c]
                    seen[first + c] += z > 0.0
                    y[r, first + c] = z if z > 0.0 else w[c] * z
        _note_two(filled, first_draw, 0.0, x, seen, base, counts, firsts)
    elif kind == ir.CLIP:
        _count_clip(code, i, filled, first_draw, x, y, seen, base, counts, firsts)
    elif kind == ir.MAX_POOL:
        channels = code.op_table[i, ir.CHANNELS]
        for r in range(filled):
            for k in range(n):
                tap, entry = winner(code, i, k // channels, k % channels, x[r])
                y[r, k] = x[r, entry]
                slot = base + tap * n + k
                if _note(1, first_draw + r, firsts, slot, counts):
                    firsts[slot] = first_draw + r
    else:
        fill_rows(y, float("nan"))
        return False
    return True


@kernel
def _count_clip(code, i, filled, first_draw, x, y, seen, base, counts, firsts):
    """Compute the values of a Clip, and count the rows of each state, as ``count_states``."""
    n, at = y.shape[1], code.op_table[i, ir.COEFFICIENTS]
    low, high = code.parameters[at], code.parameters[at + 1]
    fill(seen[: 2 * n], 0)
    for r in range(filled):
        for k in range(n):
            z = float(x[r, k])
            above, top = z > low, (z > low) & (z >= high)
            seen[k] += above
            seen[n + k] += top
            y[r, k] = high if top else (z if above else low)
    for k in range(n):
        middle = seen[k] - seen[n + k]
        new_0 = _note(filled - seen[k], first_draw, firsts, base + k, counts)
        new_1 = _note(middle, first_draw, firsts, base + n + k, counts)
        if _note(seen[n + k], first_draw, firsts, base + 2 * n + k, counts) or new_0 or new_1:
            for r in range(filled):
                z = float(x[r, k])
                state = 0 if z <= low else (2 if z >= high else 1)
                slot = base + state * n + k
                firsts[slot] = min(firsts[slot], first_draw + r)


@kernel
def _note_two(filled, first_draw, threshold, x, seen, base, counts, firsts):
    """Add the rows of a tile to the counters of an op with two states: seen int32[*] rows above the threshold."""
    n = x.shape[1]
    for k in range(n):
        off = _note(filled - seen[k], first_draw, firsts, base + k, counts)
        if _note(seen[k], first_draw, firsts, base + n + k, counts) or off:
            for r in range(filled):
                slot = base + k + (n if x[r, k] > threshold else 0)
                firsts[slot] = min(firsts[slot], first_draw + r)


@kernel
def compare_states(code, i, x, y, floats_out, states_out):
    """Compute the values of switching op i for two rows, and which neurons float between these; return whether it is known.

    A neuron is fixed if its state is the same and neither row is at a threshold; of MaxPool, if the same tap wins and neither
    row has another tap with the largest value. Out, in source order: floats_out bool[n], states_out int32[n] those of row 0.
    """
    kind, channels = code.op_table[i, ir.OP], code.op_table[i, ir.CHANNELS]
    positions = code.op_table[i, ir.HEIGHT] * code.op_table[i, ir.WIDTH]
    if kind == ir.RELU or kind == ir.LEAKY_RELU:
        w = weights_of(code, i)
        for k in range(y.shape[1]):
            a, b = float(x[0, k]), float(x[1, k])
            slope = 0.0 if kind == ir.RELU else w[k % w.shape[0]]
            y[0, k], y[1, k] = a if a > 0.0 else slope * a, b if b > 0.0 else slope * b
            at = (k % channels) * positions + k // channels
            floats_out[at] = not ((a > 0.0 and b > 0.0) or (a < 0.0 and b < 0.0))
            states_out[at] = 1 if a > 0.0 else 0
        return True
    if kind == ir.CLIP:
        low, high = code.parameters[code.op_table[i, ir.COEFFICIENTS]], code.parameters[code.op_table[i, ir.COEFFICIENTS] + 1]
        for k in range(y.shape[1]):
            a, b = float(x[0, k]), float(x[1, k])
            y[0, k], y[1, k] = min(max(a, low), high), min(max(b, low), high)
            at = (k % channels) * positions + k // channels
            inside = a > low and b > low and a < high and b < high
            floats_out[at] = not (inside or (a < low and b < low) or (a > high and b > high))
            states_out[at] = 0 if a <= low else (2 if a >= high else 1)
        return True
    if kind == ir.MAX_POOL:
        for k in range(y.shape[1]):
            tap, entry = winner(code, i, k // channels, k % channels, x[0])
            other, other_entry = winner(code, i, k // channels, k % channels, x[1])
            y[0, k], y[1, k] = x[0, entry], x[1, other_entry]
            at = (k % channels) * positions + k // channels
            tied = _is_tied(code, i, k, tap, x[0]) or _is_tied(code, i, k, other, x[1])
            floats_out[at] = tied or tap != other
            states_out[at] = tap
        return True
    fill_rows(y, float("nan"))
    return False


@kernel
def _is_tied(code, i, k, tap, x):
    """Return whether a tap besides the winner ``tap`` of window k of MaxPool op i has the same value."""
    channels = code.op_table[i, ir.CHANNELS]
    best = x[tap_position(code, i, k // channels, tap) * channels + k % channels]
    for other in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
        q = tap_position(code, i, k // channels, other)
        if q >= 0 and other != tap and x[q * channels + k % channels] == best:
            return True
    return False
