"""Losses of training with noise: amplified gradients and consistency against closed forms and direct formulas."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pwlnet.errors import InputError, UnsupportedOperationError
from pwlnet.learn import architectures, objectives
from pwlnet.learn.amplification import amplified_scores


def two_neurons():
    """s(x) = 3 relu(2 x) + 5 relu(x + 2)."""
    module = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    values = {"0.weight": [[2.0], [1.0]], "0.bias": [0.0, 2.0], "2.weight": [[3.0, 5.0]]}
    module.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return module


def test_gradients_of_two_neurons_are_amplified_at_the_float_one():
    """From -0.5 to 0.5 the first neuron switches on, the second one is on at both."""
    module, x = two_neurons(), torch.tensor([[0.5]], requires_grad=True)
    score = amplified_scores(module, x, torch.tensor([[-0.5]]), 0.25)
    score.sum().backward()
    assert score.item() == 3 * 1.0 + 5 * 2.5
    assert x.grad.item() == 3 * 2 * 1.25 + 5
    assert module[0].weight.grad.tolist() == [[3 * 0.5 * 1.25], [5 * 0.5]]
    assert module[0].bias.grad.tolist() == [3 * 1.25, 5.0]
    assert module[2].weight.grad.tolist() == [[1.0, 2.5]]


def test_gradients_are_amplified_once_for_each_float_neuron_of_a_path():
    module = nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(1, 1, bias=False), nn.ReLU())])
    for layer in module[::2]:
        nn.init.ones_(layer.weight)
    x = torch.tensor([[0.5]], requires_grad=True)
    amplified_scores(module, x, torch.tensor([[-0.5]]), 0.5).sum().backward()
    assert x.grad.item() == 1.5**3


def dropout_model():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.1), nn.MaxPool2d(2, 1), nn.Dropout(0.5), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(100, 10), nn.ReLU6())


def test_values_and_statistics_are_those_of_one_plain_pass_and_gradients_differ():
    one, other = dropout_model(), dropout_model()
    x, clean = (torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    torch.manual_seed(5)
    amplified = amplified_scores(one, x, clean, 0.5)
    torch.manual_seed(5)
    plain = other(x)
    assert torch.equal(amplified, plain)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))
    gradients = [
        torch.autograd.grad(scores.sum(), module[0].weight)[0] for scores, module in ((amplified, one), (plain, other))
    ]
    assert not torch.allclose(*gradients)


def test_equal_points_have_plain_gradients_also_with_dropout():
    one, other = dropout_model(), dropout_model()
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    gradients = []
    for module, evaluate in ((one, lambda: amplified_scores(one, x, x.clone(), 4.0)), (other, lambda: other(x))):
        torch.manual_seed(5)
        gradients.append(torch.autograd.grad(evaluate().sum(), list(module.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_amplified_gradients_refuse_other_activations_by_name():
    module, x = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)), torch.ones(2, 4)
    with pytest.raises(UnsupportedOperationError, match="the module calls gelu, which is not piecewise linear"):
        amplified_scores(module, x, x, 0.1)


def consistency_by_definition(scores, labels, options):
    """Jeong and Shin, equations 8 to 10, image by image in float64."""
    probabilities = torch.softmax(scores.double(), dim=2)
    losses = []
    for image, label in enumerate(labels):
        p = probabilities[:, image]
        mean = p.mean(dim=0)
        cross_entropy = -p[:, label].log().mean()
        divergence = torch.stack([(mean * (mean / each).log()).sum() for each in p]).mean()
        losses.append(cross_entropy + options.weight * divergence - options.entropy_weight * (mean * mean.log()).sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("n_copies", [2, 3])
def test_the_consistency_loss_is_that_of_its_definition(n_copies):
    options = objectives.make_options("consistency", {"sigma": 0.5, "n_copies": n_copies, "weight": 7.0, "entropy_weight": 0.3})
    model = architectures.build_mlp(5, [8], 4, seed=0).double()
    x, y = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)).double(), torch.tensor([0, 1, 2, 3, 0, 1])
    loss, logits = objectives.METHODS["consistency"].loss(
        model, objectives.Batch(x, y, None, 0.0, np.random.default_rng(3)), options
    )
    rng = np.random.default_rng(3)
    copies = [x + 0.5 * torch.from_numpy(rng.standard_normal((6, 5))) for _ in range(n_copies)]
    scores = torch.stack([model(each) for each in copies])
    torch.testing.assert_close(loss, consistency_by_definition(scores, y, options), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits.exp(), functional.softmax(scores, dim=2).mean(dim=0), rtol=1e-12, atol=1e-12)


def test_without_weights_consistency_training_is_gaussian_training_of_copies():
    x, y = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    options = objectives.make_options("consistency", {"sigma": 0.5, "weight": 0.0, "entropy_weight": 0.0})
    model = architectures.build_mlp(5, [8], 3, seed=0)
    loss = objectives.METHODS["consistency"].loss(model, objectives.Batch(x, y, None, 0.0, np.random.default_rng(3)), options)[
        0
    ]
    gaussian = objectives.make_options("gaussian", {"sigma": 0.5})
    rng = np.random.default_rng(3)
    each = [objectives.METHODS["gaussian"].loss(model, objectives.Batch(x, y, None, 0.0, rng), gaussian)[0] for _ in range(2)]
    torch.testing.assert_close(loss, sum(each) / 2)


def test_small_convolutional_networks_have_the_layers_of_convsmall_and_denoisers_keep_the_shape():
    model = architectures.build_conv_small((1, 28, 28), 10, seed=0)
    x = torch.rand(2, 1, 28, 28)
    sizes = [layer(x).shape[1:].numel() for layer in (model[:2], model[:4], model[:7])]
    assert sizes == [16 * 13 * 13, 32 * 5 * 5, 100]
    denoiser = architectures.build_denoiser((1, 28, 28), seed=0)
    assert denoiser(x).shape == x.shape
    assert torch.equal(copy.deepcopy(denoiser)(x), x - denoiser.body(x))
    for build, shape in ((architectures.build_conv_small, (1, 9, 20)), (architectures.build_denoiser, (1, 7, 8))):
        with pytest.raises(InputError, match="input_shape is"):
            build(shape, **({"n_classes": 2} if build is architectures.build_conv_small else {}), seed=0)


def test_convolutional_networks_with_batch_normalisation_have_no_biases_before_it():
    plain, normalised = (architectures.build_conv((1, 8, 8), 10, seed=1, batch_norm=flag) for flag in (False, True))
    assert [type(layer).__name__ for layer in normalised[:3]] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert normalised[0].bias is None and normalised[-1].bias is not None
    assert [type(layer).__name__ for layer in plain] == [
        *("Conv2d", "ReLU", "Conv2d", "ReLU", "Flatten", "Linear", "ReLU", "Linear")
    ]
