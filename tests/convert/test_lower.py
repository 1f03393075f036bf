"""Lowering: every kind of node keeps its values, layouts cost nothing, scalings fold, neurons follow the source."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import ConversionError, InputError
from pwlnet.kernels.ir import program as ir
from tests.counts import few
from tests.reference.graph_values import evaluate_rows, every_value

SWITCHING = {"relu", "leaky_relu", "clip", "max_pool"}


def kinds(network):
    return [ir.OP_NAMES[code] for code in network.program.op]


def agrees(graph, n=3, seed=0):
    """Lower a graph and compare its values with the oracle's; return the network."""
    network = lower(graph)
    rows = np.random.default_rng(seed).standard_normal((n, network.n_inputs))
    wanted = evaluate_rows(graph, rows)
    np.testing.assert_allclose(network.forward(rows), wanted, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(wanted).max()))
    return network


def image_graph(shape=(1, 3, 4, 5)):
    return Graph(shape, batched=True), np.random.default_rng(0)


@settings(max_examples=few(150, 10), deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), n_steps=st.integers(1, 7))
def test_random_chains_of_layouts_and_ops_keep_their_values_and_number_neurons_like_the_source(seed, n_steps):
    rng = np.random.default_rng(seed)
    graph = Graph((1, 2, 3, 4), batched=True)
    x = graph.input
    for k in range(n_steps):
        x = step(graph, x, rng, str(k))
    graph.output = x
    network = agrees(graph, seed=seed)
    row = rng.standard_normal(24)
    found = every_value(graph, row)
    z = [
        found[node.inputs[0]].ravel()
        for node in graph.nodes
        if node.kind in SWITCHING - {"max_pool"} and node.name in network.names
    ]
    flat = np.concatenate([np.empty(0), *z])
    np.testing.assert_allclose(network.preactivations(row)[0], flat, rtol=1e-12, atol=1e-10)


def step(graph, x, rng, name):
    """Add a random node (or a chain of them) that any shape allows."""
    shape, rank = x.shape, len(x.shape)
    choice = rng.integers(9)
    if choice == 0:
        return graph.transpose(x, rng.permutation(rank), name=name)
    if choice == 1:
        return graph.reshape(x, rng.permutation(np.append(shape, 1)), name=name)
    if choice == 2:
        index = x.indices()[..., ::-1] if shape[-1] > 1 else x.indices()
        padding = [(0, 0)] * (rank - 1) + [(int(rng.integers(2)), 0)]
        return graph.layout(x, np.pad(index, padding, constant_values=-1), fill=float(rng.integers(-1, 2)), name=name)
    if choice == 3:
        return graph.linear(x, rng.normal(size=(3, shape[-1])), rng.normal(size=3), name=name)
    if choice == 4:
        axis = int(rng.integers(rank))
        size = [n if a == axis else 1 for a, n in enumerate(shape)]
        return graph.scale_shift(x, rng.normal(size=size), rng.normal(size=size), name=name)
    if choice == 5:
        return graph.concat([x, graph.scale_shift(x, 2.0, name=name)], int(rng.integers(rank)), name=name)
    if choice == 6:
        return graph.add(x, graph.layout(x, x.indices()[::-1], name=name), (1.0, -0.5), name=name)
    if choice == 7:
        return graph.leaky_relu(x, rng.normal(size=(shape[-1],)), name=f"leaky{name}")
    return graph.relu(x, name=f"relu{name}")


def test_flatten_costs_nothing():
    graph, rng = image_graph()
    x = graph.relu(graph.conv(graph.input, rng.normal(size=(4, 3, 2, 2)), name="conv"), name="relu")
    x = graph.reshape(graph.transpose(x, (0, 2, 3, 1), name="t"), (1, -1), name="flatten")
    graph.output = graph.linear(x, rng.normal(size=(2, 48)), name="linear")
    assert kinds(agrees(graph)) == ["Input", "Conv2d", "Relu", "Affine"]


def test_however_flatten_is_spelled_the_program_is_the_same():
    digests = set()
    for spell in (
        lambda g, x: g.reshape(x, (1, -1), name="flatten"),
        lambda g, x: g.reshape(g.reshape(x, (1, 4, 12), name="a"), (1, 48), name="b"),
        lambda g, x: g.layout(x, x.indices().reshape(1, 48), name="gather"),
        lambda g, x: g.transpose(g.transpose(g.reshape(x, (1, 48), name="r"), (1, 0), name="a"), (1, 0), name="b"),
    ):
        graph, rng = image_graph()
        x = graph.relu(graph.conv(graph.input, rng.normal(size=(4, 3, 2, 2)), name="conv"), name="relu")
        graph.output = graph.linear(spell(graph, x), rng.normal(size=(2, 48)), name="linear")
        digests.add(lower(graph).digest)
    assert len(digests) == 1


