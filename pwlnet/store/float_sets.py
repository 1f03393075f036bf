"""Fixed and float neurons as arrays of the store and back.

Legend: as in ``schema.py``; K neurons.
"""

import numpy as np

from ..domains import Ball, Box, Gaussian, Polygon, Segment
from ..errors import InputError, ShapeError
from ..float_sets import FloatSet, Scope, pool_neurons, unpack_masks
from ..kernels.ir import program as ir
from . import schema

DOMAINS = (None, Segment, Polygon, Box, Ball, Gaussian)  # by the number that is stored


def float_sets_to_arrays(network, float_set, domain=None, *, items=None, with_shares=True):
    """Return the arrays of a FloatSet.

    Parameters
    ----------
    network : Network
    float_set : FloatSet
        Of one set, or of B sets.
    domain : Segment, Polygon, Box, Ball, Gaussian, (float64[B, D], float64[B, D]), optional
        The sets; of a polygon, its origin is stored, and ``items`` can say which plane it is of.
    items : int or int64[B], optional
        Numbers of the images, lines or planes that the sets belong to.
    with_shares : bool, optional
        Store the shares, if the FloatSet has them.

    Returns
    -------
    dict of str to ndarray
        Of ``schema.FLOAT_SETS.datasets``, by field.

    Raises
    ------
    ShapeError
        The masks are not those of this network's neurons, or there is not one domain, or item, for each set.
    InputError
        The domain is of another kind, or the method unknown.
    """
    n_neurons = network.n_neurons
    if float_set.lower.shape[-1] != n_neurons:
        raise ShapeError(
            f"float_set has {float_set.lower.shape[-1]} neurons, the network {n_neurons}; give one of this network"
        )
    packed, n = float_set.pack(), 1 if float_set.lower.ndim == 1 else len(float_set.lower)
    masks = {name: np.ascontiguousarray(np.atleast_2d(mask)) for name, mask in packed._asdict().items()}
    items = np.full(n, -1) if items is None else np.atleast_1d(items).astype(np.int64)
    rows = _domain_rows(network, domain, n)
    if len(items) != n:
        raise ShapeError(f"items has {len(items)} entries, but float_set has {n} sets; give one for each")
    shares = {}
    for name in ("active_share", "minority_share"):
        values = getattr(float_set, name) if with_shares else None
        shares[f"{name}s"] = np.zeros((n, 0)) if values is None else np.array(np.atleast_2d(values))
    methods = dict.fromkeys(("methods",), np.full(n, _method_number(float_set.method), np.int64))
    scopes = np.full(n, list(Scope).index(float_set.scope), np.int64)
    samples = np.full(n, float_set.n_samples or 0, np.int64)
    return {**rows, "items": items, **methods, "scopes": scopes, "n_samples": samples, **masks, **shares}


def _method_number(method):
    """Return the number of a method; those joined by ``FloatSet.refine`` have their own."""
    name = "refined" if "+" in method else method
    if name not in schema.FLOAT_METHODS:
        raise InputError(f"float_set has method {method!r}; methods of a store are {', '.join(schema.FLOAT_METHODS)}")
    return schema.FLOAT_METHODS.index(name)


def _domain_rows(network, domain, n):
    """Return the columns of a description of n sets."""
    none = np.full(n, np.nan)
    rows = {"domains": np.zeros(n, np.int64), "points": np.full((n, network.n_inputs), np.nan), "radii": none, "norms": none}
    rows["other_points"] = rows["points"]
    if domain is None:
        return rows
    if isinstance(domain, tuple):
        first, second = domain
        rows["domains"] = np.full(n, len(DOMAINS))
    elif type(domain) in DOMAINS:
        rows["domains"] = np.full(n, DOMAINS.index(type(domain)))
        names = {Segment: ("start", "end"), Polygon: ("origin", "origin"), Box: ("lower", "upper")}
        first, second = (getattr(domain, name) for name in names.get(type(domain), ("center", "center")))
    else:
        raise InputError(
            f"domain is a {type(domain).__name__}; give a segment, polygon, box, ball, Gaussian or a pair of arrays"
        )
    for name, points in (("points", first), ("other_points", second)):
        rows[name] = network.as_points(points, name)
        if len(rows[name]) != n:
            raise ShapeError(f"domain has {len(rows[name])} sets, but float_set has {n}; give the domain of this FloatSet")
    if isinstance(domain, Ball | Gaussian):
        rows["radii"] = np.array(np.broadcast_to(domain.radius if isinstance(domain, Ball) else domain.sigma, n), np.float64)
    if isinstance(domain, Ball):
        rows["norms"] = np.full(n, domain.norm)
    return rows


