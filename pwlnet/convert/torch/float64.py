"""Evaluation of torch functions in float64 on the CPU, whatever dtypes and devices a module names."""

import torch
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode

from ..endings import AFTER
from .names import ALPHA_DROPOUTS, DROPOUTS, ENDS, KEPT, LAYOUTS

NARROW = (torch.float16, torch.bfloat16, torch.float32)
CASTS = ("float", "half", "bfloat16", "double")
MOVES = ("cuda", "cpu")
IN_PLACE = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div"}
COPIES = LAYOUTS | KEPT | DROPOUTS | ALPHA_DROPOUTS | {"clone"}  # they may follow a softmax at the end


def as_float64(value):
    """Return a tensor, dtype or device as in float64 on the CPU; anything else unchanged."""
    if isinstance(value, torch.Tensor) and value.dtype in NARROW and not value.is_quantized:
        return value.to("cpu", torch.float64)
    if isinstance(value, torch.dtype) and value in NARROW:
        return torch.float64
    return torch.device("cpu") if isinstance(value, torch.device) else value


def in_float64(name, run, args, kwargs):
    """Call a torch function on the CPU with float64 in place of every narrower floating-point dtype."""
    args, kwargs = map_aggregate((tuple(args), dict(kwargs)), as_float64)
    if name in CASTS and args and isinstance(args[0], torch.Tensor):
        return args[0].to(torch.float64)
    if name in MOVES and args and isinstance(args[0], torch.Tensor):
        return args[0]
    return as_float64(run(*args, **kwargs))


class InFloat64(TorchFunctionMode):
    """Run a module in float64 on the CPU, whatever dtypes and devices its ``forward`` names, and without a final softmax.

    For the result of a softmax, sigmoid or arg-max, and of what only moves its entries afterwards, the same computed from the
    function's input is kept; ``without_ending`` returns it.
    """

    def __init__(self):
        super().__init__()
        self.replaced = {}  # id of a result: (result, what it is without the function)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        plain = name.strip("_")
        first = args[0] if args else kwargs.get("input")
        followed = self.replaced.get(id(first), (None, None))[1]
        before = first
        if plain in ENDS and name.endswith("_"):
            before = first.clone()
        result = in_float64(name, function, args, kwargs)
        if followed is not None and plain in AFTER:
            self._keep(result, followed)
        elif followed is not None and name in COPIES and args:
            moved = in_float64(name, function, (followed, *args[1:]), kwargs)
            for one, other in zip(_tensors(result), _tensors(moved), strict=True):
                self._keep(one, other)
        elif plain in ENDS and isinstance(result, torch.Tensor):
            self._keep(result, -before if plain == "softmin" else before)
        return result

    def _keep(self, result, without):
        self.replaced[id(result)] = result, without

    def without_ending(self, output):
        """Return ``output`` as it is without a final softmax, sigmoid or arg-max."""
        return self.replaced.get(id(output), (None, output))[1]


def _tensors(result):
    found = []
    map_aggregate(result, lambda a: found.append(a) if isinstance(a, torch.Tensor) else None)
    return found


def function_name(target):
    """Return the key of a function in the tables: torch's name, ``aten::name`` for ATen, the full name for others."""
    if isinstance(target, torch._ops.OpOverload):
        space, _, name = target._schema.name.partition("::")
        return f"aten::{name}" if space == "aten" else target._schema.name
    if target is torch.batch_norm:  # other order of arguments than torch.nn.functional.batch_norm
        return "aten::batch_norm"
    name = getattr(target, "__name__", str(target))
    package = (getattr(target, "__module__", None) or "").partition(".")[0]
    return name if package in ("torch", "_operator", "operator", "builtins", "math") else f"{package}.{name}"


def first_line(error):
    """Return the first line of an error's message, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ;")
