"""Exact signs of functions at vertices of cells, with integers.

A vertex is the exact intersection of the hyperplanes that it lies on; each is a function that is affine on a cell, with the
signs of the functions of all stages before. Weights and sides of the box are floating-point numbers, that is, integers divided
by powers of two. The value of a function at a vertex comes from an exact forward pass there: it is continuous, so all cells
around the vertex have the same one.

Legend: D_in inputs, F free inputs, n entries of a value.
"""

import math
from typing import NamedTuple

import numpy as np

from ...errors import NumericalError, UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.regions import state as st
from ..exact_values import Evaluation
from ..planes.integers import as_integers, exact_ops
from ..planes.stages import pool_taps, source_order
from .results import states_of_signs

_KEPT = 2**14  # values of ops, and vertices


class _Form(NamedTuple):
    """A function as ``plus - minus - shift`` of entries of an op's value, times ``sign``."""

    op: int
    plus: int
    minus: int  # -1 for none
    shift: tuple  # numerator, denominator
    sign: int  # 0: row ``plus`` of the condition


class _StateEvaluation(Evaluation):
    """One op, with the states of its neurons given."""

    def __init__(self, ops, i, values, scale, states):
        super().__init__(ops, i, values, scale)
        self.states = states

    def _switched(self, kind):
        states = np.empty(len(self.states), np.int64)
        states[source_order(self.network, self.i)] = self.states
        if kind == ir.RELU:
            return np.where(states > 0, self.x, 0)
        if kind == ir.LEAKY_RELU:
            return np.where(states > 0, self.x * self.ratio, self.x * self.slopes())
        if kind == ir.CLIP:
            bounds, _ = self.ops.coefficients(self.i)
            up = self.ops.denominators[self.operands[0]] * self.scale
            return np.where(states == 1, self.x * self.ratio, np.where(states == 0, bounds[0] * up, bounds[1] * up))
        if kind != ir.MAX_POOL:
            raise UnsupportedOperationError(
                f"op {self.i} has code {kind}, which exact regions do not handle; see CONTRIBUTING.md"
            )
        windows = self._taps(0)
        positions, _, channels = windows.shape
        return windows[np.arange(positions)[:, None], states.reshape(positions, channels), np.arange(channels)].ravel()