def float_set_from_arrays(network, arrays):
    """Build the FloatSet that arrays hold; inverse of ``float_sets_to_arrays``, without witnesses.

    The states of fixed neurons of ReLU and LeakyReLU are known, and linear ones of Clip; others are -1.

    Parameters
    ----------
    network : Network
    arrays : dict of str to ndarray
        Of rows with the same method and scope.

    Returns
    -------
    FloatSet
        Of B sets; its arrays are read-only.

    Raises
    ------
    InputError
        The rows have different methods, scopes or numbers of draws.
    """
    kinds = {tuple(row) for row in np.stack([arrays[x] for x in ("methods", "scopes", "n_samples")], axis=1).tolist()}
    if len(kinds) != 1:
        raise InputError(
            f"the rows have {len(kinds)} combinations of method, scope and number of draws; read rows of one at a time"
        )
    ((method, scope, n_samples),) = kinds
    masks = {name: unpack_masks(arrays[name], network.n_neurons) for name in ("lower", "upper", "always_on")}
    masks["always_off"] = ~masks["upper"] & ~masks["always_on"]
    graph = network.op_graph
    is_clip = np.repeat(network.program.op[graph.switching] == ir.CLIP, graph.neuron_counts)
    states = np.where(masks["always_on"], 1, np.where(masks["always_off"] & ~is_clip, 0, -1))
    masks["states"] = np.where(pool_neurons(network), -1, states).astype(np.int32)
    shares = {name: arrays[f"{name}s"] if arrays[f"{name}s"].shape[1] else None for name in ("active_share", "minority_share")}
    for array in masks.values():
        array.setflags(write=False)
    return FloatSet(
        **masks, **shares, layers=network.neuron_layers, method=schema.FLOAT_METHODS[method], scope=list(Scope)[scope],
        n_samples=n_samples or None,
    )  # fmt: skip


def count_layers(network, arrays):
    """Count the neurons of each layer: dict of int64[B, S] by field, the derived datasets."""
    starts, counts = network.op_graph.neuron_starts, {}
    for name in ("lower", "upper", "always_on"):
        mask = unpack_masks(arrays[name], network.n_neurons)
        total = np.concatenate([np.zeros((len(mask), 1), np.int64), np.cumsum(mask, axis=1)], axis=1)
        counts[f"layer_{name}"] = np.diff(total[:, starts], axis=1)
    return counts


def float_sets_problem(arrays, n_neurons):
    """Describe what is inconsistent in a batch of float sets, or return None."""
    lower, upper, on = (arrays[name] for name in ("lower", "upper", "always_on"))
    if (lower & ~upper).any():
        return "lower has neurons that upper does not have"
    if (on & upper).any():
        return "always_on has neurons of upper"
    for name in ("lower", "upper", "always_on"):
        unused = unpack_masks(arrays[name], 64 * arrays[name].shape[1])[:, n_neurons:]
        if unused.any():
            return f"{name} has bits beyond neuron {n_neurons - 1}"
    limits = {"domains": len(DOMAINS) + 1, "methods": len(schema.FLOAT_METHODS), "scopes": len(Scope)}
    for name, limit in limits.items():
        if ((arrays[name] < 0) | (arrays[name] >= limit)).any():
            return f"{name} holds numbers that are not in 0 to {limit - 1}"
    for name in ("active_shares", "minority_shares"):
        if arrays[name].shape[1] not in (0, n_neurons):
            return f"{name} has {arrays[name].shape[1]} columns, not one per neuron or none"
        if not ((arrays[name] >= 0.0) & (arrays[name] <= 1.0)).all():
            return f"{name} holds entries that are not in [0, 1]"
    return None
