"""Training: it learns, its bits depend on the seed only, a stopped one goes on as if nothing had been, and refusals."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import pwlnet
from pwlnet import learn, shipped
from pwlnet.errors import (
    ChecksumError,
    DigestMismatchError,
    FormatVersionError,
    InputError,
    NumericalError,
    PwlnetWarning,
    ShapeError,
    StoreError,
    UnsupportedOperationError,
)
from pwlnet.learn import architectures, checkpoints, objectives, training

IMAGES, LABELS = (array[:90] for array in shipped.digits_images())
METHODS = {
    "standard": {},
    "pgd": {"epsilon": 0.05, "steps": 2},
    "diffai": {"epsilon": 0.05, "ramp": (0.2, 0.8)},
    "gaussian": {"sigma": 0.1},
    "scrfp2": {"sigma": 0.1, "amplification": 0.5},
    "consistency": {"sigma": 0.1},
}


def small_model(seed=0, dropout=0.2):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(36, 10)
    return nn.Sequential(*layers)


def trained(method="standard", *, model=None, data=(IMAGES, LABELS), **options):
    options = {"epochs": 4, "seed": 3, "batch_size": 32, **METHODS[method], **options}
    return learn.train(model or small_model(), data, method, **options)


def same(one, other):
    """All weights, statistics and records are equal, bit for bit."""
    states = one.model.state_dict(), other.model.state_dict()
    histories = one.history, other.history
    return all(torch.equal(states[0][k], states[1][k]) for k in states[0] | states[1]) and all(
        np.array_equal(histories[0][k], histories[1][k]) for k in histories[0] | histories[1]
    )


class Stop(Exception):
    pass


def stopped_after(monkeypatch, n_batches, function):
    """Call a function, and stop it within a batch, as Ctrl-C would."""
    step, calls = training._Run._step, []

    def stopping(self, rows, share):
        calls.append(share)
        if len(calls) > n_batches:
            raise Stop
        return step(self, rows, share)

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_step", stopping)
        with pytest.raises(Stop):
            function()


@pytest.mark.parametrize("method", METHODS)
def test_training_learns_and_leaves_the_model_in_evaluation_mode(method):
    model = small_model(dropout=0.0)
    result = trained(method, model=model, epochs=25, learning_rate=0.01)
    assert result.model is model and not model.training
    assert learn.accuracy(model, IMAGES, LABELS) > 0.8
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert all(len(column) == 25 and column.dtype == np.float64 for column in result.history.values())


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_bits_and_others_do_not(method):
    torch.manual_seed(99)
    one = trained(method)
    torch.rand(5)  # what others drew does not matter
    assert same(one, trained(method))
    assert not same(one, trained(method, seed=4))


@pytest.mark.parametrize("method", METHODS)
def test_resumed_training_equals_uninterrupted_training_bit_for_bit(method, tmp_path, monkeypatch):
    path = tmp_path / "training.ckpt"
    whole = trained(method)
    for n_batches, weights in ((0, 0), (4, 0), (3, 7), (1, 7)):  # three batches an epoch; a checkpoint brings its weights
        model = small_model(weights)
        stopped_after(monkeypatch, n_batches, lambda model=model: trained(method, model=model, checkpoint=path, resume=True))
    assert checkpoints.load(path)["epoch"] == 2
    assert same(whole, trained(method, model=small_model(8), checkpoint=path, resume=True))
    assert [file.name for file in tmp_path.iterdir()] == ["training.ckpt"]


def test_noise_of_training_is_new_for_each_batch_and_not_clipped():
    """A user's training with noise drawn once, before the first epoch, learned that noise."""
    batches, model = [], small_model()
    model[0].register_forward_pre_hook(lambda layer, inputs: batches.append(inputs[0].detach().numpy()))
    images = np.zeros((64, 1, 8, 8))
    trained("gaussian", model=model, data=(images, LABELS[:64]), sigma=0.25)
    noise = np.concatenate([batch for batch in batches if len(batch) == 32])
    assert len(noise) == 4 * 64
    assert len(np.unique(noise.round(6))) > 0.99 * noise.size
    np.testing.assert_allclose(noise.std(), 0.25, rtol=0.02)
    assert abs(noise.mean()) < 0.01 and noise.min() < -0.5


def test_networks_with_batch_normalisation_have_one_bias_per_neuron_and_seeded_weights():
    a, b = (architectures.build_mlp(6, [5, 4], 3, seed=2, batch_norm=True) for _ in range(2))
    assert [type(layer).__name__ for layer in a[1:]] == [*("Linear", "BatchNorm1d", "ReLU") * 2, "Linear"]
    assert a[1].bias is a[4].bias is None and a[-1].bias is not None
    assert torch.equal(a[1].weight, b[1].weight)


def test_finished_training_is_read_back(tmp_path):
    path = tmp_path / "training.ckpt"
    whole = trained(checkpoint=path)
    assert same(whole, trained(model=small_model(8), checkpoint=path, resume=True))


