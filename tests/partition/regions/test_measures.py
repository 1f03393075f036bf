"""Volumes, areas of facets, masses and random points of regions: against rational arithmetic, closed forms, scipy and torch."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.spatial

import pwlnet
from pwlnet.errors import CapacityError, InputError, MissingDataError, ShapeError
from pwlnet.kernels.regions import volumes as kernels
from pwlnet.partition.regions.cell_volumes import simplices_of_cells, volumes_of_cells
from pwlnet.partition.regions.cubature import integrate_normal, simplex_rule
from pwlnet.partition.regions.measures import (
    facet_areas,
    interval_masses,
    normal_masses,
    region_simplices,
    region_volumes,
    uniform_masses,
)
from pwlnet.partition.regions.sampling import random_regions, sample_points
from tests.counts import few
from tests.described import to_network
from tests.partition.regions.degenerate import degenerate
from tests.partition.regions.test_exact import fully_connected, random_relu
from tests.partition.regions.test_running import hand_network
from tests.reference.exact_cells import cells_of

HAND_BOX = 0.97532  # published mass of the box of the network by hand; that of y0 <= -2 is published as 0.42096, an estimate


def exact_corner(a, b):
    """Return the volume of the part a x <= b of the unit cube, a > 0: inclusion and exclusion of corners."""
    n, total = len(a), Fraction(0)
    for chosen in itertools.product((0, 1), repeat=n):
        left = b - sum(c * x for c, x in zip(chosen, a, strict=True))
        total += (-1) ** sum(chosen) * max(Fraction(0), left) ** n
    return total / (math.factorial(n) * math.prod(a, start=Fraction(1)))


def exact_volume(cell):
    """Return the volume of an exact cell: cones over its facets from its first vertex, by determinants of Fractions."""
    points = [[Fraction(c, v[-1]) for c in v[:-1]] for v in cell.vertices]
    on = [{j for j, row in enumerate(cell.rows) if sum(a * b for a, b in zip(row, v, strict=True)) == 0} for v in cell.vertices]
    n = len(points[0])

    def cones(face, chain):
        if len(chain) == n:
            edges = [[x - y for x, y in zip(points[i], points[chain[0]], strict=True)] for i in (*chain[1:], face[0])]
            return sum(abs(determinant(edges)) for _ in face)
        apex, facets = face[0], set()
        for j in set().union(*(on[i] for i in face)) - on[apex]:
            facets.add(tuple(i for i in face if j in on[i]))
        largest = [f for f in facets if not any(set(f) < set(g) for g in facets)]
        return sum(cones(f, (*chain, apex)) for f in largest)

    return cones(tuple(range(len(points))), ()) / math.factorial(n)


def determinant(rows):
    if not rows:
        return Fraction(1)
    first, *rest = rows
    parts = ((-1) ** k * c * determinant([row[:k] + row[k + 1 :] for row in rest]) for k, c in enumerate(first) if c)
    return sum(parts, Fraction(0))


def enumerate_all(description, lower, upper, want="vertices"):
    return pwlnet.enumerate_regions(to_network(description), lower, upper, want=want, threads=1)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 6])
def test_volumes_of_a_cut_cube_are_the_exact_ones(dimensions):
    """Hyperplanes through many corners of the cube, too: the volumes are Eulerian numbers then."""
    rng = np.random.default_rng(dimensions)
    for case in range(few(40, 2, quick=6)):
        a = np.ones(dimensions, int) if case % 2 == 0 else rng.integers(1, 5, dimensions)
        b = int(rng.integers(1, a.sum())) if a.sum() > 1 else 0.5
        network = fully_connected([[a.tolist()], [[1.0]]], [[-float(b)], [0.0]])
        regions = pwlnet.enumerate_regions(network, np.zeros(dimensions), np.ones(dimensions), want="vertices", threads=1)
        below = exact_corner([Fraction(int(c)) for c in a], Fraction(b))
        expected = {0: float(below), 1: float(1 - below)}
        for state, volume in zip(regions.patterns().unpack()[:, 0].tolist(), region_volumes(regions), strict=True):
            assert volume == pytest.approx(expected[state], rel=1e-13), (case, a, b)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_volumes_of_degenerate_regions_are_the_exact_ones(dimensions):
    for seed in range(few(200, 3, quick=10)):
        made = degenerate(seed, dimensions)[:3]
        regions = enumerate_all(*made)
        expected = {}
        for cell in cells_of(*made):
            expected[tuple(cell.states)] = expected.get(tuple(cell.states), 0) + exact_volume(cell)
        volumes = region_volumes(regions)
        for states, volume in zip(regions.patterns().unpack().tolist(), volumes, strict=True):
            assert volume == pytest.approx(float(expected[tuple(states)]), rel=1e-9), seed
        assert sum(expected.values()) == 2**dimensions and volumes.sum() == pytest.approx(2.0**dimensions, rel=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
def test_volumes_are_those_of_qhull(dimensions):
    for seed in range(few(60, 1, quick=7)):
        regions = enumerate_all(*degenerate(seed, dimensions)[:3])
        offsets, points, _ = regions.vertices()
        volumes = region_volumes(regions)
        assert volumes.sum() == pytest.approx(2.0**dimensions, rel=1e-12), seed
        for r in range(0, regions.n_regions, max(1, regions.n_regions // 5)):
            if volumes[r] > 1e-3:  # Qhull joins vertices of thin cells
                hull = scipy.spatial.ConvexHull(points[offsets[r] : offsets[r + 1]])
                assert volumes[r] == pytest.approx(hull.volume, rel=1e-9), (seed, r)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 6])
def test_simplices_divide_regions(dimensions):
    widths = {1: 30, 2: 9, 3: 7, 4: 5, 5: 4, 6: 3}
    network = random_relu(dimensions, [dimensions, widths[dimensions], 3, 2])
    regions = pwlnet.enumerate_regions(network, -np.ones(dimensions), np.ones(dimensions), want="vertices", threads=1)
    simplices, volumes = region_simplices(regions), region_volumes(regions)
    assert volumes.sum() == pytest.approx(2.0**dimensions, rel=1e-12)
    owner = np.repeat(np.arange(regions.n_regions), np.diff(simplices.offsets))
    assert np.allclose(np.bincount(owner, simplices.volumes()), volumes, rtol=1e-10)
    offsets = regions.vertices().offsets
    assert (simplices.vertices >= offsets[owner][:, None]).all() and (simplices.vertices < offsets[owner + 1][:, None]).all()
    inside = simplices.points[simplices.vertices].mean(axis=1)
    large = simplices.volumes() > 1e-6
    assert np.array_equal(network.patterns(inside[large]).packed, regions.packed[owner[large]])


def test_bits_that_are_no_facets_change_nothing():
    """A square pyramid, with hyperplanes that touch it in its top and along one edge; and a cube in six dimensions."""
    points = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 3]])
    sides = [[0, 1, 2, 3], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
    touching = [[4], [0, 1], [1], [3, 4], [0, 1, 2, 3]]
    for order in (sides + touching, touching + sides):
        words = np.zeros(5, np.uint64)
        for bit, vertices in enumerate(order):
            words[vertices] |= np.uint64(1) << np.uint64(bit)
        assert volumes_of_cells(np.array([0, 5]), points, words)[0] == pytest.approx(4.0)
        ends, simplices = simplices_of_cells(np.array([0, 5]), points, words)
        assert ends.tolist() == [0, 2] and (np.sort(simplices, axis=1)[:, -1] == 4).all()
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    words = np.array([sum(1 << 2 * d + int(c) for d, c in enumerate(x)) for x in corners], np.uint64)
    assert volumes_of_cells(np.array([0, 64]), corners, words)[0] == pytest.approx(1.0, rel=1e-14)


def test_cells_of_a_search_have_their_volumes_by_the_kernel():
    """Coordinates in columns, with one more row and from an offset on, as a search has them."""
    x = np.array([[9.0, 0.0, 1.0, 0.0, 1.0], [9.0, 0.0, 0.0, 2.0, 2.0], [np.nan] * 5])
    bits = np.array([63, 0b0101, 0b0110, 0b1001, 0b1010], np.uint64)
    volumes, counts, ends = np.zeros(1), np.zeros(1, np.int64), np.zeros(2, np.int64)
    work = kernels.volume_work(2, 4)
    kernels.cell_volumes(x, bits, np.array([1, 5]), work, ends, np.zeros((0, 3), np.int64), volumes, counts)
    assert volumes[0] == 2.0 and counts[0] == 2


def test_scales_of_inputs_do_not_change_relative_volumes():
    """A thin box far from 0, and a large one."""
    network = random_relu(3, [3, 8, 2])
    for lower, upper in ((1.0 + np.zeros(3), 1.0 + np.array([1e-6, 1.0, 1e-3])), (np.full(3, -1e6), np.full(3, 1e6))):
        regions = pwlnet.enumerate_regions(network, lower, upper, want="vertices", threads=1)
        assert region_volumes(regions).sum() == pytest.approx(float(np.prod(upper - lower)), rel=1e-9)
        assert uniform_masses(regions).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
def test_areas_of_facets_on_sides_are_those_of_the_box_and_equal_on_both_sides(dimensions):
    network = random_relu(dimensions, [dimensions, 7, 4, 2])
    lower, upper = -np.ones(dimensions), np.arange(1.0, dimensions + 1)
    regions = pwlnet.enumerate_regions(network, lower, upper, want=("vertices", "halfspaces"), threads=1)
    areas, graph = facet_areas(regions), regions.graph()
    for d in range(dimensions):
        for side in range(2):
            on = regions.facet_neurons == -1 - (2 * d + side)
            assert areas[on].sum() == pytest.approx(np.prod(np.delete(upper - lower, d)), rel=1e-11)
    sides = zip(graph.owners.tolist(), graph.neighbours.tolist(), strict=True)
    area_of = dict(zip(sides, areas, strict=True))
    for (r, q), area in area_of.items():
        assert q < 0 or area_of[q, r] == pytest.approx(area, rel=1e-7, abs=1e-12)
    some = regions.facet_neurons >= 0
    assert np.array_equal(facet_areas(regions, which=some), np.where(some, areas, 0.0))


def test_rules_on_simplices_integrate_polynomials_up_to_their_degrees():
    """Means of monomials of barycentric coordinates over a simplex: n! prod(k!) / (n + sum k)!."""
    for n, s in itertools.product((1, 2, 4, 6), (1, 2, 3)):
        points, weights = simplex_rule(n, s)
        assert weights.sum() == pytest.approx(1.0) and np.allclose(points.sum(axis=1), 1.0)
        for powers in ((2 * s + 1, 0), (s + 1, s), (1, 2), (0, 0)):
            expected = math.prod(map(math.factorial, (n, *powers))) / math.factorial(n + sum(powers))
            if sum(powers) <= 2 * s + 1:
                assert weights @ (points[:, 0] ** powers[0] * points[:, 1] ** powers[1]) == pytest.approx(expected, rel=1e-10)
    points, weights = simplex_rule(2, 1)  # it is not exact for degree 4
    assert abs(weights @ points[:, 0] ** 4 - 2 * 24 / math.factorial(6)) > 1e-4


def mass_by_columns(sigma, n=20001):
    """Return the mass of y0 <= -2 of the network by hand: exact in x1, by the breakpoints, and the midpoint rule in x0."""
    weights, biases, sums = np.array([[1, -2], [-1, 0.5], [1, 1.5]]), np.array([0.5, 1, -0.5]), np.array([-1.0, -1, 1])
    x0 = -2.0 + 4.0 * (np.arange(n)[:, None] + 0.5) / n
    turns = np.clip(-(weights[:, 0] * x0 + biases) / weights[:, 1], -1.0, 1.0)
    ends = np.sort(np.hstack([turns, -np.ones((n, 1)), np.ones((n, 1))]), axis=1)
    values = 1.8 + np.maximum(weights[:, 0] * x0[..., None] + weights[:, 1] * ends[..., None] + biases, 0.0) @ sums
    total = np.zeros(n)
    for k in range(4):
        (a, b), (low, high) = values[:, k : k + 2].T, ends[:, k : k + 2].T
        zero = low + np.clip(a / np.where(a == b, 1.0, a - b), 0.0, 1.0) * (high - low)
        first, last = np.where(a <= 0.0, low, zero), np.where(b <= 0.0, high, zero)
        total += np.where((a <= 0.0) | (b <= 0.0), interval_masses(first / sigma[1], last / sigma[1]), 0.0)
    return float((total * np.exp(-0.5 * (x0[:, 0] / sigma[0]) ** 2)).sum() * 4.0 / n / sigma[0] / math.sqrt(2.0 * math.pi))


def test_the_mass_of_the_network_by_hand_is_the_known_one():
    """The set y0 <= -2 under a normal density at the box's center, half the width of a side being 2.5 sigma."""
    sigma = [2.0 / 2.5, 1.0 / 2.5]
    network = hand_network()
    regions = pwlnet.enumerate_regions(network, [-2, -1], [2, 1], want="vertices", threads=1)
    box = normal_masses(regions, 0.0, sigma)
    assert box.masses.sum() == pytest.approx(HAND_BOX, abs=5e-6) and len(box.masses) == 6
    truth = math.prod(math.erf(2.5 / math.sqrt(2.0)) for _ in range(2))
    assert abs(box.masses.sum() - truth) <= box.errors.sum() <= 1e-6
    parts = cut_by_class(network)
    unsafe = normal_masses(parts, 0.0, sigma, tolerance=1e-7)
    assert unsafe.masses[parts.classes == 1].sum() == pytest.approx(mass_by_columns(sigma), abs=2e-7)
    assert len({p.tobytes() for p in parts.packed[parts.classes == 1]}) == 6  # all regions have unsafe points


