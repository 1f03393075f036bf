"""Pairs of an image and an attacked image, used by three experiments on fixed and float paths.

The images are those that the network classifies correctly. There are four attacks: PGD in the l_2 and in the l_inf norm, which
starts at the image and increases the cross-entropy; FGSM in the l_inf norm; and, of some images with normal noise, the one with
the largest difference between another score and that of the label. The radii are those of RADII, in pixels from 0 to 1, times
the parameter ``scale``; attacked images are clipped to [0, 1], noisy ones are not, as in training with noise.

Legend: A attacks, D inputs.
"""

import functools
from typing import NamedTuple

import numpy as np

ATTACKS = ("l2", "linf", "fgsm", "noise")
TITLES = {"l2": "PGD, l_2", "linf": "PGD, l_inf", "fgsm": "FGSM", "noise": "noise"}
RADII = {"digits": (0.5, 0.1), "mnist": (1.5, 0.1), "cifar10": (0.5, 8 / 255)}  # l_2 and l_inf radius
PARAMETERS = {"scale": 1.0, "pgd_steps": 40, "sigma": 0.25, "n_noise": 100}
NOTE = (
    "Attacks, by default: PGD with 40 steps from the image, with the l_2 radius 0.5 (MNIST: 1.5) and the l_inf radius 0.1 "
    "(CIFAR-10: 8/255); FGSM with the l_inf radius; noise: the worst of 100 draws of normal noise with standard deviation 0.25."
)
_AT_ONCE = 64  # images that are attacked together; the result of an image does not depend on the others


class Pairs(NamedTuple):
    """The attacks of one image: image and attacked images float64[A, D] in the input units of the network, label int64[A]."""

    images: np.ndarray
    attacked: np.ndarray
    labels: np.ndarray


def attacked_pairs(subject, i, options, attacks=ATTACKS):
    """Attack an image.

    Parameters
    ----------
    subject : Subject
    i : int
    options : Options
        With the parameters of PARAMETERS; only "noise" needs the last two.
    attacks : tuple of str, optional
        The first of ATTACKS, or all.

    Returns
    -------
    Pairs or None
        In the order of ``attacks``; None if the network misclassifies the image.
    """
    if not subject.is_right(i):
        return None
    scale, steps = options.parameters["scale"], options.parameters["pgd_steps"]
    attacked = _attacked(subject, i // _AT_ONCE, scale, steps)[i % _AT_ONCE][: len(attacks)]
    if "noise" in attacks:
        attacked = np.concatenate([attacked, _worst_noise(subject, i, options)[None]])
    image = subject.to_input(subject.images[i])
    return Pairs(np.repeat(image[None], len(attacks), axis=0), attacked, np.full(len(attacks), subject.labels[i]))


def noisy_inputs(subject, i, point, options):
    """Draw inputs with noise around a point, the same noise for all points of an image: float64[n_noise, D].

    Each draw is followed by its mirror image.
    """
    sigma, n = options.parameters["sigma"], options.parameters["n_noise"]
    noise = options.rng(i).standard_normal(((n + 1) // 2, len(point)))
    return point + sigma * np.stack([noise, -noise], axis=1).reshape(-1, len(point))[:n] / subject.deviation


@functools.lru_cache(maxsize=1)
def _attacked(subject, block, scale, steps):
    """Attack a block of images: float64[images, 3, D], in the input units of the network."""
    from ..learn import fgsm, pgd

    rows = slice(block * _AT_ONCE, (block + 1) * _AT_ONCE)
    images, labels = subject.images[rows], subject.labels[rows]
    l2, linf = (scale * radius for radius in RADII[subject.dataset])
    run = {"random_start": False, "steps": steps}
    results = [
        pgd(subject.network, images, labels, epsilon=l2, norm="l2", **run),
        pgd(subject.network, images, labels, epsilon=linf, **run),
        fgsm(subject.network, images, labels, epsilon=linf),
    ]
    return np.stack([result.images for result in results], axis=1)


def _worst_noise(subject, i, options):
    """Return the noisy image with the largest other score minus that of the label: float64[D]."""
    points, label = noisy_inputs(subject, i, subject.to_input(subject.images[i]), options), int(subject.labels[i])
    scores = subject.network.forward(points)
    margins = np.delete(scores, label, axis=1).max(axis=1) - scores[:, label]
    return points[margins.argmax()]


def of_attack(measured, name, attack):
    """Return a column for one of ATTACKS: float64[images], NaN for excluded images."""
    values = np.full(measured.n_images, np.nan)
    rows = measured["attack"] == ATTACKS.index(attack)
    values[measured["image"][rows].astype(np.int64)] = measured[name][rows]
    return values
