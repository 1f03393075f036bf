"""Regions of boxes and polytopes: against rational arithmetic, closed forms, other engines, and themselves."""

import math

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import CapacityError, InfeasibleError, InputError, MissingDataError, ShapeError
from pwlnet.partition.regions import cell_search
from pwlnet.partition.regions.exploring import explore
from tests.counts import few
from tests.described import to_network
from tests.partition.regions.degenerate import KINDS, degenerate
from tests.partition.regions.test_exact import drawn, random_relu
from tests.partition.regions.test_running import hand_network
from tests.reference.exact_cells import patterns


def states_of(regions):
    return list(map(tuple, regions.patterns().unpack().tolist()))


def assert_exact(description, lower, upper, seed):
    """Compare the patterns with those of the oracle; returns the regions."""
    regions = pwlnet.enumerate_regions(to_network(description), lower, upper, threads=1)
    expected = patterns(description, lower, upper)
    actual = states_of(regions)
    assert len(actual) == len(set(actual)) == regions.n_regions == len(regions), seed
    assert set(actual) == expected, seed
    assert regions.complete and regions.certified and regions.stopped_by is None
    return regions


@pytest.mark.parametrize("dimensions", [2, 3])
def test_degenerate_networks_with_integer_weights_have_the_exact_regions(dimensions):
    n_exact = 0
    for seed in range(few(500, 14, quick=14)):
        description, lower, upper, _ = degenerate(seed, dimensions)
        n_exact += assert_exact(description, lower, upper, seed).n_exact
    assert n_exact > 100  # the test is about signs that floating-point bounds leave open


def test_rounding_bounds_alone_do_not_decide_these_networks():
    """Weights of very different sizes: a value that is not zero is within the rounding error of a larger one."""
    seeds = [seed for seed in range(500) if KINDS[seed % len(KINDS)] == "powers of two"]
    wrong = 0
    for seed in seeds[: few(len(seeds), 40, quick=40)]:
        description, lower, upper, _ = degenerate(seed, 2)
        network = to_network(description)
        wrong += explore(network, lower, upper, threads=1).n_cells != len(patterns(description, lower, upper))
    assert wrong > 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_networks_of_all_ops_have_the_exact_regions(dimensions):
    for seed in range(few(300, 6, quick=12)):
        description, lower, upper = drawn(seed, dimensions, most=14 if dimensions == 3 else 30)
        assert_exact(description, lower, upper, seed)


@pytest.mark.parametrize("dimensions", [2, 4])
def test_hyperplanes_through_one_point_make_the_cells_of_a_central_arrangement(dimensions):
    """2 sum C(n - 1, k), k < D."""
    n = 7
    rng = np.random.default_rng(dimensions)
    description = [
        {"kind": "input", "inputs": [], "shape": (dimensions,)},
        {"kind": "linear", "inputs": [0], "weight": rng.normal(size=(n, dimensions)), "bias": np.zeros(n)},
        {"kind": "relu", "inputs": [1]},
    ]
    regions = pwlnet.enumerate_regions(to_network(description), -np.ones(dimensions), np.ones(dimensions), threads=1)
    assert regions.n_regions == 2 * sum(math.comb(n - 1, k) for k in range(dimensions))
    assert regions.n_exact > 0


def test_a_sawtooth_network_has_all_its_teeth():
    """Compositions of the tent map, constant in a second direction: 2^depth linear pieces."""
    nodes, depth = [{"kind": "input", "inputs": [], "shape": (2,)}], 5
    weight = np.array([[1.0, 0.0], [1.0, 0.0]])
    for _ in range(depth):
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": np.array([0.0, -0.5])})
        nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
        weight = np.array([[2.0, -4.0], [2.0, -4.0]])
    regions = pwlnet.enumerate_regions(to_network(nodes), [0.0, 0.0], [1.0, 1.0], want="affine_maps", threads=1)
    assert regions.n_regions == 2**depth
    teeth = regions.affine_maps().A[:, 0, 0]  # relu(x) of the last layer, where x is the tent map four times
    assert set(np.abs(teeth).tolist()) == {2.0 ** (depth - 1)}


