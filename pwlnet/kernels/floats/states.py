"""Switching ops on a tile of rows: values, and how many rows have each state.

Counters of states are kept op by op: that of state s of neuron k (stored order) of op i is ``state_offsets[i] + s * n_i + k``.
After the states comes one counter for rows at a threshold.

Legend: T rows, n neurons of one op, S counters.
"""

from .._jit import kernel, summing_kernel
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


@kernel
def count_states(code, i, filled, first_draw, x, y, seen, base, counts, firsts):
    """Compute the values of switching op i, and count the rows of each state; return whether the op is known.

    Rows at a threshold, and windows whose largest value several taps have, are counted apart, after the states: either state is
    right there. ``seen``: scratch int32[3 * n]. In and out: counts int32[S]; firsts int32[S], the least number of a draw with
    each state.
    """
    kind, n = code.op_table[i, ir.OP], y.shape[1]
    if kind == ir.RELU:
        fill(seen[: 2 * n], 0)
        for r in range(filled):
            for k in range(n):
                z = x[r, k]
                seen[k] += z < 0.0
                seen[n + k] += z > 0.0
                y[r, k] = z if z > 0.0 else 0.0
        _note(filled, first_draw, 0.0, 0.0, x, 2, seen, base, counts, firsts)
    elif kind == ir.LEAKY_RELU:
        w = weights_of(code, i)
        fill(seen[: 2 * n], 0)
        for r in range(filled):
            for first in range(0, n, w.shape[0]):
                for c in range(w.shape[0]):
                    z = x[r, first + c]
                    seen[first + c] += z < 0.0
                    seen[n + first + c] += z > 0.0
                    y[r, first + c] = z if z > 0.0 else w[c] * z
        _note(filled, first_draw, 0.0, 0.0, x, 2, seen, base, counts, firsts)
    elif kind == ir.CLIP:
        at = code.op_table[i, ir.COEFFICIENTS]
        low, high = code.parameters[at], code.parameters[at + 1]
        fill(seen[: 3 * n], 0)
        for r in range(filled):
            for k in range(n):
                z = float(x[r, k])
                seen[k] += z < low
                seen[n + k] += (z > low) & (z < high)
                seen[2 * n + k] += z > high
                y[r, k] = min(max(z, low), high)
        _note(filled, first_draw, low, high, x, 3, seen, base, counts, firsts)
    elif kind == ir.MAX_POOL:
        _count_winners(code, i, filled, first_draw, x, y, base, counts, firsts)
    else:
        fill_rows(y, float("nan"))
        return False
    return True


@kernel
def _count_winners(code, i, filled, first_draw, x, y, base, counts, firsts):
    """Compute the values of a MaxPool, and count the rows in which each tap wins, as ``count_states``."""
    n, channels = y.shape[1], code.op_table[i, ir.CHANNELS]
    taps = code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]
    for r in range(filled):
        for k in range(n):
            tap, entry = winner(code, i, k // channels, k % channels, x[r])
            y[r, k] = x[r, entry]
            slot = base + (taps if is_tied(code, i, k, tap, x[r]) else tap) * n + k
            counts[slot] += 1
            firsts[slot] = min(firsts[slot], first_draw + r)


@kernel
def _note(filled, first_draw, low, high, x, n_states, seen, base, counts, firsts):
    """Add the rows of a tile to the counters of an elementwise op: seen int32[n_states * n] rows strictly in each state."""
    n = x.shape[1]
    for k in range(n):
        rest, is_new = filled, False
        for s in range(n_states):
            count, slot = seen[s * n + k], base + s * n + k
            rest -= count
            counts[slot] += count
            is_new = is_new or (count > 0 and firsts[slot] > first_draw)
        counts[base + n_states * n + k] += rest
        if is_new:
            for r in range(filled):
                z = float(x[r, k])
                state = 0 if z < low else (n_states - 1 if z > high else (1 if z > low and z < high else n_states))
                slot = base + state * n + k
                firsts[slot] = min(firsts[slot], first_draw + r)


@kernel
def is_tied(code, i, k, tap, x):
    """Return whether a tap besides the winner ``tap`` of window k of MaxPool op i has the same value."""
    channels = code.op_table[i, ir.CHANNELS]
    best = x[tap_position(code, i, k // channels, tap) * channels + k % channels]
    for other in range(code.op_table[i, ir.KERNEL_H] * code.op_table[i, ir.KERNEL_W]):
        q = tap_position(code, i, k // channels, other)
        if q >= 0 and other != tap and x[q * channels + k % channels] == best:
            return True
    return False
