"""Boxes: closed forms on affine models, exact rational corners, sampled points, and refusals."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pwlnet
from pwlnet import learn, shipped
from pwlnet.errors import InputError, NumericalError, ShapeError, UnsupportedOperationError
from pwlnet.learn import relaxations


def random_model(rng):
    """A Sequential of layers of all kinds, with statistics and weights of very different sizes."""
    torch.manual_seed(int(rng.integers(2**31)))
    kinds = [
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.BatchNorm2d(3), nn.LeakyReLU(0.1)),
        nn.Sequential(nn.Conv2d(2, 3, 2, dilation=2), nn.ReLU(), nn.MaxPool2d(2, stride=1)),
        nn.Sequential(nn.AvgPool2d(2, padding=1), nn.Conv2d(2, 3, 1, bias=False), nn.ReLU6()),
        nn.Sequential(nn.Conv2d(2, 4, 3, groups=2, padding="same"), nn.Hardtanh(), nn.AdaptiveAvgPool2d(3), nn.Conv2d(4, 3, 1)),
    ]
    front = kinds[rng.integers(len(kinds))]
    n = front.eval()(torch.zeros(1, 2, 6, 6)).numel()
    norm = nn.BatchNorm1d(n)
    back = (
        nn.Flatten(),
        nn.Dropout(),
        norm,
        nn.Linear(n, 5),
        nn.ReLU(),
        nn.Identity(),
        nn.Linear(5, 3, bias=bool(rng.integers(2))),
    )
    model = nn.Sequential(front, *back)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.01, 2)
                layer.weight.normal_()
        for tensor in model.parameters():
            tensor.mul_(10.0 ** float(rng.integers(-2, 3)))
    return model.eval()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 2))
def test_bounds_contain_the_outputs_of_points_in_the_box(seed, width):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    lower = rng.standard_normal((1, 2, 6, 6))
    upper = lower + width * rng.random(lower.shape)
    low, high = learn.bound_outputs_ibp(model, lower, upper)
    share = np.concatenate([rng.integers(0, 2, (50, 2, 6, 6)), rng.random((50, 2, 6, 6))])
    with torch.no_grad():
        outputs = model.double()(torch.from_numpy(lower + share * (upper - lower))).numpy()
    slack = 1e-12 * np.abs(outputs).max()  # of the evaluation and of the points, not of the bounds
    assert np.all(outputs >= low - slack) and np.all(outputs <= high + slack)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.5))
def test_margins_are_below_those_of_points_in_the_ball(seed, epsilon):
    rng = np.random.default_rng(seed)
    model, images = random_model(rng), rng.random((2, 2, 6, 6))
    labels = rng.integers(0, 3, 2)
    bounds = learn.bound_margins_ibp(model, images, labels, epsilon=epsilon)
    model = model.double()
    for image, label, bound in zip(images, labels, bounds):
        points = np.clip(image + epsilon * rng.choice([-1, 0, 1], (50, 2, 6, 6)), 0, 1)
        with torch.no_grad():
            scores = model(torch.from_numpy(points)).numpy()
        margins = scores[:, [label]] - np.delete(scores, label, axis=1)
        assert margins.min() >= bound - 1e-12 * np.abs(scores).max()


def exact_bounds(layers, lower, upper):
    """The interval bounds of fully connected layers with ReLU between them, in rational arithmetic."""
    for k, (weight, bias) in enumerate(layers):
        if k:
            lower, upper = ([max(value, Fraction(0)) for value in ends] for ends in (lower, upper))
        ends = []
        for row, b in zip(weight, bias):
            terms = [(Fraction(w) * lo, Fraction(w) * hi) for w, lo, hi in zip(row.tolist(), lower, upper)]
            ends.append([Fraction(b) + sum(choose(term) for term in terms) for choose in (min, max)])
        lower, upper = ([pair[side] for pair in ends] for side in (0, 1))
    return lower, upper


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.booleans())
def test_bounds_contain_the_exact_interval_bounds_without_any_tolerance(seed, depth, degenerate):
    """Sizes from 1e-8 to 1e8 and boxes that are points: rounding decides, and must go outward."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 12, depth + 1)
    modules, layers = [], []
    for n_in, n_out in itertools.pairwise(widths):
        weight = rng.standard_normal((n_out, n_in)) * 10.0 ** rng.uniform(-8, 8, (n_out, n_in))
        bias = rng.standard_normal(n_out) * 10.0 ** rng.uniform(-8, 8, n_out)
        layer = nn.Linear(int(n_in), int(n_out), dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        layers.append((weight, bias.tolist()))
        modules += [layer, nn.ReLU()]
    lower = rng.standard_normal((1, widths[0])) * 10.0 ** rng.uniform(-8, 8, (1, widths[0]))
    upper = lower if degenerate else lower + np.abs(lower) * rng.random(lower.shape)
    found = learn.bound_outputs_ibp(nn.Sequential(*modules[:-1]), lower, upper)
    exact = exact_bounds(layers, [Fraction(v) for v in lower[0]], [Fraction(v) for v in upper[0]])
    assert all(Fraction(low) <= wanted for low, wanted in zip(found[0][0], exact[0]))
    assert all(Fraction(high) >= wanted for high, wanted in zip(found[1][0], exact[1]))


def test_bounds_of_one_affine_layer_are_the_closed_form():
    rng = np.random.default_rng(0)
    layer = nn.Linear(7, 4)
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    lower = rng.standard_normal((5, 7))
    upper = lower + rng.random((5, 7))
    low, high = learn.bound_outputs_ibp(nn.Sequential(layer), lower, upper)
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    np.testing.assert_allclose(low, lower @ positive.T + upper @ negative.T + bias, rtol=0, atol=1e-13)
    np.testing.assert_allclose(high, upper @ positive.T + lower @ negative.T + bias, rtol=0, atol=1e-13)


def test_margins_of_an_affine_classifier_are_those_of_the_worst_corner():
    rng = np.random.default_rng(1)
    layer = nn.Linear(7, 4)
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    images, labels = rng.random((6, 7)), rng.integers(0, 4, 6)
    found = learn.bound_margins_ibp(nn.Sequential(nn.Identity(), layer), images, labels, epsilon=0.125, clip=None)
    for image, label, margin in zip(images, labels, found):
        others = np.delete(np.arange(4), label)
        difference = weight[label] - weight[others]
        worst = difference @ image + bias[label] - bias[others] - 0.125 * np.abs(difference).sum(axis=1)
        assert margin == pytest.approx(worst.min(), abs=1e-13)


def test_a_ball_is_cut_to_the_clip_box():
    layer = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [0.0]]))
    image, label = np.array([[0.25]]), [0]
    found = [
        learn.bound_margins_ibp(nn.Sequential(layer), image, label, epsilon=1.0, clip=c)[0] for c in (None, (0, 1), (0.2, 1))
    ]
    np.testing.assert_allclose(found, [-0.75, 0.0, 0.2], rtol=0, atol=1e-12)


