"""Pages that lie outside the documentation's folder, and links to files of the repository.

Sphinx reads pages from one folder. ``PAGES`` are copied into it, under names that git ignores, before it looks for pages. Links
are written as on a code host, relative to the file that they are in; ``rewrite`` makes them lead to pages of the site, to the
address in PWLNET_DOCS_SOURCES, or to downloads.
"""

import os
import re
import shutil
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
PAGES = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "data/README.md": "data.md",
}
FOLDER = "_repository"
NOTEBOOKS = "notebooks"
LINK = re.compile(r"(\]\()([^)\s#\"\\]+)(#[^)\s\"\\]*)?(\))")
SOURCES = os.environ.get("PWLNET_DOCS_SOURCES", "").rstrip("/")


def outside_pages():
    """Return the pages outside the folder: path in the repository -> path in the folder."""
    pages = {source: f"{FOLDER}/{name}" for source, name in PAGES.items()}
    return pages | {f"{NOTEBOOKS}/{path.name}": f"{NOTEBOOKS}/{path.name}" for path in (ROOT / NOTEBOOKS).glob("*.*")}


def copy_pages(app, config):
    """Copy the pages that have changed, and remove copies of pages that are gone."""
    pages = outside_pages()
    for source, copy in pages.items():
        target = DOCS / copy
        target.parent.mkdir(exist_ok=True)
        if not target.exists() or target.read_bytes() != (ROOT / source).read_bytes():
            shutil.copyfile(ROOT / source, target)
    for folder in (FOLDER, NOTEBOOKS):
        for path in (DOCS / folder).iterdir():
            if path.is_file() and str(path.relative_to(DOCS)) not in pages.values():
                path.unlink()


def rewrite(app, docname, content):
    """Make the links of a page lead to pages of the site, to sources, or to downloads."""
    page = Path(app.env.doc2path(docname)).resolve().relative_to(DOCS).as_posix()
    origin = {copy: source for source, copy in outside_pages().items()}.get(page, f"docs/{page}")
    if page.endswith((".md", ".ipynb")):
        content[0] = LINK.sub(lambda match: _link(match, page, origin), content[0])


def _link(match, page, origin):
    """Return a link with another target, if its target is a file of the repository; else the link as it is."""
    start, target, fragment, end = match.groups()
    path = Path(os.path.normpath(ROOT / Path(origin).parent / target))
    if "://" in target or not path.exists() or not path.is_relative_to(ROOT):
        return match[0]
    place = path.relative_to(ROOT).as_posix()
    if place == "docs":
        place = "docs/index.md"
    elif place == NOTEBOOKS:
        place = "docs/notebooks.md"
    if place in outside_pages():
        place = f"docs/{outside_pages()[place]}"
    elif not place.startswith("docs/") and SOURCES:
        return f"{start}{SOURCES}/{place}{fragment or ''}{end}"
    elif path.is_dir() and not place.endswith(".md"):
        place = f"{place}/README.md" if (path / "README.md").exists() else place
    here = DOCS / Path(page).parent
    return f"{start}{os.path.relpath(ROOT / place, here)}{fragment or ''}{end}"


def setup(app):
    """Register the two steps with Sphinx."""
    app.connect("config-inited", copy_pages)
    app.connect("source-read", rewrite)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
