"""Conversion of a traced torch graph, node by node, to the neutral graph.

Every node of the trace has a value: a `Value` if it depends on the network's input, otherwise a plain Python or torch
object. Computations on plain objects are run by torch in float64, so ``x.size(0)``, shape arithmetic and products of
weights are evaluated during conversion. Operations on values are converted by the handlers in the tables of `ops`.

A node that cannot be converted has a `Failed` value, and raises its error only if the output depends on it: auxiliary heads
and recorded statistics do not matter. A softmax or sigmoid has an `Ending` value, which only the output may be.

An in-place operation overwrites the `Value` that it is applied to. Any other value that shares its memory (a view) is then
stale; reading a stale value raises `InPlaceViewWrite`, and the caller uses the trace of torch.export instead, which has no
in-place operations.
"""

import inspect
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate

from ...errors import ConversionError, InputError, PwlnetError
from ..choice import choose
from ..endings import AFTER, Ending
from ..graph import Graph, Tensor, refuse
from .float64 import COPIES, IN_PLACE, as_float64, first_line, function_name, in_float64
from .names import ASSERTIONS, NOT_PIECEWISE_LINEAR, QUERIES, RANDOM


class InPlaceViewWrite(Exception):
    """The trace writes in place through a view; only a functional trace can represent that."""


class Storage:
    """Memory shared by values; its version increases with every in-place write."""

    def __init__(self):
        self.version = 0


class Value:
    """A tensor that depends on the input: the tensor of the neutral graph, and its memory."""

    def __init__(self, tensor, storage=None):
        self.tensor = tensor
        self.storage = storage or Storage()
        self.version = self.storage.version

    def write(self, tensor):
        """Overwrite the value in place; other values in the same memory become stale."""
        if tensor.shape != self.tensor.shape:
            raise InPlaceViewWrite
        self.storage.version += 1
        self.tensor, self.version = tensor, self.storage.version


@dataclass(frozen=True)
class Failed:
    """The value of a node that cannot be converted; its error is raised if the output depends on it."""

    error: PwlnetError


