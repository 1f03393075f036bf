"""The networks and images that a study names.

Legend: N images, n of them that an analysis uses, D inputs of the network.
"""

import contextlib
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError, ShapeError
from ..loading import load_network
from ..network import Network
from ..point_files import read_rows
from ..shipped import CONTROL_NETWORKS, DEPTH_NETWORKS, DIGITS_NETWORKS, SMOOTHING_NETWORKS
from ..validation import as_array

_DIGITS = DIGITS_NETWORKS + DEPTH_NETWORKS + SMOOTHING_NETWORKS
_PUBLIC = ("mnist", "fashion", "cifar10")
IMAGE_SETS = ("digits", "digits_train", *_PUBLIC, *(f"{name}_train" for name in _PUBLIC))


class Inputs(NamedTuple):
    """What an analysis of one network starts from.

    Attributes
    ----------
    network : Network
    images : float64[n, D]
    numbers : int64[n]
        Rows of the images in their file.
    labels : int64[n] or None
    baseline : float64[D]
    limits : (float, float) or None
        Range of valid inputs.
    rng : numpy.random.Generator
        Depends on the seed of the study and on the name of the analysis.
    seed : int
    folder : pathlib.Path
        Of the study file.
    """

    network: Network
    images: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray | None
    baseline: np.ndarray
    limits: tuple[float, float] | None
    rng: np.random.Generator
    seed: int
    folder: Path

    def read_points(self, text, name):
        """Read points of the network from a file beside the study: float64[rows, D]."""
        return self.network.as_points(read_file(self.folder, text, name), name)

    def rows_of(self, numbers, name):
        """Return where rows of the file are among the images: int64; InputError if one is not there."""
        positions = {int(number): k for k, number in enumerate(self.numbers)}
        for number in np.ravel(numbers):
            if int(number) not in positions:
                raise InputError(f"{name} has row {number}, which is not among the {len(positions)} rows that are used")
        return np.vectorize(positions.get, otypes=[np.int64])(np.asarray(numbers))


@contextlib.contextmanager
def _readable(name):
    """Refuse names of files that the system does not take, such as too long ones: InputError."""
    try:
        yield
    except (OSError, ValueError) as error:
        if type(error).__module__.startswith("pwlnet"):
            raise
        raise InputError(f"{name} can't be read ({error}); give the path of a file") from error


def read_file(folder, text, name):
    """Read an array of finite numbers from a file beside the study."""
    with _readable(name):
        try:
            return as_array(read_rows(str(folder / text)), name)
        except MemoryError as error:
            raise InputError(f"{name} does not fit into memory; give fewer rows") from error


def load_source(folder, table):
    """Load the network of a [[network]] table: a shipped name, a file beside the study, or a name of ``pwlnet.datasets``."""
    from .. import datasets

    source, shape = table["source"], table["input_shape"]
    with _readable("source"):
        path = folder / source
        if not path.exists() and source in _DIGITS:
            path = datasets.digits_network_path(source)
        elif not path.exists() and source in CONTROL_NETWORKS:
            path = datasets.control_network_path(source)
        elif not path.exists() and source in datasets.names():
            path = datasets.fetch(source)
        elif not path.exists():
            raise InputError(
                f"source is {source[:60]!r}, which is neither a file beside the study nor a name; give a path relative to the "
                f"study file, a name that `pwlnet datasets` lists, or one of {', '.join((*DIGITS_NETWORKS, *CONTROL_NETWORKS))}"
            )
        return load_network(path, input_shape=None if shape is None else tuple(shape))


def load_data(folder, data):
    """Load the images of the [data] table: ndarray[N, ...] and labels int64[N] or None."""
    name = data["images"]
    if name in IMAGE_SETS and not (folder / name).exists():
        images, labels = _load_set(name)
    else:
        images, labels = read_file(folder, name, "images"), None
    if images.ndim < 2:
        raise ShapeError(f"images has shape {images.shape}; one row for each image is needed")
    if data["labels"] is not None:
        given = np.asarray(read_file(folder, data["labels"], "labels"), np.float64).reshape(-1)
        if not (np.array_equal(given, np.rint(given)) and (np.abs(given) < 2**53).all()):
            raise InputError("labels has entries that are not integers; give a class of each image")
        labels = given.astype(np.int64)
    if labels is not None and len(labels) != len(images):
        raise ShapeError(f"labels has {len(labels)} entries and images {len(images)} rows; give as many of each")
    return images, labels


@functools.lru_cache(maxsize=2)
def _load_set(name):
    """Load a named set of images, scaled to [0, 1], and its labels."""
    from .. import datasets

    base, _, split = name.partition("_")
    if base == "digits":
        return datasets.digits_training_images() if split else datasets.digits_images()
    images, labels = datasets.load_images(base, split=split or "test")
    return images / 255.0, labels


def select_rows(data, analysis, n):
    """Return the rows of N images that an analysis uses: int64[n]; its own rows and stride replace those of [data]."""
    first, last = analysis["rows"] or data["rows"] or (0, n)
    if last > n:
        raise InputError(f"rows is [{first}, {last}], but images has {n} rows; give LAST up to {n}")
    stride = analysis["stride"] or data["stride"]
    numbers = np.arange(first, last, min(stride, last))
    if not len(numbers):
        raise InputError("images has no rows; give at least one image")
    return numbers


def make_baseline(folder, network, data, images):
    """Return the baseline: float64[D], from the [data] table and all images of its rows."""
    given = data["baseline"]
    if given == "zero" or isinstance(given, float):
        return np.full(network.n_inputs, 0.0 if given == "zero" else given)
    if given == "mean":
        return images.mean(axis=0)
    rows = network.as_points(read_file(folder, given, "baseline"), "baseline")
    if len(rows) != 1:
        raise ShapeError(f"baseline has {len(rows)} rows; one is needed")
    return rows[0]
