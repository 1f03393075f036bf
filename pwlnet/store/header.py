"""Root attributes of a store: format, version, provenance, compression."""

import datetime
import json
import math

import h5py
import numpy as np

from ..errors import FormatVersionError, StoreError
from ..tolerances import Tolerances
from . import schema
from .access import reading
from .provenance import provenance_problem

_VERSION_TEXT = ".".join(str(n) for n in schema.VERSION)


def now():
    """The time, UTC, ISO 8601, whole seconds."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_text(attributes, name, text):
    """Set a text attribute, of fixed length: those lie inside the checksums of HDF5, the others don't."""
    content = text.encode()
    attributes.create(name, np.array(content, h5py.string_dtype("utf-8", max(1, len(content)))))


def read_text(attributes, name):
    """Read a text attribute; KeyError where there is none, ValueError where it is something else."""
    value = attributes[name]
    if not isinstance(value, (bytes, str)):
        raise ValueError(f"attribute {name} is no text")
    return value.decode() if isinstance(value, bytes) else value


def write_header(file, network_digest, provenance, compression):
    """Write the root attributes."""
    values = {
        "pwlnet-format": schema.FORMAT,
        "pwlnet-format-version": _VERSION_TEXT,
        "network-digest": network_digest,
        "provenance": json.dumps(provenance),
        "compression": compression,
        "created": now(),
    }
    for attribute in schema.ATTRIBUTES:
        write_text(file.attrs, attribute.name, values[attribute.name])


def check_format(file, path):
    """Refuse files of something else, and of newer major versions.

    Returns
    -------
    str
        The file's format version.

    Raises
    ------
    StoreError, FormatVersionError
    """
    with reading(path, "the header"):
        names = set(file.attrs)
        found = read_text(file.attrs, "pwlnet-format") if "pwlnet-format" in names else None
        version = read_text(file.attrs, "pwlnet-format-version") if "pwlnet-format-version" in names else ""
    if found != schema.FORMAT:
        has = "has no attribute pwlnet-format" if found is None else f"has the format {found!r}"
        raise StoreError(f"{path} is HDF5, but {has}; give a file that pwlnet wrote")
    numbers = version.split(".")
    if len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) < 10 for n in numbers):
        raise StoreError(f"{path} has the format version {version!r}, which is no version; restore a copy of the file")
    if int(numbers[0]) > schema.VERSION[0]:
        raise FormatVersionError(
            f"{path} has format version {version}, but this pwlnet reads versions up to {schema.VERSION[0]}.*"
            f" (it writes {_VERSION_TEXT}); install a newer pwlnet"
        )
    return version


def read_header(file, path):
    """Read the root attributes after ``check_format``: dict, provenance decoded and checked.

    ``tolerances`` are those of the provenance, as Tolerances.
    """
    with reading(path, "the header"):
        header = {a.name: read_text(file.attrs, a.name) for a in schema.ATTRIBUTES}
        try:
            header["provenance"] = json.loads(header["provenance"])
        except RecursionError as error:
            raise ValueError("provenance is nested too deeply") from error
        problem = provenance_problem(header["provenance"])
        if problem:
            raise ValueError(problem)
        known = {k: float(v) for k, v in header["provenance"]["tolerances"].items() if k in Tolerances._fields}
        if not all(math.isfinite(value) for value in known.values()):
            raise ValueError("provenance.tolerances are not finite")
        header["tolerances"] = Tolerances(**known)
    return header
