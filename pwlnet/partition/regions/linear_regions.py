"""Linear regions: activation regions that have one affine map.

Legend: R regions, C linear regions, D inputs, F free inputs, O outputs, N facets, K neurons, E pairs of neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._types import FloatArray, IntArray
from ..planes.integers import as_integers, exact_ops
from .exact import _StateEvaluation
from .graph import RegionGraph, as_regions, region_graph, renumbered
from .layers import make_layers
from .matching import unique_rows

if TYPE_CHECKING:
    from .regions import Regions


class LinearRegions(NamedTuple):
    """How many regions there are, by three definitions."""

    labels: IntArray  # int64[R] linear region of each activation region, numbered by their first ones
    map_labels: IntArray  # int64[R] number of its affine map, likewise
    n_activation: int  # activation regions: sets with interior on which all neurons keep their states
    n_linear: int  # linear regions: connected sets of activation regions, across facets, with one affine map
    n_maps: int  # distinct affine maps: linear regions, if those with the same map count once
    n_exact: int  # activation regions whose maps were computed with integers


def linear_regions(regions: Regions, *, graph: RegionGraph | None = None) -> LinearRegions:
    """Merge the activation regions that have the same affine map.

    Exact up to rounding: maps are different where they differ by more than a sound bound on their rounding errors; the others
    are compared in integers. So the counts are exact if the regions are.

    Parameters
    ----------
    regions : Regions
        All regions of a box or polytope.
    graph : RegionGraph, optional
        Their ``region_graph``.

    Returns
    -------
    LinearRegions
        Where not all regions were enumerated, the counts are those of the ones that were.

    Notes
    -----
    The literature counts: activation regions ([1]_, Definition 1); linear regions as maximal connected sets on which the
    network is one affine map ([2]_, and [1]_, Definition 2), here ``n_linear``; and distinct affine maps, ``n_maps``. Always
    n_maps <= n_linear <= n_activation. Sets that share no more than a face of lower dimension are not connected here. A linear
    region need not be convex; the number of convex pieces of a smallest division is not computed. Regions on which the
    network is constant have one map if the constants are equal, also where inputs are dead. The maps are those of the free
    inputs.

    References
    ----------
    .. [1] Hanin and Rolnick, "Deep ReLU networks have surprisingly few activation patterns", NeurIPS 2019, Section 2.
    .. [2] Montufar, Pascanu, Cho and Bengio, "On the number of linear regions of deep neural networks", NeurIPS 2014,
       Section 2.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> from pwlnet.partition.regions.linear_regions import linear_regions
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> center = np.zeros(network.n_inputs)
    >>> regions = pwlnet.enumerate_regions(network, center - 0.05, center + 0.05, want=("facets", "affine_maps"))
    >>> merged = linear_regions(regions)
    >>> merged.n_maps <= merged.n_linear <= merged.n_activation
    True
    """
    graph = region_graph(as_regions(regions)) if graph is None else graph
    maps = regions.affine_maps()
    rows = np.concatenate([maps.A.reshape(len(maps.A), -1), maps.c], axis=1)
    bounds, exact = map_error_bounds(regions), _ExactMaps(regions)
    owners = graph.owners
    pairs = np.flatnonzero(graph.neighbours > owners)
    close = _are_close(rows, bounds, owners[pairs], graph.neighbours[pairs])
    keep = np.zeros(len(graph.neighbours), bool)
    for k in pairs[close].tolist():
        keep[k] = exact.are_equal(int(owners[k]), int(graph.neighbours[k]))
    n_linear, labels = graph.components(keep)
    _, first = np.unique(labels, return_index=True)
    map_labels = _equal_maps(rows[first], bounds, first, exact)
    return LinearRegions(
        labels, renumbered(map_labels[labels]), len(rows), n_linear, int(map_labels.max(initial=-1)) + 1, len(exact.known)
    )


def _are_close(rows, bounds, first, second):
    """Return whether the maps of pairs of regions may be equal: bool[E]."""
    close = np.ones(len(first), bool)
    for column in range(rows.shape[1]):
        at = np.flatnonzero(close)
        if not len(at):
            break
        close[at] = np.abs(rows[first[at], column] - rows[second[at], column]) <= 2.0 * bounds[column]
    return close


def _equal_maps(rows, bounds, regions, exact):
    """Number equal maps of some regions alike: int64[C]."""
    group = np.zeros(len(rows), np.int64)
    for column in range(rows.shape[1]):  # divide groups where sorted values have gaps
        order = np.lexsort((rows[:, column], group))
        value, g = rows[order, column], group[order]
        group[order] = np.cumsum(np.r_[False, (np.diff(g) != 0) | ~(np.diff(value) <= 2.0 * bounds[column])])
    sizes, keys = np.bincount(group), {}
    labels = np.empty(len(rows), np.int64)
    for c, (g, r) in enumerate(zip(group.tolist(), regions.tolist(), strict=True)):
        labels[c] = keys.setdefault((g, exact.of(r) if sizes[g] > 1 else None), len(keys))
    return labels


def map_error_bounds(regions: Regions) -> FloatArray:
    """Bound the rounding errors of the affine maps of all regions.

    Sound bound: by the weights' absolute values, with each neuron on its steepest piece.

    Parameters
    ----------
    regions : Regions

    Returns
    -------
    float64[O * F + O]
        For the entries of A in order, and of c.
    """
    from ...kernels.regions import state as st
    from .buffers import make_problem

    network, n_free = regions.network, len(regions.free)
    layers = make_layers(network, regions.lower, regions.upper, outputs=True)
    size = np.zeros((n_free + 1, len(layers.stages[0].matrix.biases)))
    for k, stage in enumerate(layers.stages):
        m = stage.matrix
        if k == 0:
            size[:n_free], size[n_free] = m.sizes, m.bias_sizes
            continue
        slopes = np.maximum(1.0, np.abs(layers.stages[k - 1].factors).max(axis=0))
        size = (size * slopes) @ m.sizes
        size[n_free] += m.bias_sizes
    gamma = make_problem(layers, np.zeros(st.N_SETTINGS, np.int64)).numbers[st.GAMMA]
    size = gamma * size[:, : network.n_outputs]
    return np.concatenate([(size[:n_free] / layers.scale[:, None]).T.ravel(), size[n_free]])


class _ExactMaps:
    """The affine maps of regions in integers, over denominators that are the same for all."""

    def __init__(self, regions):
        self._network, self._ops, self._free = regions.network, exact_ops(regions.network), regions.free.tolist()
        fixed = regions.lower.copy()
        fixed[self._free] = 0.0
        self._constant, self._scale = as_integers(fixed)
        self._states, self._before, self.known = regions.patterns(), {}, {}
        self._packed = unique_rows(regions.packed) if regions.packed.shape[1] else np.zeros(regions.n_regions, np.int64)

    def are_equal(self, r, other):
        """Return whether two regions have the same map."""
        return self._packed[r] == self._packed[other] or self.of(r) == self.of(other)

    def of(self, r):
        """Return the map of region r: tuple of int."""
        key = int(self._packed[r])
        if key not in self.known:
            self.known[key] = self._compute(self._states[[r]].unpack()[0])
        return self.known[key]

    def _compute(self, states):
        """Return the numerators of the outputs' coefficients, and of the constants."""
        network, program = self._network, self._network.program
        result = []
        for d in (*self._free, None):
            first = np.zeros(len(self._constant), object)
            if d is None:
                first[program.input_index] = self._constant
            else:
                first[program.input_index[d]] = 1
            values = {0: first}
            for op in range(1, len(program.op)):
                here = None
                if network.op_graph.is_switching[op]:
                    here = states[program.neuron_offsets[op] : program.neuron_offsets[op + 1]]
                scale = self._scale if d is None else 0
                values[op] = _StateEvaluation(self._ops, op, values, scale, here).value()
            result += map(int, values[len(program.op) - 1][program.output_index])
        return tuple(result)
