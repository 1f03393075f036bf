"""Number of samples that integrated gradients need (Table 2 of the paper).

For each image: the number of segments of the line from the black image, whose gradients the exact method uses, and for each
sampling rule the smallest number of samples from which on the error is below 5 % for five counts (``pwlnet.count_samples``;
counts are numbers of points, so the trapezoid rule on n intervals has n + 1). This is done for the mean relative error, as in
the paper, and for the l1 error (defined in ``ig_error.py``). Every count is tried; the authors' code tries every fifth first.
"""

import numpy as np

from ..analysis.sampling_error import METHODS, count_samples
from .experiment import Experiment
from .ig_lines import KEYS, NOTE, PAPER_NETWORKS, SOURCE, image_line
from .tables import Table, estimate

COLUMNS = ("image", "regions", *METHODS, *(f"{method}_l1" for method in METHODS))
PARAMETERS = {"within": 0.05, "consecutive": 5, "max_samples": 1000}
PAPER = {"convsmall": (2582.74, 136.74), "convmedium": (3578.89, 150.31), "convbig": (14064.65, 269.43)}  # exact, left
PAPER_RULES = ("left", "right", "trapezoid")  # an image is excluded from the means if one of these needs too many samples
NAMES = {"simpson": "Simpson", "gauss_legendre": "Gauss-Legendre"}


def measure(subject, i, options):
    """Measure the numbers of samples: one row, with NaN if a rule needs more than ``max_samples``."""
    lines, label = image_line(subject, i, options)
    result = count_samples(lines, label, **options.parameters)
    counts = np.concatenate([result.relative[0], result.l1[0]])
    return np.array([[i, result.n_segments[0], *np.where(counts > 0, counts, np.nan)]])


def tabulate(measured, options):
    """Tabulate means for both errors without the images that need too many samples, and medians of all images."""
    bound = f"is below {100 * options.parameters['within']:g} % for {options.parameters['consecutive']} counts"
    return [
        _means(measured, options, "", f"Samples until the mean relative error {bound}"),
        _means(measured, options, "_l1", f"Samples until the l1 error {bound}"),
        _medians(measured, options, f"Samples until an error {bound}, medians of all images"),
    ]


def _means(measured, options, suffix, title):
    most, rows = options.parameters["max_samples"], []
    for m in measured.values():
        kept = ~np.isnan([m[rule + suffix] for rule in PAPER_RULES]).any(axis=0)
        left, trapezoid = (m[rule + suffix][kept] for rule in ("left", "trapezoid"))
        columns = [m["regions"], *(m[method + suffix] for method in METHODS)]
        cells = [estimate(values[kept], seed=options.seed) for values in columns]
        saved = estimate(100.0 * (1.0 - trapezoid / left), seed=options.seed)
        rows.append((m.title, int(kept.sum()), int((~kept).sum()), *cells, saved))
    notes = [
        f"Left out: images for which the left, right or trapezoid rule needs more than {most}. Of the others, the mean of "
        "another rule includes those for which it needs no more. Saved: by the trapezoid rule relative to the left rule, per "
        "image."
    ]
    if not suffix:
        for key, name in PAPER_NETWORKS.items():
            if key in measured:
                exact, left = PAPER[name]
                cells = [left if method == "left" else None for method in METHODS]
                rows.append((f"paper: CIFAR10 {name}", None, None, exact, *cells, "20 to 40"))
        notes.append(NOTE)
    rules = (NAMES.get(method, method) for method in METHODS)
    headings = ("network", "images", "left out", "exact (regions)", *rules, "saved, %")
    return Table(title, headings, rows, tuple(notes))


def _medians(measured, options, title):
    most, rows = options.parameters["max_samples"], []
    for m in measured.values():
        for suffix, name in (("", "mean relative"), ("_l1", "l1")):
            counts = [np.nan_to_num(m[method + suffix], nan=most + 1) for method in METHODS]
            rows.append((m.title, name, m.n_images, *(float(np.median(n)) for n in [m["regions"], *counts])))
    headings = ("network", "error", "images", "exact (regions)", *(NAMES.get(method, method) for method in METHODS))
    return Table(title, headings, rows, (f"{most + 1} stands for more than {most}.",))


def draw(measured, options):
    """Draw the medians over images of the samples that each rule needs, for both errors."""
    from .. import plot

    figure, most = plot.new_figure((9.0, 4.0)), options.parameters["max_samples"]
    texts = ("mean relative error", "l1 error")
    for ax, suffix, text in zip(figure.subplots(1, 2, sharey=True), ("", "_l1"), texts, strict=True):
        for m in measured.values():
            medians = [np.median(np.nan_to_num(m[method + suffix], nan=most + 1)) for method in METHODS]
            ax.plot(range(len(METHODS)), medians, "o-", ms=4, lw=0.8, label=m.title)
        ax.set(yscale="log", title=text, xticks=range(len(METHODS)))
        ax.set_xticklabels([NAMES.get(method, method) for method in METHODS], rotation=30, ha="right")
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(f"samples to {100 * options.parameters['within']:g} %, median of images")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", fontsize=7, frameon=False)
    return {"samples.png": figure}


EXPERIMENT = Experiment(
    name="ig-samples",
    title="Number of samples that integrated gradients need",
    source=f"{SOURCE}, Table 2",
    keys=KEYS,
    columns=COLUMNS,
    measure=measure,
    tabulate=tabulate,
    draw=draw,
    parameters=PARAMETERS,
)
