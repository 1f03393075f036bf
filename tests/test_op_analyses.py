"""Every op through every analysis, against the references: exact lines, exact values, and autograd on each segment."""

import functools
from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.kernels.ir import program as ir
from tests.described import to_network
from tests.reference import exact_line, exact_paths
from tests.reference.description import point_states, values
from tests.reference.random_cases import random_case

AGREE = 1e-10  # relative to the largest of the numbers compared, or without signs where they cancel
CASES = 4  # networks per op
SEEDS = range(0, 400, 2)  # networks that are not degenerate, so that autograd and the piece at a point agree
CODES = range(1, len(ir.OP_NAMES))


def jacobian(module, x):
    """Jacobian of a torch module at a point by autograd: float64[O, D]."""
    import torch

    rows = torch.autograd.functional.jacobian(lambda points: module(points).reshape(-1), torch.tensor(x[None]))
    return rows.numpy().reshape(-1, x.size)


class Case:
    """A network with a line, its exact partition, and the Jacobian of each segment by autograd."""

    def __init__(self, seed):
        pytest.importorskip("torch")
        from tests.reference.torch_network import to_torch

        self.description, starts, ends = random_case(seed)
        self.network, self.start, self.end = to_network(self.description), starts[0], ends[0]
        self.t, self.flips = exact_line.partition(self.description, self.start, self.end)
        self.nodes = np.array([float(t) for t in self.t])
        self.widths = np.diff(self.nodes)
        self.direction = self.end - self.start
        module = to_torch(self.description)
        self.middles = self.start + 0.5 * (self.nodes[1:] + self.nodes[:-1])[:, None] * self.direction
        self.jacobians = np.array([jacobian(module, x) for x in self.middles])
        self.exact = np.tensordot(self.widths, self.jacobians, axes=1) * self.direction

    @functools.cached_property
    def lines(self):
        """The partition of the line."""
        return pwlnet.partition_lines(self.network, self.start[None], self.end[None], threads=1)

    @property
    def targets(self):
        """All outputs, of one line."""
        return np.arange(self.network.n_outputs)[None]


@functools.cache
def cases_of(code):
    """The first cases whose networks have an op; some of them have several."""
    networks = ((seed, to_network(random_case(seed)[0])) for seed in SEEDS)
    seeds = [seed for seed, network in networks if code in network.program.op][:CASES]
    return [case_of(seed) for seed in seeds]


@functools.cache
def case_of(seed):
    return Case(seed)


def assert_close(actual, expected, unsigned=None):
    scale = np.abs(expected if unsigned is None else unsigned).max(initial=0.0)
    assert np.abs(actual - expected).max(initial=0.0) <= AGREE * (scale if scale > 0.0 else 1.0)


def check_forward(case):
    points = np.array([case.start, case.end])
    expected = [[float(v) for v in values(case.description, x)[-1]] for x in points]
    assert_close(case.network.forward(points), np.array(expected))


def check_states_and_patterns(case):
    points = np.array([case.start, case.end])
    expected = np.array([point_states(case.description, x) for x in points]).reshape(len(points), -1)
    assert np.array_equal(case.network.states(points), expected)
    assert np.array_equal(case.network.patterns(points).unpack(), expected)


def check_jacobian(case):
    assert_close(case.network.jacobian(case.middles), case.jacobians)


def check_affine_map(case):
    A, c = case.network.affine_map(case.middles[0])
    assert_close(A, case.jacobians[0])
    for t in (case.t[0], case.t[1]):
        point = [Fraction(a) + t * (Fraction(b) - Fraction(a)) for a, b in zip(case.start, case.end, strict=True)]
        expected = np.array([float(v) for v in values(case.description, point)[-1]])
        x = np.array([float(v) for v in point])
        assert_close(A @ x + c, expected, np.abs(A) @ np.abs(x) + np.abs(c))


def check_partition_lines(case):
    part = case.lines.parts[0]
    assert len(part.t) == len(case.t)
    assert_close(part.t, case.nodes)
    states = exact_line.states(case.description, case.start, case.end)
    assert np.array_equal(part.states(), states.reshape(len(states), -1))


def check_lines_check(case):
    assert case.lines.check() == []
    assert case.lines.residual.max() <= AGREE


