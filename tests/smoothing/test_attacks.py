"""Attacks on smoothed classifiers: false claims are found, true ones are not, and no point leaves its ball."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

import pwlnet
from pwlnet.errors import InputError, ShapeError
from pwlnet.smoothing import PosteriorMean, SmoothedClassifier, attack_smoothed, denoise_inputs, repress_float_paths

from . import small_classifiers as small

QUICK = {"steps": 8, "draws": 32, "n": 1000}


@pytest.fixture
def two_neurons():
    return small.as_network(small.two_neurons(0.05), 1)


def test_the_nominal_certificate_of_two_neurons_is_broken(two_neurons):
    deployed = SmoothedClassifier(repress_float_paths(two_neurons, -0.1, reference="clean"), 1.0)
    x = np.array([[-0.05]])
    certificate = deployed.certify(x[0], n=1000)
    assert certificate.guarantee == "nominal" and certificate.label == 0 and certificate.radius > 2.0
    attack = attack_smoothed(deployed, x, [0], certificate.radius, restarts=4, **QUICK)
    assert attack.broken.all() and attack.p_high[0] < 0.5 and attack.k[0] < 500
    assert 0.0 < attack.distance[0] <= certificate.radius
    votes = deployed.votes(attack.images[0], 0, 2000, rng=9)  # other draws confirm it
    assert (votes == 0).mean() < 0.5
    inside = attack_smoothed(deployed, x, [0], certificate.sound_radius, restarts=4, **QUICK)
    assert not inside.broken.any() and certificate.sound_radius > 0.0


def test_the_stored_pattern_of_a_frozen_centre_holds(two_neurons):
    frozen = SmoothedClassifier(repress_float_paths(two_neurons, -0.1, reference="frozen"), 1.0)
    x = np.array([[-0.05]])
    certificate = frozen.certify(x[0], n=1000)
    assert certificate.guarantee == "conditional" and certificate.radius > 2.0
    attack = attack_smoothed(frozen, x, [0], certificate.radius, restarts=4, **QUICK)
    assert not attack.broken.any() and attack.k[0] == QUICK["n"]  # -0.1 relu leaves no score above 0.9


@pytest.mark.parametrize("engine", [0, 1])
def test_nothing_is_found_within_the_exact_radius_of_a_halfspace_and_all_beyond_it(engine):
    w, b = np.array([1.0, -2.0, 0.5]), 0.7
    module = small.halfspace(w, b).double()
    smoothed = SmoothedClassifier([small.as_network(module, 3), module][engine], 0.5)
    x = np.array([[0.3, 0.1, 0.0], [-2.0, 0.2, 0.4]])
    scores = x @ w + b
    labels, distances = (scores > 0).astype(int), np.abs(scores) / np.linalg.norm(w)
    attack = attack_smoothed(smoothed, x, labels, distances, **QUICK)
    assert not attack.broken.any() and (attack.distance <= distances).all()
    attack = attack_smoothed(smoothed, x, labels, distances + 0.3, **QUICK)
    assert attack.broken.all()
    np.testing.assert_allclose(attack.distance, distances + 0.3, atol=0.02)  # it follows the gradient to the sphere
    np.testing.assert_allclose(attack.k / attack.n, norm.cdf(-0.3 / 0.5), atol=0.06)


def test_no_point_leaves_its_ball_and_radius_zero_is_the_image():
    network = small.as_network(small.random_mlp(3), 4)
    x = np.random.default_rng(0).normal(size=(5, 4))
    radii = np.array([0.0, 2.0**-30, 0.3, 5.0, 1e6])
    smoothed = SmoothedClassifier(network, 0.5)
    labels = network.forward(x).argmax(axis=1)
    attack = attack_smoothed(smoothed, x, labels, radii, steps=5, draws=16, restarts=3, step_size=4.0, n=100)
    distances = np.linalg.norm(attack.images - x, axis=1)
    np.testing.assert_array_equal(attack.distance, distances)
    assert (distances <= radii * (1 + 1e-15)).all()
    np.testing.assert_array_equal(attack.images[0], x[0])
    assert not attack.broken[0] and attack.n == 100 and np.isfinite(attack.images).all()


def test_an_attack_is_a_function_of_its_seed_and_the_number_of_the_image():
    network = small.as_network(small.random_mlp(3), 4)
    smoothed = SmoothedClassifier(network, 0.5)
    x, labels = np.random.default_rng(1).normal(size=(2, 4)), [0, 0]
    both = attack_smoothed(smoothed, x, labels, 0.5, restarts=2, rng=3, image=10, **QUICK)
    second = attack_smoothed(smoothed, x[1:], labels[1:], 0.5, restarts=2, rng=3, image=11, **QUICK)
    np.testing.assert_array_equal(both.images[1], second.images[0])
    assert both.k[1] == second.k[0]
    other = attack_smoothed(smoothed, x, labels, 0.5, restarts=2, rng=4, image=10, **QUICK)
    assert not np.array_equal(both.images, other.images)


def test_every_reference_and_denoiser_can_be_attacked():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp3_noise25"))
    images, labels = pwlnet.datasets.digits_images()
    denoiser = PosteriorMean(pwlnet.datasets.digits_training_images()[0][:200], 0.25)
    frequency = np.full(network.n_neurons, 0.3)
    for base in (
        network,
        repress_float_paths(network, -0.5, reference="clean"),
        repress_float_paths(network, -0.5, reference="denoiser", denoiser=denoiser, passes=1),
        repress_float_paths(network, -0.5, reference="self_noise", tau=0.2),
        repress_float_paths(network, -0.5, reference="global", frequency=frequency),
        denoise_inputs(network, denoiser, average="inputs"),
        denoise_inputs(network, denoiser, average="probabilities"),
    ):
        smoothed = SmoothedClassifier(base, 0.25)
        attack = attack_smoothed(smoothed, images[:1], labels[:1], 3.0, steps=12, draws=16, n=300)
        assert attack.broken.all(), base  # far beyond any certificate
        near = attack_smoothed(smoothed, images[:1], labels[:1], 0.01, steps=2, draws=8, n=300)
        assert not near.broken.any()


def test_states_carry_no_gradient_but_scores_do():
    """The gradient of the loss is that of the scores with the factors of the float neurons held constant."""
    module = small.random_mlp(5).double()
    base = repress_float_paths(module, -0.4, reference="clean")
    from pwlnet.smoothing.noise import ATTACK, Query

    x = torch.tensor([[0.2, -0.1, 0.4, 0.3]], dtype=torch.float64, requires_grad=True)
    query = Query(x.detach().numpy()[0], 0.5, 0, ATTACK, 0, 0, 20)
    noise = torch.from_numpy(query.points() - query.center)
    (gradient,) = torch.autograd.grad(base.torch_scores(x + noise, query, x.detach()).sum(), x)
    step = 2.0**-24
    for i in range(4):
        moved = [x.detach().clone(), x.detach().clone()]
        moved[0][0, i] -= step
        moved[1][0, i] += step
        low, high = (float(base.torch_scores(y + noise, query, y).sum().detach()) for y in moved)
        assert (high - low) / (2 * step) == pytest.approx(float(gradient[0, i]), rel=1e-5, abs=1e-7)


def test_bad_arguments_are_refused(two_neurons):
    smoothed = SmoothedClassifier(two_neurons, 1.0)
    x = np.zeros((2, 1))
    for labels, radii, options, message in (
        ([0], 1.0, {}, "give one class for each"),
        ([0.0, 1.0], 1.0, {}, "give one class for each"),
        ([0, 1], [-1.0, 1.0], {}, "radii must be finite"),
        ([0, 1], np.nan, {}, "radii must be finite"),
        ([0, 9], 1.0, {}, "labels has class 9, but the classifier has 2"),
        ([0, 1], 1.0, {"steps": 0}, "steps"),
        ([0, 1], 1.0, {"step_size": 0.0}, "step_size"),
        ([0, 1], 1.0, {"n": 0}, "n "),
    ):
        with pytest.raises((InputError, ShapeError), match=message):
            attack_smoothed(smoothed, x, labels, radii, **{**QUICK, **options})
