"""Handlers of torch's products with constants, linear combinations and norms."""

from functools import partial

import numpy as np
import torch

from .. import composed
from ..graph import Tensor

TWO = "which multiplies two activations"


def constant_or_tensor(call, a):
    """Return a tensor as it is, anything else as an array."""
    return a if isinstance(a, Tensor) else call.array(a)


def _sum(call, x, y, a=1.0, b=1.0):
    """Return ``a x + b y``; either may be a constant."""
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return call.graph.add(x, y, (a, b), name=call.name)
    if isinstance(x, Tensor):
        return call.graph.scale_shift(x, None if a == 1.0 else a, b * _array(call, y), name=call.name)
    return call.graph.scale_shift(y, None if b == 1.0 else b, a * _array(call, x), name=call.name)


def _array(call, a):
    return a if isinstance(a, np.ndarray) else call.array(a)


# Products.


def matmul(call, x, other):
    """Compute ``x @ other`` if one of them is a constant."""
    if isinstance(x, Tensor) and isinstance(other, Tensor):
        call.refuse(TWO)
    x, other = (constant_or_tensor(call, a) for a in (x, other))
    if not isinstance(x, Tensor) and not isinstance(other, Tensor):
        return x @ other
    return composed.matmul(call.graph, x, other, call.name)


def multi_dot(call, *tensors):
    """Multiply several matrices, at most one of them an activation."""
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    result = tensors[0]
    for other in tensors[1:]:
        result = matmul(call, result, torch.as_tensor(other) if isinstance(other, np.ndarray) else other)
        result = torch.as_tensor(result) if isinstance(result, np.ndarray) else result
    return result


def affine_product(call, bias, x, weight, *, beta=1, alpha=1):
    """Compute ``beta * bias + alpha * (x @ weight)``."""
    return _sum(call, bias, matmul(call, x, weight), float(beta), float(alpha))


def summed_product(call, bias, x, weight, *, beta=1, alpha=1):
    """Compute ``beta * bias + alpha * sum(x @ weight)`` over the first axis."""
    return _sum(call, bias, _einsum(call, "bij,bjk->ik", x, weight), float(beta), float(alpha))


def rank_one_update(call, bias, x, y, *, beta=1, alpha=1):
    """Compute ``beta * bias + alpha * outer(x, y)``."""
    return _sum(call, bias, _einsum(call, "i,j->ij", x, y), float(beta), float(alpha))


def _einsum(call, equation, *operands):
    values = [constant_or_tensor(call, a) for a in operands]
    if not any(isinstance(v, Tensor) for v in values):
        return np.einsum(equation, *values)
    return composed.einsum(call.graph, equation, values, call.name, call.kind)


def einsum(call, equation, *operands, path=None):
    """Compute an einsum that is linear in one activation."""
    if not isinstance(equation, str):
        call.refuse("in the form of operands and lists of axes; give an equation as text")
    operands = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    return _einsum(call, equation, *operands)


def product_of(call, x, other, *, equation):
    """Compute a product of two tensors, one of them constant, by its einsum."""
    return _einsum(call, equation, x, other)


def inner(call, x, other):
    """Sum products over the last axes of both."""
    rank = len(x.shape), len(other.shape)
    letters = "abcdefghijklmnopqrstuvwxy"
    first, second = letters[: rank[0] - 1], letters[rank[0] - 1 : sum(rank) - 2]
    return _einsum(call, f"{first}z,{second}z->{first}{second}", x, other)


def tensordot(call, x, other, dims=2, dims_other=None):
    """Sum products over pairs of axes."""
    ranks = len(x.shape), len(other.shape)
    if isinstance(dims, torch.Tensor):
        dims = dims.tolist()
    dims = dims if dims_other is None else (dims, dims_other)
    pairs = [range(ranks[0] - dims, ranks[0]), range(dims)] if isinstance(dims, int) else dims
    labels = [list("abcdefghijklm"[: ranks[0]]), list("nopqrstuvwxyz"[: ranks[1]])]
    for i, j in zip(*pairs, strict=True):
        labels[1][j] = labels[0][i]
    kept = [c for c in labels[0] + labels[1] if (labels[0] + labels[1]).count(c) == 1]
    return _einsum(call, f"{''.join(labels[0])},{''.join(labels[1])}->{''.join(kept)}", x, other)


