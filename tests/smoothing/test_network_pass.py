"""Passes with repressed float neurons: against exact arithmetic, however rows are batched, and outside of float32's range."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InputError, ShapeError, UnsupportedOperationError
from pwlnet.kernels.ir import program as ir
from pwlnet.smoothing import network_pass
from pwlnet.smoothing.network_pass import repressed_outputs
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.described import to_network
from tests.drawn import draw, is_dyadic
from tests.reference import repression

SEEDS = range(few(100, 4, quick=14))
ETA = -0.5
BITS = ("float32", "float64")


def toy_points(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, toy_network().n_inputs))


@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_are_those_of_exact_arithmetic_on_random_networks(seed):
    """Small integers and multiples of 1/4, with many ties: only averages and slopes of 0.01 are not exact in float64."""
    description, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=3)
    for passes in (1, 2):
        for references in (points[::-1], points[1:2]):
            rows = zip(points, np.broadcast_to(references, points.shape), strict=True)
            expected = [repression.repressed_outputs(description, x, r, Fraction(ETA), passes) for x, r in rows]
            actual = repressed_outputs(network, points, references, eta=ETA, passes=passes, dtype="float64", threads=1)
            expected = np.array(expected, np.float64).reshape(actual.shape)
            if is_dyadic(description):
                assert np.array_equal(actual, expected)
            else:
                assert np.allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["max_pool", "clip", "leaky_relu"])
def test_ties_and_values_at_thresholds_float(kind):
    """Images of four pixels with values from -2 to 2."""
    options = {
        "max_pool": {"kernel": (2, 2), "stride": (1, 1), "padding": (1, 0, 0, 1), "dilation": (1, 1)},
        "clip": {"lower": -1.0, "upper": 1.0},
        "leaky_relu": {"slope": np.array([[[-1.0, 0.5], [0.25, 2.0]]])},
    }
    description = [{"kind": "input", "inputs": [], "shape": (1, 2, 2)}, {"kind": kind, "inputs": [0], **options[kind]}]
    network, rng = to_network(description), np.random.default_rng(0)
    points, references = rng.integers(-2, 3, (2, 150, 4)).astype(float)
    rows = zip(points, references, strict=True)
    expected = [repression.repressed_outputs(description, x, r, Fraction(ETA), 2) for x, r in rows]
    for dtype, passes in itertools.product(BITS, (1, 2)):
        actual = repressed_outputs(network, points, references, eta=ETA, passes=passes, dtype=dtype)
        assert np.array_equal(actual, np.array(expected, np.float64))


def two_layers():
    """Two neurons, one after the other: leaky(relu(x) - 0.75), where the second has the slope 1/2."""
    graph = Graph((1,), batched=False)
    x = graph.relu(graph.input, name="first")
    graph.output = graph.leaky_relu(graph.linear(x, [[1.0]], [-0.75], name="full"), 0.5, name="second")
    return lower(graph)


def test_one_pass_compares_the_states_of_the_repressed_pass_and_two_those_of_the_plain_one():
    """At 1, the second pre-activation is 1/4; with the first value halved it is -1/4, as negative as at the reference."""
    one, two = (repressed_outputs(two_layers(), [[1.0]], [[-1.0]], eta=-0.5, passes=passes) for passes in (1, 2))
    assert one.tolist() == [[-0.125]]
    assert two.tolist() == [[-0.0625]]


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("passes", [1, 2])
def test_a_network_of_two_neurons_repressed_by_a_tenth_has_the_values_of_the_formula(dtype, passes):
    """relu(z/t) - relu(z/t - 1) - 0.95: positive for z > t, and negative there if both neurons float."""
    graph = Graph((1,), batched=False)
    x = graph.relu(graph.linear(graph.input, [[100.0], [100.0]], [0.0, -1.0], name="first"), name="relu")
    graph.output = graph.linear(x, [[1.0, -1.0]], [-0.95], name="score")
    network, points = lower(graph), np.array([[0.5], [0.005], [-1.0], [0.02]])
    rounding = 1e-4 if dtype == "float32" else 1e-12
    options = {"eta": -0.1, "passes": passes, "dtype": dtype}
    clean = repressed_outputs(network, points, [[-0.01]], **options)[:, 0]
    assert np.allclose(clean, [0.9 - 0.95, 0.45 - 0.95, -0.95, 0.9 - 0.95], atol=rounding)
    moved = repressed_outputs(network, points, [[0.5]], **options)[:, 0]
    assert np.allclose(moved, [0.05, 0.5 - 0.95, -0.95, 0.05], atol=rounding)


@pytest.mark.parametrize("dtype", BITS)
def test_without_references_it_is_the_forward_pass(dtype):
    network, points = toy_network(), toy_points(40)
    expected = network.forward(points)
    actual = repressed_outputs(network, points, eta=ETA, dtype=dtype)
    assert np.abs(actual - expected).max() <= (1e-6 if dtype == "float32" else 1e-14) * np.abs(expected).max()


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("passes", [1, 2])
def test_eta_0_gives_the_bits_of_the_plain_pass(dtype, passes):
    """Also if the kernel compares and multiplies by 1."""
    network, points = toy_network(), toy_points(40)
    plain = repressed_outputs(network, points, dtype=dtype)
    for references in (points[::-1].copy(), points[:1]):
        assert np.array_equal(repressed_outputs(network, points, references, eta=0.0, passes=passes, dtype=dtype), plain)
        none = np.empty((0, network.n_neurons))
        outputs, _ = network_pass._evaluate(network, points, references, none, 1.0, passes, dtype, 1)
        assert np.array_equal(outputs, plain)


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("passes", [1, 2])
def test_bits_depend_neither_on_the_batch_nor_on_threads_nor_on_whether_references_are_shared(dtype, passes, monkeypatch):
    n = few(75, 35, quick=75)
    network, points, references = toy_network(), toy_points(n), toy_points(n, seed=1)
    options = {"eta": ETA, "passes": passes, "dtype": dtype}
    each = repressed_outputs(network, points, references, threads=1, **options)
    shared = repressed_outputs(network, points, references[:1], threads=1, **options)
    assert not np.array_equal(each, repressed_outputs(network, points, dtype=dtype))
    assert np.array_equal(
        shared, repressed_outputs(network, points, np.repeat(references[:1], n, axis=0), threads=1, **options)
    )
    monkeypatch.setattr(network_pass, "WORK_PER_CALL", 1)
    monkeypatch.setattr(network_pass, "_WORK_PER_SLOT", 1)
    order = np.random.default_rng(2).permutation(n)
    for first, last in ((0, n), (7, 8), (31, n)):
        rows = order[first:last]
        assert np.array_equal(repressed_outputs(network, points[rows], references[rows], threads=3, **options), each[rows])
        assert np.array_equal(repressed_outputs(network, points[rows], references[:1], threads=2, **options), shared[rows])


@pytest.mark.parametrize("seed", SEEDS[::2])
def test_factors_multiply_outputs_as_scaled_float_paths_with_live_gates(seed):
    network, points = toy_network(), toy_points(34)
    if seed > 0:
        _, network, points = draw(seed, degenerate=seed % 4 == 0, n_points=34, generic=True)
    mask = np.random.default_rng(seed).random((34, network.n_neurons)) < 0.3
    expected = pwlnet.scale_float_paths(network, points, mask, ETA, gates="live")
    factors = np.where(mask, ETA, 1.0)
    actual = repressed_outputs(network, points, factors=factors, dtype="float64")
    assert np.allclose(actual, expected, rtol=1e-12, atol=1e-12)
    one = repressed_outputs(network, points, factors=factors[0])
    assert np.array_equal(one, repressed_outputs(network, points, factors=np.repeat(factors[:1], 34, axis=0)))
    scale = 1.0 + np.abs(expected[:1]).max()
    assert np.abs(one[0] - expected[0]).max() <= 1e-4 * scale


def chain(factor):
    """Two layers that multiply by a factor, and a last one that divides by its square."""
    graph = Graph((2,), batched=False)
    x = graph.relu(graph.linear(graph.input, [[factor, 0.0], [0.0, -factor]], name="first"), name="relu1")
    x = graph.relu(graph.linear(x, [[factor, 0.0], [factor, factor]], name="second"), name="relu2")
    graph.output = graph.linear(x, np.ones((1, 2)), name="last")
    return lower(graph)


@pytest.mark.parametrize("factor", [1e-30, 1e30, 1e200])
def test_values_outside_the_range_of_float32_are_evaluated_in_float64(factor):
    network, points = chain(factor), np.array([[1.0, -1.0], [0.5, 1.0], [2.0, 3.0]])
    for arguments in ({}, {"references": points[:1]}, {"references": points[::-1]}, {"factors": np.full(4, 0.5)}):
        single, double = (repressed_outputs(network, points, eta=ETA, dtype=dtype, **arguments) for dtype in BITS)
        assert np.array_equal(single, double)
        assert double.all()


def test_values_that_leave_the_range_of_float32_in_one_layer_only_are_evaluated_in_float64():
    """In float32, the second layer would be 0 and the last one finite; and the output alone would be infinite."""
    lost, large = Graph((1,), batched=False), Graph((1,), batched=False)
    x = lost.input
    for k, (weight, bias) in enumerate([(1e-30, 0.0), (1e-30, 0.0), (1e30, 0.0), (1e30, 1.0)]):
        x = lost.relu(lost.linear(x, [[weight]], [bias], name=f"full{k}"), name=f"relu{k}")
    lost.output = x
    y = large.relu(large.linear(large.input, [[1e20]], name="full"), name="relu")
    large.output = large.linear(y, [[1e25]], name="last")
    assert np.allclose(repressed_outputs(lower(lost), [[1.0], [3.0]]), [[2.0], [4.0]])
    assert np.allclose(repressed_outputs(lower(large), [[1.0], [3.0]]), [[1e45], [3e45]])


def test_an_overflow_of_float64_is_not_a_number_at_the_output():
    """Infinity minus infinity, in a ReLU, and in a window of MaxPool after a finite tap."""
    graph = Graph((2, 1, 1), batched=False)
    x = graph.reshape(graph.input, (2,), name="flat")
    for k in range(2):
        x = graph.relu(graph.linear(x, np.full((2, 2), 1e200), name=f"full{k}"), name=f"relu{k}")
    nan = graph.relu(graph.linear(x, [[1.0, -1.0]], name="difference"), name="relu")
    window = graph.concat([graph.input, graph.reshape(nan, (1, 1, 1), name="image")], 0, name="taps")
    window = graph.max_pool(graph.reshape(window, (1, 3, 1), name="column"), (3, 1), name="max")
    graph.output = graph.concat([nan, graph.reshape(window, (1,), name="value")], 0, name="both")
    assert np.isnan(repressed_outputs(lower(graph), [[1.0, 1.0]])).all()


def test_a_reference_outside_the_range_of_float32_is_noticed_for_its_draws_only():
    network, points = toy_network(), toy_points(40)
    far = np.repeat(points[:1], 40, axis=0)
    far[3] *= 2.0**110
    single, double = (repressed_outputs(network, points, far, eta=ETA, dtype=dtype) for dtype in BITS)
    assert np.array_equal(single[3], double[3])
    assert np.array_equal(repressed_outputs(network, points, far, eta=0.0), repressed_outputs(network, points))
    others = np.arange(40) != 3
    near = repressed_outputs(network, points, points[:1], eta=ETA)
    assert np.array_equal(single[others], near[others])
    assert not np.array_equal(single[others], double[others])
    shared = repressed_outputs(network, points, far[3:4], eta=ETA)
    assert np.array_equal(shared, repressed_outputs(network, points, far[3:4], eta=ETA, dtype="float64"))


def test_networks_without_neurons_and_empty_batches_have_outputs():
    graph = Graph((2,), batched=False)
    graph.output = graph.linear(graph.input, [[1.0, -1.0]], [0.5], name="only")
    network = lower(graph)
    assert repressed_outputs(network, [[2.0, 1.0]], [[0.0, 0.0]], eta=ETA).tolist() == [[1.5]]
    assert repressed_outputs(network, [[2.0, 1.0]], factors=np.empty(0)).tolist() == [[1.5]]
    assert repressed_outputs(toy_network(), toy_points(0)).shape == (0, 3)


@pytest.mark.parametrize(("known", "unknown"), [(ir.CLIP, 99), (ir.AVG_POOL, -1)])
def test_an_op_that_no_kernel_knows_is_refused(known, unknown):
    network = toy_network()
    table = network.code.op_table.copy()
    table[:-1, ir.OP] = np.where(network.program.op == known, unknown, network.program.op)
    table.setflags(write=False)
    network.__dict__["code"] = network.code._replace(op_table=table)
    for references in (None, toy_points(1)):
        with pytest.raises(UnsupportedOperationError, match="an op that the kernels do not handle"):
            repressed_outputs(network, toy_points(2), references, eta=ETA, dtype="float64")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"references": np.zeros((3, 72))}, ShapeError, "references has 3 rows, but there are 2 points"),
        ({"references": np.zeros((2, 5))}, ShapeError, "references has shape"),
        ({"references": np.full((1, 72), np.nan)}, InputError, "references has 1 rows with NaN"),
        ({"factors": np.zeros(3)}, ShapeError, "factors has shape"),
        ({"factors": np.full(toy_network().n_neurons, np.inf)}, InputError, "factors has 1 rows with NaN"),
        ({"factors": np.array(["a"])}, InputError, "factors has dtype"),
        ({"factors": np.zeros(3), "references": np.zeros((1, 72))}, InputError, "both given"),
        ({"eta": np.nan}, InputError, "eta is nan"),
        ({"passes": 3}, InputError, "passes is 3"),
        ({"passes": True}, InputError, "passes is True"),
        ({"dtype": "float16"}, InputError, "dtype is 'float16'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        repressed_outputs(toy_network(), toy_points(2), **arguments)
