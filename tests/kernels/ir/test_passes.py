"""Passes over a whole network: tiles, outputs asked for, and the affine piece of given states."""

import numpy as np
import pytest

from pwlnet import scheduling
from pwlnet.kernels.ir import passes
from pwlnet.kernels.ir import program as ir
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.drawn import draw
from tests.kernels.entries import entry


@pytest.fixture(scope="module")
def network():
    return toy_network()


def run(network, points, *, outputs=True, preactivations=True, states=True, patterns=True, height=passes.TILE):
    n, layout = len(points), network.pattern_layout
    out = np.full((n * outputs, network.n_outputs), np.nan)
    pre = np.full((n * preactivations, network.n_neurons), np.nan)
    sta = np.full((n * states, network.n_neurons), -1, np.int32)
    packed = np.full((n * patterns, layout.word_offsets[-1]), 1, np.uint64)
    scratch = np.zeros(passes.TILE * network.code.op_table[-1, ir.VALUE]), np.empty((passes.TILE, network.n_neurons), np.int32)
    bounds, counter = (layout.neuron_offsets, layout.word_offsets, layout.widths), np.zeros(1, np.int64)
    slot = passes.ForwardSlot(
        network.code, points, out, pre, sta, packed, *bounds, np.zeros(1, np.int64), counter, np.array([height]), *scratch
    )
    scheduling.run_slots(passes.forward_slot, [slot])
    return out, pre, sta, packed


def test_every_op_code_but_gather_and_full_scale_is_in_the_network_of_these_tests(network):
    assert set(range(len(ir.OP_NAMES))) - set(network.program.op.tolist()) == {ir.GATHER}


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 65])
def test_rows_of_any_number_have_the_bits_of_single_rows(network, n):
    points = np.random.default_rng(n).standard_normal((n, 72))
    found = run(network, points)
    for k in range(0, n, few(7, 16)):
        for batch, single in zip(found, run(network, points[k : k + 1]), strict=True):
            assert np.array_equal(batch[k : k + 1], single)
    assert not any(np.isnan(part).any() for part in found[:2])


@pytest.mark.parametrize("height", [1, 5, 31])
def test_rows_taken_fewer_at_a_time_have_the_same_bits(network, height):
    points = np.random.default_rng(0).standard_normal((33, 72))
    for whole, part in zip(run(network, points), run(network, points, height=height), strict=True):
        assert np.array_equal(whole, part)


@pytest.mark.parametrize("left_out", ["outputs", "preactivations", "states", "patterns"])
def test_what_is_not_asked_for_does_not_change_the_rest(network, left_out):
    points = np.random.default_rng(0).standard_normal((3, 72))
    whole, part = run(network, points), run(network, points, **{left_out: False})
    for a, b in zip(whole, part, strict=True):
        assert len(b) == 0 or np.array_equal(a, b)


def test_the_piece_of_a_points_states_gives_its_value_and_is_affine():
    for seed in range(few(30)):
        _, network, points = draw(seed, generic=True)
        states, outputs = network.states(points), network.forward(points)
        for state, x, value in zip(states, points, outputs, strict=True):
            found = np.empty((3, network.n_outputs))
            for row, point in zip(found, (x, np.zeros_like(x), -x), strict=True):
                passes.values_of_states(network.code, state, point, row)
            scale = 1e-12 * max(1.0, np.abs(found).max())
            np.testing.assert_allclose(found[0], value, rtol=0, atol=scale)
            np.testing.assert_allclose(found[1], 0.5 * (found[0] + found[2]), rtol=0, atol=scale)


def test_the_jacobian_of_states_is_the_slope_of_their_piece():
    for seed in range(few(30)):
        _, network, points = draw(seed, generic=True)
        x, states = points[0], network.states(points[:1])
        jacobian = np.empty((1, network.n_outputs, network.n_inputs))
        slot = passes.JacobianSlot(network.code, states, np.zeros(1, np.int64), jacobian)
        scheduling.run_slots(passes.jacobian_slot, [slot])
        values = np.empty((2, network.n_outputs))
        passes.values_of_states(network.code, states[0], x, values[0])
        passes.values_of_states(network.code, states[0], np.zeros_like(x), values[1])
        scale = 1e-12 * max(1.0, np.abs(values).max())
        np.testing.assert_allclose(jacobian[0] @ x, values[0] - values[1], rtol=0, atol=scale)


def test_inputs_are_loaded_in_the_order_of_the_code_with_zeros_past_the_end(network):
    points = np.random.default_rng(0).standard_normal((5, 72))
    buffer = np.full(passes.TILE * network.code.op_table[-1, ir.VALUE], np.nan)
    assert entry(passes.load_inputs)(network.code, points, 3, passes.TILE, buffer) == 2
    x = buffer[: passes.TILE * 72].reshape(passes.TILE, 72)
    assert np.array_equal(x[:2, network.program.input_index], points[3:])
    assert not x[2:].any()
