"""Local Lipschitz constants: operator norms against other formulas, exact pieces, soundness of bounds."""

import functools
import itertools

import numpy as np
import pytest

import pwlnet
from pwlnet.analysis import masked_norms
from pwlnet.analysis.operator_norms import operator_norms, plane_norms, spectral_bound
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import CapacityError, InputError, ShapeError
from pwlnet.float_sets import Scope, make_float_set
from pwlnet.kernels.ir import program as ir
from tests.counts import few
from tests.described import to_network
from tests.drawn import draw
from tests.reference import exact_line
from tests.reference.random_cases import random_case

NORMS = (1.0, 2.0, np.inf)
PAIRS = list(itertools.product(NORMS, NORMS))
CLOSE = 1 + 1e-12


def extreme_points(n, p):
    """Corners of the unit ball of l_1 or l_inf: the convex function |A v| is largest at one of them."""
    return np.eye(n) if p == 1.0 else np.array(list(itertools.product((-1.0, 1.0), repeat=n)))


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_operator_norms_are_the_largest_ratios_of_norms(p, q):
    rng = np.random.default_rng(0)
    for shape in ((3, 4), (1, 5), (5, 1), (6, 6)):
        matrix = rng.normal(size=shape)
        value = operator_norms(matrix[None], p, q).item()
        if p == 2.0:
            v = rng.normal(size=(20000, shape[1]))
            best = (np.linalg.norm(v @ matrix.T, q, axis=1) / np.linalg.norm(v, 2, axis=1)).max()
            assert best <= value * CLOSE
            assert value <= 1.3 * best
        else:
            best = np.linalg.norm(extreme_points(shape[1], p) @ matrix.T, q, axis=1).max()
            assert abs(best - value) <= 1e-12 * value


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_the_norm_of_a_matrix_is_that_of_its_transpose_between_the_dual_norms(p, q):
    dual = {1.0: np.inf, 2.0: 2.0, np.inf: 1.0}
    matrices = np.random.default_rng(1).normal(size=(7, 4, 5))
    expected = operator_norms(matrices.transpose(0, 2, 1), dual[q], dual[p])
    np.testing.assert_allclose(operator_norms(matrices, p, q), expected, rtol=1e-12)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_norms_in_a_plane_are_the_largest_ratios_over_its_angles(p, q):
    rng = np.random.default_rng(2)
    angles = np.linspace(0.0, np.pi, 20001)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    bases = [rng.normal(size=(2, 5)), np.eye(2), np.array([[1.0, 0, 0, 1], [0, 0, 1, 1]]), np.array([[1.0, 1, 2], [1, -1, 0]])]
    for basis in bases:
        maps = rng.normal(size=(4, 3, 2))
        ratios = np.linalg.norm(maps @ directions.T, q, axis=1) / np.linalg.norm(directions @ basis, p, axis=1)
        values = plane_norms(maps, basis, p, q)
        assert (ratios.max(axis=1) <= values * CLOSE).all()
        np.testing.assert_allclose(ratios.max(axis=1), values, rtol=0.001)


def test_matrices_without_rows_or_columns_have_the_norm_zero():
    for p, q in PAIRS:
        assert operator_norms(np.zeros((2, 0, 3)), p, q).tolist() == [0.0, 0.0]
        assert operator_norms(np.zeros((2, 3, 0)), p, q).tolist() == [0.0, 0.0]


def test_norms_that_need_too_many_signs_are_refused():
    with pytest.raises(CapacityError, match="the operator norm from l_inf to l_1 tries all signs of 17 numbers, at most 16"):
        operator_norms(np.ones((1, 18, 17)), np.inf, 1.0)
    wide, tall = (operator_norms(np.ones((1, *shape)), np.inf, 1.0).item() for shape in ((17, 3), (3, 17)))
    assert (wide, tall) == (51.0, 51.0)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_the_bound_of_a_largest_singular_value_is_above_it_and_close(size):
    """Of matrices U diag(s) V^T with exact entries: Hadamard matrices over a power of two."""
    hadamard = np.array([[1.0]])
    for _ in range(4):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    values = np.arange(16, 0, -1.0)
    matrix = size * (hadamard * values) @ hadamard / 16.0
    bound = spectral_bound(matrix)
    assert 16.0 * size <= bound <= 16.0 * size * (1 + 1e-11)
    assert spectral_bound(matrix[:, :5]) <= bound
    assert spectral_bound(np.zeros((3, 2))) == 0.0


