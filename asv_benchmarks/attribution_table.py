"""Print the table of docs/guide/attributions.md: exact integrated gradients and the usual methods, one thread, one process.

    export PWLNET_DATA_DIR=... OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python asv_benchmarks/attribution_table.py [--images N] [NAME ...]

For each image, from black, CPU time of: pwlnet for all classes, and for one; captum (float32, one class, all steps in one
batch) with 50 Gauss-Legendre steps, and with as many as stay within 5 % of the exact attributions (mean relative error, for
5 consecutive counts; images that need more than 1000 are reported and omitted there); and the exact method without pwlnet's
sweep: torch gradients, in batches of 256, of one class at the middles of all segments, the partition not included. pwlnet
attributes the images of a group in one call; captum is called for each, which is faster for it. The table has medians over
the groups.
"""

import argparse
import statistics
import sys
import time

import numpy as np
import torch
from benchmarks import torch_twin
from captum.attr import IntegratedGradients
from image_lines import NETWORKS, lines_of, load

import pwlnet

GROUP = 10
STEPS = 50
ERROR, MOST_STEPS = 0.05, 1000
HEADINGS = (
    "network | segments | exact, all classes, ms | exact, one class, ms | captum, 50 steps, ms | all classes / captum | "
    "one class / captum | steps to 5 % (median) | all classes / captum at 5 % | backward passes / all classes"
)


class Ways:
    """Methods to attribute one network's images, each for a group of them: start, ends float64[n, D], classes int64[n]."""

    def __init__(self, network):
        self.network, self.twin = network, torch_twin.build_twin(network)
        self.captum = IntegratedGradients(self.twin)

    def exact(self, start, ends, outputs=None):
        """Compute pwlnet's attributions."""
        return pwlnet.integrate_gradients(self.network, start, ends, outputs=outputs, threads=1)

    def sampled(self, start, ends, classes, steps):
        """Compute captum's attributions of one class; nothing for images with 0 steps."""
        before, after = torch_twin.as_batch(self.network, start), torch_twin.as_batch(self.network, ends)
        for k in np.flatnonzero(steps):
            options = {"target": int(classes[k]), "n_steps": int(steps[k]), "method": "gausslegendre"}
            self.captum.attribute(after[k : k + 1], before, **options)

    def backward(self, points, wanted):
        """Compute gradients of class ``wanted[k]`` at the k-th batches of points."""
        for batches, k in zip(points, wanted, strict=True):
            for batch in batches:
                batch = batch.clone().requires_grad_()
                self.twin(batch)[:, k].sum().backward()


def seconds(work, *arguments):
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def measure(name, n_images):
    """Return rows of (segments, seconds of each method per image, steps), one per group."""
    network = load(name)
    starts, ends = lines_of(name, network, n_images)
    ways, classes = Ways(network), network.forward(ends).argmax(axis=1)
    rows, unreached = [], 0
    for first in range(-GROUP, n_images - GROUP + 1, GROUP):  # the first group warms up
        group = slice(max(first, 0), max(first, 0) + GROUP)
        lines = pwlnet.partition_lines(network, starts[group], ends[group], threads=1)
        counts = pwlnet.count_samples(lines, classes[group], methods=["gauss_legendre"], within=ERROR, max_samples=MOST_STEPS)
        steps = np.maximum(counts.relative[:, 0], 0)
        points = [torch_twin.as_batch(network, part.midpoints()).split(torch_twin.BATCH) for part in lines.parts]
        fixed = np.full(GROUP, STEPS)
        times = [
            seconds(ways.exact, starts[:1], ends[group]),
            seconds(ways.sampled, starts[:1], ends[group], classes[group], fixed),
            seconds(ways.exact, starts[:1], ends[group], classes[group][:1]),
            seconds(ways.sampled, starts[:1], ends[group], classes[group], steps) * GROUP / max(1, np.count_nonzero(steps)),
            seconds(ways.backward, points, classes[group]),
        ]
        if first >= 0:
            rows.append([lines.n_segments.mean(), *np.divide(times, GROUP), np.median(steps[steps > 0])])
            unreached += int(np.count_nonzero(steps == 0))
    return np.array(rows), unreached


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="*", default=["mnist convsmall", "cifar convsmall"])
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {HEADINGS} |\n|{'---|' * len(HEADINGS.split(' | '))}")
    for name in options.names:
        if name not in NETWORKS:
            sys.exit(f"{name} is no network; use {', '.join(NETWORKS)}")
        rows, unreached = measure(name, options.images)
        segments, everything, captum, one, at_error, backward, steps = rows.T
        cells = [name, f"{segments.mean():.0f}", *(f"{1e3 * statistics.median(t):.2f}" for t in (everything, one, captum))]
        cells += [_spread(everything / captum), _spread(one / captum), f"{np.median(steps):.0f} ({unreached} need more)"]
        cells += [_spread(everything / at_error), _spread(backward / everything)]
        print(f"| {' | '.join(cells)} |", flush=True)


def _spread(ratios):
    return f"{statistics.median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"


if __name__ == "__main__":
    main()
