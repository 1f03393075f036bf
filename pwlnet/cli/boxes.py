"""Options that give a box of inputs."""

from .arguments import finite, read_rows


def add_box_options(parser, group, *, whole_range=False):
    """Add --box and --around to a group of exclusive options, and --epsilon and --limits to the parser.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    group : mutually exclusive group of the parser
    whole_range : bool, optional
        Also add --range, one interval for all inputs.
    """
    group.add_argument("--box", metavar="FILE", help="two rows: lower and upper bounds of the inputs")
    if whole_range:
        group.add_argument("--range", type=finite, nargs=2, metavar=("LOW", "HIGH"), help="bounds of every input")
    group.add_argument("--around", metavar="FILE", help="one row: the centre of the box of half width --epsilon")
    parser.add_argument("--epsilon", type=finite, metavar="E", help="half width, with --around")
    parser.add_argument("--limits", type=finite, nargs=2, metavar=("LOW", "HIGH"), help="range of valid inputs, with --around")


def check_box_options(options):
    """Refuse options of a box that do not belong together.

    Raises
    ------
    InputError
    """
    from ..errors import InputError

    for name in ("epsilon", "limits"):
        if getattr(options, name) is not None and options.around is None:
            raise InputError(f"--{name} was given without --around, to which it belongs; omit it, or give both")
    if options.around is not None and options.epsilon is None:
        raise InputError("--around was given without --epsilon, the half width of the box; give both")


def read_box(options, network):
    """Return the box that the options give: Box.

    Raises
    ------
    ShapeError
        A file has another number of rows or columns.
    InputError
        A file can't be read.
    """
    import numpy as np

    from ..domains import Box
    from ..errors import ShapeError

    if getattr(options, "range", None) is not None:
        return Box(*(np.full(network.n_inputs, x) for x in options.range))
    name, n = ("box", 2) if options.box is not None else ("around", 1)
    rows = network.as_points(read_rows(getattr(options, name)), f"--{name}")
    if len(rows) != n:
        raise ShapeError(f"--{name} has {len(rows)} rows; {'lower and upper bounds' if n == 2 else 'one centre'} are needed")
    return Box(*rows) if n == 2 else Box.around(rows[0], options.epsilon, limits=options.limits)
