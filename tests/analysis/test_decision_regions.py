"""Decision regions on planes against exact arithmetic: class areas, pieces, outlines, boundaries."""

from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import InputError
from pwlnet.partition.planes import dividing
from tests.counts import few
from tests.described import to_network
from tests.reference import exact_plane
from tests.reference.random_planes import random_plane_case

AGREE = 1e-12


def exact_classes(seed, sign):
    """Return the exact area of each class, and the number of pieces with interior."""
    description, origin, e1, e2, polygon = random_plane_case(seed)
    plane = exact_plane.trace(description, origin, e1, e2, polygon)
    signal, _ = plane.signals[len(description) - 1]
    n = signal.shape[2]
    areas, pieces = [Fraction(0)] * n, 0
    for coefficients, corners in zip(sign * signal, plane.polygons, strict=True):
        for c in range(n):
            part = corners
            for other in range(n):
                ahead = coefficients[:, c] - coefficients[:, other]
                if other != c and part:
                    part = where_positive(part, ahead, c < other)
            if part:
                areas[c] += exact_plane._area(part)
                pieces += 1
    return [float(a) for a in areas], pieces


def where_positive(corners, function, if_zero):
    """Return the part of a polygon where a function is positive, [] if it has no interior; all of it where it is 0, if so."""
    values = np.array(corners, object) @ function
    if not values.any():
        return corners if if_zero else []
    if (values >= 0).all():
        return corners
    if (values <= 0).all():
        return []
    return next(p for p in exact_plane._split(corners, function.tolist()) if (np.array(p, object) @ function).sum() > 0)


def signed_area(loop):
    following = np.roll(loop, -1, axis=0)
    return 0.5 * (loop[:, 0] * following[:, 1] - loop[:, 1] * following[:, 0]).sum()


def check_case(seed, rule):
    description, origin, e1, e2, polygon = random_plane_case(seed)
    part = pwlnet.partition_planes(to_network(description), origin, e1, e2, polygon, threads=1).parts[0]
    classes = part.classes(rule)
    areas, n_pieces = exact_classes(seed, 1 if rule == "max" else -1)
    size = max(1.0, sum(areas))
    assert np.abs(classes.class_areas - areas).max() <= AGREE * size, (seed, rule)
    assert classes.n_pieces == n_pieces, (seed, rule)
    assert np.abs(np.bincount(classes.polygon, classes.areas, part.n_polygons) - part.areas).max() <= AGREE * size
    total = 0.0
    for r in range(classes.n_regions):
        loops = classes.outlines(r)
        turns = [signed_area(loop) for loop in loops]
        assert turns[0] > 0.0 and all(a <= AGREE * size for a in turns[1:])
        assert abs(sum(turns) - classes.region_areas[r]) <= AGREE * size, (seed, rule, r)
        total += sum(turns)
    assert abs(total - sum(areas)) <= AGREE * size
    segments, pairs = classes.boundaries()
    outputs = to_network(description).forward(
        origin + segments.reshape(-1, 2)[:, :1] * e1 + segments.reshape(-1, 2)[:, 1:] * e2
    )
    best = outputs.max(axis=1) if rule == "max" else outputs.min(axis=1)
    for side in range(2):  # both classes are the largest on their boundary
        at = outputs[np.arange(len(outputs)), np.repeat(pairs[:, side], 2)]
        assert np.abs(at - best).max(initial=0.0) <= 1e-9 * max(1.0, np.abs(outputs).max(initial=0.0)), (seed, rule)


@pytest.mark.parametrize("first", range(0, few(500, 50), 25))
def test_class_areas_pieces_and_outlines_equal_the_exact_ones(first):
    for seed in range(first, first + 25):
        check_case(seed, "max")
        check_case(seed, "min")


def test_planes_whose_meshes_were_divided_have_the_same_classes(monkeypatch):
    monkeypatch.setattr(dividing, "MOST_FACES", 3)
    for seed in range(600, 600 + few(100, 10)):
        check_case(seed, "max")


def test_equal_outputs_have_the_class_of_the_lowest():
    nodes = [{"kind": "input", "inputs": [], "shape": (2,)}]
    weight = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    nodes.append({"kind": "linear", "inputs": [0], "weight": weight, "bias": np.zeros(4)})
    part = pwlnet.partition_planes(to_network(nodes), [0, 0], [1, 0], [0, 1], [[0, 0], [1, 0], [1, 1], [0, 1]]).parts[0]
    assert part.classes().class_areas.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert part.classes("min").class_areas.tolist() == [0.5, 0.5, 0.0, 0.0]
    segments, classes = part.classes().boundaries()
    assert sorted(map(tuple, segments.reshape(-1, 2).tolist())) == [(0.0, 0.0), (1.0, 1.0)] and set(classes[0]) == {0, 1}


def test_a_region_with_a_hole_has_two_loops():
    """The output -|x| - |y| + 1/2 against 0: a diamond in the middle."""
    nodes = [{"kind": "input", "inputs": [], "shape": (2,)}]
    weight = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    nodes.append({"kind": "linear", "inputs": [0], "weight": weight, "bias": np.zeros(4)})
    nodes.append({"kind": "relu", "inputs": [1]})
    last = {"weight": np.array([[0.0] * 4, [-1.0] * 4]), "bias": np.array([0.0, 0.5])}
    nodes.append({"kind": "linear", "inputs": [2], **last})
    part = pwlnet.partition_planes(to_network(nodes), [0, 0], [1, 0], [0, 1], [[-1, -1], [1, -1], [1, 1], [-1, 1]]).parts[0]
    classes = part.classes()
    assert classes.class_areas.tolist() == [3.5, 0.5] and classes.n_regions == 2
    outer, hole = classes.outlines(int(np.flatnonzero(classes.region_labels == 0)[0]))
    assert signed_area(outer) == 4.0 and signed_area(hole) == -0.5
    (diamond,) = classes.outlines(int(np.flatnonzero(classes.region_labels == 1)[0]))
    assert {tuple(p) for p in diamond.tolist()} == {(0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5)}


def test_what_is_refused():
    nodes = [
        {"kind": "input", "inputs": [], "shape": (2,)},
        {"kind": "linear", "inputs": [0], "weight": np.eye(2), "bias": np.ones(2)},
    ]
    network = to_network(nodes)
    flat = pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], [[0, 0], [1, 0]]).parts[0]
    with pytest.raises(InputError, match="has no interior"):
        flat.classes()
    part = pwlnet.partition_planes(network, [0, 0], [1, 0], [0, 1], [[0, 0], [1, 0], [0, 1]]).parts[0]
    with pytest.raises(InputError, match="the choices are 'max', 'min'"):
        part.classes("most")
    with pytest.raises(InputError, match="region is 9"):
        part.classes().outlines(9)
