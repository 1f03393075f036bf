"""Local Lipschitz constants: exact at points, on segments and in planes; bounds on boxes and balls.

Legend: B points or sets, D inputs, O outputs, K neurons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from .. import evaluate
from .._types import ArrayLike, FloatArray, IntArray
from ..domains import Ball, Box, Polygon, Segment, ball_rows, box_rows, is_single
from ..errors import InputError, ShapeError
from ..kernels.ir import switching
from ..partition.lines.partitions import partition_lines
from ..partition.planes.partitions import partition_planes
from ..validation import check_network
from .masked_norms import product_bound
from .operator_norms import DUAL, check_norm, operator_norms, plane_norms, round_up

if TYPE_CHECKING:
    from ..float_sets import FloatSet
    from ..network import Network

_AT_ONCE = 2**22  # entries of Jacobians in memory at a time


@dataclass(frozen=True, eq=False)
class LipschitzConstant:
    """Local Lipschitz constant; made by ``lipschitz_constant``.

    Attributes
    ----------
    value : float, or float64[B] for B points or sets
        Largest ratio of the change of the outputs, in ``output_norm``, to that of the inputs, in ``norm``.
    kind : {"exact", "bound"}
        Exact up to rounding, or a sound upper bound.
    norm, output_norm : float
        1, 2 or inf: ``value`` is an operator norm from l_norm to l_output_norm.
    along : bool
        Whether only the directions of the segment or plane count.
    n_pieces : int or int64[B]
        Number of affine maps whose norms were compared; 0 for a bound from products of norms.
    piece : int or None
        On a segment or polygon, the index of the piece with the largest norm, as ``partition_lines`` and ``partition_planes``
        number them.
    """

    value: float | FloatArray
    kind: str
    norm: float
    output_norm: float
    along: bool = False
    n_pieces: int | IntArray = field(default=1, repr=False)
    piece: int | None = field(default=None, repr=False)

    def __float__(self) -> float:
        return float(self.value)


def lipschitz_constant(
    network: Network,
    domain: ArrayLike | Segment | Polygon | Box | Ball,
    *,
    norm: float = 2,
    output_norm: float | None = None,
    along: bool = False,
    float_set: FloatSet | ArrayLike | None = None,
    threads: int | None = None,
) -> LipschitzConstant:
    """Compute the local Lipschitz constant of a network at points or on a set of inputs.

    Exact up to rounding at points, on a Segment and on a Polygon: the largest operator norm of the affine maps of the pieces
    there, each of which counts with all directions of the input space (``along=True``: with those of the segment or plane).
    Sound bound on a Box or Ball: the product of the norms of the weight matrices without the rows and columns of neurons that
    are known to be constant on the set; exact up to rounding where ``float_set`` says that no neuron floats.

    Parameters
    ----------
    network : Network
    domain : float64[D], float64[B, D], Segment, Polygon, Box or Ball
        For a point, the piece is the one whose states the point has.
    norm : {1, 2, inf}
        Of changes of inputs; independent of the norm of a Ball.
    output_norm : {1, 2, inf}, optional
        Of changes of outputs. By default the dual norm of ``norm``: inf for 1, 2 for 2, 1 for inf. From l_2 to l_1, all signs
        of the outputs are tried, from l_inf to l_2 all of the inputs, from l_inf to l_1 those of the fewer ones: at most 16.
    along : bool
        On a Segment or Polygon: the constant of the network restricted to its line or plane.
    float_set : FloatSet, int32[K] or int32[B, K], optional
        On a Box or Ball: the neurons that are proved to be fixed there, with their states (or another result that has
        ``states``), or these states, -1 for others. By default, no neuron is known to be fixed, and the bound holds
        everywhere.
    threads : int, optional

    Returns
    -------
    LipschitzConstant

    Raises
    ------
    ShapeError
        The domain or the states do not fit the network.
    InputError
        An option is not one of its choices, or does not apply to this domain.
    CapacityError
        An operator norm would need too many signs.
    UnsupportedOperationError
        The network has an op that is not handled.

    Notes
    -----
    A neuron that is exactly at a threshold all along a segment or polygon is in the lower state there; the pieces on its other
    side are not met, which matters for ``along=False`` only. On sets, the norm of a matrix from l_2 to l_2 is bounded by its
    singular values with their rounding errors, or for large ones by the square root of the product of its norms of l_1 and
    l_inf; if the norms of inputs and outputs differ, the bound is that of equal norms times the largest ratio of both norms.

    References
    ----------
    .. [1] Jordan and Dimakis, "Exactly Computing the Local Lipschitz Constant of ReLU Networks", NeurIPS 2020, Theorem 1 (the
       largest norm of the Jacobians of the pieces; there by mixed-integer programs on boxes).
    .. [2] Huang, Zhang, Shi, Kolter and Anandkumar, "Training Certifiably Robust Neural Networks with Efficient Local Lipschitz
       Bounds", NeurIPS 2021, Section 3 (products of norms without constant neurons; here for all ops and norms, and rounded
       upward).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> at_point = pwlnet.lipschitz_constant(network, images[0]).value
    >>> on_line = pwlnet.lipschitz_constant(network, pwlnet.Segment(images[0], images[1])).value
    >>> everywhere = pwlnet.lipschitz_constant(network, pwlnet.Ball(images[0], 1.0)).value
    >>> at_point <= on_line * (1 + 2**-40) <= everywhere
    True
    """
    p = check_norm(norm, "norm")
    q = DUAL[p] if output_norm is None else check_norm(output_norm, "output_norm")
    is_set = isinstance(domain, Box | Ball)
    if along and not isinstance(domain, Segment | Polygon):
        raise InputError(f"along is set, but domain is a {type(domain).__name__}; give a Segment or a Polygon")
    if float_set is not None and not is_set:
        raise InputError(f"float_set was given, but domain is a {type(domain).__name__}; it applies to a Box or a Ball")
    if isinstance(domain, Segment):
        return _on_segment(network, domain, p, q, bool(along), threads)
    if isinstance(domain, Polygon):
        return _on_polygon(network, domain, p, q, bool(along), threads)
    if is_set:
        return _on_sets(network, domain, p, q, float_set, threads)
    points: FloatArray = check_network(network).as_points(domain, "domain")
    values = _norms_of_states(network, network.states(points, threads=threads), p, q, threads)
    if np.shape(cast("ArrayLike", domain)) in ((network.n_inputs,), network.input_shape):
        return LipschitzConstant(float(values[0]), "exact", p, q)
    return LipschitzConstant(values, "exact", p, q, n_pieces=np.ones(len(values), np.int64))


def _norms_of_states(network, states, p, q, threads, direction=None):
    """Compute the operator norms of the pieces with states int32[R, K], in one direction of unit length or all: float64[R]."""
    step = max(1, _AT_ONCE // max(1, network.n_inputs * network.n_outputs))
    values = np.zeros(len(states))
    for first in range(0, len(states), step):
        matrices = evaluate.jacobians(network.code, states[first : first + step], threads)
        if direction is None:
            values[first : first + step] = operator_norms(matrices, p, q)
        else:
            values[first : first + step] = np.linalg.norm(matrices @ direction, q, axis=1) if network.n_outputs else 0.0
    return values


def _largest(values, p, q, along):
    """Return the result for the norms of all pieces of a domain."""
    k = int(values.argmax())
    return LipschitzConstant(float(values[k]), "exact", p, q, along, len(values), k)


def _on_segment(network, segment, p, q, along, threads):
    """Compare the pieces on a segment."""
    start, end = (check_network(network).as_points(x, name) for x, name in ((segment.start, "start"), (segment.end, "end")))
    part = partition_lines(network, start, end, threads=threads).parts[0]
    direction = (end - start)[0]
    length = float(np.linalg.norm(direction, p))
    if along and length == 0.0:
        return LipschitzConstant(0.0, "exact", p, q, along, part.n_segments, 0)
    unit = direction / length if along else None
    blocks = [_norms_of_states(network, block, p, q, threads, unit) for block in part.state_blocks()]
    return _largest(np.concatenate(blocks), p, q, along)


def _on_polygon(network, polygon, p, q, along, threads):
    """Compare the pieces on a polygon in a plane."""
    planes = partition_planes(network, polygon.origin, polygon.e1, polygon.e2, polygon.vertices, threads=threads)
    part = planes.parts[0]
    if along:
        basis = np.stack([part.plane.e1, part.plane.e2]).reshape(2, -1)
        values = plane_norms(part.affine_maps(threads=threads)[:, :, :2], basis, p, q)
    else:
        values = _norms_of_states(network, part.patterns().unpack(), p, q, threads)
    return _largest(values, p, q, along)


def _on_sets(network, domain, p, q, float_set, threads):
    """Bound the constant on boxes or balls."""
    n = len((box_rows if isinstance(domain, Box) else ball_rows)(network, domain)[0])
    states = _as_states(network, float_set, n)
    values, pieces = np.zeros(n), np.zeros(n, np.int64)
    rows, inverse = np.unique(states, axis=0, return_inverse=True)
    inverse = np.broadcast_to(inverse.ravel(), n)
    is_affine = (rows >= 0).all(axis=1)
    for k, row in enumerate(rows):
        if is_affine[k]:
            value = _norms_of_states(network, row[None], p, q, threads)[0]
        else:
            value = round_up(product_bound(network, row, p) * _ratio(network.n_outputs, p, q))
        values[inverse == k], pieces[inverse == k] = value, int(is_affine[k])
    kind = "exact" if pieces.all() else "bound"
    if is_single(network, domain):
        return LipschitzConstant(float(values[0]), kind, p, q, n_pieces=int(pieces[0]))
    return LipschitzConstant(values, kind, p, q, n_pieces=pieces)


def _ratio(n, p, q):
    """Bound the largest ratio of the l_q norm to the l_p norm of a vector with n entries from above."""
    exponent = (0.0 if q == np.inf else 1.0 / q) - (0.0 if p == np.inf else 1.0 / p)
    return 1.0 if exponent <= 0.0 or n <= 1 else float(round_up(round_up(float(n) ** exponent)))


def _as_states(network, float_set, n):
    """Convert what is known of the neurons to states: int32[1, K] or int32[B, K], -1 for those that may float."""
    k = network.n_neurons
    if float_set is None:
        return np.full((1, k), -1, np.int32)
    states = np.asarray(getattr(float_set, "states", float_set))
    if states.dtype.kind not in "iu":
        raise InputError(f"float_set has dtype {states.dtype}; give a FloatSet, or integer states with -1 for unknown ones")
    if states.shape not in ((k,), (1, k), (n, k)):
        raise ShapeError(
            f"float_set has states of shape {states.shape}, but there are {n} sets and {k} neurons; give ({k},) or ({n}, {k})"
        )
    states = np.atleast_2d(states)
    counts = [switching.n_states(network.code, i) for i in network.op_graph.switching]
    limits = np.repeat(np.array(counts, np.int64), network.op_graph.neuron_counts)
    if ((states < -1) | (states >= limits)).any():
        raise InputError(f"float_set has states from {states.min()} to {states.max()}, which these neurons do not have")
    return states.astype(np.int32)