def cut_by_class(network):
    """Return the regions of the network by hand, divided by whether y0 <= -2: class 1."""
    weights = [[[1, -2], [-1, 0.5], [1, 1.5]], [[-1, -1, 1], [0, 0, 0]]]
    two = fully_connected(weights, [[0.5, 1, -0.5], [-0.2, -2.0]])
    assert np.allclose(two.forward(np.ones((1, 2)))[0, 0], network.forward(np.ones((1, 2)))[0, 0])
    return pwlnet.enumerate_regions(two, [-2, -1], [2, 1], want="vertices", classes="max", threads=1)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
def test_normal_masses_are_those_of_random_points_within_their_errors(dimensions):
    network, sigma = random_relu(dimensions, [dimensions, 5, 3]), 0.3 + 0.1 * np.arange(dimensions)
    mean = np.linspace(-0.2, 0.3, dimensions)
    box = -np.ones(dimensions), np.ones(dimensions)
    regions = pwlnet.enumerate_regions(network, *box, want="vertices", threads=1)
    found = normal_masses(regions, mean, sigma, tolerance=1e-4)
    truth = interval_masses((box[0] - mean) / sigma, (box[1] - mean) / sigma).prod()
    assert abs(found.masses.sum() - truth) <= found.errors.sum() + 1e-12 and found.errors.sum() <= 1.0001e-4
    points = mean + sigma * np.random.default_rng(0).normal(size=(40000, dimensions))
    at = regions.locate(points[(np.abs(points) < 1.0).all(axis=1)])
    shares = np.bincount(at, minlength=regions.n_regions) / len(points)
    assert np.abs(shares - found.masses).max() <= 5.0 * 0.5 / math.sqrt(len(points))