@pytest.mark.parametrize("want", ["patterns", "facets", "affine_maps", "halfspaces"])
def test_rows_of_leaves_are_those_of_cells_that_are_made(monkeypatch, want):
    network, lower, upper = random_relu(3, [3, 9, 8, 2]), np.full(3, -1.0), np.full(3, 1.0)
    rows = pwlnet.enumerate_regions(network, lower, upper, want=want, threads=1)
    monkeypatch.setattr(cell_search, "NEEDS_CELLS", list(range(2)))  # N_STAGES is never 0: all cells are made
    made = pwlnet.enumerate_regions(network, lower, upper, want=want, threads=1)
    assert rows.n_regions == made.n_regions > 100
    assert np.array_equal(rows.packed, made.packed) and np.array_equal(rows.witnesses, made.witnesses)
    if want in ("facets", "halfspaces"):
        assert np.array_equal(rows.facet_offsets, made.facet_offsets)
        assert np.array_equal(rows.facet_neurons, made.facet_neurons)
    for name, column in rows.columns.items():
        assert np.array_equal(column, made.columns[name]), name


def test_facets_are_those_of_linear_programs():
    for seed in range(few(100, 1, quick=2)):
        network = random_relu(seed, [3, 6, 5, 2])
        lower, upper = np.full(3, -1.0), np.full(3, 1.0)
        regions = pwlnet.enumerate_regions(network, lower, upper, threads=1)
        box = pwlnet.Box(lower, upper)
        for r in range(0, regions.n_regions, max(1, regions.n_regions // 4)):
            region = regions.region(r)
            facets = region.facets(box=box)
            expected = set(facets.flip_neurons.tolist())
            k = slice(*regions.facet_offsets[r : r + 2])
            assert set(regions.facet_neurons[k][regions.facet_neurons[k] >= 0].tolist()) == expected, (seed, r)


def test_facets_of_degenerate_regions_are_those_of_all_hyperplanes_that_support_a_face_of_full_dimension():
    """A cube cut by planes through its edges and corners: by the vertices and half-spaces of each region."""
    for seed in range(few(200, 3, quick=10)):
        description, lower, upper, kind = degenerate(seed, 3)
        regions = pwlnet.enumerate_regions(to_network(description), lower, upper, want=("vertices", "halfspaces"), threads=1)
        rows, vertices = regions.halfspaces(), regions.vertices()
        for r in range(regions.n_regions):
            x = vertices.points[vertices.offsets[r] : vertices.offsets[r + 1]]
            words = vertices.facets[vertices.offsets[r] : vertices.offsets[r + 1]]
            k = np.arange(*regions.facet_offsets[r : r + 2])
            slack = rows.h[k] - x @ rows.G[k].T
            size = np.abs(rows.G[k]).sum(axis=1) + np.abs(rows.h[k])
            on = (words[:, None] >> np.arange(len(k)).astype(np.uint64)) & np.uint64(1) > 0
            assert (np.abs(slack)[on] <= 1e-9 * np.broadcast_to(size, on.shape)[on]).all(), (seed, r)
            assert (slack[~on] > 0.0).all(), (seed, r)
            for j in range(len(k)):
                face = x[on[:, j]]
                assert len(face) >= 3, (seed, r)
                if kind != "powers of two":  # whose faces may be thinner than rounding errors
                    assert np.linalg.matrix_rank(face[1:] - face[0], tol=1e-9) == 2, (seed, r)


def test_halfspaces_hold_at_witnesses_and_affine_maps_give_the_outputs():
    for seed in range(few(100, 4, quick=12)):
        description, lower, upper = drawn(seed, 3, most=12)
        network = to_network(description)
        regions = pwlnet.enumerate_regions(network, lower, upper, want=("halfspaces", "affine_maps"), threads=1)
        x = regions.witnesses[:, regions.free]
        rows, maps = regions.halfspaces(), regions.affine_maps()
        row_of = np.repeat(np.arange(regions.n_regions), np.diff(regions.facet_offsets))
        assert ((rows.G * x[row_of]).sum(axis=1) < rows.h).all(), seed
        y = (maps.A @ x[:, :, None])[:, :, 0] + maps.c
        expected = network.forward(regions.witnesses)
        assert np.abs(y - expected).max(initial=0.0) <= 1e-10 * (1.0 + np.abs(expected).max(initial=0.0)), seed
        assert np.array_equal(network.patterns(regions.witnesses).packed, regions.packed), seed


def in_polytope(description, rows, bounds):
    """Append neurons that are active where rows hold, so that the oracle knows the polytope."""
    n = len(description)
    linear = {"kind": "linear", "inputs": [0], "weight": -rows, "bias": bounds}
    return [*description, linear, {"kind": "relu", "inputs": [n]}]


def test_regions_of_polytopes_are_the_exact_ones():
    found = 0
    for seed in range(few(200, 4, quick=12)):
        description, lower, upper, _ = degenerate(seed, 2 + seed % 2)
        rng = np.random.default_rng(seed)
        rows, bounds = rng.integers(-2, 3, (3, len(lower))).astype(float), rng.integers(0, 3, 3).astype(float)
        extended = in_polytope(description, rows, bounds)
        expected = {p[:-3] for p in patterns(extended, lower, upper) if all(p[-3:][m] or not rows[m].any() for m in range(3))}
        network = to_network(description)
        if not expected:
            with pytest.raises(InfeasibleError):
                pwlnet.enumerate_regions(network, lower, upper, polytope=(rows, bounds))
            continue
        regions = pwlnet.enumerate_regions(network, lower, upper, polytope=(rows, bounds), threads=1)
        assert set(states_of(regions)) == expected and len(expected) == regions.n_regions, seed
        assert (regions.witnesses @ rows.T <= bounds + 1e-12).all(), seed
        found += 1
    assert found


def test_facets_on_a_polytope_have_its_rows():
    regions = pwlnet.enumerate_regions(hand_network(), [-2, -1], [2, 1], polytope=([[1.0, 1.0]], [0.5]), threads=1)
    assert regions.n_regions == 5 and (regions.facet_neurons == -1 - 2 * 2).sum() == 4
    rows = regions.halfspaces()
    on_row = regions.facet_neurons == -5
    assert np.allclose(rows.G[on_row] / rows.h[on_row, None] * 0.5, 1.0)


@pytest.mark.parametrize("rule", ["max", "min"])
def test_classes_divide_regions_by_the_largest_or_smallest_output(rule):
    n_cut = 0
    for seed in range(few(60, 2, quick=8)):
        network = random_relu(seed, [2 + seed % 2, 6, 4])
        d = network.n_inputs
        whole = pwlnet.enumerate_regions(network, -np.ones(d), np.ones(d), threads=1)
        parts = pwlnet.enumerate_regions(network, -np.ones(d), np.ones(d), classes=rule, threads=1)
        y = network.forward(parts.witnesses)
        assert np.array_equal(parts.classes, y.argmax(axis=1) if rule == "max" else y.argmin(axis=1))
        assert {p.tobytes() for p in parts.packed} == {p.tobytes() for p in whole.packed}
        both = np.column_stack([parts.packed, parts.classes.astype(np.uint64)])
        assert len(np.unique(both, axis=0)) == parts.n_regions
        points = np.random.default_rng(seed).uniform(-1.0, 1.0, (300, d))
        at = parts.locate(points)
        assert (at >= 0).all() and np.array_equal(network.patterns(points).packed, parts.packed[at])
        cut = parts.facet_neurons == network.n_neurons
        own = np.repeat(parts.classes, np.diff(parts.facet_offsets))
        assert (parts.facet_states[cut] != own[cut]).all()
        n_cut += cut.sum()
    assert n_cut > 10


def test_results_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr("pwlnet.partition.regions.cell_search._TRIAL", 0)
    network, lower, upper = random_relu(4, [3, 20, 12, 2]), np.full(3, -1.0), np.full(3, 1.0)
    one, two = (pwlnet.enumerate_regions(network, lower, upper, threads=n) for n in (1, 2))
    for name in ("packed", "witnesses", "facet_offsets", "facet_neurons", "facet_states"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    some = pwlnet.enumerate_regions(network, lower, upper, threads=2, max_regions=100)
    assert not some.complete and some.stopped_by == "max_regions" and some.n_regions == 100
    assert np.array_equal(some.packed, one.packed[:100]) and np.array_equal(
        some.facet_neurons, one.facet_neurons[: some.facet_offsets[-1]]
    )


def test_a_search_goes_on_from_any_position(monkeypatch):
    from pwlnet.partition.regions.blocks import RegionBlock
    from pwlnet.partition.regions.enumerating import Enumeration

    monkeypatch.setattr("pwlnet.partition.regions.buffers._ROWS", 64)
    network, lower, upper = random_relu(4, [3, 12, 9, 2]), np.full(3, -1.0), np.full(3, 1.0)
    whole = pwlnet.enumerate_regions(network, lower, upper, threads=1)
    begun, blocks = Enumeration(network, lower, upper, want="facets"), []
    for item in begun.blocks(1, tasks=True):
        blocks.append(item)
        if sum(len(block) for block, _ in blocks) > whole.n_regions // 2:
            break
    rest = Enumeration(network, lower, upper, want="facets")
    blocks += rest.blocks(2, tasks=True, start=blocks[-1][1])
    joined = RegionBlock.join([block for block, _ in blocks])
    assert np.array_equal(joined.packed, whole.packed) and np.array_equal(joined.facet_neurons, whole.facet_neurons)


def test_points_are_located_also_on_boundaries():
    description, lower, upper, _ = degenerate(1, 2)
    network = to_network(description)
    regions = pwlnet.enumerate_regions(network, lower, upper, want="vertices", threads=1)
    assert np.array_equal(regions.locate(regions.witnesses), np.arange(regions.n_regions))
    corners = regions.vertices().points
    at = regions.locate(corners)
    assert (at >= 0).all()
    assert (regions.locate([[5.0, 0.0]]) == -1).all()


def test_columns_are_computed_on_first_use():
    network, lower, upper = random_relu(4, [3, 8, 2]), np.full(3, -1.0), np.full(3, 1.0)
    regions = pwlnet.enumerate_regions(network, lower, upper, threads=1)
    at_once = pwlnet.enumerate_regions(network, lower, upper, threads=1, want=("halfspaces", "affine_maps", "vertices"))
    assert not regions.columns
    for method in ("halfspaces", "affine_maps", "vertices"):
        for a, b in zip(getattr(regions, method)(), getattr(at_once, method)(), strict=True):
            assert np.array_equal(a, b), method
    counted = pwlnet.enumerate_regions(network, lower, upper, want=())
    assert counted.n_regions == regions.n_regions and counted.complete
    with pytest.raises(MissingDataError, match="only counted"):
        counted.patterns()


def test_a_region_is_the_intersection_of_its_facets_and_is_behind_those_of_its_neighbours():
    network, lower, upper = random_relu(4, [3, 8, 6, 2]), np.full(3, -1.0), np.full(3, 1.0)
    regions = pwlnet.enumerate_regions(network, lower, upper, threads=1)
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (500, 3))
    at = regions.locate(points)
    for r in range(0, regions.n_regions, 7):
        facets, behind = regions.facets(r), regions.neighbours(r)
        inside = (points @ facets.G.T <= facets.h).all(axis=1)
        assert np.array_equal(inside, at == r)
        assert np.array_equal(behind < 0, facets.neurons < 0)
        for q in behind[behind >= 0]:
            assert r in regions.neighbours(int(q))
    with pytest.raises(InputError, match="r is 10000, but the result has regions 0 to"):
        regions.facets(10_000)
    with pytest.raises(ValueError, match="read-only"):
        regions.packed[0, 0] = 1


def test_boxes_with_sides_of_width_zero():
    network = random_relu(4, [4, 8, 2])
    lower, upper = np.array([-1.0, 0.25, -1.0, 0.5]), np.array([1.0, 0.25, 1.0, 0.5])
    regions = pwlnet.enumerate_regions(network, lower, upper, threads=1)
    assert regions.free.tolist() == [0, 2] and (regions.witnesses[:, [1, 3]] == [0.25, 0.5]).all()
    point = pwlnet.enumerate_regions(network, lower, lower, threads=1)
    assert point.n_regions == 1 and np.array_equal(point.packed, network.patterns(lower).packed)
    with pytest.raises(InfeasibleError, match="only point"):
        pwlnet.enumerate_regions(network, lower, lower, polytope=([[1.0, 0, 0, 0]], [-2.0]))


def test_invalid_arguments_are_refused():
    network = random_relu(4, [3, 4, 2])
    lower, upper = -np.ones(3), np.ones(3)
    for options, error, message in (
        ({"want": "colours"}, InputError, "want is 'colours'; the choices are 'patterns'"),
        ({"method": "guess"}, InputError, "method is 'guess'"),
        ({"classes": "most"}, InputError, "classes is 'most'; give 'max', 'min' or None"),
        ({"polytope": ([[1.0, 1.0]], [0.0])}, ShapeError, "rows with 2 entries, but the network has 3 inputs"),
        ({"polytope": 3}, InputError, "polytope is a int; give a HalfSpaces"),
        ({"max_regions": 0}, InputError, "max_regions is 0"),
        ({"time_limit": -1}, InputError, "time_limit"),
    ):
        with pytest.raises(error, match=message):
            pwlnet.enumerate_regions(network, lower, upper, **options)
    with pytest.raises(InputError, match="lower is above upper"):
        pwlnet.enumerate_regions(network, upper, lower)
    with pytest.raises(ShapeError):
        pwlnet.enumerate_regions(network, lower[:2], upper[:2])
    wide = random_relu(4, [9, 4, 2])
    with pytest.raises(CapacityError, match="9 sides"):
        pwlnet.enumerate_regions(wide, -np.ones(9), np.ones(9), method="subdivision")


def test_regions_decide_conditions():
    """Also in a polytope, and where a condition holds on the boundary of regions only."""
    network, lower, upper = hand_network(), np.array([-2.0, -1.0]), np.array([2.0, 1.0])
    regions = pwlnet.enumerate_regions(network, lower, upper)
    unsafe = pwlnet.HalfSpaces([[1.0, 0.0]], [-2.0])
    found = pwlnet.decide(network, regions, unsafe)
    assert found.status == "sat" and found.engine == "cells" and unsafe.contains(network.forward(found.witness)).all()
    lowest = pwlnet.output_range(regions).lower[0]
    assert pwlnet.decide(network, regions, pwlnet.HalfSpaces([[1.0, 0.0]], [lowest - 1e-6])).status == "unsat"
    part = pwlnet.enumerate_regions(network, lower, upper, polytope=([[1.0, 1.0], [-1.0, 0.0]], [0.5, 0.0]))
    inside = pwlnet.output_range(part)
    assert (inside.lower >= pwlnet.output_range(regions).lower).all()
    for sign, ends in ((1.0, inside.lower), (-1.0, -inside.upper)):
        for o in range(2):
            row = sign * np.eye(2)[[o]]
            assert pwlnet.decide(network, part, pwlnet.HalfSpaces(row, [ends[o] - 1e-6])).status == "unsat"
            answer = pwlnet.decide(network, part, pwlnet.HalfSpaces(row, [ends[o] + 1e-6]))
            assert answer.status == "sat" and answer.witness.sum() <= 0.5 and answer.witness[0] >= 0.0
    with pytest.raises(InputError, match="another network"):
        pwlnet.decide(random_relu(1, [2, 3, 2]), regions, unsafe)


@pytest.mark.parametrize("first", range(0, few(500, 10, quick=20), 10))
def test_planes_and_subdivision_agree(first):
    """Patterns, facets, volumes of the regions of degenerate networks and of networks of all ops."""
    for seed in range(first, first + 10):
        if seed % 2:
            description, lower, upper = drawn(seed, 2, most=40)
        else:
            description, lower, upper, _ = degenerate(seed, 2)
        network = to_network(description)
        cells = pwlnet.enumerate_regions(network, lower, upper, threads=1, want=("vertices",))
        plane = pwlnet.enumerate_regions(network, lower, upper, threads=1, method="planes")
        assert plane.n_regions == cells.n_regions and plane.certified, seed
        at = np.array([np.flatnonzero((plane.packed == p).all(axis=1))[0] for p in cells.packed])
        assert_same_facets(cells, plane, at, seed % 2 == 0, seed)
        counts = np.diff(cells.vertices().offsets)
        assert np.array_equal(counts, np.diff(plane.vertices().offsets)[at]), seed


def assert_same_facets(regions, others, at, by_neuron, seed):
    """Compare the facets of regions r and ``at[r]`` of two results: by what is behind them, and by their neurons.

    Where the hyperplanes of several windows of MaxPool coincide, methods may name different neurons of these.
    """
    back = {int(q): r for r, q in enumerate(at)}
    for r, q in enumerate(at):
        first, second = (slice(*x.facet_offsets[k : k + 2]) for x, k in ((regions, r), (others, int(q))))
        here, there = regions.neighbours(r), others.neighbours(int(q))
        outside = regions.facet_neurons[first][here < 0].tolist(), others.facet_neurons[second][there < 0].tolist()
        assert sorted(outside[0]) == sorted(outside[1]), (seed, r)
        assert sorted(here[here >= 0].tolist()) == sorted(back[k] for k in there[there >= 0].tolist()), (seed, r)
        assert not by_neuron or facets_of(regions, r) == facets_of(others, q), (seed, r)


def facets_of(regions, r):
    k = slice(*regions.facet_offsets[r : r + 2])
    return set(zip(regions.facet_neurons[k].tolist(), regions.facet_states[k].tolist(), strict=True))


def test_volumes_add_up_to_the_box():
    for seed in range(few(300, 4, quick=12)):
        dimensions = 2 + seed % 2
        if seed % 3:
            description, lower, upper, _ = degenerate(seed, dimensions)
        else:
            description, lower, upper = drawn(seed, dimensions, most=14)
        regions = pwlnet.enumerate_regions(to_network(description), lower, upper, want="volumes", threads=1)
        box = np.prod((upper - lower)[regions.free])
        assert (regions.volumes() > 0.0).all() and abs(regions.volumes().sum() - box) <= 1e-12 * box, seed
    five = random_relu(5, [5, 8, 6, 2])
    regions = pwlnet.enumerate_regions(five, np.full(5, -1.0), np.full(5, 1.0), want="volumes")
    assert abs(regions.volumes().sum() - 32.0) <= 1e-11


def test_shares_of_conditions_are_volumes():
    """The network by hand, all of whose regions have unsafe points; and unions that overlap."""
    network, lower, upper = hand_network(), np.array([-2.0, -1.0]), np.array([2.0, 1.0])
    regions = pwlnet.enumerate_regions(network, lower, upper)
    unsafe = pwlnet.HalfSpaces([[1.0, 0.0]], [-2.0])
    found = pwlnet.find_where(regions, unsafe)
    assert found.exists and found.margin <= 0.0 and sorted(found.pieces.region.tolist()) == list(range(6))
    plane = pwlnet.partition_planes(network, [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [[-2, -1], [2, -1], [2, 1], [-2, 1]])
    assert abs(found.share - pwlnet.find_where(plane.parts[0], unsafe).share) <= 1e-12
    union = [unsafe, pwlnet.HalfSpaces([[0.0, 1.0]], [0.0]), pwlnet.HalfSpaces([[1.0, 1.0], [-1.0, 0.0]], [-1.0, 1.0])]
    expected = pwlnet.find_where(plane.parts[0], union)
    joined = pwlnet.find_where(regions, union)
    assert joined.exists and abs(joined.share - expected.share) <= 1e-12
    lowest = pwlnet.output_range(regions).lower[0]
    nowhere = pwlnet.find_where(regions, pwlnet.HalfSpaces([[1.0, 0.0]], [lowest - 1e-9]))
    assert not nowhere.exists and nowhere.share == 0.0 and nowhere.witness is None


def test_regions_verify_and_wrong_ones_do_not():
    """Generic and degenerate networks, networks of all ops, classes, a polytope."""
    from dataclasses import replace

    cases = [(random_relu(3, [3, 8, 6, 3]), {"classes": "max"})]
    cases += [(random_relu(3, [4, 6, 2]), {"polytope": (np.ones((1, 4)), [0.5])})]
    cases += [(to_network(degenerate(seed, 2 + seed % 2)[0]), {}) for seed in range(few(100, 3, quick=12))]
    for network, options in cases:
        d = network.n_inputs
        check = pwlnet.enumerate_regions(network, -np.ones(d), np.ones(d), threads=1, **options).verify()
        assert check.ok, (network, check)
    for seed in range(few(100, 2, quick=8)):
        description, lower, upper = drawn(seed, 3, most=12)
        assert pwlnet.enumerate_regions(to_network(description), lower, upper, threads=1).verify().ok, seed
    regions = pwlnet.enumerate_regions(random_relu(3, [3, 8, 6, 3]), -np.ones(3), np.ones(3), threads=1)
    moved = regions.witnesses.copy()
    moved[0] = regions.witnesses[1]
    assert replace(regions, witnesses=moved, columns={}).verify().n_wrong_witnesses == 1
    wrong = dict(regions.columns, affine_maps_A=2.0 * regions.affine_maps().A)
    assert not replace(regions, columns=wrong).verify().ok
    halved = dict(regions.columns, volumes=0.5 * regions.volumes())
    assert not replace(regions, columns=halved).verify().ok
    assert regions.verify(source=lambda x: random_relu(3, [3, 8, 6, 3]).forward(x)).source_error <= 1e-6
