"""The plan of a partition: which values cut the faces of a mesh, stage by stage, and how rows get from one stage to the next.

A *stage* is a switching op, or the outputs at the end. Its row has the functions that cut (pre-activations; for Clip both
distances from the bounds; for MaxPool the differences of a tap and the largest one of the taps before it), and then the values
that later ops read. ``kernels/planes/mesh.py`` explains the units of the columns and the bounds on rounding errors.

Legend: C columns of a row, J functions of a stage.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import NumericalError, UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.planes import rows
from ...kernels.planes.mesh import UNIT_ROUNDOFF
from ...op_graph import fan_in

if TYPE_CHECKING:
    from ...network import Network

OUTPUTS = -1  # ``Stage.op`` of the outputs, which cut nothing
LARGEST = -2  # of a stage that compares outputs, or their negatives, as MaxPool compares taps
CONDITIONS = -3  # of a stage of affine functions of the outputs
_LARGEST_EXPONENT = 900
_KEPT_PLANS = 16  # for different sizes of inputs
_MARGIN = 1.0 + 2.0**-30  # of bounds computed with rounding


class Comparison(NamedTuple):
    """One step of MaxPool: compares a tap of some windows with the largest one of the taps before it."""

    windows: np.ndarray  # int64[J]
    taps: np.ndarray  # int64[J] number of the tap in the window
    columns: np.ndarray  # int64[J] its column in the row
    entries: np.ndarray  # int64[J] its entry in the value of the op that the pool reads


class Stage(NamedTuple):
    """One stage."""

    op: int  # the switching op, or OUTPUTS, LARGEST, CONDITIONS
    chain: rows.Chain | None  # from the row of the stage before
    n_functions: int  # J; 0 for the outputs
    width: int  # C
    units: np.ndarray  # float64[C]
    dense: rows.DenseChain | None  # the chain again, if it is one fully connected op after a ReLU
    comparisons: tuple = ()  # MaxPool: Comparison for each tap after the first one
    first_taps: np.ndarray | None = None  # MaxPool: int64[windows] number of the first tap
    best: int = 0  # MaxPool: column of the largest one of the taps so far, of the first window
    matrix: np.ndarray | None = None  # LARGEST, CONDITIONS: float64[J, O] functions of the outputs, matrix @ y - shift
    shift: np.ndarray | None = None  # float64[J]
    zeros_exact: bool = False  # MaxPool: its taps are outputs of a ReLU, which are exactly 0 where they are stored as 0


class _Loads(NamedTuple):
    """How values of ops are read from the row of a stage."""

    groups: list  # (op, first column, number of columns, how)
    entries: np.ndarray  # int64[C]
    exponents: np.ndarray  # int64[C] of the units
    slopes: np.ndarray  # float64[C]
    clip: list  # (op, first lower function or -1, first upper function or -1, first column of the value, both limits)


_PLANS: weakref.WeakKeyDictionary[Network, dict] = weakref.WeakKeyDictionary()  # Network -> {exponents of the inputs: plan}


def plan_stages(network, sizes):
    """Plan the stages of a network.

    Parameters
    ----------
    network : Network
    sizes : float64[D]
        Largest absolute value of each input.

    Returns
    -------
    tuple of Stage

    Raises
    ------
    NumericalError
        The weights are so large or small that bounds on rounding errors overflow.
    """
    exponents = _exponents(np.maximum(sizes, np.max(sizes, initial=0.0) * 2.0**-40))
    plans = _PLANS.setdefault(network, {})
    key = exponents.tobytes()
    if key not in plans:
        if len(plans) >= _KEPT_PLANS:
            plans.clear()
        plans[key] = tuple(_make_stages(network, exponents))
    return plans[key]


def _exponents(sizes):
    """Return exponents e with 2**e >= size: int64."""
    return np.where(sizes > 0.0, np.frexp(sizes)[1], -_LARGEST_EXPONENT).astype(np.int64)


def source_order(network, i):
    """Return the entry in op i's value of each of its neurons: int64[J]."""
    channels, height, width = (int(n) for n in network.program.shapes[i])
    return np.arange(channels * height * width).reshape(height * width, channels).T.ravel()


def n_values(network, i):
    """Return the number of entries of op i's value."""
    return int(network.program.value_offsets[i + 1] - network.program.value_offsets[i])


def _make_stages(network, input_exponents):
    """Yield the stages."""
    graph, n = network.op_graph, network.n_inputs
    exponents = np.empty(n, np.int64)
    exponents[network.program.input_index] = input_exponents
    loads = _Loads([(0, 0, n, rows.COPY)], np.arange(n), exponents, np.zeros(n), [])
    computed = 0
    for i in (*graph.switching.tolist(), OUTPUTS):
        end = len(network.program.op) if i == OUTPUTS else i
        row = _Row(network, loads, [k for k in range(computed + 1, end) if not graph.is_switching[k]])
        stage, loads = _make_stage(network, row, i)
        yield stage
        computed = end


