"""Settings for all tests: the level of the run, several processes at once (pytest-xdist), kernels run as Python."""

import gc
import os
import signal

import pytest

from tests.counts import IN_PYTHON, LEVEL


def pytest_configure(config):
    if IN_PYTHON:  # kernels run as Python must be as quiet about IEEE arithmetic as compiled ones
        config.addinivalue_line("filterwarnings", r"ignore:.*encountered in (scalar )?\w+:RuntimeWarning")
    if LEVEL == "quick":  # no test cuts the power: what the system has taken survives a killed process without fsync
        os.fsync = lambda descriptor: None
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch: the processes share the processors


def pytest_report_header():
    return f"level of random cases: {LEVEL} (PWLNET_TEST_LEVEL)"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return the number of processors that this process may use; xdist itself counts cores, on some machines half of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def pytest_collection_modifyitems(config, items):
    """Deselect slow tests at the quick level, unless -m says what to select or they are named."""
    if LEVEL == "full" or config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Leave the imported libraries and the list of tests out of garbage collections: all of them stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000)  # rational oracles make many objects, and few cycles
        gc.enable()


@pytest.fixture
def interruptible():
    """Python's own handler of Ctrl-C, for SIGTERM too: tests that run in a shell's background start with Ctrl-C ignored."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
