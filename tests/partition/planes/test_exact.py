"""Planes against exact rational arithmetic: patterns, areas, shared vertices, bounds on rounding errors."""

import itertools
import os
import signal
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.partition.planes import dividing, rounds
from pwlnet.partition.planes.exact import Exact
from tests.counts import few
from tests.described import to_network
from tests.reference import exact_plane
from tests.reference.random_planes import random_plane_case, random_plane_cells

AGREE = 1e-12  # of areas and outputs from exact ones, relative to the largest


def partition_of(seed, **options):
    description, origin, e1, e2, polygon = random_plane_case(seed)
    return pwlnet.partition_planes(to_network(description), origin, e1, e2, polygon, threads=1, **options).parts[0]


def assert_equals_exact(part, seed):
    """Its patterns are those of the oracle, none missing, none extra, none twice, with their areas."""
    expected = {states: float(area) for states, area, _ in random_plane_cells(seed)}
    actual = list(map(tuple, part.patterns().unpack().tolist()))
    assert len(actual) == len(expected) and set(actual) == set(expected), seed
    size = max(1.0, sum(expected.values()))
    assert all(abs(area - expected[states]) <= AGREE * size for states, area in zip(actual, part.areas, strict=True)), seed


def assert_is_watertight(part, seed):
    """Polygons are a subdivision of a disc: each edge has two of them, on both sides, or is at the rim; Euler's number is 1."""
    n_sides, adjacency = len(part.vertex_numbers), part.adjacency()
    assert len(part.shared_vertices) - (n_sides - len(adjacency.polygons)) + part.n_polygons == 1, seed
    following = np.arange(n_sides) + 1
    following[part.offsets[1:] - 1] = part.offsets[:-1]
    directed = list(zip(part.vertex_numbers.tolist(), part.vertex_numbers[following].tolist(), strict=True))
    assert len(set(directed)) == n_sides, seed
    patterns = part.packed
    assert (patterns[adjacency.polygons[:, 0]] != patterns[adjacency.polygons[:, 1]]).any(axis=1).all(), seed


@pytest.mark.parametrize("first", range(0, few(1000, 100), 50))
def test_patterns_and_areas_equal_the_exact_ones(first):
    """Half of the networks, and half of the planes, are degenerate; all ops."""
    for seed in range(first, first + 50):
        part = partition_of(seed)
        assert_equals_exact(part, seed)
        assert_is_watertight(part, seed)
        assert part.residual <= AGREE


@pytest.mark.parametrize("most", [2, 5])
def test_meshes_that_are_divided_give_the_same_polygons(monkeypatch, most):
    monkeypatch.setattr(dividing, "MOST_FACES", most)
    for seed in range(1000, 1000 + few(300, 20)):
        part = partition_of(seed)
        assert_equals_exact(part, seed)
        assert_is_watertight(part, seed)


def test_maps_are_those_of_the_polygons_and_agree_on_shared_edges():
    for seed in range(2000, 2000 + few(200, 20)):
        description, origin, e1, e2, _ = random_plane_case(seed)
        part = partition_of(seed)
        maps, uv = part.affine_maps(), part.centroids()
        points = origin + uv[:, :1] * e1 + uv[:, 1:] * e2
        expected = to_network(description).forward(points)
        size = max(1.0, np.abs(expected).max(initial=0.0))
        assert np.abs((maps * np.c_[uv, np.ones(len(uv))][:, None]).sum(axis=2) - expected).max(initial=0.0) <= AGREE * size
        pairs, ends = part.adjacency()
        for (a, b), vertices in zip(pairs, ends, strict=True):
            at = np.c_[part.shared_vertices[vertices], np.ones(2)]
            assert np.abs(at @ (maps[a] - maps[b]).T).max(initial=0.0) <= AGREE * max(1.0, np.abs(maps).max())
        assert np.array_equal(part.locate(uv), np.arange(part.n_polygons))