def _make_stage(network, row, i):
    """Return the stage of switching op i, or of the outputs, and how its row is loaded."""
    program, graph = network.program, network.op_graph
    if i == OUTPUTS:
        row.add(len(program.op) - 1, program.output_index)
        return row.finish(i, 0), None
    x, kind, order = int(graph.operands[i][0]), int(program.op[i]), source_order(network, i)
    details = {}
    if kind == ir.MAX_POOL:
        taps = pool_taps(network, i)
        row.add(x, taps[0].entries)
        details["best"] = row.add(x, taps[0].entries)
        first = row.add_value(x)
        row.loads.append((i, details["best"], len(order), rows.COPY))
        row.load_entries[details["best"]] = order
        details["comparisons"] = tuple(c._replace(columns=first + c.entries) for c in taps[1:])
        details["first_taps"] = taps[0].taps
        details["zeros_exact"] = int(program.op[x]) == ir.RELU
        row.n_alike = row.width
    elif kind == ir.CLIP:
        lower, upper = (float(c) for c in program.coefficients[i, :2])
        first_lower = row.add(x, order, 1.0, lower) if np.isfinite(lower) else -1
        first_upper = row.add(x, order, -1.0, -upper) if np.isfinite(upper) else -1
    elif kind in (ir.RELU, ir.LEAKY_RELU):
        row.add(x, order)
        row.loads.append((i, 0, row.width, rows.RELU if kind == ir.RELU else rows.LEAKY))
    else:
        raise UnsupportedOperationError(f"op {i} has code {kind}, which planes do not handle; see CONTRIBUTING.md")
    n_functions = len(order) if kind == ir.MAX_POOL else row.width
    if kind == ir.CLIP:
        value = row.add(x, order)
        row.loads.append((i, value, len(order), rows.COPY))
        row.clip.append((i, first_lower, first_upper, value, lower, upper))
    for op in range(i):
        if any(reader > i for reader in graph.readers[op]):
            row.loads.append((op, row.add_value(op), n_values(network, op), rows.COPY))
    if kind == ir.LEAKY_RELU:
        w = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
        row.slopes = w[order % len(w)]
    stage = row.finish(i, n_functions, **details)
    return stage, row.loads_of(stage)


