"""Exact answers for a mesh, with integers: signs of functions at vertices, the order of crossings on an edge.

On a face, each value of the network is an affine function ``a u + b v + c`` of the coordinates in the plane. Weights and
coordinates are floating-point numbers, that is, integers divided by powers of two; so a, b and c are integers divided by a
number that is the same for all entries of an op. A vertex is the exact intersection of two lines, in homogeneous coordinates.

Legend: n entries of a value, F faces, W words.
"""

from fractions import Fraction

import numpy as np

from ...errors import UnsupportedOperationError
from ...kernels.ir import program as ir
from .integers import as_integers, cross, sign_at
from .stages import CONDITIONS, LARGEST, n_values, source_order, tap_positions

SIDE, CORNER = -1, -2  # stages of lines: a side of a polygon; a corner of a polygon, which is a point


class Level:
    """The faces after a round of cuts, and what the round decided on each of them.

    Attributes
    ----------
    stage : int
        -1 for the planes themselves.
    first, last : int
        Functions that the round decided.
    parent : int
        The level before: an index in the list of levels; for MaxPool, the level before the op.
    parents : int32[F]
        Face of that level.
    states : uint64[F, W] or None
        Functions that are positive inside; bit 0 is function ``first``.
    winners : int16[F, windows] or None
        MaxPool: number of the tap that is the largest one so far.
    """

    __slots__ = ("first", "last", "memo", "parent", "parents", "stage", "states", "winners")

    def __init__(self, stage, first, last, parent, parents, states=None, winners=None):
        self.stage, self.first, self.last, self.parent, self.parents = stage, first, last, parent, parents
        self.states, self.winners, self.memo = states, winners, {}


