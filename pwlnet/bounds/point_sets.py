"""Boxes and balls as the sets in which exact methods search: bounding boxes, points, and the best points for a gradient.

Legend: D entries of op 0, P points.
"""

import math
from fractions import Fraction

import numpy as np

from ..domains import Ball, ball_rows, box_rows


class PointSet:
    """One box or ball.

    Parameters
    ----------
    lower, upper : float64[D]
        Of a box that contains the set.
    center : float64[D] or None
        Of a ball; None for a box.
    radius : float or None
    norm : float
        1 or 2 for a ball that is not a box; infinity otherwise.
    inner : (float64[D], float64[D]), optional
        A box within the set from which points are taken, if not ``lower``, ``upper``.
    """

    def __init__(self, lower, upper, center=None, radius=None, norm=np.inf, inner=None):
        self.lower, self.upper, self.norm, self.radius = lower, upper, norm, radius
        self.low, self.high = (lower, upper) if inner is None else inner
        self.is_box = norm == np.inf
        self.center = np.clip(0.5 * lower + 0.5 * upper, self.low, self.high) if center is None else center

    def ball_rows(self):
        """Return center and radius of a ball of the 1-norm; None for other sets."""
        return (self.center, self.radius) if self.norm == 1.0 else None

    @property
    def is_polytope(self):
        """Whether linear rows describe the set."""
        return self.norm != 2.0

    def sample(self, rng, n):
        """Draw n points of the set: vertices, uniform points of the box, or points near a sphere: float64[n, D]."""
        size = len(self.low)
        if self.is_box:
            corners = np.where(rng.random((n - n // 2, size)) < 0.5, self.low, self.high)
            inside = self.low + rng.random((n // 2, size)) * (self.high - self.low)
            return np.concatenate([corners, np.clip(inside, self.low, self.high)])
        steps = rng.standard_normal((n, size))
        if self.norm == 1.0:
            steps = np.zeros((n, size))
            steps[np.arange(n), rng.integers(size, size=n)] = rng.choice((-1.0, 1.0), n)
            mixed = rng.standard_exponential((n // 2, size)) * rng.choice((-1.0, 1.0), (n // 2, size))
            steps[: n // 2] = mixed
        return self.pull(self.center + self.radius * steps / self._norm(steps)[:, None])

    def _norm(self, steps):
        return np.maximum(np.linalg.norm(steps, ord=self.norm, axis=1), np.finfo(float).tiny)

    def pull(self, points):
        """Return points of the set near the given ones: float64[P, D]."""
        points = np.clip(points, self.low, self.high)
        if self.is_box:
            return points
        steps = points - self.center
        factor = np.minimum(1.0, self.radius * (1.0 - 2.0**-44) / self._norm(steps))
        return self.center + factor[:, None] * steps

    def least(self, gradients, points):
        """Return the points of the set at which linear functions are least, and the given ones where a gradient is 0.

        Parameters
        ----------
        gradients : float64[P, D]
        points : float64[P, D]

        Returns
        -------
        float64[P, D]
        """
        if self.is_box:
            return np.where(gradients > 0, self.low, np.where(gradients < 0, self.high, points))
        if self.norm == 2.0:
            return self.pull(self.center - self.radius * gradients / self._norm(gradients)[:, None])
        at, rows = np.abs(gradients).argmax(axis=1), np.arange(len(gradients))
        moved = np.repeat(self.center[None], len(gradients), axis=0)
        moved[rows, at] -= self.radius * np.sign(gradients[rows, at])
        return self.pull(moved)

    def contains(self, point):
        """Return whether the set contains a point float64[D], decided in rational arithmetic."""
        if self.is_box:
            return bool(((self.low <= point) & (point <= self.high)).all())
        steps = [abs(Fraction(float(x)) - Fraction(float(c))) for x, c in zip(point, self.center, strict=True)]
        radius = Fraction(float(self.radius))
        return sum(steps) <= radius if self.norm == 1.0 else sum(x * x for x in steps) <= radius * radius


def point_sets(network, domain):
    """Return the sets of a domain in the order of op 0: list of PointSet."""

    def stored(rows):
        x = np.zeros((len(rows), int(np.prod(network.program.shapes[0]))))
        x[:, network.program.input_index] = rows
        return x

    if not isinstance(domain, Ball):
        return [
            PointSet(*map(np.ascontiguousarray, pair)) for pair in zip(*map(stored, box_rows(network, domain)), strict=True)
        ]
    centers, radii = ball_rows(network, domain)
    sets = []
    for center, radius in zip(stored(centers), radii.tolist(), strict=True):
        outer, inner = (np.array(side).T for side in zip(*(_ends(c, radius) for c in center.tolist()), strict=True))
        if domain.norm == np.inf:
            sets.append(PointSet(*outer, inner=(np.minimum(inner[0], center), np.maximum(inner[1], center))))
        else:
            sets.append(PointSet(*outer, center, radius, domain.norm))
    return sets


def _ends(center, radius):
    """Return ``center - radius`` and ``center + radius`` rounded outward, and rounded inward."""
    outer, inner = [], []
    for sign in (-1.0, 1.0):
        exact, rounded = Fraction(center) + int(sign) * Fraction(radius), center + sign * radius
        beyond = (Fraction(rounded) - exact) * int(sign)
        outer.append(rounded if beyond >= 0 else math.nextafter(rounded, sign * math.inf))
        inner.append(rounded if beyond <= 0 else math.nextafter(rounded, -sign * math.inf))
    return outer, inner
