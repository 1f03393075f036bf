"""Neighbours of regions, linear regions, faces and decision boundaries: against rational arithmetic and closed forms."""

import itertools
import types
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import InputError, MissingDataError, NumericalError
from pwlnet.partition.regions.cell_volumes import volumes_of_cells
from pwlnet.partition.regions.decision_boundary import decision_complex
from pwlnet.partition.regions.faces import count_faces, euler_characteristic, list_faces
from pwlnet.partition.regions.graph import region_graph, renumbered, words_of
from pwlnet.partition.regions.linear_regions import linear_regions, map_error_bounds
from pwlnet.partition.regions.matching import facet_centers
from tests.counts import few
from tests.described import to_network
from tests.partition.regions.degenerate import degenerate
from tests.partition.regions.test_exact import drawn, fully_connected, random_relu
from tests.partition.regions.test_running import hand_network
from tests.reference.exact_cells import cells_of


def enumerate_all(description, lower, upper, want="vertices", **options):
    return pwlnet.enumerate_regions(to_network(description), lower, upper, want=want, threads=1, **options)


def affine_rank(points):
    """Return the dimension of the affine hull of exact points."""
    rows = [[a - b for a, b in zip(p, points[0], strict=True)] for p in points[1:]]
    rank = 0
    for column in range(len(points[0])):
        pivot = next((row for row in rows if row[column]), None)
        if pivot is not None:
            rank += 1
            rest = [row for row in rows if row is not pivot]
            factors = [row[column] / pivot[column] for row in rest]
            rows = [[x - f * y for x, y in zip(row, pivot, strict=True)] for row, f in zip(rest, factors, strict=True)]
    return rank


def exact_pairs(description, lower, upper):
    """Return the pairs of patterns whose cells have a common facet."""
    cells = cells_of(description, lower, upper)
    n = len(cells[0].rows[0]) - 1
    pairs = set()
    for a, b in itertools.combinations(cells, 2):
        common = [[Fraction(x, v[-1]) for x in v[:-1]] for v in set(a.vertices) & set(b.vertices)]
        if len(common) >= n and affine_rank(common) == n - 1:
            pairs.add(frozenset([tuple(a.states), tuple(b.states)]))
    return pairs


def pairs_of(regions, graph):
    states = list(map(tuple, regions.patterns().unpack().tolist()))
    rows, columns = graph.adjacency.nonzero()
    return {frozenset([states[r], states[q]]) for r, q in zip(rows.tolist(), columns.tolist(), strict=True)}


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_neighbours_in_degenerate_networks_are_those_of_exact_cells(dimensions):
    n_several = 0
    for seed in range(few(300, 14, quick=14)):
        description, lower, upper, _ = degenerate(seed, dimensions)
        regions = enumerate_all(description, lower, upper, want="facets")
        graph = region_graph(regions, threads=1)
        assert pairs_of(regions, graph) == exact_pairs(description, lower, upper), seed
        assert (graph.adjacency != graph.adjacency.T).nnz == 0 and graph.n_components == 1
        n_several += graph.n_several
    assert dimensions == 1 or n_several > 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_neighbours_in_networks_of_all_ops_are_those_of_exact_cells(dimensions):
    tried = 0
    for seed in range(few(300, 8, quick=12)):
        description, lower, upper = drawn(seed, dimensions, most=12 if dimensions == 3 else 24)
        if any(node["kind"] == "max_pool" for node in description):  # the cells of the oracle are parts of regions
            continue
        regions = enumerate_all(description, lower, upper, want="facets")
        assert pairs_of(regions, region_graph(regions, threads=1)) == exact_pairs(description, lower, upper), seed
        tried += 1
    assert tried > 2


