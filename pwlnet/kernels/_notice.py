"""Say on stderr that kernels are being compiled, and keep the time that this takes.

``PWLNET_QUIET=1`` turns the notice off. Kernels that come from the cache are not compiled, and cause none.
"""

import atexit
import contextlib
import os
import sys
import threading
import time

from numba.core import event

BEGIN = "pwlnet: compiling kernels (once per version; about a minute) ..."
END = "pwlnet: compiled kernels in {:.0f} s"
DELAY = 1.0  # seconds of compiling that are not worth a notice


class CompileClock(event.Listener):
    """Measure the seconds in which pwlnet's kernels are compiled, and report them.

    Numba compiles a function's callees while it compiles the function, under a lock: the outermost compilation counts.
    On a terminal one line is updated every second, and erased when the kernel is done. Elsewhere a line is written once. The
    last line is written when the process ends.
    """

    def __init__(self, package):
        self.package = package
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
            if not self.is_muted and os.environ.get("PWLNET_QUIET", "0") != "1":
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
        self._timer.start()

    def _show(self):
        if self._depth == 0:
            return
        if not self._announced:
            self._announced = True
            atexit.register(self._report)
            if not _is_terminal():
                _write(f"{BEGIN}\n")
        if _is_terminal():
            _write(f"\r{BEGIN} {self.seconds + time.perf_counter() - self._started:.0f} s")
            self._show_after(1.0)

    def _report(self):
        _write(f"{END.format(self.seconds)}\n")


def _is_terminal():
    return sys.stderr is not None and sys.stderr.isatty()


def _write(text):
    if sys.stderr is not None:
        sys.stderr.write(text)
        sys.stderr.flush()


def start_clock(package):
    """Register a CompileClock for the kernels of a package, and return it."""
    clock = CompileClock(package)
    event.register("numba:compile", clock)
    return clock
