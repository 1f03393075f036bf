"""Exact fixed and float neurons on boxes and balls, against rational arithmetic and sampled points."""

import functools
import time
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.bounds import bound_preactivations
from pwlnet.bounds.elimination import Elimination
from pwlnet.bounds.exact_boxes import exact_floats_on_box
from pwlnet.bounds.intervals import ABOVE, EQUAL, hull, propagate
from pwlnet.bounds.point_sets import PointSet
from pwlnet.bounds.relaxation import Builder, Target
from pwlnet.bounds.relaxed_lp import _exact_lower, safe_lower, solve
from pwlnet.errors import InputError, ShapeError
from pwlnet.float_sets import Scope
from tests.counts import few
from tests.described import live, to_network
from tests.reference.description import SWITCHING, clip_bounds, pool_windows, shapes, values
from tests.reference.exact_floats import fixed_states
from tests.reference.random_networks import random_network

MOST_NEURONS = 40


@functools.cache
def random_box(seed, n_free):
    """Draw a network and a box: description, network, lower, upper; odd seeds are degenerate.

    ``n_free`` sides at most have a width, for the oracle; all of them where it is None.
    """
    rng = np.random.default_rng([seed, 3])
    while True:
        description = live(random_network(rng, degenerate=seed % 2 == 1, slopes=(1 / 64, 0.0, 0.125, 0.5, 2.0, -0.5, -1.0)))
        network = to_network(description)
        if network.n_neurons <= MOST_NEURONS:
            break
    lower = rng.integers(-8, 9, network.n_inputs) / 4.0
    widths = rng.integers(0, 9, network.n_inputs) / 4.0
    if n_free is not None:
        widths[rng.permutation(network.n_inputs)[n_free:]] = 0.0
    return description, network, lower, lower + widths


def elementwise_sides(node, shape, z):
    """The sides of the thresholds of each neuron, or the winning taps: a list of tuples or sets."""
    if node["kind"] == "max_pool":
        windows = pool_windows(node, shape)
        return [{t for t, k in w if z[k] == max(z[j] for _, j in w)} for w in windows]
    thresholds = [t for t in clip_bounds(node) if t is not None] if node["kind"] == "clip" else [Fraction(0)]
    return [tuple((x > t) - (x < t) for t in thresholds) for x in z]


def sides(description, x):
    """The same for all neurons of a network at a point."""
    found, all_shapes, at = [], shapes(description), values(description, x)
    for node in description:
        if node["kind"] in SWITCHING:
            source = node["inputs"][0]
            found += elementwise_sides(node, all_shapes[source], at[source])
    return found


def assert_witnesses_are_right(description, found, contains):
    """Each float neuron has a pair of points of the set at which it has different states, strictly, in rational arithmetic."""
    assert sorted(found.witness_neurons.tolist()) == np.flatnonzero(found.lower).tolist()
    known = {}
    for neuron, pair in zip(found.witness_neurons.tolist(), found.witnesses, strict=True):
        for x in pair:
            assert contains(x)
            known.setdefault(x.tobytes(), sides(description, x) if x.tobytes() not in known else None)
        a, b = (known[x.tobytes()][neuron] for x in pair)
        if isinstance(a, set):
            assert not a & b
        else:
            assert any(p * q < 0 for p, q in zip(a, b, strict=True))


def assert_equals_exact(found, expected):
    """Return the number of undecided neurons, where everything else is as the oracle says."""
    for k, states in enumerate(expected):
        if found.lower[k]:
            assert not states, k
        if not found.upper[k]:
            assert int(found.states[k]) in states, (k, states)
    return int(found.undecided.sum())


