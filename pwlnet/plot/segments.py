"""Histograms of segments: how many on a line, and how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle, StepPatch

    from ..partition.lines.partitions import LinePartitions
    from ..partition.lines.summary import LineSummary

_BINS = 40


def segment_histogram(lines: LinePartitions | LineSummary, ax: Axes | None = None) -> list[Rectangle]:
    """Plot the histogram of the number of segments per line.

    Parameters
    ----------
    lines : LinePartitions or LineSummary
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.

    Returns
    -------
    list of Rectangle
        The bars.

    Raises
    ------
    InputError
        ``lines`` is empty.
    ImportError
        matplotlib is not installed.
    """
    if not len(lines):
        raise InputError("lines is empty; at least one line is needed")
    ax = new_figure((5.0, 3.2)).add_subplot() if ax is None else ax
    counts = lines.n_segments
    width = max(1, -(-(int(np.ptp(counts)) + 1) // _BINS))  # of a bar, an integer
    edges = np.arange(counts.min(), counts.max() + width + 1, width) - 0.5
    _, _, bars = ax.hist(counts, bins=edges.tolist(), color="C0")
    ax.axvline(np.median(counts), color="0.2", lw=1.0, ls="--", label=f"median {np.median(counts):g}")
    ax.set(xlabel="segments on a line", ylabel="lines")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return list(bars)  # type: ignore[arg-type]  # of one set of values: a BarContainer


def segment_lengths(summary: LineSummary, ax: Axes | None = None, *, label: str | None = None) -> StepPatch:
    """Plot the histogram of segment lengths of a summary.

    The axes are logarithmic. Empty bins at both ends are omitted; the number of segments that are shorter or longer than all
    edges is given in the legend.

    Parameters
    ----------
    summary : LineSummary
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.
    label : str, optional
        Label in the legend.

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
            f"summary has no segments with a length from {edges[0]} to {edges[-1]}; use other edges or longer lines"
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
