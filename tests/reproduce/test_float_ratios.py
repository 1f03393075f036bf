"""Shares of fixed neurons: networks whose shares can be computed by hand, tables of known numbers."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from pwlnet import reproduce
from pwlnet.reproduce import float_ratios as experiment
from pwlnet.reproduce.experiment import Measured
from tests.reproduce.small_networks import options, subject

pytest.importorskip("torch")

OPTIONS = options({**experiment.PARAMETERS, "n_samples": 400})
IMAGE = [[0.5, 0.5]]


def neurons(*values, weights=(1.0, 1.0)):
    """Make a network whose neurons of one layer have these values at IMAGE, and equal weights."""
    biases = [value - 0.5 * sum(weights) for value in values]
    n = len(values)
    return subject([([list(weights)] * n, biases), (np.ones((2, n)), [0.0, 0.0])], IMAGE * 2, [0, 0])


def measured_rows(small, i=0):
    rows = [dict(zip(experiment.COLUMNS, row)) for row in experiment.measure(small, i, OPTIONS)]
    return {experiment.TESTS[int(row["test"])]: row for row in rows}


def test_corners_and_bounds_agree_about_a_neuron_of_the_first_layer():
    """With two weights of 1, the value changes by up to 2 epsilon: 1.5 epsilon floats, 2.5 and -2.5 epsilon do not."""
    epsilon = 4 / 255
    found = measured_rows(neurons(1.5 * epsilon, 2.5 * epsilon, -2.5 * epsilon, -10 * epsilon))
    for kind in ("corners", "bounds"):
        row = found[f"{kind} 4/255"]
        assert [row[name] for name in ("float", "on", "off")] == [0.25, 0.25, 0.5]
        row = found[f"{kind} 8/255"]
        assert [row[name] for name in ("float", "on", "off")] == [0.75, 0.0, 0.25]
    assert np.isnan(found["bounds 4/255"]["likely"]) and np.isnan(found["bounds 4/255"]["changed"])


@pytest.mark.parametrize("value", [0.1, -0.2])
def test_changes_under_noise_have_the_probability_of_a_normal_distribution(value):
    found = measured_rows(neurons(value, weights=(0.6, 0.8)))
    for sigma in (0.1, 0.25):
        expected = norm.cdf(-abs(value) / sigma)
        row = found[f"noise {sigma}"]
        assert row["changed"] == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 400))
        assert row["float"] == 1.0


def test_neurons_that_rarely_change_are_not_likely_to():
    row = measured_rows(neurons(0.21, 0.02, weights=(0.6, 0.8)))["noise 0.1"]  # probabilities 0.018 and 0.42
    assert (row["float"], row["likely"]) == (1.0, 0.5)


def test_shares_add_up_and_fixed_paths_have_fixed_neurons_in_all_layers():
    rng = np.random.default_rng(3)
    shapes = ((8, 2), (6, 8), (2, 6))
    deep = subject([(rng.normal(size=s), 0.3 * rng.normal(size=s[0])) for s in shapes], IMAGE * 2, [0, 0])
    values = experiment.measure(deep, 1, OPTIONS)
    assert values.shape == (2 * len(experiment.TESTS), len(experiment.COLUMNS)) and (values[:, 0] == 1.0).all()
    for k, test in enumerate(experiment.TESTS):
        rows = [dict(zip(experiment.COLUMNS, row)) for row in values[values[:, 1] == k]]
        assert [row["neurons"] for row in rows] == [8.0, 6.0]
        for row in rows:
            assert row["float"] + row["on"] + row["off"] == pytest.approx(1.0)
            assert not row["likely"] > row["float"]
        assert rows[0]["fixed_paths"] == pytest.approx(np.prod([1.0 - row["float"] for row in rows]))
        if test.startswith("bounds"):
            drawn = values[values[:, 1] == k - 2]  # the corners of the same box
            assert (values[values[:, 1] == k][:, 4] >= drawn[:, 4]).all()


def test_draws_are_those_of_the_image_and_the_seed():
    small = neurons(0.1)
    changed = [experiment.measure(small, i, OPTIONS._replace(seed=seed))[0, 8] for i, seed in ((0, 0), (0, 0), (1, 0), (0, 1))]
    assert changed[0] == changed[1] and len(set(changed)) == 3


def made_up(training, floating, *, depth=2):
    """Make a Measured of three images with layers of 10 and 30 neurons, whose shares of float neurons are given."""
    rows = []
    for image in range(3):
        for test in range(len(experiment.TESTS)):
            for layer, (size, share) in enumerate(zip((10, 30), floating)):
                row = {"image": image, "test": test, "layer": layer, "neurons": size, "float": share, "on": 0.75 * (1 - share)}
                row |= {
                    "off": 0.25 * (1 - share),
                    "likely": 0.0,
                    "changed": 0.0,
                    "fixed_paths": np.prod(1 - np.array(floating)),
                }
                rows.append([float(row[name]) for name in experiment.COLUMNS])
    title = f"digits MLP of depth {depth}, {training} training"
    return Measured(training, title, training, "digits", experiment.COLUMNS, np.array(rows), Path("no"))


def test_tables_weight_layers_by_their_neurons():
    measured = {"s": made_up("standard", (0.5, 0.1)), "p": made_up("pgd", (0.3, 0.1))}
    shares, layers, training = experiment.tabulate(measured, OPTIONS)
    assert [cell.value for cell in shares.rows[0][2:]] == pytest.approx([0.8, 0.6, 0.2, 0.0, 0.0, 0.45])
    assert len(shares.rows) == 2 * len(experiment.TESTS)
    assert layers.rows[0][2] == 2 and [cell.value for cell in layers.rows[0][3:6]] == pytest.approx([0.5, 0.9, 0.9])
    assert layers.rows[0][6] == 0.5
    assert [row[1] for row in training.rows] == ["pgd"] * 4
    assert training.rows[0][6].value == pytest.approx(0.05)


def test_figures_keep_neurons_that_are_always_on_and_always_off_apart():
    pytest.importorskip("matplotlib")
    measured = {
        "s": made_up("standard", (0.5, 0.1)),
        "p": made_up("pgd", (0.3, 0.1)),
        "d": made_up("standard", (0.2, 0.2), depth=3),
    }
    figures = experiment.draw(measured, OPTIONS)
    assert list(figures) == ["fixed_neurons.png", "layers_noise.png", "layers_corners.png"]
    axes = figures["layers_noise.png"].axes
    assert [ax.get_ylabel() for ax in axes[::2]] == ["float", "always on", "always off"]
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), [0.375, 0.675])
    np.testing.assert_allclose(axes[4].lines[1].get_ydata(), [0.175, 0.225])


@pytest.mark.slow
def test_noise_in_training_fixes_neurons_of_a_deep_network(tmp_path):
    pytest.importorskip("onnx")
    networks = ["digits_mlp8_noise0", "digits_mlp8_noise25"]
    result = reproduce.run("float-ratios", tmp_path, n_images=4, networks=networks, parameters={"n_samples": 50})
    row = result.tables[2].rows[0]
    assert row[:3] == ("digits MLP of depth 8", "noise 0.25", "noise 0.1") and row[6].value > 0.05
