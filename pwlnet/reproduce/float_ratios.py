"""Shares of fixed and float neurons around images, by layer, depth and training.

TESTS are sets of inputs around an image: normal noise, corners of a box (each pixel is moved by epsilon up or down), and the
box itself. For draws, a neuron floats if two draws have different states (scope "samples"); "likely" neurons are those whose
less common state has more than 5 % of the draws, and "changed" is the mean share of neurons with another state at a draw than
at the image (scope "pair"). For the box, a neuron floats if bounds (CROWN) do not prove that it has one state (scope "region"),
so the share of fixed neurons is a lower bound. Draws are not clipped to [0, 1].

All images are used, including misclassified ones. "Always on" and "always off" are fixed neurons that are active and inactive;
neurons that are inactive for all inputs are among the latter.

Legend: L layers.
"""

import numpy as np

from ..analysis.floats import find_float_neurons
from ..analysis.paths import count_paths
from ..domains import Box, Gaussian
from . import subjects
from .experiment import Experiment
from .paired import DIFFERENCES, difference_cells
from .paired import NOTE as PAIRED
from .tables import Table, estimate
from .trainings import SHORT, draw_boxes_by_training, draw_families, families, family, with_standard

TESTS = ("noise 0.1", "noise 0.25", "corners 4/255", "corners 8/255", "bounds 4/255", "bounds 8/255")
COLUMNS = ("image", "test", "layer", "neurons", "float", "on", "off", "likely", "changed", "fixed_paths")
PARAMETERS = {"n_samples": 500, "bounds": "crown"}
_LIKELY = 0.05  # share of the draws in the less common state
_BY_LAYER = ("noise 0.1", "corners 8/255", "bounds 8/255")
_BY_TRAINING = ("noise 0.1", "noise 0.25", "corners 8/255", "bounds 8/255")


def measure(subject, i, options):
    """Measure an image: a row for each test and layer."""
    image = subject.to_input(subject.images[i])
    states = subject.network.states(image[None], threads=options.threads)[0]
    return np.concatenate([_rows(subject, i, image, states, k, options) for k in range(len(TESTS))])


def _rows(subject, i, image, states, k, options):
    """Measure an image with one test: float64[L, len(COLUMNS)]."""
    kind, _, size = TESTS[k].partition(" ")
    radius = float(size.removesuffix("/255")) / (255.0 if "/" in size else 1.0)
    network, threads = subject.network, options.threads
    domain = Gaussian(image, radius) if kind == "noise" else Box.around(image, radius)
    likely = changed = np.full(network.n_neurons, np.nan)
    if kind == "bounds":
        floats = find_float_neurons(network, domain, method=options.parameters["bounds"], threads=threads)
    else:
        drawn = {"n_samples": options.parameters["n_samples"], "draws": "corners" if kind == "corners" else "uniform"}
        floats = find_float_neurons(
            network, domain, method="sampled", seed=options.seed, first_set=i, threads=threads, **drawn
        )  # fmt: skip
        likely = floats.minority_share > _LIKELY
        changed = np.where(states == 1, 1.0 - floats.active_share, floats.active_share)
    paths = count_paths(network, floats.upper).inputs
    columns = floats.upper, floats.always_on, floats.always_off, likely, changed
    layers = [layer.neurons for layer in floats.by_layer()]
    sizes = [layer.stop - layer.start for layer in layers]
    means = [[column[layer].mean() for column in columns] for layer in layers]
    n = len(layers)
    return np.column_stack(
        [np.full(n, i), np.full(n, k), np.arange(n), sizes, means, np.full(n, paths.fixed / paths.total)]
    )  # fmt: skip


def by_layer(m, name, test):
    """Return a column for one test: float64[images, L]."""
    rows = m["test"] == TESTS.index(test)
    return m[name][rows].reshape(m.n_images, -1)


def of_images(m, name, test):
    """Return the share of all neurons of the network in a column, for one test: float64[images]."""
    sizes = by_layer(m, "neurons", test)
    return (by_layer(m, name, test) * sizes).sum(axis=1) / sizes.sum(axis=1)


def fixed(m, test):
    """Return the share of fixed neurons for one test: float64[images]."""
    return 1.0 - of_images(m, "float", test)


