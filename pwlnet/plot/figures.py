"""What all plots share: an empty figure, and inputs drawn as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._optional import require
from .._types import FloatArray
from ..errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


def new_figure(size: tuple[float, float]) -> Figure:
    """Create an empty figure that pyplot does not manage.

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


def show_pixels(ax: Axes, point: FloatArray, shape: Sequence[int]) -> AxesImage:
    """Draw an input as an image.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    point : float64[D]
    shape : tuple of int
        Channels (1 or 3), rows, columns.

    Returns
    -------
    AxesImage

    Raises
    ------
    ShapeError
        The input does not have this shape.
    """
    if len(shape) != 3 or shape[0] not in (1, 3) or np.prod(shape) != point.size:
        raise ShapeError(f"image_shape is {tuple(shape)}, but the point has {point.size} inputs; give (1 or 3, rows, columns)")
    pixels = point.reshape(shape).transpose(1, 2, 0).clip(0.0, 1.0)
    ax.set(xticks=[], yticks=[])
    return ax.imshow(pixels if shape[0] == 3 else pixels[..., 0], cmap="gray", vmin=0.0, vmax=1.0)
