"""The flat IR: a network as a NamedTuple of arrays, its op codes, and the compact form that kernels read.

A value of a network is a tensor of ``P = height * width`` *positions* times ``C`` *channels*, stored position-major:
entry ``p * C + c``. Vectors have one position. Ops stand in topological order; op 0 is always the input.
Ragged arrays are CSR: ``x[x_offsets[i] : x_offsets[i + 1]]`` belongs to op ``i``.

Legend: N ops, K neurons, J neurons of one op.
"""

import enum
from typing import NamedTuple

import numpy as np

# Op codes. Affine family.
INPUT = 0
AFFINE = 1  # y = W^T x + b over the whole flattened tensor; weights [n_in, n_out], biases [n_out]
CONV2D = 2  # weights [groups, taps, C_in / groups, C_out / groups], biases [C_out]
AVG_POOL = 3  # no weights; divisor rule in attributes
SCALE = 4  # y = w * x + b, element by element; weights and biases [C] or [P * C]
ADD = 5  # y = coefficients[0] * x1 + coefficients[1] * x2
CONCAT = 6  # channels of all operands in order; same height and width
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


# Columns of ``PackedProgram.op_table``; the first N_ATTRIBUTES are those of ``Program.attributes``. Offsets have one more row.
OP = 13
CHANNELS = 14
HEIGHT = 15
WIDTH = 16
VALUE = 17  # offset of the op's value; last row: number of values
NEURON = 18  # first neuron; last row: number of neurons
OPERANDS = 19  # offset into indices
N_OPERANDS = 20
INDEX = 21  # offset into indices
WEIGHT = 22  # offset into parameters
N_WEIGHTS = 23
BIAS = 24  # offset into parameters
N_BIASES = 25
COEFFICIENTS = 26  # offset into parameters
ROLE = 27  # a LineRole
PRODUCER = 28  # op whose receptive field feeds a position: itself, or the affine op fused into it
LAST_USE = 29  # last op that reads its slope changes
POINTER = 30  # offset of the op's height * width + 1 pointers to rows of slope changes
TAPS = 31  # offset into indices: input position of each tap of each output position (sliding windows), -1 in the padding
N_COLUMNS = 32
# Columns of the last row of ``PackedProgram.op_table``, which belongs to no op.
INPUTS = 0  # offset into indices
N_INPUTS = 1
OUTPUTS = 2  # offset into indices
N_OUTPUTS = 3


class LineRole(enum.IntEnum):
    """How the line kernels treat an op."""

    SKIPPED = 0  # no switching op comes after it: its slope changes are not needed
    STORED = 1  # an affine op whose slope changes are stored
    FUSED = 2  # an affine op whose slope changes are computed where the only switching op that reads it needs them
    ELEMENTWISE = 3  # an elementwise switching op
    POOL = 4  # MaxPool


SKIPPED, STORED, FUSED, ELEMENTWISE, POOL = map(int, LineRole)  # for kernels, where plain integers compile faster


class PackedProgram(NamedTuple):
    """A program as kernels read it, in few arrays, since each array of an argument costs compile time in every kernel.

    The dtype of ``row_weights`` is that of the line kernels' slope changes.
    """

    is_kept = True  # from call to call: _slots.py

    op_table: np.ndarray  # int64[N + 1, N_COLUMNS]
    indices: np.ndarray  # int64[*] operands, indices, input_index, output_index, tap positions
    parameters: np.ndarray  # float64[*] weights, biases, coefficients
    row_weights: np.ndarray  # float64[*] or float32[*] the weights again, for products with slope changes


