"""Decisions by splits of neurons, against exact answers: all ops on lines and planes, small networks with many free inputs."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.bounds.elimination import Elimination
from pwlnet.search.deciding import BoxSearch
from pwlnet.search.neuron_splits import NeuronSplits
from tests.analysis.test_decisions import (
    abs_network,
    check_sat,
    check_two_sided,
    draw_box,
    draw_union,
    exact_minimum_on_line,
)  # fmt: skip
from tests.counts import few
from tests.described import to_network
from tests.reference import exact_line
from tests.reference.description import values
from tests.reference.exact_region import maximum
from tests.reference.random_cases import random_case


@pytest.mark.parametrize("first", range(0, few(200, 10), 10))
def test_boxes_with_one_free_side_are_decided_right(first):
    statuses = []
    for seed in range(first, first + 10):
        rng = np.random.default_rng(seed)
        description, starts, _ = random_case(seed)
        lower, upper, _ = draw_box(rng, starts[0], 1)
        line, node = exact_line.trace(description, lower, upper), len(description) - 1
        signal, denominator = line.signals[node]
        ends = [(t, pieces) for a, b, pieces in zip(line.t[:-1], line.t[1:], signal, strict=True) for t in (a, b)]
        at_ends = [[(int(c) + t * int(s)) / Fraction(denominator) for c, s in pieces.T] for t, pieces in ends]
        union = draw_union(rng, at_ends)
        exact = exact_minimum_on_line(line, node, union)
        network, box = to_network(description), pwlnet.Box(lower, upper)
        decision = pwlnet.decide(network, box, union, max_branches=40, method="neurons", threads=1)
        if decision.status == "sat":
            check_sat(network, lower, upper, union, decision)
        assert decision.status in ("undecided", "sat" if exact <= 0 else "unsat"), seed
        statuses.append(decision.status)
    assert statuses.count("undecided") <= 2


@pytest.mark.parametrize("first", range(0, few(200, 10), 10))
def test_boxes_with_two_free_sides_are_decided_right(first):
    assert check_two_sided(range(first, first + 10), max_branches=40, method="neurons") <= 2


def draw_wide(seed):
    """Weights of a network with seven to nine inputs and two layers of neurons: list of (matrix, shift, kind)."""
    rng = np.random.default_rng([seed, 7])
    sizes, layers = [int(rng.integers(7, 10)), int(rng.integers(2, 4)), 2, int(rng.integers(1, 4))], []
    for n_in, n_out in itertools.pairwise(sizes):
        kind = ["relu", "leaky_relu", "clip"][rng.integers(3)]
        layers.append((rng.integers(-2, 3, (n_out, n_in)).astype(float), rng.integers(-3, 4, n_out) / 2.0, kind))
    return layers


def describe_wide(layers):
    """The same as a description of tests/reference."""
    nodes = [{"kind": "input", "inputs": [], "shape": (layers[0][0].shape[1],)}]
    arguments = {"relu": {}, "leaky_relu": {"slope": -0.5}, "clip": {"lower": 0.0, "upper": 1.0}}
    for k, (weight, bias, kind) in enumerate(layers):
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
        if k < len(layers) - 1:
            nodes.append({"kind": kind, "inputs": [len(nodes) - 1], **arguments[kind]})
    return nodes


PIECES = {  # lower and upper end (None: none), slope and intercept of each piece
    "relu": [(None, 0, 0, 0), (0, None, 1, 0)],
    "leaky_relu": [(None, 0, Fraction(-1, 2), 0), (0, None, 1, 0)],
    "clip": [(None, 0, 0, 0), (0, 1, 1, 0), (1, None, 0, 1)],
}


def exact_cells(layers, lower, upper):
    """Yield for all patterns the rows ``g @ (x - lower) <= m`` of the cell, and the outputs as rows [g, constant]."""
    n = len(lower)
    start = [[Fraction(int(i == k)) for i in range(n)] + [Fraction(float(lower[k]))] for k in range(n)]
    stack = [(0, np.array(start, object), [])]
    while stack:
        depth, x, rows = stack.pop()
        weight, bias, kind = layers[depth]
        z = np.array([[Fraction(w) for w in row] for row in weight.tolist()], object) @ x
        z[:, -1] += [Fraction(b) for b in bias.tolist()]
        if depth == len(layers) - 1:
            yield rows, z
            continue
        for pieces in itertools.product(PIECES[kind], repeat=len(z)):
            own = []
            for (low, high, _, _), f in zip(pieces, z, strict=True):
                own += [] if high is None else [(f[:-1], high - f[-1])]
                own += [] if low is None else [(-f[:-1], f[-1] - low)]
            if all(sum(min(g * Fraction(float(w)), 0) for g, w in zip(row, upper - lower, strict=True)) <= m for row, m in own):
                value = np.array([slope * f for (_, _, slope, _), f in zip(pieces, z, strict=True)], object)
                value[:, -1] += [piece[3] for piece in pieces]
                stack.append((depth + 1, value, rows + own))


def is_feasible(rows, widths):
    """Whether some v with 0 <= v <= widths meets all rows g @ v <= m, by the first phase of an exact simplex."""
    n = len(widths)
    room = max([Fraction(0), *(-m for _, m in rows)])
    normals = [(*g, Fraction(1)) for g, _ in rows]
    bounds = [m + room for _, m in rows]
    for k in range(n):
        unit = [Fraction(int(i == k)) for i in range(n)]
        normals += [(*unit, Fraction(0)), (*(-u for u in unit), Fraction(0))]
        bounds += [Fraction(float(widths[k])), Fraction(0)]
    last = (Fraction(0),) * n + (Fraction(1),)
    return maximum([*normals, last], [*bounds, room], last) == room


def exists_in(layers, lower, upper, union):
    """Whether an input of the box meets a polytope of the union, in rational arithmetic."""
    for rows, y in exact_cells(layers, lower, upper):
        for part in union:
            own = []
            for a, b in zip(part.A.tolist(), part.b.tolist(), strict=True):
                f = sum(Fraction(c) * row for c, row in zip(a, y, strict=True))
                own.append((f[:-1], Fraction(b) - f[-1]))
            if is_feasible(rows + own, upper - lower):
                return True
    return False


def draw_wide_case(seed):
    """A network with seven to nine inputs that all vary, a box and a union near the least values on the box."""
    rng, layers = np.random.default_rng(seed), draw_wide(seed)
    network = to_network(describe_wide(layers))
    lower = rng.integers(-4, 5, network.n_inputs) / 4.0
    upper = lower + rng.integers(1, 5, network.n_inputs) / 4.0
    outputs = network.forward(lower + rng.random((256, network.n_inputs)) * (upper - lower))
    union = []
    for _ in range(rng.integers(1, 3)):
        A = rng.integers(-2, 3, (rng.integers(1, 3), network.n_outputs)).astype(float)
        at = outputs @ A.T
        b = np.floor(8 * (at.min(axis=0) - rng.integers(0, 3) / 2 * (at.max(axis=0) - at.min(axis=0)) * rng.random())) / 8
        union.append(pwlnet.HalfSpaces(A, b))
    return layers, network, lower, upper, union


def test_boxes_with_seven_sides_and_more_are_decided_as_in_rational_arithmetic():
    answers = []
    for seed in range(few(100, 2, quick=10)):
        layers, network, lower, upper, union = draw_wide_case(seed)
        expected = "sat" if exists_in(layers, lower, upper, union) else "unsat"
        how = {"max_branches": 500, "method": ("auto", "neurons")[seed % 2], "threads": 1}
        decision = pwlnet.decide(network, pwlnet.Box(lower, upper), union, **how)
        if decision.status == "sat":
            check_sat(network, lower, upper, union, decision)
        assert decision.status in (expected, "undecided"), seed
        answers.append((decision.status, decision.engine))
    assert sum(status == "undecided" for status, _ in answers) <= max(1, len(answers) // 20)
    assert {status for status, _ in answers} >= {"sat", "unsat"} and ("unsat", "neurons") in answers


def test_no_proof_excludes_what_holds_where_no_witness_is_looked_for(monkeypatch):
    monkeypatch.setattr(BoxSearch, "_falsify", lambda self: None)
    monkeypatch.setattr(NeuronSplits, "_look", lambda self, u, point: None)
    n_sat, n_split = 0, 0
    for seed in range(few(150, 2, quick=15)):
        layers, network, lower, upper, union = draw_wide_case(seed)
        if exists_in(layers, lower, upper, union):
            decision = pwlnet.decide(network, pwlnet.Box(lower, upper), union, max_branches=60, method="neurons", threads=1)
            assert decision.status != "unsat", seed
            n_sat, n_split = n_sat + 1, n_split + (decision.n_branches > 3)
    assert n_sat > 0 and n_split > 0


def test_networks_of_huge_and_tiny_scales_are_right_or_undecided():
    for scale in (1e-300, 1e-150, 1e150, 1e300):
        nodes = [{"kind": "input", "inputs": [], "shape": (8,)}]
        nodes.append({"kind": "linear", "inputs": [0], "weight": np.eye(8) * scale, "bias": np.zeros(8)})
        nodes.append({"kind": "relu", "inputs": [1]})
        nodes.append({"kind": "linear", "inputs": [2], "weight": np.ones((1, 8)), "bias": np.zeros(1)})
        network, box = to_network(nodes), pwlnet.Box(-np.ones(8), np.ones(8))
        below, above = pwlnet.HalfSpaces([[1.0]], [-scale]), pwlnet.HalfSpaces([[1.0]], [scale])
        assert pwlnet.decide(network, box, below, method="neurons", max_branches=50).status in ("unsat", "undecided")
        assert pwlnet.decide(network, box, above, method="neurons", max_branches=50).status == "sat"


def test_rows_of_outputs_are_exact_in_rational_arithmetic_and_enclosed_by_their_error_bounds():
    for seed in range(few(100, 3)):
        description, starts, _ = random_case(seed)
        network, rng = to_network(description), np.random.default_rng(seed)
        A, b = rng.integers(-9, 10, (3, network.n_outputs)) / 7.0, rng.integers(-9, 10, 3) / 3.0
        elimination = Elimination(network, (A, b))
        last, y = len(elimination.blocks) - 1, values(description, starts[0])[-1]
        expected = [
            sum(Fraction(c) * v for c, v in zip(a, y, strict=True)) - Fraction(s)
            for a, s in zip(A.tolist(), b.tolist(), strict=True)
        ]
        assert elimination.evaluate_exactly(starts[0], last)[last] == expected
        found = elimination.evaluate(starts[:1])
        errors = [abs(Fraction(z) - x) for z, x in zip(found.z[last][:, 0].tolist(), expected, strict=True)]
        assert all(error <= limit for error, limit in zip(errors, found.z_errors[last][:, 0].tolist(), strict=True)), seed


def wide_abs(n=8):
    """y = sum |x_k - 1/2| and -y, for n inputs."""
    nodes = [{"kind": "input", "inputs": [], "shape": (n,)}]
    nodes.append({"kind": "linear", "inputs": [0], "weight": np.eye(n), "bias": np.full(n, -0.5)})
    nodes.append({"kind": "leaky_relu", "inputs": [1], "slope": -1.0})
    weight = np.array([np.ones(n), -np.ones(n)])
    nodes.append({"kind": "linear", "inputs": [2], "weight": weight, "bias": np.zeros(2)})
    return to_network(nodes)


def test_conditions_on_the_boundary_are_right_or_undecided_and_close_ones_are_decided():
    network, box = wide_abs(), pwlnet.Box(np.zeros(8), np.linspace(0.9, 1.25, 8))
    assert pwlnet.decide(network, box, pwlnet.HalfSpaces([[1.0, 0.0]], [0.0]), method="neurons").status in ("sat", "undecided")
    decision = pwlnet.decide(network, box, pwlnet.HalfSpaces([[1.0, 0.0]], [-1e-6]), method="neurons")
    assert (decision.status, decision.n_open) == ("unsat", 0)
    largest = float(np.maximum(0.5, np.linspace(0.9, 1.25, 8) - 0.5).sum())
    above = pwlnet.HalfSpaces([[0.0, 1.0]], [-largest - 1e-6])
    decision = pwlnet.decide(network, box, above)
    assert decision.status == "unsat"
    assert pwlnet.decide(network, box, pwlnet.HalfSpaces([[0.0, 1.0]], [-largest + 1e-6]), method="neurons").status == "sat"


def test_rows_that_hold_one_by_one_but_not_together_are_excluded_by_splits():
    """y <= 2.1 and y >= 2.2 cannot both hold; x_0 and x_1 make two rows whose sum says nothing."""
    network = wide_abs()
    rows = pwlnet.HalfSpaces([[3.0, 0.0], [0.0, 1.0]], [6.3, -2.2])
    decision = pwlnet.decide(network, pwlnet.Box(np.zeros(8), np.ones(8)), rows)
    assert (decision.status, decision.engine) == ("unsat", "neurons")


def test_unions_are_unsat_only_if_all_parts_are():
    network, box = wide_abs(), pwlnet.Box(np.zeros(8), np.ones(8))
    none, some = pwlnet.HalfSpaces([[1.0, 0.0]], [-0.25]), pwlnet.HalfSpaces([[0.0, 1.0]], [-3.5])
    assert pwlnet.decide(network, box, [none, none], method="neurons").status == "unsat"
    decision = pwlnet.decide(network, box, [none, some], method="neurons")
    assert (decision.status, decision.confirmation.polytope) == ("sat", 1)


def hard_case():
    """A condition on a digit that neither the root nor a few splits decide."""
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    image = pwlnet.datasets.digits_images()[0][0]
    label = int(network.forward(image)[0].argmax())
    union = [pwlnet.HalfSpaces(np.eye(10)[[label]] - np.eye(10)[[k]], [0.0]) for k in range(10) if k != label]
    return network, pwlnet.Box.around(image, 0.06, limits=(0.0, 1.0)), union


def test_limits_leave_parts_of_the_box_and_repeat_exactly():
    network, box, union = hard_case()
    decisions = [pwlnet.decide(network, box, union, max_branches=8, threads=n) for n in (1, 2)]
    for decision in decisions:
        assert (decision.status, decision.engine, decision.stopped_by) == ("undecided", "neurons", "max_branches")
        assert decision.n_open >= 1 and 8 <= decision.n_branches <= 10
        assert np.array_equal(decision.open_lower.ravel(), box.lower.ravel()) and len(decision.open_upper) == 1
    assert decisions[0].n_open == decisions[1].n_open
    decision = pwlnet.decide(network, box, union, time_limit=0, method="neurons")
    assert (decision.status, decision.n_open, decision.stopped_by) == ("undecided", 1, "time_limit")


def test_networks_without_neurons_are_decided():
    nodes = [{"kind": "input", "inputs": [], "shape": (8,)}]
    nodes.append({"kind": "linear", "inputs": [0], "weight": np.ones((1, 8)), "bias": np.zeros(1)})
    network, box = to_network(nodes), pwlnet.Box(np.zeros(8), np.ones(8))
    for value, status in ((-0.25, "unsat"), (0.0, "sat"), (3.0, "sat")):
        assert pwlnet.decide(network, box, pwlnet.HalfSpaces([[1.0]], [value]), method="neurons").status == status


def test_a_minimum_at_one_inner_point_is_found_or_left():
    network, square = abs_network(), pwlnet.Box([0.0, -0.125], [1.0, 1.0])
    decision = pwlnet.decide(network, square, pwlnet.HalfSpaces([[1.0]], [0.0]), method="neurons")
    assert decision.status == "sat" and decision.witness.tolist() == [0.25, 0.5]


@pytest.mark.parametrize("n", [1, 4, pytest.param(8, marks=pytest.mark.slow)])
def test_a_condition_that_holds_at_no_floating_point_number_is_undecided(n):
    """y = sum |3 x_k - 1| is 0 at x = 1/3 only."""
    nodes = [{"kind": "input", "inputs": [], "shape": (n,)}]
    nodes.append({"kind": "linear", "inputs": [0], "weight": 3.0 * np.eye(n), "bias": -np.ones(n)})
    nodes.append({"kind": "leaky_relu", "inputs": [1], "slope": -1.0})
    nodes.append({"kind": "linear", "inputs": [2], "weight": np.ones((1, n)), "bias": np.zeros(1)})
    network, box = to_network(nodes), pwlnet.Box(np.zeros(n), np.ones(n))
    decision = pwlnet.decide(network, box, pwlnet.HalfSpaces([[1.0]], [0.0]), method="neurons", max_branches=3000)
    assert (decision.status, decision.witness, decision.stopped_by) == ("undecided", None, "resolution")
    assert decision.n_open >= 1 and decision.engine == "neurons"
