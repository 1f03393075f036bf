"""Checks of the oracle for planes: closed forms, counts, exact values at corners and inner points, lines in the plane."""

import itertools
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tests.counts import few
from tests.reference import exact_line, exact_plane
from tests.reference.description import SWITCHING, clip_bounds, point_states, pool_windows, shapes, values
from tests.reference.random_lines import first_rows
from tests.reference.random_planes import MOST_CELLS, random_plane_case, random_plane_cells

SEEDS = range(few(200, quick=24))  # the oracle itself: a handful at the quick level
HALF = Fraction(1, 2)
UNIT = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
SQUARE = 2 * UNIT - 1
POOL = [
    {"kind": "reshape", "shape": (1, 1, 3)},
    {"kind": "max_pool", "kernel": (1, 3), "stride": (1, 3), "padding": (0, 0, 0, 0), "dilation": (1, 1)},
]


def chain(size, *nodes):
    """A network of nodes that read each other in order."""
    nodes = [{"kind": "input", "shape": (size,)}, *nodes]
    return [{**node, "inputs": [k] if k >= 0 else []} for k, node in enumerate(nodes, start=-1)]


def layer(*rows):
    """ReLUs of a u + b v + c, given (a, b, c) of each."""
    rows = np.array(rows, np.float64)
    return chain(2, {"kind": "linear", "weight": rows[:, :2], "bias": rows[:, 2]}, {"kind": "relu"})


def split(description, polygon, origin=(0, 0), e1=(1, 0), e2=(0, 1)):
    """Areas of the cells by pattern."""
    return {states: area for states, area, _ in exact_plane.partition(description, origin, e1, e2, polygon)}


