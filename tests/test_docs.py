"""Examples of README, pages and docstrings run, links lead to files, and pages that repeat the code agree with it."""

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import cli
from pwlnet.convert.onnx import ops
from pwlnet.store.format_page import format_page

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES_WITH_EXAMPLES = [page for page in PAGES if page != README and EXAMPLE.search(page.read_text())]
WITH_EXAMPLES = [path for path in sorted((ROOT / "pwlnet").rglob("*.py")) if ">>> " in path.read_text()]


def dotted(path):
    """Return the dotted name of a module of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_the_example_of_the_readme_runs(capsys):
    (example,) = EXAMPLE.findall(README.read_text())
    exec(compile(example, str(README), "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) >= 4


def test_the_commands_of_the_readme_run(tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    (pwlnet|python) (.*?)(?:  +#.*)?$", README.read_text(), re.MULTILINE)
    run = {"pwlnet": cli.main, "python": lambda words: subprocess.run([sys.executable, *words], check=True).returncode}
    assert [run[program](shlex.split(words)) for program, words in commands] == [0] * len(commands)
    assert {"lines.h5", "network.h5", "ig.h5"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=lambda path: path.name)
def test_the_examples_of_the_pages_run(page, tmp_path, monkeypatch):
    """One after the other; they may use the networks and images that the text before them speaks of."""
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    images, targets = pwlnet.datasets.digits_images()
    images, targets = images[:4], targets[:4]
    names = {"np": np, "pwlnet": pwlnet, "network": network, "images": images, "targets": targets}
    names["attacked"] = np.clip(images + 0.05, 0.0, 1.0)
    monkeypatch.chdir(tmp_path)
    for example in EXAMPLE.findall(page.read_text()):
        exec(compile(example, str(page), "exec"), names)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=dotted)
def test_the_examples_of_docstrings_run(path):
    failed, tried = doctest.testmod(importlib.import_module(dotted(path)))
    assert tried
    assert not failed


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_of_the_pages_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (page.parent / target).exists()]


def test_the_page_about_the_store_is_made_from_its_schema():
    assert (ROOT / "docs" / "store_format.md").read_text() == format_page()


def test_the_page_about_operations_lists_every_onnx_operator():
    page = (ROOT / "docs" / "supported_ops.md").read_text()
    (listed,) = re.findall(r"## ONNX.*?\n\n(.*?)\.\n\n", page, re.DOTALL)
    assert sorted(listed.replace(",", " ").split()) == sorted(ops.HANDLERS)