@functools.cache
def dense_matrix(seed):
    """A random convolution with its matrix by unit vectors: network, op, matrix without the bias."""
    _, network, _ = draw(seed, generic=True, kinds=("conv", "avg_pool", "reshape", "relu"), depth=(1, 1))
    return network


def test_norms_of_convolutions_and_averages_are_those_of_their_matrices():
    n_checked = 0
    for seed in range(few(80, 10, quick=40)):
        network = dense_matrix(seed)
        rng, program = np.random.default_rng(seed), network.program
        for i in np.flatnonzero(np.isin(program.op, (ir.CONV2D, ir.AVG_POOL))):
            if program.op[0] != ir.INPUT or network.op_graph.operands[i][0] != 0:
                continue
            matrix = matrix_of(network, i)
            weights, needed = rng.random(matrix.shape[1]) * (rng.random(matrix.shape[1]) < 0.8), rng.random(len(matrix)) < 0.8
            for p in NORMS:
                bound = masked_norms._window_norm(network, i, weights, needed, p)
                exact = np.linalg.norm(matrix[needed] * weights, p) if needed.any() else 0.0
                assert exact <= bound * CLOSE
                if p != 2.0 and program.op[i] == ir.CONV2D:
                    assert bound <= exact * (1 + 1e-10)
                n_checked += 1
    assert n_checked > 20


def matrix_of(network, i):
    """The matrix of op i, which reads the input, in stored order, by differences of values at unit vectors."""
    from pwlnet import evaluate

    code = evaluate.truncate_program(network.code, int(i))
    n = int(np.prod(network.program.shapes[i]))
    indices = np.concatenate([code.indices, np.arange(n)])
    table = code.op_table.copy()
    table[-1, ir.OUTPUTS], table[-1, ir.N_OUTPUTS] = len(code.indices), n
    for array in (table, indices):
        array.setflags(write=False)
    unit = np.zeros((network.n_inputs + 1, network.n_inputs))
    unit[np.arange(1, network.n_inputs + 1), network.program.input_index.argsort()] = 1.0
    values = evaluate.forward(code._replace(op_table=table, indices=indices), unit, outputs=True).outputs
    return (values[1:] - values[0]).T


def test_at_a_point_it_is_the_norm_of_the_jacobian():
    for seed in range(few(30, 5)):
        _, network, points = draw(seed, generic=True)
        for p, q in ((1, np.inf), (2, 2), (np.inf, 1), (2, np.inf), (1, 1)):
            result = pwlnet.lipschitz_constant(network, points, norm=p, output_norm=q)
            np.testing.assert_array_equal(result.value, operator_norms(network.jacobian(points), float(p), float(q)))
            assert pwlnet.lipschitz_constant(network, points[0], norm=p).value >= 0.0
            assert (result.kind, result.norm, result.output_norm) == ("exact", p, q)
    assert isinstance(pwlnet.lipschitz_constant(network, points[0]).value, float)


def test_the_default_norm_of_outputs_is_the_dual_of_that_of_inputs():
    _, network, points = draw(0, generic=True)
    assert [pwlnet.lipschitz_constant(network, points, norm=p).output_norm for p in (1, 2, np.inf)] == [np.inf, 2.0, 1.0]


