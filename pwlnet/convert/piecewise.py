"""Symbolic piecewise linear functions: what comparisons, signs and selections compute before it is known to be continuous.

``where(x > 0, x, a * x)``, ``x * (x > 0)`` and ``sign(x) * relu(abs(x) - c)`` are continuous, but their parts jump. A
`Piecewise` holds such a value: an elementwise function of one *root*, a view of a graph tensor, given by knots and by one
affine form for each interval between them and for each knot itself. The forms may contain other tensors, as in
``where(a > b, a, b)``, whose root is ``a - b``. Tensors of the graph are read as functions of a root by walking back through
elementwise nodes. `seams.materialise` turns a continuous Piecewise into graph nodes.

Arrays are float64[cells, n], where n is the number of entries, or 1 if all entries agree. With K knots there are 2 K + 1 cells:
cell 2 i is the interval before knot i, cell 2 i + 1 the knot itself. ``size`` bounds what was added up in ``const``, and
``knot_size`` what the knots were computed from, so that rounding can be told from a jump.
"""

from dataclasses import dataclass, replace

import numpy as np

from .graph import Tensor, refuse
from .roots import View, elementwise_inputs, view_of


@dataclass(frozen=True, eq=False)
class Piecewise:
    """An elementwise function of ``root``; see the module's description of the arrays."""

    graph: object
    name: str
    kind: str
    shape: tuple
    root: View
    knots: np.ndarray
    knot_size: np.ndarray
    const: np.ndarray
    size: np.ndarray
    slopes: dict
    boolean: bool = False

    def taken(self, index, shape):
        """Return the entries ``index`` (flat) of this value, as a value of ``shape``."""

        def entries(array):
            return array if array.shape[1] == 1 else array[:, index]

        slopes = {}
        for view, array in self.slopes.items():
            _accumulate(slopes, view.taken(index), entries(array))
        arrays = {key: entries(getattr(self, key)) for key in ("knots", "knot_size", "const", "size")}
        return replace(self, shape=tuple(shape), root=self.root.taken(index), slopes=slopes, **arrays)

    def broadcast(self, shape):
        """Return this value broadcast to ``shape``."""
        if self.shape == tuple(shape):
            return self
        numbers = np.arange(int(np.prod(self.shape, dtype=np.int64))).reshape(self.shape)
        return self.taken(np.broadcast_to(numbers, shape).ravel(), shape)


def is_activation(value):
    """Return whether a value depends on the network's input."""
    return isinstance(value, (Tensor, Piecewise))


def _accumulate(slopes, view, array):
    slopes[view] = slopes[view] + array if view in slopes else array


def flat(value, shape):
    """Return a constant as float64[1, n]: n is 1 if its entries agree, otherwise the number of entries of ``shape``."""
    value = np.asarray(value, np.float64)
    if value.size and (value == value.flat[0]).all():
        return np.full((1, 1), value.flat[0])
    return np.broadcast_to(value, shape).reshape(1, -1)


# Making.


def identity(graph, tensor, name, kind):
    """Return a tensor as a Piecewise without knots."""
    return _identity(graph, view_of(graph, tensor), tensor.shape, name, kind)


def _identity(graph, view, shape, name, kind):
    none, zero = np.empty((0, 1)), np.zeros((1, 1))
    return Piecewise(graph, name, kind, tuple(shape), view, none, none, zero, zero, {view: np.ones((1, 1))})


def constant_like(p, value):
    """Return a constant (which broadcasts to the shape of ``p``) as a function of the root of ``p``."""
    value = flat(value, p.shape)
    none = np.empty((0, 1))
    return replace(p, knots=none, knot_size=none, const=value, size=np.abs(value), slopes={}, boolean=False)


def function(knots, consts, slopes):
    """Return a function of one variable as (knots, consts, slopes), arrays [cells, 1 or n]; see `apply`."""

    def rows(values):
        values = [np.asarray(v, np.float64).reshape(1, -1) for v in values]
        return np.concatenate(np.broadcast_arrays(*values)) if values else np.empty((0, 1))

    return rows(knots), rows(consts), rows(slopes)


# Composition.


def _parts(knots, points):
    """Return the cell in which each of ``points`` [M, n] and each interval between them lies: int64[2 M + 1, n]."""
    below = np.zeros(points.shape, np.int64)
    upto = np.zeros(points.shape, np.int64)
    for knot in knots:
        below = below + (knot < points)
        upto = upto + (knot <= points)
    cells = np.empty((2 * len(points) + 1, upto.shape[1]), np.int64)
    cells[0] = 0
    cells[1::2] = np.where(upto > below, 2 * upto - 1, 2 * upto)
    cells[2::2] = 2 * upto
    return cells


def _pick(array, cells):
    n = max(array.shape[1], cells.shape[1])
    array = np.broadcast_to(array, (len(array), n))
    return np.take_along_axis(array, np.broadcast_to(cells, (len(cells), n)), axis=0)