LINES_AT_ONE_POINT = {(0, 0, 0): HALF, (0, 0, 1): HALF, (0, 1, 0): 1, (1, 0, 1): 1, (1, 1, 0): HALF, (1, 1, 1): HALF}
DEGENERATE = {
    "three lines through one point": (layer((1, 0, 0), (0, 1, 0), (1, -1, 0)), SQUARE, LINES_AT_ONE_POINT),
    "four lines through one point": (
        layer((1, 0, 0), (0, 1, 0), (1, -1, 0), (1, 1, 0)), SQUARE,
        {(0, 0, 0, 0): HALF, (0, 0, 1, 0): HALF, (0, 1, 0, 0): HALF, (0, 1, 0, 1): HALF,
         (1, 0, 1, 0): HALF, (1, 0, 1, 1): HALF, (1, 1, 0, 1): HALF, (1, 1, 1, 1): HALF},
    ),
    "duplicate, scaled and opposite neurons": (
        layer((1, 0, 0), (1, 0, 0), (3, 0, 0), (-1, 0, 0)), SQUARE, {(1, 1, 1, 0): 2, (0, 0, 0, 1): 2},
    ),
    "zero rows": (layer((0, 0, 0), (0, 0, 1), (0, 0, -1)), SQUARE, {(0, 1, 0): 4}),
    "edges on zero lines": (layer((1, 0, 0), (-1, 0, 0), (0, 1, -1), (0, -1, 1)), UNIT, {(1, 0, 0, 1): 1}),
    "a corner on a zero line": (layer((1, 1, 0), (-1, -1, 0)), UNIT, {(1, 0): 1}),
    "a line through two corners": (layer((1, -1, 0)), UNIT, {(0,): HALF, (1,): HALF}),
    "a clip": (
        chain(2, {"kind": "clip", "lower": -1.0, "upper": 1.0}), 2 * SQUARE,
        {(a, b): (1, 2, 1)[a] * (1, 2, 1)[b] for a, b in itertools.product(range(3), repeat=2)},
    ),
    "a clip on its bounds": (
        chain(2, {"kind": "scale_shift", "scale": 0.0, "shift": np.array([-1.0, 1.0])},
              {"kind": "clip", "lower": -1.0, "upper": 1.0}),
        SQUARE, {(0, 2): 4},
    ),
    "a ReLU after an absolute value": (
        chain(2, {"kind": "leaky_relu", "slope": -1.0}, {"kind": "relu"}), SQUARE,
        {(a, b, 1, 1): 1 for a in (0, 1) for b in (0, 1)},
    ),
    "a ReLU after its negative": (
        chain(2, {"kind": "relu"}, {"kind": "scale_shift", "scale": -1.0, "shift": 0.0}, {"kind": "relu"}), SQUARE,
        {(a, b, 0, 0): 1 for a in (0, 1) for b in (0, 1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DEGENERATE.values(), ids=DEGENERATE)
def test_coincidences_have_the_known_cells(case):
    description, polygon, expected = case
    assert split(description, polygon) == expected


def test_a_max_pool_has_a_y_junction():
    """The largest of u, v and 0: the first two beat 0 on three quarters of the square, the third on a quarter."""
    cells = exact_plane.partition(chain(3, *POOL), (0, 0, 0), (1, 0, 0), (0, 1, 0), SQUARE)
    assert cells == [
        ((0,), Fraction(3, 2), [(0, -1), (1, -1), (1, 1), (0, 0)]),
        ((1,), Fraction(3, 2), [(-1, 0), (0, 0), (1, 1), (-1, 1)]),
        ((2,), 1, [(-1, -1), (0, -1), (0, 0), (-1, 0)]),
    ]


def test_the_lowest_of_tied_taps_wins():
    assert split(chain(3, *POOL), SQUARE, (0, 0, 0), (1, 1, 1), (2, 2, 2)) == {(0,): 4}
    assert split(chain(3, *POOL), SQUARE, (0, 0, 0), (0, 1, 1), (0, 0, 0)) == {(0,): 2, (1,): 2}
    pool_of_relus = chain(3, {"kind": "relu"}, *POOL)
    assert split(pool_of_relus, SQUARE, (0, 0, 0), (1, 0, 0), (0, 1, 0)) == {
        (0, 0, 0, 0): 1, (0, 1, 0, 1): 1, (1, 0, 0, 0): 1, (1, 1, 0, 0): HALF, (1, 1, 0, 1): HALF,
    }  # fmt: skip


def test_order_and_middles_of_edges_make_no_difference():
    description, expected = layer((1, 0, -0.5), (0, 1, -0.25)), split(layer((1, 0, -0.5), (0, 1, -0.25)), UNIT)
    middles = np.insert(UNIT, [1, 1, 3], [(0.25, 0.0), (0.5, 0.0), (0.5, 1.0)], axis=0)
    for polygon in (UNIT[::-1], np.roll(UNIT, 1, axis=0), middles, middles[::-1]):
        assert split(description, polygon) == expected
    assert sum(expected.values()) == 1


def test_a_polygon_without_interior_has_no_cells_and_one_with_a_dent_is_refused():
    assert exact_plane.partition(layer((1, 0, 0)), (0, 0), (1, 0), (0, 1), [(0, 0), (1, 1), (3, 3)]) == []
    with pytest.raises(AssertionError):
        split(layer((1, 0, 0)), [(0, 0), (2, 0), (0.25, 0.25), (0, 2)])


def test_parallel_directions_make_strips():
    assert split(layer((1, 0, -1), (0, 1, 0)), UNIT, (0, 0), (1, 1), (1, 1)) == {(0, 1): HALF, (1, 1): HALF}


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_generic_lines_split_the_plane_into_the_known_number_of_cells(n):
    rng = np.random.default_rng(n)
    nodes = {"kind": "linear", "weight": rng.normal(size=(n, 4)), "bias": rng.normal(size=n)}, {"kind": "relu"}
    cells = exact_plane.partition(chain(4, *nodes), *rng.normal(size=(3, 4)), 2.0**40 * SQUARE)
    assert len(cells) == 1 + n + n * (n - 1) // 2


@pytest.mark.parametrize("seed", SEEDS)
def test_cells_are_convex_and_fill_the_polygon(seed):
    polygon, cells = random_plane_case(seed)[-1], random_plane_cells(seed)
    assert len({states for states, _, _ in cells}) == len(cells) > 0
    assert sum(area for _, area, _ in cells) == abs(exact_plane.area(polygon))
    outline = [tuple(map(Fraction, vertex)) for vertex in polygon[:: 1 if exact_plane.area(polygon) > 0 else -1].tolist()]
    for _, area, vertices in cells:
        assert exact_plane.area(vertices) == area > 0
        assert vertices[0] == min(vertices)
        triples = zip(vertices, vertices[1:] + vertices[:1], vertices[2:] + vertices[:2], strict=True)
        assert all(exact_plane.area(triple) > 0 for triple in triples)
        assert all(min(distances(outline, vertex)) >= 0 for vertex in vertices)


def distances(vertices, at):
    """On which side of each edge a point is: positive inside."""
    pairs = zip(vertices, vertices[1:] + vertices[:1], strict=True)
    return [(b[0] - a[0]) * (at[1] - a[1]) - (b[1] - a[1]) * (at[0] - a[0]) for a, b in pairs]


@pytest.mark.parametrize("seed", SEEDS)
def test_states_are_those_at_inner_points_and_change_nowhere_in_a_cell(seed):
    """A proof per cell: affine signals cross a threshold inside only with strict signs of both kinds at the corners."""
    description, *plane, _ = random_plane_case(seed)
    found_shapes, known = shapes(description), {}
    for states, _, vertices in few_of(random_plane_cells(seed)):
        middle = exact_plane.interior(vertices)
        near = tuple(c + (m - c) / 10**6 for c, m in zip(vertices[-1], middle, strict=True))
        assert min(distances(vertices, near)) > 0
        assert point_states(description, exact_plane.point(*plane, middle)) == list(states)
        assert point_states(description, exact_plane.point(*plane, near)) == list(states)
        for vertex in vertices:
            if vertex not in known:
                known[vertex] = values(description, exact_plane.point(*plane, vertex))
        for node in description:
            if node["kind"] in SWITCHING:
                at_corners = [known[vertex][node["inputs"][0]] for vertex in vertices]
                assert keeps_states(node, found_shapes[node["inputs"][0]], at_corners)


def few_of(cells):
    """Some 15 of the cells."""
    return cells[:: len(cells) // 15 + 1]


def keeps_states(node, shape, at_corners):
    """Whether inputs of a switching node, affine between these values, cross none of its thresholds."""
    if node["kind"] == "max_pool":
        common = [set.intersection(*(winners(window, z) for z in at_corners)) for window in pool_windows(node, shape)]
        return all(common)
    levels = [b for b in clip_bounds(node) if b is not None] if node["kind"] == "clip" else [0]
    pairs = itertools.product(zip(*at_corners, strict=True), levels)
    return not any(min(z) < level < max(z) for z, level in pairs)


def winners(window, z):
    """The entries of a window that attain its maximum."""
    largest = max(z[k] for _, k in window)
    return {k for _, k in window if z[k] == largest}


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_are_the_exact_values_of_every_node(seed):
    description, *plane, polygon = random_plane_case(seed)
    traced = exact_plane.trace(description, *plane, polygon)
    for cell in few_of(range(len(traced.polygons))):
        for w, p, q in traced.polygons[cell][:3]:
            expected = values(description, exact_plane.point(*plane, (Fraction(p, w), Fraction(q, w))))
            for node, (pieces, denominator) in traced.signals.items():
                assert [Fraction(z, denominator * w) for z in np.array([w, p, q], object) @ pieces[cell]] == expected[node]


@pytest.mark.parametrize("seed", SEEDS)
def test_lines_in_the_plane_cross_the_cells_that_the_oracle_for_lines_finds(seed):
    """Segments of a line that are in no cell's interior run along the edges of cells."""
    rng = np.random.default_rng(seed)
    description, *plane, polygon = random_plane_case(seed)
    cells = random_plane_cells(seed)
    for _ in range(3):
        weights = rng.multinomial(16, np.full(len(polygon), 1 / len(polygon)), size=2) / 16.0
        start, end = (tuple(map(Fraction, at)) for at in (weights @ polygon).tolist())
        ends = [exact_plane.point(*plane, at) for at in (start, end)]
        t, states = exact_line.partition(description, *ends)[0], exact_line.states(description, *ends).tolist()
        expected = sorted(crossing for cell in cells for crossing in crossings(cell, start, end))
        found = [(a, b, tuple(pattern)) for (a, b), pattern in zip(pairwise(t), states, strict=True)]
        assert set(expected) <= set(found)
        for a, b, _ in set(found) - set(expected):
            middle = [p + (a + b) / 2 * (q - p) for p, q in zip(start, end, strict=True)]
            assert any(min(distances(vertices, middle)) == 0 for _, _, vertices in cells)


def crossings(cell, start, end):
    """The part of a line in the interior of a cell, as a list of (from, to, states) with one entry or none."""
    states, _, vertices = cell
    low, high = Fraction(0), Fraction(1)
    for a, b in zip(distances(vertices, start), distances(vertices, end), strict=True):
        if a <= 0 and b <= 0:
            return []
        if a < 0 or b < 0:
            low, high = (max(low, a / (a - b)), high) if a < 0 else (low, min(high, a / (a - b)))
    return [(low, high, states)] if low < high else []


def test_random_planes_hold_what_they_claim():
    held = Counter()
    for seed in range(few(400, quick=100)):
        description, origin, e1, e2, polygon = random_plane_case(seed)
        assert (np.outer(e1, e2) != np.outer(e2, e1)).any()
        assert len(random_plane_cells(seed)) <= MOST_CELLS
        assert all((np.abs(a) <= 256).all() and (a * 2.0**16 % 1 == 0).all() for a in (origin, e1, e2, polygon))
        held.update(name for name, holds in of_plane(first_rows(description), origin, e1, e2, polygon).items() if holds)
    assert {name: n for name, n in held.items() if n < 5} == {}
    assert len(held) == 11


def of_plane(rows, origin, e1, e2, polygon):
    """What can coincide in a plane, by name."""
    lines = np.column_stack([rows[:, :-1] @ e1, rows[:, :-1] @ e2, rows @ np.append(origin, 1.0)])
    moving = lines[lines[:, :2].any(axis=1)]
    zero = moving @ np.column_stack([polygon, np.ones(len(polygon))]).T == 0
    triples = zip(polygon, np.roll(polygon, 1, axis=0), np.roll(polygon, 2, axis=0), strict=True)
    corners = sum(exact_plane.area(triple) != 0 for triple in triples)
    return {
        f"{corners} corners": corners in (3, 4, 5),
        "a corner on a zero line": zero.any(),
        "an edge along a zero line": (zero & np.roll(zero, 1, axis=1)).any(),
        "clockwise": exact_plane.area(polygon) < 0,
        "vertices in the middle of edges": corners < len(polygon),
        "in the zero set of a neuron": (~lines.any(axis=1) & rows[:, :-1].any(axis=1)).any(),
        "parallel to two axes": np.count_nonzero(e1) == np.count_nonzero(e2) == 1,
        "origin 0": not origin.any(),
        "more than two inputs": len(origin) > 2,
    }
