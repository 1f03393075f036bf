"""Matrices of functions that have no handler but are affine: found by basis vectors, and checked.

A function is taken only if it agrees with its matrix, up to rounding, on points of many magnitudes, of both signs and of
entries that differ in magnitude. Functions that look linear near zero, on one side of it or for most points do not pass.
"""

import numpy as np

MOST_INPUTS = 4096
MOST_ENTRIES = 2**24
POWERS = (-300, -150, -60, -30, -12, -6, -3, -1, 0, 1, 3, 6, 12, 30, 60, 150, 300)  # magnitudes of points, as powers of two
SHIFTED = 60  # functions with a constant part: basis vectors of this power of two, so that the constant does not cover them
ROUNDING = 64.0 * np.finfo(np.float64).eps


def find_affine(function, n_inputs):
    """Return the matrix and the constants of a function if it is affine.

    Exact up to rounding: the matrix is what the function gives for basis vectors.

    Parameters
    ----------
    function : callable
        From float64[n_inputs] to a float array of any shape, always the same.
    n_inputs : int

    Returns
    -------
    matrix : scipy.sparse.csr_array
        float64[m, n_inputs]
    shift : float64[m]
        Or None in place of the pair: the function is not affine, is too large to be tried (more than 4096 inputs or
        2**24 entries of the matrix), or gives values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> matrix, shift = find_affine(np.cumsum, 3)
    >>> matrix.toarray().tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    >>> find_affine(np.abs, 3) is None
    True
    """
    from scipy import sparse

    if not 0 < n_inputs <= MOST_INPUTS:
        return None
    shift = _values(function, np.zeros(n_inputs))
    if shift is None or not 0 < shift.size <= MOST_ENTRIES // n_inputs:
        return None
    if _refuted(function, n_inputs, shift):
        return None
    scale = np.ldexp(1.0, SHIFTED) if shift.any() else 1.0
    columns, rows, weights = [], [], []
    for k in range(n_inputs):
        basis = np.zeros(n_inputs)
        basis[k] = scale
        column = _values(function, basis)
        if column is None or column.shape != shift.shape:
            return None
        column = (column - shift) / scale
        used = np.flatnonzero(column)
        rows.append(used)
        columns.append(np.full(used.size, k))
        weights.append(column[used])
    place = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.csr_array((np.concatenate(weights), place), shape=(shift.size, n_inputs))
    return (matrix, shift) if _agrees(function, matrix, shift) else None


def _values(function, x):
    """Return the function's value as float64[m], None where it is not finite."""
    with np.errstate(all="ignore"):
        y = np.asarray(function(x), np.float64).ravel()
    return y if np.isfinite(y).all() else None


def _points(n, count):
    """Yield random points: ``count`` per magnitude, with their negatives, and points of entries of all magnitudes."""
    rng = np.random.default_rng(0)
    for power in POWERS:
        for _ in range(count):
            x = np.ldexp(rng.standard_normal(n), power)
            yield x
            yield -x
    for _ in range(4 * count):
        x = np.ldexp(rng.standard_normal(n), rng.integers(-60, 60, n))
        yield np.where(rng.random(n) < 0.5, x, 0.0)
        yield x


def _refuted(function, n, shift):
    """Return whether a few points show that the function is not affine, without its matrix: f(2 x) - f(x) = f(x) - f(0)."""
    rng = np.random.default_rng(1)
    for power in (-30, 0, 30):
        x = np.ldexp(rng.standard_normal(n), power)
        values = [_values(function, factor * x) for factor in (1.0, 2.0, -1.0)]
        if any(v is None or v.shape != shift.shape for v in values):
            return True
        once, twice, negative = (v - shift for v in values)
        size = np.abs(once).max() + np.abs(shift).max()
        bound = n * ROUNDING * size
        if np.abs(twice - 2 * once).max() > bound or np.abs(once + negative).max() > bound:
            return True
    return False


def _agrees(function, matrix, shift):
    """Return whether the function agrees with an affine map on random points, up to the rounding of its sums."""
    m, n = matrix.shape
    size = abs(matrix)
    count = max(1, min(3, 2**22 // (m + n)))
    for x in _points(n, count):
        y = _values(function, x)
        if y is None or y.shape != shift.shape:
            return False
        terms = size @ np.abs(x) + np.abs(shift)
        # A transform adds up terms that its matrix does not hold, in another order: each output may have rounding of the
        # size of the largest; yet no more than the size of what the output itself adds up, if that is of few terms.
        bound = ROUNDING * (terms + terms.max(initial=0.0) * (size.nnz > 0.5 * m * n)) + n * np.finfo(np.float64).tiny
        if (np.abs(y - (matrix @ x + shift)) > bound).any():
            return False
    return True
