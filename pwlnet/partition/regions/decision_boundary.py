"""The decision boundary of a network as a complex of flat pieces, and its decision regions, from regions divided by classes.

Legend: R regions, B pieces, C components, F free inputs, N facets, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..._types import FloatArray, Int32Array, IntArray
from ...errors import InputError
from .graph import RegionGraph, as_regions, region_graph
from .measures import facet_areas, region_volumes

if TYPE_CHECKING:
    from .regions import Regions


@dataclass(frozen=True, eq=False)
class DecisionComplex:
    """Decision regions and the boundary between them; made by ``decision_complex``.

    Attributes
    ----------
    facets : int64[B]
        Facet of the first region of each piece of the boundary.
    regions : int64[B, 2]
        The regions on its two sides, the lower number first.
    classes : int32[B, 2]
        Their classes.
    areas : float64[B]
        Volumes of the pieces, of F - 1 dimensions; 1 for points.
    normals : float64[B, F]
        Unit normals, from the first region to the second one.
    components : int64[R]
        Component of each region: a connected set of regions of one class, numbered by their first regions.
    component_classes : int32[C]
    component_volumes : float64[C]
    component_areas : float64[C]
        Area of the whole boundary of each component, sides of the box or polytope included.
    class_volumes : float64[O]
    """

    facets: IntArray = field(repr=False)
    regions: IntArray = field(repr=False)
    classes: Int32Array = field(repr=False)
    areas: FloatArray = field(repr=False)
    normals: FloatArray = field(repr=False)
    components: IntArray = field(repr=False)
    component_classes: Int32Array
    component_volumes: FloatArray
    component_areas: FloatArray
    class_volumes: FloatArray

    @property
    def n_components(self) -> int:
        """Number of components of all classes."""
        return len(self.component_classes)

    @property
    def component_widths(self) -> FloatArray:
        """Twice the volume by the area of the boundary: less than the distance of the sides of a slab. float64[C]."""
        return 2.0 * self.component_volumes / self.component_areas

    @property
    def thinnest(self) -> int:
        """The component with the least width."""
        return int(self.component_widths.argmin())


def decision_complex(regions: Regions, *, graph: RegionGraph | None = None, threads: int | None = None) -> DecisionComplex:
    """Find the pieces of the decision boundary, and the connected components of the decision regions.

    Exact up to rounding: the combinatorics are those of the regions; volumes, areas and normals have rounding errors.

    Parameters
    ----------
    regions : Regions
        All regions of a box or polytope, by ``enumerate_regions(..., classes="max")`` or "min".
    graph : RegionGraph, optional
        Their ``region_graph``.
    threads : int, optional

    Returns
    -------
    DecisionComplex
        Two components of a class that share no more than a face of lower dimension are two.

    Raises
    ------
    InputError
        The regions are not divided by classes, or not complete, or the box is a point.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> from pwlnet.partition.regions.decision_boundary import decision_complex
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> lower, upper = np.full(64, 8.0), np.full(64, 8.0)
    >>> lower[[27, 36]], upper[[27, 36]] = 0.0, 16.0
    >>> regions = pwlnet.enumerate_regions(network, lower, upper, classes="max", want=("vertices", "halfspaces"))
    >>> found = decision_complex(regions)
    >>> bool(np.isclose(found.class_volumes.sum(), 16.0**2))
    True
    """
    classes = as_regions(regions).classes
    if classes is None:
        raise InputError("the regions are not divided by classes; give classes='max' or 'min' to enumerate_regions")
    if not regions.complete:
        raise InputError(f"the regions are not complete (stopped by {regions.stopped_by}); enumerate all of them")
    if not len(regions.free):
        raise InputError("the box is a point, which has no boundary; give a box with a side of positive width")
    graph = region_graph(regions, threads=threads) if graph is None else graph
    owners, neighbours = graph.owners, graph.neighbours
    same = (neighbours >= 0) & (classes[owners] == classes[np.maximum(neighbours, 0)])
    areas, volumes = facet_areas(regions, which=~same, threads=threads), region_volumes(regions, threads=threads)
    facets = np.flatnonzero(~same & (neighbours > owners))
    sides = np.column_stack([owners[facets], neighbours[facets]])
    normals = regions.halfspaces().G[facets]
    normals = normals / np.abs(normals).max(axis=1, keepdims=True)
    n, components = graph.components(same)
    _, first = np.unique(components, return_index=True)
    return DecisionComplex(
        facets, sides, classes[sides], areas[facets], normals / np.linalg.norm(normals, axis=1, keepdims=True), components,
        classes[first], np.bincount(components, volumes, n), np.bincount(components[owners], areas, n),  # type: ignore[arg-type]
        np.bincount(classes, volumes, regions.network.n_outputs),  # type: ignore[arg-type]  # the stub ignores the weights
    )  # fmt: skip
