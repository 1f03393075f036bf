"""Numbers and texts of the text formats, as errors show them."""

import re

import numpy as np

from ...errors import ConversionError, InputError

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?nan|[+-]?inf(inity)?", re.IGNORECASE)
_SHOWN = 40
_MOST_DIGITS = 18  # of a count
_FEW = 8


def shown(text):
    """Return the beginning of a text, quoted."""
    return repr(text[:_SHOWN])


def shown_counts(counts):
    """Return counts in parentheses, some of them if there are many."""
    more = f", ... {len(counts)} numbers" if len(counts) > _FEW else ""
    return f"({', '.join(map(str, counts[:_FEW]))}{more})"


def parse_count(word):
    """Return a word as a count, None where it is not one: ASCII digits without a sign."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS else None


def parse_numbers(path, number, words):
    """Return the words of line ``number`` as finite floats.

    Parameters
    ----------
    path : str or Path
    number : int
        Of the line, for errors.
    words : list of str
        Without spaces around them.

    Returns
    -------
    list of float

    Raises
    ------
    ConversionError
        A word is not a number in ASCII digits, with a point and an exponent where wanted.
    InputError
        A number is not finite.
    """
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise ConversionError(f"line {number} of {path} holds {shown(word)}, which is not a number; the file is damaged")
    values = [float(word) for word in words]
    if not np.isfinite(values).all():
        raise InputError(
            f"line {number} of {path} holds a number that is not finite; a network needs finite weights, check the file"
        )
    return values
