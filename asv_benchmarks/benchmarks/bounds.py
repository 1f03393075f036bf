"""Bounds over boxes: time and memory of each method, as ratios to torch forward passes, and what must not change."""

import os
import statistics
import time

import numpy as np

import pwlnet

from . import torch_twin
from .networks import build_network, with_slow
from .networks import setup_cache as setup_cache  # for asv

REPEATS = 5
EPSILON = 0.02


def draw_box(network, n=1):
    """Boxes around seeded points."""
    points = np.random.default_rng(0).random((n, network.n_inputs))
    return pwlnet.Box.around(points, EPSILON)


class BoundBoxes:
    """One box on one thread."""

    params = (
        with_slow(["digits_mlp", "digits_conv", "acas_6x50"], ["mnist_9x200", "cifar_convsmall"]),
        ["ibp", "crown_ibp", "crown", "alpha_crown"],
    )
    param_names = ("network", "method")
    timeout = 600

    def setup(self, network, method):
        os.environ["OMP_NUM_THREADS"] = "1"
        self.network = build_network(network)
        self.box = draw_box(self.network)
        self.run(method)

    def run(self, method):
        return pwlnet.bound_preactivations(self.network, self.box, method=method, n_steps=5, threads=1)

    def time_bounds(self, network, method):
        self.run(method)

    def peakmem_bounds(self, network, method):
        self.run(method)

    def track_open_neurons(self, network, method):
        return int((self.run(method).states < 0).sum())

    def track_ratio_to_forward_passes(self, network, method):
        """CPU time relative to a float32 forward pass of torch for one row, in batches."""
        import torch

        torch.set_num_threads(1)
        twin, ratios = torch_twin.build_twin(self.network), []
        points = np.random.default_rng(1).random((256, self.network.n_inputs))
        batch = torch_twin.as_batch(self.network, points)
        for _ in range(REPEATS):
            start = time.process_time()
            self.run(method)
            bounds = time.process_time() - start
            start = time.process_time()
            with torch.inference_mode():
                for _ in range(4):
                    twin(batch)
            ratios.append(bounds / ((time.process_time() - start) / (4 * len(batch))))
        return statistics.median(ratios)

    track_ratio_to_forward_passes.unit = "ratio"


class BoundBatches:
    """Many boxes: how the time grows with their number, and with threads."""

    params = ([16, 64, 256], [1, 2])
    param_names = ("boxes", "threads")

    def setup(self, boxes, threads):
        self.network = build_network("digits_mlp")
        self.box = draw_box(self.network, boxes)
        self.time_crown(boxes, threads)

    def time_crown(self, boxes, threads):
        pwlnet.bound_preactivations(self.network, self.box, threads=threads)
