"""Denoisers: the posterior mean against closed forms and exact arithmetic; rows do not depend on each other."""

import functools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

import pwlnet
from pwlnet.errors import InputError, ShapeError
from pwlnet.smoothing import SmoothedClassifier, denoise_inputs, repress_float_paths
from pwlnet.smoothing.denoisers import as_denoiser
from pwlnet.smoothing.noise import Query

from . import small_classifiers as small

PosteriorMean = functools.partial(pwlnet.smoothing.PosteriorMean, dtype="float64")


def exact_mean(images, sigma, point):
    """The posterior mean, with exponents in exact arithmetic: a list of floats."""
    images = [[Fraction(v) for v in x] for x in images]
    exponents = [
        -sum((Fraction(z) - v) ** 2 for z, v in zip(point, x, strict=True)) / (2 * Fraction(sigma) ** 2) for x in images
    ]
    weights = [Fraction(float(np.exp(float(e - max(exponents))))) for e in exponents]
    return [float(sum(w * x[i] for w, x in zip(weights, images, strict=True)) / sum(weights)) for i in range(len(point))]


def test_two_training_points_give_a_logistic_function():
    a, b, sigma = np.array([0.2, -1.0, 0.5]), np.array([1.0, 0.3, 0.0]), 0.4
    points = np.random.default_rng(0).normal(size=(50, 3))
    share = expit((np.square(points - a).sum(axis=1) - np.square(points - b).sum(axis=1)) / (2 * sigma**2))
    expected = a + share[:, None] * (b - a)
    np.testing.assert_allclose(PosteriorMean(np.stack([a, b]), sigma)(points), expected, rtol=0, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.25, 4.0]), st.integers(1, 6))
def test_it_agrees_with_exact_arithmetic(seed, sigma, n):
    rng = np.random.default_rng(seed)
    images, points = rng.normal(size=(n, 4)), rng.normal(size=(3, 4))
    images[n // 2] = images[0]  # a duplicate has twice the weight
    denoised = PosteriorMean(images, sigma)(points)
    expected = [exact_mean(images.tolist(), sigma, point.tolist()) for point in points]
    np.testing.assert_allclose(denoised, expected, rtol=1e-9, atol=1e-9)


def test_one_point_is_returned_whatever_is_denoised_and_distant_ones_do_not_overflow():
    image = np.random.default_rng(1).random((1, 1, 2, 2))
    np.testing.assert_array_equal(PosteriorMean(image, 0.1)(np.full((3, 1, 2, 2), 9.0)), np.repeat(image, 3, axis=0))
    far = PosteriorMean(np.array([[0.0], [1.0]]), 2.0**-20)(np.array([[1e6], [-1e6], [0.4]]))
    np.testing.assert_array_equal(far, [[1.0], [0.0], [0.0]])


def test_small_noise_returns_the_nearest_image_and_large_noise_the_mean():
    images = np.random.default_rng(2).random((20, 5))
    np.testing.assert_allclose(
        PosteriorMean(images, 1e6)(images[:3]), np.repeat(images.mean(axis=0)[None], 3, axis=0), atol=1e-9
    )
    np.testing.assert_array_equal(PosteriorMean(images, 1e-3)(images + 1e-6), images)


def test_the_bits_of_a_row_do_not_depend_on_the_batch():
    images = pwlnet.datasets.digits_training_images()[0][:400]
    points = images[:300] + 0.25 * np.random.default_rng(3).standard_normal(images[:300].shape)
    denoiser = PosteriorMean(images, 0.25)
    together = denoiser(points)
    assert together.shape == points.shape
    for size in (1, 7, 128, 129):
        np.testing.assert_array_equal(np.concatenate([denoiser(points[k : k + size]) for k in range(0, 300, size)]), together)
    np.testing.assert_array_equal(denoiser(points[::-1])[::-1], together)


def test_the_torch_version_is_equal_and_differentiable():
    images = np.random.default_rng(4).random((30, 2, 3))
    denoiser, points = PosteriorMean(images, 0.5), np.random.default_rng(5).normal(size=(4, 2, 3))
    tensor = torch.from_numpy(points).requires_grad_(True)
    np.testing.assert_allclose(denoiser.torch(tensor).detach().numpy(), denoiser(points), rtol=1e-12)
    assert torch.autograd.gradcheck(denoiser.torch, tensor)
    assert denoiser.torch(tensor.float()).dtype == torch.float32


def denoisers():
    """The map x -> x / 2 - 1 as a function, a module and a network, and a posterior mean."""
    module = small.layer((0.5 * np.eye(4)).tolist(), [-1.0] * 4).double()
    yield from ((lambda x: 0.5 * x - 1.0), module, small.as_network(module, 4))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_function_a_module_and_a_network_denoise_alike(number):
    denoiser = as_denoiser(list(denoisers())[number])
    points = np.random.default_rng(6).normal(size=(2500, 4))
    tolerance = {"rtol": 0, "atol": 1e-6 if number == 2 else 1e-14}  # networks in float32
    np.testing.assert_allclose(denoiser(points), 0.5 * points - 1.0, **tolerance)
    tensor = torch.from_numpy(points).requires_grad_(True)
    denoised = denoiser.torch(tensor)
    np.testing.assert_allclose(denoised.detach().numpy(), 0.5 * points - 1.0, rtol=0, atol=1e-14)
    assert denoised.requires_grad == (number > 0)  # functions are constants for attacks
    assert as_denoiser(denoiser) is denoiser


def test_a_function_cannot_change_the_points():
    points = np.ones((3, 2))

    def spoil(x):
        x[:] = 7.0
        return x

    as_denoiser(spoil)(points)
    np.testing.assert_array_equal(points, 1.0)


def query_at(x, n):
    return Query(x, 0.5, 0, 1, 0, 0, n)


def test_denoised_classifiers_evaluate_the_denoised_point_or_an_average():
    module = small.random_mlp(1).double()
    network, (function, *_) = small.as_network(module, 4), denoisers()
    query = query_at(np.array([0.1, 0.2, -0.3, 0.0]), 50)
    z = query.points()
    d = function(z)
    softmax = lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)  # noqa: E731
    expected = {
        "none": network.forward(d),
        "inputs": network.forward(0.5 * (z + d)),
        "probabilities": softmax(network.forward(z)) + softmax(network.forward(d)),
    }
    for base in (network, module):
        for average, scores in expected.items():
            denoised = denoise_inputs(base, function, average=average)
            assert denoised.guarantee == "sound"
            np.testing.assert_allclose(denoised.scores(query), scores, rtol=1e-4, atol=1e-5)
            of_torch = denoised.torch_scores(torch.from_numpy(z), query).detach().numpy()
            if average == "probabilities":
                of_torch = 2.0 * softmax(of_torch)
            np.testing.assert_allclose(of_torch, scores, rtol=1e-6, atol=1e-7)


