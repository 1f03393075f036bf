"""Running every kernel once, so that Numba's cache on disk is warm before a cluster job or a measurement."""

import time

import numpy as np

from .analysis.attribution import integrate_gradients
from .analysis.linearity import measure_linearity
from .analysis.sampling_error import compare_rules
from .convert.graph import Graph
from .convert.lower import lower
from .partition.lines.partitions import partition_lines


def toy_network():
    """Make a small network with every kind of op: convolutions, pools, all activations, a residual connection.

    Returns
    -------
    Network
    """
    rng = np.random.default_rng(0)
    graph = Graph((1, 2, 6, 6), batched=True)
    x = graph.conv(graph.input, rng.normal(size=(4, 2, 3, 3)), padding=(1, 1, 1, 1), name="conv")
    x = graph.leaky_relu(x, 0.125, name="leaky")
    grouped = graph.conv(x, rng.normal(size=(4, 2, 1, 1)), groups=2, name="grouped")
    x = graph.add(x, graph.clip(grouped, -1.0, 1.0, name="clip"), name="residual")
    x = graph.max_pool(x, 2, name="max_pool")
    x = graph.concat([x, graph.relu(x, name="relu")], axis=1, name="concat")
    x = graph.scale_shift(x, rng.normal(size=(8, 1, 1)), rng.normal(size=(8, 1, 1)), name="scale")
    x = graph.avg_pool(x, 2, padding=(1, 1, 1, 1), count_pad=False, name="avg_pool")
    x = graph.reshape(x, (1, -1), name="flatten")
    x = graph.relu(graph.linear(x, rng.normal(size=(8, x.size)), name="full"), name="last")
    graph.output = graph.linear(x, rng.normal(size=(3, 8)), name="outputs")
    return lower(graph)


def compile_kernels():
    """Compile every kernel, or load it from the cache, by using it once.

    Returns
    -------
    dict of str to float
        Seconds that each step took: near zero when the cache was warm.

    Notes
    -----
    Two to three minutes with a cold cache.
    """
    network = toy_network()
    points = np.random.default_rng(1).random((4, network.n_inputs))
    steps = {
        "forward": lambda: network.forward(points),
        "preactivations": lambda: network.preactivations(points),
        "patterns": lambda: network.patterns(points),
        "hamming": lambda: network.patterns(points).hamming(network.patterns(points)),
        "unpack": lambda: network.patterns(points).unpack(),
        "jacobian": lambda: network.jacobian(points),
        "affine_map": lambda: network.affine_map(points[0]),
        "partition_lines": lambda: partition_lines(network, points[:2], points[2:]),
        "integrate_gradients": lambda: integrate_gradients(network, points[:2], points[2:]),
        "compare_rules": lambda: compare_rules(partition_lines(network, points[:2], points[2:]), 0, counts=[4]),
        "measure_linearity": lambda: measure_linearity(partition_lines(network, points[:2], points[2:]), 0),
    }
    seconds = {}
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        seconds[name] = time.perf_counter() - start
    return seconds
