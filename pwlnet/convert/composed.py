"""Operations composed of the graph's nodes, for both front ends: products with constants, sorting, scattered sums."""

import numpy as np

from ..errors import ConversionError
from .graph import Tensor, refuse, require_size

LARGEST_SORTED = 16
LONGEST_SCAN = 64


def constant(graph, like, value, name):
    """Return a constant as a tensor, derived from any tensor ``like``."""
    value = np.asarray(value, np.float64)
    return graph.scale_shift(graph.layout(like, np.full(value.shape, -1), name=name), shift=value, name=name)


# Products.


def batched_product(graph, x, weight, name):
    """Return ``x @ weight`` for ``x`` [B, n, k] and a constant [B, k, m], as one grouped convolution."""
    batch, rows, inner = x.shape
    columns = weight.shape[2]
    if batch == 1:
        return graph.reshape(graph.linear(x, weight[0].T, name=name), (1, rows, columns), name=name)
    image = graph.layout(x, x.indices().transpose(0, 2, 1).reshape(1, batch * inner, 1, rows), name=name)
    kernel = np.swapaxes(weight, 1, 2).reshape(batch * columns, inner, 1, 1)
    y = graph.conv(image, kernel, groups=batch, name=name)
    return graph.layout(y, y.indices().reshape(batch, columns, rows).transpose(0, 2, 1), name=name)


def matmul(graph, x, weight, name):
    """Return ``x @ weight`` with NumPy's rules for stacks and vectors; one is a tensor, the other a constant."""
    if not isinstance(x, Tensor):
        if np.ndim(x) == 1:
            return matmul(graph, _swapped(graph, weight, name) if len(weight.shape) > 1 else weight, np.asarray(x), name)
        if len(weight.shape) == 1:
            y = graph.linear(weight, np.reshape(x, (-1, np.shape(x)[-1])), name=name)
            return graph.reshape(y, np.shape(x)[:-1], name=name)
        return _swapped(graph, matmul(graph, _swapped(graph, weight, name), np.swapaxes(x, -1, -2), name), name)
    if weight.ndim == 1:
        y = graph.linear(x, weight[None], name=name)
        return graph.reshape(y, y.shape[:-1], name=name)
    if weight.ndim == 2:
        return graph.linear(x, weight.T, name=name)
    rows = (1, *x.shape) if len(x.shape) == 1 else x.shape
    stack = np.broadcast_shapes(rows[:-2], weight.shape[:-2])
    index = np.broadcast_to(x.indices().reshape(rows), stack + rows[-2:]).reshape(-1, *rows[-2:])
    weight = np.broadcast_to(weight, stack + weight.shape[-2:])
    y = batched_product(graph, graph.layout(x, index, name=name), weight.reshape(-1, *weight.shape[-2:]), name)
    return graph.reshape(y, stack + ((rows[-2],) if len(x.shape) > 1 else ()) + weight.shape[-1:], name=name)


def _swapped(graph, x, name):
    return graph.layout(x, np.swapaxes(x.indices(), -1, -2), name=name)


def einsum(graph, equation, operands, name, kind):
    """Evaluate an einsum in which exactly one operand is a tensor.

    Parameters
    ----------
    equation : str
        With or without an explicit result; an ellipsis stands for the axes that are not named.
    operands : list of Tensor or ndarray
    name, kind : str
        Of the node.

    Returns
    -------
    Tensor
    """
    if sum(isinstance(v, Tensor) for v in operands) != 1:
        refuse(name, kind, "which multiplies two activations")
    terms, result = _equation(equation, [len(np.shape(v)) if not isinstance(v, Tensor) else len(v.shape) for v in operands])
    position = next(k for k, v in enumerate(operands) if isinstance(v, Tensor))
    x, labels = operands[position], terms[position]
    unique = "".join(dict.fromkeys(labels))
    x = graph.layout(x, np.einsum(x.indices(), _numbers(labels), _numbers(unique)), name=name)
    sizes = dict(zip(unique, x.shape))
    others = [(v, t) for k, (v, t) in enumerate(zip(operands, terms)) if k != position]
    outside = "".join(dict.fromkeys(c for _, t in others for c in t))
    kept = "".join(c for c in outside if c in result or c in unique)
    for value, term in others:
        sizes.update({c: n for c, n in zip(term, value.shape) if n != 1 or c not in sizes})
    factor = _contracted(others, kept) if others else np.ones(())
    summed = "".join(c for c in unique if c not in result)
    factor = np.broadcast_to(
        factor.reshape(factor.shape + (1,) * len([c for c in summed if c not in kept])),
        [sizes[c] for c in kept] + [sizes[c] for c in summed if c not in kept],
    )
    kept += "".join(c for c in summed if c not in kept)
    groups = {
        "batch": "".join(c for c in unique if c in kept and c in result),
        "rows": "".join(c for c in unique if c not in kept),
        "inner": summed,
        "columns": "".join(c for c in kept if c not in unique),
    }
    return _grouped(graph, x, unique, factor, kept, groups, sizes, result, name)