class ExactSigns:
    """Answers the questions of a search of the cells of a network on a box.

    Parameters
    ----------
    network : Network
    layers : Layers
    lower, upper : float64[D_in]
    polytope : (float64[M, D_in], float64[M])
        Rows of ``A x <= b``, which hyperplanes of cells may be.
    condition : HalfSpaces, optional
        The rows ``b - A y`` of outputs are the last functions.
    """

    def __init__(self, network, layers, lower, upper, polytope, condition=None):
        self._network, self._layers = network, layers
        self._ops = None if network is None else exact_ops(network)  # None: there are rows of a polytope only
        self._free = layers.free
        fixed = lower.copy()
        fixed[self._free] = 0.0
        self._constant, self._scale = as_integers(fixed)
        self._sides = np.array([lower[self._free], upper[self._free]])
        self._rows, self._n_functions = polytope, sum(len(block.neurons) for block in layers.blocks)
        self._condition = None if condition is None else as_integers(np.column_stack([condition.A, condition.b]))[0]
        self._first_functions = np.array([block.first for block in layers.blocks], np.int64)
        self._maps, self._planes, self._vertices, self._signs, self._points = {}, {}, {}, {}, {}

    def answer(self, problem, work):
        """Answer the question of a slot with the status NEED_SIGNS. Out: work.answers, work.at."""
        at = work.at
        level, offset, stage = int(at[st.LEVEL]), int(at[st.OFFSET]), int(at[st.STAGE])
        function = int(problem.stages[stage, st.FIRST_BIT]) + int(at[st.ASKED_COLUMN])
        pattern = int.from_bytes(np.ascontiguousarray(work.patterns[level]).tobytes(), "little")
        starts = problem.stages[:, st.FIRST_BIT]
        for q in range(int(at[st.N_ASKED])):
            i = int(work.index[2, q])
            word, ids = int(work.bits[offset + i]), []
            while word:
                bit = word & -word
                ids.append(int(work.plane_ids[work.facets[level, bit.bit_length() - 1]]))
                word ^= bit
            keys = tuple(sorted(self._key(f, pattern, starts) for f in ids))
            work.answers[q] = self._sign(function, pattern, self._vertex(keys))
        at[st.ANSWERED] = 1

    @staticmethod
    def _key(function, pattern, starts):
        """Return what a hyperplane depends on: the function, and the signs of the stages before."""
        if function < 0:
            return function, 0
        first = int(starts[np.searchsorted(starts, function, side="right") - 1])
        return function, pattern & ((1 << first) - 1)

    def _vertex(self, keys):
        """Return the intersection of hyperplanes in homogeneous coordinates: tuple of F + 1 int, the last one positive."""
        if keys not in self._vertices:
            if len(self._vertices) > _KEPT:
                self._vertices.clear()
            self._vertices[keys] = _intersection([self._plane(key) for key in keys], len(self._free))
        return self._vertices[keys]

    def _plane(self, key):
        """Return a hyperplane's coefficients, the constant last: list of F + 1 int."""
        if key not in self._planes:
            if len(self._planes) > _KEPT:
                self._planes.clear()
            self._planes[key] = _reduced(self._affine(*key))
        return self._planes[key]

    def _affine(self, function, prefix):
        n = len(self._free)
        if function < -2 * n:
            return self._row(-1 - 2 * n - function)
        if function < 0:
            d, side = divmod(-1 - function, 2)
            p, q = float(self._sides[side, d]).as_integer_ratio()
            return [q if k == d else 0 for k in range(n)] + [-p]
        form = self._form(function, prefix)
        columns = self._columns(form.op, prefix)
        scales = [0] * n + [self._scale]
        return [self._apply(form, columns[d], scales[d]) * (self._scale if d < n else 1) for d in range(n + 1)]

    def _row(self, m):
        """Return row m of the polytope, as a function of the free inputs."""
        whole, _ = as_integers(np.append(self._rows[0][m], self._rows[1][m]))
        constant = sum(int(a) * int(x) for a, x in zip(whole[:-1], self._constant, strict=True)) - int(whole[-1]) * self._scale
        return [int(whole[d]) * self._scale for d in self._free] + [constant]

    def _apply(self, form, value, scale):
        """Return a positive multiple of a function, from the numerators of a value."""
        denominator = self._ops.denominators[form.op]
        if form.sign == 0:  # row ``form.plus`` of the condition
            row, outputs = self._condition[form.plus], value[self._network.program.output_index]
            return int(row[-1]) * denominator * scale - sum(int(a) * int(y) for a, y in zip(row[:-1], outputs, strict=True))
        total = value[form.plus] - (value[form.minus] if form.minus >= 0 else 0)
        return form.sign * (int(total) * form.shift[1] - form.shift[0] * denominator * scale)

    def _form(self, function, pattern):
        """Return a function in terms of the values of an op; ``pattern`` has the signs of the stages before."""
        if function >= self._n_functions:
            return _Form(len(self._network.program.op) - 1, function - self._n_functions, -1, (0, 1), 0)
        b = int(np.searchsorted(self._first_functions, function, side="right")) - 1
        while not len(self._layers.blocks[b].neurons):
            b -= 1
        block, network = self._layers.blocks[b], self._network
        j = function - block.first
        neuron = int(block.neurons[j])
        kind, x = int(network.program.op[block.op]), int(network.op_graph.operands[block.op][0])
        place = neuron - int(network.program.neuron_offsets[block.op])
        if kind == ir.MAX_POOL:
            entries = self._tap_entries(block.op)
            best = self._winner(b, neuron, pattern)
            return _Form(x, entries[place, int(block.states[j])], entries[place, best], (0, 1), 1)
        entry = int(source_order(network, block.op)[place])
        if kind != ir.CLIP:
            return _Form(x, entry, -1, (0, 1), 1)
        bounds, d = self._ops.coefficients(block.op)
        return _Form(x, entry, -1, (bounds[0 if block.when_positive else 1], d), 1 if block.when_positive else -1)

    def _winner(self, b, neuron, pattern):
        """Return the largest one of the taps of a window before those of block b."""
        blocks = self._layers.blocks
        op, best = blocks[b].op, int(self._layers.first_states[neuron])
        for block in blocks[:b]:
            if block.op == op:
                for j in np.flatnonzero(block.neurons == neuron).tolist():
                    if pattern >> (block.first + j) & 1:
                        best = int(block.states[j])
        return best

    def _tap_entries(self, op):
        """Return the entry of each tap of each window, in the order of neurons: int64[n, taps]."""
        key = "taps", op
        if key not in self._maps:
            taps = pool_taps(self._network, op)
            most = 1 + max(int(tap.taps.max(initial=0)) for tap in taps)
            entries = np.full((len(taps[0].windows), most), -1, np.int64)
            for tap in taps:
                entries[tap.windows, tap.taps] = tap.entries
            self._maps[key] = entries
        return self._maps[key]

    def _columns(self, op, prefix):
        """Return the coefficients of op's value under signs, and its constants: list of F + 1 object[n]."""
        last = max((block.first + len(block.neurons) for block in self._layers.blocks if block.op <= op), default=0)
        key = op, prefix & ((1 << last) - 1)
        if key not in self._maps:
            if len(self._maps) > _KEPT:
                self._maps.clear()
            self._maps[key] = self._compute_columns(op, key[1])
        return self._maps[key]

    def _compute_columns(self, op, prefix):
        network, n = self._network, len(self._free)
        if op == 0:
            columns = [np.zeros(len(self._constant), object) for _ in range(n + 1)]
            for d, k in enumerate(self._free.tolist()):
                columns[d][network.program.input_index[k]] = 1
            columns[n][network.program.input_index] = self._constant
            return columns
        operands = [int(k) for k in network.op_graph.operands[op]]
        before = {k: self._columns(k, prefix) for k in operands}
        states = None
        if network.op_graph.is_switching[op]:
            signs = np.array([[prefix >> f & 1 for f in range(self._n_functions)]], bool)
            first, last = network.program.neuron_offsets[op : op + 2]
            states = states_of_signs(self._layers, signs)[0, first:last]
        return [
            _StateEvaluation(self._ops, op, {k: v[d] for k, v in before.items()}, 0 if d < n else self._scale, states).value()
            for d in range(n + 1)
        ]

    def _sign(self, function, pattern, vertex):
        """Return the sign of a function at a vertex."""
        form = self._form(function, pattern)
        key = form, vertex
        if key not in self._signs:
            if len(self._signs) > 4 * _KEPT:
                self._signs.clear()
            values, scale = self._at(vertex)
            number = self._apply(form, self._value(form.op, values, scale), scale)
            self._signs[key] = (number > 0) - (number < 0)
        return self._signs[key]

    def _at(self, vertex):
        """Return the values at a vertex that are known, by op, and the denominator of the inputs."""
        if vertex not in self._points:
            if len(self._points) > _KEPT // 8:
                self._points.clear()
            weight, n = vertex[-1], len(self._constant)
            point = np.array([int(x) * weight for x in self._constant], object)
            point[self._free] = [x * self._scale for x in vertex[:-1]]
            first = np.zeros(n, object)
            first[self._network.program.input_index] = point
            self._points[vertex] = {0: first}, weight * self._scale
        return self._points[vertex]

    def _value(self, op, values, scale):
        """Return the numerators of op's value at a point, and keep them."""
        if op not in values:
            for k in self._network.op_graph.operands[op]:
                self._value(int(k), values, scale)
            values[op] = Evaluation(self._ops, op, values, scale).value()
        return values[op]


