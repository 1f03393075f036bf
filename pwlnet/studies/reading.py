"""Read a study file: its text, and its tables with a value for each key."""

import contextlib
import hashlib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, PwlnetError
from ..publishing import reason
from ..validation import as_path
from . import keys

_SECTIONS = ("study", "network", "data", "analysis")
_MOST_BYTES = 2**22  # of a study file; its text is stored with each result


@dataclass(frozen=True)
class Study:
    """A study file whose keys and values were checked; files that it names were not read.

    Attributes
    ----------
    path : pathlib.Path
    name, description : str
    folder : pathlib.Path
        For the stores; by default ``NAME_results`` beside the file.
    seed : int
    networks : tuple of dict
        Of ``keys.NETWORK``, with unique names.
    data : dict or None
        Of ``keys.DATA``.
    analyses : tuple of dict
        Of ``keys.check_analysis``, with unique names.
    text : str
        The file.
    sha256 : str
        Of the bytes of the file (hex).
    """

    path: Path
    name: str
    description: str
    folder: Path
    seed: int
    networks: tuple[dict[str, Any], ...] = field(repr=False)
    data: dict[str, Any] | None = field(repr=False)
    analyses: tuple[dict[str, Any], ...] = field(repr=False)
    text: str = field(repr=False)
    sha256: str

    def network_place(self, k: int) -> str:
        """Return how messages name a network of the file."""
        return f"{self.path}: network {k + 1} ({self.networks[k]['name']})"

    def analysis_place(self, k: int) -> str:
        """Return how messages name an analysis of the file."""
        return f"{self.path}: analysis {k + 1} ({self.analyses[k]['name']}, {self.analyses[k]['kind']})"


@contextlib.contextmanager
def at(place: str) -> Iterator[None]:
    """Begin messages of errors of pwlnet with a place in the study file."""
    try:
        yield
    except PwlnetError as error:
        if not str(error).startswith(place):
            error.args = (f"{place}: {error}",)  # the class, and what it holds besides the message, stay
        raise


def read_study(path: str | os.PathLike[str]) -> Study:
    """Read and check a study file; the files that it names are read by ``make_tasks``.

    Parameters
    ----------
    path : str or path
        A TOML file.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        It can't be read, or a key or value is not valid; the message begins with the place in the file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "small.toml"
    ...     _ = path.write_text('[study]\\nname = "small"\\n[[network]]\\nsource = "digits_mlp"\\n[data]\\nimages = "digits"\\n'
    ...                         '[[analysis]]\\nname = "zero"\\nkind = "lines"\\nalong = "baseline"\\n')
    ...     read_study(path).analyses[0]["kind"]
    'lines'
    """
    path = as_path(path)
    content, tables = _parse(path)
    with at(f"{path}"):
        unknown = [key for key in tables if key not in _SECTIONS]
        if unknown:
            raise InputError(f"section [{unknown[0][:60]}] is not known; the sections are {', '.join(_SECTIONS)}")
    with at(f"{path}: [study]"):
        study = keys.check_table(tables.get("study", {}), keys.STUDY, "study")
    networks = _networks(path, tables.get("network"))
    data = None
    if "data" in tables:
        with at(f"{path}: [data]"):
            data = keys.check_table(tables["data"], keys.DATA, "data")
    analyses = _analyses(path, tables.get("analysis"), [network["name"] for network in networks])
    output = study.pop("output")
    folder = path.parent / (f"{study['name']}_results" if output is None else output)
    what = {"networks": networks, "data": data, "analyses": analyses, "text": content.decode()}
    return Study(path, folder=folder, sha256=hashlib.sha256(content).hexdigest(), **study, **what)


def _parse(path):
    """Return the bytes of a file, and its tables."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: zero characters in the path
        raise InputError(f"{path} can't be read ({reason(error)}); give the path of a study file") from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path} has more than {_MOST_BYTES} bytes; give a study file, and put numbers into files of arrays")
    try:
        return content, tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise InputError(f"{path} is not a TOML file ({reason(error)}); correct it there") from error


def _tables(path, given, name):
    """Return the tables [[name]] of a file: list that is not empty."""
    given = [given] if isinstance(given, dict) and name == "network" else given
    if not isinstance(given, list) or not given:
        problem = f"has no [[{name}]]" if given is None or given == [] else f"has {name} of type {type(given).__name__}"
        raise InputError(f"{path} {problem}; add a table [[{name}]]")
    return given


def _networks(path, given):
    """Check all [[network]] tables."""
    networks = []
    for k, table in enumerate(_tables(path, given, "network")):
        with at(f"{path}: network {k + 1}"):
            network = keys.check_table(table, keys.NETWORK, "network")
            if network["name"] is None:
                network["name"] = _name_of(network["source"])
            _refuse_equal(network["name"], networks)
        networks.append(network)
    return tuple(networks)


def _name_of(source):
    """Return a name for a network without one: that of its file."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in Path(source).stem)[:64].lstrip("_-")
    if not stem:
        raise InputError(f"source is {source[:60]!r}, which gives no name; add the key 'name'")
    return stem


def _analyses(path, given, networks):
    """Check all [[analysis]] tables."""
    analyses = []
    for k, table in enumerate(_tables(path, given, "analysis")):
        kind = table.get("kind") if isinstance(table, dict) else None
        with at(f"{path}: analysis {k + 1}" + (f" ({kind})" if isinstance(kind, str) and kind in keys.KINDS else "")):
            analysis = keys.check_analysis(table)
            _refuse_equal(analysis["name"], analyses)
            chosen = networks if analysis["networks"] is None else analysis["networks"]
            unknown = [name for name in chosen if name not in networks]
            if unknown or len(set(chosen)) < len(chosen):
                problem = f"{unknown[0]!r}, which no [[network]] has" if unknown else "a name twice"
                raise InputError(f"networks has {problem}; the names are {', '.join(networks)}")
            analysis["networks"] = chosen
        analyses.append(analysis)
    return tuple(analyses)


def _refuse_equal(name, tables):
    """Refuse a name that would give the same file as one before, also where capital letters do not matter."""
    if name.lower() in [table["name"].lower() for table in tables]:
        raise InputError(f"name is {name!r}, which another one has; give each a name of its own")
