"""Queries against brute force in exact arithmetic: where conditions hold, witnesses, ranges of outputs."""

from fractions import Fraction
from math import lcm

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import InputError, ShapeError
from pwlnet.partition.planes import dividing
from pwlnet.search import extremes
from tests.counts import few
from tests.described import to_network
from tests.reference import exact_line, exact_plane
from tests.reference.random_cases import random_case
from tests.reference.random_planes import random_plane_case

AGREE = 1e-12


def draw_conditions(rng, values):
    """Draw a union of polytopes for exact outputs [points, O] of Fractions: some only touch the range of the outputs."""
    n, union = len(values[0]), []
    for _ in range(rng.integers(1, 3)):
        matrix = rng.integers(-2, 3, (rng.integers(1, 4), n)).astype(np.float64)
        shift = []
        for row in matrix:
            at = [sum((Fraction(a) * y for a, y in zip(row.tolist(), point, strict=True)), Fraction(0)) for point in values]
            low, high = min(at), max(at)
            shift.append(float(low if rng.integers(3) == 0 else low + (high - low) * Fraction(int(rng.integers(0, 9)), 8)))
        union.append(pwlnet.HalfSpaces(matrix, shift))
    return union


def integer_functions(condition, coefficients, denominator):
    """Return A y - b as integer functions, up to positive factors, for y = coefficients [n, O] / denominator."""
    functions = []
    for row, b in zip(condition.A.tolist(), condition.b.tolist(), strict=True):
        function = [sum(Fraction(a) * int(c) for a, c in zip(row, line, strict=True)) / denominator for line in coefficients]
        function[0] -= Fraction(b)
        common = lcm(*(c.denominator for c in function))
        functions.append([int(c * common) for c in function])
    return functions


def exact_answer(plane, signal, denominator, union):
    """Return (whether the union holds anywhere, share of the area) exactly."""
    held, whole, exists = Fraction(0), Fraction(0), False
    for coefficients, corners in zip(signal, plane.polygons, strict=True):
        polytopes = [integer_functions(condition, coefficients, denominator) for condition in union]
        parts = [corners]
        for function in (f for polytope in polytopes for f in polytope):
            split = []
            for part in parts:
                values = np.array(part, object) @ np.array(function, object)
                split += exact_plane._split(part, function) if (values > 0).any() and (values < 0).any() else [part]
            parts = split
        for part in parts:
            area, points = exact_plane._area(part), np.array(part, object)
            inside = points.sum(axis=0)
            whole += area
            held += area * any(all(inside @ np.array(f, object) <= 0 for f in polytope) for polytope in polytopes)
            exists |= any(
                all(p @ np.array(f, object) <= 0 for f in polytope) for p in points for polytope in polytopes
            )  # fmt: skip
    return exists, float(held / whole)


def check_plane(seed):
    rng = np.random.default_rng(seed)
    description, origin, e1, e2, polygon = random_plane_case(seed)
    network = to_network(description)
    part = pwlnet.partition_planes(network, origin, e1, e2, polygon, threads=1).parts[0]
    plane = exact_plane.trace(description, origin, e1, e2, polygon)
    signal, denominator = plane.signals[len(description) - 1]
    values = [
        [Fraction(int(np.array(corner, object) @ signal[cell, :, o]), corner[0] * denominator) for o in range(signal.shape[2])]
        for cell, corners in enumerate(plane.polygons)
        for corner in corners
    ]
    size = max(1.0, float(max(abs(y) for point in values for y in point)))
    bounds = pwlnet.output_range(part)
    for o, column in enumerate(zip(*values, strict=True)):
        for actual, expected, witness in (
            (bounds.lower[o], min(column), bounds.lower_witnesses[o]),
            (bounds.upper[o], max(column), bounds.upper_witnesses[o]),
        ):
            assert (
                abs(actual - float(expected)) <= AGREE * size and abs(network.forward(witness)[0, o] - actual) <= AGREE * size
            )
    union = draw_conditions(rng, values)
    found, (exists, share) = pwlnet.find_where(part, union), exact_answer(plane, signal, denominator, union)
    assert found.exists == exists and abs(found.share - share) <= AGREE, seed
    assert (found.witness is not None) == exists and (not exists or found.margin <= AGREE * size), seed
    if exists:
        y = network.forward(found.witness)
        assert abs(min(condition.margins(y)[0] for condition in union) - found.margin) <= AGREE * size
    assert abs(found.pieces.areas.sum() / part.areas.sum() - share) <= AGREE
    return exists, share


@pytest.mark.parametrize("first", range(0, few(500, 50), 25))
def test_answers_on_planes_equal_brute_force(first):
    answers = [check_plane(seed) for seed in range(first, first + 25)]
    kinds = {(exists, share > 0.0) for exists, share in answers}
    assert len(kinds) >= 2  # conditions that hold, hold at points or edges only, hold nowhere


