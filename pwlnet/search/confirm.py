"""Confirmation of witnesses: exactly, and by the source of a network in its own precision.

Legend: D inputs, O outputs, U polytopes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._types import ArrayLike
from ..partition.exact_values import exact_margin
from ..partition.regions.polytopes import contains_point
from ..tolerances import UNIT_ROUNDOFF

if TYPE_CHECKING:
    from ..convert.source import Source

_ROUNDINGS = 2.0**20  # of sums of terms of a margin: above this many, exact arithmetic is not worth its time
_BITS = (44, 32, 20, 10)  # of the numbers to which a point on a boundary is rounded: it may be such a number exactly


class Confirmation(NamedTuple):
    """How a witness was confirmed."""

    margin: float  # largest entry of A y - b at the witness, rounded from its exact value, which is not positive
    polytope: int  # number of the polytope of the union that holds there
    source: str | None  # what evaluated the source of the network; None where no source was given
    source_margin: float | None  # by the outputs of the source
    source_holds: bool | None  # whether the condition holds for them


class Confirmer:
    """Exact answers to whether a union of conditions holds at a point.

    Parameters
    ----------
    network : Network
    union : sequence of HalfSpaces
    lower, upper : float64[D]
        The box in which witnesses must lie.
    domain : (float64[M, D], float64[M]), optional
        Rows ``A x <= b`` that they must satisfy.
    """

    def __init__(self, network, union, lower, upper, domain=None):
        self.network, self.union, self.lower, self.upper, self.domain = network, union, lower, upper, domain

    def __call__(self, point):
        """Return whether a condition holds at a point of the box, in exact arithmetic."""
        return self.polytope_at(point) is not None

    def polytope_at(self, point):
        """Return the first polytope that holds at a point of the box, and its exact margin; None if none does."""
        if (point < self.lower).any() or (point > self.upper).any():
            return None
        if self.domain is not None and not contains_point(self.domain, point):
            return None
        y = self.network.forward(point, threads=1)[0]
        for u, part in enumerate(self.union):
            sizes = np.abs(part.A) @ np.abs(y) + np.abs(part.b)
            if (part.A @ y - part.b <= _ROUNDINGS * UNIT_ROUNDOFF * sizes).all():
                margin = exact_margin(self.network, part, point)
                if margin is None or margin <= 0:
                    return u, margin
        return None

    def first(self, points):
        """Return the first of some points, or of points near them with fewer bits, at which a condition holds, or None."""
        for bits in (None, *_BITS):
            for point in points:
                near = np.clip(point, self.lower, self.upper)
                if bits is not None:
                    near = np.clip(_rounded(near, bits), self.lower, self.upper)
                if self(near):
                    return near
        return None


def _rounded(values, bits):
    """Round numbers to so many significant bits."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits)


def describe(confirmer: Confirmer, point: ArrayLike, source: Source | None = None) -> Confirmation:
    """Confirm a witness: Confirmation.

    Parameters
    ----------
    confirmer : Confirmer
    point : float64[D]
        A witness that was confirmed exactly.
    source : Source, optional
        pwlnet/convert/source.py
    """
    u, margin = confirmer.polytope_at(point)
    margin = -np.inf if margin is None else float(margin)
    if source is None:
        return Confirmation(margin, u, None, None, None)
    outputs = source(point)
    by_source = float(min(part.margins(outputs)[0] for part in confirmer.union))
    return Confirmation(margin, u, source.name, by_source, by_source <= 0.0)
