"""Exact attributions of images, those with the recommended number of samples, and the breakpoints of the line.

For each image: exact integrated gradients of the label's output from the black image, and the left Riemann sum with the number
of samples of ``ig_error.py`` for completeness within 1 % (or 1000 if there is none). The store contains both: two rows per
image, the exact one first. The figure of each network shows one image, the parameter ``image``. Its lower part is Figure 3 of
the paper: the line from the black image to the image, with a tick at each breakpoint.
"""

import numpy as np

from .. import store
from ..analysis.attribution import integrate_gradients
from ..analysis.sampling_error import compare_rules, recommend_samples
from ..errors import InputError
from . import subjects
from .experiment import Experiment
from .ig_lines import KEYS, NOTE, SOURCE, image_line
from .tables import Table

COLUMNS = ("image", "label", "regions", "samples", "relative", "l1", "completeness")
PARAMETERS = {"within": 0.01, "first": 20, "max_samples": 1000, "image": 0}


def measure(subject, i, options):
    """Measure the number of samples and the resulting errors: one row."""
    lines, label = image_line(subject, i, options)
    n = _recommended(lines, label, options)
    errors = compare_rules(lines, label, counts=[n], methods=["left"])
    row = [e[0, 0, 0] for e in (errors.relative, errors.l1, errors.completeness)]
    return np.array([[i, label[0], lines.n_segments[0], n, *row]])


def attributions(subject, i, options):
    """Compute the exact attributions and those of the left sum: two rows of one output."""
    lines, label = image_line(subject, i, options)
    n = _recommended(lines, label, options)
    how = {"outputs": label, "threads": options.threads}
    results = [
        integrate_gradients(lines.network, lines.starts, lines.ends, **how, **rule)
        for rule in ({}, {"method": "left", "n_samples": n})
    ]
    return {
        "baselines": np.repeat(lines.starts, 2, axis=0),
        "inputs": np.repeat(lines.ends, 2, axis=0),
        "values": np.concatenate([each.values for each in results]),
        "residual": np.concatenate([each.residual for each in results]),
        "n_segments": np.array([lines.n_segments[0], n]),
    }


def _recommended(lines, label, options):
    """Return the recommended number of samples, or the largest one."""
    parameters = options.parameters
    limits = {name: parameters[name] for name in ("within", "first", "max_samples")}
    n = int(recommend_samples(lines, label, **limits).n_samples[0])
    return n if n > 0 else parameters["max_samples"]


def tabulate(measured, options):
    """Tabulate the image of each figure."""
    headings = ("network", "image", "label", "regions", "samples", "mean relative error, %", "l1 error, %", "completeness, %")
    rows = []
    for m in measured.values():
        i, label, regions, samples, *errors = m.values[_shown(m, options)]
        rows.append((m.title, int(i), int(label), int(regions), int(samples), *(100.0 * error for error in errors)))
    within = 100 * options.parameters["within"]
    notes = (f"Samples: those of the left sum, for completeness within {within:g} %.", NOTE)
    return [Table("Attributions in the figures", headings, rows, notes)]


def draw(measured, options):
    """Draw a figure for each network."""
    return {f"{key}.png": _figure(key, m, options) for key, m in measured.items()}


def _shown(m, options):
    """Return the row of the image to draw."""
    i = options.parameters["image"]
    rows = np.flatnonzero(m["image"] == i)
    if not rows.size:
        raise InputError(f"image is {i}, but only {m.n_images} images of {m.key} were measured; measure more")
    return rows[0]


def _figure(key, m, options):
    from .. import plot

    row, subject = _shown(m, options), subjects.load(key)
    i, shape = int(m["image"][row]), subject.network.input_shape
    with store.open(m.path) as opened:
        exact, left = opened.read("attributions", 2 * row, 2 * row + 2)["values"][:, 0]
    figure = plot.new_figure((8.4, 3.8))
    figure.suptitle(f"{m.title}: image {i}, output {int(m['label'][row])}", fontsize=10)
    grid = figure.add_gridspec(2, 4, height_ratios=[2.2, 1.0])
    _show_image(figure.add_subplot(grid[0, 0]), subject.images[i], shape, "image")
    limit, largest_difference = (np.abs(each.reshape(shape).sum(axis=0)).max() or 1.0 for each in (exact, left - exact))
    maps = (("exact", exact, limit), (f"left sum, {int(m['samples'][row])} samples", left, limit),
            (f"difference, {limit / largest_difference:.0f} times enlarged", left - exact, largest_difference))  # fmt: skip
    for k, (title, values, most) in enumerate(maps, start=1):
        ax = figure.add_subplot(grid[0, k])
        shown = plot.attributions(values, image_shape=shape, ax=ax, limit=most)
        ax.set_title(title, fontsize=8)
        if k != 1:
            figure.colorbar(shown, ax=ax, shrink=0.75).ax.tick_params(labelsize=7)
    t = image_line(subject, i, options)[0].t
    _show_image(figure.add_subplot(grid[1, 0]), np.zeros_like(subject.images[i]), shape, "baseline")
    ax = figure.add_subplot(grid[1, 1:3])
    ax.vlines(t[1:-1], 0.0, 1.0, color="0.3", lw=min(0.8, 60.0 / len(t)))
    ax.set(xlim=(0.0, 1.0), ylim=(-0.2, 1.2), yticks=[], xlabel=f"t: {len(t) - 1} segments")
    _show_image(figure.add_subplot(grid[1, 3]), subject.images[i], shape, "image")
    return figure


def _show_image(ax, pixels, shape, title):
    pixels = pixels.reshape(shape).transpose(1, 2, 0)
    ax.imshow(pixels if shape[0] == 3 else pixels[..., 0], cmap="gray", vmin=0.0, vmax=1.0)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=8)


EXPERIMENT = Experiment(
    name="ig-figure",
    title="Exact attributions, and those with the recommended number of samples",
    source=f"{SOURCE}, Figure 3",
    keys=KEYS,
    columns=COLUMNS,
    measure=measure,
    tabulate=tabulate,
    draw=draw,
    parameters=PARAMETERS,
    attributions=attributions,
)
