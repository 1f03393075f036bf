"""Check an installation: each part of pwlnet once, on the shipped networks, with results that are known.

``python -m pwlnet.demo.smoke`` prints a line per check and exits with 1 if one fails. A check that needs an optional package is
skipped where that is not installed, and fails where the package is listed after ``--require``. Writes to a temporary folder
only.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from .. import __version__, datasets, shipped, store
from ..analysis.attribution import integrate_gradients
from ..bounds import bound_preactivations
from ..domains import Box
from ..loading import load_network
from ..partition.lines.partitions import partition_lines
from ..partition.planes.partitions import partition_planes
from ..partition.regions.enumerating import enumerate_regions
from ..tolerances import REGION_CHECK
from ..warmup import toy_network
from .planes import CORNERS

__all__ = ["CHECKS", "main"]

SEGMENTS = [357, 531]  # of digits_conv, on the lines between images 0 and 8, and 1 and 9
CLOSE = REGION_CHECK


class SmokeError(Exception):
    """A result is not what it must be."""


def _require(holds, what):
    if not holds:
        raise SmokeError(what)


def _lines_of_digits():
    network = load_network(datasets.digits_network_path("digits_conv"))
    images, _ = datasets.digits_images()
    return partition_lines(network, images[:2], images[8:10])


def check_networks(folder):
    """Load all shipped networks; the classifiers must know the test images."""
    images, labels = datasets.digits_images()
    names = shipped.DIGITS_NETWORKS + shipped.DEPTH_NETWORKS + shipped.SMOOTHING_NETWORKS
    shares = [
        (load_network(datasets.digits_network_path(name)).forward(images).argmax(axis=1) == labels).mean() for name in names
    ]
    _require(min(shares) > 0.8, f"accuracies of the shipped networks are {np.round(shares, 3)}")
    return f"{len(names)} classifiers, accuracy {min(shares):.1%} to {max(shares):.1%}"


def check_lines(folder):
    """Partition two lines, whose numbers of segments are known."""
    lines = _lines_of_digits()
    _require(lines.n_segments.tolist() == SEGMENTS, f"lines have {lines.n_segments.tolist()} segments, not {SEGMENTS}")
    _require(lines.residual.max() < CLOSE, f"the residual of lines is {lines.residual.max()}")
    return f"{lines.n_segments.sum()} segments"


def check_attributions(folder):
    """Integrate gradients; they must add up to the change of the outputs."""
    lines = _lines_of_digits()
    found = integrate_gradients(lines.network, lines.starts, lines.ends)
    _require(np.abs(found.residual).max() < CLOSE, f"the residual of attributions is {found.residual}")
    return f"residual {np.abs(found.residual).max():.0e}"


def check_planes_and_regions(folder):
    """Find the regions of a controller twice; both must find the same ones."""
    network = load_network(datasets.control_network_path("pendulum"))
    lower, upper = 0.25 * CORNERS[0], 0.25 * CORNERS[2]
    planes = partition_planes(network, np.zeros(2), [1.0, 0.0], [0.0, 1.0], 0.25 * CORNERS)
    regions = enumerate_regions(network, lower, upper, want=("patterns", "facets", "volumes"))
    n, area = planes.parts[0].n_polygons, float(np.prod(upper - lower))
    _require(n == regions.n_regions > 1, f"{n} polygons, but {regions.n_regions} regions")
    for name, sizes in (("areas", planes.parts[0].areas), ("volumes", regions.volumes())):
        _require(abs(sizes.sum() - area) < CLOSE * area, f"{name} add up to {sizes.sum()}, not {area}")
    store.save_planes(folder / "planes.h5", planes)
    store.save_regions(folder / "regions.h5", regions)
    return f"{n} polygons, {regions.n_regions} regions"


def check_core(folder):
    """Without optional packages: partition a line of a network with all kinds of ops, and bound its outputs."""
    network = toy_network()
    points = np.random.default_rng(0).random((2, network.n_inputs))
    lines = partition_lines(network, points[:1], points[1:])
    _require(lines.residual.max() < CLOSE and not lines.check(), f"the residual of lines is {lines.residual.max()}")
    bounds = bound_preactivations(network, Box.around(points, 0.05), method="crown")
    values = network.forward(points)
    inside = (bounds.output_lower <= values).all() and (values <= bounds.output_upper).all()
    _require(inside, "values are outside of their bounds")
    return f"{lines.n_segments[0]} segments"


def check_stores(folder):
    """Write lines and attributions, verify and read them."""
    network = toy_network()
    points = np.random.default_rng(0).random((6, network.n_inputs))
    lines = partition_lines(network, points[:3], points[3:])
    path = folder / "lines.h5"
    with store.create(path, network) as writer:
        writer.append_lines(lines)
    with store.create(folder / "again.h5", network, compression="lzf") as writer:
        for part in range(3):
            writer.append_lines(partition_lines(network, points[part : part + 1], points[3 + part : 4 + part]))
    with store.open(path) as opened, store.open(folder / "again.h5") as again:
        problems = opened.verify(n_samples=2) + again.verify()
        _require(not problems, f"stores have problems: {problems}")
        _require(opened.digest() == again.digest(), "the digest depends on batches")
        _require(np.array_equal(opened.lines().t, lines.t), "lines come back with other breakpoints")
    network.save(folder / "network.h5")
    _require(load_network(folder / "network.h5").digest == network.digest, "a network comes back as another one")
    return f"{path.stat().st_size >> 10} KiB"


def check_command_line(folder):
    """Run commands of the command line in processes of their own."""
    network, out = folder / "toy.h5", folder / "by_command.h5"
    toy_network().save(network)
    commands = (
        ["--version"],
        ["info", network, "--json"],
        ["lines", network, "--random", "2", "--out", out],
        ["verify", out],
    )
    script = Path(sys.executable).with_name("pwlnet")
    program = [script] if script.is_file() else [sys.executable, "-P", "-m", "pwlnet"]
    for command in commands:
        done = subprocess.run([*program, *command], capture_output=True, text=True, cwd=folder)
        _require(done.returncode == 0, f"pwlnet {' '.join(map(str, command))} exits with {done.returncode}: {done.stderr}")
        _require(command != ["--version"] or __version__ in done.stdout, f"pwlnet --version says {done.stdout}")
    return f"{len(commands)} commands"


def check_torch(folder):
    """Convert a torch module; a partition agrees with the module."""
    import torch

    from ..convert import from_torch

    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()]
    module = torch.nn.Sequential(*layers, torch.nn.Linear(36, 3)).double().eval()
    network = from_torch(module, (1, 8, 8))
    images, _ = datasets.digits_images()
    with torch.no_grad():
        values = module(torch.from_numpy(images[:4])).numpy()
    _require(np.abs(network.forward(images[:4]) - values).max() < CLOSE, "outputs are not those of torch")
    lines = partition_lines(network, images[:2], images[2:4])
    _require(lines.residual.max() < CLOSE, f"the residual of lines is {lines.residual.max()}")
    return f"torch {torch.__version__}"


def check_figures(folder):
    """Draw a line, and the regions of a plane."""
    from .. import plot

    part = _lines_of_digits().parts[0]
    plot.line_figure([part]).savefig(folder / "line.png")
    _require((folder / "line.png").stat().st_size > 1000, "the figure is empty")
    return "line"


CHECKS = {  # name: function of a folder, packages that it needs
    "core": (check_core, ()),
    "stores": (check_stores, ()),
    "command line": (check_command_line, ()),
    "shipped networks": (check_networks, ("onnx",)),
    "lines": (check_lines, ("onnx",)),
    "attributions": (check_attributions, ("onnx",)),
    "planes and regions": (check_planes_and_regions, ("onnx",)),
    "torch": (check_torch, ("torch",)),
    "figures": (check_figures, ("onnx", "matplotlib")),
}


def main(arguments=None):
    """Run all checks and print their results.

    Parameters
    ----------
    arguments : list of str, optional
        As on the command line.

    Returns
    -------
    int
        The exit code: 1 if a check failed.
    """
    parser = argparse.ArgumentParser(prog="python -m pwlnet.demo.smoke", description="Check an installation of pwlnet.")
    parser.add_argument("--require", nargs="*", default=[], metavar="PACKAGE", help="optional packages that must be installed")
    options = parser.parse_args(arguments)
    packages = ("numpy", "numba", "scipy", "h5py", "tqdm", "threadpoolctl", "onnx", "torch", "matplotlib")
    versions = [f"{name} {metadata.version(name)}" for name in packages if importlib.util.find_spec(name)]
    print(f"pwlnet {__version__}, Python {sys.version.split()[0]}, {', '.join(versions)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        verdicts = [_run(name, Path(folder), options.require) for name in CHECKS]
    n_failed = verdicts.count("FAILED")
    print(f"{n_failed} of {len(CHECKS)} checks failed" if n_failed else "all checks passed", flush=True)
    return int(n_failed > 0)


def _run(name, folder, required):
    """Run a check, print its result, and return "ok", "skipped" or "FAILED"."""
    check, needs = CHECKS[name]
    absent = [package for package in needs if importlib.util.find_spec(package) is None]
    start = time.perf_counter()
    if absent:
        verdict, text = "FAILED" if set(absent) & set(required) else "skipped", f"needs {', '.join(absent)}"
    else:
        try:
            verdict, text = "ok", check(folder)
        except Exception as error:  # every failure is reported, and the other checks still run
            verdict, text = "FAILED", f"{type(error).__name__}: {error}"
    print(f"{verdict:8} {name:20} {time.perf_counter() - start:6.1f} s  {text}", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
