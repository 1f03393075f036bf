"""The subcommand that finds fixed and float neurons."""

import sys
from pathlib import Path

from .arguments import finite, positive, read_rows, row_range, seed
from .output import on_terminal, show
from .store_options import add_store_options, open_writer
from .timing import Stopwatch, load_kernels

_METHODS = ("exact", "ibp", "crown_ibp", "crown", "alpha_crown", "sampled", "pair")
_NORMS = {"1": 1.0, "2": 2.0, "inf": float("inf")}
_LAYER_COUNTS = ("lower", "upper", "always_on", "always_off")


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    floats = commands.add_parser(
        "floats",
        parents=[common],
        help="find the neurons that are fixed around points, and those that change their state",
        description="Find fixed and float neurons around points, or between pairs of points: exactly, by sound bounds, or by "
        "random draws. FILE: .npy, .npz (FILE.npz:NAME if it has several arrays) or .csv, one point per row; digits stands for "
        "the shipped images.",
    )
    floats.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    floats.add_argument("--points", metavar="FILE", required=True, help="centres of the sets, or starts of segments")
    sets = floats.add_mutually_exclusive_group(required=True)
    sets.add_argument("--epsilon", type=finite, metavar="R", help="balls of this radius, see --norm")
    sets.add_argument("--sigma", type=finite, metavar="S", help="Gaussian noise of this standard deviation")
    sets.add_argument("--to", metavar="FILE", help="segments to these points, row by row; with --method pair, their ends only")
    floats.add_argument("--norm", choices=tuple(_NORMS), default="inf", help="norm of --epsilon (default: %(default)s)")
    floats.add_argument("--limits", type=finite, nargs=2, metavar=("LOW", "HIGH"),
                        help="range of valid inputs: boxes and draws are clipped to it")  # fmt: skip
    floats.add_argument("--method", choices=_METHODS,
                        help="default: crown with --epsilon, sampled with --sigma, exact with --to")  # fmt: skip
    floats.add_argument("--samples", type=positive, default=1000, metavar="N", help="draws of each set (default: %(default)s)")
    floats.add_argument("--draws", choices=("uniform", "corners"), default="uniform", help="of boxes (default: %(default)s)")
    floats.add_argument("--seed", type=seed, default=0, help="seed of the draws (default: %(default)s)")
    floats.add_argument("--rows", type=row_range, metavar="FIRST:LAST", help="these rows of --points only (LAST not included)")
    floats.add_argument("--out", metavar="STORE.h5", help="write the masks of all sets to a new store")
    floats.add_argument("--no-shares", action="store_true", help="store masks only, not the shares of the states")
    floats.add_argument("--batch", type=positive, default=64, metavar="N",
                        help="sets in memory and per commit (default: %(default)s)")  # fmt: skip
    add_store_options(floats)
    floats.set_defaults(run=run_floats)


def run_floats(options):
    """Find fixed and float neurons, batch by batch; store and summarize them."""
    from ..errors import InputError
    from ..loading import load_network

    if not options.out and (options.resume or options.overwrite):
        raise InputError("--resume or --overwrite was given without --out, to which they apply; omit them, or give a store")
    network = load_network(options.network, input_shape=options.input_shape)
    options.method = options.method or ("sampled" if options.sigma is not None else "exact" if options.to else "crown")
    points, others = _points(options, network)
    load_kernels(lambda: _find(options, network, points[:1], None if others is None else others[:1], 0))
    stopwatch = Stopwatch()
    totals = _Totals(network)
    if options.out:
        _store(options, network, points, others, totals)
    else:
        for first in range(0, len(points), options.batch):
            totals.add(_find_batch(options, network, points, others, first)[0])
    seconds = stopwatch.seconds
    values = {"sets": totals.n_sets, "method": options.method, "scope": totals.scope, "layers": totals.layers()}
    values |= {"store": options.out} if options.out else {}
    values |= {"seconds": seconds, "neurons_per_second": totals.n_sets * network.n_neurons / max(seconds, 2.0**-30)}
    show(options, values, _text(values))


class _Totals:
    """Sums over sets of the numbers of neurons of each layer."""

    def __init__(self, network):
        import numpy as np

        graph = network.op_graph
        self._names = [network.names[i] for i in graph.switching]
        self._starts = graph.neuron_starts
        self._sums = {name: np.zeros(len(self._names)) for name in _LAYER_COUNTS}
        self.n_sets, self.scope = 0, None

    def add(self, float_set):
        """Add the sets of a FloatSet."""
        self.n_sets, self.scope = self.n_sets + len(float_set.lower), float_set.scope.value
        for name, total in self._sums.items():
            mask = getattr(float_set, name).sum(axis=0)
            total += [mask[a:b].sum() for a, b in zip(self._starts[:-1], self._starts[1:], strict=True)]

    def layers(self):
        """Return mean numbers of neurons of a set, layer by layer: list of dict."""
        sizes = (self._starts[1:] - self._starts[:-1]).tolist()
        n = max(1, self.n_sets)
        return [
            {"name": name, "neurons": size, **{key: float(total[k] / n) for key, total in self._sums.items()}}
            for k, (name, size) in enumerate(zip(self._names, sizes, strict=True))
        ]


