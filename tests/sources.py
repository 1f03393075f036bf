"""The modules of the package and their syntax trees, parsed once for all tests that read them."""

import ast
import functools
from pathlib import Path

import pwlnet

PACKAGE = Path(pwlnet.__file__).resolve().parent
PATHS = tuple(path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")))


@functools.cache
def text(path):
    """The text of a module; ``path`` is one of ``PATHS``."""
    return (PACKAGE / path).read_text()


@functools.cache
def tree(path):
    """The syntax tree of a module."""
    return ast.parse(text(path))


@functools.cache
def nodes(*kinds):
    """Pairs (path, node) of all modules' nodes of some kinds (classes of ``ast``)."""
    return [(path, node) for path in PATHS for node in _all_nodes(path) if isinstance(node, kinds)]


@functools.cache
def _all_nodes(path):
    return tuple(ast.walk(tree(path)))
