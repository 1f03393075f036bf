"""Docstrings for the API pages: links from types to public names, shapes as plain text, and no fields without a text."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.util.nodes import make_refnode

import pwlnet

MODULES = ("store", "distribute", "studies", "smoothing", "learn")  # their classes are linked, too
API = Path(__file__).resolve().parent.parent / "api"
SHAPE = re.compile(r"\[[^\]\[`]*\]")  # float64[B, *S]: the star does not start emphasis


def remove_old_pages(app, config):
    """Remove the generated pages of names that the API pages no longer list."""
    names = {line.strip() for page in API.glob("*.rst") for line in page.read_text().splitlines() if line.startswith("   ")}
    for page in API.glob("generated/*.rst"):
        if not any(page.stem.endswith(f".{name}") for name in names):
            page.unlink()


def link_types(app, config):
    """Make numpydoc link the public names of the package where they are types, and nothing else."""
    classes = {name: f"pwlnet.{m}.{name}" for m in MODULES for name in getattr(pwlnet, m).__all__ if name[0].isupper()}
    classes["LinePartition"] = "pwlnet.partition.lines.partitions.LinePartition"
    config.numpydoc_xref_aliases_complete = classes | {name: f"pwlnet.{name}" for name in pwlnet._HOMES}


def escape_shapes(app, what, name, member, options, lines):
    """Escape the stars in shapes, except in literals and examples."""
    for number, line in enumerate(lines):
        if "*" in line and not line.lstrip().startswith((">>>", "...")):
            pieces = line.split("``")
            pieces[::2] = [SHAPE.sub(lambda match: match[0].replace("*", r"\*"), piece) for piece in pieces[::2]]
            lines[number] = "``".join(pieces)


def skip_fields(app, what, name, member, skip, options):
    """Leave out fields without a text of their own: those of a NamedTuple are described in its docstring."""
    return True if type(member).__name__ in ("_tuplegetter", "member_descriptor") else None


def find_public(app, env, node, content):
    """Find a name that is referred to as in code with ``import pwlnet``, from a docstring of any module."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or f"pwlnet.{target}" not in env.domaindata["py"]["objects"]:
        return None
    found = env.domaindata["py"]["objects"][f"pwlnet.{target}"]
    text = content if isinstance(content, nodes.Node) else nodes.literal(target, target)
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, text, target)


def setup(app):
    """Register with Sphinx: types after numpydoc has collected its own, shapes before it reads a docstring."""
    app.connect("config-inited", remove_old_pages)
    app.connect("config-inited", link_types, priority=900)
    app.connect("autodoc-process-docstring", escape_shapes, priority=100)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", find_public)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
