"""Switching ops one at a time: states, values under a state, the adjoint, and the order of neurons."""

import numpy as np
import pytest

from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.kernels.ir import affine as affine_kernels
from pwlnet.kernels.ir import program as ir
from pwlnet.kernels.ir import switching as switching_kernels
from tests.kernels.entries import Entries

affine, switching = Entries(affine_kernels), Entries(switching_kernels)

SLOPES = np.array([0.5, -1.0, 0.0]).reshape(3, 1, 1)
OPS = {
    "Relu": lambda g: g.relu(g.input, name="op"),
    "LeakyRelu": lambda g: g.leaky_relu(g.input, SLOPES, name="op"),
    "LeakyRelu with a slope per entry": lambda g: g.leaky_relu(
        g.input, np.random.default_rng(0).normal(size=(3, 4, 5)), name="op"
    ),
    "Clip": lambda g: g.clip(g.input, -0.5, 0.75, name="op"),
    "Clip from below": lambda g: g.clip(g.input, -0.5, name="op"),
    "Clip from above": lambda g: g.clip(g.input, upper=0.5, name="op"),
    "MaxPool": lambda g: g.max_pool(g.input, (2, 3), stride=(1, 2), padding=(1, 0, 0, 1), dilation=(2, 1), name="op"),
}


@pytest.fixture(params=OPS)
def code(request):
    graph = Graph((3, 4, 5), batched=False)
    graph.output = OPS[request.param](graph)
    return lower(graph).code


def sizes(code):
    return np.diff(code.op_table[:, ir.VALUE])


def values(seed=0):
    """Random values in stored order, some on thresholds and in ties."""
    x = np.random.default_rng(seed).normal(size=60)
    x[::7], x[3::11], x[5::13] = 0.0, -0.5, 0.75
    return x


def test_every_switching_op_code_is_tried():
    assert {name.split()[0] for name in OPS} == set(ir.OP_NAMES[ir.FIRST_SWITCHING :])


def test_the_value_under_the_own_state_is_the_value(code):
    x, n = values(), sizes(code)[1]
    y, selected, states = np.empty(n), np.empty(n), np.empty(n, np.int32)
    switching.apply_switching(code, 1, x, y, states)
    switching.select(code, 1, states, x, selected, False)
    assert np.array_equal(y, selected)
    assert states.min() >= 0
    assert states.max() < switching.n_states(code, 1)


def test_the_value_under_a_state_is_affine_with_the_linear_part(code):
    x, other, n = values(), values(1), sizes(code)[1]
    states, y = np.empty(n, np.int32), np.empty(n)
    switching.apply_switching(code, 1, x, y, states)
    parts = np.empty((3, n))
    switching.select(code, 1, states, x + other, parts[0], False)
    switching.select(code, 1, states, x, parts[1], False)
    switching.select(code, 1, states, other, parts[2], True)
    np.testing.assert_allclose(parts[0], parts[1] + parts[2], rtol=1e-14, atol=1e-14)


def test_the_adjoint_under_a_state_is_the_transpose_and_is_added(code):
    x, n = values(), sizes(code)[1]
    states, y, matrix = np.empty(n, np.int32), np.empty(n), np.empty((60, n))
    switching.apply_switching(code, 1, x, y, states)
    for row, unit in zip(matrix, np.eye(60), strict=True):
        switching.select(code, 1, states, unit, row, True)
    gy, gx = np.random.default_rng(2).normal(size=n), np.ones(60)
    switching.add_select_adjoint(code, 1, states, gy, gx)
    np.testing.assert_allclose(gx, 1.0 + matrix @ gy, rtol=1e-14, atol=1e-14)


def test_source_order_is_channel_by_channel_and_can_be_undone(code):
    channels, height, width = code.op_table[1, [ir.CHANNELS, ir.HEIGHT, ir.WIDTH]]
    stored = np.arange(channels * height * width)
    numbered, back = np.empty_like(stored), np.empty_like(stored)
    switching.to_source_order(code, 1, stored, numbered)
    assert np.array_equal(numbered.reshape(channels, -1), stored.reshape(-1, channels).T)
    switching.from_source_order(code, 1, numbered, back)
    assert np.array_equal(back, stored)


def test_preactivations_are_inputs_and_of_windows_the_maximum(code):
    x, n = values(), sizes(code)[1]
    states, y, out = np.empty(n, np.int32), np.empty(n), np.empty(n)
    switching.apply_switching(code, 1, x, y, states)
    switching.preactivations_of(code, 1, x, y, out)
    is_pool = code.op_table[1, ir.OP] == ir.MAX_POOL
    channels = code.op_table[1, ir.CHANNELS]
    assert np.array_equal(out.reshape(channels, -1).T.ravel(), y if is_pool else x)


def test_the_winner_is_the_largest_entry_and_the_first_of_equals():
    graph = Graph((1, 2, 2), batched=False)
    graph.output = graph.max_pool(graph.input, 2, padding=(1, 1, 1, 1), stride=1, name="op")
    code = lower(graph).code
    x = np.array([3.0, 3.0, 1.0, 3.0])
    assert switching.winner(code, 1, 0, 0, x) == (3, 0)
    assert switching.winner(code, 1, 4, 0, x) == (0, 0)
    assert switching.winner(code, 1, 7, 0, x) == (1, 3)


def test_states_are_decided_by_sign_and_bounds():
    graph = Graph((3,), batched=False)
    x = graph.clip(graph.relu(graph.input, name="relu"), -1.0, 2.0, name="clip")
    graph.output = graph.leaky_relu(x, 0.5, name="leaky")
    code = lower(graph).code
    z = (-1.5, -1.0, 0.0, 5e-324, 2.0, 3.0)
    assert [switching.state_of(code, 1, v) for v in z] == [0, 0, 0, 1, 1, 1]
    assert [switching.state_of(code, 2, v) for v in z] == [0, 0, 1, 1, 2, 2]
    assert [switching.state_of(code, 3, v) for v in z] == [0, 0, 0, 1, 1, 1]
    assert [switching.piece(code, 2, 0, state) for state in range(3)] == [(0.0, -1.0), (1.0, 0.0), (0.0, 2.0)]
    assert [switching.n_states(code, i) for i in (1, 2, 3)] == [2, 3, 2]
    assert affine.operand(code, 2, 0) == 1
