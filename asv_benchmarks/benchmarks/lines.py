"""Exact partitions of lines: time, memory, and what must not change from commit to commit."""

import os

import numpy as np

import pwlnet

from . import torch_twin
from .networks import DEEP, NAMES, REACH, build_module, build_network, draw_lines, with_slow
from .networks import setup_cache as setup_cache  # for asv

MOST_POINTS = 16 * torch_twin.BATCH  # evaluated by torch; the time is scaled to all breakpoints
RESULT = ("t", "flip_offsets", "flip_neurons", "flip_states")


def count(batches):
    """Count the breakpoints of partitions."""
    return sum(len(lines.t) - 2 * len(lines) for lines in batches)


def digest(batches):
    """Return the first 13 hex digits of the SHA-256 of breakpoints and flips as a number, which a float64 holds exactly."""
    from pwlnet.store.digest import digest_arrays

    return int(digest_arrays([(name, getattr(lines, name)) for lines in batches for name in RESULT])[:13], 16)


class _Tracked:
    """Properties that must not change, of the partition that ``setup`` leaves in ``self.lines``."""

    def track_breakpoints(self, *params):
        return count([self.lines])

    def track_digest(self, *params):
        return digest([self.lines])

    def track_residual(self, *params):
        return float(self.lines.residual.max())

    track_residual.unit = "relative"


class PartitionLines:
    """Many lines on all processors; more of them by factors of four."""

    params = (with_slow(["digits_conv", "cifar_convsmall"], ["digits_mlp"]), with_slow([16], [4, 64]))
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


class PartitionOneLine(_Tracked):
    """One line on one thread, on every network: the method itself."""

    params = (NAMES,)
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, 1, reach=REACH.get(network, 1.0))
        self.lines = pwlnet.partition_lines(self.network, *self.ends, threads=1)

    def time_partition(self, network):
        pwlnet.partition_lines(self.network, *self.ends, threads=1)

    def peakmem_partition(self, network):
        pwlnet.partition_lines(self.network, *self.ends, threads=1)


class LongLine(_Tracked):
    """One line, extrapolated beyond its end, on one thread: time and memory as functions of its length."""

    params = (with_slow(["digits_conv"], ["cifar_convbig"]), with_slow([1, 16], [4]))
    param_names = ("network", "reach")
    timeout = 1800

    def setup(self, network, reach):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, 1, reach=reach)
        self.lines = pwlnet.partition_lines(self.network, *self.ends, threads=1)

    def track_microseconds_per_breakpoint(self, network, reach):
        seconds = torch_twin.median_seconds(lambda: pwlnet.partition_lines(self.network, *self.ends, threads=1))
        return 1e6 * seconds / max(1, self.track_breakpoints())

    track_microseconds_per_breakpoint.unit = "us"

    def peakmem_partition(self, network, reach):
        pwlnet.partition_lines(self.network, *self.ends, threads=1)


class TwoThreads:
    """Speed-up by a second thread: for many lines, and for one line that is cut into windows."""

    params = (with_slow(["cifar_convsmall, 100 lines"], ["cifar_convbig, 1 line"]),)
    param_names = ("work",)
    timeout = 1800

    def setup(self, work):
        if (os.cpu_count() or 1) < 2:
            raise NotImplementedError("there is only one processor")
        network, n_lines = work.split(", ")
        self.network = build_network(network)
        self.ends = draw_lines(self.network, int(n_lines.split()[0]))
        pwlnet.partition_lines(self.network, *self.ends, threads=2)

    def track_speed_up(self, work):
        one, two = torch_twin.medians_in_turn(
            lambda: pwlnet.partition_lines(self.network, *self.ends, threads=1),
            lambda: pwlnet.partition_lines(self.network, *self.ends, threads=2),
        )
        return one / two

    track_speed_up.unit = "times"


class Float32Slopes:
    """Slope changes in float32 on one thread: time relative to float64, and loss of accuracy."""

    params = (with_slow(["cifar_convsmall"], ["digits_conv", "cifar_convbig", *DEEP]),)
    param_names = ("network",)
    timeout = 1800

    def setup(self, network):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, 1, reach=REACH.get(network, 1.0))
        self.lines = self.partition("float32")

    def partition(self, slope_dtype):
        return pwlnet.partition_lines(self.network, *self.ends, threads=1, slope_dtype=slope_dtype)

    def track_ratio_to_float64(self, network):
        double, single = torch_twin.medians_in_turn(lambda: self.partition("float64"), lambda: self.partition("float32"))
        return single / double

    track_ratio_to_float64.unit = "times"

    def track_near_ties(self, network):
        return int(self.lines.ambiguous.sum())

    def track_t_error(self, network):
        return float(self.lines.t_error.max())


class StreamLines:
    """Many lines in batches on all processors, dropped or summarized at once: memory must not grow with their number."""

    params = (with_slow(["digits_conv"], ["cifar_convsmall"]), with_slow([64], [1024]))
    param_names = ("network", "n_lines")
    max_points = 2**14
    timeout = 600

    def setup(self, network, n_lines):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, n_lines)
        pwlnet.partition_lines(self.network, *draw_lines(self.network, 1))

    def stream(self):
        """Return an iterator of the partitions, batch by batch."""
        return pwlnet.iter_line_partitions(self.network, *self.ends, max_points=self.max_points)

    def track_breakpoints_per_second(self, network, n_lines):
        return count(self.stream()) / torch_twin.median_seconds(lambda: count(self.stream()))

    track_breakpoints_per_second.unit = "1/s"

    def peakmem_stream(self, network, n_lines):
        count(self.stream())

    def track_digest(self, network, n_lines):
        return digest(self.stream())

    def time_summarize(self, network, n_lines):
        pwlnet.summarize_lines(self.network, *self.ends)


class TorchForward:
    """Time of exact partitions relative to a forward pass of torch, float32, at all their breakpoints; both on one thread.

    The number of lines is such that the network's size matters and the cost of a call does not: 1000 on ACAS Xu, 1 on the
    largest network.
    """

    params = (NAMES,)
    param_names = ("network",)
    timeout = 900

    def setup(self, network):
        self.network = build_network(network)
        self.twin = build_module(network) if network in DEEP else torch_twin.build_twin(self.network)
        bounds = ((400, 1000), (2000, 64), (10000, 4))
        n_lines = next((n for most, n in bounds if self.network.n_neurons < most), 1)
        self.ends = draw_lines(self.network, n_lines, reach=REACH.get(network, 1.0))
        self.lines = pwlnet.partition_lines(self.network, *self.ends, threads=1)

    def track_ratio_to_torch_forward(self, network):
        exact = torch_twin.median_seconds(lambda: pwlnet.partition_lines(self.network, *self.ends, threads=1))
        points = np.concatenate([part.points()[1:-1] for part in self.lines.parts])
        chosen = points[np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(np.int64)]
        forward = torch_twin.seconds_of_forward(self.twin, torch_twin.as_batch(self.network, chosen))
        return exact / (forward * len(points) / len(chosen))

    track_ratio_to_torch_forward.unit = "forward passes"
