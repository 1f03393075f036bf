"""Table of docs/guide/exact_floats.md: float neurons by sampling, exactly, and by bounds, with times.

    PWLNET_DATA_DIR=... python -m asv_benchmarks.exact_floats_table [seconds]

Each row is one box: float neurons that were seen by 1000 corners and random points; by ``exact_floats_on_box`` (lower, and
undecided at the time limit); and the neurons that bounds leave open. The kernels are compiled before the first time is taken.
"""

import sys
import time

import numpy as np

import pwlnet
from pwlnet.bounds import bound_preactivations
from pwlnet.bounds.exact_boxes import exact_floats_on_box

METHODS = ("alpha_crown", "crown", "ibp")
IMAGES = 2
CASES = [  # network, radius of the box (times the range of an input of ACAS Xu), scale and shape of the images
    ("acasxu/nnet/ACASXU_experimental_v2a_1_1.nnet", (0.01, 0.05, 0.2)),
    ("acasxu/nnet/ACASXU_experimental_v2a_3_3.nnet", (0.01, 0.05, 0.2)),
    ("mnist/neuralverification_jl/mnist4.nnet", (0.005, 0.01, 0.02)),
    ("mnist/auto_lirpa/mnist_fc_3layer.onnx", (0.005, 0.01, 0.02)),
    ("mnist/eran_convsmall/convSmallRELU__Point.onnx", (0.005, 0.01, 0.02)),
    ("mnist/eran_convsmall/convSmallRELU__DiffAI.onnx", (0.005, 0.01, 0.02)),
]


def boxes(name, network, radius):
    """Return boxes around test images, or around two points of ACAS Xu's input range (normalised units)."""
    if name.startswith("acasxu"):
        centers = np.array([[0.0, 0.0, 0.0, 0.0, 0.0], [0.2, -0.1, 0.3, 0.1, -0.2]])
        return [pwlnet.Box.around(x, radius) for x in centers]
    images, _ = pwlnet.datasets.load_images("mnist")
    rows = images[:IMAGES].reshape(IMAGES, -1) / 255.0
    return [pwlnet.Box.around(x, radius, limits=(0.0, 1.0)) for x in rows]


def sampled(network, box, rng, n=1000):
    """Count neurons with several states at the center, corners and random points."""
    lower, upper = network.as_points(box.lower)[0], network.as_points(box.upper)[0]
    corners = np.where(rng.random((n // 2, len(lower))) < 0.5, lower, upper)
    points = np.concatenate([corners, lower + rng.random((n // 2, len(lower))) * (upper - lower)])
    states = network.states(points)
    return int((states != states[0]).any(axis=0).sum())


def row(name, network, box, radius, seconds):
    """Return the cells of one row."""
    cells, times = [sampled(network, box, np.random.default_rng(0))], []
    start = time.perf_counter()
    found = exact_floats_on_box(network, box, time_limit=seconds)
    times.append(time.perf_counter() - start)
    cells += [int(found.lower.sum()), int(found.undecided.sum())]
    for method in METHODS:
        start = time.perf_counter()
        cells.append(int(bound_preactivations(network, box, method=method).float_mask.sum()))
        times.append(time.perf_counter() - start)
    label = name.split("/")[-1].rsplit(".", 1)[0]
    return f"| {label} | {network.n_neurons} | {radius:g} | " + " | ".join(map(str, cells)) + " | " + " | ".join(
        f"{t:.2f}" for t in times
    ) + " |"  # fmt: skip


def main(seconds=60.0, only=""):
    """Write the table."""
    head = ["network", "neurons", "radius", "sampled", "exact", "undecided", *METHODS, "s exact", *(f"s {m}" for m in METHODS)]
    sys.stdout.write("| " + " | ".join(head) + " |\n|" + "---|" * len(head) + "\n")
    for name, radii in CASES:
        if only not in name:
            continue
        network = pwlnet.load_network(pwlnet.datasets.fetch(name))
        bound_preactivations(network, boxes(name, network, 0.001)[0], method="alpha_crown")
        for radius in radii:
            for box in boxes(name, network, radius):
                sys.stdout.write(row(name, network, box, radius, seconds) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(*(float(a) for a in sys.argv[1:2]), *sys.argv[2:3])
