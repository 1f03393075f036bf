"""Types of arguments: numbers, shapes, files of rows."""

import argparse
from pathlib import Path


def positive(text):
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


positive.__name__ = "positive whole number"  # argparse: "invalid ... value"


def shape(text):
    """A shape: "3,32,32" or "3x32x32"."""
    return tuple(positive(part) for part in text.replace("x", ",").split(","))


def read_rows(text):
    """Read an array from a file.

    Parameters
    ----------
    text : str
        FILE.npy, FILE.npz (with one array), FILE.npz:NAME, or FILE.csv (numbers, commas, one row per line; lines that
        start with # are skipped).

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        No such file, another kind, damaged, or no such array.
    """
    import numpy as np

    from ..errors import InputError

    path, _, name = (text, "", "") if Path(text).exists() else text.partition(":")
    kind = Path(path).suffix.lower()
    if kind not in (".npy", ".npz", ".csv"):
        raise InputError(f"{path} has the suffix {kind!r}; give rows as .npy, .npz or .csv")
    if name and kind != ".npz":
        raise InputError(f"{text} names an array, which only .npz files do; leave {name!r} out")
    try:
        if kind == ".csv":
            return np.loadtxt(path, delimiter=",", ndmin=2)
        loaded = np.load(path, allow_pickle=False)
        return loaded if kind == ".npy" else _member(loaded, path, name)
    except InputError:
        raise
    except Exception as error:  # zip, EOF, OS and value errors alike
        cause = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be read as {kind} ({cause}); check the path and the file") from error


def _member(archive, path, name):
    """One array of an .npz file."""
    from ..errors import InputError

    with archive:
        names = archive.files
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            absent = f"has no array {name!r}, only" if name else "has several arrays:"
            raise InputError(f"{path} {absent} {', '.join(names)}; give {path}:NAME with one of these")
        return archive[name]
