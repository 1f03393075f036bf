"""Integrated gradients of one line by many sampling rules, their errors against the exact ones, and the samples they need.

All rules are evaluated in one sweep over the line's segments (kernels/gradients/samples.py): a sample costs an addition of
gradients, no pass through the network. The exact integral is one rule more, whose weights are the segments' lengths.

Legend: C outputs of the line, D inputs of the network, E of them that change along the line, M methods, R rules.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..kernels.gradients import rank_one, samples
from ..tolerances import ATTRIBUTION_OFFSET
from .line_flips import LineFlips, line_flips
from .quadrature import RULES, quadrature_rule

NONE = -1
_SEGMENTS_HELD = 16  # their gradients stay in a processor's cache
_BATCH_BYTES = 2**26  # attributions that are held at a time
_FIRST_BLOCK = 128  # counts that are tried in the first sweep of a search; each further sweep doubles them


class RuleLine(NamedTuple):
    """A line with what its attributions need: flips, outputs int64[C], start and end float64[D], and change float64[C]."""

    network: object
    flips: LineFlips
    outputs: np.ndarray
    start: np.ndarray
    end: np.ndarray
    change: np.ndarray  # of the outputs, by forward passes at the ends


class RuleErrors(NamedTuple):
    """Errors of rules, each float64[R, C] (definitions: analysis/sampling_error.py)."""

    relative: np.ndarray
    l1: np.ndarray
    completeness: np.ndarray


def rule_line(lines, i, outputs, change):
    """Line i of a LinePartitions: RuleLine."""
    return RuleLine(lines.network, line_flips(lines, i), outputs, lines.starts[i], lines.ends[i], change)


def rule_counts(method, first, last):
    """Numbers of points from ``first`` to ``last`` that a rule has: range."""
    least, step = RULES[method][1], 2 if method == "simpson" else 1
    first = max(first, least)
    return range(first + (first - least) % step, last + 1, step)


def rule_errors(line, rules):
    """Errors of rules, pairs (method, number of points): RuleErrors."""
    at_once = max(1, _BATCH_BYTES // (8 * max(1, len(line.outputs) * len(line.start))))
    parts = [_errors(line, rules[k : k + at_once]) for k in range(0, len(rules), at_once)]
    return RuleErrors(*(np.concatenate([part[k] for part in parts]) for k in range(3)))


def attributions_by_rules(line, rules):
    """Attributions of the inputs that change along the line, by each rule and then the exact ones: float64[R + 1, C, E]."""
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
    """Smallest counts by the relative and by the l1 error: int64[2, C, M]."""
    found = np.full((2, len(line.outputs), len(methods)), NONE)
    counts = [_counts_to_try(method, consecutive, max_samples) for method in methods]
    under = [np.empty((0, *found.shape[:2]), bool) for _ in methods]
    for low, high in _blocks(1, max(max(of, default=0) for of in counts)):
        tried = [[n for n in of if low <= n <= high] for of in counts]
        tried = [of if (found[..., m] == NONE).any() else [] for m, of in enumerate(tried)]
        rules = [(method, n) for method, of in zip(methods, tried, strict=True) for n in of]
        if not rules:
            continue
        errors = rule_errors(line, rules)
        parts = np.split(np.stack([errors.relative, errors.l1], axis=1) < within, np.cumsum([len(of) for of in tried])[:-1])
        for m, part in enumerate(parts):
            under[m] = np.concatenate([under[m], part])
            found[..., m] = np.array([*counts[m], NONE])[_first_run(under[m], consecutive)]
    return found


def search_recommended(line, method, within, first, max_samples):
    """Smallest counts that add up int64[C], and their relative and l1 errors float64[2, C]."""
    found, errors = np.full(len(line.outputs), NONE), np.full((2, len(line.outputs)), np.nan)
    for low, high in _blocks(first, max_samples):
        counts = rule_counts(method, low, high)
        if not counts or (found != NONE).all():
            continue
        here = rule_errors(line, [(method, n) for n in counts])
        start = _first_run(here.completeness < within, 1)
        for c in np.flatnonzero((found == NONE) & (start != NONE)):
            found[c] = counts[start[c]]
            errors[:, c] = here.relative[start[c], c], here.l1[start[c], c]
    return found, errors


@functools.lru_cache(maxsize=1024)
def _gauss_legendre(n):
    return quadrature_rule("gauss_legendre", n)


def _cached_rule(method, n):
    """Nodes and weights; those of Gauss and Legendre take longest, and are kept."""
    return _gauss_legendre(n) if method == "gauss_legendre" else quadrature_rule(method, n)


def _errors(line, rules):
    *found, exact = attributions_by_rules(line, rules)
    found = np.array(found).reshape(len(rules), *exact.shape)
    sums = found.sum(axis=2)
    apart = np.abs(found - exact)
    size, change = np.abs(exact).sum(axis=1), np.abs(line.change)
    l1 = apart.sum(axis=2) / np.where(size > 0.0, size, 1.0)
    completeness = np.abs(sums - line.change) / np.where(change > 0.0, change, 1.0)
    relative = (apart / np.abs(exact + ATTRIBUTION_OFFSET)).sum(axis=2) / len(line.start)
    return relative, l1, completeness


def _counts_to_try(method, consecutive, max_samples):
    """Counts that may be the smallest one, and those that follow the last of them: list of int."""
    smallest = rule_counts(method, 1, max_samples)
    more = (consecutive - 1) * smallest.step
    return list(range(smallest.start, smallest[-1] + more + 1, smallest.step)) if smallest else []


def _first_run(under, length):
    """Where the first run of ``length`` true entries along axis 0 begins, or ``NONE``."""
    if len(under) < length:
        return np.full(under.shape[1:], NONE)
    runs = np.lib.stride_tricks.sliding_window_view(under, length, axis=0).all(axis=-1)
    return np.where(runs.any(axis=0), runs.argmax(axis=0), NONE)


def _blocks(first, last):
    """Ranges of counts, both ends in them, that are tried in one sweep each."""
    high = _FIRST_BLOCK
    while first <= last:
        if first <= high:
            yield first, min(high, last)
            first = high + 1
        high *= 2
