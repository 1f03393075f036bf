"""Torch modules against their neutral graphs: every operation in float64, refusals with their sentence."""

import copy
import operator
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pwlnet.convert.torch.fx import read_module, source_forward
from pwlnet.errors import ConversionError, InputError, PwlnetWarning, ShapeError, UnsupportedOperationError
from tests.reference.graph_values import evaluate_rows


class Function(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def seeded(module, seed=0):
    """Random parameters and statistics, so that no default of 0 or 1 hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for state in [*module.parameters(), *module.buffers()]:
            if state.is_floating_point():
                state.copy_(torch.rand(state.shape, generator=generator) - 0.4)
        for name, state in module.named_buffers():
            if name.endswith("running_var"):
                state.add_(0.5)
    return module


def points(shape, n=4):
    return np.random.default_rng(1).standard_normal((n, *shape)) * 2.0


def agrees(module, shape):
    """Read a module and compare its graph with torch in float64, row by row; return the graph."""
    graph = read_module(module, shape)
    reference = copy.deepcopy(module).double().eval()
    rows = points(shape)
    with torch.no_grad():
        wanted = np.stack([reference(torch.from_numpy(row[None].copy())).reshape(-1).numpy() for row in rows])
    found = evaluate_rows(graph, rows)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(wanted).max()))
    np.testing.assert_allclose(source_forward(module)(rows), wanted, rtol=1e-14, atol=0)
    return graph


LAYERS = {
    "Linear": (nn.Linear(5, 3), (5,)),
    "Linear without bias": (nn.Linear(5, 3, bias=False), (5,)),
    "Linear over the last of several axes": (nn.Linear(5, 3), (2, 4, 5)),
    "Conv2d": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2), (4, 7, 8)),
    "Conv2d same": (nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)), (2, 6, 7)),
    "Conv2d valid": (nn.Conv2d(2, 3, 3, padding="valid"), (2, 6, 7)),
    "Conv2d circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 5)),
    "Conv2d reflect": (nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect"), (2, 5, 5)),
    "Conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 9)),
    "Conv1d same": (nn.Conv1d(2, 3, 4, padding="same"), (2, 9)),
    "ConvTranspose2d": (
        nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2, dilation=(2, 1)),
        (4, 3, 4),
    ),
    "ConvTranspose2d cropping": (nn.ConvTranspose2d(2, 3, 2, stride=2, padding=2), (2, 4, 4)),
    "ConvTranspose1d": (nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1), (4, 5)),
    "BatchNorm1d": (nn.BatchNorm1d(5), (5,)),
    "BatchNorm1d of sequences": (nn.BatchNorm1d(3), (3, 4)),
    "BatchNorm1d without affine": (nn.BatchNorm1d(5, affine=False), (5,)),
    "BatchNorm2d": (nn.BatchNorm2d(3, eps=0.1), (3, 4, 2)),
    "ReLU": (nn.ReLU(), (5,)),
    "ReLU in place": (nn.ReLU(inplace=True), (5,)),
    "ReLU6": (nn.ReLU6(), (40,)),
    "LeakyReLU": (nn.LeakyReLU(0.2), (5,)),
    "PReLU": (nn.PReLU(), (5,)),
    "PReLU per channel": (nn.PReLU(3), (3, 2, 2)),
    "PReLU per feature": (nn.PReLU(5), (5,)),
    "RReLU": (nn.RReLU(), (5,)),
    "Hardtanh": (nn.Hardtanh(-0.5, 0.7), (9,)),
    "Hardsigmoid": (nn.Hardsigmoid(), (40,)),
    "Threshold": (nn.Threshold(0.0, 0.0), (5,)),
    "Softshrink": (nn.Softshrink(0.3), (9,)),
    "MaxPool2d": (nn.MaxPool2d((3, 2), stride=(2, 1), padding=1, dilation=(1, 2)), (2, 7, 6)),
    "MaxPool2d ceil": (nn.MaxPool2d(3, stride=2, ceil_mode=True), (2, 6, 7)),
    "MaxPool1d": (nn.MaxPool1d(3, stride=2, padding=1, ceil_mode=True), (2, 8)),
    "AvgPool2d": (nn.AvgPool2d((3, 2), stride=(2, 1), padding=1), (2, 7, 6)),
    "AvgPool2d not counting padding": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (2, 7, 6)),
    "AvgPool2d ceil": (nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), (2, 6, 8)),
    "AvgPool2d ceil not counting": (
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        (2, 6, 8),
    ),
    "AvgPool2d divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 4, 4)),
    "AvgPool1d": (nn.AvgPool1d(3, stride=2, padding=1, ceil_mode=True), (2, 8)),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((2, 3)), (2, 4, 6)),
    "AdaptiveAvgPool2d of uneven windows": (nn.AdaptiveAvgPool2d((3, 4)), (2, 7, 6)),
    "AdaptiveAvgPool2d keeping an axis": (nn.AdaptiveAvgPool2d((None, 2)), (2, 5, 6)),
    "AdaptiveAvgPool2d enlarging": (nn.AdaptiveAvgPool2d(5), (2, 3, 2)),
    "AdaptiveAvgPool1d": (nn.AdaptiveAvgPool1d(3), (2, 8)),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d((2, 3)), (2, 4, 6)),
    "AdaptiveMaxPool1d": (nn.AdaptiveMaxPool1d(2), (2, 6)),
    "Flatten": (nn.Flatten(), (2, 3, 4)),
    "Unflatten": (nn.Unflatten(1, (2, 3)), (6,)),
    "Identity": (nn.Identity(), (3,)),
    "Dropout": (nn.Dropout(0.5), (3,)),
    "Dropout2d": (nn.Dropout2d(0.5), (3, 2, 2)),
    "AlphaDropout": (nn.AlphaDropout(0.5), (3,)),
    "ZeroPad2d": (nn.ZeroPad2d((1, 2, 0, 3)), (2, 3, 3)),
    "ConstantPad2d": (nn.ConstantPad2d((1, -1, 0, 3), 1.5), (2, 3, 3)),
    "ReflectionPad2d": (nn.ReflectionPad2d(1), (2, 3, 3)),
    "PixelShuffle": (nn.PixelShuffle(2), (8, 2, 3)),
    "PixelUnshuffle": (nn.PixelUnshuffle(2), (2, 4, 6)),
    "Upsample": (nn.Upsample(scale_factor=(2, 3)), (2, 3, 2)),
    "Upsample to a size": (nn.Upsample(size=(5, 7)), (2, 3, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_gives_torchs_values(name):
    module, shape = LAYERS[name]
    agrees(seeded(copy.deepcopy(module)), shape)


W = torch.arange(12, dtype=torch.float64).reshape(4, 3) / 7 - 0.8
V = torch.tensor([0.5, -1.25, 2.0, 0.1], dtype=torch.float64)

FUNCTIONS = {
    "x + x": lambda x: x + F.relu(x),
    "x - y": lambda x: x - F.relu(x),
    "c - x": lambda x: 1.5 - x,
    "c + x": lambda x: V + x,
    "-x": lambda x: -x,
    "x * c": lambda x: x * V,
    "c * x": lambda x: -3 * x,
    "x / c": lambda x: x / V,
    "+=": lambda x: operator.iadd(F.relu(x), x),
    "-= *= /=": lambda x: operator.itruediv(operator.imul(operator.isub(x * 1.0, V), 3), 7),
    "torch.add with alpha": lambda x: torch.add(x, F.relu(x), alpha=-0.7),
    "torch.sub with alpha": lambda x: torch.sub(x, V, alpha=3),
    "torch.rsub": lambda x: torch.rsub(x, V, alpha=2),
    "torch.mul": lambda x: torch.mul(x, 2.5),
    "torch.div": lambda x: torch.div(x, 3),
    "broadcasting": lambda x: x[:, :, None] + x[:, None, :],
    "constants that expand": lambda x: x[:, None, :] * torch.ones(3, 4, dtype=torch.float64),
    "x @ W": lambda x: x @ W,
    "x @ v": lambda x: (x @ V)[:, None],
    "W @ x": lambda x: (W.T @ x[:, :, None]).squeeze(2),
    "v @ x": lambda x: V @ x[:, :, None],
    "torch.matmul": lambda x: torch.matmul(x, W),
    "torch.mm": lambda x: torch.mm(x, W),
    "torch.addmm": lambda x: torch.addmm(V[:3], x, W, beta=2, alpha=0.5),
    "F.linear": lambda x: F.linear(x, W.T, V[:3]),
    "F.linear by keyword": lambda x: F.linear(input=x, weight=W.T),
    "F.relu in place": lambda x: F.relu(x * 2, inplace=True),
    "relu methods": lambda x: (x - 1).relu() + (x * 2).relu_(),
    "torch.relu": lambda x: torch.relu(x),
    "F.leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "F.prelu": lambda x: F.prelu(x, V),
    "F.relu6": lambda x: F.relu6(3 * x),
    "F.hardtanh": lambda x: F.hardtanh(x, -0.2, 0.4),
    "F.hardsigmoid": lambda x: F.hardsigmoid(3 * x),
    "F.threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "abs": lambda x: abs(x) + x.abs() + torch.abs(x),
    "clamp": lambda x: torch.clamp(x, -1, 0.5) + x.clamp(min=-0.1) + x.clip(max=0.7) + x.clamp_min(0) + x.clamp_max(0.1),
    "clamp to tensors": lambda x: torch.clamp(x, min=V - 1, max=torch.tensor(0.5)),
    "maximum": lambda x: torch.maximum(x, x.flip(1)) + torch.max(x, V) + torch.maximum(V, x),
    "minimum": lambda x: torch.minimum(x, x.flip(1)) + torch.min(x, V) + torch.minimum(V, x),
    "sum": lambda x: x.sum(1, keepdim=True) + torch.sum(x, dim=(1,))[:, None],
    "sum over axes": lambda x: x.reshape(-1, 2, 2).sum((1, 2)),
    "mean": lambda x: x.mean(1, keepdim=True) - x,
    "mean by axis": lambda x: x.mean(axis=-1),
    "amax and amin": lambda x: x.amax(1, keepdim=True) - x.amin(dim=1, keepdim=True),
    "max over an axis": lambda x: x.max(dim=1).values + torch.max(x, 1)[0] - x.min(1)[0],
    "view by size": lambda x: x.view(x.size(0), -1, 2).reshape(x.shape[0], x.numel() // x.size(0)),
    "flatten": lambda x: torch.flatten(x.view(-1, 2, 2), 1),
    "permute and transpose": lambda x: x.view(-1, 2, 2).permute(0, 2, 1).transpose(1, 2).transpose(-1, -2).mT,
    "T": lambda x: (W.T @ x.T).T,
    "squeeze and unsqueeze": lambda x: x.unsqueeze(1).unsqueeze(-1).squeeze(-1).squeeze(1),
    "contiguous, detach, clone": lambda x: x.contiguous().detach().clone(),
    "casts": lambda x: x.double().to(torch.float64).to(x.dtype).type_as(x).to(x.device),
    "chunk": lambda x: torch.cat(x.chunk(2, dim=1)[::-1], 1),
    "split": lambda x: torch.cat([p * (i + 1) for i, p in enumerate(torch.split(x, 2, 1)[:2])], -1),
    "slices": lambda x: x[:, 1:3] + x[:, ::2] + x[..., -2:] + x[:, [0, 3]],
    "expand and repeat": lambda x: x[:, :1].expand(-1, 4) + x.repeat(1, 2)[:, 2:6] + x[:, :1].expand_as(x),
    "F.pad": lambda x: F.pad(x, (1, 2), value=0.25),
    "F.pad replicate": lambda x: F.pad(x[:, None], (1, 2), mode="replicate"),
    "F.interpolate": lambda x: F.interpolate(x.view(-1, 1, 2, 2), scale_factor=2),
    "F.pixel_shuffle": lambda x: F.pixel_shuffle(x.view(-1, 4, 1, 1), 2),
    "cat with a constant": lambda x: torch.cat([x, V.expand(x.shape[0], -1)], dim=1),
    "concat": lambda x: torch.concat((x, 2 * x), dim=-1),
    "stack": lambda x: torch.stack([x, F.relu(x)], dim=1),
    "where": lambda x: torch.where(torch.tensor([True, False, True, False]), x, -1.5),
    "flip, roll, narrow": lambda x: torch.roll(x.flip(1), 1, 1).narrow(1, 1, 2),
    "F.max_pool1d": lambda x: F.max_pool1d(x[:, None], 2),
    "F.avg_pool1d": lambda x: F.avg_pool1d(x[:, None], 2, 1),
    "F.conv1d": lambda x: F.conv1d(x[:, None], V.view(2, 1, 2)),
    "F.dropout": lambda x: F.dropout(x, 0.5, training=False),
    "F.batch_norm": lambda x: F.batch_norm(x, V, V.abs() + 1, weight=V, bias=-V),
    "torch.batch_norm": lambda x: torch.batch_norm(x, V, -V, 2 * V, V.abs() + 1, False, 0.1, 1e-3, False),
    "zeros_like": lambda x: torch.maximum(x, torch.zeros_like(x)) + torch.ones_like(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_gives_torchs_values(name):
    agrees(Function(FUNCTIONS[name]).double(), (4,))


class Side(nn.Module):
    """Modules side by side: each reads its own part of the input."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList([module for module, _ in parts])
        self.shapes = [shape for _, shape in parts]

    def forward(self, x):
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        pieces = x.split(sizes, dim=1)
        parts = zip(self.parts, pieces, self.shapes, strict=True)
        return torch.cat([part(piece.view(-1, *shape)).reshape(len(x), -1) for part, piece, shape in parts], dim=1)


@pytest.fixture
def no_fx(monkeypatch):
    """Make the first way of tracing fail."""
    monkeypatch.setattr("pwlnet.convert.torch.tracing._Tracer.trace", None)


@pytest.mark.usefixtures("no_fx")
def test_all_layers_give_torchs_values_in_the_trace_of_export():
    layers = [layer for name, layer in LAYERS.items() if name != "Softshrink"]  # torch.export takes it apart
    module = Side([(seeded(copy.deepcopy(module), seed), shape) for seed, (module, shape) in enumerate(layers)])
    agrees(module, (sum(int(np.prod(shape)) for shape in module.shapes),))


@pytest.mark.usefixtures("no_fx")
def test_all_functions_give_torchs_values_in_the_trace_of_export():
    module = Side([(Function(function), (4,)) for function in FUNCTIONS.values()])
    agrees(module, (4 * len(FUNCTIONS),))


# Whole networks.


class Residual(nn.Module):
    """Two convolutions with a skip connection, in place as torchvision has it."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        identity = x
        out = self.act(self.norm1(self.first(x)))
        out = self.norm2(self.second(out))
        out += identity
        return self.act(out)


class Dense(nn.Module):
    """Joins all that it has computed, and uses one layer twice."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Linear(6, 6)
        self.layer2 = nn.Linear(12, 6)
        self.head = nn.Linear(18, 3)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        y = F.relu(self.layer1(x))
        z = F.dropout(F.relu(self.layer2(torch.cat([x, y], 1))), training=self.training)
        z = torch.relu(self.layer1(z))
        return self.head(torch.cat((x, y, z), dim=1))


def test_a_residual_network_gives_torchs_values():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), Residual(3), Residual(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    graph = agrees(seeded(net), (1, 6, 6))
    assert graph.output.shape == (1, 2)


def test_a_network_that_joins_and_reuses_layers_gives_torchs_values():
    graph = agrees(seeded(Dense()), (2, 3))
    assert [node.name for node in graph.nodes if node.kind == "linear"] == ["layer1", "layer2", "layer1", "head"]


def test_a_single_layer_is_a_network():
    assert agrees(nn.Linear(3, 2), (3,)).nodes[-1].kind == "linear"


def test_the_graph_keeps_a_batch_axis_of_one():
    graph = read_module(nn.Linear(3, 2), (3,))
    assert graph.batched
    assert graph.input.shape == (1, 3)
    assert graph.output.shape == (1, 2)


# In place.


class InPlace(nn.Module):
    """Reads its input after writing to it."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = x * 1.0
        y = self.act(x)
        return 2 * y + x


def test_a_tensor_read_after_a_write_in_place_is_the_written_one():
    graph = agrees(InPlace(), (4,))
    assert "aten" not in "".join(node.name for node in graph.nodes)


def test_augmented_assignment_writes_to_every_name_of_the_tensor():
    def forward(x):
        y = x * 2
        z = y
        y += 1
        return z * 3

    agrees(Function(forward), (3,))


def test_a_write_through_a_view_is_seen_in_what_it_views():
    def forward(x):
        y = x * 2
        y[:, 1:].relu_()
        y.view(-1, 2, 2)[:, 0] -= 1
        return y

    agrees(Function(forward), (4,))


def test_assignment_to_a_slice_is_seen():
    def forward(x):
        y = F.relu(x)
        y[:, 0] = 0
        y[:, 2:] = x[:, :2]
        return y

    agrees(Function(forward), (4,))


def test_the_input_is_not_changed_by_a_module_that_writes_to_it():
    rows = points((3,))
    before = rows.copy()
    source_forward(nn.ReLU(inplace=True))(rows)
    np.testing.assert_array_equal(rows, before)


# Python in forward.


def test_branches_on_shapes_are_followed():
    def forward(x):
        if x.dim() == 2 and x.shape[1] > 3:
            x = x[:, :3]
        for i in range(x.size(1)):
            x = x + i * x[:, i : i + 1]
        return x

    agrees(Function(forward), (5,))


def test_a_forward_that_asks_for_its_inputs_type_is_followed():
    agrees(Function(lambda x: x * 2 if isinstance(x, torch.Tensor) else x * 3), (3,))


class Squeezing(nn.Module):
    """Squeezes all axes of length 1, the batch among them where it is 1."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.pool(x).squeeze())


def test_squeezing_a_batch_of_one_does_not_change_the_values():
    assert read_module(seeded(Squeezing()), (3, 4, 4)).output.shape == (2,)
    agrees(seeded(Squeezing()), (3, 4, 4))


def test_buffers_and_computed_weights_are_constants_in_float64():
    class Masked(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight * self.mask / 3, self.bias)

    masked = Masked(3, 2)
    masked.register_buffer("mask", torch.tensor([[1.0, 0.0, 0.1]]))
    agrees(masked, (3,))


def test_parametrised_weights_are_computed_in_float64():
    agrees(nn.utils.parametrizations.weight_norm(seeded(nn.Linear(3, 2))), (3,))


def test_casts_to_float32_do_not_round():
    module = Function(lambda x: (x.float() / 3).to(torch.float32) * 7)
    rows = points((3,))
    np.testing.assert_allclose(source_forward(module)(rows), rows / 3 * 7, rtol=1e-15)
    np.testing.assert_allclose(evaluate_rows(read_module(module, (3,)), rows), rows / 3 * 7, rtol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_weights_are_cast_exactly(dtype):
    module = nn.Linear(3, 2).to(dtype)
    graph = read_module(module, (3,))
    np.testing.assert_array_equal(graph.nodes[-1].attributes["weight"], module.weight.detach().double().numpy())


def test_the_module_is_left_as_it_is():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.ReLU())
    state = copy.deepcopy(module.state_dict())
    read_module(module, (3,))
    source_forward(module)(points((3,)))
    assert module.training
    assert all(part.training for part in module.modules())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())


