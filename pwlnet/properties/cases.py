"""From linear inequalities to boxes of inputs and conditions on outputs.

Legend: D inputs, O outputs.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..conditions import HalfSpaces
from ..domains import Box
from ..errors import CapacityError, InputError

MOST_CASES = 100_000  # terms of a disjunctive normal form


class Inequality(NamedTuple):
    """``sum of inputs[i] x_i + sum of outputs[o] y_o + constant <= 0``, from a line of a file."""

    inputs: dict  # of Fraction
    outputs: dict  # of Fraction
    constant: Fraction
    line: int


def conjunction(first, second):
    """Return the disjunctive normal form of both: lists of lists.

    Raises
    ------
    CapacityError
        It has more than `MOST_CASES` terms.
    """
    if len(first) * len(second) > MOST_CASES:
        raise CapacityError(
            f"the file has more than {MOST_CASES} cases in disjunctive normal form; split its disjunctions into several files"
        )
    return [[*a, *b] for a in first for b in second]


def to_cases(terms, n_inputs, n_outputs, path):
    """Convert terms, of which one must hold, to boxes and conditions.

    Parameters
    ----------
    terms : list of list of Inequality
    n_inputs, n_outputs : int
    path : str
        For messages.

    Returns
    -------
    boxes : list of Box
    conditions : list of list of HalfSpaces
        A union for each box; terms with the same box are joined.

    Raises
    ------
    InputError
        An inequality with several inputs, or with inputs and outputs; an input without a bound.
    """
    cases = {}
    for term in terms:
        ends = [_bounds([row for row in term if row.inputs], i, path) for i in range(n_inputs)]
        if any(low > high for low, high in ends):
            continue
        rows = [row for row in term if not row.inputs]
        matrix = [[float(row.outputs.get(o, 0)) for o in range(n_outputs)] for row in rows]
        shift = [float(-row.constant) for row in rows]
        condition = HalfSpaces(np.array(matrix).reshape(len(rows), n_outputs), np.array(shift))
        cases.setdefault(tuple(ends), []).append(condition)
    boxes = [Box(*np.array(ends).T) for ends in cases]
    return boxes, list(cases.values())


def _bounds(rows, i, path):
    """Return the bounds of input i, rounded outward where they are not floating-point numbers: (float, float)."""
    low, high = -np.inf, np.inf
    for row in rows:
        if len(row.inputs) > 1 or row.outputs:
            kind = "inputs and outputs" if row.outputs else f"{len(row.inputs)} inputs"
            raise InputError(
                f"{path}, line {row.line} has an inequality with {kind}; bounds of one input or inequalities of outputs are "
                "needed, rewrite it"
            )
        if i in row.inputs:
            bound = -row.constant / row.inputs[i]
            if row.inputs[i] > 0:
                high = min(high, _rounded(bound, math.inf))
            else:
                low = max(low, _rounded(bound, -math.inf))
    if not (np.isfinite(low) and np.isfinite(high)):
        missing = "lower" if np.isfinite(high) else "upper"
        raise InputError(f"{path} gives input {i} no {missing} bound; give one for each input")
    return low, high


def _rounded(bound, towards):
    """Return the floating-point number nearest to a Fraction, but not on the other side of it."""
    value = float(bound)
    wrong = Fraction(value) < bound if towards > 0 else Fraction(value) > bound
    return math.nextafter(value, towards) if wrong else value
