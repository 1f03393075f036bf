"""Voted factors: probabilities in closed form, certificates against classes of the deployed rule by quadrature."""

import numpy as np
import pytest
from scipy.stats import norm

import pwlnet
from pwlnet.errors import InputError, UnsupportedOperationError
from pwlnet.smoothing import SmoothedClassifier, repress_float_paths
from pwlnet.smoothing.noise import ESTIMATE, Query
from pwlnet.smoothing.voted import check_layers, shift_probability
from pwlnet.warmup import toy_network
from tests.counts import few

from . import small_classifiers as small

COUNTEREXAMPLE = -0.01  # at a distance of 0.51 from it, plain and repressed classes differ


def folded(seed):
    """A random network of one input, two layers of neurons and two classes."""
    return small.as_network(small.random_mlp(seed, (1, 5, 4, 2)), 1)


def exact_factors(rule, x, sigma):
    """Factors at x for exact probabilities, by a fine sum over the noise."""
    t = (np.arange(4000) + 0.5) / 4000
    active = (rule.network.states(x + sigma * norm.ppf(t)[:, None]) == 1).mean(axis=0)
    g = active < 0.5 if rule.weighting == "hard" else 1.0 - active
    return np.where(rule.mask, 1.0 + rule.eta * g, 1.0), active


def exact_share(rule, x, sigma, label):
    """Probability of a class at x for the deployed rule with exact probabilities."""
    t = (np.arange(4000) + 0.5) / 4000
    outputs = rule.base.scores_at(x + sigma * norm.ppf(t)[:, None], factors=exact_factors(rule, x, sigma)[0])
    return (outputs.argmax(axis=1) == label).mean()


def test_factors_come_from_the_probability_that_a_neuron_is_active():
    """One neuron, relu(2 x - 1): active with probability Phi((2 x - 1) / (2 sigma))."""
    network = small.as_network(small.slab([2.0], 1.0), 1)
    rule = repress_float_paths(network, -0.5, reference="voted", weighting="linear", m=40_000)
    for x in (-0.2, 0.1, 0.6):
        p = norm.cdf(np.array([x, -x]) / 0.5)
        factors = rule.factors(Query(np.array([x]), 0.5, 0, ESTIMATE, 0, 0, 1))
        np.testing.assert_allclose(factors, 1.0 - 0.5 * (1.0 - p), rtol=0, atol=0.01)
        hard = repress_float_paths(network, -0.5, reference="voted", m=4000)
        factors = hard.factors(Query(np.array([x]), 0.5, 0, ESTIMATE, 0, 0, 1))
        np.testing.assert_array_equal(factors, np.where(p < 0.5, 0.5, 1.0))


@pytest.mark.parametrize("weighting", ["hard", "linear"])
def test_boxes_have_the_factors_of_all_points_within_the_radius(weighting):
    network = small.as_network(small.slab([2.0], 1.0), 1)
    rule = repress_float_paths(network, -0.5, reference="voted", weighting=weighting, m=2000, gamma=0.0)
    grid = np.linspace(0.01, 0.8, 20)
    x = 0.13
    lower, upper = rule.boxes(Query(np.array([x]), 0.5, 1, ESTIMATE, 0, 0, 1), 2000, 0.001, grid)
    assert (np.diff(lower, axis=0) <= 0).all() and (np.diff(upper, axis=0) >= 0).all()
    for g, radius in enumerate(grid):
        for there in np.linspace(x - radius, x + radius, 9):
            p = norm.cdf(np.array([there, -there]) / 0.5)
            factors = 1.0 - 0.5 * ((p < 0.5) if weighting == "hard" else 1.0 - p)
            assert (lower[g] <= factors).all() and (factors <= upper[g]).all()
    assert (upper[0] - lower[0] < 0.1).all()  # and are no wider than the estimates need


