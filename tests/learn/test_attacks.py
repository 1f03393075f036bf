"""Attacks: on linear models the best point is known; on others, what every result must satisfy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pwlnet
from pwlnet import learn
from pwlnet.errors import InputError, NumericalError, ShapeError


def linear_model(rng, n_inputs=6):
    """Two classes, float64, all weights far from zero; and the difference of the two rows."""
    model = nn.Linear(n_inputs, 2, dtype=torch.float64)
    weight = rng.choice([-1.0, 1.0], (2, n_inputs)) * rng.uniform(0.5, 1.0, (2, n_inputs))
    weight[1] = -weight[0] * 0.5
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weight))
    return model, weight[1] - weight[0]


def bent_model(seed, dtype=torch.float32):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)
    return nn.Sequential(*layers).to(dtype)


def some_images(seed, n=5):
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, 6, 6)), rng.integers(0, 3, n)


def distance(a, b, norm):
    return np.linalg.norm((a - b).reshape(len(a), -1), ord={"linf": np.inf, "l2": 2}[norm], axis=1)


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_the_best_point_of_a_linear_model_in_linf_is_a_corner(attack):
    rng = np.random.default_rng(0)
    model, difference = linear_model(rng)
    images, options = rng.random((7, 6)), {"epsilon": 0.25, "clip": None}
    options |= {"rng": rng, "restarts": 2} if attack == "pgd" else {}
    found = getattr(learn, attack)(model, images, np.zeros(7, int), **options)
    np.testing.assert_allclose(found.images, images + 0.25 * np.sign(difference), rtol=0, atol=1e-15)


def test_the_best_point_of_a_linear_model_in_a_box_is_the_clipped_corner():
    rng = np.random.default_rng(1)
    model, difference = linear_model(rng)
    images = rng.random((7, 6))
    found = learn.pgd(model, images, np.zeros(7, int), epsilon=0.5, rng=rng)
    np.testing.assert_allclose(found.images, np.clip(images + 0.5 * np.sign(difference), 0, 1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_the_best_point_of_a_linear_model_in_l2_lies_along_the_difference_of_the_weights(attack):
    rng = np.random.default_rng(2)
    model, difference = linear_model(rng)
    images, options = rng.random((7, 6)), {"epsilon": 0.7, "norm": "l2", "clip": None}
    options |= {"random_start": False} if attack == "pgd" else {}
    found = getattr(learn, attack)(model, images, np.zeros(7, int), **options)
    wanted = images + 0.7 * difference / np.linalg.norm(difference)
    np.testing.assert_allclose(found.images, wanted, rtol=0, atol=1e-14)


def test_from_random_starts_pgd_in_l2_comes_close_to_the_best_point_of_a_linear_model():
    rng = np.random.default_rng(3)
    model, difference = linear_model(rng)
    images = rng.random((7, 6))
    found = learn.pgd(model, images, np.zeros(7, int), epsilon=0.7, norm="l2", clip=None, rng=rng, step_size=0.35)
    gain = (found.images - images) @ difference
    assert np.all(gain <= 0.7 * np.linalg.norm(difference) * (1 + 1e-12))
    assert np.all(gain >= 0.7 * np.linalg.norm(difference) * 0.999)


def test_a_targeted_attack_moves_the_other_way():
    rng = np.random.default_rng(4)
    model = linear_model(rng)[0]
    images = rng.random((7, 6))
    options = {"epsilon": 0.25, "clip": None}
    away = learn.fgsm(model, images, np.zeros(7, int), **options)
    towards = learn.fgsm(model, images, np.ones(7, int), targeted=True, **options)
    np.testing.assert_array_equal(away.images, towards.images)
    np.testing.assert_array_equal(towards.success, towards.predictions == 1)
    assert np.all(towards.loss <= learn.fgsm(model, images, np.ones(7, int), **options).loss)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["linf", "l2"]),
    st.floats(0, 0.6),
    st.sampled_from(["cross_entropy", "margin"]),
    st.booleans(),
)
def test_what_pgd_returns_is_in_the_ball_and_in_the_box_and_is_what_it_says(seed, norm, epsilon, loss, targeted):
    model, (images, labels) = bent_model(seed), some_images(seed)
    options = {"epsilon": epsilon, "norm": norm, "steps": 4, "loss": loss, "targeted": targeted, "restarts": 2}
    found = learn.pgd(model, images, labels, rng=np.random.default_rng(seed), **options)
    assert np.all(distance(found.images, images, norm) <= epsilon * (1 + 1e-12) + 1e-15)
    assert found.images.min() >= 0 and found.images.max() <= 1
    with torch.no_grad():
        predictions = model.eval()(torch.from_numpy(found.images).float()).argmax(dim=1).numpy()
    np.testing.assert_array_equal(found.predictions, predictions)
    np.testing.assert_array_equal(found.success, (predictions == labels) == targeted)


def test_more_restarts_and_the_image_itself_never_make_pgd_weaker():
    model, (images, labels) = bent_model(5), some_images(5, 40)
    runs = [learn.pgd(model, images, labels, epsilon=0.1, rng=np.random.default_rng(0), steps=3, restarts=n) for n in (1, 2, 5)]
    clean = learn.pgd(model, images, labels, epsilon=0.0, rng=np.random.default_rng(0), steps=1)
    for weaker, stronger in zip([clean, *runs], runs):
        assert not np.any(weaker.success & ~stronger.success)
        same = weaker.success == stronger.success
        assert np.all(stronger.loss[same] >= weaker.loss[same])


def test_a_point_that_fools_the_model_goes_before_one_with_a_higher_loss():
    """With scores (0, a, b), class 0 can lose to one class at a lower loss than it has where it ties with two."""

    class Peaks(nn.Module):
        def forward(self, x):
            x = x[:, :1]
            fooled = torch.where(x < 0.4, 0.01, -9.0)  # loss about log 2
            return torch.cat([0 * x, fooled, *[torch.where(x > 0.6, -0.01, -9.0)] * 4], dim=1)  # loss about log 5

    start = np.array([[0.5, 0.0]])
    best = learn.pgd(Peaks(), start, [0], epsilon=0.5, rng=np.random.default_rng(0), steps=1, restarts=20)
    assert best.success.all() and best.images[0, 0] < 0.4


def test_images_are_attacked_alike_in_batches_of_any_size():
    model, (images, labels) = bent_model(6, torch.float64), some_images(6, 9)
    runs = [
        learn.pgd(model, images, labels, epsilon=0.1, rng=np.random.default_rng(0), steps=3, batch_size=size)
        for size in (9, 4, 1)
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(run.images, runs[0].images, rtol=0, atol=1e-12)


def test_a_network_is_attacked_like_the_module_that_it_was_made_from():
    model, (images, labels) = bent_model(7, torch.float64), some_images(7)
    network = pwlnet.from_torch(model, (1, 6, 6))
    for attack in (learn.fgsm, lambda *a, **k: learn.pgd(*a, rng=np.random.default_rng(1), steps=5, **k)):
        ours, theirs = (attack(m, images, labels, epsilon=0.1, norm="l2") for m in (network, model))
        np.testing.assert_allclose(ours.images, theirs.images, rtol=0, atol=1e-10)
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-9)


def test_the_model_keeps_its_modes_its_gradients_and_its_statistics():
    model, (images, labels) = bent_model(8), some_images(8)
    model[1].eval()
    modes = [part.training for part in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learn.pgd(model, images, labels, epsilon=0.1, rng=np.random.default_rng(0), steps=2)
    assert [part.training for part in model.modules()] == modes
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_where_the_gradient_is_zero_nothing_moves():
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    for norm in ("linf", "l2"):
        found = learn.fgsm(model, np.full((1, 3), 0.5), [0], epsilon=0.1, norm=norm)
        np.testing.assert_array_equal(found.images, 0.5)


def test_l2_steps_have_full_length_where_the_gradient_is_tiny():
    model = nn.Linear(2, 2, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1e-200, 0.0], [0.0, 1e-200]], dtype=torch.float64))
    found = learn.fgsm(model, np.full((1, 2), 0.5), [0], epsilon=0.1, norm="l2")
    np.testing.assert_allclose(distance(found.images, np.full((1, 2), 0.5), "l2"), 0.1)


def test_tensors_are_taken_too():
    model, (images, labels) = bent_model(9), some_images(9)
    arrays = learn.fgsm(model, images, labels, epsilon=0.1)
    tensors = learn.fgsm(model, torch.from_numpy(images), torch.from_numpy(labels), epsilon=0.1)
    np.testing.assert_array_equal(arrays.images, tensors.images)


def test_a_progress_bar_is_shown_on_request_only(capsys):
    model, (images, labels) = bent_model(10), some_images(10)
    for progress in (False, True):
        learn.pgd(model, images, labels, epsilon=0.1, random_start=False, steps=1, progress=progress)
        assert bool(capsys.readouterr().err) == progress


WRONG = [
    ({"epsilon": -0.1}, InputError, "epsilon is -0.1; a finite number of at least 0 is needed"),
    ({"epsilon": "big"}, InputError, "epsilon is 'big'; a number is needed"),
    ({"norm": "l1"}, InputError, "norm is 'l1'; the choices are 'linf', 'l2'"),
    ({"loss": "hinge"}, InputError, "loss is 'hinge'; the choices are 'cross_entropy', 'margin'"),
    ({"steps": 0}, InputError, "steps is 0; a positive integer is needed"),
    ({"restarts": 1.5}, InputError, "restarts is 1.5; a positive integer"),
    ({"rng": None}, InputError, "rng is None; give a numpy.random.Generator for the random starts"),
    ({"rng": 7}, InputError, "rng is 7; give a numpy.random.Generator"),
    ({"random_start": False, "restarts": 2}, InputError, "restarts is 2, but without random starts all runs are the same"),
    ({"clip": 1.0}, InputError, "clip is 1.0; give (lower, upper)"),
    ({"clip": (0, 0.5)}, InputError, "rows outside clip, the first is row 0 with values from"),
    ({"images": np.zeros(3)}, ShapeError, "images has shape (3,); give one row per image"),
    ({"images": np.full((5, 1, 6, 6), np.nan)}, InputError, "images has 5 rows with NaN or infinite entries"),
    ({"images": np.full((5, 1, 6, 6), "a")}, InputError, "images has dtype <U1; real numbers are needed"),
    ({"images": [[1.0], [1.0, 2.0]]}, InputError, "images has rows of different lengths"),
    ({"labels": [0, 1]}, ShapeError, "labels has shape (2,), but there are 5 images; give one class per image"),
    ({"labels": np.zeros(5)}, InputError, "labels has dtype float64; class indices are needed"),
    ({"labels": [0, 1, 2, 3, 0]}, InputError, "labels has class 3, but the model has classes 0 to 2"),
    ({"model": "net"}, InputError, "model is a str; give a torch.nn.Module or a pwlnet.Network"),
    ({"model": nn.Identity()}, ShapeError, "the model gives shape (5, 1, 6, 6) for 5 images, but (B, classes) is needed"),
]


@pytest.mark.parametrize(("change", "error", "sentence"), WRONG, ids=[sentence[:40] for _, _, sentence in WRONG])
def test_bad_input_is_answered_with_one_sentence(change, error, sentence):
    images, labels = some_images(0)
    options = {"model": bent_model(0), "images": images, "labels": labels, "epsilon": 0.1, "rng": np.random.default_rng(0)}
    options |= change
    with pytest.raises(error) as caught:
        learn.pgd(options.pop("model"), options.pop("images"), options.pop("labels"), **options)
    assert sentence in str(caught.value)


def test_outputs_that_are_not_finite_are_refused():
    model, (images, labels) = bent_model(11), some_images(11)
    with torch.no_grad():
        model[-1].bias[0] = torch.nan
    with pytest.raises(NumericalError, match="an output of the model is not finite"):
        learn.fgsm(model, images, labels, epsilon=0.1)
