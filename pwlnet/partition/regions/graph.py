"""The graph of regions: which region is on the other side of each facet.

Legend: R regions, N facets of all regions, W words, K neurons.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..._types import BoolArray, IntArray
from ...errors import MissingDataError, NumericalError
from ...kernels.regions import neighbours as kernels
from ...scheduling import run_chunks
from ...validation import check_result

if TYPE_CHECKING:
    import networkx
    from scipy.sparse import csr_array

    from ...patterns import PatternLayout
    from .regions import Regions

OUTSIDE, NOT_FOUND = kernels.OUTSIDE, kernels.NOT_FOUND
_CHUNK = 2**15  # regions of one call


@dataclass(frozen=True, eq=False)
class RegionGraph:
    """Neighbours of regions; made by ``region_graph``.

    Attributes
    ----------
    neighbours : int64[N]
        For each facet, the region on the other side; -1: outside of the set, on a side of the box or a row of the polytope;
        -2: a region that is not among these, which were not enumerated completely.
    facet_offsets : int64[R+1]
        Facets of region r: ``facet_offsets[r]`` to ``facet_offsets[r + 1]``.
    n_regions : int
    n_several : int
        Facets at which several neurons change their states.
    """

    neighbours: IntArray = field(repr=False)
    facet_offsets: IntArray = field(repr=False)
    n_regions: int
    n_several: int

    @property
    def owners(self) -> IntArray:
        """The region of each facet: int64[N]."""
        return np.repeat(np.arange(self.n_regions), np.diff(self.facet_offsets))

    @functools.cached_property
    def adjacency(self) -> csr_array:
        """Which regions share a facet: scipy.sparse.csr_array of int8[R, R], symmetric if all regions are there."""
        import scipy.sparse

        inside = self.neighbours >= 0
        ends = np.concatenate([[0], np.cumsum(inside)])[self.facet_offsets]
        columns = self.neighbours[inside]
        made = scipy.sparse.csr_array((np.ones(len(columns), np.int8), columns, ends), shape=(self.n_regions,) * 2)
        made.sort_indices()
        return made

    def components(self, keep: BoolArray | None = None) -> tuple[int, IntArray]:
        """Find the connected components.

        Parameters
        ----------
        keep : bool[N], optional
            Facets that connect the regions on their sides; by default all.

        Returns
        -------
        int, int64[R]
            The number of components, and the component of each region. They are numbered by their first regions.
        """
        import scipy.sparse
        from scipy.sparse.csgraph import connected_components

        joins = self.neighbours >= 0
        if keep is not None:
            joins = joins & keep
        ends = np.concatenate([[0], np.cumsum(joins)])[self.facet_offsets]
        shape = (self.n_regions, self.n_regions)
        graph = scipy.sparse.csr_array((np.ones(int(ends[-1]), np.int8), self.neighbours[joins], ends), shape=shape)
        n, labels = connected_components(graph, directed=False)
        return int(n), renumbered(labels)

    @property
    def n_components(self) -> int:
        """Number of connected components: 1 for all regions of a box or polytope."""
        return self.components()[0]

    def to_networkx(self) -> networkx.Graph:
        """Return the graph as a networkx.Graph, with the facet of the first region as the attribute ``facet`` of each edge.

        Raises
        ------
        ImportError
            networkx is not installed.
        """
        from ..._optional import require

        networkx = require("networkx", "all", "a graph of regions")
        graph = networkx.Graph()
        graph.add_nodes_from(range(self.n_regions))
        owners = self.owners
        for k in np.flatnonzero(self.neighbours > owners).tolist():
            graph.add_edge(int(owners[k]), int(self.neighbours[k]), facet=k)
        return graph


def renumbered(labels):
    """Number labels by their first appearance: int64 of the same shape."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]


