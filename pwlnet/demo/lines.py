"""Exact partitions of many lines: a table, the segments that sampling misses, a store for each network, a figure."""

import time

import numpy as np

from .. import datasets, plot, store
from ..analysis.boundary import class_intervals
from ..loading import load_network
from ..partition.lines.ends import points_at
from ..partition.lines.partitions import partition_lines
from .text import text_table, verdict

NETWORKS = ("digits_mlp", "digits_conv")
SEED = 0
N_SAMPLES = 1000  # evenly spaced points per line, for comparison
HEADINGS = (
    "network",
    "neurons",
    "lines",
    "segments min/median/max",
    "per unit length",
    "residual",
    "seconds",
    "us/breakpoint",
)


def show(out, n_lines):
    """Partition lines between test images on two digits networks, and print, store, verify and plot the result.

    Writes ``digits_mlp.h5``, ``digits_conv.h5`` and ``digits_line.png``.

    Parameters
    ----------
    out : Path
        Folder for the files.
    n_lines : int
        Lines between images of different classes; a quarter as many start at the black image.
    """
    began = time.perf_counter()
    networks = {name: load_network(datasets.digits_network_path(name)) for name in NETWORKS}
    starts, ends = draw_lines(n_lines)
    for network in networks.values():
        partition_lines(network, starts[:1], ends[:1])
    print(f"networks read in {time.perf_counter() - began:.1f} s\n", flush=True)
    results, rows = {}, []
    for name, network in networks.items():
        start = time.perf_counter()
        results[name] = partition_lines(network, starts, ends)
        rows.append(_row(name, results[name], time.perf_counter() - start))
    print(text_table(HEADINGS, rows) + "\n", flush=True)
    for name, lines in results.items():
        print(_sampling(name, lines))
    print()
    for name, lines in results.items():
        print(_stored(out / f"{name}.h5", lines))
    print(_drawn(out / "digits_line.png", results, n_lines))


def draw_lines(n_lines):
    """Choose lines between test images of different classes, and from the black image to test images.

    Parameters
    ----------
    n_lines : int
        Number of lines between images; a quarter as many, rounded up, start at the black image.

    Returns
    -------
    starts, ends : float64[L, 64]
        The lines from the black image are the last ones.
    """
    images, labels = datasets.digits_images()
    points = images.reshape(len(images), -1)
    rng = np.random.default_rng(SEED)
    pairs = rng.integers(0, len(points), (8 * n_lines + 64, 2))
    pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]][:n_lines]
    lit = rng.integers(0, len(points), -(-n_lines // 4))
    starts = np.concatenate([points[pairs[:, 0]], np.zeros((len(lit), points.shape[1]))])
    return starts, np.concatenate([points[pairs[:, 1]], points[lit]])


def count_missed(lines, n_samples):
    """Count the segments that contain none of ``n_samples`` evenly spaced points, both ends of the line included.

    Parameters
    ----------
    lines : LinePartitions
    n_samples : int
        Number of points per line, at least 2.

    Returns
    -------
    int
    """
    first, last = _segments(lines)
    return int(np.count_nonzero(np.floor(last * (n_samples - 1)) < np.ceil(first * (n_samples - 1))))


def _segments(lines):
    """Return both ends of every segment as line parameters: float64[S] each."""
    first = np.delete(np.arange(len(lines.t) - 1), lines.offsets[1:-1] - 1)
    return lines.t[first], lines.t[first + 1]


def _row(name, lines, seconds):
    n = lines.n_segments
    spread = f"{n.min()} / {np.median(n):.0f} / {n.max()}"
    per_breakpoint = 1e6 * seconds / max(1, n.sum() - len(lines))
    return (name, str(lines.network.n_neurons), str(len(lines)), spread, f"{np.median(lines.density):.0f}",
            f"{lines.residual.max():.1e}", f"{seconds:.3f}", f"{per_breakpoint:.2f}")  # fmt: skip


def _sampling(name, lines):
    """Return a sentence about forward passes at evenly spaced points of the lines: their cost, and the segments they miss."""
    missed, total = count_missed(lines, N_SAMPLES), int(lines.n_segments.sum())
    narrowest = np.min(np.subtract(*_segments(lines)[::-1]))
    start = time.perf_counter()
    for part in lines.parts:
        lines.network.forward(points_at(part.start, part.end, np.linspace(0.0, 1.0, N_SAMPLES)))
    seconds = time.perf_counter() - start
    return (
        f"{name}: sampling {N_SAMPLES} evenly spaced points per line took {N_SAMPLES * len(lines)} forward passes and "
        f"{seconds:.1f} s,\n  and misses {missed} of the {total} segments ({missed / total:.1%}). The narrowest is "
        f"{narrowest:.0e} of its line:\n  only with {1 / narrowest + 1:.0e} evenly spaced points, one is certain to be in it."
    )


def _stored(path, lines):
    """Write a store and verify it; return the result as a sentence."""
    parameters = {"command": "demo", "seed": SEED}
    store.save_lines(path, lines, parameters=parameters, overwrite=True)
    return verdict(path)


def _drawn(path, results, n_lines):
    """Plot the line between images that crosses the most classes on both networks; return a sentence about the file."""
    n_classes = [[len(class_intervals(part)[1]) for part in lines.parts[:n_lines]] for lines in results.values()]
    best = int(np.min(n_classes, axis=0).argmax())
    titles = [
        f"{name}: {lines.n_segments[best]} activation regions; ticks: breakpoints, colour: predicted class"
        for name, lines in results.items()
    ]
    figure = plot.line_figure([lines.parts[best] for lines in results.values()], titles=titles)
    figure.savefig(path, dpi=110)
    return f"{path} shows line {best}"
