"""Accuracies: clean, under attack, and certified by interval bounds; bounds of outputs and margins over boxes.

Legend: B images, S shape of an image, O classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .. import validation
from .._types import ArrayLike, FloatArray
from ..bounds import bound_preactivations
from ..convert import from_torch
from ..domains import Box
from ..errors import InputError, ShapeError
from ..network import Network
from . import classifiers
from .attacks import pgd


def accuracy(model: Network | torch.nn.Module, images: ArrayLike, labels: ArrayLike, *, batch_size: int = 256) -> float:
    """Compute the fraction of images that a model classifies correctly.

    Exact up to rounding, for these images: evaluated in the dtype of the model's weights, in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module or Network
        A classifier, [B, *S] -> [B, O].
    images : float64[B, *S]
        In the input units of the model.
    labels : int64[B]
    batch_size : int, optional
        Number of images that are evaluated together, which limits the memory.

    Returns
    -------
    float
        Between 0 and 1. If several scores are the largest, the class with the lowest index is predicted.

    Raises
    ------
    InputError, ShapeError
        An argument is invalid: labels that are not classes of the model.
    NumericalError
        The model's outputs are not finite.
    """
    module = classifiers.as_module(model)
    images = classifiers.check_images(images)
    labels = classifiers.check_labels(labels, len(images))
    size = validation.check_count(batch_size, "batch_size")
    device, dtype = classifiers.placement(module)
    right = 0
    with classifiers.evaluating(module), torch.no_grad():
        for first in range(0, len(images), size):
            part = slice(first, first + size)
            logits = module(torch.from_numpy(images[part]).to(device=device, dtype=dtype))
            classifiers.check_classes(logits, labels[part])
            classifiers.check_finite(logits, "an output of the model")
            right += int(np.count_nonzero(logits.argmax(dim=1).cpu().numpy() == labels[part]))
    return right / len(images)


def adversarial_accuracy(
    model: Network | torch.nn.Module,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float,
    rng: np.random.Generator | None = None,
    **options: Any,
) -> float:
    """Compute the fraction of images that a model classifies correctly at every point that PGD visits.

    Estimate: an upper bound, of unknown accuracy, of the fraction of images that are classified correctly on the whole ball;
    ``certified_accuracy_ibp`` is a lower bound. At most ``accuracy``, since PGD also visits the image itself.

    Parameters
    ----------
    model, images, labels, epsilon, rng
        As for ``pgd``.
    **options
        Further options of ``pgd`` except ``targeted``.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    InputError, ShapeError, NumericalError
        As for ``pgd``.
    """
    if "targeted" in options:
        raise InputError("targeted was given, but the accuracy under attack is for untargeted attacks; omit it")
    return 1.0 - float(np.mean(pgd(model, images, labels, epsilon=epsilon, rng=rng, **options).success))


def bound_outputs_ibp(model: Network | torch.nn.Module, lower: ArrayLike, upper: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Bound the outputs of a model over boxes of inputs.

    Sound bound: interval bound propagation on the converted network (``pwlnet.from_torch``), in float64 with bounds of all
    rounding errors added, so the bounds contain all its values in exact arithmetic; for a single affine layer, they are tight
    except for this. The converted network has the weights of the model, with normalisations folded in float64. A
    floating-point evaluation of the model may exceed the bounds by its rounding error. Other methods:
    ``pwlnet.bound_preactivations``.

    Parameters
    ----------
    model : torch.nn.Module or Network
        A module is converted by ``pwlnet.from_torch``: evaluation mode; it is not changed.
    lower, upper : float64[B, *S]
        Corners of the boxes, in the input units of the model.

    Returns
    -------
    lower, upper : float64[B, *output shape]

    Raises
    ------
    UnsupportedOperationError
        The model is not piecewise linear; the message names the layer.
    InputError, ShapeError
        The corners have different shapes, or ``lower`` is above ``upper``.
    NumericalError
        The bounds are not finite.

    References
    ----------
    .. [1] S. Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models",
       arXiv:1810.12715, 2018, Section 3. Bounds of rounding errors are an addition.

    Examples
    --------
    >>> import numpy as np, torch, pwlnet
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.ReLU())
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[1.0, -2.0]])), model[0].bias.fill_(0.5)
    >>> lower, upper = pwlnet.learn.bound_outputs_ibp(model, np.array([[0.0, 0.0]]), np.array([[1.0, 1.0]]))
    >>> lower.round(9), upper.round(9)
    (array([[0.]]), array([[1.5]]))
    """
    lower, upper = classifiers.check_images(lower, "lower"), classifiers.check_images(upper, "upper")
    if lower.shape != upper.shape:
        raise ShapeError(f"lower has shape {lower.shape} and upper {upper.shape}; give corners of the same boxes")
    if not np.all(lower <= upper):
        row = np.flatnonzero((lower > upper).reshape(len(lower), -1).any(axis=1))[0]
        raise InputError(f"lower is above upper in row {row}; swap the corners")
    network = _as_network(model, lower)
    found = bound_preactivations(network, Box(lower, upper), method="ibp")
    low, high = (np.array(x.reshape(len(lower), *network.output_shape)) for x in (found.output_lower, found.output_upper))
    for end in (low, high):
        classifiers.check_finite(torch.from_numpy(end), "a bound")
    return low, high


