"""Certification by randomized smoothing: ratios to the published loop with torch in float32, on one thread.

The published loop (Cohen et al., ICML 2019) repeats the image, adds ``torch.randn_like``, and counts the classes of batches of
noisy images; its noise depends on the state of torch's generator. Above 1: pwlnet is faster.
"""

import itertools
import os
import statistics
import time

import numpy as np

import pwlnet
from pwlnet.smoothing import PosteriorMean, SmoothedClassifier, repress_float_paths
from pwlnet.smoothing.network_pass import repressed_outputs
from pwlnet.smoothing.noise import ESTIMATE, Query

from .floats import torch_module
from .networks import with_slow

REPEATS = 15
N0, N, ALPHA, SIGMA = 100, 2000, 0.001, 0.25
BATCH = 1000
NETWORKS = ["digits_mlp15", "mnist_6x100", "mnist_conv_small"]
MODES = ["clean, 1 pass", "clean, 2 passes", "map, 1 pass", "map, 2 passes", "denoiser, 1 pass", "denoiser, 2 passes"]
N_TRAINING = 1000  # images of the denoiser


def build(name):
    """Build a seeded torch network in evaluation mode: the module and the shape of its input."""
    import torch
    from torch import nn

    if name != "digits_mlp15":
        module, shape = torch_module(name)
        return module.eval(), shape
    torch.manual_seed(0)
    layers = []
    for a, b in itertools.pairwise([64, *[48] * 15]):
        layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(48, 10)).eval(), (64,)


def published_loop(module, x, n):
    """Count the classes of n noisy images: int64[10]."""
    import torch

    counts = np.zeros(10, np.int64)
    with torch.no_grad():
        for first in range(0, n, BATCH):
            batch = x.repeat((min(BATCH, n - first), *[1] * (x.ndim - 1)))
            noise = torch.randn_like(batch) * SIGMA
            counts += np.bincount(module(batch + noise).argmax(1).numpy(), minlength=10)
    return counts


def certify_as_published(module, x):
    """Certify one image by the published loop: class and radius."""
    from scipy.stats import beta, norm

    candidate = int(published_loop(module, x, N0).argmax())
    k = int(published_loop(module, x, N)[candidate])
    p = beta.ppf(ALPHA, k, N - k + 1) if k else 0.0
    return (candidate, SIGMA * norm.ppf(p)) if p > 0.5 else (-1, 0.0)


def median_of_ratios(theirs, ours):
    """Return the median over pairs of measurements of the time of ``theirs`` over that of ``ours``."""
    ratios = []
    for call in (theirs, ours):
        call()
    for _ in range(REPEATS):
        seconds = []
        for call in (theirs, ours):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


class PlainCase:
    """A network and its torch module, on one thread, and their plain classifiers."""

    timeout = 600

    def build(self, network):
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch

        torch.set_num_threads(1)
        self.module, self.shape = build(network)
        self.network = pwlnet.from_torch(self.module, self.shape)
        self.x = torch.rand(self.shape)
        self.image = self.x.numpy().astype(np.float64)
        self.of_network = SmoothedClassifier(self.network, SIGMA, threads=1)
        self.of_module = SmoothedClassifier(self.module, SIGMA, input_shape=self.shape)
        self.noisy = Query(self.image, SIGMA, 0, ESTIMATE, 0, 0, BATCH).points()
        self.certify(self.of_network)

    def certify(self, smoothed):
        return smoothed.certify(self.image, n0=N0, n=N, alpha=ALPHA, rng=0, region_radii=False)


class Smoothing(PlainCase):
    """Certificates of a plain classifier, its forward passes and its noise."""

    params = (NETWORKS,)
    param_names = ("network",)

    def setup(self, network):
        self.build(network)

    def published(self):
        return certify_as_published(self.module, self.x[None])

    def forward(self):
        return repressed_outputs(self.network, self.noisy, threads=1)

    def torch_forward(self):
        import torch

        with torch.no_grad():
            return self.module(torch.from_numpy(self.noisy).float().reshape(-1, *self.shape))

    def torch_noise(self):
        import torch

        return self.x + SIGMA * torch.randn((BATCH, *self.shape))

    def time_certify(self, network):
        self.certify(self.of_network)

    def peakmem_certify(self, network):
        self.certify(self.of_network)

    def track_network_ratio(self, network):
        return median_of_ratios(self.published, lambda: self.certify(self.of_network))

    def track_module_ratio(self, network):
        return median_of_ratios(self.published, lambda: self.certify(self.of_module))

    def track_forward_ratio(self, network):
        return median_of_ratios(self.torch_forward, self.forward)

    def track_noise_ratio(self, network):
        return median_of_ratios(self.torch_noise, Query(self.image, SIGMA, 0, ESTIMATE, 0, 0, BATCH).points)


class Repression(PlainCase):
    """Time of certificates with repressed float neurons, relative to plain ones."""

    params = (NETWORKS, with_slow(MODES[:2], MODES[2:]))
    param_names = ("network", "mode")

    def setup(self, network, mode):
        self.build(network)
        reference, passes = mode.split(", ")
        options = {}
        if reference == "map":  # a reference that costs nothing: the cost of the passes alone
            options["denoiser"] = lambda z: 0.5 * z
        elif reference == "denoiser":
            training = np.random.default_rng(0).random((N_TRAINING, *self.shape))
            options["denoiser"] = PosteriorMean(training, SIGMA)
        reference = "clean" if reference == "clean" else "denoiser"
        options |= {"reference": reference, "passes": int(passes[0])}
        self.smoothed = {
            "network": SmoothedClassifier(repress_float_paths(self.network, -0.1, threads=1, **options), SIGMA),
            "module": SmoothedClassifier(repress_float_paths(self.module, -0.1, **options), SIGMA, input_shape=self.shape),
        }

    def track_network_overhead(self, network, mode):
        return median_of_ratios(lambda: self.certify(self.smoothed["network"]), lambda: self.certify(self.of_network))

    def track_module_overhead(self, network, mode):
        return median_of_ratios(lambda: self.certify(self.smoothed["module"]), lambda: self.certify(self.of_module))
