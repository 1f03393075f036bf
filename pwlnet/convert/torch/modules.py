"""Which objects are torch modules that can be read; the message for each that is not says what to give instead."""

import os

import torch
from torch import nn

from ...errors import InputError, UnsupportedOperationError
from ...network import Network

QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized", "torch.ao.nn.qat")


def check_module(module):
    """Raise an error if ``module`` is not a torch.nn.Module with dense, real, finite values.

    Raises
    ------
    InputError
        It is something else, or a parameter or buffer cannot be read.
    UnsupportedOperationError
        A submodule is quantised or compiled by TorchScript.
    """
    problem = _not_a_module(module)
    if problem:
        raise InputError(problem)
    for path, part in module.named_modules():
        name, kind = path or "the module itself", type(part)
        if isinstance(part, torch.jit.ScriptModule):
            where = f"submodule {path!r} is" if path else "module is"
            raise UnsupportedOperationError(
                f"{where} compiled by TorchScript ({kind.__name__}), whose code can't be traced; give the torch.nn.Module "
                "that it was made from"
            )
        if kind.__module__.startswith(QUANTISED):
            raise UnsupportedOperationError(
                f"layer {name!r} is {kind.__name__} of {kind.__module__}, which is quantised: it rounds, so it is not "
                "piecewise linear; convert the module before it is quantised"
            )
    _check_states(module)


def _not_a_module(module):
    """Return what is wrong with an object that is not a module, or an empty string."""
    needs = "from_torch needs a torch.nn.Module"
    if isinstance(module, nn.Module):
        return ""
    if isinstance(module, type):
        return f"module is the class {module.__name__}; {needs}, an instance: {module.__name__}(...)"
    if isinstance(module, (str, os.PathLike)):
        return f"module is the path {os.fspath(module)!r}; {needs}: load it by torch.load, or use load_network for other files"
    if isinstance(module, Network):
        return f"module is a Network already; {needs}, and a Network needs no conversion"
    if isinstance(module, dict) and module and all(isinstance(value, torch.Tensor) for value in module.values()):
        return f"module is a state_dict (a {type(module).__name__} of tensors); {needs}: build it, then load_state_dict"
    if isinstance(module, dict):
        keys = ", ".join(repr(key) for key in list(module)[:5])
        return f"module is a {type(module).__name__} with keys {keys}; {needs}: build it, then load_state_dict of its weights"
    if isinstance(module, torch.export.ExportedProgram):
        return f"module is an ExportedProgram; {needs}: give its module()"
    if callable(module):
        return f"module is a function ({type(module).__name__}); {needs}: wrap it in one whose forward calls it"
    return f"module is a {type(module).__name__}; {needs}"


def _check_states(module):
    states = [("parameter", *item) for item in module.named_parameters()]
    states += [("buffer", *item) for item in module.named_buffers()]
    for what, name, state in states:
        kind = _unreadable(state)
        if kind:
            raise InputError(f"{what} {name!r} is {kind}; pwlnet needs dense real values, convert the module first")
        bad = int((~torch.isfinite(state)).sum()) if state.is_floating_point() else 0
        if bad:
            raise InputError(
                f"{what} {name!r} holds {bad} values that are not finite; a network needs finite weights, "
                "check how it was trained or saved"
            )


def _unreadable(state):
    """Return why a parameter or buffer cannot be read, or an empty string."""
    if nn.parameter.is_lazy(state):
        return "not initialised (run the module on one batch first)"
    if state.is_meta:
        return "on the meta device, without values"
    if state.is_quantized:
        return "quantised"
    if state.layout != torch.strided:
        return f"sparse ({state.layout})"
    return "complex" if state.is_complex() else ""
