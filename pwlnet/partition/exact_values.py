"""Values of a network at one point in exact arithmetic.

Weights and inputs are floating-point numbers, that is, integers divided by powers of two; so each value is an integer divided
by a number that is the same for all entries of an op.

Legend: n entries of a value, P positions, D inputs, O outputs, M rows of a condition.
"""

from fractions import Fraction

import numpy as np

from ..errors import UnsupportedOperationError
from ..kernels.ir import program as ir
from .planes.integers import as_integers, exact_ops
from .planes.stages import source_order


def exact_outputs(network, point):
    """Compute the outputs at a point with integers.

    Parameters
    ----------
    network : Network
    point : float64[D]

    Returns
    -------
    numerators : object[O]
        Python integers.
    denominator : int
        Positive; output o is ``numerators[o] / denominator``.
    """
    for _, value in _evaluate(network, point):
        last = value
    return last[network.program.output_index], exact_ops(network).denominators[-1] * as_integers(point)[1]


def exact_margin(network, condition, point):
    """Compute the largest entry of ``A y - b`` at a point exactly.

    Parameters
    ----------
    network : Network
    condition : HalfSpaces
    point : float64[D]

    Returns
    -------
    Fraction or None
        None for a condition without rows, which holds everywhere.
    """
    outputs, denominator = exact_outputs(network, point)
    rows = []
    for row, shift in zip(condition.A.tolist(), condition.b.tolist(), strict=True):
        total = sum((Fraction(a) * y for a, y in zip(row, outputs.tolist(), strict=True) if a), Fraction(0))
        rows.append(total / denominator - Fraction(shift))
    return max(rows, default=None)


def _size(program, i):
    return int(program.value_offsets[i + 1] - program.value_offsets[i])


