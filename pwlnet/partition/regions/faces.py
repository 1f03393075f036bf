"""All faces of the complex of regions, and its Euler characteristic.

Legend: R regions, F free inputs, V vertices of all regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import IntArray
from ...errors import InputError, NumericalError
from ...tolerances import SAME_FACET
from .graph import RegionGraph, as_regions, region_graph

if TYPE_CHECKING:
    from .regions import Regions


class FaceCounts(NamedTuple):
    """Faces of all regions, each counted once."""

    counts: IntArray  # int64[F+1] faces of each dimension: vertices first, regions last
    euler_characteristic: int  # the alternating sum: 1 for all regions of a box or polytope


def count_faces(regions: Regions, *, graph: RegionGraph | None = None) -> FaceCounts:
    """Count the faces of the complex of regions by dimension.

    Exact up to rounding: faces are sets of vertices by the facets that these lie on. Vertices of neighbouring regions on their
    common facet are one if they are the closest ones.

    Parameters
    ----------
    regions : Regions
        With vertices and at least one free input.
    graph : RegionGraph, optional
        Their ``region_graph``.

    Returns
    -------
    FaceCounts

    Raises
    ------
    InputError
        No input is free.
    NumericalError
        Vertices on the common facet of two regions are closer than their rounding errors.

    Notes
    -----
    Faces of a polytope are the intersections of its facets. A region with n vertices has up to 2^n of them, some hundreds in
    six dimensions; they are listed in Python, in about a millisecond for each region.

    References
    ----------
    .. [1] Grigsby and Lindsey, "On transversality of bent hyperplane arrangements and the topological expressiveness of ReLU
       neural networks", SIAM Journal on Applied Algebra and Geometry 6, 2022, Section 3: the canonical polyhedral complex.

    Examples
    --------
    >>> import pwlnet
    >>> from pwlnet.partition.regions.faces import euler_characteristic
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> center = [0.0] * network.n_inputs
    >>> regions = pwlnet.enumerate_regions(network, [-0.05] * network.n_inputs, [0.05] * network.n_inputs, want="vertices")
    >>> euler_characteristic(regions)
    1
    """
    if not len(as_regions(regions).free):
        raise InputError("the box is a point, which has no faces; give a box with a side of positive width")
    graph = region_graph(regions) if graph is None else graph
    names, offsets, words = shared_vertices(regions, graph), regions.vertices().offsets, regions.vertices().facets
    dimensions = len(regions.free)
    faces: list[set[int]] = [set() for _ in range(dimensions + 1)]
    for r in range(regions.n_regions):
        here = slice(int(offsets[r]), int(offsets[r + 1]))
        list_faces(words[here].tolist(), names[here].tolist(), dimensions, faces)
    counts = np.array([len(s) for s in faces], np.int64)
    signs = (-1) ** np.arange(dimensions + 1)
    return FaceCounts(counts, int((signs * counts).sum()))


def euler_characteristic(regions: Regions, *, graph: RegionGraph | None = None) -> int:
    """Compute the Euler characteristic of the complex of regions.

    Exact up to rounding: as ``count_faces``, which has the parameters.

    Parameters
    ----------
    regions : Regions
    graph : RegionGraph, optional

    Returns
    -------
    int
        1 for all regions of a box or polytope.

    Raises
    ------
    InputError, NumericalError
        As ``count_faces``.
    """
    return count_faces(regions, graph=graph).euler_characteristic


def list_faces(words, names, dimensions, faces_out):
    """Add the faces of one polytope, down from the whole: those of dimension d are facets of one of dimension d + 1.

    Parameters
    ----------
    words : list of int
        Of each vertex, the facets that it lies on.
    names : list of int
        Numbers of the vertices.
    dimensions : int
    faces_out : list of set
        Out: sorted tuples of names, by dimension.
    """
    used = 0
    for word in words:
        used |= word
    bits = [1 << j for j in range(used.bit_length()) if used >> j & 1]
    level = {tuple(range(len(words)))}
    for d in range(dimensions, -1, -1):
        faces_out[d].update(tuple(sorted(names[i] for i in face)) for face in level)
        below = set()
        for face in level:
            parts = {tuple(i for i in face if words[i] & bit) for bit in bits} - {face, ()}
            sets = [set(part) for part in parts]
            below.update(part for part, s in zip(parts, sets, strict=True) if not any(s < other for other in sets))
        level = below


def shared_vertices(regions: Regions, graph: RegionGraph) -> IntArray:
    """Number the vertices of the complex.

    Parameters
    ----------
    regions : Regions
    graph : RegionGraph

    Returns
    -------
    int64[V]
        Equal for vertices of several regions that are one.
    """
    import scipy.sparse
    from scipy.sparse.csgraph import connected_components

    offsets, points, words = regions.vertices()
    facet_offsets, owners = graph.facet_offsets, graph.owners
    back = {(int(owners[k]), int(graph.neighbours[k])): k for k in np.flatnonzero(graph.neighbours >= 0).tolist()}
    first, second = [], []
    for (r, q), k in back.items():
        if r < q:
            pair = []
            for region, facet in ((r, k), (q, back[q, r])):
                at = np.arange(offsets[region], offsets[region + 1])
                pair.append(at[(words[at] >> np.uint64(facet - facet_offsets[region])) & np.uint64(1) > 0])
            distance = np.abs(points[pair[0]][:, None] - points[pair[1]]).max(axis=2)
            nearest = distance.argmin(axis=1)
            size = np.ptp(points[offsets[r] : offsets[r + 1]], axis=0).max()
            if (
                len(pair[0]) != len(pair[1])
                or len(set(nearest.tolist())) != len(nearest)
                or distance.min(axis=1).max() > SAME_FACET * size
            ):
                raise NumericalError(
                    f"regions {r} and {q} have vertices on their common facet that are closer than their rounding errors; "
                    "faces are counted for wider facets, so divide the box around this one"
                )
            first.append(pair[0])
            second.append(pair[1][nearest])
    rows, columns = (np.concatenate([np.zeros(0, np.int64), *x]) for x in (first, second))
    joined = scipy.sparse.coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(points),) * 2)
    return connected_components(joined, directed=False)[1].astype(np.int64)
