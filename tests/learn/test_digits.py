"""The shipped networks have the accuracies that data/README.md lists."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pwlnet import learn, load_network, shipped

README = (Path(__file__).resolve().parents[2] / "data" / "README.md").read_text()
README, NOISE = README.split("### Networks of several depths")
CELLS = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.MULTILINE)
TABLE = {name: tuple(float(cell) for cell in cells) for name, *cells in CELLS}
ONE_IMAGE = 1.0 / 449


def convolutional():
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def deep():
    hidden = [layer for k in range(8) for layer in (nn.Linear(48 if k else 64, 48), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(48, 10))


def shipped_module(name):
    """A shipped network as a torch module: torch's exporter keeps the names of weights."""
    module = deep() if name == "digits_mlp" else convolutional()
    weights = onnx.load(shipped.digits_network_path(name)).graph.initializer
    module.load_state_dict({item.name: torch.from_numpy(onnx.numpy_helper.to_array(item).copy()) for item in weights})
    return module.eval()


def test_the_table_has_all_networks():
    assert set(TABLE) == set(shipped.DIGITS_NETWORKS)


@pytest.mark.parametrize("name", shipped.DIGITS_NETWORKS)
def test_accuracies_are_those_of_the_table(name):
    module, (images, labels) = shipped_module(name), shipped.digits_images()
    clean, *columns = TABLE[name]
    assert learn.accuracy(module, images, labels) == pytest.approx(clean, abs=ONE_IMAGE / 2)
    for epsilon, attacked, certified in zip((0.05, 0.1), columns[::2], columns[1::2]):
        found = learn.certified_accuracy_ibp(module, images, labels, epsilon=epsilon)
        assert found == pytest.approx(certified, abs=ONE_IMAGE / 2)
        rng = np.random.default_rng(0)
        quick = learn.adversarial_accuracy(module, images, labels, epsilon=epsilon, rng=rng, steps=10)
        assert found <= quick <= clean + ONE_IMAGE / 2
        assert attacked - 0.01 <= quick <= attacked + 0.06  # ten steps of one run for five runs of a hundred


@pytest.mark.parametrize("name", shipped.DEPTH_NETWORKS + shipped.SMOOTHING_NETWORKS)
def test_networks_of_several_depths_have_the_accuracies_of_the_table(name):
    """With ten draws of noise, five times as many would change the third digit."""
    rows = re.findall(rf"^\| `{name}` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", NOISE, re.MULTILINE)
    (clean, *noisy, _, _) = (float(cell) for cell in rows[0])
    network, (images, labels) = load_network(shipped.digits_network_path(name)), shipped.digits_images()
    assert learn.accuracy(network, images, labels) == pytest.approx(clean, abs=ONE_IMAGE / 2)
    rng = np.random.default_rng(1)
    for sigma, expected in zip((0.1, 0.25), noisy):
        drawn = images + sigma * rng.standard_normal((10, *images.shape))
        found = np.mean([learn.accuracy(network, each, labels) for each in drawn])
        assert found == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("depth", [3, 8, 15])
def test_training_with_noise_helps_against_noise_and_attacks(depth):
    rows = [
        re.search(rf"^\| `digits_mlp{depth}_{name}` \|(.*)\|$", NOISE, re.MULTILINE)
        for name in ("noise0", "noise10", "noise25")
    ]
    table = np.array([[float(cell) for cell in row[1].split("|")] for row in rows])
    assert (np.diff(table[:, 2:], axis=0) > 0.03).all()


def test_trained_against_attacks_networks_withstand_more_of_them():
    ours = {method: TABLE[f"digits_conv_{method}"] for method in ("standard", "pgd", "diffai")}
    assert ours["pgd"][3] > ours["standard"][3] + 0.2
    assert ours["diffai"][4] > 0.7


def test_the_example_of_the_page_runs(capsys):
    page = Path(__file__).resolve().parents[2] / "docs" / "guide" / "learning.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    exec(compile(example, str(page), "exec"), {})
    clean, attacked, certified, _ = map(float, capsys.readouterr().out.split())
    assert 0.5 < certified <= attacked <= clean
