"""What is given to ``from_torch``: the shape of an input, and a module that is checked, copied and put into float64."""

import copy
import inspect
import os

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from ...errors import ConversionError, InputError, ShapeError
from .values import first_line

QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.quantizable", "torch.nn.quantized", "torch.ao.nn.intrinsic.quantized")


def checked_shape(input_shape):
    """Return the shape of one input as a tuple of int, from a shape or from an example input with its batch axis."""
    if hasattr(input_shape, "shape") and hasattr(input_shape, "dtype") and np.ndim(input_shape):
        if isinstance(input_shape, torch.Tensor) or np.ndim(input_shape) > 1 or input_shape.dtype.kind == "f":
            return _of_example(input_shape)
        input_shape = input_shape.tolist()
    shape = input_shape if isinstance(input_shape, (tuple, list)) else (input_shape,)
    if len(shape) == 1 and hasattr(shape[0], "shape") and np.ndim(shape[0]):  # (example,), as torch.onnx.export takes it
        return _of_example(shape[0])
    whole = all(hasattr(n, "__index__") and not isinstance(n, (bool, np.bool_)) for n in shape)
    if not whole or not all(int(n) > 0 for n in shape):
        shown = repr(input_shape)
        raise ShapeError(
            f"input_shape is {shown if len(shown) < 80 else 'a ' + type(input_shape).__name__}; it must be a tuple of positive "
            "integers, without the batch axis, such as (3, 32, 32), or an example input with its batch axis"
        )
    return tuple(int(n) for n in shape)


def _of_example(example):
    shape = tuple(int(n) for n in example.shape)
    if len(shape) < 2 or min(shape[1:]) < 1:
        raise ShapeError(
            f"input_shape is an example input of shape {shape}; an example needs a batch axis and entries after it, "
            "such as torch.zeros(1, 3, 32, 32)"
        )
    return shape[1:]


def copied_module(module):
    """Return a copy in eval mode on the CPU, with the dtypes of the source.

    Raises
    ------
    InputError
        It is no module that can be read, or holds a value that is not finite.
    ConversionError
        It cannot be copied.
    """
    while isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        module = module.module
    module = getattr(module, "_orig_mod", module)  # torch.compile's wrapper
    _check_kind(module)
    _check_states(module)
    memo = {}
    for part in module.modules():  # tensors computed by a hook cannot be copied with their history
        for value in vars(part).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        model = copy.deepcopy(module, memo)
    except Exception as error:
        raise ConversionError(
            f"the module can't be copied: {first_line(error)}; remove what is not a parameter, buffer or plain value"
        ) from error
    return model.cpu().eval().requires_grad_(False)


def _check_kind(module):
    """Refuse what is not a module of Python code, with what to give instead."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            f"module is a {type(module).__name__}, whose compiled code pwlnet does not read; give the "
            "torch.nn.Module that it was compiled from"
        )
    if not isinstance(module, nn.Module):
        raise InputError(f"module is {_what(module)}")
    if getattr(module.forward, "__name__", "") == "_forward_unimplemented":
        raise InputError(
            f"module is a {type(module).__name__} without a forward; give a module that has one, such as nn.Sequential"
        )
    for name, part in module.named_modules():
        where = f"submodule {name!r}" if name else "module"
        kind = f"{type(part).__module__}.{type(part).__qualname__}"
        if isinstance(part, torch.jit.ScriptModule):
            raise InputError(
                f"{where} is a {type(part).__name__}, whose compiled code pwlnet does not read; put the "
                "torch.nn.Module that it was compiled from in its place"
            )
        if kind.startswith(QUANTISED):
            raise InputError(
                f"{where} is a quantised {type(part).__name__}, which rounds to integers; convert the module as it was before "
                "quantisation"
            )


def _what(module):
    """Return what was given instead of a module, what is needed, and how to get it."""
    if isinstance(module, type) and issubclass(module, nn.Module):
        return f"the class {module.__name__}; from_torch needs an instance of it, create one and load its weights"
    if isinstance(module, (str, os.PathLike)):
        return f"the path {str(module)!r}; from_torch needs a torch.nn.Module, pass files to pwlnet.load_network"
    if isinstance(module, dict):
        if module and all(isinstance(value, torch.Tensor) for value in module.values()):
            return "a state_dict, which holds weights only; create the torch.nn.Module and call its load_state_dict first"
        inner = next((key for key in ("state_dict", "model_state_dict", "model", "net") if key in module), None)
        hint = f"; its entry {inner!r} is the module or its state_dict" if inner else ""
        return f"a dict, such as a checkpoint, and not a module{hint}; create the torch.nn.Module and load its weights first"
    if isinstance(module, torch.Tensor):
        return "a tensor; from_torch needs a torch.nn.Module first, and then the shape of its input"
    if hasattr(module, "program") and hasattr(module, "n_neurons"):
        return "a pwlnet.Network, which is converted already; use it as it is"
    if isinstance(module, torch.export.ExportedProgram):
        return "an ExportedProgram; pass the torch.nn.Module that it was exported from"
    if callable(module):
        name = getattr(module, "__name__", type(module).__name__)
        return f"the function {name!r}; from_torch needs a torch.nn.Module, wrap it in one whose forward calls it"
    return f"a {type(module).__name__}; from_torch needs a torch.nn.Module"


def _check_states(module):
    states = [("parameter", *item) for item in module.named_parameters()]
    states += [("buffer", *item) for item in module.named_buffers()]
    for what, name, state in states:
        if nn.parameter.is_lazy(state):
            raise InputError(
                f"{what} {name!r} of a lazy layer has no values yet; run the module once on an example input first"
            )
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
    if state.is_meta:
        return "on the meta device, without values"
    if state.is_quantized:
        return "quantised"
    if state.layout != torch.strided:
        return f"sparse ({state.layout})"
    return "complex" if state.is_complex() else ""


def to_float64(model):
    """Convert a model to float64 in place, with parametrised weights computed."""
    model = model.double()
    with torch.no_grad():
        for part in list(model.modules()):
            if parametrize.is_parametrized(part):
                weights = {name: getattr(part, name).detach() for name in part.parametrizations}
                part.__class__ = parametrize.type_before_parametrizations(
                    part
                )  # the parametrised class is shared with the source
                del part.parametrizations
                for name, weight in weights.items():
                    part.register_parameter(name, nn.Parameter(weight, requires_grad=False))
    return model.requires_grad_(False)


def check_signature(model):
    """Refuse a module whose forward does not take one input."""
    try:
        inspect.signature(model.forward).bind(None)
    except TypeError as error:
        raise ConversionError(
            f"the module's forward does not take one input ({first_line(error)}); pwlnet needs a function of one; "
            "wrap the module in one that gives it the others"
        ) from error