def test_answers_on_meshes_that_were_divided(monkeypatch):
    monkeypatch.setattr(dividing, "MOST_FACES", 3)
    for seed in range(600, 600 + few(60, 6, quick=10)):
        check_plane(seed)


def exact_share_of_line(segments, denominator, union, slack):
    """Return (whether the union holds anywhere on a line, share of its length) exactly, with b raised by ``slack``."""
    exists, intervals = False, []
    for a, b, f in segments:
        for condition in union:
            low, high = a, b
            for row, shift in zip(condition.A.tolist(), condition.b.tolist(), strict=True):
                c = sum(Fraction(x) * int(y) for x, y in zip(row, f[0], strict=True)) / denominator - Fraction(shift) - slack
                s = sum(Fraction(x) * int(y) for x, y in zip(row, f[1], strict=True)) / denominator
                if s == 0:
                    low = low if c <= 0 else b + 1
                elif s > 0:
                    high = min(high, -c / s)
                else:
                    low = max(low, -c / s)
            if low <= high:
                exists = True
                intervals.append((low, high))
    length, upto = Fraction(0), Fraction(-1)
    for low, high in sorted(intervals):
        length += max(Fraction(0), high - max(low, upto))
        upto = max(upto, high)
    return exists, float(length)


@pytest.mark.parametrize("first", range(0, few(500, 50), 50))
def test_answers_on_lines_equal_brute_force(first):
    """Up to rounding: between the exact answers for conditions that are narrower and wider by rounding errors."""
    for seed in range(first, first + 50):
        rng = np.random.default_rng(seed)
        description, starts, ends = random_case(seed)
        network = to_network(description)
        line = exact_line.trace(description, starts[0], ends[0])
        signal, denominator = line.signals[len(description) - 1]
        segments = list(zip(line.t[:-1], line.t[1:], signal, strict=True))
        at_ends = [(t, f) for a, b, f in segments for t in (a, b)]
        values = [[(int(c) + t * int(s)) / Fraction(denominator) for c, s in f.T] for t, f in at_ends]
        size = max(1.0, float(max(abs(y) for point in values for y in point)))
        union = draw_conditions(rng, values)
        part = pwlnet.partition_lines(network, starts[:1], ends[:1], threads=1).parts[0]
        found, slack = pwlnet.find_where(part, union), Fraction(1e-9 * size)
        exists, _ = exact_share_of_line(segments, denominator, union, Fraction(0))
        narrow, wide = (exact_share_of_line(segments, denominator, union, x) for x in (-slack, slack))
        assert narrow[0] <= found.exists <= wide[0] and (found.exists == exists or narrow[0] < wide[0]), seed
        if not np.array_equal(starts[0], ends[0]):
            assert narrow[1] - AGREE <= found.share <= wide[1] + AGREE, seed
        assert not found.exists or found.margin <= 1e-9 * size
        bounds, columns = pwlnet.output_range(part), list(zip(*values, strict=True))
        assert np.allclose(bounds.lower, [float(min(c)) for c in columns], rtol=0.0, atol=1e-9 * size)
        assert np.allclose(bounds.upper, [float(max(c)) for c in columns], rtol=0.0, atol=1e-9 * size)


@pytest.fixture(scope="module")
def network():
    nodes = [{"kind": "input", "inputs": [], "shape": (2,)}]
    nodes.append({"kind": "linear", "inputs": [0], "weight": np.array([[1.0, 0.0], [0.0, 1.0]]), "bias": np.zeros(2)})
    nodes.append({"kind": "relu", "inputs": [1]})
    return to_network(nodes)


def test_collections_answer_for_all_their_parts(network):
    triangle = [[0, 0], [1, 0], [0, 1]]
    planes = pwlnet.partition_planes(network, [[0, 0], [-2, -2]], [1, 0], [0, 1], triangle)
    found = pwlnet.find_where(planes, pwlnet.HalfSpaces([[1.0, 0.0]], [0.0]))
    assert found.exists and found.share == 0.5 and [len(p.areas) for p in found.pieces] == [0, 1]
    lines = pwlnet.partition_lines(network, np.array([[-1.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [2.0, 0.0]]))
    found = pwlnet.find_where(lines, pwlnet.HalfSpaces.largest(1, 2))
    assert found.exists and found.share == 0.25 and found.margin == 0.0
    assert pwlnet.output_range(lines).upper.tolist() == [2.0, 0.0]
    assert pwlnet.output_range(planes).upper_witnesses.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_polygons_without_interior_have_answers(network):
    segment = pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], [[-1, 0], [1, 0]]).parts[0]
    found = pwlnet.find_where(segment, pwlnet.HalfSpaces([[-1.0, 0.0]], [-1.0]))
    assert found.exists and found.share == 0.0 and found.witness.tolist() == [1.0, 0.0]
    point = pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], [[0.5, 0]]).parts[0]
    assert pwlnet.find_where(point, pwlnet.HalfSpaces.largest(0, 2)).exists
    assert not pwlnet.find_where(point, pwlnet.HalfSpaces.smallest(0, 2)).exists


