"""The check of ranges and normalisations: wrong ones are named, right ones pass."""

import numpy as np
import pytest
import torch

import pwlnet
from pwlnet.errors import InputError, ShapeError
from pwlnet.smoothing import SmoothedClassifier, check_range, denoise_inputs, refuse_wrong_range, repress_float_paths
from pwlnet.smoothing.torch_network import TorchNetwork

MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST
N = 200


@pytest.fixture(scope="module")
def network():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp15_noise0"))


@pytest.fixture(scope="module")
def digits():
    images, labels = pwlnet.datasets.digits_images()
    return images[:N], labels[:N]


class Normalise(torch.nn.Module):
    """(x - mean) / deviation, as the normalisation layers of published classifiers."""

    def __init__(self, mean, deviation):
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, x):
        return (x - self.mean) / self.deviation


def module_of(network):
    """The network as a torch module of images."""
    return TorchNetwork(network).double().eval()


def test_the_right_range_passes_and_the_accuracies_are_those_of_a_forward_pass(network, digits):
    images, labels = digits
    result = refuse_wrong_range(network, images, labels)
    assert result.problem == "" and result.accuracy == (network.forward(images).argmax(axis=1) == labels).mean() > 0.95
    inverted = (network.forward(1.0 - images).argmax(axis=1) == labels).mean()
    assert result.others["inverted (1 - x)"] == inverted < 0.5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda x: 255.0 * x, "divided by 255"),
        (lambda x: x / 255.0, "multiplied by 255"),
        (lambda x: 1.0 - x, r"inverted \(1 - x\)"),
        (lambda x: (x - MEAN) / DEVIATION, "normalised inversely, with those of MNIST"),
    ],
)
def test_images_in_a_wrong_range_are_refused_with_the_right_one(network, digits, change, named):
    images, labels = change(digits[0]), digits[1]
    with pytest.raises(InputError, match=f"if they are {named}; scale the images"):
        refuse_wrong_range(network, images, labels)
    assert check_range(network, images, labels).problem.startswith("the accuracy is ")


def test_a_classifier_for_minus_one_to_one_is_recognised(network, digits):
    model = torch.nn.Sequential(Normalise(-1.0, 2.0), module_of(network))  # takes [-1, 1]
    with pytest.raises(InputError, match=r"scaled from \[0, 1\] to \[-1, 1\]; .* give sigma in the units of the images"):
        refuse_wrong_range(torch.nn.Sequential(Flat(), model), digits[0], digits[1])


class Flat(torch.nn.Module):
    """A layer that does nothing, and hides the one behind it."""

    def forward(self, x):
        return x


def test_a_missing_normalisation_layer_is_named(network, digits):
    trained = torch.nn.Sequential(Flat(), Normalise(-MEAN / DEVIATION, 1.0 / DEVIATION), module_of(network))
    with pytest.raises(InputError, match="normalised with the mean and deviation of MNIST"):
        refuse_wrong_range(trained, *digits)  # takes normalised images
    with_layer = torch.nn.Sequential(Normalise(MEAN, DEVIATION), *trained)
    assert refuse_wrong_range(with_layer, *digits).accuracy > 0.95


def test_a_normalisation_layer_too_many_is_named(network, digits):
    model = torch.nn.Sequential(Normalise(0.5, 0.02), module_of(network))
    with pytest.raises(InputError, match="if they are given to the classifier without its first layer"):
        refuse_wrong_range(model, *digits)


def test_a_layer_with_weights_or_flatten_is_not_left_out(digits):
    for first in (torch.nn.Flatten(), torch.nn.Conv2d(1, 1, 3, padding=1)):
        model = torch.nn.Sequential(first, torch.nn.Flatten(), torch.nn.Linear(64, 10))
        assert not any("first layer" in name for name in check_range(model.double(), *digits).others)


def test_repressed_and_denoised_classifiers_are_checked_by_the_classifier_inside(network, digits):
    for base in (
        repress_float_paths(network, -0.5, reference="clean"),
        denoise_inputs(network, lambda x: 0.0 * x),
        SmoothedClassifier(network, 0.25).base,
    ):
        assert check_range(base, *digits).accuracy == check_range(network, *digits).accuracy


def test_images_need_one_label_each(network, digits):
    for images, labels in ((digits[0], digits[1][:-1]), (digits[0][:0], digits[1][:0])):
        with pytest.raises(ShapeError, match="give one label for each"):
            check_range(network, images, labels)


def test_all_images_may_be_wrong_without_a_better_range(digits):
    constant = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).double()
    with torch.no_grad():
        constant[1].weight.zero_()
        constant[1].bias.copy_(torch.arange(10.0))
    result = refuse_wrong_range(constant, digits[0], np.zeros(N, np.int64))
    assert result.accuracy == 0.0 and set(result.others.values()) == {0.0}
