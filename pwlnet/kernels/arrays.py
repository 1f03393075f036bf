"""Filling, copying and sorting arrays: short kernels in place of NumPy's forms that take Numba seconds to compile."""

import numpy as np

from ._jit import allocating_kernel, inlined_kernel


@inlined_kernel
def fill(x, value):
    """Set all entries of a vector."""
    for k in range(x.shape[0]):
        x[k] = value


@inlined_kernel
def fill_rows(x, value):
    """Set all entries of a matrix."""
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            x[r, k] = value


@inlined_kernel
def copy_into(x, out):
    """Copy a vector to the beginning of ``out``."""
    for k in range(x.shape[0]):
        out[k] = x[k]


@inlined_kernel
def add_scaled(factor, x, out):
    """Add a multiple of a matrix to ``out``."""
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[r, k] += factor * x[r, k]


@inlined_kernel
def square_into(x, out):
    """Put the squares of the entries of a matrix into ``out``."""
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[r, k] = x[r, k] * x[r, k]


@allocating_kernel
def sorted_order(keys):
    """Return the indices that sort a vector, equal keys in the order they have (merge sort)."""
    n = keys.shape[0]
    order, merged = np.empty(n, np.int64), np.empty(n, np.int64)
    for k in range(n):
        order[k] = k
    width = 1
    while width < n:
        for first in range(0, n, 2 * width):
            middle, last = min(first + width, n), min(first + 2 * width, n)
            a, b = first, middle
            for k in range(first, last):
                if a < middle and (b >= last or keys[order[a]] <= keys[order[b]]):
                    merged[k] = order[a]
                    a += 1
                else:
                    merged[k] = order[b]
                    b += 1
        order, merged = merged, order
        width *= 2
    return order
