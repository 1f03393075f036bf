"""Noise of votes: independent draws of the normal distribution, functions of their numbers."""

import numpy as np
import pytest
from scipy import stats

from pwlnet.errors import InputError
from pwlnet.smoothing.noise import ESTIMATE, SELECT, Query, make_seed, unit_noise


def problems(noise):
    """What shows that rows are not independent standard normal draws; [n, D] with n and D of some hundreds."""
    n, d = noise.shape
    found = []
    if len(np.unique(noise, axis=0)) < n:
        found.append("two draws are equal")
    if stats.kstest(noise.ravel(), "norm").pvalue < 1e-6:
        found.append("not normal")
    scale = np.sqrt(n * d)
    for name, pairs in {
        "draws": (noise[1:] * noise[:-1]).sum() / scale,
        "coordinates": (noise[:, 1:] * noise[:, :-1]).sum() / scale,
        "squares of draws": ((noise[1:] ** 2 - 1) * (noise[:-1] ** 2 - 1)).sum() / (2 * scale),
        "means of draws": np.abs(noise.mean(axis=0)).max() * np.sqrt(n) / 1.6,
    }.items():
        if abs(pairs) > 5.0:
            found.append(f"{name} depend on each other")
    lengths = (noise**2).sum(axis=1)
    if stats.kstest(lengths, stats.chi2(d).cdf).pvalue < 1e-6:
        found.append("lengths are not those of independent coordinates")
    return found


def test_every_draw_has_independent_normal_noise():
    assert not problems(unit_noise(0, ESTIMATE, 3, 0, 400, (300,)))


def test_the_check_finds_noise_that_draws_share_and_a_first_row_that_is_zero():
    noise = unit_noise(0, ESTIMATE, 3, 0, 400, (300,))
    shared, half, rows = np.repeat(noise[:1], 400, axis=0), noise.copy(), noise.copy()
    half[200:] = noise[:200]
    rows[:, 1::2] = noise[:, ::2]
    assert all(problems(each) for each in (shared, half, rows, 2.0 * noise, noise + 0.5))


def test_images_purposes_and_seeds_have_different_noise():
    draws = [
        unit_noise(seed, purpose, image, 0, 50, (40,)) for seed in (0, 1) for purpose in (SELECT, ESTIMATE) for image in (0, 1)
    ]
    assert not problems(np.concatenate(draws))


def test_a_draw_depends_on_its_number_only():
    whole = unit_noise(5, SELECT, 2, 0, 30, (3, 7))
    np.testing.assert_array_equal(whole[11:14], unit_noise(5, SELECT, 2, 11, 14, (3, 7)))
    assert unit_noise(5, SELECT, 2, 4, 4, (3, 7)).shape == (0, 3, 7)


def test_randomness_of_the_votes_own_is_independent_of_their_noise():
    query = Query(np.zeros(300), 1.0, 0, ESTIMATE, 0, 0, 200)
    assert not problems(np.concatenate([query.points(), query.own_noise()]))


@pytest.mark.parametrize("rng", [-1, 0.5, None, True, "0"])
def test_bad_seeds_are_refused(rng):
    with pytest.raises(InputError, match="rng is"):
        make_seed(rng)


def test_a_generator_gives_one_seed_per_call():
    rng = np.random.default_rng(0)
    assert make_seed(rng) != make_seed(rng)