def test_both_sides_of_a_facet_have_it_in_the_same_place_also_between_classes():
    n_cut = 0
    for seed in range(few(200, 6, quick=12)):
        network = random_relu(seed, [2 + seed % 3, 5, 4, 3])
        f = network.n_inputs
        regions = pwlnet.enumerate_regions(network, -np.ones(f), np.ones(f), want="vertices", classes="max", threads=1)
        graph = region_graph(regions, threads=1)
        centers, sizes = facet_centers(regions, np.arange(len(graph.neighbours)), graph.owners)
        facet_of = {pair: k for k, pair in enumerate(zip(graph.owners.tolist(), graph.neighbours.tolist(), strict=True))}
        for (r, q), k in facet_of.items():
            if q >= 0:
                back = facet_of[q, r]
                assert np.abs(centers[k] - centers[back]).max() <= 1e-7 * (1.0 + sizes[k]), seed
        outside = regions.facet_neurons < 0
        assert np.array_equal(outside, graph.neighbours == -1)
        assert graph.n_components == 1
        n_cut += int((regions.facet_neurons == network.n_neurons).sum())
    assert n_cut > 0


@pytest.mark.parametrize("classes", [None, "max"])
def test_regions_of_several_cells_have_neighbours_on_all_sides_and_fill_the_box(classes):
    """MaxPool windows with three taps or more, and three outputs or more, whose comparisons divide regions; many with ties."""
    tried = 0
    for seed in itertools.chain(range(few(150, 4, quick=10)), (143,)):
        for made in (drawn(seed, 2), drawn(seed, 3, most=14), degenerate(seed, 3)[:3]):
            network, description = to_network(made[0]), made[0]
            if network.n_outputs == 1 if classes else not any(node["kind"] == "max_pool" for node in description):
                continue
            regions = enumerate_all(*made, classes=classes)
            graph = region_graph(regions, threads=1)
            assert (graph.adjacency != graph.adjacency.T).nnz == 0 and graph.n_components == 1, seed
            assert np.array_equal(graph.neighbours == -1, regions.facet_neurons < 0), seed
            assert not (graph.neighbours == graph.owners).any(), seed
            volumes = volumes_of_cells(*regions.vertices())  # of the corners of the whole
            assert np.allclose(volumes, regions.volumes(), rtol=1e-9, atol=1e-12), seed
            assert volumes.sum() == pytest.approx(regions.domain_volume(), rel=1e-9), seed
            tried += 1
    assert tried > 5


def test_a_facet_of_duplicate_neurons_changes_all_of_them():
    """Three copies of a neuron, one with the opposite sign, and a neuron of the next layer with the same hyperplane."""
    network = fully_connected(
        [[[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], [[1.0, 1.0]]],
        [[0.0, 0.0, 0.0, 0.25], [0.0, -0.5], [0.0]],
    )
    regions = pwlnet.enumerate_regions(network, [-1, -1], [1, 1], threads=1)
    graph = region_graph(regions)
    assert regions.n_regions == 6 and graph.n_several == 6
    states = regions.patterns().unpack()
    several = np.flatnonzero((regions.facet_neurons == 0) & (graph.neighbours >= 0))
    changed = states[graph.owners[several]] != states[graph.neighbours[several]]
    assert (changed.sum(axis=1) == 4).all() and (changed[:, :3]).all()


def test_regions_that_are_missing_are_not_found_and_the_others_are():
    for network in (random_relu(4, [3, 12, 9, 2]), to_network(degenerate(7, 3)[0])):
        whole = pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), threads=1)
        graph = region_graph(whole, threads=1)
        n = max(1, whole.n_regions // 2)
        some = pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), threads=1, max_regions=n)
        expected = graph.neighbours[: some.facet_offsets[-1]]
        expected = np.where(expected >= n, -2, expected)
        assert np.array_equal(region_graph(some, threads=1).neighbours, expected)
        assert (expected == -2).any()


def test_a_set_that_is_not_complete_though_it_says_so_is_refused():
    network = random_relu(4, [3, 12, 9, 2])
    some = pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), threads=1, max_regions=20)
    names = ("network", "n_regions", "packed", "facet_offsets", "facet_neurons", "facet_states", "classes")
    lie = types.SimpleNamespace(complete=True, **{name: getattr(some, name) for name in names})
    lie.lower, lie.upper, lie.vertices, lie.method = some.lower, some.upper, some.vertices, some.method
    with pytest.raises(NumericalError, match="said to be complete"):
        region_graph(lie)
    with pytest.raises(MissingDataError, match="facets"):
        region_graph(pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), want=()))


