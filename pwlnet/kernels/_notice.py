"""Say on stderr that kernels are being compiled, and keep the time that this takes.

``PWLNET_QUIET=1`` turns the notice off. Kernels that come from the cache are not compiled, and cause none.
"""

import atexit
import os
import sys
import time

from numba.core import event

BEGIN = "pwlnet: compiling kernels (once per version; about a minute) ..."
END = "pwlnet: compiled kernels in {:.0f} s"


class CompileClock(event.Listener):
    """Measure the seconds in which pwlnet's kernels are compiled, and report them.

    Numba compiles a function's callees while it compiles the function, under a lock: the outermost compilation counts.
    On a terminal one line is updated in place, and erased when the kernel is done. Elsewhere a line is written when the first
    kernel is compiled. The last line is written when the process ends.
    """

    def __init__(self, package):
        self.package = package
        self.seconds = 0.0
        self._depth = 0
        self._started = None
        self._announced = False

    def _is_ours(self, compilation):
        function = compilation.data["dispatcher"].py_func
        return self._depth > 0 or (function.__module__ or "").startswith(self.package)

    def on_start(self, compilation):
        """Begin the measurement with the outermost kernel."""
        if not self._is_ours(compilation):
            return
        if self._depth == 0:
            self._started = time.perf_counter()
        self._depth += 1
        self._show()

    def on_end(self, compilation):
        """End the measurement with the outermost kernel."""
        if not self._is_ours(compilation):
            return
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._started
            if not _is_quiet() and _is_terminal():
                _write("\r\033[K")

    def _show(self):
        if _is_quiet():
            return
        if not self._announced:
            self._announced = True
            atexit.register(self._report)
            if not _is_terminal():
                _write(f"{BEGIN}\n")
        if _is_terminal():
            passed = self.seconds + time.perf_counter() - self._started
            _write(f"\r{BEGIN} {passed:.0f} s")

    def _report(self):
        _write(f"{END.format(self.seconds)}\n")


def _is_quiet():
    return os.environ.get("PWLNET_QUIET", "0") == "1"


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
