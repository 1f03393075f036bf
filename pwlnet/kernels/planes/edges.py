"""Cut the edges of a mesh: order of the crossings along each edge, new vertices, pieces.

Legend: V vertices, E edges, C columns, W words.
"""

import numpy as np

from .._jit import entry_kernel, finite_kernel, inlined_kernel, kernel
from ..ir.bits import popcount
from . import mesh as ms
from .words import ONE_BIT, lowest_bit, mix_key


@inlined_kernel
def crossing_bits(vertices, a, b, w):
    """Return the functions of word w that change sign between two vertices."""
    positive, negative = vertices.positive, vertices.negative
    return (positive[a, w] & negative[b, w]) | (negative[a, w] & positive[b, w])


@entry_kernel
def count_crossings(vertices, edges, n_edges, first_word, last_word):
    """Return the number of crossings of all edges."""
    n = np.int64(0)
    for e in range(n_edges):
        for w in range(first_word, last_word):
            n += popcount(crossing_bits(vertices, edges.ends[e, 0], edges.ends[e, 1], w))
    return n


@inlined_kernel
def carried_error(vertices, a, b, offset):
    """Return a bound on the distance of the values between a and b from those on the line of the edge."""
    return max(vertices.bounds[a, ms.DRIFT], vertices.bounds[b, ms.DRIFT]) + offset


@entry_kernel
def order_crossings(vertices, edges, n_edges, first_word, last_word, crossings, undecided_out):
    """Find the crossings of all edges and sort them along each edge.

    Out: crossings (starts, functions, t, same: 0), undecided_out int64[*]: edges whose order floating point does not decide.
    Returns the number of these.
    """
    n, n_undecided = np.int64(0), np.int64(0)
    for e in range(n_edges):
        crossings.starts[e] = n
        a, b, first = edges.ends[e, 0], edges.ends[e, 1], n
        error, largest = carried_error(vertices, a, b, edges.offset[e]), 0.0
        for w in range(first_word, last_word):
            bits = crossing_bits(vertices, a, b, w)
            while bits != np.uint64(0):
                j = 64 * w + lowest_bit(bits)
                bits &= bits - ONE_BIT
                za = vertices.rows[a, j]
                d = za - vertices.rows[b, j]
                t = za / d
                width = abs(d) - 2.0 * error
                largest = max(largest, error / width if width > error else 1.0)
                k = n
                while k > first and crossings.t[k - 1] > t:
                    crossings.t[k], crossings.functions[k] = crossings.t[k - 1], crossings.functions[k - 1]
                    k -= 1
                crossings.t[k], crossings.functions[k], crossings.same[n] = t, j, 0
                n += 1
        if n - first > 1:
            largest = 2.0 * (largest + 8.0 * ms.UNIT_ROUNDOFF)
            for k in range(first + 1, n):
                if not crossings.t[k] - crossings.t[k - 1] > largest:
                    undecided_out[n_undecided] = e
                    n_undecided += 1
                    break
    crossings.starts[n_edges] = n
    return n_undecided


@finite_kernel
def _interpolate(x, y, t, out):
    """Compute out = x + t (y - x); return the largest |y - x|. The values are finite."""
    largest = 0.0
    for k in range(x.shape[0]):
        a = x[k]
        d = y[k] - a
        out[k] = a + t * d
        largest = max(largest, abs(d))
    return largest


@finite_kernel
def largest_difference(x, y):
    """Return the largest |y - x|. The values are finite."""
    largest = 0.0
    for k in range(x.shape[0]):
        largest = max(largest, abs(y[k] - x[k]))
    return largest


@kernel
def interpolate_vertex(vertices, new, a, b, j, offset):
    """Set the row, coordinates and bounds of vertex ``new``, where function j is 0 between vertices a and b."""
    za, d = vertices.rows[a, j], vertices.rows[a, j] - vertices.rows[b, j]
    t = min(max(za / d if d != 0.0 else 0.5, 4.0 * ms.UNIT_ROUNDOFF), 1.0 - 4.0 * ms.UNIT_ROUNDOFF)
    largest = _interpolate(vertices.rows[a], vertices.rows[b], t, vertices.rows[new])
    vertices.rows[new, j] = 0.0
    bounds = vertices.bounds
    size = max(bounds[a, ms.LARGEST], bounds[b, ms.LARGEST])
    bounds[new, ms.LARGEST] = size * (1.0 + 8.0 * ms.UNIT_ROUNDOFF)
    drift = max(bounds[a, ms.DRIFT], bounds[b, ms.DRIFT]) + 8.0 * ms.UNIT_ROUNDOFF * (size + largest)
    bounds[new, ms.DRIFT] = drift
    error = drift + offset
    width = abs(d) - 2.0 * error
    ratio = (largest + 2.0 * error) / width if width > 0.0 else ms.UNBOUNDED
    bounds[new, ms.ERROR] = min(error * (1.0 + ratio) * (1.0 + 8.0 * ms.UNIT_ROUNDOFF), ms.UNBOUNDED)
    for k in range(2):
        vertices.uv[new, k] = vertices.uv[a, k] + t * (vertices.uv[b, k] - vertices.uv[a, k])


