"""Plots of results with matplotlib: each function takes axes or a figure, draws, and returns what it drew.

Nothing here goes through pyplot: without ``ax`` a function makes a Figure of its own, reachable as ``artist.figure``:
it works without a display and leaves no figure open. To show one in a notebook, pass the axes of ``pyplot.subplots()``.
"""

from typing import NamedTuple

import numpy as np

from ._optional import require
from .analysis.boundary import class_intervals
from .errors import InputError, ShapeError
from .partition.lines.check import points_at

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
_GREY = "0.72"  # of outputs that are nowhere the largest
_LABEL_WIDTH = 0.035  # narrowest class interval, as a share of the line, that gets its name written into it
_STRIP = 0.06  # height of the strip of classes, as a share of the axes
_TICKS = 0.05  # the same of the breakpoints' ticks, above the strip
_BINS = 40


class LineArtists(NamedTuple):
    """What ``lines`` drew: a Line2D per output, ticks (LineCollection), a Rectangle per class interval, texts."""

    outputs: list
    breakpoints: object
    classes: list
    names: list


def lines(part, *, ax=None, labels=None):
    """Draw the outputs along a line, exactly: polylines through the breakpoints.

    Above the axis a strip shows which output is the largest (``analysis.boundary.class_intervals``); above that each
    breakpoint has a tick. Outputs that are the largest somewhere are coloured, as in the strip; the others are grey.

    Parameters
    ----------
    part : LinePartition
        One line of ``partition_lines``: ``lines.parts[i]``.
    ax : matplotlib.axes.Axes, optional
        Of a new figure by default.
    labels : list of str, optional
        Names of the outputs; their numbers by default.

    Returns
    -------
    LineArtists

    Raises
    ------
    ShapeError
        The labels are not as many as the outputs.
    ImportError
        matplotlib is not installed.
    """
    ax = new_figure((8.0, 4.0)).add_subplot() if ax is None else ax
    values, (ends, winners) = part.outputs(), class_intervals(part)
    labels = [str(k) for k in range(values.shape[1])] if labels is None else list(labels)
    if len(labels) != values.shape[1]:
        raise ShapeError(f"labels has {len(labels)} entries, but the network has {values.shape[1]} outputs; name each one")
    colours = {k: _COLOURS[k % len(_COLOURS)] for k in set(winners.tolist())}
    drawn = []
    for k in range(values.shape[1]):
        style = {"color": colours[k], "lw": 1.8, "zorder": 3} if k in colours else {"color": _GREY, "lw": 0.8, "zorder": 2}
        drawn += ax.plot(part.t, values[:, k], label=labels[k], **style)
    low, high = values.min(), values.max()
    room = (high - low or 1.0) / (1.0 - _STRIP - _TICKS - 0.06)
    ax.set(xlim=(0.0, 1.0), ylim=(high + 0.03 * room - room, high + 0.03 * room))
    ax.set(xlabel="t, from the start (0) to the end (1) of the line", ylabel="outputs")
    ax.spines[["top", "right"]].set_visible(False)
    classes, names = _class_strip(ax, ends, winners, colours, labels)
    across = ax.get_xaxis_transform()  # x in data, y as a share of the axes
    ticks = ax.vlines(part.t[1:-1], _STRIP, _STRIP + _TICKS, transform=across, color="0.25", lw=0.4, zorder=4)
    return LineArtists(drawn, ticks, classes, names)