def test_regions_without_facets_have_a_graph():
    network = random_relu(4, [3, 4, 2])
    point = pwlnet.enumerate_regions(network, np.ones(3), np.ones(3), threads=1)
    graph = region_graph(point)
    assert graph.n_components == 1 and graph.adjacency.shape == (1, 1) and not len(graph.neighbours)


def test_patterns_with_several_bits_per_state_are_looked_up():
    """HardTanh on a line: three states in order."""
    description = [
        {"kind": "input", "inputs": [], "shape": (1,)},
        {"kind": "clip", "inputs": [0], "lower": -1.0, "upper": 1.0},
    ]
    regions = enumerate_all(description, [-3.0], [3.0])
    graph = region_graph(regions)
    states = regions.patterns().unpack()[:, 0]
    assert sorted(states.tolist()) == [0, 1, 2]
    pairs = {(int(states[r]), int(states[q])) for r, q in zip(graph.owners, graph.neighbours, strict=True) if q >= 0}
    assert pairs == {(0, 1), (1, 0), (1, 2), (2, 1)}
    _, places, widths = words_of(regions)
    assert places.tolist() == [[0, 0, 2]] and widths.tolist() == [2]


def test_the_walk_in_many_dimensions_has_the_same_neighbours():
    """Also across facets of duplicate neurons, whose other sides are found without vertices."""
    weights = [[[1.0, 0.5], [1.0, 0.5], [0.25, -1.0]], [[1.0, -2.0, 1.0], [1.0, 1.0, 1.0]], [[1.0, 1.0]]]
    for network in (random_relu(4, [2, 9, 6, 2]), fully_connected(weights, [[0.1, 0.1, 0.3], [0.2, -1.0], [0.0]])):
        pairs = []
        for method in ("search", "subdivision"):
            regions = pwlnet.enumerate_regions(network, -np.ones(2), np.ones(2), method=method, want="facets", threads=1)
            graph = region_graph(regions, threads=1)
            pairs.append(pairs_of(regions, graph))
        assert pairs[0] == pairs[1] and graph.n_components == 1


def test_networkx_has_the_same_edges():
    networkx = pytest.importorskip("networkx")
    regions = pwlnet.enumerate_regions(hand_network(), [-2, -1], [2, 1], threads=1)
    graph = region_graph(regions)
    made = graph.to_networkx()
    assert made.number_of_nodes() == 6 and 2 * made.number_of_edges() == graph.adjacency.nnz
    assert networkx.is_connected(made)


def test_labels_are_numbered_by_first_appearance():
    assert renumbered(np.array([7, 3, 7, 5, 3])).tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_linear_regions_and_maps_are_the_exact_ones(dimensions):
    merged = 0
    for seed in range(few(200, 5, quick=10)):
        for made in (degenerate(seed, dimensions)[:3], drawn(seed, dimensions, most=12)):
            regions = enumerate_all(*made, want=("facets", "affine_maps"))
            found = linear_regions(regions)
            last, exact = len(made[0]) - 1, {}
            for cell in cells_of(*made):
                exact.setdefault(tuple(cell.states), tuple(map(tuple, cell.signals[last])))
            maps = [exact[tuple(s)] for s in regions.patterns().unpack().tolist()]
            assert found.n_maps == len(set(maps)) == len(set(zip(found.map_labels.tolist(), maps, strict=True))), seed
            assert len(set(zip(found.labels.tolist(), maps, strict=True))) == found.n_linear, seed
            graph = region_graph(regions)
            joined = np.array(
                [q >= 0 and maps[r] == maps[q] for r, q in zip(graph.owners, graph.neighbours, strict=True)], bool
            )
            assert graph.components(joined)[0] == found.n_linear, seed
            assert found.n_maps <= found.n_linear <= found.n_activation == regions.n_regions
            merged += found.n_activation - found.n_linear
    assert merged > 0


