"""Exact integrated gradients: time, memory, completeness, and ratios to the usual methods."""

import pwlnet

from . import torch_twin
from .networks import FEW, build_network, draw_lines
from .networks import setup_cache as setup_cache  # for asv

N_LINES = 4
STEPS = 50  # of captum, Gauss-Legendre


class IntegrateGradients:
    """All outputs, on one thread."""

    params = (FEW,)
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, N_LINES)
        self.found = self.integrate()

    def integrate(self, outputs=None):
        return pwlnet.integrate_gradients(self.network, *self.ends, outputs=outputs, threads=1)

    def time_all_outputs(self, network):
        self.integrate()

    def time_one_output(self, network):
        self.integrate([0])

    def peakmem_all_outputs(self, network):
        self.integrate()

    def track_residual(self, network):
        return float(abs(self.found.residual).max())

    track_residual.unit = "relative"

    def track_segments(self, network):
        return int(self.found.n_segments.sum())


class RatioToOthers:
    """Time of exact attributions of all outputs, relative to the usual methods for one output; torch in float32, one thread."""

    params = (FEW,)
    param_names = ("network",)
    timeout = 600

    def setup(self, network):
        self.network = build_network(network)
        self.ends = draw_lines(self.network, N_LINES)
        self.twin = torch_twin.build_twin(self.network)

    def exact(self):
        pwlnet.integrate_gradients(self.network, *self.ends, threads=1)

    def captum(self):
        for before, after in zip(*self.batches, strict=True):
            self.sampler.attribute(after[None], before[None], target=0, n_steps=STEPS, method="gausslegendre")

    def backward(self):
        for batch in self.middles:
            batch = batch.clone().requires_grad_()
            self.twin(batch)[:, 0].sum().backward()

    def track_ratio_to_captum(self, network):
        try:
            from captum.attr import IntegratedGradients
        except ImportError as error:
            raise NotImplementedError("captum is not installed") from error
        self.sampler = IntegratedGradients(self.twin)
        self.batches = [torch_twin.as_batch(self.network, points) for points in self.ends]
        return self._ratio(self.captum)

    def track_ratio_to_backward_passes(self, network):
        """One backward pass per segment; the time of the partition that provides the segments is not included."""
        lines = pwlnet.partition_lines(self.network, *self.ends)
        parts = [torch_twin.as_batch(self.network, part.midpoints()).split(torch_twin.BATCH) for part in lines.parts]
        self.middles = [batch for part in parts for batch in part]
        return self._ratio(self.backward)

    def _ratio(self, other):
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.exact()
            other()
            exact, usual = torch_twin.medians_in_turn(self.exact, other)
            return exact / usual
        finally:
            torch.set_num_threads(before)

    track_ratio_to_captum.unit = track_ratio_to_backward_passes.unit = "ratio"
