"""Conditions as the search uses them: the rows of all polytopes of a union in one matrix.

Legend: U polytopes, M rows of all of them, O outputs, B points or boxes, D inputs.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """A union of U polytopes: polytope u has the rows ``starts[u]`` to ``starts[u + 1]`` of ``A y <= b``; each has some."""

    A: np.ndarray  # float64[M, O]
    b: np.ndarray  # float64[M]
    starts: np.ndarray  # int64[U+1]

    def margins(self, outputs):
        """Return the largest entry of A y - b of each polytope: float64[B, U]; not positive where it holds."""
        return np.maximum.reduceat(outputs @ self.A.T - self.b, self.starts[:-1], axis=1)


def make_rows(union):
    """Join the rows of a union of HalfSpaces, none of them without rows: Rows."""
    starts = np.cumsum([0, *(len(part.b) for part in union)])
    return Rows(np.concatenate([part.A for part in union]), np.concatenate([part.b for part in union]), starts)


def with_sums(rows):
    """Add the sum of the rows to each polytope with several, where floating-point sums are exact: Rows.

    The sum is implied by the rows. A lower bound of it can be positive where none of the rows alone has a positive one.
    """
    matrices, shifts, starts = [], [], [0]
    for first, last in zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True):
        matrix, shift = rows.A[first:last], rows.b[first:last]
        summed, total = matrix.sum(axis=0), shift.sum()
        if last - first > 1 and _is_exact_sum(matrix, summed) and _is_exact_sum(shift[:, None], np.array([total])):
            matrix, shift = np.concatenate([matrix, summed[None]]), np.append(shift, total)
        matrices.append(matrix)
        shifts.append(shift)
        starts.append(starts[-1] + len(shift))
    return Rows(np.concatenate(matrices), np.concatenate(shifts), np.array(starts))


def _is_exact_sum(terms, total):
    """Return whether the floating-point sums of columns are exact."""
    columns = zip(terms.T.tolist(), total.tolist(), strict=True)
    return all(sum(map(Fraction, column), Fraction(0)) == Fraction(value) for column, value in columns)
