"""A network without its affine ops: the input of each switching op as an affine function of the inputs and switched values.

The vector ``v`` has the entries of op 0, then the values of each switching op in stored order (``p * C + c``). The input of
switching op s is ``z_s = Z_s v + c_s``, where rows of ``Z_s`` read entries of earlier ops only. Where an affine op reads
inputs or switched values, ``Z_s`` has its weights unchanged; products of several affine ops are rounded, and ``E_s``, ``e_s``
bound the error of each entry. ``exact_rows`` gives the rows in rational arithmetic.

Legend: V entries of v, m entries of one op's input, n neurons of one op, P points.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..kernels.ir import program as ir
from ..tolerances import UNIT_ROUNDOFF
from .op_matrices import op_matrices, sparse, tap_table

GRID, GRID_BITS = 26, 52  # values that are multiples of 2**-GRID; bits of sums that are exact
INFLATION = 1.0 + 2.0**-30  # of error bounds, for the rounding in their computation
TINY = 2.0**-1070  # of each sum, for products that underflow


class Block(NamedTuple):
    """A switching op: its input as an affine function, and its pieces or windows."""

    op: int
    first: int  # first entry of v of its values
    Z: sp.csr_matrix  # float64[m, V]
    c: np.ndarray  # float64[m]
    E: sp.csr_matrix | None  # bounds of the errors of Z; None where it is exact
    e: np.ndarray  # float64[m] bounds of the errors of c
    numbers: np.ndarray  # int64[n] number of the neuron of each stored entry
    thresholds: np.ndarray  # float64[T] increasing; of elementwise ops
    states: np.ndarray  # int64[T+1] state of each piece
    slopes: np.ndarray  # float64[T+1, n]
    intercepts: np.ndarray  # float64[T+1]
    windows: np.ndarray | None  # int64[n, taps] entries of z, -1 in the padding; of MaxPool
    grid: int | None  # Z is exact, and its entries are multiples of 2**-grid

    @property
    def n(self):
        """Number of neurons."""
        return len(self.numbers)


class Values(NamedTuple):
    """Values at points and bounds of their rounding errors."""

    v: np.ndarray  # float64[V, P]
    z: tuple  # of float64[m, P], one for each block
    z_errors: tuple


def _pieces(program, i, n):
    """Return thresholds, states, slopes and intercepts of an elementwise op with n neurons."""
    kind, slopes = program.op[i], np.zeros((2, n))
    slopes[1] = 1.0
    if kind == ir.CLIP:
        limits, pieces = program.coefficients[i, :2], np.array([[0.0], [1.0], [0.0]])
        kept = np.array([np.isfinite(limits[0]), True, np.isfinite(limits[1])])
        intercepts = np.array([limits[0], 0.0, limits[1]])[kept]
        return limits[np.isfinite(limits)], np.flatnonzero(kept), np.repeat(pieces[kept], n, axis=1), intercepts
    if kind == ir.LEAKY_RELU:
        weights = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
        slopes[0] = np.tile(weights, n // len(weights))
    elif kind != ir.RELU:
        slopes[:] = np.nan
    return np.zeros(1), np.arange(2), slopes, np.zeros(2)


class _Affine(NamedTuple):
    """An op's value as an affine function of v, with error bounds."""

    M: sp.csr_matrix
    c: np.ndarray
    E: sp.csr_matrix | None
    e: np.ndarray
    is_selection: bool  # each entry is one entry of v, or 0


