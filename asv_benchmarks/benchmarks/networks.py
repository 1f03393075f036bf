"""The networks that all benchmarks share, built from seeds, and lines through their inputs.

A name is a row of a table: ``dense_DxW`` has D hidden layers of W neurons and 64 inputs, ``conv_C`` takes 3x32x32
images through four convolutions with C channels at first. Weights are He-initialised, not trained.
"""

import itertools

import numpy as np

DENSE = {"dense_4x64": (4, 64), "dense_8x64": (8, 64), "dense_4x256": (4, 256), "dense_8x256": (8, 256)}
CONV = {"conv_8": 8, "conv_32": 32}
N_DENSE_INPUTS = 64


def build_network(name):
    """A pwlnet.Network of one of the tables above, or a shipped one."""
    import pwlnet
    from pwlnet import shipped

    if name in shipped.DIGITS_NETWORKS:
        return pwlnet.load_network(shipped.digits_network_path(name))
    if name in DENSE:
        return pwlnet.from_torch(build_dense(*DENSE[name]), (N_DENSE_INPUTS,))
    return pwlnet.from_torch(build_conv(CONV[name]), (3, 32, 32))


def build_dense(depth, width, seed=0):
    """A torch module: ``depth`` times (Linear, ReLU), then Linear to ten outputs."""
    from torch import nn

    widths = [N_DENSE_INPUTS] + [width] * depth
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return _initialise(nn.Sequential(*layers, nn.Linear(width, 10)), seed)


def build_conv(channels, seed=0):
    """A torch module: four convolutions, two of them of stride 2, then two full layers."""
    from torch import nn

    c = channels
    return _initialise(
        nn.Sequential(
            *(nn.Conv2d(3, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 4, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * c, 2 * c, 4, stride=2, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(2 * c * 8 * 8, 64), nn.ReLU(), nn.Linear(64, 10)),
        ),
        seed,
    )


def draw_lines(network, n_lines, seed=0):
    """Ends [L, D] of lines between points drawn uniformly from the unit cube."""
    rng = np.random.default_rng(seed)
    starts, ends = rng.random((2, n_lines, network.n_inputs))
    return starts, ends


def _initialise(module, seed):
    """He initialisation by NumPy's generator, whose streams do not change with torch's version."""
    import torch

    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 0
            scale = np.sqrt(2 / fan_in) if fan_in else 0.05
            parameter.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(parameter.shape))))
    return module.eval()
