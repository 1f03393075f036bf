"""Exact regions against grids: areas on the disc, which regions contain grid points, advisories between grid points."""

import itertools

import numpy as np
import pytest

import pwlnet
from pwlnet.reproduce import acas_boundaries, sampled_regions, slices, subjects
from pwlnet.reproduce.experiment import Options

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

SQUARE = slices.Family("control", "max", tuple("abcde"), ("u", "v"), (0.0, 0.0), (1.0, 1.0), False, (("all", ()),))


def strip_subject():
    """Output 1 is the largest where abs(u - 0.1) < 0.001, which is between two points of a 10 x 10 grid; elsewhere output 0."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 5)).double()
    with torch.no_grad():
        module[0].weight[:] = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        module[0].bias[:] = torch.tensor([-0.1, 0.1])
        module[2].weight[:] = torch.tensor([[0.0, 0.0], [-1.0, -1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        module[2].bias[:] = torch.tensor([0.0, 0.001, -1.0, -1.0, -1.0])
    return slices.Slices("strip", "strip", "standard", "control", pwlnet.from_torch(module, (2,)), SQUARE, np.zeros((1, 2)))


def pendulum(**changes):
    """The shipped network with another family."""
    subject = subjects.load("control_pendulum")
    family = slices.CONTROL._replace(**changes)
    return slices.Slices("p", "p", "standard", "control", subject.network, family, np.zeros((1, 2)))


def test_areas_on_the_disc_add_up_to_it():
    subject = pendulum(polar=True, lower=(0.0, -np.pi), upper=(8.0, np.pi))
    regions = sampled_regions.partition_slice(subject, 0).regions
    areas = sampled_regions.piece_areas(regions, 1)
    assert areas.sum() == pytest.approx(np.pi * 64.0, rel=1e-12)
    assert (areas > 0.0).all()
    assert sampled_regions.measures(subject) == (0, 1)


def test_the_area_of_a_piece_on_the_disc_is_the_integral_of_rho():
    subject = pendulum(polar=True, lower=(0.0, -np.pi), upper=(8.0, np.pi))
    regions = sampled_regions.partition_slice(subject, 0).regions
    areas = sampled_regions.piece_areas(regions, 1)
    for q in np.random.default_rng(0).integers(0, regions.n_pieces, 20):
        corners = regions.vertices[regions.offsets[q] : regions.offsets[q + 1]]
        total = 0.0
        for a, b in itertools.pairwise(corners[1:]):
            (x, y), (z, w) = a - corners[0], b - corners[0]
            total += 0.5 * (x * w - y * z) * (corners[0] + a + b)[0] / 3.0
        assert areas[q] == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("measure", [0, 1])
def test_shares_of_a_fine_grid_are_near_the_exact_ones(measure):
    subject = pendulum(polar=True, lower=(0.0, -np.pi), upper=(8.0, np.pi))
    exact = sampled_regions.partition_slice(subject, 0)
    areas = np.bincount(exact.regions.labels, sampled_regions.piece_areas(exact.regions, measure), 5)
    shown = sampled_regions.sample(subject, 0, exact, sampled_regions.grid_points(subject.family, measure, 400))
    np.testing.assert_allclose(shown.shares, areas / areas.sum(), rtol=0, atol=0.002)


def test_a_region_is_hit_where_one_of_its_pieces_contains_a_grid_point():
    subject = pendulum()
    exact = sampled_regions.partition_slice(subject, 0)
    points = sampled_regions.grid_points(subject.family, 0, 7)
    shown = sampled_regions.sample(subject, 0, exact, points)
    hit = np.zeros(exact.regions.n_regions, bool)
    for q, region in enumerate(exact.regions.regions):
        corners = exact.regions.vertices[exact.regions.offsets[q] : exact.regions.offsets[q + 1]]
        d, e = np.roll(corners, -1, axis=0) - corners, points[:, None] - corners
        hit[region] |= (d[:, 0] * e[:, :, 1] - d[:, 1] * e[:, :, 0] >= 0.0).all(axis=1).any()
    np.testing.assert_array_equal(shown.hit, hit)
    assert 0 < hit.sum() < len(hit)
    assert (shown.n_points, shown.n_unplaced) == (49, 0)


def test_a_grid_on_the_disc_has_the_points_inside():
    family = slices.ACAS
    points = sampled_regions.grid_points(family, 1, 50)
    assert len(points) / 2500 == pytest.approx(np.pi / 4, abs=0.01)
    assert points[:, 0].max() < family.upper[0]
    x = points[:, 0] * np.cos(points[:, 1]) / family.upper[0]
    np.testing.assert_allclose(np.unique(x.round(9)), (np.arange(50) + 0.5) / 25 - 1.0, atol=1e-8)


def test_an_advisory_between_grid_points_is_hidden_and_its_region_missed():
    options = Options(1, 0, 1, {"grid": 10, "fine_grid": 1000})
    rows = acas_boundaries.measure(strip_subject(), 0, options)
    coarse, fine = (dict(zip(acas_boundaries.COLUMNS, row)) for row in rows)
    assert (coarse["n_polygons"], coarse["n_regions"]) == (2, 3)
    assert coarse["exact_1"] == pytest.approx(0.002)
    assert (coarse["n_missed"], coarse["missed_advisory"], coarse["sampled_1"], coarse["occurs_1"]) == (1, 1, 0, 1)
    assert coarse["missed"] == coarse["largest_missed"] == coarse["smallest"] == pytest.approx(0.002)
    assert coarse["missed_u"] == pytest.approx(0.1, abs=0.001)
    assert [coarse[f"occurs_{k}"] for k in (2, 3, 4)] == [0, 0, 0]
    assert (fine["n_missed"], fine["missed"], fine["sampled_1"]) == (0, 0.0, pytest.approx(0.002))
    assert np.isnan(fine["missed_u"])
