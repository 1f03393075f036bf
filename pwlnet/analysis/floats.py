"""Fixed and float neurons over a set of inputs, by exact partitions, bounds, random draws, or pairs of points.

Legend: B sets, K neurons, D inputs, M most states of a neuron, P pieces, m draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from .._types import ArrayLike, BoundMethod, FloatMethod
from ..binomial import clopper_pearson
from ..domains import Ball, Box, Gaussian, Polygon, Segment, check_domain, is_single
from ..draws import draw_points, make_draws
from ..errors import InputError, ShapeError
from ..float_sets import FloatSet, Sampling, Scope, make_float_set, pool_neurons
from ..partition.lines.ends import points_at
from ..partition.lines.partitions import partition_lines
from ..partition.planes.geometry import to_input_space
from ..partition.planes.partitions import partition_planes
from ..validation import check_choice, check_count, check_network, check_number
from .float_counts import compare_pairs, count_states
from .right_states import inner_points, n_states_of_neurons, right_states, short_numbers

if TYPE_CHECKING:
    from ..network import Network

BOUND_METHODS = get_args(BoundMethod)
METHODS = get_args(FloatMethod)
_POINTS_AT_ONCE = 256
_OPTIONS: dict[str, tuple[str, ...] | None] = {  # arguments of each method, besides ``threads``
    "exact": None,
    "sampled": ("n_samples", "draws", "seed", "first_set", "limits", "delta", "alpha", "dtype", "progress"),
    "pair": ("dtype",),
    "given": ("reference",),
}


def find_float_neurons(
    network: Network,
    domain: Segment | Polygon | Box | Ball | Gaussian | tuple[ArrayLike, ArrayLike] | ArrayLike,
    *,
    method: FloatMethod,
    threads: int | None = None,
    **options: Any,
) -> FloatSet:
    """Find the neurons that are fixed on a set of inputs, and those that float: that change their state on it.

    Exact up to rounding with the methods "exact" and "pair". With "ibp", "crown_ibp", "crown" and "alpha_crown", fixed neurons
    are proved by sound bounds, and float ones are not decided; with "sampled", float neurons are seen, and that the others are
    fixed is an estimate. So the float neurons of "sampled" are among those of "exact", and these among those of bounds.

    Parameters
    ----------
    network : Network
    domain : Segment, Polygon, Box, Ball, Gaussian, (float64[B, D], float64[B, D]) or bool[K] or bool[B, K]
        Which methods take which: "exact" Segment, Polygon, Box, Ball; bounds Box and Ball; "sampled" Box, Ball, Gaussian;
        "pair" a Segment or two arrays of points, row by row; "given" a mask of the float neurons.
    method : {"exact", "ibp", "crown_ibp", "crown", "alpha_crown", "sampled", "pair", "given"}
    threads : int, optional
        All processors by default. Results do not depend on it.
    **options
        Of "sampled": ``n_samples`` int, draws of each set, default 1000; ``seed`` int, default 0; ``draws`` "uniform" or, of
        a box, "corners"; ``limits`` (float, float), a range to which draws are clipped; ``first_set`` int, the number of the
        first set, for sets in batches; ``dtype`` "float32" (default) or "float64", the type of the values (float neurons are
        confirmed in float64 always); ``delta`` float, see Notes; ``alpha`` float, default 0.05; ``progress`` callable, called
        with numbers of further draws. Of "pair": ``dtype``, default "float64". Of "given": ``reference`` float64[D], a point
        that defines the states. Of bounds and "exact" on boxes: as for ``bound_preactivations`` and ``exact_floats_on_box``.

    Returns
    -------
    FloatSet

    Raises
    ------
    InputError
        An unknown method, an option that the method does not have, or a domain that it does not take.
    ShapeError
        The domain does not have the network's number of inputs.
    CapacityError
        There are 2**31 draws or more.

    See Also
    --------
    partition_lines, partition_planes : the partitions behind "exact".
    bound_preactivations : the bounds.

    Notes
    -----
    A neuron that only touches a threshold is fixed for the scopes "region", "samples" and "prob", and floats for "pair", where
    the pre-activations must have the same strict sign at both points. A draw that is exactly at a threshold counts for the
    state that most draws have.

    With ``delta``, the scope is "prob": a neuron is fixed if the probability of all states but the most likely one is at most
    delta. With confidence 1 - alpha for each neuron, those of ``lower`` have a larger probability and those outside ``upper``
    do not.

    Cost: "pair" two forward passes; "sampled" one for each draw, in bounded memory (draws are functions of ``seed``, set, draw
    and coordinate, and are not kept).

    References
    ----------
    .. [1] Jiang, "On Explaining Neural Network Robustness with Activation Path", ICLR 2023 (fixed and float neurons; scopes
       other than "pair" and "samples" are ours).

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> sampled = pwlnet.find_float_neurons(network, pwlnet.Gaussian(images[0], 0.1), method="sampled", n_samples=100)
    >>> exact = pwlnet.find_float_neurons(network, pwlnet.Segment(images[0], images[1]), method="exact")
    >>> sampled.scope.value, exact.scope.value, int(exact.undecided.sum())
    ('samples', 'region', 0)
    """
    check_choice(method, METHODS, "method")
    known = _OPTIONS.get(method)
    unknown = sorted(set(options) - set(known)) if known is not None else []
    if known and unknown:
        have = ", ".join(known)
        raise InputError(f"method {method!r} was given {unknown[0]!r}, which it does not have; its options are {have}")
    if method in BOUND_METHODS:
        return _from_bounds(network, domain, method, threads=threads, **options)
    computes: dict[str, Callable[..., FloatSet]] = {"exact": _exact, "sampled": _sampled, "pair": _pair, "given": _given}
    return computes[method](network, domain, threads=threads, **options)


def _from_bounds(network, domain, method, **options):
    """Find the neurons that bounds prove to be fixed."""
    from ..bounds import bound_preactivations

    check_domain(domain, (Box, Ball))
    states = bound_preactivations(network, domain, method=method, **options).states
    states = states[0] if is_single(network, domain) and states.ndim == 2 else states
    upper = states < 0
    return make_float_set(network, np.zeros_like(upper), upper, states, method=method, scope=Scope.REGION)


def _exact(network, domain, *, threads, **options):
    """Find the float neurons exactly."""
    check_domain(domain, (Segment, Polygon, Box, Ball))
    if isinstance(domain, Box | Ball):
        from ..bounds.exact_boxes import exact_floats_on_box

        return exact_floats_on_box(network, domain, threads=threads, **options)
    if options:
        raise InputError(
            f"method 'exact' was given {sorted(options)[0]!r}, which it does not have on lines and planes; leave it out"
        )
    pieces = _segment_pieces if isinstance(domain, Segment) else _polygon_pieces
    return _from_pieces(network, pieces(network, domain, threads), threads)


def _segment_pieces(network, segment, threads):
    """Return a function that yields the states, shares and inner points of the pieces of a segment, in blocks."""
    (part,) = partition_lines(network, segment.start[None], segment.end[None], threads=threads).parts
    share = np.diff(part.t)
    middle = short_numbers(0.5 * (part.t[:-1] + part.t[1:]), 0.5 * share)

    def blocks():
        first = 0
        for states in part.state_blocks():
            for low in range(0, len(states), _POINTS_AT_ONCE):
                rows = slice(first + low, first + min(low + _POINTS_AT_ONCE, len(states)))
                points = points_at(part.start, part.end, middle[rows])
                yield states[low : low + _POINTS_AT_ONCE], share[rows], points
            first += len(states)

    return blocks


def _polygon_pieces(network, polygon, threads):
    """Return a function that yields the states, shares and inner points of the pieces of a polygon, in blocks."""
    corners = polygon.vertices
    (part,) = partition_planes(
        network, polygon.origin[None], polygon.e1[None], polygon.e2[None], corners, threads=threads
    ).parts
    total, n = part.areas.sum(), part.n_polygons
    share = part.areas / total if total > 0.0 else np.full(n, 1.0 / max(1, n))
    patterns, centers = part.patterns(), inner_points(part)

    def blocks():
        for low in range(0, n, _POINTS_AT_ONCE):
            rows = slice(low, min(low + _POINTS_AT_ONCE, n))
            yield patterns[rows].unpack(), share[rows], to_input_space(part.plane, centers[rows])

    return blocks


def _from_pieces(network, blocks, threads):
    """Find the neurons without a state that is right on all pieces: FloatSet, with shares."""
    k = network.n_neurons
    most = int(n_states_of_neurons(network).max(initial=1))
    shares, seen = np.zeros((most, k)), np.zeros((most, k), bool)
    for states, share, _ in blocks():
        for s in range(most):
            has = states == s
            shares[s] += share @ has
            seen[s] |= has.any(axis=0)
    right, several = seen.copy(), np.flatnonzero(seen.sum(axis=0) > 1)
    if several.size:
        right[:, several] = True
        for states, _, points in blocks():
            right[:, several] &= right_states(network, points, states, several, threads)
    floats = ~right.any(axis=0)
    states = np.where(right, shares, -1.0).argmax(axis=0)
    fixed_shares = np.zeros_like(shares)
    fixed_shares[states, np.arange(k)] = 1.0
    active, minority = _shares(network, np.where(floats, shares, fixed_shares))
    more = {"active_share": active, "minority_share": minority}
    return make_float_set(network, floats, floats, states, method="exact", scope=Scope.REGION, **more)


def _shares(network, shares):
    """Return the active and minority shares, given those of all states [..., M, K]."""
    largest = shares.max(axis=-2, initial=0.0)
    active = shares[..., 1, :] if shares.shape[-2] > 1 else np.zeros_like(largest)
    return np.where(pool_neurons(network), largest, active), np.clip(shares.sum(axis=-2) - largest, 0.0, 1.0)


def _sampled(
    network, domain, *, threads, n_samples=1000, draws="uniform", seed=0, first_set=0, limits=None, delta=None, alpha=0.05,
    dtype="float32", progress=None,
):  # fmt: skip
    """Find the neurons that change their state among random draws."""
    check_domain(domain, (Box, Ball, Gaussian))
    n_samples = check_count(n_samples, "n_samples")
    check_choice(draws, ("uniform", "corners"), "draws")
    check_choice(dtype, ("float32", "float64"), "dtype")
    seed, first_set = check_count(seed, "seed", least=0), check_count(first_set, "first_set", least=0)
    if seed >= 2**64 or first_set >= 2**32:
        raise InputError(f"seed is {seed} and first_set {first_set}; numbers below 2**64 and 2**32 are needed")
    made = make_draws(network, domain, draws=draws, seed=seed, first_set=first_set, limits=_checked_limits(limits))
    result = count_states(network, made, n_samples, dtype=dtype, threads=threads, progress=progress)
    if dtype == "float32":
        _confirm(network, made, result, n_samples, threads)
    return _from_counts(network, domain, made, result, n_samples, delta, alpha)


def _checked_limits(limits):
    if limits is None:
        return None
    low, high = (check_number(x, "limits", least=-np.inf) for x in limits)
    if low > high:
        raise InputError(f"limits is ({low:g}, {high:g}); give the lower one first")
    return low, high


def _confirm(network, draws, result, n_samples, threads):
    """Evaluate the first draws of two states in float64; where they have the same state, count all draws of the set again."""
    wrong = []
    for b in range(len(result.counts)):
        neurons, numbers = _witness_numbers(result, b)
        unique, places = np.unique(numbers, return_inverse=True)
        places = places.reshape(numbers.shape)
        states = np.empty(numbers.shape, np.int32)
        for low in range(0, len(unique), _POINTS_AT_ONCE):
            some = unique[low : low + _POINTS_AT_ONCE]
            rows, columns = np.nonzero((places >= low) & (places < low + len(some)))
            actual = network.states(draw_points(draws, np.full(len(some), b), some), threads=threads)
            states[rows, columns] = actual[places[rows, columns] - low, neurons[rows]]
        if (states[:, 0] == states[:, 1]).any():
            wrong.append(b)
    if wrong:
        rows = np.array(wrong)
        again = count_states(network, draws, n_samples, dtype="float64", threads=threads, sets=rows)
        result.counts[rows], result.firsts[rows] = again.counts, again.firsts


def _witness_numbers(result, b):
    """Return the neurons int64[n] of set b with several states, and numbers int64[n, 2] of the first draws of two states."""
    firsts = result.firsts[b, :-1]
    neurons = np.flatnonzero((firsts >= 0).sum(axis=0) > 1)
    order = np.sort(np.where(firsts < 0, np.iinfo(np.int64).max, firsts)[:, neurons], axis=0)
    return neurons, np.ascontiguousarray(order[:2].T) if neurons.size else np.zeros((0, 2), np.int64)


def _from_counts(network, domain, draws, result, n_samples, delta, alpha):
    """Make the FloatSet of counts of states."""
    counts = result.counts[:, :-1].astype(np.float64)
    states = counts.argmax(axis=1)
    at_threshold = result.counts[:, -1]
    np.put_along_axis(counts, states[:, None], np.take_along_axis(counts, states[:, None], 1) + at_threshold[:, None], 1)
    active, minority = _shares(network, counts / n_samples)
    lower = upper = (result.firsts[:, :-1] >= 0).sum(axis=1) > 1
    scope = Scope.SAMPLES
    if delta is not None:
        delta, scope = check_number(delta, "delta"), Scope.PROB
        below, above = clopper_pearson(np.rint(minority * n_samples), n_samples, alpha)
        lower, upper = below > delta, above > delta
    numbers = [_witness_numbers(result, b) for b in range(len(counts))]
    sampling = Sampling(
        draws, np.repeat(np.arange(len(counts)), [len(x) for x, _ in numbers]),
        np.concatenate([np.zeros(0, np.int64), *(x for x, _ in numbers)]),
        np.concatenate([np.zeros((0, 2), np.int64), *(y for _, y in numbers)]),
    )  # fmt: skip
    arrays = lower, upper, states, active, minority
    if is_single(network, domain):
        arrays = tuple(x[0] for x in arrays)
    more = {"active_share": arrays[3], "minority_share": arrays[4], "n_samples": n_samples, "sampling": sampling}
    return make_float_set(network, *arrays[:3], method="sampled", scope=scope, **more)


def _pair(network, domain, *, threads, dtype="float64"):
    """Find the neurons without the same strict state at both points of pairs."""
    check_choice(dtype, ("float32", "float64"), "dtype")
    ends = (domain.start, domain.end) if isinstance(domain, Segment) else domain
    if not isinstance(ends, tuple | list) or len(ends) != 2:
        raise InputError(f"domain is a {type(domain).__name__}; method 'pair' takes a pwlnet.Segment or two arrays of points")
    first, second = (network.as_points(x, name) for x, name in zip(ends, ("domain[0]", "domain[1]"), strict=True))
    if first.shape != second.shape:
        raise ShapeError(f"domain has {len(first)} and {len(second)} points; give pairs, as many of each")
    single = all(np.shape(x) in ((network.n_inputs,), tuple(network.input_shape)) for x in ends)
    floats, states = compare_pairs(network, first, second, dtype=dtype, threads=threads)
    if single:
        floats, states = floats[0], states[0]
    return make_float_set(network, floats, floats, states, method="pair", scope=Scope.PAIR)


def _given(network, domain, *, threads, reference=None):
    """Make a FloatSet of a mask by the caller."""
    mask, k = np.asarray(domain), network.n_neurons
    if mask.dtype != bool or mask.ndim not in (1, 2) or mask.shape[-1] != k:
        raise ShapeError(
            f"domain has shape {mask.shape} and dtype {mask.dtype}; method 'given' takes bool[{k}] or bool[sets, {k}]"
        )
    states = np.full(mask.shape, -1, np.int32)
    if reference is not None:
        points = check_network(network).as_points(reference, "reference")
        if len(points) not in (1, *mask.shape[:-1]) or (mask.ndim == 1 and len(points) > 1):
            raise ShapeError(f"reference has {len(points)} points, domain shape {mask.shape}; give one, or one for each set")
        states = network.states(points, threads=threads)
        states = states[0] if mask.ndim == 1 else np.broadcast_to(states, mask.shape)
    return make_float_set(network, mask, mask, states, method="given", scope=Scope.GIVEN)
