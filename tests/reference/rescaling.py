"""The same network with its neurons rescaled by positive factors.

Every entry of every node's value is multiplied by a factor of its own, and the weights behind it make up for it. Some entries
need one factor together: those of a channel before and after a convolution, the operands of an addition, all that a clip or a
pool compares. Weights stay exact, so breakpoints and flips stay the same.
"""

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .description import affine_rows, attribute, pool_windows, shapes

LARGEST = 2**24  # of the products of odd numbers, so that weights stay exact
FREE = ("linear", "conv", "scale_shift")  # their outputs need not have the factors of their inputs


def rescaled_by_powers_of_two(description, rng, exponents):
    """Rescale by powers of two, drawn from ``exponents``: (description, factors of the input's entries)."""
    groups = _groups(description, shapes(description))
    drawn = 2.0 ** rng.choice(exponents, 1 + max(int(g.max()) for g in groups))
    return _rescaled(description, [drawn[g] for g in groups])


def rescaled_by_odd_numbers(description, rng, numbers):
    """Rescale by products of ``numbers``, drawn at random: (description, factors of the input's entries).

    The factor of an entry is a multiple of those of the entries it is computed from, so that weights stay exact; entries that
    depend on each other (through a residual) get the same.
    """
    found_shapes = shapes(description)
    groups = _groups(description, found_shapes)
    n = 1 + max(int(g.max()) for g in groups)
    before, after = _dependences(description, groups, found_shapes)
    count, loops = connected_components(_graph(before, after, n), connection="strong")
    needed = [set() for _ in range(count)]
    for a, b in zip(loops[before].tolist(), loops[after].tolist(), strict=True):
        needed[b] |= {a} - {b}
    drawn, known = rng.choice(numbers, count).tolist(), {}

    def factor(k):
        if k not in known:
            least = math.lcm(*(factor(i) for i in needed[k]))
            known[k] = least * (drawn[k] if least * drawn[k] <= LARGEST else 1)
        return known[k]

    factors = np.array([float(factor(k)) for k in range(count)])
    return _rescaled(description, [factors[loops[g]] for g in groups])


def _graph(first, second, n):
    return coo_array((np.ones(len(first)), (first, second)), shape=(n, n))


def _groups(description, found_shapes):
    """Per node, for each entry of its value, the number of the set of entries that need one factor."""
    offsets = np.cumsum([0] + [int(np.prod(s)) for s in found_shapes])
    entries = [np.arange(a, b).reshape(s) for a, b, s in zip(offsets[:-1], offsets[1:], found_shapes, strict=True)]
    pairs = []
    for number, node in enumerate(description[1:], start=1):
        for first, *others in _together(node, entries[number], [entries[i] for i in node["inputs"]]):
            pairs += [(first, k) for k in others]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    labels = connected_components(_graph(first, second, offsets[-1]), directed=False)[1]
    return [labels[k.ravel()] for k in entries]


def _together(node, own, inputs):
    """Lists of entries that need one factor."""
    flat = [x.ravel() for x in inputs]
    if node["kind"] == "clip":
        return [[*own.ravel(), *flat[0]]]
    if node["kind"] in ("relu", "leaky_relu"):
        return zip(own.ravel(), flat[0], strict=True)
    if node["kind"] == "max_pool":
        windows = pool_windows(node, inputs[0].shape)
        return [[k, *(flat[0][entry] for _, entry in window)] for k, window in zip(own.ravel(), windows, strict=True)]
    if node["kind"] in FREE:  # one factor for each channel
        return [*own.reshape(len(own), -1), *inputs[0].reshape(len(inputs[0]), -1)]
    rows = affine_rows(node, [x.shape for x in inputs])
    together = [[k, *(flat[i][entry] for i, entry, _ in terms)] for k, (terms, _) in zip(own.ravel(), rows, strict=True)]
    constants = [one[0] for one in together if len(one) == 1]
    return [*together, constants] if constants else together


def _dependences(description, groups, found_shapes):
    """Pairs of sets (before, after) where an entry of the second is computed by weights from one of the first."""
    pairs = [(0, 0)]
    for number, node in enumerate(description):
        if node["kind"] in FREE:
            source = groups[node["inputs"][0]]
            rows = affine_rows(node, [found_shapes[node["inputs"][0]]])
            pairs += [(source[k], own) for own, (terms, _) in zip(groups[number], rows, strict=True) for _, k, _ in terms]
    return np.array(pairs).T


def _rescaled(description, factors):
    changed = []
    for number, node in enumerate(description):
        change = _CHANGED.get(node["kind"])
        new = change(node, factors[number], factors[node["inputs"][0]]) if change else {}
        changed.append({**node, **new})
    return changed, factors[0]


def _linear(node, own, before):
    return {"weight": node["weight"] * (own[:, None] / before), "bias": None if node["bias"] is None else node["bias"] * own}


def _conv(node, own, before):
    """Output channel o of a group reads the input channels of that group."""
    n_out, n_in = node["weight"].shape[:2]
    groups = attribute(node, "groups")
    own, before = own.reshape(n_out, -1)[:, 0], before.reshape(groups * n_in, -1)[:, 0].reshape(groups, n_in)
    ratio = own[:, None] / np.repeat(before, n_out // groups, axis=0)
    bias = None if node["bias"] is None else node["bias"] * own
    return {"weight": node["weight"] * ratio[:, :, None, None], "bias": bias}


def _scale_shift(node, own, before):
    shape = node["scale"].shape
    own, before = (x.reshape(shape[0], -1)[:, 0].reshape(shape) for x in (own, before))
    return {"scale": node["scale"] * (own / before), "shift": node["shift"] * own}


def _clip(node, own, before):
    return {"lower": node["lower"] * own[0], "upper": node["upper"] * own[0]}


def _gather(node, own, before):
    constant = own[node["index"].ravel() < 0]
    return {"fill": node["fill"] * constant[0]} if len(constant) else {}


_CHANGED = {"linear": _linear, "conv": _conv, "scale_shift": _scale_shift, "clip": _clip, "gather": _gather}