def test_checkpoints_are_written_as_often_as_wanted_and_at_the_end(tmp_path, monkeypatch):
    epochs = []
    monkeypatch.setattr(checkpoints, "save", lambda path, state: epochs.append(state["epoch"]))
    trained(epochs=5, checkpoint=tmp_path / "training.ckpt", checkpoint_every=2)
    assert epochs == [2, 4, 5]


def test_a_checkpoint_that_can_not_be_written_leaves_the_one_before_it(tmp_path, monkeypatch):
    path = tmp_path / "training.ckpt"
    trained(checkpoint=path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="can't be written \\(No space left on device\\)"):
        checkpoints.save(path, {"epoch": 1})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_torchs_own_random_state_is_left_as_it_is():
    model = small_model()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    trained("gaussian", model=model)
    assert torch.equal(torch.get_rng_state(), state)


def test_box_and_weight_grow_linearly_between_the_ends_of_the_ramp():
    options = objectives.make_options("diffai", {"epsilon": 0.4, "kappa": 0.5, "ramp": (0.25, 0.75)})
    found = [objectives.ramped(options, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    np.testing.assert_allclose(found, [(0, 1), (0, 1), (0.2, 0.75), (0.4, 0.5), (0.4, 0.5)])
    sudden = objectives.make_options("diffai", {"epsilon": 0.4, "kappa": 0.0, "ramp": (0.5, 0.5)})
    assert [objectives.ramped(sudden, share) for share in (0.49, 0.5)] == [(0.0, 1.0), (0.4, 0.0)]


def test_the_record_tells_learning_rate_box_and_weight():
    history = trained("diffai", epochs=4, learning_rate=0.01, ramp=(0, 0.5), kappa=0.25).history
    np.testing.assert_allclose(history["learning_rate"], 0.005 * (1 + np.cos(np.pi * np.arange(4) / 4)))
    np.testing.assert_allclose(history["epsilon"], 0.05 * np.array([1 / 3, 5 / 6, 1, 1]))
    np.testing.assert_allclose(history["kappa"], 1 - 0.75 * np.array([1 / 3, 5 / 6, 1, 1]))
    assert np.all(trained(schedule="constant", learning_rate=0.01).history["learning_rate"] == 0.01)


def test_a_last_batch_of_one_image_joins_the_one_before_it():
    assert [len(rows) for rows in training._split(np.arange(65), 32)] == [32, 33]
    assert [len(rows) for rows in training._split(np.arange(66), 32)] == [32, 32, 2]
    assert [len(rows) for rows in training._split(np.arange(64), 32)] == [32, 32]
    assert [len(rows) for rows in training._split(np.arange(3), 32)] == [3]
    trained(data=(IMAGES[:65], LABELS[:65]), epochs=1)


def test_training_in_float64_stays_in_float64():
    assert trained(model=small_model().double(), epochs=1).model[0].weight.dtype == torch.float64


def test_a_progress_bar_is_shown_on_request_only(capsys):
    for progress in (False, True):
        trained(epochs=1, progress=progress)
        assert ("accuracy=" in capsys.readouterr().err) == progress


def test_trained_models_convert():
    result = trained("diffai")
    network = pwlnet.from_torch(result.model, (1, 8, 8))
    accuracies = [learn.accuracy(model, IMAGES, LABELS) for model in (network, result.model)]
    assert accuracies[0] == accuracies[1]


WRONG = [
    ({"method": "macer"}, InputError, "method is 'macer'; the choices are 'standard', 'pgd', 'diffai', 'gaussian', 'scrfp2'"),
    ({"method": "scrfp2", "sigma": 0.1}, InputError, "method='scrfp2' needs amplification; give it"),
    ({"method": "scrfp2", "sigma": 0.1, "amplification": 0}, InputError, "amplification is 0; a finite number above 0"),
    ({"method": "consistency", "sigma": 0.1, "n_copies": 1}, InputError, "n_copies is 1; an integer of at least 2"),
    ({"method": "consistency", "sigma": 0.1, "weight": -1}, InputError, "weight is -1; a finite number of at least 0"),
    ({"method": "gaussian", "sigma": 0.1, "n_copies": 2}, InputError, "n_copies is given, but method='gaussian' does not"),
    ({"sigma": 0.1}, InputError, "sigma is given, but method='standard' does not take it"),
    ({"method": "gaussian"}, InputError, "method='gaussian' needs sigma; give it"),
    ({"method": "pgd"}, InputError, "method='pgd' needs epsilon; give it"),
    ({"method": "pgd", "epsilon": 0.0}, InputError, "epsilon is 0.0; a finite number above 0 is needed"),
    ({"method": "diffai", "epsilon": 0.1, "norm": "l2"}, InputError, "norm is given, but method='diffai' does not take it"),
    ({"method": "diffai", "epsilon": 0.1, "kappa": 2}, InputError, "kappa is 2; a weight between 0 and 1 is needed"),
    ({"method": "diffai", "epsilon": 0.1, "ramp": 0.5}, InputError, "ramp is 0.5; give two fractions of the training"),
    ({"method": "diffai", "epsilon": 0.1, "ramp": (0.5, 0.1)}, InputError, "ramp is (0.5, 0.1); give two fractions"),
    ({"epochs": 0}, InputError, "epochs is 0; a positive integer is needed"),
    ({"seed": -1}, InputError, "seed is -1; an integer of at least 0 is needed"),
    ({"batch_size": True}, InputError, "batch_size is True; a positive integer"),
    ({"learning_rate": 0}, InputError, "learning_rate is 0; a finite number above 0 is needed"),
    ({"schedule": "step"}, InputError, "schedule is 'step'; the choices are 'constant', 'cosine'"),
    ({"resume": True}, InputError, "resume is True, but checkpoint is not given"),
    ({"clip": (0, 0.5)}, InputError, "rows outside clip"),
    ({"data": 3}, InputError, "data is not a pair; give (images, labels)"),
    ({"data": (IMAGES, LABELS[:3])}, ShapeError, "labels has shape (3,), but there are 90 images"),
    ({"data": (IMAGES, LABELS + 5)}, InputError, "but the model has classes 0 to 9"),
    ({"model": nn.Sequential(nn.Flatten())}, InputError, "model has no weights to train"),
    ({"model": "net"}, InputError, "model is a str, which can't be trained; give a torch.nn.Module"),
    ({"model": nn.Linear(8, 10)}, ShapeError, "the model gives shape (1, 1, 8, 10) for 1 images"),
]


@pytest.mark.parametrize(("change", "error", "sentence"), WRONG, ids=[sentence[:40] for _, _, sentence in WRONG])
def test_bad_input_is_answered_with_one_sentence(change, error, sentence):
    options = {"model": small_model(), "data": (IMAGES, LABELS), "epochs": 1, "seed": 0} | change
    with pytest.raises(error) as caught:
        learn.train(options.pop("model"), options.pop("data"), **options)
    assert sentence in str(caught.value)


def test_a_network_is_not_trained():
    network = pwlnet.from_torch(small_model(), (1, 8, 8))
    with pytest.raises(InputError, match="model is a Network, which can't be trained"):
        trained(model=network)


def test_layers_without_boxes_are_refused_before_training():
    with pytest.raises(UnsupportedOperationError, match="layer '3' is Sigmoid"):
        trained("diffai", model=nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 10), nn.Sigmoid()))


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_finite_is_refused_with_the_epoch(method):
    with pytest.raises(NumericalError, match=r"the loss is not finite in epoch .* of 4; lower learning_rate=1e\+30"):
        trained(method, learning_rate=1e30)


