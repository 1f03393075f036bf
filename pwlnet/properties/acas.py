"""Properties of the ACAS Xu networks in two text formats: those of ERAN (a box and constraints) and of Marabou.

The inputs are rho, theta, psi, v_own and v_int, in feet, radians and feet per second, or normalised: (x - mean) / range with
the constants below, which are those in the headers of the .nnet files. Networks from .nnet files take and give raw numbers;
those from ONNX files take and give normalised ones.

Legend: D inputs, O outputs.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import Literal

import numpy as np

from .._types import PathLike
from ..conditions import HalfSpaces
from ..domains import Box
from ..errors import InputError
from ..publishing import decode_text
from ..validation import as_path, check_choice
from .cases import Inequality, to_cases

INPUT_MEAN = (19791.091, 0.0, 0.0, 650.0, 600.0)
INPUT_RANGE = (60261.0, 6.28318530718, 6.28318530718, 1100.0, 1200.0)
OUTPUT_MEAN, OUTPUT_RANGE = 7.5188840201005975, 373.94992
UNITS = ("raw", "normalized")

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_INTERVAL = re.compile(rf"\s*\[\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\]")
_EXTREME = re.compile(r"((?:y\d+\s+)+)(not)?(min|max)")
_BOUND = re.compile(rf"y(\d+)\s*(<=|>=|<|>)\s*(y\d+|{_NUMBER})")
_INEQUALITY = re.compile(rf"((?:[-+]?\s*[xy]\d+\s*)+)(<=|>=)\s*({_NUMBER})")
_TERM = re.compile(r"([-+]?)\s*([xy])(\d+)")


def read_acas_property(
    path: PathLike, box: PathLike | None = None, *, units: Literal["raw", "normalized"] = "raw"
) -> tuple[list[Box], list[list[HalfSpaces]]]:
    """Read a property of ACAS Xu networks: boxes of inputs, and the conditions on outputs that violate it.

    Exact up to rounding: decimals are the nearest float64; numbers that are converted between units are rounded once more.

    Parameters
    ----------
    path : str or Path
        Constraints in ERAN's format (``acasxu_prop_3_constraints.txt``: the number of outputs, then lines such as "y0 notmin",
        "y0 y1 min" or "y0 <= 3.99", which must all hold), or a file in Marabou's format (``acas_property_3.txt``: inequalities
        of x0, ..., y0, ..., all of which hold where the property is violated).
    box : str or Path, optional
        The box in ERAN's format (``acasxu_prop_3_input_prenormalized.txt``), in raw units: a line of intervals [low, high] for
        each input; several intervals on a line are a union. Required with constraints in ERAN's format.
    units : {"raw", "normalized"}, optional
        Of the network's inputs and outputs: "raw" for .nnet files, "normalized" for the ONNX files. Constants that ERAN's
        constraints compare outputs with, and all numbers of Marabou's format, are normalised in the files.

    Returns
    -------
    boxes : list of Box
    conditions : list of list of HalfSpaces
        The same union for each box. ``decide(network, *read_acas_property(...))`` is "sat" where the property is violated, in
        the closed sense: where "y0 min" is required, a tie of y0 with another output violates it.

    Raises
    ------
    InputError
        A file cannot be read, or a line has another form; the message names it.

    References
    ----------
    .. [1] Katz et al., "Reluplex: An Efficient SMT Solver for Verifying Deep Neural Networks", CAV 2017, Appendix (properties).

    Examples
    --------
    >>> import pathlib, tempfile, pwlnet
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "constraints.txt").write_text("5\\ny0 notmin")
    >>> _ = (folder / "box.txt").write_text("[1500, 1800]\\n[-0.06, 0.06]\\n[3.1, 3.14]\\n[980, 1200]\\n[960, 1200]")
    >>> boxes, conditions = pwlnet.read_acas_property(folder / "constraints.txt", folder / "box.txt")
    >>> boxes[0].lower.tolist(), conditions[0][0].A[0].tolist()
    ([1500.0, -0.06, 3.1, 980.0, 960.0], [1.0, -1.0, 0.0, 0.0, 0.0])
    """
    check_choice(units, UNITS, "units")
    lines = _lines(path)
    if lines and lines[0][1].lstrip("+- ").startswith(("x", "y")):
        if box is not None:
            raise InputError(f"{path} has the bounds of the inputs, but box is {box}; omit box")
        return _read_marabou(path, lines, units)
    if box is None:
        raise InputError(f"{path} has constraints in ERAN's format, but box is missing; give the file with the intervals")
    union = _violations(path, lines, units)
    boxes = _read_boxes(box, units)
    return boxes, [list(union) for _ in boxes]


def _lines(path):
    """Return the lines with text: list of (number, text)."""
    path = as_path(path)
    try:
        text = decode_text(path.read_bytes())
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be read ({cause}); check the path and the file") from error
    return [(k, line.strip()) for k, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _refuse(path, number, line, needed):
    raise InputError(f"{path}, line {number} is {line!r}; {needed}")


# ERAN's format.


def _read_boxes(path, units):
    """Return the boxes of a file: list of Box."""
    sides = []
    for number, line in _lines(path):
        found = [tuple(map(float, pair)) for pair in _INTERVAL.findall(line)]
        if _INTERVAL.sub("", line).strip() or not found:
            _refuse(path, number, line, "intervals [low, high] are needed")
        if any(low > high for low, high in found):
            _refuse(path, number, line, "an interval ends before it begins, exchange its numbers")
        sides.append(found)
    if len(sides) != len(INPUT_MEAN):
        raise InputError(f"{path} has intervals of {len(sides)} inputs; the networks take {len(INPUT_MEAN)}")
    boxes = [np.array(ends).T for ends in itertools.product(*sides)]
    if units == "normalized":
        boxes = [(ends - INPUT_MEAN) / INPUT_RANGE for ends in boxes]
    return [Box(*ends) for ends in boxes]


def _violations(path, lines, units):
    """Return the union of the sets in which a constraint is violated: list of HalfSpaces."""
    if not lines or not lines[0][1].isdigit() or not int(lines[0][1]):
        number, line = lines[0] if lines else (1, "")
        _refuse(path, number, line, "the number of outputs is needed there")
    n, union = int(lines[0][1]), []
    for number, line in lines[1:]:
        extreme, bound = _EXTREME.fullmatch(line), _BOUND.fullmatch(line)
        if not (extreme or bound):
            _refuse(path, number, line, "constraints such as 'y0 min', 'y0 notmax', 'y0 y1 min' or 'y0 <= 1.5' are needed")
        outputs = [int(k) for k in re.findall(r"y(\d+)", line)]
        if max(outputs) >= n:
            _refuse(path, number, line, f"outputs y0 to y{n - 1} are needed")
        union += _not_extreme(outputs, extreme, n) if extreme else [_beyond(bound, n, units)]
    if len(lines) < 2:
        raise InputError(f"{path} has no constraints after the number of outputs; give at least one")
    return union


def _not_extreme(outputs, match, n):
    """Return where a line such as "y0 y1 min" or "y0 notmin" is violated: list of HalfSpaces."""
    sign = 1.0 if match[3] == "min" else -1.0

    def not_above(small, large):
        row = np.zeros(n)
        row[small], row[large] = sign, -sign
        return row

    others = [k for k in range(n) if k not in outputs]
    if match[2]:  # some of them must not be extreme: violated where all are
        rows = [not_above(k, other) for k in outputs for other in range(n) if other != k]
        return [HalfSpaces(np.array(rows), np.zeros(len(rows)))]
    groups = [[not_above(other, k) for k in range(n) if k != other] for other in others]  # another one is the extreme one
    return [HalfSpaces(np.array(rows), np.zeros(len(rows))) for rows in groups]


def _beyond(match, n, units):
    """Return where a line such as "y0 <= 1.5" or "y0 < y1" is violated: HalfSpaces."""
    sign = -1.0 if match[2].startswith("<") else 1.0
    row, shift = np.zeros(n), 0.0
    row[int(match[1])] = sign
    if match[3].startswith("y"):
        row[int(match[3][1:])] -= sign
    else:
        shift = sign * _of_outputs(float(match[3]), units)
    return HalfSpaces(row[None], [shift])


def _of_outputs(value, units):
    return value * OUTPUT_RANGE + OUTPUT_MEAN if units == "raw" else value


# Marabou's format.


def _read_marabou(path, lines, units):
    """Return the box and the condition of a file with inequalities: as ``read_acas_property``."""
    term, n = [], {"x": len(INPUT_MEAN), "y": len(INPUT_MEAN)}
    for number, line in lines:
        match = _INEQUALITY.fullmatch(line)
        if not match:
            _refuse(path, number, line, "an inequality such as 'x0 >= 0.6' or '+y0 -y1 <= 0' is needed")
        sides = {"x": {}, "y": {}}
        for sign, kind, index in _TERM.findall(match[1]):
            if int(index) >= n[kind]:
                _refuse(path, number, line, f"{kind}0 to {kind}{n[kind] - 1} are needed")
            sides[kind][int(index)] = sides[kind].get(int(index), 0) + Fraction(-1 if sign == "-" else 1)
        flip = 1 if match[2] == "<=" else -1
        term.append(_in_units(sides, Fraction(float(match[3])), flip, number, units))
    boxes, conditions = to_cases([term], n["x"], n["y"], path)
    if units == "raw":
        boxes = [Box(box.lower * INPUT_RANGE + INPUT_MEAN, box.upper * INPUT_RANGE + INPUT_MEAN) for box in boxes]
    return boxes, conditions


def _in_units(sides, value, flip, number, units):
    """Return ``flip (terms - value) <= 0``, with outputs in the units of the network: Inequality."""
    if units == "raw" and sides["y"]:
        total = sum(sides["y"].values())
        value = value * Fraction(OUTPUT_RANGE) + total * Fraction(OUTPUT_MEAN)
    inputs, outputs = ({k: flip * c for k, c in sides[kind].items() if c} for kind in ("x", "y"))
    return Inequality(inputs, outputs, -flip * value, number)
