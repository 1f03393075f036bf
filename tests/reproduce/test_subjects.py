"""Networks and images of experiments: which there are, what is missing, and that pixels go into a network as it wants them."""

import numpy as np
import pytest

from pwlnet import datasets
from pwlnet.errors import InputError
from pwlnet.reproduce import subjects

pytest.importorskip("onnx")

ACCURACY = {  # on the first 100 test images, as the data card of the public networks has it
    "mnist_convsmall_point": 1.00,
    "mnist_convsmall_pgd": 1.00,
    "mnist_convsmall_diffai": 0.99,
    "cifar10_convsmall_point": 0.59,
    "cifar10_convsmall_pgd": 0.70,
    "cifar10_convsmall_diffai": 0.53,
    "mnist_convmed": 0.98,
    "mnist_convbig": 0.99,
    "cifar10_convmed": 0.65,
    "cifar10_convbig": 0.55,
}


def test_the_groups_hold_every_subject_once():
    assert (*subjects.DIGITS, *subjects.DEPTHS, *subjects.CONVSMALL, *subjects.CONVLARGE, *subjects.SLICES) == tuple(
        subjects.SUBJECTS
    )
    assert set(ACCURACY) == {*subjects.CONVSMALL, *subjects.CONVLARGE}


@pytest.mark.parametrize("key", subjects.DIGITS)
def test_digits_are_shipped(key):
    subject = subjects.load(key)
    assert (subject.key, f"digits_conv_{subject.training}", len(subject)) == (key, key, len(subject.labels))
    np.testing.assert_array_equal(subject.to_input(subject.images), subject.images)
    right = subject.network.forward(subject.images).argmax(axis=1) == subject.labels
    assert right.mean() > 0.9
    assert [subject.is_right(i) for i in range(20)] == right[:20].tolist()


@pytest.mark.parametrize("key", subjects.DEPTHS)
def test_digits_networks_of_several_depths_are_shipped(key):
    subject = subjects.load(key)
    depth, training = subject.title.removeprefix("digits MLP of depth ").replace(" without normalisation", "").split(", ")
    assert subject.network.n_neurons == 48 * int(depth) and key in ("digits_mlp", f"digits_mlp{depth}_{key.split('_')[-1]}")
    assert training.startswith({"pgd": "PGD", "diffai": "DiffAI"}.get(subject.training, subject.training))
    right = subject.network.forward(subject.images).argmax(axis=1) == subject.labels
    assert right.mean() > 0.93


@pytest.mark.parametrize("key", ACCURACY)
def test_public_networks_have_the_accuracy_that_their_data_card_says(key):
    missing = subjects.choose([key])[1]
    if missing:
        pytest.skip(missing[key])
    subject = subjects.load(key)
    assert (subject.images.min(), subject.images.max(), subject.images.shape[1]) == (0.0, 1.0, subject.network.n_inputs)
    inputs = subject.to_input(subject.images[:100])
    assert (subject.network.forward(inputs).argmax(axis=1) == subject.labels[:100]).mean() == pytest.approx(ACCURACY[key])
    assert (np.abs(inputs).max() > 1.0) == (key in subjects.CONVLARGE)


def test_what_is_not_there_is_told_with_its_file_and_variable(monkeypatch, tmp_path):
    keys = ("digits_conv_pgd", "mnist_convsmall_point", "cifar10_convbig")
    file = "mnist/eran_convsmall/convSmallRELU__Point.onnx"
    monkeypatch.delenv(datasets.FOLDER_VARIABLE, raising=False)
    chosen, missing = subjects.choose(keys)
    assert (chosen, list(missing)) == (["digits_conv_pgd"], list(keys[1:]))
    assert (
        missing[keys[1]] == f"MNIST convSmall, standard training needs {file}; set PWLNET_DATA_DIR to a folder that contains it"
    )
    monkeypatch.setenv(datasets.FOLDER_VARIABLE, str(tmp_path))
    sentence = "MNIST convSmall, standard training needs {}, which is not in PWLNET_DATA_DIR={}; copy it there"
    for name in (file, "images/mnist/t10k-images-idx3-ubyte.gz", "images/mnist/t10k-labels-idx1-ubyte.gz"):
        assert subjects.choose(keys)[1][keys[1]] == sentence.format(name, tmp_path)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert subjects.choose(keys)[0] == list(keys[:2])


def test_names_choose_all_subjects_that_start_so():
    keys = subjects.DIGITS + subjects.CONVSMALL
    assert subjects.choose(keys, ["cifar10", "digits_conv_pgd"]) == (["digits_conv_pgd", *subjects.CONVSMALL[3:]], {})
    assert subjects.choose(keys, "mnist_convsmall_point") == (["mnist_convsmall_point"], {})
    with pytest.raises(InputError, match="the experiment has no network 'cif'; give some of digits_conv_standard, "):
        subjects.choose(keys, ["cif"])
    with pytest.raises(InputError, match="key is 'moon'; give one of digits_conv_standard, "):
        subjects.load("moon")