def test_masses_of_boxes_are_products_and_small_ones_keep_their_digits():
    network = fully_connected([np.eye(3).tolist(), [[1.0, 1.0, 1.0]]], [[0.0, -8.0, 0.5], [0.0]])
    regions = pwlnet.enumerate_regions(network, [-1, 7, -1], [1, 9, 1], want="vertices", threads=1)
    found = normal_masses(regions, 0.0, 1.0)
    assert regions.n_regions == 8 and (found.errors <= 1e-15 * found.masses).all()
    tail = 0.5 * (math.erfc(8.0 / math.sqrt(2.0)) - math.erfc(9.0 / math.sqrt(2.0)))
    states = regions.patterns().unpack()
    thin = found.masses[(states == [1, 1, 1]).all(axis=1)][0]
    half, rest = 0.5 * math.erf(math.sqrt(0.5)), 0.5 * (math.erf(1 / math.sqrt(2)) + math.erf(0.5 / math.sqrt(2)))
    assert thin == pytest.approx(half * tail * rest, rel=1e-12)


def test_cubature_stops_at_its_limit_and_says_how_far_it_came():
    corners = np.array([[[-5.0, -5.0], [5.0, -5.0], [0.0, 8.0]]])
    few_values = integrate_normal(corners, np.zeros(1, np.int64), 1, 1e-12, 200)
    many = integrate_normal(corners, np.zeros(1, np.int64), 1, 1e-9, 2**22)
    assert few_values[1][0] > 1e-9 >= many[1][0]
    assert abs(few_values[0][0] - many[0][0]) <= few_values[1][0]


