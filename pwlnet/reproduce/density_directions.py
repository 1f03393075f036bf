"""Regions per unit length in the direction of FGSM, of PGD and of random signs (Table 3 of the paper).

For each image that a network classifies correctly: lines to perturbed images (``perturbed_lines``), their numbers of regions
and lengths. The density of an image in random directions is the mean over its random lines. The paper uses each pair of the
FGSM line and a random line of the same image as one value, counts ends of segments instead of regions, and uses the step
``floor``: a separate table. Densities are in regions per unit of Euclidean length, with pixels in [0, 1].
"""

import numpy as np

from . import subjects
from .experiment import Experiment, skipped
from .paired import NOTE, RATIOS, draw_networks, ratio_cells
from .perturbed_lines import COLUMNS, LABELS, PARAMETERS, TITLES, density, kind, line_numbers, of_images, perturbed_lines
from .tables import Table, estimate


def measure(subject, i, options):
    """Measure the regions and lengths of the lines of image i: float64[rows, columns]."""
    perturbed = perturbed_lines(subject, i, options)
    return skipped(i, COLUMNS) if perturbed is None else line_numbers(i, perturbed)


def tabulate(measured, options):
    """Tabulate regions along the lines, densities relative to random directions, and the latter with the paper's step."""
    epsilon = options.parameters["epsilon"]
    absolute = Table(
        f"Regions on lines to perturbed images, {epsilon} from the image in l_inf",
        ("network", "direction", "images", "regions, median", "length, median", "first breakpoint, median", "class changes",
         "regions per unit length"),
        [_regions(m, direction, options.seed) for m in measured.values() for direction in TITLES],
        ("First breakpoint: where the region of the image ends, as a fraction of the line. Class changes: fraction of the "
         "lines with another class at the end. Regions per unit length: mean over images.",),
    )  # fmt: skip
    relative = Table(
        "Regions per unit length, relative to random signs",
        ("network", "direction", *RATIOS),
        [_relative(m, direction, options.seed) for m in measured.values() for direction in ("fgsm", "pgd")],
        (NOTE,),
    )
    floor = Table(
        "FGSM relative to random signs, with the step of the paper's code",
        ("network", "direction", *RATIOS),
        [_pairs(m, options.seed) for m in measured.values()],
        ("Each pixel is changed by floor(epsilon g), with its grey value g from 0 to 255; densities count ends of segments. "
         "Quartiles are over all pairs of the FGSM line and a random line of an image, as in the paper's code; the mean over "
         "pairs is that over images. Tests are over images.",),
    )  # fmt: skip
    return [absolute, relative, floor]


def _regions(m, direction, seed):
    rows = kind(m, "additive", direction)
    numbers = [np.median(m[name][rows]) if rows.any() else None for name in ("n_segments", "length", "first_t")]
    changes = np.mean(m["end_class"][rows] != m["label"][rows]) if rows.any() else None
    densities = of_images(m, density(m), "additive", direction)
    return (
        m.title,
        TITLES[direction],
        np.count_nonzero(~np.isnan(densities)),
        *numbers,
        changes,
        estimate(densities, seed=seed),
    )


def _relative(m, direction, seed):
    above, below = (of_images(m, density(m), "additive", name) for name in (direction, "random"))
    return (m.title, TITLES[direction], *ratio_cells(above, below, seed))


def _pairs(m, seed):
    """Return the row of ratios as in the paper: one for each pair of the FGSM line and a random line of an image."""
    densities = density(m, endpoints=True)
    fgsm = of_images(m, densities, "floor", "fgsm")
    random = kind(m, "floor", "random")
    ratios = np.full(len(densities), np.nan)
    ratios[random] = fgsm[m["image"][random].astype(np.int64)] / densities[random]
    cells = ratio_cells(of_images(m, ratios, "floor", "random"), np.ones(m.n_images), seed)
    pairs = ratios[~np.isnan(ratios)]
    if len(pairs):
        cells[2:5] = np.quantile(pairs, (0.25, 0.5, 0.75))
    return (m.title, "FGSM", *cells)


def draw(measured, options):
    """Draw boxes of densities by direction, with axes for each network."""

    def densities(m):
        return [of_images(m, density(m), "additive", name) for name in TITLES]

    return {"density_directions.png": draw_networks(measured, densities, LABELS, "regions per unit length")}


EXPERIMENT = Experiment(
    "density-directions",
    "Linear regions per unit length in the direction of FGSM, of PGD and of random signs",
    "Sotoudeh and Thakur, NeurIPS 2019, Section 5, Table 3",
    subjects.DIGITS + subjects.CONVSMALL,
    COLUMNS,
    measure,
    tabulate,
    draw,
    PARAMETERS,
)
