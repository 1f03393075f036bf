"""Networks that are rescaled for one line, where float64 could not hold the squares of rounding errors.

The line kernels propagate squared errors through squared weights (kernels/lines/rounding.py). Values between about 2**-247 and
2**500, in a network whose weights are not extreme, leave them in range; the kernels notice all others. Such a line is traced in
another network: every channel is multiplied by a power of two such that its values are of the order of 1, and so are the
weights. The activation patterns, and the places where they change, are the same, and products with powers of two are exact.

A bound of the size of each channel along the line gives its power of two. Channels that are added up, gathered or clipped share
one.

Legend: N ops, C channels, D inputs.
"""

import functools

import numpy as np

from ...errors import NumericalError
from ...kernels.ir import program as ir
from ...network import Network

LEAST_WEIGHT, LARGEST_GAIN = -200.0, 200.0  # log2, of a weight and of the affine ops between two switching ops
NO_EFFECT = -700  # log2 of a weight, relative to those beside it, whose products underflow
_INHERITING = (ir.RELU, ir.LEAKY_RELU, ir.CLIP, ir.MAX_POOL, ir.AVG_POOL, ir.GATHER, ir.CONCAT)


def _log2(x):
    """Return log2 of the magnitudes, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log2(np.abs(x))


def _exponents(x):
    """Return the largest integers whose powers of two are at most the magnitudes; 0 for 0."""
    return np.where(x == 0.0, 0, np.frexp(x)[1].astype(np.int64) - 1)


def _part(program, name, i):
    """Return the slice of op i's entries of ``weights`` or ``biases``."""
    offsets = program.weight_offsets if name == "weights" else program.bias_offsets
    return slice(int(offsets[i]), int(offsets[i + 1]))


def _factors(program, i):
    """Return all numbers that op i multiplies values by: float64[*]."""
    if program.op[i] == ir.ADD:
        return program.coefficients[i, :2]
    return program.weights[_part(program, "weights", i)]


def always_rescaled(network):
    """Return whether a network's weights are so large or small that each of its lines needs rescaling."""
    if "_always_rescaled" not in network.__dict__:
        network.__dict__["_always_rescaled"] = _is_extreme(network)
    return network.__dict__["_always_rescaled"]


def _is_extreme(network):
    """Return whether weights or products of weights are beyond the limits."""
    program, graph = network.program, network.op_graph
    gains = np.zeros(len(program.op))
    for i in range(1, len(gains)):
        factors = np.abs(_factors(program, i))
        factors = factors[factors > 0.0]
        before = max(gains[j] for j in graph.operands[i])
        size = _log2(factors.max(initial=0.0)) + np.log2(max(1, _n_terms(program, i))) if factors.size else 0.0
        gains[i] = max(0.0, size) if graph.is_switching[i] else before + size
        if gains[i] > LARGEST_GAIN or (factors.size and _log2(factors.min()) < LEAST_WEIGHT):
            return True
    return False


def _n_terms(program, i):
    """Return how many products op i adds up for one entry."""
    n, channels = len(_factors(program, i)), int(program.shapes[i, 0])
    if program.op[i] in (ir.AFFINE, ir.CONV2D):
        return n // channels
    return 2 if program.op[i] == ir.ADD else 1


