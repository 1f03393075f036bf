"""Regions of boxes: regions per second, ratios to forward passes at their witnesses, counting against listing, two threads.

Fully connected networks with torch's default initial weights, seeded in NumPy, on the box [-1, 1]^n. ``search`` crosses facets;
``subdivision`` cuts the box by one neuron after another.
"""

import itertools
import os
import statistics
import time

import numpy as np

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower

from . import torch_twin
from .networks import with_slow

SHAPES = {  # inputs, hidden layers
    "3-16-16": (3, 16, 16), "3-64-64": (3, 64, 64), "4-32-32": (4, 32, 32), "5-16-16": (5, 16, 16), "6-16-16": (6, 16, 16),
    "8-16": (8, 16), "8-10-10": (8, 10, 10),
}  # fmt: skip
REPEATS = 5


def build(name):
    """Return a network, and the bounds of its box."""
    sizes, rng = (*SHAPES[name], 1), np.random.default_rng(0)
    graph = Graph((sizes[0],), batched=False)
    x = graph.input
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        bound = 1.0 / np.sqrt(a)
        x = graph.linear(x, rng.uniform(-bound, bound, (b, a)), rng.uniform(-bound, bound, b), name=f"layer{k}")
        x = graph.relu(x, name=f"relu{k}") if k + 2 < len(sizes) else x
    graph.output = x
    return lower(graph), np.full(sizes[0], -1.0), np.full(sizes[0], 1.0)


def cpu_seconds(call, repeats=REPEATS):
    """Return the median processor time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


class Enumerate:
    """All regions of a box on one thread."""

    params = with_slow(["3-16-16", "3-64-64", "5-16-16"], ["4-32-32", "6-16-16"])
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        os.environ["OMP_NUM_THREADS"] = "1"
        self.network, *self.box = build(network)
        self.regions = self.listed()
        self.counted()

    def counted(self):
        return pwlnet.enumerate_regions(self.network, *self.box, want=(), threads=1)

    def listed(self, want=("patterns", "facets")):
        return pwlnet.enumerate_regions(self.network, *self.box, want=want, threads=1)

    def time_count(self, network):
        self.counted()

    def time_list(self, network):
        self.listed()

    def time_list_with_volumes_maps_and_vertices(self, network):
        self.listed(("facets", "volumes", "affine_maps", "vertices"))

    def peakmem_list(self, network):
        self.listed()

    def track_regions(self, network):
        return self.regions.n_regions

    def track_exact_decisions(self, network):
        return self.regions.n_exact

    def track_regions_per_second(self, network):
        return self.regions.n_regions / cpu_seconds(self.listed)

    def track_volume_error(self, network):
        volumes, box = self.listed("volumes").volumes(), float(np.prod(self.box[1] - self.box[0]))
        return abs(volumes.sum() / box - 1.0)

    def track_ratio_of_listing_to_counting(self, network):
        return cpu_seconds(self.listed) / cpu_seconds(self.counted)

    def track_ratio_to_forward_passes(self, network):
        """CPU time of listing, relative to one float32 forward pass of torch at each witness, in batches."""
        import torch

        torch.set_num_threads(1)
        twin = torch_twin.build_twin(self.network)
        batches = torch.split(torch_twin.as_batch(self.network, self.regions.witnesses), 4096)

        def forward():
            with torch.inference_mode():
                for batch in batches:
                    twin(batch)

        forward()
        return cpu_seconds(self.listed) / cpu_seconds(forward)

    track_volume_error.unit = "relative"
    track_ratio_of_listing_to_counting.unit = track_ratio_to_forward_passes.unit = "ratio"


class TwoThreads:
    """How much two threads help, where there are two processors."""

    params = (["3-64-64", "6-16-16"],)
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        if len(os.sched_getaffinity(0)) < 2:
            raise NotImplementedError("two processors are needed")
        os.environ["OMP_NUM_THREADS"] = "1"
        self.network, *self.box = build(network)
        for threads in (1, 2):
            self.run(threads)

    def run(self, threads):
        start = time.perf_counter()
        pwlnet.enumerate_regions(self.network, *self.box, threads=threads)
        return time.perf_counter() - start

    def track_speedup(self, network):
        return statistics.median(self.run(1) / self.run(2) for _ in range(REPEATS))

    track_speedup.unit = "times faster"


class Search:
    """The regions of a box by crossing facets, on one thread."""

    params = with_slow(["3-16-16", "8-10-10"], ["5-16-16", "8-16"])
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        os.environ["OMP_NUM_THREADS"] = "1"
        self.network, *self.box = build(network)
        self.regions = self.searched()

    def searched(self):
        return pwlnet.enumerate_regions(self.network, *self.box, method="search", threads=1)

    def time_search(self, network):
        self.searched()

    def track_regions(self, network):
        return self.regions.n_regions

    def track_regions_per_second(self, network):
        return self.regions.n_regions / cpu_seconds(self.searched, 3)


class Statistics:
    """What is asked of regions that have been enumerated."""

    def setup(self):
        network, *box = build("3-64-64")
        self.box = box
        self.regions = pwlnet.enumerate_regions(network, *box, want=("facets", "halfspaces", "volumes"), threads=1)
        self.points = np.random.default_rng(0).uniform(*box, (100_000, 3))
        self.regions.locate(self.points[:10])

    def time_summary(self):
        pwlnet.summarize_regions(self.regions)

    def time_inradii_of_100_regions(self):
        pwlnet.find_inradii(self.regions, n_sample=100, rng=np.random.default_rng(0))

    def time_locate_100000_points(self):
        self.regions.locate(self.points)

    def time_sampled_counts(self):
        rng = np.random.default_rng(0)
        pwlnet.count_sampled_regions(self.regions.network, *self.box, [1000, 100_000], rng=rng, regions=self.regions)
