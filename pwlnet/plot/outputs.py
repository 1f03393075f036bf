"""Outputs along a line: polylines, breakpoints, class intervals, and the inputs as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..analysis.boundary import class_intervals
from ..errors import ShapeError
from ..partition.lines.ends import points_at
from .figures import new_figure, show_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.text import Text

    from ..partition.lines.partitions import LinePartition

_COLOURS = (
    "#1f77b4",
    "#ff7f0e",
    "#2ca02c",
    "#d62728",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#17375e",
    "#a2a500",
    "#17becf",
)
_GREY = "0.72"  # colour of outputs that are never the largest
_LABEL_WIDTH = 0.035  # narrowest class interval with a label, as a fraction of the line
_STRIP = 0.06  # height of the strip of classes, as a fraction of the axes
_TICKS = 0.05  # height of the ticks of breakpoints above it, likewise


class LineArtists(NamedTuple):
    """Artists of ``lines``: a Line2D per output, ticks (LineCollection), a Rectangle per class interval, texts."""

    outputs: list[Line2D]
    breakpoints: LineCollection
    classes: list[Rectangle]
    names: list[Text]


def lines(part: LinePartition, *, ax: Axes | None = None, labels: Sequence[str] | None = None) -> LineArtists:
    """Plot the outputs along a line exactly: as polylines through the breakpoints.

    A strip at the bottom shows which output is the largest (``analysis.boundary.class_intervals``); above it, each
    breakpoint has a tick. Outputs that are the largest on some interval are coloured as in the strip, the others are grey.

    Parameters
    ----------
    part : LinePartition
        One line of ``partition_lines``: ``lines.parts[i]``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.
    labels : list of str, optional
        Names of the outputs; their indices by default.

    Returns
    -------
    LineArtists

    Raises
    ------
    ShapeError
        The number of labels is not the number of outputs.
    ImportError
        matplotlib is not installed.
    """
    ax = new_figure((8.0, 4.0)).add_subplot() if ax is None else ax
    values, (ends, winners) = part.outputs(), class_intervals(part)
    labels = [str(k) for k in range(values.shape[1])] if labels is None else list(labels)
    if len(labels) != values.shape[1]:
        raise ShapeError(
            f"labels has {len(labels)} entries, but the network has {values.shape[1]} outputs; give one label per output"
        )
    colours = {k: _COLOURS[k % len(_COLOURS)] for k in set(winners.tolist())}
    drawn = []
    for k in range(values.shape[1]):
        style: dict[str, Any] = (
            {"color": colours[k], "lw": 1.8, "zorder": 3} if k in colours else {"color": _GREY, "lw": 0.8, "zorder": 2}
        )
        drawn += ax.plot(part.t, values[:, k], label=labels[k], **style)
    low, high = values.min(), values.max()
    room = (high - low or 1.0) / (1.0 - _STRIP - _TICKS - 0.06)
    ax.set(xlim=(0.0, 1.0), ylim=(high + 0.03 * room - room, high + 0.03 * room))
    ax.set(xlabel="t, from the start (0) to the end (1) of the line", ylabel="outputs")
    ax.spines[["top", "right"]].set_visible(False)
    classes, names = _class_strip(ax, ends, winners, colours, labels)
    across = ax.get_xaxis_transform()  # x in data coordinates, y as a fraction of the axes
    ticks = ax.vlines(part.t[1:-1], _STRIP, _STRIP + _TICKS, transform=across, color="0.25", lw=0.4, zorder=4)
    return LineArtists(drawn, ticks, classes, names)


def line_images(part: LinePartition, axes: Sequence[Axes], *, image_shape: Sequence[int] | None = None) -> list[AxesImage]:
    """Draw the inputs at equally spaced points of a line as images, one per axes.

    Parameters
    ----------
    part : LinePartition
    axes : list of matplotlib.axes.Axes
        The start is drawn on the first one, the end on the last one.
    image_shape : tuple of int, optional
        Channels (1 or 3), rows, columns; the network's input shape by default.

    Returns
    -------
    list of AxesImage

    Raises
    ------
    ShapeError
        The inputs are not images with 1 or 3 channels.
    """
    shape = part.network.input_shape if image_shape is None else tuple(image_shape)
    drawn = []
    places = np.linspace(0.0, 1.0, len(axes))
    for ax, t, point in zip(axes, places, points_at(part.start, part.end, places), strict=True):
        drawn.append(show_pixels(ax, point, shape))
        ax.set_xlabel(f"t = {t:.3g}", fontsize=8, labelpad=3)
    return drawn


def line_figure(
    parts: Sequence[LinePartition],
    *,
    titles: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    n_images: int = 7,
    image_shape: Sequence[int] | None = None,
) -> Figure:
    """Create a figure of one line through image space: images at the top, below them the outputs of one or more networks.

    Parameters
    ----------
    parts : list of LinePartition
        The same line for different networks, one panel each.
    titles : list of str, optional
        Titles of the panels.
    labels : list of str, optional
        Names of the outputs.
    n_images : int, optional
        Number of images.
    image_shape : tuple of int, optional
        As for ``line_images``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError, ImportError
        As for ``lines`` and ``line_images``.
    """
    figure = new_figure((9.0, 1.7 + 2.7 * len(parts)))
    grid = figure.add_gridspec(1 + len(parts), n_images, height_ratios=[1.0] + [2.3] * len(parts))
    line_images(parts[0], [figure.add_subplot(grid[0, k]) for k in range(n_images)], image_shape=image_shape)
    for row, part in enumerate(parts, start=1):
        ax = figure.add_subplot(grid[row, :])
        lines(part, ax=ax, labels=labels)
        if titles is not None:
            ax.set_title(titles[row - 1], fontsize=10, loc="left")
        if row < len(parts):
            ax.set_xlabel("")
    return figure


def _class_strip(ax, ends, winners, colours, labels):
    """Draw a rectangle per class interval along the bottom of the axes, with the label of the class in wide ones."""
    across = ax.get_xaxis_transform()
    bars = ax.bar(ends[:-1], _STRIP, np.diff(ends), align="edge", transform=across, zorder=3,
                  color=[colours[k] for k in winners.tolist()])  # fmt: skip
    names = []
    for first, last, k in zip(ends[:-1], ends[1:], winners.tolist(), strict=True):
        if last - first >= _LABEL_WIDTH:
            place = (0.5 * (first + last), 0.5 * _STRIP)
            names.append(ax.text(*place, labels[k], transform=across, color="white", fontsize=9, fontweight="bold",
                                 ha="center", va="center_baseline", zorder=5, clip_on=True))  # fmt: skip
    for boundary in ends[1:-1]:
        ax.axvline(boundary, color="0.6", lw=0.6, ls=":", zorder=1)
    return list(bars), names