def _contracted(others, kept):
    arguments = [a for value, term in others for a in (np.asarray(value, np.float64), _numbers(term))]
    return np.einsum(*arguments, _numbers(kept), optimize=True)


def _numbers(labels):
    """Return labels as the numbers that NumPy takes (at most 52 different ones)."""
    return [ord(c) - ord("A") if c.isupper() else ord(c) - ord("a") + 26 for c in labels]


def _grouped(graph, x, labels, factor, kept, groups, sizes, result, name):
    """Evaluate a product of ``x`` and one constant whose axes are sorted into batch, rows, summed and columns."""
    batch, rows, inner, columns = (groups[k] for k in ("batch", "rows", "inner", "columns"))
    count = {key: int(np.prod([sizes[c] for c in text], dtype=np.int64)) for key, text in groups.items()}
    order = [labels.index(c) for c in batch + rows + inner]
    shape = [sizes[c] for c in batch + rows + inner]
    index = np.broadcast_to(x.indices().transpose(order), shape).reshape(count["batch"], count["rows"], count["inner"])
    weight = factor.transpose([kept.index(c) for c in batch + inner + columns])
    weight = weight.reshape(count["batch"], count["inner"], count["columns"])
    x = graph.layout(x, index, name=name)
    if count["inner"] == 1 and count["columns"] == 1:
        y = x if (weight == 1).all() else graph.scale_shift(x, weight, name=name)
    else:
        y = batched_product(graph, x, weight, name)
    made = batch + rows + columns
    numbers = y.indices().reshape([sizes[c] for c in made])
    return graph.layout(y, numbers.transpose([made.index(c) for c in result]), name=name)


def _equation(equation, ranks):
    """Return the labels of the operands and of the result, an ellipsis replaced by unused letters."""
    text = equation.replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in text]
    lengths = [rank - len(t.replace("...", "")) if "..." in t else 0 for t, rank in zip(terms, ranks)]
    if len(terms) != len(ranks) or min(lengths) < 0 or max(lengths) > len(free):
        raise ConversionError(f"einsum {equation!r} does not fit operands of {ranks} axes; give one label per axis")
    letters = "".join(free[: max(lengths)])
    terms = [t.replace("...", letters[len(letters) - n :]) for t, n in zip(terms, lengths)]
    if any(len(t) != rank for t, rank in zip(terms, ranks)):
        raise ConversionError(f"einsum {equation!r} does not fit operands of {ranks} axes; give one label per axis")
    if not arrow:
        once = sorted(c for c in set("".join(terms)) if c not in letters and "".join(terms).count(c) == 1)
        return terms, letters + "".join(once)
    return terms, result.replace("...", letters)


# Linear maps of one axis.


def along_axis(graph, x, axis, matrix, name):
    """Multiply the entries along an axis by ``matrix`` [outputs, inputs]."""
    y = graph.linear(graph.layout(x, np.moveaxis(x.indices(), axis, -1), name=name), matrix, name=name)
    return graph.layout(y, np.moveaxis(y.indices(), -1, axis), name=name)


def cumulative_sum(graph, x, axis, name, *, reverse=False, exclusive=False):
    """Sum the entries up to each along an axis."""
    n = x.shape[axis]
    require_size((n, n), f"node {name!r}")
    matrix = np.tril(np.ones((n, n)), -1 if exclusive else 0)
    return along_axis(graph, x, axis, matrix.T if reverse else matrix, name)


def scatter_sum(graph, target, source, places, name):
    """Return ``target`` plus the entries of ``source`` at the places (flat indices into ``target``) that they are added to."""
    like = target if isinstance(target, Tensor) else source
    shape = target.shape
    places = np.asarray(places, np.int64).ravel()
    order = np.argsort(places, kind="stable")
    ranked = places[order]
    turn = np.arange(ranked.size) - np.searchsorted(ranked, ranked)
    result = target if isinstance(target, Tensor) else constant(graph, like, target, name)
    for k in range(int(turn.max(initial=-1)) + 1):
        index = np.full(int(np.prod(shape, dtype=np.int64)), -1)
        index[ranked[turn == k]] = order[turn == k]
        if isinstance(source, Tensor):
            result = graph.add(result, graph.layout(source, index.reshape(shape), name=name), name=name)
        else:
            part = np.where(index >= 0, np.ravel(source)[index], 0.0)
            result = graph.scale_shift(result, shift=part.reshape(shape), name=name)
    return result


