"""Integrals of the standard normal density over simplices, which are divided where rules of two degrees differ.

Legend: F dimensions, S simplices, R regions, Q points of a rule.
"""

import functools
import itertools
import math

import numpy as np

_LOW, _HIGH = 2, 3  # rules of degrees 5 and 7
_BLOCK = 2**20  # coordinates of points of one evaluation
_SHARE = 0.5  # each round divides the simplices with this share of the error


@functools.cache
def simplex_rule(dimensions, s):
    """Return the rule of Grundmann and Möller of degree 2 s + 1, for means over simplices.

    Returns
    -------
    barycentric : float64[Q, F+1]
    weights : float64[Q]
        Their sum is 1.
    """
    n, points, weights, degree = dimensions, [], [], 2 * s + 1
    for i in range(s + 1):
        total = degree + n - 2 * i
        weight = (-1) ** i * 2.0 ** (-2 * s) * total**degree / (math.factorial(i) * math.factorial(degree + n - i))
        for parts in itertools.product(range(s - i + 1), repeat=n + 1):
            if sum(parts) == s - i:
                points.append([(2 * k + 1) / total for k in parts])
                weights.append(weight * math.factorial(n))
    return np.array(points), np.array(weights)


def _density(points):
    """Return the standard normal density: float64[...]."""
    return np.exp(-0.5 * np.einsum("...d,...d->...", points, points)) / math.sqrt(2.0 * math.pi) ** points.shape[-1]


def _evaluate(corners):
    """Return the integrals over simplices, and the differences of two rules: float64[S], float64[S]."""
    n_simplices, f = len(corners), corners.shape[2]
    volumes = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / math.factorial(f)
    results = []
    for s in (_LOW, _HIGH):
        barycentric, weights = simplex_rule(f, s)
        values = np.empty(n_simplices)
        step = max(1, _BLOCK // (len(weights) * f))
        for first in range(0, n_simplices, step):
            x = np.einsum("qk,skd->sqd", barycentric, corners[first : first + step])
            values[first : first + step] = _density(x) @ weights
        results.append(values * volumes)
    return results[1], np.abs(results[1] - results[0])


def _halves(corners):
    """Divide simplices at the middles of their longest edges: float64[2 S, F+1, F], the first halves first."""
    at = np.arange(len(corners))
    pairs = np.array(list(itertools.combinations(range(corners.shape[1]), 2)))
    lengths = ((corners[:, pairs[:, 0]] - corners[:, pairs[:, 1]]) ** 2).sum(axis=2)
    a, b = pairs[lengths.argmax(axis=1)].T
    first, second = corners.copy(), corners.copy()
    middle = 0.5 * (corners[at, a] + corners[at, b])
    first[at, a], second[at, b] = middle, middle
    return np.concatenate([first, second])


def integrate_normal(corners, owner, n, tolerance, max_evaluations):
    """Integrate the standard normal density over simplices, and sum by their owners.

    Parameters
    ----------
    corners : float64[S, F+1, F]
    owner : int64[S]
    n : int
        Number of owners.
    tolerance : float
        Of the sum of all errors.
    max_evaluations : int

    Returns
    -------
    masses, errors : float64[n]
    """
    per_simplex = sum(len(simplex_rule(corners.shape[2], s)[1]) for s in (_LOW, _HIGH))
    values, differences = _evaluate(corners)
    used = per_simplex * len(corners)
    while True:
        total = differences.sum()
        order = np.argsort(-differences, kind="stable")
        done = np.cumsum(differences[order]) > _SHARE * total
        n_divided = min(len(order), int(np.argmax(done)) + 1)
        if total <= tolerance or used + 2 * per_simplex * n_divided > max_evaluations:
            break
        divided, rest = order[:n_divided], order[n_divided:]
        new = _halves(corners[divided])
        new_values, new_differences = _evaluate(new)
        used += per_simplex * len(new)
        corners = np.concatenate([corners[rest], new])
        owner = np.concatenate([owner[rest], owner[divided], owner[divided]])
        values = np.concatenate([values[rest], new_values])
        differences = np.concatenate([differences[rest], new_differences])
    return np.bincount(owner, values, n), np.bincount(owner, differences, n)
