"""Statistics of regions: known boxes and grids, volumes of convex hulls, what points find of them."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy.spatial import ConvexHull

import pwlnet
from pwlnet.analysis.region_statistics import QUANTILES
from pwlnet.errors import InputError, MissingDataError
from tests.counts import few
from tests.partition.regions.test_exact import fully_connected, random_relu

LOOSEST = 1e-9  # of distances and volumes


def grid_network(*steps):
    """Make a network whose regions are boxes: input d is cut at the given numbers."""
    rows = [np.eye(len(steps))[d] for d, cuts in enumerate(steps) for _ in cuts]
    biases = [-cut for cuts in steps for cut in cuts]
    return fully_connected([rows, np.ones((1, len(rows)))], [biases, [0.0]])


def enumerated(network, lower, upper, **how):
    """Enumerate regions, and give them the volumes of the convex hulls of their corners."""
    regions = pwlnet.enumerate_regions(network, lower, upper, want=("facets", "halfspaces", "vertices"), threads=1, **how)
    corners = regions.vertices()
    parts = (corners.points[a:b] for a, b in itertools.pairwise(corners.offsets))
    regions.columns["volumes"] = np.array([ConvexHull(part).volume if part.shape[1] > 1 else np.ptp(part) for part in parts])
    return regions


def test_a_grid_of_boxes_has_the_statistics_of_its_sides():
    network = grid_network([1.0, 3.0], [2.0])  # widths 1, 2, 7 and 2, 8: volumes 2, 4, 14, 8, 16, 56
    statistics = pwlnet.summarize_regions(enumerated(network, [0.0, 0.0], [10.0, 10.0]), largest=(1, 2, 6, 99))
    volumes, shares = statistics.volumes, np.array([2, 4, 8, 14, 16, 56]) / 100.0
    assert (statistics.n_regions, statistics.n_free, statistics.complete) == (6, 2, True)
    assert statistics.facet_counts.tolist() == [0, 0, 0, 0, 6] and statistics.mean_facets == 4.0
    assert statistics.neighbour_counts.tolist() == [0, 0, 4, 2] and statistics.mean_neighbours == pytest.approx(14 / 6)
    assert volumes.total == pytest.approx(100.0) and volumes.quantiles == pytest.approx(np.quantile(100 * shares, QUANTILES))
    assert list(volumes.largest.values()) == pytest.approx([0.56, 0.72, 1.0, 1.0])
    gini = np.abs(shares[:, None] - shares).sum() / (2.0 * 6.0)  # mean difference over twice the mean share
    assert volumes.gini == pytest.approx(gini)
    assert volumes.effective_simpson == pytest.approx(1.0 / (shares**2).sum())
    assert volumes.effective_shannon == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))


def test_the_histogram_of_volumes_counts_regions_between_powers_of_ten():
    network = grid_network([1.0, 3.0], [2.0])
    volumes = pwlnet.summarize_regions(enumerated(network, [0.0, 0.0], [10.0, 10.0]), bins_per_decade=1).volumes
    assert volumes.log10_edges == pytest.approx([1.0, 10.0, 100.0])
    assert volumes.counts.tolist() == [3, 3] and volumes.volume_by_bin == pytest.approx([0.14, 0.86])


def test_volumes_are_computed_on_first_use():
    network = random_relu(4, [3, 7, 5, 1])
    regions = pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), threads=1)
    expected = pwlnet.summarize_regions(enumerated(network, -np.ones(3), np.ones(3))).volumes
    actual = pwlnet.summarize_regions(regions).volumes
    assert actual.total == pytest.approx(8.0) and actual.quantiles == pytest.approx(expected.quantiles)
    assert actual.gini == pytest.approx(expected.gini)


def test_equal_regions_are_as_many_as_their_effective_number():
    statistics = pwlnet.summarize_regions(enumerated(grid_network([1.0, 2.0, 3.0], [1.0]), [0.0, 0.0], [4.0, 2.0]))
    assert statistics.volumes.effective_shannon == pytest.approx(8.0)
    assert statistics.volumes.effective_simpson == pytest.approx(8.0)
    assert statistics.volumes.gini == pytest.approx(0.0, abs=1e-12)


def test_numbers_of_neighbours_are_even_since_each_facet_has_two_sides():
    for seed in range(few(20, 2)):
        regions = enumerated(random_relu(seed, [2 + seed % 2, 6, 5, 1]), *np.array([[-1.0], [1.0]]) * np.ones(2 + seed % 2))
        statistics = pwlnet.summarize_regions(regions)
        total = int((statistics.neighbour_counts * np.arange(len(statistics.neighbour_counts))).sum())
        assert total % 2 == 0 and total == int((regions.facet_neurons >= 0).sum()), seed
        assert statistics.volumes.total == pytest.approx(2.0 ** len(regions.free), rel=LOOSEST), seed
        assert statistics.volumes.volume_by_bin.sum() == pytest.approx(1.0), seed


def test_one_region_and_no_free_input_are_statistics_too():
    network = fully_connected([np.eye(2), np.ones((1, 2))], [[9.0, 9.0], [0.0]])
    statistics = pwlnet.summarize_regions(enumerated(network, [-1.0, -1.0], [1.0, 1.0]))
    assert (statistics.n_regions, statistics.mean_neighbours, statistics.volumes.gini) == (1, 0.0, 0.0)
    point = pwlnet.enumerate_regions(network, [0.0, 0.0], [0.0, 0.0])
    assert pwlnet.find_inradii(point).radius.tolist() == [0.0]


def test_the_statistics_can_be_written_as_json():
    statistics = pwlnet.summarize_regions(enumerated(grid_network([1.0], [2.0]), [0.0, 0.0], [4.0, 4.0]))
    assert json.loads(json.dumps(statistics.to_dict()))["volumes"]["total"] == pytest.approx(16.0)


def test_the_largest_balls_in_boxes_have_half_the_smallest_width():
    regions = enumerated(grid_network([1.0, 3.0], [2.0]), [0.0, 0.0], [10.0, 10.0])
    inradii = pwlnet.find_inradii(regions, n_sample=None)
    assert sorted(inradii.radius) == pytest.approx([0.5, 0.5, 1.0, 1.0, 1.0, 3.5])
    assert inradii.sample.tolist() == list(range(6))


def test_balls_are_inside_all_facets_touch_some_and_respect_the_bounds():
    """Also where a polytope or classes cut the regions, and where an input is fixed."""
    rng = np.random.default_rng(0)
    for seed in range(few(12, 2)):
        network = random_relu(seed, [3, 6, 4, 3])
        lower, upper = -np.ones(3), np.ones(3)
        how = [{}, {"polytope": (rng.normal(size=(2, 3)), np.array([0.5, 0.7]))}, {"classes": "max"}][seed % 3]
        if seed % 2:
            lower[1] = upper[1]
        regions = enumerated(network, lower, upper, **how)
        inradii, rows = pwlnet.find_inradii(regions, n_sample=20, rng=rng), regions.halfspaces()
        assert len(inradii.sample) == min(20, regions.n_regions)
        for r, radius, center in zip(inradii.sample, inradii.radius, inradii.center, strict=True):
            facets = slice(regions.facet_offsets[r], regions.facet_offsets[r + 1])
            room = (rows.h[facets] - rows.G[facets] @ center) / np.linalg.norm(rows.G[facets], axis=1)
            assert radius == pytest.approx(room.min(), abs=LOOSEST), seed
            assert (np.abs(room - radius) < 1e-6).sum() > len(center) - 1, (seed, room)  # it cannot grow
            assert inradii.lower[r] <= radius + LOOSEST and radius <= inradii.upper[r] + LOOSEST, seed


def test_counts_of_several_networks_are_those_of_each():
    networks = [random_relu(seed, [2, 5, 4, 1]) for seed in range(3)]
    box = -np.ones(2), np.ones(2)
    expected = [pwlnet.enumerate_regions(network, *box).n_regions for network in networks]
    assert pwlnet.count_regions_of(iter(networks), *box).n_regions.tolist() == expected
    counts = pwlnet.count_regions_of([("a", networks[2]), ("b", networks[0])], *box, max_regions=expected[0])
    assert counts.labels == ["a", "b"] and counts.n_regions[1] == expected[0]
    assert counts.complete[1]
    assert pwlnet.count_regions_of([], *box).n_regions.shape == (0,)


def test_sampled_points_find_the_regions_whose_patterns_they_have():
    for seed in range(few(8, 1)):
        network = random_relu(seed, [2, 8, 6, 2])
        lower, upper = np.array([-1.0, -2.0]), np.array([1.0, 2.0])
        regions = enumerated(network, lower, upper)
        found = pwlnet.count_sampled_regions(
            network, lower, upper, [10, 300, 3000], rng=np.random.default_rng(seed), regions=regions
        )
        points = np.random.default_rng(seed).uniform(lower, upper, (3000, 2))
        packed = network.patterns(points).packed
        expected = [len({row.tobytes() for row in packed[:n]}) for n in (10, 300, 3000)]
        assert found.n_found.tolist() == expected and found.n_points.tolist() == [10, 300, 3000]
        assert found.share_found == pytest.approx(found.n_found / regions.n_regions)
        hit = {row.tobytes() for row in packed}
        volumes = regions.volumes()
        volume = sum(v for v, row in zip(volumes, regions.packed, strict=True) if row.tobytes() in hit) / 8.0
        assert found.volume_found[-1] == pytest.approx(volume)
        alone = pwlnet.count_sampled_regions(network, lower, upper, [10, 300, 3000], rng=np.random.default_rng(seed))
        assert alone.n_found.tolist() == expected and alone.share_found is None
        assert np.array_equal(alone.chao1, found.chao1)


def test_estimates_from_points_count_singles_and_pairs():
    """Nine intervals of unequal lengths; points 0, 0, 1, 1, 1, 2, 3 by region: two singles, one pair."""
    from pwlnet.analysis.region_sampling import _statistics

    row = _statistics(np.array([0, 0, 1, 1, 1, 2, 3]), None, random=True)
    assert row[:4] == (7, 4, 4 + 2 * 1 / (2 * 2), 2 / 7)


def test_a_grid_finds_every_box_that_is_larger_than_its_cells():
    network = grid_network([1.0, 3.0], [2.0])
    regions = enumerated(network, [0.0, 0.0], [10.0, 10.0])
    found = pwlnet.count_sampled_regions(network, [0.0, 0.0], [10.0, 10.0], [2, 10], regions=regions)
    assert found.n_points.tolist() == [4, 100] and found.n_found.tolist() == [2, 6]
    assert found.volume_found == pytest.approx([0.72, 1.0]) and np.isnan(found.chao1).all()


def test_points_outside_the_polytope_do_not_count_and_classes_divide_regions():
    network = random_relu(1, [2, 5, 3])
    lower, upper = -np.ones(2), np.ones(2)
    polytope = np.array([[1.0, 1.0]]), np.array([0.0])
    regions = enumerated(network, lower, upper, polytope=polytope, classes="max")
    rng = np.random.default_rng(0)
    found = pwlnet.count_sampled_regions(network, lower, upper, [2000], rng=rng, regions=regions)
    points = np.random.default_rng(0).uniform(lower, upper, (2000, 2))
    points = points[points.sum(axis=1) <= 0.0]
    keys = np.column_stack([network.patterns(points).packed, network.forward(points).argmax(axis=1).astype(np.uint64)])
    assert (found.n_points[0], found.n_found[0]) == (len(points), len(np.unique(keys, axis=0)))


def test_regions_of_a_search_have_no_volumes_but_all_other_statistics():
    network = random_relu(0, [7, 4, 2])
    box = np.full(7, -10.0), np.full(7, 10.0)
    regions = pwlnet.enumerate_regions(network, *box, method="search")
    statistics = pwlnet.summarize_regions(regions)
    assert (regions.method, statistics.n_regions, statistics.volumes) == ("search", 16, None)
    assert statistics.mean_neighbours == 4.0 and "volumes" not in statistics.to_dict()
    inradii = pwlnet.find_inradii(regions, n_sample=None)
    assert (inradii.lower <= inradii.radius * (1.0 + LOOSEST)).all() and np.isinf(inradii.upper).all()
    found = pwlnet.count_sampled_regions(network, *box, [500], rng=np.random.default_rng(0), regions=regions)
    assert found.share_found[0] > 0.5 and np.isnan(found.volume_found[0])


def test_regions_of_a_store_have_the_same_statistics(tmp_path):
    store = pytest.importorskip("pwlnet.store")
    network = random_relu(2, [2, 6, 2])
    box = -np.ones(2), np.ones(2)
    expected = pwlnet.enumerate_regions(network, *box, want=("facets", "volumes"))
    with store.save_large_regions(tmp_path / "regions.h5", network, *box, want=("facets", "volumes")) as rows:
        assert pwlnet.summarize_regions(rows).to_dict() == pwlnet.summarize_regions(expected).to_dict()
        found = pwlnet.count_sampled_regions(network, *box, [8], regions=rows)
    again = pwlnet.count_sampled_regions(network, *box, [8], regions=expected)
    assert (found.n_found[0], found.volume_found[0]) == (again.n_found[0], pytest.approx(again.volume_found[0]))


def test_arguments_that_are_refused():
    network = random_relu(0, [2, 5, 2])
    box = -np.ones(2), np.ones(2)
    counted, regions = pwlnet.enumerate_regions(network, *box, want=()), pwlnet.enumerate_regions(network, *box)
    with pytest.raises(MissingDataError, match="only counted"):
        pwlnet.summarize_regions(counted)
    with pytest.raises(InputError, match=r"rng is None, but 2 of .* regions are to be drawn"):
        pwlnet.find_inradii(regions, n_sample=2)
    with pytest.raises(InputError, match=r"counts is \[5, 5\]; increasing numbers"):
        pwlnet.count_sampled_regions(network, *box, [5, 5])
    with pytest.raises(InputError, match="regions are of another network or another box"):
        pwlnet.count_sampled_regions(network, box[0], 2.0 * box[1], [5], regions=regions)
    with pytest.raises(InputError, match=r"regions is .*; give what pwlnet.enumerate_regions returns"):
        pwlnet.summarize_regions(network)
    with pytest.raises(InputError, match="networks is of type Network; give several Networks"):
        pwlnet.count_regions_of(network, *box)
    with pytest.raises(InputError, match="rng is 0"):
        pwlnet.count_sampled_regions(network, *box, [5], rng=0)
