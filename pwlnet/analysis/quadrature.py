"""Sampling rules (quadrature) for integrals over t from 0 to 1: nodes and weights.

These are the usual approximations of integrated gradients. The size of a rule is its number of points, at which the gradient is
evaluated.

Legend: n points.
"""

import numbers

import numpy as np

from ..errors import InputError


def _left(n):
    return np.arange(n) / n, np.full(n, 1.0 / n)


def _right(n):
    return np.arange(1, n + 1) / n, np.full(n, 1.0 / n)


def _midpoint(n):
    return (np.arange(n) + 0.5) / n, np.full(n, 1.0 / n)


def _trapezoid(n):
    weights = np.full(n, 1.0 / (n - 1))
    weights[[0, -1]] /= 2.0
    return np.linspace(0.0, 1.0, n), weights


def _simpson(n):
    weights = np.full(n, 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    return np.linspace(0.0, 1.0, n), weights / (3.0 * (n - 1))


def _gauss_legendre(n):
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def _captum_trapezoid(n):
    weights = np.full(n, 1.0 / n)
    weights[[0, -1]] /= 2.0
    return np.linspace(0.0, 1.0, n), weights


RULES = {
    "left": (_left, 1),
    "right": (_right, 1),
    "midpoint": (_midpoint, 1),
    "trapezoid": (_trapezoid, 2),
    "simpson": (_simpson, 3),
    "gauss_legendre": (_gauss_legendre, 1),
    "captum_trapezoid": (_captum_trapezoid, 2),
}


def quadrature_rule(method, n_samples):
    """Return the nodes and weights of a sampling rule on [0, 1].

    Exact up to rounding: the rule itself; an integral computed with it is an estimate.

    Parameters
    ----------
    method : str
        ``left``, ``right``, ``midpoint`` (Riemann sums), ``trapezoid``, ``simpson``, ``gauss_legendre``, or
        ``captum_trapezoid``: ``riemann_trapezoid`` of captum, whose weights sum to 1 - 1/n instead of 1, so its attributions
        are too small.
    n_samples : int
        Number of points n; at least 2 for the trapezoid rules, odd and at least 3 for ``simpson``.

    Returns
    -------
    nodes, weights : float64[n]
        In increasing order of the nodes.

    Raises
    ------
    InputError
        The method is unknown, or the rule is not defined for this number of points.

    Examples
    --------
    >>> nodes, weights = quadrature_rule("trapezoid", 3)
    >>> nodes.tolist(), weights.tolist()
    ([0.0, 0.5, 1.0], [0.25, 0.5, 0.25])
    """
    if method not in RULES:
        raise InputError(f"method is {method!r}; use one of {', '.join(RULES)}")
    rule, least = RULES[method]
    if not isinstance(n_samples, numbers.Integral) or n_samples < least:
        raise InputError(f"n_samples is {n_samples!r}; the rule {method!r} needs an integer of at least {least}")
    if method == "simpson" and n_samples % 2 == 0:
        raise InputError(f"n_samples is {n_samples}; the rule 'simpson' needs an odd number, give {n_samples + 1}")
    return rule(int(n_samples))