def test_one_map_on_two_sides_of_another_one_makes_two_linear_regions():
    """max(|x| - 1, 0): 0 in the middle; relu(x - 1) - relu(x + 1) with a dead neuron: slope 0 on both ends."""
    network = fully_connected([[[1.0], [1.0], [1.0]], [[1.0, -1.0, 0.0]]], [[-1.0, 1.0, 0.5], [2.0]])
    regions = pwlnet.enumerate_regions(network, [-3.0], [3.0], want=("facets", "affine_maps"), threads=1)
    found = linear_regions(regions)
    assert (found.n_activation, found.n_linear, found.n_maps) == (4, 3, 3)
    symmetric = fully_connected([[[1.0], [1.0], [1.0]], [[1.0, -2.0, 1.0]]], [[-1.0, 0.0, 1.0], [0.0]])  # a hat
    regions = pwlnet.enumerate_regions(symmetric, [-3.0], [3.0], want=("facets", "affine_maps"), threads=1)
    found = linear_regions(regions)
    assert (found.n_activation, found.n_linear, found.n_maps) == (4, 4, 3)


def test_maps_that_differ_by_less_than_their_rounding_are_distinct():
    """Slopes 1 and 1 + 2^-60: only integers see the difference."""
    network = fully_connected([[[1.0], [1.0]], [[1.0, 2.0**-60]]], [[8.0, 0.0], [0.0]])
    regions = pwlnet.enumerate_regions(network, [-1.0], [1.0], want=("facets", "affine_maps"), threads=1)
    assert regions.affine_maps().A[0, 0, 0] == regions.affine_maps().A[1, 0, 0]
    found = linear_regions(regions)
    assert (found.n_linear, found.n_maps, found.n_exact) == (2, 2, 2)


def test_errors_of_affine_maps_are_within_their_bounds():
    for seed in range(few(60, 3, quick=8)):
        made = drawn(seed, 2, most=16)
        regions, last = enumerate_all(*made, want=("facets", "affine_maps")), len(made[0]) - 1
        exact = {tuple(cell.states): cell.signals[last] for cell in cells_of(*made)}
        maps, bounds = regions.affine_maps(), map_error_bounds(regions)
        for r, states in enumerate(regions.patterns().unpack().tolist()):
            signal = exact[tuple(states)]
            truth = [f[d] for f in signal for d in range(2)] + [f[-1] for f in signal]
            actual = np.concatenate([maps.A[r].ravel(), maps.c[r]])
            errors = [abs(Fraction(float(a)) - t) for a, t in zip(actual, truth, strict=True)]
            assert all(e <= Fraction(float(b)) for e, b in zip(errors, bounds, strict=True)), (seed, r)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
def test_faces_of_a_box_in_degenerate_pieces_add_up_to_one(dimensions):
    for seed in range(few(100, 7, quick=14)):
        description, lower, upper, kind = degenerate(seed, dimensions)
        if kind == "powers of two" and dimensions == 4:  # facets thinner than the rounding errors of their vertices
            continue
        regions = enumerate_all(description, lower, upper)
        if regions.n_regions < 200:
            found = count_faces(regions)
            assert found.euler_characteristic == 1 and found.counts[-1] == regions.n_regions, seed


def test_faces_of_a_cube_and_of_an_octahedron():
    cube = [sum(1 << 2 * d + (i >> d & 1) for d in range(4)) for i in range(16)]
    faces = [set() for _ in range(5)]
    list_faces(cube, list(range(16)), 4, faces)
    assert [len(s) for s in faces] == [16, 32, 24, 8, 1]
    signs = list(itertools.product((-1, 1), repeat=3))
    corners = [(d, s) for d in range(3) for s in (-1, 1)]
    octahedron = [sum(1 << k for k, sign in enumerate(signs) if sign[d] == s) for d, s in corners]
    faces = [set() for _ in range(4)]
    list_faces(octahedron, list(range(6)), 3, faces)
    assert [len(s) for s in faces] == [6, 12, 8, 1]


