"""Affine ops one at a time: the linear part, its adjoint, squares and constants belong together."""

import numpy as np
import pytest

from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.kernels.ir import affine as affine_kernels
from pwlnet.kernels.ir import program as ir
from tests.counts import few
from tests.kernels.entries import Entries

affine = Entries(affine_kernels)

RNG_SHAPE = (4, 5, 6)


def conv(size=(6, 4, 3, 2), **options):
    def build(graph, rng):
        weight = rng.normal(size=size)
        return graph.conv(graph.input, weight, rng.normal(size=len(weight)), **options, name="op")

    return build


def concat(graph, rng):
    second = graph.relu(graph.layout(graph.input, graph.input.indices()[:2], name="slice"), name="relu")
    return graph.concat([graph.input, second], 0, name="op")


def scale(shape):
    def build(graph, rng):
        x = graph.relu(graph.input, name="relu")
        return graph.scale_shift(x, rng.normal(size=shape), rng.normal(size=shape), name="op")

    return build


def linear(graph, rng):
    flat = graph.reshape(graph.input, (-1,), name="flat")
    return graph.linear(flat, rng.normal(size=(7, 120)), rng.normal(size=7), name="op")


def wide(graph, rng):
    flat = graph.reshape(graph.input, (-1,), name="flat")
    return graph.linear(flat, rng.normal(size=(193, 120)), rng.normal(size=193), name="op")


OPS = {
    "Affine": linear,
    "Affine with many outputs": wide,
    "Conv2d": conv(),
    "Conv2d with stride, padding and dilation": conv(stride=(2, 1), padding=(1, 2, 0, 1), dilation=(2, 1)),
    "Conv2d in groups": conv(size=(6, 2, 2, 2), groups=2),
    "AvgPool": lambda g, rng: g.avg_pool(g.input, 2, padding=(1, 0, 1, 0), name="op"),
    "AvgPool without its padding": lambda g, rng: g.avg_pool(
        g.input, (3, 2), stride=2, padding=(1, 1, 1, 1), count_pad=False, name="op"
    ),
    "AvgPool in ceil mode": lambda g, rng: g.avg_pool(g.input, 3, stride=2, ceil_mode=True, name="op"),
    "AvgPool with a divisor": lambda g, rng: g.avg_pool(g.input, 2, divisor=3, name="op"),
    "Scale of channels": scale((4, 1, 1)),
    "Scale of entries": scale((4, 5, 6)),
    "Add": lambda g, rng: g.add(g.input, g.relu(g.input, name="relu"), (2.0, -0.5), name="op"),
    "Concat": concat,
    "Gather": lambda g, rng: g.relu(
        g.layout(g.input, np.where(rng.random((7, 3)) < 0.3, -1, rng.integers(0, 120, (7, 3))), fill=2.5, name="op"),
        name="relu",
    ),
}


@pytest.fixture(params=OPS)
def op(request):
    """Code of a small network, and the index of the op in it."""
    graph = Graph(RNG_SHAPE, batched=False)
    graph.output = OPS[request.param](graph, np.random.default_rng(0))
    network = lower(graph)
    kinds = [ir.OP_NAMES[code] for code in network.program.op]
    wanted = request.param.split()[0]
    return network.code, len(kinds) - 1 - kinds[::-1].index(wanted)


def operands(code, i):
    return sorted({int(affine.operand(code, i, k)) for k in range(affine.n_operands(code, i))})


def n_values(code):
    return int(code.op_table[-1, ir.VALUE])


def matrix(code, i, squared=False):
    """The op's linear part as a matrix [n_out, entries of its operands], one unit vector at a time."""
    columns = []
    for j in operands(code, i):
        size = code.op_table[j + 1, ir.VALUE] - code.op_table[j, ir.VALUE]
        buffer = np.zeros(size * n_values(code))
        affine.rows_of(code, j, size, buffer)[:] = np.eye(size)
        affine.apply_linear(code, i, size, size, buffer, squared)
        columns.append(affine.rows_of(code, i, size, buffer).T.copy())
    return np.concatenate(columns, axis=1)


