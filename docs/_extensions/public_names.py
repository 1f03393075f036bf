"""The public names of pwlnet, for links from the types in docstrings, and what the API pages show of them."""

import pwlnet


def link_types(app, config):
    """Make numpydoc link each public name of the package where it is a type."""
    config.numpydoc_xref_aliases = {name: f"pwlnet.{name}" for name in pwlnet._HOMES} | config.numpydoc_xref_aliases


def skip_fields(app, what, name, member, skip, options):
    """Leave out fields without a text of their own: those of a NamedTuple are described in its docstring."""
    if type(member).__name__ in ("_tuplegetter", "member_descriptor"):
        return True
    if name in ("count", "index") and getattr(member, "__objclass__", None) is tuple:
        return True
    return None


def setup(app):
    """Register with Sphinx."""
    app.connect("config-inited", link_types)
    app.connect("autodoc-skip-member", skip_fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
