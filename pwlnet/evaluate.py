"""Values, pre-activations, states and Jacobians of a network at many points, on all threads.

Batches are cut into chunks of whole tiles, and kernels release the GIL, so plain threads run them side by side; a row's
bits don't depend on the cut (kernels/ir/passes.py).

Legend: B rows, D inputs, O outputs, K neurons.
"""

import contextlib
import functools
import numbers
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from .errors import InputError, ShapeError
from .kernels.ir import passes
from .kernels.ir import program as ir

_FEW_BYTES = 2**26  # of values that forward_low_memory computes together


def n_threads(threads=None):
    """Number of threads to use: the argument, else NUMBA_NUM_THREADS, else the processors this process may use."""
    if threads is None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return max(1, min(numba.config.NUMBA_NUM_THREADS, available or 1))
    if not isinstance(threads, numbers.Integral) or threads < 1:
        raise InputError(f"threads is {threads!r}; a positive whole number is needed, or None for all processors")
    return int(threads)


@functools.cache
def _blas_controller():
    import scipy.linalg.cython_blas  # noqa: F401  the BLAS that compiled kernels call
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


class _Blas:
    """How many callers keep BLAS on one thread at the moment; the first one limits it, the last one restores it."""

    lock = threading.Lock()
    callers = 0
    limiter = None


@contextlib.contextmanager
def single_threaded_blas():
    """Keep BLAS on one thread: kernels call it from threads of their own, and its bits must not depend on a setting."""
    with _Blas.lock:
        if _Blas.callers == 0:
            _Blas.limiter = _blas_controller().limit(limits=1, user_api="blas")
        _Blas.callers += 1
    try:
        yield
    finally:
        with _Blas.lock:
            _Blas.callers -= 1
            if _Blas.callers == 0:
                _Blas.limiter.restore_original_limits()


def run_chunks(work, n_items, chunk, threads=None):
    """Call ``work(first, last)`` for consecutive chunks of ``n_items`` items, on threads.

    An exception, Ctrl-C among them, is passed on once the chunks at hand are done; those that wait are dropped.
    """
    bounds = [(k, min(k + chunk, n_items)) for k in range(0, n_items, chunk)]
    with single_threaded_blas():
        if len(bounds) <= 1 or n_threads(threads) == 1:
            for first, last in bounds:
                work(first, last)
            return
        with ThreadPoolExecutor(n_threads(threads)) as pool:
            try:
                for future in [pool.submit(work, first, last) for first, last in bounds]:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def check_shape(shape, n_inputs, input_shape, name):
    """Refuse points that are neither [B, D] nor [B, *input_shape]."""
    wanted = {(n_inputs,), tuple(input_shape)}
    if not shape or tuple(shape[1:]) not in wanted:
        forms = " or ".join(str(("rows", *form)).replace("'", "") for form in sorted(wanted, key=len))
        raise ShapeError(f"{name} has shape {tuple(shape)}, but the network takes {n_inputs} inputs; give {forms}")


def as_rows(points, n_inputs, input_shape, name, first_row=0):
    """Turn points [B, D], [B, *input_shape], or one point of either form, into float64[B, D].

    ``first_row`` is the number of the first one in messages.

    Raises
    ------
    InputError
        Not real numbers, or not finite.
    ShapeError
        Another number of inputs.
    """
    try:
        array = np.asarray(points)
    except ValueError:
        raise InputError(f"{name} has rows of different lengths; give an array with {n_inputs} numbers per row") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; real numbers are needed, convert it to float64")
    if array.shape in (tuple(input_shape), (n_inputs,)) and array.ndim:
        array = array[None]
    check_shape(array.shape, n_inputs, input_shape, name)
    rows = np.ascontiguousarray(array.reshape(array.shape[0], n_inputs), np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise InputError(
            f"{name} has {bad.size} rows with NaN or infinite entries, the first is row {first_row + bad[0]}; remove them"
        )
    return rows


def forward(code, points, *, outputs=False, preactivations=False, states=False, threads=None):
    """Evaluate rows; returns (outputs [B, O], preactivations [B, K], states [B, K]), those not asked for with no rows."""
    n = points.shape[0]
    out = np.empty((n if outputs else 0, int(code.op_table[-1, ir.N_OUTPUTS])))
    pre = np.empty((n if preactivations else 0, int(code.op_table[-1, ir.NEURON])))
    sta = np.empty((n if states else 0, int(code.op_table[-1, ir.NEURON])), np.int32)

    size = passes.TILE * int(code.op_table[-1, ir.VALUE])

    def work(first, last):
        chunk = slice(first, last)
        scratch = np.zeros(size), np.empty((passes.TILE, sta.shape[1]), np.int32)
        passes.forward(code, points[chunk], passes.TILE, *scratch, out[chunk], pre[chunk], sta[chunk])

    run_chunks(work, n, _chunk(n, threads), threads)
    return out, pre, sta


def forward_low_memory(code, points, *, preactivations=False):
    """Evaluate a few rows of a large network: (preactivations [B, K] or [0, K], states [B, K]), with the bits of ``forward``.

    ``forward`` takes the memory of a whole tile, however few its rows. Here only rows that are filled are touched, and of a
    large network not many at a time.
    """
    n, k, size = len(points), int(code.op_table[-1, ir.NEURON]), int(code.op_table[-1, ir.VALUE])
    pre, sta = np.empty((n if preactivations else 0, k)), np.empty((n, k), np.int32)
    at_once = int(min(max(1, _FEW_BYTES // (8 * size)), passes.TILE))
    scratch = np.zeros(passes.TILE * size), np.empty((passes.TILE, k), np.int32)
    with single_threaded_blas():
        passes.forward(code, points, np.int64(at_once), *scratch, np.empty((0, 0)), pre, sta)
    return pre, sta


def truncate_program(code, i):
    """The code of the part of a network that ends with op i; its outputs mean nothing."""
    op_table = code.op_table[: i + 2].copy()
    op_table[-1, : ir.N_OUTPUTS + 1] = code.op_table[-1, : ir.N_OUTPUTS + 1]
    op_table.setflags(write=False)  # as the whole code's: kernels are compiled for read-only arrays
    return code._replace(op_table=op_table)


def select_outputs(code, outputs):
    """The code of a network with the outputs int64[C] alone, in that order: what isn't read isn't computed."""
    op_table, first = code.op_table.copy(), code.op_table[-1, ir.OUTPUTS]
    op_table[-1, ir.OUTPUTS], op_table[-1, ir.N_OUTPUTS] = len(code.indices), len(outputs)
    indices = np.concatenate([code.indices, code.indices[first + outputs]])
    for array in (op_table, indices):
        array.setflags(write=False)  # as the whole code's
    return code._replace(op_table=op_table, indices=indices)


def jacobians(code, states, threads=None):
    """Jacobians float64[B, O, D] of the affine pieces with states int32[B, K]."""
    out = np.empty((states.shape[0], int(code.op_table[-1, ir.N_OUTPUTS]), int(code.op_table[-1, ir.N_INPUTS])))
    run_chunks(
        lambda first, last: passes.jacobians(code, states[first:last], out[first:last]),
        states.shape[0],
        max(1, -(-states.shape[0] // (4 * n_threads(threads)))),
        threads,
    )
    return out


def _chunk(n_rows, threads):
    """Rows per chunk: whole tiles, about four chunks per thread."""
    tiles = -(-n_rows // passes.TILE)
    return max(1, -(-tiles // (4 * n_threads(threads)))) * passes.TILE
