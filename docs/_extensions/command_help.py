"""The directive ``command-help``: a section for each command of ``pwlnet``, with what its ``--help`` prints."""

import argparse
import os

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from pwlnet.cli import _parser

WIDTH = 100


def commands():
    """Return the parsers: the name of each command as it is typed -> its parser. The first one is the program itself."""
    os.environ.update(COLUMNS=str(WIDTH), NO_COLOR="1")
    return dict(_below(_parser()))


def _below(parser):
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _below(child)


class CommandHelp(SphinxDirective):
    """Sections with the help of all commands."""

    def run(self):
        """Return one section per command."""
        sections = []
        for name, parser in commands().items():
            section = nodes.section(ids=[name.replace(" ", "-")], names=[name])
            section += nodes.title(name, name)
            section += nodes.literal_block(parser.format_help(), parser.format_help(), language="text")
            self.state.document.note_explicit_target(section)
            sections.append(section)
        return sections


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("command-help", CommandHelp)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
