"""Regions: the activation regions of a network in a box or a polytope.

Legend: D inputs, F free inputs, R regions, K neurons, W words, O outputs, N facets of all regions, V vertices of all regions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._types import AnyArray, ArrayLike, FloatArray, Index, Int32Array, IntArray, PathLike, StopReason, WordArray
from ...errors import InputError, MissingDataError
from ...patterns import ActivationPatterns
from ...validation import check_index
from .blocks import RegionBlock

if TYPE_CHECKING:
    from ...analysis.region_checks import RegionCheck
    from ...network import Network
    from .graph import RegionGraph
    from .region import Region

# Columns that are computed on first use.
COLUMNS = (
    "facet_G", "facet_h", "affine_maps_A", "affine_maps_c", "volumes", "vertex_offsets", "vertices", "vertex_facets",
)  # fmt: skip
ARRAYS = ("packed", "witnesses", "facet_offsets", "facet_neurons", "facet_states", "classes")


class HalfSpaceRows(NamedTuple):
    """The facets of all regions as half-spaces ``G x <= h`` of the free inputs; rows of region r as in ``facet_offsets``."""

    G: FloatArray  # float64[N, F]
    h: FloatArray  # float64[N]


class RegionFacets(NamedTuple):
    """The facets of one region: it is the set ``G x <= h`` of the free inputs, and no row is redundant."""

    G: FloatArray  # float64[n, F]
    h: FloatArray  # float64[n]
    neurons: Int32Array  # int32[n] as ``Regions.facet_neurons``
    states: Int32Array  # int32[n] as ``Regions.facet_states``


class AffineMaps(NamedTuple):
    """The network on each region, ``A x + c`` of the free inputs; the others are folded into c."""

    A: FloatArray  # float64[R, O, F]
    c: FloatArray  # float64[R, O]


class RegionVertices(NamedTuple):
    """The corners of all regions."""

    offsets: IntArray  # int64[R+1]
    points: FloatArray  # float64[V, F]
    facets: WordArray  # uint64[V]; bit j is set where the corner lies on facet ``facet_offsets[r] + j``


@dataclass(frozen=True, eq=False)
class Regions:
    """Activation regions; made by ``enumerate_regions``.

    A facet k of region r, ``facet_offsets[r] <= k < facet_offsets[r + 1]``, is where neuron ``facet_neurons[k]`` changes to the
    state ``facet_states[k]``. Other facets have negative numbers: -1 - (2 d + s) is the lower (s = 0) or upper side (s = 1) of
    input d, -1 - (2 D + m) is row m of the polytope. Where regions are divided by classes, the number of neurons stands for the
    comparison of outputs, and the state is the class on the other side. Where hyperplanes of several neurons coincide, there is
    one facet, with the first neuron.

    Attributes
    ----------
    network : Network
    lower, upper : float64[D]
    polytope : (float64[M, D], float64[M]) or None
        ``A x <= b``.
    free : int64[F]
        Inputs whose sides have positive width.
    n_regions : int
    complete : bool
    stopped_by : str or None
        "max_regions" or "time_limit", if there are more regions.
    method : str
    certified : bool
        Whether each decision was proved, by bounds on rounding errors or with integers.
    n_exact : int
        Signs at vertices that were decided with integers.
    n_undecided : int
        Of ``method="search"``: facets and rows that rounding errors leave open.
    packed : uint64[R, W] or None
        ``patterns()``.
    witnesses : float64[R, D] or None
        A point inside each region.
    facet_offsets : int64[R+1] or None
    facet_neurons, facet_states : int32[N] or None
    classes : int32[R] or None
    class_rule : {"max", "min"} or None
    """

    network: Network = field(repr=False)
    lower: FloatArray = field(repr=False)
    upper: FloatArray = field(repr=False)
    polytope: tuple[FloatArray, FloatArray] | None = field(repr=False)
    free: IntArray = field(repr=False)
    n_regions: int
    complete: bool
    stopped_by: StopReason | None
    method: str
    certified: bool
    n_exact: int
    n_undecided: int = 0
    packed: WordArray | None = field(default=None, repr=False)
    witnesses: FloatArray | None = field(default=None, repr=False)
    facet_offsets: IntArray | None = field(default=None, repr=False)
    facet_neurons: Int32Array | None = field(default=None, repr=False)
    facet_states: Int32Array | None = field(default=None, repr=False)
    classes: Int32Array | None = field(default=None, repr=False)
    class_rule: str | None = None
    columns: dict[str, AnyArray] = field(default_factory=dict, repr=False)

    @classmethod
    def of_block(
        cls,
        network: Network,
        domain: tuple[FloatArray, FloatArray, tuple[FloatArray, FloatArray] | None],
        n_regions: int,
        block: RegionBlock,
        **facts: Any,
    ) -> Regions:
        """Return the Regions of a RegionBlock.

        Exact up to rounding: as the enumeration that made the block.

        Parameters
        ----------
        network : Network
        domain : (float64[D], float64[D], (A, b) or None)
            The box, and its polytope.
        n_regions : int
        block : RegionBlock
            Of all regions; without arrays if they were only counted.
        **facts
            complete, stopped_by, method, certified, n_exact, class_rule.
        """
        arrays, (lower, upper, polytope) = block.arrays(), domain
        for array in arrays.values():
            array.setflags(write=False)
        columns = {name: arrays.pop(name) for name in COLUMNS if name in arrays}
        return cls(
            network, lower, upper, polytope, np.flatnonzero(upper > lower), n_regions, columns=columns, **facts, **arrays
        )

    def block(self) -> RegionBlock:
        """Return all arrays that are known: RegionBlock."""
        return RegionBlock(**{name: getattr(self, name) for name in ARRAYS}, **self.columns)

    def __len__(self) -> int:
        """Return the number of regions."""
        return self.n_regions

    def patterns(self) -> ActivationPatterns:
        """Return the activation patterns: ActivationPatterns of R rows."""
        return ActivationPatterns(self._needed("packed"), self.network.pattern_layout)

    def halfspaces(self) -> HalfSpaceRows:
        """Compute the facets of all regions as half-spaces, none of them redundant.

        Exact up to rounding.

        Returns
        -------
        HalfSpaceRows
        """
        return HalfSpaceRows(*self._column("halfspaces", "facet_G", "facet_h"))

    def facets(self, r: Index) -> RegionFacets:
        """Return the facets of region r: RegionFacets.

        Exact up to rounding.

        Parameters
        ----------
        r : int

        Raises
        ------
        InputError
            There is no such region.
        """
        k = self._facets_of(r)
        rows, neurons, states = self.halfspaces(), self._needed("facet_neurons"), self._needed("facet_states")
        return RegionFacets(rows.G[k], rows.h[k], neurons[k], states[k])

    def neighbours(self, r: Index) -> IntArray:
        """Return the region behind each facet of region r, -1 outside: int64[n], in the order of ``facets(r)``."""
        return self._graph.neighbours[self._facets_of(r)]

    def _facets_of(self, r):
        offsets = self._needed("facet_offsets")
        r = check_index(r, "r", self.n_regions, "regions", "the result")
        return slice(int(offsets[r]), int(offsets[r + 1]))

    @functools.cached_property
    def _graph(self):
        return self.graph()

    def affine_maps(self) -> AffineMaps:
        """Compute the network on each region.

        Exact up to rounding.

        Returns
        -------
        AffineMaps
        """
        return AffineMaps(*self._column("affine_maps", "affine_maps_A", "affine_maps_c"))

    def volumes(self) -> FloatArray:
        """Compute the volume of each region, in the F free inputs: float64[R].

        Exact up to rounding.
        """
        return self._column("volumes", "volumes")[0]

    def vertices(self) -> RegionVertices:
        """Compute the corners of all regions.

        Exact up to rounding.

        Returns
        -------
        RegionVertices
        """
        return RegionVertices(*self._column("vertices", "vertex_offsets", "vertices", "vertex_facets"))

    def _needed(self, name):
        value = getattr(self, name)
        if value is None:
            what = "patterns" if name in ("packed", "witnesses") else "facets"
            raise MissingDataError(f"these regions were only counted; give want=({what!r},) to enumerate_regions")
        return value

    def _column(self, want, *names):
        """Return columns, by enumerating the same regions once more on first use."""
        if any(name not in self.columns or self.columns[name] is None for name in names):
            self._needed("packed")
            is_map = want == "affine_maps" and self.method == "search"
            self.columns.update(self._maps_at_witnesses() if is_map else self._again(want))
        return [self.columns[name] for name in names]

    def _maps_at_witnesses(self):
        """Return the affine maps by the gradients at the witnesses: dict of arrays."""
        slopes = self.network.jacobian(self.witnesses)[:, :, self.free]
        moved = np.einsum("rof,rf->ro", slopes, self.witnesses[:, self.free])
        return {"affine_maps_A": np.ascontiguousarray(slopes), "affine_maps_c": self.network.forward(self.witnesses) - moved}

    def _again(self, want):
        """Enumerate the same regions with another column: dict of arrays."""
        from .enumerating import enumerate_regions

        how = {"polytope": self.polytope, "classes": self.class_rule, "method": self.method}
        most = None if self.complete else self.n_regions
        again = enumerate_regions(self.network, self.lower, self.upper, want=(want,), max_regions=most, **how)
        if not np.array_equal(again.packed, self.packed):
            raise InputError("the regions are not in the order of enumerate_regions; enumerate them with this column")
        return {name: column for name, column in again.columns.items() if column is not None}

    def locate(self, points: ArrayLike) -> IntArray:
        """Find the region of each point.

        Exact up to rounding: a point's states are those of ``Network.states``.

        Parameters
        ----------
        points : float64[B, D] or float64[B, *input_shape]

        Returns
        -------
        int64[B]
            Number of the region; of a point between regions, the first one with the states of the point at all neurons that are
            not within rounding of a threshold. -1 outside the box or polytope, or if the region is not among these.
        """
        from .locating import locate

        return locate(self, self.network.as_points(points, "points"))

    def domain_volume(self) -> float:
        """Compute the volume of the box in the F free inputs, or of its part in the polytope: float.

        Exact up to rounding.
        """
        if self.polytope is None:
            return float(np.prod((self.upper - self.lower)[self.free]))
        from .polytopes import polytope_volume

        return polytope_volume(self.lower, self.upper, self.polytope)

    def verify(
        self,
        *,
        source: Callable[..., Any] | PathLike | None = None,
        n_points: int = 2000,
        n_source: int = 200,
        threads: int | None = None,
    ) -> RegionCheck:
        """Check the regions by what does not depend on how they were found.

        Exact up to rounding: witnesses have the patterns, by forward passes; affine maps give the outputs there; no pattern
        occurs twice; volumes add up to that of the box or polytope; the neighbour of a neighbour is the region itself; the
        regions are connected; and random points are in one of them.

        Parameters
        ----------
        source : torch.nn.Module, path of an ONNX file, or callable, optional
            The source of the network, which is evaluated at witnesses in its own precision.
        n_points, n_source : int, optional
            Number of random points, and of witnesses that the source evaluates.
        threads : int, optional

        Returns
        -------
        RegionCheck
            ``ok``, and what was counted.
        """
        from ...analysis.region_checks import check_regions

        return check_regions(self, source=source, n_points=n_points, n_source=n_source, threads=threads)

    def graph(self, *, threads: int | None = None) -> RegionGraph:
        """Find the region on the other side of each facet: RegionGraph.

        Exact up to rounding: by patterns; see ``pwlnet.region_graph``.
        """
        from .graph import region_graph

        return region_graph(self, threads=threads)

    def region(self, r: Index) -> Region:
        """Return region r as a ``Region``: its rows, radii, facets and inscribed ball, not cut to the box.

        Exact up to rounding: as ``region_of`` its witness.
        """
        from .region import region_of

        return region_of(self.network, self._needed("witnesses")[check_index(r, "r", self.n_regions, "regions", "the result")])

    @functools.cached_property
    def finder(self) -> tuple[AnyArray, IntArray]:
        """Keys of the patterns and classes in order, and the regions that they belong to."""
        from .locating import as_keys

        rows = self._needed("packed")
        if self.classes is not None:
            rows = np.column_stack([rows, self.classes.astype(np.uint64)])
        keys = as_keys(rows)
        order = np.argsort(keys, kind="stable")
        return keys[order], order

    def __repr__(self) -> str:
        state = "" if self.complete else f", stopped by {self.stopped_by}"
        return f"Regions({self.n_regions} regions in {len(self.free)} dimensions{state}, {self.network!r})"
