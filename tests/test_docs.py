"""Examples run, links between the pages lead somewhere, and pages that repeat the code agree with it."""

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pwlnet import cli
from pwlnet.convert.onnx import ops
from pwlnet.store.format_page import format_page

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_EXAMPLES = [path for path in sorted((ROOT / "pwlnet").rglob("*.py")) if ">>> " in path.read_text()]


def dotted(path):
    """The name of a module of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_the_example_of_the_readme_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(example, str(README), "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) >= 4


def test_the_commands_of_the_readme_run(tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    (pwlnet|python) (.*?)(?:  +#.*)?$", README.read_text(), re.MULTILINE)
    run = {"pwlnet": cli.main, "python": lambda words: subprocess.run([sys.executable, *words], check=True).returncode}
    assert [run[program](shlex.split(words)) for program, words in commands] == [0] * len(commands)
    assert {"lines.h5", "network.h5", "ig.h5"} <= {path.name for path in tmp_path.iterdir()}


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