def test_a_missing_region_changes_the_euler_characteristic():
    """A central region is removed: the rest is a ring."""
    network = fully_connected(
        [[[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]], [[1.0, 1.0, 1.0, 1.0]]], [[-0.5, 0.5, -0.5, 0.5], [0.0]]
    )
    regions = pwlnet.enumerate_regions(network, [-1, -1], [1, 1], want="vertices", threads=1)
    assert regions.n_regions == 9 and euler_characteristic(regions) == 1
    graph, names, faces = region_graph(regions), None, [set() for _ in range(3)]
    from pwlnet.partition.regions.faces import shared_vertices

    names, (offsets, _, words) = shared_vertices(regions, graph), regions.vertices()
    for r in range(9):
        if np.abs(regions.witnesses[r]).max() > 0.5:
            here = slice(offsets[r], offsets[r + 1])
            list_faces(words[here].tolist(), names[here].tolist(), 2, faces)
    assert [len(s) for s in faces] == [16, 24, 8]  # 16 - 24 + 8 = 0


def test_the_decision_boundary_of_a_line_between_two_classes():
    """Class 1 in a strip |x0| < 1/2 of the square [-1, 1]^2, class 0 on both sides."""
    network = fully_connected([[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]], [[0.0, 0.0], [0.0, 0.5]])
    regions = pwlnet.enumerate_regions(network, [-1, -1], [1, 1], want=("vertices", "halfspaces"), classes="max", threads=1)
    found = decision_complex(regions)
    assert np.allclose(found.class_volumes, [2.0, 2.0]) and found.n_components == 3
    assert np.allclose(found.areas, 2.0) and len(found.areas) == 2
    assert np.allclose(np.abs(found.normals), [[1.0, 0.0]] * 2)
    outward = found.normals * np.where(found.classes[:, :1] == 1, 1.0, -1.0)
    assert np.allclose(outward.sum(axis=0), 0.0)
    order = np.argsort(found.component_classes)
    assert np.allclose(found.component_volumes[order], [1.0, 1.0, 2.0])
    assert np.allclose(found.component_areas[order], [5.0, 5.0, 6.0])
    assert found.component_classes[found.thinnest] == 0


def test_areas_of_the_boundary_of_each_component_balance():
    """The normals of a closed surface, weighted by area, add up to zero; volumes of classes are the shares of points."""
    for dimensions in (1, 2, 3, 4)[: few(4, 3, quick=3)]:
        network = random_relu(3, [dimensions, 6, 5, 3], scale=0.1)
        box = -np.ones(dimensions), np.ones(dimensions)
        regions = pwlnet.enumerate_regions(network, *box, want=("vertices", "halfspaces"), classes="max", threads=1)
        found, graph = decision_complex(regions), region_graph(regions)
        from pwlnet.partition.regions.measures import facet_areas

        normals = regions.halfspaces().G
        flow = normals / np.linalg.norm(normals, axis=1, keepdims=True) * facet_areas(regions)[:, None]
        total = np.zeros((found.n_components, dimensions))
        np.add.at(total, found.components[graph.owners], flow)
        assert np.abs(total).max() <= 1e-10 * 2**dimensions * regions.n_regions
        points = np.random.default_rng(0).uniform(-1.0, 1.0, (20000, dimensions))
        shares = np.bincount(network.forward(points).argmax(axis=1), minlength=3) / 20000
        assert np.abs(shares - found.class_volumes / 2**dimensions).max() < 0.02


def test_decision_complexes_need_all_regions_with_classes():
    network = random_relu(3, [2, 6, 3])
    with pytest.raises(InputError, match="classes="):
        decision_complex(pwlnet.enumerate_regions(network, [-1, -1], [1, 1], threads=1))
    some = pwlnet.enumerate_regions(network, [-1, -1], [1, 1], threads=1, classes="max", max_regions=2)
    with pytest.raises(InputError, match="not complete"):
        decision_complex(some)
    point = pwlnet.enumerate_regions(network, [1, 1], [1, 1], threads=1, classes="max")
    with pytest.raises(InputError, match="point"):
        decision_complex(point)
    with pytest.raises(InputError, match="point"):
        count_faces(point)
