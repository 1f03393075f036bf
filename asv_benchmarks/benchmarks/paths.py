"""Fixed and float paths, and local Lipschitz constants; ratios to forward passes of the same network in torch."""

import numpy as np

import pwlnet

from .networks import FEW, build_network, with_slow
from .networks import setup_cache as setup_cache  # for asv
from .torch_twin import as_batch, build_twin, medians_in_turn

ROWS = 256


class Decompose:
    """Decompositions of many rows with a mask for each."""

    params = (FEW, with_slow([64], [1024]))
    param_names = ("network", "n_rows")

    def setup(self, network, n_rows):
        self.network = build_network(network)
        rng = np.random.default_rng(0)
        self.points = rng.random((n_rows, self.network.n_inputs))
        self.floats = rng.random((n_rows, self.network.n_neurons)) < 0.2
        self.network.forward(self.points)
        pwlnet.decompose_paths(self.network, self.points, self.floats)
        pwlnet.path_polynomial(self.network, self.points[:2], self.floats[:2])

    def time_decompose(self, network, n_rows):
        pwlnet.decompose_paths(self.network, self.points, self.floats)

    def time_polynomial(self, network, n_rows):
        pwlnet.path_polynomial(self.network, self.points, self.floats)

    def track_ratio_to_forward(self, network, n_rows):
        """Return the time in units of a forward pass of the same rows."""
        works = (
            lambda: pwlnet.decompose_paths(self.network, self.points, self.floats),
            lambda: self.network.forward(self.points),
        )
        decompose, forward = medians_in_turn(*works)
        return decompose / forward


class MaskedTwin:
    """The fixed part in torch, float32, by multiplying every activation with a mask: the baseline, on one thread."""

    params = (FEW,)
    param_names = ("network",)

    def setup(self, network):
        self.network = build_network(network)
        self.twin = build_twin(self.network)
        rng = np.random.default_rng(0)
        self.points = rng.random((ROWS, self.network.n_inputs))
        self.floats = rng.random((ROWS, self.network.n_neurons)) < 0.2
        self.batch, self.masks = as_batch(self.network, self.points), _masks(self.network, self.floats)
        fixed = pwlnet.scale_float_paths(self.network, self.points, self.floats, 0.0, gates="live")
        if not np.allclose(_masked(self.twin, self.batch, self.masks), fixed, rtol=0, atol=0.001 * np.abs(fixed).max()):
            raise AssertionError("torch does not compute the same fixed part")

    def track_ratio_to_torch(self, network):
        """Return the time of the fixed part with live gates, in units of that in torch."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            ours, torchs = medians_in_turn(
                lambda: pwlnet.scale_float_paths(self.network, self.points, self.floats, 0.0, gates="live", threads=1),
                lambda: _masked(self.twin, self.batch, self.masks),
            )
        finally:
            torch.set_num_threads(before)
        return ours / torchs


def _masks(network, floats):
    """Return the masks of fixed neurons of each ReLU as float32 tensors in the order of the source."""
    import torch

    graph, shapes = network.op_graph, network.program.shapes
    parts = np.split(~floats, graph.neuron_starts[1:-1], axis=1)
    return [
        torch.from_numpy(part.astype(np.float32).reshape(-1, *shapes[i]))
        for i, part in zip(graph.switching, parts, strict=True)
    ]


def _masked(twin, batch, masks):
    """Evaluate a chain of torch layers, with the output of each ReLU multiplied by the next mask."""
    import torch

    masks, x = iter(masks), batch
    with torch.inference_mode():
        for layer in twin:
            x = layer(x)
            if isinstance(layer, torch.nn.ReLU):
                x = x * next(masks).reshape(x.shape)
    return x.flatten(1).double().numpy()


class Lipschitz:
    """Local Lipschitz constants on a segment, and a bound on a ball."""

    params = (FEW,)
    param_names = ("network",)

    def setup(self, network):
        self.network = build_network(network)
        start, end = np.random.default_rng(0).random((2, self.network.n_inputs))
        self.segment, self.ball = pwlnet.Segment(start, start + 0.01 * (end - start)), pwlnet.Ball(start, 0.01)
        pwlnet.lipschitz_constant(self.network, self.segment)

    def time_segment(self, network):
        pwlnet.lipschitz_constant(self.network, self.segment)

    def time_ball(self, network):
        pwlnet.lipschitz_constant(self.network, self.ball)
