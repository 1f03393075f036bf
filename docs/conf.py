"""Settings of the documentation site: Sphinx, with numpydoc for docstrings and MyST for Markdown pages and notebooks.

Built by ``make docs``; nothing is fetched from a network. Variables of the environment:

    PWLNET_DOCS_NOTEBOOKS   "cache" (default): notebooks are executed, and again after a change of pwlnet; "off": they are not
    PWLNET_DOCS_SOURCES     address of the repository's files, such as https://host/owner/pwlnet/blob/main: links to files that
                            are not pages lead there; by default, such files become downloads of the site
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import pwlnet

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_extensions"))


def digest_of_sources():
    """Digest of the package: outputs of notebooks are kept for as long as it stays the same."""
    digest = hashlib.sha256()
    for path in sorted((DOCS.parent / "pwlnet").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


project = "pwlnet"
author = "pwlnet developers"
copyright = author
version = release = pwlnet.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
    "command_help",
    "public_names",
    "repository_files",
]
exclude_patterns = ["_build", "_extensions", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
nitpicky = True

html_theme = "furo"
html_title = f"pwlnet {release}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_css_files = ["wide.css"]

myst_heading_anchors = 4

# Notebooks run without the reader's own settings of IPython, and without its notice about the transport.
ipython = DOCS / "_build" / "ipython"
(ipython / "profile_default").mkdir(parents=True, exist_ok=True)
(ipython / "profile_default" / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")
os.environ.update(IPYTHONDIR=str(ipython), PWLNET_QUIET="1")

nb_execution_mode = os.environ.get("PWLNET_DOCS_NOTEBOOKS", "cache")
nb_execution_cache_path = str(DOCS / "_build" / "notebooks" / digest_of_sources())
for folder in (DOCS / "_build" / "notebooks").glob("*"):
    if str(folder) != nb_execution_cache_path:
        shutil.rmtree(folder)
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # types are in the docstrings, with shapes
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # link the public names of pwlnet in types (public_names.py), nothing else
