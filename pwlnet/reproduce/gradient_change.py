"""How well the gradient at an image predicts the gradient, the output and the class along a line (Section 5 of the paper).

The lines are those of ``density-directions``; the output is the one of the gradient that FGSM uses, (y + 1) mod 10. Changes of
the gradient are averages over all segments of a line, weighted by length (``analysis.linearity``); for random directions, the
mean over the random lines of an image. The paper reports its relative change along FGSM lines with the step ``floor``.
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
    """Measure the change of the gradient and the error of the tangent plane along the lines of image i."""
    perturbed = perturbed_lines(subject, i, options)
    if perturbed is None:
        return skipped(i, COLUMNS)
    lines, network = perturbed.lines, subject.network
    measures = measure_linearity(lines, perturbed.target, threads=options.threads)
    planes = network.forward(lines.starts[:1]) + (lines.ends - lines.starts) @ network.jacobian(lines.starts[:1])[0].T
    changes = [column for change in (measures.mean, measures.largest, measures.at_end) for column in change]
    return np.column_stack([
        line_numbers(i, perturbed), *changes, *measures.tangent, planes.argmax(axis=1), measures.gradient_norm,
        measures.residual,
    ])  # fmt: skip


def tabulate(measured, options):
    """Tabulate the change of the gradient, the error of the tangent plane, trainings, and the paper's number."""
    seed, networks = options.seed, measured.values()
    change = Table(
        "Change of the gradient from the one at the image, averaged over the line",
        ("network", "direction", "images", "l2, relative", "angle, degrees", "signs changed", "symmetric relative",
         "paper's relative, median"),
        [_changes(m, direction, seed) for m in networks for direction in TITLES],
        (f"On lines to images {options.parameters['epsilon']} away in l_inf; means over images, the last column a median. "
         "Symmetric relative: mean over pixels of |g - g0| / (|g| + |g0|), from 0 to 1. Paper's relative: mean over pixels of "
         "|(g0 - g) / (g + 1e-12)|, which is dominated by single pixels with g near 0.",),
    )  # fmt: skip
    tangent = Table(
        "Tangent plane at the image as a prediction at the end of the line",
        ("network", "direction", "predicted change, median", "true change, median", "error, share of the true range",
         "class changes", "of these predicted", "class predicted correctly"),
        [_tangents(m, direction, seed) for m in networks for direction in TITLES],
        ("Error: largest absolute error on the line, divided by the largest change of the output on it; mean over images. "
         "Class changes: fraction of the lines with another class at the end than at the image; of these predicted: fraction "
         "of them for which the tangent planes of all outputs give the class at the end; predicted correctly: the same for all "
         "lines.",),
    )  # fmt: skip
    trainings = Table(
        "Change of the gradient in l2, averaged over the line: standard training (first) and another training (second)",
        ("images of", "second training", "direction", *DIFFERENCES),
        [_trainings(pair, direction, seed) for pair in pairs_by_training(measured) for direction in TITLES],
        (NOTE,),
    )
    return [change, tangent, trainings, _paper(networks, seed)]


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


def _paper(networks, seed):
    rows = []
    for m in networks:
        values = of_images(m, m["mean_relative"], "floor", "fgsm")
        measured = values[~np.isnan(values)]
        quartiles = np.quantile(measured, (0.25, 0.5, 0.75)) if len(measured) else [None] * 3
        rows.append((m.title, len(measured), estimate(values, seed=seed), *quartiles))
    return Table(
        "The paper's relative change of the gradient, on FGSM lines with the step of its code",
        ("network", "images", "mean", "25 %", "median", "75 %"),
        rows,
        ("Each pixel is changed by floor(epsilon g), with its grey value g from 0 to 255. 1 is 100 %.",),
    )


def draw(measured, options):
    """Draw boxes of the mean relative change in l2 by direction, with axes for each network."""

    def changes(m):
        return [of_images(m, m["mean_l2"], "additive", name) for name in TITLES]

    return {"gradient_change.png": draw_networks(measured, changes, LABELS, "change of the gradient, l2")}


EXPERIMENT = Experiment(
    "gradient-change",
    "Change of the gradient along lines from images, and predictions from the gradient at the image",
    "Sotoudeh and Thakur, NeurIPS 2019, Section 5",
    subjects.DIGITS + subjects.CONVSMALL,
    COLUMNS,
    measure,
    tabulate,
    draw,
    PARAMETERS,
)
