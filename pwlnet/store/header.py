"""The header of a store: root attributes with format, version, provenance and compression."""

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
    """Return the time in UTC, ISO 8601, in whole seconds."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_text(attributes, name, text):
    """Set a text attribute of fixed length: HDF5 has checksums for those, and none for others."""
    content = text.encode()
    attributes.create(name, np.array(content, h5py.string_dtype("utf-8", max(1, len(content)))))


def read_text(attributes, name):
    """Read a text attribute; KeyError if there is none, ValueError if it is not text."""
    value = attributes[name]
    if not isinstance(value, (bytes, str)):
        raise ValueError(f"attribute {name} is not text")
    return value.decode() if isinstance(value, bytes) else value


def write_header(file, network_digest, provenance, compression):
    """Write the root attributes, and their copies at /network, which go where its arrays are copied to."""
    values = {
        "pwlnet-format": schema.FORMAT,
        "pwlnet-format-version": _VERSION_TEXT,
        "network-digest": network_digest,
        "provenance": json.dumps(provenance),
        "compression": compression,
        "created": now(),
    }
    for group in (file, file.require_group("network")):
        for attribute in schema.ATTRIBUTES:
            write_text(group.attrs, attribute.name, values[attribute.name])


def check_format(file, path):
    """Validate that a file is a store of a version that can be read.

    Parameters
    ----------
    file : ReadFile
    path : str or path

    Returns
    -------
    str
        The file's format version.

    Raises
    ------
    StoreError, FormatVersionError
    """
    with reading(path, "the header"):
        attributes = file.header
        actual = read_text(attributes, "pwlnet-format") if "pwlnet-format" in attributes else None
        version = read_text(attributes, "pwlnet-format-version") if "pwlnet-format-version" in attributes else ""
    if actual != schema.FORMAT:
        has = "has no attribute pwlnet-format" if actual is None else f"has the format {actual!r}"
        raise StoreError(f"{path} is HDF5, but {has}; give a file that pwlnet wrote")
    numbers = version.split(".")
    if len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) < 10 for n in numbers):
        raise StoreError(f"{path} has the format version {version!r}, which is not a version; restore a copy of the file")
    if int(numbers[0]) > schema.VERSION[0]:
        raise FormatVersionError(
            f"{path} has format version {version}, but this pwlnet reads versions up to {schema.VERSION[0]}.*"
            f" (it writes {_VERSION_TEXT}); install a newer pwlnet"
        )
    return version


def read_header(file, path):
    """Read the header after ``check_format``: dict, with the provenance decoded and checked.

    ``tolerances`` are those of the provenance, as Tolerances.
    """
    with reading(path, "the header"):
        header = {a.name: read_text(file.header, a.name) for a in schema.ATTRIBUTES}
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