class _Row:
    """The row of a stage while its columns are added."""

    def __init__(self, network, loads, ops):
        self._network, self._previous, self._ops = network, loads, ops
        self._top = int(loads.exponents.max(initial=0))
        self._growth, self._constants = self._propagate_sizes()
        self._stores, self._parts, self._values = [], [], {}
        self.width, self.n_alike, self.loads, self.load_entries, self.clip, self.slopes = 0, 0, [], {}, [], np.zeros(0)

    def _propagate_sizes(self):
        """Apply the ops with absolute weights to the units of the columns, divided by the largest; and to 0, with constants."""
        code, height = self._network.code, int(rows.HEIGHT)
        size, loads = int(code.op_table[-1, ir.VALUE]), self._previous
        linear, constants = np.zeros(height * size), np.zeros(height * size)
        for op, first, n, _ in loads.groups:
            columns = slice(first, first + n)
            slopes = np.maximum(1.0, np.abs(loads.slopes[columns]))
            units = np.ldexp(slopes, loads.exponents[columns] - self._top)
            linear[height * int(code.op_table[op, ir.VALUE]) + loads.entries[columns]] = units
        absolute = np.abs(code.parameters)
        without = absolute.copy()
        without[int(code.op_table[0, ir.BIAS]) : int(code.op_table[0, ir.COEFFICIENTS])] = 0.0
        for buffer, parameters in ((linear, without), (constants, absolute)):
            parameters.setflags(write=False)
            same = code._replace(parameters=parameters, row_weights=parameters)
            rows.apply_ops(same, np.array(self._ops, np.int64), buffer)
        return linear, constants

    def add(self, op, entries, sign=1.0, shift=0.0):
        """Add columns ``sign * value - shift`` for entries of op's value; return the first one."""
        start, first, n = int(rows.HEIGHT) * int(self._network.code.op_table[op, ir.VALUE]), self.width, len(entries)
        self._stores.append((op, first, n))
        full = np.full(n, sign), np.full(n, shift)
        self._parts.append((entries, *full, self._growth[start + entries], self._constants[start + entries] + abs(shift)))
        self.width += n
        return first

    def add_value(self, op):
        """Add all entries of op's value, unless they are there; return the first column."""
        if op not in self._values:
            self._values[op] = self.add(op, np.arange(n_values(self._network, op)))
        return self._values[op]

    def finish(self, i, n_functions, **details):
        """Return the stage of op i."""
        entries, signs, shifts, growth, constants = (np.concatenate(x) for x in zip(*self._parts, strict=True))
        exponents = np.where(growth > 0.0, _exponents(growth) + self._top, -_LARGEST_EXPONENT)
        exponents = np.maximum(exponents, _exponents(constants))  # so that no constant is large in units of its column
        exponents[(growth == 0.0) & (constants == 0.0)] = 0
        if self.n_alike:  # values that are compared have one unit, their differences its double
            exponents[: self.n_alike] = exponents[: self.n_alike].max()
            exponents[:n_functions] += 1
        if np.abs(exponents).max(initial=0) > _LARGEST_EXPONENT:
            raise NumericalError(
                "the network's weights are so large or so small that bounds on rounding errors overflow; rescale its layers"
            )
        self.entries, self.exponents = entries, exponents
        loads, previous = self._previous, self._previous.clip
        bounds = [
            np.max(np.ldexp(growth, self._top - exponents), initial=0.0) * _MARGIN,
            1.01 * (4 + sum(n_roundings(self._network, op) for op in self._ops)) * float(UNIT_ROUNDOFF),
            np.max(np.ldexp(constants, -exponents), initial=0.0) * _MARGIN,
        ]
        chain = rows.Chain(
            np.array(self._ops, np.int64),
            np.array(loads.groups, np.int64).reshape(-1, 4),
            loads.entries.astype(np.int64),
            np.ldexp(1.0, loads.exponents),
            loads.slopes,
            np.array([c[:4] for c in previous], np.int64).reshape(-1, 4),
            np.array([c[4:] for c in previous], np.float64).reshape(-1, 2),
            np.array(self._stores, np.int64).reshape(-1, 3),
            entries.astype(np.int64),
            signs,
            shifts,
            np.ldexp(1.0, -exponents),
            np.array(bounds),
        )
        return Stage(i, chain, n_functions, self.width, np.ldexp(1.0, exponents), self._dense(chain, exponents), **details)

    def _dense(self, chain, exponents):
        """Return the chain as a DenseChain, or None."""
        program, loads = self._network.program, self._previous
        if len(self._ops) != 1 or int(program.op[self._ops[0]]) != ir.AFFINE or len(loads.groups) != 1:
            return None
        op, (*_, n, how), width = self._ops[0], loads.groups[0], len(loads.exponents)
        if how != rows.RELU or n != width or {s[0] for s in self._stores} != {op}:
            return None
        matrix = program.weights[program.weight_offsets[op] : program.weight_offsets[op + 1]].reshape(width, -1)
        weights = np.ldexp(
            matrix[loads.entries[:, None], chain.store_entry] * chain.store_sign, loads.exponents[:, None] - exponents
        )
        biases = program.biases[program.bias_offsets[op] : program.bias_offsets[op + 1]]
        biases = biases[chain.store_entry] if len(biases) else np.zeros(self.width)
        biases = np.ldexp(chain.store_sign * biases - chain.store_shift, -exponents)
        return rows.DenseChain(np.ascontiguousarray(weights), np.abs(weights), biases, chain.growth[1:].copy())

    def loads_of(self, stage):
        """Return how the finished row is loaded."""
        entries, slopes = self.entries.copy(), np.zeros(self.width)
        for first, order in self.load_entries.items():
            entries[first : first + len(order)] = order
        slopes[: len(self.slopes)] = self.slopes
        return _Loads(self.loads, entries, self.exponents, slopes, self.clip)


def tap_positions(network, i):
    """Return the input position of each tap of each output position of op i, -1 in the padding: int64[P, taps]."""
    table, indices = network.code.op_table[i], network.code.indices
    n, taps = int(table[ir.HEIGHT] * table[ir.WIDTH]), int(table[ir.KERNEL_H] * table[ir.KERNEL_W])
    return indices[table[ir.TAPS] : table[ir.TAPS] + n * taps].reshape(n, taps)


def n_roundings(network, op):
    """Bound the number of roundings of an entry of an affine op's value."""
    return fan_in(network, op) + 2


def pool_taps(network, i):
    """List the windows' first taps inside the image, their second ones, and so on, of the windows that have so many.

    Returns list of Comparison, without columns.
    """
    sources, channels = tap_positions(network, i), int(network.program.shapes[i, 0])
    n_positions = len(sources)
    inside = [np.flatnonzero(row >= 0) for row in sources]
    steps = []
    for k in range(max(map(len, inside))):
        at = np.array([p for p in range(n_positions) if len(inside[p]) > k])
        tap = np.array([inside[p][k] for p in at])
        windows = np.arange(channels)[:, None] * n_positions + at
        entries = sources[at, tap] * channels + np.arange(channels)[:, None]
        numbers = np.broadcast_to(tap, windows.shape)
        steps.append(Comparison(windows.ravel(), numbers.ravel().astype(np.int64), windows.ravel(), entries.ravel()))
    return steps
