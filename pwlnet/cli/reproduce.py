"""The subcommand that runs experiments of papers."""

import json
import sys

from .arguments import positive
from .output import show


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    reproduce = commands.add_parser(
        "reproduce",
        parents=[common],
        help="run an experiment of a paper again: tables beside the paper's, figures, stores",
        description="Run an experiment of a paper again, on the shipped networks, and on public ones whose files are in the "
        "folder PWLNET_DATA_DIR. OUT/NAME gets a store for each network, tables and figures. What is there already is not "
        "measured again: after Ctrl-C, or with more images, the same command goes on.",
    )
    reproduce.add_argument("name", metavar="NAME", nargs="?", help="of the experiment; --list shows all")
    reproduce.add_argument("--list", action="store_true", help="list the experiments")
    reproduce.add_argument("--images", type=positive, default=100, metavar="N",
                           help="images of each network, the first of its test set (default: %(default)s)")  # fmt: skip
    reproduce.add_argument("--out", metavar="DIR", default="reproduce_output", help="folder of results (default: %(default)s)")
    reproduce.add_argument(
        "--networks",
        metavar="KEY",
        nargs="+",
        help="only these, or those that start so: digits, mnist (default: all that are there)",
    )
    reproduce.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: %(default)s)")
    reproduce.add_argument("--set", dest="parameters", metavar="NAME=VALUE", action="append", default=[],
                           help="set a parameter of the experiment; --list shows them")  # fmt: skip
    reproduce.add_argument("--threads", type=positive, metavar="N", help="default: all processors")
    reproduce.add_argument("--overwrite", action="store_true", help="measure anew, and replace what is there")
    reproduce.set_defaults(run=run_reproduce)


def run_reproduce(options):
    """Run an experiment, or list all."""
    from .. import reproduce
    from ..errors import InputError

    if options.list:
        _list_experiments(options)
        return
    if options.name is None:
        raise InputError(f"no experiment was named; the experiments are {', '.join(reproduce.EXPERIMENTS)}")
    chosen = {"n_images": options.images, "networks": options.networks, "seed": options.seed, "threads": options.threads}
    chosen |= {"parameters": dict(map(_parameter, options.parameters)), "overwrite": options.overwrite}
    result = reproduce.run(options.name, options.out, **chosen, progress=sys.stderr.isatty())
    show(options, result.to_dict(), _text(result))


def _parameter(text):
    """NAME=VALUE: a number where the value is one, else text."""
    from ..errors import InputError

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"--set is {text!r}; give NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _list_experiments(options):
    from .. import reproduce

    found = {name: reproduce.get(name) for name in reproduce.EXPERIMENTS}
    values = {name: {"title": e.title, "source": e.source, "networks": list(e.keys), "parameters": e.parameters}
              for name, e in found.items()}  # fmt: skip
    width = max(map(len, found))
    lines = []
    for name, experiment in found.items():
        lines.append(f"{name:<{width}}  {experiment.title} ({experiment.source})")
        if experiment.parameters:
            lines.append(" " * (width + 2) + ", ".join(f"{key}={value}" for key, value in experiment.parameters.items()))
    show(options, values, "\n".join(lines))


def _text(result):
    """The tables, and what lies where, for people."""
    from ..reproduce.tables import to_markdown

    found = [to_markdown(result.tables)]
    found += [f"left out: {reason}" for reason in result.missing.values()]
    found += result.notes
    names = ["table.md", "table.csv", *(path.name for path in [*result.figures, *result.stores.values()])]
    return "\n".join([*found, f"{result.folder} holds {', '.join(names)}"])