def segment_histogram(lines, ax=None):
    """Draw how many lines have how many segments.

    Parameters
    ----------
    lines : LinePartitions or LineSummary
    ax : matplotlib.axes.Axes, optional
        Of a new figure by default.

    Returns
    -------
    list of Rectangle
        The bars.

    Raises
    ------
    InputError
        There are no lines.
    ImportError
        matplotlib is not installed.
    """
    if not len(lines):
        raise InputError("lines holds no lines; give at least one")
    ax = new_figure((5.0, 3.2)).add_subplot() if ax is None else ax
    counts = lines.n_segments
    width = max(1, -(-(int(np.ptp(counts)) + 1) // _BINS))  # whole numbers per bar
    edges = np.arange(counts.min(), counts.max() + width + 1, width) - 0.5
    _, _, bars = ax.hist(counts, bins=edges, color="C0")
    ax.axvline(np.median(counts), color="0.2", lw=1.0, ls="--", label=f"median {np.median(counts):g}")
    ax.set(xlabel="segments on a line", ylabel="lines")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return list(bars)


def segment_lengths(summary, ax=None, *, label=None):
    """Draw the histogram of a summary: how many segments are how long.

    Segments per bin, on logarithmic axes. Bins that are empty on both sides are left out; what is shorter or longer than
    all edges is told in a legend.

    Parameters
    ----------
    summary : LineSummary
    ax : matplotlib.axes.Axes, optional
        Of a new figure by default.
    label : str, optional
        For the legend.

    Returns
    -------
    StepPatch

    Raises
    ------
    InputError
        There are no segments between the edges.
    ImportError
        matplotlib is not installed.
    """
    bins, edges = summary.histogram[1:-1], summary.edges
    filled = np.flatnonzero(bins)
    if not filled.size:
        raise InputError(
            f"summary has no segments of {edges[0]} to {edges[-1]} units; make it with other edges, or from longer lines"
        )
    ax = new_figure((5.0, 3.2)).add_subplot() if ax is None else ax
    first, last = filled[0], filled[-1] + 1
    outside = [f"{n} {word}" for n, word in ((summary.histogram[0], "shorter"), (summary.histogram[-1], "longer")) if n]
    label = ", ".join([*([] if label is None else [label]), *outside]) or None
    drawn = ax.stairs(bins[first:last], edges[first : last + 1], label=label)
    ax.set(xscale="log" if edges[first] > 0 else "linear", yscale="log")
    ax.set(xlabel="length of a segment, in input units", ylabel="segments")
    ax.spines[["top", "right"]].set_visible(False)
    if label is not None:
        ax.legend(frameon=False)
    return drawn


def line_images(part, axes, *, image_shape=None):
    """Draw the inputs at evenly spaced points of a line as images, one on each of the given axes.

    Parameters
    ----------
    part : LinePartition
    axes : list of matplotlib.axes.Axes
        The first gets the start, the last the end.
    image_shape : tuple of int, optional
        Channels (1 or 3), rows, columns; the network's input shape by default.

    Returns
    -------
    list of AxesImage

    Raises
    ------
    ShapeError
        The inputs are no images of 1 or 3 channels.
    """
    shape = part.network.input_shape if image_shape is None else tuple(image_shape)
    drawn = []
    places = np.linspace(0.0, 1.0, len(axes))
    for ax, t, point in zip(axes, places, points_at(part.start, part.end, places), strict=True):
        drawn.append(_show_pixels(ax, point, shape))
        ax.set_xlabel(f"t = {t:.3g}", fontsize=8, labelpad=3)
    return drawn


def line_figure(parts, *, titles=None, labels=None, n_images=7, image_shape=None):
    """Make a figure of one line through image space: images on top, below them the outputs of one or more networks.

    Parameters
    ----------
    parts : list of LinePartition
        The same line, of different networks; a panel for each.
    titles : list of str, optional
        Of the panels.
    labels : list of str, optional
        Names of the outputs.
    n_images : int, optional
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


def attributions(values, *, image_shape, ax=None, limit=None):
    """Draw attributions of one output to the pixels of an image as a heat map: red raises the output, blue lowers it.

    Parameters
    ----------
    values : float64[D]
        One row of ``Attributions.values``, ``values[b, c]``; channels are added up.
    image_shape : tuple of int
        Channels, rows, columns.
    ax : matplotlib.axes.Axes, optional
        Of a new figure by default.
    limit : float, optional
        Attribution that gets the full colour; the largest absolute one of a pixel by default. Maps to compare need one limit.

    Returns
    -------
    AxesImage

    Raises
    ------
    ShapeError
        The values are not those of an image.
    InputError
        The values are not finite, or the limit is not positive.
    ImportError
        matplotlib is not installed.
    """
    pixels = _pixel_sums(values, image_shape)
    if limit is not None and not limit > 0.0:
        raise InputError(f"limit is {limit!r}; a positive number is needed, or None for the largest attribution")
    limit = np.abs(pixels).max() or 1.0 if limit is None else limit
    ax = new_figure((3.0, 3.0)).add_subplot() if ax is None else ax
    ax.set(xticks=[], yticks=[])
    return ax.imshow(pixels, cmap="RdBu_r", vmin=-limit, vmax=limit)


def attribution_figure(images, values, *, image_shape, titles=None, row_titles=None):
    """Make a figure of images and their attributions: a row for each image, first itself, then a heat map for each method.

    Heat maps of one row have the same limit, so that their colours can be compared.

    Parameters
    ----------
    images : float64[n, D]
        Pixels from 0 to 1.
    values : float64[n, m, D]
        Attributions of one output of each image by m methods.
    image_shape : tuple of int
        Channels (1 or 3), rows, columns.
    titles : list of str, optional
        Of the m methods.
    row_titles : list of str, optional
        Of the images.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError, InputError, ImportError
        As for ``attributions``; ShapeError also where images, attributions and titles are not equally many.
    """
    images, values = np.asarray(images, np.float64), np.asarray(values, np.float64)
    if values.ndim != 3 or images.shape != (values.shape[0], values.shape[2]) or not values.size:
        raise ShapeError(f"images has shape {images.shape} and values {values.shape}; give float64[n, D] and float64[n, m, D]")
    n, m, _ = values.shape
    for name, given, wanted in (("titles", titles, m), ("row_titles", row_titles, n)):
        if given is not None and len(given) != wanted:
            raise ShapeError(f"{name} has {len(given)} entries, but there are {wanted} to name; give as many")
    figure = new_figure((1.5 * (m + 1) + 0.4, 1.5 * n + 0.3))
    axes = figure.subplots(n, m + 1, squeeze=False)
    for i, row in enumerate(axes):
        _show_pixels(row[0], images[i], image_shape)
        limit = max(np.abs(_pixel_sums(each, image_shape)).max() for each in values[i]) or 1.0
        for ax, each in zip(row[1:], values[i], strict=True):
            attributions(each, image_shape=image_shape, ax=ax, limit=limit)
        if row_titles is not None:
            row[0].set_ylabel(row_titles[i], fontsize=8)
    for ax, title in zip(axes[0], ["image", *titles] if titles is not None else []):
        ax.set_title(title, fontsize=8)
    return figure


def new_figure(size):
    """Make an empty figure that pyplot does not know.

    Parameters
    ----------
    size : (float, float)
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    return require("matplotlib.figure", "plot", "plotting").Figure(figsize=size, layout="constrained")


def _show_pixels(ax, point, shape):
    """Draw inputs as the image they are: AxesImage."""
    if len(shape) != 3 or shape[0] not in (1, 3) or np.prod(shape) != point.size:
        raise ShapeError(
            f"image_shape is {tuple(shape)}, but {point.size} inputs are to be drawn; give (1 or 3, rows, columns)"
        )
    pixels = point.reshape(shape).transpose(1, 2, 0).clip(0.0, 1.0)
    ax.set(xticks=[], yticks=[])
    return ax.imshow(pixels if shape[0] == 3 else pixels[..., 0], cmap="gray", vmin=0.0, vmax=1.0)


def _pixel_sums(values, shape):
    """Attributions of pixels, over their channels: float64[rows, columns]."""
    values = np.asarray(values, np.float64)
    if len(shape) != 3 or values.ndim != 1 or np.prod(shape) != values.size:
        raise ShapeError(f"values has shape {values.shape} and image_shape is {tuple(shape)}; give a number for each input")
    if not np.isfinite(values).all():
        raise InputError("values holds NaN or infinities; give finite attributions")
    return values.reshape(shape).sum(axis=0)


def _class_strip(ax, ends, winners, colours, labels):
    """Rectangles along the bottom of the axes in the colour of each interval's class, and the names in wide ones."""
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
