"""How large the rounding errors of a network's outputs are: the size of what is added up on the way to each output.

A difference of two outputs says little by itself: an output of 1e-9 may be the difference of two sums of size 1. For each
output this module estimates the root mean square of the terms that its rounding errors come from, with independent errors:

    E(y) = sum_j w_j^2 (E(x_j) + x_j^2) + b^2    for y = sum_j w_j x_j + b,

where x are the values at the point. E passes unchanged through a switching function where it has slope one, is dropped where
the slope is zero, and a maximum takes the largest E of its window. The error of an output in floating-point arithmetic with
unit roundoff u is then about u * sqrt(E), whichever order the sums are evaluated in: a running error analysis (Higham, Accuracy
and Stability of Numerical Algorithms, section 3.3) with sums of squares instead of sums of absolute values, which grow by
many orders of magnitude over fifty layers while errors do not.

The values are computed here by NumPy, op by op, independently of the kernels.

Legend: B points, O outputs, P positions, C channels.
"""

import numpy as np

from ..kernels.ir import program as ir


def error_scale(network, points):
    """Return the size of what is added up for each output.

    Estimate: rounding errors are taken as independent.

    Parameters
    ----------
    network : Network
    points : float64[B, *input_shape]

    Returns
    -------
    float64[B, O]
        Not finite where squares overflow, 0 where they underflow.
    """
    with np.errstate(all="ignore"):
        return _Pass(network, np.asarray(points, np.float64).reshape(len(points), -1)).run()


