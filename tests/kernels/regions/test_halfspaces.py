"""Kernels of half-spaces: passes in both directions, tiles, error bounds of values, and norms without underflow."""

from fractions import Fraction

import numpy as np
import pytest

from pwlnet.kernels.ir import program as ir
from pwlnet.kernels.ir.passes import TILE
from pwlnet.kernels.regions import halfspaces
from pwlnet.partition.regions import planning
from pwlnet.scheduling import run_slots
from tests.counts import few
from tests.described import to_network
from tests.drawn import draw
from tests.kernels.entries import Entries
from tests.reference.description import values

SEEDS = range(few(100, 3, quick=16))
kernels = Entries(halfspaces)


def described(network, x, *, by_rows=None):
    """A plan, and a slot that has described a point."""
    plan = planning.make_plan(network, by_rows)
    slots = planning.make_slots(plan, np.array(x[None]), planning.DESCRIBE, 1)
    run_slots(halfspaces.region_slot, slots)
    return plan, slots[0]


def gradients(network, x, by_rows, n_slots=1):
    plan, slot = described(network, x, by_rows=by_rows)
    n = int(slot.n_rows[0])
    out, tiles = np.full((n, len(x)), np.nan), planning.tile_starts(plan, slot.rows.operand[:n], len(x))
    kept = {"kept": (slot, out), "tiles": tiles}
    run_slots(halfspaces.region_slot, planning.make_slots(plan, np.array(x[None]), planning.GRADIENTS, n_slots, **kept))
    return out


@pytest.mark.parametrize("seed", SEEDS)
def test_forward_and_backward_passes_give_the_same_gradients(seed):
    _, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=1)
    forward, backward = (gradients(network, points[0], by_rows) for by_rows in (False, True))
    assert np.allclose(forward, backward, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("by_rows", [False, True])
def test_gradients_do_not_depend_on_the_number_of_slots(by_rows):
    rng = np.random.default_rng(3)
    width = 3 * int(TILE) + 5
    nodes = [{"kind": "input", "inputs": [], "shape": (width,)}]
    for k in range(2):
        nodes.append({"kind": "linear", "inputs": [2 * k], "weight": rng.standard_normal((width, width)), "bias": None})
        nodes.append({"kind": "relu", "inputs": [2 * k + 1]})
    network, x = to_network(nodes), rng.standard_normal(width)
    assert np.array_equal(gradients(network, x, by_rows), gradients(network, x, by_rows, n_slots=2))


def test_the_first_layers_gradients_are_the_rows_of_its_weights():
    weight = np.arange(12.0).reshape(4, 3) - 6.0
    nodes = [{"kind": "input", "inputs": [], "shape": (3,)}, {"kind": "linear", "inputs": [0], "weight": weight, "bias": None}]
    network = to_network([*nodes, {"kind": "relu", "inputs": [1]}])
    x = np.ones(3)
    signs = np.where(weight @ x > 0.0, -1.0, 1.0)
    for by_rows in (False, True):
        assert np.array_equal(gradients(network, x, by_rows), signs[:, None] * weight)


@pytest.mark.parametrize("seed", SEEDS)
def test_error_bounds_of_values_hold_against_exact_arithmetic(seed):
    """For the values that neurons read: pre-activations of elementwise ops, which keep the order of the source in vectors."""
    kinds = ("linear", "add", "concat", "relu", "leaky_relu", "clip")
    description, network, points = draw(seed, generic=True, kinds=kinds, n_points=1, depth=(2, 6))
    exact = [values(description, points[0])[node["inputs"][0]] for node in description
             if node["kind"] in ("relu", "leaky_relu", "clip")]  # fmt: skip
    _, slot = described(network, points[0])
    actual = network.preactivations(points)[0]
    table, errors = network.code.op_table, []
    for i in network.op_graph.switching:
        j = int(network.op_graph.operands[i][0])
        bounds = slot.bounds[3 * table[j, ir.VALUE] : 3 * table[j + 1, ir.VALUE]].reshape(3, -1)
        errors += bounds[halfspaces.ERROR].tolist()
    for z, bound, value in zip(actual.tolist(), errors, [v for node in exact for v in node], strict=True):
        assert abs(Fraction(z) - value) <= bound
    assert max(errors) < 1e-9 * (1.0 + np.abs(actual).max())


@pytest.mark.parametrize("scale", [1.0, 2.0**-600, 2.0**600])
def test_norms_do_not_underflow_or_overflow(scale):
    norms, g = np.zeros((1, 3)), scale * np.array([3.0, 0.0, -4.0, 12.0])
    for entry in g:
        kernels._add_to_norms(norms, 0, entry)
    actual = [kernels.dual_norm(norms, 0, norm) / scale for norm in (1, 2, 0)]
    assert np.allclose(actual, [12.0, 13.0, 19.0], rtol=1e-15)


def test_an_unknown_op_has_no_rows():
    _, network, points = draw(0, n_points=1)
    plan = planning.make_plan(network)
    slot = planning.make_slots(plan, points, planning.DESCRIBE, 1)[0]
    table = plan.code.op_table.copy()
    table[network.op_graph.switching[-1], ir.OP] = 99
    code = plan.code._replace(op_table=table)
    assert kernels.list_rows(code, network.states(points)[0], slot.rows) == -1
