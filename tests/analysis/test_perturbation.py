"""Perturbed images: the rules on whole grey values, the ball, clipping, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwlnet.analysis.perturbation import STEPS, perturb
from pwlnet.errors import InputError, ShapeError


def test_the_floor_rule_moves_every_grey_value_as_the_papers_code_does():
    grey = np.arange(256)
    moved = 255.0 * perturb(grey / 255.0, np.ones(256), epsilon=0.03, rule="floor")
    expected = [min(255, g + 3 * g // 100) for g in range(256)]  # floor(0.03 g) in whole numbers
    assert np.rint(moved).tolist() == expected
    np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_images_of_sixteen_grey_values_are_taken_as_of_256():
    step = 255.0 * (1.0 - perturb(np.ones(1), -np.ones(1), epsilon=0.03, rule="floor", levels=255))
    assert step[0] == pytest.approx(7.0)
    assert perturb(np.ones(1), -np.ones(1), epsilon=0.03, rule="floor", levels=16).tolist() == [1.0]


@given(seed=st.integers(0, 1000), epsilon=st.floats(0.0, 0.5), rule=st.sampled_from(sorted(STEPS)))
def test_results_lie_in_the_ball_and_in_the_box_and_move_along_the_signs(seed, epsilon, rule):
    rng = np.random.default_rng(seed)
    images, signs = rng.random((3, 7)), rng.choice((-1.0, 0.0, 1.0), (3, 7))
    moved = perturb(images, signs, epsilon=epsilon, rule=rule)
    assert np.all((moved >= 0.0) & (moved <= 1.0) & (np.abs(moved - images) <= epsilon * (1.0 + 1e-12) + 1e-15))
    assert np.all((moved - images) * signs >= 0.0)
    assert np.array_equal(moved[signs == 0.0], images[signs == 0.0])


def test_the_size_of_a_sign_does_not_matter_and_nothing_is_clipped_without_a_box():
    assert perturb(np.zeros(2), np.array([-3.0, 0.5]), epsilon=0.25, clip=None).tolist() == [-0.25, 0.25]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"signs": np.ones(3)}, ShapeError, r"signs has shape \(3,\), but images has \(2,\)"),
        ({"images": np.array([np.nan, 0.0])}, InputError, "NaN"),
        ({"epsilon": -0.1}, InputError, "epsilon is -0.1"),
        ({"epsilon": np.nan}, InputError, "epsilon is nan"),
        ({"rule": "multiplicative"}, InputError, "use one of additive, floor"),
    ],
)
def test_bad_input_gets_its_sentence(change, error, message):
    arguments = {"images": np.zeros(2), "signs": np.ones(2), "epsilon": 0.1} | change
    with pytest.raises(error, match=message):
        perturb(arguments.pop("images"), arguments.pop("signs"), **arguments)