def exact_outputs(part):
    """Return, for each vertex of a part's only mesh, the exact outputs and coordinates, by integers: lists of Fractions."""
    ((mesh, first, last),) = part._meshes
    assert (first, last) == (0, mesh.n_faces)
    problem, network = part._problem, part.network
    exact = Exact(problem.exact_ops, problem.stages, problem.planes, mesh.levels, mesh.lines)
    depth, at = len(mesh.levels) - 1, rounds.faces_of_vertices(mesh)
    last_op = len(network.program.op) - 1
    for v in range(mesh.n_vertices):
        p = exact.point(mesh.vertices.lines[v])
        values, denominator = [], exact._denominator(last_op, depth, int(at[v]))
        for o in network.program.output_index.tolist():
            a, b, c = exact.value(last_op, o, depth, int(at[v]))
            values.append(Fraction(a * p[0] + b * p[1] + c * p[2], p[2] * denominator))
        yield values, (Fraction(p[0], p[2]), Fraction(p[1], p[2]))


@pytest.mark.parametrize("kind", ["integer", "deep", "conv", "clip"])
def test_errors_of_outputs_are_within_their_bounds(kind):
    """The bounds carried with the vertices (kernels/planes/mesh.py) hold at every vertex, against integer arithmetic."""
    torch = pytest.importorskip("torch")
    largest = 0.0
    for seed in range(few(30, 2, quick=2)):
        rng = np.random.default_rng(seed)
        if kind == "integer":
            part = partition_of(3000 + seed)
            if len(part._meshes) != 1:
                continue
        else:
            torch.manual_seed(seed)
            layers = torch.nn
            if kind == "deep":
                sizes = [3, 12, 12, 12, 12, 12, 2]
                modules = [m for a, b in itertools.pairwise(sizes) for m in (layers.Linear(a, b), layers.ReLU())][:-1]
                shape = (3,)
            elif kind == "clip":  # the limits are far larger than the values that they replace
                modules = [layers.Linear(3, 12), layers.Hardtanh(900.1, 1000.3), layers.Linear(12, 2)]
                shape = (3,)
            else:
                modules = [
                    layers.Conv2d(1, 4, 3, padding=1), layers.ReLU(), layers.MaxPool2d(2), layers.Conv2d(4, 4, 3),
                    layers.LeakyReLU(0.1), layers.Flatten(), layers.Linear(16, 3),
                ]  # fmt: skip
                shape = (1, 8, 8)
            network = pwlnet.from_torch(torch.nn.Sequential(*modules).double(), shape)
            origin, e1, e2 = rng.normal(size=(3, network.n_inputs))
            square = (0.06 if kind == "conv" else 2.0) * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
            part = pwlnet.partition_planes(network, origin, e1, e2, square, threads=1).parts[0]
        for v, (values, uv) in enumerate(exact_outputs(part)):
            for o, value in enumerate(values):
                error, bound = abs(Fraction(float(part.outputs[v, o])) - value), part.error[v, o]
                assert error <= Fraction(float(bound)), (seed, v, o)
                largest = max(largest, float(error) / bound)
            scale = np.abs(part.plane.polygon).max()
            assert max(abs(Fraction(float(x)) - y) for x, y in zip(part.shared_vertices[v], uv, strict=True)) <= 1e-8 * scale
    assert 0.0 < largest < 0.5  # not far below, or the bounds would say little


def test_one_hidden_layer_has_the_regions_of_an_arrangement():
    """n lines in general position, all crossing in the polygon, have 1 + n + n (n - 1) / 2 regions."""
    torch = pytest.importorskip("torch")
    for n in (1, 5, 40, few(300, 20, quick=100)):
        torch.manual_seed(n)
        network = pwlnet.from_torch(
            torch.nn.Sequential(torch.nn.Linear(2, n), torch.nn.ReLU(), torch.nn.Linear(n, 1)).double(), (2,)
        )
        size = 1e7
        part = pwlnet.partition_planes(
            network, [0, 0], [1, 0], [0, 1], size * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        ).parts[0]
        assert part.n_polygons == 1 + n + n * (n - 1) // 2