def bilinear(call, x, other, weight, bias=None):
    """Compute ``x W other + bias`` for each matrix W, if one of the factors is a constant."""
    out = _einsum(call, "...i,oij,...j->...o", x, weight, other)
    return out if bias is None else _sum(call, out, bias)


def kron(call, x, other):
    """Compute the Kronecker product of tensors with equal numbers of axes, one of them constant."""
    rank = max(len(x.shape), len(other.shape))
    shapes = [(1,) * (rank - len(v.shape)) + tuple(v.shape) for v in (x, other)]
    parts = [
        call.graph.reshape(v, s, name=call.name) if isinstance(v, Tensor) else torch.as_tensor(call.array(v)).reshape(s)
        for v, s in zip((x, other), shapes)
    ]
    first, second = "abcdefghijkl"[:rank], "mnopqrstuvwx"[:rank]
    both = "".join(a + b for a, b in zip(first, second))
    out = _einsum(call, f"{first},{second}->{both}", *parts)
    return call.graph.reshape(out, [n * m for n, m in zip(*shapes)], name=call.name)


# Linear combinations.


def lerp(call, x, end, weight):
    """Compute ``x + weight * (end - x)`` for a constant weight."""
    if isinstance(weight, Tensor):
        if isinstance(x, Tensor) or isinstance(end, Tensor):
            call.refuse(TWO)
        return _sum(call, call.graph.scale_shift(weight, call.array(end) - call.array(x), name=call.name), x)
    weight, parts = call.array(weight), []
    for value, factor in ((x, 1.0 - weight), (end, weight)):
        constant = not isinstance(value, Tensor)
        parts.append(factor * call.array(value) if constant else call.graph.scale_shift(value, factor, name=call.name))
    return _sum(call, *parts)


def add_product(call, x, first, second, *, value=1, divided=False):
    """Compute ``x + value * first * second`` (or ``first / second``) if one of the factors is a constant."""
    if isinstance(second, Tensor) and (divided or isinstance(first, Tensor)):
        call.refuse("which divides by an activation" if divided else TWO)
    if divided:
        second = 1.0 / call.array(second)
        if not np.isfinite(second).all():
            call.refuse("with a zero in its divisor")
    first, second = (first, second) if isinstance(first, Tensor) else (second, first)
    if not isinstance(first, Tensor):
        return _sum(call, x, float(value) * _array(call, first) * _array(call, second))
    return _sum(call, x, call.graph.scale_shift(first, float(value) * _array(call, second), name=call.name))


def cumulative_sum(call, x, dim, *, dtype=None):
    """Sum the entries up to each along an axis."""
    return composed.cumulative_sum(call.graph, x, axis_of(x, dim), call.name)


def difference(call, x, n=1, dim=-1, prepend=None, append=None):
    """Subtract neighbours along an axis, ``n`` times."""
    if prepend is not None or append is not None:
        call.refuse("with prepend or append; join the tensors first")
    size, axis = x.shape[axis_of(x, dim)], axis_of(x, dim)
    if int(n) >= size or int(n) == 0:
        call.refuse(f"of order {n} over {size} entries; it needs an order from 1 to {size - 1}")
    return composed.along_axis(call.graph, x, axis, np.diff(np.eye(size), n=int(n), axis=0), call.name)


def trapezoid(call, y, x=None, *, dx=1, dim=-1):
    """Integrate by the trapezoidal rule over constant abscissae."""
    axis = axis_of(y, dim)
    size = y.shape[axis]
    widths = np.full(size - 1, float(dx)) if x is None else np.diff(call.array(x))
    if widths.ndim != 1:
        call.refuse("with abscissae of several axes; give one axis")
    weights = (np.append(widths, 0.0) + np.append(0.0, widths)) / 2.0
    out = composed.along_axis(call.graph, y, axis, weights[None], call.name)
    return call.graph.reshape(out, [n for a, n in enumerate(y.shape) if a != axis], name=call.name)


def axis_of(x, dim):
    """Return an axis as a number from 0."""
    if not -len(x.shape) <= int(dim) < len(x.shape):
        raise IndexError(f"axis {dim} of a tensor of shape {x.shape}")
    return int(dim) % len(x.shape)


