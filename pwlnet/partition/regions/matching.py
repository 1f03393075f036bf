"""Find the other sides of facets across which several neurons change their states (``region_graph`` has the proof).

Legend: R regions, N facets of all regions, M facets to match, W words, F free inputs.
"""

import numpy as np

from ...kernels.regions import neighbours as kernels
from ...tolerances import SAME_FACET, SAME_VERTEX
from .joined_facets import cells_behind


def match_others(regions, words, facets, neighbours_out):
    """Match facets, and write the regions on their other sides.

    Parameters
    ----------
    regions : Regions
    words : uint64[R, W]
        By ``words_of``.
    facets : int64[M]
        Facets of neurons, without a known neighbour.
    neighbours_out : int64[N]
        Out: neighbours of matched facets.
    """
    owners = np.repeat(np.arange(len(words)), np.diff(regions.facet_offsets))
    hyperplane, side, rows = _groups(regions, words, facets, owners[facets])
    left = np.arange(len(facets))
    if regions.complete:
        partners = _by_states(regions, hyperplane, side, rows)
        mutual = partners >= 0
        mutual[mutual] = partners[partners[mutual]] == np.flatnonzero(mutual)
        neighbours_out[facets[mutual]] = owners[facets[partners[mutual]]]
        left = np.flatnonzero(~mutual)
    if len(left) and regions.method == "search":  # which finds no vertices
        rows, witnesses = regions.halfspaces(), regions.witnesses[:, regions.free]
        found = cells_behind(*rows, regions.facet_offsets, witnesses, facets[left], np.arange(len(words)))
        neighbours_out[facets[left]] = np.where(found >= 0, found, kernels.NOT_FOUND)
    elif len(left):
        _by_centers(regions, facets[left], owners, neighbours_out)
        left = facets[neighbours_out[facets] == kernels.NOT_FOUND]
        if len(left):  # the state on the other side may be another one than the facet has: ties of several states
            half = _one_sided(owners, neighbours_out, left)
            before = neighbours_out[half]
            _by_centers(regions, np.concatenate([left, half]), owners, neighbours_out)
            neighbours_out[half] = before


def _one_sided(owners, neighbours, facets):
    """Return the facets whose neighbour is the owner of one of some facets, and has no facet that leads back: int64[*]."""
    n = len(owners)
    inside = np.flatnonzero(neighbours >= 0)
    inside = inside[np.isin(neighbours[inside], owners[facets])]
    there, back = owners[inside] * n + neighbours[inside], neighbours[inside] * n + owners[inside]
    of_owners = np.flatnonzero(np.isin(owners, owners[facets]) & (neighbours >= 0))
    return inside[~np.isin(back, np.union1d(there, owners[of_owners] * n + neighbours[of_owners]))]


def _groups(regions, words, facets, owners):
    """Return the hyperplane and side of each facet, and the patterns of its region without the facet's own state.

    Returns
    -------
    hyperplane : int64[M]
        Equal for facets between the same two states of a neuron, with the same states before it.
    side : int64[M]
        The state of the neuron.
    rows : uint64[M, W]
    """
    from .graph import words_of

    _, places, _ = words_of(regions)
    neurons = regions.facet_neurons[facets].astype(np.int64)
    word, shift, width = places[neurons].T
    at, full = np.arange(len(facets)), ~np.uint64(0)
    field = full >> (64 - width).astype(np.uint64)
    rows = words[owners]
    side = ((rows[at, word] >> shift.astype(np.uint64)) & field).astype(np.int64)
    rows[at, word] &= ~(field << shift.astype(np.uint64))
    before = np.where(np.arange(rows.shape[1]) < word[:, None], rows, np.uint64(0))
    before[at, word] = rows[at, word] & ((np.uint64(1) << shift.astype(np.uint64)) - np.uint64(1))
    group = np.column_stack([before, neurons.astype(np.uint64)])
    states = np.sort(np.column_stack([side, regions.facet_states[facets]]), axis=1)
    return unique_rows(np.column_stack([group, states.astype(np.uint64)])), side, rows


def unique_rows(rows):
    """Number equal rows of words alike: int64[M]."""
    rows = np.ascontiguousarray(rows)
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return np.unique(keys, return_inverse=True)[1].ravel().astype(np.int64)


