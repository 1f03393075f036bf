"""Settings for all tests: kernels run as Python must be as quiet about IEEE arithmetic as compiled ones."""

from tests.counts import IN_PYTHON


def pytest_configure(config):
    if IN_PYTHON:
        config.addinivalue_line("filterwarnings", r"ignore:.*encountered in (scalar )?\w+:RuntimeWarning")
