"""Matrices of chains of affine ops, computed by the ops themselves on unit vectors.

Legend: C columns, O outputs.
"""

from typing import NamedTuple

import numpy as np

from ...errors import CapacityError, UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.planes import rows
from ...scheduling import single_threaded_blas
from ..planes.stages import n_roundings, n_values

MOST_BYTES = 2**31  # of the matrices of one network


class Matrix(NamedTuple):
    """An affine map of columns, with bounds of the sums of absolute values."""

    weights: np.ndarray  # float64[C', C]
    sizes: np.ndarray  # float64[C', C]
    biases: np.ndarray  # float64[C]
    bias_sizes: np.ndarray  # float64[C]


class Columns:
    """The columns of a stage while they are added: ``sign * value - shift``, or differences of two values."""

    def __init__(self):
        self.reads, self.loads, self.constants = [], [], []
        self.n, self.n_recorded, self.factors, self.carried = 0, -1, {}, set()

    def add(self, op, entries, *, sign=1.0, shift=0.0, minus=None):
        """Add columns: ``sign`` times entries of op's value, minus a number, or entries of another value; return the first."""
        first = self.n
        self.reads.append((op, np.asarray(entries), float(sign), float(shift), minus))
        self.n += len(entries)
        return first

    def load(self, first, op, entries, weight=1.0):
        """Make the columns from ``first`` on contribute to entries of op's value in the next stage."""
        self.loads.append((first, op, np.asarray(entries), float(weight)))

    def carry(self, op, size):
        """Add all entries of a value that is read later, once."""
        if op not in self.carried:
            self.carried.add(op)
            self.load(self.add(op, np.arange(size)), op, np.arange(size))


class Chains:
    """Computes the matrices of a network."""

    def __init__(self, network):
        code = network.code
        self._network, self._bytes = network, 0
        self._starts = int(rows.HEIGHT) * code.op_table[:, ir.VALUE]
        constant = slice(int(code.op_table[0, ir.BIAS]), int(code.op_table[0, ir.COEFFICIENTS]))
        self._codes = {}
        for absolute in (False, True):
            for with_biases in (False, True):
                parameters = np.abs(code.parameters) if absolute else code.parameters.copy()
                if not with_biases:
                    parameters[constant] = 0.0
                parameters.setflags(write=False)
                self._codes[absolute, with_biases] = code._replace(parameters=parameters, row_weights=parameters)

    def matrix(self, ops, before, columns):
        """Compute the matrix from the columns of one stage to those of the next one.

        Parameters
        ----------
        ops : int64[*]
            Affine ops between the stages.
        before, columns : Columns

        Returns
        -------
        Matrix

        Raises
        ------
        CapacityError
            The matrices of this network do not fit in memory.
        """
        self._bytes += 16 * before.n * columns.n
        if self._bytes > MOST_BYTES:
            raise CapacityError(
                f"the matrices between the network's layers, with all their zeros, need more than {MOST_BYTES >> 30} GiB; "
                "regions of boxes are found for smaller networks"
            )
        place = _load_places(self._network, self._starts, before)
        constants = _constant_places(self._network, self._starts, before)
        with single_threaded_blas():
            weights = self._images((False, False), ops, before.n, place, columns)
            sizes = self._images((True, False), ops, before.n, (*place[:2], np.abs(place[2]), place[3]), columns)
            biases = self._images((False, True), ops, 1, constants[:4], columns)[0]
            bias_sizes = self._images((True, True), ops, 1, (*constants[:2], constants[4], constants[3]), columns)[0]
        return Matrix(weights, np.maximum(sizes, np.abs(weights)), biases, bias_sizes)

    def _images(self, kind, ops, n, place, columns):
        """Apply ops to n vectors of loaded values, and read columns: float64[n, C]."""
        absolute, with_biases = kind
        height, (vectors, targets, values, widths) = int(rows.HEIGHT), place
        out, buffer = np.empty((n, columns.n)), np.zeros(int(self._starts[-1]))
        for first in range(0, n, height):
            buffer[:] = 0.0
            here = (vectors >= first) & (vectors < first + height)
            np.add.at(buffer, targets[here] + (vectors[here] - first) * widths[here], values[here])
            if not rows.apply_ops(self._codes[kind], ops, buffer):
                raise UnsupportedOperationError(
                    "the network has an op that the kernels do not handle; every chain of ops must handle it, see "
                    "CONTRIBUTING.md"
                )
            rows_here, column = slice(first, min(n, first + height)), 0
            for op, entries, sign, shift, minus in columns.reads:
                value = (abs(sign) if absolute else sign) * self._read(buffer, op, entries)
                if minus is not None:
                    value = value + self._read(buffer, *minus) if absolute else value - self._read(buffer, *minus)
                if with_biases:
                    value = value + abs(shift) if absolute else value - shift
                out[rows_here, column : column + len(entries)] = value[: rows_here.stop - first]
                column += len(entries)
        return out

    def _read(self, buffer, op, entries):
        """Read entries of op's value: float64[HEIGHT, n]."""
        return buffer[self._starts[op] : self._starts[op + 1]].reshape(int(rows.HEIGHT), -1)[:, entries]

    def roundings(self, ops, before):
        """Bound the number of roundings of an entry of a matrix, and of sums of its rows."""
        return before.n + 4 + sum(n_roundings(self._network, op) for op in ops)


def _load_places(network, starts, before):
    """Return, for each load, its column, where row 0 of its value is in a buffer, its weight, and the length of a row."""
    parts = [np.zeros((4, 0))]
    for first, op, entries, weight in before.loads:
        n = len(entries)
        parts.append(
            np.array([first + np.arange(n), starts[op] + entries, np.full(n, weight), np.full(n, n_values(network, op))])
        )
    vectors, targets, weights, widths = np.concatenate(parts, axis=1)
    return vectors.astype(np.int64), targets.astype(np.int64), weights, widths.astype(np.int64)


def _constant_places(network, starts, before):
    """Return the same for the constants, and their magnitudes."""
    parts = [np.zeros((5, 0))]
    for op, entries, values, sizes in before.constants:
        n = len(entries)
        parts.append(np.array([np.zeros(n), starts[op] + entries, values, np.full(n, n_values(network, op)), sizes]))
    vectors, targets, values, widths, sizes = np.concatenate(parts, axis=1)
    return vectors.astype(np.int64), targets.astype(np.int64), values, widths.astype(np.int64), sizes
