"""Experiments on integrated gradients: their numbers are those of the library, and tables and figures say what they hold."""

from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import reproduce, store
from pwlnet.errors import InputError
from pwlnet.reproduce import ig_error, ig_figure, ig_samples, subjects
from pwlnet.reproduce.experiment import Measured, Options

pytest.importorskip("onnx")
pytest.importorskip("matplotlib")

KEY = "digits_conv_pgd"


@pytest.fixture(scope="module")
def subject():
    return subjects.load(KEY)


@pytest.fixture(scope="module")
def lines(subject):
    return pwlnet.partition_lines(subject.network, np.zeros(64), subject.images[:3])


def options(experiment, **parameters):
    return Options(3, 0, 1, {**experiment.parameters, **parameters})


def measured(experiment, rows, key=KEY):
    """What was measured, made up."""
    return {key: Measured(key, "a network", "standard", "digits", experiment.columns, np.array(rows, float), Path("none"))}


def test_ig_error_measures_what_the_recommendation_gives(subject, lines):
    rows = ig_error.measure(subject, 2, options(ig_error.EXPERIMENT))
    for row, within in zip(rows, (0.01, 0.05), strict=True):
        found = pwlnet.recommend_samples(lines, subject.labels[:3], within=within)
        assert row == pytest.approx([2, within, found.n_samples[2], found.relative[2], found.l1[2], lines.n_segments[2]])
    none = ig_error.measure(subject, 2, options(ig_error.EXPERIMENT, within=1e-12, max_samples=21))
    assert np.isnan(none[0, 2:5]).all()


def test_ig_samples_measures_the_counts(subject, lines):
    row = ig_samples.measure(subject, 1, options(ig_samples.EXPERIMENT))[0]
    found = pwlnet.count_samples(lines, subject.labels[:3])
    assert np.array_equal(row, [1, lines.n_segments[1], *found.relative[1], *found.l1[1]])
    few = ig_samples.measure(subject, 1, options(ig_samples.EXPERIMENT, max_samples=3))[0]
    assert np.isnan(few[2:]).all()


def test_means_leave_out_what_needs_too_many_samples_and_say_so():
    columns = ig_samples.COLUMNS
    rows = np.full((4, len(columns)), 100.0)
    rows[:, 0] = range(4)
    rows[:, columns.index("left")] = [10, 20, np.nan, 40]
    rows[:, columns.index("trapezoid")] = [8, 10, 12, 20]
    rows[:, columns.index("simpson")] = [5, np.nan, 7, 9]
    found = measured(ig_samples.EXPERIMENT, rows, "cifar10_convbig")
    means, by_l1, medians = ig_samples.tabulate(found, options(ig_samples.EXPERIMENT))
    ours, paper = means.rows
    cell = dict(zip(means.headings, ours, strict=True))
    assert (cell["images"], cell["left out"]) == (3, 1)
    assert cell["left"].value == pytest.approx(70 / 3)
    assert cell["trapezoid"].value == pytest.approx(38 / 3)
    assert cell["Simpson"].value == pytest.approx(7.0)
    assert cell["saved, %"].value == pytest.approx((20 + 50 + 50) / 3)
    assert dict(zip(means.headings, paper, strict=True))["left"] == 269.43
    assert by_l1.rows[0][1:3] == (4, 0)
    assert len(by_l1.rows) == 1
    assert dict(zip(medians.headings, medians.rows[0], strict=True))["left"] == 30.0


def test_the_paper_stands_beside_its_networks_only():
    rows = [[0, 0.01, 20, 0.3, 0.1, 5], [0, 0.05, 20, np.nan, np.nan, 5]]
    strict, usual = ig_error.tabulate(measured(ig_error.EXPERIMENT, rows, "cifar10_convmed"), options(ig_error.EXPERIMENT))
    assert strict.rows[0][-1] == 24.95
    assert usual.rows[0][-1] is None
    assert ig_error.tabulate(measured(ig_error.EXPERIMENT, rows), options(ig_error.EXPERIMENT))[0].rows[0][-1] is None


@pytest.mark.parametrize("name", ["ig-error", "ig-samples", "ig-figure"])
def test_runs_leave_tables_and_figures(tmp_path, name):
    found = reproduce.run(name, tmp_path, n_images=2, networks=[KEY], threads=1)
    assert found.n_images == {KEY: 2}
    assert found.figures
    assert all(path.stat().st_size > 5000 for path in found.figures)
    assert all(len(row) == len(table.headings) for table in found.tables for row in table.rows)
    with store.open(found.stores[KEY]) as opened:
        assert opened.verify() == []


def test_ig_figure_keeps_exact_and_sampled_attributions(tmp_path, subject):
    result = reproduce.run("ig-figure", tmp_path, n_images=2, networks=[KEY], parameters={"image": 1})
    with store.open(result.stores[KEY]) as opened:
        kept, rows = opened.read("attributions"), opened.read("measures")["values"]
    exact = pwlnet.integrate_gradients(subject.network, np.zeros(64), subject.images[:2]).values
    exact = exact[np.arange(2), subject.labels[:2]]
    assert kept["values"][::2, 0] == pytest.approx(exact)
    assert np.abs(kept["residual"][::2]).max() < 1e-12
    samples = rows[:, ig_figure.COLUMNS.index("samples")]
    assert np.array_equal(kept["n_segments"][1::2], samples)
    l1 = np.abs(kept["values"][1::2, 0] - exact).sum(axis=1) / np.abs(exact).sum(axis=1)
    assert rows[:, ig_figure.COLUMNS.index("l1")] == pytest.approx(l1)
    assert result.tables[0].rows[0][1:3] == (1, subject.labels[1])
    with pytest.raises(InputError, match="image is 2, but only 2 images"):
        reproduce.run("ig-figure", tmp_path / "other", n_images=2, networks=[KEY], parameters={"image": 2})
