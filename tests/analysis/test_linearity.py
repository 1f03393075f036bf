"""Linearity measures: against Jacobians of every segment and autograd, closed forms, invariants, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pwlnet
from pwlnet import evaluate
from pwlnet.analysis.linearity import GradientChange
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from tests.counts import few
from tests.described import to_network
from tests.reference.random_cases import random_case

SEEDS_AT_ONCE = 25
AGREE = 1e-10  # relative to the largest of the numbers compared
OFFSET = 1e-12
NOISE = 1024 * np.finfo(np.float64).eps


@pytest.fixture(scope="module")
def network():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))


@pytest.fixture(scope="module")
def images():
    return pwlnet.datasets.digits_images()[0].reshape(-1, 64)


def ratio(a, b):
    """a / b; 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((a == 0.0) & (b == 0.0), 0.0, a / b)


def compared(gradients):
    """The seven measures of each row of float64[S, D] against the first one, by formulas that take whole arrays."""
    largest = np.maximum.accumulate(np.abs(gradients).max(axis=1))[:, None]
    start, change = gradients[0], gradients - gradients[0]
    norms = {
        name: ratio(np.linalg.norm(change, order, axis=1), np.linalg.norm(start, order))
        for name, order in (("l1", 1), ("l2", 2), ("linf", np.inf))
    }
    length = np.linalg.norm(start)
    along = gradients @ start / (length if length > 0.0 else 1.0)
    across = np.linalg.norm(gradients - np.outer(along, start) / (length if length > 0.0 else 1.0), axis=1)
    own = np.linalg.norm(gradients, axis=1)
    angle = np.where((own > 0.0) & (length > 0.0), np.arctan2(across, along), 0.5 * np.pi * ((own > 0.0) != (length > 0.0)))
    g, g0 = (np.where(np.abs(x) > NOISE * largest, x, 0.0) for x in (gradients, np.broadcast_to(start, gradients.shape)))
    return norms | {
        "angle": angle,
        "sign": ratio(np.sum(g * g0 < 0.0, axis=1), np.maximum(1, np.sum(g0 != 0.0, axis=1))),
        "symmetric": ratio(np.abs(g - g0), np.abs(g) + np.abs(g0)).mean(axis=1),
        "relative": np.abs((g0 - g) / (g + OFFSET)).mean(axis=1),
    }


def integral_of_absolute(t, error):
    """Integral of the absolute value of a piecewise linear function, with its zeros as additional points."""
    before, after, width = error[:-1], error[1:], np.diff(t)
    crosses = before * after < 0.0
    zeros = t[:-1][crosses] + width[crosses] * before[crosses] / (before - after)[crosses]
    places = 1 + np.flatnonzero(crosses)
    return np.trapezoid(np.abs(np.insert(error, places, 0.0)), np.insert(t, places, zeros))


def assert_close(result, expected, scale=None):
    if np.isinf(expected) or np.isinf(result):
        assert result == expected
        return
    assert abs(result - expected) <= AGREE * max(1.0, abs(expected) if scale is None else scale)


def assert_line_measured(result, i, c, part, gradients):
    """Line i's measures of its output in column c against the gradients float64[S, D] of its segments."""
    weights, target = np.diff(part.t), result.targets[i, c]
    for name, values in compared(gradients).items():
        assert_close(getattr(result.mean, name)[i, c], weights @ values if np.isfinite(values).all() else np.inf)
        assert_close(getattr(result.largest, name)[i, c], values.max())
        assert_close(getattr(result.at_end, name)[i, c], values[-1])
    values = part.outputs()[:, target]
    predicted = gradients[0] @ (part.end - part.start)
    error, tangent = values[0] + part.t * predicted - values, result.tangent
    scale = np.abs(values).max() + abs(predicted)
    assert_close(tangent.largest[i, c], np.abs(error).max(), scale)
    assert_close(np.interp(tangent.largest_at[i, c], part.t, np.abs(error)), np.abs(error).max(), scale)
    assert_close(tangent.mean[i, c], integral_of_absolute(part.t, error), scale)
    assert_close(tangent.at_end[i, c], error[-1], scale)
    assert_close(tangent.predicted[i, c], predicted, scale)
    assert_close(tangent.variation[i, c], np.abs(values - values[0]).max(), scale)
    assert_close(result.gradient_norm[i, c], np.linalg.norm(gradients[0]))


