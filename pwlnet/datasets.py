"""Public networks and images: a table of their origins, local copies, downloads, and checksums.

The table (`_fetch_table.json`, made by ``data/make_fetch_table.py``) has each file's origin: a repository at a commit,
a path in it, the SHA-256, the size and the licence. Nothing is downloaded before a file is requested. The networks and
images that come with pwlnet (``digits_network_path``, ``control_network_path``, ``digits_images``,
``digits_training_images``) are never downloaded.
"""

from __future__ import annotations

import difflib
import functools
import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

import numpy as np

from ._optional import require
from ._types import AnyArray, IntArray, UInt8Array
from .errors import ChecksumError, ConversionError, InputError, MissingDataError
from .shipped import control_network_path, digits_images, digits_network, digits_network_path, digits_training_images

__all__ = [
    "DataFile",
    "control_network_path",
    "describe",
    "digits_images",
    "digits_network",
    "digits_network_path",
    "digits_training_images",
    "fetch",
    "load_images",
    "names",
    "trained_folder",
]

FOLDER_VARIABLE = "PWLNET_DATA_DIR"
CACHE_VARIABLE = "PWLNET_CACHE_DIR"
TRAINED_VARIABLE = "PWLNET_TRAINED_DIR"
RAW_ADDRESS = "https://raw.githubusercontent.com/{repo}/{commit}/{path}"
IMAGES = {  # (set, split): image files, label file, rows of the labels that belong to the images
    ("mnist", "test"): (["images/mnist/t10k-images-idx3-ubyte.gz"], "images/mnist/t10k-labels-idx1-ubyte.gz", 0),
    ("mnist", "train"): (["images/mnist/train-images-idx3-ubyte.gz"], "images/mnist/train-labels-idx1-ubyte.gz", 0),
    ("fashion", "test"): (["images/fashion/t10k-images-idx3-ubyte.gz"], "images/fashion/t10k-labels-idx1-ubyte.gz", 0),
    ("fashion", "train"): (
        ["images/fashion/train10k-images-idx3-ubyte.gz"],
        "images/fashion/train10k-labels-idx1-ubyte.gz",
        0,
    ),
    ("cifar10", "test"): (["images/cifar10/cifar10_batch_50.png"], "images/cifar10/cifar10_labels.js", 50000),
    ("cifar10", "train"): (
        [f"images/cifar10/cifar10_batch_{k}.png" for k in range(10)],
        "images/cifar10/cifar10_labels.js",
        0,
    ),
}


class DataFile(NamedTuple):
    """One row of the fetch table."""

    name: str
    repo: str
    commit: str
    path: str
    sha256: str
    size: int
    licence: str
    local_only: str | None

    @property
    def address(self) -> str | None:
        """Address to download the file from, or None if it is not available for download."""
        if self.local_only is not None:
            return None
        return RAW_ADDRESS.format(repo=self.repo, commit=self.commit, path=quote(self.path))


def names(prefix: str = "") -> list[str]:
    """Return the names of all files that ``fetch`` knows, sorted.

    Parameters
    ----------
    prefix : str, optional
        Only names that start with it.

    Returns
    -------
    list of str

    Examples
    --------
    >>> names("mnist/eran_convsmall/")[0]
    'mnist/eran_convsmall/convSmallRELU__DiffAI.onnx'
    """
    return [name for name in _table() if name.startswith(prefix)]


def describe(name: str) -> DataFile:
    """Return a file's row of the fetch table: origin, commit, SHA-256, size in bytes, licence.

    Parameters
    ----------
    name : str

    Returns
    -------
    DataFile

    Raises
    ------
    InputError
        No file has this name.
    """
    if name not in _table():
        near = difflib.get_close_matches(str(name), _table(), n=1, cutoff=0.0)[0]
        raise InputError(f"name is {name!r}, which is not in the fetch table; names() lists all, the nearest is {near!r}")
    return _table()[name]


def fetch(name: str) -> Path:
    """Return the path of a data file, downloading it if necessary.

    The file is searched in the folder ``PWLNET_DATA_DIR``, then in the cache (``PWLNET_CACHE_DIR``, by default pooch's cache
    folder for pwlnet), then downloaded to the cache from its origin. The SHA-256 is verified each time.

    Parameters
    ----------
    name : str
        One of ``names()``.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        No file has this name.
    ChecksumError
        The file that was found or downloaded is not the file of the table.
    MissingDataError
        The file is in neither folder, and cannot be downloaded.
    ImportError
        The cache is needed, and pooch is not installed.
    """
    file = describe(name)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (Path(folder) / name).is_file():
        path = Path(folder) / name
        _check(file, path, f"restore it, or unset {FOLDER_VARIABLE} to download it")
        return path
    looked = f"it is not in {FOLDER_VARIABLE}={folder}" if folder else f"{FOLDER_VARIABLE} is not set"
    if file.local_only is not None:
        raise MissingDataError(
            f"{name} is missing: {looked}, and {file.local_only}, so it can't be downloaded; set {FOLDER_VARIABLE} to "
            "a folder that has it"
        )
    return _download(file, looked)


