"""The affine ops of a program as exact sparse matrices.

Legend: N ops, P positions.
"""

import numpy as np
import scipy.sparse as sp

from ..kernels.ir import program as ir


def tap_table(code, i):
    """Return the input position of each tap: int64[positions, taps]."""
    row = code.op_table[i]
    taps = row[ir.KERNEL_H] * row[ir.KERNEL_W]
    positions = row[ir.HEIGHT] * row[ir.WIDTH]
    return code.indices[row[ir.TAPS] : row[ir.TAPS] + positions * taps].reshape(positions, taps)


def _conv_matrix(program, code, i, shape):
    """Return the matrix of a convolution."""
    table, groups = tap_table(code, i), int(program.attributes[i, ir.GROUPS])
    c_all, c_out = int(program.shapes[program.operands[program.operand_offsets[i]], 0]), int(program.shapes[i, 0])
    weights = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
    weights = weights.reshape(groups, table.shape[1], c_all // groups, c_out // groups)
    p, tap = np.nonzero(table >= 0)
    rows, columns, values = [], [], []
    for g in range(groups):
        inputs = table[p, tap][:, None, None] * c_all + g * (c_all // groups) + np.arange(c_all // groups)[:, None]
        outputs = p[:, None, None] * c_out + g * (c_out // groups) + np.arange(c_out // groups)
        inputs, outputs = np.broadcast_arrays(inputs, outputs)
        rows.append(outputs.ravel())
        columns.append(inputs.ravel())
        values.append(weights[g][tap].ravel())
    return sparse(np.concatenate(values), np.concatenate(rows), np.concatenate(columns), shape)


def sparse(values, rows, columns, shape):
    """Return a matrix from its entries: csr_matrix."""
    return sp.csr_matrix((values, (rows, columns)), shape=shape)


def pool_divisors(program, i):
    """Return the divisor of average pooling at each position: int64[positions]."""
    a, (_, out_h, out_w) = program.attributes[i], program.shapes[i]
    _, height, width = program.shapes[program.operands[program.operand_offsets[i]]]
    if a[ir.DIVISOR] > 0:
        return np.full(out_h * out_w, a[ir.DIVISOR])
    y0, x0 = np.arange(out_h) * a[ir.STRIDE_H] - a[ir.PAD_TOP], np.arange(out_w) * a[ir.STRIDE_W] - a[ir.PAD_LEFT]
    y1, x1 = y0 + a[ir.KERNEL_H], x0 + a[ir.KERNEL_W]
    if a[ir.COUNT_PAD] == 1:
        rows, columns = np.minimum(y1, height + a[ir.PAD_BOTTOM]) - y0, np.minimum(x1, width + a[ir.PAD_RIGHT]) - x0
    else:
        rows, columns = np.minimum(y1, height) - np.maximum(y0, 0), np.minimum(x1, width) - np.maximum(x0, 0)
    return (rows[:, None] * columns).ravel()


def op_matrices(program, code, i):
    """Return an affine op as exact arrays.

    Returns
    -------
    matrices : list of csr_matrix
        One for each operand.
    constant : float64[n]
    divisors : int64[n]
        The op's value is ``(sum of the products) / divisors + constant``; 1 except for average pooling.
    """
    operands = program.operands[program.operand_offsets[i] : program.operand_offsets[i + 1]]
    sizes = np.prod(program.shapes, axis=1)
    n, kind, m = int(sizes[i]), program.op[i], [int(sizes[j]) for j in operands]
    channels = int(program.shapes[i, 0])
    weights = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
    biases = program.biases[program.bias_offsets[i] : program.bias_offsets[i + 1]]
    entries, divisors = np.arange(n), np.ones(n, np.int64)
    constant = np.tile(biases, n // len(biases)) if len(biases) else np.zeros(n)
    if kind == ir.AFFINE:
        matrices = [sp.csr_matrix(weights.reshape(m[0], n).T)]
    elif kind == ir.CONV2D:
        matrices = [_conv_matrix(program, code, i, (n, m[0]))]
    elif kind == ir.AVG_POOL:
        p, tap = np.nonzero(tap_table(code, i) >= 0)
        c, places = np.arange(channels), tap_table(code, i)[p, tap]
        rows, columns = (p[:, None] * channels + c).ravel(), (places[:, None] * channels + c).ravel()
        matrices, divisors = (
            [sparse(np.ones(len(rows)), rows, columns, (n, m[0]))],
            np.repeat(pool_divisors(program, i), channels),
        )
    elif kind == ir.SCALE:
        matrices = [sparse(np.tile(weights, n // len(weights)), entries, entries, (n, n))]
    elif kind == ir.ADD:
        matrices = [sparse(np.full(n, f), entries, entries, (n, n)) for f in program.coefficients[i, :2]]
    elif kind == ir.CONCAT:
        matrices, first = [], 0
        for j, size in zip(operands, m, strict=True):
            p, c = np.divmod(np.arange(size), int(program.shapes[j, 0]))
            matrices.append(sparse(np.ones(size), p * channels + first + c, np.arange(size), (n, size)))
            first += int(program.shapes[j, 0])
    elif kind == ir.GATHER:
        index = program.indices[program.index_offsets[i] : program.index_offsets[i + 1]]
        copied = np.flatnonzero(index >= 0)
        matrices = [sparse(np.ones(len(copied)), copied, index[copied], (n, m[0]))]
        constant = np.where(index < 0, biases, 0.0) if len(biases) else np.zeros(n)
    else:
        matrices = [sparse([np.nan], [0], [0], (n, size)) for size in m]
    return matrices, constant, divisors
