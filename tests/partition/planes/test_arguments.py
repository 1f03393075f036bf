"""Arguments of partition_planes: what is refused, degenerate polygons, limits."""

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import CapacityError, InputError, NumericalError, ShapeError
from pwlnet.partition.planes.polygons import as_convex_polygon
from tests.described import to_network

SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    nodes = [{"kind": "input", "inputs": [], "shape": (3,)}]
    for n_in, n_out in ((3, 16), (16, 16)):
        weight, bias = rng.normal(size=(n_out, n_in)), rng.normal(size=n_out)
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
        nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": rng.normal(size=(2, 16)), "bias": np.zeros(2)})
    return to_network(nodes)


def cut(network, polygon=SQUARE, e1=(1, 0, 0), e2=(0, 1, 0), origin=(0, 0, 0), **options):
    return pwlnet.partition_planes(network, origin, e1, e2, polygon, threads=1, **options).parts[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"e1": (1, 2, 3), "e2": (2, 4, 6)}, InputError, "e1 and e2 are parallel"),
        ({"e1": (1, 2, 3), "e2": (0, 0, 0)}, InputError, "one of them is zero"),
        ({"origin": (0, 0)}, ShapeError, "origins has shape"),
        ({"e1": (np.nan, 0, 0)}, InputError, "e1 has 1 rows with NaN"),
        ({"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}, InputError, "not convex"),
        ({"polygon": [[0, 0], [2, 0], [1, 0.5], [2, 2]]}, InputError, "not convex"),
        ({"polygon": [[0, 0, 0], [1, 0, 0], [1, 1, 0]]}, ShapeError, "give the corners of a convex polygon"),
        ({"polygon": [[0, 0], [1, np.inf], [1, 1]]}, InputError, "NaN or infinite"),
        ({"polygon": np.zeros((0, 2))}, ShapeError, "give the corners"),
        ({"origin": np.zeros((2, 3)), "e1": np.eye(3)}, ShapeError, "give the same number of each"),
    ],
)
def test_what_is_refused(network, arguments, error, words):
    with pytest.raises(error, match=words):
        cut(network, **arguments)


def test_a_pentagram_is_not_convex():
    """All its turns are to the left, but it goes around twice."""
    angles = 4.0 * np.pi * np.arange(5) / 5
    with pytest.raises(InputError, match="not in order"):
        as_convex_polygon(np.stack([np.cos(angles), np.sin(angles)], axis=1), "polygons")


def test_clockwise_and_repeated_and_collinear_corners_are_one_polygon(network):
    expected = cut(network)
    for polygon in (SQUARE[::-1], np.repeat(SQUARE, 2, axis=0), np.insert(SQUARE, 1, [[0.25, -1.0]], axis=0)):
        part = cut(network, polygon)
        assert part.n_polygons == expected.n_polygons and np.isclose(part.areas.sum(), 4.0, rtol=1e-14, atol=0.0)
        order, other = np.lexsort(part.packed.T), np.lexsort(expected.packed.T)
        assert np.array_equal(part.packed[order], expected.packed[other])
        assert np.allclose(part.areas[order], expected.areas[other], rtol=0.0, atol=1e-13)


def test_a_segment_is_partitioned_as_a_line(network):
    part = cut(network, [[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    line = pwlnet.partition_lines(network, np.array([[-1.0, -1.0, 0.0]]), np.array([[1.0, 1.0, 0.0]])).parts[0]
    assert part.n_polygons == line.n_segments > 3 and not part.areas.any()
    assert np.array_equal(part.shared_vertices[:, 0], 2.0 * line.t - 1.0) and np.array_equal(
        part.packed, line.patterns().packed
    )


def test_a_point_is_one_polygon_with_one_corner(network):
    part = cut(network, [[0.5, 0.25]] * 3)
    assert part.n_polygons == 1 and part.vertices.tolist() == [[0.5, 0.25]] and part.areas.tolist() == [0.0]
    assert np.array_equal(part.packed, network.patterns(np.array([0.5, 0.25, 0.0])).packed)


def test_no_planes_have_no_parts(network):
    none = np.zeros((0, 3))
    assert len(pwlnet.partition_planes(network, none, none, none, [])) == 0


def test_a_network_without_neurons_has_one_polygon():
    nodes = [
        {"kind": "input", "inputs": [], "shape": (2,)},
        {"kind": "linear", "inputs": [0], "weight": np.eye(2), "bias": np.ones(2)},
    ]
    part = pwlnet.partition_planes(to_network(nodes), [0, 0], [1, 0], [0, 1], SQUARE).parts[0]
    assert part.n_polygons == 1 and part.affine_maps().tolist() == [[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]]
    assert np.array_equal(part.outputs, part.shared_vertices + 1.0)


def test_more_polygons_than_the_limit_are_refused(network):
    with pytest.raises(CapacityError, match="more than max_polygons=3"):
        cut(network, max_polygons=3)


def test_values_that_overflow_are_refused():
    nodes = [{"kind": "input", "inputs": [], "shape": (2,)}]
    for k in range(6):
        nodes.append({"kind": "linear", "inputs": [2 * k], "weight": 1e70 * np.eye(2), "bias": np.ones(2)})
        nodes.append({"kind": "relu", "inputs": [2 * k + 1]})
    with pytest.raises(NumericalError):
        pwlnet.partition_planes(to_network(nodes), [0, 0], [1, 0], [0, 1], SQUARE)


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e9, 1e150])
def test_scales_of_the_input_do_not_matter(network, scale):
    """The same plane of a network whose first layer is rescaled."""
    nodes = [{"kind": "input", "inputs": [], "shape": (3,)}]
    rng = np.random.default_rng(0)
    for k, (n_in, n_out) in enumerate(((3, 16), (16, 16))):
        weight, bias = rng.normal(size=(n_out, n_in)), rng.normal(size=n_out)
        nodes.append(
            {"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight / (scale if k == 0 else 1.0), "bias": bias}
        )
        nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": rng.normal(size=(2, 16)), "bias": np.zeros(2)})
    part, expected = cut(to_network(nodes), scale * SQUARE), cut(network)
    assert part.n_polygons == expected.n_polygons
    assert np.isclose((part.areas / scale / scale).sum(), 4.0, rtol=1e-12, atol=0.0)


def test_points_outside_are_in_no_polygon(network):
    part = cut(network)
    assert part.locate([[1.5, 0.0], [0.0, -1.0 - 1e-9], [1.0, 1.0]]).tolist()[:2] == [-1, -1]
    assert part.locate([1.0, 1.0]) >= 0 and part.locate(np.zeros((0, 2))).shape == (0,)
    with pytest.raises(ShapeError, match="give coordinates"):
        part.locate([[1.0, 2.0, 3.0]])


def test_random_points_are_where_their_patterns_are(network):
    part, uv = cut(network), np.random.default_rng(1).uniform(-1, 1, (2000, 2))
    points = np.c_[uv, np.zeros(len(uv))]
    assert np.array_equal(part.packed[part.locate(uv)], network.patterns(points).packed)