def test_merging_the_last_layer_never_loosens_the_margin():
    rng = np.random.default_rng(2)
    for _ in range(10):
        model, images = random_model(rng), rng.random((4, 2, 6, 6))
        labels = rng.integers(0, 3, 4)
        merged = learn.bound_margins_ibp(model, images, labels, epsilon=0.05)
        apart = learn.bound_margins_ibp(nn.Sequential(model, nn.Identity()), images, labels, epsilon=0.05)
        assert np.all(merged >= apart - 1e-9 * np.abs(apart))


def test_a_layer_that_is_used_twice_is_taken_twice():
    """torch's ``named_children`` names a layer once, however often a Sequential uses it."""
    layer, relu = nn.Linear(3, 3), nn.ReLU()
    with torch.no_grad():
        layer.weight.copy_(2 * torch.eye(3))
        layer.bias.zero_()
    found = learn.bound_outputs_ibp(nn.Sequential(layer, relu, layer, relu), np.zeros((1, 3)), np.ones((1, 3)))
    np.testing.assert_allclose(found[1], 4.0)


def test_training_boxes_are_the_certified_ones_but_for_rounding():
    rng = np.random.default_rng(3)
    for _ in range(10):
        model, images = random_model(rng).double(), rng.random((2, 2, 6, 6))
        with torch.no_grad():
            box = relaxations.ball(torch.from_numpy(images), 0.1, None)
            nearest = relaxations.propagate(relaxations.list_layers(model), box)
        certified = learn.bound_outputs_ibp(model, images - 0.1, images + 0.1)
        for inner, outer in zip(nearest, certified):
            np.testing.assert_allclose(inner.numpy(), outer, rtol=1e-9, atol=1e-9)


