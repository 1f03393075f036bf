"""Networks, line and plane partitions for the tests of the store: small, made without files, seeds explicit."""

import numpy as np
import pytest

from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.partition.lines.partitions import LinePartitions
from pwlnet.partition.planes.partitions import PlanePartition, PlanePartitions
from pwlnet.partition.planes.polygons import Plane
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


def make_plane_partitions(network, n_planes, *, seed=0, n_polygons=40):
    """Well-formed plane partitions of a network with five inputs, without computing any."""
    rng = np.random.default_rng(seed)
    planes, parts = [], []
    for _ in range(n_planes):
        plane = Plane(*rng.random((3, 5)), rng.random((rng.integers(1, 7), 2)))
        counts, n_vertices = rng.integers(1, 7, rng.integers(1, n_polygons + 1)), int(rng.integers(1, 2 * n_polygons))
        arrays = {
            "offsets": np.concatenate([[0], np.cumsum(counts)]),
            "vertex_numbers": rng.integers(0, n_vertices, counts.sum()).astype(np.int32),
            "shared_vertices": rng.random((n_vertices, 2)),
            "outputs": rng.normal(size=(n_vertices, 2)),
            "error": np.full((n_vertices, 2), np.nan) if len(plane.polygon) < 3 else 1e-15 * rng.random((n_vertices, 2)),
            "packed": rng.integers(0, 2**63, (len(counts), int(network.pattern_layout.word_offsets[-1]))).astype(np.uint64),
            "areas": rng.random(len(counts)),
        }
        planes.append(plane)
        parts.append(PlanePartition(network, plane, **arrays, residual=float(rng.random())))
    return PlanePartitions(network, tuple(planes), tuple(parts))


def same_planes(planes, others):
    """Whether two plane partitions are equal bit for bit, dtypes included, but for ``n_exact``."""
    fields = ("offsets", "vertex_numbers", "shared_vertices", "outputs", "error", "packed", "areas")
    pairs = [(getattr(a, field), getattr(b, field)) for a, b in zip(planes.parts, others.parts) for field in fields]
    pairs += [pair for a, b in zip(planes.planes, others.planes) for pair in zip(a, b, strict=True)]
    pairs += [(planes.residual, others.residual)]
    equal = all(a.dtype == b.dtype and a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in pairs)
    return len(planes) == len(others) and equal


@pytest.fixture
def make_planes(network):
    """A function that makes well-formed plane partitions without computing any."""

    def make(n_planes, **options):
        return make_plane_partitions(options.pop("network", network), n_planes, **options)

    return make


@pytest.fixture
def make_lines(network):
    """A function that makes well-formed line partitions without computing any: the store must keep what it is given."""

    def make(n_lines, **options):
        return make_partitions(options.pop("network", network), n_lines, **options)

    return make
