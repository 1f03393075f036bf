"""Subcommands about networks and the installation: info, convert, compile, datasets, demo."""

import time
from pathlib import Path

from .arguments import shape
from .output import show


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    info = commands.add_parser("info", parents=[common], help="describe a network file or a store")
    info.add_argument("path", metavar="NET|STORE", help=".onnx, .nnet, .eran or .h5")
    info.add_argument("--input-shape", type=shape, metavar="C,H,W", help="if the ONNX file does not specify it")
    info.set_defaults(run=run_info)
    convert = commands.add_parser("convert", parents=[common], help="convert a network to the HDF5 format of pwlnet")
    convert.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran or .h5, including stores")
    convert.add_argument("out", metavar="OUT.h5", help="a new file")
    convert.add_argument("--input-shape", type=shape, metavar="C,H,W", help="if the ONNX file does not specify it")
    convert.set_defaults(run=run_convert)
    compile_ = commands.add_parser("compile", parents=[common], help="compile all kernels into Numba's cache on disk")
    compile_.set_defaults(run=run_compile)
    datasets = commands.add_parser("datasets", parents=[common], help="list public networks and images, or download some")
    datasets.add_argument("names", metavar="NAME", nargs="*", help="download these (default: list all names)")
    datasets.add_argument("--prefix", default="", help="list names with this prefix only")
    datasets.set_defaults(run=run_datasets)
    demo = commands.add_parser("demo", parents=[common], help="analyse the shipped networks, and write stores and figures")
    demo.add_argument("--out", metavar="DIR", default="demo_output", help="folder for results (default: %(default)s)")
    demo.set_defaults(run=run_demo)


def run_info(options):
    """Show the contents of a network file or a store."""
    if _is_hdf5(options.path):
        from .. import store

        with store.open(options.path) as opened:
            if opened.has_lines:
                show(options, opened.info())
                return
    from ..loading import load_network
    from ..scheduling import execution

    network, how = load_network(options.path, input_shape=options.input_shape), execution()
    slots = f"{how.n_threads} {'parallel slots' if how.kind == 'parallel' else 'Python threads'}"
    text = f"{network.summary()}\ndigest {network.digest}\nkernels run on {slots}: {how.reason}"
    show(options, {"path": options.path, **_sizes(network), "execution": how._asdict()}, text)


def run_convert(options):
    """Convert a network file."""
    from ..loading import load_network

    network = load_network(options.network, input_shape=options.input_shape)
    network.save(options.out)
    show(options, {"path": options.out, **_sizes(network)})


def run_compile(options):
    """Compile all kernels."""
    from .. import warmup

    start = time.perf_counter()
    seconds = warmup.compile_kernels()
    show(options, {"seconds": {**seconds, "total": time.perf_counter() - start}})


def run_datasets(options):
    """List names of datasets, or download them."""
    from .. import datasets

    if not options.names:
        names = datasets.names(options.prefix)
        show(options, {"names": names}, "\n".join(names))
        return
    paths = {name: str(datasets.fetch(name)) for name in options.names}
    show(options, {"paths": paths}, "\n".join(paths.values()))


def run_demo(options):
    """Run the demo."""
    from .. import demo

    demo.run(Path(options.out))


def _is_hdf5(path):
    from ..errors import InputError
    from ..loading import HDF5_MAGICS

    try:
        with Path(path).open("rb") as file:
            return file.read(8) in HDF5_MAGICS
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); give a network file or a store") from error


def _sizes(network):
    return {
        "digest": network.digest,
        "input_shape": list(network.input_shape),
        "output_shape": list(network.output_shape),
        "inputs": network.n_inputs,
        "outputs": network.n_outputs,
        "neurons": network.n_neurons,
        "ops": len(network.names),
    }
