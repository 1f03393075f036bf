"""Distances of fixed and float parts: numbers of networks that can be computed by hand, tables of known numbers."""

from pathlib import Path

import numpy as np
import pytest

from pwlnet import reproduce
from pwlnet.reproduce import float_distance as experiment
from pwlnet.reproduce.attacked_pairs import ATTACKS
from pwlnet.reproduce.experiment import Measured
from tests.reproduce.small_networks import WIDTH, linear, options, step

pytest.importorskip("torch")

OPTIONS = options({**experiment.PARAMETERS, "pgd_steps": 5, "n_noise": 20})


def measured_rows(subject, i=0):
    rows = experiment.measure(subject, i, OPTIONS)
    return [dict(zip(experiment.COLUMNS, row)) for row in rows]


def test_a_network_whose_neuron_keeps_its_state_changes_by_its_fixed_part_only():
    rows = measured_rows(linear([[0.7, 0.6]], [1]))
    for row in rows[:3]:
        assert (row["float"], row["live_float"], row["float_neurons"], row["smoothed_float"]) == (0.0, 0.0, 0.0, 0.0)
        length = 0.5 if row is rows[0] else np.sqrt(0.02)
        assert row["length"] == pytest.approx(length)
        for name in ("fixed", "total", "live_fixed", "smoothed_fixed"):
            assert row[name] == pytest.approx(2.0 * np.sqrt(2.0) * length)  # the norm of the gradient is 2 sqrt(2)
    assert [row["flipped"] for row in rows[:3]] == [1.0, 0.0, 0.0]


def test_a_step_of_the_outputs_between_two_points_is_the_float_part():
    """The first neuron is active at x = 0.5097 with the value 0.97, and inactive at 0.4097; the second one never is active."""
    row = measured_rows(step([[0.5 + 0.97 * WIDTH]], [1]))[2]
    assert (row["flipped"], row["fixed"], row["live_fixed"], row["float_neurons"]) == (1.0, 0.0, 0.0, 0.5)
    for name in ("float", "total", "live_float"):
        assert row[name] == pytest.approx(0.97 * np.sqrt(2.0))


def test_smoothing_averages_a_step_that_is_much_narrower_than_the_noise():
    """Of 20 draws of noise, which is 25 times as wide as the step, few move both points to different sides of it.

    The changes of both parts may be large and opposite: where one point is on the step, the first neuron is active at both.
    """
    row = measured_rows(step([[0.5 + 0.97 * WIDTH]], [1]))[2]
    assert 0.0 < row["smoothed_total"] < 0.3 * row["total"]
    assert row["smoothed_total"] <= row["smoothed_fixed"] + row["smoothed_float"]


def test_misclassified_images_have_a_row_of_nan():
    rows = experiment.measure(linear([[0.7, 0.6]], [0]), 0, OPTIONS)
    assert rows.shape == (1, len(experiment.COLUMNS)) and rows[0, 0] == 0.0 and np.isnan(rows[0, 1:]).all()


def made_up(training, fixed, floating, *, left_out=(), depth=8):
    """Make a Measured of four images with the same distances for all attacks."""
    rows = []
    for i in range(4):
        if i in left_out:
            rows.append([float(i), *[np.nan] * (len(experiment.COLUMNS) - 1)])
            continue
        for attack in range(len(ATTACKS)):
            row = {"image": i, "attack": attack, "flipped": i % 2, "float_neurons": 0.25, "fixed": fixed, "float": floating + i}
            row |= {
                "live_fixed": fixed + 0.5,
                "live_float": floating + i,
                "smoothed_fixed": fixed,
                "smoothed_float": 1.0,
                "total": 2.0,
                "smoothed_total": 1.0,
            }
            rows.append([float(row.get(name, 0.0)) for name in experiment.COLUMNS])
    title = f"digits MLP of depth {depth}, {training} training"
    return Measured(training, title, training, "digits", experiment.COLUMNS, np.array(rows), Path("no"))


def test_tables_have_the_numbers_of_the_images_that_are_classified_correctly():
    measured = {"s": made_up("standard", 1.0, 2.0, left_out=(0,)), "p": made_up("pgd", 3.0, 1.0)}
    parts, differences, live, smoothed = experiment.tabulate(measured, OPTIONS)
    assert len(parts.rows) == 8
    attack, n_images, flipped, neurons, fixed, float_, ratio, larger = parts.rows[0][1:]
    assert (attack, n_images, neurons, fixed.value, float_.value) == ("PGD, l_2", 3, 0.25, 1.0, 4.0)
    assert (flipped, ratio, larger.value) == (pytest.approx(2 / 3), 4.0, 1.0)
    assert parts.rows[4][-1].value == 0.25  # 1, 2, 3, 4 are larger than 3 once
    assert [row[:3] for row in differences.rows] == [("digits MLP of depth 8", "pgd", part) for part in ("fixed", "float")]
    assert [row[3] for row in differences.rows] == [3, 3]
    assert [row[6].value for row in differences.rows] == [2.0, -1.0]
    assert [row[2].value for row in live.rows] == [1.5, 1.5, 3.5, 3.5]
    assert smoothed.rows[0][4].value == 1.0 and smoothed.rows[0][7].value == 0.25 and smoothed.rows[0][10].value == 0.5


def test_tables_without_images():
    measured = {"s": made_up("standard", 1.0, 2.0, left_out=range(4)), "p": made_up("pgd", 3.0, 1.0)}
    parts, differences, _, smoothed = experiment.tabulate(measured, OPTIONS)
    assert parts.rows[0][2] == 0 and parts.rows[0][7] is None and np.isnan(parts.rows[0][5].value)
    assert differences.rows[0][3] == 0 and np.isnan(smoothed.rows[0][4].value)


def test_a_fixed_part_that_does_not_change_has_an_infinite_ratio():
    parts = experiment.tabulate({"s": made_up("standard", 0.0, 2.0)}, OPTIONS)[0]
    assert parts.rows[0][7] == np.inf


def test_figures_have_axes_for_each_architecture():
    pytest.importorskip("matplotlib")
    measured = {"s": made_up("standard", 1.0, 2.0), "p": made_up("pgd", 3.0, 1.0), "d": made_up("standard", 0.0, 2.0, depth=15)}
    (figure,) = experiment.draw(measured, OPTIONS).values()
    assert [ax.get_title() for ax in figure.axes] == ["digits MLP of depth 8", "digits MLP of depth 15"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["standard", "PGD"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["fixed part", "float part"]


@pytest.mark.slow
def test_in_the_deepest_network_the_float_part_changes_most(tmp_path):
    pytest.importorskip("onnx")
    result = reproduce.run("float-distance", tmp_path, n_images=4, networks=["digits_mlp15_noise0", "digits_mlp3_pgd"])
    deep, shallow = (result.tables[0].rows[k] for k in (4, 0))
    assert deep[0] == "digits MLP of depth 15, standard training" and deep[7] > 2.0 > shallow[7]
