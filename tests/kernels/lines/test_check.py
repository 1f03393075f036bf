"""Forward passes that give sizes and chosen pre-activations only, against the ones that give everything."""

import numpy as np
import pytest

from pwlnet import evaluate, scheduling
from pwlnet.kernels.ir import program as ir
from pwlnet.kernels.ir.passes import TILE
from pwlnet.kernels.lines import check
from tests.counts import few
from tests.described import to_network
from tests.drawn import draw


def run_check(code, starts, ends, lines, t, depth, offsets, neurons, sizes, z, scratch):
    counter, stop = np.zeros(1, np.int64), np.zeros(1, np.int64)
    points = starts, ends, lines, t, depth, offsets, neurons
    scheduling.run_slots(check.check_slot, [check.CheckSlot(code, *points, counter, stop, sizes, z, *scratch)])


def check_rows(code, points, offsets, neurons, depth=None):
    n_values = int(code.op_table[-1, ir.VALUE])
    n_ops = np.count_nonzero(code.op_table[:-1, ir.OP] >= ir.FIRST_SWITCHING)
    sizes, z = np.full((len(points), n_ops), -1, np.int64), np.full(len(neurons), np.nan)
    depth = np.full(len(points), len(code.op_table) - 2) if depth is None else depth
    lines, t = np.arange(len(points)), np.zeros(len(points))
    scratch = np.zeros(TILE * n_values), np.empty(n_values, np.int32)
    run_check(code, points, points + 1.0, lines, t, depth, offsets, neurons, sizes, z, scratch)
    return sizes.view(np.float64), z


@pytest.mark.parametrize("degenerate", [False, True])
def test_sizes_and_chosen_preactivations_have_the_bits_of_a_forward_pass(degenerate):
    for seed in range(few(60)):
        _, network, points = draw(seed, degenerate=degenerate, n_points=TILE + 3, generic=seed % 3 == 0)
        if not network.n_neurons:
            continue
        rng, bounds = np.random.default_rng(seed), np.unique(network.program.neuron_offsets)
        chosen = rng.random((len(points), network.n_neurons)) < 0.2
        offsets, neurons = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))]), np.nonzero(chosen)[1].copy()
        sizes, z = check_rows(network.code, points, offsets, neurons)
        wanted = network.preactivations(points)
        assert np.array_equal(z, wanted[chosen]), seed
        assert np.array_equal(sizes, np.maximum.reduceat(np.abs(wanted), bounds[:-1], axis=1)), seed


def test_a_row_is_evaluated_as_far_as_it_wants():
    _, network, points = draw(4, n_points=40, depth=(4, 6))
    none = np.zeros(len(points) + 1, np.int64), np.empty(0, np.int64)
    switching = np.flatnonzero(np.diff(network.program.neuron_offsets))
    wanted = np.sort(np.random.default_rng(0).integers(0, len(switching), 40))[::-1]
    sizes, _ = check_rows(network.code, points, *none, switching[wanted])
    whole, _ = check_rows(network.code, points, *none)
    untouched = np.full(whole.shape, -1, np.int64).view(np.float64)
    assert np.array_equal(sizes, np.where(np.arange(len(switching)) <= wanted[:, None], whole, untouched), equal_nan=True)


def test_points_of_lines_are_counted_from_the_nearer_end():
    _, network, points = draw(8, n_points=2, generic=True)
    lines, t = np.array([1, 0, 1, 0, 0]), np.array([0.0, 1.0, 0.3, 0.7, 0.5])
    start, end = points[::-1][lines], points[lines]
    wanted = np.where(t[:, None] <= 0.5, start + t[:, None] * (end - start), end - (1.0 - t[:, None]) * (end - start))
    depth, offsets = np.full(5, len(network.code.op_table) - 2), np.arange(6)
    scratch = (
        np.zeros(TILE * int(network.code.op_table[-1, ir.VALUE])),
        np.empty(int(network.code.op_table[-1, ir.VALUE]), np.int32),
    )
    sizes, z = np.zeros((5, len(np.unique(network.program.neuron_offsets)) - 1), np.int64), np.zeros(5)
    ends = np.ascontiguousarray(points[::-1]), points
    run_check(network.code, *ends, lines, t, depth, offsets, np.zeros(5, np.int64), sizes, z, scratch)
    assert np.array_equal(z, network.preactivations(wanted)[:, 0])


def test_the_first_ops_of_a_network_are_a_network():
    _, network, points = draw(4, n_points=5, depth=(4, 6))
    code, offsets = network.code, network.program.neuron_offsets
    none = np.zeros(len(points) + 1, np.int64), np.empty(0, np.int64)
    whole, _ = check_rows(code, points, *none)
    switching = np.flatnonzero(np.diff(offsets))
    assert len(switching) >= 3
    for k, i in enumerate(switching):
        part = evaluate.truncate_program(code, i)
        assert np.array_equal(check_rows(part, points, *none)[0], whole[:, : k + 1])
        z = evaluate.forward(part, points, preactivations=True)[1]
        assert np.array_equal(z, network.preactivations(points)[:, : offsets[i + 1]])


@pytest.mark.parametrize("value", [1e200, -1e200])
def test_an_overflow_is_a_size_that_is_not_finite(value):
    nodes = [{"kind": "input", "inputs": [], "shape": (1,)}]
    for _ in range(3):
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": np.array([[value]]), "bias": np.zeros(1)})
        nodes.append({"kind": "leaky_relu", "inputs": [len(nodes) - 1], "slope": np.array(0.5)})
    sizes, _ = check_rows(to_network(nodes).code, np.array([[1.0], [0.0]]), np.zeros(3, np.int64), np.empty(0, np.int64))
    assert np.isfinite(sizes).tolist() == [[True, False, False], [True, True, True]]