class Evaluation:
    """One op with its operands' values: integers over ``ops.denominators[k] * scale``."""

    def __init__(self, ops, i, values, scale):
        self.ops, self.i, self.scale = ops, i, scale
        self.network, self.program = ops.network, ops.network.program
        self.operands = [int(k) for k in self.network.op_graph.operands[i]]
        self.x = values[self.operands[0]]
        self.values = values
        self.ratio = ops.denominators[i] // ops.denominators[self.operands[0]]

    def value(self):
        """Return the op's value: object[n]."""
        kind = int(self.program.op[self.i])
        if kind == ir.AFFINE:
            weights, biases, _ = self.ops.weights(self.i)
            return self._plus(weights.reshape(len(self.x), -1).T.dot(self.x), biases)
        if kind == ir.CONV2D:
            return self._convolved()
        if kind == ir.AVG_POOL:
            totals = self._taps(0).sum(axis=1)
            factors = [self.ratio // int(d) for d in self.ops.divisors(self.i)]
            return (totals * np.array(factors, object)[:, None]).ravel()
        if kind == ir.SCALE:
            weights, biases, _ = self.ops.weights(self.i)
            return self._plus(self.x * _repeated(weights, len(self.x)), _repeated(biases, len(self.x)))
        if kind == ir.ADD:
            factors, d = self.ops.coefficients(self.i)
            ups = [self.ops.denominators[self.i] // (self.ops.denominators[k] * d) for k in self.operands]
            return sum(self.values[k] * (f * up) for k, f, up in zip(self.operands, factors, ups, strict=True))
        if kind == ir.CONCAT:
            ups = [self.ops.denominators[self.i] // self.ops.denominators[k] for k in self.operands]
            positions = self.ops.shape(self.i)[1]
            parts = [(self.values[k] * up).reshape(positions, -1) for k, up in zip(self.operands, ups, strict=True)]
            return np.concatenate(parts, axis=1).ravel()
        if kind == ir.GATHER:
            return self._gathered()
        return self._switched(kind)

    def states(self):
        """Return the states of a switching op's neurons, in the order of its value: int32[n]."""
        kind = int(self.program.op[self.i])
        if kind == ir.CLIP:
            bounds, d = self.ops.coefficients(self.i)
            finite = np.isfinite(self.program.coefficients[self.i, :2])
            up, z = self.ops.denominators[self.operands[0]] * self.scale, self.x * d
            below = z <= bounds[0] * up if finite[0] else np.zeros(len(z), bool)
            above = z >= bounds[1] * up if finite[1] else np.zeros(len(z), bool)
            return np.where(above, 2, np.where(below, 0, 1)).astype(np.int32)
        if kind == ir.MAX_POOL:
            least = min(self.x.tolist()) - 1
            return self._taps(least).argmax(axis=1).ravel().astype(np.int32)
        return (self.x > 0).astype(np.int32)

    def slopes(self):
        """Return the slopes of a LeakyReLU where it is not positive, over the denominator of its weights: object[n]."""
        return _repeated(self.ops.weights(self.i)[0], len(self.x))

    def _plus(self, result, biases):
        """Add biases, which are integers over the denominator of the op's weights."""
        if not len(biases):
            return result
        return result + biases * (self.ops.denominators[self.i] // self.ops.weights(self.i)[2] * self.scale)

    def _taps(self, padding):
        """Return the values in each window: object[P, taps, C]."""
        table, indices = self.network.code.op_table[self.i], self.network.code.indices
        n, taps = int(table[ir.HEIGHT] * table[ir.WIDTH]), int(table[ir.KERNEL_H] * table[ir.KERNEL_W])
        places = indices[table[ir.TAPS] : table[ir.TAPS] + n * taps].reshape(n, taps)
        values = self.x.reshape(-1, self.ops.shape(self.operands[0])[0])
        padded = np.concatenate([values, np.full((1, values.shape[1]), padding, object)])
        return padded[places]  # -1: the last row

    def _convolved(self):
        weights, biases, _ = self.ops.weights(self.i)
        groups, windows = int(self.program.attributes[self.i, ir.GROUPS]), self._taps(0)
        positions, taps, channels = windows.shape
        kernels = weights.reshape(groups, taps * (channels // groups), -1)
        windows = windows.reshape(positions, taps, groups, channels // groups)
        parts = [windows[:, :, g].reshape(positions, -1).dot(kernels[g]) for g in range(groups)]
        result = np.concatenate(parts, axis=1)
        return self._plus(result, biases).ravel()

    def _gathered(self):
        p = self.program
        sources = p.indices[p.index_offsets[self.i] : p.index_offsets[self.i + 1]]
        moved = self.x[np.maximum(sources, 0)] * self.ratio
        biases = self.ops.weights(self.i)[1]
        return moved if not len(biases) else np.where(sources >= 0, moved, self._plus(np.zeros(len(sources), object), biases))

    def _switched(self, kind):
        if kind == ir.RELU:
            return np.where(self.x > 0, self.x, 0)
        if kind == ir.LEAKY_RELU:
            return np.where(self.x > 0, self.x * self.ratio, self.x * self.slopes())
        if kind == ir.CLIP:
            bounds, _ = self.ops.coefficients(self.i)
            up = self.ops.denominators[self.operands[0]] * self.scale
            result = self.x * self.ratio
            for k, choose in enumerate((np.maximum, np.minimum)):
                if np.isfinite(self.program.coefficients[self.i, k]):
                    result = choose(result, bounds[k] * up)
            return result
        if kind != ir.MAX_POOL:
            raise UnsupportedOperationError(
                f"op {self.i} has code {kind}, which exact values do not handle; see CONTRIBUTING.md"
            )
        least = min(self.x.tolist()) - 1  # never the maximum: each window has an entry
        return self._taps(least).max(axis=1).ravel()


def _repeated(array, n):
    """Return entries for each channel repeated for all positions."""
    return array if len(array) in (0, n) else np.tile(array, n // len(array))


def exact_states(network, point):
    """Compute the state of every neuron at a point with integers: int32[K], as ``Network.states`` without rounding.

    Parameters
    ----------
    network : Network
    point : float64[D]
    """
    offsets, states = network.program.neuron_offsets, np.zeros(network.n_neurons, np.int32)
    for evaluation, _ in _evaluate(network, point):
        if evaluation is not None and network.op_graph.is_switching[evaluation.i]:
            i = evaluation.i
            states[offsets[i] : offsets[i + 1]] = evaluation.states()[source_order(network, i)]
    return states


def _evaluate(network, point):
    """Evaluate all ops at a point; yields the Evaluation of each op, None of the input, and its value."""
    program, ops = network.program, exact_ops(network)
    inputs, scale = as_integers(point)
    first = np.zeros(_size(program, 0), object)
    first[program.input_index] = inputs
    values, readers = [first], [int(r[-1]) if len(r) else len(program.op) for r in network.op_graph.readers]
    yield None, first
    for i in range(1, len(program.op)):
        evaluation = Evaluation(ops, i, values, scale)
        values.append(evaluation.value())
        yield evaluation, values[i]
        for k in network.op_graph.operands[i]:
            if readers[int(k)] == i:
                values[int(k)] = None  # of large networks, only what is still needed is kept
