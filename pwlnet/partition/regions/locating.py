"""Find the regions of points.

Legend: B points, D inputs, K neurons, R regions.
"""

import numpy as np

from .region import region_of


def locate(regions, points):
    """Find the region of each point (``Regions.locate``).

    Parameters
    ----------
    regions : Regions
    points : float64[B, D]

    Returns
    -------
    int64[B]
    """
    network = regions.network
    keys, order = regions.finder
    packed = network.patterns(points).packed
    if regions.classes is not None:
        packed = np.column_stack([packed, class_of(regions, network.forward(points)).astype(np.uint64)])
    wanted = as_keys(packed)
    place = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    found = order[place] if len(keys) else np.full(len(points), -1)
    found = np.where(keys[place] == wanted, found, -1) if len(keys) else found
    inside = _in_domain(regions, points)
    found[~inside] = -1
    open_points = np.flatnonzero((found < 0) & inside)
    if len(keys) and len(open_points):
        states = regions.patterns().unpack()
        for b in open_points:
            found[b] = _on_boundary(regions, states, points[b])
    return found


def class_of(regions, outputs):
    """Return the class of each row of outputs float64[B, O]: int64[B]."""
    return outputs.argmax(axis=1) if regions.class_rule == "max" else outputs.argmin(axis=1)


def as_keys(rows):
    """Return rows of words as one sortable key each."""
    rows = np.ascontiguousarray(rows)
    if not rows.shape[1]:
        return np.zeros(len(rows), np.uint64)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()


def _in_domain(regions, points):
    inside = ((points >= regions.lower) & (points <= regions.upper)).all(axis=1)
    if regions.polytope is not None:
        a, b = regions.polytope
        inside &= (points @ a.T <= b).all(axis=1)
    return inside


def _on_boundary(regions, states, point):
    """Return the first region with the states of a point at all neurons that are not on, or within rounding of, a threshold."""
    here = region_of(regions.network, point)
    constant = here.constant.neurons[here.constant.margins == 0.0]
    unsure = np.concatenate([here.on_boundary, here.ambiguous, constant])
    sure = np.setdiff1d(np.arange(states.shape[1]), unsure)
    equal = (states[:, sure] == here.states[sure]).all(axis=1)
    if regions.classes is not None:
        equal &= regions.classes == class_of(regions, regions.network.forward(point[None]))[0]
    candidates = np.flatnonzero(equal)
    return int(candidates[0]) if len(candidates) else -1
