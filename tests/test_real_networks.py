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


# Networks with convolutions, their images, and mean and deviation by which the images are normalised outside the network.
CIFAR = ("cifar10", [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])
MNIST = ("mnist", [[0.1307], [0.3081]])
CONVOLUTIONS = {
    "cifar10/eran_convsmall/convSmallRELU__Point.onnx": ("cifar10", [[0.0], [1.0]]),
    "trained_here/cifar_convmed.onnx": CIFAR,
    "trained_here/cifar_convbig.onnx": CIFAR,
    "mnist/eran_convsmall/convSmallRELU__Point.onnx": ("mnist", [[0.0], [1.0]]),
    "trained_here/mnist_convmed.onnx": MNIST,
    "trained_here/mnist_convbig.onnx": MNIST,
}
CUTS = np.array([0.0, 0.1, 0.2500001, 0.5, 0.77, 1.0])
SAME_T = 1e-10  # MNIST convSmall: neurons that hardly move along the line, t is determined to 1e-11


def lines_from_black(name):
    """A network, a black image, and ends of lines from it: a test image and a white one, normalised."""
    images, normalisation = CONVOLUTIONS[name]
    mean, deviation = np.array(normalisation)[:, :, None, None]
    image = datasets.load_images(images)[0][1] / 255.0
    black, image, white = ((x - mean) / deviation for x in (np.zeros_like(image), image, np.ones_like(image)))
    return pwlnet.load_network(datasets.fetch(name)), black, (image, white)


def flipping(part):
    """Numbers of flips and the neurons, breakpoint by breakpoint, without the line's ends."""
    flips = [neurons.tolist() for neurons, _ in part.flips[1:-1]]
    assert all(flips)
    return flips


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_breakpoints_from_a_black_image_stay_the_same_when_the_line_is_reversed(name):
    """A black image is the same everywhere, so many neurons flip at exactly the same t; none of these ties may come apart."""
    network, black, ends = lines_from_black(name)
    for end in ends:
        (there,), (back,) = (pwlnet.partition_lines(network, x, y).parts for x, y in ((black, end), (end, black)))
        assert flipping(back) == flipping(there)[::-1]
        assert np.abs(there.t - (1.0 - back.t[::-1])).max() <= SAME_T
    assert max(map(len, flipping(there))) > 100


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_breakpoints_from_a_black_image_stay_the_same_when_the_line_is_cut(name):
    network, black, ends = lines_from_black(name)
    for end in ends:
        (whole,) = pwlnet.partition_lines(network, black, end).parts
        points = np.stack([black, *(black + t * (end - black) for t in CUTS[1:-1]), end])
        parts = pwlnet.partition_lines(network, points[:-1], points[1:]).parts
        assert [at for part in parts for at in flipping(part)] == flipping(whole)
        t = np.concatenate([a + part.t[1:-1] * (b - a) for part, a, b in zip(parts, CUTS[:-1], CUTS[1:], strict=True)])
        assert np.abs(t - whole.t[1:-1]).max() <= SAME_T
