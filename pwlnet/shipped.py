"""The networks and images that come with pwlnet, in a checkout or an installed package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pwlnet.errors import InputError, MissingDataError

from ._types import FloatArray, IntArray

DIGITS_NETWORKS = (
    "digits_conv",
    "digits_mlp",
    "digits_conv_standard",
    "digits_conv_pgd",
    "digits_conv_diffai",
)
DEPTH_NETWORKS = (  # the number of hidden layers and the training: noise with standard deviation 0, 0.1 and 0.25, PGD, DiffAI
    *(f"digits_mlp3_{training}" for training in ("noise0", "noise10", "noise25", "pgd", "diffai")),
    *(f"digits_mlp8_{training}" for training in ("noise0", "noise10", "noise25", "pgd")),
    *(f"digits_mlp15_{training}" for training in ("noise0", "noise10", "noise25", "pgd")),
)
SMOOTHING_NETWORKS = ("digits_conv_noise25",)
CONTROL_NETWORKS = ("pendulum",)

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = (_PACKAGE / "_data", _PACKAGE.parent / "data")  # of an installed package, of a checkout


def digits_network_path(name: str) -> Path:
    """Return the path of a shipped ONNX network that classifies 8x8 digits.

    Parameters
    ----------
    name : {"digits_conv", "digits_mlp", "digits_conv_standard", "digits_conv_pgd", "digits_conv_diffai", ...}
        Two convolutions and two fully connected layers, or ("digits_mlp") eight hidden layers of 48 neurons. The three named
        after a training method differ in that method only; the other two were trained on images with noise. The names of
        ``shipped.DEPTH_NETWORKS``, such as "digits_mlp15_noise25", have 3, 8 or 15 hidden layers of 48 neurons with batch
        normalisation; those of one depth differ in the training only. "digits_conv_noise25" has the layers of "digits_conv"
        with batch normalisation, and was trained for randomized smoothing. For accuracies see ``data/README.md``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        There is no shipped network of that name.
    MissingDataError
        The file is missing from the installation.
    """
    return _find_network(name, DIGITS_NETWORKS + DEPTH_NETWORKS + SMOOTHING_NETWORKS, "network")


def digits_network(name: str) -> Path:
    """Return the path of a shipped ONNX network that classifies 8x8 digits: ``digits_network_path``, by its shorter name.

    Parameters
    ----------
    name : str
        As for ``digits_network_path``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError, MissingDataError
        As for ``digits_network_path``.

    Examples
    --------
    >>> digits_network("digits_mlp").name
    'digits_mlp.onnx'
    """
    return digits_network_path(name)


def control_network_path(name: Literal["pendulum"] = "pendulum") -> Path:
    """Return the path of a shipped ONNX network that controls a system with two state variables.

    Parameters
    ----------
    name : {"pendulum"}
        Swings a pendulum up and balances it. Inputs: angle in [-pi, pi] (rad, 0 is upright), angular speed in [-8, 8] (rad/s).
        Outputs: scores of the torques 0, -2.5, 2.5, -5, 5 N m; the network chooses the one with the largest score. For its
        training and its agreement with the optimal policy see ``data/README.md``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        There is no shipped network of that name.
    MissingDataError
        The file is missing from the installation.

    Examples
    --------
    >>> control_network_path().name
    'pendulum.onnx'
    """
    return _find_network(name, CONTROL_NETWORKS, "control network")


def digits_images() -> tuple[FloatArray, IntArray]:
    """Load the test images of the shipped digits networks.

    Returns
    -------
    images : float64[N, 1, 8, 8]
        Grey values in [0, 1], as the networks take them.
    labels : int64[N]
        Digits 0 to 9.

    Raises
    ------
    MissingDataError
        The file is missing from the installation.
    """
    return _load_images("digits_test")


def digits_training_images() -> tuple[FloatArray, IntArray]:
    """Load the training images of the shipped digits networks, for denoisers and for training.

    Returns
    -------
    images : float64[N, 1, 8, 8]
        Grey values in [0, 1].
    labels : int64[N]
        Digits 0 to 9.

    Raises
    ------
    MissingDataError
        The file is missing from the installation.
    """
    return _load_images("digits_train")


def _load_images(name: str) -> tuple[FloatArray, IntArray]:
    with np.load(_find(f"images/{name}.npz")) as arrays:
        return arrays["images"] / 16.0, arrays["labels"].astype(np.int64)


def _find_network(name: str, names: Sequence[str], what: str) -> Path:
    """Return the path of one of the shipped networks ``names``."""
    if name not in names:
        raise InputError(f"no shipped {what} is called {name!r}; the names are {', '.join(names)}")
    return _find(f"networks/{name}.onnx")


def _find(name: str) -> Path:
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return folder / name
    looked = " and ".join(str(folder) for folder in _FOLDERS)
    raise MissingDataError(f"{name} is not in {looked}; reinstall pwlnet, or run data/train_*.py in a checkout")
