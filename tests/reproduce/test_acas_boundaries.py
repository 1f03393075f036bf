"""The experiment acas-boundaries: a run on the shipped network, tables of known numbers, known slices of public networks."""

from pathlib import Path

import numpy as np
import pytest

from pwlnet import datasets, reproduce
from pwlnet.reproduce import acas_boundaries, boundary_figures, boundary_tables, sampled_regions, subjects
from pwlnet.reproduce.experiment import Measured, Options

pytest.importorskip("onnx")

OPTIONS = Options(1, 0, 1, {"grid": 250, "fine_grid": 1000})
TIMES = [acas_boundaries.COLUMNS.index(name) for name in ("exact_seconds", "grid_seconds")]


def made_up(key, rows):
    """Make a Measured from dicts of columns; the others are 0."""
    values = [[float(row.get(name, 0.0)) for name in acas_boundaries.COLUMNS] for row in rows]
    described = subjects.SUBJECTS[key]
    columns = acas_boundaries.COLUMNS
    return Measured(key, described.title, "standard", described.dataset, columns, np.array(values), Path("no"))


def made_up_acas():
    """Two slices; advisory 3 is hidden from the coarse Cartesian grid on the second one."""
    rows = []
    for image in range(2):
        for measure in range(2):
            for grid in (250, 1000):
                row = {"image": image, "measure": measure, "grid": grid, "n_regions": 10, "n_polygons": 100, "smallest": 0.125}
                row |= {"exact_0": 0.75, "sampled_0": 0.5 if grid == 250 else 0.75, "exact_seconds": 2.0, "occurs_0": 1}
                if image and measure and grid == 250:
                    row |= {"n_missed": 3, "missed": 0.25, "largest_missed": 0.125, "occurs_3": 1, "exact_3": 0.25}
                rows.append(row)
    return made_up("acas_1_1", rows)


def test_tables_of_known_numbers():
    exact, coarse, fine, hidden, shares = boundary_tables.tabulate({"a": made_up_acas(), "b": made_up_acas()}, OPTIONS)
    assert [row[:6] for row in exact.rows[:2]] == [("ACAS Xu 1_1", 2, 200, 20, 0.125, 2.0)] * 2
    assert [row[:6] for row in exact.rows[2:]] == [("all 2", 4, 400, 40, 0.125, 2.0)]
    assert coarse.rows[0] == ("ACAS Xu 1_1", "rho, theta", 20, 0, 0.0, 0.0, 25.0, 0)
    assert coarse.rows[1] == ("ACAS Xu 1_1", "x, y", 20, 3, 25.0, 12.5, 25.0, 1)
    assert coarse.rows[5] == ("all 2", "x, y", 40, 6, 25.0, 12.5, 25.0, 2)
    assert fine.rows[1] == ("ACAS Xu 1_1", "x, y", 20, 0, 0.0, 0.0, 0.0, 0)
    title = "psi -90 deg, speeds 500 ft/s"
    assert hidden.rows == [("ACAS Xu 1_1", title, "x, y", 250, "SL", 25.0)] * 2
    assert shares.rows[0] == ("ACAS Xu 1_1", "rho, theta", 75.0, 0.0, 0.0, 0.0, 0.0, 25.0, 0.0)


def test_without_public_files_the_shipped_network_is_analysed(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.delenv(datasets.FOLDER_VARIABLE, raising=False)
    options = {"parameters": {"grid": 7, "fine_grid": 50}, "threads": 1}
    result = reproduce.run("acas-boundaries", tmp_path, **options)
    assert list(result.stores) == ["control_pendulum"]
    assert list(result.missing) == [*acas_boundaries.ACAS, *acas_boundaries.HCAS]
    assert {path.name for path in result.figures} == {"control.png", "missed.png"}
    assert [len(table.rows) for table in result.tables] == [1, 1, 1, 0, 1]
    assert result.tables[1].rows[0][3] > 0
    again = reproduce.run("acas-boundaries", tmp_path / "again", **options)
    first, second = (pytest.importorskip("pwlnet.store").open(r.stores["control_pendulum"]) for r in (result, again))
    with first, second:
        rows = [np.delete(opened.read("measures")["values"], TIMES, axis=1) for opened in (first, second)]
    np.testing.assert_array_equal(*rows)


def test_without_a_missed_region_there_is_no_figure_of_it(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.delenv(datasets.FOLDER_VARIABLE, raising=False)
    parameters = {"grid": 50, "fine_grid": 60}
    result = reproduce.run("acas-boundaries", tmp_path, networks=["control"], parameters=parameters, threads=1)
    assert [path.name for path in result.figures] == ["control.png"]


def test_outlines_are_subdivided_along_arcs():
    outline = np.array([[1.0, -np.pi], [2.0, -np.pi], [2.0, np.pi], [1.0, np.pi]])
    divided = boundary_figures._subdivide(outline)
    assert np.abs(np.diff(divided[:, 1])).max() <= np.radians(1.0) + 1e-12
    np.testing.assert_allclose(np.linalg.norm(boundary_figures.to_cartesian(divided), axis=1), divided[:, 0])
    assert (divided[1] == outline[1]).all()


def test_an_advisory_of_a_public_network_that_neither_grid_shows():
    """ACAS Xu 4_8, head-on: strong left occurs, at no point of a 250 x 250 grid in either coordinates."""
    missing = subjects.choose(["acas_4_8"])[1]
    if missing:
        pytest.skip(missing["acas_4_8"])
    subject = subjects.load("acas_4_8")
    exact = sampled_regions.partition_slice(subject, 0)
    assert exact.regions.n_regions == 6
    assert sampled_regions.occurring(subject, exact).tolist() == [True, True, False, True, False]
    for measure in (0, 1):
        shown = sampled_regions.sample(subject, 0, exact, sampled_regions.grid_points(subject.family, measure, 250))
        assert np.flatnonzero(shown.shares).tolist() == [0, 1]
        assert np.count_nonzero(~shown.hit) == 3
    region = np.flatnonzero(exact.regions.region_labels == 3)[0]
    inside = exact.regions.vertices[exact.regions.offsets[:-1]][exact.regions.regions == region]
    outputs = subject.network.forward(subject.points(0, inside))
    assert (outputs[:, 3] - outputs.min(axis=1)).max() < 1e-9
