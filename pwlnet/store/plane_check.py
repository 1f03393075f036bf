"""Compare the planes of a store with their outlines and with the network: areas, outputs, activation patterns."""

import itertools

import numpy as np

from ..patterns import ActivationPatterns
from ..tolerances import UNIT_ROUNDOFF
from .polygon_rows import read_at, read_polygons

_PLANES_AT_ONCE = 64
_NOISE = UNIT_ROUNDOFF**0.5  # relative difference that rounding errors do not reach


def plane_problems(store, n_samples):
    """Check the areas of all planes, and sampled polygons of each.

    Parameters
    ----------
    store : RegionStore
    n_samples : int
        Polygons of each plane, evenly spaced in their order.

    Returns
    -------
    list of str
        One sentence for each disagreement; empty if there is none.
    """
    problems = []
    for first in range(0, store.n_planes, _PLANES_AT_ONCE):
        numbers = np.arange(first, min(first + _PLANES_AT_ONCE, store.n_planes))
        offsets = read_at(store, "polygon_offsets", np.append(numbers, numbers[-1] + 1)).tolist()
        for plane, (low, high) in zip(numbers.tolist(), itertools.pairwise(offsets), strict=True):
            rows = np.unique(np.linspace(low, high - 1, min(high - low, n_samples)).astype(np.int64))
            problem = _area_problem(store, plane) or _polygon_problem(store, plane, rows)
            problems += [f"plane {plane}{problem} (counted from plane 0 of {store.path})"] if problem else []
    return problems


def _area_problem(store, number):
    """Compare the sum of the areas of a plane's polygons with the area of its outline: end of a sentence, or None."""
    from ..partition.planes.geometry import polygon_areas

    first, last = read_at(store, "outline_offsets", np.array([number, number + 1])).tolist()
    outline, (area,) = read_at(store, "outlines", np.arange(first, last)), read_at(store, "area", np.array([number]))
    (expected,) = polygon_areas(np.array([0, len(outline)]), np.arange(len(outline)), outline)
    if abs(area - expected) > _NOISE * np.ptp(outline, axis=0).prod():
        return f": the areas of the polygons sum to {area:.17g}, but the area of its outline is {expected:.17g}"
    return None


def _polygon_problem(store, number, rows):
    """Compare outputs at corners with forward passes, and with the maps of the patterns: end of a sentence, or None."""
    from ..partition.planes.geometry import to_input_space
    from ..partition.planes.maps import affine_maps
    from ..partition.planes.polygons import Plane

    network, polygons = store.network, read_polygons(store, rows, number, number + 1)
    origin, e1, e2 = (read_at(store, name, np.array([number]))[0] for name in ("origins", "e1", "e2"))
    uv, outputs = (read_at(store, name, polygons.row) for name in ("shared_vertices", "outputs"))
    plane = Plane(origin, e1, e2, np.zeros((0, 2)))
    states = ActivationPatterns(read_at(store, "packed", rows), network.pattern_layout).unpack()
    maps = np.repeat(affine_maps(network, plane, states, 1), np.diff(polygons.offsets), axis=0)
    from_maps = np.einsum("cok,ck->co", maps[:, :, :2], uv) + maps[:, :, 2]
    actual = network.forward(to_input_space(plane, uv), threads=1)
    scale = max(np.abs(actual).max(initial=0.0), np.abs(outputs).max(initial=0.0)) or 1.0
    for values, what in ((actual, "forward passes"), (from_maps, "the affine map of its activation pattern")):
        difference = np.abs(values - outputs).max(axis=1, initial=0.0) / scale
        if not (difference <= _NOISE).all():
            corner = int(np.argmax(~(difference <= _NOISE)))
            polygon = polygons.polygon[np.searchsorted(polygons.offsets, corner, side="right") - 1]
            return f", polygon {polygon}: its outputs differ from {what} by {difference[corner]:.1e} of the largest output"
    return None
