"""The same classifier by kernels and by torch, for every reference."""

import numpy as np
import pytest
import torch

import pwlnet
from pwlnet.errors import InputError, ShapeError, UnsupportedOperationError
from pwlnet.smoothing import PosteriorMean, SmoothedClassifier, denoise_inputs, float_frequency, repress_float_paths
from pwlnet.smoothing.noise import ESTIMATE, Query

from . import small_classifiers as small


def small_network(seed=0):
    module = torch.nn.Sequential(*small.random_mlp(seed, (4, 12, 12, 3)))
    return small.as_network(module, 4)


def all_classifiers(network):
    images = np.random.default_rng(1).random((20, 4))
    denoiser = PosteriorMean(images, 0.4, dtype="float64")
    more = {
        "clean": {},
        "frozen": {},
        "denoiser": {"denoiser": denoiser},
        "self_noise": {"tau": 0.5},
        "global": {"frequency": float_frequency(network, images, 0.4)},
        "margin": {"tau": 0.5},
    }
    for reference, options in more.items():
        for passes in (1, 2):
            yield repress_float_paths(network, -0.6, reference=reference, passes=passes, dtype="float64", **options)
    for average in ("none", "inputs", "probabilities"):
        yield denoise_inputs(pwlnet.smoothing.bases.NetworkBase(network, dtype="float64"), denoiser, average=average)


def test_scores_of_kernels_and_of_torch_are_equal_for_every_reference():
    network = small_network()
    query = Query(np.array([0.1, 0.9, 0.4, 0.2]), 0.4, 0, ESTIMATE, 0, 0, 12)
    plain = network.forward(query.points())
    for base in all_classifiers(network):
        scores, tensor = base.scores(query), base.torch_scores(torch.from_numpy(query.points()), query).detach().numpy()
        if getattr(base, "average", None) == "probabilities":
            scores = np.log(0.5 * scores)
        np.testing.assert_allclose(scores, tensor, rtol=1e-10, atol=1e-12)
        assert not np.allclose(scores, plain)


def test_global_factors_are_those_of_the_frequencies_and_margins_are_closed_forms_of_one_layer():
    from scipy.stats import norm

    module = small.layer([[1.0, 2.0], [-1.0, 0.5]], [0.1, -0.2])
    network = small.as_network(torch.nn.Sequential(module, torch.nn.ReLU(), small.layer([[1.0, 0.0], [0.0, 1.0]], [0, 0])), 2)
    query = Query(np.array([0.5, 0.1]), 0.3, 0, ESTIMATE, 0, 0, 9)
    z = query.points() @ module.weight.detach().numpy().T + module.bias.detach().numpy()
    hidden = np.maximum(z, 0.0)
    by_frequency = repress_float_paths(network, -0.5, reference="global", frequency=[0.2, 1.0], dtype="float64")
    np.testing.assert_allclose(by_frequency.scores(query), hidden * [0.9, 0.5], rtol=1e-12)
    distance = np.abs(z) / np.linalg.norm(module.weight.detach().numpy(), axis=1)
    by_margin = repress_float_paths(network, -0.5, reference="margin", tau=0.2, dtype="float64")
    np.testing.assert_allclose(by_margin.scores(query), hidden * (1.0 - 0.5 * norm.cdf(-distance / 0.2)), rtol=1e-9)


def test_the_frequency_of_floats_of_one_neuron_is_a_normal_probability():
    from scipy.stats import norm

    network = small.as_network(torch.nn.Sequential(small.layer([[1.0]], [-0.3]), torch.nn.ReLU()), 1)
    frequency = float_frequency(network, np.zeros((1, 1)), 0.5, n_draws=4000)
    assert frequency[0] == pytest.approx(norm.cdf(-0.6), abs=0.03)


def test_frequencies_that_do_not_fit_and_modules_without_neurons_are_refused():
    network = small_network()
    with pytest.raises(InputError, match="frequency"):
        repress_float_paths(network, -0.5, reference="global", frequency=[2.0])
    wrong = repress_float_paths(network, -0.5, reference="global", frequency=[0.5])
    with pytest.raises(ShapeError, match="frequency has 1 entries"):
        SmoothedClassifier(wrong, 1.0).predict(np.zeros(4))
    module = repress_float_paths(small.random_mlp(0), -0.5, reference="margin", tau=1.0)
    with pytest.raises(UnsupportedOperationError, match="needs the neurons of a network"):
        SmoothedClassifier(module, 1.0).predict(np.zeros(4))
