"""Certificates of clean centres by reachable patterns: never below those of one region, never beyond another class."""

import numpy as np
import pytest
from scipy.stats import norm

import pwlnet
from pwlnet.errors import InputError
from pwlnet.smoothing import SmoothedClassifier, certify_reachable, repress_float_paths
from pwlnet.smoothing.factor_bounds import FactorBounds
from pwlnet.smoothing.reachable import UNDECIDED, reachable_states
from tests.counts import few
from tests.drawn import draw

from . import small_classifiers as small

N = few(1000, 50, quick=300)


def clean(network, eta):
    return repress_float_paths(network, eta, reference="clean", dtype="float64")


@pytest.mark.parametrize("seed", range(few(60, 3, quick=10)))
def test_states_that_are_proved_are_those_of_all_points_of_the_ball(seed):
    _, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=1)
    if not network.n_neurons:
        return
    rng, bounds = np.random.default_rng(seed), FactorBounds(network)
    for radius in (0.0, 0.1, 1.0):
        states = reachable_states(bounds, points[0], radius)
        moves = rng.standard_normal((20, points.shape[1]))
        moves *= radius * rng.random((20, 1)) / np.linalg.norm(moves, axis=1, keepdims=True)
        everywhere = network.states(points[0] + moves)
        for layer in bounds.layers[:-1]:
            block = layer.block
            if block.windows is not None:
                assert (states[block.numbers] == UNDECIDED).all()
                continue
            proved = states[block.numbers]
            seen = everywhere[:, block.numbers]
            assert ((seen == block.states[proved]) | (proved == UNDECIDED)).all()


@pytest.mark.parametrize("eta", [-0.1, -1.0])
def test_the_counterexample_has_the_radius_of_its_region_and_no_more(eta):
    """The nominal radius is 2.7 or more; another class has the majority at the distance 0.51."""
    smoothed = SmoothedClassifier(clean(small.as_network(small.two_neurons(), 1), eta), 1.0)
    x = np.array([-0.01])
    found = certify_reachable(smoothed, x, n=N, radii=[0.005, 0.01 * (1 - 2.0**-20), 0.02, 0.2, 0.51])
    assert smoothed.certify(x, n=N).radius > 1.0
    assert 0.0099 < found.radius < 0.51
    assert found.method == "reachable" and found.guarantee == "sound" and found.sound_radius == found.radius
    assert abs(found.r_region - 0.01) < 1e-9


def test_the_result_is_at_least_the_certificate_of_one_region():
    network = small.as_network(small.random_mlp(2, (2, 6, 5, 3)), 2)
    smoothed = SmoothedClassifier(clean(network, -0.5), 0.5)
    points = np.random.default_rng(1).standard_normal((2, 2))
    nominal = smoothed.certify(points, n=N)
    found = certify_reachable(smoothed, points, n=N)
    assert (found.radius >= nominal.sound_radius * (1 - 2.0**-9)).all() and (found.radius <= nominal.radius + 1e-12).all()
    assert (found.radius > nominal.sound_radius).any()


def test_no_point_within_a_certified_radius_has_another_class():
    """By a fine sum over the noise, with the pattern of each point itself."""
    sigma, t, tried = 1.0, (np.arange(4000) + 0.5) / 4000, 0
    for seed in range(few(30, 1, quick=2)):
        network = small.as_network(small.random_mlp(seed, (1, 5, 4, 2)), 1)
        rule, x = clean(network, -1.0), np.array([0.7])
        found = certify_reachable(SmoothedClassifier(rule, sigma), x, n=N, rng=seed, radii=np.linspace(0.05, 2.0, 8))
        for there in np.linspace(-found.radius, found.radius, 5) if found.radius else ():
            tried += 1
            points = x + there + sigma * norm.ppf(t)[:, None]
            votes = rule.base.scores_at(points, (x + there)[None], eta=-1.0, passes=2).argmax(axis=1)
            assert (votes == found.label).mean() > 0.5
    assert tried or few(30, 1, quick=2) < 3


def test_a_linear_classifier_has_its_plain_certificate():
    smoothed = SmoothedClassifier(clean(small.as_network(small.halfspace([1.0], 0.0), 1), -0.5), 0.5)
    found, plain = certify_reachable(smoothed, np.array([0.4]), n=N), smoothed.certify(np.array([0.4]), n=N)
    assert found.k == plain.k and 0.9 * plain.radius < found.radius <= plain.radius


def test_other_rules_are_refused():
    network = small.as_network(small.two_neurons(), 1)
    for rule in (
        network,
        repress_float_paths(network, -0.1, reference="clean"),
        repress_float_paths(network, -0.1, reference="self_noise", tau=1.0, dtype="float64"),
        repress_float_paths(network, -0.1, reference="clean", dtype="float64", passes=1),
    ):
        with pytest.raises(InputError, match="reference='clean'"):
            certify_reachable(SmoothedClassifier(rule, 1.0), np.zeros(1))
    smoothed = SmoothedClassifier(clean(network, -0.1), 1.0)
    for radii in ([0.2, 0.1], [0.0, 0.1], [np.nan]):
        with pytest.raises(InputError, match="radii"):
            certify_reachable(smoothed, np.zeros(1), radii=radii)
    with pytest.raises(InputError, match="bounds"):
        certify_reachable(smoothed, np.zeros(1), bounds="lp")
    assert pwlnet.smoothing.certify_reachable is certify_reachable