def _by_states(regions, group, side, rows):
    """Return the partner of each facet by states alone: int64[M]; negative where there is none, or several are possible."""
    from .graph import words_of

    widths = words_of(regions)[2]
    two_sided = _with_two_sides(group, side)
    partners = np.full(len(group), -1, np.int64)
    use = np.flatnonzero(two_sided)
    if not len(use):
        return partners
    reversed_words = _reversed_bits(rows[use])
    order = np.lexsort((*reversed_words.T[::-1], side[use], group[use]))
    use = use[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(group[use]) != 0) | (np.diff(side[use]) != 0)])
    ends = np.r_[starts[1:], len(use)]
    half = np.searchsorted(starts, np.arange(len(use)), side="right") - 1
    other = half ^ 1  # each group has two halves
    found = np.empty(len(use), np.int64)
    kernels.match_facets(
        np.ascontiguousarray(rows[use]), widths, starts[other], ends[other], np.zeros(rows.shape[1], np.uint64), found
    )
    partners[use[found >= 0]] = use[found[found >= 0]]
    return partners


def _with_two_sides(group, side):
    """Return whether the facet's group has facets of two states of the neuron: bool[M]."""
    pairs = np.unique(np.column_stack([group, side]), axis=0)
    return np.bincount(pairs[:, 0], minlength=int(group.max(initial=0)) + 1)[group] == 2


def _reversed_bits(words):
    """Return words with the order of their bits reversed, so that the lowest bit is the first one in sorting."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    bits = np.unpackbits(octets, bitorder="little")
    return np.packbits(bits).reshape(*words.shape, 8).view(">u8")[..., 0].astype(np.uint64)


def _by_centers(regions, facets, owners, neighbours_out):
    """Match facets of two regions whose centers are one point, within rounding; ``owners`` of all. Out: neighbours_out.

    Different facets have no inner points in common, so their centers differ.
    """
    from scipy.spatial import cKDTree

    if len(facets) < 2:
        return
    owners = owners[facets]
    centers, sizes = facet_centers(regions, facets, owners)
    distance, nearest = cKDTree(centers).query(centers, k=2, p=np.inf)
    itself = nearest[:, 0] == np.arange(len(facets))
    nearest, distance = (np.where(itself, x[:, 1], x[:, 0]) for x in (nearest, distance))
    extent = np.max(regions.upper - regions.lower, initial=0.0)
    near = distance <= SAME_FACET * np.minimum(sizes, sizes[nearest]) + SAME_VERTEX * extent
    good = near & (nearest[nearest] == np.arange(len(facets))) & (owners[nearest] != owners)
    neighbours_out[facets[good]] = owners[nearest[good]]


def facet_centers(regions, facets, owners):
    """Compute the means of the vertices of facets, and their largest extents.

    Parameters
    ----------
    regions : Regions
        With vertices.
    facets, owners : int64[M]
        Facets, and the regions that they belong to.

    Returns
    -------
    float64[M, F], float64[M]
    """
    row, x, _ = vertices_of_facets(regions, facets, owners)
    n = np.maximum(1, np.bincount(row, minlength=len(facets)))
    centers = np.column_stack([np.bincount(row, x[:, d], len(facets)) / n for d in range(x.shape[1])])
    sizes = np.zeros(len(facets))
    np.maximum.at(sizes, row, np.abs(x - centers[row]).max(axis=1))
    return centers, sizes


def vertices_of_facets(regions, facets, owners):
    """List the vertices of facets, one facet after another.

    Parameters
    ----------
    regions : Regions
        With vertices.
    facets, owners : int64[M]
        Facets, and the regions that they belong to.

    Returns
    -------
    row : int64[*]
        The facet of each vertex, counted among these.
    points : float64[*, F]
    words : uint64[*]
        The facets that the vertex lies on.
    """
    offsets, points, words = regions.vertices()
    counts = np.diff(offsets)[owners]
    row = np.repeat(np.arange(len(facets)), counts)
    vertex = np.arange(len(row)) + np.repeat(offsets[owners] - (np.cumsum(counts) - counts), counts)
    bit = (facets - regions.facet_offsets[owners]).astype(np.uint64)
    on = (words[vertex] >> bit[row]) & np.uint64(1) > 0
    vertex = vertex[on]
    return row[on], points[vertex], words[vertex]
