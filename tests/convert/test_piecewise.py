"""Comparisons, masks and selections become exact ops where they are continuous, and are refused with the jump where not."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from torch import nn

import pwlnet
from pwlnet.convert import selection
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.convert.seams import materialise
from pwlnet.errors import UnsupportedOperationError
from tests.counts import few

from .onnx_models import build, op, save

L = 0.3
SLOPES = torch.tensor([0.5, 0.0, -1.0, 0.25], dtype=torch.float64)


class Elementwise(nn.Module):
    """A function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def masked_in_place(x):
    x = x.clone()
    x[x < 0] = 0
    return x


FORMS = {  # how it is written, and the layer that computes the same
    "relu, product": (lambda x: x * (x > 0), F.relu),
    "relu, product with a cast": (lambda x: (x >= 0).float() * x, F.relu),
    "relu, rest": (lambda x: x - x * (x < 0), F.relu),
    "relu, masked_fill": (lambda x: x.masked_fill(x < 0, 0.0), F.relu),
    "relu, heaviside": (lambda x: x * torch.heaviside(x, torch.tensor(0.5, dtype=torch.float64)), F.relu),
    "relu, clamped sign": (lambda x: x * x.sign().clamp(min=0), F.relu),
    "relu, isnan": (lambda x: torch.where(torch.isnan(x), torch.zeros_like(x), F.relu(x)), F.relu),
    "relu, in place": (masked_in_place, F.relu),
    "leaky": (lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: F.leaky_relu(x, 0.1)),
    "leaky, method": (lambda x: x.where(x >= 0, 0.1 * x), lambda x: F.leaky_relu(x, 0.1)),
    "leaky, sum of masks": (lambda x: x * (x > 0) + 0.1 * x * ~(x > 0), lambda x: F.leaky_relu(x, 0.1)),
    "prelu": (lambda x: torch.where(x > 0, x, SLOPES * x), lambda x: F.prelu(x, SLOPES)),
    "abs": (lambda x: x * x.sign(), torch.abs),
    "abs, where": (lambda x: torch.where(x < 0, -x, x), torch.abs),
    "threshold": (lambda x: torch.where(x > L, x, L), lambda x: F.threshold(x, L, L)),
    "softshrink": (lambda x: torch.where(x > L, x - L, torch.where(x < -L, x + L, 0.0)), lambda x: F.softshrink(x, L)),
    "softshrink, sign": (lambda x: x.sign() * F.relu(x.abs() - L), lambda x: F.softshrink(x, L)),
    "softshrink, mask": (lambda x: (x.abs() > L).float() * (x - L * x.sign()), lambda x: F.softshrink(x, L)),
    "hardtanh": (lambda x: torch.where(x >= 1, 1.0, torch.where(x <= -1, -1.0, x)), F.hardtanh),
    "hardtanh, and": (lambda x: x * ((x > -1) & (x < 1)) + (x >= 1).float() - (x <= -1).float(), F.hardtanh),
    "relu6": (lambda x: torch.where(x > 6, 6.0, torch.where(x < 0, 0.0, x)), F.relu6),
    "hardsigmoid": (lambda x: torch.where(x >= 3, 1.0, torch.where(x <= -3, 0.0, x / 6 + 0.5)), F.hardsigmoid),
    "maximum": (lambda x: torch.where(x > x.flip(1), x, x.flip(1)), lambda x: torch.maximum(x, x.flip(1))),
    "maximum, masks": (
        lambda x: x * (x >= x.flip(1)) + x.flip(1) * (x < x.flip(1)),
        lambda x: torch.maximum(x, x.flip(1)),
    ),
    "always false": (lambda x: torch.where(x > x, 5.0, x), lambda x: 1.0 * x),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_selection_becomes_the_op_of_the_layer_that_it_spells(form):
    written, layer = (pwlnet.from_torch(Elementwise(f), (4,)) for f in FORMS[form])
    points = 4.0 * np.random.default_rng(0).standard_normal((40, 4))
    points[:8] = np.array([0.0, L, -L, 1.0, -1.0, 3.0, -3.0, 6.0])[:, None]
    expected = FORMS[form][1](torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(written.forward(points), expected, rtol=0, atol=1e-15 * 8)
    assert written.n_neurons == layer.n_neurons


@pytest.mark.parametrize("form", ["softshrink, mask", "hardtanh", "leaky", "threshold"])
def test_the_breakpoints_on_a_line_are_those_of_the_layer(form):
    written, layer = (pwlnet.from_torch(Elementwise(f), (4,)) for f in FORMS[form])
    start, end = np.random.default_rng(1).standard_normal((2, 1, 4)) * 3
    np.testing.assert_array_equal(pwlnet.partition_lines(written, start, end).t, pwlnet.partition_lines(layer, start, end).t)


JUMPS = {
    "a step": (lambda x: 1.0 * (x > L), "jumps by 1 where 'input' crosses 0.3"),
    "a gated value": (lambda x: x * (x > 1), "jumps by 1 where 'input' crosses 1"),
    "a single point": (lambda x: torch.where(x == 2, 5.0, x), "jumps by 3 where 'input' crosses 2"),
    "sign": (torch.sign, "jumps by 2 where 'input' crosses 0"),
    "hard shrinkage": (lambda x: F.hardshrink(x, 0.5), "jumps by 0.5 at 0.5 and -0.5"),
    "rounding": (torch.floor, "jumps at each whole number"),
    "two different values": (lambda x: torch.where(x > x.flip(1), x, 2 * x.flip(1)), "can't show that they agree"),
    "a gate by another value": (lambda x: x * (x.flip(1) > 0), "can't show that they agree"),
    "positions": (lambda x: x.argsort(1) * 1.0, "a position or a count, which jumps"),
    "a square": (lambda x: x * (x + (x > 1)), "multiplies two activations"),
}


@pytest.mark.parametrize("name", JUMPS)
def test_a_jump_is_refused_with_its_place_and_size(name):
    function, reason = JUMPS[name]
    with pytest.raises(UnsupportedOperationError) as caught:
        pwlnet.from_torch(Elementwise(function), (4,))
    assert reason in str(caught.value).split("; supported")[0]


def test_a_comparison_that_the_output_does_not_need_is_no_jump():
    def forward(x):
        torch.where(x > 0, x, 5.0)
        return F.relu(x)

    assert pwlnet.from_torch(Elementwise(forward), (4,)).n_neurons == 4


def test_a_jump_of_a_rounding_to_float32_is_none():
    """Softshrink with its threshold in float32 and its offset in float64: the knot is moved to where the two forms meet."""
    network = lower(_selected(float(np.float32(L)), L))
    points = np.array([[0.0], [0.2], [L], [0.31], [2.0], [-1.0]])
    np.testing.assert_allclose(network.forward(points), np.maximum(points - L, 0.0), rtol=0, atol=1e-16)
    with pytest.raises(UnsupportedOperationError, match="jumps by 1e-05"):
        _selected(L + 1e-5, L)


def _selected(threshold, offset):
    """where(x > threshold, x - offset, 0) as a graph."""
    graph = Graph((1, 1), batched=True)
    place = selection.Place(graph, "select", "Where")
    shifted = graph.scale_shift(graph.input, shift=-offset, name="shifted")
    graph.output = materialise(selection.where(place, selection.compare(place, graph.input, threshold, "gt"), shifted, 0.0))
    return graph


@settings(max_examples=few(200), deadline=None)
@given(
    knots=st.lists(st.integers(-8, 8), min_size=1, max_size=4, unique=True),
    slopes=st.lists(st.integers(-3, 3), min_size=5, max_size=5),
    closed=st.lists(st.sampled_from(["gt", "ge"]), min_size=4, max_size=4),
)
def test_nested_selections_of_continuous_pieces_equal_the_function(knots, slopes, closed):
    graph = Graph((1, 1), batched=True)
    place, x = selection.Place(graph, "select", "Where"), graph.input
    knots, offset, x_values = sorted(knots), 0.0, np.arange(-40, 41)[:, None] / 4.0
    value, expected = graph.scale_shift(x, slopes[0], offset, name="piece"), slopes[0] * x_values + offset
    for k, (knot, before, slope, how) in enumerate(zip(knots, slopes, slopes[1:], closed)):
        offset += (before - slope) * knot
        piece = graph.scale_shift(x, slope, offset, name=f"piece{k}")
        value = selection.where(place, selection.compare(place, x, knot, how), piece, value)
        expected = np.where(x_values > knot, slope * x_values + offset, expected)
    graph.output = materialise(value)
    network = lower(graph)
    np.testing.assert_allclose(network.forward(x_values), expected, rtol=0, atol=1e-13)
    assert network.n_neurons <= sum(a != b for a, b in itertools.pairwise(slopes[: len(knots) + 1]))


# ONNX.


def test_onnx_spellings_of_softshrink_load(tmp_path):
    constants = {"l": np.float32(0.5), "m": np.float32(-0.5), "z": np.float32(0)}
    spellings = {
        "where": [
            op("Greater", "x l", "up"),
            op("Sub", "x l", "a"),
            op("Less", "x m", "down"),
            op("Add", "x l", "b"),
            op("Where", "down b z", "c"),
            op("Where", "up a c"),
        ],
        "sign": [
            op("Sign", "x", "s"),
            op("Abs", "x", "a"),
            op("LessOrEqual", "a l", "in"),
            op("Not", "in", "out"),
            op("Cast", "out", "o", to=1),
            op("Mul", "l s", "ls"),
            op("Sub", "x ls", "d"),
            op("Mul", "d o"),
        ],
        "shrink": [op("Shrink", "x", lambd=0.5, bias=0.5)],
    }
    points = np.array([[-2.0, -0.5, 0.0, 0.25], [0.5, 0.75, 3.0, -0.25]])
    for name, nodes in spellings.items():
        network = pwlnet.load_network(save(build((1, 4), *nodes, constants=constants), tmp_path, f"{name}.onnx"))
        expected = np.sign(points) * np.maximum(np.abs(points) - 0.5, 0.0)
        np.testing.assert_array_equal(network.forward(points), expected)
        assert network.n_neurons == 4


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([op("ThresholdedRelu", "x", alpha=0.0)], [0, 0, 1, 2]),
        ([op("Greater", "x z", "g"), op("Cast", "g", "c", to=1), op("Mul", "x c")], [0, 0, 1, 2]),
        (
            [op("Greater", "x z", "g"), op("Unsqueeze", "g a", "u"), op("Squeeze", "u a", "v"), op("Where", "v x z")],
            [0, 0, 1, 2],
        ),
        ([op("Neg", "x", "n"), op("Greater", "x n", "g"), op("Where", "g x n")], [1, 0, 1, 2]),
        ([op("IsNaN", "x", "i"), op("Where", "i z x")], [-1, 0, 1, 2]),
    ],
    ids=["thresholded relu", "mask", "moved mask", "maximum", "isnan"],
)
def test_onnx_masks_load(nodes, expected, tmp_path):
    model = build((1, 4), *nodes, constants={"z": np.float32(0), "a": [0]})
    network = pwlnet.load_network(save(model, tmp_path))
    np.testing.assert_array_equal(network.forward(np.array([[-1.0, 0.0, 1.0, 2.0]])), [expected])