def test_an_identity_before_the_classifier_and_as_reference_changes_nothing():
    network = small.as_network(small.random_mlp(2), 4)
    x = np.full(4, 0.1)
    votes = SmoothedClassifier(network, 1.0).votes(x, 0, 400)
    assert len(np.unique(votes)) > 1
    for base in (
        denoise_inputs(network, lambda z: z),
        denoise_inputs(network, lambda z: z, average="inputs"),
        denoise_inputs(network, lambda z: z, average="probabilities"),
        repress_float_paths(network, -0.9, reference="denoiser", denoiser=lambda z: z),  # no neuron floats
    ):
        np.testing.assert_array_equal(SmoothedClassifier(base, 1.0).votes(x, 0, 400), votes)


def test_bad_denoisers_and_images_are_refused():
    network = small.as_network(small.random_mlp(2), 4)
    with pytest.raises(InputError, match="denoiser is a int; give a PosteriorMean"):
        as_denoiser(3)
    with pytest.raises(InputError, match="average is 'both'"):
        denoise_inputs(network, lambda z: z, average="both")
    with pytest.raises(ShapeError, match="denoiser gives shape"):
        as_denoiser(lambda z: z[:, :2])(np.ones((3, 4)))
    for images in (np.ones(3), np.ones((0, 3))):
        with pytest.raises(ShapeError, match="give one row per image"):
            PosteriorMean(images, 1.0)
    with pytest.raises(InputError, match="images"):
        PosteriorMean(np.array([[np.nan]]), 1.0)
    for sigma in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="sigma"):
            PosteriorMean(np.ones((2, 3)), sigma)
    with pytest.raises(ShapeError, match="points have 2 entries, the images of the denoiser 3"):
        PosteriorMean(np.ones((2, 3)), 1.0)(np.ones((5, 2)))


def test_float32_is_close_to_float64():
    images, _ = pwlnet.datasets.digits_training_images()
    points = images[:50] + 0.25 * np.random.default_rng(0).standard_normal(images[:50].shape)
    np.testing.assert_allclose(
        pwlnet.smoothing.PosteriorMean(images, 0.25)(points), PosteriorMean(images, 0.25)(points), atol=2e-5
    )
