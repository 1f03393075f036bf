"""Types of arguments: numbers, shapes, files of rows."""

import argparse
import math

from ..point_files import read_rows

__all__ = ["RandomPoints", "count", "finite", "positive", "read_rows", "row_range", "seed", "shape"]


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
