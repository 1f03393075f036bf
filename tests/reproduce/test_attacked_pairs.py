"""Pairs of images and attacked images: radii, limits, noise; results do not depend on the other images."""

import numpy as np
import pytest

from pwlnet.reproduce import attacked_pairs as pairs
from tests.reproduce.small_networks import linear, options, step

pytest.importorskip("torch")

PARAMETERS = {**pairs.PARAMETERS, "pgd_steps": 5, "n_noise": 7}
IMAGES = [[0.7, 0.6], [0.9, 0.9], [0.1, 0.2], [0.6, 0.3]]
LABELS = [1, 1, 0, 1]


def test_attacks_of_a_linear_network_go_along_its_gradient_to_the_radius():
    found = pairs.attacked_pairs(linear(IMAGES, LABELS), 0, options(PARAMETERS))
    moved = found.attacked - found.images
    np.testing.assert_allclose(moved[0], [-np.sqrt(0.125)] * 2)  # length 0.5
    np.testing.assert_allclose(moved[1:3], -0.1)
    np.testing.assert_array_equal(found.labels, 1)
    np.testing.assert_array_equal(found.images, [IMAGES[0]] * 4)


def test_attacked_images_are_clipped_and_the_scale_multiplies_radii():
    found = pairs.attacked_pairs(linear(IMAGES, LABELS), 2, options({**PARAMETERS, "scale": 9.5}))
    np.testing.assert_allclose(found.attacked[1:3], 1.0)
    found = pairs.attacked_pairs(linear(IMAGES, LABELS), 2, options({**PARAMETERS, "scale": 0.5}))
    np.testing.assert_allclose(found.attacked[2] - found.images[2], 0.05)


def test_misclassified_images_are_left_out():
    assert pairs.attacked_pairs(linear(IMAGES, LABELS), 3, options(PARAMETERS)) is None


def test_the_noise_attack_is_the_draw_with_the_smallest_margin_and_is_not_clipped():
    subject = linear(IMAGES, LABELS)
    drawn = pairs.noisy_inputs(subject, 1, subject.images[1], options(PARAMETERS))
    assert drawn.shape == (7, 2) and drawn.max() > 1.0
    np.testing.assert_allclose(drawn[0:6:2] + drawn[1:6:2], 2 * np.array([IMAGES[1]] * 3))  # mirror images
    found = pairs.attacked_pairs(subject, 1, options(PARAMETERS)).attacked[3]
    np.testing.assert_array_equal(found, drawn[drawn.sum(axis=1).argmin()])


def test_noise_is_that_of_the_image_and_the_seed():
    subject = linear(IMAGES, LABELS)

    def drawn(i, seed):
        return pairs.noisy_inputs(subject, i, np.zeros(2), options(PARAMETERS, seed=seed))

    np.testing.assert_array_equal(drawn(1, 0), drawn(1, 0))
    assert not np.any(drawn(1, 0) == drawn(2, 0)) and not np.any(drawn(1, 0) == drawn(1, 1))


def test_results_do_not_depend_on_the_images_that_are_attacked_together(monkeypatch):
    images = np.random.default_rng(0).uniform(0.50951, 0.5099, (5, 1))
    together = step(images, [1] * 5)
    whole = [pairs.attacked_pairs(together, i, options(PARAMETERS)).attacked for i in range(5)]
    monkeypatch.setattr(pairs, "_AT_ONCE", 2)
    alone = step(images, [1] * 5)
    np.testing.assert_array_equal([pairs.attacked_pairs(alone, i, options(PARAMETERS)).attacked for i in range(5)], whole)
