"""``pwlnet train``: networks, accuracies, resuming from a checkpoint, one-line errors."""

import json

import numpy as np
import pytest
import torch

import pwlnet
from pwlnet import learn
from pwlnet.cli import train
from pwlnet.learn import architectures, training

pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for one another on a busy machine take ten times as long as one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(folder):
    """Images in files: two classes, bright in the upper or in the lower half."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = rng.uniform(0.0, 0.4, (200, 1, 4, 4))
    images[labels == 0, :, :2] += 0.6
    images[labels == 1, :, 2:] += 0.6
    np.savez("data.npz", images=images, labels=labels)
    np.savez("split.npz", images=images[:150], labels=labels[:150], test_images=images[150:], test_labels=labels[150:])
    return images, labels


def held_out(images, labels):
    rows = np.arange(len(labels)) % 4 == 3
    return images[rows], labels[rows]


@pytest.mark.parametrize("layers", [(), ("--hidden", "8,6")])
@pytest.mark.parametrize("out", ["net.onnx", "net.h5"])
def test_the_network_is_written_and_its_accuracies_are_those_of_the_file(data, run, folder, monkeypatch, layers, out):
    monkeypatch.setattr(train, "_ATTACK", {"steps": 3})
    options = ("--epochs", 4, "--batch-size", 16, "--learning-rate", 0.01, "--test-epsilon", 0.05)
    code, text, err = run("train", "data.npz", "--out", out, *options, *layers, "--json")
    assert (code, err) == (0, "")
    result, network = json.loads(text), pwlnet.load_network(folder / out)
    assert (result["training_images"], result["test_images"], network.n_outputs) == (150, 50, 2)
    assert network.n_neurons == (14 if layers else 16 * 16 + 32 * 4 + 64)
    assert result["accuracy"]["test"] == learn.accuracy(network, *held_out(*data)) > 0.9
    assert result["accuracy"]["test_certified"] <= result["accuracy"]["test_attacked"] <= result["accuracy"]["test"]
    assert sorted(path.name for path in folder.iterdir()) == ["data.npz", out, "split.npz"]


def test_a_test_set_of_its_own_is_taken(data, run):
    result = json.loads(run("train", "split.npz", "--out", "net.onnx", "--hidden", 4, "--epochs", 2, "--json")[1])
    images, labels = data
    assert (result["training_images"], result["test_images"]) == (150, 50)
    assert result["accuracy"]["test"] == learn.accuracy(pwlnet.load_network("net.onnx"), images[150:], labels[150:])


def test_bytes_are_scaled(data, run):
    np.savez("bytes.npz", images=np.round(255 * data[0].clip(0, 1)).astype(np.uint8), labels=data[1])
    assert run("train", "bytes.npz", "--out", "net.onnx", "--hidden", 4, "--epochs", 1)[0] == 0


@pytest.mark.parametrize(
    "options",
    [("pgd", "--epsilon", 0.1, "--steps", 2), ("pgd", "--epsilon", 0.5, "--norm", "l2", "--steps", 2),
     ("diffai", "--epsilon", 0.1, "--kappa", 0.6), ("gaussian", "--sigma", 0.1),
     ("scrfp2", "--sigma", 0.1, "--amplification", 0.1),
     ("consistency", "--sigma", 0.1, "--n-copies", 3, "--weight", 5, "--entropy-weight", 0.1)],
)  # fmt: skip
def test_each_method_trains(data, run, options):
    method, *chosen = options
    command = ("train", "data.npz", "--hidden", 6, "--epochs", 2, "--method", method, *chosen, "--out", "net.onnx", "--json")
    code, text, err = run(*command)
    assert (code, err) == (0, "")
    linf = "--epsilon" in chosen and "l2" not in chosen
    assert ("test_attacked" in json.loads(text)["accuracy"]) == linf


def test_training_that_was_stopped_goes_on_to_the_same_network(data, run, folder, monkeypatch):
    command = ("train", "data.npz", "--hidden", 6, "--epochs", 4, "--seed", 3, "--out")
    assert run(*command, "whole.onnx")[0] == 0
    epoch = training._Run.train_epoch

    def stopped(self):
        if self.epoch == 2:
            raise KeyboardInterrupt
        epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "train_epoch", stopped)
        assert run(*command, "part.onnx") == (
            130,
            "",
            "pwlnet: interrupted; part.onnx.checkpoint has the finished epochs; --resume continues, --overwrite starts again\n",
        )
    code, _, err = run(*command, "part.onnx")
    assert (code, "part.onnx.checkpoint exists" in err, err.count("\n")) == (2, True, 1)
    assert run(*command, "part.onnx", "--resume")[0] == 0
    assert pwlnet.load_network("part.onnx") == pwlnet.load_network("whole.onnx")
    assert not (folder / "part.onnx.checkpoint").exists()


def test_an_existing_network_is_refused_without_overwrite(data, run, refused, folder):
    (folder / "net.h5").write_bytes(b"")
    refused("net.h5 exists; give another path, or --overwrite", "train", "data.npz", "--out", "net.h5")
    assert run("train", "data.npz", "--out", "net.h5", "--hidden", 3, "--epochs", 1, "--overwrite")[0] == 0
    assert pwlnet.load_network("net.h5").n_neurons == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.csv", "--out", "net.onnx"], "DATA is 'data.csv'; give digits, mnist, fashion, cifar10 or an .npz file"),
        (["data.npz", "--out", "net.pt"], "--out is net.pt, with the suffix '.pt'; give a path that ends with .onnx or .h5"),
        (["missing.npz", "--out", "n.h5"],
         "missing.npz can't be read as .npz (No such file or directory); check the path and the file"),
        (["short.npz", "--out", "n.h5"], "images has shape (4, 2) and labels (3,); give (N, ...) and (N,)"),
        (["words.npz", "--out", "n.h5"],
         "there are 2 images of dtype float64 with labels of dtype <U1; give real numbers as images, integers as labels, "
         "and at least one image"),
        (["flat.npz", "--out", "n.h5"],
         "input_shape is (2,), but convolutions take (channels, rows, columns); use fully connected layers only"),
        (["flat.npz", "--hidden", "3", "--out", "n.h5", "--method", "pgd"], "method='pgd' needs epsilon; give it"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line_and_no_files(folder, refused, arguments, message):
    np.savez("short.npz", images=np.ones((4, 2)), labels=np.zeros(3, int))
    np.savez("words.npz", images=np.ones((2, 2)), labels=np.array(["a", "b"]))
    np.savez("flat.npz", images=np.ones((8, 2)), labels=np.arange(8) % 2)
    refused(message, "train", *arguments)
    assert sorted(path.name for path in folder.iterdir()) == ["flat.npz", "short.npz", "words.npz"]


def test_digits_are_those_of_the_shipped_networks(run):
    pytest.importorskip("sklearn")
    (images, _), (test_images, test_labels) = train._load("digits")
    shipped_images, shipped_labels = pwlnet.datasets.digits_images()
    assert len(images) == 1348
    np.testing.assert_array_equal(test_images, shipped_images)
    np.testing.assert_array_equal(test_labels, shipped_labels)


def test_weights_follow_the_seed_and_leave_torch_alone():
    state = torch.get_rng_state()
    a, b, c = (architectures.build_conv((1, 4, 4), 2, seed=seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_onnx_file_says_nothing_about_its_writer(folder):
    import onnx

    architectures.export_onnx(architectures.build_mlp(4, [3], 2, seed=0), (1, 2, 2), "net.onnx")
    model = onnx.load("net.onnx")
    texts = [item.doc_string for item in (model, model.graph, *model.graph.node)]
    assert (set(texts), list(model.metadata_props)) == ({""}, [])
    assert [path.name for path in folder.iterdir()] == ["net.onnx"]
    with pytest.raises(pwlnet.errors.StoreError, match=r"net.onnx exists; give another path, or remove it first"):
        architectures.export_onnx(architectures.build_mlp(4, [3], 2, seed=0), (1, 2, 2), "net.onnx")