def test_batch_norm_folds_into_the_ops_before_it():
    graph, rng = image_graph()
    x = graph.conv(graph.input, rng.normal(size=(4, 3, 2, 2)), rng.normal(size=4), name="conv")
    x = graph.batch_norm(x, rng.normal(size=4), rng.random(4), 1e-5, rng.normal(size=4), rng.normal(size=4), name="bn")
    x = graph.reshape(graph.relu(x, name="relu"), (1, -1), name="flatten")
    x = graph.linear(x, rng.normal(size=(6, 48)), rng.normal(size=6), name="linear")
    graph.output = graph.batch_norm(x, rng.normal(size=6), rng.random(6), 1e-5, name="bn1")
    assert kinds(agrees(graph)) == ["Input", "Conv2d", "Relu", "Affine"]


def test_a_grouped_convolution_takes_the_scale_of_each_of_its_channels():
    graph, rng = image_graph((1, 4, 4, 5))
    x = graph.conv(graph.input, rng.normal(size=(6, 2, 2, 2)), rng.normal(size=6), groups=2, name="conv")
    graph.output = graph.scale_shift(x, rng.normal(size=(6, 1, 1)), rng.normal(size=(6, 1, 1)), name="scale")
    assert kinds(agrees(graph)) == ["Input", "Conv2d"]


def test_scalings_one_after_another_become_one():
    graph, rng = image_graph()
    x = graph.scale_shift(graph.input, rng.normal(size=(3, 1, 1)), rng.normal(size=(3, 1, 1)), name="a")
    graph.output = graph.scale_shift(x, rng.normal(size=(3, 4, 5)), 0.5, name="b")
    assert kinds(agrees(graph)) == ["Input", "Scale"]


def test_a_scale_that_varies_over_positions_is_not_folded_into_a_convolution():
    graph, rng = image_graph()
    x = graph.conv(graph.input, rng.normal(size=(4, 3, 2, 2)), name="conv")
    graph.output = graph.scale_shift(x, rng.normal(size=(4, 3, 4)), name="scale")
    assert kinds(agrees(graph)) == ["Input", "Conv2d", "Scale"]


def test_a_scale_is_not_folded_into_what_another_op_reads_too():
    graph, rng = image_graph()
    x = graph.conv(graph.input, rng.normal(size=(4, 3, 2, 2)), name="conv")
    graph.output = graph.add(x, graph.scale_shift(x, 3.0, name="scale"), name="add")
    assert kinds(agrees(graph)) == ["Input", "Conv2d", "Scale", "Add"]


def test_zero_padding_folds_into_the_convolution_after_it():
    graph, rng = image_graph()
    padded = graph.layout(graph.input, np.pad(graph.input.indices(), ((0, 0), (0, 0), (1, 2), (2, 0)),
                                              constant_values=-1), name="pad")  # fmt: skip
    graph.output = graph.conv(padded, rng.normal(size=(4, 3, 3, 2)), stride=(2, 1), name="conv")
    assert kinds(agrees(graph)) == ["Input", "Conv2d"]


