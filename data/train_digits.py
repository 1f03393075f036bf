"""Train the small networks that pwlnet ships, and write their test images.

    python data/train_digits.py

needs pwlnet, torch, onnx and scikit-learn and takes about four minutes on one core. It writes ``networks/*.onnx``,
``images/digits_test.npz`` and ``images/digits_train.npz`` beside this file and prints the two tables of ``data/README.md``:
files and accuracies.
Seeds are fixed and one thread is used: the same versions of the libraries on the same kind of CPU give the same files.
"""

import functools
import hashlib
import itertools
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn

from pwlnet import learn

HERE = Path(__file__).resolve().parent
EPOCHS = 120
BATCH = 64
NOISE = 0.1  # standard deviation, in units of the pixels' range
OPSET = 17
EPSILON = 0.1  # l_inf radius that networks are trained against, in units of the pixels' range
METHODS = {  # networks that differ in nothing but the method: options of pwlnet.learn.train
    "standard": {},
    "pgd": {"epsilon": EPSILON, "steps": 7},
    "diffai": {"epsilon": EPSILON, "kappa": 0.5, "ramp": (0.1, 0.6)},
}


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


def to_arrays(images, labels):
    """The same as float64 and int64 arrays."""
    return images / 16.0, labels.astype(np.int64)


def initialise(build, seed):
    """He initialisation."""
    torch.manual_seed(seed)
    module = build()
    for layer in module:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return module


def train(build, seed, images, labels):
    """AdamW with a cosine schedule, Gaussian noise on the images."""
    module = initialise(build, seed)
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


def train_by(method, images, labels):
    """The convolutional network by one of the methods of pwlnet.learn, all else the same."""
    options = {"epochs": EPOCHS, "seed": 1, "batch_size": BATCH, "learning_rate": 0.002, "weight_decay": 0.1}
    return learn.train(initialise(build_conv, 1), (images, labels), method, **options, **METHODS[method]).model


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
    print(f"| `{path.parent.name}/{path.name}` | {path.stat().st_size} | {content} | `{digest}` |")


def describe_accuracy(name, module, images, labels):
    """Give a row of the second table in README.md."""
    cells = [learn.accuracy(module, images, labels)]
    for epsilon in (EPSILON / 2, EPSILON):
        attack = {"epsilon": epsilon, "rng": np.random.default_rng(0), "steps": 100, "restarts": 5}
        cells.append(learn.adversarial_accuracy(module, images, labels, **attack))
        cells.append(learn.certified_accuracy_ibp(module, images, labels, epsilon=epsilon))
    return f"| `{name}` | {' | '.join(f'{cell:.4f}' for cell in cells)} |"


def main():
    """Train, export, describe."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_set, test_set = split_digits()
    for name, (images, labels) in (("digits_test", test_set), ("digits_train", train_set)):
        images_path = HERE / "images" / f"{name}.npz"
        np.savez_compressed(images_path, images=images, labels=labels)
        describe(images_path, f"{len(labels)} images and labels")
    networks = {
        "digits_conv": lambda: train(build_conv, 1, *to_tensors(*train_set)),
        "digits_mlp": lambda: train(build_mlp, 2, *to_tensors(*train_set)),
    }
    networks |= {f"digits_conv_{m}": functools.partial(train_by, m, *to_arrays(*train_set)) for m in METHODS}
    rows = []
    for name, make in networks.items():
        module = make()
        path = HERE / "networks" / f"{name}.onnx"
        export(module, path)
        describe(path, f"{learn.accuracy(module, *to_arrays(*test_set)):.4f} accuracy")
        rows.append(describe_accuracy(name, module, *to_arrays(*test_set)))
    print("\n".join(["", *rows]))


if __name__ == "__main__":
    main()
