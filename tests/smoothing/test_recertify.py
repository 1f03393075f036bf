"""Bounds for a changed classifier: coverage on the same noise, closed forms, order of the variants."""

import numpy as np
import pytest
import scipy.stats

from pwlnet.binomial import clopper_pearson
from pwlnet.errors import InputError
from pwlnet.smoothing.recertify import recertify, recertify_counts
from tests.counts import few

N, M, ALPHA = 200, 80, 0.1
# Probabilities of (old votes c, new votes c): both, lost, gained, neither but differing, neither and equal.
JOINT = {
    "losses only": [0.85, 0.1, 0.0, 0.0, 0.05],
    "rare losses": [0.92, 0.01, 0.0, 0.01, 0.06],
    "both ways": [0.7, 0.1, 0.1, 0.02, 0.08],
}


def drawn_votes(joint, n_repeats, rng, reused):
    """Hits of the old classifier in N draws; losses, gains and disagreements in M draws, the first of the N or fresh ones."""
    kinds = rng.choice(5, size=(n_repeats, N), p=joint)
    compared = kinds[:, :M] if reused else rng.choice(5, size=(n_repeats, M), p=joint)
    hits, losses, gains = (kinds <= 1).sum(axis=1), (compared == 1).sum(axis=1), (compared == 2).sum(axis=1)
    return hits, losses, gains, losses + gains + (compared == 3).sum(axis=1)


def misses(variant, joint, reused, seed=5):
    """How often a variant's bound is above the probability of the class under the new classifier, and among how many."""
    n_repeats = few(20_000)
    hits, losses, gains, different = drawn_votes(joint, n_repeats, np.random.default_rng(seed), reused)
    bounds = {
        "disagreements": lambda: recertify_counts(hits, N, different, M, ALPHA, share=0.5),
        "losses": lambda: recertify_counts(hits, N, losses, M, ALPHA, share=0.5),
        "losses and gains": lambda: recertify_counts(hits, N, losses, M, ALPHA, share=0.5, gains=gains),
        "wrong": lambda: clopper_pearson(hits, N, ALPHA, side="lower")[0] - losses / M,  # the loss without a bound
    }
    return int((bounds[variant]() > joint[0] + joint[2]).sum()), n_repeats


@pytest.mark.parametrize("variant", ["disagreements", "losses", "losses and gains"])
@pytest.mark.parametrize("joint", JOINT.values(), ids=JOINT)
@pytest.mark.parametrize("reused", [True, False], ids=["the same noise", "fresh noise"])
def test_a_bound_of_the_new_classifier_fails_as_rarely_as_promised(variant, joint, reused):
    failed, n_repeats = misses(variant, joint, reused)
    assert failed <= scipy.stats.binom.isf(1e-6, n_repeats, ALPHA)


def test_the_check_finds_a_loss_that_is_estimated_instead_of_bounded():
    failed, n_repeats = misses("wrong", JOINT["losses only"], reused=False)
    assert failed > scipy.stats.binom.isf(1e-6, n_repeats, ALPHA)


def test_no_disagreement_has_a_closed_form():
    assert recertify(0.9, 0, 1000, 0.001) == pytest.approx(0.9 - (1.0 - 0.001 ** (1 / 1000)), abs=1e-15)


def test_counting_losses_is_never_worse_than_counting_disagreements():
    losses = np.arange(50)
    assert (recertify(0.95, losses, 500, 0.01) >= recertify(0.95, losses + 3, 500, 0.01)).all()


def test_gains_pay_where_they_are_frequent_and_cost_level_where_there_are_none():
    assert recertify(0.7, 100, 1000, 0.001, gains=100) > recertify(0.7, 100, 1000, 0.001)
    assert recertify(0.7, 100, 1000, 0.001, gains=0) < recertify(0.7, 100, 1000, 0.001)


def test_counts_and_bounds_agree():
    p_low, _ = clopper_pearson(950, 1000, 0.0009, side="lower")
    assert recertify_counts(950, 1000, 3, 200, 0.001) == pytest.approx(float(recertify(p_low, 3, 200, 0.0001)), rel=1e-14)


def test_a_bound_stays_a_probability():
    assert recertify([0.0, 0.5, 1.0], [100, 100, 100], 100, 0.01).tolist() == [0.0, 0.0, 0.0]
    assert recertify(0.99, 0, 10, 0.5, gains=10) == 1.0  # votes that contradict the bound


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"p_low": 1.5}, "p_low"),
        ({"p_low": np.nan}, "p_low"),
        ({"disagreements": 11}, "counts"),
        ({"disagreements": 6, "gains": 5}, "counts"),
        ({"alpha": 0.0}, "alpha"),
        ({"m": 0}, "m is 0|n is 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(arguments, match):
    with pytest.raises(InputError, match=match):
        recertify(**{"p_low": 0.9, "disagreements": 1, "m": 10, "alpha": 0.1, **arguments})


def test_a_share_of_everything_is_refused():
    with pytest.raises(InputError, match="share"):
        recertify_counts(9, 10, 0, 10, 0.1, share=1.0)
