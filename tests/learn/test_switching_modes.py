"""Interception of torch's switching functions: all forms, their statuses against brute force, refusals by name."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pwlnet.errors import InputError, UnsupportedOperationError
from pwlnet.learn.switching_modes import RecordingMode, SwitchingMode, check_module

GRID = torch.tensor([[-4.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 4.0, 6.0, 7.0]])
SIDE = [-1, -1, -1, -1, 0, 1, 1, 1, 1, 1, 1]
FORMS = {  # function: statuses on GRID
    "relu": (lambda x: functional.relu(x), SIDE),
    "relu of torch": (lambda x: torch.relu(x), SIDE),
    "relu of tensors": (lambda x: x.relu(), SIDE),
    "ReLU": (nn.ReLU(), SIDE),
    "leaky_relu": (lambda x: functional.leaky_relu(x, 0.1), SIDE),
    "LeakyReLU": (nn.LeakyReLU(-0.5), SIDE),
    "PReLU": (nn.PReLU(), SIDE),
    "RReLU": (nn.RReLU().eval(), SIDE),
    "abs": (abs, SIDE),
    "torch.abs": (torch.abs, SIDE),
    "clamp(min=0)": (lambda x: x.clamp(min=0), SIDE),
    "clamp_min": (lambda x: x.clamp_min(0), SIDE),
    "clamp(max)": (lambda x: torch.clamp(x, max=0.5), [-1, -1, -1, -1, -1, 0, 1, 1, 1, 1, 1]),
    "clamp_max": (lambda x: torch.clamp_max(x, -3.0), [-1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    "clip": (lambda x: torch.clip(x, -1, 0.5), [1, 1, 0, 2, 2, 0, 3, 3, 3, 3, 3]),
    "Threshold": (nn.Threshold(0.5, 0.5), [-1, -1, -1, -1, -1, 0, 1, 1, 1, 1, 1]),
    "Hardtanh": (nn.Hardtanh(), [1, 1, 0, 2, 2, 2, 0, 3, 3, 3, 3]),
    "ReLU6": (nn.ReLU6(), [1, 1, 1, 1, 0, 2, 2, 2, 2, 0, 3]),
    "relu6": (lambda x: functional.relu6(x), [1, 1, 1, 1, 0, 2, 2, 2, 2, 0, 3]),
    "Hardsigmoid": (nn.Hardsigmoid(), [1, 0, 2, 2, 2, 2, 2, 0, 3, 3, 3]),
    "Softshrink": (nn.Softshrink(1.0), [1, 1, 0, 2, 2, 2, 0, 3, 3, 3, 3]),
    "maximum": (lambda x: torch.maximum(x, torch.tensor(1.0)), [-1, -1, -1, -1, -1, -1, 0, 1, 1, 1, 1]),
    "minimum": (lambda x: torch.minimum(torch.tensor(1.0), x), [1, 1, 1, 1, 1, 1, 0, -1, -1, -1, -1]),
    "max of two": (lambda x: torch.max(x, -x), SIDE),
}
IN_PLACE = {
    "relu_": lambda x: x.relu_(),
    "torch.relu_": torch.relu_,
    "relu(inplace)": lambda x: functional.relu(x, inplace=True),
    "ReLU(inplace)": nn.ReLU(inplace=True),
    "leaky_relu_": lambda x: functional.leaky_relu_(x, 0.1),
    "LeakyReLU(inplace)": nn.LeakyReLU(0.1, inplace=True),
    "RReLU(inplace)": nn.RReLU(inplace=True).eval(),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "hardtanh_": lambda x: functional.hardtanh_(x, 0, 1),
    "Hardtanh(inplace)": nn.Hardtanh(inplace=True),
    "ReLU6(inplace)": nn.ReLU6(inplace=True),
    "threshold_": lambda x: functional.threshold_(x, 0, 0),
    "abs_": lambda x: x.abs_(),
}


class Halving(RecordingMode):
    def switch(self, call):
        return 0.5 * super().switch(call)


@pytest.mark.parametrize("name", FORMS)
def test_each_form_of_a_function_is_one_call_with_its_statuses(name):
    function, expected = FORMS[name]
    with Halving(GRID) as mode:
        output = function(GRID)
    mode.check_output(output)
    assert mode.n_calls == 1
    assert mode.statuses[0].tolist() == [expected]
    assert torch.equal(output, 0.5 * function(GRID))


@pytest.mark.parametrize("name", IN_PLACE)
def test_functions_in_place_write_the_replaced_values_and_keep_gradients(name):
    x = GRID.clone().requires_grad_()
    expected, reference = GRID.clone(), GRID.clone().requires_grad_()
    IN_PLACE[name](expected)
    with Halving(x) as mode:
        inner = 1.0 * x
        output = IN_PLACE[name](inner)
        total = inner.sum()
    assert output is inner
    assert torch.equal(inner, 0.5 * expected)
    total.backward()
    (0.5 * IN_PLACE[name](1.0 * reference)).sum().backward()
    assert torch.equal(x.grad, reference.grad)
    assert (mode.n_calls, mode.statuses[0].shape) == (1, GRID.shape)


def brute_force_taps(x, kernel, stride, padding, dilation, n_out):
    """Numbers of the only largest tap of each window of a 2-D pool: [N, C, rows, columns], 0 for ties."""
    winners = np.zeros((*x.shape[:2], *n_out), int)
    for place in np.ndindex(winners.shape):
        values = []
        for tap in itertools.product(*map(range, kernel)):
            at = [place[k + 2] * stride[k] - padding[k] + tap[k] * dilation[k] for k in (0, 1)]
            inside = all(0 <= a < n for a, n in zip(at, x.shape[2:]))
            values.append(x[place[0], place[1], at[0], at[1]] if inside else -np.inf)
        if values.count(max(values)) == 1:
            winners[place] = 1 + int(np.argmax(values))
    return winners


@pytest.mark.parametrize(
    "options",
    [((2, 2), (2, 2), (0, 0), (1, 1), False), ((3, 2), (2, 1), (1, 1), (1, 2), False), ((3, 3), (2, 2), (1, 0), (1, 1), True)],
)
def test_winning_taps_of_pools_are_those_of_brute_force(options):
    x = torch.from_numpy(np.random.default_rng(0).integers(-3, 3, (2, 2, 6, 7)).astype(float))
    with RecordingMode(x) as mode:
        output = nn.MaxPool2d(*options[:4], ceil_mode=options[4])(x)
        functional.max_pool2d(x, *options[:4], ceil_mode=options[4], return_indices=True)
        torch.max_pool2d(x, *options[:4], options[4])
    expected = brute_force_taps(x.numpy(), *options[:4], output.shape[2:])
    assert len(mode.statuses) == 3 and 0 < (expected == 0).sum() < expected.size
    assert all(np.array_equal(status, expected) for status in mode.statuses)


def test_pools_of_one_and_three_dimensions_and_adaptive_ones_have_the_taps_of_their_indices():
    """Without ties, torch's indices of entries decide the tap."""
    x = torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(0))
    with RecordingMode(x) as mode:
        _, at = functional.max_pool1d(x, 3, stride=2, return_indices=True)
        _, adaptive = functional.adaptive_max_pool1d(x, 3, return_indices=True)
        nn.MaxPool3d((1, 1, 3), stride=(1, 1, 2))(x[:, None])
        nn.AdaptiveMaxPool2d((1, 3))(x[:, :1, None])
        nn.AdaptiveMaxPool1d(1)(x)
    starts = torch.arange(3) * 2
    assert torch.equal(mode.statuses[0], (at - starts + 1).int())
    assert torch.equal(mode.statuses[1], (adaptive - torch.tensor([0, 2, 4]) + 1).int())
    assert torch.equal(mode.statuses[2][:, 0], (at - starts + 1).int())
    assert torch.equal(mode.statuses[3][:, :, 0], mode.statuses[1][:, :1])
    assert torch.equal(mode.statuses[4][..., 0], x.argmax(dim=2).int() + 1)


