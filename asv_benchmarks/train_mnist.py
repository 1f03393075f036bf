"""Train the fully connected MNIST shapes of the benchmarks: 6x100 (five hidden layers of 100) and 9x200 (eight of 200).

    PWLNET_DATA_DIR=... python asv_benchmarks/train_mnist.py

There are no published weights of these shapes, so the benchmarks train them: three epochs on the 60 000 training images, about
a minute on one core, written to ``asv_benchmarks/trained`` (not part of the repository). Seeds are fixed and one thread is
used. The last column printed is the accuracy on the 10 000 test images.
"""

import gzip
import itertools
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

TRAINED = Path(__file__).resolve().parent / "trained"
SHAPES = {"mnist_6x100": [784] + [100] * 5 + [10], "mnist_9x200": [784] + [200] * 8 + [10]}
EPOCHS, BATCH, RATE = 3, 64, 0.001


def read_images(folder, part):
    """Read images float32[N, 784] in 0..1 and labels int64[N] of "train" or "t10k"."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels.astype(np.int64))


def build(widths):
    """Build fully connected layers with ReLU between them, He-initialised."""
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())][:-1]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def train(module, images, labels):
    """Train with Adam and a cosine schedule."""
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def main():
    """Train and export both shapes."""
    if not os.environ.get("PWLNET_DATA_DIR"):
        sys.exit("PWLNET_DATA_DIR is not set; point it at the folder that holds images/mnist (see data/README.md)")
    torch.set_num_threads(1)
    folder = Path(os.environ["PWLNET_DATA_DIR"]) / "images" / "mnist"
    train_set, test_set = read_images(folder, "train"), read_images(folder, "t10k")
    TRAINED.mkdir(exist_ok=True)
    warnings.filterwarnings("ignore", "You are using the legacy", DeprecationWarning)
    for seed, (name, widths) in enumerate(SHAPES.items()):
        torch.manual_seed(seed)
        module = train(build(widths), *train_set)
        torch.onnx.export(
            module,
            (torch.zeros(1, 784),),
            str(TRAINED / f"{name}.onnx"),
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
        with torch.no_grad():
            correct = (module(test_set[0]).argmax(1) == test_set[1]).float().mean()
        print(f"{name}: {float(correct):.4f}", flush=True)


if __name__ == "__main__":
    main()