def pack_program(program):
    """Pack a program for the kernels, with the plan of the line kernels.

    Parameters
    ----------
    program : Program

    Returns
    -------
    PackedProgram
    """
    n = len(program.op)
    op_table = np.zeros((n + 1, N_COLUMNS), np.int64)
    op_table[:n, :N_ATTRIBUTES] = program.attributes
    op_table[:n, OP] = program.op
    op_table[:n, CHANNELS], op_table[:n, HEIGHT], op_table[:n, WIDTH] = program.shapes.T
    op_table[:, VALUE], op_table[:, NEURON] = program.value_offsets, program.neuron_offsets
    parts = [program.operands, program.indices, program.input_index, program.output_index]
    starts = np.cumsum([0] + [len(x) for x in parts])
    op_table[:n, OPERANDS], op_table[:n, N_OPERANDS] = program.operand_offsets[:n], np.diff(program.operand_offsets)
    op_table[:n, INDEX] = starts[1] + program.index_offsets[:n]
    op_table[n, : N_OUTPUTS + 1] = starts[2], len(program.input_index), starts[3], len(program.output_index)
    op_table[:n, WEIGHT], op_table[:n, N_WEIGHTS] = program.weight_offsets[:n], np.diff(program.weight_offsets)
    op_table[:n, BIAS] = len(program.weights) + program.bias_offsets[:n]
    op_table[:n, N_BIASES] = np.diff(program.bias_offsets)
    op_table[:n, COEFFICIENTS] = len(program.weights) + len(program.biases) + 4 * np.arange(n)
    op_table[:, POINTER] = np.concatenate([[0], np.cumsum(program.shapes[:, 1] * program.shapes[:, 2] + 1)])
    _plan(program, op_table)
    for i in np.flatnonzero(program.attributes[:, KERNEL_H] > 0):
        op_table[i, TAPS] = sum(len(x) for x in parts)
        parts.append(_tap_positions(program, i))
    parameters = np.concatenate([program.weights, program.biases, program.coefficients.ravel()])
    code = PackedProgram(op_table, np.concatenate(parts).astype(np.int64), parameters, parameters)
    for array in code:
        array.setflags(write=False)
    return code


def with_float32_weights(code):
    """Make the line kernels store slope changes in float32.

    Parameters
    ----------
    code : PackedProgram

    Returns
    -------
    PackedProgram
    """
    with np.errstate(over="ignore"):
        row_weights = code.parameters[: code.op_table[0, BIAS]].astype(np.float32)
    row_weights.setflags(write=False)
    return code._replace(row_weights=row_weights)


def _tap_positions(program, i):
    """Return the input position that each tap of each output position reads, -1 in the padding: int64[P * taps]."""
    a, (_, height, width) = program.attributes[i], program.shapes[program.operands[program.operand_offsets[i]]]

    def places(out, kernel, stride, pad, dilation, n):
        index = np.arange(out)[:, None] * stride - pad + np.arange(kernel) * dilation
        return index, (index >= 0) & (index < n)

    _, out_h, out_w = program.shapes[i]
    y, y_inside = places(out_h, a[KERNEL_H], a[STRIDE_H], a[PAD_TOP], a[DILATION_H], height)
    x, x_inside = places(out_w, a[KERNEL_W], a[STRIDE_W], a[PAD_LEFT], a[DILATION_W], width)
    position = y[:, None, :, None] * width + x[None, :, None, :]
    inside = y_inside[:, None, :, None] & x_inside[None, :, None, :]
    return np.where(inside, position, -1).astype(np.int64).ravel()


def _plan(program, op_table):
    """Decide each op's role in the line kernels."""
    n = len(program.op)
    reads = [program.operands[program.operand_offsets[i] : program.operand_offsets[i + 1]] for i in range(n)]
    readers = [[] for _ in range(n)]
    for j, operands in enumerate(reads):
        for i in set(operands.tolist()):
            readers[i].append(j)
    switching = program.op >= FIRST_SWITCHING
    needed = np.zeros(n, bool)
    for i in range(n - 1, -1, -1):
        needed[i] = switching[i] or any(needed[j] for j in readers[i])
    op_table[:n, PRODUCER] = op_table[:n, LAST_USE] = np.arange(n)
    for i in range(n):
        used = [j for j in readers[i] if needed[j]]
        if switching[i]:
            op_table[i, ROLE] = POOL if program.op[i] == MAX_POOL else ELEMENTWISE
        elif needed[i] and i > 0:
            alone = len(used) == 1 and switching[used[0]] and program.op[used[0]] != MAX_POOL
            op_table[i, ROLE] = FUSED if alone else STORED
        if used:
            op_table[i, LAST_USE] = max(used)
    for i in range(n):
        if op_table[i, ROLE] == ELEMENTWISE and op_table[reads[i][0], ROLE] == FUSED:
            op_table[i, PRODUCER] = reads[i][0]
            for j in reads[reads[i][0]]:
                op_table[j, LAST_USE] = max(op_table[j, LAST_USE], i)