def test_the_restriction_to_a_line_is_the_partition_of_the_line():
    for seed in range(4000, 4000 + few(200, 20)):
        rng = np.random.default_rng(seed)
        description, origin, e1, e2, _ = random_plane_case(seed)
        part = partition_of(seed)
        corners = part.plane.polygon
        weights = rng.dirichlet(np.ones(len(corners)), 2)
        uv = np.round(weights @ corners * 64) / 64
        if np.array_equal(uv[0], uv[1]) or (part.locate(uv) < 0).any():
            continue
        ends = [origin + u * e1 + v * e2 for u, v in uv]
        line = pwlnet.partition_lines(to_network(description), ends[0][None], ends[1][None], threads=1).parts[0]
        middles = line.t[:-1] + np.diff(line.t) / 2
        at = uv[0] + middles[:, None] * (uv[1] - uv[0])
        polygons = part.locate(at)
        actual, expected = part.patterns().unpack()[polygons], line.states()
        for k, (states, on_line) in enumerate(zip(actual, expected, strict=True)):
            if not np.array_equal(states, on_line):  # the line runs along an edge: neurons are 0 on it
                z = to_network(description).preactivations(origin + at[k, 0] * e1 + at[k, 1] * e2)[0]
                assert np.abs(z[states != on_line]).max() <= 1e-9 or on_edge(part, at[k]), seed


def on_edge(part, uv):
    """Return whether a point is on an edge of its polygon."""
    r = int(part.locate(uv))
    corners = part.vertices[part.offsets[r] : part.offsets[r + 1]]
    d = np.roll(corners, -1, axis=0) - corners
    return np.abs(d[:, 0] * (uv[1] - corners[:, 1]) - d[:, 1] * (uv[0] - corners[:, 0])).min() <= 1e-9


def test_many_planes_of_a_call_are_those_of_single_calls():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = pwlnet.from_torch(torch.nn.Sequential(torch.nn.Linear(4, 20), torch.nn.ReLU(), torch.nn.Linear(20, 3)), (4,))
    rng = np.random.default_rng(0)
    origins, e1, e2 = rng.normal(size=(3, 50, 4))
    polygons = [3.0 * np.array([[0, 0], [1, 0], [0.5, 1 + k / 50]]) for k in range(50)]
    together = pwlnet.partition_planes(network, origins, e1, e2, polygons, threads=2)
    batches = list(pwlnet.iter_plane_partitions(network, origins, e1, e2, polygons, max_planes=7, threads=1))
    assert [len(batch) for batch in batches] == [7] * 7 + [1]
    streamed = [part for batch in batches for part in batch.parts]
    alone = pwlnet.partition_planes(network, origins, e1, e2, polygons, threads=1)
    for a, b in zip(together.parts, alone.parts, strict=True):
        for name in ("offsets", "vertex_numbers", "shared_vertices", "outputs", "error", "packed", "areas"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for k, (a, b) in enumerate(zip(together.parts, streamed, strict=True)):
        alone = pwlnet.partition_planes(network, origins[k], e1[k], e2[k], polygons[k], threads=1).parts[0]
        for part in (a, b):
            assert part.n_polygons == alone.n_polygons
            assert np.allclose(np.sort(part.areas), np.sort(alone.areas), rtol=0.0, atol=AGREE)
            order, other = np.lexsort(part.packed.T), np.lexsort(alone.packed.T)
            assert np.array_equal(part.packed[order], alone.packed[other])


def test_results_do_not_depend_on_threads(monkeypatch):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = pwlnet.from_torch(
        torch.nn.Sequential(
            torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3)
        ),
        (2,),
    )
    monkeypatch.setattr(dividing, "MOST_FACES", 100)
    square = 3.0 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    one, two = (pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], square, threads=k).parts[0] for k in (1, 2))
    for name in ("offsets", "vertex_numbers", "shared_vertices", "outputs", "error", "packed", "areas"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert_is_watertight(one, None)
    chunks = list(pwlnet.iter_plane_chunks(network, [0, 0], [1, 0], [0, 1], square, max_polygons=150, threads=2))
    assert len(chunks) > 3 and sum(chunk.n_polygons for chunk in chunks) == one.n_polygons
    uv = np.concatenate([chunk.shared_vertices for chunk in chunks])
    assert len(uv) == len(one.shared_vertices)
    for chunk in chunks:
        assert chunk.vertex_numbers.max() < chunk.first_vertex + len(chunk.shared_vertices)
        here = slice(chunk.first_polygon, chunk.first_polygon + chunk.n_polygons)
        assert np.array_equal(chunk.packed, one.packed[here]) and np.array_equal(chunk.areas, one.areas[here])
        corners = slice(one.offsets[here.start], one.offsets[here.stop])
        assert np.array_equal(uv[chunk.vertex_numbers], one.vertices[corners])


def test_sawtooth_networks_have_exponentially_many_regions():
    """g(x) = 1 - |1 - 2 x| composed k times has 2^k teeth: all breakpoints are dyadic, and neurons tie everywhere."""
    weights = [np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])]
    description = [{"kind": "input", "inputs": [], "shape": (2,)}]
    bias = np.array([0.0, -0.5, 0.0, -0.5])
    combine = np.array([[2.0, -4.0, 0.0, 0.0], [0.0, 0.0, 2.0, -4.0]])
    for k in range(4):
        matrix = weights[0] if k == 0 else weights[0] @ combine
        description.append({"kind": "linear", "inputs": [2 * k], "weight": matrix, "bias": bias})
        description.append({"kind": "relu", "inputs": [2 * k + 1]})
    description.append({"kind": "linear", "inputs": [8], "weight": combine, "bias": np.zeros(2)})
    part = pwlnet.partition_planes(to_network(description), [0, 0], [1, 0], [0, 1], [[0, 0], [1, 0], [1, 1], [0, 1]]).parts[0]
    assert part.n_polygons == 256 and np.array_equal(part.areas, np.full(256, 1 / 256))
    assert_is_watertight(part, None)


