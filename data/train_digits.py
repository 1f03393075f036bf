"""Train the two small networks that pwlnet ships, and write their test images.

    python data/train_digits.py

needs torch, onnx and scikit-learn and takes about 20 seconds on one core. It writes ``networks/digits_conv.onnx``,
``networks/digits_mlp.onnx`` and ``images/digits_test.npz`` beside this file and prints the table of ``data/README.md``.
Seeds are fixed and one thread is used: the same versions of the libraries on the same kind of CPU give the same files.
"""

import hashlib
import itertools
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).resolve().parent
EPOCHS = 120
BATCH = 64
NOISE = 0.1  # standard deviation, in units of the pixels' range
OPSET = 17


def split_digits():
    """Rows 3, 7, 11, ... of scikit-learn's digits are the test set. Images uint8[N, 1, 8, 8] with values 0..16."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.uint8)
    is_test = np.arange(len(labels)) % 4 == 3
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def build_conv():
    """Two convolutions and two full layers; 1600 neurons."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def build_mlp():
    """Eight hidden layers of 48 neurons each; 384 neurons."""
    widths = [64] + [48] * 8
    layers = [nn.Flatten()]
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def to_tensors(images, labels):
    """Pixels scaled to [0, 1], as the networks take them."""
    return torch.from_numpy(images.astype(np.float32) / 16), torch.from_numpy(labels.astype(np.int64))


def train(build, seed, images, labels):
    """He initialisation, AdamW with a cosine schedule, Gaussian noise on the images."""
    torch.manual_seed(seed)
    module = build()
    for layer in module:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.001, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            batch = images[rows] + NOISE * torch.randn_like(images[rows])
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(batch), labels[rows]).backward()
            optimizer.step()
        schedule.step()
    return module.eval()


def accuracy(module, images, labels):
    """Share of images that the network classifies as labelled."""
    with torch.no_grad():
        return float((module(images).argmax(1) == labels).float().mean())


def export(module, path):
    """Write ONNX with a free batch size and without anything about the machine that wrote it."""
    axes = {"image": {0: "batch"}, "logits": {0: "batch"}}
    names = {"input_names": ["image"], "output_names": ["logits"]}
    example = torch.zeros(1, 1, 8, 8)
    warnings.filterwarnings("ignore", "You are using the legacy", DeprecationWarning)
    torch.onnx.export(module, (example,), str(path), dynamo=False, opset_version=OPSET, dynamic_axes=axes, **names)
    model = onnx.load(path)
    for item in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        item.doc_string = ""
        del item.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def describe(path, content):
    """Print a row of the table in README.md."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"| `{path.relative_to(HERE).as_posix()}` | {path.stat().st_size} | {content} | `{digest}` |")


def main():
    """Train, export, describe."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_set, test_set = split_digits()
    images_path = HERE / "images" / "digits_test.npz"
    np.savez_compressed(images_path, images=test_set[0], labels=test_set[1])
    describe(images_path, f"{len(test_set[1])} images and labels")
    for name, build, seed in (("digits_conv", build_conv, 1), ("digits_mlp", build_mlp, 2)):
        module = train(build, seed, *to_tensors(*train_set))
        path = HERE / "networks" / f"{name}.onnx"
        export(module, path)
        describe(path, f"{accuracy(module, *to_tensors(*test_set)):.4f} accuracy")


if __name__ == "__main__":
    main()
