"""Random planes for tests: generic ones, and ones whose polygons touch and follow the zero lines of a network's first layer."""

import functools

import numpy as np

from .description import SWITCHING, live, shapes
from .exact_plane import partition
from .random_lines import first_rows, vertex
from .random_networks import DYADIC_SLOPES, random_network

# Corners (s, t) of polygons with an edge from (0, 0) to (2, 0); (1, 1/2) is inside.
TEMPLATES = (
    ((0, 0), (2, 0), (0, 2)),
    ((0, 0), (2, 0), (4, 4)),
    ((0, 0), (2, 0), (2, 2), (0, 2)),
    ((0, 0), (2, 0), (3, 3), (-2, 3)),
    ((0, 0), (2, 0), (3, 2), (1, 3), (-1, 2)),
    ((0, 0), (2, 0), (3, 1), (2, 3), (0, 3), (-1, 1)),
    ((0, 0), (2, 0), (3, 1), (3, 3), (2, 4), (0, 4), (-1, 3), (-1, 1)),
)
# Where the point that the polygon is laid at is in the template: a corner, in the middle of an edge, inside.
ANCHORS = ((0, 0), (0, 0), (1, 0), (1, 0.5))
MOST_NEURONS = 36  # of a network of `random_plane_case`
MOST_CELLS = 300


def random_plane(rng, description, degenerate):
    """Draw a plane and a convex polygon in it: origin, e1, e2 float64[D], polygon float64[V, 2]; D of 2 at least.

    All numbers are dyadic, exact in float64 (degenerate ones where the network's weights are small dyadic numbers), and e1 and
    e2 are not parallel. Generic polygons are counter-clockwise, each vertex a corner. Degenerate polygons have a corner, the
    middle of an edge or an inner point where pre-activations of the first switching layer vanish, and edges along the zero
    lines of these; they may be clockwise and have vertices in the middle of edges. Degenerate planes go through a point where
    such pre-activations vanish in the network's input, or through 0; some lie in the zero set of one, and some are parallel to
    two axes.
    """
    if degenerate:
        rows = first_rows(description)
        plane = _degenerate_plane(rng, rows)
        lines = [rows[:, :-1] @ e for e in plane[1:]] + [rows @ np.append(plane[0], 1.0)]
        return *plane, _degenerate_polygon(rng, np.column_stack(lines))
    size, scale = int(np.prod(description[0]["shape"])), rng.choice((1.0, 2.0, 4.0))
    origin = rng.integers(-2 * scale, 2 * scale + 1, size) / scale
    e1, e2 = _independent(lambda: rng.integers(-2 * scale, 2 * scale + 1, size) / scale)
    d, n = _independent(lambda: rng.integers(-4, 5, 2) / 4.0)
    return origin, e1, e2, _laid(_template(rng), ANCHORS[-1], rng.integers(-8, 9, 2) / 8.0, d, n)


def _degenerate_plane(rng, rows):
    """A plane through a vertex of the first layer's ``rows`` [m, D + 1], or through 0; as a rule that's the point (0, 0)."""
    size = rows.shape[1] - 1
    through = vertex(rng, rows) if rng.random() < 0.8 else np.zeros(size)
    style = rng.choice(("any", "axes", "along"), p=(0.4, 0.3, 0.3))
    slopes = np.column_stack([rows[:, :-1], np.zeros(len(rows))])
    slopes = slopes[(rows @ np.append(through, 1.0) == 0) & slopes.any(axis=1)]

    def direction():
        if style == "axes":
            return rng.choice((-1.0, 1.0, 2.0)) * (np.arange(size) == rng.integers(size))
        drawn = rng.integers(-2, 3, size).astype(np.float64)
        if style == "along" and len(slopes) and rng.random() < 0.7:
            return vertex(rng, slopes[:1], first=drawn)
        return drawn

    e1, e2 = _independent(direction)
    u, v = rng.integers(-1, 2, 2) * (rng.random() < 0.3)
    return through - u * e1 - v * e2, e1, e2


def _degenerate_polygon(rng, lines):
    """A polygon at a point where many of the ``lines`` [m, 3], ``a u + b v + c``, meet; its axes along two of them."""
    at = vertex(rng, lines) if rng.random() < 0.6 else np.zeros(2)
    through = lines[(lines @ np.append(at, 1.0) == 0) & lines[:, :2].any(axis=1) & (rng.random() < 0.8)]
    directions = iter([_scaled(np.array([-b, a])) for a, b, _ in rng.permutation(through)])
    d, n = _independent(lambda: next(directions, rng.integers(-2, 3, 2).astype(np.float64)))
    size = rng.choice((0.5, 1.0, 2.0))
    polygon = _laid(_template(rng), ANCHORS[rng.integers(len(ANCHORS))], at, size * d, size * n)
    polygon = np.roll(polygon[:: rng.choice((-1, 1))], rng.integers(len(polygon)), axis=0)
    return _with_middles(rng, polygon) if rng.random() < 0.3 else polygon


def _template(rng):
    return np.array(TEMPLATES[rng.integers(len(TEMPLATES))])


def _independent(draw):
    """Two vectors that are not parallel, drawn until they are not."""
    while True:
        a, b = draw(), draw()
        if (np.outer(a, b) != np.outer(b, a)).any():
            return a, b


def _scaled(direction):
    """A direction scaled by a power of two to a largest entry of 1 to 2."""
    return direction / 2.0 ** np.floor(np.log2(np.abs(direction).max()))


def _laid(template, anchor, at, d, n):
    """The image of a template with its ``anchor`` at the point ``at`` and its axes along ``d`` and ``n``, counter-clockwise."""
    polygon = at + (template - anchor) @ np.array([d, n])
    return polygon if d[0] * n[1] > d[1] * n[0] else polygon[::-1]


def _with_middles(rng, polygon):
    """Add points of some edges as vertices."""
    vertices = []
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        vertices += [a, *(a + t * (b - a) for t in (0.25, 0.5) if rng.random() < 0.4)]
    return np.array(vertices)


def random_plane_case(seed):
    """Draw a network and a plane: description, origin, e1, e2 float64[D], polygon float64[V, 2]; not to be changed.

    Networks of odd seeds are degenerate (`random_networks`), and so are planes where seed // 2 is odd. Networks have two
    inputs at least and ``MOST_NEURONS`` neurons at most, polygons at most ``MOST_CELLS`` cells.
    """
    return _drawn(seed)[0]


def random_plane_cells(seed):
    """The result of `exact_plane.partition` for ``random_plane_case(seed)``, computed once; not to be changed."""
    return _drawn(seed)[1]


@functools.cache
def _drawn(seed):
    rng = np.random.default_rng([seed, 2])
    while True:
        description = live(random_network(rng, degenerate=seed % 2 == 1, width=(2, 8), slopes=DYADIC_SLOPES))
        if np.prod(description[0]["shape"]) < 2 or _neurons(description) > MOST_NEURONS:
            continue
        plane = random_plane(rng, description, seed // 2 % 2 == 1)
        cells = partition(description, *plane)
        if len(cells) <= MOST_CELLS:
            break
    for array in plane:
        array.setflags(write=False)
    return (description, *plane), cells


def _neurons(description):
    sizes = [int(np.prod(shape)) for shape in shapes(description)]
    return sum(size for node, size in zip(description, sizes, strict=True) if node["kind"] in SWITCHING)
