"""The shipped networks and images are the ones that data/README.md describes."""

import hashlib
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pwlnet import shipped
from pwlnet.errors import InputError, MissingDataError

DATA = Path(__file__).resolve().parent.parent / "data"
ROWS = re.findall(r"^\| `([^`]+)` \| (\d+) \| ([^|]+?) \| `([0-9a-f]{64})` \|$", (DATA / "README.md").read_text(), re.M)


def test_files_match_the_table_of_the_readme():
    stored = {(name, int(size), digest) for name, size, _, digest in ROWS}
    paths = [*DATA.glob("networks/*"), *DATA.glob("images/*")]
    contents = {path.relative_to(DATA).as_posix(): path.read_bytes() for path in paths}
    assert stored == {(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items()}


@pytest.mark.parametrize("name", shipped.DIGITS_NETWORKS + shipped.DEPTH_NETWORKS + shipped.SMOOTHING_NETWORKS)
def test_networks_reach_the_accuracy_of_the_readme(name):
    (accuracy,) = [float(text.split()[0]) for path, _, text, _ in ROWS if path == f"networks/{name}.onnx"]
    images, labels = shipped.digits_images()
    model = onnxruntime.InferenceSession(shipped.digits_network_path(name), providers=["CPUExecutionProvider"])
    (logits,) = model.run(None, {"image": images.astype(np.float32)})
    assert np.mean(logits.argmax(axis=1) == labels) == pytest.approx(accuracy, abs=0.5 / len(labels))


def test_images_are_float64_between_zero_and_one():
    images, labels = shipped.digits_images()
    assert images.dtype == np.float64
    assert labels.dtype == np.int64
    assert images.shape == (len(labels), 1, 8, 8)
    assert (images.min(), images.max()) == (0.0, 1.0)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="digits_conv, digits_mlp"):
        shipped.digits_network_path("digits")


def test_a_missing_file_is_answered_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "_FOLDERS", (tmp_path,))
    with pytest.raises(MissingDataError, match="reinstall pwlnet"):
        shipped.digits_images()


def test_training_images_are_none_of_the_test_images():
    images, labels = shipped.digits_training_images()
    test, _ = shipped.digits_images()
    assert images.shape == (1348, 1, 8, 8) and images.min() == 0.0 and images.max() == 1.0
    assert np.bincount(labels).min() > 120
    seen = {image.tobytes() for image in images}
    assert not any(image.tobytes() in seen for image in test)
