"""Files of points and other rows of numbers: .npy, .npz, and text files as spreadsheets and other programs write them.

Text files: UTF-8 and UTF-16, with or without a byte order mark, and Latin-1; any line ends; commas, or semicolons or
tabulators if the file has no commas; lines that start with #, empty lines and a comma at the end of each line are skipped, and
so is a first line of column names. A column of row numbers is not guessed: it is refused as soon as it does not fit the
network.
"""

from pathlib import Path

from .errors import InputError
from .publishing import decode_text


def read_rows(text):
    """Read an array from a file.

    Parameters
    ----------
    text : str
        FILE.npy, FILE.npz (with one array), FILE.npz:NAME, or FILE.csv (see ``read_csv``).

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
    with archive:
        names = archive.files
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            problem = f"has no array {name!r}, only" if name else "has several arrays:"
            raise InputError(f"{path} {problem} {', '.join(names)}; give {path}:NAME with one of these")
        return archive[name]


def read_csv(path):
    """Read a CSV file.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    float64[rows, columns]

    Raises
    ------
    InputError
        A word is not a number, or a line has another length; the message has the number of the line.
    OSError
        It can't be read.
    """
    import numpy as np

    lines = enumerate(decode_text(Path(path).read_bytes()).splitlines(), start=1)
    lines = [(k, words) for k, line in lines if (words := line.partition("#")[0].strip())]
    separator = next((mark for mark in ",;\t" if any(mark in line for _, line in lines)), None)
    rows = [(k, [word.strip().strip('"') for word in line.split(separator)]) for k, line in lines]
    if rows and all(not words[-1] for _, words in rows):
        rows = [(k, words[:-1]) for k, words in rows]
    if len(rows) > 1 and not any(map(_is_number, rows[0][1])):
        del rows[0]
    for k, words in rows:
        wrong = next((word for word in words if not _is_number(word)), None)
        if wrong is not None:
            raise InputError(f"line {k} of {path} has {wrong[:40]!r}, which is not a number; give numbers only")
        if len(words) != len(rows[0][1]):
            raise InputError(f"line {k} of {path} has {len(words)} numbers, but line {rows[0][0]} has {len(rows[0][1])}; "
                             "rows must be equally long")  # fmt: skip
    return np.array([[float(word) for word in words] for _, words in rows], np.float64).reshape(len(rows), -1 if rows else 0)


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word
