"""Comparisons, selections and arithmetic of piecewise linear functions: the operations that both front ends share.

Values are graph tensors, `Piecewise` or constants (arrays). Results are `Piecewise`; `seams.materialise` makes tensors of them.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import UnsupportedOperationError
from .graph import Tensor, refuse
from .piecewise import (
    Piecewise,
    apply,
    constant_like,
    flat,
    function,
    identity,
    is_activation,
    linear_combination,
    rebased,
    simplified,
    together,
)
from .roots import nearest, tensor_of, view_of
from .seams import materialise

COMPARISONS = {  # the truth value below the threshold, at it, and above it
    "gt": (0.0, 0.0, 1.0),
    "ge": (0.0, 1.0, 1.0),
    "lt": (1.0, 0.0, 0.0),
    "le": (1.0, 1.0, 0.0),
    "eq": (0.0, 1.0, 0.0),
    "ne": (1.0, 0.0, 1.0),
}
MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}
RECENT_NODES = 256  # among which an equal difference is looked for
TWO_ACTIVATIONS = "which multiplies two activations"


@dataclass(frozen=True)
class Place:
    """The node that is converted: the graph, its name and its kind in the source."""

    graph: object
    name: str
    kind: str

    def refuse(self, reason):
        """Raise the error for this node."""
        refuse(self.name, self.kind, reason)


def _shape(value):
    return value.shape if is_activation(value) else np.shape(value)


def lifted(place, value, shape):
    """Return an activation as a Piecewise of ``shape``."""
    p = value if isinstance(value, Piecewise) else identity(place.graph, value, place.name, place.kind)
    return p.broadcast(shape)


def _renamed(place, p):
    return replace(p, name=place.name, kind=place.kind)


def _continuous(place, p):
    """Return the tensor of a value, or None if it jumps."""
    if isinstance(p, Tensor):
        return p
    try:
        return materialise(p)
    except UnsupportedOperationError:
        return None


def common(place, values, shape):
    """Return activations as functions of one root; a tensor that is no function of it is kept as it is, as a term."""
    pieces = [lifted(place, v, shape) for v in values]
    root = None
    for value, p in zip(values, pieces):
        if not isinstance(value, Piecewise) or not len(p.knots):
            continue
        shared = p.root if root is None else nearest(place.graph, root, p.root)
        if shared is None:
            tensors = [_continuous(place, v) for v in values]
            if sum(t is None for t in tensors) > 1 or all(t is v for t, v in zip(tensors, values)):
                place.refuse(
                    "which combines the jumps of two different activations, so pwlnet can't show that it is continuous"
                )
            return common(place, [v if t is None else t for t, v in zip(tensors, values)], shape)
        root = shared
    root = pieces[0].root if root is None else root
    for p in pieces:
        root = nearest(place.graph, root, p.root) or root
    result = []
    for p in pieces:
        related = nearest(place.graph, root, p.root)
        result.append(rebased(p, root) if related is not None and related == root else replace(p, root=root))
    return together(*result)


def _pieces(place, values):
    """Return activations and constants as functions of one root, broadcast to one shape."""
    shape = np.broadcast_shapes(*(_shape(v) for v in values))
    active = common(place, [v for v in values if is_activation(v)], shape)
    spread = iter(active)
    pieces = [next(spread) if is_activation(v) else constant_like(active[0], v) for v in values]
    return [_renamed(place, p) for p in together(*pieces)]


# Comparisons and logic.


def compare(place, x, y, how):
    """Compare two values, at least one of them an activation, by a key of ``COMPARISONS``."""
    if not is_activation(x):
        return compare(place, y, x, MIRRORED[how])
    if is_activation(y):
        known = _known_difference(place.graph, x, y) if isinstance(x, Tensor) and isinstance(y, Tensor) else None
        if known is not None:
            return compare(place, known[0], 0.0, how if known[1] else MIRRORED[how])
        return compare(place, combine(place, x, y, 1.0, -1.0), 0.0, how)
    shape = np.broadcast_shapes(x.shape, np.shape(y))
    limit = np.asarray(y, np.float64)
    truth = [np.full((1, 1), t) for t in COMPARISONS[how]]
    if not np.isfinite(limit).all():  # the comparison has one result for all finite values
        for k, (below, _, above) in enumerate([COMPARISONS[how]] * 3):
            fixed = np.where(limit == np.inf, below, np.where(limit == -np.inf, above, float(how == "ne")))
            truth[k] = np.where(np.isfinite(flat(limit, shape)), truth[k], flat(fixed, shape))
        limit = np.where(np.isfinite(limit), limit, 0.0)
    outer = function([flat(limit, shape)], truth, [0.0, 0.0, 0.0])
    p = lifted(place, _followed(x), shape)
    return apply(outer, p, name=place.name, kind=place.kind, boolean=True)


def _known_difference(graph, x, y):
    """Return a tensor that is ``x - y`` (and True) or ``y - x`` (and False), so that all comparisons of the two share it."""
    wanted = view_of(graph, x), view_of(graph, y)
    for number in range(len(graph.nodes) - 1, max(-1, len(graph.nodes) - 1 - RECENT_NODES), -1):
        node = graph.nodes[number]
        if node.kind != "add" or node.attributes["coefficients"] != (1.0, -1.0) or not node.shape == x.shape == y.shape:
            continue
        inputs = tuple(view_of(graph, tensor_of(graph, k)) for k in node.inputs)
        if inputs in (wanted, wanted[::-1]):
            return tensor_of(graph, number), inputs == wanted
    return None


def _followed(x):
    """Return a value with other tensors than its root as a tensor, which is then the root itself."""
    if isinstance(x, Piecewise) and any(view != x.root and a.any() for view, a in x.slopes.items()):
        return materialise(x)
    return x


def unary(place, x, outer):
    """Apply a function of one variable, made by `piecewise.function`."""
    return apply(outer, lifted(place, _followed(x), x.shape), name=place.name, kind=place.kind)


def sign(place, x):
    """Compute -1, 0 or 1."""
    return unary(place, x, function([0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]))


def truth(place, x):
    """Return whether a value is not zero."""
    if not is_activation(x):
        return np.asarray(x) != 0
    return x if isinstance(x, Piecewise) and x.boolean else compare(place, x, 0.0, "ne")


def logic(place, values, how):
    """Compute ``and``, ``or``, ``xor`` or ``not`` (of one value) of truth values."""
    pieces = _pieces(place, [truth(place, v) for v in values])
    const = pieces[0].const
    for p in pieces[1:]:
        const = {"and": np.minimum, "or": np.maximum, "xor": lambda a, b: np.abs(a - b)}[how](const, p.const)
    const = 1.0 - const if how == "not" else const
    return simplified(replace(pieces[0], const=const, size=np.abs(const), slopes={}, boolean=True))


# Arithmetic.


def combine(place, x, y, a, b):
    """Compute ``a x + b y``; values that are continuous are added as tensors where one of them is a tensor."""
    pieces = isinstance(x, Piecewise), isinstance(y, Piecewise)
    if is_activation(x) and is_activation(y) and not all(pieces):
        tensors = [_continuous(place, v) for v in (x, y)]
        if None not in tensors:
            return place.graph.add(*tensors, (a, b), name=place.name)
    return simplified(linear_combination(_pieces(place, [x, y]), (a, b)))


def multiply(place, x, y):
    """Compute ``x y`` where, in each cell, one of them is constant."""
    p, q = _pieces(place, [x, y])
    p_moves, q_moves = (_moves(v) for v in (p, q))
    if (p_moves & q_moves).any():
        place.refuse(TWO_ACTIVATIONS)
    slopes = {}
    for one, other in ((p, q), (q, p)):
        for view, array in one.slopes.items():
            slopes[view] = slopes.get(view, 0.0) + array * np.where(_moves(one) & (array != 0), other.const, 0.0)
    const = p.const * q.const
    return simplified(replace(p, const=const, size=p.size * q.size, slopes=slopes, boolean=p.boolean and q.boolean))


def _moves(p):
    moving = np.zeros(p.const.shape, bool)
    for array in p.slopes.values():
        moving = moving | (array != 0)
    return moving


def _is_truth(v):
    return v.boolean if isinstance(v, Piecewise) else isinstance(v, np.ndarray) and v.dtype.kind == "b"


def where(place, condition, x, y):
    """Select ``x`` where a truth value holds and ``y`` elsewhere."""
    c, p, q = _pieces(place, [truth(place, condition), x, y])
    chosen = c.const != 0
    zero = np.zeros((1, 1))
    slopes = {v: np.where(chosen, p.slopes.get(v, zero), q.slopes.get(v, zero)) for v in {**p.slopes, **q.slopes}}
    const, size = np.where(chosen, p.const, q.const), np.where(chosen, p.size, q.size)
    boolean = all(_is_truth(v) for v in (x, y))
    return simplified(replace(p, const=const, size=size, slopes=slopes, boolean=boolean))


def is_integral(p):
    """Return whether a Piecewise takes whole numbers only, so that a cast to integers keeps it."""
    return not any(a.any() for a in p.slopes.values()) and bool((p.const == np.rint(p.const)).all())
