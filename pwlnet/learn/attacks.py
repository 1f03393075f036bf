"""Adversarial examples: FGSM and PGD, in the l_inf and l_2 norms.

Points are float64, and are in the ball and in the box; the model is evaluated in the dtype of its weights.

Legend: B images, S shape of an image, D its size, O classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from .. import validation
from .._types import ArrayLike, BoolArray, FloatArray, IntArray
from ..errors import InputError
from . import classifiers

if TYPE_CHECKING:
    from ..network import Network


class AdversarialExamples(NamedTuple):
    """Result of an attack for each image.

    Attributes
    ----------
    images : float64[B, *S]
        In the units of the model's input.
    predictions : int64[B]
        The model's class of each adversarial image.
    success : bool[B]
        Whether the prediction is not the label; for a targeted attack, whether it is the label.
    loss : float64[B]
        The attack's loss at these images for the classes in ``labels``.
    """

    images: FloatArray
    predictions: IntArray
    success: BoolArray
    loss: FloatArray


def _margin(logits, labels):
    """Compute the largest other score minus that of the label; positive if the image is misclassified."""
    is_label = functional.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(is_label, -torch.inf).amax(dim=1) - logits.masked_fill(~is_label, 0.0).sum(dim=1)


LOSSES = {  # logits [B, O], labels [B] -> loss [B]
    "cross_entropy": lambda logits, labels: functional.cross_entropy(logits, labels, reduction="none"),
    "margin": _margin,
}


def _norms(x):
    return x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))


def _unit_l2(gradient):
    """Scale the gradient to length 1; zero if it is zero."""
    scaled = gradient / gradient.abs().flatten(1).amax(dim=1).reshape(-1, *[1] * (gradient.ndim - 1)).clamp_min(
        torch.finfo(gradient.dtype).tiny
    )
    length = _norms(scaled)
    return torch.where(length > 0, scaled / length, 0.0)


def _project_linf(delta, epsilon):
    return delta.clamp(-epsilon, epsilon)


def _project_l2(delta, epsilon):
    length = _norms(delta)
    return torch.where(length > epsilon, delta * (epsilon / length), delta)


def _start_l2(rng, shape):
    """Sample uniformly in the unit ball: a direction, and a length whose D-th power is uniform."""
    direction = rng.standard_normal((shape[0], int(np.prod(shape[1:]))))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return (direction * rng.random((shape[0], 1)) ** (1.0 / direction.shape[1])).reshape(shape)


class _Norm(NamedTuple):
    """Operations of a norm: step (gradient -> direction), project (delta, epsilon), start (rng, shape) in the unit ball."""

    step: Callable[..., Any]
    project: Callable[..., Any]
    start: Callable[..., Any]


NORMS = {
    "linf": _Norm(torch.sign, _project_linf, lambda rng, shape: rng.uniform(-1, 1, shape)),
    "l2": _Norm(_unit_l2, _project_l2, _start_l2),
}


class Attack(NamedTuple):
    """Settings of an attack."""

    norm: str
    epsilon: float
    loss: str = "cross_entropy"
    targeted: bool = False


def to_box(x, box):
    """Clip points to a box (lower, upper) of tensors, if there is one."""
    return x if box is None else torch.minimum(torch.maximum(x, box[0]), box[1])


def _evaluate(module, attack, x, labels, with_gradient):
    """Compute the loss to increase [B], predictions [B] and, optionally, its gradient [B, *S], at float64 points."""
    dtype = classifiers.placement(module)[1]
    with torch.set_grad_enabled(with_gradient):
        point = x.detach().to(dtype).requires_grad_(with_gradient)
        logits = module(point)
        classifiers.check_classes(logits, labels)
        classifiers.check_finite(logits.detach(), "an output of the model")
        loss = LOSSES[attack.loss](logits, labels)
        if attack.targeted:
            loss = -loss
        gradient = torch.autograd.grad(loss.sum(), point)[0].to(x.dtype) if with_gradient else None
    return loss.detach().to(x.dtype), logits.detach().argmax(dim=1), gradient


class _Best:
    """The best point so far of each image: a misclassified one if there is one, then the one with the highest loss."""

    def __init__(self, attack, labels):
        self.attack, self.labels, self.x = attack, labels, None

    def offer(self, x, loss, predictions):
        success = (predictions == self.labels) if self.attack.targeted else (predictions != self.labels)
        if self.x is None:
            self.x, self.loss, self.predictions, self.success = x.clone(), loss, predictions, success
            return
        better = (success & ~self.success) | ((success == self.success) & (loss > self.loss))
        self.x = torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), x, self.x)
        self.loss = torch.where(better, loss, self.loss)
        self.predictions = torch.where(better, predictions, self.predictions)
        self.success = torch.where(better, success, self.success)


def ascend(module, attack, x, labels, box, *, start, steps, step_size, best=None):
    """Run projected gradient ascent once on tensors; return the last points, and offer every point to ``best``."""
    norm = NORMS[attack.norm]
    point = to_box(x + norm.project(start * attack.epsilon, attack.epsilon), box)
    for _ in range(steps):
        loss, predictions, gradient = _evaluate(module, attack, point, labels, True)
        if best is not None:
            best.offer(point, loss, predictions)
        moved = point + step_size * norm.step(gradient)
        point = to_box(x + norm.project(moved - x, attack.epsilon), box)
    if best is not None:
        best.offer(point, *_evaluate(module, attack, point, labels, False)[:2])
    return point


def _prepare(model, images, labels, attack, clip):
    """Validate the arguments of an attack; return the module, and images, labels and box as tensors on its device."""
    module = classifiers.as_module(model)
    validation.check_choice(attack.norm, NORMS, "norm")
    validation.check_choice(attack.loss, LOSSES, "loss")
    validation.check_number(attack.epsilon, "epsilon")
    images = classifiers.check_images(images)
    labels = classifiers.check_labels(labels, len(images))
    box = classifiers.check_clip(clip, images)
    device = classifiers.placement(module)[0]
    tensors = [torch.from_numpy(np.array(a)).to(device) for a in (images, labels, *(box or ()))]
    return module, tensors[0], tensors[1], tuple(tensors[2:]) or None


def _collect(attack, parts):
    """Join the best points of consecutive batches: AdversarialExamples."""
    columns = zip(*((part.x, part.predictions, part.success, part.loss) for part in parts))
    images, predictions, success, loss = (torch.cat(column).cpu().numpy() for column in columns)
    return AdversarialExamples(images, predictions, success, -loss if attack.targeted else loss)


def fgsm(
    model: Network | torch.nn.Module,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float,
    norm: Literal["linf", "l2"] = "linf",
    clip: tuple[ArrayLike, ArrayLike] | None = (0.0, 1.0),
    targeted: bool = False,
    batch_size: int = 256,
) -> AdversarialExamples:
    """Attack images with one step along the gradient of the cross-entropy (fast gradient sign method).

    Estimate: the result is the end of the step, even if it is classified correctly; stronger attacks may exist.

    Parameters
    ----------
    model : torch.nn.Module or Network
        A classifier, [B, *S] -> [B, O]; evaluated in evaluation mode; its mode is restored.
    images : float64[B, *S]
        In the input units of the model.
    labels : int64[B]
        The true classes; for a targeted attack, the classes to reach.
    epsilon : float
        Length of the step in the norm, in units of the images.
    norm : {"linf", "l2"}, optional
        "linf" changes each entry by epsilon in the direction of the sign of the gradient; "l2" takes a step of length epsilon
        along the gradient. Entries with gradient zero do not change.
    clip : (lower, upper) or None, optional
        The range of the images, numbers or arrays that can be broadcast to an image; results are clipped to it.
    targeted : bool, optional
        Decrease the loss of ``labels`` instead of increasing it.
    batch_size : int, optional
        Number of images that are evaluated together, which limits the memory.

    Returns
    -------
    AdversarialExamples
        ``images`` float64[B, *S], ``predictions`` int64[B], ``success`` bool[B], ``loss`` float64[B].

    Raises
    ------
    InputError, ShapeError
        An argument is invalid: images outside ``clip``, labels that are not classes of the model.
    NumericalError
        The model's outputs are not finite.

    See Also
    --------
    pgd : many steps.

    References
    ----------
    .. [1] I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, Section 4.
       The l_2 step is the same linear problem in the other norm; clipping is an addition.

    Examples
    --------
    >>> import numpy as np, torch, pwlnet
    >>> model = torch.nn.Linear(2, 2, dtype=torch.float64)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]])), model.bias.zero_()
    >>> result = pwlnet.learn.fgsm(model, np.array([[0.5, 0.25]]), np.array([0]), epsilon=0.25)
    >>> result.images, result.success
    (array([[0.25, 0.5 ]]), array([ True]))
    """
    attack = Attack(norm, epsilon, targeted=targeted)
    module, x, y, box = _prepare(model, images, labels, attack, clip)
    size = validation.check_count(batch_size, "batch_size")
    parts = []
    with classifiers.evaluating(module):
        for points, classes in zip(x.split(size), y.split(size)):
            gradient = _evaluate(module, attack, points, classes, True)[2]
            best = _Best(attack, classes)
            moved = to_box(points + epsilon * NORMS[norm].step(gradient), box)
            best.offer(moved, *_evaluate(module, attack, moved, classes, False)[:2])
            parts.append(best)
    return _collect(attack, parts)


def pgd(
    model: Network | torch.nn.Module,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float,
    rng: np.random.Generator | None = None,
    norm: Literal["linf", "l2"] = "linf",
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    clip: tuple[ArrayLike, ArrayLike] | None = (0.0, 1.0),
    loss: Literal["cross_entropy", "margin"] = "cross_entropy",
    targeted: bool = False,
    batch_size: int = 256,
    progress: bool = False,
) -> AdversarialExamples:
    """Attack images with projected gradient ascent, and keep the best point of each image.

    Estimate: the best of all points of all runs, including the image itself; stronger attacks may exist. A misclassified
    point is better than a correctly classified one; otherwise, a higher loss is better. So an image that is misclassified
    without an attack is always a success.

    Parameters
    ----------
    model : torch.nn.Module or Network
        A classifier, [B, *S] -> [B, O]; evaluated in evaluation mode; its mode is restored.
    images : float64[B, *S]
        In the input units of the model.
    labels : int64[B]
        The true classes; for a targeted attack, the classes to reach.
    epsilon : float
        Radius of the ball around each image in the norm, in units of the images; up to rounding.
    rng : numpy.random.Generator
        Generator of the random starts; required unless ``random_start=False``. Starts do not depend on ``batch_size``.
    norm : {"linf", "l2"}, optional
        Norm of the ball. "linf" steps along the sign of the gradient, "l2" along the gradient scaled to length 1.
    steps : int, optional
        Number of steps of each run.
    step_size : float, optional
        Length of a step in the norm; by default 2.5 epsilon / steps, so that every point of the ball can be reached.
    restarts : int, optional
        Number of runs, each from another start.
    random_start : bool, optional
        Start at a point from the uniform distribution on the ball (then clipped), or at the image.
    clip : (lower, upper) or None, optional
        The range of the images, numbers or arrays that can be broadcast to an image; all points are clipped to it.
    loss : {"cross_entropy", "margin"}, optional
        Loss to increase. "margin" is the largest other score minus that of the label.
    targeted : bool, optional
        Decrease the loss of ``labels`` instead of increasing it.
    batch_size : int, optional
        Number of images that are evaluated together, which limits the memory.
    progress : bool, optional
        Show a progress bar on stderr.

    Returns
    -------
    AdversarialExamples
        ``images`` float64[B, *S], ``predictions`` int64[B], ``success`` bool[B], ``loss`` float64[B].

    Raises
    ------
    InputError, ShapeError
        An argument is invalid: images outside ``clip``, labels that are not classes of the model.
    NumericalError
        The model's outputs are not finite.

    See Also
    --------
    fgsm : one step.
    adversarial_accuracy : the fraction of images for which it finds no adversarial example.

    Notes
    -----
    (steps + 1) evaluations and steps gradients for each run and image. A Network is differentiated by its Jacobian, at
    the cost of one gradient per class.

    References
    ----------
    .. [1] A. Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, Section 2.1 (the
       iteration), Section 5 (random restarts). Keeping the best point of all steps, not the last one, is an addition.
    """
    attack = Attack(norm, epsilon, loss, targeted)
    module, x, y, box = _prepare(model, images, labels, attack, clip)
    size = validation.check_count(batch_size, "batch_size")
    steps, restarts = validation.check_count(steps, "steps"), validation.check_count(restarts, "restarts")
    step_size = 2.5 * epsilon / steps if step_size is None else validation.check_number(step_size, "step_size")
    _check_starts(rng, random_start, restarts)
    best = [_Best(attack, classes) for classes in y.split(size)]
    with classifiers.evaluating(module), _bar(restarts * len(best), progress) as bar:
        for k in range(restarts):
            start = NORMS[norm].start(rng, tuple(x.shape)) if random_start else np.zeros(tuple(x.shape))
            start = torch.from_numpy(start).to(x.device)
            for part, points, classes, begin in zip(best, x.split(size), y.split(size), start.split(size)):
                if k == 0:
                    part.offer(points, *_evaluate(module, attack, points, classes, False)[:2])
                ascend(module, attack, points, classes, box, start=begin, steps=steps, step_size=step_size, best=part)
                bar.update()
    return _collect(attack, best)


def _check_starts(rng, random_start, restarts):
    if random_start and not isinstance(rng, np.random.Generator):
        raise InputError(
            f"rng is {rng!r}; give a numpy.random.Generator for the random starts, such as numpy.random.default_rng(seed), "
            "or random_start=False"
        )
    if restarts > 1 and not random_start:
        raise InputError(f"restarts is {restarts}, but without random starts all runs are the same; give restarts=1")


def _bar(total, progress):
    from tqdm import tqdm

    return tqdm(total=total, unit="batch", disable=not progress)