def _as_network(model, points):
    """Return the network that a model is for points [B, *S]."""
    return model if isinstance(model, Network) else from_torch(model, points.shape[1:])


def bound_margins_ibp(
    model: Network | torch.nn.Module,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float,
    clip: tuple[ArrayLike, ArrayLike] | None = (0.0, 1.0),
    batch_size: int = 256,
) -> FloatArray:
    """Compute lower bounds of the margin of the label over all other classes in l_inf balls around images.

    Sound bound: at every point of the ball inside ``clip``, the exact score of the label exceeds that of each other class
    by at least this number; if it is not positive, nothing is proved. Computed as by ``bound_outputs_ibp``, with a fully
    connected last layer merged into the differences of scores.

    Parameters
    ----------
    model : torch.nn.Module or Network
        A classifier, [B, *S] -> [B, O]; a module is converted by ``pwlnet.from_torch``, and not changed.
    images : float64[B, *S]
        In the input units of the model.
    labels : int64[B]
    epsilon : float
        Radius of the ball in the l_inf norm, in units of the images.
    clip : (lower, upper) or None, optional
        The range of the images; the ball is intersected with it.
    batch_size : int, optional
        Number of images that are evaluated together, which limits the memory.

    Returns
    -------
    float64[B]
        In the units of the scores.

    Raises
    ------
    UnsupportedOperationError
        The model is not piecewise linear; the message names the layer.
    InputError, ShapeError
        An argument is invalid: images outside ``clip``, labels that are not classes of the model.
    NumericalError
        The bounds are not finite.

    References
    ----------
    .. [1] S. Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models",
       arXiv:1810.12715, 2018, Section 3 (bounds, elision of the last layer). Bounds of rounding errors are an addition.
    """
    epsilon = validation.check_number(epsilon, "epsilon")
    images = classifiers.check_images(images)
    labels = classifiers.check_labels(labels, len(images))
    limits = classifiers.check_clip(clip, images)
    size = validation.check_count(batch_size, "batch_size")
    network = _as_network(model, images)
    classifiers.check_classes(torch.empty(len(images), *network.output_shape), labels)
    margins = np.empty(len(images))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        others = np.delete(np.eye(network.n_outputs), label, axis=0)
        differences = np.eye(network.n_outputs)[label] - others, np.zeros(len(others))
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            box = Box.around(images[part], epsilon)
            if limits is not None:
                box = Box(np.maximum(box.lower, limits[0]), np.minimum(box.upper, limits[1]))
            lower = bound_preactivations(network, box, method="ibp", spec=differences).spec_lower
            classifiers.check_finite(torch.from_numpy(np.array(lower)), "a bound")
            margins[part] = lower.min(axis=1, initial=np.inf)
    return margins


def certified_accuracy_ibp(
    model: Network | torch.nn.Module,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float,
    clip: tuple[ArrayLike, ArrayLike] | None = (0.0, 1.0),
    batch_size: int = 256,
) -> float:
    """Compute the fraction of images for which a model is proved to predict the label on the whole l_inf ball.

    Sound bound: at least this fraction of the images is classified correctly at every point of the ball inside ``clip``, in
    exact arithmetic; the true fraction may be larger. An image is certified if ``bound_margins_ibp`` is above zero.

    Parameters
    ----------
    model, images, labels, epsilon, clip, batch_size
        As for ``bound_margins_ibp``.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    UnsupportedOperationError, InputError, ShapeError, NumericalError
        As for ``bound_margins_ibp``.

    References
    ----------
    .. [1] As for ``bound_margins_ibp``.
    """
    margins = bound_margins_ibp(model, images, labels, epsilon=epsilon, clip=clip, batch_size=batch_size)
    return float(np.mean(margins > 0))
