"""Evaluation of torch code in float64 on the CPU, with the functions at the end of a classifier followed to their logits."""

import torch
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode

from .names import ENDS, MOVED_AFTER_ENDS

NARROW = (torch.float16, torch.bfloat16, torch.float32)
CASTS = ("float", "half", "bfloat16", "double")
MOVES = ("cuda", "cpu")


def as_float64(value):
    """Return a tensor or dtype of narrower floats as float64, a device as the CPU, anything else unchanged."""
    if isinstance(value, torch.Tensor) and value.dtype in NARROW and not value.is_quantized:
        return value.to("cpu", torch.float64)
    if isinstance(value, torch.dtype) and value in NARROW:
        return torch.float64
    return torch.device("cpu") if isinstance(value, torch.device) else value


def in_float64(name, run, args, kwargs):
    """Call a torch function on the CPU with float64 in place of every narrower floating-point dtype."""
    if not all(_is_plain(a) for a in (*args, *kwargs.values())):
        args, kwargs = map_aggregate((tuple(args), dict(kwargs)), as_float64)
    if name in CASTS and args and isinstance(args[0], torch.Tensor):
        return args[0].to(torch.float64)
    if name in MOVES and args and isinstance(args[0], torch.Tensor):
        return args[0]
    return as_float64(run(*args, **kwargs))


def _is_plain(a):
    """Return whether a value stays as it is, which spares the search in containers."""
    return a is None or isinstance(a, (bool, int, float)) or (isinstance(a, torch.Tensor) and a.dtype == torch.float64)


class InFloat64(TorchFunctionMode):
    """Run a module in float64 on the CPU, whatever dtypes and devices its ``forward`` names.

    For every result of a softmax or sigmoid, and what later operations make of it by moving its entries, the mode also
    computes what comes out if that function is left out: ``without_softmax`` returns it.
    """

    def __init__(self):
        super().__init__()
        self.followed = {}  # id: (tensor, its value without the function at the end)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = _name(function)
        base = name[:-1] if name.endswith("_") else name
        before = args[0] if args else kwargs.get("input")
        if base in ENDS and base != name and isinstance(before, torch.Tensor):
            before = before.clone()  # overwritten in place
        result = in_float64(getattr(function, "__name__", ""), function, args, kwargs)
        if base in ENDS and isinstance(before, torch.Tensor):
            with torch.no_grad():
                self._follow(result, -before if base == "softmin" else before)
        elif self.followed:
            self._moved(name, function, args, kwargs, result)
        return result

    def _moved(self, name, function, args, kwargs, result):
        found = []
        map_aggregate((tuple(args), dict(kwargs)), lambda a: found.append(a) if id(a) in self.followed else None)
        if not found:
            return
        if name == "log":
            self._follow(result, self.followed[id(found[0])][1])
        elif name in MOVED_AFTER_ENDS and all(a.shape == self.followed[id(a)][1].shape for a in found):
            replaced = map_aggregate(
                (tuple(args), dict(kwargs)), lambda a: self.followed[id(a)][1] if id(a) in self.followed else a
            )
            self._follow(result, in_float64(name, function, *replaced))
        elif isinstance(result, torch.Tensor):
            self.followed.pop(id(result), None)

    def _follow(self, result, logits):
        if isinstance(result, torch.Tensor):
            self.followed[id(result)] = result, as_float64(logits)
        elif isinstance(result, (tuple, list)):
            for one, other in zip(result, logits, strict=True):
                self._follow(one, other)

    def without_softmax(self, output):
        """Return ``output`` without the softmax or sigmoid at its end, or ``output`` if there is none."""
        return self.followed[id(output)][1] if id(output) in self.followed else output


def _name(function):
    name = getattr(function, "__name__", "")
    if name == "__get__":  # an attribute such as Tensor.T
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return name.strip("_") if name.startswith("__") else name
