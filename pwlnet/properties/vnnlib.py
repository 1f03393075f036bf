"""VNN-LIB files, through the package ``vnnlib``: its versions 0.* parse VNN-LIB 1, its versions 1.* VNN-LIB 2."""

from __future__ import annotations

import gzip
import json
import re
import warnings
from fractions import Fraction
from typing import TYPE_CHECKING

from .._optional import require
from .._types import PathLike
from ..errors import InputError
from ..publishing import decode_text
from ..validation import as_path
from .cases import Inequality, conjunction, to_cases

if TYPE_CHECKING:
    from ..conditions import HalfSpaces
    from ..domains import Box

_NAME = re.compile(r"([XY])_(\d+)")
_CLOSED = {"<": "<=", ">": ">="}


def read_vnnlib(path: PathLike) -> tuple[list[Box], list[list[HalfSpaces]]]:
    """Read a VNN-LIB file: boxes of inputs, and the conditions on outputs that are searched for.

    Exact up to rounding: decimals are the nearest float64. Strict inequalities are read as if they allowed equality.

    Parameters
    ----------
    path : str or Path
        Also of a file compressed by gzip (.gz).

    Returns
    -------
    boxes : list of Box
    conditions : list of list of HalfSpaces
        For each box, a union. The file is satisfied if for some box there is an input with outputs in its union:
        ``decide(network, *read_vnnlib(path))``. Boxes without points are left out.

    Raises
    ------
    InputError
        The file cannot be read or parsed, has other variables than X_i and Y_i, inequalities that are not linear, or an input
        without bounds; the message names the line.
    CapacityError
        It has more than 100 000 cases.
    ImportError
        The package ``vnnlib`` is not installed.

    Notes
    -----
    The inputs and outputs are numbered as in the file, in the units of the network for which it was made.

    References
    ----------
    .. [1] Demarchi et al., "Supporting Standardization of Neural Networks Verification with VNNLIB and CoCoNet", FoMLAS 2023,
       Section 3.
    """
    package = require("vnnlib", "vnnlib", "reading VNN-LIB files")
    text = _text(as_path(path))
    is_second = "(vnnlib-version" in text
    if is_second != hasattr(package, "parse_query_string"):
        have, need = ("1", "vnnlib<1") if not is_second else ("2", "vnnlib>=1")
        raise InputError(f"{path} is in VNN-LIB {have}, which the installed vnnlib does not parse; pip install '{need}'")
    terms, counts = (_read_second if is_second else _read_first)(text, path)
    for kind, n in zip(("inputs X", "outputs Y"), counts, strict=True):
        if not n:
            raise InputError(f"{path} declares no {kind}; a network has inputs X and outputs Y")
    n_inputs, n_outputs = counts
    return to_cases(terms, n_inputs, n_outputs, path)


def _text(path):
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            return decode_text(file.read()).replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, EOFError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be read ({cause}); check the path and the file") from error


# VNN-LIB 1.


class _CountedText(str):
    """A text that counts the lines that were read."""

    def __iter__(self):
        """Yield the characters."""
        self.line = 1
        for character in str.__iter__(self):
            self.line += character == "\n"
            yield character


