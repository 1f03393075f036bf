"""Fixed and float neurons: time of draws and pairs, and ratios to the same with torch in float32, on one thread."""

import itertools
import os
import statistics
import time

import numpy as np

import pwlnet
from pwlnet.analysis.float_counts import compare_pairs, count_states
from pwlnet.draws import make_draws

from .networks import with_slow

REPEATS = 7
DRAWS, PAIRS, BATCH = 2000, 1000, 250
SIGMA = 0.1


def torch_module(name):
    """Build a seeded torch network: the module and the shape of its input."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    if name == "mnist_6x100":
        sizes = [784, *[100] * 6]
        layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(100, 10)), (784,)
    convolutions = (nn.Conv2d(1, 16, 4, 2), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*convolutions, nn.Linear(800, 100), nn.ReLU(), nn.Linear(100, 10)), (1, 28, 28)


class TorchPatterns:
    """Patterns with torch: a forward pass with hooks that keep what the ReLUs read."""

    def __init__(self, module):
        from torch import nn

        self.module, self.read = module, []
        for layer in module:
            if isinstance(layer, nn.ReLU):
                layer.register_forward_pre_hook(lambda _, inputs: self.read.append(inputs[0]))

    def run(self, x):
        """Return the pre-activations of all ReLUs."""
        import torch

        self.read.clear()
        with torch.no_grad():
            self.module(x)
        return list(self.read)

    def counts(self, x, n):
        """Count the draws of Gaussian noise at which each neuron is active."""
        import torch

        total = 0
        for _ in range(0, n, BATCH):
            z = self.run(x + SIGMA * torch.randn((BATCH, *x.shape)))
            active = [(layer > 0).sum(0) for layer in z]
            total = active if total == 0 else [a + b for a, b in zip(total, active, strict=True)]
        return total

    def pairs(self, x, y):
        """Return the masks of float neurons of pairs."""
        masks = []
        for first in range(0, len(x), BATCH):
            both = [self.run(points[first : first + BATCH]) for points in (x, y)]
            masks.append([a * b <= 0 for a, b in zip(*both, strict=True)])
        return masks


def median_ratio(theirs, ours):
    """Return the ratio of median times, measured in turn: above 1 where ``ours`` is faster."""
    seconds = ([], [])
    for call in (theirs, ours):
        call()
    for _ in range(REPEATS):
        for times, call in zip(seconds, (theirs, ours), strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


class Floats:
    """Draws of Gaussian noise and pairs of points, on one thread."""

    params = (["mnist_conv_small", "mnist_6x100"], with_slow(["float32"], ["float64"]))
    param_names = ("network", "dtype")
    timeout = 600

    def setup(self, network, dtype):
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch

        torch.set_num_threads(1)
        module, shape = torch_module(network)
        self.network, self.patterns = pwlnet.from_torch(module, shape), TorchPatterns(module)
        self.x = torch.rand((PAIRS, *shape))
        self.y = self.x + SIGMA * torch.randn(self.x.shape)
        self.first, self.second = (points.numpy().reshape(PAIRS, -1).astype(np.float64) for points in (self.x, self.y))
        self.draws = make_draws(self.network, pwlnet.Gaussian(self.first[0], SIGMA))
        self.count(dtype)
        self.compare(dtype)

    def count(self, dtype):
        return count_states(self.network, self.draws, DRAWS, dtype=dtype, threads=1)

    def compare(self, dtype):
        return compare_pairs(self.network, self.first, self.second, dtype=dtype, states=False, threads=1)

    def time_draws(self, network, dtype):
        self.count(dtype)

    def time_pairs(self, network, dtype):
        self.compare(dtype)

    def peakmem_draws(self, network, dtype):
        self.count(dtype)

    def track_draws_torch_ratio(self, network, dtype):
        return median_ratio(lambda: self.patterns.counts(self.x[0], DRAWS), lambda: self.count(dtype))

    def track_pairs_torch_ratio(self, network, dtype):
        return median_ratio(lambda: self.patterns.pairs(self.x, self.y), lambda: self.compare(dtype))

    def track_float_neurons(self, network, dtype):
        return int(((self.count("float64").counts[0, :2] > 0).sum(axis=0) == 2).sum())
