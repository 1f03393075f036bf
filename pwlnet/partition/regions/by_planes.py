"""Regions of boxes with two free inputs, by the mesh of ``partition_planes``.

Legend: D inputs, R regions, E sides of polygons, K neurons.
"""

from dataclasses import replace

import numpy as np

from ...errors import CapacityError, InputError
from ..planes import geometry
from ..planes.partitions import partition_planes
from .blocks import RegionBlock
from .regions import Regions


def regions_by_planes(
    network, lower, upper, wants, *, polytope, classes, max_regions=None, time_limit=None, threads=None, progress=False
):
    """Enumerate regions by ``partition_planes``: Regions, without half-spaces.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D]
    wants : tuple of str
    polytope : (float64[M, D], float64[M])
    classes : str or None
    max_regions : int, optional
    time_limit : float, optional
    threads : int, optional
    progress : bool

    Raises
    ------
    CapacityError
        Not two sides have positive width.
    InputError
        What this method does not have.
    """
    free = np.flatnonzero(upper > lower)
    if len(free) != 2:
        raise CapacityError(
            f"{len(free)} sides of the box have positive width, but method 'planes' needs two; use 'subdivision' or 'search'"
        )
    others = {"polytope": len(polytope[1]), "classes": classes, "halfspaces": "halfspaces" in wants}
    others |= {"max_regions": max_regions, "time_limit": time_limit}
    given = [name for name, value in others.items() if value]
    if given:
        raise InputError(f"method 'planes' does not take {given[0]}; use 'subdivision', which finds the same regions")
    origin, axes = lower.copy(), np.eye(len(lower))[free]
    origin[free] = 0.0
    (a, b), (c, d) = lower[free], upper[free]
    polygon = np.array([[a, b], [c, b], [c, d], [a, d]])
    partition = partition_planes(network, origin, *axes, polygon, threads=threads, progress=progress)
    block = _block(partition.parts[0], free, lower, upper)
    if "affine_maps" in wants:
        maps = partition.parts[0].affine_maps(threads=threads)
        block = replace(block, affine_maps_A=np.ascontiguousarray(maps[:, :, :2]), affine_maps_c=maps[:, :, 2].copy())
    facts = {"complete": True, "stopped_by": None, "method": "planes", "certified": True, "n_exact": partition.n_exact}
    return Regions.of_block(network, (lower, upper, None), len(block), block if wants else RegionBlock(), **facts)


def _block(part, free, lower, upper):
    """Return the polygons as a RegionBlock."""
    polygons, ends, others = geometry.sides(part)
    outside = np.flatnonzero(others < 0)
    points = part.shared_vertices[ends[outside]]  # [E, 2, 2]
    number = others.astype(np.int64)
    for k, d in enumerate(free.tolist()):
        for side, bound in enumerate((lower[d], upper[d])):
            number[outside[(points[:, :, k] == bound).all(axis=1)]] = -1 - (2 * d + side)
    order = np.lexsort((number, polygons))
    pairs = np.stack([polygons[order], number[order]], axis=1)
    first = np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))
    facet_of, pairs = np.empty(len(order), np.int64), pairs[first]
    facet_of[order] = np.cumsum(first) - 1
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=part.n_polygons))])
    neurons, states = pairs[:, 1].astype(np.int32), np.zeros(len(pairs), np.int32)
    of_neurons, inside = part.patterns().unpack(), np.flatnonzero(pairs[:, 1] >= 0)
    here, there = of_neurons[pairs[inside, 0]], of_neurons[pairs[inside, 1]]
    neurons[inside] = (here != there).argmax(axis=1)
    states[inside] = there[np.arange(len(inside)), neurons[inside]]
    witnesses = geometry.to_input_space(part.plane, part.centroids())
    corners = _corners(part, polygons, ends, facet_of, offsets)
    return RegionBlock(part.packed, witnesses, offsets, neurons, states, volumes=part.areas, **corners)


def _corners(part, polygons, ends, facet_of, offsets):
    """Return the corners at which two facets meet."""
    following = np.arange(1, len(polygons) + 1)
    last = np.append(polygons[1:] != polygons[:-1], True)
    starts = np.flatnonzero(np.append(True, polygons[1:] != polygons[:-1]))
    following[last] = starts
    corner = facet_of != facet_of[following]
    one = np.uint64(1)
    words = (one << (facet_of[corner] - offsets[polygons[corner]]).astype(np.uint64)) | (
        one << (facet_of[following[corner]] - offsets[polygons[corner]]).astype(np.uint64)
    )
    counts = np.bincount(polygons[corner], minlength=part.n_polygons)
    return {
        "vertex_offsets": np.concatenate([[0], np.cumsum(counts)]),
        "vertices": part.shared_vertices[ends[corner, 1]], "vertex_facets": words,
    }  # fmt: skip
