"""Parse the lines of a log of certifications.

Legend: B images.
"""

import re
import warnings

import numpy as np

from ..errors import InputError, PwlnetWarning
from .certificates import ABSTAINED

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
_NEEDED = COLUMNS[:4]
_TIME = re.compile(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_WHOLE_TIME = re.compile(r"\.\d{6}$")  # as the published logs have it


def parse_log(content, path):
    """Parse a whole log.

    Parameters
    ----------
    content : bytes
    path : path
        For messages.

    Returns
    -------
    dict of str to ndarray
        ``idx``, ``label``, ``predict`` int64[B], ``radius``, ``seconds`` float64[B], ``correct`` bool[B].

    Raises
    ------
    InputError
        It is not a log, or a line but the last is damaged.

    Warns
    -----
    PwlnetWarning
        The last line is incomplete and was dropped, or radii are NaN.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text ({error}); give a log of certifications") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    is_cut = lines[-1] != ""  # the last line has no end
    names, separator = _header(lines[0], path)
    numbered = [(number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]
    rows = []
    for number, line in numbered:
        try:
            rows.append(_parse_line(line, names, separator, is_cut and number == len(lines)))
        except ValueError as error:
            if not (is_cut and number == len(lines)):
                raise InputError(f"line {number} of {path} is {line!r}, {error}; restore the line or remove it") from None
            message = f"the last line of {path} is incomplete ({line!r}, {error}) and was dropped; certify its image again"
            warnings.warn(message, PwlnetWarning, stacklevel=3)
    return _columns(rows, [number for number, _ in numbered], path)


def _header(line, path):
    """Return the names of the columns and their separator."""
    separator = "\t" if "\t" in line else ","
    names = [name.strip().strip('"').lower() for name in line.split(separator)]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise InputError(
            f"{path} starts with {line[:80]!r}, without the column {missing[0]!r}; a header such as "
            f"{' '.join(COLUMNS)}, separated by tabs or commas, is needed"
        )
    repeated = [name for name in _NEEDED if names.count(name) > 1]
    if repeated:
        raise InputError(f"{path} has two columns {repeated[0]!r}; leave one")
    return names, separator


def _parse_line(line, names, separator, is_cut):
    """Parse a line: (idx, label, predict, radius, correct, seconds); ValueError says what is wrong."""
    words = [word.strip().strip('"') for word in line.split(separator, len(names) - 1)]  # "1 day, 2:03:04" has a comma
    if len(words) != len(names):
        raise ValueError(f"which has {len(words)} columns and not {len(names)}")
    if is_cut and names[-1] in ("idx", "label", "predict", "radius"):
        raise ValueError("which may be cut within a number")
    row = dict(zip(names, words, strict=True))
    idx, label, predict = (_integer(row[name], name) for name in ("idx", "label", "predict"))
    radius = _radius(row["radius"], predict)
    correct = predict == label and predict != ABSTAINED
    if "correct" in row and _truth(row["correct"]) != correct:
        raise ValueError(f"where correct is {row['correct']!r} for the class {label} and the prediction {predict}")
    time = row.get("time", "")
    if is_cut and names[-1] == "time" and not _WHOLE_TIME.search(time):
        time = ""  # may be cut, too
    return idx, label, predict, radius, correct, _seconds(time)


def _integer(word, name):
    """Convert an integer, also "3.0"."""
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"where {name} is {word!r}") from None
    if not value.is_integer() or (name == "predict" and value < ABSTAINED):
        raise ValueError(f"where {name} is {word!r}")
    return int(value)


def _radius(word, predict):
    """Convert a radius: 0.0 for an abstention; NaN stays NaN for a prediction."""
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"where radius is {word!r}") from None
    if predict == ABSTAINED:
        if value > 0.0:
            raise ValueError(f"where radius is {word!r} for an abstention")
        return 0.0
    if value < 0.0 or np.isinf(value):
        raise ValueError(f"where radius is {word!r}")
    return value


def _truth(word):
    if word.lower() in ("1", "1.0", "true"):
        return True
    if word.lower() in ("0", "0.0", "false"):
        return False
    raise ValueError(f"where correct is {word!r}")


def _seconds(word):
    """Convert h:mm:ss.ffffff, or a number of seconds; NaN for anything else."""
    match = _TIME.fullmatch(word)
    if match:
        days, hours, minutes, seconds = match.groups(default="0")
        return (int(days) * 24 + int(hours)) * 3600 + int(minutes) * 60 + float(seconds)
    try:
        return float(word)
    except ValueError:
        return float("nan")


def _columns(rows, numbers, path):
    """Convert rows to columns; refuse repeated images."""
    seen = {}
    for (idx, *_), number in zip(rows, numbers, strict=False):
        if idx in seen:
            raise InputError(f"line {number} of {path} has image {idx}, as line {seen[idx]}; remove one of the lines")
        seen[idx] = number
    idx, label, predict, radius, correct, seconds = zip(*rows, strict=True) if rows else ([],) * 6
    radius = np.array(radius, np.float64)
    if np.isnan(radius).any():
        message = f"{np.isnan(radius).sum()} radii of {path} are NaN; their images count as not certified"
        warnings.warn(message, PwlnetWarning, stacklevel=4)
    columns = {name: np.array(x, np.int64) for name, x in (("idx", idx), ("label", label), ("predict", predict))}
    columns |= {"radius": radius, "correct": np.array(correct, bool), "seconds": np.array(seconds, np.float64)}
    for array in columns.values():
        array.setflags(write=False)
    return columns