def _text(values):
    """Format the table of layers, with shares of the neurons, and the lines around it."""
    head = f"{'layer':<24} {'neurons':>8} {'float':>8} {'on':>8} {'off':>8} {'undecided':>10}"
    rows = [*values["layers"], {"name": "all", "neurons": sum(row["neurons"] for row in values["layers"])}]
    for key in _LAYER_COUNTS:
        rows[-1][key] = sum(row[key] for row in values["layers"])
    lines = [
        f"{values['sets']} sets, method {values['method']}, scope {values['scope']}; shares of the neurons, means of the sets"
    ]
    lines.append(head)
    for row in rows:
        n = max(1, row["neurons"])
        shares = [row["lower"], row["always_on"], row["always_off"], row["upper"] - row["lower"]]
        columns = [f"{value / n:.4f}" for value in shares]
        lines.append(
            f"{row['name'][:24]:<24} {row['neurons']:>8} {columns[0]:>8} {columns[1]:>8} {columns[2]:>8} {columns[3]:>10}"
        )
    lines += [f"store {values['store']}"] if "store" in values else []
    lines.append(f"{values['seconds']:.4g} seconds, {values['neurons_per_second']:.4g} neurons per second")
    return "\n".join(lines)


def _points(options, network):
    """Read the points, and those of --to: float64[B, D] and the same or None."""
    from ..errors import InputError

    points = network.as_points(_read(options.points), "--points")
    others = None if options.to is None else network.as_points(_read(options.to), "--to")
    if others is not None and len(others) != len(points):
        raise InputError(f"--to has {len(others)} rows and --points {len(points)}; give as many of each")
    if options.rows is not None:
        first, last = options.rows
        if last > len(points):
            raise InputError(f"--rows is {first}:{last}, but --points has {len(points)} rows; give LAST up to {len(points)}")
        points, others = points[first:last], None if others is None else others[first:last]
    if not len(points):
        raise InputError("--points has no rows; give at least one point")
    return points, others


def _read(text):
    """Read points from a file; "digits": the shipped images."""
    if text == "digits":
        from ..shipped import digits_images

        return digits_images()[0]
    return read_rows(text)


def _find_batch(options, network, points, others, first):
    """Find the float neurons of the sets of a batch: FloatSet and its domain."""
    rows = slice(first, min(first + options.batch, len(points)))
    number = first + (options.rows[0] if options.rows else 0)
    return _find(options, network, points[rows], None if others is None else others[rows], number)


def _find(options, network, points, others, number):
    """Find the float neurons of some sets, of which the first has a number: FloatSet of B sets, and their domain."""
    from ..analysis.floats import find_float_neurons
    from ..domains import Ball, Box, Gaussian, Segment
    from ..float_sets import stack_float_sets

    common = {"method": options.method, "threads": options.threads}
    if others is not None and options.method == "exact":
        parts = [find_float_neurons(network, Segment(a, b), **common) for a, b in zip(points, others, strict=True)]
        return stack_float_sets(parts), (points, others)
    if others is not None:
        return find_float_neurons(network, (points, others), **common), (points, others)
    limits = tuple(options.limits) if options.limits else None
    if options.sigma is not None:
        domain = Gaussian(points, options.sigma)
    elif options.norm == "inf":
        domain = Box.around(points, options.epsilon, limits=limits)
    else:
        domain = Ball(points, options.epsilon, _NORMS[options.norm])
    if options.method == "sampled":
        common |= {"n_samples": options.samples, "draws": options.draws, "seed": options.seed, "first_set": number}
        common |= {"limits": limits}
    return find_float_neurons(network, domain, **common), domain


def _store(options, network, points, others, totals):
    """Append the sets to a store, batch by batch, and add those that it has to the totals."""
    import numpy as np

    from .. import store
    from ..errors import DigestMismatchError

    seeds = {"draws": options.seed} if options.method == "sampled" else {}
    first_row = options.rows[0] if options.rows else 0
    with open_writer(options, network, parameters=_parameters(options), seeds=seeds) as writer:
        done = writer.n_float_sets
        if done > len(points):
            raise DigestMismatchError(f"{options.out} has {done} sets, but {len(points)} were requested; write to a new store")
        with store.open(options.out) as stored:
            for first in range(0, done, options.batch):
                totals.add(stored.float_sets(first, min(first + options.batch, done)))
        if done and on_terminal():
            print(f"{options.out} has the first {done} of {len(points)} sets; finding the others", file=sys.stderr)
        try:
            for first in range(done, len(points), options.batch):
                found, domain = _find_batch(options, network, points, others, first)
                items = first_row + first + np.arange(len(found.lower))
                writer.append_float_sets(found, domain, items=items, with_shares=not options.no_shares)
                totals.add(found)
        except BaseException as error:
            error.add_note(f"{options.out} has the first {writer.n_float_sets} of {len(points)} sets; --resume continues")
            raise


def _parameters(options):
    """Return what the store's provenance records; names of files without their folders."""
    names = {name: getattr(options, name) for name in ("network", "points", "to")}
    given = {name: Path(value).name for name, value in names.items() if value}
    others = {name: getattr(options, name) for name in ("epsilon", "sigma", "limits", "method")}
    if options.epsilon is not None:
        others["norm"] = options.norm
    if options.method == "sampled":
        others |= {"samples": options.samples, "draws": options.draws}
    return {"command": "floats", **given, **{name: value for name, value in others.items() if value is not None}}
