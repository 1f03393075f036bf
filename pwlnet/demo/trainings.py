"""Three networks of one architecture that differ in their training: regions around images, and exact attributions."""

import numpy as np

from .. import datasets, plot, store
from ..analysis.attribution import integrate_gradients
from ..analysis.bootstrap import bootstrap_interval
from ..analysis.perturbation import perturb
from ..loading import load_network
from ..partition.lines.partitions import partition_lines
from .text import text_table, verdict

TRAININGS = ("standard", "pgd", "diffai")
TITLES = {"standard": "standard", "pgd": "against PGD", "diffai": "DiffAI (boxes)"}
EPSILON = 0.1  # length of the steps in l_inf: the radius that PGD and DiffAI training used
SEED = 0
N_ATTRIBUTED = 4
HEADINGS = ("training", "accuracy", "regions per unit length, FGSM", "random signs", "FGSM / random")


def show(out, n_images):
    """Print a table of the region densities of the three networks, and store, verify and plot exact attributions.

    Writes ``digits_conv_*.h5`` and ``digits_attributions.png``.

    Parameters
    ----------
    out : Path
        Folder for the files.
    n_images : int
        Largest number of test images; images that one of the networks misclassifies are excluded.
    """
    networks = {name: load_network(datasets.digits_network_path(f"digits_conv_{name}")) for name in TRAININGS}
    images, labels = datasets.digits_images()
    points = images.reshape(len(images), -1)
    right = {name: network.forward(points).argmax(axis=1) == labels for name, network in networks.items()}
    chosen = np.flatnonzero(np.logical_and.reduce(list(right.values())))[:n_images]
    points, labels = points[chosen], labels[chosen]
    rows, verdicts, values = [], [], []
    for name, network in networks.items():
        lines = partition_lines(network, np.concatenate([points, points]), perturbed(network, points, labels))
        rows.append((TITLES[name], f"{right[name].mean():.3f}", *_densities(lines.density.reshape(2, -1))))
        shown = points[:N_ATTRIBUTED]
        attributions = integrate_gradients(network, np.zeros(network.n_inputs), shown)
        values.append(attributions.values[np.arange(len(shown)), labels[: len(shown)]])
        verdicts.append(_stored(out / f"digits_conv_{name}.h5", lines, shown, attributions))
    print(f"Three trainings of one architecture; lines of {EPSILON} in l_inf from {len(points)} test images; intervals: 95 %")
    print(text_table(HEADINGS, rows) + "\n")
    print("\n".join(verdicts))
    print(_drawn(out / "digits_attributions.png", points, labels, np.stack(values, axis=1)))


def perturbed(network, points, labels):
    """Perturb images by one step: along the signs of the gradient of the class after the label (FGSM), or random signs.

    Parameters
    ----------
    network : Network
    points : float64[B, D]
    labels : int64[B]

    Returns
    -------
    float64[2 * B, D]
        Clipped to [0, 1]; first the images of FGSM, then those of random signs.
    """
    targets = (labels + 1) % network.n_outputs
    gradients = network.jacobian(points)[np.arange(len(points)), targets]
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), points.shape)
    return perturb(np.concatenate([points, points]), np.concatenate([np.sign(gradients), signs]), epsilon=EPSILON)


def _densities(density):
    """Return the cells of the table: means and intervals of the densities float64[2, B], and of their ratio."""
    fgsm, random = density
    cells = []
    for values, digits in ((fgsm, 1), (random, 1), (fgsm / random, 2)):
        low, high = bootstrap_interval(values, seed=SEED)
        cells.append(f"{values.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
    return cells


def _stored(path, lines, inputs, attributions):
    """Write lines and attributions to one store and verify it; return the result as a sentence."""
    parameters = {"command": "demo", "epsilon": EPSILON, "seed": SEED}
    with store.create(path, lines.network, parameters=parameters, overwrite=True) as writer:
        writer.append_lines(lines)
        ends = {"baselines": np.zeros_like(inputs), "inputs": inputs}
        results = {name: getattr(attributions, name) for name in ("values", "residual", "n_segments")}
        writer.append("attributions", {**ends, **results})
    return f"{verdict(path)}; completeness residual {np.abs(attributions.residual).max():.0e}"


def _drawn(path, points, labels, values):
    """Plot the attributions of each network; return a sentence about the file."""
    n = values.shape[0]
    shape = datasets.digits_images()[0].shape[1:]
    figure = plot.attribution_figure(
        points[:n],
        values,
        image_shape=(1, *shape[-2:]),
        titles=[TITLES[name] for name in TRAININGS],
        row_titles=[f"class {label}" for label in labels[:n]],
    )
    figure.savefig(path, dpi=110)
    return f"{path} shows exact integrated gradients of the label's output, from the black image"
