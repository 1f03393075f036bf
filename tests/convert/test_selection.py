"""Sorting, products with constants, norms, sums and writes at constant indices: values against torch, ONNX and NumPy."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pwlnet
from pwlnet.convert import composed
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import UnsupportedOperationError

from .onnx_models import build, op, run, save
from .test_piecewise import Elementwise


def constant(*shape):
    return torch.arange(int(np.prod(shape)), dtype=torch.float64).reshape(shape) / 7 - 1


def index(*entries, rows=1):
    return torch.tensor([entries]).expand(rows, len(entries))


def sliced(x):
    y = x.clone()
    y[:, 1] = 2 * x[:, 0]
    y[:, [3, 4]] = 0
    return y


OPERATIONS = {  # with the number of neurons
    "bmm": (lambda x: torch.bmm(x.view(-1, 2, 3), constant(1, 3, 4)), 0),
    "constant @ x": (lambda x: constant(2, 3, 2) @ x.view(-1, 1, 2, 3), 0),
    "x @ constant": (lambda x: x.view(-1, 1, 2, 3) @ constant(4, 3, 2), 0),
    "einsum": (lambda x: torch.einsum("bij,ijk->bk", x.view(-1, 2, 3), constant(2, 3, 4)), 0),
    "einsum of one": (lambda x: torch.einsum("bij->bji", x.view(-1, 2, 3)), 0),
    "diagonal sum": (lambda x: torch.einsum("bii->b", x[:, :4].view(-1, 2, 2)), 0),
    "tensordot": (lambda x: torch.tensordot(x.view(-1, 2, 3), constant(3, 2, 5), dims=([1, 2], [1, 0])), 0),
    "bilinear": (lambda x: F.bilinear(x, torch.ones(x.shape[0], 2).double(), constant(3, 6, 2)), 0),
    "kron": (lambda x: torch.kron(x, constant(1, 2)), 0),
    "baddbmm": (lambda x: torch.baddbmm(constant(1, 2, 4), x.view(-1, 2, 3), constant(1, 3, 4)), 0),
    "inner": (lambda x: torch.inner(x, constant(3, 6)), 0),
    "lerp": (lambda x: torch.lerp(x, x.flip(1), 0.3), 0),
    "addcmul": (lambda x: torch.addcmul(x, x.flip(1), constant(6), value=0.5), 0),
    "addcdiv": (lambda x: torch.addcdiv(x, x, constant(6) + 3), 0),
    "cumsum": (lambda x: x.cumsum(1), 0),
    "diff": (lambda x: torch.diff(x, n=2), 0),
    "trapezoid": (lambda x: torch.trapezoid(x, dx=0.5), 0),
    "first power": (lambda x: x**1, 0),
    "norm": (lambda x: x.norm(p=1, dim=1), 6),
    "vector norm": (lambda x: torch.linalg.vector_norm(x, ord=float("inf"), dim=1), 7),
    "matrix norm": (lambda x: torch.linalg.matrix_norm(x.view(-1, 2, 3), ord=1), 7),
    "pairwise distance": (lambda x: F.pairwise_distance(x, constant(1, 6), p=1), 6),
    "sort": (lambda x: x.sort(1)[0], 12),
    "descending sort": (lambda x: x.sort(dim=1, descending=True).values, 12),
    "sort of pairs": (lambda x: x.view(-1, 3, 2).sort(2)[0].flatten(1), 3),
    "topk": (lambda x: x.topk(3, 1)[0], 11),
    "smallest": (lambda x: torch.topk(x, 2, largest=False)[0], 11),
    "kthvalue": (lambda x: x.kthvalue(2, 1)[0], 11),
    "median": (lambda x: x.median(1, keepdim=True).values, 11),
    "cummax": (lambda x: x.cummax(1)[0], 5),
    "cummin": (lambda x: x.cummin(1).values, 5),
    "aminmax": (lambda x: torch.cat(torch.aminmax(x, dim=1, keepdim=True), 1), 2),
    "scatter": (lambda x: x.scatter(1, index(0, 2, rows=x.shape[0]), x[:, 3:5]), 0),
    "scatter of a number": (lambda x: x.scatter(1, index(0, 2, rows=x.shape[0]), 1.5), 0),
    "scatter_add": (lambda x: x.scatter_add(1, index(0, 2, 0, 5, rows=x.shape[0]), x), 0),
    "index_add": (lambda x: x.index_add(1, torch.tensor([0, 0, 2]), x[:, :3], alpha=2), 0),
    "index_copy": (lambda x: x.index_copy(1, torch.tensor([1, 2]), x[:, 4:]), 0),
    "index_fill": (lambda x: x.index_fill(1, torch.tensor([1, 2]), 3.0), 0),
    "assignment": (sliced, 0),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_of_torch_agrees_with_torch(name):
    function, n_neurons = OPERATIONS[name]
    network = pwlnet.from_torch(Elementwise(function), (6,))
    points = np.random.default_rng(0).integers(-4, 5, (12, 6)) / 2.0  # with ties
    expected = np.stack([function(torch.from_numpy(p[None])).numpy().ravel() for p in points])
    np.testing.assert_allclose(network.forward(points), expected, rtol=0, atol=1e-14)
    assert network.n_neurons == n_neurons


REFUSED = {
    "squares in einsum": (lambda x: torch.einsum("bi,bi->b", x, x), "multiplies two activations"),
    "bmm of activations": (lambda x: torch.bmm(x.view(-1, 2, 3), x.view(-1, 3, 2)), "multiplies two activations"),
    "Euclidean norm": (lambda x: x.norm(dim=1), "a norm of order 2.0, which is not piecewise linear"),
    "count": (lambda x: x.norm(p=0, dim=1), "which counts entries, which jumps"),
    "long sort": (lambda x: torch.cat([x, x, x], 1).sort(1)[0], "sorts 18 entries; pwlnet sorts groups of at most 16"),
    "places of a sort": (lambda x: x.sort(1)[1] * 1.0, "whose indices depend on the input, and so jump"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_linear_is_refused_with_the_reason(name):
    function, reason = REFUSED[name]
    with pytest.raises(UnsupportedOperationError) as caught:
        pwlnet.from_torch(Elementwise(function), (6,))
    assert reason in str(caught.value).split("; supported")[0]


@pytest.mark.parametrize("n", range(1, 11))
def test_the_comparators_sort_all_sequences_of_zeros_and_ones(n):
    """By the zero-one principle they then sort everything."""
    for values in itertools.product([0, 1], repeat=n):
        values = list(values)
        for low, high in itertools.chain(*composed.comparators(n)):
            values[low], values[high] = sorted((values[low], values[high]))
        assert values == sorted(values)


@pytest.mark.parametrize(
    ("equation", "shape", "constants"),
    [
        ("ij,jk", (2, 3), [(3, 4)]),
        ("...i,ij->...j", (1, 2, 3), [(3, 2)]),
        ("bhqd,bhkd->bhqk", (1, 2, 3, 4), [(1, 2, 5, 4)]),
        ("i,j->ij", (3,), [(2,)]),
        ("iij,j->i", (3, 3, 2), [(2,)]),
        ("abc,cd,de->abe", (1, 2, 3), [(3, 4), (4, 5)]),
        ("ij,kl->ik", (2, 3), [(4, 2)]),
        ("ij->", (2, 3), []),
    ],
)
def test_einsum_agrees_with_numpy(equation, shape, constants):
    rng = np.random.default_rng(0)
    graph, x, factors = (
        Graph(shape, batched=False),
        rng.integers(-3, 4, shape) * 1.0,
        [rng.integers(-3, 4, c) for c in constants],
    )
    graph.output = composed.einsum(graph, equation, [graph.input, *factors], "node", "Einsum")
    expected = np.einsum(equation, x, *factors)
    assert graph.output.shape == expected.shape
    np.testing.assert_array_equal(lower(graph).forward(x.reshape(1, -1)), expected.reshape(1, -1))


INDICES = {"rows": np.array([[0], [0], [1]]), "at": np.array([[0, 2, 0]]), "k": [2], "axis": np.int64(1)}
VALUES = {"w": np.array([[[1.0, 2], [0, 1], [3, 1]]] * 2), "v": np.array([[9.0, 8, 7]]), "u": np.full((3, 3), 4.0)}
NODES = {
    "topk": [op("TopK", "x k", "y i", axis=1, largest=1)],
    "smallest": [op("TopK", "x k", "y i", axis=1, largest=0)],
    "cumsum": [op("CumSum", "x axis", reverse=1, exclusive=1)],
    "norm": [op("ReduceL1", "x", axes=[1])],
    "einsum": [op("Einsum", "x w", equation="ij,kjl->ikl")],
    "stacked product": [op("MatMul", "x w")],
    "mean": [op("Mean", "x v x")],
    "scatter": [op("ScatterElements", "x at v", axis=1)],
    "scatter add": [op("ScatterElements", "x at v", axis=1, reduction="add")],
    "scatter slices": [op("ScatterND", "x rows u", reduction="add")],
}


@pytest.mark.parametrize("name", NODES)
def test_an_operator_of_onnx_agrees_with_onnxruntime(name, tmp_path):
    shape = (2, 3)
    model = build(shape, *NODES[name], constants=INDICES | VALUES, opset=17)
    if name == "scatter":  # the last write at a place holds only by convention
        model = build(shape, *NODES[name], constants=INDICES | VALUES | {"at": np.array([[0, 2, 1]])}, opset=17)
    network = pwlnet.load_network(save(model, tmp_path), input_shape=shape)
    points = np.random.default_rng(0).integers(-4, 5, (6, 6)) / 2.0
    np.testing.assert_allclose(network.forward(points.reshape(6, *shape)), run(model, points, shape), rtol=0, atol=1e-6)
