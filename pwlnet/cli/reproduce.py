"""The subcommand that reproduces experiments of papers."""

import json

from .arguments import positive, seed
from .output import on_terminal, show


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    reproduce = commands.add_parser(
        "reproduce",
        parents=[common],
        help="reproduce an experiment of a paper: tables with the paper's numbers, figures, stores",
        description="Reproduce an experiment of a paper on the shipped networks, and on public networks whose files are in "
        "the folder PWLNET_DATA_DIR. Stores (one per network), tables and figures are written to OUT/NAME. Existing results "
        "are not computed again: after Ctrl-C, or with more images, the same command continues.",
    )
    reproduce.add_argument("name", metavar="NAME", nargs="?", help="name of the experiment; --list shows all")
    reproduce.add_argument("--list", action="store_true", help="list the experiments")
    reproduce.add_argument("--images", type=positive, default=100, metavar="N",
                           help="number of images per network, the first of its test set (default: %(default)s)")  # fmt: skip
    reproduce.add_argument("--out", metavar="DIR", default="reproduce_output", help="folder for results (default: %(default)s)")
    reproduce.add_argument(
        "--networks",
        metavar="KEY",
        nargs="+",
        help="these networks only, or a prefix: digits, mnist (default: all that are available)",
    )
    reproduce.add_argument("--seed", type=seed, default=0, help="seed of all random numbers (default: %(default)s)")
    reproduce.add_argument("--set", dest="parameters", metavar="NAME=VALUE", action="append", default=[],
                           help="set a parameter of the experiment; --list shows them")  # fmt: skip
    reproduce.add_argument("--threads", type=positive, metavar="N", help="number of threads (default: all processors)")
    reproduce.add_argument("--overwrite", action="store_true", help="measure again, and replace existing results")
    reproduce.set_defaults(run=run_reproduce)


def run_reproduce(options):
    """Run an experiment, or list all."""
    from .. import reproduce
    from ..errors import InputError

    if options.list:
        _list_experiments(options)
        return
    if options.name is None:
        raise InputError(f"no experiment was given; give one of {', '.join(reproduce.EXPERIMENTS)}")
    chosen = {"n_images": options.images, "networks": options.networks, "seed": options.seed, "threads": options.threads}
    chosen |= {"parameters": dict(map(_parameter, options.parameters)), "overwrite": options.overwrite}
    result = reproduce.run(options.name, options.out, **chosen, progress=on_terminal())
    show(options, result.to_dict(), _text(result))


def _parameter(text):
    """Parse NAME=VALUE; the value is a number if it can be parsed as JSON, else text."""
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

    experiments = {name: reproduce.get(name) for name in reproduce.EXPERIMENTS}
    values = {name: {"title": e.title, "source": e.source, "networks": list(e.keys), "parameters": e.parameters}
              for name, e in experiments.items()}  # fmt: skip
    width = max(map(len, experiments))
    lines = []
    for name, experiment in experiments.items():
        lines.append(f"{name:<{width}}  {experiment.title} ({experiment.source})")
        if experiment.parameters:
            lines.append(" " * (width + 2) + ", ".join(f"{key}={value}" for key, value in experiment.parameters.items()))
    show(options, values, "\n".join(lines))


def _text(result):
    """Format the tables and the paths of the results."""
    from ..reproduce.tables import to_markdown

    paragraphs = [to_markdown(result.tables)]
    paragraphs += [f"skipped: {reason}" for reason in result.missing.values()]
    paragraphs += result.notes
    names = ["table.md", "table.csv", *(path.name for path in [*result.figures, *result.stores.values()])]
    return "\n".join([*paragraphs, f"{result.folder} contains {', '.join(names)}"])