def unpack_bits(words, n):
    """Return the first ``n`` bits of rows of words: bool[F, n]."""
    j = np.arange(n)
    return (words[:, j // 64] >> (j % 64).astype(np.uint64)) & np.uint64(1) > 0


class Exact:
    """Exact answers for the meshes of some planes.

    Parameters
    ----------
    ops : ExactOps
    stages : tuple of Stage
    planes : list of (float64[D, 3], float64[V, 2])
        Columns e1, e2, origin, in the order of op 0's value; corners of the polygon.
    levels : list of Level
        The levels before a mesh, level 0 first; the faces of level 0 are the planes.
    lines : int32[L, N_LINE_COLUMNS]
    """

    def __init__(self, ops, stages, planes, levels, lines):
        self.ops, self.stages, self.planes, self.levels, self.lines = ops, stages, planes, levels, lines
        self._op_codes, self._operands = ops.network.program.op, ops.network.op_graph.operands
        self._stage_ops = [stage.op for stage in stages if stage.op >= 0]

    # Faces.

    def _ancestor(self, depth, face, n_stages):
        """Return the level, as a depth, and the face with the decisions of the first ``n_stages`` stages only."""
        while depth > 0 and self.levels[depth].stage >= n_stages:
            level = self.levels[depth]
            depth, face = level.parent, int(level.parents[face])
        return depth, face

    def _face_of(self, op, depth, face):
        """Return the first level and face on which op's value is one affine function."""
        return self._ancestor(depth, face, sum(k <= op for k in self._stage_ops))

    def _plane(self, depth, face):
        return int(self.levels[0].parents[self._ancestor(depth, face, 0)[1]])

    def _decisions(self, s, depth, face):
        """Return what stage s decided on a face: bool[J], or for MaxPool int16[windows]."""
        if self.stages[s].first_taps is not None:
            return self._best_taps(s, depth, face)
        found = np.zeros(self.stages[s].n_functions, bool)
        while depth > 0 and self.levels[depth].stage == s:
            level = self.levels[depth]
            found[level.first : level.last] = unpack_bits(level.states[face : face + 1], level.last - level.first)[0]
            depth, face = level.parent, int(level.parents[face])
        return found

    # Values.

    def _denominator(self, op, depth, face):
        """Return the denominator of op's value on a face."""
        return self.ops.denominators[op] * self._input(self._plane(depth, face))[1]

    def _input(self, plane):
        """Return the input as functions on a plane: object[n, 3], denominator."""
        memo = self.levels[0].memo
        if ("input", plane) not in memo:
            memo["input", plane] = as_integers(self.planes[plane][0])
        return memo["input", plane]

    def values(self, op, depth, face):
        """Return all entries of op's value on a face: object[n, 3]."""
        depth, face = self._face_of(op, depth, face)
        memo = self.levels[depth].memo
        if (face, op) not in memo:
            memo[face, op] = self._compute(op, depth, face)
        return memo[face, op]

    def value(self, op, entry, depth, face):
        """Return an entry of op's value on a face: object[3]."""
        depth, face = self._face_of(op, depth, face)
        memo = self.levels[depth].memo
        if (face, op) in memo:
            return memo[face, op][entry]
        if (face, op, entry) not in memo:
            memo[face, op, entry] = self._compute_entry(op, entry, depth, face)
        return memo[face, op, entry]

    def _compute(self, op, depth, face):
        kind = int(self._op_codes[op])
        if kind == ir.INPUT:
            return self._input(self._plane(depth, face))[0]
        if kind == ir.AFFINE:
            return self._fully_connected(op, slice(None), depth, face)
        result = np.empty((n_values(self.ops.network, op), 3), object)
        for k in range(len(result)):
            result[k] = self.value(op, k, depth, face)
        return result

    def _fully_connected(self, op, columns, depth, face):
        """Return entries of a fully connected op's value: object[n, 3]."""
        x, (weights, biases, d) = int(self._operands[op][0]), self.ops.weights(op)
        matrix = weights.reshape(n_values(self.ops.network, x), -1)
        if int(self._op_codes[x]) == ir.RELU:
            used, values = self._active_values(x, depth, face)
        else:
            used, values = slice(None), self.values(x, depth, face)
        result = matrix[used, columns].T.dot(values) if isinstance(columns, slice) else matrix[used][:, columns].T.dot(values)
        if len(biases):
            result[:, 2] += biases[columns] * (self._denominator(op, depth, face) // d)
        return result

    def _active_values(self, op, depth, face):
        """Return which entries of a ReLU are active on a face, and their values: int64[n], object[n, 3]."""
        depth, face = self._face_of(op, depth, face)
        memo = self.levels[depth].memo
        if (face, op, "active") not in memo:
            on = np.flatnonzero(self._decisions(self._stage_ops.index(op), depth, face)[self._neurons(op)])
            x = int(self._operands[op][0])
            if int(self._op_codes[x]) == ir.AFFINE:
                values = self._fully_connected(x, on, depth, face)
            else:
                values = np.empty((len(on), 3), object)
                for k, entry in enumerate(on.tolist()):
                    values[k] = self.value(x, entry, depth, face)
            memo[face, op, "active"] = on, values
        return memo[face, op, "active"]

    def _compute_entry(self, op, entry, depth, face):
        kind, x = int(self._op_codes[op]), int(self._operands[op][0]) if op else 0
        if kind == ir.INPUT:
            return self._input(self._plane(depth, face))[0][entry]
        if kind == ir.AFFINE:
            return self._fully_connected(op, slice(entry, entry + 1), depth, face)[0]
        if kind >= ir.FIRST_SWITCHING:
            return self._switched(op, kind, x, entry, depth, face)
        ratio = self.ops.denominators[op] // self.ops.denominators[x]
        channels, _ = self.ops.shape(op)
        p, c = divmod(entry, channels)
        if kind == ir.CONV2D:
            return self._convolved(op, x, p, c, depth, face)
        if kind == ir.AVG_POOL:
            inside = [int(q) for q in tap_positions(self.ops.network, op)[p] if q >= 0]
            total = sum(self.value(x, q * channels + c, depth, face) for q in inside)
            return total * (ratio // int(self.ops.divisors(op)[p]))
        if kind == ir.SCALE:
            weights, biases, d = self.ops.weights(op)
            result = weights[entry % len(weights)] * self.value(x, entry, depth, face)
            return self._plus(result, biases[entry % len(biases)] if len(biases) else 0, d, op, depth, face)
        if kind == ir.ADD:
            total, (factors, d) = 0, self.ops.coefficients(op)
            for k, factor in zip(self._operands[op], factors, strict=True):
                up = self.ops.denominators[op] // (self.ops.denominators[int(k)] * d)
                total = total + self.value(int(k), entry, depth, face) * (factor * up)
            return total
        if kind == ir.CONCAT:
            for k in self._operands[op]:
                n = self.ops.shape(int(k))[0]
                if c < n:
                    up = self.ops.denominators[op] // self.ops.denominators[int(k)]
                    return self.value(int(k), p * n + c, depth, face) * up
                c -= n
        if kind != ir.GATHER:
            raise UnsupportedOperationError(f"op {op} has code {kind}, which exact answers do not handle; see CONTRIBUTING.md")
        _, biases, d = self.ops.weights(op)
        p = self.ops.network.program
        source = int(p.indices[p.index_offsets[op] + entry])
        if source >= 0:
            return self.value(x, source, depth, face) * ratio
        return self._plus(np.zeros(3, object), biases[entry], d, op, depth, face)

    def _plus(self, function, constant, d, op, depth, face):
        """Add constant / d to a value of op."""
        result = function.copy()
        result[2] += constant * (self._denominator(op, depth, face) // d)
        return result

    def _convolved(self, op, x, p, c, depth, face):
        """Return channel c at position p of a convolution's value."""
        weights, biases, d = self.ops.weights(op)
        groups, taps = int(self.ops.network.program.attributes[op, ir.GROUPS]), tap_positions(self.ops.network, op)[p]
        c_out, c_all = self.ops.shape(op)[0] // groups, self.ops.shape(x)[0]
        c_in, group = c_all // groups, c // c_out
        kernel = weights.reshape(groups, len(taps), c_in, c_out)[group, :, :, c % c_out]
        total = np.zeros(3, object)
        for tap, q in enumerate(taps.tolist()):
            for k in range(c_in) if q >= 0 else ():
                if kernel[tap, k]:
                    total = total + kernel[tap, k] * self.value(x, q * c_all + group * c_in + k, depth, face)
        return self._plus(total, biases[c] if len(biases) else 0, d, op, depth, face)

    def _neurons(self, op):
        """Return the neuron of each entry of a switching op's value: int64[n]."""
        channels, n_positions = self.ops.shape(op)
        return np.arange(channels * n_positions).reshape(channels, n_positions).T.ravel()

    def _switched(self, op, kind, x, entry, depth, face):
        """Return an entry of a switching op's value under the states on the face."""
        s, (channels, n_positions) = self._stage_ops.index(op), self.ops.shape(op)
        neuron = entry % channels * n_positions + entry // channels
        decided = self._decisions(s, depth, face)
        if kind == ir.MAX_POOL:
            return self._tap(s, neuron, int(decided[neuron]), depth, face)
        if kind == ir.RELU:
            return self.value(x, entry, depth, face) if decided[neuron] else np.zeros(3, object)
        if kind == ir.LEAKY_RELU:
            slopes, _, d = self.ops.weights(op)
            return self.value(x, entry, depth, face) * (d if decided[neuron] else slopes[entry % len(slopes)])
        if kind != ir.CLIP:
            raise UnsupportedOperationError(f"op {op} has code {kind}, which exact answers do not handle; see CONTRIBUTING.md")
        limits, d = self.ops.coefficients(op)
        lower, upper = np.isfinite(self.ops.network.program.coefficients[op, :2])
        n = len(decided) // (int(lower) + int(upper)) if lower or upper else 0
        if lower and not decided[neuron]:
            return self._plus(np.zeros(3, object), limits[0], d, op, depth, face)
        if upper and not decided[neuron + (n if lower else 0)]:
            return self._plus(np.zeros(3, object), limits[1], d, op, depth, face)
        return self.value(x, entry, depth, face) * d

    def _tap(self, s, window, number, depth, face):
        """Return the value of a tap of a MaxPool window."""
        op = self._stage_ops[s]
        c, p = divmod(window, self.ops.shape(op)[1])
        x = int(self._operands[op][0])
        q = int(tap_positions(self.ops.network, op)[p, number])
        return self.value(x, q * self.ops.shape(x)[0] + c, depth, face)

    # Functions, lines and points.

    def function(self, s, j, depth, face, comparison=0):
        """Return function j of stage s on a face, times a positive number: object[3]."""
        stage, network = self.stages[s], self.ops.network
        if stage.op == LARGEST:
            step = stage.comparisons[comparison]
            best = int(self._best_taps(s, depth, face)[0])
            return self._of_outputs(stage, int(step.taps[j]), depth, face) - self._of_outputs(stage, best, depth, face)
        if stage.op == CONDITIONS:
            return self._of_outputs(stage, j, depth, face)
        kind, x = int(self._op_codes[stage.op]), int(self._operands[stage.op][0])
        if kind == ir.MAX_POOL:
            step = stage.comparisons[comparison]
            window = int(step.windows[j])
            best = int(self._best_taps(s, depth, face)[window])
            return self._tap(s, window, int(step.taps[j]), depth, face) - self._tap(s, window, best, depth, face)
        if kind == ir.CLIP:
            order = source_order(network, stage.op)
            limits, d = self.ops.coefficients(stage.op)
            lower = np.isfinite(network.program.coefficients[stage.op, 0])
            above = lower and j < len(order)
            z = self.value(x, int(order[j % len(order)]), depth, face) * (d if above else -d)
            shift = limits[0] if above else -limits[1]
            z[2] -= shift * self._denominator(x, depth, face)
            return z
        channels, n_positions = self.ops.shape(stage.op)
        return self.value(x, (j % n_positions) * channels + j // n_positions, depth, face)

    def _of_outputs(self, stage, j, depth, face):
        """Return an affine function of the outputs, times a positive number that is the same for all functions: object[3]."""
        program = self.ops.network.program
        last, memo = len(program.op) - 1, self.levels[0].memo
        key = ("matrix", stage.op, stage.matrix.tobytes(), stage.shift.tobytes())
        if key not in memo:
            memo[key] = as_integers(np.concatenate([stage.matrix, stage.shift[:, None]], axis=1))
        whole, _ = memo[key]
        total = np.zeros(3, object)
        for o in np.flatnonzero(stage.matrix[j]):
            total = total + whole[j, o] * self.value(last, int(program.output_index[o]), depth, face)
        total[2] -= whole[j, -1] * self._denominator(last, depth, face)
        return total

    def _best_taps(self, s, depth, face):
        """Return the number of the tap that is the largest one so far in each window of MaxPool stage s: int16[windows]."""
        while depth > 0 and self.levels[depth].stage == s:
            level = self.levels[depth]
            if level.winners is not None:
                return level.winners[face]
            depth, face = level.parent, int(level.parents[face])
        return self.stages[s].first_taps

    def line(self, number):
        """Return a line as a function (a, b, c) that is 0 on it."""
        stage, j, depth, face = (int(n) for n in self.lines[number])
        memo = self.levels[depth if stage >= 0 else 0].memo
        key = ("line", stage, j, face)
        if key not in memo:
            if stage == SIDE:
                corners = self._corners(int(self.levels[0].parents[face]))
                memo[key] = cross(corners[j], corners[(j + 1) % len(corners)])
            else:
                memo[key] = tuple(self.function(stage & 0xFFFF, j, depth, face, stage >> 16))
        return memo[key]

    def _corners(self, plane):
        memo = self.levels[0].memo
        if ("corners", plane) not in memo:
            whole, d = as_integers(self.planes[plane][1])
            memo["corners", plane] = [(int(u), int(v), d) for u, v in whole]
        return memo["corners", plane]

    def point(self, lines):
        """Return the intersection of two lines, or the corner that both stand for."""
        stage, j, _, plane = (int(n) for n in self.lines[int(lines[0])])
        if stage == CORNER:
            return self._corners(int(self.levels[0].parents[plane]))[j]
        return cross(self.line(int(lines[0])), self.line(int(lines[1])))

    def sign(self, function, lines):
        """Return the sign of a function at the vertex that two lines define."""
        return sign_at(function, self.point(lines))

    def sign_at_crossing(self, function, first, second):
        """Return the sign of a function where two others are 0."""
        return sign_at(function, cross(first, second))

    def order(self, line, functions, first, last):
        """Sort functions by where they are 0 on a line, from point ``first`` to ``last``.

        Returns list of (position in ``functions``, whether at the same point as the one before).
        """
        axis = 0 if first[0] * last[2] != last[0] * first[2] else 1
        ends = [Fraction(p[axis], p[2]) for p in (first, last)]
        sign = 1 if ends[1] > ends[0] else -1
        places = []
        for k, function in enumerate(functions):
            p = cross(line, function)
            places.append((sign * Fraction(p[axis], p[2]), k))
        places.sort()
        return [(k, i > 0 and place == places[i - 1][0]) for i, (place, k) in enumerate(places)]


def stage_code(stage, comparison):
    """Return the number for a stage, and the comparison of a MaxPool stage, that lines are marked with."""
    return stage | comparison << 16
