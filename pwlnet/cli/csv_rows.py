"""Rows of numbers from text files as spreadsheets and other programs write them.

UTF-8 and UTF-16, with or without a byte order mark, and Latin-1; any line ends; commas, or semicolons or tabulators if the file
has no commas; lines that start with #, empty lines and a comma at the end of each line are skipped, and so is a first line of
column names. A column of row numbers is not guessed: it is refused as soon as it does not fit the network.
"""

from pathlib import Path


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

    from ..errors import InputError
    from ..publishing import decode_text

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
