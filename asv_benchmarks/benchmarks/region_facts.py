"""Facts about regions of points and patterns: half-spaces, radii, facets, entropies, similarities.

``track_ratio_to_torch``: time of torch's Jacobian of all pre-activations (float64, one thread, reverse mode) over that of the
half-spaces. ``track_ratio_to_programs``: time of one linear program per row, with all other rows, over that of the facets.
"""

import time

import numpy as np

import pwlnet

from .networks import FEW, build_network, with_slow
from .networks import setup_cache as setup_cache  # for asv


def seconds(call, repeat=3):
    """Return the least processor time of several calls."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


class HalfSpaces:
    """All rows of the region of one point, and the radii of several points."""

    params = (FEW,)
    param_names = ("network",)

    def setup(self, network):
        self.network = build_network(network)
        self.points = np.random.default_rng(0).random((8, self.network.n_inputs))
        self.rows()
        self.radii()

    def rows(self):
        return pwlnet.region_of(self.network, self.points[0], threads=1).G

    def radii(self):
        return pwlnet.stable_radii(self.network, self.points, threads=1)

    def time_rows(self, network):
        self.rows()

    def time_radii_of_eight_points(self, network):
        self.radii()

    def track_ratio_to_torch(self, network):
        return seconds(torch_gradients(self.network, self.points[0])) / seconds(self.rows)

    track_ratio_to_torch.unit = "times faster"


def torch_gradients(network, x):
    """Return a function that computes the Jacobian of all pre-activations in float64 by reverse mode, 256 rows at a time."""
    from .torch_twin import as_batch, build_twin

    twin = build_twin(network).double()
    import torch

    def preactivations(values):
        found = []
        for layer in twin:
            if isinstance(layer, torch.nn.ReLU):
                found.append(values.flatten())
            values = layer(values)
        return torch.cat(found)

    torch.set_num_threads(1)
    batch = as_batch(network, x[None]).double()
    return lambda: torch.func.jacrev(preactivations, chunk_size=256)(batch)


class Facets:
    """Facets of a region in a box."""

    params = (["digits_mlp"],)
    param_names = ("network",)

    def setup(self, network):
        self.network = build_network(network)
        size = self.network.n_inputs
        self.box = pwlnet.Box(np.zeros(size), np.ones(size))
        self.region = pwlnet.region_of(self.network, np.random.default_rng(0).random(size), threads=1)
        self.region.G  # noqa: B018  computed once

    def time_facets(self, network):
        self.region.facets(box=self.box)

    def time_inscribed_ball(self, network):
        self.region.inscribed_ball(box=self.box)

    def track_ratio_to_programs(self, network):
        return seconds(self.one_program_per_row, 1) / seconds(lambda: self.region.facets(box=self.box), 1)

    track_ratio_to_programs.unit = "times faster"

    def one_program_per_row(self):
        from scipy.optimize import linprog

        G, h = self.region.unit_rows()
        bounds, n = np.column_stack([self.box.lower, self.box.upper]), 0
        for m in range(len(G)):
            result = linprog(-G[m], A_ub=np.delete(G, m, 0), b_ub=np.delete(h, m), bounds=bounds, method="highs")
            n += -result.fun > h[m]
        return n


class Patterns:
    """Entropies under noise, and similarities of all pairs."""

    params = (FEW, with_slow([1024], [4096]))
    param_names = ("network", "n_points")

    def setup(self, network, n_points):
        self.network = build_network(network)
        self.points = np.random.default_rng(0).random((n_points, self.network.n_inputs))
        pwlnet.neuron_entropy(self.network, self.points[:2])
        pwlnet.pattern_similarity(self.network, self.points[:2])

    def time_entropy(self, network, n_points):
        pwlnet.neuron_entropy(self.network, self.points)

    def time_similarity(self, network, n_points):
        pwlnet.pattern_similarity(self.network, self.points)
