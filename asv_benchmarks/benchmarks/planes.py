"""Exact partitions of planes: time, memory, polygons per second, ratios to forward passes, and what must not change."""

import os
import statistics
import time

import numpy as np

import pwlnet

from . import torch_twin
from .networks import build_network, with_slow
from .networks import setup_cache as setup_cache  # for asv

REPEATS = 5
SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
# Half the side of the square on each network.
SIZES = {"acas_6x50": 2.0, "digits_mlp": 2.0, "digits_conv": 0.15, "mnist_9x200": 0.05, "cifar_convsmall": 0.02}


def draw_plane(network, size):
    """Return the arguments of a plane through a seeded point, in two seeded directions of length ``size``."""
    rng = np.random.default_rng(0)
    origin, e1, e2 = rng.normal(size=(3, network.n_inputs))
    return 0.1 * origin, size * e1 / np.linalg.norm(e1), size * e2 / np.linalg.norm(e2), SQUARE


class PartitionPlane:
    """One plane on one thread."""

    params = with_slow(["acas_6x50", "digits_conv"], ["digits_mlp", "mnist_9x200", "cifar_convsmall"])
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        os.environ["OMP_NUM_THREADS"] = "1"
        self.network = build_network(network)
        self.plane = draw_plane(self.network, SIZES[network])
        self.part = pwlnet.partition_planes(self.network, *self.plane, threads=1).parts[0]

    def time_partition(self, network):
        pwlnet.partition_planes(self.network, *self.plane, threads=1)

    def time_classes(self, network):
        self.part.classes()

    def peakmem_partition(self, network):
        pwlnet.partition_planes(self.network, *self.plane, threads=1)

    def track_polygons(self, network):
        return self.part.n_polygons

    def track_residual(self, network):
        return self.part.residual

    def track_exact_decisions(self, network):
        return pwlnet.partition_planes(self.network, *self.plane, threads=1).n_exact

    def track_polygons_per_second(self, network):
        seconds = []
        for _ in range(REPEATS):
            start = time.process_time()
            pwlnet.partition_planes(self.network, *self.plane, threads=1)
            seconds.append(time.process_time() - start)
        return self.part.n_polygons / statistics.median(seconds)

    def track_ratio_to_forward_passes(self, network):
        """CPU time, relative to one float32 forward pass of torch for each polygon, in batches."""
        import torch

        torch.set_num_threads(1)
        twin, ratios = torch_twin.build_twin(self.network), []
        points = np.resize(self.part.points()[:256], (256, self.network.n_inputs))
        batch = torch_twin.as_batch(self.network, points)
        for _ in range(REPEATS):
            start = time.process_time()
            pwlnet.partition_planes(self.network, *self.plane, threads=1)
            exact = (time.process_time() - start) / self.part.n_polygons
            start = time.process_time()
            with torch.inference_mode():
                for _ in range(4):
                    twin(batch)
            ratios.append(exact / ((time.process_time() - start) / (4 * len(batch))))
        return statistics.median(ratios)

    track_residual.unit, track_ratio_to_forward_passes.unit = "relative", "ratio"


class AskPlane:
    """What is asked of a plane that has been partitioned."""

    def setup(self):
        network = build_network("acas_6x50")
        self.part = pwlnet.partition_planes(network, *draw_plane(network, 2.0), threads=1).parts[0]
        self.points = np.random.default_rng(0).uniform(-1.0, 1.0, (100_000, 2))
        self.part.locate(self.points)

    def time_locate_100000_points(self):
        self.part.locate(self.points)

    def time_affine_maps(self):
        self.part.affine_maps(threads=1)

    def time_adjacency(self):
        self.part.adjacency()

    def time_find_where(self):
        pwlnet.find_where(self.part, pwlnet.HalfSpaces.smallest(0, 5))
