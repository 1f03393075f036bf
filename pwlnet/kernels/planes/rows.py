"""Carry the rows of vertices from one switching op to the next one: values, signs, bounds.

A *chain* is the affine ops between two switching ops. Its plan (partition/planes/stages.py) says which columns of a row are
loaded as which values, and which values become columns of the next row.

Legend: V vertices, C columns, W words, T rows of a block.
"""

from typing import NamedTuple

import numpy as np

from .._jit import ZERO, allocating_kernel, entry_kernel, finite_kernel, inlined_kernel, kernel, matrix_view
from ..arrays import fill, fill_rows
from ..ir import program as ir
from ..ir.affine import PLAIN, add_constant, apply_linear, rows_of
from . import mesh as ms
from .edges import agree_with_sign
from .words import ONE_BIT, lowest_bit

HEIGHT = np.int64(32)  # rows of a block
DENSE_HEIGHT = np.int64(64)  # rows of a block of a dense chain
PART = np.int64(16)  # rows of a block that share a growth factor

# How a column becomes the value of an op: columns of ``Chain.loads`` (op, first column, number of columns, how).
COPY = 0
RELU = 1  # the value if it is positive, else 0
LEAKY = 2  # the value, times the slope ``Chain.load_slope`` if it is negative


class Chain(NamedTuple):
    """Plan of the ops between two switching ops."""

    ops: np.ndarray  # int64[*] affine ops, in order
    loads: np.ndarray  # int64[*, 4]
    load_entry: np.ndarray  # int64[C] entry of the op's value
    load_unit: np.ndarray  # float64[C]
    load_slope: np.ndarray  # float64[C]
    clip: np.ndarray  # int64[*, 4] op, first lower function or -1, first upper function or -1, first column of the value
    clip_limits: np.ndarray  # float64[*, 2]
    stores: np.ndarray  # int64[*, 3] op, first column, number of columns
    store_entry: np.ndarray  # int64[C']
    store_sign: np.ndarray  # float64[C'] column = (sign * value - shift) / unit
    store_shift: np.ndarray  # float64[C']
    store_per_unit: np.ndarray  # float64[C'] 1 / unit
    growth: np.ndarray  # float64[3] of bounds by the ops; relative rounding; size of constants


