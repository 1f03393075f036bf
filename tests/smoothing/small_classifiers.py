"""Small classifiers whose smoothed classes are known in closed form."""

import itertools

import numpy as np
import torch

import pwlnet


def as_network(module, n_inputs):
    return pwlnet.from_torch(module.double(), (n_inputs,))


def layer(weights, biases):
    linear = torch.nn.Linear(len(weights[0]), len(weights))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weights, dtype=torch.float64))
        linear.bias.copy_(torch.tensor(biases, dtype=torch.float64))
    return linear


def halfspace(w, b):
    """Class 1 where w.x + b > 0, else class 0."""
    return layer([[0.0] * len(w), list(w)], [0.0, b])


def slab(w, half_width):
    """Class 1 where |w.x| < half_width, else class 0."""
    w = np.asarray(w, np.float64)
    return torch.nn.Sequential(
        layer(np.stack([w, -w]).tolist(), [0.0, 0.0]), torch.nn.ReLU(), layer([[0.0, 0.0], [-1.0, -1.0]], [0.0, half_width])
    )


def two_neurons(t=0.01):
    """Class 1 where relu(z / t) - relu(z / t - 1) > 0.95: the counterexample to nominal certificates."""
    return torch.nn.Sequential(
        layer([[1.0 / t], [1.0 / t]], [0.0, -1.0]), torch.nn.ReLU(), layer([[-1.0, 1.0], [1.0, -1.0]], [0.95, -0.95])
    )


def random_mlp(seed, sizes=(4, 16, 16, 3)):
    torch.manual_seed(seed)
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
