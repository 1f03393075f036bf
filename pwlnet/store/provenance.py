"""Provenance: what a store was made with, as JSON of a fixed form (``provenance.schema.json``)."""

import functools
import importlib.resources
import json
import platform

import h5py
import numba
import numpy as np

from .._version import __version__
from ..errors import InputError

_TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}


def make_provenance(parameters, seeds, tolerances):
    """Collect what a store is made with.

    Parameters
    ----------
    parameters : dict or None
        The caller's own, such as options and names of data.
    seeds : dict or None
        Seeds of random numbers (int or list of int), by what was drawn.
    tolerances : Tolerances

    Returns
    -------
    dict
        Of JSON values; without names of users, machines or folders.

    Raises
    ------
    InputError
        Parameters or seeds are not dicts that JSON can hold.
    """
    provenance = {
        "software": {
            "pwlnet": __version__,
            "numpy": np.__version__,
            "numba": numba.__version__,
            "h5py": h5py.version.version,
            "hdf5": h5py.version.hdf5_version,
        },
        "parameters": _json_dict(parameters, "parameters"),
        "seeds": _json_dict(seeds, "seeds"),
        "tolerances": {name: float(value) for name, value in tolerances._asdict().items()},
        "environment": {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"},
    }
    problem = provenance_problem(provenance)
    if problem:
        raise InputError(f"{problem.removeprefix('provenance.')}; give seeds as a dict of integers")
    return provenance


def _json_dict(given, name):
    """Convert a dict to JSON and back."""
    try:
        if not isinstance({} if given is None else given, dict):
            raise TypeError(f"it is a {type(given).__name__}")
        return json.loads(json.dumps({} if given is None else given, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{name} can't be written as JSON ({error}); give a dict of texts, numbers, lists and dicts"
        ) from error


def provenance_problem(provenance):
    """Describe what is wrong with a provenance, or return None.

    Parameters
    ----------
    provenance : object
        As read from JSON.

    Returns
    -------
    str or None
        The start of a sentence: "software.numpy is ...".
    """
    return _problem(provenance, provenance_schema(), "provenance")


@functools.cache
def provenance_schema():
    """Return the JSON schema of a provenance: dict."""
    return json.loads(importlib.resources.files(__package__).joinpath("provenance.schema.json").read_text("utf-8"))


def _problem(value, schema, name):
    """Describe what is wrong with a value; implements what provenance.schema.json uses of JSON Schema."""
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type")
    if types and not any(_TYPES[kind](value) for kind in types):
        return f"{name} is {type(value).__name__}, not {' or '.join(types)}"
    entries = ()
    if isinstance(value, dict):
        missing = [key for key in schema.get("required", ()) if key not in value]
        if missing:
            return f"{name} has no {missing[0]}"
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        entries = ((entry, properties.get(key, others), f"{name}.{key}") for key, entry in value.items())
    elif isinstance(value, list):
        entries = ((entry, schema.get("items", {}), f"{name}[{k}]") for k, entry in enumerate(value))
    return next(filter(None, (_problem(*entry) for entry in entries)), None)