def test_random_regions_and_points_are_uniform():
    network = random_relu(3, [3, 6, 4, 2])
    regions = pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), want="vertices", threads=1)
    rng = np.random.default_rng(1)
    which = random_regions(regions, 20000, rng=rng)
    masses = uniform_masses(regions)
    expected = 20000 * masses
    assert (np.abs(np.bincount(which, minlength=len(masses)) - expected) <= 6.0 * np.sqrt(expected + 1.0)).all()
    points = sample_points(regions, which, rng=rng)
    same = (network.patterns(points).packed == regions.packed[which]).all(axis=1)
    assert same.mean() > 0.9999
    for d in range(3):  # uniform in the box: Kolmogorov and Smirnov's distance
        x = np.sort(points[:, d]) * 0.5 + 0.5
        assert np.abs(x - (np.arange(20000) + 0.5) / 20000).max() <= 2.0 / math.sqrt(20000)
    again = sample_points(regions, which[:5], rng=np.random.default_rng(3))
    assert np.array_equal(again, sample_points(regions, which[:5], rng=np.random.default_rng(3)))


def test_points_keep_the_inputs_that_are_fixed():
    network = random_relu(4, [4, 8, 2])
    lower, upper = np.array([-1.0, 0.25, -1.0, 0.5]), np.array([1.0, 0.25, 1.0, 0.5])
    regions = pwlnet.enumerate_regions(network, lower, upper, want="vertices", threads=1)
    points = sample_points(regions, [0, 0, 1], rng=np.random.default_rng(0))
    assert (points[:, [1, 3]] == [0.25, 0.5]).all() and len(np.unique(points, axis=0)) == 3
    point = pwlnet.enumerate_regions(network, upper, upper, threads=1)
    assert region_volumes(point).tolist() == [1.0]
    assert np.array_equal(sample_points(point, [0], rng=np.random.default_rng(0)), upper[None])