def test_many_planes_with_ties_are_those_of_the_oracle():
    """Exact answers use the plane that a face belongs to, also in the second mesh of a call and later."""
    nodes = [{"kind": "input", "inputs": [], "shape": (3,)}]
    rng = np.random.default_rng(0)
    for n_in, n_out in ((3, 6), (6, 5)):
        weight = rng.integers(-2, 3, (n_out, n_in)).astype(np.float64)
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": np.zeros(n_out)})
        nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    origins, e1, e2 = rng.integers(-1, 2, (3, 80, 3)).astype(np.float64)
    spans = np.linalg.norm(np.cross(e1, e2), axis=1) > 0
    origins, e1, e2 = origins[spans], e1[spans], e2[spans]
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    planes = pwlnet.partition_planes(to_network(nodes), origins, e1, e2, square, threads=1)
    assert planes.n_exact > 500 and len(planes) > 40
    for part, *arguments in zip(planes.parts, origins, e1, e2, strict=True):
        expected = {states: float(area) for states, area, _ in exact_plane.partition(nodes, *arguments, square)}
        states = map(tuple, part.patterns().unpack().tolist())
        actual = dict(zip(states, part.areas.tolist(), strict=True))
        assert set(actual) == set(expected) and all(abs(actual[s] - expected[s]) <= AGREE for s in actual)


def test_arrays_that_are_too_small_grow(monkeypatch):
    """Faces that do not fit are cut again when there is more room, with the same result."""

    def estimate_little(*arguments):
        arguments[-1][:] = 1, 0, 0

    monkeypatch.setattr(rounds.face_kernels, "estimate_cuts", estimate_little)
    for seed in range(5000, 5000 + few(100, 20)):
        part = partition_of(seed)
        assert_equals_exact(part, seed)
        assert_is_watertight(part, seed)
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(2, 24), torch.nn.ReLU(), torch.nn.Linear(24, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3)]
    network = pwlnet.from_torch(torch.nn.Sequential(*layers), (2,))
    square = 4.0 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    small = pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], square, threads=1).parts[0]
    monkeypatch.undo()
    expected = pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], square, threads=1).parts[0]
    assert np.array_equal(small.packed, expected.packed) and np.array_equal(small.areas, expected.areas)


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_a_plane_that_takes_long_soon(interruptible, threads):
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    images, _ = pwlnet.datasets.digits_images()
    a, b, c = images[:3]
    pwlnet.partition_planes(network, a, 0.01 * (b - a), 0.01 * (c - a), [[0, 0], [1, 0], [0, 1]], threads=threads)
    interrupted = []

    def interrupt():
        interrupted.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pwlnet.partition_planes(network, a, 9.0 * (b - a), 9.0 * (c - a), [[0, 0], [1, 0], [0, 1]], threads=threads)
    assert time.perf_counter() - interrupted[0] < 2.0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pwlnet")]
