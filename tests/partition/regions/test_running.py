"""Runs over the cells of a box: published counts, threads, limits, conditions, inputs of width zero, errors."""

import os
from pathlib import Path

import numpy as np
import pytest

from pwlnet.conditions import HalfSpaces
from pwlnet.errors import CapacityError, InputError, NumericalError
from pwlnet.partition.regions.exploring import explore
from pwlnet.warmup import toy_network
from tests.counts import IN_PYTHON
from tests.partition.regions.test_exact import fully_connected, random_relu

FOLDER = Path(os.environ.get("PWLNET_DATA_DIR") or "nowhere") / "acasxu" / "nnet"
MEAN = np.array([19791.091, 0.0, 0.0, 650.0, 600.0])
RANGE = np.array([60261.0, 6.28318530718, 6.28318530718, 1100.0, 1200.0])
BOXES = {
    3: ([1500, -0.06, 3.1, 980, 960], [1800, 0.06, 3.14, 1200, 1200]),
    4: ([1500, -0.06, 0, 1000, 700], [1800, 0.06, 0, 1200, 800]),
}


@pytest.fixture(autouse=True)
def _threads_at_once(monkeypatch):
    """Small runs use several threads, too."""
    monkeypatch.setattr("pwlnet.partition.regions.cell_search._TRIAL", 0)


def hand_network():
    weights = [[[1, -2], [-1, 0.5], [1, 1.5]], [[-1, -1, 1], [2, 1, -0.5]]]
    return fully_connected(weights, [[0.5, 1, -0.5], [-0.2, -1]])


def test_the_network_by_hand_has_six_regions_with_unsafe_points():
    lower, upper, unsafe = [-2.0, -1.0], [2.0, 1.0], HalfSpaces([[1.0, 0.0]], [-2.0])
    run = explore(hand_network(), lower, upper, condition=unsafe, want=("patterns", "outputs"))
    assert run.n_cells == len(np.unique(run.packed)) == 6
    assert run.condition.n_met == 6 and run.n_undecided == 0
    assert unsafe.contains(hand_network().forward(run.condition.witnesses)).all()
    states = hand_network().patterns(run.witnesses)
    assert np.array_equal(states.packed, run.packed)


def raw_layers(path):
    """Read the layers of a .nnet file, without the scaling of its header."""
    rows = [line.strip().strip(",").split(",") for line in path.read_text().splitlines() if not line.startswith("//")]
    sizes, start, weights, biases = [int(x) for x in rows[1]], 7, [], []
    for n in sizes[1:]:
        weights.append(np.array(rows[start : start + n], float))
        biases.append(np.array(rows[start + n : start + 2 * n], float).ravel())
        start += 2 * n
    return weights, biases


@pytest.mark.skipif(not FOLDER.is_dir(), reason="PWLNET_DATA_DIR names no folder with the ACAS Xu networks")
@pytest.mark.parametrize(
    ("number", "network", "expected"),
    [(3, "1_7", 500), (3, "1_8", 393), (3, "1_9", 290), (4, "1_7", 642), (4, "1_8", 397), (4, "1_9", 471)],
)
def test_acas_networks_have_the_published_number_of_regions(number, network, expected):
    """By an exact star-set tool; weights are the file's decimals in float64, and the boxes those that it used."""
    if IN_PYTHON:
        pytest.skip("takes minutes in Python")
    acas = fully_connected(*raw_layers(FOLDER / f"ACASXU_experimental_v2a_{network}.nnet"))
    lower, upper = ((np.array(x) - MEAN) / RANGE for x in BOXES[number])
    run = explore(acas, lower, upper, condition=HalfSpaces.smallest(0, 5), want="signs")
    assert run.n_cells == run.condition.n_met == expected  # these three networks violate both properties everywhere
    assert run.n_undecided == 0 and run.complete
    assert explore(acas, lower, upper, certify=True, threads=2).n_cells == expected


def everything(threads, **options):
    network = random_relu(3, [4, 10, 8, 3])
    condition = HalfSpaces([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]], [0.1, 0.0])
    wants = ("signs", "ranges", "outputs", "patterns")
    return explore(network, np.full(4, -1.0), np.full(4, 1.0), want=wants, condition=condition, threads=threads, **options)


def test_results_do_not_depend_on_the_number_of_threads():
    first, second = everything(1), everything(3)
    assert (first.n_cells, first.n_undecided, first.n_touching) == (second.n_cells, second.n_undecided, second.n_touching)
    for name in ("signs", "ranges", "outputs", "condition"):
        for x, y in zip(getattr(first, name), getattr(second, name), strict=True):
            np.testing.assert_array_equal(x, y)
    assert np.array_equal(first.packed, second.packed) and np.array_equal(first.witnesses, second.witnesses)
    assert first.condition.n_met > 16 == len(first.condition.margins)