def test_arguments_that_are_not_valid_are_refused():
    network, rng = random_relu(4, [2, 6, 2]), np.random.default_rng(0)
    regions = pwlnet.enumerate_regions(network, -np.ones(2), np.ones(2), want="vertices", threads=1)
    point = pwlnet.enumerate_regions(network, np.ones(2), np.ones(2), threads=1)
    counted = pwlnet.enumerate_regions(network, -np.ones(2), np.ones(2), want=(), threads=1)
    for call, error, message in (
        (lambda: facet_areas(counted), MissingDataError, "only counted; give want=.'facets'"),
        (lambda: normal_masses(regions, 0.0, -1.0), InputError, "sigma has the entry -1"),
        (lambda: normal_masses(regions, [0.0, 0.0, 0.0], 1.0), ShapeError, "mean has shape"),
        (lambda: normal_masses(regions, np.nan, 1.0), InputError, "not finite"),
        (lambda: normal_masses(regions, 0.0, 1.0, tolerance=0.0), InputError, "tolerance"),
        (lambda: normal_masses(regions, 0.0, 1.0, max_evaluations=1), CapacityError, "max_evaluations"),
        (lambda: normal_masses(point, 0.0, 1.0), InputError, "point"),
        (lambda: region_simplices(point), InputError, "point"),
        (lambda: random_regions(regions, 3, rng=0), InputError, "default_rng"),
        (lambda: random_regions(regions, -1, rng=rng), InputError, "n"),
        (lambda: sample_points(regions, [0.5], rng=rng), InputError, "numbers of regions"),
        (lambda: sample_points(regions, [regions.n_regions], rng=rng), InputError, "numbers from 0"),
    ):
        with pytest.raises(error, match=message):
            call()
