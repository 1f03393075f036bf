"""The decorators of all kernels; the only file that names Numba's options.

Python calls *entry* kernels, and these call *inner* ones. An entry is compiled in one piece with all kernels below it, and kept
on disk; there is no separate machine code of an inner kernel (``_linking.py``). An entry passes each NamedTuple of arrays on as
one pointer, and arrays without their reference counts (``_pointers.py``). What only some networks need is compiled separately
and called by its address (``_addresses.py``). *Slot* kernels run on several threads side by side (``_slots.py``). A literal as
an argument compiles a kernel once more, for that value, so constants that kernels pass on are NumPy scalars. An array assigned
to a slice (``x[:] = y``), an array expression (``x += w * y``) and ``np.argsort`` take Numba seconds: ``arrays.py`` has short
kernels in their place. ``matrix_view`` replaces a slice and a ``reshape``.

``nogil`` lets callers run kernels on many lines from plain threads: no threading layer, dynamic scheduling, Ctrl-C works,
and it is safe inside dask's worker threads (Numba's workqueue layer is not). ``error_model="numpy"`` gives inf for 1/0
without a branch. No ``fastmath``: it reorders sums and breaks NaN checks; ``summing_kernel`` allows the first.

There are three modes with the same results. ``LINKED`` is as described. ``PLAIN`` compiles each kernel by ``njit``, which takes
three times as long: where Numba's internals are not as expected, and with ``PWLNET_PLAIN_NJIT=1``. In ``PYTHON``, with
``NUMBA_DISABLE_JIT=1``, kernels are Python functions.

Compiled kernels are kept on disk. Numba notices a change of a kernel's own file only, not of the kernels it calls, so the
folder is named after a digest of all kernel sources, those in subfolders included, and of their paths: a new version never
runs an old version's machine code. ``PWLNET_NUMBA_CACHE=0`` turns the cache off.
"""

import contextlib
import functools
import hashlib
import os
from pathlib import Path

import numba
import numpy as np
from numba.core import config

from ._cache import exclusive as _exclusive
from ._cache import guard
from ._notice import start_clock

try:
    from . import _slots
    from ._addresses import call_address, kernel_address
    from ._linking import EntryCompiler, InnerCompiler, InnerDispatcher, find_problem
    from ._pointers import borrow
    from ._views import matrix_view as _matrix_view

    LINKING_PROBLEM = find_problem()
except (ImportError, AttributeError, TypeError) as error:  # another Numba
    LINKING_PROBLEM = f"{type(error).__name__}: {error}"

_HERE = Path(__file__).parent
ZERO, ONE, TWO = np.int64(0), np.int64(1), np.int64(2)
LINKED, PLAIN, PYTHON = "linked", "plain", "python"


def _mode():
    """Choose how kernels are compiled; ``LINKING_PROBLEM`` says why they are not linked where Numba prevents it."""
    if config.DISABLE_JIT:
        return PYTHON
    return PLAIN if LINKING_PROBLEM or os.environ.get("PWLNET_PLAIN_NJIT", "0") == "1" else LINKED


MODE = _mode()


def _cache_folder():
    """Return the folder for compiled kernels, or None where nothing can be kept."""
    if os.environ.get("PWLNET_NUMBA_CACHE", "1") == "0":
        return None
    sha = hashlib.sha256(MODE.encode())
    for path in sorted(_HERE.rglob("*.py")):
        sha.update(f"{path.relative_to(_HERE).as_posix()}\0".encode())
        sha.update(path.read_bytes())
    name = f"pwlnet-{sha.hexdigest()[:16]}"
    for base in [lambda: Path(config.CACHE_DIR)] if config.CACHE_DIR else [lambda: _HERE / "__pycache__", _user_folder]:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # RuntimeError: no HOME, and a user without a name
            folder = base() / name
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return str(folder)
    return None


def _user_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pwlnet"


CACHE_FOLDER = _cache_folder()


def _compiled(function, pipeline=None, **options):
    """Compile a kernel on first call, with pwlnet's options."""
    before = config.CACHE_DIR
    try:
        config.CACHE_DIR = CACHE_FOLDER or before
        cached = CACHE_FOLDER is not None
        options = {"cache": cached, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True} | options
        if pipeline is not None:
            options |= {"pipeline_class": pipeline, "no_rewrites": True}
        try:
            made = numba.njit(**options)(function)
        except (OSError, RuntimeError):  # the folder can't be used after all: full, or removed by another program
            return numba.njit(**options | {"cache": False})(function)
        if options["cache"] and hasattr(made, "_cache"):  # not with NUMBA_DISABLE_JIT=1: `made` is the function
            guard(made, CACHE_FOLDER, lambda folder: _exclusive(folder))
        return made
    finally:
        config.CACHE_DIR = before


