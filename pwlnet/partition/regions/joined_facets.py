"""Facets of regions that consist of several cells: which facets of cells are walls inside of a region, and what the others are.

A cell is bounded by comparisons of two taps of a MaxPool window. Mostly, the state of the window changes there, or the cells
on both sides are parts of one region. Where hyperplanes of several comparisons coincide, the one that cut may change no state,
while another one does.

Legend: R cells, N facets of all cells, F free inputs, D inputs, K neurons.
"""

import numpy as np

from ...errors import NumericalError

_INSIDE = 0.01  # share of a facet's radius by which its center may be outside of the cell on the other side


def outer_facets(block, group, row_of, facets, free):
    """Find the facets that are no walls between cells of one region.

    Regions are convex, so all cells of a region are on one side of a facet of the region, and not of a wall.

    Parameters
    ----------
    block : RegionBlock
        With half-spaces.
    group : int64[R]
        The region of each cell.
    row_of : int64[N]
        The cell of each facet.
    facets : int64[M]
        Those to be examined.
    free : int64[F]

    Returns
    -------
    bool[M]
    """
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    starts, g = np.cumsum(counts) - counts, group[row_of[facets]]
    m = np.repeat(np.arange(len(facets)), counts[g])
    ends = np.cumsum(counts[g])
    cells = order[np.arange(len(m)) - np.repeat(ends - counts[g], counts[g]) + starts[g][m]]
    values = np.einsum("md,md->m", block.facet_G[facets[m]], block.witnesses[cells][:, free])
    return np.bincount(m, values > block.facet_h[facets[m]], len(facets)) == 0


def other_states(block, group, row_of, facets, free, network_states, n_states):
    """Find the first neuron that changes across facets, and its state on the other side.

    Parameters
    ----------
    block, group, row_of, free
        As of ``outer_facets``.
    facets : int64[M]
    network_states : callable
        ``(rows, neurons) -> int64[*]``.
    n_states : int
        Number of neurons; one more where there are classes.

    Returns
    -------
    int64[M], int64[M]
        Neurons and states; neuron -1 where no cell is on the other side, among those that were found.
    """
    found = cells_behind(block.facet_G, block.facet_h, block.facet_offsets, block.witnesses[:, free], facets, group)
    neurons, states, all_neurons = np.full(len(facets), -1, np.int64), np.zeros(len(facets), np.int64), np.arange(n_states)
    for m in np.flatnonzero(found >= 0).tolist():
        before, after = (network_states(np.full(n_states, r), all_neurons) for r in (row_of[facets[m]], found[m]))
        neurons[m] = np.flatnonzero(before != after)[0]
        states[m] = after[neurons[m]]
    return neurons, states


def cells_behind(G, h, offsets, witnesses, facets, group):
    """Find the cell on the other side of facets, by linear programs for points inside of the facets.

    Parameters
    ----------
    G : float64[N, F]
    h : float64[N]
        Facets of all cells, ``G x <= h``.
    offsets : int64[R+1]
    witnesses : float64[R, F]
    facets : int64[M]
    group : int64[R]
        The cell is one of another group.

    Returns
    -------
    int64[M]
        -1 where there is none.
    """
    lengths = np.linalg.norm(G, axis=1)
    G, h, found = G / lengths[:, None], h / lengths, np.full(len(facets), -1, np.int64)
    owners = np.searchsorted(offsets, facets, side="right") - 1
    for m, (k, r) in enumerate(zip(facets.tolist(), owners.tolist(), strict=True)):
        own = slice(offsets[r], offsets[r + 1])
        x, radius = _facet_center(G[own], h[own], k - int(offsets[r]))
        outside = np.maximum.reduceat(G @ x - h, offsets[:-1])
        outside[(witnesses @ G[k] <= h[k]) | (group == group[r])] = np.inf
        other = int(outside.argmin())
        if outside[other] <= _INSIDE * radius:
            found[m] = other
    return found


def _facet_center(G, h, k):
    """Return the center and the radius of a large ball in facet k of a cell ``G x <= h`` with unit rows."""
    import scipy.optimize

    others = np.delete(np.arange(len(h)), k)
    projected = G[others] - (G[others] @ G[k])[:, None] * G[k]
    matrix = np.column_stack([G[others], np.linalg.norm(projected, axis=1)])
    size = 1.0 + np.abs(h).max()
    found = scipy.optimize.linprog(
        np.r_[np.zeros(G.shape[1]), -1.0], A_ub=matrix, b_ub=h[others], A_eq=np.r_[G[k], 0.0][None], b_eq=h[[k]],
        bounds=[(None, None)] * G.shape[1] + [(0.0, size)], method="highs",
    )  # fmt: skip
    if found.x is None:
        raise NumericalError(f"a facet of a cell has no center ({found.message}); this is a bug, please report it")
    return found.x[:-1], found.x[-1]