# Reductions.


def reduced(graph, x, axes, how, name, *, keepdims=False):
    """Return the sum ("sum"), maximum ("max") or minimum ("min") over axes."""
    axes = sorted({int(a) % len(x.shape) for a in axes})
    kept = [a for a in range(len(x.shape)) if a not in axes]
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    rows = graph.layout(x, x.indices().transpose(kept + axes).reshape(1, -1, 1, count), name=name)
    if how == "sum":
        y = graph.avg_pool(rows, (1, count), divisor=1, name=name)
    else:
        sign = 1.0 if how == "max" else -1.0
        y = graph.max_pool(rows if how == "max" else graph.scale_shift(rows, -1.0, name=name), (1, count), name=name)
        y = y if how == "max" else graph.scale_shift(y, sign, name=name)
    shape = [1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes]
    return graph.reshape(y, shape, name=name)


def norm(graph, x, order, axes, name, kind, *, keepdims=False):
    """Return the norm of order 1, inf or -inf over axes: a sum, maximum or minimum of absolute values."""
    how = {1.0: "sum", np.inf: "max", -np.inf: "min"}.get(order)
    if how is None:
        reason = "counts entries, which jumps" if order == 0 else "is not piecewise linear"
        refuse(name, kind, f"a norm of order {order}, which {reason}; the orders 1 and inf are supported")
    return reduced(graph, graph.leaky_relu(x, -1.0, name=name), axes, how, name, keepdims=keepdims)


# Sorting.


def comparators(n):
    """Return Batcher's merge exchange sort of n entries as layers of disjoint pairs (low, high).

    References
    ----------
    .. [1] Knuth, The Art of Computer Programming, Volume 3, Section 5.2.2, Algorithm M.
    """
    layers, top = [], 1 << max(0, (n - 1).bit_length() - 1)
    p = top
    while p > 0 and n > 1:
        q, r, d = top, 0, p
        while d > 0:
            layers.append([(i, i + d) for i in range(n - d) if i & p == r])
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return layers


def sorted_values(graph, x, axis, places, name, kind, *, descending=False):
    """Return the values at ``places`` of the sorted entries along an axis, by a network of maxima and minima.

    Parameters
    ----------
    x : Tensor
    axis : int
    places : sequence of int
        Positions in the sorted order; comparisons that they don't need are left out.
    name, kind : str
        Of the node.
    descending : bool

    Returns
    -------
    Tensor
        With ``len(places)`` entries along the axis.
    """
    n = x.shape[axis]
    if n > LARGEST_SORTED:
        refuse(name, kind, f"which sorts {n} entries; pwlnet sorts groups of at most {LARGEST_SORTED}, as maxima and minima")
    places = [n - 1 - p if descending else p for p in places]
    needed, layers = set(places), []
    for layer in reversed(comparators(n)):
        used = [pair for pair in layer if needed.intersection(pair)]
        needed.update(entry for pair in used for entry in pair)
        layers.insert(0, used)
    x = graph.layout(x, np.moveaxis(x.indices(), axis, -1), name=name)
    for layer in filter(None, layers):
        low, high = (x.indices()[..., [pair[k] for pair in layer]] for k in (0, 1))
        first, second = (graph.layout(x, index, name=name) for index in (low, high))
        excess = graph.relu(graph.add(first, second, (1.0, -1.0), name=name), name=name)
        least, most = graph.add(first, excess, (1.0, -1.0), name=name), graph.add(second, excess, name=name)
        joined = graph.concat([x, least, most], len(x.shape) - 1, name=name)
        order = np.arange(n)
        for k, (i, j) in enumerate(layer):
            order[i], order[j] = n + k, n + len(layer) + k
        x = graph.layout(joined, joined.indices()[..., order], name=name)
    return graph.layout(x, np.moveaxis(x.indices()[..., places], -1, axis), name=name)


def running_maximum(graph, x, axis, name, kind):
    """Return the maximum of the entries up to each along an axis."""
    n = x.shape[axis]
    if n > LONGEST_SCAN:
        refuse(name, kind, f"over {n} entries; pwlnet takes running maxima of at most {LONGEST_SCAN}")
    parts = [graph.layout(x, np.take(x.indices(), [k], axis), name=name) for k in range(n)]
    for k in range(1, n):
        excess = graph.relu(graph.add(parts[k], parts[k - 1], (1.0, -1.0), name=name), name=name)
        parts[k] = graph.add(parts[k - 1], excess, name=name)
    return graph.concat(parts, axis, name=name)
