"""Decisions against exact answers: boxes with one or two sides of positive width, touching conditions, witnesses, limits."""

import time
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import CapacityError, ConversionError, InputError, ShapeError
from pwlnet.partition.exact_values import exact_margin, exact_outputs
from pwlnet.search import deciding
from tests.analysis.test_queries import draw_conditions, exact_answer
from tests.counts import few
from tests.described import to_network
from tests.reference import description as reference
from tests.reference import exact_line, exact_plane
from tests.reference.random_cases import random_case

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
NARROW = 1e-9  # relative to the outputs: conditions that hold or fail by less need not be decided


def exact_minimum_on_line(line, node, union):
    """The smallest value of the largest row of some polytope on an exact line, a Fraction."""
    signal, denominator = line.signals[node]
    smallest = None
    for (a, b), pieces in zip(zip(line.t[:-1], line.t[1:], strict=True), signal, strict=True):
        for condition in union:
            rows = [
                (sum(Fraction(x) * int(y) for x, y in zip(row, pieces[0], strict=True)) / denominator - Fraction(shift),
                 sum(Fraction(x) * int(y) for x, y in zip(row, pieces[1], strict=True)) / denominator)
                for row, shift in zip(condition.A.tolist(), condition.b.tolist(), strict=True)
            ]  # fmt: skip
            places = {a, b}
            for c, s in rows:
                places |= {(d - c) / (s - r) for d, r in rows if s != r}
            for t in places:
                if a <= t <= b:
                    value = max(c + s * t for c, s in rows)
                    smallest = value if smallest is None else min(smallest, value)
    return smallest


def check_sat(network, lower, upper, union, decision):
    """A witness lies in the box, and exact arithmetic says that a polytope holds there."""
    assert (decision.witness >= lower).all() and (decision.witness <= upper).all()
    margin = exact_margin(network, union[decision.confirmation.polytope], decision.witness)
    assert margin <= 0 and float(margin) == decision.confirmation.margin
    assert decision.n_open == 0 and decision.box == 0 and len(decision.open_lower) == 0


def draw_union(rng, values):
    """A union of polytopes of which about half hold nowhere."""
    union = draw_conditions(rng, values)
    lowered = rng.integers(0, 2) * rng.integers(1, 17) / 4
    return [pwlnet.HalfSpaces(part.A, part.b - lowered) for part in union]


def draw_box(rng, starts, n_free):
    """A box around a point with so many sides of positive width, dyadic."""
    lower = np.round(starts * 4) / 4
    upper = lower.copy()
    sides = rng.choice(len(lower), min(n_free, len(lower)), replace=False)
    upper[sides] += rng.integers(1, 9, len(sides)) / 2
    return lower, upper, np.sort(sides)


@pytest.mark.parametrize("first", range(0, few(400, 20), 20))
def test_boxes_with_one_free_side_are_decided_as_in_exact_arithmetic(first):
    statuses = set()
    for seed in range(first, first + 20):
        rng = np.random.default_rng(seed)
        description, starts, _ = random_case(seed)
        network = to_network(description)
        lower, upper, _ = draw_box(rng, starts[0], 1)
        line, node = exact_line.trace(description, lower, upper), len(description) - 1
        signal, denominator = line.signals[node]
        ends = [(t, pieces) for a, b, pieces in zip(line.t[:-1], line.t[1:], signal, strict=True) for t in (a, b)]
        values = [[(int(c) + t * int(s)) / Fraction(denominator) for c, s in pieces.T] for t, pieces in ends]
        union = draw_union(rng, values)
        exact = exact_minimum_on_line(line, node, union)
        decision = pwlnet.decide(network, pwlnet.Box(lower, upper), union, max_branches=3000, threads=1)
        size = max(1.0, float(max(abs(y) for point in values for y in point)))
        if decision.status == "sat":
            check_sat(network, lower, upper, union, decision)
        assert decision.status != ("unsat" if exact <= 0 else "sat"), seed
        assert decision.status != "undecided" or abs(exact) <= NARROW * size, seed
        statuses.add(decision.status)
    assert {"sat", "unsat"} <= statuses


def two_sided_case(seed):
    """A network, a box with two free sides, a union of polytopes, and whether it is met, exactly; None without two sides."""
    rng = np.random.default_rng(seed)
    description, starts, _ = random_case(seed)
    lower, upper, sides = draw_box(rng, starts[0], 2)
    if len(sides) < 2:
        return None
    e1, e2 = (np.where(np.arange(len(lower)) == k, upper - lower, 0.0) for k in sides)
    plane = exact_plane.trace(description, lower, e1, e2, SQUARE)
    signal, denominator = plane.signals[len(description) - 1]
    values = [
        [Fraction(int(y), corner[0] * denominator) for y in np.array(corner, object) @ signal[cell]]
        for cell, corners in enumerate(plane.polygons)
        for corner in corners
    ]
    union = draw_union(rng, values)
    exists, _ = exact_answer(plane, signal, denominator, union)
    return to_network(description), lower, upper, union, exists