class Elimination:
    """The switching ops of a network with their inputs as affine functions (see the module).

    Parameters
    ----------
    network : Network
    rows : (float64[M, O], float64[M]), optional
        A and b: adds a last block without neurons, whose input is ``A y - b`` for the outputs y.
    """

    def __init__(self, network, rows=None):
        program, code, graph = network.program, network.code, network.op_graph
        self.network = network
        sizes = np.prod(program.shapes, axis=1)
        self.firsts = {0: 0}
        self.n_inputs = int(sizes[0])
        total = self.n_inputs
        for i in graph.switching:
            self.firsts[int(i)] = total
            total += int(sizes[i])
        self.n_entries = total
        self.blocks, values = [], {0: self._selection(0, int(sizes[0]))}
        for i in range(1, len(program.op)):
            operands = [values[int(j)] for j in graph.operands[i]]
            if graph.is_switching[i]:
                self.blocks.append(self._block(program, code, i, operands[0]))
                values[i] = self._selection(self.firsts[i], int(sizes[i]))
            else:
                values[i] = _compose(*op_matrices(program, code, i), operands, self.n_entries)
        self._exact, self._rows = {}, rows
        if rows is not None:
            self.blocks.append(self._block_of_rows(program, values[len(program.op) - 1], *rows))

    def _selection(self, first, size):
        M = sparse(np.ones(size), np.arange(size), first + np.arange(size), (size, self.n_entries))
        return _Affine(M, np.zeros(size), None, np.zeros(size), True)

    def _block(self, program, code, i, value):
        channels, n = int(program.shapes[i, 0]), int(np.prod(program.shapes[i]))
        positions = n // channels
        p, c = np.divmod(np.arange(n), channels)
        numbers, windows = int(program.neuron_offsets[i]) + c * positions + p, None
        exact = grid(value.M.data) if value.E is None and not value.e.any() else None
        pieces = np.zeros(0), np.zeros(0, np.int64), np.zeros((0, n)), np.zeros(0)
        if program.op[i] == ir.MAX_POOL:
            table = tap_table(code, i)[p]
            windows = np.where(table >= 0, table * channels + c[:, None], -1)
        else:
            pieces = _pieces(program, i, n)
        return Block(i, self.firsts[i], value.M, value.c, value.E, value.e, numbers, *pieces, windows, exact)

    def _block_of_rows(self, program, value, A, b):
        at = program.output_index
        y = value._replace(M=value.M[at], c=value.c[at], E=None if value.E is None else value.E[at], e=value.e[at])
        rows = _compose([sp.csr_matrix(A)], -b, np.ones(len(b)), [y], self.n_entries)
        exact = grid(rows.M.data) if rows.E is None and not rows.e.any() else None
        nothing = np.zeros(0, np.int64)
        pieces = np.zeros(0), nothing, np.zeros((0, 0)), np.zeros(0)
        windows = np.zeros((0, 1), np.int64)
        return Block(len(program.op), self.n_entries, rows.M, rows.c, rows.E, rows.e, nothing, *pieces, windows, exact)

    def load(self, points):
        """Return points float64[P, D] in the order of op 0: float64[D, P]."""
        x = np.zeros((self.n_inputs, len(points)))
        x[self.network.program.input_index] = points.T
        return x

    def unload(self, x):
        """Return entries of op 0 float64[D, P] as points: float64[P, D]."""
        return np.ascontiguousarray(x[self.network.program.input_index].T)

    def evaluate(self, points, *, errors=True, last=None):
        """Evaluate all blocks, or those up to ``last``, with bounds of the rounding errors: Values."""
        v, ev = np.zeros((self.n_entries, len(points))), np.zeros((self.n_entries, len(points) if errors else 0))
        v[: self.n_inputs] = self.load(points)
        zs, zes = [], []
        for block in self.blocks[: None if last is None else last + 1]:
            z = block.Z @ v + block.c[:, None]
            zs.append(z)
            rows = slice(block.first, block.first + block.n)
            v[rows], lipschitz, rounding = _switch(block, z)
            if errors:
                zes.append(_sum_errors(block, v, ev))
                own = zes[-1] if block.windows is None else _window_max(block, zes[-1])
                ev[rows] = (lipschitz * own + rounding * np.abs(v[rows])) * INFLATION + TINY
        return Values(v, tuple(zs), tuple(zes))

    def states_of(self, s, z):
        """Return the piece (elementwise) or winning tap (MaxPool) of each neuron of block s: int64[n, P]."""
        block = self.blocks[s]
        if block.windows is None:
            return (z[None] > block.thresholds[:, None, None]).sum(axis=0)
        return _taps(block, z).argmax(axis=1)

    def gradients(self, values, seeds, last):
        """Compute the gradient in the inputs of a sum of entries of the z of block ``last``.

        Parameters
        ----------
        values : Values
        seeds : list of (float64[m, P] or None)
            Weights of the entries of each block's z, for each point.
        last : int
            The highest block with seeds.

        Returns
        -------
        float64[D, P]
            In the order of op 0.
        """
        n_points = values.v.shape[1]
        gv = np.zeros((self.n_entries, n_points))
        for s in range(last, -1, -1):
            block = self.blocks[s]
            gy, state = gv[block.first : block.first + block.n], self.states_of(s, values.z[s])
            if block.windows is None:
                gz = block.slopes[state, np.arange(block.n)[:, None]] * gy
            else:
                gz = np.zeros_like(values.z[s])
                np.add.at(gz, (np.take_along_axis(block.windows, state, axis=1), np.arange(n_points)), gy)
            if seeds[s] is not None:
                gz = gz + seeds[s]
            if gz.any():
                gv += block.Z.T @ gz
        return gv[: self.n_inputs]

    def exact_row(self, s, entry):
        """Return an entry of block s's input in rational arithmetic: (dict of coefficients by entry of v, constant)."""
        if (s, entry) not in self._exact:
            block = self.blocks[s]
            if block.E is None and not block.e.any():
                part = slice(block.Z.indptr[entry], block.Z.indptr[entry + 1])
                pairs = zip(block.Z.indices[part].tolist(), block.Z.data[part].tolist(), strict=True)
                row = {j: Fraction(w) for j, w in pairs if w}, Fraction(float(block.c[entry]))
            elif block.op == len(self.network.program.op):
                row = self._exact_output_row(entry)
            else:
                row = _exact_entry(self, int(self.network.op_graph.operands[block.op][0]), entry)
            self._exact[s, entry] = row
        return self._exact[s, entry]

    def _exact_output_row(self, entry):
        A, b = self._rows
        row, constant = {}, -Fraction(float(b[entry]))
        for o in np.flatnonzero(A[entry]).tolist():
            weight, last = Fraction(float(A[entry, o])), len(self.network.program.op) - 1
            below, shift = _exact_entry(self, last, int(self.network.program.output_index[o]))
            constant += weight * shift
            for j, w in below.items():
                row[j] = row.get(j, Fraction(0)) + weight * w
        return {j: w for j, w in row.items() if w}, constant

    def evaluate_exactly(self, point, last):
        """Evaluate the inputs of blocks up to ``last`` at a point float64[D]: list of lists of Fractions."""
        v = dict(enumerate(Fraction(float(x)) for x in self.load(point[None])[:, 0]))
        zs = []
        for s, block in enumerate(self.blocks[: last + 1]):
            rows = (self.exact_row(s, k) for k in range(len(block.c)))
            zs.append([sum((w * v[j] for j, w in row.items()), constant) for row, constant in rows])
            for k in range(block.n):
                v[block.first + k] = _switch_exactly(block, k, zs[-1])
        return zs

    @property
    def n_products(self):
        """Number of multiplications of an evaluation."""
        return sum(block.Z.nnz for block in self.blocks)


