"""Conversion of a traced torch graph, node by node, to the neutral graph.

Every node of the trace has a value: a `Value` if it depends on the network's input, otherwise a plain Python or torch
object. Computations on plain objects are run by torch in float64, so ``x.size(0)``, shape arithmetic and products of
weights are evaluated during conversion. Operations on values are converted by the handlers in the tables of `ops`.

An in-place operation overwrites the `Value` that it is applied to. Any other value that shares its memory (a view) is then
stale; reading a stale value raises `InPlaceViewWrite`, and the caller uses the trace of torch.export instead, which has no
in-place operations.

Only what the output depends on has to be convertible: the result of a node that is refused is an `Unsupported`, and so are
the results of what reads it and what it overwrites. The output raises the error of the first.
"""

import inspect
import operator
from dataclasses import replace

import torch
from torch.fx.node import map_aggregate

from ...errors import ConversionError, PwlnetError
from ..ends import drop_ends
from ..graph import Graph, refuse
from ..piecewise import Piecewise, is_activation
from ..seams import materialise
from .names import ASSERTIONS, MOVED_AFTER_ENDS, QUERIES, RANDOM
from .precise import as_float64, in_float64
from .unnamed import affine
from .values import Call, InPlaceViewWrite, StaleRead, Storage, Unsupported, Value, first_line, probe

IN_PLACE = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div"}


