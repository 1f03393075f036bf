"""The subcommand that attributes outputs to inputs."""

import sys
import time
from pathlib import Path

from .arguments import positive, read_rows
from .chosen_lines import ChosenLines
from .output import show
from .store_options import add_store_options, open_writer

_BATCH_BYTES = 2**25  # attributions per commit


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    attribute = commands.add_parser(
        "attribute",
        parents=[common],
        help="integrated gradients of outputs, exact or by a sampling rule",
        description="Integrated gradients of outputs along the lines from baselines to inputs, into a new store, batch by "
        "batch. FILE: .npy (read piece by piece), .npz (:NAME where it has several arrays) or .csv, one point per row.",
    )
    attribute.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    attribute.add_argument(
        "--baseline", metavar="FILE|zero", required=True, help="zero, or a file; a single row serves for all"
    )
    attribute.add_argument("--inputs", metavar="FILE", required=True, help="a single row serves for all baselines")
    attribute.add_argument("--out", metavar="STORE.h5", required=True, help="a new store")
    attribute.add_argument(
        "--method",
        default="exact",
        metavar="NAME",
        help="exact (default), left, right, midpoint, trapezoid, simpson, gauss_legendre, captum_trapezoid",
    )
    attribute.add_argument("--samples", type=positive, metavar="N", help="points of a sampling rule")
    attribute.add_argument("--outputs", type=output_list, metavar="K,L,...", help="outputs to attribute (default: all)")
    add_store_options(attribute)
    attribute.add_argument("--batch", type=positive, metavar="N", help="inputs per commit (default: as many as take 32 MiB)")
    attribute.set_defaults(run=run_attribute)


def output_list(text):
    """Numbers of outputs: "0,3" to [0, 3]."""
    return [int(part) for part in text.split(",")]


output_list.__name__ = "list of outputs"  # argparse: "invalid ... value"


def run_attribute(options):
    """Attribute outputs and store the result, batch by batch."""
    import numpy as np

    from ..errors import InputError
    from ..loading import load_network

    network = load_network(options.network, input_shape=options.input_shape)
    baselines = np.zeros(network.n_inputs) if options.baseline == "zero" else read_rows(options.baseline)
    lines = ChosenLines(network, baselines, read_rows(options.inputs), kind="attributions")
    if not lines.n_lines:
        raise InputError("--baseline and --inputs hold no rows; give at least one of each")
    _rows(options, lines, 0, 0)  # refuses options that do not fit before there is a store
    began = time.perf_counter()
    residual, counts = _stored(options, lines)
    seconds = time.perf_counter() - began
    values = {
        "store": options.out,
        "attributions": lines.n_lines,
        "outputs": residual.shape[1],
        "method": options.method,
        "segments" if options.method == "exact" else "samples": int(counts.sum()),
        "per_input": {name: float(getattr(np, name)(counts)) for name in ("min", "median", "max")},
        "residual": float(np.abs(residual).max()),
        "seconds": seconds,
    }
    show(options, values)


def _rows(options, lines, first, last):
    """Rows of the store for some inputs: dict of arrays by field."""
    import numpy as np

    from ..analysis.attribution import integrate_gradients

    baselines, inputs = lines.read(first, last)
    chosen = {"outputs": options.outputs, "method": options.method, "n_samples": options.samples, "threads": options.threads}
    found = integrate_gradients(lines.network, baselines, inputs, **chosen)
    counts = np.full(len(found), found.n_samples) if found.n_segments is None else found.n_segments
    ends = {"baselines": baselines, "inputs": inputs}
    return {**ends, "values": found.values, "residual": found.residual, "n_segments": counts.astype(np.int64)}


def _stored(options, lines):
    """Append batches to a store; residuals float64[B, C] and counts int64[B] of all that is in it."""
    import numpy as np

    from .. import store

    n_outputs = lines.network.n_outputs if options.outputs is None else len(options.outputs)
    batch = options.batch or max(1, _BATCH_BYTES // (8 * n_outputs * lines.network.n_inputs))
    residual, counts = np.empty((lines.n_lines, n_outputs)), np.empty(lines.n_lines, np.int64)
    with open_writer(options, lines.network, parameters=_parameters(options)) as writer:
        before = writer.n_rows("attributions")
        lines.check_begun(options.out, before)
        try:
            with store.open(options.out) as stored:
                for first in range(0, before, batch):
                    part = slice(first, min(first + batch, before))
                    rows = stored.read("attributions", part.start, part.stop)
                    residual[part], counts[part] = rows["residual"], rows["n_segments"]
            for part, rows in _appended(options, lines, writer, before, batch):
                residual[part], counts[part] = rows["residual"], rows["n_segments"]
        except BaseException as error:
            done = writer.n_rows("attributions")
            error.add_note(f"{options.out} holds the first {done} of {lines.n_lines} attributions; --resume goes on")
            raise
    return residual, counts


def _appended(options, lines, writer, first, batch):
    """Append the rest of the rows, with a progress bar on a terminal; give each batch when it is on the disk."""
    from tqdm import tqdm

    with tqdm(total=lines.n_lines, initial=first, unit="input", disable=not sys.stderr.isatty()) as bar:
        while first < lines.n_lines:
            last = min(first + batch, lines.n_lines)
            rows = _rows(options, lines, first, last)
            writer.append("attributions", rows)
            yield slice(first, last), rows
            bar.update(last - first)
            first = last


def _parameters(options):
    """What the store's provenance records; names of files without their folders."""
    names = {name: Path(getattr(options, name)).name for name in ("network", "baseline", "inputs")}
    chosen = {"method": options.method, "samples": options.samples, "outputs": options.outputs}
    return {"command": "attribute", **names, **chosen}
