"""How far the gradient at an image tells the gradient, the value and the class along a line (Section 5 of the paper).

The lines are those of ``density-directions``; the output is the one whose gradient FGSM follows, (y + 1) mod 10. Changes of
the gradient are averages over a line, by length, over all of its segments (``analysis.linearity``); for an image in random
directions, the mean over its random lines. The paper gives its relative change along FGSM lines with the step ``floor``.
"""

import numpy as np

from ..analysis.linearity import GradientChange, TangentError, measure_linearity
from . import subjects
from .density_training import pairs_by_training
from .experiment import Experiment, skipped
from .paired import DIFFERENCES, NOTE, difference_cells, draw_networks
from .perturbed_lines import COLUMNS as OF_LINES
from .perturbed_lines import LABELS, PARAMETERS, TITLES, line_numbers, of_images, perturbed_lines
from .tables import Table, estimate

_CHANGES = tuple(f"{when}_{name}" for when in ("mean", "largest", "end") for name in GradientChange._fields)
_TANGENT = tuple(f"tangent_{name}" for name in TangentError._fields)
COLUMNS = (*OF_LINES, *_CHANGES, *_TANGENT, "tangent_class", "gradient_norm", "residual")


def measure(subject, i, options):
    """Change of the gradient and error of the tangent plane on the lines of image i: float64[rows, columns]."""
    made = perturbed_lines(subject, i, options)
    if made is None:
        return skipped(i, COLUMNS)
    lines, network = made.lines, subject.network
    found = measure_linearity(lines, made.target, threads=options.threads)
    planes = network.forward(lines.starts[:1]) + (lines.ends - lines.starts) @ network.jacobian(lines.starts[:1])[0].T
    changes = [column for change in (found.mean, found.largest, found.at_end) for column in change]
    return np.column_stack([
        line_numbers(i, made), *changes, *found.tangent, planes.argmax(axis=1), found.gradient_norm, found.residual,
    ])  # fmt: skip


def tabulate(measured, options):
    """Tables: change of the gradient, error of the tangent plane, trainings compared, the paper's number."""
    seed, everyone = options.seed, measured.values()
    change = Table(
        "Change of the gradient from the one at the image, averaged over the line",
        ("network", "direction", "images", "l2, relative", "angle, degrees", "signs changed", "symmetric relative",
         "paper's relative, median"),
        [_changes(m, direction, seed) for m in everyone for direction in TITLES],
        (f"On lines to images {options.parameters['epsilon']} away in l_inf; means over images, the last column a median. "
         "Symmetric relative: mean over pixels of |g - g0| / (|g| + |g0|), from 0 to 1. Paper's relative: mean over pixels of "
         "|(g0 - g) / (g + 1e-12)|, which single pixels with g near 0 decide.",),
    )  # fmt: skip
    tangent = Table(
        "Tangent plane at the image: what it tells of the end of the line",
        ("network", "direction", "predicted change, median", "true change, median", "error, share of the true range",
         "class changes", "of these predicted", "class predicted rightly"),
        [_tangents(m, direction, seed) for m in everyone for direction in TITLES],
        ("Error: largest absolute error on the line, divided by the largest change of the output on it; mean over images. "
         "Class changes: share of the lines at whose end the network gives another class than at the image; of these "
         "predicted: share of them for which the tangent planes of all outputs give the class at the end; predicted rightly: "
         "the same of all lines.",),
    )  # fmt: skip
    trainings = Table(
        "Change of the gradient in l2, averaged over the line: standard training (first) and another one (second)",
        ("images of", "second training", "direction", *DIFFERENCES),
        [_trainings(pair, direction, seed) for pair in pairs_by_training(measured) for direction in TITLES],
        (NOTE,),
    )
    return [change, tangent, trainings, _paper(everyone, seed)]


def _changes(m, direction, seed):
    values = {name: of_images(m, m[f"mean_{name}"], "additive", direction) for name in GradientChange._fields}
    means = [estimate(values[name], seed=seed) for name in ("l2", "sign", "symmetric")]
    angle = estimate(np.degrees(values["angle"]), seed=seed)
    median = estimate(values["relative"], statistic=np.median, seed=seed)
    return (m.title, TITLES[direction], np.count_nonzero(~np.isnan(values["l2"])), means[0], angle, *means[1:], median)


def _tangents(m, direction, seed):
    def of(values):
        return of_images(m, values, "additive", direction)

    def middle(values):
        return np.nanmedian(values) if np.isfinite(values).any() else None

    predicted, error = m["tangent_predicted"], m["tangent_largest"]
    share = np.divide(error, m["tangent_variation"], out=np.full(len(error), np.nan), where=m["tangent_variation"] > 0)
    left_out = np.where(np.isnan(predicted), np.nan, 0.0)
    changes = (m["end_class"] != m["label"]) + left_out
    right = (m["end_class"] == m["tangent_class"]) + left_out
    among = of(np.where(changes == 1.0, right, np.nan))
    return (m.title, TITLES[direction], middle(of(predicted)), middle(of(predicted - m["tangent_at_end"])),
            estimate(of(share), seed=seed), estimate(of(changes), seed=seed), estimate(among, seed=seed),
            estimate(of(right), seed=seed))  # fmt: skip


def _trainings(pair, direction, seed):
    standard, other = (of_images(m, m["mean_l2"], "additive", direction) for m in pair)
    return (pair[0].dataset, pair[1].training, TITLES[direction], *difference_cells(standard, other, seed))


def _paper(everyone, seed):
    rows = []
    for m in everyone:
        values = of_images(m, m["mean_relative"], "floor", "fgsm")
        there = values[~np.isnan(values)]
        quartiles = np.quantile(there, (0.25, 0.5, 0.75)) if len(there) else [None] * 3
        rows.append((m.title, len(there), estimate(values, seed=seed), *quartiles))
    return Table(
        "The paper's relative change of the gradient, on FGSM lines with the step of its code",
        ("network", "images", "mean", "25 %", "median", "75 %"),
        rows,
        ("Each pixel moves by floor(epsilon g), g its grey value of 0 to 255. 1 is 100 %.",),
    )


def draw(measured, options):
    """Boxes of the mean relative change in l2 by direction, an axis for each network."""

    def changes(m):
        return [of_images(m, m["mean_l2"], "additive", name) for name in TITLES]

    return {"gradient_change.png": draw_networks(measured, changes, LABELS, "change of the gradient, l2")}


EXPERIMENT = Experiment(
    "gradient-change",
    "Change of the gradient along lines from images, and what the gradient at the image tells of them",
    "Sotoudeh and Thakur, NeurIPS 2019, Section 5",
    subjects.DIGITS + subjects.CONVSMALL,
    COLUMNS,
    measure,
    tabulate,
    draw,
    PARAMETERS,
)
