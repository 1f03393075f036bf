"""Public networks and images from a local folder: accuracies that others measured, forms that must agree.

Skipped unless PWLNET_DATA_DIR names a folder with the files and their MANIFEST.json; CI leaves it unset.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import datasets

FOLDER = Path(os.environ.get("PWLNET_DATA_DIR") or "nowhere")
pytestmark = pytest.mark.skipif(
    not (FOLDER / "MANIFEST.json").is_file(), reason="PWLNET_DATA_DIR names no folder with a MANIFEST.json"
)
CONV_SMALL = [
    f"{name}/eran_convsmall/convSmallRELU__{training}.onnx"
    for name, trainings in (("mnist", ("Point", "PGD", "DiffAI")), ("cifar10", ("Point", "PGDK", "DiffAI")))
    for training in trainings
]
ACAS = [f"{a}_{b}" for a in range(1, 6) for b in range(1, 10)]
N_IMAGES = 1000


def measured(name):
    """What MANIFEST.json says was measured on a file."""
    (entry,) = [row for row in json.loads((FOLDER / "MANIFEST.json").read_text())["files"] if row["file"] == name]
    return entry["verified"]


@pytest.mark.parametrize("name", CONV_SMALL)
def test_as_many_of_1000_test_images_are_classified_rightly_as_the_manifest_says(name):
    network = pwlnet.load_network(datasets.fetch(name))
    images, labels = datasets.load_images(name.split("/")[0])
    scores = network.forward(images[:N_IMAGES] / 255.0)
    right = int(np.count_nonzero(scores.argmax(axis=1) == labels[:N_IMAGES]))
    assert right == round(N_IMAGES * measured(name)["acc1000"])


@pytest.mark.parametrize("number", ACAS)
def test_the_nnet_and_the_onnx_form_of_an_acas_network_agree(number):
    """Their weights differ in rounding: text with few digits against float32."""
    nnet = pwlnet.load_network(datasets.fetch(f"acasxu/nnet/ACASXU_experimental_v2a_{number}.nnet"))
    onnx = pwlnet.load_network(datasets.fetch(f"acasxu/onnx/ACASXU_run2a_{number}_batch_2000.onnx"))
    lower = np.array([0.0, -3.141593, -3.141593, 100.0, 0.0])
    upper = np.array([60760.0, 3.141593, 3.141593, 1200.0, 1200.0])
    raw = np.random.default_rng(0).uniform(lower, upper, (500, 5))
    mean = np.array([19791.091, 0.0, 0.0, 650.0, 600.0])
    size = np.array([60261.0, 6.28318530718, 6.28318530718, 1100.0, 1200.0])
    found = (nnet.forward(raw) - 7.5188840201005975) / 373.94992
    wanted = onnx.forward((raw - mean) / size)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    assert np.array_equal(found.argmin(axis=1), wanted.argmin(axis=1))
    assert nnet.n_neurons == onnx.n_neurons == 300
