"""Networks and line partitions for the tests of the store: small, made without files, seeds explicit."""

import numpy as np
import pytest

from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.partition.lines.partitions import LinePartitions
from pwlnet.tolerances import DEFAULT


def small_network(seed):
    """Five inputs, 200 neurons, two outputs."""
    rng = np.random.default_rng(seed)
    graph = Graph((1, 5), batched=True)
    x = graph.linear(graph.input, rng.normal(size=(200, 5)), rng.normal(size=200), name="first")
    x = graph.relu(x, name="relu.ü")
    graph.output = graph.linear(x, rng.normal(size=(2, 200)), name="last")
    return lower(graph)


@pytest.fixture(scope="session")
def network():
    return small_network(0)


@pytest.fixture(scope="session")
def other_network():
    return small_network(1)


def make_partitions(network, n_lines, *, seed=0, n_segments=40, **changes):
    """Well-formed line partitions of a network with five inputs, without computing any."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, n_segments + 2, n_lines)
    inner = [np.sort(rng.random(n - 2)) for n in counts]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    flips = rng.integers(0, 3, offsets[-1])
    fields = {
        "network": network,
        "starts": rng.random((n_lines, 5)),
        "ends": rng.random((n_lines, 5)),
        "offsets": offsets,
        "t": np.concatenate([np.empty(0), *([0.0, *part, 1.0] for part in inner)]),
        "flip_offsets": np.concatenate([[0], np.cumsum(flips)]),
        "flip_neurons": rng.integers(0, network.n_neurons, flips.sum()),
        "flip_states": rng.integers(0, 2, flips.sum()).astype(np.int32),
        "residual": rng.random(n_lines),
        "ambiguous": rng.integers(0, 3, n_lines),
        "t_error": 1e-15 * rng.random(n_lines),
        "tolerances": DEFAULT,
    }
    return LinePartitions(**{**fields, **changes})


@pytest.fixture
def make_lines(network):
    """A function that makes well-formed line partitions without computing any: the store must keep what it is given."""

    def make(n_lines, **options):
        return make_partitions(options.pop("network", network), n_lines, **options)

    return make
