"""The command line in this process, in a folder of its own."""

import pytest

from pwlnet import cli


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, current."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run the command line: the exit code, what stdout and what stderr got."""

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def refused(run):
    """Run the command line and expect exit 2, nothing on stdout, and exactly this line on stderr."""

    def call(message, *arguments):
        assert run(*arguments) == (2, "", f"pwlnet: {message}\n")

    return call
