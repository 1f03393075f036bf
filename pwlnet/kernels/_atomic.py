"""A shared counter from which slots that run side by side take their work."""

import threading

from llvmlite import ir
from numba.core import config, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

_LOCK = threading.Lock()


@intrinsic
def _take_next(typing_context, counter):
    """Compiled form of ``take_next``."""

    def generate(context, builder, signature, arguments):
        array = make_array(counter)(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.IntType(64)(1), "monotonic")

    return types.int64(counter), generate


def _take_next_interpreted(counter):
    """Uncompiled form of ``take_next``."""
    with _LOCK:
        value = counter[0]
        counter[0] = value + 1
    return value


# Return counter[0] of an int64[1], and add 1 to it, as one step: no two threads get the same number.
take_next = _take_next_interpreted if config.DISABLE_JIT else _take_next
