"""Regions per unit length of networks that differ in their training (Table 4 of the paper).

The lines are those of ``density-directions``. For each image that both networks classify correctly, the density of the network
with standard training is divided by that of the network trained with PGD or DiffAI, in the same direction. FGSM and PGD use the
gradients of the respective network; random signs are the same for both, and densities are averaged over the random lines. The
paper uses the step ``floor`` and counts ends of segments: separate rows.
"""

import numpy as np

from . import subjects
from .density_directions import measure
from .experiment import Experiment
from .paired import NOTE, RATIOS, draw_boxes, ratio_cells
from .perturbed_lines import COLUMNS, PARAMETERS, TITLES, density, of_images
from .tables import Table, estimate


def pairs_by_training(measured):
    """Pair the networks with the same images: list of (standard, other) Measured, with PGD or DiffAI as the other."""
    pairs = []
    for key, other in measured.items():
        same = [m for m in measured.values() if m.dataset == other.dataset and m.training == "standard"]
        if other.training != "standard" and same:
            pairs.append((same[0], measured[key]))
    return pairs


def tabulate(measured, options):
    """Tabulate the densities of each network, and ratios standard / other in each direction, for both steps."""
    absolute = Table(
        "Regions per unit length",
        ("network", *(f"{title}, {name}" for name in ("mean", "median") for title in TITLES.values())),
        [_densities(m, options.seed) for m in measured.values()],
        (f"On lines to images {options.parameters['epsilon']} away in l_inf. Mean over images.",),
    )
    pairs = pairs_by_training(measured)
    ratios = Table(
        "Regions per unit length: standard training relative to another training",
        ("images of", "standard relative to", "direction", *RATIOS),
        [_ratios(pair, direction, "additive", options.seed) for pair in pairs for direction in TITLES],
        (NOTE, "Each network is trained once: p-values and intervals refer to other images, not to other trainings."),
    )
    floor = Table(
        "The same with the step of the paper's code",
        ("images of", "standard relative to", "direction", *RATIOS),
        [_ratios(pair, direction, "floor", options.seed) for pair in pairs for direction in ("fgsm", "random")],
        ("Each pixel is changed by floor(epsilon g), with its grey value g from 0 to 255; densities count ends of segments.",),
    )
    return [absolute, ratios, floor]


def _densities(m, seed):
    values = [of_images(m, density(m), "additive", direction) for direction in TITLES]
    medians = [np.nanmedian(each) if np.isfinite(each).any() else None for each in values]
    return (m.title, *(estimate(each, seed=seed) for each in values), *medians)


def _ratios(pair, direction, rule, seed):
    standard, other = (of_images(m, density(m, endpoints=rule == "floor"), rule, direction) for m in pair)
    return (pair[0].dataset, pair[1].training, TITLES[direction], *ratio_cells(standard, other, seed))


def draw(measured, options):
    """Draw boxes of densities by training, with axes for each dataset and direction."""
    from .. import plot

    datasets = list(dict.fromkeys(m.dataset for m in measured.values()))
    figure = plot.new_figure((7.5, 2.4 * len(datasets) + 0.4))
    axes = figure.subplots(len(datasets), len(TITLES), squeeze=False, sharey="row")
    for row, dataset in zip(axes, datasets):
        networks = [m for m in measured.values() if m.dataset == dataset]
        for ax, (direction, title) in zip(row, TITLES.items()):
            values = [of_images(m, density(m), "additive", direction) for m in networks]
            draw_boxes(values, [m.training for m in networks], ax)
            ax.set_title(f"{dataset}, {title}", fontsize="small")
        row[0].set_ylim(bottom=0.0)  # for the whole row, after all of it has been drawn
        row[0].set_ylabel("regions per unit length")
    return {"density_training.png": figure}


EXPERIMENT = Experiment(
    "density-training",
    "Linear regions per unit length of networks of standard, PGD and DiffAI training",
    "Sotoudeh and Thakur, NeurIPS 2019, Section 5, Table 4",
    subjects.DIGITS + subjects.CONVSMALL,
    COLUMNS,
    measure,
    tabulate,
    draw,
    PARAMETERS,
)
