"""Integrated gradients: exact ones against sums over segments, rules against closed forms, completeness, bad input."""

import numpy as np
import pytest

import pwlnet
from pwlnet import evaluate
from pwlnet.analysis import attribution
from pwlnet.analysis.quadrature import RULES, quadrature_rule
from pwlnet.kernels.gradients import rank_one
from pwlnet.kernels.ir import program as ir
from tests.counts import few
from tests.described import to_network
from tests.reference.random_cases import random_case

SEEDS_AT_ONCE = 25
AGREE = 1e-10  # relative to the largest attribution, or where segments cancel, to what they would give without signs
SMALLEST = {"trapezoid": 2, "captum_trapezoid": 2, "simpson": 3}


@pytest.fixture(scope="module")
def network():
    return pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))


@pytest.fixture(scope="module")
def images():
    return pwlnet.datasets.digits_images()[0]


def sums_over_segments(lines):
    """Attributions by the Jacobians of each line's segments float64[L, O, D], and the same without signs."""
    result = []
    for part in lines.parts:
        weights, jacobians = np.diff(part.t), evaluate.jacobians(lines.network.code, part.states())
        direction = part.end - part.start
        result.append(
            [np.tensordot(weights, j, axes=1) * d for j, d in ((jacobians, direction), (abs(jacobians), abs(direction)))]
        )
    return np.array(result).swapaxes(0, 1)


def assert_close(result, expected, unsigned=None):
    scale = np.abs(expected if unsigned is None else unsigned).max(initial=0.0)
    assert np.abs(result - expected).max() <= AGREE * (scale if scale > 0.0 else 1.0)


@pytest.mark.parametrize("first", range(0, few(500, 50), SEEDS_AT_ONCE))
def test_exact_attributions_equal_the_sum_over_segments(first):
    for seed in range(first, first + SEEDS_AT_ONCE):
        description, starts, ends = random_case(seed)
        network = to_network(description)
        result = pwlnet.integrate_gradients(network, starts, ends, threads=1)
        lines = pwlnet.partition_lines(network, starts, ends, threads=1)
        assert np.array_equal(result.n_segments, lines.n_segments)
        assert_close(result.values, *sums_over_segments(lines))
        assert np.abs(result.residual).max(initial=0.0) <= AGREE


def test_the_networks_above_have_first_ops_of_all_kinds_and_others():
    """The kernel treats a switching op that only fully connected layers and convolutions read differently from others."""
    first, others, kept = set(), set(), set()
    for seed in range(200):
        network = to_network(random_case(seed)[0])
        roles, op = attribution._roles(network), network.program.op
        switching = op >= ir.FIRST_SWITCHING
        first |= set(op[roles == rank_one.FIRST])
        others |= set(op[switching & (roles == rank_one.EAGER)])
        kept |= {(op[i], network.program.attributes[i, ir.GROUPS] > 1) for i in np.flatnonzero(roles == rank_one.KEPT)}
    kinds = {ir.RELU, ir.LEAKY_RELU, ir.CLIP, ir.MAX_POOL}
    assert first == others == kinds
    assert kept == {(ir.AFFINE, False), (ir.CONV2D, False), (ir.CONV2D, True)}


def test_first_ops_that_convolutions_read_give_the_sum_over_segments():
    n_tried = 0
    for seed in range(200):
        network = to_network(random_case(seed)[0])
        if (network.program.op[attribution._roles(network) == rank_one.KEPT] == ir.CONV2D).any():
            starts, ends = random_case(seed)[1:]
            lines = pwlnet.partition_lines(network, starts, ends, threads=1)
            assert_close(pwlnet.integrate_gradients(network, starts, ends).values, *sums_over_segments(lines))
            n_tried += 1
    assert n_tried >= 5


def test_outputs_in_blocks_for_memory_give_the_same_attributions(network, images, monkeypatch):
    whole = pwlnet.integrate_gradients(network, images[0], images[1:4])
    monkeypatch.setattr(attribution, "_GRADIENT_BYTES", 16 * network.code.op_table[-1, ir.VALUE] * 3)
    blocks = pwlnet.integrate_gradients(network, images[0], images[1:4])
    np.testing.assert_allclose(blocks.values, whole.values, rtol=0, atol=1e-13 * np.abs(whole.values).max())


@pytest.mark.parametrize("seed", range(0, few(60, 10), 2))
def test_exact_attributions_equal_autograd_at_the_middle_of_each_segment(seed):
    torch = pytest.importorskip("torch")
    from tests.reference.torch_network import to_torch

    description, starts, ends = random_case(seed)
    module, network = to_torch(description), to_network(description)
    lines = pwlnet.partition_lines(network, starts[:1], ends[:1])
    result = pwlnet.integrate_gradients(network, starts[:1], ends[:1]).values[0]
    part, expected = lines.parts[0], np.zeros_like(result)
    for point, weight in zip(part.midpoints(), np.diff(part.t), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: module(x).reshape(-1), torch.tensor(point[None]))
        expected += weight * jacobian.numpy().reshape(expected.shape)
    assert_close(result, expected * (ends[0] - starts[0]))


