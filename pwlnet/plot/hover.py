"""A view of a plane for notebooks: hover, zoom and pan over any number of polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from .._optional import require
from .._types import ArrayLike
from ..validation import check_count
from .hover_images import HoverImages

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from ..analysis.decision_regions import DecisionRegions
    from ..partition.planes.partitions import PlanePartition
    from .hover_widget import HoverView

_LEAST_SIZE = 50  # pixels


def hover_view(
    part: PlanePartition,
    *,
    color_by: Literal["pattern", "output", "area", "class"] | ArrayLike = "pattern",
    output: int = 0,
    cmap: str | Colormap = "viridis",
    regions: DecisionRegions | None = None,
    values: Mapping[str, ArrayLike] | None = None,
    names: Sequence[str] | None = None,
    width: int = 640,
    height: int = 480,
) -> HoverView:
    """Create a notebook view of a plane: hover to read about a polygon, turn the wheel to zoom, drag to move.

    The browser has an image of polygon numbers at the current zoom only, and asks the kernel for a new one at each change, so
    that millions of polygons are no more work for it than ten. A polygon is found exactly (``PlanePartition.locate``) at the
    centre of each pixel. Double click, or the key 0, shows the whole plane; the keys +, - and the arrows zoom and move.

    Parameters
    ----------
    part : PlanePartition
        One plane of ``partition_planes``: ``planes.parts[i]``.
    color_by : {"pattern", "output", "area", "class"} or float64[R], optional
        As for ``planes``. "output" has one colour in a polygon, that of the mean of the output at its corners; "class" needs
        ``regions``.
    output : int, optional
        The output that "output" shows.
    cmap : str or matplotlib.colors.Colormap, optional
    regions : DecisionRegions, optional
        ``part.classes()``. Polygons are then divided into pieces of one class, and the class is shown.
    values : dict of str to float64[R], optional
        Further values to show for each polygon, by name.
    names : list of str, optional
        Names of the outputs; their numbers by default.
    width, height : int, optional
        In pixels.

    Returns
    -------
    HoverView
        An anywidget; the last expression of a notebook cell shows it. JupyterLab, Jupyter Notebook, VS Code, Colab and marimo
        can; a saved notebook without a kernel shows nothing.

    Raises
    ------
    InputError
        The plane has no interior; there is no such output or colouring; a size is no integer of at least 50.
    ShapeError
        There is not one value for each polygon, or one name per output.
    ImportError
        anywidget is not installed, or matplotlib.
    """
    require("anywidget", "view", "the hover view")
    from .hover_widget import HoverView

    width, height = (check_count(each, name, least=_LEAST_SIZE) for each, name in ((width, "width"), (height, "height")))
    style = {"color_by": color_by, "output": output, "cmap": cmap, "regions": regions, "values": values, "names": names}
    return HoverView(HoverImages(part, **style), width, height)