def test_a_hook_that_changes_the_output_counts():
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    module[0].register_forward_hook(lambda part, inputs, output: output - 0.5)
    agrees(module, (3,))


def test_a_hook_on_a_layer_that_is_kept_whole_counts():
    module = nn.Sequential(nn.Linear(3, 3), seeded(nn.BatchNorm1d(3)))
    module[1].register_forward_hook(lambda part, inputs, output: output * 2)
    agrees(module, (3,))


# Softmax.


@pytest.mark.parametrize("head", [nn.Softmax(dim=1), nn.LogSoftmax(dim=-1), Function(lambda x: x.softmax(-1))])
def test_a_softmax_at_the_end_is_dropped_with_a_warning(head):
    linear = nn.Linear(3, 2)
    module = nn.Sequential(linear, head)
    with pytest.warns(PwlnetWarning, match=r"node '1.*' \(.*oftmax.*\) at the end was dropped"):
        graph = read_module(module, (3,))
    rows = points((3,))
    wanted = source_forward(linear)(rows)
    np.testing.assert_allclose(evaluate_rows(graph, rows), wanted, rtol=1e-12)
    np.testing.assert_allclose(source_forward(module)(rows), wanted, rtol=1e-12)


def test_a_softmax_elsewhere_is_refused():
    with pytest.raises(UnsupportedOperationError, match="node '0' is Softmax, which is not piecewise linear"):
        read_module(nn.Sequential(nn.Softmax(dim=1), nn.Linear(3, 2)), (3,))


