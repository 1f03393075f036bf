"""A folder with a small study, and the command line."""

import pytest

from tests.cli.conftest import network, refused, run  # noqa: F401

from .valid import write_study


@pytest.fixture
def study(tmp_path, network, monkeypatch):  # noqa: F811
    """The path of a study in an empty folder, which is current."""
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, network)
    return "small.toml"