def test_every_affine_op_code_is_tried():
    kinds = {name.split()[0] for name in OPS}
    assert kinds == set(ir.OP_NAMES[1 : ir.FIRST_SWITCHING])


def test_the_linear_part_is_linear_in_each_row(op):
    code, i = op
    rng = np.random.default_rng(1)
    rows, buffer = 3, rng.normal(size=3 * n_values(code))
    x = np.concatenate([affine.rows_of(code, j, rows, buffer) for j in operands(code, i)], axis=1)
    affine.apply_linear(code, i, rows, rows, buffer, False)
    np.testing.assert_allclose(affine.rows_of(code, i, rows, buffer), x @ matrix(code, i).T, rtol=1e-12, atol=1e-12)


def test_the_adjoint_is_the_transpose_and_is_added(op):
    code, i = op
    rng = np.random.default_rng(2)
    rows, buffer = 3, rng.normal(size=3 * n_values(code))
    before = np.concatenate([affine.rows_of(code, j, rows, buffer) for j in operands(code, i)], axis=1)
    gy = affine.rows_of(code, i, rows, buffer).copy()
    affine.add_adjoint(code, i, rows, buffer)
    after = np.concatenate([affine.rows_of(code, j, rows, buffer) for j in operands(code, i)], axis=1)
    np.testing.assert_allclose(after - before, gy @ matrix(code, i), rtol=1e-12, atol=1e-12)


def test_squared_coefficients_are_the_squares_of_the_coefficients(op):
    code, i = op
    np.testing.assert_allclose(matrix(code, i, squared=True), matrix(code, i) ** 2, rtol=1e-14, atol=0)


def test_the_constant_part_is_added_to_the_first_rows_only(op):
    code, i = op
    buffer = np.zeros(4 * n_values(code))
    affine.apply_linear(code, i, 4, 4, buffer, False)
    affine.add_constant(code, i, 2, 4, buffer)
    y = affine.rows_of(code, i, 4, buffer)
    assert not y[2:].any()
    assert np.array_equal(y[0], y[1])
    assert y[0].any() == (code.op_table[i, ir.N_BIASES] > 0)


def test_a_product_gives_a_row_the_same_bits_in_every_place():
    """With 257 outputs OpenBLAS on AVX-512 machines gave the last 8 of 32 rows other bits than the first 24."""
    rng = np.random.default_rng(0)
    for n_in, n_out in ((300, 257), (500, 193), (300, 256), (64, 48))[: few(4, 1)]:
        x, w = rng.normal(size=n_in), rng.normal(size=(n_in, n_out))
        y = np.empty((32, n_out))
        affine.rows_alike_product(np.repeat(x[None], 32, axis=0), w, y)
        assert (y == y[0]).all()


@pytest.mark.parametrize("rows", [1, 2, 8, 32])
@pytest.mark.parametrize("n_out", [5, 129, 136])
def test_a_product_is_one_for_every_number_of_rows_and_columns(rows, n_out):
    rng = np.random.default_rng(0)
    x, w, y = rng.normal(size=(rows, 6)), rng.normal(size=(6, n_out)), np.full((rows, n_out), np.nan)
    affine.rows_alike_product(x, w, y)
    np.testing.assert_allclose(y, x @ w, rtol=1e-12, atol=1e-12)


def test_positions_in_the_padding_are_minus_one():
    graph = Graph((1, 3, 4), batched=False)
    graph.output = graph.conv(graph.input, np.ones((1, 1, 3, 3)), padding=(1, 1, 1, 1), name="op")
    code = lower(graph).code
    found = [affine.tap_position(code, 1, 0, tap) for tap in range(9)]
    assert found == [-1, -1, -1, -1, 0, 1, -1, 4, 5]
    found = [affine.tap_position(code, 1, 11, tap) for tap in range(9)]
    assert found == [6, 7, -1, 10, 11, -1, -1, -1, -1]