def tabulate(measured, options):
    """Tabulate shares of neurons by network and test, by layer, and differences between trainings."""
    seed, networks = options.seed, measured.values()
    shares = Table(
        "Shares of neurons",
        ("network", "set", "fixed", "always on", "always off", "likely to float", "changed per draw", "fixed paths"),
        [_shares(m, test, seed) for m in networks for test in TESTS],
        ("Means over images with 95 % bootstrap intervals. Draws: a neuron is fixed if all (by default, 500) draws have one "
         "state; bounds: if it is proved to have one state, so fixed neurons are a lower bound.",
         "Fixed paths: share of the paths from inputs to outputs all of whose neurons are fixed."),
    )  # fmt: skip
    layers = Table(
        "Fixed neurons by layer",
        ("network", "set", "layers", "first", "middle", "last", "smallest of all layers"),
        [_layers(m, test, seed) for m in networks for test in _BY_LAYER],
    )
    training = Table(
        "Fixed neurons by training: another training (first) and standard training (second)",
        ("network", "training", "set", *DIFFERENCES),
        [_trainings(pair, test, seed) for pair in with_standard(measured) for test in _BY_TRAINING],
        (PAIRED, "Each network is trained once: p-values and intervals refer to other images, not to other trainings."),
    )
    return [shares, layers, training]


def _shares(m, test, seed):
    columns = (of_images(m, name, test) for name in ("on", "off", "likely", "changed"))
    values = fixed(m, test), *columns, by_layer(m, "fixed_paths", test)[:, 0]
    return (m.title, test, *(estimate(each, seed=seed) for each in values))


def _layers(m, test, seed):
    shares = 1.0 - by_layer(m, "float", test)
    n = shares.shape[1]
    cells = [estimate(shares[:, layer], seed=seed) for layer in (0, n // 2, n - 1)]
    return (m.title, test, n, *cells, float(shares.mean(axis=0).min()))


def _trainings(pair, test, seed):
    standard, other = pair
    return (family(other), other.training, test, *difference_cells(fixed(other, test), fixed(standard, test), seed))


def draw(measured, options):
    """Draw boxes of the share of fixed neurons by training, and shares by layer with always-on and always-off neurons apart."""

    def draw_one(ax, networks):
        draw_boxes_by_training(ax, networks, {test: [fixed(m, test) for m in networks] for test in TESTS[:2]})
        ax.set_ylim(0.0, 1.0)

    figures = {"fixed_neurons.png": draw_families(measured, draw_one, "share of fixed neurons")}
    return figures | {f"layers_{test.split()[0]}.png": _draw_layers(measured, test) for test in ("noise 0.1", "corners 8/255")}


def _draw_layers(measured, test):
    """Draw medians over images with bands between the quartiles, by layer."""
    from .. import plot

    groups = families(measured)
    names = {"float": "float", "on": "always on", "off": "always off"}
    figure = plot.new_figure((2.2 * len(groups) + 0.6, 5.2))
    axes = figure.subplots(len(names), len(groups), squeeze=False, sharey=True, sharex="col")
    lines = {}
    for column, (title, networks) in zip(axes.T, groups.items()):
        for ax, name in zip(column, names):
            for m in networks:
                low, middle, high = np.quantile(by_layer(m, name, test), (0.25, 0.5, 0.75), axis=0)
                layers, colour = np.arange(1, len(middle) + 1), f"C{list(SHORT).index(m.training)}"
                label = SHORT[m.training].replace("\n", " ")
                (lines[label],) = ax.plot(layers, middle, marker=".", linewidth=1.0, color=colour)
                ax.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0.0)
            ax.set_ylim(0.0, 1.0)
        column[0].set_title(title, fontsize="small")
        column[-1].set_xlabel("layer", fontsize="small")
    for row, name in zip(axes, names.values()):
        row[0].set_ylabel(name, fontsize="small")
    figure.legend(lines.values(), lines, fontsize="x-small", loc="outside right upper")
    figure.suptitle(f"Shares of neurons, {test}", fontsize="medium")
    return figure


EXPERIMENT = Experiment(
    "float-ratios",
    "Shares of fixed and float neurons around images, by layer, depth and training",
    "Jiang, ICLR 2023: share of fixed neurons by training noise",
    subjects.DIGITS + subjects.DEPTHS + subjects.CONVSMALL,
    COLUMNS,
    measure,
    tabulate,
    draw,
    PARAMETERS,
)
