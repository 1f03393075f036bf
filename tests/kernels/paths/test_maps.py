"""Kernels of decompositions: what their slots write, in parts of a batch too."""

import numpy as np
import pytest

from pwlnet import evaluate
from pwlnet.analysis import path_passes
from pwlnet.errors import UnsupportedOperationError
from pwlnet.kernels.ir import program as ir
from pwlnet.warmup import toy_network


@pytest.fixture(scope="module")
def network():
    return toy_network()


def mask(network, n):
    return (np.random.default_rng(n).random((n, network.n_neurons)) < 0.3).view(np.uint8)


def results(network, points, floats):
    parts = path_passes.split(network, points, floats, with_rest=True)
    return (*parts, *path_passes.fixed_maps(network, parts.states, floats),
            path_passes.polynomials(network, points, parts.states, floats, 5))  # fmt: skip


def test_calls_that_are_cut_short_for_an_interrupt_give_the_same_bits(network, monkeypatch):
    points = np.random.default_rng(0).normal(size=(70, network.n_inputs))
    floats = mask(network, 70)
    whole = results(network, points, floats)
    monkeypatch.setattr(evaluate, "_WORK_PER_CALL", 1)
    monkeypatch.setattr(path_passes, "_MEMORY", 1)
    for a, b in zip(whole, results(network, points, floats), strict=True):
        assert np.array_equal(a, b)


def test_one_mask_for_all_rows_is_the_same_as_its_copies(network):
    points, floats = np.random.default_rng(0).normal(size=(40, network.n_inputs)), mask(network, 1)
    copies = np.repeat(floats, 40, axis=0)
    for a, b in zip(results(network, points, floats), results(network, points, copies), strict=True):
        assert np.array_equal(a, b)


def test_the_states_and_outputs_of_frozen_gates_are_those_of_the_forward_pass(network):
    points = np.random.default_rng(0).normal(size=(40, network.n_inputs))
    parts = path_passes.split(network, points, mask(network, 40), factor=0.5)
    assert np.array_equal(parts.states, network.states(points))
    assert np.array_equal(parts.outputs, network.forward(points))


def test_a_factor_of_one_gives_the_bits_of_the_outputs(network):
    points = np.random.default_rng(0).normal(size=(40, network.n_inputs))
    for gates in ("frozen", "live"):
        parts = path_passes.split(network, points, mask(network, 40), factor=1.0, gates=gates)
        assert np.array_equal(parts.scaled, parts.outputs)


def test_rows_of_the_polynomial_that_no_path_reaches_are_zero(network):
    points = np.random.default_rng(0).normal(size=(3, network.n_inputs))
    degree = int(path_passes.switching_depths(network)[-1])
    floats = np.ones((1, network.n_neurons), np.uint8)
    coefficients = path_passes.polynomials(network, points, network.states(points), floats, degree + 3)
    assert not coefficients[:, degree + 1 :].any()
    assert coefficients[:, degree].any()


@pytest.mark.parametrize("unknown", [-1, 99])
def test_an_op_that_no_kernel_knows_is_refused(unknown):
    """In place of the first convolution, or of the leaky ReLU after it."""
    network = toy_network()
    table = network.code.op_table.copy()
    table[1 if unknown < 0 else 2, ir.OP] = unknown
    table.setflags(write=False)
    network.__dict__["code"] = network.code._replace(op_table=table)
    points = np.ones((2, network.n_inputs))
    with pytest.raises(UnsupportedOperationError, match="the kernels do not handle"):
        path_passes.split(network, points, mask(network, 2))
    with pytest.raises(UnsupportedOperationError, match="the kernels do not handle"):
        path_passes.states_and_thresholds(network, points)
