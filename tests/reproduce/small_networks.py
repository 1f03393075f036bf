"""Small networks with few inputs as subjects of experiments, with parts of their outputs that can be computed by hand."""

import numpy as np

import pwlnet
from pwlnet.reproduce.experiment import Options
from pwlnet.reproduce.subjects import Subject

WIDTH = 0.01


def subject(layers, images, labels, *, title="digits MLP of depth 1, standard training", training="standard"):
    """Make a subject of torch layers with weights (matrix, bias), and ReLUs between them."""
    import torch
    from torch import nn

    modules = []
    for weight, bias in layers:
        layer = nn.Linear(np.shape(weight)[1], len(weight), dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
        modules += [layer, nn.ReLU()]
    images = np.array(images, np.float64)
    d = images.shape[1]
    network = pwlnet.from_torch(nn.Sequential(*modules[:-1]), (d,))
    return Subject("small", title, training, "digits", network, images, np.array(labels), np.zeros(d), np.ones(d))


def step(images, labels):
    """Make a network of scores -s and s, where s rises from -0.95 at x = 0.5 to 0.05 at x = 0.5 + WIDTH, by two neurons."""
    slope = 1.0 / WIDTH
    return subject(
        [([[slope], [slope]], [-0.5 * slope, -0.5 * slope - 1.0]), ([[-1.0, 1.0], [1.0, -1.0]], [0.95, -0.95])], images, labels
    )


def linear(images, labels):
    """Make a network of scores 0 and 2 (x0 + x1) - 2, by a neuron that is active for all inputs close to [0, 1]."""
    return subject([([[1.0, 1.0]], [10.0]), ([[0.0], [2.0]], [0.0, -22.0])], images, labels)


def options(parameters, *, seed=0):
    """Make the options of a run."""
    return Options(4, seed, 1, parameters)
