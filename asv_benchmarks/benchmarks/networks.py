"""The networks that all benchmarks share, and lines through their inputs.

Shipped: the digits networks. Seeded: the shapes of well-known public networks, He-initialised by NumPy, not trained. Deep:
VGG16 and ResNet-18, He-initialised by torch. Trained: the output of ``train_mnist.py``. Public: files in ``PWLNET_DATA_DIR``,
if it is set. A name is an entry of one of the tables below.

asv runs each benchmark in a process of its own. ``setup_cache``, imported by the modules of benchmarks, builds all networks
once per run; the processes read them from pickle files in the folder where asv starts them.
"""

import contextlib
import functools
import os
import pickle
from pathlib import Path

import numpy as np

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower

SHIPPED = ("digits_mlp", "digits_conv")
SEEDED = {  # input shape, layers; ("conv", channels, kernel, stride, padding), ("full", outputs); ReLU between them
    "acas_6x50": ((5,), [("full", 50)] * 6 + [("full", 5)]),
    "mnist_6x100": ((784,), [("full", 100)] * 5 + [("full", 10)]),
    "mnist_9x200": ((784,), [("full", 200)] * 8 + [("full", 10)]),
    "cifar_convsmall": ((3, 32, 32), [("conv", 16, 4, 2, 0), ("conv", 32, 4, 2, 0), ("full", 100), ("full", 10)]),
    "cifar_convmedium": ((3, 32, 32), [("conv", 16, 4, 2, 1), ("conv", 32, 4, 2, 1), ("full", 1000), ("full", 10)]),
    "cifar_convbig": (
        (3, 32, 32),
        [("conv", 32, 3, 1, 1), ("conv", 32, 4, 2, 1), ("conv", 64, 3, 1, 1), ("conv", 64, 4, 2, 1)]
        + [("full", 512), ("full", 512), ("full", 10)],
    ),
}
DEEP = ("vgg16_bn", "resnet18")
TRAINED = ("trained_mnist_6x100", "trained_mnist_9x200")
PUBLIC = {
    "file_acas_1_1": "acasxu/nnet/ACASXU_experimental_v2a_1_1.nnet",
    "file_cifar_6x100": "cifar10/eran_ffnn/cifar_relu_6_100.onnx",
    "file_mnist_convsmall": "mnist/eran_convsmall/convSmallRELU__Point.onnx",
    "file_cifar_convsmall": "cifar10/eran_convsmall/convSmallRELU__Point.onnx",
    "file_cifar_convmedium": "trained_here/cifar_convmed.onnx",
    "file_cifar_convbig": "trained_here/cifar_convbig.onnx",
}
REACH = {"vgg16_bn": 1 / 512, "resnet18": 1 / 1024}  # fraction of a line's length, where a whole one takes ten minutes
SKIP_SLOW = os.environ.get("ASV_SKIP_SLOW", "0") not in ("", "0")


def _trained_path(name):
    """Return where ``train_mnist.py`` writes a network."""
    return Path(__file__).resolve().parents[1] / "trained" / f"{name.removeprefix('trained_')}.onnx"


def _public_path(name):
    """Return the path of a public network, or None if it is not available."""
    path = os.path.join(os.environ.get("PWLNET_DATA_DIR", ""), PUBLIC[name])
    return path if os.environ.get("PWLNET_DATA_DIR") and os.path.isfile(path) else None


def with_slow(quick, slow):
    """Return the quick values of a parameter, and the slow ones unless ASV_SKIP_SLOW is set."""
    return list(quick) if SKIP_SLOW else [*quick, *slow]


NAMES = with_slow(
    ["digits_conv", "acas_6x50", "mnist_9x200", "cifar_convsmall"],
    [
        "digits_mlp",
        "mnist_6x100",
        "cifar_convmedium",
        "cifar_convbig",
        *DEEP,
        *(name for name in TRAINED if _trained_path(name).is_file()),
        *(name for name in PUBLIC if _public_path(name)),
    ],
)
FEW = with_slow(["digits_conv", "cifar_convsmall"], ["digits_mlp", "mnist_6x100"])  # for benchmarks with another parameter


def setup_cache():
    """Build the networks and save them in the current folder, once per run of asv."""
    for name in NAMES:
        with contextlib.suppress(NotImplementedError):  # no torch
            network = build_network(name)
            with open(_cache_file(name), "wb") as file:
                pickle.dump(network, file, protocol=pickle.HIGHEST_PROTOCOL)


setup_cache.timeout = 1800


def _cache_file(name):
    return f"network-{name}.pickle"


@functools.cache
def build_network(name):
    """Return a pwlnet.Network by name, from the current folder if ``setup_cache`` saved it there.

    NotImplementedError, for which asv skips a benchmark, if a library that it needs is not installed.
    """
    if os.path.isfile(_cache_file(name)):
        with open(_cache_file(name), "rb") as file:
            return pickle.load(file)
    if name in SHIPPED:
        return pwlnet.load_network(pwlnet.datasets.digits_network_path(name))
    if name in PUBLIC:
        return pwlnet.load_network(_public_path(name))
    if name in TRAINED:
        return pwlnet.load_network(_trained_path(name))
    if name in DEEP:
        return pwlnet.from_torch(build_module(name), (3, 32, 32))
    return lower(build_graph(*SEEDED[name]))


def build_module(name):
    """Build the torch module of one of ``DEEP``; NotImplementedError if torch is not installed."""
    try:
        from . import deep_networks
    except ImportError as error:
        raise NotImplementedError("torch is not installed") from error
    return deep_networks.build_module(name)


def build_graph(shape, layers, seed=0):
    """Build a graph with He-initialised weights and small biases."""
    rng = np.random.default_rng(seed)
    graph = Graph((1, *shape), batched=True)
    x = graph.input
    for k, (kind, n_out, *window) in enumerate(layers):
        if kind == "conv":
            kernel, stride, padding = window
            fan_in = x.shape[1] * kernel**2
            weight = rng.normal(size=(n_out, x.shape[1], kernel, kernel)) * np.sqrt(2 / fan_in)
            options = {"stride": (stride, stride), "padding": (padding,) * 4}
            x = graph.conv(x, weight, 0.05 * rng.normal(size=n_out), name=f"layer{k}", **options)
        else:
            x = graph.reshape(x, (1, -1), name=f"flatten{k}") if len(x.shape) > 2 else x
            weight = rng.normal(size=(n_out, x.size)) * np.sqrt(2 / x.size)
            x = graph.linear(x, weight, 0.05 * rng.normal(size=n_out), name=f"layer{k}")
        x = x if k == len(layers) - 1 else graph.relu(x, name=f"relu{k}")
    graph.output = x
    return graph


def draw_lines(network, n_lines, seed=0, reach=1.0):
    """Draw ends float64[L, D] of lines in the unit cube, shortened or extrapolated to ``reach`` times their length."""
    rng = np.random.default_rng(seed)
    starts, ends = rng.random((2, n_lines, network.n_inputs))
    return starts, ends if reach == 1.0 else starts + reach * (ends - starts)
