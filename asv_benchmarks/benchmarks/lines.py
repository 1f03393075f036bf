"""Exact partitions of lines: time, memory, and what must not change from commit to commit."""

import numpy as np

import pwlnet

from . import torch_twin
from .networks import NAMES, build_network, draw_lines

MOST_POINTS = 16 * torch_twin.BATCH  # that torch evaluates; its time is scaled to all breakpoints


class PartitionLines:
    """All processors; more lines by factors of four."""

    params = (["digits_mlp", "digits_conv", "cifar_convsmall"], [4, 16, 64])
    param_names = ("network", "n_lines")
    timeout = 600

    def setup(self, network, n_lines):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, n_lines)
        pwlnet.partition_lines(self.network, *self.ends)

    def time_partition(self, network, n_lines):
        pwlnet.partition_lines(self.network, *self.ends)

    def peakmem_partition(self, network, n_lines):
        pwlnet.partition_lines(self.network, *self.ends)


class PartitionOneLine:
    """One line on one thread, on every network: the method itself."""

    params = (NAMES,)
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, 1)
        self.lines = pwlnet.partition_lines(self.network, *self.ends, threads=1)

    def time_partition(self, network):
        pwlnet.partition_lines(self.network, *self.ends, threads=1)

    def track_breakpoints(self, network):
        return len(self.lines.t) - 2

    def track_digest(self, network):
        """SHA-256 of breakpoints and flips, first 13 hex digits as a number: a float64 holds it."""
        from pwlnet.store.digest import digest_arrays

        fields = ("t", "flip_offsets", "flip_neurons", "flip_states")
        return int(digest_arrays([(name, getattr(self.lines, name)) for name in fields])[:13], 16)

    def track_residual(self, network):
        return float(self.lines.residual.max())

    track_residual.unit = "relative"


class TorchForward:
    """Exact partitions in units of one forward pass of torch, float32, at all their breakpoints; both on one thread.

    As many lines as make the network's size matter, not the cost of a call: 64 on small networks, 1 on the largest.
    """

    params = (NAMES,)
    param_names = ("network",)
    timeout = 900

    def setup(self, network):
        self.network = build_network(network)
        self.twin = torch_twin.build_twin(self.network)
        n_lines = 64 if self.network.n_neurons < 2000 else 4 if self.network.n_neurons < 10000 else 1
        self.ends = draw_lines(self.network, n_lines)
        self.lines = pwlnet.partition_lines(self.network, *self.ends, threads=1)

    def track_ratio_to_torch_forward(self, network):
        exact = torch_twin.median_seconds(lambda: pwlnet.partition_lines(self.network, *self.ends, threads=1))
        points = np.concatenate([part.points()[1:-1] for part in self.lines.parts])
        chosen = points[np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(np.int64)]
        forward = torch_twin.seconds_of_forward(self.twin, torch_twin.as_batch(self.network, chosen))
        return exact / (forward * len(points) / len(chosen))

    track_ratio_to_torch_forward.unit = "forward passes"
