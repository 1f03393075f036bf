"""Call a kernel by its address: compiled separately, when a network needs it, and linked with none of its callers."""

import numba
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from ._pointers import Pointed, pointed_type


def _argument_type(example):
    """Return the type of an argument as entries pass it on."""
    kind = numba.typeof(example)
    return pointed_type(kind) or kind


def kernel_address(kernel, *examples):
    """Compile a kernel for arguments like ``examples``, or load it from the cache, and return its address."""
    kinds = tuple(_argument_type(example) for example in examples)
    kernel.compile(kinds)
    result = kernel.overloads[kinds]
    return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)


@intrinsic
def call_address(typing_context, address, arguments):
    """Call the kernel at an address with a tuple of pointers, int64 and float64; it returns nothing."""
    kinds = arguments.types
    if not all(isinstance(kind, Pointed) or kind in (types.int64, types.float64) for kind in kinds):
        raise TypingError(f"a kernel is called by its address with pointers, int64 and float64 only, not {kinds}")

    def generate(context, builder, signature, values):
        convention = context.call_conv
        kind = convention.get_function_type(types.none, kinds)
        result, failure = (cgutils.alloca_once_value(builder, cgutils.get_null_value(x.pointee)) for x in kind.args[:2])
        with cgutils.if_unlikely(builder, builder.icmp_unsigned("==", values[0], values[0].type(0))):
            convention.return_user_exc(builder, RuntimeError, ("the kernel at this address has not been loaded",))
        packed = context.get_arg_packer(kinds).as_arguments(builder, cgutils.unpack_tuple(builder, values[1], len(kinds)))
        code = builder.call(builder.inttoptr(values[0], kind.as_pointer()), [result, failure, *packed])
        status = convention._get_return_status(builder, code, builder.load(failure))
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.none(types.int64, arguments), generate
