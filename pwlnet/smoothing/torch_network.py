"""A converted network as a torch module: the same program, op by op, with gradients.

Values are tensors [B, C, H, W]. Programs store a value position by position (``p * C + c``), torch channel by channel
(``c * P + p``): the *torch order* here. Each switching op is one call of a function of torch, such as ``torch.relu``, so that a
``TorchFunctionMode`` sees it.

Legend: B rows, D inputs, O outputs, C channels, P positions.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..bounds.op_matrices import pool_divisors
from ..errors import ShapeError, UnsupportedOperationError
from ..kernels.ir import program as ir


class TorchNetwork(nn.Module):
    """Evaluate a network with torch.

    Exact up to rounding: a forward pass in the type of the weights, float64 at first; ``.to`` and ``.float()`` convert them.
    The weights are buffers: they follow ``.to``, and optimizers do not see them.

    Parameters
    ----------
    network : Network

    Raises
    ------
    UnsupportedOperationError
        The network has an op that is not handled here.

    Examples
    --------
    >>> import numpy as np, pwlnet, torch
    >>> from pwlnet.smoothing.torch_network import TorchNetwork
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> module = TorchNetwork(network)
    >>> x = torch.tensor(images[:2], dtype=torch.float64, requires_grad=True)
    >>> outputs = module(x)
    >>> bool(np.allclose(outputs.detach(), network.forward(images[:2]), rtol=1e-12))
    True
    >>> gradient = torch.autograd.grad(outputs[:, 0].sum(), x)[0].reshape(2, -1)
    >>> bool(np.allclose(gradient, network.jacobian(images[:2])[:, 0]))
    True
    """

    def __init__(self, network):
        super().__init__()
        program = network.program
        self.input_shape, self.n_inputs = network.input_shape, network.n_inputs
        self._shape = tuple(program.shapes[0].tolist())
        self._operands = tuple(tuple(operands.tolist()) for operands in network.op_graph.operands)
        self._last_use = _last_uses(network)
        ops = []
        for i, code in enumerate(program.op.tolist()):
            if i > 0 and code not in _MODULES:
                raise UnsupportedOperationError(
                    f"op {i} of the network has code {code}, which TorchNetwork does not handle; add it to "
                    "smoothing/torch_network.py"
                )
            ops.append(_MODULES[code](_Op(program, i)) if i > 0 else nn.Identity())
        self.ops = nn.ModuleList(ops)
        entries = np.argsort(_torch_entries(program.input_index, program.shapes[0]))
        self.register_buffer("_inputs", _index(entries, network.n_inputs))
        outputs = _torch_entries(program.output_index, program.shapes[-1])
        self.register_buffer("_outputs", _index(outputs, int(np.prod(program.shapes[-1]))))
        self.register_buffer("_typed", torch.zeros(0, dtype=torch.float64), persistent=False)

    @property
    def dtype(self):
        """Type of the weights and of the outputs."""
        return self._typed.dtype

    def forward(self, x):
        """Evaluate points.

        Exact up to rounding.

        Parameters
        ----------
        x : Tensor [B, D] or [B, *input_shape]
            On the device of the module; converted to the type of its weights.

        Returns
        -------
        Tensor [B, O]

        Raises
        ------
        ShapeError
            The rows of ``x`` do not have the network's number of inputs.
        """
        if tuple(x.shape[1:]) not in {(self.n_inputs,), self.input_shape}:
            raise ShapeError(f"x has shape {tuple(x.shape)}, but the network takes {self.n_inputs} inputs; give (rows, inputs)")
        x = x.to(self._typed.dtype).reshape(len(x), self.n_inputs)
        x = x if self._inputs is None else x[:, self._inputs]
        values = {0: x.reshape(len(x), *self._shape)}
        for i in range(1, len(self.ops)):
            values[i] = self.ops[i](*(values[j] for j in self._operands[i]))
            for j in set(self._operands[i]):
                if self._last_use[j] == i:
                    del values[j]  # large networks: without gradients, its memory is free now
        y = values[len(self.ops) - 1].flatten(1)
        return y if self._outputs is None else y[:, self._outputs]


class _Op:
    """One op of a program: its arrays, in torch order where a method says so."""

    def __init__(self, program, i):
        self.program, self.i, self.attributes = program, i, program.attributes[i]
        self.operands = program.operands[program.operand_offsets[i] : program.operand_offsets[i + 1]]
        self.shape = tuple(program.shapes[i].tolist())
        self.weights = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
        self.biases = program.biases[program.bias_offsets[i] : program.bias_offsets[i + 1]]
        self.indices = program.indices[program.index_offsets[i] : program.index_offsets[i + 1]]
        self.coefficients = program.coefficients[i].tolist()
        self.input_shape = tuple(program.shapes[self.operands[0]].tolist()) if len(self.operands) else ()

    def pair(self, column):
        """Return the attributes for the two axes."""
        return int(self.attributes[column]), int(self.attributes[column + 1])

    def entries(self, values):
        """Return values given per channel or per entry as a tensor [C, 1, 1] or [C, H, W]."""
        channels, height, width = self.shape
        if len(values) == channels:
            return _tensor(values.reshape(channels, 1, 1))
        return _tensor(values.reshape(height, width, channels).transpose(2, 0, 1))

    def padding(self, most=None):
        """Return the padding of both sides of the rows and columns, at most ``most``, and what to pad besides, by ``F.pad``.

        The second is None if the first is enough; otherwise it is all the padding (left, right, top, bottom).
        """
        sizes = zip(self.input_shape[1:], self.shape[1:], *map(self.pair, _AXES), strict=True)
        both, after, fits = [], [], True
        for k, (size, out, kernel, stride, before, dilation) in enumerate(sizes):
            extent = max(1, dilation) * (kernel - 1) + 1
            fits = fits and (size + 2 * before - extent) // stride + 1 == out and (most is None or before <= most[k])
            both.append(before)
            after.append((out - 1) * stride + extent - size - before)
        if fits:
            return tuple(both), None
        return (0, 0), (both[1], after[1], both[0], after[0])


_AXES = (ir.KERNEL_H, ir.STRIDE_H, ir.PAD_TOP, ir.DILATION_H)  # those of the width follow each


class _Affine(nn.Module):
    """A fully connected layer."""

    def __init__(self, op):
        super().__init__()
        (c_in, h_in, w_in), (c, h, w) = op.input_shape, op.shape
        weight = op.weights.reshape(h_in * w_in, c_in, h * w, c).transpose(3, 2, 1, 0)
        self.register_buffer("weight", _tensor(weight.reshape(c * h * w, -1)))
        self.register_buffer("bias", _tensor(op.biases.reshape(h * w, c).T.ravel()))
        self.shape = op.shape

    def forward(self, x):
        return F.linear(x.flatten(1), self.weight, self.bias).reshape(len(x), *self.shape)


class _Conv(nn.Module):
    """A convolution."""

    def __init__(self, op):
        super().__init__()
        (kh, kw), groups = op.pair(ir.KERNEL_H), int(op.attributes[ir.GROUPS])
        weight = op.weights.reshape(groups, kh, kw, op.input_shape[0] // groups, op.shape[0] // groups)
        self.register_buffer("weight", _tensor(weight.transpose(0, 4, 3, 1, 2).reshape(op.shape[0], -1, kh, kw)))
        self.register_buffer("bias", _tensor(op.biases))
        padding, self.before = op.padding()
        stride, dilation = op.pair(ir.STRIDE_H), op.pair(ir.DILATION_H)
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def forward(self, x):
        x = x if self.before is None else F.pad(x, self.before)
        return F.conv2d(x, self.weight, self.bias, **self.options)


class _Average(nn.Module):
    """An average pool."""

    def __init__(self, op):
        super().__init__()
        kernel, divisors = op.pair(ir.KERNEL_H), pool_divisors(op.program, op.i)
        is_uniform = bool((divisors == divisors[0]).all())
        padding, self.before = op.padding([n // 2 for n in kernel])
        self.options = {"kernel_size": kernel, "stride": op.pair(ir.STRIDE_H), "padding": padding}
        self.options["divisor_override"] = int(divisors[0]) if is_uniform else 1
        divisors = None if is_uniform else _tensor(divisors.reshape(op.shape[1:]).astype(np.float64))
        self.register_buffer("divisors", divisors)

    def forward(self, x):
        x = x if self.before is None else F.pad(x, self.before)
        y = F.avg_pool2d(x, **self.options)
        return y if self.divisors is None else y / self.divisors


class _Scale(nn.Module):
    """A scaling of channels or entries, with a shift."""

    def __init__(self, op):
        super().__init__()
        self.register_buffer("factors", op.entries(op.weights))
        self.register_buffer("shifts", op.entries(op.biases))

    def forward(self, x):
        return x * self.factors + self.shifts


class _Add(nn.Module):
    """A sum of two values with coefficients."""

    def __init__(self, op):
        super().__init__()
        self.first, self.second = op.coefficients[:2]

    def forward(self, x, y):
        return self.first * x + self.second * y


class _Concat(nn.Module):
    """The channels of all operands."""

    def __init__(self, op):
        super().__init__()

    def forward(self, *values):
        return torch.cat(values, dim=1)


class _Gather(nn.Module):
    """Copies of entries, and constants."""

    def __init__(self, op):
        super().__init__()
        channels, height, width = op.shape
        stored = op.indices.reshape(height * width, channels).T.ravel()
        entries = np.where(stored >= 0, _torch_entries(stored, op.input_shape), -1)
        is_constant = entries < 0
        fill = np.zeros(entries.size)
        if is_constant.any() and op.biases.size:
            fill = np.where(is_constant, op.biases.reshape(height * width, channels).T.ravel(), 0.0)
        self.register_buffer("index", torch.tensor(np.maximum(entries, 0)))
        self.register_buffer("is_constant", torch.tensor(is_constant) if is_constant.any() else None)
        self.register_buffer("fill", _tensor(fill) if is_constant.any() else None)
        self.shape = op.shape

    def forward(self, x):
        y = x.flatten(1)[:, self.index]
        y = y if self.fill is None else torch.where(self.is_constant, self.fill, y)
        return y.reshape(len(x), *self.shape)


class _Relu(nn.Module):
    """A ReLU."""

    def __init__(self, op):
        super().__init__()

    def forward(self, x):
        return torch.relu(x)


class _LeakyRelu(nn.Module):
    """A leaky ReLU with one slope, or with slopes of channels or entries."""

    def __init__(self, op):
        super().__init__()
        slopes, self.slope = op.entries(op.weights), None
        if bool((op.weights == op.weights[0]).all()):
            self.slope, slopes = float(op.weights[0]), None
        self.register_buffer("slopes", slopes)

    def forward(self, x):
        if self.slope is not None:
            return F.leaky_relu(x, self.slope)
        if self.slopes.shape[1:] == (1, 1):
            return F.prelu(x, self.slopes.flatten())
        return F.prelu(x.flatten(1), self.slopes.flatten()).reshape(x.shape)


class _Clip(nn.Module):
    """A clip to an interval."""

    def __init__(self, op):
        super().__init__()
        self.lower, self.upper = op.coefficients[:2]

    def forward(self, x):
        return F.hardtanh(x, self.lower, self.upper)


class _MaxPool(nn.Module):
    """A max pool."""

    def __init__(self, op):
        super().__init__()
        kernel = op.pair(ir.KERNEL_H)
        padding, self.before = op.padding([n // 2 for n in kernel])
        dilation = op.pair(ir.DILATION_H)
        self.options = {"kernel_size": kernel, "stride": op.pair(ir.STRIDE_H), "padding": padding, "dilation": dilation}

    def forward(self, x):
        x = x if self.before is None else F.pad(x, self.before, value=-np.inf)
        return F.max_pool2d(x, **self.options)


_MODULES = {
    ir.AFFINE: _Affine,
    ir.CONV2D: _Conv,
    ir.AVG_POOL: _Average,
    ir.SCALE: _Scale,
    ir.ADD: _Add,
    ir.CONCAT: _Concat,
    ir.GATHER: _Gather,
    ir.RELU: _Relu,
    ir.LEAKY_RELU: _LeakyRelu,
    ir.CLIP: _Clip,
    ir.MAX_POOL: _MaxPool,
}


def _last_uses(network):
    """Return the last op that reads each op; -1 for the output."""
    return tuple(int(readers[-1]) if len(readers) else -1 for readers in network.op_graph.readers)


def _torch_entries(stored, shape):
    """Return the entries in torch order of entries ``p * C + c`` of a value of a shape."""
    channels, height, width = (int(n) for n in shape)
    return stored % channels * (height * width) + stored // channels


def _index(entries, n):
    """Return entries as a tensor; None if they are 0, 1, ..., n - 1."""
    return None if np.array_equal(entries, np.arange(n)) else torch.tensor(entries)


def _tensor(array):
    return torch.tensor(np.ascontiguousarray(array, np.float64))
