"""Lines to perturbed images: where they end, which are made, and means of images."""

from pathlib import Path

import numpy as np
import pytest

from pwlnet.reproduce import subjects
from pwlnet.reproduce.experiment import Measured, Options
from pwlnet.reproduce.perturbed_lines import (
    COLUMNS,
    DIRECTIONS,
    PARAMETERS,
    RULES,
    density,
    line_numbers,
    of_images,
    perturbed_lines,
)

pytest.importorskip("onnx")
pytest.importorskip("torch")
OPTIONS = Options(10, 3, None, PARAMETERS)


@pytest.fixture(scope="module")
def subject():
    return subjects.load("digits_conv_standard")


def ends_of(result, rule, direction):
    rows = (result.rules == RULES.index(rule)) & (result.directions == DIRECTIONS.index(direction))
    return result.lines.ends[rows]


def test_every_kind_of_line_is_made_from_the_image(subject):
    result = perturbed_lines(subject, 2, OPTIONS)
    counts = {(rule, direction): len(ends_of(result, rule, direction)) for rule in RULES for direction in DIRECTIONS}
    assert counts == {
        ("additive", "fgsm"): 1, ("additive", "pgd"): 1, ("additive", "random"): 4,
        ("floor", "fgsm"): 1, ("floor", "pgd"): 0, ("floor", "random"): 4,
    }  # fmt: skip
    assert np.array_equal(result.lines.starts, np.broadcast_to(subject.images[2], result.lines.starts.shape))
    assert result.label == subject.labels[2]
    assert result.target == (subject.labels[2] + 1) % 10


def test_ends_lie_in_the_ball_and_are_images(subject):
    lines = perturbed_lines(subject, 2, OPTIONS).lines
    assert np.abs(lines.ends - lines.starts).max() <= 0.03 * (1.0 + 1e-12)
    assert np.all((lines.ends >= 0.0) & (lines.ends <= 1.0))


def test_fgsm_goes_along_the_signs_of_the_gradient_of_the_next_class(subject):
    result = perturbed_lines(subject, 2, OPTIONS)
    gradient = subject.network.jacobian(subject.images[2])[0, result.target]
    inside = (subject.images[2] > 0.03) & (subject.images[2] < 0.97)
    for rule in RULES:
        step = (ends_of(result, rule, "fgsm") - subject.images[2])[0]
        assert np.all(step * gradient >= 0.0)
    bright = np.rint(255.0 * subject.images[2]) >= 34  # 0.03 of it is a whole grey value
    at_border = (subject.images[2] == 1.0) & (gradient > 0.0)
    assert np.array_equal(step != 0.0, bright & (gradient != 0.0) & ~at_border)  # of the rule "floor"
    additive = (ends_of(result, "additive", "fgsm") - subject.images[2])[0]
    np.testing.assert_allclose(additive[inside], 0.03 * np.sign(gradient[inside]), rtol=1e-12)


def test_pgd_makes_the_next_class_likelier_than_any_random_signs_do(subject):
    result = perturbed_lines(subject, 2, OPTIONS)

    def probability(x):
        scores = np.exp(subject.network.forward(x))
        return (scores[:, result.target] / scores.sum(axis=1)).max()

    assert probability(ends_of(result, "additive", "pgd")) > probability(ends_of(result, "additive", "random"))


def test_random_signs_are_the_same_for_all_networks_of_an_image_and_others_for_other_images(subject):
    other = subjects.load("digits_conv_pgd")
    first, second, next_image = (
        ends_of(perturbed_lines(s, i, OPTIONS), "additive", "random") - s.images[i]
        for s, i in ((subject, 2), (other, 2), (subject, 3))
    )
    assert np.array_equal(first, second)
    assert len(np.unique(first, axis=0)) == 4
    assert not np.array_equal(np.sign(first), np.sign(next_image))


def test_an_image_that_the_network_gets_wrong_has_no_lines(subject):
    wrong = next(i for i in range(len(subject)) if not subject.is_right(i))
    assert perturbed_lines(subject, wrong, OPTIONS) is None


def test_numbers_of_lines_are_those_of_the_partition(subject):
    result = perturbed_lines(subject, 2, OPTIONS)
    numbers = dict(zip(COLUMNS, line_numbers(2, result).T, strict=True))
    assert set(numbers["image"]) == {2.0}
    assert set(numbers["label"]) == {float(result.label)}
    assert numbers["n_segments"].tolist() == [part.n_segments for part in result.lines.parts]
    assert numbers["first_t"].tolist() == [part.t[1] for part in result.lines.parts]
    np.testing.assert_allclose(numbers["length"], [np.linalg.norm(part.end - part.start) for part in result.lines.parts])
    assert np.array_equal(numbers["end_class"], subject.network.forward(result.lines.ends).argmax(axis=1))


def test_the_number_of_an_image_is_the_mean_over_its_lines_of_a_kind():
    rows = [
        # image, label, rule, direction, n_segments, length, first_t, end_class
        (0, 7, 0, 0, 6, 2.0, 0.1, 7),
        (0, 7, 0, 2, 3, 1.0, 0.1, 7),
        (0, 7, 0, 2, 5, 1.0, 0.1, 7),
        (0, 7, 1, 2, 90, 1.0, 0.1, 7),
        (1, *[np.nan] * 7),
        (2, 4, 0, 0, 1, 0.0, 1.0, 4),
        (2, 4, 0, 2, 8, 4.0, 0.5, 4),
    ]
    measured = Measured("k", "t", "standard", "digits", COLUMNS, np.array(rows), Path("none"))
    densities = density(measured)
    np.testing.assert_array_equal(of_images(measured, densities, "additive", "fgsm"), [3.0, np.nan, np.nan])
    np.testing.assert_array_equal(of_images(measured, densities, "additive", "random"), [4.0, np.nan, 2.0])
    np.testing.assert_array_equal(of_images(measured, densities, "floor", "random"), [90.0, np.nan, np.nan])
    assert of_images(measured, density(measured, endpoints=True), "additive", "fgsm")[0] == 3.5
