"""Print the table of docs/performance.md: lines from a black image to test images, one thread.

    PWLNET_DATA_DIR=... OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python asv_benchmarks/line_table.py [NAME ...]

CPU microseconds per breakpoint, and the ratio of an exact partition to one float32 forward pass of torch at all of its
breakpoints in batches of 256. Both are timed in turn in one process; printed are medians over the repeats, and of the ratio
also the least and the largest.
"""

import statistics
import sys
import time

import numpy as np
import torch
from benchmarks import torch_twin
from benchmarks.networks import SEEDED, build_graph

import pwlnet
from pwlnet.convert.lower import lower

REPEATS = 9
FORWARD_BATCHES = 8
CIFAR = np.array([[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])[:, :, None, None]
MNIST = np.array([[0.1307], [0.3081]])[:, :, None, None]
PLAIN = np.array([[0.0], [1.0]])[:, :, None, None]
CASES = {  # network, images, (mean, deviation) of the input, lines
    "cifar convsmall": ("cifar10/eran_convsmall/convSmallRELU__Point.onnx", "cifar10", PLAIN, 4),
    "cifar convmedium": ("trained_here/cifar_convmed.onnx", "cifar10", CIFAR, 4),
    "cifar convbig": ("trained_here/cifar_convbig.onnx", "cifar10", CIFAR, 1),
    "mnist convsmall": ("mnist/eran_convsmall/convSmallRELU__Point.onnx", "mnist", PLAIN, 4),
    "mnist convmedium": ("trained_here/mnist_convmed.onnx", "mnist", MNIST, 4),
    "mnist convbig": ("trained_here/mnist_convbig.onnx", "mnist", MNIST, 1),
    "mnist 256x2": ("mnist/vnncomp_mnistfc/mnist-net_256x2.onnx", "mnist", PLAIN, 16),
    "mnist 6x100 (seeded)": ("mnist_6x100", "mnist", PLAIN, 16),
    "mnist 9x200 (seeded)": ("mnist_9x200", "mnist", PLAIN, 8),
    "acas xu": ("acasxu/onnx/ACASXU_run2a_1_1_batch_2000.onnx", None, PLAIN, 1000),
}


def lines_of(network, images, scaling, n_lines):
    """Ends of the lines; without images, random ones in the box of normalised inputs."""
    if images is None:
        return np.random.default_rng(0).uniform(-0.5, 0.5, (2, n_lines, network.n_inputs))
    mean, deviation = scaling
    ends = (pwlnet.datasets.load_images(images)[0][1 : n_lines + 1] / 255.0 - mean) / deviation
    starts = (np.zeros_like(ends) - mean) / deviation
    return starts.reshape(n_lines, -1), ends.reshape(n_lines, -1)


def measure(name):
    """Breakpoints per line, microseconds of CPU per breakpoint, ratios, largest residual."""
    source, images, scaling, n_lines = CASES[name]
    if source in SEEDED:
        network = lower(build_graph(*SEEDED[source]))
    else:
        network = pwlnet.load_network(pwlnet.datasets.fetch(source))
    ends, twin = lines_of(network, images, scaling, n_lines), torch_twin.build_twin(network)
    lines = pwlnet.partition_lines(network, *ends, threads=1)
    n_points = int(lines.n_segments.sum()) - len(lines)
    batch = torch_twin.as_batch(network, np.concatenate([p.points()[:64] for p in lines.parts])[: torch_twin.BATCH])
    batch = batch.repeat(-(-torch_twin.BATCH // len(batch)), 1, 1, 1)[: torch_twin.BATCH]
    micros, ratios = [], []
    for _ in range(REPEATS):
        start = time.process_time()
        pwlnet.partition_lines(network, *ends, threads=1)
        exact = (time.process_time() - start) / n_points
        with torch.inference_mode():
            start = time.process_time()
            for _ in range(FORWARD_BATCHES):
                twin(batch)
            forward = (time.process_time() - start) / (FORWARD_BATCHES * len(batch))
        micros.append(1e6 * exact)
        ratios.append(exact / forward)
    return n_points / len(lines), statistics.median(micros), ratios, lines.residual.max(), int(lines.ambiguous.sum())


def main(names):
    """Print the table."""
    torch.set_num_threads(1)
    print("| network | breakpoints per line | CPU us per breakpoint | ratio to a float32 forward pass | residual | near-ties |")
    print("|---|---|---|---|---|---|")
    for name in names or CASES:
        points, micros, ratios, residual, ambiguous = measure(name)
        ratio = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"| {name} | {points:.0f} | {micros:.2f} | {ratio} | {residual:.0e} | {ambiguous} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
