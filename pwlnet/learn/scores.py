"""Accuracies: clean, under attack, and certified by boxes; bounds of outputs and margins over boxes.

Legend: B images, S shape of an image, O classes.
"""

import numpy as np
import torch

from .. import validation
from ..errors import InputError, ShapeError
from . import classifiers, relaxations
from .attacks import pgd


def accuracy(model, images, labels, *, batch_size=256):
    """Compute the share of images that a model classifies as labelled.

    Exact up to rounding, for these images: evaluated in the model's own dtype, in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module or Network
        A classifier, [B, *S] -> [B, O].
    images : float64[B, *S]
        In the units that the model takes.
    labels : int64[B]
    batch_size : int, optional
        Images per pass, for memory.

    Returns
    -------
    float
        Between 0 and 1. Of equal scores, the class with the lowest number counts.

    Raises
    ------
    InputError, ShapeError
        Arguments that do not fit; labels that are no class of the model.
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


def adversarial_accuracy(model, images, labels, *, epsilon, rng=None, **options):
    """Compute the share of images that a model classifies as labelled at every point that PGD visits.

    Estimate: an upper bound of the share of images that are classified as labelled in the whole ball, at an unknown
    distance; ``certified_accuracy_ibp`` is a lower bound. Never above ``accuracy``, since the image itself counts.

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
        raise InputError("targeted was given, but the accuracy under attack is about any other class; leave it out")
    return 1.0 - float(np.mean(pgd(model, images, labels, epsilon=epsilon, rng=rng, **options).success))


def bound_outputs_ibp(model, lower, upper):
    """Bound the outputs of a model over boxes of inputs.

    Sound bound: interval bound propagation in float64, every step rounded outward, so that no exact value of the model
    (its weights as they are, real arithmetic) is outside; exact up to that for one affine layer. An evaluation in floating
    point may leave the bounds by its own rounding.

    Parameters
    ----------
    model : torch.nn.Sequential
        Of supported layers, which the error for others lists; evaluated in evaluation mode, and not changed.
    lower, upper : float64[B, *S]
        Corners of the boxes, in the units that the model takes.

    Returns
    -------
    lower, upper : float64[B, *output shape]

    Raises
    ------
    UnsupportedOperationError
        Boxes can't be taken through the model; the message names the layer.
    InputError, ShapeError
        The corners are no boxes.
    NumericalError
        The bounds are not finite.

    References
    ----------
    .. [1] S. Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models",
       arXiv:1810.12715, 2018, Section 3. Rounding outward is an addition.

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
    layers = relaxations.list_layers(relaxations.double_copy(model))
    with torch.no_grad():
        box = relaxations.Box(torch.from_numpy(lower), torch.from_numpy(upper))
        box = relaxations.propagate(layers, box, relaxations.Outward)
        for end in box:
            classifiers.check_finite(end, "a bound")
    return box.lower.numpy(), box.upper.numpy()


def bound_margins_ibp(model, images, labels, *, epsilon, clip=(0.0, 1.0), batch_size=256):
    """Compute lower bounds of the margin of the label over all other classes in l_inf balls around images.

    Sound bound: at every point of the ball inside ``clip``, the exact score of the label exceeds that of each other class
    by at least this; negative or zero says nothing. As ``bound_outputs_ibp``, with a last full layer merged into the
    differences of scores.

    Parameters
    ----------
    model : torch.nn.Sequential
        A classifier, [B, *S] -> [B, O], of layers that the refusal lists; taken in evaluation mode, and left as it is.
    images : float64[B, *S]
        In the units that the model takes.
    labels : int64[B]
    epsilon : float
        Radius in the l_inf norm, in the images' units.
    clip : (lower, upper) or None, optional
        The box that images lie in; the ball is cut to it.
    batch_size : int, optional
        Images per pass, for memory.

    Returns
    -------
    float64[B]
        In the units of the scores.

    Raises
    ------
    UnsupportedOperationError
        Boxes can't be taken through the model; the message names the layer.
    InputError, ShapeError
        Arguments that do not fit; images outside ``clip``; labels that are no class of the model.
    NumericalError
        The bounds are not finite.

    References
    ----------
    .. [1] S. Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models",
       arXiv:1810.12715, 2018, Section 3 (bounds, elision of the last layer). Rounding outward is an addition.
    """
    layers = relaxations.list_layers(relaxations.double_copy(model))
    validation.check_number(epsilon, "epsilon")
    images = classifiers.check_images(images)
    labels = classifiers.check_labels(labels, len(images))
    limits = classifiers.check_clip(clip, images)
    limits = limits and tuple(torch.from_numpy(c.copy()) for c in limits)
    size = validation.check_count(batch_size, "batch_size")
    found = np.empty(len(images))
    with torch.no_grad():
        for first in range(0, len(images), size):
            part = slice(first, first + size)
            x, y = torch.from_numpy(images[part]), torch.from_numpy(labels[part])
            classifiers.check_classes(relaxations.evaluate(layers, x), y)
            box = relaxations.ball(x, epsilon, limits, relaxations.Outward)
            lower = relaxations.margins(layers, box, y, relaxations.Outward)
            classifiers.check_finite(lower, "a bound")
            is_label = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
            found[part] = lower.masked_fill(is_label, torch.inf).amin(dim=1).numpy()
    return found


def certified_accuracy_ibp(model, images, labels, *, epsilon, clip=(0.0, 1.0), batch_size=256):
    """Compute the share of images whose whole l_inf ball a model provably classifies as labelled.

    Sound bound: at least this share of the images keeps its label at every point of the ball inside ``clip``, in exact
    arithmetic; the share that does may be larger. An image counts where ``bound_margins_ibp`` is above zero.

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
    found = bound_margins_ibp(model, images, labels, epsilon=epsilon, clip=clip, batch_size=batch_size)
    return float(np.mean(found > 0))
