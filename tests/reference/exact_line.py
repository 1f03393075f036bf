"""The exact partition of a line: the oracle for everything pwlnet says about lines.

Along the line, node by node, every signal is kept as an exact affine function of t on each segment,
``(intercept + slope t) / denominator`` with Python integers: intercepts and slopes in one object array
[segments, 2, entries], one denominator for the node. A switching node cuts segments where one of its thresholds is
crossed strictly inside, reads each state at the segments' middles (now the state on the whole open segment), and joins
neighbours whose states all agree again (their affine pieces are then the same).

States: relu and leaky_relu 1 where z > 0, else 0; clip 0 where z <= lower, 2 where z >= upper, else 1 (also with an
infinite bound); max_pool the index ``ky * kw + kx`` of the winning tap, the lowest among equals, padding never. So a
neuron identically on its threshold has the lower state (2 on a clip's upper bound). Neurons are numbered over the
switching nodes in order, flat in each.
"""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np

from .description import AFFINE, SWITCHING, affine_rows, clip_bounds, leaky_slopes, pool_windows, shapes


def partition(description, start, end):
    """Split a line into the segments on which every neuron keeps its state.

    Returns ``t``, the list of Fractions 0 = t[0] < ... < t[K] = 1, and ``flips``: per entry of ``t`` the list of pairs
    (neuron, new state) that change there, sorted by neuron; none at 0 and 1.
    """
    line = trace(description, start, end)
    return line.t, line.flips()


def states(description, start, end):
    """States on the segments of the line's partition, int64[segments, neurons]."""
    return trace(description, start, end).pattern()


def trace(description, start, end):
    """Follow a line through the network; see `Line`."""
    start, end = ([Fraction(v) for v in np.asarray(p).ravel().tolist()] for p in (start, end))
    found_shapes = shapes(description)
    line = Line()
    for number, node in enumerate(description):
        inputs, input_shapes = node["inputs"], [found_shapes[i] for i in node["inputs"]]
        if node["kind"] == "input":
            line.signals[number] = integers([start, [b - a for a, b in zip(start, end, strict=True)]])
        elif node["kind"] in AFFINE:
            line.signals[number] = affine(affine_rows(node, input_shapes), [line.signals[i] for i in inputs])
        else:
            RULES[node["kind"]](line, number, node, inputs[0], input_shapes[0])
            line.join()
    return line


class Line:
    """The segments so far: ``t``; per node ``signals`` (pieces [segments, 2, entries], denominator); ``states``."""

    def __init__(self):
        self.t = [Fraction(0), Fraction(1)]
        self.signals, self.states = {}, {}

    def cut(self, pieces):
        """Cut segments where an entry of ``pieces`` [segments, 2, entries] changes sign strictly inside."""
        left, right = self.at(self.t[:-1], pieces), self.at(self.t[1:], pieces)
        crossed = ((left < 0) & (right > 0)) | ((left > 0) & (right < 0))
        if not crossed.any():
            return
        inside = [set() for _ in self.t[1:]]
        for segment, entry in np.argwhere(crossed):
            inside[segment].add(Fraction(-pieces[segment, 0, entry], pieces[segment, 1, entry]))
        self._select(np.repeat(np.arange(len(inside)), [len(new) + 1 for new in inside]))
        self.t = sorted(set(self.t).union(*inside))

    def join(self):
        """Join neighbouring segments with equal states."""
        pattern = self.pattern()
        keep = np.flatnonzero(np.append(True, (pattern[1:] != pattern[:-1]).any(axis=1)))
        self._select(keep)
        self.t = [self.t[k] for k in keep] + [Fraction(1)]

    def _select(self, segments):
        self.signals = {node: (pieces[segments], d) for node, (pieces, d) in self.signals.items()}
        self.states = {node: states[segments] for node, states in self.states.items()}

    def at(self, t, pieces):
        """The sign-giving integers of ``pieces`` [segments, 2, entries] at one parameter per segment."""
        p = np.array([s.numerator for s in t], object)[:, None]
        q = np.array([s.denominator for s in t], object)[:, None]
        return pieces[:, 0] * q + pieces[:, 1] * p

    def inside(self, pieces):
        """The sign-giving integers of ``pieces`` in the middle of the segments."""
        return self.at([(a + b) / 2 for a, b in pairwise(self.t)], pieces)

    def pattern(self):
        """States of all neurons of the nodes done so far, int64[segments, neurons]."""
        return np.concatenate([np.empty((len(self.t) - 1, 0), np.int64), *self.states.values()], axis=1)

    def flips(self):
        """For each entry of ``t`` the pairs (neuron, new state) that change there, sorted by neuron."""
        changes = [[(int(n), int(b[n])) for n in np.flatnonzero(a != b)] for a, b in pairwise(self.pattern())]
        return [[], *changes, []]


