"""Run compiled kernels and Python functions on several threads, with results in order and in bounded memory.

Most of the work is done by kernels that run on *slots*, one per thread. Each slot has its own buffers and takes its next item
from a counter that all slots share (``kernels/_atomic.py``), so that the load is balanced dynamically; results do not depend on
the number of slots. ``run_slots`` runs them in one ``@njit(parallel=True)`` kernel, or on Python threads where that would be
unsafe; both execute the same machine code.

``look_ahead`` computes the next results on a background thread while the consumer uses the ones before; ``map_chunks`` applies
a Python function to chunks.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

from .kernels import _jit
from .validation import check_count

_POLL = 1.0  # seconds after which a waiting thread checks whether its consumer still exists


def n_threads(threads: int | None = None) -> int:
    """Return the number of threads: the argument, or the processors available to the process, at most NUMBA_NUM_THREADS."""
    if threads is None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # numba sets it from the environment
        return max(1, min(most, available or 1))
    return check_count(threads, "threads", or_none="all processors")


@functools.cache
def _blas_libraries():
    import scipy.linalg.cython_blas  # noqa: F401  the BLAS that compiled kernels call
    import threadpoolctl

    return threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers


class _Blas:
    """The number of callers that limit BLAS to one thread; the first one sets the limit, the last one restores the old one."""

    lock = threading.Lock()
    callers = 0
    before: Sequence[int] = ()  # numbers of threads of the libraries


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread: kernels call it from several threads, and results must not depend on its settings."""
    libraries = _blas_libraries()
    with _Blas.lock:
        if _Blas.callers == 0:
            _Blas.before = [library.num_threads for library in libraries]
            _set_blas([1] * len(libraries))
        _Blas.callers += 1
    try:
        yield
    finally:
        with _Blas.lock:
            _Blas.callers -= 1
            if _Blas.callers == 0:
                _set_blas(_Blas.before)


def _set_blas(numbers):
    """Set the number of threads of each BLAS library."""
    for library, number in zip(_blas_libraries(), numbers, strict=True):
        if library.num_threads != number:
            # threadpoolctl 3.8 ignores all threads but the first one that sets a number, unless that is forgotten
            release = getattr(library, "clear_controlling_thread", None)
            if release is not None:
                release(force=True)
            library.set_num_threads(number)
            if release is not None:
                release(force=True)


class Execution(NamedTuple):
    """How slots run in parallel: ``kind`` is "parallel" (one parallel kernel) or "threads" (Python threads); the reason."""

    kind: str
    reason: str
    layer: str | None  # Numba's threading layer: omp, tbb, workqueue; None before it is known
    n_threads: int


def execution(n_slots: int | None = None) -> Execution:
    """Return how pwlnet runs kernels on several threads in this process at present, and why.

    By default, slots run in one parallel kernel. Python threads run the same machine code, with the same results, where a
    parallel kernel would be unsafe: in a forked child, which OpenMP terminates; with Numba's workqueue layer, which terminates
    the process if two threads call it; in a worker of dask or multiprocessing, where it would use processors of other workers;
    with more threads than NUMBA_NUM_THREADS. ``PWLNET_EXECUTION=threads`` selects Python threads.

    Parameters
    ----------
    n_slots : int, optional
        Number of threads; by default that of ``threads=None``.

    Returns
    -------
    Execution
    """
    n = n_threads() if n_slots is None else n_slots
    layer, reason = None, _reason_for_threads(n)
    if not reason:
        layer = _threading_layer()
        if layer not in ("omp", "tbb"):
            reason = f"Numba's threading layer is {layer or 'missing'}, which is not safe for concurrent callers"
    if reason:
        return Execution("threads", reason, layer, n)
    return Execution("parallel", f"one parallel kernel, threading layer {layer}", layer, n)


def _reason_for_threads(n):
    """Return why slots must run on Python threads for any threading layer; empty if a parallel kernel can run them."""
    if os.environ.get("PWLNET_EXECUTION", "") == "threads":
        return "PWLNET_EXECUTION is threads"
    if _jit.MODE != _jit.LINKED:
        return f"kernels are compiled in the {_jit.MODE} mode"
    if _Process.forked:
        return "the process was forked"
    if multiprocessing.parent_process() is not None:
        return "the process is a worker of multiprocessing"
    distributed = sys.modules.get("distributed.worker")
    if distributed is not None and getattr(distributed.Worker, "_instances", None):
        return "the process has a worker of dask.distributed"
    _threading_layer()  # get_num_threads starts it too, but changes torch's number of threads
    if n > numba.get_num_threads():
        return f"{n} threads are more than Numba's {numba.get_num_threads()}"
    return ""


@functools.cache
def _threading_layer():
    """Start Numba's threading layer, and return its name; None if there is none."""
    from numba.np.ufunc import parallel

    try:
        with _unchanged_openmp():
            parallel._launch_threads()
        return numba.threading_layer()
    except (AttributeError, ImportError, ValueError):
        return None


@contextlib.contextmanager
def _unchanged_openmp():
    """Keep OpenMP's number of threads, which torch uses and Numba sets when it starts its OpenMP layer."""
    import threadpoolctl

    with contextlib.suppress(ImportError):
        from numba.np.ufunc import omppool  # noqa: F401  loads OpenMP, if nothing else has
    libraries = threadpoolctl.ThreadpoolController().select(user_api="openmp").lib_controllers
    before = [library.num_threads for library in libraries]
    yield
    for library, number in zip(libraries, before, strict=True):
        library.set_num_threads(number)


class _Process:
    """Whether this process is a forked child."""

    forked = False


