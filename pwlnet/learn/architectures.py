"""Architectures with seeded weights, and export of trained modules to ONNX files."""

import itertools
import warnings
from pathlib import Path

import torch
from torch import nn

from .. import validation
from ..errors import InputError
from ..publishing import new_file
from . import classifiers

OPSET = 17


def build_conv(input_shape, n_classes, *, seed, batch_norm=False):
    """Build the architecture of the shipped digits networks: two convolutions and two fully connected layers.

    Conv 16 3x3 padding 1, ReLU, Conv 32 4x4 stride 2 padding 1, ReLU, Flatten, Linear 64, ReLU, Linear.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, rows, columns of an image; at least two rows and columns.
    n_classes : int
    seed : int
        Seed of the weights (He's initialisation; biases are zero).
    batch_norm : bool, optional
        Normalise batches before each ReLU; these layers have no biases of their own, only those of the normalisation.

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    InputError
        The inputs are not images.
    """
    channels, height, width = _check_image_shape(input_shape, least=2)
    bias = not batch_norm

    def layers():
        return nn.Sequential(
            *(nn.Conv2d(channels, 16, 3, padding=1, bias=bias), *_hidden(nn.BatchNorm2d(16), batch_norm)),
            *(nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=bias), *_hidden(nn.BatchNorm2d(32), batch_norm)),
            nn.Flatten(),
            *(nn.Linear(32 * (height // 2) * (width // 2), 64, bias=bias), *_hidden(nn.BatchNorm1d(64), batch_norm)),
            nn.Linear(64, n_classes),
        )

    return _build(seed, layers)


def build_conv_small(input_shape, n_classes, *, seed):
    """Build the small convolutional network of ERAN: two convolutions with stride 2 and two fully connected layers.

    Conv 16 4x4 stride 2, ReLU, Conv 32 4x4 stride 2, ReLU, Flatten, Linear 100, ReLU, Linear.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, rows, columns of an image; at least ten rows and columns.
    n_classes : int
    seed : int
        Seed of the weights (He's initialisation; biases are zero).

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    InputError
        The inputs are not images, or too small.

    References
    ----------
    .. [1] G. Singh, T. Gehr, M. Pueschel, M. Vechev, "An Abstract Domain for Certifying Neural Networks", POPL 2019,
       Section 6 (ConvSmall).
    """
    channels, height, width = _check_image_shape(input_shape, least=10)
    rows, columns = (((size - 4) // 2 + 1 - 4) // 2 + 1 for size in (height, width))
    return _build(seed, lambda: nn.Sequential(
        *(nn.Conv2d(channels, 16, 4, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * rows * columns, 100), nn.ReLU(), nn.Linear(100, n_classes)),
    ))  # fmt: skip


class Residual(nn.Module):
    """A module whose output is subtracted from its input."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        """Evaluate: [N, C, H, W] -> [N, C, H, W]."""
        return x - self.body(x)


def build_denoiser(input_shape, *, width=16, seed):
    """Build a residual denoiser: a convolutional network with ReLUs estimates the noise, which is subtracted.

    Conv 4x4 stride 2 to ``width`` channels, ReLU, twice (Conv 3x3 to ``2 width`` channels, ReLU), transposed Conv 4x4 stride 2.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, rows, columns of an image; even numbers of rows and columns.
    width : int, optional
    seed : int
        Seed of the weights (He's initialisation; biases are zero).

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    InputError
        The inputs are not images, or have odd numbers of rows or columns.

    References
    ----------
    .. [1] K. Zhang et al., "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising", IEEE Transactions
       on Image Processing 26(7), 2017, Section III (residual learning); here with fewer layers, at half the resolution.
    """
    channels, height, width_of_image = _check_image_shape(input_shape, least=2)
    if height % 2 or width_of_image % 2:
        raise InputError(f"input_shape is {tuple(input_shape)}; even numbers of rows and columns are needed, pad the images")
    return Residual(_build(seed, lambda: nn.Sequential(
        *(nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU()),
        nn.ConvTranspose2d(2 * width, channels, 4, stride=2, padding=1),
    )))  # fmt: skip


def _check_image_shape(input_shape, least):
    """Return (channels, rows, columns) of images with at least some rows and columns."""
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape) < 1 or min(shape[1:]) < 2:
        raise InputError(
            f"input_shape is {shape}, but convolutions take (channels, rows, columns); use fully connected layers only"
        )
    if min(shape[1:]) < least:
        raise InputError(f"input_shape is {shape}, but at least {least} rows and columns are needed; use build_conv")
    return shape


def _hidden(norm, batch_norm):
    """Return what follows a layer with weights: the normalisation, if chosen, and ReLU."""
    return (norm, nn.ReLU()) if batch_norm else (nn.ReLU(),)


def build_mlp(n_inputs, hidden, n_classes, *, seed, batch_norm=False):
    """Build a network of fully connected layers with ReLUs between them.

    Parameters
    ----------
    n_inputs : int
    hidden : sequence of int
        Number of neurons of each hidden layer.
    n_classes : int
    seed : int
        Seed of the weights (He's initialisation; biases are zero).
    batch_norm : bool, optional
        Normalise batches before each ReLU; these layers have no biases of their own, only those of the normalisation.

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    InputError
        A layer has no neurons.
    """
    widths = [n_inputs, *hidden]
    if min(widths) < 1:
        raise InputError(f"hidden is {tuple(hidden)} for {n_inputs} inputs; give positive numbers of neurons")

    def layers():
        hidden_layers = (layer for a, b in itertools.pairwise(widths) for layer in hidden_layer(a, b))
        return nn.Sequential(nn.Flatten(), *hidden_layers, nn.Linear(widths[-1], n_classes))

    def hidden_layer(a, b):
        if batch_norm:
            return nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()
        return nn.Linear(a, b), nn.ReLU()

    return _build(seed, layers)


def _build(seed, layers):
    """Build layers with seeded weights; torch's random state is restored."""
    validation.check_count(seed, "seed", least=0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = layers()
        for layer in module:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return module


def export_onnx(model, input_shape, path, *, overwrite=False):
    """Write a torch module as an ONNX file: opset 17, free batch size, input ``image``, output ``logits``.

    Parameters
    ----------
    model : torch.nn.Module
        Exported in evaluation mode, with unchanged weights; its mode is restored.
    input_shape : tuple of int
        Shape of one input, without the batch axis.
    path : str or path
    overwrite : bool, optional
        Replace an existing file; by default, that is an error.

    Raises
    ------
    StoreError
        The file exists or can't be written; no incomplete file is left.
    """
    path = Path(path)
    device, dtype = classifiers.placement(model)
    example = torch.zeros(1, *input_shape, device=device, dtype=dtype)
    names = {
        "input_names": ["image"],
        "output_names": ["logits"],
        "dynamic_axes": {"image": {0: "batch"}, "logits": {0: "batch"}},
    }
    with new_file(path, overwrite=overwrite) as temporary, classifiers.evaluating(model), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the exporter that needs no other library
        torch.onnx.export(model, (example,), str(temporary), dynamo=False, opset_version=OPSET, **names)