def test_the_box_of_an_edge_has_both_values():
    rule = repress_float_paths(small.as_network(small.slab([1.0], 1.0), 1), -0.5, reference="voted")
    for p in (0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1)):
        lower, upper = rule.factor_box(np.full(2, min(p, 0.5)), np.full(2, max(p, 0.5)))
        assert (lower == 0.5).all() and (upper == 1.0).all()
    assert [x.tolist() for x in rule.factor_box(np.full(2, 0.51), np.full(2, 0.6))] == [[1.0, 1.0]] * 2
    assert [x.tolist() for x in rule.factor_box(np.full(2, 0.1), np.full(2, 0.49))] == [[0.5, 0.5]] * 2


def test_moved_probabilities_are_on_the_safe_side():
    for p in (0.0, 0.01, 0.5, 0.9, 1.0):
        for shift in (-9.0, -0.5, 0.0, 0.5, 9.0):
            exact = norm.cdf(norm.ppf(p) + shift)
            low, high = (float(shift_probability(np.array(p), shift, upper=upper)) for upper in (False, True))
            assert low <= exact <= high and high - low < 1e-10


@pytest.mark.parametrize("options", [{}, {"layers": "all"}, {"weighting": "linear", "layers": "all"}, {"reference_sigma": 0.5}])
def test_no_point_within_a_certified_radius_has_another_class(options):
    sigma, certified = 1.0, 0
    for seed in range(few(30, 1, quick=2)):
        rule = repress_float_paths(folded(seed), -0.75, reference="voted", m=1000, gamma=0.0, **options)
        points = np.array([[-1.0], [1.5]])
        certificates = SmoothedClassifier(rule, sigma).certify(points, n=500, rng=seed)
        assert (certificates.method == "voted").all() and certificates.guarantee == "sound"
        for x, found in zip(points, certificates, strict=True):
            for there in np.linspace(-found.radius, found.radius, 5) if found.radius else ():
                certified += 1
                sigma1 = rule.sigma1(sigma)
                if sigma1 == sigma:
                    assert exact_share(rule, x + there, sigma, found.label) > 0.5
    assert certified or few(30, 1, quick=2) < 3


def test_the_counterexample_gets_no_radius_that_reaches_another_class():
    """A nominal certificate claims 3.2 there."""
    network = small.as_network(small.two_neurons(), 1)
    for options in ({}, {"weighting": "linear"}, {"denoiser": lambda points: 0.5 * points}):
        smoothed = SmoothedClassifier(repress_float_paths(network, -0.1, reference="voted", m=1000, **options), 1.0)
        assert smoothed.certify(np.array([COUNTEREXAMPLE]), n=1000).radius < 0.51


def test_far_from_all_thresholds_the_certificate_is_that_of_the_scaled_network():
    """relu(x + 8) against relu(1 - x) - 8: the first neuron is active and the second is not, with certainty."""
    network = small.as_network(small.slab([1.0], 8.0), 1)
    rule = repress_float_paths(network, -0.5, reference="voted", m=4000)
    voted = SmoothedClassifier(rule, 0.5).certify(np.array([6.0]), n=2000)
    assert voted.label == 1 and 1.3 < voted.radius < 1.36


def test_votes_depend_neither_on_batches_nor_on_the_image_before():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp15_noise25"))
    images = pwlnet.datasets.digits_images()[0][4:6]
    smoothed = SmoothedClassifier(repress_float_paths(network, -0.25, reference="voted", layers="all", m=500), 0.5)
    votes = smoothed.votes(images[0], 0, 100, rng=3)
    smoothed.votes(images[1], 0, 10, rng=3)
    assert len(np.unique(votes)) > 1
    np.testing.assert_array_equal(votes, smoothed.votes(images[0], 0, 100, rng=3, batch_size=7))


def test_eta_zero_is_the_network_itself():
    network = folded(0)
    voted = SmoothedClassifier(repress_float_paths(network, 0.0, reference="voted"), 1.0)
    plain = SmoothedClassifier(network, 1.0, dtype="float64")
    np.testing.assert_array_equal(voted.votes(np.ones(1), 0, 200), plain.votes(np.ones(1), 0, 200))


