"""Small torch modules for the sweep: every layer and function of the torch tables, with several settings each."""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

IMAGE, TALL, SIGNAL, VECTOR, VOLUME = (4, 6, 6), (4, 7, 5), (4, 9), (6,), (2, 4, 5, 4)


class Function(nn.Module):
    """A module that applies a function of one tensor."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        """Return the function of x."""
        return self.function(x)


def _constant(*shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


class WithConstant(nn.Module):
    """A module that applies a function of one tensor and of a constant of a given shape, kept as a buffer."""

    def __init__(self, function, *shape):
        super().__init__()
        self.function = function
        self.register_buffer("constant", _constant(*shape))

    def forward(self, x):
        """Return the function of x and the constant."""
        return self.function(x, self.constant)


def _each(kind, shape, *settings):
    """Return cases of one layer: {name: (factory, shape)}; a setting is (positional arguments, keyword arguments)."""
    cases = {}
    for args, options in settings:
        words = [*(str(a) for a in args), *(f"{k}={v}" for k, v in options.items())]
        cases[f"{kind}({', '.join(words)})"] = partial(getattr(nn, kind), *args, **options), shape
    return cases


def _at(*args, **options):
    return args, options


LAYERS = {
    **_each("Linear", VECTOR, _at(6, 5), _at(6, 1, bias=False)),
    **_each("Linear", (3, 6), _at(6, 2)),
    **_each(
        "Conv1d", SIGNAL, _at(4, 3, 3), _at(4, 4, 3, stride=2, padding=1, groups=2), _at(4, 2, 2, padding="same", dilation=2)
    ),
    **_each("Conv2d", IMAGE, _at(4, 3, 3), _at(4, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2, bias=False)),
    **_each("Conv2d", TALL, _at(4, 2, 3, padding="same"), _at(4, 2, 2, dilation=2, padding=1, padding_mode="reflect")),
    **_each("Conv3d", VOLUME, _at(2, 3, 2), _at(2, 2, 3, padding=1, stride=2, groups=2)),
    **_each("ConvTranspose1d", SIGNAL, _at(4, 3, 3, stride=2, padding=1, output_padding=1)),
    **_each("ConvTranspose2d", IMAGE, _at(4, 3, 2, stride=2), _at(4, 4, 3, stride=2, padding=1, groups=2)),
    **_each("ConvTranspose3d", VOLUME, _at(2, 2, 2, stride=2)),
    **_each("BatchNorm1d", VECTOR, _at(6), _at(6, affine=False)),
    **_each("BatchNorm1d", SIGNAL, _at(4)),
    **_each("BatchNorm2d", IMAGE, _at(4), _at(4, eps=0.1)),
    **_each("BatchNorm3d", VOLUME, _at(2)),
    **_each(
        "AvgPool1d", SIGNAL, _at(2), _at(3, stride=2, padding=1, count_include_pad=False), _at(2, stride=3, ceil_mode=True)
    ),
    **_each("AvgPool2d", IMAGE, _at(2), _at(3, stride=2, padding=1), _at(3, stride=2, padding=1, count_include_pad=False)),
    **_each("AvgPool2d", TALL, _at(2, ceil_mode=True), _at((2, 3), stride=1, divisor_override=5)),
    **_each("AvgPool3d", VOLUME, _at(2), _at(2, stride=1, padding=1)),
    **_each("MaxPool1d", SIGNAL, _at(2), _at(3, stride=2, padding=1), _at(2, dilation=3)),
    **_each("MaxPool2d", IMAGE, _at(2), _at(3, stride=2, padding=1), _at(2, dilation=2, stride=1)),
    **_each("MaxPool2d", TALL, _at(2, ceil_mode=True), _at((3, 1), stride=(1, 2))),
    **_each("MaxPool3d", VOLUME, _at(2)),
    **_each("AdaptiveAvgPool1d", SIGNAL, _at(1), _at(3), _at(4)),
    **_each("AdaptiveAvgPool2d", IMAGE, _at(1), _at((2, 3)), _at((4, 5)), _at((None, 2))),
    **_each("AdaptiveAvgPool3d", VOLUME, _at(1), _at((2, 3, 2))),
    **_each("AdaptiveMaxPool1d", SIGNAL, _at(1), _at(3)),
    **_each("AdaptiveMaxPool2d", IMAGE, _at(1), _at((2, 3))),
    **_each("AdaptiveMaxPool3d", VOLUME, _at(1)),
    **_each("ReLU", VECTOR, _at(), _at(inplace=True)),
    **_each("ReLU6", VECTOR, _at()),
    **_each("LeakyReLU", VECTOR, _at(), _at(0.3), _at(-0.5), _at(1.5)),
    **_each("PReLU", IMAGE, _at(), _at(4, init=1.25)),
    **_each("RReLU", VECTOR, _at()),
    **_each("Hardtanh", VECTOR, _at(), _at(-0.5, 2.0)),
    **_each("Hardsigmoid", VECTOR, _at()),
    **_each("Threshold", VECTOR, _at(0.0, 0.0), _at(0.5, 0.5)),
    **_each("Softshrink", VECTOR, _at(), _at(0.2)),
    **_each("Flatten", IMAGE, _at(), _at(2)),
    **_each("Unflatten", VECTOR, _at(1, (2, 3))),
    **_each("Dropout", VECTOR, _at(0.5)),
    **_each("Dropout2d", IMAGE, _at(0.5)),
    **_each("AlphaDropout", VECTOR, _at(0.5)),
    **_each("Identity", VECTOR, _at()),
    **_each("ZeroPad1d", SIGNAL, _at((1, 2))),
    **_each("ZeroPad2d", IMAGE, _at((1, 2, 0, 1)), _at(-1)),
    **_each("ConstantPad1d", SIGNAL, _at((1, 2), 0.5)),
    **_each("ConstantPad2d", IMAGE, _at((1, 2, 0, 1), -1.5)),
    **_each("ConstantPad3d", VOLUME, _at(1, 0.5)),
    **_each("ReflectionPad1d", SIGNAL, _at((1, 2))),
    **_each("ReflectionPad2d", IMAGE, _at((1, 2, 0, 1))),
    **_each("ReplicationPad1d", SIGNAL, _at((1, 2))),
    **_each("ReplicationPad2d", IMAGE, _at((1, 2, 0, 1))),
    **_each("CircularPad2d", IMAGE, _at((1, 2, 0, 1))),
    **_each("PixelShuffle", IMAGE, _at(2)),
    **_each("PixelUnshuffle", IMAGE, _at(2)),
    **_each("ChannelShuffle", IMAGE, _at(2)),
    **_each("Fold", (8, 6), _at((3, 4), (2, 2))),
    **_each("Unfold", IMAGE, _at(2), _at(3, stride=2, padding=1)),
    **_each("Upsample", IMAGE, _at(scale_factor=2), _at(size=(9, 7)), _at(scale_factor=2, mode="bilinear")),
    **_each("Upsample", TALL, _at(scale_factor=2, mode="bilinear", align_corners=True), _at(scale_factor=1.5)),
    **_each("Upsample", TALL, _at(scale_factor=2, mode="bicubic"), _at(size=(3, 4), mode="bilinear")),
    **_each("Upsample", SIGNAL, _at(scale_factor=3), _at(scale_factor=2, mode="linear")),
    **_each("Upsample", VOLUME, _at(scale_factor=2), _at(scale_factor=2, mode="trilinear")),
    **_each("UpsamplingNearest2d", IMAGE, _at(scale_factor=2)),
    **_each("UpsamplingBilinear2d", IMAGE, _at(scale_factor=2)),
    **_each("LPPool2d", IMAGE, _at(1, 2)),
    **_each("Softmin", VECTOR, _at(dim=1)),
    **_each("Sigmoid", VECTOR, _at()),
    **_each("Tanh", VECTOR, _at()),
    **_each("GELU", VECTOR, _at()),
    **_each("Hardswish", VECTOR, _at()),
    **_each("Hardshrink", VECTOR, _at()),
    **_each("LayerNorm", VECTOR, _at(6)),
    **_each("GroupNorm", IMAGE, _at(2, 4)),
    **_each("Softplus", VECTOR, _at()),
}

FUNCTIONS = {
    "abs": (torch.abs, VECTOR),
    "neg": (torch.neg, VECTOR),
    "x + relu(x)": (lambda x: x + F.relu(x), VECTOR),
    "x - relu(x)": (lambda x: x - F.relu(x), VECTOR),
    "1 - 2 x": (lambda x: 1 - 2 * x, VECTOR),
    "x / 3": (lambda x: x / 3, VECTOR),
    "add alpha": (lambda x: torch.add(x, F.relu(x), alpha=-0.5), VECTOR),
    "clamp": (lambda x: x.clamp(-0.5, 1.0), VECTOR),
    "clamp_min": (lambda x: x.clamp(min=0.25), VECTOR),
    "clamp_max": (lambda x: x.clamp(max=0.25), VECTOR),
    "hardtanh": (lambda x: F.hardtanh(x, -2, 0.5), VECTOR),
    "maximum": (lambda x: torch.maximum(x[:, :3], x[:, 3:]), VECTOR),
    "minimum": (lambda x: torch.minimum(x[:, :3], x[:, 3:]), VECTOR),
    "maximum of a constant": (lambda x: torch.maximum(x, torch.tensor(0.5)), VECTOR),
    "amax": (lambda x: x.amax(1), VECTOR),
    "max values": (lambda x: x.max(dim=1)[0], VECTOR),
    "min values": (lambda x: x.min(dim=1)[0], VECTOR),
    "amax of rows": (lambda x: x.amax((2, 3)), IMAGE),
    "amin of rows": (lambda x: x.amin(3), IMAGE),
    "mean": (lambda x: x.mean((2, 3)), IMAGE),
    "mean of one axis": (lambda x: x.mean(1, keepdim=True), IMAGE),
    "sum": (lambda x: x.sum(1), IMAGE),
    "sum of all": (lambda x: x.flatten(1).sum(1), IMAGE),
    "cat": (lambda x: torch.cat([x, F.relu(x)], 1), IMAGE),
    "cat of rows": (lambda x: torch.cat([x, -x], 2), IMAGE),
    "stack": (lambda x: torch.stack([x, F.relu(x)], 1), VECTOR),
    "chunk": (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), IMAGE),
    "split": (lambda x: x.split(2, 1)[0] - x.split(2, 1)[1], IMAGE),
    "slice": (lambda x: x[:, 1:, ::2], IMAGE),
    "negative index": (lambda x: x[:, -1], IMAGE),
    "index of a list": (lambda x: x[:, [2, 0, 2]], IMAGE),
    "index_select": (lambda x: x.index_select(1, torch.tensor([2, 0])), IMAGE),
    "gather": (lambda x: x.gather(1, torch.tensor([[2, 0, 5]]).expand(x.shape[0], 3)), VECTOR),
    "flip": (lambda x: x.flip(2), IMAGE),
    "roll": (lambda x: x.roll(2, 1), IMAGE),
    "permute": (lambda x: x.permute(0, 2, 3, 1), IMAGE),
    "transpose": (lambda x: x.transpose(1, 2), IMAGE),
    "reshape": (lambda x: x.reshape(1, 2, -1), IMAGE),
    "view by size": (lambda x: x.view(x.size(0), -1), IMAGE),
    "squeeze": (lambda x: x[:, :1].squeeze(1), IMAGE),
    "unsqueeze": (lambda x: x.unsqueeze(2), IMAGE),
    "expand": (lambda x: x.unsqueeze(1).expand(-1, 3, -1), VECTOR),
    "repeat": (lambda x: x.repeat(1, 2), VECTOR),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, 1), VECTOR),
    "pad": (lambda x: F.pad(x, (1, 2)), IMAGE),
    "pad reflect": (lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"), IMAGE),
    "pad replicate": (lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"), IMAGE),
    "pad circular": (lambda x: F.pad(x, (1, 2, 0, 1), mode="circular"), IMAGE),
    "tril": (torch.tril, (5, 5)),
    "interpolate area": (lambda x: F.interpolate(x, size=(3, 2), mode="area"), IMAGE),
    "interpolate nearest": (lambda x: F.interpolate(x, scale_factor=2.0), IMAGE),
    "interpolate bilinear": (lambda x: F.interpolate(x, size=(9, 8), mode="bilinear", align_corners=False), IMAGE),
    "relu of a difference": (lambda x: F.relu(x[:, :3] - x[:, 3:]), VECTOR),
    "x * (x > 0)": (lambda x: x * (x > 0), VECTOR),
    "where leaky": (lambda x: torch.where(x > 0, x, 0.1 * x), VECTOR),
    "where abs": (lambda x: torch.where(x >= 0, x, -x), VECTOR),
    "softshrink": (lambda x: F.softshrink(x, 0.25), VECTOR),
    "threshold": (lambda x: F.threshold(x, 0.5, 0.5), VECTOR),
    "masked_fill": (lambda x: x.masked_fill(x < 0, 0.0), VECTOR),
    "norm p=1": (lambda x: torch.norm(x, p=1, dim=1), VECTOR),
    "abs sum": (lambda x: x.abs().sum(1), VECTOR),
    "norm inf": (lambda x: torch.linalg.vector_norm(x, float("inf"), dim=1), VECTOR),
    "cumsum": (lambda x: x.cumsum(1), VECTOR),
    "sort of pairs": (lambda x: x.view(-1, 3, 2).sort(2)[0], VECTOR),
    "topk of three": (lambda x: x[:, :3].topk(2, dim=1)[0], VECTOR),
    "topk of all": (lambda x: x.topk(1, dim=1)[0], VECTOR),
    "median of three": (lambda x: x[:, :3].median(1)[0], VECTOR),
    "relu6": (F.relu6, VECTOR),
    "hardsigmoid": (F.hardsigmoid, VECTOR),
    "max_pool of a padded slice": (lambda x: F.max_pool2d(F.pad(x[:, :2], (1, 1, 1, 1)), 2), IMAGE),
    "detach": (lambda x: F.relu(x.detach()), VECTOR),
    "logsumexp": (lambda x: torch.logsumexp(x, 1), VECTOR),
    "product": (lambda x: x[:, :3] * x[:, 3:], VECTOR),
    "floor": (torch.floor, VECTOR),
    "x * x": (lambda x: x * x, VECTOR),
}

WITH_CONSTANTS = {
    "add constant": (lambda x, c: x + c, VECTOR, (6,)),
    "subtract constant of channels": (lambda x, c: x - c, IMAGE, (1, 4, 1, 1)),
    "multiply by a constant": (lambda x, c: x * c, IMAGE, (4, 1, 1)),
    "multiply by an image": (lambda x, c: c * x, IMAGE, (4, 6, 6)),
    "divide by a constant": (lambda x, c: x / c, VECTOR, (6,)),
    "matmul": (lambda x, c: x @ c, VECTOR, (6, 3)),
    "matmul of rows": (lambda x, c: x @ c, (3, 6), (6, 2)),
    "matmul on the left": (lambda x, c: c @ x, (3, 6), (2, 3)),
    "stacked matmul": (lambda x, c: x @ c, (3, 2, 6), (3, 6, 2)),
    "bmm on the left": (lambda x, c: c @ x, (3, 6, 2), (3, 2, 6)),
    "einsum": (lambda x, c: torch.einsum("bi,oi->bo", x, c), VECTOR, (3, 6)),
    "einsum of heads": (lambda x, c: torch.einsum("bhi,hio->bho", x, c), (2, 3), (2, 3, 4)),
    "addmm": (lambda x, c: torch.addmm(c[0], x, c.t()), (6,), (6, 6)),
    "linear": (lambda x, c: F.linear(x, c), VECTOR, (2, 6)),
    "conv2d": (lambda x, c: F.conv2d(x, c, padding=1), IMAGE, (3, 4, 3, 3)),
    "prelu": (lambda x, c: F.prelu(x, c), IMAGE, (4,)),
    "maximum with a constant": (lambda x, c: torch.maximum(x, c), VECTOR, (6,)),
    "minimum with a constant": (lambda x, c: torch.minimum(x, c), VECTOR, (6,)),
    "where of a constant condition": (lambda x, c: torch.where(c > 0, x, 2 * x), VECTOR, (6,)),
    "cat with a constant": (lambda x, c: torch.cat([x, c], 1), VECTOR, (1, 2)),
    "scatter": (lambda x, c: torch.zeros(1, 8, dtype=x.dtype).scatter(1, torch.tensor([[5, 1, 2, 7, 0, 3]]), x), VECTOR, (1,)),
    "index_add": (lambda x, c: x.index_add(1, torch.tensor([0, 2]), x[:, :2]), VECTOR, (1,)),
    "slice_scatter": (lambda x, c: x.slice_scatter(c, 1, 1, 3), VECTOR, (1, 2)),
    "batch_norm": (lambda x, c: F.batch_norm(x, c, c.abs() + 0.5, c, c), IMAGE, (4,)),
    "tensordot": (lambda x, c: torch.tensordot(x, c, dims=([1], [0])), VECTOR, (6, 2)),
}


def cases():
    """Return all cases: {name: (factory of a seeded module in eval mode, input shape)}."""
    every = {name: (partial(seeded, factory), shape) for name, (factory, shape) in LAYERS.items()}
    every |= {name: (partial(Function, function), shape) for name, (function, shape) in FUNCTIONS.items()}
    for name, (function, shape, constant) in WITH_CONSTANTS.items():
        every[name] = partial(WithConstant, function, *constant), shape
    return every


def seeded(factory, seed=0):
    """Return a module with random parameters and statistics, in eval mode."""
    torch.manual_seed(seed)
    module = factory()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_()
            part.running_var.uniform_(0.25, 2.0)
            if part.affine:
                part.weight.data.normal_()
                part.bias.data.normal_()
    return module.eval()


def _layer(rng, shape):
    """Return a random layer for an input of ``shape``."""
    channels, wide = shape[0], len(shape) == 3 and min(shape[1:]) >= 4
    plain = [nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.ReLU6, nn.Hardsigmoid, nn.Softshrink, partial(Function, torch.abs)]
    residual = [partial(Function, lambda x: x - F.relu(x)), partial(Function, lambda x: F.relu(torch.cat([x, -x], 1)))]
    if len(shape) == 1:
        return rng.choice([partial(nn.Linear, channels, 5), partial(nn.BatchNorm1d, channels), *plain, *residual])
    images = [
        partial(nn.Conv2d, channels, 4, 3, padding=1),
        partial(nn.BatchNorm2d, channels),
        partial(nn.PReLU, channels),
        partial(nn.ConvTranspose2d, channels, 3, 2, stride=2),
        partial(nn.ZeroPad2d, (1, 0, 0, 2)),
        partial(nn.AdaptiveAvgPool2d, 2),
        nn.Flatten,
        partial(Function, lambda x: x.transpose(2, 3)),
        partial(Function, lambda x: x.mean(3, keepdim=True)),
        partial(Function, lambda x: x.flip(1)),
    ]
    pools = [partial(nn.MaxPool2d, 2), partial(nn.AvgPool2d, 3, 2, 1), partial(nn.MaxPool2d, 3, 2, 1, ceil_mode=True)]
    return rng.choice([*images, *plain, *residual, *(pools if wide else [])])


def random_module(seed, depth=3):
    """Return a random chain of layers (a torch.nn.Sequential in eval mode) and its input shape."""
    rng = np.random.default_rng(seed)
    start = shape = [IMAGE, TALL, VECTOR][rng.integers(3)]
    layers, x = [], torch.zeros(1, *shape)
    for _ in range(depth):
        layers.append(seeded(_layer(rng, tuple(x.shape[1:])), int(rng.integers(2**31))))
        with torch.no_grad():
            x = layers[-1](x)
    return nn.Sequential(*layers).eval(), start