@inlined_kernel
def _is_positive(vertices, v, k):
    """Return whether function k is positive at a vertex."""
    return vertices.positive[v, k // 64] >> np.uint64(k % 64) & ONE_BIT != np.uint64(0)


@kernel
def _load_rows(code, chain, vertices, first, n, buffer):
    """Load rows of vertices as values of ops; return the largest loaded value in units of its column."""
    largest = 0.0
    for s in range(chain.loads.shape[0]):
        op, column, n_columns, how = chain.loads[s]
        x = rows_of(code, op, HEIGHT, buffer)
        for r in range(n):
            v = first + r
            for k in range(column, column + n_columns):
                z = vertices.rows[v, k]
                if how != COPY and z < 0.0:
                    z = z * chain.load_slope[k] if how == LEAKY else 0.0
                largest = max(largest, abs(z) / max(1.0, abs(chain.load_slope[k])))
                x[r, chain.load_entry[k]] = z * chain.load_unit[k]
    for s in range(chain.clip.shape[0]):
        op, lower, upper, value = chain.clip[s]
        x = rows_of(code, op, HEIGHT, buffer)
        for r in range(n):
            for k in range(x.shape[1]):
                limit = np.nan
                if lower >= 0 and not _is_positive(vertices, first + r, lower + k):
                    limit = chain.clip_limits[s, 0]
                elif upper >= 0 and not _is_positive(vertices, first + r, upper + k):
                    limit = chain.clip_limits[s, 1]
                if limit == limit:
                    largest = max(largest, abs(limit) / chain.load_unit[value + k])
                    x[r, chain.load_entry[value + k]] = limit
    return largest


@kernel
def _store_rows(code, chain, first, n, buffer, rows_out):
    """Store values of ops as rows."""
    for s in range(chain.stores.shape[0]):
        op, column, n_columns = chain.stores[s]
        x = rows_of(code, op, HEIGHT, buffer)
        for r in range(n):
            for k in range(column, column + n_columns):
                value = chain.store_sign[k] * x[r, chain.store_entry[k]] - chain.store_shift[k]
                rows_out[first + r, k] = value * chain.store_per_unit[k]


@allocating_kernel
def _run_ops(code, ops, n, buffer):
    """Compute affine ops for the first ``n`` rows of a block."""
    known = True
    for k in range(ops.shape[0]):
        known = apply_linear(code, ops[k], HEIGHT, n, buffer, PLAIN) and known
        known = add_constant(code, ops[k], n, HEIGHT, buffer) and known
    return known


@entry_kernel
def apply_ops(code, ops, buffer):
    """Compute affine ops for all rows of a block; returns whether all are known. Out: buffer float64[T * n_values]."""
    return _run_ops(code, ops, HEIGHT, buffer)


@entry_kernel
def advance_rows(code, chain, vertices, n_vertices, buffer, rows_out):
    """Compute the next rows of all vertices by the ops of a chain.

    Out: rows_out float64[V, C'], vertices.bounds. Returns whether all ops are known.
    """
    known = True
    growth, gamma, constant = chain.growth[0], chain.growth[1], chain.growth[2]
    for first in range(0, n_vertices, HEIGHT):
        n = min(HEIGHT, n_vertices - first)
        size = _load_rows(code, chain, vertices, first, n, buffer)
        known = _run_ops(code, chain.ops, n, buffer) and known
        _store_rows(code, chain, first, n, buffer, rows_out)
        for v in range(first, first + n):
            _grow_bounds(vertices, v, growth, gamma * (growth * size + constant))
    return known


@finite_kernel
def _largest_of(x):
    """Return the largest absolute value. The values are finite."""
    largest = 0.0
    for k in range(x.shape[0]):
        largest = max(largest, abs(x[k]))
    return largest


class DenseChain(NamedTuple):
    """Plan of a chain that is one fully connected op after a ReLU, with columns in their units."""

    weights: np.ndarray  # float64[C, C']
    sizes: np.ndarray  # float64[C, C'] their absolute values
    biases: np.ndarray  # float64[C']
    rounding: np.ndarray  # float64[2] relative rounding; size of constants


@kernel
def _growth_of_part(vertices, first, last, sizes, active, sums):
    """Return the largest sum of absolute weights over the functions that are not negative at all of some vertices.

    Out: active uint64[W]: these functions are added.
    """
    fill(sums, 0.0)
    for w in range(active.shape[0]):
        bits = np.uint64(0)
        for v in range(first, last):
            bits |= ~vertices.negative[v, w]
        n = sizes.shape[0] - 64 * w
        if n < 64:
            bits &= (ONE_BIT << np.uint64(n)) - ONE_BIT
        active[w] |= bits
        while bits != np.uint64(0):
            row = sizes[64 * w + lowest_bit(bits)]
            bits &= bits - ONE_BIT
            for k in range(sums.shape[0]):
                sums[k] += row[k]
    return _largest_of(sums) * (1.0 + 2.0**-20)


@allocating_kernel
def _dense_block(vertices, dense, first, last, columns, x, w, rows_out):
    """Compute the rows of vertices ``first`` to ``last`` from the columns that are not 0 in all of them.

    Returns the largest value. Out: rows_out; x, w: scratch.
    """
    n, c, m = last - first, columns.shape[0], dense.weights.shape[1]
    size = 0.0
    y = rows_out[first:last]
    if c == 0:
        fill_rows(y, 0.0)
        return size
    values = matrix_view(x, ZERO, n, c)
    for r in range(n):
        z, h = vertices.rows[first + r], values[r]
        for i in range(c):
            h[i] = max(z[columns[i]], 0.0)
        size = max(size, _largest_of(h))
    if c == dense.weights.shape[0]:
        np.dot(values, dense.weights, y)
        return size
    chosen = matrix_view(w, ZERO, c, m)
    for i in range(c):
        source, target = dense.weights[columns[i]], chosen[i]
        for k in range(m):
            target[k] = source[k]
    np.dot(values, chosen, y)
    return size


@allocating_kernel
def _advance_dense(vertices, dense, n_vertices, rows_out, growth_out):
    k, m = dense.weights.shape
    active, sums, columns = np.empty((k + 63) // 64, np.uint64), np.empty(m), np.empty(k, np.int64)
    x, w = np.empty(DENSE_HEIGHT * k), np.empty(k * m)
    for first in range(0, n_vertices, DENSE_HEIGHT):
        last = min(n_vertices, first + DENSE_HEIGHT)
        for i in range(active.shape[0]):
            active[i] = np.uint64(0)
        for a in range(first, last, PART):
            b = min(last, a + PART)
            growth = _growth_of_part(vertices, a, b, dense.sizes, active, sums)
            for v in range(a, b):
                growth_out[v] = growth
        c = np.int64(0)
        for i in range(active.shape[0]):
            bits = active[i]
            while bits != np.uint64(0):
                columns[c] = 64 * i + lowest_bit(bits)
                c += 1
                bits &= bits - ONE_BIT
        size = _dense_block(vertices, dense, first, last, columns[:c], x, w, rows_out)
        for v in range(first, last):
            row = rows_out[v]
            for i in range(m):
                row[i] += dense.biases[i]
            _grow_bounds(vertices, v, growth_out[v], dense.rounding[0] * (growth_out[v] * size + dense.rounding[1]))


@inlined_kernel
def _grow_bounds(vertices, v, growth, rounding):
    """Carry the bounds of a vertex through affine ops."""
    for k in (ms.DRIFT, ms.ERROR):
        value = (growth * vertices.bounds[v, k] + rounding + ms.TINY) * (1.0 + 2.0**-40)
        vertices.bounds[v, k] = min(value, ms.UNBOUNDED)


@entry_kernel
def advance_dense(vertices, dense, n_vertices, rows_out, growth_out):
    """Compute the next rows of all vertices by a dense chain.

    Out: rows_out float64[V, C'], vertices.bounds, growth_out float64[V]: what bounds are multiplied by.
    """
    _advance_dense(vertices, dense, n_vertices, rows_out, growth_out)


@entry_kernel
def grow_offsets(edges, n_edges, growth):
    """Carry the offsets of edges through affine ops that multiply bounds by growth float64[V]."""
    for e in range(n_edges):
        factor = min(growth[edges.ends[e, 0]], growth[edges.ends[e, 1]])
        edges.offset[e] = min(edges.offset[e] * factor * (1.0 + 2.0**-40), ms.UNBOUNDED)


@entry_kernel
def load_points(code, points, n, buffer, chain, rows_out):
    """Compute the first rows of vertices at points float64[n, D] in the input space. Out: rows_out float64[V, C']."""
    known = True
    for first in range(0, n, HEIGHT):
        here = min(HEIGHT, n - first)
        x = rows_of(code, 0, HEIGHT, buffer)
        fill_rows(x, 0.0)
        for r in range(here):
            for d in range(points.shape[1]):
                x[r, code.indices[code.op_table[-1, ir.INPUTS] + d]] = points[first + r, d]
        known = _run_ops(code, chain.ops, here, buffer) and known
        _store_rows(code, chain, first, here, buffer, rows_out)
    return known


@entry_kernel
def find_signs(vertices, n_vertices, first, last, zeros_exact, questions_out):
    """Set the signs of functions ``first`` to ``last`` (multiples of 64, or all) at all vertices.

    With ``zeros_exact``, a function is exactly 0 where its column is.

    Out: vertices (positive, negative, bounds: LARGEST), questions_out int64[*, 2]: vertex, function. Returns how many signs
    floating point does not decide, which may be more than there is room for; -1 where a value is not finite.
    """
    n = np.int64(0)
    for v in range(n_vertices):
        error = vertices.bounds[v, ms.ERROR]
        largest = _largest_of(vertices.rows[v])
        if not largest < ms.UNBOUNDED:
            return np.int64(-1)
        vertices.bounds[v, ms.LARGEST] = largest
        for w in range(first // 64, (last + 63) // 64):
            here = vertices.rows[v, 64 * w : min(64 * w + 64, last)]
            positive, negative, bit = np.uint64(0), np.uint64(0), ONE_BIT
            for k in range(here.shape[0]):
                positive |= bit if here[k] > error else np.uint64(0)
                negative |= bit if here[k] < -error else np.uint64(0)
                bit = bit << ONE_BIT
            vertices.positive[v, w], vertices.negative[v, w] = positive, negative
            rest = ~(positive | negative)
            if here.shape[0] < 64:
                rest &= (ONE_BIT << np.uint64(here.shape[0])) - ONE_BIT
            while rest != np.uint64(0):
                j = 64 * w + lowest_bit(rest)
                rest &= rest - ONE_BIT
                if zeros_exact and vertices.rows[v, j] == 0.0:
                    continue
                if n < questions_out.shape[0]:
                    questions_out[n, 0], questions_out[n, 1] = v, j
                n += 1
    return n


@entry_kernel
def answer_signs(vertices, questions, signs, n):
    """Set signs that have been decided exactly: questions int64[n, 2] (vertex, function), signs int64[n]."""
    for i in range(n):
        v, j = questions[i, 0], questions[i, 1]
        w, bit = j // 64, ONE_BIT << np.uint64(j % 64)
        if signs[i] > 0:
            vertices.positive[v, w] |= bit
        elif signs[i] < 0:
            vertices.negative[v, w] |= bit
        agree_with_sign(vertices, v, j, signs[i])