def trained_folder() -> Path:
    """Return the folder of networks that the scripts of ``data/`` train: Path, which need not exist.

    It is the folder ``PWLNET_TRAINED_DIR``, by default the folder ``trained`` in the cache of ``fetch``.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        Neither ``PWLNET_TRAINED_DIR`` nor ``PWLNET_CACHE_DIR`` is set, and pooch, which finds the cache, is not installed.
    """
    folder = os.environ.get(TRAINED_VARIABLE)
    if folder:
        return Path(folder)
    cache = os.environ.get(CACHE_VARIABLE)
    if not cache:
        cache = require("pooch", "data", f"the cache folder; or set {TRAINED_VARIABLE}").os_cache("pwlnet")
    return Path(cache) / "trained"


def load_images(
    name: Literal["mnist", "fashion", "cifar10"], *, split: Literal["test", "train"] = "test"
) -> tuple[UInt8Array, IntArray]:
    """Load an image set, fetching its files.

    Parameters
    ----------
    name : {"mnist", "fashion", "cifar10"}
    split : {"test", "train"}, optional
        MNIST: 10000 and 60000 images. Fashion-MNIST: 10000 and the first 10000. CIFAR-10: the first 1000 and the first
        10000.

    Returns
    -------
    images : uint8[N, C, H, W]
        0 is black, 255 is full intensity.
    labels : int64[N]

    Raises
    ------
    InputError
        There is no such set or split.
    ChecksumError, MissingDataError, ImportError
        As for ``fetch``; CIFAR-10 needs pillow.
    """
    if (name, split) not in IMAGES:
        known = ", ".join(f"{n!r} ({s})" for n, s in IMAGES)
        raise InputError(f"name and split are {name!r} and {split!r}; image sets are {known}")
    image_files, label_file, start = IMAGES[name, split]
    read = _read_png if name == "cifar10" else _read_idx
    images = np.concatenate([read(fetch(file)) for file in image_files])
    labels = _read_labels(fetch(label_file))[start : start + len(images)].astype(np.int64)
    if len(labels) != len(images):
        raise ConversionError(
            f"{label_file} has {len(labels)} labels for {len(images)} images; the files do not belong together"
        )
    return images.reshape(len(images), -1, *images.shape[-2:]), labels


@functools.cache
def _table() -> dict[str, DataFile]:
    rows = json.loads((Path(__file__).parent / "_fetch_table.json").read_text())
    return {row["name"]: DataFile(**row) for row in rows}


def _check(file: DataFile, path: Path, remedy: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise ChecksumError(f"{path} has SHA-256 {found}, but {file.name} must have {file.sha256}; {remedy}")


def _download(file: DataFile, looked: str) -> Path:
    """Return the path of the file in the cache, downloading it if necessary."""
    pooch = require("pooch", "data", f"downloading {file.name} ({looked})")
    cache = pooch.create(
        path=pooch.os_cache("pwlnet"),
        base_url="",
        registry={file.name: f"sha256:{file.sha256}"},
        urls={file.name: file.address},
        env=CACHE_VARIABLE,
    )
    try:
        return Path(cache.fetch(file.name))
    except ValueError as error:  # pooch raises it for a wrong checksum
        raise ChecksumError(
            f"{file.address} no longer gives the bytes of {file.name}, whose SHA-256 is {file.sha256} ({error}); get "
            f"the file elsewhere and put it in {FOLDER_VARIABLE}"
        ) from error
    except OSError as error:
        raise MissingDataError(
            f"{file.name} is missing: {looked}, and it can't be downloaded from {file.address} "
            f"({type(error).__name__}); go online, or set {FOLDER_VARIABLE} to a folder that has it"
        ) from error


def _read_idx(path: Path) -> UInt8Array:
    """Read the array of an idx.gz file: two zeros, a type, the rank, the shape as big-endian integers, the bytes."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">u4", count=rank, offset=4).astype(int)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _read_png(path: Path) -> UInt8Array:
    """Read CIFAR-10 images from a picture with one image per row of 1024 pixels."""
    image = require("PIL.Image", "plot", "reading CIFAR-10 images")
    with image.open(path) as picture:
        pixels = np.asarray(picture)[..., :3]
    return pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def _read_labels(path: Path) -> AnyArray:
    """Read labels from an idx.gz file, or from a line of JavaScript ``var labels=[...];``."""
    if path.suffix == ".gz":
        return _read_idx(path)
    text = path.read_text()
    return np.array(json.loads(text[text.index("[") : text.rindex("]") + 1]))
