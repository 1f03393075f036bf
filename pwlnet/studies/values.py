"""Values of a study file: checks of their types and ranges, whose errors are one sentence.

A check takes a value and what it is called, and returns the value as it is used. Booleans, and the
infinities and NaN of TOML, are no numbers here.
"""

import math
import re
from pathlib import PurePosixPath, PureWindowsPath

from ..errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LARGEST = 2**62
_SHOWN = 60


def _refuse(value, name, needed):
    """Raise the InputError of a value that is not what is needed."""
    text = repr(value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    raise InputError(f"{name} is {text}; {needed} is needed")


def text(value, name):
    """Check a text on which a file system can work: not empty, without zero characters."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        _refuse(value, name, "a text that is not empty")
    return value


def path(value, name):
    """Check a name, or a path relative to the study file: stores record it, and a study can be moved with its files."""
    if any(kind(text(value, name)).anchor for kind in (PurePosixPath, PureWindowsPath)) or value.startswith("~"):
        _refuse(value, name, "a name, or a path relative to the study file,")
    return value


def free_text(value, name):
    """Check any text."""
    if not isinstance(value, str):
        _refuse(value, name, "a text")
    return value


def identifier(value, name):
    """Check a name that becomes a part of file names."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        _refuse(value, name, "a name of up to 64 letters, digits, _ and -")
    return value


def number(value, name):
    """Check a finite number: float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST or not math.isfinite(value):
        _refuse(value, name, "a finite number")
    return float(value)


def positive(value, name):
    """Check a finite number above 0: float."""
    if number(value, name) <= 0.0:
        _refuse(value, name, "a number above 0")
    return float(value)


def boolean(value, name):
    """Check true or false."""
    if not isinstance(value, bool):
        _refuse(value, name, "true or false")
    return value


def integer(least):
    """Return a check of integers of at least ``least``."""

    def check(value, name):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
            _refuse(value, name, f"an integer of {least} or more")
        return value

    return check


count, index = integer(1), integer(0)


def choice(*names):
    """Return a check of one of some names."""

    def check(value, name):
        if not isinstance(value, str) or value not in names:
            _refuse(value, name, f"one of {', '.join(map(repr, names))}")
        return value

    return check


def either(what, *checks):
    """Return a check of a value that one of several checks takes; ``what`` describes them."""

    def check(value, name):
        for each in checks:
            try:
                return each(value, name)
            except InputError:
                continue
        return _refuse(value, name, what)

    return check


def listed(check, *, n=None, what="a list that is not empty"):
    """Return a check of lists of ``n`` (by default, one or more) values: list."""

    def check_list(value, name):
        if not isinstance(value, list) or not value or (n is not None and len(value) != n):
            _refuse(value, name, what)
        return [check(each, f"{name}[{k}]") for k, each in enumerate(value)]

    return check_list


def interval(value, name):
    """Check two numbers, of which the first is not above the second: list of float."""
    low, high = listed(number, n=2, what="a list [LOW, HIGH] of two numbers")(value, name)
    if low > high:
        _refuse(value, name, "a list [LOW, HIGH] with LOW not above HIGH")
    return [low, high]


def row_range(value, name):
    """Check [FIRST, LAST]: list of int."""
    first, last = listed(index, n=2, what="a list [FIRST, LAST] of two integers")(value, name)
    if first >= last:
        _refuse(value, name, "a list [FIRST, LAST] with FIRST below LAST (LAST is not included)")
    return [first, last]


numbers = listed(number, what="a list of numbers")
pairs = listed(listed(index, n=2, what="two rows [I, J]"), what="a list of pairs of rows [I, J]")
triples = listed(listed(index, n=3, what="three rows [I, J, K]"), what="a list of triples of rows [I, J, K]")
corners = listed(listed(number, n=2, what="a corner [u, v]"), what="a list of corners [u, v]")