@pytest.mark.parametrize("first", range(0, few(500, 50), SEEDS_AT_ONCE))
def test_measures_equal_those_of_the_jacobians_of_all_segments(first):
    for seed in range(first, first + SEEDS_AT_ONCE):
        description, starts, ends = random_case(seed)
        network = to_network(description)
        lines = pwlnet.partition_lines(network, starts, ends, threads=1)
        targets = np.arange(2 * len(starts)).reshape(-1, 2) % network.n_outputs
        result = pwlnet.measure_linearity(lines, targets, threads=1)
        assert result.residual.max() <= AGREE
        for i, part in enumerate(lines.parts):
            jacobians = evaluate.jacobians(network.code, part.states())
            for c in range(2):
                assert_line_measured(result, i, c, part, jacobians[:, targets[i, c]])


@pytest.mark.parametrize("seed", range(0, few(60, 10), 2))
def test_measures_equal_those_of_autograd_at_the_middle_of_each_segment(seed):
    torch = pytest.importorskip("torch")
    from tests.reference.torch_network import to_torch

    description, starts, ends = random_case(seed)
    module, network = to_torch(description), to_network(description)
    lines = pwlnet.partition_lines(network, starts[:1], ends[:1])
    result = pwlnet.measure_linearity(lines, np.array([[seed % network.n_outputs]]))
    points = torch.tensor(lines.parts[0].midpoints(), requires_grad=True)
    values = module(points).reshape(len(points), -1)[:, seed % network.n_outputs]
    (gradients,) = torch.autograd.grad(values.sum(), points)
    assert_line_measured(result, 0, 0, lines.parts[0], gradients.numpy())


def test_long_lines_of_a_digits_network_equal_their_jacobians(network, images):
    lines = pwlnet.partition_lines(network, images[:2], images[2:4])
    assert lines.n_segments.min() > 256  # gradients are recomputed on the way
    result = pwlnet.measure_linearity(lines, np.array([[3], [7]]))
    assert result.residual.max() <= 1e-13
    for i, part in enumerate(lines.parts):
        jacobians = evaluate.jacobians(network.code, part.states())
        assert_line_measured(result, i, 0, part, jacobians[:, result.targets[i, 0]])


def bends(*kinks):
    """Network of one input, x + sum of a relu(x - b) for pairs (b, a)."""
    graph = Graph((1,), batched=False)
    places, slopes = (np.array(column) for column in zip(*kinks, strict=True))
    hidden = graph.linear(graph.input, np.ones((len(kinks), 1)), -places, name="hidden")
    bent = graph.linear(graph.relu(hidden, name="relu"), slopes[None], name="bent")
    graph.output = graph.add(bent, graph.input, name="sum")
    return lower(graph)


def test_one_kink_by_hand():
    lines = pwlnet.partition_lines(bends((0.25, 2.0)), [[0.0]], [[1.0]])
    result = pwlnet.measure_linearity(lines, 0)
    assert result.n_segments.tolist() == [2]
    assert result.density.tolist() == [2.0]
    change = {"l1": 2.0, "l2": 2.0, "linf": 2.0, "angle": 0.0, "sign": 0.0, "symmetric": 0.5, "relative": 2.0 / (3.0 + OFFSET)}
    for name in GradientChange._fields:
        assert getattr(result.largest, name)[0] == pytest.approx(change[name], rel=1e-15)
        assert getattr(result.at_end, name)[0] == pytest.approx(change[name], rel=1e-15)
        assert getattr(result.mean, name)[0] == pytest.approx(0.75 * change[name], rel=1e-15)
    tangent = {"largest": 1.5, "largest_at": 1.0, "mean": 0.5625, "at_end": -1.5, "predicted": 1.0, "variation": 2.5}
    assert {name: values[0] for name, values in result.tangent._asdict().items()} == pytest.approx(tangent, rel=1e-15)
    assert result.gradient_norm.tolist() == [1.0]


