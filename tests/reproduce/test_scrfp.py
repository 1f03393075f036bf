"""Certificates by mode and attacks on them: networks with known radii, the counterexample, tables of known numbers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from pwlnet import datasets, reproduce
from pwlnet.errors import InputError
from pwlnet.reproduce import scrfp, scrfp_broken, scrfp_tables, smoothing_modes
from pwlnet.reproduce.experiment import Measured
from pwlnet.reproduce.smoothing_modes import MODES, PARAMETERS, find_mode
from pwlnet.smoothing.certificates import Certificate
from tests.reproduce.small_networks import WIDTH, linear, options, step

torch = pytest.importorskip("torch")

SMALL = {**PARAMETERS, "n": 1000, "n0": 20, "sigma": 0.25}
BROKEN = {**SMALL, **scrfp_broken._ATTACK, "steps": 8, "draws": 64, "sigma": 1.0}


def with_denoiser(subject, factor=1.0):
    """Give a subject a denoiser that multiplies by a factor; 1: the identity."""
    import pwlnet

    d = subject.images.shape[1]
    layer = torch.nn.Linear(d, d, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(factor * torch.eye(d))
        layer.bias.zero_()
    return dataclasses.replace(subject, denoiser=pwlnet.from_torch(torch.nn.Sequential(layer), (d,)))


def by_title(experiment, subject, parameters, i=0):
    """Measure an image: dict of columns by the title of the mode or claim."""
    titles = [each.title for each in (MODES if experiment is scrfp else scrfp_broken.CLAIMS)]
    rows = [dict(zip(experiment.COLUMNS, row)) for row in experiment.measure(subject, i, options(parameters))]
    return {titles[row["mode" if experiment is scrfp else "claim"]]: row for row in rows}


def test_radii_of_a_halfspace_are_near_its_distance():
    x = [0.7, 0.6]
    row = by_title(scrfp, with_denoiser(linear([x], [1])), SMALL | {"modes": "plain"})["plain"]
    distance = (sum(x) - 1.0) / np.sqrt(2.0)
    assert (row["label"], row["true"], row["n"]) == (1, 1, 1000)
    assert 0.8 * distance < row["radius"] <= distance
    assert abs(row["k"] / 1000 - norm.cdf(distance / 0.25)) < 0.04


def test_a_denoiser_that_does_nothing_gives_the_votes_of_the_plain_classifier(monkeypatch):
    """All modes use the same noise; a reference that is the point itself leaves no neuron float."""
    monkeypatch.setattr(smoothing_modes, "_training_images", lambda subject, most=None: np.full((3, 1), 0.5))
    found = by_title(scrfp, with_denoiser(step([[0.51]], [1])), SMALL)
    assert list(found) == [mode.title for mode in MODES if mode.title in scrfp.DEFAULT]
    for title in ("denoised", "mean input", "mean probability", "denoiser -0.1", "denoiser -0.25", "denoiser -0.25 one pass"):
        assert found[title]["k"] == found["plain"]["k"], title
    assert found["global -0.25"]["k"] != found["plain"]["k"]


def test_only_the_region_of_a_nominal_radius_is_sound():
    found = by_title(scrfp, with_denoiser(step([[0.5 - 0.2 * WIDTH]], [0])), SMALL | {"modes": "nominal -0.1,conditional -0.1"})
    nominal, conditional = found["nominal -0.1"], found["conditional -0.1"]
    assert nominal["k"] == nominal["n"] == 1000 and nominal["radius"] > 0.5
    assert nominal["sound_radius"] == nominal["r_region"] == pytest.approx(0.2 * WIDTH)
    assert (conditional["radius"], conditional["sound_radius"]) == (nominal["radius"], nominal["radius"])
    assert np.isnan(found["plain"]["r_region"]) and found["plain"]["sound_radius"] == found["plain"]["radius"]


def test_the_counterexample_breaks_nominal_radii_but_not_with_the_stored_image():
    subject = with_denoiser(step([[0.5 - 0.2 * WIDTH]], [0]))
    modes = "nominal -0.1,conditional -0.1,denoiser -0.1"
    found = by_title(scrfp_broken, subject, BROKEN | {"modes": modes})
    own, nominal, stored = (found[title] for title in ("conditional -0.1, own", "nominal -0.1", "conditional -0.1, stored"))
    assert nominal["radius"] > 2.0 and nominal["broken"] == 1.0 and nominal["p_high"] < 0.5
    assert 0.0 < nominal["distance"] <= nominal["radius"]
    assert list(own.values())[2:] == list(nominal.values())[2:]
    assert (stored["broken"], stored["k"], stored["radius"]) == (0.0, 1000, nominal["radius"])
    for title in ("plain", "denoiser -0.1", "denoised"):  # half of the votes each
        assert found[title]["label"] == -1 and np.isnan(found[title]["broken"])


def test_sound_radii_of_a_halfspace_are_not_broken():
    found = by_title(scrfp_broken, with_denoiser(linear([[0.7, 0.6]], [1]), 0.9),
                     BROKEN | {"sigma": 0.25, "modes": "denoiser -0.25"})  # fmt: skip
    assert {row["broken"] for row in found.values()} == {0.0}
    assert all(0.9 * row["radius"] < row["distance"] <= row["radius"] for row in found.values())


def test_the_noise_is_that_of_the_training():
    subject = linear([[0.7, 0.6]], [1])
    with pytest.raises(InputError, match="was not trained with noise; give the parameter sigma"):
        smoothing_modes.noise_level(subject, options(PARAMETERS))
    trained = dataclasses.replace(subject, training="consistency 0.5")
    assert smoothing_modes.noise_level(trained, options(PARAMETERS)) == 0.5
    assert smoothing_modes.noise_level(trained, options(SMALL)) == 0.25


def test_baselines_are_always_measured_and_unknown_modes_refused():
    chosen = smoothing_modes.chosen_modes(options({"modes": " self-noise -0.25"}), ())
    assert [mode.title for mode in chosen] == [*smoothing_modes.BASELINES, "self-noise -0.25"]
    with pytest.raises(InputError, match="parameter modes has 'nominal'; give names among plain, denoised, "):
        smoothing_modes.chosen_modes(options({"modes": "plain,nominal"}), ())


def test_denoised_points_are_kept_for_the_other_modes():
    calls = []
    remembered = smoothing_modes._Remembered(lambda points: calls.append(len(points)) or 2.0 * points)
    batches = [np.full((3, 2), float(k)) for k in range(9)]
    for points in (*batches, batches[8], batches[1], batches[0]):
        np.testing.assert_array_equal(remembered(points), 2.0 * points)
    assert len(calls) == 10  # the last one had been dropped


def certificate(image, k, *, label=1):
    from pwlnet.binomial import clopper_pearson
    from pwlnet.smoothing import radius_of

    p_low = float(clopper_pearson(k, 1000, 0.001, side="lower")[0])
    radius = float(radius_of(p_low, 0.25))
    return Certificate(label if radius else -1, radius, p_low, k, 1000, 0.001, "sound", np.nan, 0, 0.25, 20, image, label)


def made_up(votes, *, key="digits_mlp15_noise25"):
    """Make a Measured of images with votes for the right class by the title of the mode; None: all for a wrong class."""
    rows = []
    for image in range(len(votes["plain"])):
        for title, of_images in votes.items():
            k = of_images[image]
            found = certificate(image, 1000, label=2) if k is None else certificate(image, k)
            rows.append(scrfp_tables.row_of(find_mode(title), 1, found, 0.01))
    return Measured(key, f"network {key[-1]}", "noise 0.25", "digits", scrfp_tables.COLUMNS, np.array(rows, float), Path("no"))


VOTES = {"plain": [990, 950, 400, None], "denoised": [1000, 950, 400, None], "nominal -0.25": [1000, 1000, 1000, 990]}


def test_tables_have_the_radii_of_right_predictions():
    m = made_up(VOTES)
    radii = [certificate(0, k).radius for k in (990, 950, 1000)]
    certified, differences, votes = scrfp_tables.tabulate({"m": m}, options(SMALL))
    plain, _, nominal = certified.rows
    assert plain[1:4] == ("plain", "sound", 4) and nominal[2] == "nominal"
    assert plain[4].value == pytest.approx((radii[0] + radii[1]) / 4)
    assert [cell.value for cell in plain[5:9]] == [0.5, 0.5, 0.25 * (radii[0] >= 0.5), 0.0]
    assert (plain[9], nominal[9].value) == (None, pytest.approx(0.01))
    assert [row[1:4] for row in differences.rows] == [
        ("plain", "sound", "denoised"), ("denoised", "sound", "plain"),
        ("nominal -0.25", "nominal", "plain"), ("nominal -0.25", "nominal", "denoised"),
    ]  # fmt: skip
    assert differences.rows[1][7].value == pytest.approx((radii[2] - radii[0]) / 4)
    assert votes.rows[0][-3:-1] == (0.25, 0.25) and votes.rows[2][-3] == 0.0
    assert "not one" in certified.notes[1]


def test_modes_with_a_denoiser_are_compared_with_the_averages():
    votes = {**VOTES, "mean input": VOTES["denoised"], "denoiser -0.25": VOTES["nominal -0.25"]}
    _, differences, _ = scrfp_tables.tabulate({"m": made_up(votes)}, options(SMALL))
    assert [row[3] for row in differences.rows if row[1] == "denoiser -0.25"] == ["plain", "denoised", "mean input"]
    assert [row[3] for row in differences.rows if row[1] == "mean input"] == ["plain", "denoised"]


def test_trainings_with_other_seeds_are_pooled():
    other = {title: [1000, *of_images[1:]] for title, of_images in VOTES.items()}
    measured = {"a": made_up(VOTES), "b": made_up(other, key="digits_mlp15_noise25_seed4")}
    *_, pooled = scrfp_tables.tabulate(measured, options(SMALL))
    rows = {row[0]: row for row in pooled.rows}
    radii = [certificate(0, k).radius for k in (990, 950, 1000)]
    assert "2 trainings with different seeds, 4 images each" in pooled.title
    assert pooled.headings[-2:] == ("minus denoised, first", "minus denoised, 4")
    assert rows["plain"][2].value == pytest.approx((0.5 * (radii[0] + radii[2]) + radii[1]) / 4)
    assert rows["plain"][7] is None
    assert rows["plain"][8].value == pytest.approx((radii[0] - radii[2]) / 8)
    assert rows["plain"][9] is None  # without that mode
    assert rows["plain"][10:] == pytest.approx(((radii[0] - radii[2]) / 4, 0.0))
    assert rows["denoised"][8:] == (None, None, None, None)


def test_figures_have_curves_of_modes_and_nominal_ones_are_dashed():
    pytest.importorskip("matplotlib")
    figures = scrfp_tables.draw({"m": made_up(VOTES)}, options(SMALL))
    assert set(figures) == {"scrfp.png", "scrfp_votes.png"}
    lines = figures["scrfp.png"].axes[0].get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--"]


def broken_rows(of_images, claim, n=1000):
    number = [each.title for each in scrfp_broken.CLAIMS].index(claim)
    return [[i, number, 1, -1 if k is None else 1, 0.0 if k is None else 0.5, 0.9, *([np.nan] * 5 if k is None else [0.25, k, n,
             0.4, k < 400])] for i, k in enumerate(of_images)]  # fmt: skip


def test_broken_claims_are_counted_among_those_that_were_certified():
    pytest.importorskip("matplotlib")
    rows = broken_rows([600, None, 700], "plain") + broken_rows([100, 300, 600], "nominal -0.25")
    m = Measured("k", "t", "noise 0.25", "digits", scrfp_broken.COLUMNS, np.array(rows, float), Path("no"))
    given = options(BROKEN)
    table, together = scrfp_broken.tabulate({"a": m, "b": m}, given)
    plain, nominal = table.rows[:2]
    assert plain[1:4] == ("plain", "sound", None) and plain[4:7] == (3, 2, 0)
    assert plain[7] == (0.0, 0.0, pytest.approx(1.0 - 0.025**0.5)) and plain[8] == 0.6
    assert nominal[3:7] == (-0.25, 3, 3, 2) and nominal[8:] == (0.1, 0.5, 0.25)
    assert together.rows[1][3:6] == (6, 6, 4)
    (figure,) = scrfp_broken.draw({"a": m}, given).values()
    assert [line.get_marker() for line in figure.axes[0].get_lines()] == ["o", "x", "None"]


def test_a_run_certifies_shipped_networks(tmp_path):
    pytest.importorskip("onnx")
    result = reproduce.run("scrfp", tmp_path, n_images=2, networks=["digits_mlp3_noise25"],
                           parameters={"n": 200, "n0": 20, "modes": "denoiser -0.25"})  # fmt: skip
    assert [row[1] for row in result.tables[0].rows] == [*smoothing_modes.BASELINES, "denoiser -0.25"]
    assert all(row[4].value > 0.1 for row in result.tables[0].rows)


def test_training_images_are_of_the_right_set():
    subject = linear([[0.7, 0.6]], [1])
    images = smoothing_modes._training_images(subject, 7)
    np.testing.assert_array_equal(images, datasets.digits_training_images()[0][:7].reshape(7, -1))