class _Sizes:
    """Bounds of the sizes of the channels of each op along a line, in log2, and the exponents that they lead to.

    Parameters
    ----------
    network : Network
    start, end : float64[D]
    """

    def __init__(self, network, start, end):
        self.program, self.graph = network.program, network.op_graph
        self.bounds = []  # of each op: float64[C]
        program = self.program
        channels = int(program.shapes[0, 0])
        sizes = np.full(channels, -np.inf)
        np.maximum.at(sizes, program.input_index % channels, _log2(np.maximum(np.abs(start), np.abs(end))))
        self.bounds.append(sizes)
        for i in range(1, len(program.op)):
            self.bounds.append(self._bound(i))
        self.uniform = self._find_uniform()
        self.exponents = self._choose()

    def _bound(self, i):
        """Bound the channels of op i."""
        program, before = self.program, [self.bounds[j] for j in self.graph.operands[i]]
        kind, channels = program.op[i], int(program.shapes[i, 0])
        biases = program.biases[_part(program, "biases", i)]
        constant = np.full(channels, -np.inf)
        if len(biases):
            constant = _log2(biases).reshape(-1, min(channels, len(biases))).max(axis=0) + np.zeros(channels)
        if kind in (ir.AFFINE, ir.CONV2D):
            factors = _log2(self.matrix(i)) + self.column(i, before[0])
            n = max(1, factors.shape[1]) + 1
            return np.maximum(factors.max(axis=1, initial=-np.inf).ravel(), constant) + np.log2(n)
        if kind == ir.SCALE:
            factors = _log2(_factors(program, i))
            factors = factors.reshape(-1, min(channels, len(factors))).max(axis=0)
            return np.maximum(before[0] + factors, constant) + 1.0
        if kind == ir.ADD:
            return np.maximum(*(x + f for x, f in zip(before, _log2(program.coefficients[i, :2]), strict=True))) + 1.0
        if kind == ir.CONCAT:
            return np.concatenate(before)
        if kind == ir.GATHER:
            return np.full(channels, max(before[0].max(initial=-np.inf), constant.max(initial=-np.inf)))
        if kind == ir.CLIP:
            thresholds = program.coefficients[i, :2]
            return np.maximum(before[0], _log2(thresholds[np.isfinite(thresholds)]).max(initial=-np.inf))
        if kind == ir.LEAKY_RELU:
            return before[0] + np.maximum(0.0, _log2(_factors(program, i)).max())
        return before[0]

    def matrix(self, i):
        """Return the weights of a matrix or convolution: float64[groups, terms, C / groups]."""
        groups = max(1, int(self.program.attributes[i, ir.GROUPS])) if self.program.op[i] == ir.CONV2D else 1
        return _factors(self.program, i).reshape(groups, -1, int(self.program.shapes[i, 0]) // groups)

    def column(self, i, numbers):
        """Repeat numbers [C] of the operand's channels for the terms of a matrix or convolution: [groups, terms, 1]."""
        groups, terms, _ = self.matrix(i).shape
        numbers = numbers.reshape(groups, 1, -1)
        return np.tile(numbers, (1, terms // numbers.shape[2], 1)).reshape(groups, terms, 1)

    def _find_uniform(self):
        """Find the ops whose channels share an exponent, and the group of ops that share it: int64[N], -1 for none."""
        program, n = self.program, len(self.program.op)
        group = np.full(n, -1)

        def join(ops):
            known = sorted({int(group[j]) for j in ops if group[j] >= 0})
            label = known[0] if known else int(ops[0])
            for old in known:
                group[group == old] = label
            group[list(ops)] = label

        for _ in range(n):  # demands go back and forth through concatenations; until nothing changes
            before = group.copy()
            for i in range(n - 1, 0, -1):
                kind, operands = program.op[i], [int(j) for j in self.graph.operands[i]]
                few = kind == ir.SCALE and len(_factors(program, i)) < program.shapes[i, 0]
                if kind == ir.ADD or few:
                    for j in operands:
                        join([j])
                    join([i])
                elif kind in (ir.CLIP, ir.GATHER) or (kind in _INHERITING and group[i] >= 0):
                    join([*operands, i])
                elif kind in _INHERITING and kind != ir.CONCAT and group[operands[0]] >= 0:
                    join([operands[0], i])
            if (before == group).all():
                break
        return group

    def _choose(self):
        """Choose the exponents of all channels: list of int64[C]."""
        chosen = []
        for i, bounds in enumerate(self.bounds):
            kind, operands = self.program.op[i], self.graph.operands[i]
            if self.uniform[i] >= 0:
                members = [self.bounds[j].max(initial=-np.inf) for j in np.flatnonzero(self.uniform == self.uniform[i])]
                numbers = np.full(len(bounds), max(members))
            elif kind == ir.CONCAT:
                chosen.append(np.concatenate([chosen[j] for j in operands]))
                continue
            elif kind in _INHERITING:
                chosen.append(chosen[operands[0]])
                continue
            else:
                numbers = bounds
            chosen.append(np.where(np.isfinite(numbers), np.ceil(numbers), 0).astype(np.int64))
        return chosen


def rescale(network, start, end):
    """Rescale a network for one line.

    Parameters
    ----------
    network : Network
    start, end : float64[D]

    Returns
    -------
    Network or None
        With the neurons of ``network``; None where numbers cannot be represented.
    start, end : float64[D]
        The line in the units of its inputs.
    exponents : int64[O]
        The outputs are those of ``network`` times two to the power of minus these.
    """
    sizes = _Sizes(network, start, end)
    program, exponents = sizes.program, sizes.exponents
    weights, biases, coefficients = program.weights.copy(), program.biases.copy(), program.coefficients.copy()
    of_input = exponents[0][program.input_index % len(exponents[0])]
    scaled = [_shifted(x, -of_input) for x in (start, end)]
    exact = all(x is not None for x in scaled)
    for i in range(1, len(program.op)):
        of_weights = _part(program, "weights", i)
        new = _scaled_weights(sizes, i)
        bias = program.biases[_part(program, "biases", i)]
        shift = -np.tile(exponents[i], len(bias) // len(exponents[i]) + 1)[: len(bias)]
        with np.errstate(under="ignore", over="ignore"):
            biases[_part(program, "biases", i)] = scaled_bias = np.ldexp(bias, shift)
            exact &= bool((np.ldexp(scaled_bias, -shift) == bias).all())
        if program.op[i] == ir.CLIP:
            coefficients[i, :2] = _scaled_thresholds(coefficients[i, :2], -int(exponents[i][0]))
            exact &= bool(coefficients[i, 0] < coefficients[i, 1])
        elif new is None:
            exact = False
        elif program.op[i] == ir.ADD:
            coefficients[i, :2] = new
        else:
            weights[of_weights] = new
    if not exact or not all(np.isfinite(x).all() for x in (weights, biases)):
        return None, start, end, None
    of_output = exponents[-1][program.output_index % len(exponents[-1])]
    new_program = program._replace(weights=weights, biases=biases, coefficients=coefficients)
    return Network(new_program, input_shape=network.input_shape, output_shape=network.output_shape), *scaled, of_output


def _shifted(x, shift):
    """Multiply by powers of two; None where that is not exact."""
    with np.errstate(under="ignore", over="ignore"):
        y = np.ldexp(x, shift)
        return y if np.array_equal(np.ldexp(y, -shift), x) else None


def _scaled_thresholds(thresholds, shift):
    """Scale the thresholds of a Clip; those beyond all values become infinite."""
    with np.errstate(under="ignore", over="ignore"):
        scaled = np.ldexp(thresholds, shift)
        lost = np.isfinite(scaled) & (np.ldexp(scaled, -shift) != thresholds)
    return np.full(2, np.nan) if lost.any() else scaled


def _scaled_weights(sizes, i):
    """Scale the weights or coefficients of op i; None where products with them would underflow without being negligible."""
    program, exponents, kind = sizes.program, sizes.exponents, sizes.program.op[i]
    factors = _factors(program, i)
    if not len(factors) or kind == ir.LEAKY_RELU:
        return factors
    before = [exponents[j] for j in sizes.graph.operands[i]]
    if kind == ir.ADD:
        return _shifted(factors, np.array([x[0] - exponents[i][0] for x in before]))
    if kind == ir.SCALE:
        n = len(factors)
        shift = np.resize(before[0] - exponents[i], n) if n >= len(before[0]) else np.full(n, (before[0] - exponents[i])[0])
        return _shifted(factors, shift)
    matrix = sizes.matrix(i)
    shift = sizes.column(i, before[0]) - exponents[i].reshape(matrix.shape[0], 1, -1)
    small = (matrix != 0.0) & (_exponents(matrix) + shift < NO_EFFECT)
    biases = program.biases[_part(program, "biases", i)]
    if small.any():
        if not len(biases):
            return None
        constant = (_log2(biases).reshape(-1, len(exponents[i])).min(axis=0) >= exponents[i] - 12).reshape(
            shift.shape[0], 1, -1
        )
        if (small & ~constant).any():
            return None
    with np.errstate(under="ignore"):
        return np.where(small, 0.0, np.ldexp(matrix, shift)).ravel()


@functools.lru_cache(maxsize=1)
def _cached(network, start, end):
    return rescale(network, np.frombuffer(start), np.frombuffer(end))


def rescaled_line(network, start, end, number):
    """Return ``rescale`` of a line, which is kept for the line's next window.

    Raises
    ------
    NumericalError
        The line cannot be represented; it is called ``number``.
    """
    found = _cached(network, start.tobytes(), end.tobytes())
    if found[0] is None:
        raise unequal_sizes(number)
    return found


def unequal_sizes(number):
    """Return the NumericalError that refuses a line."""
    return NumericalError(
        f"line {number} has values or weights that are too far apart in size for float64 and its rounding errors; "
        "set weights that have no effect to 0, or rescale the network or the line"
    )
