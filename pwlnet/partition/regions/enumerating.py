"""Enumerate the activation regions of a network in a box or a bounded polytope.

Legend: D inputs, F free inputs, R regions, W words, O outputs, N facets.
"""

import time

import numpy as np

from ...errors import InputError, ShapeError
from ...kernels.regions import state as st
from ...scheduling import n_threads
from ...validation import as_array, check_network, check_number
from .cell_search import CellSearch
from .compared import with_comparison
from .exact import ExactSigns
from .layers import make_layers
from .polytopes import as_polytope, root_in_polytope
from .region_rows import RowMaker, join_blocks, merge_equal_patterns
from .regions import COLUMNS, Regions
from .results import Points, states_in_rows

METHODS = ("auto", "subdivision", "search", "planes")
WANTS = ("patterns", "facets", "halfspaces", "affine_maps", "volumes", "vertices")


def enumerate_regions(
    network,
    lower,
    upper,
    *,
    method: str = "auto",
    polytope=None,
    classes: str | None = None,
    want=("patterns", "facets"),
    max_regions: int | None = None,
    time_limit: float | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Regions:
    """Enumerate the activation regions of a network in a box, or in its part in a polytope.

    Exact: which patterns occur is decided by sound bounds on rounding errors, and with integers where these leave a sign open
    (``method="subdivision"``). Coordinates, maps and volumes are exact up to rounding. A region counts if it has interior points.
    """
    enumeration = Enumeration(network, lower, upper, polytope=polytope, classes=classes, want=want, time_limit=time_limit)
    return enumeration.run(max_regions=max_regions, threads=threads)


class Enumeration:
    """A search for the regions of a network in a box, by subdivision."""

    def __init__(self, network, lower, upper, *, polytope=None, classes=None, want=("patterns", "facets"), time_limit=None):
        self.network = check_network(network)
        self.lower, self.upper = _box(network, lower, upper)
        self.wants = _wants(want)
        self.classes, self.polytope = classes, as_polytope(polytope, network.n_inputs)
        self._searched = network if classes is None else with_comparison(network, classes)
        maps = "affine_maps" in self.wants
        layers = make_layers(self._searched, self.lower, self.upper, outputs=maps)
        self.layers, listed = layers, bool(self.wants) or layers.merges
        self.exact = ExactSigns(self._searched, layers, self.lower, self.upper, self.polytope)
        settings = {
            st.CERTIFY: st.EXACT, st.LIST: listed, st.COUNT_ONLY: not listed, st.FACETS: "facets" in self.wants,
            st.VERTICES: "vertices" in self.wants, st.MAPS: network.n_outputs if maps else 0,
            st.VOLUMES: "volumes" in self.wants, st.PLANES: "halfspaces" in self.wants,
        }  # fmt: skip
        self.search = CellSearch(layers, self.lower, self.upper, settings, exact=self.exact)
        self.n_exact = 0
        if len(self.polytope[1]) and len(layers.free):
            self.search.root, self.n_exact = root_in_polytope(
                self._searched, layers, self.search.problem, self.lower, self.upper, self.polytope
            )
        if time_limit is not None:
            self.search.deadline = time.monotonic() + check_number(time_limit, "time_limit", least=0.0)
        points = Points(layers, self.lower, self.upper)
        self._rows = RowMaker(self._searched, layers, points, network.n_outputs, classes is not None, self.wants)

    def blocks(self, threads=None, *, tasks=False, start=(0, 0)):
        """Yield RegionBlocks in the order of a search by one thread; ``search.position`` is where they end."""
        for rows in self.search.stream(n_threads(threads), tasks=tasks, start=start):
            yield self._rows.block(rows)

    def run(self, *, max_regions=None, threads=None):
        """Return the Regions, in memory."""
        if not (self.wants or self.layers.merges):
            self.search.max_cells = max_regions
            for _ in self.search.stream(n_threads(threads)):
                pass
            return self._finish(None, self.search.total(st.N_CELLS))
        blocks, n = [], 0
        for block in self.blocks(threads):
            blocks.append(block)
            n += len(block.packed)
            if max_regions is not None and n > max_regions and not self.layers.merges:
                self.search.stopped_by = "max_cells"
                break
        block = join_blocks(blocks) if blocks else self._rows.block(self.search.rows())
        if self.layers.merges:
            block = merge_equal_patterns(block, states_in_rows(self.network, block, self.classes))
        n = len(block.packed)
        if max_regions is not None and n > max_regions:
            self.search.stopped_by = "max_cells"
            block, n = block.first(max_regions), max_regions
        return self._finish(block if self.wants else None, n)

    def _finish(self, block, n):
        stopped_by = {"max_cells": "max_regions"}.get(self.search.stopped_by, self.search.stopped_by)
        fields = {} if block is None else block._asdict()
        columns = {name: fields.pop(name) for name in COLUMNS if name in fields}
        return Regions(
            self.network, self.lower, self.upper, self.polytope if len(self.polytope[1]) else None, self.layers.free, n,
            stopped_by is None, stopped_by, "subdivision", True, self.n_exact + self.search.total(st.N_EXACT),
            class_rule=self.classes, columns=columns, **fields,
        )  # fmt: skip


def _wants(want):
    wants = (want,) if isinstance(want, str) else tuple(want)
    if set(wants) - set(WANTS):
        raise InputError(f"want is {want!r}; the choices are {', '.join(map(repr, WANTS))}")
    if {"vertices", "halfspaces"} & set(wants):
        wants = (*wants, "facets")
    return tuple(w for w in WANTS if w in wants or (w == "patterns" and wants))


def _box(network, lower, upper):
    """Return the bounds of a box of inputs: float64[D], float64[D]."""
    from ...domains import Box

    box = Box(as_array(lower, "lower"), as_array(upper, "upper"))
    lower, upper = (np.ascontiguousarray(x, np.float64).ravel() for x in (box.lower, box.upper))
    if len(lower) != network.n_inputs:
        raise ShapeError(f"the box has {len(lower)} entries, but the network has {network.n_inputs} inputs")
    return lower, upper
