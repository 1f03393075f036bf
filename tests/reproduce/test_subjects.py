"""Networks and images of experiments: which there are, what is missing, and that pixels go into a network as it wants them."""

import shutil

import numpy as np
import pytest

from pwlnet import datasets
from pwlnet.errors import InputError, MissingDataError
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
    groups = subjects.DIGITS, subjects.DEPTHS, subjects.CONVSMALL, subjects.CONVLARGE, subjects.NOISE, subjects.SLICES
    assert [key for group in groups for key in group] == list(subjects.SUBJECTS)
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


def test_networks_that_are_not_trained_yet_are_told_with_their_command(monkeypatch, tmp_path):
    monkeypatch.setenv(datasets.TRAINED_VARIABLE, str(tmp_path))
    monkeypatch.delenv(datasets.FOLDER_VARIABLE, raising=False)
    keys = ("digits_conv_noise25", "digits_mlp15_noise25_seed4", "mnist_scrfp2_25")
    chosen, missing = subjects.choose(keys)
    assert (chosen, list(missing)) == (list(keys[:1]), list(keys[1:]))
    assert missing[keys[1]] == (
        f"digits MLP of depth 15, noise 0.25, seed 4 needs seed4/digits_mlp15_noise25.onnx, which is not in PWLNET_TRAINED_DIR="
        f"{tmp_path}; make it by `python data/train_digits_noise.py --seed 4 --out {tmp_path}/seed4`"
    )
    script = f"make it by `python data/train_smoothing.py --data mnist --method {{}} --sigma 0.25 --out {tmp_path}`"
    for file, method in (("mnist_scrfp2_25.onnx", "scrfp2"), ("mnist_denoiser25.onnx", "denoiser")):
        assert file in subjects.choose(keys)[1][keys[2]] and missing[keys[2]].endswith(script.format("scrfp2"))
        assert subjects.choose(keys)[1][keys[2]].endswith(script.format(method))
        (tmp_path / file).write_text("")
    assert "needs images/mnist/t10k-images-idx3-ubyte.gz; set PWLNET_DATA_DIR" in subjects.choose(keys)[1][keys[2]]
    with pytest.raises(MissingDataError, match=r"make it by `python data/train_digits_noise\.py --seed 4"):
        subjects.load(keys[1])


def test_trained_networks_are_loaded_from_their_folder_with_their_denoiser(monkeypatch, tmp_path):
    monkeypatch.setenv(datasets.TRAINED_VARIABLE, str(tmp_path))
    (tmp_path / "seed4").mkdir()
    shutil.copy(datasets.digits_network_path("digits_mlp3_noise25"), tmp_path / "seed4" / "digits_mlp15_noise25.onnx")
    subject = subjects.load("digits_mlp15_noise25_seed4")
    assert subject.network.digest == subjects.load("digits_mlp3_noise25").network.digest
    assert (subject.training, subject.denoiser, subject.images.shape[1]) == ("noise 0.25", None, 64)
    assert {subjects.SUBJECTS[key].training for key in subjects.NOISE} == {
        "noise 0.25", "noise 0.5", "consistency 0.25", "scrfp2 0.25"
    }  # fmt: skip


def test_the_folder_of_trained_networks_is_in_the_cache_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv(datasets.TRAINED_VARIABLE, raising=False)
    monkeypatch.setenv(datasets.CACHE_VARIABLE, str(tmp_path))
    assert datasets.trained_folder() == tmp_path / "trained"


def test_a_name_that_is_a_key_chooses_only_this_subject():
    keys = ("digits_mlp15_noise25", *subjects.NOISE)
    assert subjects.choose(keys, ["digits_mlp15_noise25"]) == (["digits_mlp15_noise25"], {})
    assert len(subjects.choose(keys, ["digits_mlp15"])[0]) == 3


def test_names_choose_all_subjects_that_start_so():
    keys = subjects.DIGITS + subjects.CONVSMALL
    assert subjects.choose(keys, ["cifar10", "digits_conv_pgd"]) == (["digits_conv_pgd", *subjects.CONVSMALL[3:]], {})
    assert subjects.choose(keys, "mnist_convsmall_point") == (["mnist_convsmall_point"], {})
    with pytest.raises(InputError, match="the experiment has no network 'cif'; give some of digits_conv_standard, "):
        subjects.choose(keys, ["cif"])
    with pytest.raises(InputError, match="key is 'moon'; give one of digits_conv_standard, "):
        subjects.load("moon")