def check_two_sided(seeds, **options):
    """Decide the cases of these seeds; return how many are undecided."""
    n_undecided = 0
    for seed in seeds:
        case = two_sided_case(seed)
        if case is None:
            continue
        network, lower, upper, union, exists = case
        decision = pwlnet.decide(network, pwlnet.Box(lower, upper), union, threads=1, **options)
        if decision.status == "sat":
            check_sat(network, lower, upper, union, decision)
        assert decision.status in ("undecided", "sat" if exists else "unsat"), seed
        n_undecided += decision.status == "undecided"
    return n_undecided


@pytest.mark.parametrize("first", range(0, few(200, 10), 10))
def test_boxes_with_two_free_sides_are_decided_as_in_exact_arithmetic(first):
    assert check_two_sided(range(first, first + 10), max_branches=3000) <= 2


@pytest.mark.parametrize("first", range(0, few(300, 20), 20))
def test_outputs_at_a_point_are_exact(first):
    for seed in range(first, first + 20):
        description, starts, _ = random_case(seed)
        numerators, denominator = exact_outputs(to_network(description), starts[0])
        expected = reference.values(description, starts[0])[-1]
        assert [Fraction(int(n), denominator) for n in numerators] == list(expected)


@pytest.fixture(scope="module")
def hand():
    """Two inputs, three neurons, two outputs: on [-2, 2] x [-1, 1], the smallest first output is -6.7, at a corner."""
    nodes = [{"kind": "input", "inputs": [], "shape": (2,)}]
    weight = np.array([[1.0, -2.0], [-1.0, 0.5], [1.0, 1.5]])
    nodes.append({"kind": "linear", "inputs": [0], "weight": weight, "bias": np.array([0.5, 1.0, -0.5])})
    nodes.append({"kind": "relu", "inputs": [1]})
    weight = np.array([[-1.0, -1.0, 1.0], [2.0, 1.0, -0.5]])
    nodes.append({"kind": "linear", "inputs": [2], "weight": weight, "bias": np.array([-0.25, -1.0])})
    return to_network(nodes)


@pytest.fixture(scope="module")
def box():
    return pwlnet.Box([-2.0, -1.0], [2.0, 1.0])


def below(value):
    return pwlnet.HalfSpaces([[1.0, 0.0]], [value])


@pytest.mark.parametrize("method", deciding.METHODS)
def test_a_condition_that_holds_at_a_corner_only_is_sat_and_one_ulp_less_is_not(hand, box, method):
    smallest = min(exact_outputs(hand, np.array(corner))[0][0] for corner in [(-2, -1), (-2, 1), (2, -1), (2, 1)])
    value = float(Fraction(int(smallest), exact_outputs(hand, np.zeros(2))[1]))
    decision = pwlnet.decide(hand, box, below(value), method=method)
    assert (decision.status, decision.confirmation.margin) == ("sat", 0.0)
    decision = pwlnet.decide(hand, box, below(np.nextafter(value, -np.inf)), method=method, max_branches=2000)
    assert decision.status != "sat"
    decision = pwlnet.decide(hand, box, below(value - 1e-6), method=method, max_branches=2000)
    assert decision.status == "unsat"


def abs_network():
    """y = |x0 - 1/4| + |x1 - 1/2|, which is 0 at one point in the interior of the unit square."""
    nodes = [{"kind": "input", "inputs": [], "shape": (2,)}]
    nodes.append({"kind": "linear", "inputs": [0], "weight": np.eye(2), "bias": np.array([-0.25, -0.5])})
    nodes.append({"kind": "leaky_relu", "inputs": [1], "slope": -1.0})
    nodes.append({"kind": "linear", "inputs": [2], "weight": np.ones((1, 2)), "bias": np.zeros(1)})
    return to_network(nodes)


def test_a_condition_that_holds_at_one_inner_point_is_sat():
    network, square = abs_network(), pwlnet.Box([0.0, -0.125], [1.0, 1.0])
    decision = pwlnet.decide(network, square, pwlnet.HalfSpaces([[1.0]], [0.0]))
    assert decision.status == "sat" and decision.witness.tolist() == [0.25, 0.5] and decision.confirmation.margin == 0.0
    assert pwlnet.decide(network, square, pwlnet.HalfSpaces([[1.0]], [-1e-12])).status == "unsat"


