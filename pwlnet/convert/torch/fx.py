"""Reading of torch modules: a symbolic trace of a float64 copy in eval mode, converted for a batch of one.

The trace is made by torch.fx, or by torch.export (`export`) for modules whose Python code branches on tensors or writes in
place through views. The network computes what the module computes for a single row; a module whose outputs for two rows in
one batch differ from those for each row alone is refused.
"""

import copy
import inspect
import operator
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from ...errors import ConversionError, PwlnetError, PwlnetWarning, ShapeError
from ...tolerances import DEFAULT
from ..check import check_rows
from ..choice import choose
from .export import export
from .float64 import InFloat64, first_line
from .modules import check_module
from .names import THROUGH_LAYERS
from .ops import TABLES
from .walk import InPlaceViewWrite, Walker

THROUGH = {getattr(nn, name) for name in THROUGH_LAYERS}


class SingleInputWrapper(nn.Module):
    """Wrap a module of one argument, so that a single layer, or one with hooks, is traced as a submodule."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        """Return the output of the wrapped module."""
        return self.model(x)


class _Proxy(fx.Proxy):
    """A proxy that records ``x += y`` as an in-place operation, as torch executes it."""


def _recorded(function):
    def record(self, other):
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for _function in (operator.iadd, operator.isub, operator.imul, operator.itruediv):
    setattr(_Proxy, f"__{_function.__name__}__", _recorded(_function))


class _Tracer(fx.Tracer):
    """Trace through the layers of torch.nn whose functions have handlers; record all other layers as one call."""

    proxy_buffer_attributes = True

    def __init__(self):
        super().__init__(param_shapes_constant=True)
        self._states = None

    def is_leaf_module(self, m, module_qualified_name):
        hooked = m._forward_hooks or m._forward_pre_hooks  # a layer recorded as one call would lose them
        return type(m).__module__.startswith(("torch.nn.", "torch.ao.nn.")) and type(m) not in THROUGH and not hooked

    def proxy(self, node):
        return _Proxy(node, self)

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        """Return a proxy for a parameter or buffer, like ``fx.Tracer``, which searches all of them for each."""
        if not isinstance(attr_val, torch.Tensor):
            return attr_val
        if self._states is None:
            states = [*self.root.named_buffers(), *self.root.named_parameters()]
            self._states = {id(state): (name, state) for name, state in states}
        name, _ = self._states.get(id(attr_val), (None, None))
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy(
                "get_attr", name, (), {}, proxy_factory_fn=lambda node: fx.proxy.ParameterProxy(self, node, name, attr_val)
            )
        return parameter_proxy_cache[name]


def read_module(module, input_shape, outputs=None):
    """Read a module into a neutral graph.

    Exact up to rounding: weights are cast to float64 exactly, and the module is read as it computes in eval mode.

    Parameters
    ----------
    module : torch.nn.Module
        In any mode; it is not changed. Its hooks run when its copy does.
    input_shape : tuple of int
        Shape of one input, without the batch axis.
    outputs : tuple of int or str, optional
        Which outputs of several.

    Returns
    -------
    Graph

    Raises
    ------
    InputError
        The module is not a torch.nn.Module, or holds a value that is not finite.
    ShapeError
        ``input_shape`` is not a tuple of positive integers.
    UnsupportedOperationError
        A node is not piecewise linear or not supported.
    ConversionError
        The module cannot be traced, does not run on ``input_shape``, or mixes the rows of a batch.

    Warns
    -----
    PwlnetWarning
        A softmax at the end was dropped.
    """
    return read_with_batch(module, input_shape, outputs)[0]


def read_with_batch(module, input_shape, outputs=None):
    """Read a module, as ``read_module``; also return what it computes for two rows alone and in one batch: `Batch`."""
    shape = (1, *_checked_shape(input_shape))
    original = _copied(module)
    _check_signature(original)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _to_float64(copy.deepcopy(original))
        walker = _trace(original, model, shape, outputs)
        batch = _batch(model, shape, walker)
    for ending in walker.dropped:
        warnings.warn(ending.warning(), PwlnetWarning, stacklevel=3)
    return walker.graph, batch


@dataclass(frozen=True)
class Batch:
    """What a module computes for two rows: float64[2, O] alone, and together (None where it runs on single rows only)."""

    rows: np.ndarray
    alone: np.ndarray
    together: np.ndarray | None

    def check(self, network):
        """Raise ConversionError if the module mixes the rows of a batch."""
        if self.together is not None:
            check_rows(network, self.alone, self.together, self.rows)


def source_forward(module, outputs=None):
    """Return a function that evaluates a float64 copy of a module in eval mode, row by row, without a final softmax.

    Parameters
    ----------
    module : torch.nn.Module
        It is not changed.
    outputs : tuple of int or str, optional
        Which outputs of several.

    Returns
    -------
    callable
        Maps float64[B, *input_shape] to float64[B, O].

    Raises
    ------
    InputError
        The module is not a torch.nn.Module, or holds a value that is not finite.
    """
    model = _to_float64(_copied(module))

    def forward(rows):
        rows = np.asarray(rows, dtype=np.float64)
        found = [_run(model, torch.from_numpy(row[None].copy()), outputs).reshape(-1).numpy() for row in rows]
        return np.stack(found) if found else np.empty((0, 0))

    return forward


def _run(model, x, outputs=None):
    """Return the chosen outputs of a module, without a final softmax; several as one tensor [rows, entries]."""
    with torch.no_grad(), warnings.catch_warnings(), InFloat64() as mode:
        warnings.simplefilter("ignore")
        chosen = choose(model(x), outputs, "the module", lambda value: f"shape {tuple(getattr(value, 'shape', ()))}")
        found = [mode.without_ending(value).detach() for value in chosen]
        return found[0] if len(found) == 1 else torch.cat([value.reshape(len(x), -1) for value in found], 1)


def _checked_shape(input_shape):
    """Return a shape without the batch axis as a tuple; of an example batch of inputs, its shape without the first axis."""
    shape = input_shape
    if isinstance(shape, (torch.Tensor, np.ndarray)):
        given = tuple(shape.shape)
        if len(given) == 1 and not (shape.is_floating_point() if isinstance(shape, torch.Tensor) else shape.dtype.kind == "f"):
            shape = tuple(shape.tolist())
        elif len(given) < 2 or not all(given):
            raise ShapeError(
                f"input_shape is an array of shape {given}; an example input needs a batch axis in front, or give the shape "
                "of one input, such as (3, 32, 32)"
            )
        else:
            shape = given[1:]
    if isinstance(shape, (int, np.integer)):
        shape = (shape,)
    whole = isinstance(shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) and n > 0 for n in shape)
    if not whole or isinstance(input_shape, bool):
        shown = repr(input_shape)
        raise ShapeError(
            f"input_shape is {shown if len(shown) < 80 else type(input_shape).__name__}; it must be a tuple of positive "
            "integers, without the batch axis, such as (3, 32, 32)"
        )
    return tuple(int(n) for n in shape)


def _copied(module):
    """Return a copy in eval mode on the CPU, with the dtypes of the source."""
    while isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        module = module.module
    module = getattr(module, "_orig_mod", module)  # torch.compile's wrapper
    check_module(module)
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


def _to_float64(model):
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


def _check_signature(model):
    try:
        inspect.signature(model.forward).bind(None)
    except TypeError as error:
        raise ConversionError(
            f"the module's forward does not take one input ({first_line(error)}); pwlnet needs a function of one; "
            "wrap the module in one that gives it the others"
        ) from error


def _trace(original, model, shape, outputs):
    """Convert the trace of torch.fx, or that of torch.export if the first fails or does not match the module."""
    root, reason = SingleInputWrapper(model), "its forward writes in place through views"
    try:
        traced = _Tracer().trace(root)
    except Exception as error:
        reason = first_line(error)
    else:
        try:
            walker = _run_walker(root, traced, shape, outputs)
            if _trace_matches_module(root, traced, shape, outputs):
                return walker
            reason = "its forward behaves differently when traced"
        except InPlaceViewWrite:
            pass
    unhooked = _without_recording_hooks(original, model, shape, outputs)
    if unhooked is not None:
        return _trace(*unhooked, shape, outputs)
    try:
        root, traced = export(SingleInputWrapper(original), SingleInputWrapper(model), shape)
    except Exception as error:
        raise ConversionError(
            f"the module can't be traced (torch.fx: {reason}; torch.export: {first_line(error)}); "
            "its operations must not depend on the values of tensors, rewrite that branch of its forward"
        ) from error
    try:
        return _run_walker(root, traced, shape, outputs)
    except InPlaceViewWrite:
        raise ConversionError(
            "the module writes activations into a constant or through a view; build the tensor with torch.cat instead"
        ) from None


def _without_recording_hooks(original, model, shape, outputs):
    """Return both copies of a module without its forward hooks if it has some that do not change its outputs, else None."""
    if not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules()):
        return None
    copies = copy.deepcopy(original), copy.deepcopy(model)
    for part in (part for whole in copies for part in whole.modules()):
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    for row in np.random.default_rng(1).standard_normal((4, *shape)):
        try:
            with_hooks, without = (_run(run, torch.from_numpy(row.copy()), outputs) for run in (model, copies[1]))
        except Exception:
            return None
        if not torch.equal(with_hooks, without):
            return None
    return copies


def _run_walker(root, traced, shape, outputs):
    walker = Walker(root, traced, shape, TABLES, outputs)
    walker.run()
    return walker


def _trace_matches_module(root, traced, shape, outputs):
    """Return whether the trace computes what the module does; ``isinstance(x, torch.Tensor)`` is False during tracing."""
    row = torch.from_numpy(np.random.default_rng(0).standard_normal(shape))
    try:
        expected, actual = (_run(run, row.clone(), outputs) for run in (root, fx.GraphModule(root, traced)))
    except Exception:
        return True  # _check_rows reports a module that does not run
    return expected.shape == actual.shape and bool(torch.allclose(expected, actual, rtol=DEFAULT.conversion, atol=0.0))


def _batch(model, shape, walker):
    """Run a module on two rows, alone and together; refuse one that does not run on a batch of one."""
    rows = np.random.default_rng(0).standard_normal((2, *shape[1:]))
    try:
        alone = [_run(model, torch.from_numpy(row[None].copy()), walker.outputs) for row in rows]
    except PwlnetError:
        raise
    except Exception as error:
        raise ConversionError(
            f"the module does not run on an input of shape {shape}: {first_line(error)}; "
            "check input_shape, without the batch axis"
        ) from error
    output = walker.graph.output.shape
    if tuple(alone[0].shape) != output:
        raise ConversionError(
            f"the module gives shape {tuple(alone[0].shape)} but was read as giving {output}; "
            "report it, with the module's forward"
        )
    try:
        together = _run(model, torch.from_numpy(rows.copy()), walker.outputs).numpy()
    except PwlnetError:
        raise
    except Exception:
        together = None  # a module that accepts a batch of one only
    return Batch(rows, np.stack([a.reshape(-1).numpy() for a in alone]), together)
