"""Operator norms of matrices between l_1, l_2 and l_inf norms: of all directions, in a plane, and sound upper bounds.

||A||_(p -> q) is the largest ||A v||_q of all v with ||v||_p <= 1.

Legend: R matrices, O rows, D columns.
"""

import numpy as np

from ..errors import CapacityError, InputError
from ..tolerances import UNIT_ROUNDOFF

MAX_SIGNS = 16  # dimension up to which all vectors of signs are tried
_SIGNS_AT_ONCE = 2**11
DUAL = {1.0: np.inf, 2.0: 2.0, np.inf: 1.0}


def check_norm(value, name):
    """Validate a norm: 1, 2 or inf.

    Raises
    ------
    InputError
        It is another one.
    """
    if isinstance(value, bool | np.bool_) or value not in (1, 2, np.inf):
        raise InputError(f"{name} is {value!r}; the choices are 1, 2 and numpy.inf")
    return float(value)


def operator_norms(matrices, p, q):
    """Compute the operator norms from l_p to l_q.

    Exact up to rounding. To l_inf: the largest dual norm of a row; from l_1: the largest norm of a column; from l_2 to l_2: the
    largest singular value. The other three are NP-hard in general, and found by trying all vectors of signs.

    Parameters
    ----------
    matrices : float64[R, O, D]
    p, q : {1, 2, inf}

    Returns
    -------
    float64[R]

    Raises
    ------
    CapacityError
        More than 16 signs would have to be tried: outputs, or inputs for inf -> 2.
    """
    if 0 in matrices.shape:
        return np.zeros(len(matrices))
    if q == np.inf:
        return np.linalg.norm(matrices, DUAL[p], axis=2).max(axis=1)
    if p == 1.0:
        return np.linalg.norm(matrices, q, axis=1).max(axis=1)
    if p == q == 2.0:
        return np.linalg.norm(matrices, 2, axis=(1, 2))
    if q == 1.0:  # max over v and signs s of s.A v: the dual norm of A^T s
        return _over_signs(matrices, DUAL[p], p, q)
    return _over_signs(matrices.transpose(0, 2, 1), 2.0, p, q)


def _over_signs(matrices, norm, p, q):
    """Compute the largest norm of s.A of all vectors s of signs: float64[R]."""
    n = matrices.shape[1]
    if n > MAX_SIGNS:
        raise CapacityError(
            f"the operator norm from l_{p:g} to l_{q:g} tries all signs of {n} numbers, at most {MAX_SIGNS} are possible; use "
            "output_norm=numpy.inf, or equal norms"
        )
    largest = np.zeros(len(matrices))
    for first in range(0, 2 ** (n - 1), _SIGNS_AT_ONCE):
        numbers = np.arange(first, min(first + _SIGNS_AT_ONCE, 2 ** (n - 1)))
        signs = 1.0 - 2.0 * (numbers[:, None] >> np.arange(n) & 1)
        for r, matrix in enumerate(matrices):
            largest[r] = max(largest[r], np.linalg.norm(signs @ matrix, norm, axis=1).max())
    return largest


def plane_norms(maps, basis, p, q):
    """Compute operator norms restricted to the plane that two vectors span.

    Exact up to rounding: in a plane, the unit ball of l_1 or l_inf is a polygon, and the largest norm is at one of its vertices.

    Parameters
    ----------
    maps : float64[R, O, 2]
        Of the coordinates (u, v) of ``u basis[0] + v basis[1]``.
    basis : float64[2, D]
        Not parallel.
    p, q : {1, 2, inf}

    Returns
    -------
    float64[R]

    Raises
    ------
    CapacityError
        As for ``operator_norms``.
    """
    if p == 2.0:
        triangle = np.linalg.qr(basis.T)[1]
        return operator_norms(np.linalg.solve(triangle.T, maps.transpose(0, 2, 1)).transpose(0, 2, 1), p, q)
    directions = _perpendicular(basis) if p == 1.0 else _polar_vertices(basis.T)
    directions = directions / np.linalg.norm(directions @ basis, p, axis=1)[:, None]
    return np.linalg.norm(maps @ directions.T, q, axis=1).max(axis=1, initial=0.0)


def _perpendicular(basis):
    """Return directions (u, v) in which one entry of the vector is 0: the vertices of the unit ball of l_1."""
    directions = np.stack([-basis[1], basis[0]], axis=1)
    return directions[directions.any(axis=1)]


def _polar_vertices(points):
    """Return the vertices of the polygon |x.w| <= 1, of all points x float64[n, 2]: one for each edge of the hull of +-x."""
    points = np.unique(np.concatenate([points, -points]), axis=0)

    def chain(points):
        hull = []
        for x in points:
            while len(hull) > 1 and np.linalg.det([hull[-1] - hull[-2], x - hull[-1]]) <= 0.0:
                hull.pop()
            hull.append(x)
        return hull

    lower = chain(points)  # the upper chain is its mirror image
    edges = np.stack([lower[:-1], lower[1:]], axis=1)
    return np.linalg.solve(edges, np.ones((len(edges), 2, 1)))[..., 0]


def gamma(n):
    """Return the bound of the relative error of n roundings, and of the rounding of what uses it."""
    return 2.0 * n * UNIT_ROUNDOFF


def round_up(x):
    """Return the next larger number: the result of an operation is at most that."""
    return np.nextafter(x, np.inf)


def _frobenius(x):
    """Bound the Frobenius norm of a matrix from above."""
    return float(np.linalg.norm(x)) * (1.0 + gamma(x.size + 8))


def spectral_bound(matrix):
    """Bound the largest singular value of a matrix from above.

    Sound bound: W = U S V^T + E, where the computed E, and the deviations of the computed U and V from orthogonal matrices, are
    bounded with their rounding errors: ||W|| <= ||U|| s_1 ||V|| + ||E||.

    Parameters
    ----------
    matrix : float64[m, n]

    Returns
    -------
    float

    References
    ----------
    .. [1] Rump, "Verified bounds for singular values, in particular for the spectral norm of a matrix and its inverse", BIT
       Numerical Mathematics 51, 2011, Section 3 (the idea; these bounds are simpler).
    """
    if not matrix.any():
        return 0.0
    scale = 2.0 ** np.floor(np.log2(np.abs(matrix).max()))  # a power of two, so that no square overflows
    u, s, vt = np.linalg.svd(matrix / scale, full_matrices=False)
    error = _frobenius(matrix / scale - (u * s) @ vt) + gamma(len(s) + 4) * _frobenius((np.abs(u) * s) @ np.abs(vt))
    sizes = 1.0
    for factor in (u, vt.T):
        m, k = factor.shape
        deviation = _frobenius(factor.T @ factor - np.eye(k)) + gamma(m + 4) * _frobenius(np.abs(factor).T @ np.abs(factor))
        sizes *= np.sqrt(1.0 + deviation)
    return float((s[0] * sizes + error) * (1.0 + gamma(16)) * scale)