def integers(rows):
    """Rows of Fractions as (pieces of one segment, common denominator)."""
    denominator = math.lcm(*(v.denominator for row in rows for v in row))
    return np.array([[[int(v * denominator) for v in row] for row in rows]], object), denominator


def affine(rows, inputs):
    """The signals of an affine node: its rows, as integers over a common denominator, times those of its inputs."""
    common = math.lcm(*(d for _, d in inputs))
    joined = np.concatenate([pieces * (common // d) for pieces, d in inputs], axis=2)
    offsets = np.cumsum([0] + [pieces.shape[2] for pieces, _ in inputs])
    scale = math.lcm(*(c.denominator for terms, bias in rows for c in [bias, *(c for _, _, c in terms)]))
    out = np.empty((*joined.shape[:2], len(rows)), object)
    for j, (terms, bias) in enumerate(rows):
        entries = [offsets[i] + k for i, k, _ in terms]
        weights = np.array([c.numerator * (scale // c.denominator) for _, _, c in terms], object)
        out[:, :, j] = joined[:, :, entries] @ weights if terms else 0
        out[:, 0, j] += bias.numerator * (scale // bias.denominator) * common
    return out, common * scale


def _relu(cells, number, node, source, shape):
    cells.cut(cells.signals[source][0])
    pieces, denominator = cells.signals[source]
    on = cells.inside(pieces) > 0
    cells.states[number] = on.astype(np.int64)
    cells.signals[number] = np.where(on[:, None], pieces, 0), denominator


def _leaky_relu(cells, number, node, source, shape):
    cells.cut(cells.signals[source][0])
    pieces, denominator = cells.signals[source]
    on = cells.inside(pieces) > 0
    slopes = leaky_slopes(node, shape)
    scale = math.lcm(*(s.denominator for s in slopes))
    slopes = np.array([int(s * scale) for s in slopes], object)
    cells.states[number] = on.astype(np.int64)
    cells.signals[number] = np.where(on[:, None], pieces * scale, pieces * slopes), denominator * scale


def _clip(cells, number, node, source, shape):
    bounds = {state: bound for state, bound in zip((0, 2), clip_bounds(node), strict=True) if bound is not None}
    scale = math.lcm(*(b.denominator for b in bounds.values()))
    denominator = cells.signals[source][1] * scale
    levels = {state: int(b * denominator) for state, b in bounds.items()}

    def above(level):
        pieces = cells.signals[source][0] * scale
        pieces[:, 0] -= level
        return pieces

    for level in levels.values():
        cells.cut(above(level))
    pieces = cells.signals[source][0] * scale
    found = np.ones(pieces[:, 0].shape, np.int64)
    for state, level in levels.items():
        z = cells.inside(above(level))
        outside = z <= 0 if state == 0 else z >= 0
        found[outside] = state
        pieces = np.where(outside[:, None], 0, pieces)
        pieces[:, 0][outside] = level
    cells.states[number], cells.signals[number] = found, (pieces, denominator)


def _max_pool(cells, number, node, source, shape):
    """Tap after tap, compare with the best so far; ``winner`` is its entry of the input."""
    windows = pool_windows(node, shape)
    cells.states["winner"] = np.array([[w[0][1] for w in windows]]).repeat(len(cells.signals[source][0]), axis=0)
    cells.states[number] = np.array([[w[0][0] for w in windows]]).repeat(len(cells.signals[source][0]), axis=0)

    def gain(columns, entries):
        pieces = cells.signals[source][0]
        best = np.take_along_axis(pieces, cells.states["winner"][:, None, columns], axis=2)
        return pieces[:, :, entries] - best

    for stage in range(1, max(len(w) for w in windows)):
        columns = [j for j, w in enumerate(windows) if len(w) > stage]
        taps, entries = np.array([windows[j][stage] for j in columns]).T
        cells.cut(gain(columns, entries))
        better = cells.inside(gain(columns, entries)) > 0
        for known, new in ((cells.states["winner"], entries), (cells.states[number], taps)):
            known[:, columns] = np.where(better, new, known[:, columns])
    winner = cells.states.pop("winner")
    pieces, denominator = cells.signals[source]
    cells.signals[number] = np.take_along_axis(pieces, winner[:, None], axis=2), denominator


# For the segments of a line here, and for the polygons of exact_plane.
RULES = {"relu": _relu, "leaky_relu": _leaky_relu, "clip": _clip, "max_pool": _max_pool}
assert set(RULES) == set(SWITCHING)
