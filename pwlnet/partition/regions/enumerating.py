"""Enumerate the activation regions of a network in a box or a bounded polytope.

Legend: D inputs, F free inputs, R regions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ..._types import ArrayLike, FloatArray, SearchMethod
from ...domains import Box, box_rows
from ...errors import CapacityError, InfeasibleError, InputError, ShapeError
from ...kernels.regions import state as st
from ...scheduling import look_ahead, n_threads
from ...validation import as_array, check_choice, check_count, check_network, check_number
from ..lines.rounds import Progress
from .blocks import RegionBlock
from .by_planes import regions_by_planes
from .cell_search import CellSearch
from .compared import with_comparison
from .exact import ExactSigns
from .layers import MOST_FREE, make_layers
from .polytopes import as_polytope, contains_point, root_in_polytope
from .region_rows import RowMaker, merge_equal_patterns
from .regions import Regions
from .results import Points, states_in_rows
from .searching import regions_by_search

if TYPE_CHECKING:
    from ...conditions import HalfSpaces
    from ...network import Network

METHODS = get_args(SearchMethod)
WANTS = ("patterns", "facets", "halfspaces", "affine_maps", "volumes", "vertices")
_AHEAD = 2**26  # bytes of rows that are found while earlier ones are written as regions


def enumerate_regions(
    network: Network,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    method: SearchMethod = "auto",
    polytope: HalfSpaces | tuple[ArrayLike, ArrayLike] | None = None,
    classes: str | None = None,
    want: str | Sequence[str] = ("patterns", "facets"),
    max_regions: int | None = None,
    time_limit: float | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Regions:
    """Enumerate the activation regions of a network in a box, or in its part in a polytope.

    Exact up to rounding: by subdivision, which patterns occur is exact. Signs at the vertices of cells are decided by sound
    bounds on rounding errors, and with integers where these leave them open; coordinates, maps and volumes have rounding
    errors. A region counts if it has interior points, among the inputs whose sides have positive width.

    Parameters
    ----------
    network : Network
    lower, upper : float64[D] or float64[*input_shape]
        The box; sides may have width zero.
    method : {"auto", "subdivision", "search", "planes"}, optional
        "subdivision" cuts the box by one neuron after another [1]_, for up to eight sides of positive width. "search" crosses
        the facets of regions that are known, for up to 16 [2]_. "planes" is ``partition_planes``, for two. By default,
        subdivision where it is possible.
    polytope : HalfSpaces or (float64[M, D], float64[M]), optional
        Rows ``A x <= b`` of inputs: regions are cut to the part where all of them hold.
    classes : {"max", "min"}, optional
        Divide regions by which output is the largest or the smallest one.
    want : str or sequence of str, optional
        Of "patterns" (with witnesses), "facets", "halfspaces", "affine_maps", "volumes", "vertices": what to compute now. The
        others are computed by enumerating the regions again when they are asked for. Regions are only counted for ``()``.
    max_regions : int, optional
        Stop when so many regions are found. They are the first ones of the order of the whole.
    time_limit : float, optional
        Seconds.
    threads : int, optional
    progress : bool, optional
        Show a progress bar.

    Returns
    -------
    Regions
        Without a time limit, it does not depend on the number of threads.

    Raises
    ------
    InputError, ShapeError
        Arguments that are not valid, or do not fit the network.
    InfeasibleError
        The polytope has no interior point in the box.
    CapacityError
        Too many sides of positive width for the method, or a region with more than 64 facets.

    See Also
    --------
    region_of : the region of one point, for any number of inputs.
    partition_planes : regions of two-dimensional slices.

    References
    ----------
    .. [1] Yang, Johnson, Tran, Yamaguchi, Hoxha and Prokhorov, "Reachability analysis of deep ReLU neural networks using
       facet-vertex incidence", HSCC 2021, for cells by vertices and facets.
    .. [2] Avis and Fukuda, "Reverse search for enumeration", Discrete Applied Mathematics 65, 1996, for cells of arrangements.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.control_network_path())
    >>> center = np.zeros(network.n_inputs)
    >>> regions = pwlnet.enumerate_regions(network, center - 0.05, center + 0.05)
    >>> regions.complete and regions.certified
    True
    >>> bool((network.patterns(regions.witnesses).packed == regions.packed).all())
    True
    """
    check_choice(method, METHODS, "method")
    max_regions = check_count(max_regions, "max_regions", or_none="no limit")
    if time_limit is not None:
        time_limit = check_number(time_limit, "time_limit")
    if method == "planes":
        how: dict[str, Any] = {"polytope": as_polytope(polytope, check_network(network).n_inputs), "classes": classes}
        low, high = as_box(network, lower, upper)
        how |= {"max_regions": max_regions, "time_limit": time_limit, "threads": threads, "progress": progress}
        return regions_by_planes(network, low, high, as_wants(want), **how)
    box = as_box(check_network(network), lower, upper)
    if method == "search" or (method == "auto" and int((box[1] > box[0]).sum()) > MOST_FREE):
        return _by_search(network, box, polytope, classes, as_wants(want), max_regions, time_limit, threads, progress)
    how = {"polytope": polytope, "classes": classes, "want": want, "time_limit": time_limit}
    enumeration = Enumeration(network, lower, upper, **how)
    return enumeration.run(max_regions=max_regions, threads=threads, progress=progress)


def _by_search(network, box, polytope, classes, wants, max_regions, time_limit, threads, progress):
    """Enumerate by crossing facets, in the box or, with a comparison of outputs, in parts of regions."""
    unknown = [name for name in ("volumes", "vertices") if name in wants]
    if unknown or classes is not None:
        raise CapacityError(
            f"method 'search' does not find {(unknown or ['classes'])[0]}; use 'subdivision', for up to {MOST_FREE} sides of "
            "positive width"
        )
    rows = as_polytope(polytope, network.n_inputs)
    with contextlib.closing(Progress(max_regions, progress, "region")) as bar:
        limits = {"max_regions": max_regions, "time_limit": time_limit, "threads": threads}
        return regions_by_search(network, *box, wants, polytope=rows, bar=bar, **limits)


class Enumeration:
    """A search for the regions of a network in a box, by subdivision; ``enumerate_regions`` has the parameters.

    Parameters
    ----------
    condition : HalfSpaces, optional
        Find the parts of regions where it holds.
    """

    def __init__(
        self,
        network,
        lower,
        upper,
        *,
        polytope=None,
        classes=None,
        want=(),
        time_limit=None,
        condition=None,
    ):
        self.network = check_network(network)
        self.lower, self.upper = as_box(network, lower, upper)
        self.wants, self.classes, self.condition = as_wants(want), classes, condition
        self.polytope = as_polytope(polytope, network.n_inputs)
        self._searched = network if classes is None else with_comparison(network, classes)
        maps = "affine_maps" in self.wants
        self.layers = make_layers(self._searched, self.lower, self.upper, condition=condition, outputs=maps)
        if self.layers.merges and "facets" in self.wants:
            self.wants = as_wants((*self.wants, "halfspaces"))  # by which walls inside of regions are known
        exact = ExactSigns(self._searched, self.layers, self.lower, self.upper, self.polytope, condition)
        settings = self._settings(maps)
        self.search, self.n_exact = CellSearch(self.layers, self.lower, self.upper, settings, exact=exact), 0
        if len(self.polytope[1]):
            self._cut_root()
        if time_limit is not None:
            self.search.deadline = time.monotonic() + time_limit
        self.points = Points(self.layers, self.lower, self.upper)
        n_rows = len(self.polytope[1])
        self._rows = RowMaker(
            self._searched, self.layers, self.points, network.n_outputs, classes is not None, self.wants, n_rows
        )

    def _settings(self, maps):
        listed = bool(self.wants) or self.layers.merges
        lists = st.MET_PARTS if self.condition is not None else 1
        return {
            st.CERTIFY: st.EXACT, st.LIST: lists if listed else 0, st.COUNT_ONLY: not listed and self.condition is None,
            st.FACETS: "facets" in self.wants, st.VERTICES: bool({"vertices", "volumes"} & set(self.wants)),
            st.PLANES: "halfspaces" in self.wants, st.MAPS: self.network.n_outputs if maps else 0,
            st.CONDITION: self.condition is not None,
        }  # fmt: skip

    def _cut_root(self):
        """Begin with the part of the box in the polytope."""
        if not len(self.layers.free):
            if not contains_point(self.polytope, self.lower):
                raise InfeasibleError("the polytope does not contain the only point of the box; check the signs of A x <= b")
            return
        found = root_in_polytope(self._searched, self.layers, self.search.problem, self.lower, self.upper, self.polytope)
        self.search.root, self.n_exact = found

    def blocks(self, threads=None, *, tasks=False, start=(0, 0), last_task=None):
        """Yield RegionBlocks in the order of a search by one thread, each with the position at which it ends."""
        threads = n_threads(threads)
        found = self.search.stream(threads, tasks=tasks, start=start, last_task=last_task)
        if threads == 1:
            yield from ((self._rows.block(rows, 1), position) for rows, position in found)
            return
        with contextlib.closing(look_ahead(found, _AHEAD, self.search.stop)) as found:
            yield from ((self._rows.block(rows, threads), position) for rows, position in found)

    def run(self, *, max_regions=None, threads=None, progress=False):
        """Return the Regions, in memory."""
        with contextlib.closing(Progress(max_regions, progress, "region")) as bar:
            if not (self.wants or self.layers.merges):
                return self._count(max_regions, threads, bar)
            blocks, n = [], 0
            for block, _ in self.blocks(threads):
                blocks.append(block)
                n += len(block.packed)
                bar.advance(len(block.packed))
                if max_regions is not None and n > max_regions and not self.layers.merges:
                    break
        block = RegionBlock.join(blocks) if blocks else self._rows.block(self.search.rows())
        if self.layers.merges:
            states = states_in_rows(self.network, block, self.classes)
            n_states = self.network.n_neurons + (self.classes is not None)
            block = merge_equal_patterns(block, states, n_states, self.layers.free)
        n = len(block.packed)
        if max_regions is not None and n > max_regions:
            self.search.stopped_by = "max_regions"
            block, n = block[:max_regions], max_regions
        return self.finish(block if self.wants else None, n)

    def _count(self, max_regions, threads, bar):
        self.search.max_cells = max_regions
        for _ in self.search.stream(n_threads(threads)):
            bar.reach(self.search.total(st.N_CELLS))
        n = self.search.total(st.N_CELLS)
        if self.search.stopped_by == "max_cells":
            self.search.stopped_by, n = "max_regions", min(n, max_regions)
        return self.finish(None, n)

    @property
    def n_exact_at_start(self):
        """Signs that were decided with integers before there were tasks, by the polytope or when the tasks were made."""
        return self.n_exact + int(self.search.slots[0].work.at[st.N_EXACT])

    def finish(self, block, n):
        """Return the Regions of a block with all rows; None if they were only counted."""
        stopped_by = self.search.stopped_by
        facts = {"complete": stopped_by is None, "stopped_by": stopped_by, "method": "subdivision", "certified": True}
        facts |= {"n_exact": self.n_exact + self.search.total(st.N_EXACT), "class_rule": self.classes}
        polytope = self.polytope if len(self.polytope[1]) else None
        return Regions.of_block(self.network, (self.lower, self.upper, polytope), n, block or RegionBlock(), **facts)


def as_wants(want):
    """Validate the names of columns, and add those that others need: tuple of str."""
    wants = (want,) if isinstance(want, str) else tuple(want)
    if not all(isinstance(w, str) for w in wants) or set(wants) - set(WANTS):
        raise InputError(f"want is {want!r}; the choices are {', '.join(map(repr, WANTS))}")
    if {"vertices", "halfspaces"} & set(wants):
        wants = (*wants, "facets")
    return tuple(w for w in WANTS if w in wants or (w == "patterns" and wants))


def as_box(network: Network, lower: ArrayLike, upper: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of a box of inputs: float64[D], float64[D]."""
    rows = box_rows(network, Box(as_array(lower, "lower"), as_array(upper, "upper")))
    if len(rows[0]) != 1:
        raise ShapeError(f"lower and upper have {len(rows[0])} rows; give one box")
    low, high = (np.ascontiguousarray(x[0], np.float64) for x in rows)
    return low, high
