"""The subcommand that attributes outputs to inputs."""

from pathlib import Path

from .arguments import positive, read_rows
from .chosen_lines import ChosenLines
from .output import on_terminal, show
from .store_options import add_store_options, open_writer
from .timing import Stopwatch, load_kernels

_BATCH_BYTES = 2**25  # attributions per commit


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    attribute = commands.add_parser(
        "attribute",
        parents=[common],
        help="compute integrated gradients of outputs, exactly or by a sampling rule",
        description="Compute integrated gradients of outputs along the lines from baselines to inputs, and write them to a new "
        "store in batches. FILE: .npy (read in slices), .npz (FILE.npz:NAME if it has several arrays) or .csv, one point per "
        "row.",
    )
    attribute.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5")
    attribute.add_argument(
        "--baseline", metavar="FILE|zero", required=True, help="zero, or a file; a single row is used for all inputs"
    )
    attribute.add_argument("--inputs", metavar="FILE", required=True, help="a single row is used for all baselines")
    attribute.add_argument("--out", metavar="STORE.h5", required=True, help="write the attributions to a new store")
    attribute.add_argument(
        "--method",
        default="exact",
        metavar="NAME",
        help="exact (default), left, right, midpoint, trapezoid, simpson, gauss_legendre, captum_trapezoid",
    )
    attribute.add_argument("--samples", type=positive, metavar="N", help="number of points of a sampling rule")
    attribute.add_argument("--outputs", type=output_list, metavar="K,L,...", help="outputs to attribute (default: all)")
    add_store_options(attribute)
    attribute.add_argument("--batch", type=positive, metavar="N", help="inputs per commit (default: as many as take 32 MiB)")
    attribute.set_defaults(run=run_attribute)


def output_list(text):
    """Parse the indices of outputs: "0,3" to [0, 3]."""
    return [int(index) for index in text.split(",")]


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
        raise InputError("--baseline and --inputs have no rows; give at least one of each")
    _rows(options, lines, 0, 0)  # refuses wrong options before there is a store
    zero = np.zeros((1, network.n_inputs))
    load_kernels(lambda: _attribute(options, network, zero, zero))
    stopwatch = Stopwatch()
    residual, counts = _store(options, lines)
    values = {
        "store": options.out,
        "attributions": lines.n_lines,
        "outputs": residual.shape[1],
        "method": options.method,
        "segments" if options.method == "exact" else "samples": int(counts.sum()),
        "per_input": {name: float(getattr(np, name)(counts)) for name in ("min", "median", "max")},
        "residual": float(np.abs(residual).max()),
        "seconds": stopwatch.seconds,
    }
    show(options, values)


def _attribute(options, network, baselines, inputs):
    """Compute the attributions of some inputs: Attributions."""
    from ..analysis.attribution import integrate_gradients

    chosen = {"outputs": options.outputs, "method": options.method, "n_samples": options.samples, "threads": options.threads}
    return integrate_gradients(network, baselines, inputs, **chosen)


def _rows(options, lines, first, last):
    """Compute rows of the store: dict of arrays by field."""
    import numpy as np

    baselines, inputs = lines.read(first, last)
    result = _attribute(options, lines.network, baselines, inputs)
    counts = np.full(len(result), result.n_samples) if result.n_segments is None else result.n_segments
    ends = {"baselines": baselines, "inputs": inputs}
    return {**ends, "values": result.values, "residual": result.residual, "n_segments": counts.astype(np.int64)}


def _store(options, lines):
    """Append batches to a store; return residuals float64[B, C] and counts int64[B] of all attributions in it."""
    import numpy as np

    from .. import store

    n_outputs = lines.network.n_outputs if options.outputs is None else len(options.outputs)
    batch = options.batch or max(1, _BATCH_BYTES // (8 * n_outputs * lines.network.n_inputs))
    residual, counts = np.empty((lines.n_lines, n_outputs)), np.empty(lines.n_lines, np.int64)
    with open_writer(options, lines.network, parameters=_parameters(options)) as writer:
        before = writer.n_rows("attributions")
        lines.check_resumable(options.out, before)
        try:
            with store.open(options.out) as stored:
                for first in range(0, before, batch):
                    chunk = slice(first, min(first + batch, before))
                    rows = stored.read("attributions", chunk.start, chunk.stop)
                    residual[chunk], counts[chunk] = rows["residual"], rows["n_segments"]
            for chunk, rows in _append(options, lines, writer, before, batch):
                residual[chunk], counts[chunk] = rows["residual"], rows["n_segments"]
        except BaseException as error:
            done = writer.n_rows("attributions")
            error.add_note(f"{options.out} has the first {done} of {lines.n_lines} attributions; --resume continues")
            raise
    return residual, counts


def _append(options, lines, writer, first, batch):
    """Append the rows from ``first`` on, with a progress bar on a terminal; yield each batch after it has been committed."""
    from tqdm import tqdm

    with tqdm(total=lines.n_lines, initial=first, unit="input", disable=not on_terminal()) as bar:
        while first < lines.n_lines:
            last = min(first + batch, lines.n_lines)
            rows = _rows(options, lines, first, last)
            writer.append("attributions", rows)
            yield slice(first, last), rows
            bar.update(last - first)
            first = last


def _parameters(options):
    """Return what the store's provenance records; names of files without their folders."""
    names = {name: Path(getattr(options, name)).name for name in ("network", "baseline", "inputs")}
    chosen = {"method": options.method, "samples": options.samples, "outputs": options.outputs}
    return {"command": "attribute", **names, **chosen}