def _reduced(row):
    """Return integers without their common divisor."""
    divisor = math.gcd(*row)
    return [x // divisor for x in row] if divisor > 1 else list(row)


def _intersection(rows, n):
    """Return the only point on all hyperplanes, in homogeneous coordinates: tuple of n + 1 int, the last one positive."""
    basis = []  # (pivot, row), each row zero at the pivots of the others
    for row in rows:
        row = list(row)
        for pivot, other in basis:
            if row[pivot]:
                a, b = row[pivot], other[pivot]
                row = [b * x - a * y for x, y in zip(row, other, strict=True)]
        pivot = next((d for d in range(n) if row[d]), None)
        if pivot is None:
            continue
        row = _reduced(row)
        for k, (p, other) in enumerate(basis):
            if other[pivot]:
                a, b = other[pivot], row[pivot]
                basis[k] = p, _reduced([b * x - a * y for x, y in zip(other, row, strict=True)])
        basis.append((pivot, row))
        if len(basis) == n:
            break
    if len(basis) < n:
        raise NumericalError("the hyperplanes of a vertex do not meet in one point; this is a bug, please report it")
    weight = math.lcm(*(row[p] for p, row in basis))
    point = [0] * n
    for p, row in basis:
        point[p] = -row[n] * (weight // row[p])
    return tuple(_reduced([*point, weight]))