def region_graph(regions: Regions, *, threads: int | None = None) -> RegionGraph:
    """Find the region on the other side of each facet.

    Exact up to rounding: patterns are compared, so nothing is rounded where every neuron has two states. Where hyperplanes of
    several neurons with more states coincide, the closest centers of facets decide.

    Parameters
    ----------
    regions : Regions
        With patterns and facets.
    threads : int, optional

    Returns
    -------
    RegionGraph

    Raises
    ------
    MissingDataError
        The regions were only counted, or have no facets.
    NumericalError
        The regions are said to be complete, but the other side of a facet is not among them.

    Notes
    -----
    Let several neurons change across a facet of region P, of which the facet has the first one, j, in the order of the ops.
    Along the facet's hyperplane H, affine functions of P and of the region that would have the pattern of P with another state
    of j agree. A neuron that changes, too, is a multiple of j's function there, and has the sign of the true neighbour on the
    whole side of H; so a region of that pattern exists only if it is the neighbour. Otherwise, the neighbour has the same
    states before j, and its facet on H is one of j. Candidates with these states, on one side of H, are divided by neurons that
    do not vanish on H; of these, the neighbour has the state that P has, since they do not change there.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> from pwlnet.partition.regions.graph import region_graph
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> center = np.zeros(network.n_inputs)
    >>> regions = pwlnet.enumerate_regions(network, center - 0.05, center + 0.05)
    >>> graph = region_graph(regions)
    >>> graph.n_components
    1
    """
    from .matching import match_others

    regions = as_regions(regions)
    if regions.packed is None or regions.facet_offsets is None:
        raise MissingDataError(
            "these regions have no patterns or facets; give want=('patterns', 'facets') to enumerate_regions"
        )
    words, places, _ = words_of(regions)
    neighbours = _by_one_change(words, places, regions, threads)
    missing = np.flatnonzero(neighbours == NOT_FOUND)
    n_several = 0
    if len(missing):
        match_others(regions, words, missing, neighbours)
        n_several = int((neighbours[missing] >= 0).sum())
        left = np.flatnonzero(neighbours == NOT_FOUND)
        if len(left) and regions.complete:
            raise NumericalError(
                f"facet {left[0]} has no region on its other side, among {len(words)} regions that are said to be complete; "
                "enumerate them by method='subdivision'"
            )
    return RegionGraph(neighbours, np.asarray(regions.facet_offsets, np.int64), len(words), n_several)


def as_regions(regions):
    """Return what ``enumerate_regions`` returns.

    Raises
    ------
    InputError
        It is something else.
    """
    return check_result(regions, "regions", ("network", "n_regions", "facet_offsets", "complete"), "pwlnet.enumerate_regions")


def words_of(regions):
    """Return the patterns with the class as a last word, and the place of each neuron's state in them.

    Returns
    -------
    words : uint64[R, W]
    places : int64[K, 3]
        Word, lowest bit, and number of bits; the last row is that of the class, if there are classes.
    widths : int64[W]
        Bits of each state, of each word.
    """
    layout = regions.network.pattern_layout
    words, widths = np.asarray(regions.packed, np.uint64), np.asarray(layout.word_widths, np.int64)
    places = state_places(layout)
    if regions.classes is not None:
        words = np.column_stack([words, np.asarray(regions.classes).astype(np.uint64)])
        places = np.vstack([places, [words.shape[1] - 1, 0, 64]])
        widths = np.append(widths, 64)
    return np.ascontiguousarray(words), np.ascontiguousarray(places), widths


def state_places(layout: PatternLayout) -> IntArray:
    """Return the word, the lowest bit and the number of bits of each neuron's state in a pattern: int64[K, 3].

    Parameters
    ----------
    layout : PatternLayout
    """
    counts = np.diff(layout.neuron_offsets)
    op = np.repeat(np.arange(len(counts)), counts)
    bit = (np.arange(len(op)) - layout.neuron_offsets[op]) * layout.widths[op]
    places = np.column_stack([layout.word_offsets[op] + bit // 64, bit % 64, layout.widths[op]])
    return places.astype(np.int64).reshape(-1, 3)


def _by_one_change(words, places, regions, threads):
    """Return the neighbours with one changed state: int64[N]; -2 where there is none."""
    n = len(words)
    keys, table = np.zeros(n, np.uint64), np.zeros(1 << max(1, int(2 * n).bit_length()), np.int32)
    kernels.fill_table(words, keys, table)
    offsets = np.ascontiguousarray(regions.facet_offsets, np.int64)
    neurons, states = (np.ascontiguousarray(x, np.int32) for x in (regions.facet_neurons, regions.facet_states))
    neighbours = np.full(len(neurons), NOT_FOUND, np.int64)

    def look_up(first, last):
        kernels.find_neighbours(words, keys, table, first, last, offsets, neurons, states, places, neighbours)

    run_chunks(look_up, n, _CHUNK, threads)
    return neighbours