def test_a_small_run_by_one_of_several_threads_gives_the_same(monkeypatch):
    expected = everything(1)
    monkeypatch.setattr("pwlnet.partition.regions.cell_search._TRIAL", 2**40)
    run = everything(2)
    assert np.array_equal(run.packed, expected.packed) and np.array_equal(run.witnesses, expected.witnesses)
    assert np.array_equal(run.condition.witnesses, expected.condition.witnesses)
    assert everything(2, stop_when_met=True).stopped_by == "met"


def test_witnesses_are_inside_their_cells():
    run, network = everything(2), random_relu(3, [4, 10, 8, 3])
    assert np.array_equal(network.patterns(run.witnesses).packed, run.packed)
    assert len(np.unique(run.packed, axis=0)) == run.n_cells
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (2000, 4))
    assert {p.tobytes() for p in network.patterns(points).packed} <= {p.tobytes() for p in run.packed}


def test_the_first_cell_that_meets_a_condition_is_the_same_with_any_number_of_threads():
    first, second = everything(1, stop_when_met=True), everything(3, stop_when_met=True)
    assert first.stopped_by == second.stopped_by == "met" and not first.complete
    assert np.array_equal(first.condition.witnesses, second.condition.witnesses)
    assert len(first.condition.witnesses) == 1 and first.n_cells < everything(1).n_cells


def test_a_condition_that_is_nowhere_met_is_excluded_with_a_clearance():
    network = random_relu(5, [3, 8, 8, 2])
    lower, upper = np.full(3, -1.0), np.full(3, 1.0)
    least = explore(network, lower, upper, want="outputs").outputs.lower[0]
    run = explore(network, lower, upper, condition=HalfSpaces([[1.0, 0.0]], [least - 0.25]))
    assert run.complete and run.condition.n_met == run.condition.n_boundary == run.n_undecided == 0
    assert abs(run.condition.clearance - 0.25) < 1e-9


def test_a_condition_that_holds_at_one_vertex_is_on_the_boundary():
    """y = x0 + x1 + x2 on the unit cube is 0 at a corner only."""
    network = fully_connected([np.eye(3), np.ones((1, 3))], [np.zeros(3), np.zeros(1)])
    found = explore(network, np.zeros(3), np.ones(3), condition=HalfSpaces([[1.0]], [0.0])).condition
    assert found.n_met == 0 and found.n_boundary == 1
    assert np.array_equal(found.boundary_points, np.zeros((1, 3)))


def test_a_point_is_one_cell():
    network = random_relu(1, [3, 6, 2])
    x = np.array([0.3, -0.2, 0.1])
    run = explore(network, x, x, want=("signs", "ranges", "outputs", "patterns"), condition=HalfSpaces([[1.0, 0.0]], [100.0]))
    assert run.n_cells == run.condition.n_met == 1 and not len(run.free)
    assert np.array_equal(run.signs.states, network.states(x)[0])
    np.testing.assert_allclose(run.outputs.lower, network.forward(x)[0], atol=1e-14, rtol=0)
    np.testing.assert_allclose(run.ranges.upper, network.preactivations(x)[0], atol=1e-14, rtol=0)
    assert np.array_equal(run.witnesses, [x])


def test_a_network_without_neurons_is_one_cell():
    network = fully_connected([[[1.0, 2.0]]], [[0.5]])
    run = explore(network, [-1.0, -1.0], [1.0, 1.0], want="outputs", condition=HalfSpaces([[1.0]], [0.0]))
    assert run.n_cells == run.condition.n_met == 1
    assert (run.outputs.lower[0], run.outputs.upper[0]) == (-2.5, 3.5)
    assert explore(network, [-1.0, -1.0], [1.0, 1.0]).n_cells == 1


def test_tiny_and_huge_scales_change_nothing():
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=(7, 3)), rng.normal(size=(6, 7)), rng.normal(size=(1, 6))]
    biases = [0.3 * rng.normal(size=n) for n in (7, 6, 1)]
    expected = explore(fully_connected(weights, biases), np.full(3, -1.0), np.full(3, 1.0)).n_cells
    for scale in (2.0**-60, 2.0**60):
        scaled = fully_connected(
            [weights[0] / scale, weights[1] * scale, weights[2]], [biases[0], biases[1] * scale, biases[2]]
        )
        run = explore(scaled, np.full(3, -scale), np.full(3, scale), certify=True)
        assert run.n_cells == expected and run.n_undecided == 0


