"""A network on a box as a sequence of stages: affine functions that cut cells, and matrices from one stage to the next.

Every switching op is written with columns that are multiplied by one number where they are positive, and by another one
elsewhere: ReLU and LeakyReLU directly; Clip as ``lower + relu(z - lower) + min(upper - z, 0)``; MaxPool as one stage for each
tap after the first one, ``best + relu(tap - best)``. Values that later ops read are carried by columns that cut nothing. So all
ops and all graphs are handled alike.

Legend: D free inputs, C columns, F functions that cut, K neurons, O outputs.
"""

from typing import NamedTuple

import numpy as np

from ...errors import CapacityError, NumericalError, UnsupportedOperationError
from ...kernels.ir import program as ir
from ..planes.stages import n_values, pool_taps, source_order
from .matrices import Chains, Columns, Matrix

MOST_FREE = 8
LARGEST = 2.0**900  # value


class Stage(NamedTuple):
    """One stage, and its matrix from the columns of the stage before (of the first stage: from the free inputs)."""

    n_cut: int
    n_recorded: int  # columns that cut, and those that are only recorded
    matrix: Matrix
    factors: np.ndarray  # float64[2, C] what a column that cuts is multiplied by where it is not positive, and where it is


class Block(NamedTuple):
    """Functions that set states of neurons: where they are positive, or where they are not."""

    first: int
    neurons: np.ndarray  # int64[n]
    states: np.ndarray  # int64[n]
    when_positive: bool
    op: int


class Layers(NamedTuple):
    """A network on a box."""

    stages: tuple  # of Stage
    n_layers: int  # stages that belong to switching ops
    free: np.ndarray  # int64[D] inputs whose sides have positive width
    scale: np.ndarray  # float64[D] powers of two; coordinates are inputs divided by them
    roundings: int  # bound of the number of roundings of a value, in units of its magnitude
    first_states: np.ndarray  # int32[K] of neurons whose functions set none
    blocks: tuple  # of Block; later ones override earlier ones
    sources: np.ndarray  # int64[K] recorded column with the pre-activation of each neuron; -1 where there is none
    shifts: np.ndarray  # float64[K] what is added to it
    first_output: int  # recorded column of the first output; -1 where outputs are not recorded
    merges: bool  # whether cells with different signs may have the same states (MaxPool with three taps or more)


def make_layers(network, lower, upper, *, condition=None, outputs=False, ranges=False):
    """Write a network on a box as stages.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D_in]
    condition : HalfSpaces, optional
        The last stage has the columns ``b - A y``.
    outputs : bool
        The last stage records the outputs.
    ranges : bool
        Record the values of MaxPool, in columns of later stages.

    Returns
    -------
    Layers

    Raises
    ------
    CapacityError
        More than 8 inputs are free, or the matrices do not fit in memory.
    """
    free = np.flatnonzero(upper > lower)
    if len(free) > MOST_FREE:
        raise CapacityError(
            f"{len(free)} sides of the box have a positive width, but cells are found for at most {MOST_FREE}; "
            "give lower[d] = upper[d] for the other inputs"
        )
    builder = _Builder(network, np.asarray(lower, np.float64), np.asarray(upper, np.float64), free, ranges)
    for i in network.op_graph.switching.tolist():
        builder.add_switching(i)
    n_layers = len(builder.stages)
    if condition is not None or outputs or builder.pending:
        builder.add_last(condition, outputs)
    return builder.finish(n_layers)


