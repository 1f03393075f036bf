"""Values, states and Jacobians at many points."""

import numpy as np

from .networks import FEW, build_network, with_slow
from .networks import setup_cache as setup_cache  # for asv


class Evaluate:
    """Few rows and many, all processors."""

    params = (FEW, with_slow([1024], [64]))
    param_names = ("network", "n_rows")

    def setup(self, network, n_rows):
        self.network = build_network(network)
        self.points = np.random.default_rng(0).random((n_rows, self.network.n_inputs))
        self.network.forward(self.points)
        self.network.patterns(self.points)

    def time_forward(self, network, n_rows):
        self.network.forward(self.points)

    def time_patterns(self, network, n_rows):
        self.network.patterns(self.points)


class Jacobian:
    """Jacobians of a few points."""

    params = (FEW,)
    param_names = ("network",)

    def setup(self, network):
        self.network = build_network(network)
        self.points = np.random.default_rng(0).random((8, self.network.n_inputs))
        self.network.jacobian(self.points)

    def time_jacobian(self, network):
        self.network.jacobian(self.points)
