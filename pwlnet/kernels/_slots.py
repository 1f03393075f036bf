"""Run a kernel on several slots side by side: one parallel kernel that calls any slot kernel by its address.

A slot kernel takes a pointer to the addresses and shapes of the arrays of one NamedTuple, its *slot*. The parallel loop
contains nothing but the call, so that it compiles in half a second, once for all slot kernels, and executes the same machine
code as Python threads do.
"""

import weakref

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ._pointers import pointed_type

_ADDRESSES = {}  # id of an array: (weak reference to it, address); of NamedTuples whose attribute ``is_kept`` is true


@intrinsic
def _call_slot(typing_context, address, pointer):
    """Call the slot kernel at an address; returns 0, or the status of an exception in it, which is dropped."""

    def generate(context, builder, signature, values):
        convention = context.call_conv
        kind = convention.get_function_type(types.none, (types.voidptr,))
        result, failure = (cgutils.alloca_once_value(builder, cgutils.get_null_value(x.pointee)) for x in kind.args[:2])
        slot = builder.inttoptr(values[1], ir.IntType(8).as_pointer())
        status = builder.call(builder.inttoptr(values[0], kind.as_pointer()), [result, failure, slot])
        return builder.sext(status, ir.IntType(64))

    return types.int64(types.int64, types.int64), generate


def call_slot(address, pointer, status_out):
    """Call a slot kernel. Out: status_out int64[1], 0 where it raised nothing."""
    status_out[0] = _call_slot(address, pointer)


def call_slots(address, pointers, status_out):
    """Call a slot kernel with each of the pointers int64[T], side by side. Out: status_out int64[T]."""
    for k in numba.prange(pointers.shape[0]):
        status_out[k] = _call_slot(address, pointers[k])


def slot_address(kernel, slot, addresses={}):  # noqa: B006  a cache, which lives as long as the process
    """Compile a slot kernel for slots like this one, or load it from the cache, and return its address."""
    key = (kernel, *_array_types(slot))
    if key not in addresses:
        kinds = (pointed_type(numba.typeof(slot)),)
        kernel.compile(kinds)
        result = kernel.overloads[kinds]
        addresses[key] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return addresses[key]


def _array_types(slot):
    """List what the machine code depends on: classes, dtypes and numbers of axes."""
    kinds = [type(slot)]
    for field in slot:
        kinds += [(field.dtype.char, field.ndim)] if isinstance(field, np.ndarray) else _array_types(field)
    return kinds


def slot_words(slot):
    """List the addresses and shapes of the arrays of a slot, as its kernel reads them."""
    words, address = [], _kept_address if getattr(slot, "is_kept", False) else _address
    for field in slot:
        if isinstance(field, np.ndarray):
            if not field.flags.c_contiguous:
                raise ValueError(f"a slot has an array of strides {field.strides}; kernels read C-contiguous arrays")
            words.append(address(field))
            words += field.shape
        else:
            words += slot_words(field)
    return words


def _address(array):
    return array.ctypes.data


def _kept_address(array):
    """Return the address of an array that is kept from call to call, and never resized; NumPy takes a microsecond for it."""
    key = id(array)
    entry = _ADDRESSES.get(key)
    if entry is None or entry[0]() is not array:
        entry = weakref.ref(array, lambda _: _ADDRESSES.pop(key, None)), array.ctypes.data
        _ADDRESSES[key] = entry
    return entry[1]