def _refined(p, knots, knot_size):
    """Return ``p`` with more knots."""
    n = max(knots.shape[1], p.knots.shape[1])
    knots, knot_size = (np.broadcast_to(k, (len(k), n)) for k in (knots, knot_size))
    cells = _parts(p.knots, knots) if len(knots) else np.zeros((1, 1), np.int64)
    slopes = {view: _pick(array, cells) for view, array in p.slopes.items()}
    return replace(p, knots=knots, knot_size=knot_size, const=_pick(p.const, cells), size=_pick(p.size, cells), slopes=slopes)


def _sorted_knots(knots, sizes):
    """Return the union of knots, sorted for each entry, and their sizes."""
    n = max((k.shape[1] for k in knots if len(k)), default=1)
    knots = np.concatenate([np.broadcast_to(k, (len(k), n)) for k in knots if len(k)] or [np.empty((0, n))])
    sizes = np.concatenate([np.broadcast_to(s, (len(s), n)) for s in sizes if len(s)] or [np.empty((0, n))])
    order = np.argsort(knots, axis=0, kind="stable")
    return np.take_along_axis(knots, order, axis=0), np.take_along_axis(sizes, order, axis=0)


def together(*values):
    """Return functions of one root with the same knots."""
    knots = _sorted_knots([p.knots for p in values], [p.knot_size for p in values])
    return [_refined(p, *knots) for p in values]


def simplified(p):
    """Remove the knots at which nothing changes."""
    k = len(p.knots)
    if k == 0:
        return p
    cells = np.tile(np.arange(2 * k + 1)[:, None], p.knots.shape[1])  # between equal knots: the form after the last of them
    for j in range(k - 1, 0, -1):
        cells[2 * j] = np.where(p.knots[j] == p.knots[j - 1], cells[2 * j + 2], cells[2 * j])
    p = replace(
        p,
        const=_pick(p.const, cells),
        size=_pick(p.size, cells),
        slopes={view: _pick(a, cells) for view, a in p.slopes.items()},
    )
    arrays = [p.const, *p.slopes.values()]
    n = max(a.shape[1] for a in (p.knots, *arrays))
    active = np.zeros((k, n), bool)
    for a in arrays:
        active |= (a[1::2] != a[:-1:2]) | (a[2::2] != a[1::2])
    active[1:] &= p.knots[1:] != p.knots[:-1]
    if active.all():
        return p
    count = int(active.sum(axis=0).max(initial=0))
    order = np.argsort(~active, axis=0, kind="stable")[:count]
    used = np.take_along_axis(active, order, axis=0)
    last = np.maximum.accumulate(np.where(used, order, -1), axis=0)  # an unused row repeats the last knot

    def rows(array, missing):
        picked = _pick(array, np.maximum(last, 0))
        return np.where(last < 0, missing, picked)

    cells = np.zeros((2 * count + 1, n), np.int64)
    cells[1::2] = np.where(last < 0, 0, 2 * last + 1)
    cells[2::2] = np.where(last < 0, 0, 2 * last + 2)
    slopes = {view: _pick(a, cells) for view, a in p.slopes.items()}
    slopes = {view: a for view, a in slopes.items() if a.any()}
    return _narrowed(
        replace(
            p,
            knots=rows(p.knots, 0.0),
            knot_size=rows(p.knot_size, 0.0),
            const=_pick(p.const, cells),
            size=_pick(p.size, cells),
            slopes=slopes,
        )
    )


def _narrowed(p):
    """Store one column where all entries agree."""

    def narrow(a):
        return a[:, :1] if a.shape[1] > 1 and (a == a[:, :1]).all() else a

    slopes = {view: narrow(a) for view, a in p.slopes.items()}
    return replace(p, **{k: narrow(getattr(p, k)) for k in ("knots", "knot_size", "const", "size")}, slopes=slopes)


def only_root(p):
    """Return the slopes in the root, or refuse a value that contains other tensors."""
    if any(view != p.root and a.any() for view, a in p.slopes.items()):
        refuse(p.name, p.kind, "which compares or selects values of two activations in a way that pwlnet can't follow")
    return p.slopes.get(p.root, np.zeros_like(p.const))