def check_summarize_lines(case):
    op_flips = pwlnet.summarize_lines(case.network, case.start[None], case.end[None], threads=1).op_flips
    assert op_flips.sum() == sum(len(flips) for flips in case.flips)


def check_integrate_gradients(case):
    actual = pwlnet.integrate_gradients(case.network, case.start, case.end, threads=1)
    unsigned = np.tensordot(case.widths, np.abs(case.jacobians), axes=1) * np.abs(case.direction)
    assert_close(actual.values[0], case.exact, unsigned)
    assert np.abs(actual.residual).max() <= AGREE


def check_compare_rules(case):
    actual = pwlnet.compare_rules(case.lines, case.targets, counts=[3], methods=["midpoint"], threads=1)
    segments = np.searchsorted(case.nodes, np.array([1.0, 3.0, 5.0]) / 6.0 + 1e-12, side="right") - 1
    sampled = case.jacobians[segments].mean(axis=0) * case.direction
    size = np.abs(case.exact).sum(axis=1)
    expected = np.abs(sampled - case.exact).sum(axis=1) / np.where(size > 0.0, size, 1.0)
    assert_close(actual.l1[0, :, 0, 0], expected, np.append(expected, 1.0))


def check_measure_linearity(case):
    actual = pwlnet.measure_linearity(case.lines, case.targets, threads=1)
    start = case.jacobians[0]
    assert_close(actual.gradient_norm[0], np.linalg.norm(start, axis=1))
    predicted, change = start @ case.direction, case.exact.sum(axis=1)
    assert_close(actual.tangent.predicted[0], predicted)
    assert_close(actual.tangent.at_end[0], predicted - change, np.append(predicted, change))
    distance, norm = (np.linalg.norm(x, axis=1) for x in (case.jacobians[-1] - start, start))
    steep = norm > 0.0
    assert_close(actual.at_end.l2[0, steep], distance[steep] / norm[steep])


def check_paths(case):
    points = np.array([case.start, case.end])
    floats = np.arange(case.network.n_neurons) % 3 == 0
    parts = pwlnet.decompose_paths(case.network, points, floats, threads=1)
    polynomial = pwlnet.path_polynomial(case.network, points, floats, threads=1)
    for b, x in enumerate(points):
        sums = exact_paths.contributions(case.description, x, case.network.states(points[b : b + 1])[0].tolist(), floats)
        expected = np.array(sums, np.float64).T
        assert_close(polynomial[b], expected)
        assert_close(np.stack([parts.fixed[b], parts.float_[b]]), np.stack([expected[0], expected[1:].sum(axis=0)]), expected)


def check_vulnerability(case):
    """The scope "segment" has the neurons that flip on the exact line, and those at a threshold at an end."""
    result = pwlnet.classify_vulnerability(case.network, [case.start], [case.end], scope="segment", threads=1)
    flipped = {neuron for at in case.flips for neuron, _ in at}
    before, after = (np.array(point_states(case.description, x)) for x in (case.start, case.end))
    assert len(flipped | set(np.flatnonzero(before != after).tolist())) <= result.n_float.item() <= case.network.n_neurons
    assert_close(result.fixed_change + result.float_change, result.change)


def check_lipschitz_constant(case):
    """On the line exactly; a product of norms is a bound of it."""
    norms = np.linalg.norm(case.jacobians, 2, axis=(1, 2)) if case.jacobians.size else np.zeros(1)
    segment = pwlnet.Segment(case.start, case.end)
    assert_close(np.array(pwlnet.lipschitz_constant(case.network, segment, threads=1).value), norms.max())
    box = pwlnet.Box(np.minimum(case.start, case.end), np.maximum(case.start, case.end))
    assert norms.max() <= pwlnet.lipschitz_constant(case.network, box).value * (1.0 + AGREE)


CHECKS = {name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")}


@pytest.mark.parametrize("code", CODES, ids=ir.OP_NAMES[1:])
def test_there_are_enough_networks_with_each_op(code):
    assert len(cases_of(code)) == CASES
    assert sum(len(case.t) > 3 for case in cases_of(code)) >= 2


@pytest.mark.parametrize("analysis", CHECKS)
@pytest.mark.parametrize("code", CODES, ids=ir.OP_NAMES[1:])
def test_every_analysis_of_a_network_with_the_op_agrees_with_the_reference(code, analysis):
    for case in cases_of(code):
        CHECKS[analysis](case)