def test_an_error_that_changes_its_sign_by_hand():
    lines = pwlnet.partition_lines(bends((0.25, 2.0), (0.75, -8.0)), [[0.0]], [[1.0]])
    tangent = pwlnet.measure_linearity(lines, 0).tangent  # -1 at 3/4, 1/2 at the end
    assert tangent.largest.tolist() == [1.0]
    assert tangent.largest_at.tolist() == [0.75]
    assert tangent.at_end.tolist() == [0.5]
    assert tangent.mean[0] == pytest.approx(0.25 + 0.125 * 1.25 / 1.5, rel=1e-15)


def test_a_gradient_that_turns_around_has_every_sign_changed():
    result = pwlnet.measure_linearity(pwlnet.partition_lines(bends((0.5, -2.0)), [[0.0]], [[1.0]]), 0)
    assert result.at_end.sign.tolist() == [1.0]
    assert result.at_end.angle[0] == pytest.approx(np.pi, rel=1e-15)
    assert result.at_end.symmetric.tolist() == [1.0]
    assert result.mean.sign.tolist() == [0.5]


def test_a_gradient_that_is_zero_at_the_start_or_at_the_end():
    network = bends((0.5, -1.0))
    lines = pwlnet.partition_lines(network, [[1.0], [0.0]], [[0.0], [1.0]])
    result = pwlnet.measure_linearity(lines, 0)
    assert result.gradient_norm.tolist() == [0.0, 1.0]
    assert result.at_end.l2.tolist() == [np.inf, 1.0]
    assert result.at_end.angle.tolist() == [0.5 * np.pi, 0.5 * np.pi]
    assert result.at_end.sign.tolist() == [0.0, 0.0]
    assert result.at_end.symmetric.tolist() == [1.0, 1.0]
    assert result.at_end.relative[1] == pytest.approx(1.0 / OFFSET)


def test_an_entry_that_only_rounding_keeps_from_zero_counts_as_zero():
    graph = Graph((2,), batched=False)
    hidden = graph.linear(graph.input, np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([-0.25, -0.5]), name="hidden")
    bent = graph.linear(graph.relu(hidden, name="relu"), np.array([[0.2, -0.3]]), name="bent")
    graph.output = graph.add(bent, graph.linear(graph.input, np.array([[0.1, 1.0]]), name="straight"), name="sum")
    assert 0.1 + 0.2 - 0.3 > 0.0  # what is left of the first entry at the end
    result = pwlnet.measure_linearity(pwlnet.partition_lines(lower(graph), [[0.0, 0.0]], [[1.0, 0.0]]), 0).at_end
    assert result.symmetric.tolist() == [0.5]
    assert result.relative[0] == pytest.approx(0.5 * 0.1 / OFFSET, rel=1e-12)
    assert result.sign.tolist() == [0.0]


@pytest.mark.parametrize("seed", range(few(20, 4)))
def test_an_affine_network_has_no_change_and_no_error(seed):
    rng = np.random.default_rng(seed)
    graph = Graph((1, 5, 5), batched=False)
    hidden = graph.conv(graph.input, rng.normal(size=(3, 1, 2, 2)), name="conv")
    graph.output = graph.linear(graph.reshape(hidden, (48,), name="flat"), rng.normal(size=(4, 48)), name="full")
    lines = pwlnet.partition_lines(lower(graph), rng.normal(size=(3, 25)), rng.normal(size=(3, 25)))
    result = pwlnet.measure_linearity(lines, seed % 4)
    for change in (result.mean, result.largest, result.at_end):
        assert not np.any(list(change))
    assert not result.tangent.largest.any()
    assert result.n_segments.tolist() == [1, 1, 1]


@given(seed=st.integers(0, few(200, 20)), power=st.integers(-20, 20), sign=st.sampled_from([-1.0, 1.0]))
@settings(max_examples=few(40, 5), deadline=None)
def test_scaling_an_output_scales_its_errors_and_leaves_relative_measures(seed, power, sign):
    description, starts, ends = random_case(seed)
    factor = sign * 2.0**power
    scaled = {"kind": "scale_shift", "inputs": [len(description) - 1], "scale": np.array(factor), "shift": np.array(0.0)}
    networks = [to_network(nodes) for nodes in (description, [*description, scaled])]
    plain, other = (pwlnet.measure_linearity(pwlnet.partition_lines(n, starts, ends, threads=1), 0) for n in networks)
    for name in set(GradientChange._fields) - {"relative"}:
        for change, changed in ((plain.mean, other.mean), (plain.largest, other.largest), (plain.at_end, other.at_end)):
            assert np.array_equal(getattr(change, name), getattr(changed, name))
    assert np.array_equal(other.tangent.largest, abs(factor) * plain.tangent.largest)
    assert np.array_equal(other.tangent.mean, abs(factor) * plain.tangent.mean)
    assert np.array_equal(other.tangent.at_end, factor * plain.tangent.at_end)
    assert np.array_equal(other.gradient_norm, abs(factor) * plain.gradient_norm)