def test_an_existing_checkpoint_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "training.ckpt"
    trained(epochs=1, checkpoint=path)
    with pytest.raises(StoreError, match="exists; give resume=True to resume from it, or another path"):
        trained(epochs=1, checkpoint=path)


def test_a_checkpoint_in_no_folder_is_refused_before_training(tmp_path):
    with pytest.raises(StoreError, match="is not a folder; create it, or give another path"):
        trained(checkpoint=tmp_path / "nowhere" / "training.ckpt")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "seed (3 there, 4 here)"),
        ({"learning_rate": 0.01}, "learning_rate (0.001 there, 0.01 here)"),
        ({"epochs": 5}, "epochs (4 there, 5 here)"),
        ({"data": (IMAGES[:80], LABELS[:80])}, "data or clip;"),
        ({"clip": (0, 2)}, "data or clip;"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, "model;"),
        ({"method": "gaussian"}, "method (standard there, gaussian here)"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_by_their_name(change, named, tmp_path):
    path = tmp_path / "training.ckpt"
    trained(checkpoint=path)
    with pytest.raises(DigestMismatchError) as caught:
        trained(**{"method": "standard", "checkpoint": path, "resume": True, **change})
    assert named in str(caught.value)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "training.ckpt"
    trained(epochs=1, checkpoint=path)
    content = path.read_bytes()
    files = {
        ChecksumError: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        FormatVersionError: content.replace(b"pwlnet checkpoint 1", b"pwlnet checkpoint 2", 1),
        StoreError: b"weights",
    }
    for error, changed in files.items():
        path.write_bytes(changed)
        with pytest.raises(error):
            trained(epochs=1, checkpoint=path, resume=True)
    path.write_bytes(content[:-1])
    with pytest.raises(ChecksumError, match="does not match its checksum; it is damaged"):
        trained(epochs=1, checkpoint=path, resume=True)


def test_going_on_with_another_number_of_threads_warns_that_bits_may_differ(tmp_path, monkeypatch):
    path = tmp_path / "training.ckpt"
    trained(epochs=1, checkpoint=path)
    monkeypatch.setattr(training, "_environment", lambda: {"torch": str(torch.__version__), "number of threads": 1000})
    with (
        warnings.catch_warnings(),
        pytest.warns(PwlnetWarning, match="number of threads .*, but now it is 1000; the result is equivalent"),
    ):
        trained(epochs=1, checkpoint=path, resume=True)
