"""Times that are printed: those of the computation, without compiling kernels or loading them from the cache on disk."""

import contextlib
import time


class Stopwatch:
    """Measure the time since its creation, without the time in which kernels were compiled."""

    def __init__(self):
        from ..kernels import _jit

        self._compile_seconds = _jit.compile_seconds
        self._start = self._now()

    def _now(self):
        return time.perf_counter() - self._compile_seconds()

    @property
    def seconds(self):
        """Seconds since the stopwatch was created: float."""
        return max(0.0, self._now() - self._start)


def load_kernels(computation):
    """Run a small computation, so that its kernels are compiled or loaded from the cache before the time is measured.

    Parameters
    ----------
    computation : callable
        Takes no arguments. Its result and its errors are ignored: an error of the input is reported where it belongs.
    """
    from ..errors import PwlnetError

    with contextlib.suppress(PwlnetError):
        computation()