def _read_first(text, path):
    """Return the terms of a text in VNN-LIB 1, and the numbers of inputs and outputs."""
    parser, tokenizer = require("vnnlib.parser", "vnnlib", "reading VNN-LIB files"), require(
        "vnnlib.tokenizer", "vnnlib", "reading VNN-LIB files"
    )  # fmt: skip
    errors = require("vnnlib.errors", "vnnlib", "reading VNN-LIB files")
    counted, declared, terms = _CountedText(text), {"X": set(), "Y": set()}, [[]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers such as -1.5, which SMT-LIB writes (- 1.5)
        try:
            reading = parser.VnnLibParser(iter(tokenizer.tokenize(counted, strict=False)))
            reading.advance_token_stream()
            while reading.curr_token != tokenizer.EOF:
                line, command = counted.line, reading.parse_command()
                if isinstance(command, parser.DeclareConst):
                    kind, index = _variable(command.symbol, path, line)
                    declared[kind].add(index)
                else:
                    terms = conjunction(terms, _Terms(parser, path, line).cases(command.term))
        except (errors.VnnLibError, StopIteration) as error:
            problem = str(error).splitlines()[0] or "unexpected end of file"
            raise InputError(f"{path}, line {counted.line} is not VNN-LIB ({problem}); correct the file") from error
    for kind, indices in declared.items():
        if indices != set(range(len(indices))):
            missing = min(set(range(len(indices))) - indices)
            raise InputError(f"{path} declares {kind}_{max(indices)}, but not {kind}_{missing}; declare all of them")
    return terms, tuple(len(indices) for indices in declared.values())


def _variable(symbol, path, line):
    found = _NAME.fullmatch(symbol)
    if not found:
        raise InputError(f"{path}, line {line} has the variable {symbol}; inputs X_0, X_1, ... and outputs Y_0, ... are needed")
    return found[1], int(found[2])


class _Terms:
    """The disjunctive normal form of a term of VNN-LIB 1, which an assertion on some line has."""

    def __init__(self, parser, path, line):
        self.parser, self.path, self.line = parser, path, line

    def refuse(self, what):
        raise InputError(f"{self.path}, line {self.line} has {what}; linear inequalities joined by and, or and not are needed")

    def cases(self, term, negated=False):
        """Return the terms of which one must hold: list of list of Inequality."""
        if not isinstance(term, self.parser.FunctionApplication):
            value = getattr(term, "value", None)
            if value not in ("true", "false"):
                self.refuse(f"{value!r} in the place of an inequality")
            return [[]] if (value == "true") != negated else []
        name, parts = term.function.value, term.terms
        if name == "not" and len(parts) == 1:
            return self.cases(parts[0], not negated)
        if name in ("and", "or"):
            joined = [self.cases(part, negated) for part in parts]
            if (name == "or") != negated:
                return [case for cases in joined for case in cases]
            result = [[]]
            for cases in joined:
                result = conjunction(result, cases)
            return result
        name = _CLOSED.get(name, name)
        if name not in ("<=", ">=", "=") or len(parts) != 2 or (name == "=" and negated):
            self.refuse(f"{'not ' * negated}{name} of {len(parts)} terms")
        return [[row for sign in _signs(name, negated) for row in [self.inequality(*parts, sign)]]]

    def inequality(self, left, right, sign):
        """Return ``sign (left - right) <= 0``: Inequality."""
        total = self.linear(left)
        for key, value in self.linear(right).items():
            total[key] = total.get(key, 0) - value
        return make_inequality({key: sign * value for key, value in total.items()}, self.line)

    def linear(self, term):
        """Return the coefficients of a linear term by variable, the constant by None: dict of Fraction."""
        if isinstance(term, self.parser.Constant):
            if isinstance(term.value, str):
                self.refuse(f"the text {term.value!r}")
            return {None: Fraction(term.value)}
        if isinstance(term, self.parser.Identifier):
            return {_variable(term.value, self.path, self.line): Fraction(1)}
        name, parts = term.function.value, [self.linear(part) for part in term.terms]
        if name in ("+", "-") and parts:
            total, sign = dict(parts[0]), 1 if name == "+" else -1
            if name == "-" and len(parts) == 1:
                return {key: -value for key, value in total.items()}
            for part in parts[1:]:
                for key, value in part.items():
                    total[key] = total.get(key, 0) + sign * value
            return total
        if name not in ("*", "/") or not parts:
            self.refuse(f"the function {name}")
        total = parts[0]
        for part in parts[1:]:
            if name == "*" and set(total) == {None}:
                total, part = part, total
            if set(part) != {None} or (name == "/" and not part[None]):
                self.refuse(f"a {'product' if name == '*' else 'quotient'} that is not linear")
            factor = part[None] if name == "*" else 1 / part[None]
            total = {key: value * factor for key, value in total.items()}
        return total


def _signs(name, negated):
    """Return the signs s of the inequalities s (left - right) <= 0 that a comparison stands for."""
    if name == "=":
        return (1, -1)
    return (1,) if (name == "<=") != negated else (-1,)


def make_inequality(coefficients, line):
    """Make an Inequality of coefficients by (kind, index), the constant by None; zero coefficients are left out."""
    sides = {"X": {}, "Y": {}}
    for key, value in coefficients.items():
        if key is not None and value:
            sides[key[0]][key[1]] = value
    return Inequality(sides["X"], sides["Y"], Fraction(coefficients.get(None, 0)), line)


# VNN-LIB 2.


def _read_second(text, path):
    """Return the terms of a text in VNN-LIB 2, and the numbers of inputs and outputs."""
    package = require("vnnlib", "vnnlib", "reading VNN-LIB files")
    try:
        query = package.parse_query_string(text)
        networks = query.networks
        if len(networks) != 1 or len(networks[0].inputs) != 1 or len(networks[0].outputs) != 1 or networks[0].hidden:
            raise InputError(f"{path} has several networks, inputs, outputs or hidden nodes; one input and output are needed")
        shapes = [_size(definition[0].shape) for definition in (networks[0].inputs, networks[0].outputs)]
        terms = [[]]
        for assertion in query.assertions:
            cases = [[row for one in case for row in _comparison(package, one, path)] for case in assertion.expr.to_dnf()]
            terms = conjunction(terms, cases)
    except package.VNNLibException as error:
        raise InputError(f"{path}{_problem(str(error))}; correct the file") from error
    return terms, tuple(shapes)


def _problem(message):
    """Return what the package says about a text that is not VNN-LIB 2: some errors are JSON."""
    try:
        first = json.loads(message)["errors"][0]
        return f", line {first['line']} is not VNN-LIB ({first['message']})"
    except (ValueError, LookupError, TypeError):
        return f" is not VNN-LIB ({message.splitlines()[0]})"


def _size(shape):
    size = 1
    for n in shape:
        size *= int(n)
    return size


def _comparison(package, comparison, path):
    """Return the inequalities that a comparison stands for: list of Inequality."""
    total, line = {None: Fraction(0)}, 0
    for side, sign in ((comparison.lhs, 1), (comparison.rhs, -1)):
        linear = side.to_linear_expr()
        total[None] += sign * Fraction(linear.constant)
        for term in linear.terms:
            key, line = _position(package, term.var), max(line, term.var.line)
            total[key] = total.get(key, Fraction(0)) + sign * Fraction(term.coeff)
    if isinstance(comparison, package.NotEqual):
        raise InputError(f"{path}, line {line} has !=; the set that it describes is not a union of closed polytopes")
    if isinstance(comparison, package.Equal):
        signs = (1, -1)
    else:
        signs = (1,) if isinstance(comparison, package.LessEqual | package.LessThan) else (-1,)
    return [make_inequality({key: sign * value for key, value in total.items()}, line) for sign in signs]


def _position(package, variable):
    """Return the kind and the flat index of a variable."""
    index = 0
    for i, n in zip(variable.indices, variable.shape, strict=True):
        index = index * int(n) + int(i)
    return ("X" if variable.kind == package.SymbolKind.Input else "Y"), index