def _after_fork():
    _Process.forked = True
    _Blas.lock = threading.Lock()  # another thread of the parent may have held it
    _Blas.callers = 0  # those of the parent do not exist here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run_slots(kernel, slots):
    """Call a slot kernel for all slots in parallel, and return when all calls have ended.

    Parameters
    ----------
    kernel
        A slot kernel.
    slots : list of NamedTuple
        Arrays of the same types for each slot. A shared array is read-only, a counter, or has entries written by one slot each.

    Raises
    ------
    MemoryError
        A kernel could not allocate an array.
    """
    with single_threaded_blas():
        if _jit.MODE != _jit.LINKED:
            _run_on_threads([functools.partial(kernel, slot) for slot in slots])
            return
        address, words = _jit.address_and_words(kernel, slots)
        status, row_bytes = np.zeros(len(slots), np.int64), words.strides[0]
        pointers = words.ctypes.data + row_bytes * np.arange(len(slots))
        if len(slots) > 1 and execution(len(slots)).kind == "parallel":
            _jit.call_slots(address, pointers, status)
        else:
            _run_on_threads([functools.partial(_jit.call_slot, address, pointers[k], status[k:]) for k in range(len(slots))])
        if status.any():
            raise MemoryError("a kernel could not allocate memory; evaluate fewer points at a time, or use fewer threads")


def _run_on_threads(calls):
    """Make each call on a separate Python thread; kernels release the GIL."""
    if len(calls) == 1:
        calls[0]()
        return
    errors = []

    def work(call):
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(call,), name="pwlnet slot") for call in calls[1:]]
    try:
        for thread in threads:
            thread.start()
        work(calls[0])
    finally:
        _join_all(threads)
    if errors:
        raise errors[0]


def _join_all(threads):
    """Wait for the threads that were started, and raise Ctrl-C only then: they use arrays of the caller by address."""
    interrupt = None
    for thread in threads:
        while thread.ident is not None and thread.is_alive():
            try:
                thread.join()
            except BaseException as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt


def map_chunks(function, n_items, chunk, threads=None):
    """Yield ``function(first, last)`` for consecutive chunks of ``n_items`` items, in order, computed on Python threads.

    An exception, including Ctrl-C, is raised when the chunks that have started are finished; the others are cancelled.
    """
    bounds = [(k, min(k + chunk, n_items)) for k in range(0, n_items, chunk)]
    if len(bounds) <= 1 or n_threads(threads) == 1:
        for first, last in bounds:
            yield function(first, last)
        return
    with ThreadPoolExecutor(n_threads(threads)) as pool:
        try:
            for future in [pool.submit(function, first, last) for first, last in bounds]:
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_chunks(function, n_items, chunk, threads=None):
    """Call ``function(first, last)`` as ``map_chunks`` does, with BLAS on one thread, and ignore the results."""
    with single_threaded_blas():
        deque(map_chunks(function, n_items, chunk, threads), maxlen=0)


def look_ahead(results, max_bytes, stop):
    """Yield the items of an iterator while a background thread computes the next ones.

    Parameters
    ----------
    results : generator
        Its items have an attribute ``nbytes``. An exception is raised after the items before it.
    max_bytes : int
        No further item is computed while the finished items that have not been consumed are larger than this.
    stop : callable
        Called when the consumer stops, while an item may be computed on the background thread; should end it soon.
    """
    queue = _Queue(max_bytes)
    worker = threading.Thread(target=queue.fill, args=(results,), name="pwlnet")
    try:
        worker.start()
        yield from queue.items(worker)
    finally:
        queue.close()
        stop()
        if worker.ident is not None and worker is not threading.current_thread():  # the garbage collector may run anywhere
            worker.join()


class _Queue:
    """A queue of finished items between the background thread and the consumer."""

    def __init__(self, max_bytes):
        self._max_bytes = max_bytes
        self._changed = threading.Condition()  # guards all of the following
        self._items = deque()
        self._waiting_bytes = 0
        self._consumer = threading.current_thread()  # the thread that last requested an item
        self._closed = self._complete = False
        self._error = None

    def fill(self, results):
        """Append items while there is room. Runs on the background thread."""
        error = None
        try:
            with contextlib.closing(results):
                while self._wait_for_room() and (item := next(results, None)) is not None:
                    with self._changed:
                        self._items.append(item)
                        self._waiting_bytes += item.nbytes
                        self._changed.notify_all()
        except BaseException as raised:
            error = raised
        with self._changed:
            self._complete, self._error = True, error
            self._changed.notify_all()

    def items(self, worker):
        """Yield items in order, then raise the error of the background thread, if any."""
        while True:
            with self._changed:
                self._consumer = threading.current_thread()
                while not self._items and not self._complete and worker.is_alive():
                    self._changed.wait(_POLL)
                if not self._items and not self._complete:
                    raise RuntimeError(
                        "the thread that computes the results has ended, as in a forked child; iterate anew there"
                    )
                if not self._items:
                    break
                item = self._items.popleft()
                self._waiting_bytes -= item.nbytes
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def close(self):
        """Make the background thread end after the current item."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait_for_room(self):
        """Wait until there is room for another item; return False if no more items are needed."""
        with self._changed:
            while not self._closed and self._is_awaited():
                if self._waiting_bytes <= self._max_bytes or not self._items:
                    return True
                self._changed.wait(_POLL)
            if not self._closed:
                raise RuntimeError("the program is ending; the other results were not computed")
        return False

    def _is_awaited(self):
        """Return whether a consumer may still take items; otherwise the background thread must end, so that the program can.

        A consumer that has ended may have passed the iterator to another thread; an abandoned iterator is closed when it is
        deleted.
        """
        return threading.main_thread().is_alive() or (self._consumer.is_alive() and not self._consumer.daemon)
