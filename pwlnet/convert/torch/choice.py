"""Choice among the tensors that a module returns: by position, by name, or several joined."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import numpy as np
import torch
from torch import nn

from ...errors import ConversionError, InputError

_SHOWN = 6


class SeveralOutputs(ConversionError):
    """A module returns several tensors, and none was chosen; ``choices`` has their paths."""

    choices = ()


class ChosenOutputs(nn.Module):
    """Wrap a module of one argument; return the tensors at ``paths`` of its result, several flattened and joined.

    Parameters
    ----------
    model : torch.nn.Module
    paths : sequence of paths, optional
        As given by ``find_outputs``; None returns the result as it is.
    """

    def __init__(self, model, paths=None):
        super().__init__()
        self.model = model
        self.paths = paths

    def forward(self, x):
        """Return the chosen output of the wrapped module."""
        result = self.model(x)
        if self.paths is None:
            return result
        chosen = [_at(result, path) for path in self.paths]
        return chosen[0] if len(chosen) == 1 else torch.cat([torch.flatten(y, 1) for y in chosen], 1)


def _at(result, path):
    for how, key in path:
        result = getattr(result, key) if how == "attribute" else result[key]
    return result


def find_outputs(result, outputs):
    """Return the paths of the chosen tensors in a module's result.

    Parameters
    ----------
    result : object
        What the module returns: a tensor, or containers of tensors.
    outputs : None, int, str, or sequence of them
        Position or name; None if there is one tensor only.

    Returns
    -------
    list of paths, or None
        Each path is a sequence of ("item" or "attribute", key). None if the result is itself the chosen tensor.

    Raises
    ------
    InputError
        ``outputs`` is of another type, or empty.
    ConversionError
        There is no such tensor, or several and none was chosen (SeveralOutputs).
    """
    choices = list(_leaves(result, ()))
    if outputs is None:
        if isinstance(result, torch.Tensor):
            return None
        if len(choices) == 1:
            return [choices[0][0]]
        if not choices:
            raise ConversionError(
                f"the module returns a {type(result).__name__} without tensors; pwlnet needs a module that returns a tensor"
            )
        error = SeveralOutputs(
            f"the module returns {len(choices)} tensors, {shown_choices(_described(choices))}; a network has one output, "
            f"choose it, such as outputs={_example(choices)!r}"
        )
        error.choices = [path for path, _ in choices]
        raise error
    paths = [_found(result, choices, one) for one in requested_outputs(outputs)]
    return None if paths == [()] else paths


def requested_outputs(outputs):
    """Return ``outputs`` as a list of int and str; InputError if it is something else."""
    items = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    bad = [one for one in items if isinstance(one, bool) or not isinstance(one, (int, np.integer, str))]
    if bad or not items:
        what = f"holds a {type(bad[0]).__name__}" if bad else "is empty"
        raise InputError(f"outputs {what}; give a position, a name, or a sequence of them")
    return [one if isinstance(one, str) else int(one) for one in items]


def shown_choices(described):
    """Return a list of (name, shape) as text of bounded length."""
    shown = ", ".join(f"{name} of shape {shape}" for name, shape in described[:_SHOWN])
    return shown if len(described) <= _SHOWN else f"{shown} and {len(described) - _SHOWN} more"


def _described(choices):
    return [(_name(path), tuple(value.shape[1:])) for path, value in choices]


def _example(choices):
    path = choices[0][0]
    return path[0][1] if len(path) == 1 else _name(path)


def _name(path):
    return ".".join(str(key) for _, key in path)


def _entries(value):
    """Return the (step, entry) pairs of a container, or None for anything else."""
    if isinstance(value, Mapping):
        return [(("item", key), entry) for key, entry in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(("attribute", name), entry) for name, entry in zip(value._fields, value, strict=True)]
    if isinstance(value, (tuple, list)):
        return [(("item", k), entry) for k, entry in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return [(("attribute", f.name), getattr(value, f.name)) for f in fields(value)]
    return None


def _leaves(value, path):
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    for step, entry in _entries(value) or ():
        yield from _leaves(entry, (*path, step))


def _found(result, choices, one):
    """Return the path of one chosen tensor."""
    entries = [] if isinstance(result, torch.Tensor) else _entries(result) or []
    below = None
    if isinstance(result, torch.Tensor) and one in (0, -1):
        return ()
    if isinstance(one, str):
        names = {_name(path): path for path, _ in choices}
        named = names.get(one)
        if named is not None:
            return named
    if isinstance(one, int) and any(step == ("item", one) for step, _ in entries):
        below = ("item", one)
    elif isinstance(one, int) and -len(entries) <= one < len(entries):
        below = entries[one][0]
    elif isinstance(one, str):
        below = next((step for step, _ in entries if step[1] == one), None)
    inside = [path for path, _ in choices if below is not None and path[:1] == (below,)]
    if len(inside) == 1:
        return inside[0]
    has = shown_choices(_described(choices)) if entries else f"one tensor of shape {tuple(result.shape[1:])}"
    what = "is not one tensor" if inside else "is not there"
    raise ConversionError(f"outputs={one!r} {what}: the module returns {has}; choose one of these")