def _switch_exactly(block, k, z):
    """Return the value of neuron k (stored order) of a block for its input in Fractions."""
    if block.windows is not None:
        return max(z[j] for j in block.windows[k].tolist() if j >= 0)
    piece = sum(z[k] > Fraction(float(t)) for t in block.thresholds)
    return Fraction(float(block.slopes[piece, k])) * z[k] + Fraction(float(block.intercepts[piece]))


def _exact_entry(elimination, op, entry):
    """Return an entry of an op's value as an exact affine function of v, by the affine ops below it."""
    if op in elimination.firsts:
        return {elimination.firsts[op] + entry: Fraction(1)}, Fraction(0)
    program, code = elimination.network.program, elimination.network.code
    cached = elimination._exact.get(("op", op))
    if cached is None:
        cached = elimination._exact["op", op] = op_matrices(program, code, op)
    matrices, constants, divisors = cached
    row, constant = {}, Fraction(float(constants[entry]))
    for j, A in zip(elimination.network.op_graph.operands[op].tolist(), matrices, strict=True):
        for at in range(A.indptr[entry], A.indptr[entry + 1]):
            weight = Fraction(float(A.data[at])) / int(divisors[entry])
            key = ("value", j, int(A.indices[at]))
            below = elimination._exact.get(key)
            if below is None:
                below = elimination._exact[key] = _exact_entry(elimination, j, int(A.indices[at]))
            constant += weight * below[1]
            for column, coefficient in below[0].items():
                row[column] = row.get(column, Fraction(0)) + weight * coefficient
    return {j: w for j, w in row.items() if w}, constant


