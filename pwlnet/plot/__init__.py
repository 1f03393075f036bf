"""Plots of results with matplotlib: each function draws on axes or a figure, and returns the artists.

pyplot is never used: without ``ax``, a function creates a Figure (``artist.figure``), which needs no display and does not stay
open. To show it in a notebook, pass the axes of ``pyplot.subplots()``. ``hover_view`` returns a widget for notebooks instead.
"""

from .attribution_maps import attribution_figure, attributions
from .certified import certified_accuracy, vote_probabilities
from .figures import new_figure
from .hover import hover_view
from .outputs import LineArtists, line_figure, line_images, lines
from .plane_regions import DecisionArtists, PlaneArtists, boundaries, decision_regions, planes
from .segments import segment_histogram, segment_lengths

__all__ = [
    "DecisionArtists",
    "LineArtists",
    "PlaneArtists",
    "attribution_figure",
    "attributions",
    "boundaries",
    "certified_accuracy",
    "decision_regions",
    "hover_view",
    "line_figure",
    "line_images",
    "lines",
    "new_figure",
    "planes",
    "segment_histogram",
    "segment_lengths",
    "vote_probabilities",
]
