"""Forward hooks of a module: where they are, and copies without those that only record."""

import copy

import torch

from .precise import InFloat64

_N_ROWS = 8


def _tables(model):
    for path, part in model.named_modules():
        for table in (part._forward_hooks, part._forward_pre_hooks):
            if table:
                yield path, table


def hooked_layers(model):
    """Return the paths of the layers of a module that have hooks, as a set."""
    return {path for path, _ in _tables(model)}


def without_hooks(model):
    """Return a copy of a module without its hooks."""
    bare = copy.deepcopy(model)
    for _, table in _tables(bare):
        table.clear()
    return bare


def only_record(model, shape):
    """Return whether the hooks of a module only record: they return nothing, change no tensor, and without them it is the same.

    Parameters
    ----------
    model : torch.nn.Module
        In float64.
    shape : tuple of int
        Of an input, batch axis included.

    Returns
    -------
    bool
        False if a hook returns a value or writes in place, or if the outputs on random rows differ in any bit without hooks.
    """
    watched, bare = copy.deepcopy(model), without_hooks(model)
    effects = []
    for _, table in _tables(watched):
        for key, hook in table.items():
            table[key] = _watched(hook, effects)
    rng = torch.Generator().manual_seed(0)
    for _ in range(_N_ROWS):
        row = torch.randn(shape, generator=rng, dtype=torch.float64)
        with InFloat64():
            expected, actual = watched(row.clone()), bare(row.clone())
        if effects or not isinstance(expected, torch.Tensor) or not torch.equal(expected, actual):
            return False
    return True


def _watched(hook, effects):
    """Return a hook that calls ``hook`` and notes in ``effects`` if that has an effect on the computation."""

    def call(*args, **kwargs):
        tensors = [a for a in torch.utils._pytree.tree_leaves((args[1:], kwargs)) if isinstance(a, torch.Tensor)]
        versions = [t._version for t in tensors]
        result = hook(*args, **kwargs)
        if result is not None or versions != [t._version for t in tensors]:
            effects.append(hook)
        return result

    return call
