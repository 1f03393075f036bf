"""Matrices of functions that have no handler but are affine: found by basis vectors, and checked.

A function is taken only if it agrees with its matrix, up to rounding, on points of many magnitudes, of both signs and of
entries that differ in magnitude. Functions that look linear near zero, on one side of it or for most points do not pass.
"""

import numpy as np

from .graph import refuse
from .linear_maps import sparse_linear

NOT_LINEAR = "which is not linear and has no exact conversion"
MOST_INPUTS = 4096
MOST_ENTRIES = 2**24
POWERS = (-300, -150, -60, -30, -12, -6, -3, -1, 0, 1, 3, 6, 12, 30, 60, 150, 300)  # magnitudes of points, as powers of two
SHIFTED = 60  # functions with a constant part: basis vectors of this power of two, so that the constant does not cover them
ROUNDING = 64.0 * np.finfo(np.float64).eps


class NotAffine(Exception):
    """A function is not affine, or too large to find out."""


def convert(graph, x, run, name, kind):
    """Convert an operation that is affine in a tensor, with a note that names it.

    Parameters
    ----------
    graph : Graph
    x : Tensor
    run : callable
        From float64[*x.shape] to a list of arrays.
    name, kind : str
        Of the node in the source.

    Returns
    -------
    list of Tensor

    Raises
    ------
    UnsupportedOperationError
        The operation is not affine or too large to find out, or its results are not real floats.
    """
    shapes = []

    def function(point):
        parts = run(point.reshape(x.shape))
        shapes[:] = [p.shape for p in parts]
        return np.concatenate([p.ravel() for p in parts])

    parts = run(np.zeros(x.shape))
    if not parts or not all(np.issubdtype(p.dtype, np.floating) for p in parts):
        refuse(name, kind, "which has no exact conversion")
    try:
        matrix, shift = find_affine(function, x.size)
    except NotAffine as reason:
        refuse(name, kind, str(reason))
    y = sparse_linear(graph, x, matrix, (-1,), shift, name=name)
    graph.note(
        y,
        f"node {name!r} is {kind}, which has no handler: it is linear, and its matrix ({matrix.shape[0]} x "
        f"{matrix.shape[1]}, {matrix.nnz} entries) was found numerically and checked on random points",
    )
    ends = np.cumsum([int(np.prod(s, dtype=np.int64)) for s in shapes])
    numbers = np.split(np.arange(matrix.shape[0]), ends[:-1])
    return [graph.layout(y, n.reshape(s), name=name) for n, s in zip(numbers, shapes, strict=True)]


def find_affine(function, n_inputs):
    """Return the matrix and the constants of a function that is affine.

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

    Raises
    ------
    NotAffine
        The function is not affine, gives values that are not finite, or is too large to be tried: more than 4096 inputs or
        2**24 entries of the matrix.

    Examples
    --------
    >>> import numpy as np
    >>> matrix, shift = find_affine(np.cumsum, 3)
    >>> matrix.toarray().tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    >>> find_affine(np.abs, 3)
    Traceback (most recent call last):
        ...
    pwlnet.convert.numeric.NotAffine: which is not linear and has no exact conversion
    """
    shift = _values(function, np.zeros(n_inputs))
    if shift is None or not n_inputs or not shift.size or _is_refuted(function, n_inputs, shift):
        raise NotAffine(NOT_LINEAR)
    if n_inputs > MOST_INPUTS or shift.size * n_inputs > MOST_ENTRIES:
        raise NotAffine(
            f"which has no exact conversion; it may be linear, but {n_inputs} inputs and {shift.size} outputs are too many to "
            "find its matrix"
        )
    matrix = _matrix(function, n_inputs, shift)
    if matrix is None or not _agrees(function, matrix, shift):
        raise NotAffine(NOT_LINEAR)
    return matrix, shift


def _matrix(function, n_inputs, shift):
    """Return the matrix that basis vectors give, None where a value is not finite."""
    from scipy import sparse

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
    return sparse.csr_array((np.concatenate(weights), place), shape=(shift.size, n_inputs))


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


def _is_refuted(function, n, shift):
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