def _inner(function, **options):
    """Lower a kernel that only kernels call."""
    if MODE != LINKED:
        return _compiled(function, **options)
    made = _compiled(function, InnerCompiler, cache=False, nogil=False, no_cpython_wrapper=True, **options)
    made.__class__ = InnerDispatcher
    return made


def entry_kernel(function):
    """Compile a kernel that Python calls, with all kernels below it. It may allocate arrays, and returns none.

    Its arrays outlive the call, so they are passed on without reference counts, and NamedTuples of arrays as pointers.
    """
    if MODE == PYTHON:
        return function
    if MODE == PLAIN:
        return allocating_kernel(function)
    return _compiled(_forwarding(function, allocating_kernel(function)), EntryCompiler, _nrt=False)


def _forwarding(function, inner):
    """Make the function that an entry is compiled from: it borrows its arguments and calls the kernel with them.

    It takes the name and place of ``function``, by which Numba files it in the cache.
    """
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    borrowed = ", ".join(f"borrow({name})" for name in names)
    scope = {"inner": inner, "borrow": borrow, "__name__": function.__module__}
    exec(f"def entry({', '.join(names)}):\n    return inner({borrowed})\n", scope)
    made = functools.update_wrapper(scope["entry"], function)
    del made.__wrapped__
    origin = function.__code__
    made.__code__ = made.__code__.replace(co_filename=origin.co_filename, co_firstlineno=origin.co_firstlineno)
    return made


def kernel(function):
    """Compile an inner kernel that allocates nothing and returns no arrays: it counts no references."""
    return _inner(function, _nrt=False)


def inlined_kernel(function):
    """Compile an inner kernel that becomes part of its callers."""
    return _inner(function, _nrt=False, forceinline=True)


def summing_kernel(function):
    """Compile an inlined kernel whose sums may be taken in any order, so that they use the processor's vectors.

    Their bits depend on the processor and on the number of terms, on nothing else. NaN and infinities are as elsewhere.
    """
    return _inner(function, _nrt=False, forceinline=True, fastmath={"reassoc", "contract", "nsz"})


def finite_kernel(function):
    """Compile an inlined kernel whose values are never NaN, so that its largest value is found by the processor's vectors.

    No sum is reordered, so its bits are those of ``inlined_kernel``.
    """
    return _inner(function, _nrt=False, forceinline=True, fastmath={"nnan", "nsz"})


def allocating_kernel(function):
    """Compile an inner kernel that allocates arrays."""
    return _inner(function, _nrt=True)


def separate_kernel(function):
    """Compile a kernel that kernels call by its address (``by_address``), for the networks that need it. It returns nothing."""
    if MODE != LINKED:
        return allocating_kernel(function)
    return _compiled(function, EntryCompiler, nogil=False, no_cpython_wrapper=True, _nrt=True)


def slot_kernel(function):
    """Compile a kernel of one argument, a slot (``_slots.py``), that runs on several slots side by side and returns nothing."""
    return separate_kernel(function)


def parallel_kernel(function):
    """Compile a loop whose iterations run side by side."""
    return _compiled(function, parallel=True)  # by Numba's own pipeline


def by_address(kernel):
    """Return what kernels call a ``separate_kernel`` with: its address and a tuple of its arguments."""
    if MODE == LINKED:
        return call_address

    def call(address, arguments):
        kernel(*arguments)

    return call if MODE == PYTHON else _compiled(call, cache=False, _nrt=True)


def address_of(kernel, *examples):
    """Compile a ``separate_kernel`` for arguments like ``examples``, or load it from the cache, and return its address."""
    return kernel_address(kernel, *examples) if MODE == LINKED else 0


def inline_view(function):
    """Compile a short kernel that returns a view of one of its arguments; it becomes part of its callers' source."""
    return _compiled(function, EntryCompiler if MODE == LINKED else None, inline="always")


def _sliced_view(vector, first, rows, columns):
    """View ``rows * columns`` entries of a vector from ``first`` on as a matrix."""
    return vector[first : first + rows * columns].reshape(rows, columns)


matrix_view = _matrix_view if MODE == LINKED else inline_view(_sliced_view)


def address_and_words(kernel, slots):
    """Return the address of a slot kernel's machine code, and what it reads of each slot: int64[T, words]."""
    words = np.array([_slots.slot_words(slot) for slot in slots], np.int64)
    return _slots.slot_address(kernel, slots[0]), words


if MODE == LINKED:
    call_slot, call_slots = entry_kernel(_slots.call_slot), parallel_kernel(_slots.call_slots)


def compile_seconds():
    """Return how many seconds this process has spent in compiling kernels."""
    return CLOCK.seconds


CLOCK = start_clock(__package__, is_kept=CACHE_FOLDER is not None)
