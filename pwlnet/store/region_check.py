"""Compare regions of a store with their domain and with the network: witnesses, maps, classes, patterns, sides.

Legend: as in ``schema.py``; n regions that are compared.
"""

import numpy as np

from ..patterns import ActivationPatterns
from ..tolerances import UNIT_ROUNDOFF
from .region_consistency import sides_problem

_NOISE = UNIT_ROUNDOFF**0.5  # relative difference that rounding errors do not reach


def region_problems(store, n_samples):
    """Check sampled regions of all enumerations.

    Parameters
    ----------
    store : RegionStore
    n_samples : int
        Regions of each enumeration, evenly spaced in their order.

    Returns
    -------
    list of str
        One sentence for each disagreement; empty if there is none.
    """
    problems = []
    for number in range(store.n_rows("enumerations")):
        rows = store.regions(number)
        for k in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), n_samples)).astype(np.int64)).tolist():
            problem = _region_problem(store.network, rows.header, rows[k : k + 1])
            if problem:
                problems.append(f"region {k} of enumeration {number} of {store.path}: {problem}")
                break
    return problems


def _region_problem(network, header, block):
    """Describe what the network or the domain do not confirm of one region, or return None."""
    arrays = block.arrays()
    if "facet_neurons" in arrays and sides_problem(arrays, header):
        return sides_problem(arrays, header)
    if block.witnesses is None:
        return None
    x = block.witnesses[0]
    if not ((x >= header.lower) & (x <= header.upper)).all():
        return "its witness is outside the box"
    if header.polytope is not None:
        A, b = header.polytope
        if (A @ x - b > _NOISE * (np.abs(A) @ np.abs(x) + np.abs(b))).any():
            return "its witness is outside the polytope"
    if block.facet_G is not None:
        G, z = block.facet_G, x[header.free]
        if (G @ z - block.facet_h > _NOISE * (np.abs(G) @ np.abs(z) + np.abs(block.facet_h))).any():
            return "its witness is outside its half-spaces"
    (y,) = network.forward(x[None], threads=1)
    return _map_problem(network, header, block, x, y) or _class_problem(header, block, y)


def _map_problem(network, header, block, x, y):
    """Compare the outputs at the witness with the maps of the region."""
    from ..partition.planes.maps import affine_maps
    from ..partition.planes.polygons import Plane

    values = {}
    if block.packed is not None:
        states = ActivationPatterns(block.packed, network.pattern_layout).unpack()
        at = Plane(x, np.zeros_like(x), np.zeros_like(x), None)
        values["the affine map of its activation pattern"] = affine_maps(network, at, states, 1)[0, :, 2]
    if block.affine_maps_A is not None:
        values["its affine map"] = block.affine_maps_A[0] @ x[header.free] + block.affine_maps_c[0]
    for what, actual in values.items():
        scale = max(np.abs(y).max(initial=0.0), _terms(block, x[header.free])) or 1.0
        difference = np.abs(actual - y).max(initial=0.0) / scale
        if not difference <= _NOISE:
            return f"the outputs at its witness differ from {what} by {difference:.1e} of the largest term"
    return None


def _terms(block, x):
    """Return the largest sum of terms of the affine map, which its rounding errors are relative to; 0 without a map."""
    if block.affine_maps_A is None:
        return 0.0
    return float((np.abs(block.affine_maps_A[0]) @ np.abs(x) + np.abs(block.affine_maps_c[0])).max(initial=0.0))


def _class_problem(header, block, y):
    """Compare the class with the outputs at the witness."""
    if block.classes is None:
        return None
    sign = 1.0 if header.classes == "max" else -1.0
    k = int(block.classes[0])
    if (sign * y).max() - sign * y[k] > _NOISE * np.abs(y).max():
        return (
            f"its class is {k}, but output {int((sign * y).argmax())} is {'larger' if sign > 0 else 'smaller'} at its witness"
        )
    return None
