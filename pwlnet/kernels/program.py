"""The flat IR: a network as a NamedTuple of arrays, and its op codes.

A value of a network is a tensor of ``P = height * width`` *positions* times ``C`` *channels*, stored position-major:
entry ``p * C + c``. Vectors have one position. Ops stand in topological order; op 0 is always the input.
Ragged arrays are CSR: ``x[x_offsets[i] : x_offsets[i + 1]]`` belongs to op ``i``.

Legend: N ops, K neurons, J neurons of one op.
"""

from typing import NamedTuple

import numpy as np

# Op codes. Affine family.
INPUT = 0
AFFINE = 1  # y = W^T x + b over the whole flattened tensor; weights [n_in, n_out], biases [n_out]
CONV2D = 2  # weights [groups, taps, C_in / groups, C_out / groups], biases [C_out]
AVG_POOL = 3  # no weights; divisor rule in attributes
SCALE = 4  # y = w * x + b, element by element; weights and biases [C] or [P * C]
ADD = 5  # y = coefficients[0] * x1 + coefficients[1] * x2
CONCAT = 6  # channels of all operands, one after the other; same height and width
GATHER = 7  # y[k] = x[indices[k]], or biases[k] where indices[k] = -1
# Switching family.
RELU = 8  # states 0: z < 0, 1: z > 0
LEAKY_RELU = 9  # y = z for z > 0, weights[c] * z for z < 0; weights [C]. Also PReLU and absolute value
CLIP = 10  # min(max(z, coefficients[0]), coefficients[1]); states 0 lower, 1 linear, 2 upper. HardTanh, ReLU6
MAX_POOL = 11  # state: index of the winning tap in the window, row by row

OP_NAMES = (
    "Input",
    "Affine",
    "Conv2d",
    "AvgPool",
    "Scale",
    "Add",
    "Concat",
    "Gather",
    "Relu",
    "LeakyRelu",
    "Clip",
    "MaxPool",
)
FIRST_SWITCHING = RELU

# Columns of ``attributes``.
KERNEL_H = 0
KERNEL_W = 1
STRIDE_H = 2
STRIDE_W = 3
PAD_TOP = 4
PAD_LEFT = 5
DILATION_H = 6
DILATION_W = 7
GROUPS = 8
COUNT_PAD = 9  # AVG_POOL: 1 where padded entries count in the divisor
DIVISOR = 10  # AVG_POOL: fixed divisor, 0 for the rule above
PAD_BOTTOM = 11  # AVG_POOL: padding below and right bounds what COUNT_PAD counts
PAD_RIGHT = 12
N_ATTRIBUTES = 13


class Program(NamedTuple):
    """A network as flat arrays; all C-contiguous and read-only."""

    op: np.ndarray  # int64[N] op codes
    operands: np.ndarray  # int64[*] indices of ops
    operand_offsets: np.ndarray  # int64[N+1]
    shapes: np.ndarray  # int64[N, 3] channels, height, width
    value_offsets: np.ndarray  # int64[N+1] where each op's output lies in a buffer of all values
    neuron_offsets: np.ndarray  # int64[N+1] numbering of neurons; empty range for affine ops
    attributes: np.ndarray  # int64[N, N_ATTRIBUTES]
    coefficients: np.ndarray  # float64[N, 4]
    weights: np.ndarray  # float64[*]
    weight_offsets: np.ndarray  # int64[N+1]
    biases: np.ndarray  # float64[*]
    bias_offsets: np.ndarray  # int64[N+1]
    indices: np.ndarray  # int64[*] of GATHER
    index_offsets: np.ndarray  # int64[N+1]
    input_index: np.ndarray  # int64[D] entry of op 0's value that input d fills
    output_index: np.ndarray  # int64[O] entry of the last op's value that output o reads
