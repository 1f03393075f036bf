"""The experiment horizontal-regions: the pendulum against its exact plane, tables of known numbers, a public network."""

from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import datasets, reproduce
from pwlnet.reproduce import horizontal_regions, sampled_regions, subjects
from pwlnet.reproduce.experiment import Measured, Options

pytest.importorskip("onnx")

OPTIONS = Options(1, 0, 1, {"grid": 10})
COLUMNS = horizontal_regions.COLUMNS


def column(rows, name):
    return rows[:, COLUMNS.index(name)]


def test_regions_in_a_box_of_two_inputs_are_those_of_the_plane():
    subject = subjects.load("control_pendulum")
    rows = horizontal_regions.measure(subject, 0, OPTIONS)
    exact = sampled_regions.partition_slice(subject, 0)
    regions = exact.regions
    assert (column(rows, "n_activation") == exact.part.n_polygons).all()
    assert column(rows, "share") == pytest.approx(regions.shares)
    assert column(rows, "n_parts").tolist() == np.bincount(regions.region_labels, minlength=5).tolist()
    areas = regions.region_areas / regions.areas.sum()
    for k in range(5):
        own = areas[regions.region_labels == k]
        assert column(rows, "largest_part")[k] == pytest.approx(own.max())
        assert column(rows, "smallest_part")[k] == pytest.approx(own.min())
    outlines = [regions.outlines(region)[0] for region in range(regions.n_regions)]
    widths = [(np.ptp(o, axis=0) / [2 * np.pi, 16.0]).min() for o in outlines]
    for k in range(5):
        assert column(rows, "thinnest")[k] == pytest.approx(np.min(np.array(widths)[regions.region_labels == k]))
    shown = sampled_regions.sample(subject, 0, exact, sampled_regions.grid_points(subject.family, 0, 10))
    assert column(rows, "n_missed").sum() == np.count_nonzero(~shown.hit) > 0
    assert column(rows, "missed").sum() == pytest.approx(areas[~shown.hit].sum())
    assert column(rows, "sampled") == pytest.approx(shown.shares)


def test_other_slices_of_a_subject_are_empty_rows():
    rows = horizontal_regions.measure(None, 2, OPTIONS)
    assert rows.shape == (1, len(COLUMNS)) and rows[0, 0] == 2.0 and np.isnan(rows[0, 1:]).all()


def test_parts_are_connected_regions_of_one_class():
    """A ridge of the larger output between two valleys of the other one."""
    from tests.partition.regions.test_exact import fully_connected

    network = fully_connected([[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]], [[0.0, 0.0], [0.0, 0.5]])
    regions = pwlnet.enumerate_regions(
        network, [-1.0, 0.0], [1.0, 1.0], classes="max", want=("facets", "volumes", "vertices")
    )  # outputs abs(x) and 1/2
    parts = horizontal_regions.find_parts(regions)
    assert sorted(parts.advisories.tolist()) == [0, 0, 1]
    (middle,) = np.flatnonzero(parts.advisories == 1)
    assert parts.volumes[middle] == pytest.approx(1.0)
    assert parts.lower[middle] == pytest.approx([-0.5, 0.0]) and parts.upper[middle] == pytest.approx([0.5, 1.0])


def test_tables_of_known_numbers():
    rows = []
    for k in range(5):
        row = {"advisory": k, "n_activation": 100, "n_regions": 30 + k, "share": 0.2, "n_parts": 2, "largest_part": 0.15}
        row |= {"smallest_part": 0.05 - 0.01 * k, "thinnest": 0.5 - 0.1 * k, "n_missed": k == 3, "missed": 0.02 * (k == 3)}
        rows.append([float((row | {"sampled": 0.25, "seconds": 2.0}).get(name, 0.0)) for name in COLUMNS])
    rows = [*rows, *horizontal_regions.measure(None, 1, OPTIONS)]
    m = Measured("hcas_0_00", "HorizontalCAS 0_00", "standard", "hcas", COLUMNS, np.array(rows), Path("no"))
    whole, advisories = horizontal_regions.tabulate({"a": m}, OPTIONS)
    assert whole.rows == [("HorizontalCAS 0_00", 100, 160, 10, pytest.approx(0.01), pytest.approx(0.1), 1, 2.0, 2.0)]
    assert len(advisories.rows) == 5
    assert advisories.rows[3] == ("HorizontalCAS 0_00", "SL", 20.0, 25.0, 33, 2, 15.0, 1)
    pytest.importorskip("matplotlib")
    assert list(horizontal_regions.draw({"a": m}, OPTIONS)) == ["shares.png"]


def test_without_public_files_the_shipped_network_is_analysed(monkeypatch, tmp_path):
    monkeypatch.delenv(datasets.FOLDER_VARIABLE, raising=False)
    result = reproduce.run("horizontal-regions", tmp_path, parameters={"grid": 5}, threads=1)
    assert list(result.stores) == ["control_pendulum"] and result.figures == []
    assert [len(table.rows) for table in result.tables] == [1, 5]


def test_a_public_network_has_islands_that_a_grid_misses():
    missing = subjects.choose(["hcas_4_60"])[1]
    if missing:
        pytest.skip(missing["hcas_4_60"])
    subject = subjects.load("hcas_4_60")
    rows = horizontal_regions.measure(subject, 0, OPTIONS)
    assert column(rows, "share").sum() == pytest.approx(1.0, abs=1e-9)
    assert column(rows, "n_regions").tolist() == [56148, 0, 10710, 0, 2660]
    points = np.random.default_rng(0).uniform(*horizontal_regions.domain(subject.family), (20000, 3))
    sampled = np.bincount(subject.advisory(subject.network.forward(points)), minlength=5) / 20000
    assert np.abs(sampled - column(rows, "share")).max() < 0.02