class _Builder:
    """The stages while they are made, one after another."""

    def __init__(self, network, lower, upper, free, ranges):
        self.network, self.free, self.ranges = network, free, ranges
        self.chains, self.stages, self.blocks, self.pending = Chains(network), [], [], []
        self.n_functions = self.n_recorded = self.computed = 0
        self.roundings, k = 8 + len(free), network.n_neurons
        self.first_states, self.merges = np.zeros(k, np.int32), False
        self.sources, self.shifts, self.first_output = np.full(k, -1, np.int64), np.zeros(k), -1
        size = np.maximum(np.abs(lower), np.abs(upper))
        self.scale = np.ldexp(1.0, np.frexp(size[free])[1])
        entries, fixed = network.program.input_index, lower.copy()
        fixed[free] = 0.0
        self.before = Columns()
        self.before.n = len(free)
        for d, (index, scale) in enumerate(zip(free, self.scale, strict=True)):
            self.before.load(d, 0, entries[[index]], scale)
        self.before.constants.append((0, entries, fixed, size))

    def add_switching(self, i):
        """Add the stages of switching op i."""
        program = self.network.program
        kind, x, order = int(program.op[i]), int(self.network.op_graph.operands[i][0]), source_order(self.network, i)
        neurons = int(program.neuron_offsets[i]) + np.arange(len(order))
        columns = Columns()
        if kind == ir.MAX_POOL:
            self._add_pool(i, x, order, neurons)
        elif kind == ir.CLIP:
            self._add_clip(columns, i, x, order, neurons)
        elif kind in (ir.RELU, ir.LEAKY_RELU):
            columns.load(self._cut(columns, i, order, neurons, 1), i, order)
            self.sources[neurons] = self.n_recorded + np.arange(len(order))
            if kind == ir.LEAKY_RELU:
                w = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
                columns.factors[0] = w[order % len(w)], np.ones(len(order))
            self._finish_stage(columns, i, len(order))
        else:
            raise UnsupportedOperationError(f"op {i} has code {kind}, which regions do not handle; see CONTRIBUTING.md")

    def _cut(self, columns, i, entries, neurons, states, *, sign=1.0, **options):
        """Add columns that cut, and set states of neurons where they (``sign`` times) are positive; return the first one."""
        first = columns.add(int(self.network.op_graph.operands[i][0]), entries, sign=sign, **options)
        states = np.broadcast_to(np.int64(states), neurons.shape)
        self.blocks.append(Block(self.n_functions + first, neurons, states, sign > 0.0, i))
        return first

    def _add_clip(self, columns, i, x, order, neurons):
        """Add the stage of a Clip."""
        lower, upper = (float(c) for c in self.network.program.coefficients[i, :2])
        n_cut = 0
        if np.isfinite(lower):
            columns.load(self._cut(columns, i, order, neurons, 1, shift=lower), i, order)
            full = np.full(len(order), lower)
            columns.constants.append((i, order, full, np.abs(full)))
            self.shifts[neurons], n_cut = lower, len(order)
        else:
            self.first_states[neurons] = 1
        if np.isfinite(upper):
            first = self._cut(columns, i, order, neurons, 2, sign=-1.0, shift=-upper)
            columns.load(first, i, order)
            columns.factors[first] = np.ones(len(order)), np.zeros(len(order))
            n_cut += len(order)
        if not np.isfinite(lower):
            columns.load(columns.add(x, order), i, order)
        self.sources[neurons] = self.n_recorded + np.arange(len(order)) + (0 if np.isfinite(lower) else n_cut)
        self._finish_stage(columns, i, n_cut)

    def _add_pool(self, i, x, order, neurons):
        """Add a stage for each tap of MaxPool op i after the first one; or one stage that cuts nothing."""
        taps, size = pool_taps(self.network, i), n_values(self.network, x)
        self.first_states[neurons] = taps[0].taps
        self.merges = self.merges or len(taps) > 2
        for k, tap in enumerate(taps[1:], start=1):
            columns, best = Columns(), (x, taps[0].entries) if k == 1 else (i, order)
            at = best[0], best[1][tap.windows]
            columns.load(self._cut(columns, i, tap.entries, neurons[tap.windows], tap.taps, minus=at), i, order[tap.windows])
            self._record_pending(columns)
            columns.load(columns.add(*best), i, order)
            if k + 1 < len(taps):
                columns.carry(x, size)
            self._finish_stage(columns, i, len(tap.entries))
        if len(taps) == 1:
            columns = Columns()
            self._record_pending(columns)
            columns.load(columns.add(x, taps[0].entries), i, order)
            self._finish_stage(columns, i, 0)
        if self.ranges:
            self.pending.append((i, neurons))

    def _record_pending(self, columns):
        """Add columns that record the values of ops before, after those that cut."""
        if columns.n_recorded >= 0:
            return
        for op, neurons in self.pending:
            first = columns.add(op, source_order(self.network, op))
            self.sources[neurons] = self.n_recorded + first + np.arange(len(neurons))
        self.pending = []
        columns.n_recorded = columns.n

    def _finish_stage(self, columns, i, n_cut):
        """Carry the values that ops after op i read, and make the stage."""
        graph = self.network.op_graph
        self._record_pending(columns)
        for op in range(i):
            if any(reader > i for reader in graph.readers[op]):
                columns.carry(op, n_values(self.network, op))
        self._make_stage(columns, i, n_cut)

    def _make_stage(self, columns, i, n_cut):
        graph = self.network.op_graph
        ops = np.array([k for k in range(self.computed + 1, i) if not graph.is_switching[k]], np.int64)
        matrix, factors = self.chains.matrix(ops, self.before, columns), np.zeros((2, columns.n))
        factors[1] = 1.0
        for first, pair in columns.factors.items():
            factors[:, first : first + len(pair[0])] = pair
        self.roundings += self.chains.roundings(ops, self.before)
        self.stages.append(Stage(n_cut, columns.n_recorded, matrix, factors))
        self.n_functions += n_cut
        self.n_recorded += columns.n_recorded
        self.computed, self.before = i, columns

    def add_last(self, condition, outputs):
        """Add the stage of a condition, and of recorded outputs and values."""
        columns, program, n_functions = Columns(), self.network.program, self.n_functions
        n_cut, n, first = len(condition.b) if condition is not None else 0, len(program.output_index), self.n_recorded
        columns.add(len(program.op) - 1, program.output_index)
        for op, neurons in self.pending:
            start = first + n_cut + columns.add(op, source_order(self.network, op))
            self.sources[neurons] = start + np.arange(len(neurons))
        self._make_stage(columns, len(program.op), 0)
        stage = self.stages.pop()
        if condition is None:
            mix, shift = np.zeros((n, 0)), np.zeros(0)
        else:
            mix, shift = -condition.A.T, condition.b
            self.roundings += n + 2
        m = stage.matrix
        parts = [
            (np.hstack([m.weights[:, :n] @ mix, m.weights])),
            (np.hstack([m.sizes[:, :n] @ np.abs(mix), m.sizes])),
            np.concatenate([m.biases[:n] @ mix + shift, m.biases]),
            np.concatenate([m.bias_sizes[:n] @ np.abs(mix) + np.abs(shift), m.bias_sizes]),
        ]
        self.first_output = first + n_cut if outputs else -1
        self.stages.append(Stage(n_cut, n_cut + columns.n, Matrix(*parts), np.ones((2, n_cut + columns.n))))
        self.n_functions = n_functions

    def finish(self, n_layers):
        """Return the stages with what is needed to read results."""
        largest = self.stages[0].matrix.bias_sizes if self.stages else np.zeros(0)
        with np.errstate(over="ignore", invalid="ignore"):
            for k, stage in enumerate(self.stages[1:]):
                slopes = np.maximum(1.0, np.abs(self.stages[k].factors).max(axis=0))
                largest = stage.matrix.bias_sizes + (largest * slopes) @ stage.matrix.sizes
        if not (largest < LARGEST).all():
            raise NumericalError("the network's weights are so large that bounds on values overflow; rescale its layers")
        return Layers(
            tuple(self.stages), n_layers, self.free, self.scale, self.roundings, self.first_states, tuple(self.blocks),
            self.sources, self.shifts, self.first_output, self.merges,
        )  # fmt: skip
