"""Train networks for randomized smoothing: one that pwlnet ships, and larger ones for experiments on public images.

    python data/train_smoothing.py

writes ``networks/digits_conv_noise25.onnx`` beside this file and prints its rows of the tables of ``data/README.md``; it needs
pwlnet, torch, onnx and scikit-learn and takes less than a minute on one core.

    python data/train_smoothing.py --data mnist --method gaussian --sigma 0.25 --out FOLDER
    python data/train_smoothing.py --data cifar10 --method consistency --sigma 0.25 --out FOLDER
    python data/train_smoothing.py --data mnist --method denoiser --sigma 0.25 --out FOLDER

write a network of ERAN's ConvSmall size, or a denoiser, to a folder, with its accuracies (a denoiser: mean squared errors) in a
``.json`` file of the same name; the images are read by ``pwlnet.datasets``. A few minutes each on one core. Seeds are fixed and
one thread is used: the same versions of the libraries on the same kind of CPU give the same files.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pwlnet import datasets, learn
from pwlnet.learn.architectures import build_conv, build_conv_small, build_denoiser, export_onnx

HERE = Path(__file__).resolve().parent
SEED = 1
DIGITS = {"epochs": 100, "batch_size": 128, "learning_rate": 0.005, "weight_decay": 0.01}
EPOCHS = {"mnist": 12, "cifar10": 50}
OPTIONS = {"batch_size": 128, "learning_rate": 0.003, "weight_decay": 0.01}
DENOISER_EPOCHS = {"mnist": 4, "cifar10": 12}
METHODS = {  # options of pwlnet.learn.train beside the standard deviation
    "gaussian": {},
    "scrfp2": {"amplification": 0.1},
    "consistency": {"n_copies": 2, "weight": 10.0, "entropy_weight": 0.5},
}


def noisy_accuracy(module, images, labels, sigma, copies=10):
    """Compute the fraction of correctly classified images with normal noise, over some draws (seed 0)."""
    rng = np.random.default_rng(0)
    noisy = (images + sigma * rng.standard_normal(images.shape) for _ in range(copies))
    return float(np.mean([learn.accuracy(module, each, labels) for each in noisy]))


def train_digits():
    """Train the shipped network and print its rows."""
    from train_digits import describe, export, split_digits, to_arrays  # needs scikit-learn

    train_set, test_set = (to_arrays(*each) for each in split_digits())
    module = build_conv((1, 8, 8), 10, seed=SEED, batch_norm=True)
    learn.train(module, train_set, "gaussian", sigma=0.25, seed=SEED, **DIGITS)
    path = HERE / "networks" / "digits_conv_noise25.onnx"
    export(module, path)
    clean = learn.accuracy(module, *test_set)
    describe(path, f"{clean:.4f} accuracy")
    noise = [noisy_accuracy(module, *test_set, sigma) for sigma in (0.1, 0.25)]
    attacked = []
    for norm, epsilon in (("l2", 0.5), ("linf", 0.1)):
        attack = {"epsilon": epsilon, "norm": norm, "rng": np.random.default_rng(0), "steps": 40, "restarts": 2}
        attacked.append(learn.adversarial_accuracy(module, *test_set, **attack))
    print(f"\n| `{path.stem}` | {' | '.join(f'{cell:.4f}' for cell in (clean, *noise, *attacked))} |")


def load(data):
    """Load training and test images as float64[N, C, H, W] in [0, 1], with labels."""
    sets = (datasets.load_images(data, split=split) for split in ("train", "test"))
    return tuple((images / 255.0, labels) for images, labels in sets)


def train_classifier(data, method, sigma, epochs):
    """Train a network of ConvSmall's size: module, accuracies."""
    train_set, test_set = load(data)
    module = build_conv_small(train_set[0].shape[1:], 10, seed=SEED)
    learn.train(module, train_set, method, epochs=epochs, sigma=sigma, seed=SEED, **OPTIONS, **METHODS[method])
    results = {"method": method, "sigma": sigma, "epochs": epochs, "seed": SEED, **OPTIONS, **METHODS[method]}
    results["test_images"] = len(test_set[1])
    results["accuracy"] = learn.accuracy(module, *test_set)
    for level in (sigma / 2, sigma):
        results[f"accuracy_noise_{level:g}"] = noisy_accuracy(module, *test_set, level, copies=2)
    return module, results


def train_denoiser(data, sigma, epochs):
    """Train a residual denoiser with the mean squared error: module, errors."""
    (images, _), (test_images, _) = load(data)
    images, test_images = (torch.from_numpy(x.astype(np.float32)) for x in (images, test_images))
    module = build_denoiser(images.shape[1:], seed=SEED)
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.003)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator).split(128):
            noisy = images[rows] + sigma * torch.randn(images[rows].shape, generator=generator)
            optimizer.zero_grad()
            nn.functional.mse_loss(module(noisy), images[rows]).backward()
            optimizer.step()
        schedule.step()
    noisy = test_images + sigma * torch.randn(test_images.shape, generator=generator)
    with torch.no_grad():
        cleaned = torch.cat([module(part) for part in noisy.split(1000)])
    errors = {"noisy": noisy, "denoised": cleaned}
    results = {"sigma": sigma, "epochs": epochs, "seed": SEED, "test_images": len(test_images)}
    return module.eval(), results | {f"mse_{name}": float(((x - test_images) ** 2).mean()) for name, x in errors.items()}


def main():
    """Train, export, describe."""
    parser = argparse.ArgumentParser(description="Train networks for randomized smoothing.")
    parser.add_argument("--data", choices=("digits", "mnist", "cifar10"), default="digits")
    parser.add_argument("--method", choices=(*METHODS, "denoiser"), default="gaussian", help="for mnist and cifar10")
    parser.add_argument("--sigma", type=float, default=0.25, help="standard deviation of the noise, for mnist and cifar10")
    parser.add_argument("--epochs", type=int, help="number of passes over the images, for mnist and cifar10")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the networks of mnist and cifar10")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if options.data == "digits":
        train_digits()
        return
    began = time.process_time()
    if options.method == "denoiser":
        epochs = options.epochs or DENOISER_EPOCHS[options.data]
        module, results = train_denoiser(options.data, options.sigma, epochs)
    else:
        epochs = options.epochs or EPOCHS[options.data]
        module, results = train_classifier(options.data, options.method, options.sigma, epochs)
    results["cpu_seconds"] = round(time.process_time() - began, 1)
    name = f"{options.method}_" if options.method[-1].isdigit() else options.method
    path = options.out / f"{options.data}_{name}{round(100 * options.sigma):02d}.onnx"
    shape = (1, 28, 28) if options.data == "mnist" else (3, 32, 32)
    export_onnx(module, shape, path, overwrite=True)
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({"file": path.name, **results}))


if __name__ == "__main__":
    main()