def test_the_model_is_left_as_it_is():
    model = random_model(np.random.default_rng(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learn.bound_outputs_ibp(model, np.zeros((1, 2, 6, 6)), np.ones((1, 2, 6, 6)))
    assert model.training and model[-1].weight.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_certified_accuracy_is_below_that_under_attack_and_that_below_the_clean_one():
    images, labels = shipped.digits_images()
    images, labels = images[:60], labels[:60]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    learn.train(model, (images, labels), "diffai", epsilon=0.05, epochs=30, seed=0, learning_rate=0.01)
    clean = learn.accuracy(model, images, labels)
    attacked = learn.adversarial_accuracy(model, images, labels, epsilon=0.05, rng=np.random.default_rng(0), steps=20)
    certified = learn.certified_accuracy_ibp(model, images, labels, epsilon=0.05)
    assert 0.3 < certified <= attacked <= clean
    assert learn.certified_accuracy_ibp(model, images, labels, epsilon=0) == clean


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda *_: None)
    return layer


REFUSED = [
    (
        nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()),
        "layer '1' is Sigmoid, for which there are no bounds; supported: Linear",
    ),
    (nn.Sequential(nn.Sequential(nn.Identity(), nn.GELU())), "layer '0.1' is GELU"),
    (nn.Sequential(Doubling(4, 4)), "layer '0' is Doubling"),
    (nn.Linear(4, 4), "model is a Linear, but bounds need a torch.nn.Sequential; write it as one"),
    (nn.Sequential(nn.LeakyReLU(-0.5)), "layer '0' is LeakyReLU and has a negative slope for negative inputs"),
    (nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)), "layer '0' is BatchNorm1d and has no running statistics"),
    (nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")), "layer '0' is Conv1d and pads with 'circular'"),
    (nn.Sequential(hooked()), "layer '0' is Linear and has hooks"),
]


@pytest.mark.parametrize(("model", "sentence"), REFUSED, ids=[sentence[:40] for _, sentence in REFUSED])
def test_layers_that_training_boxes_can_not_pass_are_refused_by_name(model, sentence):
    with pytest.raises(UnsupportedOperationError) as caught:
        relaxations.list_layers(model)
    assert sentence in str(caught.value)


def test_bounds_are_those_of_the_converted_network_whatever_the_module():
    """A residual module, which training boxes do not pass."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(x + torch.relu(self.first(x)))

    model, rng = Residual(), np.random.default_rng(0)
    lower = rng.random((3, 4))
    found = learn.bound_outputs_ibp(model, lower, lower + 0.5)
    network = pwlnet.from_torch(model, (4,))
    expected = pwlnet.bound_preactivations(network, pwlnet.Box(lower, lower + 0.5), method="ibp")
    assert (found[0] == expected.output_lower).all()
    assert (found[1] == expected.output_upper).all()
    with pytest.raises(UnsupportedOperationError, match="Sigmoid"):
        learn.bound_outputs_ibp(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1)), lower, lower)


def test_corners_that_are_no_boxes_are_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(InputError, match="lower is above upper in row 1; swap the corners"):
        learn.bound_outputs_ibp(model, [[0.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(ShapeError, match="lower has shape \\(1, 2\\) and upper \\(2, 2\\)"):
        learn.bound_outputs_ibp(model, np.zeros((1, 2)), np.ones((2, 2)))
    with pytest.raises(InputError, match="model has no layers"):
        relaxations.list_layers(nn.Sequential())


def test_bounds_that_overflow_are_refused():
    model = nn.Sequential(nn.Linear(2, 2, dtype=torch.float64))
    with torch.no_grad():
        model[0].weight.fill_(1e307)
    with pytest.raises(NumericalError, match="a bound is not finite"):
        learn.bound_outputs_ibp(model, np.full((1, 2), 10.0), np.full((1, 2), 20.0))
