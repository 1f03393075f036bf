"""An attack on smoothed classifiers: points inside a claimed radius where the class loses its majority.

Legend: B images, S shape of an image, m draws of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import ArrayLike, BoolArray, FloatArray, IntArray
from ..binomial import clopper_pearson
from ..errors import InputError, ShapeError
from ..validation import check_count, check_number
from .noise import ATTACK, CHECK, Query, make_seed
from .plans import progress_bar

if TYPE_CHECKING:
    from .classifier import SmoothedClassifier


class SmoothedAttack(NamedTuple):
    """Result of an attack on a smoothed classifier for each image.

    Attributes
    ----------
    images : float64[B, *S]
        The point of each ball where the class has the smallest share of votes that was found.
    k : int64[B]
        Fresh votes for the class at this point, among n.
    n : int
    p_high : float64[B]
        Upper confidence bound of the probability of the class there.
    broken : bool[B]
        Whether ``p_high`` is below 1/2: with confidence 1 - alpha, the class does not have the majority there, so a claim that
        it has in the whole ball is false.
    distance : float64[B]
        From the image, in l2.
    """

    images: FloatArray
    k: IntArray
    n: int
    p_high: FloatArray
    broken: BoolArray
    distance: FloatArray


def attack_smoothed(
    smoothed: SmoothedClassifier,
    x: ArrayLike,
    labels: ArrayLike,
    radii: float | ArrayLike,
    *,
    steps: int = 40,
    draws: int = 64,
    step_size: float | None = None,
    restarts: int = 1,
    n: int = 10_000,
    alpha: float = 0.001,
    rng: int | np.random.Generator = 0,
    image: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
) -> SmoothedAttack:
    """Search the l2 balls around images for points where a class loses its majority of the votes (EOT-PGD).

    Estimate: an attack that fails proves nothing. One that succeeds is confirmed by n fresh votes of the deployed classifier at
    the point, so a broken claim is false with confidence 1 - alpha.

    Parameters
    ----------
    smoothed : SmoothedClassifier
        Its deployed rule is attacked: with a clean centre, the reference of a point is the point itself; with a frozen centre,
        it is the image.
    x : float64[B, *S]
    labels : int64[B]
        The class that is claimed in each ball.
    radii : float or float64[B]
        Radii of the balls, such as those of certificates. Images with radius 0 are not attacked.
    steps : int, optional
        Steps of projected gradient ascent of each run.
    draws : int, optional
        Noisy copies whose mean score is followed; other ones in each step.
    step_size : float, optional
        As a share of the radius; 2.5 / steps by default.
    restarts : int, optional
        Runs; the first starts at the image, the others at random points of the ball.
    n : int, optional
        Fresh votes that confirm the result.
    alpha : float, optional
    rng : int or numpy.random.Generator, optional
    image : int, optional
        Number of the first image; part of the counters of its noise.
    batch_size : int, optional
        Noisy points that are evaluated together for the votes.
    progress : bool, optional
        Show a progress bar on stderr.

    Returns
    -------
    SmoothedAttack

    Raises
    ------
    ShapeError, InputError
        There is not one label or radius for each image, or a bad number.

    Notes
    -----
    The loss is ``-log mean_j softmax(f(x' + n_j))`` of the class [1]_; states of neurons, and so the factors of float neurons,
    carry no gradient. Every step's point is a candidate: the one with the smallest share of votes so far is kept, which
    fresh votes then confirm. The ball is not intersected with the range of pixels, since certificates are for the whole ball.

    References
    ----------
    .. [1] Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019
       (the attack of SmoothAdv).
    """
    points, _ = smoothed._as_images(x)
    labels, radii = np.atleast_1d(np.asarray(labels)), np.broadcast_to(np.asarray(radii, np.float64), (len(points),))
    if labels.shape != (len(points),) or labels.dtype.kind not in "iu":
        raise ShapeError(f"labels has shape {labels.shape}, but there are {len(points)} images; give one class for each")
    if not (np.isfinite(radii) & (radii >= 0)).all():
        raise InputError("radii must be finite and not negative; leave out images without a certificate, or give 0")
    settings = _Settings(
        check_count(steps, "steps"), check_count(draws, "draws"), check_count(restarts, "restarts"), make_seed(rng),
        2.5 / steps if step_size is None else check_number(step_size, "step_size", above=True),
    )  # fmt: skip
    n, found, k = check_count(n, "n"), points.copy(), np.zeros(len(points), np.int64)
    with progress_bar(progress, len(points)) as bar:
        for b, (point, label, radius) in enumerate(zip(points, labels.tolist(), radii.tolist(), strict=True)):
            if radius > 0.0:
                found[b] = _attack(smoothed, point, label, radius, settings, image + b)
            center = point if smoothed.base.needs_reference else None
            query: dict[str, Any] = {
                "rng": settings.seed,
                "image": image + b,
                "purpose": CHECK,
                "batch_size": batch_size,
                "center": center,
            }
            k[b] = (smoothed.votes(found[b], 0, n, **query) == label).sum()
            bar.update()
    p_high = clopper_pearson(k, n, alpha, side="upper")[1]
    distance = np.linalg.norm((found - points).reshape(len(points), -1), axis=1)
    return SmoothedAttack(found, k, n, p_high, (p_high < 0.5) & (radii > 0.0), distance)


class _Settings(NamedTuple):
    """Settings of the runs of an attack."""

    steps: int
    draws: int
    restarts: int
    seed: int
    step_size: float


def _attack(smoothed, point, label, radius, settings, image):
    """Search the ball around one image: the best point, float64[*S]."""
    import torch

    rng = np.random.default_rng([settings.seed, image])
    start, best, least = torch.from_numpy(point), point, np.inf
    query = Query(point, smoothed.sigma, settings.seed, ATTACK, image, 0, 0, point if smoothed.base.needs_reference else None)
    for run in range(settings.restarts):
        moved = start.clone()
        if run:
            direction = rng.standard_normal(point.shape)
            length = radius * rng.random() ** (1.0 / point.size)
            moved += torch.from_numpy(direction * (length / np.linalg.norm(direction)))
        for step in range(settings.steps + 1):
            first = (run * (settings.steps + 1) + step) * settings.draws
            gradient, share = _loss_gradient(smoothed, moved, label, query._replace(first=first, last=first + settings.draws))
            if share < least:
                best, least = moved.numpy().copy(), share
            length = float(gradient.norm())
            if length == 0.0 or not np.isfinite(length):
                gradient, length = torch.from_numpy(rng.standard_normal(point.shape)), 1.0
                length = float(gradient.norm())
            moved = _project(moved + settings.step_size * radius / length * gradient, start, radius)
    return best


def _project(point, center, radius):
    """Project onto the ball, so that the computed distance is at most the radius."""
    delta = point - center
    length = float(delta.norm())
    if length <= radius:
        return point
    inside, less = center + delta * (radius / length), 2.0**-52
    while float((inside - center).norm()) > radius:  # by rounding
        inside, less = center + delta * (radius / length * (1.0 - less)), min(1.0, 2.0 * less)
    return inside


def _loss_gradient(smoothed, point, label, query):
    """Return the gradient of the loss at a point, and a smooth share of votes for the class: (tensor [*S], float)."""
    import torch

    query = query._replace(center=point.numpy())
    center = point[None].clone().requires_grad_(True)
    noise = torch.from_numpy(query.points() - query.center)
    scores = smoothed.base.torch_scores(center + noise, query, center.detach())
    if label >= scores.shape[1]:
        raise InputError(f"labels has class {label}, but the classifier has {scores.shape[1]}; give classes of the classifier")
    probability = torch.softmax(scores.double(), dim=1)[:, label].mean()
    loss = -torch.log(probability.clamp_min(torch.finfo(torch.float64).tiny))
    (gradient,) = torch.autograd.grad(loss, center)
    votes = scores.detach().argmax(dim=1)
    share = float((votes == label).double().mean()) + 0.5 / len(votes) * float(probability.detach())
    return gradient[0].double(), share
