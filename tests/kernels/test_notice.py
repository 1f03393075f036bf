"""The line on stderr while kernels are compiled, and the time that is kept out of speeds."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pwlnet.kernels import _notice
from tests.counts import IN_PYTHON

PROGRAM = """
import numpy as np
from pwlnet.kernels import _jit, _notice
from pwlnet.kernels.ir import bits
_notice.DELAY = 0.0
bits.hamming(np.zeros((2, 1), np.uint64), np.zeros((2, 1), np.uint64), np.ones(1, np.int64), np.empty(2, np.int64))
print(_jit.compile_seconds())
"""


def run(folder, **environment):
    """Compile a kernel, or load it from ``folder``, in another process: (seconds that it reports, stderr)."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PWLNET_NUMBA_CACHE": "1", "PWLNET_QUIET": "0", **environment}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout), done.stderr


@pytest.mark.skipif(IN_PYTHON, reason="nothing is compiled")
def test_the_notice_appears_while_kernels_are_compiled_and_not_when_they_are_loaded(tmp_path):
    seconds, notice = run(tmp_path)
    assert seconds > 0.0
    first, last = notice.splitlines()
    assert first == _notice.BEGIN
    assert last.startswith("pwlnet: compiled kernels in ")
    assert run(tmp_path) == (0.0, "")


@pytest.mark.skipif(IN_PYTHON, reason="nothing is compiled")
def test_the_notice_can_be_turned_off(tmp_path):
    seconds, notice = run(tmp_path, PWLNET_QUIET="1")
    assert seconds > 0.0
    assert notice == ""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def compilation(module="pwlnet.kernels.ir.passes"):
    """Make what Numba passes to listeners."""
    function = SimpleNamespace(__module__=module)
    return SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=function)})


@pytest.fixture
def clock(monkeypatch):
    """A clock whose timers fire when ``tick`` is called, and for which ten seconds pass between two looks at the time."""
    monkeypatch.setenv("PWLNET_QUIET", "0")
    monkeypatch.setattr(_notice.atexit, "register", lambda function: None)
    monkeypatch.setattr(_notice.time, "perf_counter", iter(range(0, 1000, 10)).__next__)
    clock, timers = _notice.CompileClock("pwlnet.kernels"), []
    monkeypatch.setattr(_notice.threading, "Timer", lambda seconds, function: timers.append((seconds, function)) or FakeTimer())
    clock.timers = timers
    return clock


class FakeTimer:
    def start(self):
        pass

    def cancel(self):
        pass


def test_on_a_terminal_the_line_is_updated_in_place_and_erased(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    clock.on_start(compilation())
    clock.on_start(compilation())
    for _ in range(2):
        clock.timers[-1][1]()
    clock.on_end(compilation())
    clock.on_end(compilation())
    assert sys.stderr.getvalue() == f"\r{_notice.BEGIN} 10 s\r{_notice.BEGIN} 20 s\r\033[K"
    assert [seconds for seconds, _ in clock.timers] == [_notice.DELAY, 1.0, 1.0]
    clock._report()
    assert sys.stderr.getvalue().endswith("pwlnet: compiled kernels in 30 s\n")


def test_a_compilation_that_ends_soon_is_not_reported(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    clock.on_start(compilation())
    clock.on_end(compilation())
    clock.timers[-1][1]()  # a timer that was too late to be cancelled
    assert sys.stderr.getvalue() == "" and clock.seconds == 10.0


def test_a_muted_clock_measures_and_reports_nothing(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with clock.muted():
        clock.on_start(compilation())
        clock.on_end(compilation())
    assert clock.timers == [] and clock.seconds == 10.0 and not clock.is_muted


def test_only_the_outermost_compilation_is_measured(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", None)
    for begin in (True, True, False, False, True, False):
        (clock.on_start if begin else clock.on_end)(compilation("numba.np.linalg" if clock._depth else "pwlnet.kernels.ir"))
    assert clock.seconds > 0.0
    assert clock._depth == 0


def test_kernels_of_other_packages_are_not_reported(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    clock.on_start(compilation("numbagg.moving"))
    clock.on_end(compilation("numbagg.moving"))
    assert sys.stderr.getvalue() == ""
    assert clock.seconds == 0.0