@pytest.mark.parametrize("n_free", [0, 1, 2])
def test_decisions_equal_exact_ones_on_boxes_with_few_sides(n_free):
    """All ops; half of the networks degenerate. Not one neuron is undecided, though many only touch a threshold."""
    undecided = floats = 0
    for seed in range(few(170, 3, quick=10)):
        description, network, lower, upper = random_box(seed, n_free)
        found = exact_floats_on_box(network, pwlnet.Box(lower, upper), time_limit=300.0)
        undecided += assert_equals_exact(found, fixed_states(description, lower, upper))
        assert_witnesses_are_right(description, found, lambda x, a=lower, b=upper: ((a <= x) & (x <= b)).all())
        floats += int(found.lower.sum())
    assert undecided == 0
    assert (floats > 0) == (n_free > 0)


def test_sampled_is_within_exact_is_within_bounds_on_boxes_with_many_sides():
    undecided = neurons = 0
    for seed in range(few(500, 4, quick=10)):
        description, network, lower, upper = random_box(seed, None)
        box = pwlnet.Box(lower, upper)
        found = exact_floats_on_box(network, box, time_limit=300.0)
        outer = bound_preactivations(network, box, method="ibp").float_mask[0]
        assert (found.lower <= found.upper).all() and (found.upper <= outer).all()
        assert_witnesses_are_right(description, found, lambda x, a=lower, b=upper: ((a <= x) & (x <= b)).all())
        points = lower + np.random.default_rng(seed).integers(0, 9, (12, len(lower))) / 8.0 * (upper - lower)
        rows = [sides(description, x) for x in points]
        for k in np.flatnonzero(~found.upper):
            assert is_consistent([row[k] for row in rows], int(found.states[k]))
        undecided, neurons = undecided + int(found.undecided.sum()), neurons + network.n_neurons
    assert undecided <= 0.003 * neurons


def is_consistent(seen, state):
    """Whether a fixed neuron's sides at points agree with its state."""
    if isinstance(seen[0], set):
        return all(state in taps for taps in seen)
    return all(max(column) * min(column) >= 0 for column in zip(*seen, strict=True))


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_balls_have_witnesses_inside_and_agree_with_the_box_around_them(norm):
    for seed in range(few(60, 2, quick=6)):
        description, network, lower, _ = random_box(seed, None)
        found = exact_floats_on_box(network, pwlnet.Ball(lower, 0.75, norm), time_limit=300.0)
        around = exact_floats_on_box(network, pwlnet.Box(lower - 0.75, lower + 0.75), time_limit=300.0)
        assert not (found.lower & ~around.upper).any()
        assert_witnesses_are_right(description, found, functools.partial(in_ball, lower, Fraction(3, 4), norm))
        if norm == np.inf:
            assert (found.lower == around.lower).all() and (found.upper == around.upper).all()


def in_ball(center, radius, norm, x):
    steps = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x.tolist(), center.tolist(), strict=True)]
    if norm == 2:
        return sum(s * s for s in steps) <= radius**2
    return (sum(steps) if norm == 1 else max(steps)) <= radius


def one_layer(weights, biases, *, second=None):
    """A network of a layer of ReLUs, perhaps with another one after it."""
    weights = np.atleast_2d(np.array(weights, float))
    description = [
        {"kind": "input", "inputs": [], "shape": (weights.shape[1],)},
        {"kind": "linear", "inputs": [0], "weight": weights, "bias": np.array(biases, float)},
        {"kind": "relu", "inputs": [1]},
    ]
    if second is not None:
        more = {"kind": "linear", "inputs": [2], "weight": np.array(second[0], float), "bias": np.array(second[1], float)}
        description += [more, {"kind": "relu", "inputs": [3]}]
    return to_network(description)


