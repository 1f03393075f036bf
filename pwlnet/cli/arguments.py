"""Types of arguments: numbers, shapes, files of rows."""

import argparse
import math
from pathlib import Path


def _integer(least, problem, name="integer"):
    """Return a parser of integers of at least ``least``; argparse calls it by its name: "invalid ... value"."""

    def parse(text):
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{text} {problem}")
        return number

    parse.__name__ = name
    return parse


positive = _integer(1, "is not positive", "positive integer")
seed = _integer(0, "is negative; a seed is an integer of at least 0")
count = _integer(0, "is negative; give 0 or more")


def finite(text):
    """Parse a finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not finite; give a finite number")
    return number


finite.__name__ = "number"


def shape(text):
    """Parse a shape: "3,32,32" or "3x32x32"."""
    return tuple(positive(size) for size in text.replace("x", ",").split(","))


def row_range(text):
    """Parse a range of rows: "0:1000" to (0, 1000)."""
    first, colon, last = text.partition(":")
    if not colon or not first.isdigit() or not last.isdigit() or int(first) >= int(last):
        raise argparse.ArgumentTypeError(f"{text} is not a range FIRST:LAST with FIRST below LAST")
    return int(first), int(last)


class RandomPoints:
    """Uniformly distributed random points, generated when they are sliced: any slices give the numbers of one array.

    Parameters
    ----------
    seed : int
    low, high : float
    shape : (int, int)
        Number of points, number of inputs.
    skip : int, optional
        Number of points of the random stream before the first one.
    """

    def __init__(self, seed, low, high, shape, *, skip=0):
        self.shape = shape
        self._seed, self._range, self._skip = seed, (low, high), skip

    def __len__(self):
        """Return the number of points."""
        return self.shape[0]

    def __getitem__(self, rows):
        """Generate a slice of the points: float64[rows, D]."""
        import numpy as np

        first, last, _ = rows.indices(len(self))
        last = max(first, last)
        generator = np.random.default_rng(self._seed)
        generator.bit_generator.advance((self._skip + first) * self.shape[1])  # one step for each number
        return generator.uniform(*self._range, (last - first, self.shape[1]))

    def __array__(self, dtype=None, copy=None):
        """Generate all points."""
        return self[:].astype(dtype)


def read_rows(text):
    """Read an array from a file.

    Parameters
    ----------
    text : str
        FILE.npy, FILE.npz (with one array), FILE.npz:NAME, or FILE.csv (see ``csv_rows.py``).

    Returns
    -------
    ndarray
        A memory map in the case of .npy: only what is sliced is read.

    Raises
    ------
    InputError
        The file does not exist, is damaged or has another format, or has no such array.
    """
    import numpy as np

    from ..errors import InputError
    from .csv_rows import read_csv

    path, _, name = (text, "", "") if Path(text).exists() else text.partition(":")
    kind = Path(path).suffix.lower()
    if kind not in (".npy", ".npz", ".csv"):
        raise InputError(f"{path} has the suffix {kind!r}; rows must be given as .npy, .npz or .csv")
    if name and kind != ".npz":
        raise InputError(f"{text} names an array, but only .npz files have names; omit {name!r}")
    try:
        if kind == ".csv":
            return read_csv(path)
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)  # members of .npz are read on access
        return loaded if kind == ".npy" else _member(loaded, path, name)
    except InputError:
        raise
    except Exception as error:  # zip, EOF, OS and value errors alike
        cause = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be read as {kind} ({cause}); check the path and the file") from error


def _member(archive, path, name):
    """Return one array of an .npz file."""
    from ..errors import InputError

    with archive:
        names = archive.files
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            problem = f"has no array {name!r}, only" if name else "has several arrays:"
            raise InputError(f"{path} {problem} {', '.join(names)}; give {path}:NAME with one of these")
        return archive[name]