class Walker:
    """Convert a traced graph.

    Parameters
    ----------
    root : torch.nn.Module
        Module in which the attributes and submodules of the trace are looked up.
    traced : torch.fx.Graph
    shape : tuple of int
        Shape of the input, batch axis of length 1 included.
    tables : (dict, dict, frozenset, dict)
        Handlers by operation, handlers by module class, operations whose result shares memory with their input, handlers
        by operation of arguments that may jump (`Piecewise`).
    hooked : collection of str
        Paths of layers with hooks, whose operations are named instead of the layer.
    functional : bool
        Whether in-place operations of the trace only store results in the module.
    """

    def __init__(self, root, traced, shape, tables, *, hooked=(), functional=False):
        self.root = root
        self.hooked = hooked
        self.functional = functional
        self.traced = traced
        self.operations, self.modules, self.aliasing, self.of_pieces = tables
        self.graph = Graph(shape, batched=True)
        self.values = {}
        self.dropped = None

    def run(self):
        """Convert all nodes and return the neutral graph, with its output set."""
        for node in self.traced.nodes:
            self.values[node] = self._output(node) if node.op == "output" else self._value(node)
        return self.graph

    def _value(self, node):
        """Return the value of a node, or an Unsupported if it has none, and overwrite what the node writes in place."""
        try:
            value = getattr(self, f"_{node.op}")(node)
        except StaleRead as error:
            value = Unsupported(node.name, "", "", error=error)
        except PwlnetError as error:
            value = Unsupported(node.name, "", "", error=error.with_traceback(None))
        if isinstance(value, Unsupported) and not self.functional:
            for written in self._written(node):
                if not isinstance(self.values.get(written), Value):
                    raise InPlaceViewWrite
                self.values[written].fail(value)
        return value

    def _written(self, node):
        """Return the nodes whose values a node overwrites in place."""
        if node.op == "call_module":
            return node.args[:1] if getattr(self.root.get_submodule(node.target), "inplace", False) else ()
        if node.op not in ("call_function", "call_method"):
            return ()
        name = node.target if isinstance(node.target, str) else _function_name(node.target)
        first = node.args[:1] or tuple(node.kwargs[key] for key in ("input", "self") if key in node.kwargs)
        written = name in IN_PLACE or name == "setitem" or (name.endswith("_") and not name.endswith("__"))
        written = written or node.kwargs.get("inplace") is True or _positional_inplace(node.target, node.args[1:])
        outs = []
        map_aggregate(node.kwargs.get("out"), lambda a: outs.append(a) if isinstance(a, torch.fx.Node) else None)
        return [a for a in (*(first if written else ()), *outs) if isinstance(a, torch.fx.Node)]

    # The six kinds of nodes of a trace.

    def _placeholder(self, node):
        return Value(self.graph.input)

    def _get_attr(self, node):
        return as_float64(operator.attrgetter(node.target)(self.root))

    def _call_module(self, node):
        module = self.root.get_submodule(node.target)
        call = Call(self.graph, *self._label(node, type(module).__name__), "", module)
        handler = self.modules.get(type(module))
        args, kwargs, found = self._arguments(node)
        failed = next((a for a in found if isinstance(a, Unsupported)), None)
        if failed is not None:
            return replace(failed, tensor=None)
        if kwargs or not found:
            call.refuse()
        args = args if handler is None else (module, *args)
        return self._converted(call, handler or affine, args, {}, Storage())

    def _call_method(self, node):
        name = node.target
        return self._applied(node, name, lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs))

    def _call_function(self, node):
        return self._applied(node, _function_name(node.target), node.target)

    def _output(self, node):
        value = map_aggregate(node.args[0], self._resolved)
        if isinstance(value, Unsupported) and value.tensor is not None:
            self.dropped, value = drop_ends(self.graph, value.tensor), Value(value.tensor)
        if isinstance(value, Unsupported):
            value.refuse()
        if isinstance(value, (tuple, list, dict)):
            raise ConversionError(
                f"the module returns a {_container(value)} of {len(value)} entries; pwlnet needs a single tensor, "
                "wrap the module in one that returns the tensor of interest"
            )
        if not isinstance(value, Value):
            raise ConversionError("the module returns a constant; its output must depend on its input, check its forward")
        self.graph.output = _as_tensor(_read(value))

    # Operations.

    def _applied(self, node, name, run):
        args, kwargs, found = self._arguments(node)
        label, kind = self._label(node, name)
        plain, first = name.removeprefix("aten::"), args[0] if args else None
        if plain in ASSERTIONS:
            return None
        if plain in RANDOM:
            refuse(label, kind, "which is random")
        if not found:
            return self._evaluated(label, name, run, args, kwargs)
        if name in ("getitem", "getattr") and not isinstance(first, (Value, Unsupported)):
            return run(*args)
        if name == "getattr":
            plain = name = args[1]
            run, args = operator.attrgetter(name), args[:1]
        failed = next((a for a in found if isinstance(a, Unsupported)), None)
        if failed is not None:
            if plain == "log" and failed.tensor is not None and "log" not in failed.kind.lower():
                return failed
            if plain not in MOVED_AFTER_ENDS or any(not _is_end(a) for a in found):
                return replace(failed, tensor=None)
        if plain in QUERIES and isinstance(first, Value):
            return in_float64(name, run, (probe(first.tensor), *args[1:]), kwargs)
        base = IN_PLACE.get(name, name)
        base = base[:-1] if base.endswith("_") and not base.endswith("__") else base
        handler = self.operations.get(base, self.operations.get(base.removeprefix("aten::")))
        call = Call(self.graph, label, kind if kind != "getattr" else name, base.removeprefix("aten::"), run)
        result = self._called(call, handler or affine, args, kwargs, in_place=base != name)
        return result if failed is None else map_aggregate(result, lambda a: _after_end(a, failed))

    def _called(self, call, handler, args, kwargs, *, in_place):
        """Convert an operation on values; an in-place operation overwrites its first argument."""
        written = args[0] if args else None
        in_place = in_place or kwargs.pop("inplace", None) is True or _positional_inplace(handler, args)
        if not in_place:
            shared = written.storage if isinstance(written, Value) and call.operation in self.aliasing else None
            return self._converted(call, handler, args, kwargs, shared)
        if not isinstance(written, Value):
            if self.functional:
                return None
            raise InPlaceViewWrite
        result = self._converted(call, handler, args, kwargs, None)
        if isinstance(result, Unsupported):
            return result
        written.write(_read(result))
        return written

    def _converted(self, call, handler, args, kwargs, storage):
        """Call a handler with graph tensors for values, and wrap its results."""
        args, kwargs = map_aggregate((tuple(args), kwargs), _read)
        if _holds_pieces((args, kwargs)):
            handler = self.of_pieces.get(call.operation, handler)
            if call.operation not in self.of_pieces:
                args, kwargs = map_aggregate((args, kwargs), _as_tensor)
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
        wrapped = map_aggregate(result, lambda a: Value(a, storage) if is_activation(a) else a)
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
        if kwargs.get("out", 0) is None:
            del kwargs["out"]
        for key in ("input", "self"):
            if key in kwargs and not args:
                args = (kwargs.pop(key),)
        found = []
        map_aggregate((args, kwargs), lambda a: found.append(a) if isinstance(a, (Value, Unsupported)) else None)
        return args, kwargs, found

    def _resolved(self, a):
        value = self.values[a] if isinstance(a, torch.fx.Node) else a
        return value.failed if isinstance(value, Value) and value.failed is not None else value

    def _label(self, node, kind):
        """Return the node's name for errors (for a layer of torch.nn, its path), and its kind."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, owner = stack[-1] if stack else ("", "")
        path = path.removeprefix("model").removeprefix(".")
        owner = owner if isinstance(owner, str) else f"{owner.__module__}.{owner.__qualname__}"
        kind = kind.removeprefix("aten::")
        if owner.startswith(("torch.nn.", "torch.ao.nn.")) and path not in self.hooked:
            return path or node.name, owner.rpartition(".")[2]
        return (f"{path}.{node.name}" if path else node.name), kind


def _read(value):
    """Return the graph tensor of a value or of the logits that replace it, and anything else unchanged."""
    if isinstance(value, Unsupported):
        return value.tensor
    if not isinstance(value, Value):
        return value
    if value.version != value.storage.version:
        raise StaleRead
    return value.tensor


def _is_end(value):
    return isinstance(value, Unsupported) and value.tensor is not None and not value.final


def _after_end(value, failed):
    """Return a result of moving the entries of an end as such an end."""
    if not isinstance(value, Value):
        return value
    return Unsupported(failed.name, failed.kind, failed.reason, tensor=value.tensor)


def _as_tensor(a):
    return materialise(a) if isinstance(a, Piecewise) else a


def _holds_pieces(arguments):
    """Return whether a Piecewise is among the arguments."""
    found = []
    map_aggregate(arguments, lambda a: found.append(a) if isinstance(a, Piecewise) else None)
    return bool(found)


def _positional_inplace(handler, args):
    try:
        names = list(inspect.signature(handler).parameters)[1:]
    except (TypeError, ValueError):
        return False
    return "inplace" in names and len(args) > names.index("inplace") and args[names.index("inplace")] is True


def _function_name(target):
    """Return the key of a function in the tables: torch's name, ``aten::name`` for ATen, the full name for others."""
    if isinstance(target, torch._ops.OpOverload):
        space, _, name = target._schema.name.partition("::")
        return f"aten::{name}" if space == "aten" else target._schema.name
    if target is torch.batch_norm:  # other order of arguments than torch.nn.functional.batch_norm
        return "aten::batch_norm"
    name = getattr(target, "__name__", str(target))
    package = (getattr(target, "__module__", None) or "").partition(".")[0]
    return name if package in ("torch", "_operator", "operator", "builtins", "math") else f"{package}.{name}"


def _container(value):
    return next(kind.__name__ for kind in (tuple, list, dict) if isinstance(value, kind))
