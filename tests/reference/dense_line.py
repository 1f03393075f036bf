"""A second line oracle, in float64 and by another way: dense evaluation at all breakpoints, layer by layer (ExactLine).

Sotoudeh & Thakur, "Computing Linear Restrictions of Neural Networks", NeurIPS 2019, Section 3. It is for *generic*
networks (random float weights), where different breakpoints are far apart on the scale of rounding; values within
``SNAP`` of a threshold, relative to the neuron's largest value on the line, are taken to be on it, and
parameters within ``MERGE`` of each other are one (one crossing can be seen by several pools). Neurons and states are
numbered as in `exact_line`.
"""

from itertools import pairwise

import numpy as np

from .description import AFFINE, affine_rows, leaky_slopes, pool_windows, shapes

SNAP = 1e-13
MERGE = 1e-11


def partition(description, start, end):
    """Split a line: ``t`` float64[K + 1] and ``flips``, per entry of ``t`` the sorted pairs (neuron, new state)."""
    start, end = (np.asarray(p, np.float64).ravel() for p in (start, end))
    found_shapes = shapes(description)
    t, signals = np.array([0.0, 1.0]), []
    for node in description:
        input_shapes = [found_shapes[i] for i in node["inputs"]]
        if node["kind"] == "input":
            signals.append(np.stack([start, end]))
        elif node["kind"] in AFFINE:
            signals.append(_affine(affine_rows(node, input_shapes), [signals[i] for i in node["inputs"]]))
        else:
            source = node["inputs"][0]
            t, signals = _insert(t, signals, source, *_crossings(t, signals[source], node, input_shapes[0]))
            signals.append(_switch(node, input_shapes[0], signals[source])[0])
    switching = [(node, node["inputs"][0]) for node in description if node["kind"] not in ("input", *AFFINE)]
    found = [_switch(node, found_shapes[source], signals[source])[1] for node, source in switching]
    return _joined(t, np.concatenate([np.empty((len(t) - 1, 0), np.int64), *found], axis=1))


def _joined(t, states):
    """Drop the breakpoints at which no state changes."""
    changes = [np.flatnonzero(before != after) for before, after in pairwise(states)]
    keep = [k for k, neurons in enumerate(changes) if len(neurons)]
    flips = [[(int(n), int(states[k + 1, n])) for n in changes[k]] for k in keep]
    return np.concatenate([[0.0], t[1:-1][keep], [1.0]]), [[], *flips, []]


def _affine(rows, inputs):
    joined = np.concatenate(inputs, axis=1)
    offsets = np.cumsum([0] + [values.shape[1] for values in inputs])
    out = np.empty((len(joined), len(rows)))
    for j, (terms, bias) in enumerate(rows):
        entries = [int(offsets[i]) + k for i, k, _ in terms]
        out[:, j] = joined[:, entries] @ np.array([float(c) for _, _, c in terms]) + float(bias)
    return out


def _thresholds(node, shape, z):
    """What the node compares: a list of (entry of z, another entry or None, level); the difference's sign counts."""
    if node["kind"] in ("relu", "leaky_relu"):
        return [(k, None, 0.0) for k in range(z.shape[1])]
    if node["kind"] == "clip":
        return [(k, None, b) for b in (node["lower"], node["upper"]) if np.isfinite(b) for k in range(z.shape[1])]
    windows = [[k for _, k in w] for w in pool_windows(node, shape)]
    pairs = {(a, b) for w in windows for n, a in enumerate(w) for b in w[n + 1 :]}
    return [(a, b, 0.0) for a, b in sorted(pairs)]


def _crossings(t, z, node, shape):
    """Where thresholds are crossed inside segments: parameters, and for each (entry, other entry or None, level)."""
    found, what = [], []
    for a, b, level in _thresholds(node, shape, z):
        gap = z[:, a] - (level if b is None else z[:, b])
        gap = np.where(np.abs(gap) <= SNAP * max(abs(level), np.abs(z[:, [a, a if b is None else b]]).max()), 0.0, gap)
        for k in np.flatnonzero(gap[:-1] * gap[1:] < 0):
            found.append(t[k] + (t[k + 1] - t[k]) * (gap[k] / (gap[k] - gap[k + 1])))
            what.append((a, b, level))
    return np.array(found), what


def _insert(t, signals, source, new, what):
    """Add breakpoints, interpolate every signal there, and put the crossing entries exactly on their thresholds."""
    refined = np.sort(np.concatenate([t, new]))
    refined = refined[np.append(True, np.diff(refined) > MERGE)]
    refined[[0, -1]] = 0.0, 1.0
    signals = [np.stack([np.interp(refined, t, v) for v in values.T], axis=1) for values in signals]
    nearest = np.abs(refined[:, None] - new).argmin(axis=0)
    for k, (a, b, level) in zip(nearest, what, strict=True):
        signals[source][k, a] = level if b is None else signals[source][k, b]
    return refined, signals


def _switch(node, shape, z):
    """Values [breakpoints, entries] and states [segments, entries] of a switching node with input ``z``."""
    if node["kind"] == "max_pool":
        return _max_pool(node, shape, z)
    scale = np.abs(z).max(axis=0)
    if node["kind"] != "clip":
        z = np.where(np.abs(z) <= SNAP * scale, 0.0, z)
        on = z[:-1] + z[1:] > 0
        slopes = 0.0 if node["kind"] == "relu" else [float(s) for s in leaky_slopes(node, shape)]
        return np.where(z > 0, z, slopes * z), on.astype(np.int64)
    states = np.ones((len(z) - 1, z.shape[1]), np.int64)
    for state, level, sign in ((0, node["lower"], 1), (2, node["upper"], -1)):
        if np.isfinite(level):
            z = np.where(np.abs(z - level) <= SNAP * np.maximum(scale, abs(level)), level, z)
            states[sign * ((z[:-1] - level) + (z[1:] - level)) <= 0] = state
    return np.clip(z, node["lower"], node["upper"]), states


def _max_pool(node, shape, z):
    middle = (z[:-1] + z[1:]) / 2
    windows = pool_windows(node, shape)
    values, states = np.empty((len(z), len(windows))), np.empty((len(middle), len(windows)), np.int64)
    for j, window in enumerate(windows):
        taps, entries = np.array(window).T
        values[:, j] = z[:, entries].max(axis=1)
        best = middle[:, entries] >= middle[:, entries].max(axis=1, keepdims=True) - SNAP * np.abs(z[:, entries]).max()
        states[:, j] = taps[best.argmax(axis=1)]
    return values, states
