"""The decorators of all kernels; the only file that spells Numba's options.

``nogil`` lets callers run kernels on many lines from plain threads: no threading layer, dynamic scheduling, Ctrl-C works,
and it is safe inside dask's worker threads (Numba's workqueue layer is not). ``error_model="numpy"`` gives inf for 1/0
without a branch. No ``fastmath``: it reorders sums and breaks NaN checks; ``summing_kernel`` allows the first.
``no_cfunc_wrapper`` leaves out entry points for C, a sixth of the compile time.

A literal as an argument compiles a kernel once more, for that value; constants that kernels pass on are NumPy scalars.

Compiled kernels are kept on disk. Numba notices a change of a kernel's own file only, not of the kernels it calls, so the
folder is named after a digest of all kernel sources, those in subfolders included, and of their paths: a new version never
runs an old version's machine code.
``PWLNET_NUMBA_CACHE=0`` turns the cache off.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import numba
import numpy as np
from numba.core import cgutils, config
from numba.extending import intrinsic

_HERE = Path(__file__).parent
ZERO, ONE, TWO = np.int64(0), np.int64(1), np.int64(2)


def _cache_folder():
    """Folder for compiled kernels, or None where nothing can be kept."""
    if os.environ.get("PWLNET_NUMBA_CACHE", "1") == "0":
        return None
    sha = hashlib.sha256()
    for path in sorted(_HERE.rglob("*.py")):
        sha.update(f"{path.relative_to(_HERE).as_posix()}\0".encode())
        sha.update(path.read_bytes())
    name = f"pwlnet-{sha.hexdigest()[:16]}"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for base in [Path(config.CACHE_DIR)] if config.CACHE_DIR else [_HERE / "__pycache__", home / "pwlnet"]:
        folder = base / name
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return str(folder)
    return None


CACHE_FOLDER = _cache_folder()


def _compiled(function, **options):
    """Compile a kernel on first call, with pwlnet's options."""
    before = config.CACHE_DIR
    try:
        config.CACHE_DIR = CACHE_FOLDER or before
        options |= {"cache": CACHE_FOLDER is not None, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
        return numba.njit(**options)(function)
    finally:
        config.CACHE_DIR = before


def kernel(function):
    """Compile a kernel that allocates nothing and returns no arrays: it counts no references."""
    return _compiled(function, _nrt=False)


def inlined_kernel(function):
    """A kernel that becomes part of its callers.

    A call passes each array as a handful of words, so passing a tuple of buffers costs more than a short kernel does.
    """
    return _compiled(function, _nrt=False, forceinline=True)


def summing_kernel(function):
    """An inlined kernel whose sums may be taken in any order, so that they use the processor's vectors.

    Their bits depend on the processor and on the number of terms, on nothing else. NaN and infinities are as elsewhere.
    """
    return _compiled(function, _nrt=False, forceinline=True, fastmath={"reassoc", "contract", "nsz"})


def allocating_kernel(function):
    """A kernel that allocates arrays."""
    return _compiled(function, _nrt=True)


def inline_view(function):
    """A short kernel that returns a view of one of its arguments; it becomes part of its callers' source."""
    return _compiled(function, inline="always")


def inline_source(function):
    """A kernel with one caller, which becomes part of its caller's source.

    LLVM optimises a kernel's callees once more with every kernel above them, so large kernels are kept few levels deep.
    """
    return _compiled(function, inline="always")


@intrinsic
def _without_refcount(typing_context, array):
    """The array's header with no owner."""

    def generate(context, builder, signature, arguments):
        header = context.make_array(array)(context, builder, arguments[0])
        header.meminfo = cgutils.get_null_value(header.meminfo.type)
        header.parent = cgutils.get_null_value(header.parent.type)
        return header._getvalue()

    return array(array), generate


@allocating_kernel
def _without_refcount_compiled(array):
    """Compiled form of ``borrowed``."""
    return _without_refcount(array)


def _identity(array):
    """Uncompiled form of ``borrowed``."""
    return array


# View an array that outlives the call, without its reference count. Every view that a kernel takes of a counted array costs
# two atomic operations, which was a fifth of the line kernels' time.
without_refcount = _identity if config.DISABLE_JIT else _without_refcount_compiled