@pytest.mark.parametrize("make", [toy_network, lambda: small.as_network(small.halfspace([1.0, -0.5], 0.2), 2)])
def test_with_factors_of_one_the_votes_are_those_of_the_network_with_all_ops_or_without_neurons(make):
    network = make()
    rule = repress_float_paths(network, 0.0, reference="voted", layers="all", m=100)
    x = 0.1 * np.ones(network.input_shape)
    found = SmoothedClassifier(rule, 0.2).certify(x, n=200)
    votes = SmoothedClassifier(network, 0.2, dtype="float64").votes(x, 0, 200)
    assert found.k == (votes == found.candidate).sum() and found.candidate == np.bincount(votes).argmax()


def test_windows_have_no_factor_and_layers_are_chosen_by_place_or_name():
    network = toy_network()
    names = [layer[0] for layer in network.neuron_layers]
    assert check_layers(network, "all") == list(range(len(names))) and check_layers(network, "last") == [len(names) - 1]
    assert check_layers(network, [names[0], -1]) == [0, len(names) - 1] and check_layers(network, names[1]) == [1]
    rule = repress_float_paths(network, -0.5, reference="voted", layers="all", weighting="linear", m=50)
    factors = rule.factors(Query(np.zeros(network.input_shape), 1.0, 0, ESTIMATE, 0, 0, 1))
    assert (factors[~rule.mask] == 1.0).all() and not rule.mask.all() and (factors[rule.mask] < 1.0).any()


def test_gradients_are_those_of_the_scores():
    torch = pytest.importorskip("torch")
    network = folded(1)
    rule = repress_float_paths(network, -0.5, reference="voted", layers="all", m=200)
    query = Query(np.array([0.3]), 1.0, 0, ESTIMATE, 0, 0, 20)
    scores = rule.torch_scores(torch.from_numpy(query.points()), query)
    np.testing.assert_allclose(scores.detach().numpy(), rule.scores(query), rtol=1e-12, atol=1e-12)


def test_the_deployed_rule_can_be_attacked():
    """At -0.01, the clean centre claims a radius that an attack breaks; the voted one claims nothing beyond its own class."""
    network, x = small.as_network(small.two_neurons(), 1), np.array([[-0.01], [-1.5]])
    options = {"steps": 5, "draws": 64, "restarts": 2, "n": 1000}
    clean = SmoothedClassifier(repress_float_paths(network, -0.1, reference="clean"), 1.0)
    assert pwlnet.smoothing.attack_smoothed(clean, x, [0, 0], clean.certify(x, n=500).radius, **options).broken[0]
    voted = SmoothedClassifier(repress_float_paths(network, -0.1, reference="voted", m=1000), 1.0)
    found = voted.certify(x, n=500)
    result = pwlnet.smoothing.attack_smoothed(voted, x, [0, 0], found.radius, **options)
    assert found.radius[1] > 1.0 and not result.broken.any()
    assert pwlnet.smoothing.attack_smoothed(voted, x, [0, 0], 2.5, **options).broken.all()  # it would find what there is


def test_a_log_continues_with_the_same_certificates(tmp_path):
    smoothed = SmoothedClassifier(repress_float_paths(folded(0), -0.5, reference="voted", m=200), 1.0)
    x, path = np.array([[-1.0], [1.0]]), tmp_path / "log.tsv"
    log = pwlnet.smoothing.certify_to_log(smoothed, x, np.zeros(2, np.int64), path, n=200)
    np.testing.assert_allclose(log.radius, smoothed.certify(x, n=200).radius)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "float32"}, InputError, "float64"),
        ({"weighting": "soft"}, InputError, "weighting"),
        ({"layers": "middle"}, InputError, "layers has 'middle'"),
        ({"layers": [7]}, InputError, "layers has 7"),
        ({"gamma": 1.0}, InputError, "gamma"),
        ({"tau": 1.0}, InputError, "does not have"),
        ({"guarantee": "nominal"}, InputError, "guarantee"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        repress_float_paths(folded(0), -0.5, reference="voted", **options)


def test_a_module_and_other_methods_are_refused():
    with pytest.raises(UnsupportedOperationError, match="from_torch"):
        repress_float_paths(small.random_mlp(0).double(), -0.5, reference="voted")
    smoothed = SmoothedClassifier(repress_float_paths(folded(0), -0.5, reference="voted"), 1.0)
    with pytest.raises(InputError, match="method of its own"):
        smoothed.certify(np.zeros(1), method="two_stage")