@given(seed=st.integers(0, few(200, 20)))
@settings(max_examples=few(40, 5), deadline=None)
def test_measures_keep_their_ranges(seed):
    description, starts, ends = random_case(seed)
    lines = pwlnet.partition_lines(to_network(description), starts, ends, threads=1)
    result = pwlnet.measure_linearity(lines, 0)
    slack = 1.0 + 1e-12
    for name in GradientChange._fields:
        mean, largest, at_end = (getattr(change, name) for change in (result.mean, result.largest, result.at_end))
        assert np.all((mean >= 0.0) & (at_end >= 0.0) & (mean <= slack * largest) & (at_end <= largest))
    for name in ("sign", "symmetric"):
        assert np.all(getattr(result.largest, name) <= slack)
    assert np.all(result.largest.angle <= np.pi)
    tangent = result.tangent
    assert np.all((tangent.mean <= slack * tangent.largest) & (np.abs(tangent.at_end) <= tangent.largest))
    assert np.all(np.abs(tangent.predicted - tangent.at_end) <= slack * tangent.variation)


def test_no_bit_depends_on_threads_or_on_the_other_lines(network, images):
    together = pwlnet.measure_linearity(pwlnet.partition_lines(network, images[:6], images[6:12]), 5, threads=2)
    for k in (0, 3, 5):
        lines = pwlnet.partition_lines(network, images[k : k + 1], images[k + 6 : k + 7])
        alone = pwlnet.measure_linearity(lines, 5, threads=1)
        assert np.array_equal(np.array(alone.mean)[:, 0], np.array(together.mean)[:, k])
        assert np.array_equal(np.array(alone.tangent)[:, 0], np.array(together.tangent)[:, k])


def test_several_outputs_of_a_line_are_those_one_by_one(network, images):
    lines = pwlnet.partition_lines(network, images[:3], images[3:6])
    every = pwlnet.measure_linearity(lines, np.tile(np.arange(10), (3, 1)))
    assert every.mean.l2.shape == every.tangent.mean.shape == (3, 10)
    one = pwlnet.measure_linearity(lines, [4, 9, 0])
    for i, target in enumerate((4, 9, 0)):
        for result, expected in ((one.mean, every.mean), (one.tangent, every.tangent)):
            np.testing.assert_allclose(np.array(result)[:, i], np.array(expected)[:, i, target], rtol=1e-10)


def test_a_line_without_length_and_an_empty_batch(network, images):
    result = pwlnet.measure_linearity(pwlnet.partition_lines(network, images[:1], images[:1]), 0)
    assert result.density.tolist() == [np.inf]
    assert not np.any(list(result.largest))
    assert not np.any(list(result.tangent))
    assert result.gradient_norm[0] > 0.0
    nothing = pwlnet.partition_lines(network, np.zeros((0, 64)), np.zeros((0, 64)))
    assert len(pwlnet.measure_linearity(nothing, 0)) == len(pwlnet.measure_linearity(nothing, [])) == 0


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (10, "InputError", "target 10 was given, but the network has 10 outputs"),
        ([0, -1], "InputError", "target -1 was given"),
        ([0.0, 1.0], "InputError", "targets has dtype float64; integers below 10"),
        ([1, 2, 3], "ShapeError", r"targets has shape \(3,\), but there are 2 lines"),
    ],
)
def test_bad_targets_get_their_sentence(network, images, targets, error, message):
    lines = pwlnet.partition_lines(network, images[:2], images[2:4])
    with pytest.raises(getattr(pwlnet.errors, error), match=message):
        pwlnet.measure_linearity(lines, targets)