def test_digits_networks_add_up(network, images):
    result = pwlnet.integrate_gradients(network, np.zeros(64), images[:20])
    assert result.values.shape == (20, 10, 64)
    assert result.method == "exact"
    assert result.n_samples is None
    assert np.abs(result.residual).max() <= 1e-12
    change = network.forward(images[:20]) - network.forward(np.zeros((1, 64)))
    assert np.abs(result.values.sum(axis=2) - change).max() <= 1e-12 * np.abs(change).max()


@pytest.mark.parametrize("how", [{}, {"method": "midpoint", "n_samples": 30}], ids=["exact", "sampled"])
def test_chosen_outputs_are_those_of_all(network, images, how):
    every = pwlnet.integrate_gradients(network, images[:3], images[3:6], **how)
    some = pwlnet.integrate_gradients(network, images[:3], images[3:6], outputs=[7, 2], **how)
    assert some.outputs.tolist() == [7, 2]
    assert_close(some.values, every.values[:, [7, 2]])
    one = pwlnet.integrate_gradients(network, images[:3], images[3:6], outputs=4, **how)
    none = pwlnet.integrate_gradients(network, images[:3], images[3:6], outputs=np.zeros(0, int), **how)
    assert none.values.shape == (3, 0, 64)
    assert_close(one.values, every.values[:, [4]])


def test_no_bit_depends_on_threads_or_on_the_other_inputs(network, images):
    together = pwlnet.integrate_gradients(network, np.zeros(64), images[:8], threads=2)
    for k in range(0, 8, 3):
        alone = pwlnet.integrate_gradients(network, np.zeros(64), images[k : k + 1], threads=1)
        assert np.array_equal(alone.values[0], together.values[k])


def test_reversing_a_line_negates_its_attributions(network, images):
    there = pwlnet.integrate_gradients(network, images[:4], images[4:8]).values
    back = pwlnet.integrate_gradients(network, images[4:8], images[:4]).values
    assert_close(back, -there)


def test_a_line_without_length_and_an_empty_batch(network, images):
    assert not pwlnet.integrate_gradients(network, images[:1], images[:1]).values.any()
    assert pwlnet.integrate_gradients(network, np.zeros((0, 64)), np.zeros((0, 64))).values.shape == (0, 10, 64)


@pytest.mark.parametrize("method", RULES)
def test_rules_on_a_linear_network_give_its_weights(method):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(5, 3).double()
    network = pwlnet.from_torch(layer, (5,))
    start, end = np.random.default_rng(0).normal(size=(2, 1, 5))
    result = pwlnet.integrate_gradients(network, start, end, method=method, n_samples=5)
    weights_sum = 0.8 if method == "captum_trapezoid" else 1.0
    assert_close(result.values[0], weights_sum * layer.weight.detach().numpy() * (end - start))
    assert result.n_samples == 5
    assert result.n_segments is None


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 50])
def test_rules_integrate_what_they_promise(method, n):
    if n < SMALLEST.get(method, 1) or (method == "simpson" and n % 2 == 0):
        with pytest.raises(pwlnet.errors.InputError, match="n_samples is"):
            quadrature_rule(method, n)
        return
    nodes, weights = quadrature_rule(method, n)
    assert len(nodes) == len(weights) == n
    assert np.all((nodes >= 0.0) & (nodes <= 1.0) & (np.diff(nodes, prepend=-1.0) > 0.0))
    degree = {"left": 0, "right": 0, "midpoint": 1, "trapezoid": 1, "simpson": 3, "gauss_legendre": 2 * n - 1}.get(method)
    if degree is None:
        assert weights.sum() == pytest.approx(1.0 - 1.0 / n)
        return
    for power in range(min(degree, 12) + 1):
        assert weights @ nodes**power == pytest.approx(1.0 / (power + 1), rel=1e-12)


@pytest.mark.parametrize("method", RULES)
def test_sampled_attributions_come_near_the_exact_ones(method, network, images):
    exact = pwlnet.integrate_gradients(network, np.zeros(64), images[:3]).values
    errors = [
        np.abs(pwlnet.integrate_gradients(network, np.zeros(64), images[:3], method=method, n_samples=n).values - exact).max()
        for n in (15, 1001)
    ]
    assert errors[1] < 0.1 * errors[0]
    assert errors[1] < 0.02 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "monte_carlo"}, "InputError", "method is 'monte_carlo'; use 'exact' or one of left, right"),
        ({"method": "left"}, "InputError", "n_samples is None; the rule 'left' needs an integer of at least 1"),
        ({"n_samples": 5}, "InputError", "the exact method takes no samples"),
        ({"outputs": [10]}, "InputError", "output 10 was given, but the network has 10 outputs"),
        ({"outputs": [0.5]}, "InputError", "integers below 10 are needed"),
        ({"inputs": np.full((1, 64), np.nan)}, "InputError", "NaN or infinite"),
        ({"baselines": np.zeros((3, 64))}, "ShapeError", "there are 3 baselines and 2 inputs"),
        ({"inputs": np.zeros((2, 63))}, "ShapeError", "the network takes 64 inputs"),
    ],
)
def test_bad_input_gets_its_sentence(network, images, change, error, message):
    arguments = {"baselines": np.zeros((2, 64)), "inputs": images[:2]} | change
    with pytest.raises(getattr(pwlnet.errors, error), match=message):
        pwlnet.integrate_gradients(network, **arguments)
