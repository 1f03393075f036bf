"""Linear programs that relax the neurons below a target, and lower bounds of their optima that are proved.

A solver's optimum is not a proof. Its dual solution is: for any multipliers y (of the right sign) of the rows of
``min c x, A_eq x = b_eq, A_ub x <= b_ub, lo <= x <= hi``, weak duality gives the bound
``y b + sum_j min(r_j lo_j, r_j hi_j)`` with the residual ``r = c - A^T y`` [1]_. ``safe_lower`` evaluates it in float64 with
bounds of all rounding errors; ``exact_lower`` in rational arithmetic, after rounding the multipliers to fractions with small
denominators, which proves optima that are exactly at a threshold.

Variables: entries of v and of the inputs z of the blocks (elimination.py). Rows: ``z = Z v + c``, the convex hull of the graph
of each elementwise neuron over its bounds [2]_, and bounds of the maximum for windows.

References
----------
.. [1] Neumaier and Shcherbina, "Safe bounds in linear and mixed-integer linear programming", Mathematical Programming 2004,
   Section 2 (equations 4 to 6).
.. [2] Ehlers, "Formal verification of piece-wise linear feed-forward neural networks", ATVA 2017, Section 3.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..tolerances import UNIT_ROUNDOFF
from .elimination import INFLATION, TINY

_NOT_FINITE = 4  # the status of programs that cannot be solved, as in scipy.optimize.linprog
_LARGE = 4096  # entries of a matrix
_DENOMINATORS = (1000, 1000000)  # of multipliers in rational arithmetic


class Program(NamedTuple):
    """A linear program ``min c x`` over rows and bounds, with bounds of the errors of its equalities."""

    c: np.ndarray  # float64[n], entries 0, 1, -1
    A_eq: sp.csr_matrix
    b_eq: np.ndarray
    E_eq: sp.csr_matrix | None
    e_eq: np.ndarray
    A_ub: sp.csr_matrix
    b_ub: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    exact_eq: list  # (block, entry, column of z) of the first rows of A_eq, z = Z v + c
    v_columns: np.ndarray  # int64[*] column of each entry of v, -1 where it does not occur
    z_columns: tuple  # of int64[m], one for each block
    chords: dict  # rows of A_ub that relax each neuron, by (block, index)


class Solution(NamedTuple):
    """What a solver returned: status (0 optimal, 2 infeasible), x, multipliers of both kinds of rows."""

    status: int
    x: np.ndarray | None
    y_eq: np.ndarray | None
    y_ub: np.ndarray | None


def solve(program, time_limit):
    """Solve a linear program with HiGHS: Solution; x and the multipliers are None where it has none."""
    from scipy.optimize import linprog

    if not (np.isfinite(program.lo).all() and np.isfinite(program.hi).all() and np.isfinite(program.A_ub.data).all()):
        return Solution(_NOT_FINITE, None, None, None)
    kept = {"A_eq": program.A_eq, "b_eq": program.b_eq} if len(program.b_eq) else {}
    if len(program.b_ub):
        kept |= {"A_ub": program.A_ub, "b_ub": program.b_ub}
    bounds, methods = np.column_stack([program.lo, program.hi]), ["highs"]
    if program.A_eq.nnz > _LARGE:
        methods.insert(0, "highs-ipm")  # with many inputs, several times faster than the simplex method
    for method in methods:
        options = {"time_limit": max(time_limit, 0.01), "presolve": method == "highs"}
        result = linprog(program.c, **kept, bounds=bounds, method=method, options=options)
        if result.status == 0 and result.x is not None:
            break
    else:
        return Solution(int(result.status), None, None, None)
    y_eq = np.asarray(result.eqlin.marginals) if "A_eq" in kept else np.zeros(0)
    y_ub = np.asarray(result.ineqlin.marginals) if "A_ub" in kept else np.zeros(0)
    return Solution(0, result.x, y_eq, np.minimum(y_ub, 0.0))


def safe_lower(program, y_eq, y_ub):
    """Return a lower bound of the optimum that multipliers prove, in float64 with all rounding errors: float."""
    y_eq, y_ub = np.nan_to_num(y_eq), np.minimum(np.nan_to_num(y_ub), 0.0)
    c, A_eq, A_ub = program.c, program.A_eq, program.A_ub
    r = c - A_eq.T @ y_eq - A_ub.T @ y_ub
    steps = (len(y_eq) + len(y_ub) + len(c) + 8) * UNIT_ROUNDOFF * INFLATION
    errors = steps * (np.abs(c) + abs(A_eq).T @ np.abs(y_eq) + abs(A_ub).T @ np.abs(y_ub)) + TINY * (len(y_eq) + len(y_ub))
    if program.E_eq is not None:
        errors += program.E_eq.T @ np.abs(y_eq)
    largest = np.maximum(np.abs(program.lo), np.abs(program.hi))
    low = np.minimum(r * program.lo, r * program.hi)
    bound = y_eq @ program.b_eq + y_ub @ program.b_ub + low.sum()
    size = np.abs(y_eq) @ np.abs(program.b_eq) + np.abs(y_ub) @ np.abs(program.b_ub) + np.abs(low).sum()
    error = steps * size + errors @ largest + np.abs(y_eq) @ program.e_eq + len(c) * TINY
    return float(np.nextafter(bound - error * INFLATION, -np.inf))


def exact_lower(elimination, program, y_eq, y_ub):
    """Return the best bound by multipliers rounded to fractions, in rational arithmetic: Fraction."""
    bounds = []
    for denominator in _DENOMINATORS:
        rounded = [[Fraction(float(y)).limit_denominator(denominator) for y in ys] for ys in (y_eq, y_ub)]
        bounds.append(_exact_lower(elimination, program, rounded[0], [min(y, Fraction(0)) for y in rounded[1]]))
    return max(bounds)


def _exact_lower(elimination, program, y_eq, y_ub):
    r, bound = {int(j): Fraction(float(program.c[j])) for j in np.flatnonzero(program.c)}, Fraction(0)
    for k, y in enumerate(y_eq):
        if not y:
            continue
        if k < len(program.exact_eq):
            s, entry, column = program.exact_eq[k]
            row, constant = elimination.exact_row(s, entry)
            r[column] = r.get(column, 0) - y
            pairs = [(int(program.v_columns[j]), -w) for j, w in row.items()]
            b = constant
        else:
            pairs, b = _row(program.A_eq, k), Fraction(float(program.b_eq[k]))
            column = None
        if any(j < 0 for j, _ in pairs):
            return -np.inf
        bound += y * b
        for j, w in pairs:
            r[j] = r.get(j, 0) - y * w
    for k, y in enumerate(y_ub):
        if y:
            bound += y * Fraction(float(program.b_ub[k]))
            for j, w in _row(program.A_ub, k):
                r[j] = r.get(j, 0) - y * w
    for j, slope in r.items():
        if slope:
            bound += slope * Fraction(float(program.lo[j] if slope > 0 else program.hi[j]))
    return bound


def _row(A, k):
    part = slice(A.indptr[k], A.indptr[k + 1])
    return [(int(j), Fraction(float(w))) for j, w in zip(A.indices[part], A.data[part], strict=True)]
