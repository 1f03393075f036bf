"""Root attributes of a store: format, version, tolerances, provenance."""

import datetime
import json
import platform

import h5py
import numba
import numpy as np

from .._version import __version__
from ..errors import FormatVersionError, InputError, StoreError
from ..tolerances import Tolerances
from . import schema
from .access import reading

_VERSION_TEXT = ".".join(str(n) for n in schema.VERSION)


def now():
    """The time, UTC, ISO 8601, whole seconds."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_text(attributes, name, text):
    """Set a text attribute, of fixed length: those lie inside the checksums of HDF5, the others don't."""
    content = text.encode()
    attributes.create(name, np.array(content, h5py.string_dtype("utf-8", max(1, len(content)))))


def read_text(attributes, name):
    """Read a text attribute; KeyError where there is none."""
    value = attributes[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def make_provenance(parameters):
    """Say with what a store is made, as JSON.

    Parameters
    ----------
    parameters : dict or None
        The caller's own, such as seeds and options.

    Returns
    -------
    str
        Versions, parameters and environment; no names of users, machines or folders.

    Raises
    ------
    InputError
        The parameters are not a dict that JSON can hold.
    """
    provenance = {
        "software": {
            "pwlnet": __version__,
            "numpy": np.__version__,
            "numba": numba.__version__,
            "h5py": h5py.version.version,
            "hdf5": h5py.version.hdf5_version,
        },
        "parameters": {} if parameters is None else parameters,
        "environment": {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"},
    }
    try:
        if not isinstance(provenance["parameters"], dict):
            raise TypeError(f"it is a {type(parameters).__name__}")
        return json.dumps(provenance)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"parameters can't be written as JSON ({error}); give a dict of texts, numbers, lists and dicts"
        ) from error


def write_header(file, network_digest, provenance, tolerances):
    """Write the root attributes."""
    values = {
        "pwlnet-format": schema.FORMAT,
        "pwlnet-format-version": _VERSION_TEXT,
        "network-digest": network_digest,
        "tolerances": json.dumps(tolerances._asdict()),
        "provenance": provenance,
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
    if len(numbers) != 2 or not all(n.isdigit() for n in numbers):
        raise StoreError(f"{path} has the format version {version!r}, which is no version; restore a copy of the file")
    if int(numbers[0]) > schema.VERSION[0]:
        raise FormatVersionError(
            f"{path} has format version {version}, but this pwlnet reads versions up to {schema.VERSION[0]}.*"
            f" (it writes {_VERSION_TEXT}); install a newer pwlnet"
        )
    return version


def read_header(file, path):
    """Read the root attributes after ``check_format``: dict with JSON values decoded, tolerances as Tolerances."""
    with reading(path, "the header"):
        header = {a.name: read_text(file.attrs, a.name) for a in schema.ATTRIBUTES}
        header["provenance"] = json.loads(header["provenance"])
        known = json.loads(header["tolerances"])
        header["tolerances"] = Tolerances(**{k: float(v) for k, v in known.items() if k in Tolerances._fields})
    return header