@dataclass(frozen=True)
class Unsupported:
    """A result without exact conversion, such as the indices of a maximum."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Call:
    """What a handler needs to know about the node that it converts."""

    graph: Graph
    name: str
    kind: str
    operation: str
    run: Any

    def refuse(self, reason=None):
        """Raise the error for this node; the default reason depends on whether its kind is known."""
        if reason is None and self.kind.lower().replace("_", "") not in NOT_PIECEWISE_LINEAR:
            reason = "which has no exact conversion"
        refuse(self.name, self.kind, reason)

    def array(self, constant):
        """Return a constant as a float64 array, exactly."""
        if isinstance(constant, Tensor):
            self.refuse("which needs a constant where the network computes an activation")
        constant = torch.as_tensor(np.asarray(constant) if isinstance(constant, float) else constant).detach()
        if constant.is_complex() or constant.is_quantized or constant.layout != torch.strided or constant.is_meta:
            self.refuse(f"with a constant of {constant.dtype}, {constant.layout}, on {constant.device}")
        array = constant.to("cpu", torch.float64).numpy()
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise InputError(
                f"node {self.name!r} uses a constant that holds {bad} values that are not finite; "
                "a network needs finite constants, check the source"
            )
        return array


def probe(tensor):
    """Return a torch tensor of zeros with the shape of a graph tensor, expanded from one entry."""
    return torch.zeros((), dtype=torch.float64).expand(tensor.shape)


class Walker:
    """Convert a traced graph.

    Parameters
    ----------
    root : torch.nn.Module
        Module in which the attributes and submodules of the trace are looked up.
    traced : torch.fx.Graph
    shape : tuple of int
        Shape of the input, batch axis of length 1 included.
    tables : (dict, dict, frozenset)
        Handlers by operation, handlers by module class, operations whose result shares memory with their input.
    outputs : tuple of int or str, optional
        Which outputs of several.
    """

    def __init__(self, root, traced, shape, tables, outputs=None):
        self.root = root
        self.traced = traced
        self.outputs = outputs
        self.operations, self.modules, self.aliasing = tables
        self.graph = Graph(shape, batched=True)
        self.values = {}
        self.dropped = []

    def run(self):
        """Convert all nodes and return the neutral graph, with its output set."""
        for node in self.traced.nodes:
            try:
                self.values[node] = getattr(self, f"_{node.op}")(node)
            except PwlnetError as error:
                if node.op == "output":
                    raise
                self.values[node] = Failed(error)
                self._fail_written(node)
        return self.graph

    def _fail_written(self, node):
        """Mark the value that a failed in-place operation writes to, and what shares its memory."""
        name = node.target if isinstance(node.target, str) else function_name(node.target)
        in_place = name in IN_PLACE or (name.endswith("_") and not name.endswith("__")) or node.kwargs.get("inplace")
        for argument in (*(node.args[:1] if in_place else ()), node.kwargs.get("out")):
            value = self.values.get(argument) if isinstance(argument, torch.fx.Node) else None
            if isinstance(value, Value):
                value.storage.version += 1
                value.tensor, value.version = self.values[node], value.storage.version

    # The six kinds of nodes of a trace.

    def _placeholder(self, node):
        return Value(self.graph.input)

    def _get_attr(self, node):
        return as_float64(operator.attrgetter(node.target)(self.root))

    def _call_module(self, node):
        module = self.root.get_submodule(node.target)
        call = Call(self.graph, *self._label(node, type(module).__name__), "", None)
        handler = self.modules.get(type(module))
        args, kwargs, found = self._arguments(node)
        if args and isinstance(args[0], Ending):
            args[0].refuse()
        if handler is None or kwargs or not found:
            call.refuse()
        return self._converted(call, handler, (module, *args), {}, Storage())

    def _call_method(self, node):
        name = node.target
        return self._applied(node, name, lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs))

    def _call_function(self, node):
        return self._applied(node, function_name(node.target), node.target)

    def _output(self, node):
        result = map_aggregate(node.args[0], self._resolved)
        tensors = [self._output_tensor(value) for value in choose(result, self.outputs, "the module", _described)]
        if len(tensors) > 1:
            flat = [self.graph.reshape(t, (1, -1), name="output") for t in tensors]
            tensors = [self.graph.concat(flat, 1, name="output")]
        self.graph.output = tensors[0]

    def _output_tensor(self, value):
        if isinstance(value, Ending):
            self.dropped.append(value)
            return value.tensor
        if isinstance(value, Failed):
            raise value.error
        if isinstance(value, Unsupported):
            refuse(value.name, value.kind, value.reason)
        if not isinstance(value, Value):
            raise ConversionError("the module returns a constant; its output must depend on its input, check its forward")
        return _read(value)

    # Operations.

    def _applied(self, node, name, run):
        label, kind = self._label(node, name)
        plain = name.removeprefix("aten::")
        if plain in ASSERTIONS:
            return None
        if isinstance(run, type) and not issubclass(run, (torch.Tensor, bool, int, float)):  # a container of outputs
            return run(*map_aggregate(node.args, self._resolved), **map_aggregate(dict(node.kwargs), self._resolved))
        args, kwargs, found = self._arguments(node)
        first = args[0] if args else None
        if plain in RANDOM:
            refuse(label, kind, "which is random")
        if not found:
            return self._evaluated(label, name, run, args, kwargs)
        if name in ("getitem", "getattr") and not isinstance(first, (Value, Ending)):
            return run(*args)
        if name == "getattr":
            plain = name = args[1]
            run, args = operator.attrgetter(name), args[:1]
        if plain in QUERIES and isinstance(first, (Value, Ending)):
            shaped = _read(first) if isinstance(first, Value) else first.tensor
            return in_float64(name, run, (probe(shaped), *args[1:]), kwargs)
        base = IN_PLACE.get(name, name)
        base = base[:-1] if base.endswith("_") and not base.endswith("__") else base
        handler = self.operations.get(base, self.operations.get(base.removeprefix("aten::")))
        call = Call(self.graph, label, kind if kind != "getattr" else name, base.removeprefix("aten::"), run)
        if handler is None:
            call.refuse()
        if isinstance(first, Ending):
            return self._after_ending(call, first, args, kwargs, handler)
        return self._called(call, handler, args, kwargs, in_place=base != name)

    def _after_ending(self, call, ending, args, kwargs, handler):
        """Apply what only moves the entries of a softmax or sigmoid to its input."""
        if call.operation in AFTER and ending.family != "argmax":
            return ending
        if call.operation not in COPIES:
            ending.refuse()
        result = self._converted(call, handler, (Value(ending.tensor), *args[1:]), kwargs, None)
        return map_aggregate(result, lambda a: ending.moved(self.graph, a.tensor) if isinstance(a, Value) else a)

    def _called(self, call, handler, args, kwargs, *, in_place):
        """Convert an operation on values; an in-place operation overwrites its first argument."""
        written = args[0] if args else None
        in_place = in_place or kwargs.pop("inplace", None) is True or _positional_inplace(handler, args)
        if not in_place:
            shared = written.storage if isinstance(written, Value) and call.operation in self.aliasing else None
            return self._converted(call, handler, args, kwargs, shared)
        if not isinstance(written, Value):
            raise InPlaceViewWrite
        result = self._converted(call, handler, args, kwargs, None)
        if isinstance(result, Ending):
            written.storage.version += 1
            return result
        written.write(_read(result))
        return written

    def _converted(self, call, handler, args, kwargs, storage):
        """Call a handler with graph tensors for values, and wrap its results."""
        args, kwargs = map_aggregate((tuple(args), kwargs), _read)
        try:
            inspect.signature(handler).bind(call, *args, **kwargs)
        except TypeError:
            call.refuse("called with arguments that are not supported")
        try:
            result = handler(call, *args, **kwargs)
        except PwlnetError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ConversionError(
                f"node {call.name!r} ({call.kind}) can't be applied to its input: {first_line(error)}; "
                "check input_shape, without the batch axis"
            ) from error
        wrapped = map_aggregate(result, lambda a: Value(a, storage) if isinstance(a, Tensor) else a)
        return wrapped

    def _evaluated(self, name, operation, run, args, kwargs):
        """Evaluate an operation on constants by torch."""
        try:
            return in_float64(operation, run, args, kwargs)
        except Exception as error:
            raise ConversionError(
                f"node {name!r} ({operation}) fails on constants: {first_line(error)}; "
                "check that the module runs in eval mode on a batch of one"
            ) from error

    def _arguments(self, node):
        """Return the arguments with nodes replaced by their values, and the list of those that depend on the input."""
        args, kwargs = map_aggregate((node.args, dict(node.kwargs)), self._resolved)
        kwargs = {{"axis": "dim", "keepdims": "keepdim"}.get(key, key): value for key, value in kwargs.items()}
        for key in ("input", "self"):
            if key in kwargs and not args:
                args = (kwargs.pop(key),)
        found, special = [], (Unsupported, Failed, Ending)
        map_aggregate((args, kwargs), lambda a: found.append(a) if isinstance(a, (Value, *special)) else None)
        if node.target in (operator.getitem, getattr) and not isinstance(args[0], special):
            return args, kwargs, found  # an entry of a tuple, others of which may have failed
        for value in found:
            if isinstance(value, Failed):
                raise value.error
            if isinstance(value, Unsupported):
                refuse(value.name, value.kind, value.reason)
            if isinstance(value, Ending) and value is not args[0]:
                value.refuse()
        return args, kwargs, found

    def _resolved(self, a):
        return self.values[a] if isinstance(a, torch.fx.Node) else a

    def _label(self, node, kind):
        """Return the node's name for errors (for a layer of torch.nn, its path), and its kind."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, owner = stack[-1] if stack else ("", "")
        path = path.removeprefix("model").removeprefix(".")
        owner = owner if isinstance(owner, str) else f"{owner.__module__}.{owner.__qualname__}"
        kind = kind.removeprefix("aten::")
        layer = owner.rpartition(".")[2]
        if owner.startswith(("torch.nn.", "torch.ao.nn.")) and not self._in_hook(stack[-1], layer, kind):
            return path or node.name, layer
        return (f"{path}.{node.name}" if path else node.name), kind

    def _in_hook(self, entry, layer, kind):
        """Whether an operation belongs to a hook of a layer instead of to the layer itself."""
        try:
            module = self.root.get_submodule(entry[0] if isinstance(entry, tuple) else "")
        except AttributeError:
            return False
        return bool(module._forward_hooks or module._forward_pre_hooks) and _plainly(kind) != _plainly(layer)


def _plainly(name):
    return name.lower().replace("_", "")


def _read(value):
    """Return the graph tensor of a value, and anything else unchanged."""
    if not isinstance(value, Value):
        return value
    if isinstance(value.tensor, Failed):
        raise value.tensor.error
    if value.version != value.storage.version:
        raise InPlaceViewWrite
    return value.tensor


def _positional_inplace(handler, args):
    names = list(inspect.signature(handler).parameters)[1:]
    return "inplace" in names and len(args) > names.index("inplace") and args[names.index("inplace")] is True


def _described(value):
    """Return a few words about an output of the module."""
    if isinstance(value, (Value, Ending)) and isinstance(value.tensor, Tensor):
        return f"shape {value.tensor.shape}"
    return "not convertible" if isinstance(value, (Failed, Unsupported)) else f"a constant {type(value).__name__}"
