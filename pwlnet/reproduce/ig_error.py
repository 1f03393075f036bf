"""Error of integrated gradients with the usually recommended number of samples (Table 1 of the paper).

The recommendation: use left Riemann sums with 20, 21, ... samples until the sum of the attributions is within 5 % of the change
of the output; the paper's experiment is stricter, 1 %. For each image: this number, up to 1000, and the error of the resulting
attributions relative to the exact ones (``pwlnet.recommend_samples``):

- mean relative error, as in the paper: the mean over all inputs of |a - e| / |e + 1e-11|, with the sampled attribution a and
  the exact one e of an input; black pixels count as 0;
- l1 error: the sum of |a - e| divided by the sum of |e|, which is robust to attributions near 0.
"""

import numpy as np

from ..analysis.sampling_error import recommend_samples
from .experiment import Experiment
from .ig_lines import KEYS, NOTE, PAPER_NETWORKS, SOURCE, cumulative_shares, image_line
from .tables import Table, estimate

COLUMNS = ("image", "within", "samples", "relative", "l1", "regions")
PAPER_ERRORS = {"convsmall": 24.95, "convmedium": 24.95, "convbig": 45.34}  # per cent, completeness within 1 %
PARAMETERS = {"within": 0.01, "within_recommended": 0.05, "first": 20, "max_samples": 1000}


def measure(subject, i, options):
    """Measure the errors with the stricter and with the usual recommendation: two rows, with NaN if no count is complete."""
    lines, label = image_line(subject, i, options)
    parameters, rows = options.parameters, []
    limits = {name: parameters[name] for name in ("first", "max_samples")}
    for within in (parameters["within"], parameters["within_recommended"]):
        result = recommend_samples(lines, label, within=within, **limits)
        n = result.n_samples[0]
        rows.append([i, within, n if n > 0 else np.nan, result.relative[0], result.l1[0], result.n_segments[0]])
    return np.array(rows)


def tabulate(measured, options):
    """Tabulate the errors for each of the two bounds on completeness."""
    return [_table(measured, options, options.parameters[name]) for name in ("within", "within_recommended")]


def _table(measured, options, within):
    headings = (
        "network", "images", "left out", "samples", "mean relative error, %", "its median, %", "l1 error, %", "paper, %",
    )  # fmt: skip
    rows, strict = [], within == PARAMETERS["within"]
    for key, m in measured.items():
        selected = m["within"] == within
        samples, relative, l1 = (m[name][selected] for name in ("samples", "relative", "l1"))
        cells = [(samples, np.mean), (100 * relative, np.mean), (100 * relative, np.median), (100 * l1, np.mean)]
        estimates = [estimate(values, statistic=statistic, seed=options.seed) for values, statistic in cells]
        paper = PAPER_ERRORS.get(PAPER_NETWORKS.get(key)) if strict else None
        rows.append((m.title, m.n_images, int(np.isnan(samples).sum()), *estimates, paper))
    notes = [f"Left out: images without complete attributions for any count up to {options.parameters['max_samples']}.", NOTE]
    if not strict:
        notes.append(f"The paper's numbers are for completeness within {100 * PARAMETERS['within']:g} %.")
    title = f"Error of integrated gradients by the recommended number of samples, completeness within {100 * within:g} %"
    return Table(title, headings, rows, tuple(notes))


def draw(measured, options):
    """Draw the cumulative distribution of the errors of all images."""
    from .. import plot

    figure = plot.new_figure((9.0, 3.8))
    within = options.parameters["within"]
    for ax, name, text in zip(figure.subplots(1, 2), ("relative", "l1"), ("mean relative error", "l1 error"), strict=True):
        cumulative_shares(ax, measured, lambda m, name=name: 100.0 * m[name][m["within"] == within])
        ax.set_xlabel(f"{text}, %")
    figure.suptitle(f"left sums, completeness within {100 * within:g} %", fontsize=10)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", fontsize=7, frameon=False)
    return {"errors.png": figure}


EXPERIMENT = Experiment(
    name="ig-error",
    title="Error of integrated gradients with the recommended number of samples",
    source=f"{SOURCE}, Table 1",
    keys=KEYS,
    columns=COLUMNS,
    measure=measure,
    tabulate=tabulate,
    draw=draw,
    parameters=PARAMETERS,
)
