"""Examples of README, pages and docstrings run, links lead to files and headings, and pages that repeat the code agree with it.

The site itself is built by ``make docs``; nothing here needs Sphinx.
"""

import doctest
import functools
import importlib
import io
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import cli
from pwlnet.convert.onnx import ops
from pwlnet.store.format_page import format_page

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
OUTSIDE = [README, ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
GENERATED = ("_build", "_repository", "notebooks", "generated")
OF_SITE = [path for path in sorted(DOCS.rglob("*.*")) if not set(GENERATED) & set(path.relative_to(DOCS).parts[:-1])]
PAGES = [*OUTSIDE, *(path for path in OF_SITE if path.suffix == ".md")]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "notebooks").glob("*.ipynb"))]
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:\n```(?:text)?\n(.*?)```\n)?", re.DOTALL)  # with its output, if that follows
LINK = re.compile(r"\]\(([^)#\s\"\\]*)(#[^)\s\"\\]*)?\)")
PAGES_WITH_EXAMPLES = [page for page in PAGES if page != README and EXAMPLE.search(page.read_text())]
WITH_EXAMPLES = [path for path in sorted((ROOT / "pwlnet").rglob("*.py")) if ">>> " in path.read_text()]


def dotted(path):
    """Return the dotted name of a module of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def place(path):
    """Return the path in the repository, for the names of tests."""
    return path.relative_to(ROOT).as_posix()


def run_examples(page, names):
    """Run the examples of a page one after the other; where the page shows an output, it must be what the example prints."""
    for example, shown in EXAMPLE.findall(page.read_text()):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(example, str(page), "exec"), names)
        if shown:
            assert [line.rstrip() for line in printed.getvalue().splitlines()] == shown.splitlines()


def test_the_example_of_the_readme_prints_what_it_shows():
    assert len(EXAMPLE.findall(README.read_text())) == 1
    run_examples(README, {})


def test_the_commands_of_the_readme_run(tmp_path, monkeypatch):
    for folder in ("data", "notebooks"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    (pwlnet|python) (.*?)(?:  +#.*)?$", README.read_text(), re.MULTILINE)
    run = {"pwlnet": cli.main, "python": lambda words: subprocess.run([sys.executable, *words], check=True).returncode}
    assert [run[program](shlex.split(words)) for program, words in commands] == [0] * len(commands)
    assert {"lines.h5", "network.h5", "ig.h5"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=place)
def test_the_examples_of_the_pages_run(page, tmp_path, monkeypatch):
    """One after the other; they may use the networks and images that the text before them speaks of."""
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    images, targets = pwlnet.datasets.digits_images()
    images, targets = images[:4], targets[:4]
    names = {"np": np, "pwlnet": pwlnet, "network": network, "images": images, "targets": targets}
    names["attacked"] = np.clip(images + 0.05, 0.0, 1.0)
    monkeypatch.chdir(tmp_path)
    run_examples(page, names)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=dotted)
def test_the_examples_of_docstrings_run(path):
    failed, tried = doctest.testmod(importlib.import_module(dotted(path)))
    assert tried
    assert not failed


@functools.cache
def anchors(page):
    """Return the anchors of a page's headings, as code hosts and the site make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", title).strip() for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=place)
def test_links_of_the_pages_lead_to_files_and_headings(page):
    links = [link for link in LINK.findall(page.read_text()) if any(link) and "://" not in link[0]]
    targets = [(page if not target else page.parent / target, anchor) for target, anchor in links]
    targets = [(path, anchor) for path, anchor in targets if page.suffix == ".md" or path.suffix]  # x[i](j) in code is no link
    assert not [path for path, _ in targets if not path.exists()]
    headings = [(path, anchor) for path, anchor in targets if anchor and path.suffix == ".md"]
    assert not [f"{path}{anchor}" for path, anchor in headings if anchor not in anchors(path.resolve())]


def entries_of_toctrees():
    """Return what the toctrees of the site list, as paths in docs without suffix."""
    entries = []
    for page in OF_SITE:
        if page.suffix == ".md":
            blocks = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL)
        elif page.suffix == ".rst":
            blocks = re.findall(r"\.\. toctree::\n((?:   .*\n|\n)+)", page.read_text())
        else:
            continue
        lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip() and ":" not in line]
        names = [re.sub(r".*<(.*)>", r"\1", line) for line in lines]
        entries += [(page.parent / name).relative_to(DOCS).as_posix() for name in names]
    return entries


def test_every_page_is_in_one_toctree():
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in OF_SITE if path.suffix in (".md", ".rst")]
    pages = [page for page in pages if page != "index" and not page.startswith("_templates/")]
    pages += [
        f"_repository/{name}" for name in ("readme", "changelog", "contributing", "data")
    ]  # _extensions/repository_files.py
    pages += [f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(entries_of_toctrees()) == sorted(pages)


def names_of_api_pages():
    """Return the full names that the API pages list."""
    names = []
    for page in sorted((DOCS / "api").glob("*.rst")):
        module = None
        for line in page.read_text().splitlines():
            if match := re.match(r"\.\. (?:current)?module:: (\S+)$", line):
                module = match[1]
            elif match := re.match(r"   (\w[\w.]*)$", line):
                names.append(f"{module}.{match[1]}")
    return [name for name in names if not name.startswith("None.")]


def test_every_public_name_has_an_entry_in_the_api_reference():
    listed = names_of_api_pages()
    assert len(listed) == len(set(listed))
    modules = [
        getattr(pwlnet, name)
        for name in ("store", "distribute", "studies", "smoothing", "learn", "plot", "datasets", "reproduce")
    ]
    public = [f"{module.__name__}.{name}" for module in modules for name in module.__all__ if not name.isupper()]
    assert set(listed) >= {f"pwlnet.{name}" for name in pwlnet._HOMES} | set(public)
    assert "automodule:: pwlnet.errors" in (DOCS / "api" / "errors.rst").read_text()
    assert {*pwlnet._MODULES} <= {page.stem for page in (DOCS / "api").glob("*.rst")} | {"tolerances"}


def test_entries_of_the_api_reference_exist():
    for name in names_of_api_pages():
        found = pwlnet
        for part in name.split(".")[1:]:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)
        assert found.__doc__, name


def test_the_page_about_the_store_is_made_from_its_schema():
    assert (DOCS / "store_format.md").read_text() == format_page()


def test_the_page_about_operations_lists_every_onnx_operator():
    page = (DOCS / "supported_ops.md").read_text()
    (listed,) = re.findall(r"## ONNX.*?\n\n(.*?)\.\n\n", page, re.DOTALL)
    assert sorted(listed.replace(",", " ").split()) == sorted(ops.HANDLERS)
