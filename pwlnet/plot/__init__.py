"""Plots of results with matplotlib: each function draws on axes or a figure, and returns the artists.

pyplot is never used: without ``ax``, a function creates a Figure (``artist.figure``), which needs no display and does not stay
open. To show it in a notebook, pass the axes of ``pyplot.subplots()``.
"""

from .attribution_maps import attribution_figure, attributions
from .figures import new_figure
from .outputs import LineArtists, line_figure, line_images, lines
from .segments import segment_histogram, segment_lengths

__all__ = [
    "LineArtists",
    "attribution_figure",
    "attributions",
    "line_figure",
    "line_images",
    "lines",
    "new_figure",
    "segment_histogram",
    "segment_lengths",
]
