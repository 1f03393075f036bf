"""Intervals of all values of a network over a box, rounded outward, and the convex hulls of the graphs of neurons over them.

Legend: V entries of v, m entries of one op's input, n neurons of one op, K neurons.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..tolerances import UNIT_ROUNDOFF
from .elimination import GRID, GRID_BITS, INFLATION, TINY

EQUAL, ABOVE, BELOW = 0, 1, 2  # y = k z + t; y >= k z + t; y <= k z + t


class Intervals(NamedTuple):
    """Bounds of all values: of v, and of the input z of each block."""

    v_lo: np.ndarray  # float64[V]
    v_hi: np.ndarray
    z_lo: tuple  # of float64[m]
    z_hi: tuple


def propagate(elimination, x_lo, x_hi, lower, upper):
    """Compute intervals over a box, intersected with known bounds of the pre-activations.

    Sound bound: rounded outward.

    Parameters
    ----------
    elimination : Elimination
    x_lo, x_hi : float64[D]
        Of op 0's entries.
    lower, upper : float64[K]
        Known bounds of each neuron's pre-activation (MaxPool: of its maximum).

    Returns
    -------
    Intervals
    """
    v_lo, v_hi = np.zeros(elimination.n_entries), np.zeros(elimination.n_entries)
    v_lo[: len(x_lo)], v_hi[: len(x_hi)] = x_lo, x_hi
    z_lo, z_hi = [], []
    for block in elimination.blocks:
        lo, hi = affine_range(block, v_lo, v_hi)
        rows = slice(block.first, block.first + block.n)
        known = lower[block.numbers], upper[block.numbers]
        if block.windows is None:
            lo, hi = np.fmax(lo, known[0]), np.fmin(hi, known[1])
            v_lo[rows], v_hi[rows] = value_range(block, np.arange(block.n), lo, hi)
        else:
            inside = block.windows >= 0
            best = np.where(inside, lo[block.windows], -np.inf).max(axis=1)
            top = np.where(inside, hi[block.windows], -np.inf).max(axis=1)
            v_lo[rows], v_hi[rows] = np.fmax(best, known[0]), np.fmin(top, known[1])
        z_lo.append(lo)
        z_hi.append(hi)
    return Intervals(v_lo, v_hi, tuple(z_lo), tuple(z_hi))


def affine_range(block, v_lo, v_hi):
    """Return bounds of ``Z v + c``, rounded outward: two float64[m]."""
    steps = (int(np.diff(block.Z.indptr).max(initial=0)) + 4) * UNIT_ROUNDOFF * INFLATION
    positive, negative = block.Z.maximum(0.0), block.Z.minimum(0.0)
    sides = []
    for a, b, sign in ((v_lo, v_hi, -1.0), (v_hi, v_lo, 1.0)):
        value = positive @ a + negative @ b + block.c
        size = positive @ np.abs(a) - negative @ np.abs(b) + np.abs(block.c)
        error = steps * size + np.where(size > 0.0, len(a) * TINY, 0.0) + block.e
        if block.E is not None:
            error = error + block.E @ np.maximum(np.abs(a), np.abs(b)) * INFLATION
        error = np.where(_is_exact(block, a, b, size), 0.0, error)
        sides.append(value + sign * error * INFLATION)
    return sides[0], sides[1]


def _is_exact(block, a, b, size):
    """Return the rows whose sums are computed without rounding, as all terms are multiples of a power of two: bool[m]."""
    if block.grid is None:
        return np.zeros(len(size), bool)
    off = np.zeros(len(a))
    for x in (a, b):
        off += ~is_on_grid(x)
    pattern = sp.csr_matrix((np.ones(block.Z.nnz), block.Z.indices, block.Z.indptr), block.Z.shape)
    on_grid = pattern @ off == 0
    on_grid &= is_on_grid(block.c) & (size < 2.0 ** (GRID_BITS - GRID - block.grid))
    return on_grid


def is_on_grid(x):
    """Return which values are multiples of ``2**-GRID`` and not large: bool, shape of ``x``."""
    scaled = np.ldexp(x, GRID)
    return (scaled == np.rint(scaled)) & (np.abs(x) <= 2.0**GRID)


def value_at(block, k, z):
    """Return the values of elementwise neurons k (stored order) at z, and bounds of their rounding errors."""
    piece = (z[None] > block.thresholds.reshape((-1,) + (1,) * z.ndim)).sum(axis=0)
    slopes = block.slopes[piece, k]
    y = slopes * z + block.intercepts[piece]
    rounded = (slopes != 0.0) & (np.abs(slopes) != 1.0)
    return y, np.where(rounded, 2 * UNIT_ROUNDOFF * np.abs(y) + TINY, 0.0)


def value_range(block, k, lo, hi):
    """Return the range of the values of elementwise neurons k (stored order) over intervals, rounded outward."""
    points = [lo, hi, *(np.clip(np.full(len(k), t), lo, hi) for t in block.thresholds)]
    pairs = [value_at(block, k, p) for p in points]
    return np.min([y - e for y, e in pairs], axis=0), np.max([y + e for y, e in pairs], axis=0)


def hull(block, k, lo, hi):
    """Return the convex hull of the graph of an elementwise neuron over an interval.

    Parameters
    ----------
    block : Block
    k : int
        The neuron, in stored order.
    lo, hi : float

    Returns
    -------
    list of (int, float, float)
        EQUAL, ABOVE or BELOW, slope and intercept: valid for these floats exactly. Without the bounds of z.
    """
    inner = [float(t) for t in block.thresholds if lo < t < hi]
    z = np.array([lo, *inner, hi])
    pieces = [int((0.5 * a + 0.5 * b > block.thresholds).sum()) for a, b in pairwise(z.tolist())]
    if len(pieces) == 1:
        if lo == hi:
            pieces[0] = int((lo > block.thresholds).sum())
        return [(EQUAL, float(block.slopes[pieces[0], k]), float(block.intercepts[pieces[0]]))]
    y, errors = value_at(block, np.full(len(z), k), z)
    lines = []
    for side, sign in ((ABOVE, 1.0), (BELOW, -1.0)):
        for a, b in _chain(z, sign * y):
            if b == a + 1 and _supports(sign * block.slopes[pieces, k], a):
                lines.append((side, float(block.slopes[pieces[a], k]), float(block.intercepts[pieces[a]])))
                continue
            slope = (y[b] - y[a]) / (z[b] - z[a])
            rest = sign * (y - slope * z)
            error = 4 * UNIT_ROUNDOFF * INFLATION * (np.abs(y) + np.abs(slope * z)) + errors + TINY
            lines.append((side, float(slope), float(sign * np.nextafter((rest - error).min(), -np.inf))))
    return lines


def _supports(slopes, a):
    """Return whether the line of piece a is not above the graph with these slopes anywhere, decided without rounding."""
    return bool((slopes[:a] <= slopes[a]).all() and (slopes[a] <= slopes[a:]).all())


def _chain(z, y):
    """Return the edges of the lower convex hull of points with increasing z, as pairs of indices."""
    kept = []
    for i in range(len(z)):
        while len(kept) > 1:
            a, b = kept[-2:]
            if (y[b] - y[a]) * (z[i] - z[b]) < (y[i] - y[b]) * (z[b] - z[a]):
                break
            kept.pop()
        kept.append(i)
    return list(pairwise(kept))