def test_what_is_refused(network):
    line = pwlnet.partition_lines(network, np.zeros((1, 2)), np.ones((1, 2)))
    with pytest.raises(ShapeError, match="the condition is on 3 outputs, but the network has 2"):
        pwlnet.find_where(line, pwlnet.HalfSpaces(np.eye(3), np.zeros(3)))
    with pytest.raises(InputError, match=r"give pwlnet\.HalfSpaces"):
        pwlnet.find_where(line, "class 1")
    with pytest.raises(InputError, match="give a result of partition_lines or partition_planes, or a Network with a box"):
        pwlnet.output_range(network)
    with pytest.raises(InputError, match="box was given with a LinePartitions; give a Network with it, or omit it"):
        pwlnet.output_range(line, pwlnet.Box([0, 0], [1, 1]))
    with pytest.raises(ShapeError, match="box has 2 boxes; give one"):
        pwlnet.output_range(network, pwlnet.Box(np.zeros((2, 2)), np.ones((2, 2))))
    with pytest.raises(ShapeError, match="A has shape"):
        pwlnet.HalfSpaces([[1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(InputError, match="b has 1 rows with NaN"):
        pwlnet.HalfSpaces([[1.0, 2.0]], [np.nan])
    with pytest.raises(AttributeError, match="immutable"):
        pwlnet.HalfSpaces([[1.0, 2.0]], [1.0]).A = None
    with pytest.raises(InputError, match="no lines or planes"):
        pwlnet.output_range(pwlnet.partition_lines(network, np.zeros((0, 2)), np.zeros((0, 2))))


@pytest.mark.parametrize("first", range(0, few(200, 10), 10))
def test_ranges_on_boxes_equal_those_on_their_planes(first):
    """By cells, and by branch and bound: attained values and bounds enclose the exact extremes."""
    for seed in range(first, first + 10):
        rng = np.random.default_rng(seed)
        description, starts, _ = random_case(seed)
        network = to_network(description)
        if network.n_inputs < 2:
            continue
        lower, (i, j) = np.round(starts[0] * 4) / 4, rng.choice(network.n_inputs, 2, replace=False)
        e1, e2 = 2.0 * np.eye(network.n_inputs)[[i, j]]
        expected = pwlnet.output_range(pwlnet.partition_planes(network, lower, e1, e2, [[0, 0], [1, 0], [1, 1], [0, 1]]))
        size = np.maximum(1.0, np.maximum(np.abs(expected.lower), np.abs(expected.upper)))
        box = pwlnet.Box(lower, lower + e1 + e2)
        by_cells = pwlnet.output_range(network, box)
        assert by_cells.complete and (by_cells.lower - by_cells.lower_bounds <= 1e-9 * size).all()
        for found in (by_cells, _by_splits(network, box)):
            assert (found.lower_bounds <= expected.lower + AGREE * size).all() and (found.lower_bounds <= found.lower).all()
            assert (found.upper_bounds >= expected.upper - AGREE * size).all() and (found.upper_bounds >= found.upper).all()
            gap = 1e-3 * (expected.upper - expected.lower) + AGREE * size if found.complete else np.inf
            assert (np.abs(found.lower - expected.lower) <= gap).all() and (np.abs(found.upper - expected.upper) <= gap).all()
            assert np.array_equal(np.diagonal(network.forward(found.lower_witnesses)), found.lower)
            assert np.array_equal(np.diagonal(network.forward(found.upper_witnesses)), found.upper)
            inside = [(x >= box.lower).all() and (x <= box.upper).all() for x in found.lower_witnesses]
            assert all(inside)


def _by_splits(network, box):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extremes, "MOST_FREE", 0)
        return pwlnet.output_range(network, box, max_branches=100)


def test_ranges_on_boxes_that_a_limit_stops_are_bounds():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    found = pwlnet.output_range(network, pwlnet.Box(np.zeros(64), np.ones(64)), max_branches=1)
    assert not found.complete
    y = network.forward(np.random.default_rng(0).random((1000, 64)))
    assert (found.lower_bounds <= y.min(axis=0)).all() and (found.upper_bounds >= y.max(axis=0)).all()
    assert (found.lower <= y.mean(axis=0)).all() and (found.upper >= y.mean(axis=0)).all()
    point = np.full(64, 0.5)
    found = pwlnet.output_range(network, pwlnet.Box(point, point))
    assert np.array_equal(found.lower, found.upper) and np.array_equal(found.lower, network.forward(point)[0])
