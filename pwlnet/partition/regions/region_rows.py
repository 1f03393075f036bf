"""Rows of regions from listed cells: patterns, witnesses, and facets by neuron and state.

Legend: D_in inputs, F free inputs, K neurons, R rows, N facets of all rows, W words, O outputs.
"""

import numpy as np

from ...kernels.ir import program as ir
from ...kernels.regions.joining import join_vertices
from ...tolerances import SAME_VERTEX
from .blocks import RegionBlock
from .cell_volumes import volumes_of_cells
from .joined_facets import other_states, outer_facets
from .results import pack_signs, states_of_signs


class RowMaker:
    """Turns CellRows into RegionBlocks.

    Parameters
    ----------
    network : Network
        What was searched: the network itself, or ``with_comparison`` of it.
    layers : Layers
    points : Points
    n_outputs : int
    classes : bool
        Whether the last neuron compares outputs.
    wants : tuple of str
    n_rows : int
        Of the polytope; rows of a condition have the numbers after them.
    """

    def __init__(self, network, layers, points, n_outputs, classes, wants, n_rows):
        self._network, self._layers, self._points, self._n_outputs = network, layers, points, n_outputs
        self._n_rows = n_rows
        self._classes, self._wants = classes, wants
        self._n_functions = sum(len(block.neurons) for block in layers.blocks)
        self._neuron_of = np.zeros(self._n_functions, np.int64)
        for block in layers.blocks:
            self._neuron_of[block.first : block.first + len(block.neurons)] = block.neurons
        codes = network.program.op
        self._others = tuple(b for b, block in enumerate(layers.blocks) if codes[block.op] in (ir.CLIP, ir.MAX_POOL))
        self._volume_scale = float(np.prod(layers.scale))

    def block(self, rows, threads=None):
        """Return the RegionBlock of CellRows; facets that do not change a state are kept, with the state that there is."""
        packed = pack_signs(self._network, self._layers, rows.words)
        fields = {}
        if self._classes:
            fields["classes"] = (packed[:, -1] & self._class_mask()).astype(np.int32)
            packed = np.ascontiguousarray(packed[:, :-1])
        offsets = neurons = states = None
        if "facets" in self._wants:
            offsets = np.concatenate([[0], rows.ends[:, 0]])
            neurons, states = self._facets(rows, offsets)
        if "halfspaces" in self._wants:
            fields["facet_G"] = -rows.planes[:, :-1] / self._layers.scale
            fields["facet_h"] = rows.planes[:, -1].copy()
        if "vertices" in self._wants:
            fields["vertex_offsets"] = np.concatenate([[0], rows.ends[:, 1]])
            fields["vertices"], fields["vertex_facets"] = rows.vertices * self._layers.scale, rows.vertex_bits
        if "affine_maps" in self._wants:
            scaled = rows.maps[:, :-1, : self._n_outputs] / self._layers.scale[:, None]
            fields["affine_maps_A"] = np.ascontiguousarray(scaled.swapaxes(1, 2))
            fields["affine_maps_c"] = rows.maps[:, -1, : self._n_outputs].copy()
        if "volumes" in self._wants:
            volumes = volumes_of_cells(np.append(0, rows.ends[:, 1]), rows.vertices, rows.vertex_bits, threads)
            fields["volumes"] = volumes * self._volume_scale
        return RegionBlock(packed, self._points.inputs(rows.points), offsets, neurons, states, **fields)

    def _class_mask(self):
        return np.uint64((1 << int(self._network.pattern_layout.widths[-2])) - 1)

    def _facets(self, rows, offsets):
        """Return neurons and other states of facets: int32[N], int32[N]."""
        ids = rows.facets.astype(np.int64)
        of_condition = ids >= self._n_functions
        ids[of_condition] = -1 - 2 * len(self._layers.free) - self._n_rows - (ids[of_condition] - self._n_functions)
        row_of = np.repeat(np.arange(len(rows.keys)), np.diff(offsets))
        neurons, states = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.int32)
        inside = ids >= 0
        neurons[inside] = self._neuron_of[ids[inside]]
        bit = (rows.words[row_of[inside], ids[inside] // 64] >> (ids[inside] % 64).astype(np.uint64)) & np.uint64(1)
        states[inside] = 1 - bit.astype(np.int32)
        neurons[~inside] = self._outside(ids[~inside])
        if self._others:
            self._other_states(rows, ids, row_of, states)
        return neurons, states

    def _outside(self, ids):
        """Return the public numbers of sides of the box and rows of a polytope."""
        free, n_inputs = self._layers.free, self._network.n_inputs
        side = -1 - ids
        is_row = side >= 2 * len(free)
        d = free[np.minimum(side // 2, len(free) - 1)] if len(free) else side
        return -1 - np.where(is_row, side - 2 * len(free) + 2 * n_inputs, 2 * d + side % 2)

    def _other_states(self, rows, ids, row_of, states_out):
        """Compute the states behind facets of Clip and MaxPool: of the signs with the facet's one flipped."""
        for b in self._others:
            block = self._layers.blocks[b]
            at = np.flatnonzero((ids >= block.first) & (ids < block.first + len(block.neurons)))
            if not len(at):
                continue
            words = rows.words[row_of[at]]
            signs = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
            signs = signs[:, : self._n_functions].astype(bool)
            flipped = np.arange(len(at))
            signs[flipped, ids[at]] ^= True
            states_out[at] = states_of_signs(self._layers, signs)[flipped, self._neuron_of[ids[at]]]


def merge_equal_patterns(block, network_states, n_states, free):
    """Join rows with equal patterns, of MaxPool with three taps or more: parts of one region between which no state changes.

    Parameters
    ----------
    block : RegionBlock
        All rows of a search.
    network_states : callable
        From packed patterns and neurons to states: ``(rows, neurons) -> int32[*]``.
    n_states : int
        Number of neurons; one more where there are classes.
    free : int64[F]

    Returns
    -------
    RegionBlock
        Its volumes are sums; witnesses and maps are those of the first part. Vertices are those on all facets of a corner.
    """
    key = block.packed if block.classes is None else np.column_stack([block.packed, block.classes.astype(np.uint64)])
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    group, first = rank[group], first[order]
    fields = {name: None if x is None else x[first] for name, x in _per_row(block)}
    if block.volumes is not None:
        fields["volumes"] = np.bincount(group, block.volumes, len(first))
    if block.facet_offsets is not None:
        fields |= _merged_facets(block, group, len(first), network_states, n_states, free)
    return RegionBlock(**fields)


def _per_row(block):
    names = ("packed", "witnesses", "affine_maps_A", "affine_maps_c", "volumes", "classes")
    return [(name, getattr(block, name)) for name in names]


def _merged_facets(block, group, n, network_states, n_states, free):
    """Return the facets of joined rows, without those between parts, and the vertices."""
    row_of = np.repeat(np.arange(len(group)), np.diff(block.facet_offsets))
    neurons, states = block.facet_neurons.astype(np.int64), block.facet_states.astype(np.int64)
    changes = neurons < 0
    changes[~changes] = states[~changes] != network_states(row_of[~changes], neurons[~changes])
    others = np.flatnonzero(~changes)
    others = others[outer_facets(block, group, row_of, others, free)]
    if len(others):
        neurons[others], states[others] = other_states(block, group, row_of, others, free, network_states, n_states)
        changes[others] = neurons[others] >= 0
    stacked = np.column_stack([group[row_of], neurons, states])[changes]
    _, where, merged = np.unique(stacked, axis=0, return_index=True, return_inverse=True)
    source = np.flatnonzero(changes)[where]
    counts = np.bincount(group[row_of[source]], minlength=n)
    fields = {
        "facet_offsets": np.concatenate([[0], np.cumsum(counts)]),
        "facet_neurons": neurons[source].astype(np.int32), "facet_states": states[source].astype(np.int32),
    }  # fmt: skip
    fields |= {"facet_G": block.facet_G[source], "facet_h": block.facet_h[source]}
    if block.vertices is None:
        return fields
    number = np.full(len(neurons), -1, np.int64)
    number[changes] = merged.ravel() - fields["facet_offsets"][group[row_of[changes]]]
    return fields | _merged_vertices(block, group, n, number)


def _merged_vertices(block, group, n, number):
    """Return the vertices of joined rows: the corners of parts that are corners of the whole."""
    row_of = np.repeat(np.arange(len(group)), np.diff(block.vertex_offsets))
    words, bits = np.zeros(len(row_of), np.uint64), block.vertex_facets.copy()
    for j in range(64):
        has = np.flatnonzero((bits >> np.uint64(j)) & np.uint64(1))
        facet = number[block.facet_offsets[row_of[has]] + j]
        words[has[facet >= 0]] |= np.uint64(1) << facet[facet >= 0].astype(np.uint64)
    order = np.argsort(group[row_of], kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(group[row_of], minlength=n))])
    sorted_words, keep = words[order], np.zeros(len(order), bool)
    join_vertices(offsets, np.ascontiguousarray(block.vertices[order]), SAME_VERTEX, sorted_words, keep)
    words[order], source = sorted_words, order[keep]
    counts = np.bincount(group[row_of[source]], minlength=n)
    return {
        "vertex_offsets": np.concatenate([[0], np.cumsum(counts)]), "vertices": block.vertices[source],
        "vertex_facets": words[source],
    }  # fmt: skip