@pytest.mark.parametrize(("kind", "options"), [("Shrink", {"lambd": 0.5}), ("ThresholdedRelu", {"alpha": 1.0})])
def test_onnx_operators_that_jump_are_refused_with_the_jump(kind, options, tmp_path):
    with pytest.raises(UnsupportedOperationError, match=f"is {kind}, which jumps by (0.5|1) where 'input' crosses"):
        pwlnet.load_network(save(build((1, 4), op(kind, "x", **options)), tmp_path))


def test_the_branch_of_an_if_is_taken_where_its_condition_is_known(tmp_path):
    def branch(kind):
        outputs = [helper.make_tensor_value_info(kind, 1, None)]
        return helper.make_graph([op(kind, "h", kind)], kind, [], outputs)

    condition = [op("Shape", "x", "s"), op("Gather", "s i", "n"), op("Equal", "n i", "c")]
    choice = op("If", "c", then_branch=branch("Relu"), else_branch=branch("Abs"))
    model = build((1, 3), *condition, op("Neg", "x", "h"), choice, constants={"i": np.int64(1)})
    np.testing.assert_array_equal(pwlnet.load_network(save(model, tmp_path)).forward(np.array([[1.0, -2.0, 0.0]])), [[1, 2, 0]])


def test_a_loop_with_a_known_number_of_turns_is_unrolled(tmp_path):
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [op("Identity", "go", "again"), op("Add", "v x", "s"), op("Relu", "s", "r")],
        "body",
        [info("turn", 7, []), info("go", 9, []), info("v", 1, None)],
        [info("again", 9, []), info("r", 1, None)],
    )
    model = build((1, 2), op("Loop", "n c x", body=body), constants={"n": np.int64(2), "c": np.array(True)})
    np.testing.assert_array_equal(pwlnet.load_network(save(model, tmp_path)).forward(np.array([[1.0, -1.0]])), [[3.0, 0.0]])


@pytest.mark.parametrize("opset", [10, 13, 21])
def test_weights_stored_as_integers_load_in_each_opset(opset, tmp_path):
    codes = np.array([[10, -3], [3, 127]], np.int8)
    constants = {"q": codes, "s": np.array([0.5, 2.0]), "z": np.array([3, 1], np.int8)}
    if opset == 10:
        constants |= {"s": np.array(0.5), "z": np.int8(3)}
    model = build((1, 2), op("DequantizeLinear", "q s z", "w"), op("MatMul", "x w"), constants=constants, opset=opset)
    expected = (codes.astype(float) - constants["z"]) * constants["s"]
    np.testing.assert_array_equal(pwlnet.load_network(save(model, tmp_path)).forward(np.eye(2)), expected)


def test_a_quantised_activation_is_refused_as_such(tmp_path):
    model = build((1, 2), op("QuantizeLinear", "x s", "q"), op("DequantizeLinear", "q s"), constants={"s": np.float32(0.1)})
    with pytest.raises(UnsupportedOperationError, match="is QuantizeLinear, which is quantised: it rounds, so it jumps"):
        pwlnet.load_network(save(model, tmp_path))
