"""Bounds of scores at given points where the factors of neurons are only known to be in intervals.

Legend: V entries of v (inputs and switched values, see bounds/elimination.py), m entries of one op's input, n neurons of one
op, K neurons, O outputs, P points.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..bounds.elimination import INFLATION, TINY, Block, Elimination
from ..bounds.op_matrices import op_matrices
from ..scheduling import run_chunks
from ..tolerances import UNIT_ROUNDOFF

_COLUMNS = 512  # points at once
_DENSE = 0.1  # share of entries from which a matrix is stored without its zeros being left out


class _Columns(NamedTuple):
    """A matrix that reads the entries ``first`` to ``last`` of v only."""

    first: int
    last: int
    matrix: object  # float64[m, last - first] or csr_matrix

    def __matmul__(self, v):
        return self.matrix @ v[self.first : self.last]


class _Layer(NamedTuple):
    """A block with what bounds the rounding errors: |computed - exact| <= rounding (S |v| + s)."""

    block: Block
    Z: _Columns
    absolute: _Columns
    S: _Columns | None  # None where it is ``absolute``
    s: np.ndarray
    rounding: float
    is_relu: bool


class Ranges(NamedTuple):
    """Intervals ``middle - radius`` to ``middle + radius`` of the entries of v, up to a block."""

    middle: np.ndarray  # float64[V, P]
    radius: np.ndarray  # float64[V, P]


class FactorBounds:
    """Intervals of the values of a network at points, with factors of its neurons in intervals.

    Sound bound: for the real numbers, and for all float64 evaluations of the ops one after the other, with sums in any order.

    Parameters
    ----------
    network : Network

    Notes
    -----
    Affine ops are kept as sparse matrices, which limits the size of convolutional networks by memory. An interval pass is two
    products per op. With matrices A_1 to A_d of the affine ops between two switching ops, an evaluation is off by at most
    about ``(n_1 + ... + n_d) u`` times ``|A_d| ... |A_1| |v|``; three times that is added: for the product of the matrices, for
    the evaluation here, and for the one that is bounded.
    """

    def __init__(self, network):
        rows = np.eye(network.n_outputs), np.zeros(network.n_outputs)
        self.elimination = Elimination(network, rows)
        sizes = _sizes(network, self.elimination)
        self.layers = [_make_layer(block, *size) for block, size in zip(self.elimination.blocks, sizes, strict=True)]
        self.network, self.n_blocks = network, len(self.layers) - 1

    def start(self, points):
        """Return the intervals of points float64[P, D], of width zero: Ranges."""
        middle = np.zeros((self.elimination.n_entries, len(points)))
        middle[: self.elimination.n_inputs] = self.elimination.load(points)
        return Ranges(middle, np.zeros_like(middle))

    def advance(self, ranges, first, last, lower=None, upper=None):
        """Compute the intervals of the neurons of blocks first to last (not included), in place.

        Parameters
        ----------
        ranges : Ranges
        first, last : int
        lower, upper : float64[P, K], optional
            Ends of the intervals of factors; 1 by default.
        """
        for layer in self.layers[first:last]:
            low, high = self.inputs(ranges, layer)
            low, high = _switched(layer, low, high)
            block = layer.block
            if lower is not None:
                low, high = _scaled(low, high, lower[:, block.numbers].T, upper[:, block.numbers].T)
            rows = slice(block.first, block.first + block.n)
            ranges.middle[rows] = 0.5 * low + 0.5 * high
            ranges.radius[rows] = _outward(0.5 * high - 0.5 * low, ranges.middle[rows]) * (high > low)

    def inputs(self, ranges, layer):
        """Return the intervals of the input of a block: (float64[m, P], float64[m, P])."""
        middle, radius = _affine(layer, ranges)
        return middle - radius, middle + radius

    def margins(self, ranges, label):
        """Bound from below by how much the score of a class exceeds the largest of the others: float64[P].

        Parameters
        ----------
        ranges : Ranges
            After all blocks.
        label : int
        """
        layer = self.layers[-1]
        others = np.delete(np.arange(len(layer.block.c)), label)
        if not len(others):
            return np.full(ranges.middle.shape[1], np.inf)
        Z, c = layer.block.Z, layer.block.c
        S = abs(Z) if layer.S is None else _as_sparse(layer.S, Z.shape)
        difference = Z[np.full(len(others), label)] - Z[others]
        total = S[np.full(len(others), label)] + S[others]
        own = layer._replace(
            block=layer.block._replace(Z=difference, c=c[label] - c[others]), Z=_columns(difference),
            absolute=_columns(abs(difference)), S=_columns(total), s=layer.s[label] + layer.s[others],
            rounding=layer.rounding + 4 * UNIT_ROUNDOFF,
        )  # fmt: skip
        middle, radius = _affine(own, ranges)
        return (middle - radius).min(axis=0)

    def verify(self, points, lower, upper, label):
        """Return at which points a class wins with all factors between ``lower`` and ``upper``.

        Sound bound: True only where it does; False may mean that the bounds are too loose.

        Parameters
        ----------
        points : float64[P, D]
        lower, upper : float64[K] or float64[P, K]
        label : int

        Returns
        -------
        bool[P]
        """
        n, k = len(points), self.network.n_neurons
        lower, upper = (np.broadcast_to(x, (n, k)) for x in (lower, upper))
        won = np.zeros(n, bool)

        def check(first, last):
            ranges = self.start(points[first:last])
            self.advance(ranges, 0, self.n_blocks, lower[first:last], upper[first:last])
            won[first:last] = self.margins(ranges, label) > 0.0

        run_chunks(check, n, _COLUMNS)
        return won


def _columns(matrix):
    """Return a sparse matrix by the columns that it reads: _Columns."""
    used = np.unique(matrix.indices)
    first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
    part = matrix[:, first:last]
    is_dense = part.nnz >= _DENSE * part.shape[0] * part.shape[1]
    return _Columns(first, last, part.toarray() if is_dense else part.tocsr())


def _as_sparse(columns, shape):
    part = sp.csr_matrix(columns.matrix)
    return sp.csr_matrix((part.data, part.indices + columns.first, part.indptr), shape)


def _make_layer(block, S, s, rounding):
    absolute = abs(block.Z)
    difference = S - absolute
    is_plain = not difference.nnz or abs(difference).max() == 0.0
    is_relu = block.windows is None and block.thresholds.tolist() == [0.0]
    is_relu = is_relu and bool((block.slopes[0] == 0.0).all() and (block.slopes[1] == 1.0).all())
    return _Layer(block, _columns(block.Z), _columns(absolute), None if is_plain else _columns(S), s, rounding, is_relu)


def _sizes(network, elimination):
    """Return S, s and the rounding of the input of each switching op, then of the outputs (see _Layer)."""
    program, code, graph = network.program, network.code, network.op_graph
    counts = np.prod(program.shapes, axis=1)
    values, sizes = {}, []
    for i in range(len(program.op)):
        if i == 0 or graph.is_switching[i]:
            if i:
                sizes.append(values[int(graph.operands[i][0])])
            n, first = int(counts[i]), elimination.firsts[i]
            S = sp.csr_matrix((np.ones(n), (np.arange(n), first + np.arange(n))), (n, elimination.n_entries))
            values[i] = S, np.zeros(n), 0.0
            continue
        matrices, constant, divisors = op_matrices(program, code, i)
        operands = [values[int(j)] for j in graph.operands[i]]
        S, s, inverse = sp.csr_matrix((len(constant), elimination.n_entries)), np.zeros(len(constant)), 1.0 / divisors
        for A, (below, shift, _) in zip(matrices, operands, strict=True):
            S, s = S + abs(A) @ below, s + abs(A) @ shift
        terms = sum(int(np.diff(A.tocsr().indptr).max(initial=0)) for A in matrices)
        rounding = max(value[2] for value in operands) + 3 * (terms + 4) * UNIT_ROUNDOFF * INFLATION
        values[i] = (sp.diags(inverse) @ S).tocsr() * INFLATION, (s * inverse + np.abs(constant)) * INFLATION, rounding
    S, s, rounding = values[len(program.op) - 1]
    return [*sizes, (S[program.output_index], s[program.output_index], rounding)]


def _affine(layer, ranges):
    """Return the middle and the radius of ``Z v + c``, with all rounding: two float64[m, P]."""
    block = layer.block
    size = np.abs(ranges.middle) + ranges.radius
    middle = layer.Z @ ranges.middle + block.c[:, None]
    if layer.S is None:
        radius = layer.absolute @ (ranges.radius + layer.rounding * size)
    else:
        radius = layer.absolute @ ranges.radius + layer.rounding * (layer.S @ size)
    radius += layer.rounding * layer.s[:, None]
    return middle, _outward(radius, middle) + TINY * len(size)


def _outward(radius, middle):
    return (radius + 2 * UNIT_ROUNDOFF * np.abs(middle)) * INFLATION


def _switched(layer, low, high):
    """Return the intervals of the values of neurons whose inputs are in intervals: two float64[n, P]."""
    block = layer.block
    if layer.is_relu:
        return np.maximum(low, 0.0), np.maximum(high, 0.0)
    if block.windows is not None:
        ends = []
        for x in (low, high):
            taps = [np.where((at >= 0)[:, None], x[at], -np.inf) for at in block.windows.T]
            ends.append(np.max(taps, axis=0))
        return ends[0], ends[1]
    values = []
    for z in (low, high, *(np.clip(t, low, high) for t in block.thresholds)):
        piece = (z[None] > block.thresholds[:, None, None]).sum(axis=0)
        values.append(block.slopes[piece, np.arange(block.n)[:, None]] * z + block.intercepts[piece])
    first, last = np.min(values, axis=0), np.max(values, axis=0)
    if np.isin(block.slopes, (0.0, 1.0)).all():
        return first, last
    return first - 4 * UNIT_ROUNDOFF * np.abs(first) - TINY, last + 4 * UNIT_ROUNDOFF * np.abs(last) + TINY


def _scaled(low, high, least, most):
    """Return the intervals of values times factors, rounded outward; unchanged where the factor is 1."""
    corners = [low * least, low * most, high * least, high * most]
    first, last = np.min(corners, axis=0), np.max(corners, axis=0)
    is_one = (least == 1.0) & (most == 1.0)
    first = np.where(is_one, low, first - 4 * UNIT_ROUNDOFF * np.abs(first) - TINY * (first != 0.0))
    return first, np.where(is_one, high, last + 4 * UNIT_ROUNDOFF * np.abs(last) + TINY * (last != 0.0))
