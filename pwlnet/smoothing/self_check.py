"""A check that a classifier gets images in the range and with the normalisation that it was trained for.

A wrong range changes radii without any error: with images in [0, 1] and a classifier for [-1, 1], the noise is half as large as
it should be, and classes are guesses. Accuracies tell.

Legend: B images, S shape of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import ArrayLike
from ..errors import InputError, ShapeError
from .bases import BaseClassifier, DerivedClassifier, as_base, votes_of

if TYPE_CHECKING:
    import torch

    from ..network import Network

_DATASETS = {  # mean and standard deviation of the channels, for images in [0, 1]
    "MNIST": ((0.1307,), (0.3081,)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_CLEARLY = 0.1  # difference of accuracies
_MOST_IMAGES = 500


class RangeCheck(NamedTuple):
    """Accuracies of a classifier on images that are scaled in several ways.

    Attributes
    ----------
    accuracy : float
        On the images as they are.
    others : dict of str to float
        On scaled images, and without the first layer if that is a normalisation, by what was done.
    problem : str
        What is wrong, empty if nothing is.
    """

    accuracy: float
    others: dict[str, float]
    problem: str


def _scalings(images):
    """Return the images scaled in ways that classifiers expect: dict of name to float64[B, *S]."""
    scaled = {
        "multiplied by 255": 255.0 * images,
        "divided by 255": images / 255.0,
        "scaled from [0, 1] to [-1, 1]": 2.0 * images - 1.0,
        "scaled from [-1, 1] to [0, 1]": 0.5 * images + 0.5,
        "inverted (1 - x)": 1.0 - images,
    }
    channels = images.shape[1] if images.ndim == 4 else 1
    for name, (mean, deviation) in _DATASETS.items():
        if len(mean) == channels:
            shape = (1, channels, 1, 1) if images.ndim == 4 else (1,) * images.ndim
            mean, deviation = (np.reshape(x, shape) for x in (mean, deviation))
            scaled[f"normalised with the mean and deviation of {name}"] = (images - mean) / deviation
            scaled[f"normalised inversely, with those of {name}"] = images * deviation + mean
    return scaled


def _without_first_layer(model):
    """Return a Sequential without its first layer, if that has no weights that are trained; else None."""
    children = list(model.children()) if hasattr(model, "children") else []
    if not hasattr(model, "__getitem__") or len(children) < 2:
        return None
    first = children[0]
    trained = any(weight.requires_grad for weight in first.parameters())
    return None if trained or type(first).__name__ == "Flatten" else model[1:]


def check_range(
    model: Network | torch.nn.Module | BaseClassifier,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    input_shape: Sequence[int] | None = None,
) -> RangeCheck:
    """Compare accuracies on images as they are, scaled in other ways, and without the normalisation layer of the classifier.

    Exact up to rounding: accuracies on the first 500 images.

    Parameters
    ----------
    model : Network, torch.nn.Module or BaseClassifier
    images : float64[B, *S]
    labels : int64[B]
    input_shape : tuple of int, optional
        Shape of one image, for a module that takes another one than the images have.

    Returns
    -------
    RangeCheck
        ``problem`` says what another range gives, if that is clearly better; ``refuse_wrong_range`` raises it.

    Raises
    ------
    InputError, ShapeError
        There is not one label for each image.
    """
    images, labels = np.asarray(images, np.float64)[:_MOST_IMAGES], np.asarray(labels)[:_MOST_IMAGES]
    if len(images) != len(labels) or not len(images):
        raise ShapeError(f"there are {len(images)} images and {len(labels)} labels; give one label for each")
    base: Any = as_base(model, input_shape=input_shape)
    base = base.base if isinstance(base, DerivedClassifier) else base

    def accuracy(of, points):
        return float(np.mean(votes_of(of.scores_at(np.ascontiguousarray(points))) == labels))

    actual = accuracy(base, images)
    others = {name: accuracy(base, points) for name, points in _scalings(images).items()}
    shorter = None if base.network is not None else _without_first_layer(base.module)
    if shorter is not None:
        others["given to the classifier without its first layer"] = accuracy(as_base(shorter, input_shape=input_shape), images)
    best = max(others, key=lambda name: others[name])
    problem = ""
    if others[best] > actual + _CLEARLY:
        problem = (
            f"the accuracy is {actual:.3f} on the images as they are (from {images.min():g} to {images.max():g}), but "
            f"{others[best]:.3f} if they are {best}; scale the images, or put the normalisation into the classifier, and give "
            "sigma in the units of the images that it takes"
        )
    return RangeCheck(actual, others, problem)


def refuse_wrong_range(
    model: Network | torch.nn.Module | BaseClassifier,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    input_shape: Sequence[int] | None = None,
) -> RangeCheck:
    """Validate the range of images by ``check_range``, and return its result.

    Raises
    ------
    InputError
        Another range or normalisation gives a clearly better accuracy.
    """
    result = check_range(model, images, labels, input_shape=input_shape)
    if result.problem:
        raise InputError(result.problem)
    return result
