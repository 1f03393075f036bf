"""Say on stderr that kernels are being compiled, and keep the time that this takes.

``PWLNET_QUIET=1`` turns the notice off. Kernels that come from the cache are not compiled, and cause none.
"""

import atexit
import contextlib
import functools
import os
import sys
import threading
import time

from numba.core import event

BEGIN = "pwlnet: compiling kernels (once per version; about a minute) ..."
BEGIN_NOT_KEPT = "pwlnet: compiling kernels (in each process, as no cache folder can be written; about a minute) ..."
END = "pwlnet: compiled kernels in {:.0f} s"
DELAY = 1.0  # seconds of compiling that are not worth a notice


class CompileClock(event.Listener):
    """Measure the seconds in which pwlnet's kernels are compiled, and report them.

    Numba compiles a function's callees while it compiles the function, under a lock: the outermost compilation counts.
    On a terminal one line is updated every second, and erased when the kernel is done. Elsewhere a line is written once. The
    last line is written when the process ends.
    """

    def __init__(self, package, is_kept=True):
        self.package = package
        self.begin = BEGIN if is_kept else BEGIN_NOT_KEPT
        self.seconds = 0.0
        self.is_muted = False
        self._depth = 0
        self._started = None
        self._announced = False
        self._timer = None

    def _is_ours(self, compilation):
        function = compilation.data["dispatcher"].py_func
        return self._depth > 0 or (function.__module__ or "").startswith(self.package)

    def on_start(self, compilation):
        """Begin the measurement with the outermost kernel."""
        if not self._is_ours(compilation):
            return
        self._depth += 1
        if self._depth == 1:
            self._started = time.perf_counter()
            if not self.is_muted and not _is_quiet():
                self._show_after(max(0.0, DELAY - self.seconds))

    def on_end(self, compilation):
        """End the measurement with the outermost kernel."""
        if not self._is_ours(compilation):
            return
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._started
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._announced and _is_terminal():
                _write("\r\033[K")

    @contextlib.contextmanager
    def muted(self):
        """Write no notice inside the block."""
        before, self.is_muted = self.is_muted, True
        try:
            yield
        finally:
            self.is_muted = before

    def _show_after(self, seconds):
        self._timer = threading.Timer(seconds, self._show)
        self._timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is ending
            self._timer.start()

    def _show(self):
        if self._depth == 0:
            return
        if not self._announced:
            self._announced = True
            atexit.register(self._report)
            if not _is_terminal():
                _write(f"{self.begin}\n")
        if _is_terminal():
            _write(f"\r{self.begin} {self.seconds + time.perf_counter() - self._started:.0f} s")
            self._show_after(1.0)

    def _report(self):
        _write(f"{END.format(self.seconds)}\n")


def _is_quiet():
    return os.environ.get("PWLNET_QUIET", "0") == "1"


def _is_terminal():
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError, OSError):  # None, or closed
        return False


def _write(text):
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no stderr, a closed one, one that nobody reads any more
        sys.stderr.write(text)
        sys.stderr.flush()


@functools.cache
def say_once(text):
    """Write a line to stderr; the same line once in a process, and none with ``PWLNET_QUIET=1``."""
    if not _is_quiet():
        _write(f"{text}\n")


def start_clock(package, is_kept=True):
    """Register a CompileClock for the kernels of a package, and return it; ``is_kept``: whether they are kept on disk."""
    clock = CompileClock(package, is_kept)
    event.register("numba:compile", clock)
    return clock
