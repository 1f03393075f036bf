"""How far the fixed and the float part of the outputs move between an image and an attacked image.

A neuron is fixed if it has the same strict state at both points (scope "pair"). The outputs are the sum over fixed paths, all
of whose neurons are fixed, plus the sum over float paths, with the slopes of the forward pass at each point (frozen gates). The
distances are the Euclidean norms of the changes of both sums. "live" distances are those of public research code: outputs of
the network with float neurons set to 0, whose later neurons may change their states, and the remainder.

Smoothed distances are those of the change that remains after averaging over noise: both points are moved by the same draw of
normal noise, the changes of both parts are computed for each draw, and averaged. The sum of both averages is the change of the
outputs that are smoothed with these draws.
"""

import numpy as np

from ..analysis.vulnerability import classify_vulnerability
from . import subjects
from .attacked_pairs import ATTACKS, NOTE, PARAMETERS, TITLES, attacked_pairs, noisy_inputs, of_attack
from .experiment import Experiment, skipped
from .paired import DIFFERENCES, difference_cells
from .paired import NOTE as PAIRED
from .tables import Table, estimate
from .trainings import draw_boxes_by_training, draw_families, family, mean, with_standard

COLUMNS = ("image", "attack", "flipped", "length", "float_neurons", "fixed", "float", "total", "live_fixed", "live_float",
           "smoothed_fixed", "smoothed_float", "smoothed_total")  # fmt: skip
_LEAST = 0.001  # of the figure's logarithmic axis


def measure(subject, i, options):
    """Measure all attacks of an image: a row for each element of ATTACKS, or one of NaN."""
    pairs = attacked_pairs(subject, i, options)
    if pairs is None:
        return skipped(i, COLUMNS)
    threads, network = options.threads, subject.network
    frozen, live = (
        classify_vulnerability(network, pairs.images, pairs.attacked, labels=pairs.labels, gates=gates, threads=threads)
        for gates in ("frozen", "live")
    )
    smoothed = [_smoothed(subject, i, attacked, options) for attacked in pairs.attacked]
    return np.column_stack([
        np.full(len(frozen), i), np.arange(len(frozen)), frozen.is_flip, np.linalg.norm(pairs.attacked - pairs.images, axis=1),
        frozen.n_float / network.n_neurons, frozen.fixed_distance, frozen.float_distance,
        np.linalg.norm(frozen.change, axis=1), live.fixed_distance, live.float_distance, smoothed,
    ])  # fmt: skip


def _smoothed(subject, i, attacked, options):
    """Average the changes of both parts and of the outputs over noise: the norms of the averages."""
    points = [noisy_inputs(subject, i, point, options) for point in (subject.to_input(subject.images[i]), attacked)]
    parts = classify_vulnerability(subject.network, *points, threads=options.threads)
    return [np.linalg.norm(each.mean(axis=0)) for each in (parts.fixed_change, parts.float_change, parts.change)]


def tabulate(measured, options):
    """Tabulate both distances by network and attack, differences between trainings, live gates and averages over noise."""
    seed, networks = options.seed, measured.values()
    parts = Table(
        "Change of the fixed and of the float part of the outputs",
        (
            "network",
            "attack",
            "images",
            "flipped",
            "float neurons",
            "fixed",
            "float",
            "float / fixed, median",
            "float is larger",
        ),
        [_parts(m, attack, seed) for m in networks for attack in ATTACKS],
        (NOTE, "fixed, float: Euclidean norms; means over images with 95 % bootstrap intervals. Neurons, images: shares."),
    )
    differences = Table(
        "Change by training: another training (first) and standard training (second), PGD in the l_2 norm",
        ("network", "training", "part", *DIFFERENCES),
        [_differences(pair, part, seed) for pair in with_standard(measured) for part in ("fixed", "float")],
        (PAIRED, "Each network is trained once: p-values and intervals refer to other images, not to other trainings."),
    )
    live = Table(
        "The same parts with live gates",
        ("network", "attack", "fixed", "float", "float is larger"),
        [_live(m, attack, seed) for m in networks for attack in ATTACKS[:2]],
        ("The network is evaluated with float neurons set to 0; the remainder of the outputs is called the float part.",),
    )
    smoothed = Table(
        "What smoothing leaves of the change of both parts",
        ("network", "attack", "fixed", "smoothed", "left", "float", "smoothed", "left", "outputs", "smoothed", "left"),
        [_smoothing(m, attack, seed) for m in networks for attack in ATTACKS[:2]],
        ("Smoothed: averages over (by default) 100 draws of normal noise, the same at the image and at the attacked image. "
         "Left: median of their ratio over images.",),
    )  # fmt: skip
    return [parts, differences, live, smoothed]


def larger(m, attack, first="float", second="fixed"):
    """Return where one distance is larger than another one: float64[images], NaN for excluded images."""
    first, second = (of_attack(m, name, attack) for name in (first, second))
    return np.where(np.isnan(first), np.nan, first > second)


def _parts(m, attack, seed):
    fixed, float_ = (of_attack(m, name, attack) for name in ("fixed", "float"))
    ratio = np.divide(float_, fixed, out=np.full(len(fixed), np.nan), where=fixed > 0.0)
    ratio = np.where((fixed == 0.0) & (float_ > 0.0), np.inf, ratio)
    median = np.nanmedian(ratio) if not np.isnan(ratio).all() else None
    flipped, neurons = (mean(of_attack(m, name, attack)) for name in ("flipped", "float_neurons"))
    n_images = int((~np.isnan(fixed)).sum())
    shares = (m.title, TITLES[attack], n_images, flipped, neurons)
    return (*shares, *(estimate(each, seed=seed) for each in (fixed, float_)), median, estimate(larger(m, attack), seed=seed))


def _differences(pair, part, seed):
    standard, other = pair
    cells = difference_cells(of_attack(other, part, "l2"), of_attack(standard, part, "l2"), seed)
    return (family(other), other.training, part, *cells)


def _live(m, attack, seed):
    values = (
        of_attack(m, "live_fixed", attack),
        of_attack(m, "live_float", attack),
        larger(m, attack, "live_float", "live_fixed"),
    )
    return (m.title, TITLES[attack], *(estimate(each, seed=seed) for each in values))


def _smoothing(m, attack, seed):
    cells = []
    for part in ("fixed", "float", "total"):
        single, smoothed = (of_attack(m, name, attack) for name in (part, f"smoothed_{part}"))
        left = np.divide(smoothed, single, out=np.full(len(single), np.nan), where=single > 0.0)
        cells += [*(estimate(each, seed=seed) for each in (single, smoothed)), estimate(left, statistic=np.median, seed=seed)]
    return (m.title, TITLES[attack], *cells)


def draw(measured, options):
    """Draw boxes of both distances by training for PGD in the l_2 norm, with axes for each architecture."""

    def draw_one(ax, networks):
        groups = {
            f"{part} part": [np.maximum(of_attack(m, part, "l2"), _LEAST) for m in networks] for part in ("fixed", "float")
        }
        draw_boxes_by_training(ax, networks, groups)
        ax.set_yscale("log")

    return {"float_distance.png": draw_families(measured, draw_one, "change of the outputs")}


EXPERIMENT = Experiment(
    "float-distance",
    "Change of the fixed and of the float part of the outputs between an image and an attacked image",
    "Jiang, ICLR 2023: distances of both parts for networks of several depths and trainings",
    subjects.DIGITS + subjects.DEPTHS + subjects.CONVSMALL,
    COLUMNS,
    measure,
    tabulate,
    draw,
    PARAMETERS,
)