def test_maxima_over_axes_have_the_number_of_the_largest_entry():
    x = torch.tensor([[[1.0, 3.0], [2.0, 3.0], [0.0, 1.0]]])
    with RecordingMode(x) as mode:
        values, _ = torch.max(x, dim=1)
        torch.max(x, 2, keepdim=True)
        x.min(dim=1)
        x.amax((1, 2))
        torch.amin(x, (1, 2), keepdim=True)
    assert values.tolist() == [[2.0, 3.0]]
    assert [status.tolist() for status in mode.statuses] == [[[2, 0]], [[[2], [2], [2]]], [[3, 3]], [0], [[[5]]]]


def test_functions_of_weights_alone_are_free():
    x, weight = torch.ones(2, 3), torch.ones(3, 3)
    with RecordingMode(x) as mode:
        output = functional.linear(x, torch.relu(weight) * torch.exp(weight).sigmoid() / weight.norm())
    mode.check_output(output)
    assert mode.n_calls == 0


def test_a_residual_block_with_views_and_arithmetic_passes():
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))

    def module(x):
        y = torch.zeros(2, 4)
        y[:, :2] = x[:, 2:].flip(1) / 2 - 1.0
        y += torch.cat([x, 1 - x], dim=1).view(2, 2, 4).mean(1)
        return functional.log_softmax(2 * torch.einsum("bi,oi->bo", y, torch.ones(3, 4)).T.T, dim=1) + 1.0

    with SwitchingMode(x) as mode:
        output = module(x)
    mode.check_output(output)
    assert torch.equal(output, module(x))