def test_a_neuron_that_only_touches_its_threshold_is_fixed():
    """At a corner; along a whole face; and in the interior, where relu(x) + relu(-x) touches 0."""
    network = one_layer([[1.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0, 0.0], second=([[0.0, 1.0, 1.0]], [0.0]))
    found = exact_floats_on_box(network, pwlnet.Box([0.0, 0.0], [1.0, 1.0]))
    assert found.states.tolist() == [1, 1, 0, 1]
    found = exact_floats_on_box(network, pwlnet.Box([-1.0, 0.0], [1.0, 1.0]))
    assert found.lower.tolist() == found.upper.tolist() == [True, True, True, False]
    assert found.states[3] == 1


def test_a_tie_that_needs_branches_is_proved():
    """1 - |x| and its minimum at the corners, both exactly 0; 1e-9 more or less is decided as well."""
    for shift, floats in ((0.0, False), (2.0**-30, False), (-(2.0**-30), True)):
        network = one_layer([[1.0], [-1.0]], [0.0, 0.0], second=([[-1.0, -1.0]], [1.0 + shift]))
        found = exact_floats_on_box(network, pwlnet.Box([-1.0], [1.0]))
        assert bool(found.lower[2]) == bool(found.upper[2]) == floats


def test_a_small_float_set_in_many_dimensions_is_found():
    """The neuron is positive only near one corner out of 2**20."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), 20)
    network = one_layer(np.stack([signs, -signs]), [0.0, 0.0], second=([[1.0, -0.5]], [-19.5]))
    found = exact_floats_on_box(network, pwlnet.Box(np.full(20, -1.0), np.full(20, 1.0)))
    assert found.lower.all()


@pytest.mark.parametrize("limit", [0.0, 0.01, 0.1])
def test_a_short_time_limit_leaves_neurons_undecided_and_nothing_wrong(limit):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((24, 24)) / 2 for _ in range(2)]
    network = one_layer(weights[0], rng.standard_normal(24), second=(weights[1], rng.standard_normal(24)))
    box = pwlnet.Box(np.full(24, -0.3), np.full(24, 0.3))
    exact_floats_on_box(network, box, time_limit=0.0)
    start = time.perf_counter()
    short = exact_floats_on_box(network, box, time_limit=limit)
    assert time.perf_counter() - start < limit + 20.0  # one linear program more, on a machine that may be busy
    long = exact_floats_on_box(network, box, time_limit=600.0)
    assert not long.undecided.any()
    assert (short.lower <= long.lower).all() and (long.upper <= short.upper).all()


def test_several_sets_give_the_results_of_each():
    _, network, lower, upper = random_box(1, None)
    boxes = pwlnet.Box(np.stack([lower, lower - 1.0]), np.stack([upper, upper]))
    both = exact_floats_on_box(network, boxes)
    assert both.lower.shape == (2, network.n_neurons) and both.scope is Scope.REGION
    for b in range(2):
        one = exact_floats_on_box(network, pwlnet.Box(boxes.lower[b], boxes.upper[b]))
        assert (one.lower == both.lower[b]).all() and (one.states == both.states[b]).all()
        assert (both.witness_neurons[both.witness_sets == b] == one.witness_neurons).all()


def test_the_result_does_not_depend_on_anything_but_the_arguments():
    _, network, lower, upper = random_box(3, None)
    a, b = (exact_floats_on_box(network, pwlnet.Box(lower, upper), rng_seed=5) for _ in range(2))
    assert (a.lower == b.lower).all() and (a.witnesses == b.witnesses).all()


def test_without_linear_programs_nothing_is_wrong():
    description, network, lower, upper = random_box(7, 2)
    found = exact_floats_on_box(network, pwlnet.Box(lower, upper), lp="never")
    assert_equals_exact(found, fixed_states(description, lower, upper))


def test_huge_and_tiny_weights_are_decided_or_left_open_but_not_wrong():
    for scale in (2.0**-500, 2.0**-60, 2.0**60, 2.0**400):
        network = one_layer([[scale, 0.0], [0.0, scale]], [0.0, -scale], second=([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0]))
        found = exact_floats_on_box(network, pwlnet.Box([-1.0, 0.0], [1.0, 1.0]), time_limit=1.0)
        expected = [set(), {0}, {1}, {1}]  # the last one: relu(x) - 0
        assert_equals_exact(found, expected)
        assert found.lower[0]


def test_networks_without_neurons_have_no_float_neurons():
    network = to_network([{"kind": "input", "inputs": [], "shape": (2,)},
                          {"kind": "linear", "inputs": [0], "weight": np.ones((1, 2)), "bias": None}])  # fmt: skip
    found = exact_floats_on_box(network, pwlnet.Box([0.0, 0.0], [1.0, 1.0]))
    assert found.lower.shape == (0,) and found.witnesses.shape == (0, 2, 2)


def test_bad_arguments_are_refused():
    network = one_layer([[1.0, 1.0]], [0.0])
    box = pwlnet.Box([0.0, 0.0], [1.0, 1.0])
    with pytest.raises(InputError, match=r"domain is a Segment; give one of pwlnet\.Box, pwlnet\.Ball"):
        exact_floats_on_box(network, pwlnet.Segment([0.0, 0.0], [1.0, 1.0]))
    with pytest.raises(ShapeError, match="the network takes 2 inputs"):
        exact_floats_on_box(network, pwlnet.Box([0.0], [1.0]))
    with pytest.raises(InputError, match="time_limit"):
        exact_floats_on_box(network, box, time_limit=-1.0)
    with pytest.raises(InputError, match="lp is 'maybe'"):
        exact_floats_on_box(network, box, lp="maybe")


def test_hulls_contain_the_graph_in_rational_arithmetic():
    """ReLU, slopes below, above and of the other sign, slopes that differ by one rounding, and Clip with one or two limits."""
    rng = np.random.default_rng(0)
    for slope in (0.0, 0.01, -0.3, 1.0, 1.7, np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)):
        assert_hulls_are_valid({"kind": "leaky_relu", "inputs": [0], "slope": slope}, rng)
    for limits in ((-0.3, 0.7), (-0.1, np.inf), (-np.inf, 0.2)):
        assert_hulls_are_valid({"kind": "clip", "inputs": [0], "lower": limits[0], "upper": limits[1]}, rng)


def assert_hulls_are_valid(node, rng):
    description = [{"kind": "input", "inputs": [], "shape": (1,)}, node]
    block = Elimination(to_network(description)).blocks[0]
    for _ in range(50):
        lo, hi = np.sort(rng.standard_normal(2) * 10.0 ** rng.integers(-3, 4)).tolist()
        at = [Fraction(x) for x in (lo, hi, *(t for t in block.thresholds.tolist() if lo < t < hi))]
        for kind, slope, intercept in hull(block, 0, lo, hi):
            gaps = [values(description, [x])[1][0] - Fraction(slope) * x - Fraction(intercept) for x in at]
            assert all(gap == 0 if kind == EQUAL else gap >= 0 if kind == ABOVE else gap <= 0 for gap in gaps)


def test_a_safe_bound_is_below_the_exact_optimum_for_any_multipliers():
    """Random multipliers, good and bad; and the rational evaluation is not below the one in floating point."""
    rng = np.random.default_rng(1)
    network = one_layer(rng.standard_normal((6, 4)), rng.standard_normal(6), second=(rng.standard_normal((3, 6)), np.zeros(3)))
    elimination, points = Elimination(network), PointSet(np.full(4, -1.0), np.full(4, 1.0))
    n = network.n_neurons
    intervals = propagate(elimination, points.lower, points.upper, np.full(n, -np.inf), np.full(n, np.inf))
    samples = elimination.evaluate(points.sample(rng, 400)).z[1]
    for k in range(3):
        program = Builder(elimination, intervals, points).build(Target(1, (k,), (1.0,), 0.0))
        best = solve(program, 60.0)
        for noise in (0.0, 1e-9, 1e-3, 1.0):
            y_eq = best.y_eq + noise * rng.standard_normal(len(best.y_eq))
            y_ub = best.y_ub - noise * rng.random(len(best.y_ub))
            bound = safe_lower(program, y_eq, y_ub)
            assert bound <= samples[k].min()
            exact = _exact_lower(elimination, program, list(map(Fraction, y_eq)), list(map(Fraction, y_ub)))
            assert bound <= exact
            assert noise > 0.0 or float(exact) - bound < 1e-9
