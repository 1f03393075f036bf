"""Images of polygon numbers for the hover view: which polygon is at each pixel, its colour, and what is known about it.

Legend: R polygons, C cells (polygons, or their class pieces), O outputs, H rows and W columns of pixels.
"""

from typing import NamedTuple

import numpy as np

from ..errors import InputError, ShapeError
from ..partition.planes.locating import Locator
from ..validation import check_choice, check_index
from .colours import PATTERN_COLOURS, as_bytes, class_colours, number_patterns
from .plane_regions import one_per_polygon, polygon_values, value_colours

COLORINGS = ("pattern", "output", "area", "class")
_MOST_OUTPUTS = 10  # listed on hover
_MOST_PIXELS = 4096  # width or height of an image
_EDGE_SHARE = 0.2  # edges are shown if at most this share of the pixels is on one
_EDGE_SHADE = 0.55  # brightness of a pixel on an edge


class HoverImages:
    """Images of the polygons of a plane at any zoom, or of their class pieces.

    Parameters
    ----------
    part, color_by, output, cmap, regions, values, names
        As for ``hover_view``.

    Attributes
    ----------
    bounds : (float, float, float, float)
        Smallest u and v, largest u and v.
    n_cells : int
    """

    def __init__(self, part, *, color_by="pattern", output=0, cmap="viridis", regions=None, values=None, names=None):
        low, high = (part.shared_vertices.min(axis=0), part.shared_vertices.max(axis=0)) if part.n_polygons else ([0], [0])
        if not np.all(low < high):
            raise InputError("part has no interior; the view needs a polygon with an area")
        self.bounds = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        self._part, self._regions, self._names = part, regions, _output_names(part, names)
        self._values = {name: one_per_polygon(part, each, f"values[{name!r}]") for name, each in (values or {}).items()}
        if regions is None:
            self._locate, self.n_cells = part.locate, part.n_polygons
        else:
            self.n_cells = len(regions.labels)
            self._locate = Locator(_Cells(regions.offsets, regions.vertex_numbers, regions.shared_vertices, self.n_cells))
        self._colours = np.concatenate([self._cell_colours(color_by, output, cmap), np.zeros((1, 4), np.uint8)])

    def image(self, bounds, width, height):
        """Find the cell at the centre of each pixel.

        Parameters
        ----------
        bounds : (float, float, float, float)
            Smallest u and v, largest u and v.
        width, height : int
            In pixels.

        Returns
        -------
        cells : int32[H, W]
            -1 outside. Row 0 has the largest v.
        pixels : uint8[H, W, 4]
            Red, green, blue and opacity. Pixels on edges are darker, unless there are too many of them.

        Raises
        ------
        InputError
            The bounds are empty or not finite, or the image is too large.
        """
        low_u, low_v, high_u, high_v = (float(b) for b in bounds)
        if not (np.isfinite([low_u, low_v, high_u, high_v]).all() and low_u < high_u and low_v < high_v):
            raise InputError(f"bounds is {bounds!r}; give finite u and v of the lower left, then of the upper right corner")
        if not (1 <= width <= _MOST_PIXELS and 1 <= height <= _MOST_PIXELS):
            raise InputError(f"the image has {width} x {height} pixels; give 1 to {_MOST_PIXELS}")
        points = np.empty((height, width, 2))
        points[..., 0] = low_u + (np.arange(width) + 0.5) / width * (high_u - low_u)
        points[..., 1] = (high_v - (np.arange(height) + 0.5) / height * (high_v - low_v))[:, None]
        cells = self._locate(points.reshape(-1, 2)).reshape(height, width).astype(np.int32)
        pixels = self._colours[cells]  # -1 is the last colour, which is transparent
        edges = np.zeros((height, width), bool)
        edges[:, :-1] |= cells[:, 1:] != cells[:, :-1]
        edges[:-1] |= cells[1:] != cells[:-1]
        if edges.mean() <= _EDGE_SHARE:
            pixels[edges, :3] = (pixels[edges, :3] * _EDGE_SHADE).astype(np.uint8)
        return cells, pixels

    def details(self, cell):
        """Describe a cell: list of (name, text).

        Outputs are those at the mean of the polygon's corners; if there are many, the largest ones.

        Raises
        ------
        InputError
            There is no such cell.
        """
        part, regions = self._part, self._regions
        if not 0 <= cell < self.n_cells:
            raise InputError(f"cell is {cell!r}, but there are cells 0 to {self.n_cells - 1}; give one of these")
        polygon = cell if regions is None else int(regions.polygon[cell])
        rows = [("polygon", str(polygon)), ("area", f"{part.areas[polygon]:.6g}")]
        corners = part.vertex_numbers[part.offsets[polygon] : part.offsets[polygon + 1]]
        outputs = part.outputs[corners].mean(axis=0)
        if regions is not None:
            rows += [("class", self._names[regions.labels[cell]]), ("region", str(int(regions.regions[cell])))]
        rows += [(name, f"{values[polygon]:.6g}") for name, values in self._values.items()]
        listed = np.argsort(-outputs, kind="stable")[:_MOST_OUTPUTS] if len(outputs) > _MOST_OUTPUTS else range(len(outputs))
        return rows + [(f"output {self._names[k]}", f"{outputs[k]:.6g}") for k in listed]

    def _cell_colours(self, color_by, output, cmap):
        """Compute the colour of each cell: uint8[C, 4]."""
        part, regions = self._part, self._regions
        named = isinstance(color_by, str)
        if named and check_choice(color_by, COLORINGS, "color_by") == "class":
            if regions is None:
                raise InputError('color_by is "class", which needs decision regions; give regions=part.classes()')
            return class_colours(len(self._names))[regions.labels]
        if named and color_by == "pattern":
            colours = as_bytes(PATTERN_COLOURS)[number_patterns(part.patterns())]
        else:
            if named and color_by == "output":
                output = check_index(output, "output", part.outputs.shape[1], "outputs")
                sums = np.add.reduceat(part.outputs[part.vertex_numbers, output], part.offsets[:-1])
                color_by = sums / np.diff(part.offsets)
            values, norm = polygon_values(part, color_by, None)
            table, numbers, _ = value_colours(values, cmap, norm)
            colours = table[numbers]
        return colours if regions is None else colours[regions.polygon]


class _Cells(NamedTuple):
    """What a Locator reads."""

    offsets: np.ndarray  # int64[C+1]
    vertex_numbers: np.ndarray  # int32[*]
    shared_vertices: np.ndarray  # float64[V, 2]
    n_polygons: int


def _output_names(part, names):
    """Validate the names of outputs, or number them: list of str."""
    n = part.outputs.shape[1]
    names = [str(k) for k in range(n)] if names is None else [str(name) for name in names]
    if len(names) != n:
        raise ShapeError(f"names has {len(names)} entries, but the network has {n} outputs; give one name per output")
    return names