def test_a_condition_that_holds_at_no_floating_point_number_is_undecided():
    nodes = [{"kind": "input", "inputs": [], "shape": (1,)}]
    nodes.append({"kind": "linear", "inputs": [0], "weight": np.array([[3.0]]), "bias": np.array([-1.0])})
    nodes.append({"kind": "leaky_relu", "inputs": [1], "slope": -1.0})
    decision = pwlnet.decide(to_network(nodes), pwlnet.Box([0.0], [1.0]), pwlnet.HalfSpaces([[1.0]], [0.0]))
    assert (decision.status, decision.witness, decision.stopped_by) == ("undecided", None, "resolution")
    assert decision.n_open >= 1 and (decision.open_lower[:, 0] <= 1 / 3).any() and (decision.open_upper[:, 0] >= 1 / 3).any()


def test_single_points_are_decided_exactly(hand):
    point = np.array([0.3, -0.7])
    value = hand.forward(point)[0, 0]
    margin = exact_margin(hand, below(value), point)
    for shift, expected in ((0, "sat" if margin <= 0 else "unsat"), (1e-15, "sat"), (-1e-15, "unsat")):
        decision = pwlnet.decide(hand, pwlnet.Box(point, point), below(value + shift))
        assert (decision.status, decision.engine) == (expected, "exact")


def test_no_condition_is_unsat_and_one_without_rows_is_sat(hand, box):
    assert pwlnet.decide(hand, box, []).status == "unsat"
    everything = pwlnet.HalfSpaces(np.zeros((0, 2)), [])
    decision = pwlnet.decide(hand, box, [below(-100.0), everything])
    assert (decision.status, decision.confirmation.polytope, decision.confirmation.margin) == ("sat", 1, -np.inf)
    assert pwlnet.decide(hand, [], []).status == "unsat"


def test_the_first_box_with_a_witness_answers_for_a_list(hand, box):
    other = pwlnet.Box([5.0, 5.0], [6.0, 6.0])
    decision = pwlnet.decide(hand, [other, box], [below(-2.0), below(-2.0)])
    assert (decision.status, decision.box) == ("sat", 1)
    both = pwlnet.Box([[5.0, 5.0], [-2.0, -1.0]], [[6.0, 6.0], [2.0, 1.0]])
    assert pwlnet.decide(hand, both, below(-2.0)).box == 1
    assert pwlnet.decide(hand, [other, box], [below(-2.0), [below(-200.0)]]).status == "unsat"


def test_a_union_is_unsat_only_if_all_its_parts_are(hand, box):
    assert pwlnet.decide(hand, box, [below(-50.0), pwlnet.HalfSpaces([[0.0, 1.0]], [-60.0])]).status == "unsat"
    decision = pwlnet.decide(hand, box, [below(-50.0), pwlnet.HalfSpaces([[0.0, -1.0]], [0.5])])
    assert (decision.status, decision.confirmation.polytope) == ("sat", 1)


def test_results_do_not_depend_on_threads(hand, box):
    condition = [pwlnet.HalfSpaces([[1.0, 0.3], [-1.0, 0.2]], [-3.3, 2.9]), below(-6.9)]
    fields = ("status", "n_branches", "n_cells", "engine", "n_open")
    answers = [pwlnet.decide(hand, box, condition, threads=n, max_branches=500) for n in (1, 3)]
    assert len({tuple(getattr(answer, name) for name in fields) for answer in answers}) == 1
    assert np.array_equal(answers[0].witness, answers[1].witness) or answers[0].witness is answers[1].witness is None


@pytest.fixture(scope="module")
def digits():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))


def test_limits_leave_open_boxes_that_cover_what_is_undecided(digits):
    image = pwlnet.datasets.digits_images()[0][0]
    label = digits.forward(image)[0].argmax()
    others = [pwlnet.HalfSpaces(np.eye(10)[label][None] - np.eye(10)[k][None], [0.0]) for k in range(10) if k != label]
    domain = pwlnet.Box.around(image, 0.2, limits=(0.0, 1.0))
    start = time.perf_counter()
    decision = pwlnet.decide(digits, domain, others, time_limit=0.5)
    assert time.perf_counter() - start < 20.0
    if decision.status == "undecided":
        assert decision.stopped_by == "time_limit" and decision.n_open == len(decision.open_lower) > 0
    decision = pwlnet.decide(digits, domain, [pwlnet.HalfSpaces(np.eye(10)[:1], [-60.0])], max_branches=1)
    assert decision.status in ("unsat", "undecided")
    decision = pwlnet.decide(digits, pwlnet.Box.around(image, 0.01), others, max_branches=64)
    assert decision.status == "unsat"
    with pytest.raises(CapacityError):
        pwlnet.decide(digits, domain, [pwlnet.HalfSpaces(np.eye(10)[:1], [-60.0])], method="cells")