def axes_of(x, dim):
    """Return axes as numbers from 0; None means all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return list(range(len(x.shape)))
    return [axis_of(x, d) for d in (dim if isinstance(dim, (tuple, list)) else [dim])]


def power(call, x, exponent):
    """Return ``x`` for an exponent of one."""
    if isinstance(exponent, Tensor) or not isinstance(x, Tensor) or (call.array(exponent) != 1.0).any():
        call.refuse("which is not piecewise linear")
    return x


# Norms.


def vector_norm(call, x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """Compute torch.linalg.vector_norm."""
    return norm(call, x, ord, dim, keepdim)


def norm(call, x, p=2, dim=None, keepdim=False, *, dtype=None):
    """Compute a norm of order 1 or inf of the entries over axes."""
    order = {"fro": 2.0, None: 2.0, "nuc": 2.0}.get(p, p)
    return composed.norm(call.graph, x, float(order), axes_of(x, dim), call.name, call.kind, keepdims=bool(keepdim))


def any_norm(call, x, ord=None, dim=None, keepdim=False, *, dtype=None):
    """Compute torch.linalg.norm: of a matrix for two axes, otherwise of the entries."""
    of_matrix = (isinstance(dim, (tuple, list)) and len(dim) == 2) or (dim is None and len(x.shape) == 2)
    if ord is not None and of_matrix:
        return matrix_norm(call, x, ord, (-2, -1) if dim is None else dim, keepdim)
    return norm(call, x, 2 if ord is None else ord, dim, keepdim)


def matrix_norm(call, x, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """Compute the largest sum of absolute values of a column (order 1) or of a row (order inf)."""
    if ord not in (1, float("inf")):
        call.refuse(f"a matrix norm of order {ord}; the orders 1 and inf are supported")
    summed, taken = (axis_of(x, d) for d in (dim if ord == 1 else dim[::-1]))
    sums = composed.norm(call.graph, x, 1.0, [summed], call.name, call.kind, keepdims=True)
    out = composed.reduced(call.graph, sums, [taken], "max", call.name, keepdims=True)
    shape = [n for a, n in enumerate(out.shape) if keepdim or a not in (summed, taken)]
    return call.graph.reshape(out, shape, name=call.name)


def distance(call, x, other, p=2):
    """Compute the norm of a difference."""
    return norm(call, _sum(call, x, other, 1.0, -1.0), p)


def pairwise_distance(call, x, other, p=2.0, eps=None, keepdim=False):
    """Compute the norm of ``x - other + eps`` over the last axis."""
    eps = torch.nn.PairwiseDistance().eps if eps is None else float(eps)
    shifted = call.graph.scale_shift(_sum(call, x, other, 1.0, -1.0), shift=eps, name=call.name)
    return norm(call, shifted, p, -1, keepdim)


def l1_loss(call, x, target, size_average=None, reduce=None, reduction="mean"):
    """Compute the mean or sum of absolute differences, or the differences themselves."""
    size = call.graph.leaky_relu(_sum(call, x, target, 1.0, -1.0), -1.0, name=call.name)
    if reduction == "none":
        return size
    total = composed.reduced(call.graph, size, range(len(size.shape)), "sum", call.name)
    return total if reduction == "sum" else call.graph.scale_shift(total, 1.0 / size.size, name=call.name)


OPERATIONS = {
    **dict.fromkeys(("matmul", "mm", "mv", "bmm", "__matmul__"), matmul),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), affine_product),
    "addbmm": summed_product,
    "addr": rank_one_update,
    "einsum": einsum,
    "tensordot": tensordot,
    "bilinear": bilinear,
    "kron": kron,
    "inner": inner,
    **dict.fromkeys(("dot", "vdot"), partial(product_of, equation="i,i->")),
    **dict.fromkeys(("outer", "ger"), partial(product_of, equation="i,j->ij")),
    **dict.fromkeys(("vecdot", "linalg_vecdot"), partial(product_of, equation="...i,...i->...")),
    **dict.fromkeys(("linalg_multi_dot", "multi_dot", "chain_matmul"), multi_dot),
    "trace": lambda call, x: _einsum(call, "ii->", x),
    "lerp": lerp,
    "addcmul": add_product,
    "addcdiv": partial(add_product, divided=True),
    "cumsum": cumulative_sum,
    "diff": difference,
    **dict.fromkeys(("trapezoid", "trapz"), trapezoid),
    **dict.fromkeys(("pow", "float_power"), power),
    "norm": norm,
    "linalg_vector_norm": vector_norm,
    "linalg_norm": any_norm,
    "linalg_matrix_norm": matrix_norm,
    "dist": distance,
    "pairwise_distance": pairwise_distance,
    "l1_loss": l1_loss,
    "nan_to_num": lambda call, x, nan=0.0, posinf=None, neginf=None: x,
}