def grid(values):
    """Return the least number g <= GRID such that all values are multiples of ``2**-g``; None where there is none."""
    for g in range(0, GRID + 1, 2):
        scaled = np.ldexp(values, g)
        if np.array_equal(scaled, np.rint(scaled)):
            return g
    return None


def _or_wide(g):
    return GRID_BITS if g is None else g


def is_exact_product(grids, largest):
    """Return whether sums of products with these grids and at most this size are computed without rounding."""
    return None not in grids and sum(grids) < GRID_BITS and largest < 2.0 ** (GRID_BITS - sum(grids))


def _compose(matrices, constant, divisors, operands, n_entries):
    """Return an affine op's value as an affine function of v."""
    n = len(constant)
    M, c, nnz = sp.csr_matrix((n, n_entries)), np.zeros(n), 0
    size, size_c = sp.csr_matrix((n, n_entries)), np.abs(constant)  # sums of the sizes of the terms
    E, e = sp.csr_matrix((n, n_entries)), np.zeros(n)
    for A, value in zip(matrices, operands, strict=True):
        A = A.tocsr()
        A.eliminate_zeros()
        term, absolute = A @ value.M, abs(A)
        nnz += A.nnz if value.is_selection else 0
        M, c = M + term, c + A @ value.c
        size, size_c = size + absolute @ abs(value.M), size_c + absolute @ np.abs(value.c)
        E, e = E if value.E is None else E + absolute @ value.E, e + absolute @ value.e
    inverse = sp.diags(1.0 / divisors)
    M, c = (inverse @ M).tocsr(), c / divisors + constant
    M.sum_duplicates()
    halvings = np.log2(divisors)
    plain = all(value.is_selection for value in operands) and nnz == M.nnz
    if not plain and all(value.E is None and not value.e.any() for value in operands):
        grids = (
            max((_or_wide(grid(A.data)) for A in matrices), default=0),
            max(_or_wide(grid(np.append(value.M.data, value.c))) for value in operands),
            int(halvings.max(initial=0)),
        )
        largest = max(size.data.max(initial=0.0), size_c.max(initial=0.0))
        plain = is_exact_product(grids, largest) and grid(constant) is not None and largest < 2.0 ** (GRID_BITS - GRID)
    if plain and (halvings % 1 == 0).all():
        is_selection = bool((M.data == 1.0).all() and not c.any() and (np.diff(M.indptr) <= 1).all())
        return _Affine(M, c, None, np.zeros(n), is_selection)
    steps = (2 * max((A.shape[1] for A in matrices), default=0) + 8) * UNIT_ROUNDOFF * INFLATION
    E = ((inverse @ E) * INFLATION + (inverse @ size) * steps).tocsr()
    e = (e / divisors + steps * size_c) * INFLATION + TINY * n_entries
    return _Affine(M, c, E, e, False)


def _taps(block, z):
    """Return the entries of each window, -inf in the padding: float64[n, taps, P]."""
    return np.where((block.windows >= 0)[..., None], z[block.windows], -np.inf)


def _window_max(block, x):
    return np.where((block.windows >= 0)[..., None], x[block.windows], 0.0).max(axis=1)


def _switch(block, z):
    """Return values, the Lipschitz constant float64[n, 1], and the roundings of each value."""
    if block.windows is not None:
        return _taps(block, z).max(axis=1), 1.0, 0.0
    piece = (z[None] > block.thresholds[:, None, None]).sum(axis=0)
    slopes = block.slopes[piece, np.arange(block.n)[:, None]]
    lipschitz = np.abs(block.slopes).max(axis=0)[:, None]
    rounding = 0.0 if np.isin(block.slopes, (0.0, 1.0)).all() else 2 * UNIT_ROUNDOFF
    return slopes * z + block.intercepts[piece], lipschitz, rounding


def _sum_errors(block, v, ev):
    """Bound the rounding errors of ``Z v + c``."""
    steps = (int(np.diff(block.Z.indptr).max(initial=0)) + 4) * UNIT_ROUNDOFF
    absolute, size = abs(block.Z), np.abs(v)
    errors = absolute @ ev + steps * (absolute @ size + np.abs(block.c)[:, None]) + block.e[:, None]
    if block.E is not None:
        errors += block.E @ (size + ev)
    return errors * INFLATION + TINY * v.shape[0]
