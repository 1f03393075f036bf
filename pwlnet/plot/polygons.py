"""Polygons as few artists: all polygons of one colour are one compound path, built without a loop over polygons.

Legend: R polygons, S corners of all polygons, T triangles, G groups of polygons of one colour.
"""

import numpy as np

_STROKE = 0.4  # points; in the colour of the face. Without it, the background shows through at common edges
_MANY = 20_000  # polygons; of more than these, several are in one pixel
_LAYERS = 64
_NO_MARKER = 2  # line widths: a collection with one path and one line width is drawn as a marker, moved to the nearest pixel


def draw_polygons(ax, offsets, corners, colours, numbers, *, values=None, rasterized=True, **style):
    """Draw polygons with the colours of a table.

    Where many polygons are in one pixel, the last ones determine its colour. Many polygons are therefore drawn in layers, into
    which they are divided at random, not in the order of their colours.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    offsets : int64[R+1]
    corners : float64[S, 2]
    colours : uint8[C, 4]
    numbers : int[R]
        The colour of each polygon.
    values : float64[R], optional
        Values that the colours stand for. With ``cmap`` and ``norm`` in ``style``, the collection has the mean value of each of
        its paths, as a colour bar needs.
    rasterized : bool
        Draw as an image in vector formats.
    **style
        Further arguments of PathCollection.

    Returns
    -------
    PathCollection
        A path for each colour (and layer).
    """
    from matplotlib.collections import PathCollection

    n = len(offsets) - 1
    layers = np.random.default_rng(0).integers(_LAYERS if n > _MANY else 1, size=n)
    keys = layers * len(colours) + numbers
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    bounds = np.append(starts, n)
    colour_of_path = colours[keys[order[starts]] % len(colours)] / 255.0
    paths = _compound_paths(offsets, corners, order, bounds)
    style = {"linewidths": [_STROKE] * _NO_MARKER, "edgecolors": "face", **style}
    drawn = PathCollection(paths, facecolors=colour_of_path, **style)
    if values is not None:
        sums = np.add.reduceat(np.asarray(values, np.float64)[order], starts) if n else np.zeros(0)
        drawn.set_array(np.ma.masked_invalid(sums / np.diff(bounds)))
    return add_to_axes(ax, drawn, corners, rasterized)


def draw_outlines(ax, offsets, corners, *, color, linewidth, rasterized, **style):
    """Draw the outlines of polygons; those with two corners are segments.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    offsets : int64[R+1]
    corners : float64[S, 2]
    color : color
    linewidth : float
        In points.
    rasterized : bool
        Draw as an image in vector formats.
    **style
        Further arguments of PathCollection.

    Returns
    -------
    PathCollection
        One path.
    """
    from matplotlib.collections import PathCollection

    n = len(offsets) - 1
    paths = _compound_paths(offsets, corners, np.arange(n), np.array([0, n]))
    drawn = PathCollection(paths, facecolors="none", edgecolors=[color], linewidths=[linewidth] * _NO_MARKER, **style)
    return add_to_axes(ax, drawn, corners, rasterized)


def add_to_axes(ax, collection, corners, rasterized):
    """Add a collection that covers these corners to the axes, without margins: the collection."""
    collection.set_rasterized(rasterized)
    collection.set_in_layout(False)  # it is clipped to the axes; a layout would make a path of each triangle to learn its size
    if len(corners):
        low, high = corners.min(axis=0), corners.max(axis=0)
        collection.sticky_edges.x[:], collection.sticky_edges.y[:] = [low[0], high[0]], [low[1], high[1]]
        ax.update_datalim([low, high])
    ax.add_collection(collection, autolim=False)
    ax.autoscale_view()
    return collection


def fan_triangles(offsets, numbers):
    """Divide convex polygons into triangles that share the polygon's first corner: int64[T, 3]."""
    counts = np.maximum(np.diff(offsets) - 2, 0)
    first = np.repeat(offsets[:-1], counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([numbers[first], numbers[first + place + 1], numbers[first + place + 2]], axis=1).astype(np.int64)


def _compound_paths(offsets, corners, order, bounds):
    """Make G paths: path g has the polygons ``order[bounds[g] : bounds[g + 1]]``."""
    from matplotlib.path import Path

    counts = np.diff(offsets)[order] + 1  # each polygon is followed by a vertex that closes it
    starts = np.concatenate([[0], np.cumsum(counts)])
    source = np.arange(starts[-1]) + np.repeat(offsets[:-1][order] - starts[:-1], counts)
    closing = starts[1:] - 1
    source[closing] = offsets[:-1][order]
    codes = np.full(len(source), Path.LINETO, Path.code_type)
    codes[starts[:-1]], codes[closing] = Path.MOVETO, Path.CLOSEPOLY
    xy, bounds = corners[source], starts[bounds]
    return [Path(xy[a:b], codes[a:b]) for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist())]
