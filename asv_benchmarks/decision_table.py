"""The table of docs/guide/decisions.md: robustness of image classifiers by root bounds, splits of inputs and splits of neurons.

Usage: PWLNET_DATA_DIR=... python -m asv_benchmarks.decision_table [--methods root,splits,neurons] [--limit 20] [NAME ...]
"""

import argparse
from collections import Counter

import numpy as np

import pwlnet

CASES = {  # name: file, images, radius
    "digits_mlp": (None, "digits", 0.04),
    "digits_conv": (None, "digits", 0.08),
    "mnist_fc_3layer": ("mnist/auto_lirpa/mnist_fc_3layer.onnx", "mnist", 0.03),
    "convsmall": ("mnist/eran_convsmall/convSmallRELU__Point.onnx", "mnist", 0.08),
}
HOW = {"root": {"max_branches": 1}, "splits": {"method": "splits"}, "neurons": {}}


def load(name):
    """Return a network and its images."""
    file, images, _ = CASES[name]
    if images == "digits":
        return pwlnet.load_network(pwlnet.datasets.digits_network_path(name)), pwlnet.datasets.digits_images()[0]
    network = pwlnet.load_network(pwlnet.datasets.fetch(file))
    return network, pwlnet.datasets.load_images("mnist")[0].reshape(-1, network.n_inputs) / 255.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(CASES))
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(HOW))
    parser.add_argument("--limit", type=float, default=20.0)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--radius", type=float)
    options = parser.parse_args()
    for name in options.names:
        network, images = load(name)
        radius = options.radius or CASES[name][2]
        left = range(options.images)
        for method in options.methods:
            decisions = {}
            for k in left:
                label, n = int(network.forward(images[k])[0].argmax()), network.n_outputs
                others = [pwlnet.HalfSpaces(np.eye(n)[[label]] - np.eye(n)[[c]], [0.0]) for c in range(n) if c != label]
                box = pwlnet.Box.around(images[k], radius, limits=(0.0, 1.0))
                decisions[k] = pwlnet.decide(network, box, others, time_limit=options.limit, threads=1, **HOW[method])
            found = Counter(decision.status for decision in decisions.values())
            done = [(d.n_branches, round(d.seconds, 1)) for d in decisions.values() if d.status != "undecided"]
            print(name, radius, method, dict(found), done, flush=True)
            if method == "root":
                left = [k for k, decision in decisions.items() if decision.status == "undecided"]


if __name__ == "__main__":
    main()
