"""Symbolic traces by torch.fx: which layers are recorded as one call, writes in place, conditions that do not matter."""

import dis
import operator
from pathlib import Path

import torch
from torch import fx, nn

from .names import THROUGH_LAYERS

MAX_CONDITIONS = 6
THROUGH = {getattr(nn, name) for name in THROUGH_LAYERS}


class _Proxy(fx.Proxy):
    """A proxy that records ``x += y`` as an in-place operation, as torch executes it, and can be printed."""

    def __format__(self, spec):
        return repr(self)


def _recorded(function):
    def record(self, other):
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for _function in (operator.iadd, operator.isub, operator.imul, operator.itruediv):
    setattr(_Proxy, f"__{_function.__name__}__", _recorded(_function))


class _Undecided(BaseException):
    """The code of the module asks for a condition that depends on the input."""


class _Tracer(fx.Tracer):
    """Trace through the layers of torch.nn whose functions have handlers; record all other layers as one call."""

    proxy_buffer_attributes = True

    def __init__(self, decisions=()):
        super().__init__(param_shapes_constant=True)
        self.decisions = list(decisions)

    def is_leaf_module(self, m, module_qualified_name):
        hooked = m._forward_hooks or m._forward_pre_hooks  # a layer recorded as one call would lose them
        return type(m).__module__.startswith(("torch.nn.", "torch.ao.nn.")) and type(m) not in THROUGH and not hooked

    def to_bool(self, obj):
        """Return the next decision about a condition that depends on the input."""
        if not self.decisions:
            raise _Undecided
        return self.decisions.pop(0)

    def proxy(self, node):
        return _Proxy(node, self)

    def trace(self, root, concrete_args=None):
        self.states = {id(state): name for name, state in (*root.named_buffers(), *root.named_parameters())}
        return super().trace(root, concrete_args)

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        """Return the proxy of a parameter or buffer; the method of fx.Tracer searches all of them at each access."""
        name = self.states.get(id(attr_val)) if isinstance(attr_val, torch.Tensor) else None
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:

            def factory(node):
                return fx.proxy.ParameterProxy(self, node, name, attr_val)

            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {}, proxy_factory_fn=factory)
        return parameter_proxy_cache[name]


def trace(root, decisions=()):
    """Trace a module; a condition on values is followed both ways, and must not matter unless one way raises an error.

    Parameters
    ----------
    root : torch.nn.Module
    decisions : tuple of bool
        About the first conditions that the module asks for.

    Returns
    -------
    torch.fx.Graph

    Raises
    ------
    Exception
        The module cannot be traced, or branches on a value.
    """
    try:
        return _Tracer(decisions).trace(root)
    except _Undecided:
        pass
    branches, errors = [], []
    for value in (True, False) if len(decisions) < MAX_CONDITIONS else ():
        try:
            branches.append(trace(root, (*decisions, value)))
        except Exception as error:
            if not _raised_by_source(error):
                raise
            errors.append(error)
    if not branches or any(str(branch) != str(branches[0]) for branch in branches):
        raise (
            errors[0] if errors and not branches else fx.proxy.TraceError("its control flow depends on the values of a tensor")
        )
    return branches[0]


def _raised_by_source(error):
    """Return whether a ``raise`` or ``assert`` in the code of the module raised an error, and not torch."""
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    inside_torch = Path(torch.__file__).parent in Path(last.tb_frame.f_code.co_filename).parents
    return not inside_torch and last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]