@pytest.mark.parametrize("seed", range(few(60, 4)))
def test_on_a_segment_it_is_the_largest_norm_over_the_segments_of_the_exact_line(seed):
    description, starts, ends = random_case(2 * seed)
    network, start, end = to_network(description), starts[0], ends[0]
    t, _ = exact_line.partition(description, start, end)
    nodes = np.array([float(v) for v in t])
    jacobians = network.jacobian(start + 0.5 * (nodes[1:] + nodes[:-1])[:, None] * (end - start))
    for p, q in ((1.0, np.inf), (2.0, 2.0), (np.inf, 1.0)):
        result = pwlnet.lipschitz_constant(network, pwlnet.Segment(start, end), norm=p)
        norms = operator_norms(jacobians, p, q)
        np.testing.assert_allclose(result.value, norms.max(), rtol=1e-12)
        assert result.n_pieces == len(norms)
        np.testing.assert_allclose(norms[result.piece], norms.max(), rtol=1e-12)
        slopes = np.linalg.norm(jacobians @ (end - start), q, axis=1) / max(np.linalg.norm(end - start, p), 1e-300)
        along = pwlnet.lipschitz_constant(network, pwlnet.Segment(start, end), norm=p, along=True)
        np.testing.assert_allclose(along.value, slopes.max(), rtol=1e-10, atol=1e-12)
        assert along.value <= result.value * CLOSE


def test_no_two_points_of_a_segment_or_polygon_change_faster():
    for seed in range(few(30, 2, quick=6)):
        _, network, points = draw(seed, generic=True)
        start, e1, e2 = points[0], points[1] - points[0], points[2] - points[0]
        if network.n_inputs < 2:
            continue
        square = pwlnet.Polygon(start, e1, e2, [[0, 0], [1, 0], [1, 1], [0, 1]])
        uv = np.random.default_rng(seed).random((40, 2))
        sample = start + uv @ np.stack([e1, e2])
        outputs = network.forward(sample)
        for p, q in ((1.0, np.inf), (2.0, 2.0), (np.inf, 1.0), (np.inf, np.inf)):
            along = pwlnet.lipschitz_constant(network, square, norm=p, output_norm=q, along=True)
            full = pwlnet.lipschitz_constant(network, square, norm=p, output_norm=q)
            changes = np.linalg.norm(outputs[:20] - outputs[20:], q, axis=1)
            distances = np.linalg.norm(sample[:20] - sample[20:], p, axis=1)
            assert (changes <= along.value * distances * CLOSE + 1e-12).all()
            assert along.value <= full.value * CLOSE
            edge = pwlnet.lipschitz_constant(network, pwlnet.Segment(start, start + e1), norm=p, output_norm=q, along=True)
            assert edge.value <= along.value * (1 + 1e-9)


def test_a_segment_of_length_zero_has_no_change_along_it():
    _, network, points = draw(0, generic=True)
    segment = pwlnet.Segment(points[0], points[0])
    assert pwlnet.lipschitz_constant(network, segment, along=True).value == 0.0
    assert pwlnet.lipschitz_constant(network, segment).value == pwlnet.lipschitz_constant(network, points[0]).value


@pytest.mark.parametrize("p", NORMS)
def test_bounds_on_boxes_are_above_the_norms_of_all_jacobians_there(p):
    """With the neurons that have one state on a sample taken as fixed, for the points of the sample."""
    for seed in range(few(120, 10, quick=15)):
        _, network, points = draw(seed, generic=True, n_points=1)
        sample = points + 0.3 * np.random.default_rng(seed).uniform(-1.0, 1.0, (20, points.size))
        states = network.states(sample)
        fixed = np.where((states == states[0]).all(axis=0), states[0], -1)
        box = pwlnet.Box.around(points[0], 0.3)
        norms = operator_norms(network.jacobian(sample), p, p)
        known, unknown = (pwlnet.lipschitz_constant(network, box, norm=p, output_norm=p, float_set=s) for s in (fixed, None))
        assert norms.max() <= known.value * CLOSE
        assert known.value <= unknown.value * CLOSE
        if network.n_neurons and (fixed < 0).any():
            assert known.kind == unknown.kind == "bound"


