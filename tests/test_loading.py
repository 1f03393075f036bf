"""The front door for network files: content before suffix, one sentence for what can't be read."""

from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import shipped
from pwlnet.errors import ConversionError, ShapeError

NNET = "// 1-2-1\n2,1,1,2,\n1,2,1,\n0,\n0\n0\n0\n0\n1.0,\n-1.0,\n0.5,\n0.25,\n1.0,2.0,\n3.0,\n"
ERAN = "ReLU\n[[1.0], [-1.0]]\n[0.5, 0.25]\nAffine\n[[1.0, 2.0]]\n[3.0]\n"


@pytest.fixture
def files(tmp_path):
    """A network in a file of each kind, with names in the folder."""
    (tmp_path / "net.nnet").write_text(NNET)
    (tmp_path / "net.eran").write_text(ERAN)
    pwlnet.load_network(tmp_path / "net.nnet").save(tmp_path / "net.h5")
    return tmp_path


@pytest.mark.parametrize("name", ["net.nnet", "net.eran", "net.h5"])
def test_one_network_in_files_of_each_kind_is_the_same_network(files, name):
    network = pwlnet.load_network(files / name)
    assert network.forward([[2.0]])[0, 0] == 2.5 + 2.0 * 0.0 + 3.0
    assert network == pwlnet.load_network(files / "net.nnet")


def test_a_path_may_be_text_and_its_suffix_in_capitals(files):
    path = (files / "net.nnet").rename(files / "NET.NNET")
    assert pwlnet.load_network(str(path)).n_neurons == 2


def test_the_shape_of_the_input_must_agree_with_files_that_say_it(files):
    assert pwlnet.load_network(files / "net.nnet", input_shape=(1,)).n_inputs == 1
    for name in ("net.nnet", "net.eran", "net.h5"):
        with pytest.raises(ShapeError) as caught:
            pwlnet.load_network(files / name, input_shape=(1, 28))
        assert str(caught.value) == (
            f"input_shape is (1, 28), but {files / name} has inputs of shape (1,); leave input_shape out"
        )


@pytest.mark.parametrize(("name", "what"), [("missing.onnx", "not a file"), (".", "a folder")])
def test_what_is_no_file_is_refused(tmp_path, name, what):
    with pytest.raises(ConversionError) as caught:
        pwlnet.load_network(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name} is {what}; give the path of a network file (.onnx, .nnet, .eran, .tf, .h5, .hdf5)"
    )


def test_an_unknown_suffix_is_refused(files):
    path = (files / "net.nnet").rename(files / "net.pt")
    with pytest.raises(ConversionError) as caught:
        pwlnet.load_network(path)
    assert str(caught.value) == (
        f"{path} is a file of PyTorch; load the module with torch (a state_dict into a module of its class) and pass it to "
        "pwlnet.from_torch"
    )


def test_a_file_that_can_not_be_opened_is_refused(files, monkeypatch):
    def denied(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ConversionError) as caught:
        pwlnet.load_network(files / "net.nnet")
    assert str(caught.value) == f"{files / 'net.nnet'} can't be read (Permission denied); check its permissions"


def test_the_shipped_networks_load_and_classify():
    images, labels = shipped.digits_images()
    for name in shipped.DIGITS_NETWORKS:
        network = pwlnet.load_network(shipped.digits_network_path(name))
        assert np.mean(network.forward(images).argmax(axis=1) == labels) > 0.9