def test_padding_by_another_constant_is_kept():
    graph, rng = image_graph()
    index = np.pad(graph.input.indices(), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
    padded = graph.layout(graph.input, index, fill=-1.5, name="pad")
    graph.output = graph.conv(padded, rng.normal(size=(4, 3, 3, 2)), name="conv")
    assert kinds(agrees(graph)) == ["Input", "Gather", "Conv2d"]


def test_constants_of_two_values_are_kept_apart():
    graph, rng = image_graph()
    inner_index = np.pad(graph.input.indices(), ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=-1)
    inner = graph.layout(graph.input, inner_index, fill=2.0, name="inner")
    outer_index = np.pad(inner.indices(), ((0, 0), (0, 0), (0, 0), (1, 1)), constant_values=-1)
    outer = graph.layout(inner, outer_index, fill=-3.0, name="outer")
    graph.output = graph.linear(graph.reshape(outer, (1, -1), name="flat"), rng.normal(size=(2, outer.size)), name="linear")
    agrees(graph)


def test_a_constant_part_of_the_output_is_kept():
    graph = Graph((2,), batched=False)
    graph.output = graph.layout(graph.input, np.array([1, -1, 0]), fill=7.0, name="pad")
    assert lower(graph).forward([1.0, 2.0]).tolist() == [[2.0, 7.0, 1.0]]


def test_a_linear_layer_reads_constants_as_a_bias():
    graph = Graph((2,), batched=False)
    x = graph.layout(graph.input, np.array([1, -1, 0, 1]), fill=3.0, name="pad")
    graph.output = graph.linear(x, [[1.0, 10.0, 100.0, 1000.0]], [0.5], name="linear")
    network = agrees(graph)
    assert kinds(network) == ["Input", "Affine"]
    assert network.forward([1.0, 2.0])[0, 0] == 2.0 + 30.0 + 100.0 + 2000.0 + 0.5


def test_linear_on_the_last_axis_stays_small():
    graph = Graph((1, 6, 5), batched=True)
    x = graph.linear(graph.input, np.random.default_rng(0).normal(size=(4, 5)), name="linear")
    graph.output = graph.relu(x, name="relu")
    network = agrees(graph)
    assert network.program.weights.size == 20
    assert network.output_shape == (6, 4)


def test_ops_that_the_output_does_not_need_are_left_out():
    graph, rng = image_graph()
    graph.relu(graph.conv(graph.input, rng.normal(size=(4, 3, 2, 2)), name="unused"), name="unused.relu")
    graph.output = graph.relu(graph.input, name="relu")
    network = agrees(graph)
    assert network.names == ("input", "relu")
    assert network.n_neurons == 60


def test_the_input_itself_can_be_the_output():
    graph = Graph((1, 3, 2), batched=True)
    graph.output = graph.transpose(graph.input, (0, 2, 1), name="t")
    network = agrees(graph)
    assert kinds(network) == ["Input"]
    assert network.output_shape == (2, 3)
    assert network.jacobian(np.zeros(6))[0].sum() == 6.0


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_tensors_of_rank_4_without_a_batch_are_joined_along_any_axis(axis):
    """Axis 1 of an unbatched rank-4 tensor was taken for the channels of an image and failed in NumPy."""
    graph = Graph((2, 3, 2, 2), batched=False)
    graph.output = graph.concat([graph.input, graph.scale_shift(graph.input, 2.0, name="s")], axis, name="concat")
    agrees(graph)


def test_a_clip_without_bounds_is_nothing():
    graph = Graph((3,), batched=False)
    graph.output = graph.relu(graph.clip(graph.input, name="clip"), name="relu")
    assert kinds(agrees(graph)) == ["Input", "Relu"]


def test_a_pool_with_a_window_in_the_padding_is_refused():
    """Its winner read the entry before the input, and its state was -1."""
    graph = Graph((1, 1, 1), batched=False)
    graph.output = graph.max_pool(graph.input, 2, padding=(1, 1, 1, 1), dilation=2, name="pool")
    with pytest.raises(ConversionError) as caught:
        lower(graph)
    assert str(caught.value) == (
        "node 'pool' has a window that lies in the padding, so its maximum is undefined; reduce its padding or dilation"
    )


def test_a_graph_without_output_is_refused():
    message = r"^the graph has no output; set graph.output to the tensor that the network computes$"
    with pytest.raises(ConversionError, match=message):
        lower(Graph((2,), batched=False))


@pytest.mark.parametrize(("what", "place"), [("weights", 0), ("biases", 1)])
def test_weights_that_are_not_finite_are_refused_by_name(what, place):
    parts = [np.ones((2, 3)), np.ones(2)]
    parts[place].flat[0] = np.nan
    graph = Graph((3,), batched=False)
    graph.output = graph.linear(graph.input, *parts, name="layer1")
    with pytest.raises(InputError) as caught:
        lower(graph)
    assert str(caught.value) == (
        f"node 'layer1' has 1 {what} that are not finite; a network needs finite weights, check how it was trained or saved"
    )


def test_a_linear_layer_of_an_image_has_its_weights_in_the_order_of_the_stored_entries():
    graph, rng = image_graph((1, 3, 2, 5))
    weight = rng.standard_normal((4, 30))
    weight[1, ::2] = -0.0
    flat = graph.reshape(graph.input, (1, 30), name="flatten")
    graph.output = graph.linear(flat, weight, name="layer")
    program = lower(graph).program
    stored = program.weights.reshape(10, 3, 4)  # positions, channels, outputs
    np.testing.assert_array_equal(stored, weight.reshape(4, 3, 10).transpose(2, 1, 0))
    assert not np.signbit(stored[stored == 0.0]).any()


def test_a_network_keeps_one_copy_of_its_weights_and_none_that_can_be_written():
    graph = Graph((3,), batched=False)
    weight = np.arange(6.0).reshape(2, 3)
    graph.output = graph.linear(graph.input, weight, np.ones(2), name="layer")
    network = lower(graph)
    for array in (network.program.weights, network.program.biases):
        assert np.shares_memory(array, network.code.parameters) and not array.flags.writeable
    weight[:] = 7.0
    np.testing.assert_array_equal(network.program.weights, [0, 3, 1, 4, 2, 5])