def test_limits_stop_a_run():
    network = random_relu(4, [3, 20, 20, 1])
    lower, upper = np.full(3, -1.0), np.full(3, 1.0)
    whole = explore(network, lower, upper)
    assert whole.complete and whole.stopped_by is None
    for options, reason in (({"max_cells": 10}, "max_cells"), ({"time_limit": 0.0}, "time_limit")):
        run = explore(network, lower, upper, threads=1, **options)
        if not run.complete:  # small runs are finished before the limits are looked at
            assert run.stopped_by == reason and run.n_cells <= whole.n_cells


@pytest.mark.parametrize("options", [{"max_cells": 10}, {"time_limit": 0.0}])
def test_limits_are_looked_at_between_calls(monkeypatch, options):
    monkeypatch.setattr("pwlnet.partition.regions.cell_search._BUDGET", 2**10)
    network = random_relu(4, [3, 20, 20, 1])
    run = explore(network, np.full(3, -1.0), np.full(3, 1.0), threads=1, want="patterns", **options)
    assert not run.complete and run.stopped_by == next(iter(options))
    assert run.n_cells == len(run.packed) == len(run.witnesses) < 2000


def test_work_that_is_interrupted_and_buffers_that_grow_change_nothing(monkeypatch):
    expected = everything(1)
    for name, value in (("_VERTICES", 16), ("_SCRATCH", 1), ("_LEVELS", 2), ("_ROWS", 100), ("_TASKS", 1)):
        monkeypatch.setattr(f"pwlnet.partition.regions.buffers.{name}", value)
    monkeypatch.setattr("pwlnet.partition.regions.cell_search._BUDGET", 2**16)
    for threads in (1, 2):
        run = everything(threads)
        assert run.n_cells == expected.n_cells and np.array_equal(run.packed, expected.packed)
        assert np.array_equal(run.condition.witnesses, expected.condition.witnesses)
        assert (run.n_undecided, run.n_touching) == (expected.n_undecided, expected.n_touching)


def test_boxes_with_nine_free_sides_and_other_wants_are_refused():
    network = random_relu(0, [9, 4, 1])
    with pytest.raises(CapacityError, match="9 sides of the box have a positive width, but cells are found for at most 8"):
        explore(network, np.zeros(9), np.ones(9))
    with pytest.raises(InputError, match="want is 'volumes'; the choices are 'signs', 'ranges', 'outputs', 'patterns'"):
        explore(network, np.zeros(9), np.zeros(9), want="volumes")


def test_weights_whose_bounds_overflow_are_refused():
    huge = np.full((2, 2), 2.0**500)
    with pytest.raises(NumericalError, match="the network's weights are so large that bounds on values overflow; rescale"):
        explore(fully_connected([huge, huge, huge], [np.zeros(2)] * 3), np.zeros(2), np.ones(2))


def test_a_cell_with_too_many_facets_is_refused():
    """The circumscribed polygon of a circle with 80 sides: |w . x| < 1 for all directions w."""
    angles = np.linspace(0.0, 2.0 * np.pi, 81)[:-1]
    network = fully_connected([np.column_stack([np.cos(angles), np.sin(angles)]), np.ones((1, 80))], [np.full(80, -1.0), [0.0]])
    with pytest.raises(CapacityError, match="a cell has more than 64 facets at a time, but at most 64 are handled; divide the"):
        explore(network, np.full(2, -2.0), np.full(2, 2.0))


def test_convolutions_and_residual_networks_are_explored():
    network = toy_network()
    rng = np.random.default_rng(0)
    lower = rng.random(network.n_inputs)
    upper = lower.copy()
    upper[[3, 30, 50]] += 0.2
    run = explore(network, lower, upper, want=("patterns", "ranges", "signs"))
    points = lower + rng.random((500, network.n_inputs)) * (upper - lower)
    assert {p.tobytes() for p in network.patterns(points).packed} <= {p.tobytes() for p in run.packed}
    assert np.array_equal(network.patterns(run.witnesses).packed, run.packed)
    z = network.preactivations(points)
    assert (z >= run.ranges.lower - run.ranges.error - 1e-12).all() and (z <= run.ranges.upper + run.ranges.error + 1e-12).all()
    states = network.states(points)
    fixed = run.signs.states >= 0
    assert (states[:, fixed] == run.signs.states[fixed]).all() and not fixed.all()
