"""The same network in torch, float32, channels first: the baseline of exact partitions.

Built from pwlnet's program, so that files of every format have one, for chains of convolutions, fully connected layers,
scalings and ReLUs; compared with ``Network.forward`` before it is timed.
"""

import statistics
import time

import numpy as np

from pwlnet.kernels.ir import program as ir

BATCH = 256
REPEATS = 5


def build_twin(network):
    """Build a torch module in evaluation mode; NotImplementedError (asv skips) without torch or for other ops."""
    try:
        import torch
    except ImportError as error:
        raise NotImplementedError("torch is not installed") from error
    program, layers = network.program, []
    for i in range(1, len(program.op)):
        if program.operands[program.operand_offsets[i]] != i - 1 or program.op[i] in (ir.ADD, ir.CONCAT):
            raise NotImplementedError("the network is not a chain")
        layers += _layers(torch, program, i)
    twin = torch.nn.Sequential(*layers).eval()
    points = np.random.default_rng(0).random((8, network.n_inputs))
    with torch.inference_mode():
        actual = twin(as_batch(network, points)).flatten(1).double().numpy()
    expected = network.forward(points)
    if not np.allclose(actual, expected, rtol=0, atol=1e-3 * np.abs(expected).max()):
        raise AssertionError("the torch twin does not compute the same values")
    return twin


def as_batch(network, points):
    """Convert points [B, D] to a float32 tensor in the shape of the first op."""
    import torch

    channels, height, width = network.program.shapes[0]
    values = np.empty(points.shape, np.float32)
    values[:, network.program.input_index] = points
    values = values.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(values))


def seconds_of_forward(twin, batch):
    """Return the median time of forward passes of all rows, in batches, on one thread, in seconds."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            parts = batch.split(BATCH)
            twin(parts[0])
            return median_seconds(lambda: [twin(part) for part in parts])
    finally:
        torch.set_num_threads(before)


def median_seconds(work):
    """Return the median time of several calls, in seconds."""
    return medians_in_turn(work)[0]


def medians_in_turn(*works):
    """Return the median time of each function, in seconds; they are called in turn, so that load on the machine affects all."""
    times = [[] for _ in works]
    for _ in range(REPEATS):
        for work, seconds in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def _layers(torch, program, i):
    """Return the torch layers of op i, whose operand is op i - 1."""
    nn, op = torch.nn, program.op[i]
    weights = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
    biases = program.biases[program.bias_offsets[i] : program.bias_offsets[i + 1]]
    (c_in, height, width), c_out = program.shapes[i - 1], int(program.shapes[i, 0])
    if op == ir.RELU:
        return [nn.ReLU()]
    if op == ir.AFFINE:  # entries come position by position; torch flattens channel by channel
        rows = weights.reshape(height * width, c_in, -1).transpose(1, 0, 2).reshape(c_in * height * width, -1)
        return [nn.Flatten(), _filled(torch, nn.Linear(len(rows), c_out), rows.T, biases)]
    if op == ir.CONV2D:
        a = [int(n) for n in program.attributes[i]]
        kernel, groups = (a[ir.KERNEL_H], a[ir.KERNEL_W]), a[ir.GROUPS]
        weight = weights.reshape(groups, *kernel, c_in // groups, c_out // groups).transpose(0, 4, 3, 1, 2)
        options = {"stride": (a[ir.STRIDE_H], a[ir.STRIDE_W]), "padding": (a[ir.PAD_TOP], a[ir.PAD_LEFT])}
        options |= {"dilation": (a[ir.DILATION_H], a[ir.DILATION_W]), "groups": groups}
        layer = nn.Conv2d(int(c_in), c_out, kernel, **options)
        return [_filled(torch, layer, weight.reshape(c_out, c_in // groups, *kernel), biases)]
    if op == ir.SCALE and len(weights) == c_out:
        layer = nn.BatchNorm2d(c_out, eps=0.0)  # in evaluation mode: the fastest way to scale channels
        return [_filled(torch, layer, weights, biases)]
    raise NotImplementedError(f"no torch layer for {ir.OP_NAMES[op]}")


def _filled(torch, layer, weight, bias):
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
    layer.bias.data = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
    return layer
