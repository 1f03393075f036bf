"""Heat maps of attributions to the pixels of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._types import ArrayLike
from ..errors import InputError, ShapeError
from .figures import new_figure, show_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


def attributions(
    values: ArrayLike, *, image_shape: Sequence[int], ax: Axes | None = None, limit: float | None = None
) -> AxesImage:
    """Draw the attributions of one output as a heat map: red increases the output, blue decreases it.

    Parameters
    ----------
    values : float64[D]
        A row of ``Attributions.values``, ``values[b, c]``; channels are summed.
    image_shape : tuple of int
        Channels, rows, columns.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; those of a new figure by default.
    limit : float, optional
        Absolute attribution with the full colour; that of the largest pixel by default. Use one limit to compare maps.

    Returns
    -------
    AxesImage

    Raises
    ------
    ShapeError
        ``values`` does not have the size of the image.
    InputError
        ``values`` has NaN or infinite entries, or ``limit`` is not positive.
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


def attribution_figure(
    images: ArrayLike,
    values: ArrayLike,
    *,
    image_shape: Sequence[int],
    titles: Sequence[str] | None = None,
    row_titles: Sequence[str] | None = None,
) -> Figure:
    """Create a figure of images and their attributions: one row per image, with a heat map for each method.

    The heat maps of a row have the same limit, so their colours can be compared.

    Parameters
    ----------
    images : float64[n, D]
        Pixels in [0, 1].
    values : float64[n, m, D]
        Attributions of one output of each image by m methods.
    image_shape : tuple of int
        Channels (1 or 3), rows, columns.
    titles : list of str, optional
        Titles of the m methods.
    row_titles : list of str, optional
        Titles of the images.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError, InputError, ImportError
        As for ``attributions``; ShapeError also if the numbers of images, attributions and titles do not agree.
    """
    images, values = np.asarray(images, np.float64), np.asarray(values, np.float64)
    if values.ndim != 3 or images.shape != (values.shape[0], values.shape[2]) or not values.size:
        raise ShapeError(
            f"images has shape {images.shape} and values {values.shape}; float64[n, D] and float64[n, m, D] are needed"
        )
    n, m, _ = values.shape
    for name, entries, expected in (("titles", titles, m), ("row_titles", row_titles, n)):
        if entries is not None and len(entries) != expected:
            raise ShapeError(f"{name} has {len(entries)} entries; {expected} are needed")
    figure = new_figure((1.5 * (m + 1) + 0.4, 1.5 * n + 0.3))
    axes = figure.subplots(n, m + 1, squeeze=False)
    for i, row in enumerate(axes):
        show_pixels(row[0], images[i], image_shape)
        limit = max(np.abs(_pixel_sums(each, image_shape)).max() for each in values[i]) or 1.0
        for ax, each in zip(row[1:], values[i], strict=True):
            attributions(each, image_shape=image_shape, ax=ax, limit=limit)
        if row_titles is not None:
            row[0].set_ylabel(row_titles[i], fontsize=8)
    for ax, title in zip(axes[0], ["image", *titles] if titles is not None else []):
        ax.set_title(title, fontsize=8)
    return figure


def _pixel_sums(values, shape):
    """Sum the attributions of each pixel over its channels: float64[rows, columns]."""
    values = np.asarray(values, np.float64)
    if len(shape) != 3 or values.ndim != 1 or np.prod(shape) != values.size:
        raise ShapeError(f"values has shape {values.shape} and image_shape is {tuple(shape)}; one value per input is needed")
    if not np.isfinite(values).all():
        raise InputError("values has NaN or infinite entries; finite attributions are needed")
    return values.reshape(shape).sum(axis=0)
