"""The same network with its neurons in another order.

Outputs of fully connected layers and of convolutions, and entries of an input vector, are permuted where all their readers can
be permuted alike: convolutions and pools need whole channels, additions the same order on both sides. Everything else keeps its
order. The weights are the same, so breakpoints are the same, and flips are too up to the numbers of the neurons.
"""

import numpy as np

from .description import SWITCHING, attribute, shapes


class _CantFollowError(Exception):
    """A node can't read its inputs in these orders."""


def reordered(description, rng):
    """Shuffle neurons: (description, order of the input's entries, order of the neurons).

    Entry (or neuron) k of the new network is entry (or neuron) ``order[k]`` of the given one.
    """
    found_shapes = shapes(description)
    shuffles = {k: rng.permutation(found_shapes[k][0]) for k, node in enumerate(description) if _starts_an_order(node)}
    while True:
        changed, orders, sources = [], [], []
        for number, node in enumerate(description):
            inputs = [orders[i] for i in node["inputs"]]
            origins = [sources[i] for i in node["inputs"]]
            try:
                sizes = [found_shapes[i] for i in node["inputs"]]
                order, new = _RULES[node["kind"]](node, inputs, sizes, found_shapes[number], shuffles.get(number))
            except _CantFollowError:
                _give_up(shuffles, node, origins)
                break
            changed.append({**node, **new})
            orders.append(order)
            sources.append(({number} & set(shuffles)) if _starts_an_order(node) else set().union(*origins))
        else:
            return changed, orders[0], _neurons(description, orders)


def _starts_an_order(node):
    if node["kind"] == "input":
        return len(node["shape"]) == 1
    return node["kind"] == "linear" or (node["kind"] == "conv" and attribute(node, "groups") == 1)


def _give_up(shuffles, node, origins):
    """Shuffle both operands of an addition alike, if they were not; else don't shuffle what can't be followed."""
    kept = [list(origin) for origin in origins]
    if node["kind"] == "add" and [len(k) for k in kept] == [1, 1]:
        first, second = (shuffles[k[0]] for k in kept)
        if len(first) == len(second) and (first != second).any():
            shuffles[kept[1][0]] = first
            return
    for number in set().union(*origins):
        del shuffles[number]


def _neurons(description, orders):
    parts, offset = [np.empty(0, np.int64)], 0
    for node, order in zip(description, orders, strict=True):
        if node["kind"] in SWITCHING:
            parts.append(offset + order)
            offset += len(order)
    return np.concatenate(parts)


def _channels(order, shape):
    """The order of the channels, if whole channels were reordered."""
    first = order.reshape(shape[0], -1)[:, 0] // (order.size // shape[0])
    if not np.array_equal(order, _expanded(first, shape)):
        raise _CantFollowError
    return first


def _expanded(channels, shape):
    return np.arange(np.prod(shape)).reshape(shape[0], -1)[channels].ravel()


def _input(node, inputs, sizes, shape, shuffle):
    return np.arange(np.prod(shape)) if shuffle is None else shuffle, {}


def _unchanged(node, inputs, sizes, shape, shuffle):
    return inputs[0], {}


def _leaky_relu(node, inputs, sizes, shape, shuffle):
    return inputs[0], {"slope": node["slope"][_channels(inputs[0], shape)]} if np.ndim(node["slope"]) else {}


def _scale_shift(node, inputs, sizes, shape, shuffle):
    channels = _channels(inputs[0], shape)
    return inputs[0], {"scale": node["scale"][channels], "shift": node["shift"][channels]}


def _linear(node, inputs, sizes, shape, shuffle):
    rows = np.arange(shape[0]) if shuffle is None else shuffle
    bias = None if node["bias"] is None else node["bias"][rows]
    return rows, {"weight": node["weight"][rows][:, inputs[0]], "bias": bias}


def _conv(node, inputs, sizes, shape, shuffle):
    before = _channels(inputs[0], sizes[0])
    if attribute(node, "groups") > 1 and (np.diff(before) < 0).any():
        raise _CantFollowError
    channels = np.arange(shape[0]) if shuffle is None else shuffle
    weight = node["weight"][channels]
    new = {"weight": weight if attribute(node, "groups") > 1 else weight[:, before]}
    new["bias"] = None if node["bias"] is None else node["bias"][channels]
    return _expanded(channels, shape), new


def _pool(node, inputs, sizes, shape, shuffle):
    return _expanded(_channels(inputs[0], sizes[0]), shape), {}


def _add(node, inputs, sizes, shape, shuffle):
    if not np.array_equal(*inputs):
        raise _CantFollowError
    return inputs[0], {}


def _concat(node, inputs, sizes, shape, shuffle):
    borders = np.cumsum([s[node["axis"]] for s in sizes])[:-1]
    parts = np.split(np.arange(np.prod(shape)).reshape(shape), borders, axis=node["axis"])
    parts = [part.ravel()[order].reshape(part.shape) for part, order in zip(parts, inputs, strict=True)]
    return np.concatenate(parts, axis=node["axis"]).ravel(), {}


def _transpose(node, inputs, sizes, shape, shuffle):
    source = np.arange(np.prod(shape)).reshape(sizes[0]).transpose(node["axes"]).ravel()
    return np.argsort(source)[inputs[0][source]], {}


def _gather(node, inputs, sizes, shape, shuffle):
    places = np.append(np.argsort(inputs[0]), -1)
    return np.arange(np.prod(shape)), {"index": places[node["index"]]}


_RULES = {
    "input": _input,
    "relu": _unchanged,
    "leaky_relu": _leaky_relu,
    "clip": _unchanged,
    "scale_shift": _scale_shift,
    "linear": _linear,
    "conv": _conv,
    "avg_pool": _pool,
    "max_pool": _pool,
    "add": _add,
    "concat": _concat,
    "reshape": _unchanged,
    "transpose": _transpose,
    "gather": _gather,
}
