"""Integrated gradients of one line by many sampling rules, their errors, and the number of samples they need.

All rules are evaluated in one sweep over the segments of the line (kernels/gradients/samples.py): a sample costs an addition of
gradients, and no pass through the network. The exact integral is one more rule, with the lengths of the segments as weights.

Legend: C outputs of the line, D inputs of the network, E inputs that change along the line, M methods, R rules.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..kernels.gradients import rank_one, samples
from ..tolerances import ATTRIBUTION_OFFSET
from .line_flips import LineFlips, line_flips
from .quadrature import RULES, quadrature_rule

NONE = -1
_SEGMENTS_HELD = 16  # segments whose gradients stay in the cache of a processor
_BATCH_BYTES = 2**26  # attributions in memory at a time
_FIRST_BLOCK = 128  # largest count of the first sweep of a search; each further sweep doubles it


class RuleLine(NamedTuple):
    """Data for attributions along a line: flips, outputs int64[C], start and end float64[D], and change float64[C]."""

    network: object
    flips: LineFlips
    outputs: np.ndarray
    start: np.ndarray
    end: np.ndarray
    change: np.ndarray  # change of the outputs, from forward passes at the ends


class RuleErrors(NamedTuple):
    """Errors of rules, each float64[R, C] (definitions: analysis/sampling_error.py)."""

    relative: np.ndarray
    l1: np.ndarray
    completeness: np.ndarray


def rule_line(lines, i, outputs, change):
    """Return the data of line i of a LinePartitions: RuleLine."""
    return RuleLine(lines.network, line_flips(lines, i), outputs, lines.starts[i], lines.ends[i], change)


def rule_counts(method, first, last):
    """Return the counts from ``first`` to ``last`` for which a rule is defined: range."""
    least, step = RULES[method][1], 2 if method == "simpson" else 1
    first = max(first, least)
    return range(first + (first - least) % step, last + 1, step)


def rule_errors(line, rules):
    """Compute the errors of rules, given as pairs (method, number of points): RuleErrors."""
    at_once = max(1, _BATCH_BYTES // (8 * max(1, len(line.outputs) * len(line.start))))
    chunks = [_errors(line, rules[k : k + at_once]) for k in range(0, len(rules), at_once)]
    return RuleErrors(*(np.concatenate([chunk[k] for chunk in chunks]) for k in range(3)))


def attributions_by_rules(line, rules):
    """Compute the attributions of the changing inputs, by each rule and then exactly: float64[R + 1, C, E]."""
    t = line.flips.t
    table = [_cached_rule(*rule) for rule in rules] + [(t[:-1], np.diff(t))]
    nodes, weights = (np.concatenate([rule[k] for rule in table]) for k in range(2))
    offsets = np.concatenate([[0], np.cumsum([len(rule[0]) for rule in table])])
    changing = np.flatnonzero(line.end != line.start)
    size = len(line.outputs) * len(changing)
    integrals, held = np.empty((len(table), size)), np.empty((_SEGMENTS_HELD, size))
    static = np.arange(len(line.network.program.op)) == 0
    samples.integrate_by_rules(
        line.network.code, static, line.flips.states, t, line.flips.flips, line.outputs, changing,
        offsets, nodes, weights, held, rank_one.make_sweep(line.network.code, len(line.outputs)), integrals,
    )  # fmt: skip
    return integrals.reshape(len(table), len(line.outputs), len(changing)) * (line.end - line.start)[changing]


def search_counts(line, methods, within, consecutive, max_samples):
    """Find the smallest counts for the relative and for the l1 error: int64[2, C, M]."""
    smallest = np.full((2, len(line.outputs), len(methods)), NONE)
    counts = [_counts_to_try(method, consecutive, max_samples) for method in methods]
    under = [np.empty((0, *smallest.shape[:2]), bool) for _ in methods]
    for low, high in _blocks(1, max(max(of, default=0) for of in counts)):
        tried = [[n for n in of if low <= n <= high] for of in counts]
        tried = [of if (smallest[..., m] == NONE).any() else [] for m, of in enumerate(tried)]
        rules = [(method, n) for method, of in zip(methods, tried, strict=True) for n in of]
        if not rules:
            continue
        errors = rule_errors(line, rules)
        blocks = np.split(np.stack([errors.relative, errors.l1], axis=1) < within, np.cumsum([len(of) for of in tried])[:-1])
        for m, block in enumerate(blocks):
            under[m] = np.concatenate([under[m], block])
            smallest[..., m] = np.array([*counts[m], NONE])[_first_run(under[m], consecutive)]
    return smallest


def search_recommended(line, method, within, first, max_samples):
    """Find the smallest complete counts int64[C], and their relative and l1 errors float64[2, C]."""
    smallest, errors = np.full(len(line.outputs), NONE), np.full((2, len(line.outputs)), np.nan)
    for low, high in _blocks(first, max_samples):
        counts = rule_counts(method, low, high)
        if not counts or (smallest != NONE).all():
            continue
        tried = rule_errors(line, [(method, n) for n in counts])
        start = _first_run(tried.completeness < within, 1)
        for c in np.flatnonzero((smallest == NONE) & (start != NONE)):
            smallest[c] = counts[start[c]]
            errors[:, c] = tried.relative[start[c], c], tried.l1[start[c], c]
    return smallest, errors


@functools.lru_cache(maxsize=1024)
def _gauss_legendre(n):
    return quadrature_rule("gauss_legendre", n)


def _cached_rule(method, n):
    """Return the nodes and weights of a rule; those of Gauss-Legendre, the slowest to compute, are cached."""
    return _gauss_legendre(n) if method == "gauss_legendre" else quadrature_rule(method, n)


def _errors(line, rules):
    *sampled, exact = attributions_by_rules(line, rules)
    sampled = np.array(sampled).reshape(len(rules), *exact.shape)
    sums = sampled.sum(axis=2)
    difference = np.abs(sampled - exact)
    size, change = np.abs(exact).sum(axis=1), np.abs(line.change)
    l1 = difference.sum(axis=2) / np.where(size > 0.0, size, 1.0)
    completeness = np.abs(sums - line.change) / np.where(change > 0.0, change, 1.0)
    relative = (difference / np.abs(exact + ATTRIBUTION_OFFSET)).sum(axis=2) / len(line.start)
    return relative, l1, completeness


def _counts_to_try(method, consecutive, max_samples):
    """Return all counts up to ``max_samples``, and the ones after it that ``consecutive`` needs: list of int."""
    smallest = rule_counts(method, 1, max_samples)
    more = (consecutive - 1) * smallest.step
    return list(range(smallest.start, smallest[-1] + more + 1, smallest.step)) if smallest else []


def _first_run(under, length):
    """Return where the first run of ``length`` true entries along axis 0 begins, or ``NONE``."""
    if len(under) < length:
        return np.full(under.shape[1:], NONE)
    runs = np.lib.stride_tricks.sliding_window_view(under, length, axis=0).all(axis=-1)
    return np.where(runs.any(axis=0), runs.argmax(axis=0), NONE)


def _blocks(first, last):
    """Yield the ranges of counts, both ends included, of the sweeps of a search."""
    high = _FIRST_BLOCK
    while first <= last:
        if first <= high:
            yield first, min(high, last)
            first = high + 1
        high *= 2
