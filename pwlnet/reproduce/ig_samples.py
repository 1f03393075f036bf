"""How many samples integrated gradients need (Table 2 of the paper).

For each image: the segments of the line from the black image, whose gradients the exact method takes, and for each sampling
rule the smallest number of samples from which on the error stays under 5 % for five counts (``pwlnet.count_samples``; the
counts are points, so that a trapezoid rule on n intervals has n + 1). By the mean relative error, as in the paper, and by the
l1 error (``ig_error.py`` has the definitions). Every count is tried; the authors' program tries every fifth one first.
"""

import numpy as np

from ..analysis.sampling_error import METHODS, count_samples
from .experiment import Experiment
from .ig_lines import KEYS, NOTE, PAPER_NETWORKS, SOURCE, image_line
from .tables import Table, estimate

COLUMNS = ("image", "regions", *METHODS, *(f"{method}_l1" for method in METHODS))
PARAMETERS = {"within": 0.05, "consecutive": 5, "max_samples": 1000}
PAPER = {"convsmall": (2582.74, 136.74), "convmedium": (3578.89, 150.31), "convbig": (14064.65, 269.43)}  # exact, left
PAPER_RULES = ("left", "right", "trapezoid")  # an image that one of them needs too many for is left out of the means
NAMES = {"simpson": "Simpson", "gauss_legendre": "Gauss-Legendre"}


def measure(subject, i, options):
    """One row; NaN where a rule needs more than ``max_samples``."""
    lines, label = image_line(subject, i, options)
    found = count_samples(lines, label, **options.parameters)
    counts = np.concatenate([found.relative[0], found.l1[0]])
    return np.array([[i, found.n_segments[0], *np.where(counts > 0, counts, np.nan)]])


def tabulate(measured, options):
    """Means by both errors without the images that need too many samples, and medians of all images."""
    bound = f"stays under {100 * options.parameters['within']:g} % for {options.parameters['consecutive']} counts"
    return [
        _means(measured, options, "", f"Samples until the mean relative error {bound}"),
        _means(measured, options, "_l1", f"Samples until the l1 error {bound}"),
        _medians(measured, options, f"Samples until an error {bound}, medians of all images"),
    ]


def _means(measured, options, suffix, title):
    most, rows = options.parameters["max_samples"], []
    for found in measured.values():
        kept = ~np.isnan([found[rule + suffix] for rule in PAPER_RULES]).any(axis=0)
        left, trapezoid = (found[rule + suffix][kept] for rule in ("left", "trapezoid"))
        columns = [found["regions"], *(found[method + suffix] for method in METHODS)]
        cells = [estimate(values[kept], seed=options.seed) for values in columns]
        saved = estimate(100.0 * (1.0 - trapezoid / left), seed=options.seed)
        rows.append((found.title, int(kept.sum()), int((~kept).sum()), *cells, saved))
    notes = [
        f"Left out: images for which the left, right or trapezoid rule needs more than {most}. Of the others, the mean of "
        "another rule has those for which it needs no more. Saved: by the trapezoid rule against the left one, by image."
    ]
    if not suffix:
        for key, name in PAPER_NETWORKS.items():
            if key in measured:
                exact, left = PAPER[name]
                cells = [left if method == "left" else None for method in METHODS]
                rows.append((f"paper: CIFAR10 {name}", None, None, exact, *cells, "20 to 40"))
        notes.append(NOTE)
    headings = ("network", "images", "left out", "exact (regions)", *(NAMES.get(m, m) for m in METHODS), "saved, %")
    return Table(title, headings, rows, tuple(notes))


def _medians(measured, options, title):
    most, rows = options.parameters["max_samples"], []
    for found in measured.values():
        for suffix, name in (("", "mean relative"), ("_l1", "l1")):
            counts = [np.nan_to_num(found[method + suffix], nan=most + 1) for method in METHODS]
            rows.append((found.title, name, found.n_images, *(float(np.median(n)) for n in [found["regions"], *counts])))
    headings = ("network", "error", "images", "exact (regions)", *(NAMES.get(m, m) for m in METHODS))
    return Table(title, headings, rows, (f"{most + 1} stands for more than {most}.",))


def draw(measured, options):
    """Samples that each rule needs, by both errors: medians of all images."""
    from .. import plot

    figure, most = plot.new_figure((9.0, 4.0)), options.parameters["max_samples"]
    texts = ("mean relative error", "l1 error")
    for ax, suffix, text in zip(figure.subplots(1, 2, sharey=True), ("", "_l1"), texts, strict=True):
        for found in measured.values():
            medians = [np.median(np.nan_to_num(found[method + suffix], nan=most + 1)) for method in METHODS]
            ax.plot(range(len(METHODS)), medians, "o-", ms=4, lw=0.8, label=found.title)
        ax.set(yscale="log", title=text, xticks=range(len(METHODS)))
        ax.set_xticklabels([NAMES.get(method, method) for method in METHODS], rotation=30, ha="right")
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(f"samples to {100 * options.parameters['within']:g} %, median of images")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", fontsize=7, frameon=False)
    return {"samples.png": figure}


EXPERIMENT = Experiment(
    name="ig-samples",
    title="How many samples integrated gradients need",
    source=f"{SOURCE}, Table 2",
    keys=KEYS,
    columns=COLUMNS,
    measure=measure,
    tabulate=tabulate,
    draw=draw,
    parameters=PARAMETERS,
)
