"""Activation regions, decision regions and class boundaries on planes.

Legend: R polygons, Q pieces, B boundary segments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._types import ArrayLike
from ..errors import InputError, ShapeError
from ..validation import check_choice, check_index
from .colours import PATTERN_COLOURS, as_bytes, class_colours, number_patterns
from .curved import drawn_corners, drawn_triangles
from .figures import new_figure
from .polygons import add_to_axes, draw_outlines, draw_polygons, fan_triangles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection, PathCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.legend import Legend

    from ..analysis.decision_regions import DecisionRegions
    from ..partition.planes.partitions import PlanePartition

_COLORINGS = ("pattern", "output", "area")
_SMALL_AREAS = 0.01  # share of the polygons that have the colour of the smallest area: slivers may be 10**10 times smaller
_EDGE_COLOUR = "0.1"
_EDGE_WIDTH = 0.3  # points


class PlaneArtists(NamedTuple):
    """Artists of ``planes``: a PathCollection, or a TriMesh of an output; a PathCollection or None; a Colorbar or None."""

    polygons: Collection
    edges: Collection | None
    colorbar: Colorbar | None


class DecisionArtists(NamedTuple):
    """Artists of ``decision_regions``: a PathCollection, and a Legend or None."""

    polygons: Collection
    legend: Legend | None


def planes(
    part: PlanePartition,
    *,
    ax: Axes | None = None,
    color_by: Literal["pattern", "output", "area"] | ArrayLike = "pattern",
    output: int = 0,
    cmap: str | Colormap = "viridis",
    norm: Normalize | None = None,
    colorbar: bool = False,
    edges: bool = False,
    transform: Callable[..., Any] | None = None,
    rasterized: bool = True,
) -> PlaneArtists:
    """Plot the activation regions of a plane.

    A million polygons take a few seconds: they are one path per colour.

    Parameters
    ----------
    part : PlanePartition
        One plane of ``partition_planes``: ``planes.parts[i]``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.
    color_by : {"pattern", "output", "area"} or float64[R], optional
        "pattern": one of seven colours by the activation pattern. Polygons on both sides of an edge at which one ReLU changes
        have different colours; a pattern has the same colour on all planes.
        "output": an output of the network, exact at the vertices, and interpolated linearly in between, as it is.
        "area": the area of each polygon; logarithmic. The smallest 1 % have one colour.
        An array: a value for each polygon; NaN is not drawn.
    output : int, optional
        The output that "output" shows.
    cmap : str or matplotlib.colors.Colormap, optional
        The default can be read with all colour vision deficiencies, and in grey.
    norm : matplotlib.colors.Normalize, optional
        From values to [0, 1]; linear, or logarithmic for "area", by default.
    colorbar : bool, optional
        Add a colour bar; not for "pattern".
    edges : bool, optional
        Draw the edges of the polygons, as thin lines.
    transform : callable, optional
        From coordinates (u, v), float64[N, 2], to those of the axes. Straight edges become curves: polar coordinates
        ``(rho, theta)`` can be drawn as ``lambda p: np.stack([p[:, 0] * np.cos(p[:, 1]), p[:, 0] * np.sin(p[:, 1])], axis=1)``.
    rasterized : bool, optional
        Draw the polygons as an image in PDF and SVG files.

    Returns
    -------
    PlaneArtists

    Raises
    ------
    InputError
        There is no such output or colouring, a colour bar was requested for "pattern", or ``transform`` is not finite.
    ShapeError
        There is not one value for each polygon, or ``transform`` does not return points.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> a, b, c = images[:3]
    >>> part = pwlnet.partition_planes(network, a, b - a, c - a, [[0, 0], [1, 0], [1, 1], [0, 1]]).parts[0]
    >>> drawn = pwlnet.plot.planes(part, color_by="output", output=3, colorbar=True)
    >>> drawn.colorbar.ax.get_ylabel()
    'output 3'
    """
    if isinstance(color_by, str):
        check_choice(color_by, _COLORINGS, "color_by")
    by_pattern = isinstance(color_by, str) and color_by == "pattern"
    if by_pattern and colorbar:
        raise InputError('colorbar is True, but the colours of color_by="pattern" have no order; use another color_by')
    ax = _axes(ax, transform)
    offsets, corners = drawn_corners(part.offsets, part.vertices, transform)
    if by_pattern:
        numbers = number_patterns(part.patterns())
        drawn = draw_polygons(ax, offsets, corners, as_bytes(PATTERN_COLOURS), numbers, rasterized=rasterized)
    elif isinstance(color_by, str) and color_by == "output":
        drawn = _draw_output(ax, part, output, transform, cmap, norm, rasterized)
    else:
        values, norm = polygon_values(part, color_by, norm)
        colours, numbers, norm = value_colours(values, cmap, norm)
        style = {"values": values, "cmap": cmap, "norm": norm, "rasterized": rasterized}
        drawn = draw_polygons(ax, offsets, corners, colours, numbers, **style)
    style = {"color": _EDGE_COLOUR, "linewidth": _EDGE_WIDTH, "joinstyle": "round", "zorder": 2}
    outlines = draw_outlines(ax, offsets, corners, rasterized=rasterized, **style) if edges else None
    label = {"output": f"output {output}", "area": "area"}.get(color_by if isinstance(color_by, str) else "", "")
    bar = ax.figure.colorbar(drawn, ax=ax, label=label) if colorbar else None
    return PlaneArtists(drawn, outlines, bar)


def decision_regions(
    regions: DecisionRegions,
    *,
    ax: Axes | None = None,
    names: Sequence[str] | None = None,
    legend: bool = True,
    transform: Callable[..., Any] | None = None,
    rasterized: bool = True,
) -> DecisionArtists:
    """Plot the decision regions of a plane, coloured by class.

    Ten classes have colours that can be told apart with all colour vision deficiencies; further ones repeat them, paler.

    Parameters
    ----------
    regions : DecisionRegions
        Of ``part.classes()``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.
    names : list of str, optional
        Names of the classes; their numbers by default.
    legend : bool, optional
        Name the classes that occur, on the right of the axes.
    transform : callable, optional
        As for ``planes``.
    rasterized : bool, optional
        Draw the polygons as an image in PDF and SVG files.

    Returns
    -------
    DecisionArtists

    Raises
    ------
    ShapeError
        There are fewer names than classes, or ``transform`` does not return points.
    InputError
        ``transform`` is not finite.
    ImportError
        matplotlib is not installed.
    """
    names = class_names(regions, names)
    ax = _axes(ax, transform)
    offsets, corners = drawn_corners(regions.offsets, regions.shared_vertices[regions.vertex_numbers], transform)
    colours = class_colours(len(names))
    drawn = draw_polygons(ax, offsets, corners, colours, regions.labels, rasterized=rasterized)
    return DecisionArtists(drawn, _class_legend(ax, regions, names, colours) if legend else None)


def boundaries(
    regions: DecisionRegions,
    *,
    ax: Axes | None = None,
    color: Any = "black",
    linewidth: float = 1.0,
    transform: Callable[..., Any] | None = None,
    rasterized: bool = False,
) -> PathCollection:
    """Plot the boundaries between classes of a plane.

    Parameters
    ----------
    regions : DecisionRegions
        Of ``part.classes()``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.
    color : color, optional
    linewidth : float, optional
        In points.
    transform : callable, optional
        As for ``planes``.
    rasterized : bool, optional
        Draw the lines as an image in PDF and SVG files.

    Returns
    -------
    PathCollection
        One path with all segments.

    Raises
    ------
    ShapeError, InputError
        ``transform`` does not return points, or is not finite.
    ImportError
        matplotlib is not installed.
    """
    ax = _axes(ax, transform)
    segments, _ = regions.boundaries()
    # A segment is a polygon with two corners.
    offsets, corners = drawn_corners(2 * np.arange(len(segments) + 1), np.asarray(segments).reshape(-1, 2), transform)
    style = {"color": color, "linewidth": linewidth, "capstyle": "round", "zorder": 3}
    return draw_outlines(ax, offsets, corners, rasterized=rasterized, **style)


def polygon_values(part, values, norm):
    """Return the values that colour polygons, "area" or an array, and their norm: (float64[R], Normalize or None)."""
    if isinstance(values, str):
        from matplotlib.colors import LogNorm

        positive = part.areas[part.areas > 0.0]
        low, high = np.quantile(positive, [_SMALL_AREAS, 1.0]) if len(positive) else (1.0, 1.0)
        return np.maximum(part.areas, low), LogNorm(low, high) if norm is None else norm
    return one_per_polygon(part, values, "color_by"), norm


def one_per_polygon(part, values, name):
    """Validate an array of one number for each polygon: float64[R]."""
    values = np.asarray(values, np.float64)
    if values.shape != (part.n_polygons,):
        raise ShapeError(f"{name} has shape {values.shape}, but there are {part.n_polygons} polygons; give one value for each")
    return values


def value_colours(values, cmap, norm):
    """Compute the colours of values: (different colours uint8[C, 4], the colour of each value int64[R], norm)."""
    import matplotlib
    from matplotlib.colors import Normalize

    norm = Normalize() if norm is None else norm
    shown = np.ma.masked_invalid(values)
    norm.autoscale_None(shown)
    rgba = matplotlib.colormaps.get_cmap(cmap)(norm(shown), bytes=True).reshape(-1, 4)
    packed, numbers = np.unique(np.ascontiguousarray(rgba).view(np.uint32)[:, 0], return_inverse=True)
    return packed.view(np.uint8).reshape(-1, 4), numbers, norm


def class_names(regions, names):
    """Validate the names of classes, or number them: list of str."""
    least = int(regions.labels.max(initial=-1)) + 1
    names = [str(k) for k in range(least)] if names is None else [str(name) for name in names]
    if len(names) < least:
        raise ShapeError(f"names has {len(names)} entries, but there is a class {least - 1}; give one name per class")
    return names


def _axes(ax, transform):
    """Return the axes to draw on, with labels if they are new."""
    if ax is not None:
        return ax
    ax = new_figure((5.0, 4.5)).add_subplot()
    ax.set(xlabel="u", ylabel="v") if transform is None else ax.set_aspect("equal")
    return ax


def _draw_output(ax, part, output, transform, cmap, norm, rasterized):
    """Draw an output by linear interpolation between the vertices: TriMesh."""
    from matplotlib.collections import TriMesh
    from matplotlib.tri import Triangulation

    output = check_index(output, "output", part.outputs.shape[1], "outputs")
    triangles = fan_triangles(part.offsets, part.vertex_numbers)
    if not len(triangles):
        raise InputError('color_by is "output", but the plane has no interior; use partition_lines and plot.lines')
    values = part.outputs[:, output]
    triangles, corners, values = drawn_triangles(triangles, part.shared_vertices, values, transform)
    drawn = TriMesh(Triangulation(corners[:, 0], corners[:, 1], triangles), cmap=cmap, norm=norm)
    drawn.set_array(values)
    drawn.autoscale_None()
    return add_to_axes(ax, drawn, corners, rasterized)


def _class_legend(ax, regions, names, colours):
    """Add a legend of the classes that occur, on the right of the axes: Legend."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colours[k] / 255.0, label=names[k]) for k in np.unique(regions.labels).tolist()]
    return ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
