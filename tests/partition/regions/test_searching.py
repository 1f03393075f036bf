"""Regions found by crossing facets: the same as by subdivision, in few dimensions; closed forms in more."""

import math

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import CapacityError, InfeasibleError
from tests.counts import few
from tests.described import to_network
from tests.partition.regions.degenerate import degenerate
from tests.partition.regions.test_enumerate import assert_same_facets, facets_of
from tests.partition.regions.test_exact import drawn, random_relu


def both(network, lower, upper, **options):
    """Enumerate by both methods: the regions, and for each by subdivision its number in the search."""
    cells = pwlnet.enumerate_regions(network, lower, upper, threads=1, method="subdivision", **options)
    found = pwlnet.enumerate_regions(network, lower, upper, threads=1, method="search", **options)
    number = {p.tobytes(): r for r, p in enumerate(found.packed)}
    return cells, found, [number.get(p.tobytes(), -1) for p in cells.packed]


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
def test_generic_networks_have_the_regions_and_facets_of_subdivision(dimensions):
    for seed in range(few(20, 1, quick=2)):
        network = random_relu(seed, [dimensions, 8, 6, 2])
        lower, upper = np.full(dimensions, -1.0), np.full(dimensions, 1.0)
        cells, found, at = both(network, lower, upper)
        assert found.n_regions == cells.n_regions and min(at) >= 0 and found.n_undecided == 0, seed
        assert found.complete and not found.certified and found.method == "search"
        assert all(facets_of(cells, r) == facets_of(found, q) for r, q in enumerate(at)), seed
        assert np.array_equal(network.patterns(found.witnesses).packed, found.packed)
        assert found.verify().ok


def test_networks_of_all_ops_have_the_regions_of_subdivision():
    """Odd seeds are degenerate."""
    for seed in range(few(200, 4, quick=12)):
        description, lower, upper = drawn(seed, 2 + seed % 3, most=10)
        cells, found, at = both(to_network(description), lower, upper)
        assert found.n_regions == cells.n_regions and min(at) >= 0, seed
        assert_same_facets(cells, found, at, False, seed)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_degenerate_networks_have_the_regions_of_subdivision(dimensions):
    """Weights of one size: the search does not tell apart what is closer than some 1e-9 of the box."""
    for seed in range(few(500, 7, quick=14)):
        description, lower, upper, kind = degenerate(seed, dimensions)
        if kind != "powers of two":
            cells, found, at = both(to_network(description), lower, upper)
            assert found.n_regions == cells.n_regions and min(at) >= 0, (seed, kind)


@pytest.mark.parametrize("dimensions", [7, 8])
def test_a_generic_layer_has_the_regions_of_an_arrangement(dimensions):
    n = 10 if dimensions == 7 else 9
    network = random_relu(dimensions, [dimensions, n, 1])
    found = pwlnet.enumerate_regions(network, np.full(dimensions, -1e4), np.full(dimensions, 1e4), method="search", threads=2)
    assert found.n_regions == sum(math.comb(n, k) for k in range(dimensions + 1))
    assert found.n_undecided == 0


def test_polytopes_fixed_inputs_and_half_spaces():
    network = random_relu(3, [5, 7, 5, 2])
    lower, upper = np.array([-1.0, 0.5, -1.0, -1.0, -1.0]), np.array([1.0, 0.5, 1.0, 2.0, 1.0])
    polytope = (np.array([[1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 2.0, 0.5]]), np.array([1.0, 1.5]))
    cells, found, at = both(network, lower, upper, polytope=polytope, want=("halfspaces", "patterns"))
    assert found.n_regions == cells.n_regions and min(at) >= 0
    assert all(facets_of(cells, r) == facets_of(found, q) for r, q in enumerate(at))
    rows, x = found.halfspaces(), found.witnesses[:, found.free]
    owner = np.repeat(np.arange(found.n_regions), np.diff(found.facet_offsets))
    assert ((rows.G * x[owner]).sum(axis=1) < rows.h).all()
    maps = found.affine_maps()
    y = (maps.A @ x[:, :, None])[:, :, 0] + maps.c
    assert np.abs(y - network.forward(found.witnesses)).max() <= 1e-12
    with pytest.raises(InfeasibleError):
        pwlnet.enumerate_regions(network, lower, upper, method="search", polytope=(np.eye(5)[:1], [-2.0]))


def test_results_do_not_depend_on_threads_and_limits_keep_the_first_regions(monkeypatch):
    monkeypatch.setattr("pwlnet.partition.regions.searching._BATCH", 64)
    network = random_relu(3, [4, 8, 7, 2])
    lower, upper = np.full(4, -1.0), np.full(4, 1.0)
    one, two = (pwlnet.enumerate_regions(network, lower, upper, method="search", threads=n) for n in (1, 2))
    for name in ("packed", "witnesses", "facet_offsets", "facet_neurons", "facet_states"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    some = pwlnet.enumerate_regions(network, lower, upper, method="search", max_regions=100)
    assert not some.complete and some.stopped_by == "max_regions" and 0 < some.n_regions <= 100
    assert np.array_equal(some.packed, one.packed[: some.n_regions])
    late = pwlnet.enumerate_regions(network, lower, upper, method="search", time_limit=0.0)
    assert late.stopped_by == "time_limit" and 0 < late.n_regions < one.n_regions


def test_what_the_search_does_not_have_is_refused():
    network = random_relu(3, [3, 4, 2])
    for options in ({"want": "volumes"}, {"want": "vertices"}, {"classes": "max"}):
        with pytest.raises(CapacityError, match="use 'subdivision'"):
            pwlnet.enumerate_regions(network, -np.ones(3), np.ones(3), method="search", **options)
    wide = random_relu(3, [20, 4, 2])
    with pytest.raises(CapacityError, match="at most 16"):
        pwlnet.enumerate_regions(wide, -np.ones(20), np.ones(20))
    affine = pwlnet.enumerate_regions(random_relu(3, [3, 2]), -np.ones(3), np.ones(3), method="search")
    assert affine.n_regions == 1