def apply(outer, p, *, extra=None, name=None, kind=None, boolean=False):
    """Compose a function of one variable with ``p``.

    Parameters
    ----------
    outer : (float64[K, m], float64[2 K + 1, m], float64[2 K + 1, m])
        Knots, constants and slopes; m is 1 or the number of entries.
    p : Piecewise
        In terms of its root only.
    extra : dict, optional
        Slopes of other tensors, by the cells of ``outer``.
    name, kind : str, optional
        Of the node that computes the result.
    boolean : bool
        Whether the result is a truth value.

    Returns
    -------
    Piecewise
    """
    limits, consts, gains = outer
    slope = only_root(p)
    with np.errstate(all="ignore"):
        crossings, sizes = [p.knots], [p.knot_size]
        edges = np.concatenate([np.full((1, p.knots.shape[1]), -np.inf), p.knots, np.full((1, p.knots.shape[1]), np.inf)])
        for i in range(len(p.knots) + 1):
            a, b = slope[2 * i], p.const[2 * i]
            for limit in limits:
                r = np.atleast_1d((limit - b) / a)
                inside = np.isfinite(r) & (edges[i] < r) & (r < edges[i + 1])
                crossings.append(np.where(inside, r, 0.0)[None])
                sizes.append(np.where(inside, np.abs((p.size[2 * i] + np.abs(limit)) / a), 0.0)[None])
        fine = _refined(p, *_sorted_knots(crossings, sizes))
        slope, n = fine.slopes.get(p.root, np.zeros_like(fine.const)), fine.knots.shape[1]
        ends = np.full((2 * len(fine.knots) + 1, 2, n), np.inf)  # of each cell
        ends[0, 0] = -np.inf
        ends[1::2] = fine.knots[:, None]
        ends[2::2, 0], ends[:-1:2, 1] = fine.knots, fine.knots
        below, upto = 0, 0
        for limit in limits:
            r = (limit - fine.const) / slope
            rising, falling = slope > 0, slope < 0
            low, high = ends[:, 0], ends[:, 1]
            equal = np.where(rising | falling, (low == r) & (high == r), fine.const == limit)
            above = np.where(rising, low >= r, np.where(falling, high <= r, fine.const > limit)) & ~equal
            below, upto = below + above, upto + (above | equal)
        cells = np.zeros((1, 1), np.int64) if not len(limits) else np.where(upto > below, 2 * upto - 1, 2 * upto)
    gain, shift = _pick(gains, cells), _pick(consts, cells)
    slopes = {p.root: gain * slope} if np.any(gain * slope) else {}
    for view, array in (extra or {}).items():
        _accumulate(slopes, view, _pick(array, cells))
    const, size = gain * fine.const + shift, np.abs(gain) * fine.size + np.abs(shift)
    const, size, *rest = np.broadcast_arrays(const, size, *slopes.values())
    rows = 2 * len(fine.knots) + 1
    wide = [np.broadcast_to(a, (rows, a.shape[1])) for a in (const, size, *rest)]
    return simplified(
        replace(
            fine,
            name=name or p.name,
            kind=kind or p.kind,
            const=wide[0],
            size=wide[1],
            slopes=dict(zip(slopes, wide[2:])),
            boolean=boolean,
        )
    )


# Graph tensors as functions of a root.


def function_of(graph, view, root, like):
    """Return ``view`` as a function of ``root``, one of its ancestors."""
    if view == root:
        return _identity(graph, root, like.shape, like.name, like.kind)
    node = graph.nodes[view.tensor.node]
    inner = [function_of(graph, v, root, like) for v in elementwise_inputs(graph, view)]

    def entries(value):
        if np.size(value) == 1:
            return flat(value, ())
        value = np.broadcast_to(np.asarray(value, np.float64), node.shape).ravel()
        return flat((value if view.index is None else value[view.index]).reshape(like.shape), like.shape)

    a = node.attributes
    if node.kind == "add":
        first, second = together(*inner)
        return simplified(linear_combination([first, second], a["coefficients"]))
    if node.kind == "scale_shift":
        return apply(function([], [entries(a["shift"])], [entries(a["scale"])]), inner[0])
    if node.kind == "clip":
        return apply(clipping(a["lower"], a["upper"]), inner[0])
    return apply(bend(entries(a["slope"]) if node.kind == "leaky_relu" else 0.0), inner[0])


def bend(slope):
    """Return the function that is ``slope * x`` up to 0 and ``x`` from there."""
    return function([0.0], [0.0, 0.0, 0.0], [slope, 1.0, 1.0])


def clipping(lower, upper):
    """Return the function min(max(x, lower), upper); a bound may be infinite."""
    knots, consts, slopes = [], [0.0], [1.0]
    if lower > -np.inf:
        knots, consts, slopes = [lower], [lower, lower, 0.0], [0.0, 0.0, 1.0]
    if upper < np.inf:
        knots, consts, slopes = [*knots, upper], [*consts, upper, upper], [*slopes, 0.0, 0.0]
    return function(knots, consts, slopes)


def linear_combination(values, coefficients):
    """Combine functions with the same knots."""
    slopes = {}
    for p, c in zip(values, coefficients):
        for view, array in p.slopes.items():
            _accumulate(slopes, view, c * array)
    const = sum(c * p.const for p, c in zip(values, coefficients))
    size = sum(abs(c) * p.size for p, c in zip(values, coefficients))
    return replace(values[0], const=const, size=size, slopes=slopes, boolean=False)


def rebased(p, root):
    """Return ``p`` as a function of an ancestor of its root."""
    if p.root == root:
        return p
    inner = function_of(p.graph, p.root, root, p)
    extra = {view: array for view, array in p.slopes.items() if view != p.root}
    outer = p.knots, p.const, p.slopes.get(p.root, np.zeros_like(p.const))
    return apply(outer, inner, extra=extra, name=p.name, kind=p.kind, boolean=p.boolean)
