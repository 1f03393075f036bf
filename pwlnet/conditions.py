"""Conditions on the outputs of a network: half-spaces, and unions of their intersections.

Legend: M rows, O outputs, B points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._types import ArrayLike, BoolArray, FloatArray, Index
from .errors import InputError, ShapeError
from .validation import as_array, check_index, refuse_not_finite

DECISION_RULES = {
    "max": 1.0,
    "min": -1.0,
}  # the class is the largest one of this number times the outputs; the lowest of equals


class HalfSpaces:
    """The outputs y with ``A @ y <= b``, all rows: a closed polytope. A list of HalfSpaces is their union.

    Parameters
    ----------
    A : float64[M, O]
    b : float64[M]

    Raises
    ------
    ShapeError
        A is not a matrix, or b does not have an entry for each row.
    InputError
        They are not finite real numbers.

    Examples
    --------
    >>> import pwlnet
    >>> pwlnet.HalfSpaces([[1.0, -1.0]], [0.0]).contains([[1.0, 2.0], [2.0, 1.0]]).tolist()
    [True, False]
    """

    __slots__ = ("A", "b")

    A: FloatArray
    b: FloatArray

    def __init__(self, A: ArrayLike, b: ArrayLike) -> None:
        matrix, shift = as_array(A, "A"), np.atleast_1d(as_array(b, "b"))
        for array, name in ((matrix, "A"), (shift, "b")):
            if array.dtype.kind not in "fiub":
                raise InputError(f"{name} has dtype {array.dtype}; real numbers are needed, convert it to float64")
        if matrix.ndim != 2 or shift.shape != matrix.shape[:1]:
            raise ShapeError(f"A has shape {matrix.shape} and b {shift.shape}; give (rows, outputs) and (rows,)")
        for array, name in ((matrix, "A"), (shift, "b")):
            refuse_not_finite(array.astype(np.float64), name)
        for name, array in (("A", matrix), ("b", shift)):
            copy = np.array(array, np.float64, order="C")
            copy.setflags(write=False)
            object.__setattr__(self, name, copy)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"HalfSpaces are immutable, so {name!r} cannot be set; make new ones")

    @classmethod
    def largest(cls, output: Index, n_outputs: int) -> HalfSpaces:
        """Return the condition that an output is the largest one, or equal to it."""
        output = check_index(output, "output", n_outputs, "outputs")
        return cls(np.delete(np.eye(n_outputs) - np.eye(n_outputs)[output], output, axis=0), np.zeros(n_outputs - 1))

    @classmethod
    def smallest(cls, output: Index, n_outputs: int) -> HalfSpaces:
        """Return the condition that an output is the smallest one, or equal to it."""
        return cls(-cls.largest(output, n_outputs).A, np.zeros(n_outputs - 1))

    def margins(self, outputs: ArrayLike) -> FloatArray:
        """Return the largest entry of ``A @ y - b`` for each row of outputs: float64[B]; not positive where it holds."""
        outputs = np.atleast_2d(np.asarray(outputs, np.float64))
        if outputs.shape[1] != self.A.shape[1]:
            raise ShapeError(f"outputs has shape {outputs.shape}, but the condition is on {self.A.shape[1]} outputs")
        return (outputs @ self.A.T - self.b).max(axis=1, initial=-np.inf)

    def contains(self, outputs: ArrayLike) -> BoolArray:
        """Return whether the condition holds, for each row of outputs: bool[B]."""
        return self.margins(outputs) <= 0.0

    def __repr__(self) -> str:
        return f"HalfSpaces({self.A.shape[0]} rows, {self.A.shape[1]} outputs)"


def as_union(condition: HalfSpaces | Sequence[HalfSpaces], n_outputs: int) -> tuple[HalfSpaces, ...]:
    """Validate a condition on the outputs of a network: tuple of HalfSpaces.

    Raises
    ------
    InputError
        It is not HalfSpaces, or a list of them.
    ShapeError
        It is on another number of outputs.
    """
    union = (condition,) if isinstance(condition, HalfSpaces) else condition
    if not isinstance(union, list | tuple) or not all(isinstance(part, HalfSpaces) for part in union):
        raise InputError(
            f"condition is a {type(condition).__name__}; give pwlnet.HalfSpaces, or a list of them for their union"
        )
    for part in union:
        if part.A.shape[1] != n_outputs:
            raise ShapeError(f"the condition is on {part.A.shape[1]} outputs, but the network has {n_outputs}")
    return tuple(union)
