"""Planes for the tests of plots: of random networks, and of many polygons without a network."""

from types import SimpleNamespace

import numpy as np

import pwlnet

SQUARE = [[-2, -2], [2, -2], [2, 2], [-2, 2]]


def random_part(seed=0, width=16, n_outputs=4):
    """Partition a square of the plane of a random network with two inputs."""
    import torch

    torch.manual_seed(seed)
    sizes = [(2, width), (width, width), (width, n_outputs)]
    layers = [torch.nn.Linear(n, m).double() for n, m in sizes]
    for layer in layers:
        torch.nn.init.normal_(layer.weight, 0.0, 1.5 / np.sqrt(layer.in_features))
        torch.nn.init.normal_(layer.bias, 0.0, 0.5)
    network = pwlnet.from_torch(torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2]), (2,))
    return pwlnet.partition_planes(network, np.zeros(2), [1.0, 0.0], [0.0, 1.0], SQUARE).parts[0]


def grid_part(n):
    """Make the unit square of n x n cells look like a plane: every third cell is two triangles."""
    ticks = np.linspace(0.0, 1.0, n + 1)
    corner = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    quads = np.stack([corner, corner + 1, corner + n + 2, corner + n + 1], axis=1)
    divided = np.arange(n * n) % 3 == 0
    polygons = [quads[divided][:, [0, 1, 2]], quads[divided][:, [0, 2, 3]], quads[~divided]]
    counts = np.repeat([polygon.shape[1] for polygon in polygons], [len(polygon) for polygon in polygons])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    numbers = np.concatenate([polygon.ravel() for polygon in polygons]).astype(np.int32)
    vertices = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    return SimpleNamespace(
        offsets=offsets, vertex_numbers=numbers, shared_vertices=vertices, vertices=vertices[numbers], outputs=vertices,
        n_polygons=len(counts), areas=np.where(counts == 3, 0.5, 1.0) / n**2,
    )  # fmt: skip


def polar(points):
    """Transform (rho, theta) to Cartesian coordinates."""
    return points[:, :1] * np.stack([np.cos(points[:, 1]), np.sin(points[:, 1])], axis=1)