def test_a_set_without_float_neurons_has_the_norm_of_its_affine_map():
    for seed in range(few(30, 5)):
        _, network, points = draw(seed, generic=True)
        states = network.states(points)
        balls = pwlnet.Ball(points, 0.001)
        result = pwlnet.lipschitz_constant(network, balls, float_set=states)
        np.testing.assert_array_equal(result.value, pwlnet.lipschitz_constant(network, points).value)
        assert result.kind == "exact"


def test_bounds_drop_constant_neurons_and_keep_linear_ones():
    """relu(W x) with one neuron off: the product has the norms of the other rows and columns only."""
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(5, 3)), rng.normal(size=(2, 5))
    graph = Graph((3,), batched=False)
    x = graph.relu(graph.linear(graph.input, first, name="first"), name="relu")
    graph.output = graph.linear(x, last, name="last")
    network, states = lower(graph), np.array([1, 0, -1, -1, 0])
    kept = states != 0
    float_set = make_float_set(network, states < 0, states < 0, states, method="test", scope=Scope.GIVEN)
    for p in NORMS:
        expected = np.linalg.norm(first[kept], p) * np.linalg.norm(last[:, kept], p)
        box = pwlnet.Box(np.zeros(3), np.ones(3))
        for given in (states, float_set):
            value = pwlnet.lipschitz_constant(network, box, norm=p, output_norm=p, float_set=given).value
            assert expected <= value * CLOSE
            assert value <= expected * (1 + 1e-11)
    from_l2 = pwlnet.lipschitz_constant(network, box, norm=2, output_norm=1, float_set=states).value
    assert abs(from_l2 / pwlnet.lipschitz_constant(network, box, norm=2, float_set=states).value - np.sqrt(2.0)) < 1e-12


def test_large_matrices_are_bounded_without_their_singular_values(monkeypatch):
    _, network, points = draw(3, generic=True)
    box = pwlnet.Box.around(points, 0.1)
    exact = pwlnet.lipschitz_constant(network, box).value
    monkeypatch.setattr(masked_norms, "_DENSE", 0)
    rough = pwlnet.lipschitz_constant(network, box).value
    assert (exact <= rough * CLOSE).all()
    assert (pwlnet.lipschitz_constant(network, points).value <= rough).all()


def test_bad_arguments_are_refused_with_what_was_given():
    _, network, points = draw(0, generic=True)
    x, k = points[0], network.n_neurons
    with pytest.raises(InputError, match=r"norm is 3; the choices are 1, 2 and numpy\.inf"):
        pwlnet.lipschitz_constant(network, x, norm=3)
    with pytest.raises(InputError, match="output_norm is 'dual'"):
        pwlnet.lipschitz_constant(network, x, output_norm="dual")
    with pytest.raises(InputError, match="along is set, but domain is a Ball; give a Segment or a Polygon"):
        pwlnet.lipschitz_constant(network, pwlnet.Ball(x, 1.0), along=True)
    with pytest.raises(InputError, match="float_set was given, but domain is a Segment"):
        pwlnet.lipschitz_constant(network, pwlnet.Segment(x, x), float_set=np.zeros(k, int))
    with pytest.raises(ShapeError, match="float_set has states of shape"):
        pwlnet.lipschitz_constant(network, pwlnet.Ball(x, 1.0), float_set=np.zeros(k + 1, int))
    with pytest.raises(InputError, match="float_set has dtype float64"):
        pwlnet.lipschitz_constant(network, pwlnet.Ball(x, 1.0), float_set=np.zeros(k))
    with pytest.raises(InputError, match="which these neurons do not have"):
        pwlnet.lipschitz_constant(network, pwlnet.Ball(x, 1.0), float_set=np.full(k, 99))
    with pytest.raises(ShapeError):
        pwlnet.lipschitz_constant(network, pwlnet.Ball(np.zeros(network.n_inputs + 1), 1.0))