class _Pass:
    """One forward pass of values and squared error scales, float64[B, height, width, channels] each."""

    def __init__(self, network, rows):
        self.program, self.rows = network.program, rows
        self.values, self.squares = [], []
        uses = np.zeros(len(self.program.op), np.int64)
        for k in self.program.operands:
            uses[k] += 1
        self.uses = uses

    def run(self):
        p = self.program
        for i, code in enumerate(p.op):
            operands = p.operands[p.operand_offsets[i] : p.operand_offsets[i + 1]]
            height, width = int(p.shapes[i, 1]), int(p.shapes[i, 2])
            shape = (len(self.rows), height, width, int(p.shapes[i, 0]))
            value, square = _STEPS[int(code)](self, i, operands, shape)
            self.values.append(value.reshape(shape))
            self.squares.append(square.reshape(shape))
            for k in operands:  # free what no later op reads
                self.uses[k] -= 1
                if not self.uses[k]:
                    self.values[k] = self.squares[k] = None
        last = len(p.op) - 1
        size = self.values[last].reshape(len(self.rows), -1) ** 2 + self.squares[last].reshape(len(self.rows), -1)
        return np.sqrt(size[:, p.output_index])

    def weights(self, i):
        return self.program.weights[self.program.weight_offsets[i] : self.program.weight_offsets[i + 1]]

    def biases(self, i):
        return self.program.biases[self.program.bias_offsets[i] : self.program.bias_offsets[i + 1]]

    def operand(self, k):
        """Return the value of an op, and its square plus its error scale: what the next sum adds up."""
        return self.values[k], self.squares[k] + self.values[k] ** 2

    def input(self, i, operands, shape):
        value = np.empty((len(self.rows), self.rows.shape[1]))
        value[:, self.program.input_index] = self.rows
        return value, np.zeros_like(value)

    def affine(self, i, operands, shape):
        x, size = (a.reshape(len(self.rows), -1) for a in self.operand(operands[0]))
        weights, bias = self.weights(i).reshape(x.shape[1], -1), self.biases(i)
        return x @ weights + bias, _with_squares(size, weights) + bias**2

    def conv(self, i, operands, shape):
        a = self.program.attributes[i]
        x, size = self.operand(operands[0])
        groups, taps = int(a[ir.GROUPS]), int(a[ir.KERNEL_H] * a[ir.KERNEL_W])
        weights = self.weights(i).reshape(groups, taps, x.shape[3] // groups, -1)
        bias = self.biases(i)
        return _convolved(x, weights, a, shape) + bias, _convolved(size, weights**2, a, shape) + bias**2

    def avg_pool(self, i, operands, shape):
        a = self.program.attributes[i]
        x, size = self.operand(operands[0])
        total = sum(_taps(x, a, shape))
        divisor = _divisors(a, x.shape, shape)
        return total / divisor, sum(_taps(size, a, shape)) / divisor**2

    def scale(self, i, operands, shape):
        x, size = self.operand(operands[0])
        weights, bias = (a.reshape(-1, shape[3]) if a.size == shape[3] else a.reshape(shape[1:]) for a in self._both(i))
        return x * weights + bias, size * weights**2 + bias**2

    def _both(self, i):
        return self.weights(i), self.biases(i)

    def add(self, i, operands, shape):
        (x, s), (y, t) = (self.operand(k) for k in operands)
        a, b = self.program.coefficients[i, :2]
        return a * x + b * y, a * a * s + b * b * t

    def concat(self, i, operands, shape):
        return tuple(np.concatenate([part[k] for k in operands], axis=3) for part in (self.values, self.squares))

    def gather(self, i, operands, shape):
        p = self.program
        index = p.indices[p.index_offsets[i] : p.index_offsets[i + 1]]
        x, square = (a[operands[0]].reshape(len(self.rows), -1) for a in (self.values, self.squares))
        inside, fill = index >= 0, self.biases(i)
        return np.where(inside, x[:, index], fill if fill.size else 0.0), np.where(inside, square[:, index], 0.0)

    def relu(self, i, operands, shape):
        return self._sloped(operands, 0.0)

    def leaky_relu(self, i, operands, shape):
        slope = self.weights(i)
        return self._sloped(operands, slope if slope.size == shape[3] else slope.reshape(shape[1:]))

    def _sloped(self, operands, slope):
        x, square = self.values[operands[0]], self.squares[operands[0]]
        return np.where(x > 0, x, slope * x), np.where(x > 0, square, slope * slope * square)

    def clip(self, i, operands, shape):
        x, square = self.values[operands[0]], self.squares[operands[0]]
        lower, upper = self.program.coefficients[i, :2]
        return np.clip(x, lower, upper), np.where((x > lower) & (x < upper), square, 0.0)

    def max_pool(self, i, operands, shape):
        a = self.program.attributes[i]
        best = largest = None
        for x, square in zip(
            _taps(self.values[operands[0]], a, shape, -np.inf), _taps(self.squares[operands[0]], a, shape), strict=True
        ):
            best = x if best is None else np.maximum(best, x)
            largest = square if largest is None else np.maximum(largest, square)
        return best, largest


def _with_squares(x, weights, rows=1 << 22):
    """Return ``x @ weights**2`` without a second copy of a large matrix."""
    step = max(1, rows // max(1, weights.shape[1]))
    return sum((x[:, k : k + step] @ weights[k : k + step] ** 2 for k in range(0, len(weights), step)), np.zeros(()))


def _taps(x, a, shape, fill=0.0):
    """Yield for each tap of a window the entries that it reads, [B, height, width, C] of the output."""
    (top, left), (sh, sw), (dh, dw) = a[ir.PAD_TOP : ir.PAD_LEFT + 1], a[ir.STRIDE_H : ir.STRIDE_W + 1], a[ir.DILATION_H :][:2]
    kh, kw = int(a[ir.KERNEL_H]), int(a[ir.KERNEL_W])
    below = max(0, (shape[1] - 1) * sh + (kh - 1) * dh + 1 - top - x.shape[1])
    right = max(0, (shape[2] - 1) * sw + (kw - 1) * dw + 1 - left - x.shape[2])
    padded = np.pad(x, ((0, 0), (top, below), (left, right), (0, 0)), constant_values=fill)
    for r in range(kh):
        for c in range(kw):
            yield padded[:, r * dh :: sh, c * dw :: sw][:, : shape[1], : shape[2]]


def _convolved(x, weights, a, shape):
    """Return the convolution of ``x`` with weights [groups, taps, C_in / groups, C_out / groups]."""
    groups, per_group = weights.shape[0], weights.shape[2]
    total = 0.0
    for tap, entries in enumerate(_taps(x, a, shape)):
        split = entries.reshape(-1, groups, per_group).transpose(1, 0, 2)
        total = total + split @ weights[:, tap]
    return total.transpose(1, 0, 2).reshape(shape)


def _divisors(a, before, shape):
    """Return the divisor of each window of an average pool, [height, width, 1]."""
    if a[ir.DIVISOR]:
        return float(a[ir.DIVISOR])
    counts = []
    for axis in (0, 1):
        n, k, s = before[1 + axis], int(a[ir.KERNEL_H + axis]), int(a[ir.STRIDE_H + axis])
        pad = int(a[ir.PAD_TOP + axis])
        after = int(a[ir.PAD_BOTTOM + axis])
        start = np.arange(shape[1 + axis]) * s - pad
        low, high = (start, n + after) if a[ir.COUNT_PAD] else (np.maximum(start, 0), n)
        counts.append(np.minimum(start + k, high) - low)
    return (counts[0][:, None] * counts[1][None, :])[:, :, None].astype(np.float64)


_STEPS = {
    ir.INPUT: _Pass.input,
    ir.AFFINE: _Pass.affine,
    ir.CONV2D: _Pass.conv,
    ir.AVG_POOL: _Pass.avg_pool,
    ir.SCALE: _Pass.scale,
    ir.ADD: _Pass.add,
    ir.CONCAT: _Pass.concat,
    ir.GATHER: _Pass.gather,
    ir.RELU: _Pass.relu,
    ir.LEAKY_RELU: _Pass.leaky_relu,
    ir.CLIP: _Pass.clip,
    ir.MAX_POOL: _Pass.max_pool,
}
