"""Lines from an image to perturbed images, used by three experiments: FGSM, PGD and random signs, with two kinds of steps.

The images are those that the network classifies correctly, with label y. FGSM uses the gradient of the output (y + 1) mod 10,
and PGD increases this output, as in the paper's code. ``additive`` changes every pixel by epsilon and clips to [0, 1];
``floor`` is the step of the paper's code (``analysis.perturbation``), which hardly changes dark pixels. PGD uses the ball of
``additive``. Random signs are the same for all networks of a dataset.

Legend: R lines of an image, n images.
"""

from typing import NamedTuple

import numpy as np

from ..analysis.perturbation import perturb
from ..partition.lines.partitions import partition_lines

RULES = ("additive", "floor")
DIRECTIONS = ("fgsm", "pgd", "random")
TITLES = {"fgsm": "FGSM", "pgd": "PGD", "random": "random signs"}
LABELS = ("FGSM", "PGD", "random")  # short, for figures
COLUMNS = ("image", "label", "rule", "direction", "n_segments", "length", "first_t", "end_class")
PARAMETERS = {"epsilon": 0.03, "n_random": 4, "pgd_steps": 20}


class PerturbedLines(NamedTuple):
    """Lines of one image: rule and direction int64[R] (indices in RULES and DIRECTIONS), label, output, LinePartitions."""

    rules: np.ndarray
    directions: np.ndarray
    label: int
    target: int
    lines: object


def perturbed_lines(subject, i, options):
    """Create the lines of image i: PerturbedLines, or None if the network misclassifies the image.

    Parameters
    ----------
    subject : Subject
    i : int
    options : Options
        With parameters ``epsilon`` (in pixels from 0 to 1), ``n_random`` and ``pgd_steps``.

    Returns
    -------
    PerturbedLines or None
    """
    from ..learn import pgd

    if not subject.is_right(i):
        return None
    image, network, rng = subject.images[i], subject.network, options.rng(i)
    epsilon, n_random = options.parameters["epsilon"], options.parameters["n_random"]
    label = int(subject.labels[i])
    target = (label + 1) % network.n_outputs
    gradient = np.sign(network.jacobian(subject.to_input(image))[0, target])
    signs = np.concatenate([gradient[None], rng.choice((-1.0, 1.0), (n_random, image.size))])
    images = np.broadcast_to(image, signs.shape)
    attacked = pgd(network, image[None], np.array([target]), epsilon=epsilon, targeted=True, rng=rng,
                   steps=options.parameters["pgd_steps"]).images  # fmt: skip
    stepped = [perturb(images, signs, epsilon=epsilon, rule=rule) for rule in RULES]
    ends = np.concatenate([stepped[0][:1], attacked, stepped[0][1:], stepped[1]])
    directions = np.array([0, 1, *[2] * n_random, 0, *[2] * n_random])
    rules = np.repeat((0, 1), (2 + n_random, 1 + n_random))
    lines = partition_lines(network, subject.to_input(image), subject.to_input(ends), threads=options.threads)
    return PerturbedLines(rules, directions, label, target, lines)


def line_numbers(i, perturbed):
    """Return the numbers of the lines of image i that all experiments store: float64[R, len(COLUMNS)]."""
    lines = perturbed.lines
    return np.column_stack([
        np.full((len(lines), 2), (i, perturbed.label)), perturbed.rules, perturbed.directions, lines.n_segments, lines.length,
        lines.t[lines.offsets[:-1] + 1], lines.network.forward(lines.ends).argmax(axis=1),
    ])  # fmt: skip


def of_images(measured, values, rule, direction):
    """Average a number over the lines of a kind for each image: float64[n], NaN for excluded images.

    Parameters
    ----------
    measured : Measured
    values : float64[rows]
        A column, or values computed from columns; NaN for lines without a value.
    rule, direction : str
        Elements of RULES and DIRECTIONS.

    Returns
    -------
    float64[n]
    """
    chosen = kind(measured, rule, direction) & ~np.isnan(values)
    images = measured["image"].astype(np.int64)
    counts = np.bincount(images[chosen], minlength=measured.n_images)
    sums = np.bincount(images[chosen], values[chosen], minlength=measured.n_images)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def kind(measured, rule, direction):
    """Return which rows are lines of a kind: bool[rows]."""
    return (measured["rule"] == RULES.index(rule)) & (measured["direction"] == DIRECTIONS.index(direction))


def density(measured, *, endpoints=False):
    """Compute regions per unit of Euclidean length, with pixels in [0, 1]: float64[rows], NaN for lines of length zero.

    ``endpoints`` counts the ends of segments, one more than regions, as the paper's code does.
    """
    length, count = measured["length"], measured["n_segments"] + (1.0 if endpoints else 0.0)
    return np.divide(count, length, out=np.full(len(length), np.nan), where=length > 0)
