"""Print certified accuracies, draws and times of fixed, sequential and two-stage certification at equal guarantee.

    python asv_benchmarks/draws_table.py NETWORK SIGMA [--images N] [--n N] [--data digits|mnist|cifar10]

NETWORK is the name of a shipped digits network or a file. Draws are those that were used; times are of the same machine, one
after the other. "Fixed" certificates serve all radii at once; the others answer for one radius, or lose a little of it.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import pwlnet
from pwlnet.smoothing import SmoothedClassifier, certified_accuracy

RADII = (0.25, 0.5, 0.75)


def load(data, n_images):
    """Load evenly spaced test images in [0, 1], with labels."""
    if data == "digits":
        images, labels = pwlnet.datasets.digits_images()
    else:
        images, labels = pwlnet.datasets.load_images(data, split="test")
        images = images / 255.0
    rows = np.linspace(0, len(labels) - 1, n_images).astype(int)
    return images[rows], labels[rows]


def run(smoothed, images, labels, **options):
    """Certify; return the certificates, the draws for each image and the seconds."""
    started = time.perf_counter()
    certificates = smoothed.certify(images, **options)
    return certificates, (certificates.n + certificates.n0).mean(), time.perf_counter() - started


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("sigma", type=float)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--data", default="digits")
    options = parser.parse_args()
    path = options.network if Path(options.network).exists() else pwlnet.datasets.digits_network_path(options.network)
    smoothed = SmoothedClassifier(pwlnet.load_network(path), options.sigma)
    images, labels = load(options.data, options.images)
    smoothed.certify(images[0], n=1000)  # kernels are loaded
    print(f"{Path(path).stem}, sigma {options.sigma:g}, {len(labels)} images, at most {options.n} draws, alpha 0.001\n")
    print("| method | certified accuracy at .25, .5, .75 | draws for each image | s |\n|---|---|---|---|")
    fixed, draws, seconds = run(smoothed, images, labels, n=options.n)
    show("fixed, all radii", certified_accuracy(fixed, labels, RADII), draws, seconds)
    for radius in RADII:
        of_radius, draws, seconds = run(smoothed, images, labels, n=options.n, method="sequential", radius=radius)
        show(f"sequential, {radius:g}", [certified_accuracy(of_radius, labels, [radius])[0]], draws, seconds)
    for loss in (0.05, 0.1):
        two, draws, seconds = run(smoothed, images, labels, n=options.n, method="two_stage", max_loss=loss)
        show(f"two stages, loss {loss:g} sigma", certified_accuracy(two, labels, RADII), draws, seconds)


def show(name, accuracies, draws, seconds):
    """Print a row."""
    print(f"| {name} | {', '.join(f'{a:.3f}' for a in accuracies)} | {draws:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