def test_a_softmax_over_the_batch_is_refused():
    with pytest.raises(
        UnsupportedOperationError, match=r"node '0' is Softmax, which over one entry is a constant \(axis 0 of shape \(1, 3\)"
    ):
        read_module(nn.Sequential(nn.Softmax(dim=0)), (3,))


# Refusals.


def test_the_refusal_names_the_node_and_its_type():
    module = nn.Sequential()
    module.add_module("layer2", nn.Sequential())
    module.layer2.add_module("act", nn.Tanh())
    with pytest.raises(UnsupportedOperationError) as caught:
        read_module(module, (3,))
    sentence = "node 'layer2.act' is Tanh, which is not piecewise linear; docs/supported_ops.md"
    assert str(caught.value).startswith(sentence)


NOT_LINEAR = "which is not piecewise linear"
NO_CONVERSION = "which is not supported"
NOT_CONTINUOUS = "which is not continuous"
REFUSED = {
    "GELU": (nn.GELU(), (3,), f"node 'model' is GELU, {NOT_LINEAR}"),
    "Tanh": (nn.Sequential(nn.Tanh()), (3,), f"node '0' is Tanh, {NOT_LINEAR}"),
    "SiLU": (nn.Sequential(nn.SiLU()), (3,), f"node '0' is SiLU, {NOT_LINEAR}"),
    "Softplus": (nn.Sequential(nn.Softplus()), (3,), f"node '0' is Softplus, {NOT_LINEAR}"),
    "ELU": (nn.Sequential(nn.ELU()), (3,), f"node '0' is ELU, {NOT_LINEAR}"),
    "LayerNorm": (nn.Sequential(nn.LayerNorm(3)), (3,), f"node '0' is LayerNorm, {NOT_LINEAR}"),
    "GroupNorm": (nn.Sequential(nn.GroupNorm(1, 3)), (3,), f"node '0' is GroupNorm, {NOT_LINEAR}"),
    "InstanceNorm": (nn.Sequential(nn.InstanceNorm2d(3)), (3, 2, 2), f"node '0' is InstanceNorm2d, {NOT_LINEAR}"),
    "LSTM": (nn.Sequential(nn.LSTM(3, 3)), (2, 3), f"node '0' is LSTM, {NOT_LINEAR}"),
    "LPPool2d": (
        nn.Sequential(nn.LPPool2d(2, 2)),
        (1, 2, 2),
        "node '0' is LPPool2d, which is not piecewise linear (a root of a sum of powers)",
    ),
    "FractionalMaxPool2d": (
        nn.Sequential(nn.FractionalMaxPool2d(2, output_size=2)),
        (1, 5, 5),
        "node '0' is FractionalMaxPool2d, whose windows are random",
    ),
    "sinc": (Function(torch.sinc), (3,), "node 'sinc' is sinc, which is not linear and has no exact conversion"),
    "Threshold": (nn.Sequential(nn.Threshold(1, 0)), (3,), "node '0' is Threshold, which jumps at 1 to 0"),
    "indices": (
        nn.MaxPool2d(2, return_indices=True),
        (1, 4, 4),
        "node 'max_pool2d_with_indices' is MaxPool2d, with return_indices=True",
    ),
    "batch statistics": (
        nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)),
        (3,),
        "node '0' is BatchNorm1d, which uses the statistics of the batch (track_running_stats=False or training=True)",
    ),
    "F.sigmoid": (
        Function(lambda x: 2 * torch.sigmoid(x)),
        (3,),
        f"node 'sigmoid' is sigmoid, {NOT_LINEAR} (it is dropped where nothing but moves of entries follows it)",
    ),
    "product": (Function(lambda x: x * F.relu(x)), (3,), "node 'mul' is mul, which multiplies two activations"),
    "quotient": (Function(lambda x: 1 / x), (3,), "node 'truediv' is truediv, which divides by an activation"),
    "power": (Function(lambda x: x**2), (3,), f"node 'pow_1' is pow, {NOT_LINEAR}"),
    "matmul": (Function(lambda x: x @ x.T), (3,), "node 'matmul' is matmul, which multiplies two activations"),
    "bmm": (
        Function(lambda x: torch.bmm(x[:, None], x[:, :, None])),
        (3,),
        "node 'bmm' is bmm, which multiplies two activations",
    ),
    "comparison": (
        Function(lambda x: x * (x > 1)),
        (3,),
        "node 'mul' is mul, which jumps by 1 where 'input' crosses 1, so it is not continuous; the values on both sides must "
        "agree there",
    ),
    "dropout": (
        Function(lambda x: F.dropout(x, 0.5)),
        (3,),
        "node 'dropout' is dropout, which drops entries at random in eval mode (training=True); pass training=self.training",
    ),
    "noise": (Function(lambda x: x + torch.randn_like(x)), (3,), "node 'randn_like' is randn_like, which is random"),
    "integers": (
        Function(lambda x: x.to(torch.int64)),
        (3,),
        "node 'to' is to, to torch.int64, which is not a real floating dtype",
    ),
    "indices of a maximum": (
        Function(lambda x: x.max(dim=1)[1]),
        (3,),
        "node 'max_1' is max, whose indices are not piecewise linear",
    ),
    "index by an activation": (
        Function(lambda x: x[:, x.argmax()]),
        (3,),
        "node 'argmax' is argmax, whose indices are not continuous",
    ),
    "zero divisor": (Function(lambda x: x / 0), (3,), "node 'truediv' is truediv, with a zero in its divisor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exact_is_refused_by_name(name):
    module, shape, sentence = REFUSED[name]
    with pytest.raises(UnsupportedOperationError) as caught:
        read_module(module, shape)
    assert str(caught.value).startswith(f"{sentence}; docs/supported_ops.md")


def test_two_inputs_are_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(ConversionError, match="forward does not take one input \\(missing a required argument: 'y'\\)"):
        read_module(Two(), (3,))


def test_two_outputs_are_refused():
    with pytest.raises(
        ConversionError, match=r"the module returns 2 tensors, 0 of shape .3,., 1 of shape .3,.; .* such as outputs=0"
    ):
        read_module(Function(lambda x: (x, x)), (3,))


@pytest.mark.usefixtures("no_fx")
def test_two_outputs_are_refused_in_the_trace_of_export():
    with pytest.raises(ConversionError, match="the module returns 2 tensors"):
        read_module(Function(lambda x: (x, x + 1)), (3,))


def test_an_output_that_is_constant_is_refused():
    with pytest.raises(ConversionError, match="the module returns a constant"):
        read_module(Function(lambda x: torch.zeros_like(x)), (3,))


def test_a_branch_on_values_is_refused():
    def forward(x):
        return x if x.sum() > 0 else -x

    with pytest.raises(ConversionError, match="must not depend on the values of tensors, rewrite that branch"):
        read_module(Function(forward), (3,))


@pytest.mark.parametrize("forward", [lambda x: x - x.mean(), lambda x: x.sum(), lambda x: x[:1]])
def test_a_forward_that_mixes_the_rows_is_refused(forward):
    with pytest.raises(ConversionError, match="must not mix the batch axis with the features"):
        read_module(Function(forward), (3,))


def test_a_wrong_input_shape_is_refused():
    with pytest.raises(ConversionError, match=r"node '0' has weight of shape \(2, 3\), but its input has shape \(1, 4\)"):
        read_module(nn.Sequential(nn.Linear(3, 2)), (4,))
    with pytest.raises(ConversionError, match="check input_shape"):
        read_module(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), (3, 2, 2))
    with pytest.raises(ConversionError, match=r"node 'view' \(view\) can't be applied to its input: shape '\[1, 5\]' is"):
        read_module(Function(lambda x: x.view(x.size(0), 5)), (4,))