ATTENTION = nn.MultiheadAttention(3, 1).eval()


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(2 * x.detach().numpy())


REFUSED = {
    "gelu": nn.GELU(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(),
    "softplus": nn.Softplus(),
    "elu": nn.ELU(),
    "hardswish": nn.Hardswish(),
    "layer_norm": nn.LayerNorm(3),
    "multi_head_attention_forward": lambda x: ATTENTION(x, x, x),
    "exp": torch.exp,
    "pow": lambda x: x**2,
    "mul of two tensors": lambda x: x * x,
    "matmul of two tensors": lambda x: x @ x.T,
    "div by a tensor": lambda x: x / x.sum(),
    "rdiv": lambda x: 1.0 / x,
    "gt": lambda x: x * (x > 0),
    "bool": lambda x: x if x.sum() else -x,
    "item": lambda x: x + x.sum().item(),
    "__float__": lambda x: x + float(x.sum()),
    "numpy": lambda x: torch.from_numpy(x.numpy()),
    "max of a whole tensor": lambda x: x - x.max(),
    "clamp with thresholds that depend": lambda x: torch.clamp(x, min=x.mean()),
    "relu after a softmax": lambda x: torch.relu(x.softmax(dim=1) - 0.5),
    "softmax after a softmax": lambda x: x.softmax(dim=1).softmax(dim=1),
    "with integers or truth values": lambda x: x.gather(1, torch.max(x, dim=1, keepdim=True)[1]),
    "dropout in training mode": lambda x: functional.dropout(x),
    "batch_norm in training mode": nn.BatchNorm1d(3, track_running_stats=False).eval(),
    "randn_like": torch.randn_like,
    "randn,": lambda x: x + torch.randn(2, 3),
    "rrelu in training mode": nn.RReLU(),
    "batch_norm of two tensors": lambda x: functional.batch_norm(x, torch.zeros(3), torch.ones(3), x[0]),
    "output does not come from its input": lambda x: torch.zeros(2, 3),
    "numpy, which": Doubled.apply,
    "returns a tuple": lambda x: (x, x),
}


@pytest.mark.parametrize("message", REFUSED)
def test_functions_without_exact_paths_are_refused_by_name(message):
    x = torch.ones(2, 3)
    with pytest.raises(UnsupportedOperationError, match=message), SwitchingMode(x) as mode:
        mode.check_output(REFUSED[message](x))


def test_random_functions_and_batch_statistics_pass_in_training():
    x = torch.ones(2, 3)
    with RecordingMode(x, training=True) as mode:
        mode.check_output(nn.RReLU()(nn.BatchNorm1d(3)(functional.dropout(x))))
    assert mode.n_calls == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_modules_and_other_objects_are_refused():
    scripted, x = torch.jit.trace(nn.ReLU(), torch.ones(1, 2)), torch.ones(1, 2)
    with pytest.raises(UnsupportedOperationError, match="1 is scripted or compiled"):
        check_module(nn.Sequential(nn.Linear(2, 2), scripted))
    with pytest.raises(InputError, match="module is a function"):
        check_module(brute_force_taps)
    with pytest.raises(UnsupportedOperationError, match="does not come from its input"), SwitchingMode(x) as mode:
        mode.check_output(scripted(x))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_dependence_is_followed_without_gradients(context):
    with context(), RecordingMode(GRID) as mode:
        y = torch.zeros(1, 11)
        y[:, :4] = GRID[:, :4]
        mode.check_output(y)
        with pytest.raises(UnsupportedOperationError, match="exp"):
            y.view(11).exp()


def test_infinities_and_nan_have_the_status_of_their_side_or_none():
    x = torch.tensor([[float("nan"), float("inf"), -float("inf")]])
    with RecordingMode(x) as mode:
        torch.relu(x)
        functional.hardtanh(x)
        functional.max_pool1d(x[:, None], 3)
    assert [status.flatten().tolist() for status in mode.statuses] == [[0, 1, -1], [0, 3, 1], [0]]
