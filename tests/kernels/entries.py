"""Calling inner kernels from tests."""

import functools

from pwlnet.kernels import _jit


@functools.cache
def entry(kernel):
    """Give an entry kernel that does what an inner kernel does, which Python can't call."""
    return _jit.entry_kernel(kernel.py_func) if _jit.MODE == _jit.LINKED else kernel


class Entries:
    """A module of kernels whose inner kernels can be called: ``Entries(affine).apply_linear(...)``."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        found = getattr(self._module, name)
        return entry(found) if isinstance(found, _inner_type()) else found


def _inner_type():
    return _jit.InnerDispatcher if _jit.MODE == _jit.LINKED else ()