def test_no_time_leaves_the_box_open(hand, box):
    decision = pwlnet.decide(hand, box, below(-6.9), time_limit=0)
    assert (decision.status, decision.n_open, decision.stopped_by) == ("undecided", 1, "time_limit")
    assert np.array_equal(decision.open_lower[0], box.lower) and np.array_equal(decision.open_upper[0], box.upper)


def test_the_source_is_evaluated_in_its_own_precision_at_the_witness(digits):
    path = pwlnet.datasets.digits_network_path("digits_mlp")
    condition = pwlnet.HalfSpaces.largest(3, 10)
    decision = pwlnet.decide(digits, pwlnet.Box(np.zeros(64), np.ones(64)), condition, confirm=path)
    confirmation = decision.confirmation
    assert decision.status == "sat" and confirmation.source_holds and "float32" in confirmation.source
    assert confirmation.source_margin == pytest.approx(confirmation.margin, rel=1e-3, abs=1e-3)


def test_a_source_that_needs_a_larger_margin_gets_a_deeper_witness(hand, box):
    """The function is off by 0.1, more than the margin where the search stops."""
    calls = []

    def off(x):
        calls.append(x.dtype)
        return hand.forward(x.astype(np.float64)) + 0.1

    value = hand.forward(np.zeros(2))[0, 0]
    decision = pwlnet.decide(hand, box, below(value), confirm=off)
    assert decision.confirmation.source == "a function of float32" and set(calls) == {np.dtype(np.float32)}
    assert decision.confirmation.source_holds and decision.confirmation.margin <= -0.1
    refused = pwlnet.decide(hand, box, below(value), confirm=lambda x: hand.forward(x) + 1000.0)
    assert refused.status == "sat" and refused.confirmation.source_holds is False


def test_torch_modules_are_sources():
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)).train()
    network = pwlnet.from_torch(module, (3,))
    condition = pwlnet.HalfSpaces.largest(network.forward(np.zeros(3))[0].argmax(), 2)
    decision = pwlnet.decide(network, pwlnet.Box(-np.ones(3), np.ones(3)), condition, confirm=module)
    assert decision.confirmation.source == "torch in float32" and module[2].training
    assert decision.confirmation.source_holds is not None


def test_what_is_refused(hand, box, tmp_path):
    with pytest.raises(InputError, match=r"give pwlnet\.HalfSpaces"):
        pwlnet.decide(hand, box, "class 1")
    with pytest.raises(ShapeError, match="the condition is on 3 outputs, but the network has 2"):
        pwlnet.decide(hand, box, pwlnet.HalfSpaces(np.eye(3), np.zeros(3)))
    with pytest.raises(ShapeError, match="the network takes 2 inputs"):
        pwlnet.decide(hand, pwlnet.Box(np.zeros(3), np.ones(3)), below(0.0))
    with pytest.raises(InputError, match=r"box is a ndarray; give pwlnet\.Box"):
        pwlnet.decide(hand, np.zeros((2, 2)), below(0.0))
    with pytest.raises(InputError, match=r"give one of pwlnet\.Box"):
        pwlnet.decide(hand, pwlnet.Ball(np.zeros(2), 1.0), below(0.0))
    with pytest.raises(InputError, match="box is a list of 1 boxes, but condition has none"):
        pwlnet.decide(hand, [box], below(0.0))
    with pytest.raises(InputError, match="method is 'milp'; the choices are 'auto', 'splits', 'neurons', 'cells'"):
        pwlnet.decide(hand, box, below(0.0), method="milp")
    with pytest.raises(InputError, match="time_limit is -1"):
        pwlnet.decide(hand, box, below(0.0), time_limit=-1)
    with pytest.raises(InputError, match="max_branches is 0"):
        pwlnet.decide(hand, box, below(0.0), max_branches=0)
    with pytest.raises(InputError, match="confirm is a int"):
        pwlnet.decide(hand, box, below(0.0), confirm=3)
    with pytest.raises(ConversionError, match="which is not an ONNX file"):
        pwlnet.decide(hand, box, below(0.0), confirm=tmp_path / "net.onnx")
    with pytest.raises(ShapeError, match="confirm gives 3 outputs"):
        pwlnet.decide(hand, box, below(0.0), confirm=lambda x: np.zeros(3))
