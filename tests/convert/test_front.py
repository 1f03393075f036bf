"""What the readers take, choose, drop and say: outputs that count, outputs=, ends of classifiers, refusals, deep modules."""

import warnings
from collections import namedtuple

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import nn

import pwlnet
from pwlnet.errors import ConversionError, InputError, PwlnetError, PwlnetWarning, ShapeError, UnsupportedOperationError
from tests.convert.onnx_models import build, op, save

Pair = namedtuple("Pair", "logits extra")


class Net(nn.Module):
    """Two linear layers and a function of the hidden values."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last, self.other = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)
        self.function, self.seen = function, {}
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x):
        return self.function(self, torch.relu(self.first(x)))


ROWS = np.random.default_rng(0).standard_normal((5, 4))


def values(function, rows=ROWS):
    """Float64 outputs [B, O] of torch, row by row."""
    net = Net(function).double().eval()
    with torch.no_grad():
        return np.stack([net(torch.from_numpy(row[None])).reshape(-1).numpy() for row in rows])


def logits(net, h):
    return net.last(h)


def converted(function, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pwlnet.from_torch(Net(function), (4,), **options)


# Only what the output needs counts.


def records(function):
    def forward(net, h):
        net.seen["value"] = function(h)
        return net.last(h)

    return forward


def copies_to_buffer(net, h):
    net.mean.copy_(h.mean().reshape(1))
    return net.last(h)


def variational(net, h):
    mean, deviation = net.last(h), torch.exp(0.5 * net.last(h))
    sample = mean + torch.randn_like(deviation) * deviation
    return sample if net.training else mean


def asserts(net, h):
    assert (h >= 0).all(), "negative"
    if torch.isnan(h).any():
        raise ValueError("not a number")
    net.seen["text"] = f"{h.mean().item():.3f}"
    return net.last(h)


def counts(net, h):
    if h.sum() > 0:
        net.seen["positive"] = net.seen.get("positive", 0) + 1
    return net.last(h)


def overwrites_what_is_not_needed(net, h):
    net.last(h).exp_()
    return net.last(h)


UNNEEDED = {
    "auxiliary head": records(lambda h: torch.sigmoid(h)),
    "norm": records(lambda h: h.norm(2)),
    "share": records(lambda h: (h > 0).double().mean()),
    "item": records(lambda h: h.mean().item()),
    "numpy": records(lambda h: h.detach().cpu().numpy()),
    "list": records(lambda h: h.tolist()),
    "class": records(lambda h: h.argmax(1)),
    "indices": records(lambda h: h.topk(2).indices),
    "buffer": copies_to_buffer,
    "variational": variational,
    "asserts": asserts,
    "counts": counts,
    "overwritten": overwrites_what_is_not_needed,
}


@pytest.mark.parametrize("name", UNNEEDED)
def test_what_the_output_does_not_depend_on_may_be_anything(name):
    np.testing.assert_allclose(converted(UNNEEDED[name]).forward(ROWS), values(logits), rtol=1e-12)


@pytest.mark.parametrize(
    "branch",
    [
        lambda net, h: net.last(h) if h.sum() > 0 else -net.last(h),
        lambda net, h: net.last(h) * (1.0 if h.mean().item() > 0.3 else 2.0),
        lambda net, h: net.last(h) + torch.tensor(1.0 if h.max() > 5 else 2.0),
    ],
)
def test_a_branch_on_values_that_changes_the_output_is_refused(branch):
    with pytest.raises(ConversionError, match="depend on the values of tensors"):
        converted(branch)


def overwritten(write):
    def forward(net, h):
        y = net.last(h)
        write(y)
        return y

    return forward


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda y: y.exp_(), "exp_"),
        (lambda y: y.view(-1).exp_(), "exp"),
        (lambda y: F.elu(y, 1.0, True), "elu"),
        (lambda y: F.elu(y, inplace=True), "elu"),
        (lambda y: torch.exp(y, out=y), "exp"),
    ],
)
def test_an_unsupported_write_in_place_counts(write, kind):
    with pytest.raises(UnsupportedOperationError, match=f"is {kind}, which is not piecewise linear"):
        converted(overwritten(write))


HOOKS = {
    "numpy": lambda seen: lambda m, i, o: seen.append(o.detach().cpu().numpy()),
    "asarray": lambda seen: lambda m, i, o: seen.append(np.asarray(o.detach())),
    "item": lambda seen: lambda m, i, o: seen.append(o.mean().item()),
    "float": lambda seen: lambda m, i, o: seen.append(float(o.mean())),
    "norm": lambda seen: lambda m, i, o: seen.append(o.norm(2)),
    "branch": lambda seen: lambda m, i, o: seen.append(1) if o.max() > 100 else None,
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_records_does_not_stop_a_module(name):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    expected = pwlnet.from_torch(module, (4,)).forward(ROWS)
    module[1].register_forward_hook(HOOKS[name]([]))
    np.testing.assert_array_equal(pwlnet.from_torch(module, (4,)).forward(ROWS), expected)


def test_a_hook_that_acts_on_a_value_is_not_taken_for_one_that_records():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    module[1].register_forward_hook(lambda m, i, o: o * float(o.max() > 0))
    with pytest.raises(PwlnetError, match=r"can't be traced|is gt"):
        pwlnet.from_torch(module, (4,))


def test_a_refusal_names_the_operation_of_a_hook_and_not_the_layer_it_is_on():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    module[1].register_forward_hook(lambda m, i, o: torch.tanh(o))
    with pytest.raises(UnsupportedOperationError, match=r"node '1.tanh' is tanh, which is not piecewise linear"):
        pwlnet.from_torch(module, (4,))


# outputs=.


FORMS = {
    "tuple": (lambda net, h: (torch.tanh(h), net.last(h)), 1),
    "last": (lambda net, h: (torch.tanh(h), net.last(h)), -1),
    "dict": (lambda net, h: {"extra": torch.tanh(h), "logits": net.last(h)}, "logits"),
    "dict by position": (lambda net, h: {"extra": torch.tanh(h), "logits": net.last(h)}, 1),
    "named tuple": (lambda net, h: Pair(net.last(h), h), "logits"),
    "nested": (lambda net, h: (torch.tanh(h), [net.other(h), net.last(h)]), "1.1"),
    "only tensor": (lambda net, h: (net.last(h), None), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_outputs_chooses_one_of_several(form):
    function, outputs = FORMS[form]
    np.testing.assert_allclose(converted(function, outputs=outputs).forward(ROWS), values(logits), rtol=1e-12)


def test_several_outputs_are_joined_in_the_order_given():
    network = converted(lambda net, h: (net.last(h), net.other(h)), outputs=(1, 0))
    expected = np.hstack([values(lambda net, h: net.other(h)), values(logits)])
    np.testing.assert_allclose(network.forward(ROWS), expected, rtol=1e-12)


def test_without_a_choice_the_message_lists_the_outputs():
    with pytest.raises(ConversionError, match=r"returns 2 tensors, 0 of shape \(3,\), 1 of shape \(2,\); .* outputs=0"):
        converted(lambda net, h: (net.last(h), net.other(h)))


@pytest.mark.parametrize(
    ("outputs", "error"), [(2, ConversionError), ("x", ConversionError), (True, InputError), ([], InputError)]
)
def test_a_choice_that_is_not_there_is_refused(outputs, error):
    with pytest.raises(error, match="outputs"):
        converted(lambda net, h: (net.last(h), net.other(h)), outputs=outputs)


def two_outputs(tmp_path):
    nodes = op("MatMul", "x w", "h"), op("Relu", "h", "y"), op("Tanh", "h", "t"), op("Neg", "h", "z")
    weight = np.arange(6.0).reshape(3, 2) - 2
    return save(build((1, 3), *nodes, output="t y z", constants={"w": weight}), tmp_path), weight


@pytest.mark.parametrize("outputs", [1, -2, "y", ["y"]])
def test_outputs_chooses_in_onnx_files(outputs, tmp_path):
    path, weight = two_outputs(tmp_path)
    np.testing.assert_allclose(
        pwlnet.load_network(path, outputs=outputs).forward(ROWS[:, :3]), np.maximum(ROWS[:, :3] @ weight, 0)
    )


def test_several_outputs_of_an_onnx_file_are_joined(tmp_path):
    path, weight = two_outputs(tmp_path)
    h = ROWS[:, :3] @ weight
    actual = pwlnet.load_network(path, outputs=("z", 1)).forward(ROWS[:, :3])
    np.testing.assert_allclose(actual, np.hstack([-h, np.maximum(h, 0)]), rtol=1e-12)


def test_an_onnx_file_with_several_outputs_lists_them(tmp_path):
    path, _ = two_outputs(tmp_path)
    with pytest.raises(ConversionError, match=r"has 3 outputs \('t' of shape .* such as outputs=0 or outputs='t'"):
        pwlnet.load_network(path)
    with pytest.raises(ConversionError, match=r"outputs='w' is not an output of .*'t', 'y', 'z'"):
        pwlnet.load_network(path, outputs="w")


# Functions at the end.


def flipped(net, h):
    return net.last(h).flip(1)


ENDS = {
    "softmax": (lambda net, h: torch.softmax(net.last(h), 1), logits, "largest is the predicted class"),
    "log_softmax": (lambda net, h: F.log_softmax(net.last(h), 1), logits, "largest is the predicted class"),
    "softmin": (lambda net, h: F.softmin(net.last(h), 1), lambda net, h: -net.last(h), "largest"),
    "log of softmax": (lambda net, h: torch.softmax(net.last(h), 1).log(), logits, "largest"),
    "softmax, moved": (lambda net, h: torch.softmax(net.last(h), 1).flip(1).reshape(-1, 1, 3), flipped, "largest"),
    "softmax, split and joined": (
        lambda net, h: torch.cat(torch.softmax(net.last(h), 1).split(1, 1)[::-1], 1),
        flipped,
        "largest",
    ),
    "argmax": (lambda net, h: net.last(h).argmax(1), logits, "largest"),
    "sigmoid": (lambda net, h: torch.sigmoid(net.last(h)), logits, "each label is predicted where its output is above 0"),
    "in place": (lambda net, h: net.last(h).sigmoid_(), logits, "each label"),
    "one sigmoid": (
        lambda net, h: net.last(h)[:, :1].sigmoid(),
        lambda net, h: net.last(h)[:, :1],
        "class 1 is predicted where",
    ),
    "one of several sigmoids": (
        lambda net, h: torch.sigmoid(net.last(h))[:, 1],
        lambda net, h: net.last(h)[:, 1],
        "each label",
    ),
    "logsigmoid": (lambda net, h: F.logsigmoid(net.last(h)), logits, "each label"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_function_at_the_end_is_dropped_with_one_warning(name):
    function, expected, decision = ENDS[name]
    with pytest.warns(PwlnetWarning, match=f"at the end was dropped; the network computes the logits: .*{decision}") as caught:
        network = pwlnet.from_torch(Net(function), (4,))
    assert len(caught) == 1
    np.testing.assert_allclose(network.forward(ROWS), values(expected), rtol=1e-12)


KEPT = {
    "part of a softmax": (lambda net, h: torch.softmax(net.last(h), 1)[:, 1], "of whose entries the output takes a part"),
    "softmax over one entry": (lambda net, h: torch.softmax(net.last(h)[:, :1], 1), "over one entry is a constant"),
    "softmax in the middle": (lambda net, h: net.other(F.pad(torch.softmax(net.last(h), 1), (0, 3))), "not piecewise linear"),
    "arithmetic": (lambda net, h: 1 - torch.sigmoid(net.last(h)), "not piecewise linear"),
    "joined with others": (lambda net, h: torch.cat([torch.sigmoid(net.last(h)), h], 1), "not piecewise linear"),
    "product": (lambda net, h: torch.sigmoid(net.last(h)) * net.last(h), "not piecewise linear"),
}


@pytest.mark.parametrize("name", KEPT)
def test_where_the_decision_would_change_nothing_is_dropped(name):
    function, reason = KEPT[name]
    with pytest.raises(UnsupportedOperationError, match=reason):
        converted(function)


def onnx_end(tmp_path, *nodes, opset=17, **options):
    weight = np.arange(12.0).reshape(3, 4) - 5
    return save(
        build((1, 3), op("MatMul", "x w", "h"), *nodes, opset=opset, constants={"w": weight} | options), tmp_path
    ), weight


ONNX_ENDS = {
    "softmax": ((op("Softmax", "h"),), lambda h: h),
    "sigmoid": ((op("Sigmoid", "h"),), lambda h: h),
    "hardmax": ((op("Hardmax", "h"),), lambda h: h),
    "log of sigmoid": ((op("Sigmoid", "h", "p"), op("Log", "p")), lambda h: h),
    "softmax, transposed": (
        (op("Reshape", "h s", "r"), op("Softmax", "r", "p", axis=1), op("Transpose", "p", perm=[0, 2, 1])),
        lambda h: h.reshape(-1, 2, 2).transpose(0, 2, 1).reshape(-1, 4),
    ),
    "sigmoid, sliced": ((op("Sigmoid", "h", "p"), op("Gather", "p g", axis=1)), lambda h: h[:, [2, 0]]),
    "argmax": ((op("Softmax", "h", "p"), op("ArgMax", "p", axis=1)), lambda h: h),
}


@pytest.mark.parametrize("name", ONNX_ENDS)
def test_a_function_at_the_end_of_an_onnx_file_is_dropped_with_what_moves_its_entries_in_force(name, tmp_path):
    nodes, expected = ONNX_ENDS[name]
    path, weight = onnx_end(tmp_path, *nodes, s=[1, 2, 2], g=[2, 0])
    with pytest.warns(PwlnetWarning, match="at the end w.* dropped; the network computes the logits") as caught:
        network = pwlnet.load_network(path)
    assert len(caught) == 1
    np.testing.assert_allclose(network.forward(ROWS[:, :3]), expected(ROWS[:, :3] @ weight), rtol=1e-12)


ONNX_KEPT = {
    "part of a softmax": ((op("Softmax", "h", "p"), op("Gather", "p g", axis=1)), "takes a part"),
    "also used otherwise": (
        (op("Sigmoid", "h", "p"), op("Neg", "p", "n"), op("Concat", "p n", axis=1)),
        "not piecewise linear",
    ),
    "joined with others": ((op("Sigmoid", "h", "p"), op("Concat", "p h", axis=1)), "not piecewise linear"),
    "one entry": ((op("Gather", "h k", "f", axis=1), op("Softmax", "f")), "over one entry is a constant"),
}


@pytest.mark.parametrize("name", ONNX_KEPT)
def test_where_the_decision_would_change_nothing_is_dropped_in_onnx_files(name, tmp_path):
    nodes, reason = ONNX_KEPT[name]
    path, _ = onnx_end(tmp_path, *nodes, g=[2, 0], k=[1])
    with pytest.raises(UnsupportedOperationError, match=reason):
        pwlnet.load_network(path)


# Files exported for several rows.


def batch_of_four(tmp_path, *, mixed=False):
    weight = np.arange(8.0).reshape(4, 2) - 3
    nodes = [op("Reshape", "x s", "f"), op("Gemm", "f w", "h"), op("Relu", "h", "r" if mixed else "y")]
    nodes += [op("ReduceSum", "r a", keepdims=1)] if mixed else []
    return save(build((4, 2, 2), *nodes, constants={"w": weight, "s": [4, -1], "a": [0]}), tmp_path), weight


def test_a_file_exported_for_four_rows_becomes_a_network_of_one(tmp_path):
    path, weight = batch_of_four(tmp_path)
    with pytest.warns(PwlnetWarning, match=r"exported for a batch of 4; .* input_shape=\(4, 2, 2\) for one that takes all"):
        network = pwlnet.load_network(path)
    assert network.input_shape == (2, 2)
    np.testing.assert_allclose(network.forward(ROWS), np.maximum(ROWS @ weight, 0), rtol=1e-12)
    assert pwlnet.load_network(path, input_shape=(2, 2)).n_outputs == 2
    assert pwlnet.load_network(path, input_shape=(4, 2, 2)).n_outputs == 8


def test_a_file_that_mixes_its_rows_is_not_taken_for_one_of_rows(tmp_path):
    path, _ = batch_of_four(tmp_path, mixed=True)
    with pytest.raises(ShapeError, match="exported for a batch of 4 and does not compute each row alone"):
        pwlnet.load_network(path, input_shape=(2, 2))
    assert pwlnet.load_network(path).n_inputs == 16


# What is given instead of a module or a file.


def example_module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))


@pytest.mark.parametrize(
    "given",
    [torch.zeros(1, 2, 4, 4), torch.zeros(5, 2, 4, 4, requires_grad=True), np.zeros((3, 2, 4, 4)), torch.Size([2, 4, 4])],
)
def test_an_example_input_gives_its_shape_without_the_batch(given):
    assert pwlnet.from_torch(example_module(), given).input_shape == (2, 4, 4)


@pytest.mark.parametrize("given", ["2,4,4", (2.0, 4, 4), (True, 4, 4), (2, 0, 4), (2, -1, 4), None, torch.zeros(3)])
def test_what_is_no_shape_is_refused(given):
    with pytest.raises(ShapeError, match=r"^input_shape is "):
        pwlnet.from_torch(example_module(), given)


def test_a_shape_with_a_batch_axis_is_answered_with_the_one_without():
    with pytest.raises(ShapeError, match=r"without the batch axis, \(2, 4, 4\)"):
        pwlnet.from_torch(example_module(), (1, 2, 4, 4))


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = torch.jit.trace(nn.ReLU(), torch.zeros(1, 4))

    def forward(self, x):
        return self.part(x)


NO_MODULES = {
    "state_dict": (lambda: nn.Linear(4, 3).state_dict(), "a state_dict, which holds weights only"),
    "checkpoint": (lambda: {"model": {}, "epoch": 3}, "its entry 'model'"),
    "path": (lambda: "net.pt", "the path 'net.pt'; .*load_network"),
    "class": (lambda: nn.Linear, "the class Linear; from_torch needs an instance"),
    "function": (lambda: torch.relu, "the function 'relu'"),
    "network": (lambda: pwlnet.from_torch(nn.Linear(4, 3), (4,)), "a pwlnet.Network, which is converted already"),
    "scripted": (lambda: torch.jit.trace(nn.Linear(4, 3), torch.zeros(1, 4)), "whose compiled code pwlnet does not read"),
    "scripted part": (Scripted, "submodule 'part' is a .*whose compiled code"),
    "lazy": (lambda: nn.LazyLinear(3), "has no values yet; run the module once"),
    "list": (lambda: nn.ModuleList([nn.Linear(4, 3)]), "without a forward"),
}


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("name", NO_MODULES)
def test_what_is_no_module_is_refused_with_what_to_do(name):
    make, message = NO_MODULES[name]
    with pytest.raises(InputError, match=message) as caught:
        pwlnet.from_torch(make(), (4,))
    assert len(str(caught.value)) < 400


def test_a_quantised_module_is_refused_as_quantised():
    layer = nn.Linear(4, 3)
    layer.__class__ = type("Linear", (nn.Linear,), {"__module__": "torch.ao.nn.quantized.dynamic"})
    with pytest.raises(InputError, match="submodule '0' is a quantised Linear, which rounds to integers"):
        pwlnet.from_torch(nn.Sequential(layer), (4,))


FILES = {
    ".pt": "a file of PyTorch; .*from_torch",
    ".pth": "a file of PyTorch; .*from_torch",
    ".ckpt": "a file of PyTorch; .*from_torch",
    ".safetensors": "weights without a network; .*from_torch",
    ".keras": "a file of Keras; export it to ONNX",
    ".pb": "a file of TensorFlow; export it to ONNX",
    ".tflite": "TensorFlow Lite; export",
    ".polar": "of no known kind .suffix '.polar'.; export the network to ONNX",
}


@pytest.mark.parametrize("suffix", FILES)
def test_a_file_of_another_kind_is_answered_with_what_to_do(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"1234567890")
    with pytest.raises(ConversionError, match=FILES[suffix]):
        pwlnet.load_network(path)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_torchscript_is_told_apart_from_a_pickled_module_by_its_content(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(4, 3), torch.zeros(1, 4)), tmp_path / "script.pt")
    torch.save(nn.Linear(4, 3), tmp_path / "pickle.pt")
    with pytest.raises(ConversionError, match="a TorchScript archive"):
        pwlnet.load_network(tmp_path / "script.pt")
    with pytest.raises(ConversionError, match="a file of PyTorch"):
        pwlnet.load_network(tmp_path / "pickle.pt")


def test_a_keras_file_in_hdf5_is_answered_with_what_to_do(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["keras_version"] = "3.0"
    with pytest.raises(ConversionError, match="a file of Keras; export it to ONNX"):
        pwlnet.load_network(tmp_path / "net.h5")


# Deep and long modules.


def test_a_module_nested_two_hundred_deep_converts():
    torch.manual_seed(0)
    inner = nn.Linear(4, 2)
    module = nn.Sequential(inner, nn.ReLU())
    for _ in range(200):
        module = nn.Sequential(module)
    expected = np.maximum(ROWS @ inner.weight.detach().double().numpy().T + inner.bias.detach().double().numpy(), 0)
    np.testing.assert_allclose(pwlnet.from_torch(module, (4,)).forward(ROWS), expected, rtol=1e-12)


def test_scalings_of_a_long_chain_are_folded_without_recursion():
    from pwlnet.convert.graph import Graph
    from pwlnet.convert.lower import lower

    graph = Graph((1, 2), batched=True)
    x = graph.input
    for k in range(600):
        x = graph.scale_shift(graph.linear(x, np.eye(2), name=f"l{k}"), 1.0, 1.0, name=f"s{k}")
    graph.output = x
    network = lower(graph)
    assert len(network.program.op) == 601
    np.testing.assert_array_equal(network.forward(np.zeros((1, 2))), [[600.0, 600.0]])


def test_nodes_of_a_file_in_reverse_order_are_sorted(tmp_path):
    nodes = [helper.make_node("Relu" if k % 2 else "Neg", [f"v{k}"], [f"v{k + 1}"], name=f"n{k}") for k in range(3000)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes[::-1], "g", [value("v0", TensorProto.FLOAT, [1, 2])], [value("v3000", TensorProto.FLOAT, None)]
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    from pwlnet.convert.onnx.model import open_model

    assert [node.name for node in open_model(path, None).nodes] == [f"n{k}" for k in range(3000)]
