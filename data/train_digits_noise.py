"""Train the fully connected networks that pwlnet ships for experiments on depth and training.

    python data/train_digits_noise.py

needs pwlnet, torch, onnx and scikit-learn and takes a minute and a half on one core. It writes ``networks/digits_mlp3_*.onnx``,
``digits_mlp8_*.onnx`` and ``digits_mlp15_*.onnx`` beside this file and prints the rows of two tables of ``data/README.md``:
files and accuracies. With ``--seed N --out FOLDER``, the same networks from other initial weights are written to a folder.
Seeds are fixed and one thread is used: the same versions of the libraries on the same kind of CPU give the same files.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from train_digits import describe, export, split_digits, to_arrays

from pwlnet import learn
from pwlnet.learn.architectures import build_mlp

HERE = Path(__file__).resolve().parent
WIDTH = 48
SEED = 3
OPTIONS = {"epochs": 100, "batch_size": 128, "learning_rate": 0.005, "weight_decay": 0.01}
METHODS = {  # options of pwlnet.learn.train: standard deviation or l_inf radius in units of the pixels' range
    "noise0": {"method": "standard"},
    "noise10": {"method": "gaussian", "sigma": 0.1},
    "noise25": {"method": "gaussian", "sigma": 0.25},
    "pgd": {"method": "pgd", "epsilon": 0.1, "steps": 7},
    "diffai": {"method": "diffai", "epsilon": 0.1, "kappa": 0.5, "ramp": (0.1, 0.6)},
}
ALL_BUT_DIFFAI = tuple(METHODS)[:-1]  # boxes become too wide in more layers: training fails, or ends with a poor accuracy
DEPTHS = {3: tuple(METHODS), 8: ALL_BUT_DIFFAI, 15: ALL_BUT_DIFFAI}  # number of hidden layers


def accuracies(module, images, labels):
    """Compute fractions of correctly classified images: clean, with noise of two levels, attacked in two norms."""
    rng = np.random.default_rng(0)
    cells = [learn.accuracy(module, images, labels)]
    for sigma in (0.1, 0.25):
        noisy = [images + sigma * rng.standard_normal(images.shape) for _ in range(10)]
        cells.append(np.mean([learn.accuracy(module, each, labels) for each in noisy]))
    for norm, epsilon in (("l2", 0.5), ("linf", 0.1)):
        attack = {"epsilon": epsilon, "norm": norm, "rng": np.random.default_rng(0), "steps": 40, "restarts": 2}
        cells.append(learn.adversarial_accuracy(module, images, labels, **attack))
    return cells


def main():
    """Train, export, describe."""
    parser = argparse.ArgumentParser(description="Train networks of three depths with several methods.")
    parser.add_argument("--seed", type=int, default=SEED, help="of the initial weights and of the training")
    parser.add_argument("--out", type=Path, default=HERE / "networks", help="folder for the networks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_set, test_set = (to_arrays(*each) for each in split_digits())
    rows = []
    for depth, methods in DEPTHS.items():
        for name in methods:
            module = build_mlp(64, [WIDTH] * depth, 10, seed=options.seed, batch_norm=True)
            learn.train(module, train_set, seed=options.seed, **OPTIONS, **METHODS[name])
            path = options.out / f"digits_mlp{depth}_{name}.onnx"
            export(module, path)
            cells = accuracies(module, *test_set)
            describe(path, f"{cells[0]:.4f} accuracy")
            rows.append(f"| `{path.stem}` | {' | '.join(f'{cell:.4f}' for cell in cells)} |")
    print("\n".join(["", *rows]))


if __name__ == "__main__":
    main()
