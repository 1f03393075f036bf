"""Fixtures that run the command line in this process, in an empty folder."""

import numpy as np
import pytest

from pwlnet import cli
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower


@pytest.fixture(scope="module")
def network():
    """Three inputs, thirty hidden neurons, two outputs."""
    rng = np.random.default_rng(0)
    graph = Graph((1, 3), batched=True)
    x = graph.relu(graph.linear(graph.input, rng.normal(size=(30, 3)), rng.normal(size=30), name="first"), name="relu")
    graph.output = graph.linear(x, rng.normal(size=(2, 30)), name="last")
    return lower(graph)


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