@pytest.mark.parametrize("shape", [(0,), (2.0,), "3", (3, -1)])
def test_an_input_shape_that_is_not_one_is_refused(shape):
    with pytest.raises(ShapeError, match="it must be a tuple of positive integers, without the batch axis"):
        read_module(nn.ReLU(), shape)


def test_weights_that_are_not_finite_are_refused_by_name():
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].weight.data[0] = torch.nan
    with pytest.raises(InputError) as caught:
        read_module(module, (3,))
    assert str(caught.value) == (
        "parameter '0.weight' holds 3 values that are not finite; a network needs finite weights, "
        "check how it was trained or saved"
    )


def test_parametrised_modules_still_work_after_they_were_read():
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)).eval()
    before = module(torch.ones(1, 3))
    read_module(module, (3,))
    assert torch.equal(module(torch.ones(1, 3)), before)
    assert nn.utils.parametrize.is_parametrized(module)


def test_what_is_not_a_module_is_refused():
    with pytest.raises(InputError, match=r"module is the function '.*'; from_torch needs a torch.nn.Module"):
        read_module(test_what_is_not_a_module_is_refused, (3,))


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.Linear(3, 2, device="meta"), "on the meta device, without values"),
        (nn.Linear(3, 2, dtype=torch.complex64), "complex"),
    ],
)
def test_parameters_without_real_values_are_refused(module, kind):
    with pytest.raises(InputError, match=rf"parameter 'weight' is {kind}.*; pwlnet needs dense real values"):
        read_module(module, (3,))


def test_reading_a_network_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_module(Function(lambda x: F.relu(x) if x.shape[0] > 0 else x), (3,))