@inlined_kernel
def sign_bits_between(vertices, a, b, w):
    """Return the functions of word w that are positive, and negative, strictly between a and b, where that is certain."""
    pa, pb, na, nb = vertices.positive[a, w], vertices.positive[b, w], vertices.negative[a, w], vertices.negative[b, w]
    return (pa & ~nb) | (pb & ~na), (na & ~pb) | (nb & ~pa)


@entry_kernel
def split_edges(vertices, edges, n_edges, last_word, crossings, new_edges, label, counts):
    """Make the vertices at all crossings, and the pieces of the edges.

    Out: vertices, new_edges, crossings (first_vertex, first_edge), counts (N_VERTICES, N_EDGES).
    """
    new, n_pieces = counts[ms.N_VERTICES], np.int64(0)
    for e in range(n_edges):
        a, b = edges.ends[e, 0], edges.ends[e, 1]
        crossings.first_edge[e], crossings.first_vertex[e] = n_pieces, new
        before, k, last = a, crossings.starts[e], crossings.starts[e + 1]
        while k < last:
            j = np.int64(crossings.functions[k])
            interpolate_vertex(vertices, new, a, b, j, edges.offset[e])
            vertices.keys[new] = mix_key(vertices.keys[a], vertices.keys[b], label + np.uint64(j))
            vertices.lines[new, 0], vertices.on_seam[new] = edges.line[e], edges.on_seam[e]
            vertices.lines[new, 1] = -1 - j  # on the face of the edge: replaced when that is known
            upto = k + 1
            while upto < last and crossings.same[upto] == 1:
                upto += 1
            _copy_signs(vertices, new, a, b, last_word, crossings, crossings.starts[e], k, upto, last)
            _set_piece(new_edges, n_pieces, before, new, edges, e)
            n_pieces += 1
            before = new
            new += 1
            k = upto
        _set_piece(new_edges, n_pieces, before, b, edges, e)
        n_pieces += 1
    crossings.first_edge[n_edges], crossings.first_vertex[n_edges] = n_pieces, new
    counts[ms.N_VERTICES], counts[ms.N_EDGES] = new, n_pieces


@inlined_kernel
def _set_piece(new_edges, k, a, b, edges, e):
    """Make piece k of edge e, between vertices a and b."""
    new_edges.ends[k, 0], new_edges.ends[k, 1] = a, b
    new_edges.line[k], new_edges.offset[k], new_edges.on_seam[k] = edges.line[e], edges.offset[e], edges.on_seam[e]


@inlined_kernel
def agree_with_sign(vertices, v, j, sign):
    """Give the stored number of function j its exact sign, which the computed one may lack; the drift grows by the change."""
    value = vertices.rows[v, j]
    if sign == 0 or (value > 0.0) != (sign > 0) or value == 0.0:
        vertices.bounds[v, ms.DRIFT] += 2.0 * abs(value) + ms.TINY  # twice: MaxPool stores half of a difference
        vertices.rows[v, j] = sign * ms.TINY


@kernel
def _copy_signs(vertices, new, a, b, last_word, crossings, first, here, after, last):
    """Set the signs of a new vertex on an edge: functions crossed before it have those of b, functions after it those of a."""
    for w in range(last_word):
        vertices.positive[new, w], vertices.negative[new, w] = sign_bits_between(vertices, a, b, w)
    for k in range(first, last):
        j = np.int64(crossings.functions[k])
        w, bit = j // 64, ONE_BIT << np.uint64(j % 64)
        if here <= k < after:
            if k > here:
                agree_with_sign(vertices, new, j, 0)
            continue
        end = b if k < here else a
        positive = vertices.positive[end, w] & bit
        vertices.positive[new, w] |= positive
        vertices.negative[new, w] |= vertices.negative[end, w] & bit
        agree_with_sign(vertices, new, j, 1 if positive != np.uint64(0) else -1)
