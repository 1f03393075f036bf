"""Upper bounds of Lipschitz constants on sets where some neurons are known to be fixed, from norms of masked matrices.

Each value y of the network is bounded as |dy_j| <= s_j |du_j| with ||du||_p <= L ||dx||_p: L is a number, s a vector, 0 for
entries that are constant on the set. A matrix multiplies L by the norm of E W diag(s), where E drops the rows that only
constant neurons read.

Legend: N ops, K neurons, P positions, C channels.
"""

from typing import NamedTuple

import numpy as np

from ..errors import UnsupportedOperationError
from ..kernels.ir import program as ir
from .operator_norms import gamma, round_up, spectral_bound

_DENSE = 2**20  # entries of a matrix up to which its singular values are computed


class Spread(NamedTuple):
    """Bound of the change of a value: |dy_j| <= weights[j] |du_j|, ||du||_p <= size ||dx||_p."""

    size: float
    weights: np.ndarray  # float64[n], stored order


def product_bound(network, states, p):
    """Bound the Lipschitz constant from l_p to l_p on a set.

    Sound bound.

    Parameters
    ----------
    network : Network
    states : int32[K]
        The state of each neuron that is fixed on the set; -1 for the others.
    p : {1, 2, inf}

    Returns
    -------
    float
    """
    slopes = [_slopes(network, i, states) if network.op_graph.is_switching[i] else None for i in range(len(network.program.op))]
    needed = _needed(network, slopes)
    weights = np.zeros(len(needed[0]))
    weights[network.program.input_index] = 1.0
    spreads = [Spread(1.0, weights)]
    for i in range(1, len(needed)):
        operands = [spreads[j] for j in network.op_graph.operands[i]]
        if slopes[i] is None or network.program.op[i] == ir.MAX_POOL:
            spreads.append(_push(network, i, operands, slopes[i], needed[i], p))
        else:
            spreads.append(Spread(operands[0].size, _times(operands[0].weights, slopes[i])))
    out, index = spreads[-1], network.program.output_index
    return float(round_up(_root(_multiplicity(index), p) * round_up(out.size * out.weights[index].max(initial=0.0))))


def _slopes(network, i, states):
    """Return the largest absolute slope of each neuron of switching op i (stored order), 0 for constant ones.

    For MaxPool, the fixed winner of each window, or -1: float64[n].
    """
    p, code = network.program, network.program.op[i]
    channels, height, width = p.shapes[i].tolist()
    s = states[p.neuron_offsets[i] : p.neuron_offsets[i + 1]].reshape(channels, height * width).T.ravel()
    if code == ir.MAX_POOL:
        return s.astype(np.float64)
    if code == ir.RELU:
        return np.where(s == 0, 0.0, 1.0)
    if code == ir.CLIP:
        return np.where((s == 0) | (s == 2), 0.0, 1.0)
    if code != ir.LEAKY_RELU:
        raise UnsupportedOperationError(f"op {i} has the code {code}, whose slopes are not known; see CONTRIBUTING.md")
    below = np.resize(np.abs(p.weights[p.weight_offsets[i] : p.weight_offsets[i + 1]]), s.size)
    return np.where(s == 1, 1.0, np.where(s == 0, below, np.maximum(below, 1.0)))


def _needed(network, slopes):
    """Return the entries of each op that something depends on: list of bool[n]. Only constant neurons read the others."""
    p, sizes = network.program, np.diff(network.program.value_offsets)
    needed = [np.zeros(n, bool) for n in sizes]
    needed[-1][p.output_index] = True
    for i in range(len(sizes) - 1, 0, -1):
        operands, here = network.op_graph.operands[i].tolist(), needed[i]
        if p.op[i] in (ir.RELU, ir.LEAKY_RELU, ir.CLIP):
            needed[operands[0]] |= here & (slopes[i] > 0.0)
        elif p.op[i] in (ir.ADD, ir.SCALE):
            for j in operands:
                needed[j] |= here
        elif p.op[i] == ir.CONCAT:
            image, first = here.reshape(-1, p.shapes[i, 0]), 0
            for j in operands:
                needed[j] |= image[:, first : first + p.shapes[j, 0]].ravel()
                first += p.shapes[j, 0]
        elif p.op[i] == ir.GATHER:
            index = p.indices[p.index_offsets[i] : p.index_offsets[i + 1]]
            needed[operands[0]][index[here & (index >= 0)]] = True
        elif p.op[i] in (ir.AFFINE, ir.CONV2D, ir.AVG_POOL, ir.MAX_POOL):
            needed[operands[0]][:] = True
        else:
            raise UnsupportedOperationError(f"op {i} has the code {p.op[i]}, which is not handled here; see CONTRIBUTING.md")
    return needed


def _push(network, i, operands, winners, needed, p):
    """Bound the change of op i by those of its operands: Spread. All ops but the elementwise switching ones."""
    program, code, x = network.program, network.program.op[i], operands[0]
    if code == ir.AFFINE:
        w = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]].reshape(len(x.weights), -1)
        return Spread(round_up(_matrix_norm((w * x.weights[:, None]).T[needed], p) * x.size), needed.astype(np.float64))
    if code in (ir.CONV2D, ir.AVG_POOL):
        return Spread(round_up(_window_norm(network, i, x.weights, needed, p) * x.size), needed.astype(np.float64))
    if code == ir.MAX_POOL:
        sources = _sources(network, i)
        only = winners.reshape(-1, program.shapes[i, 0], 1)
        used = np.where((only < 0) | (np.arange(sources.shape[2]) == only), sources, -1)
        reached = used[used >= 0]
        reached = reached[x.weights[reached] > 0.0]
        largest = x.weights[reached].max(initial=0.0)
        return Spread(round_up(_root(_multiplicity(reached), p) * round_up(largest * x.size)), needed.astype(np.float64))
    if code == ir.SCALE:
        factors = np.resize(np.abs(program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]), len(x.weights))
        return Spread(x.size, _times(factors, x.weights))
    if code == ir.ADD:
        sizes = [
            round_up(abs(c) * round_up(y.size * y.weights.max(initial=0.0)))
            for c, y in zip(program.coefficients[i, :2], operands, strict=True)
        ]
        return Spread(round_up(sum(sizes)), ((x.weights > 0.0) | (operands[1].weights > 0.0)).astype(np.float64))
    if code == ir.CONCAT:
        positions = int(program.shapes[i, 1] * program.shapes[i, 2])
        weights = np.concatenate([y.weights.reshape(positions, -1) for y in operands], axis=1).ravel()
        return Spread(float(np.linalg.norm([y.size for y in operands], p)) * (1.0 + gamma(8 * len(operands))), weights)
    if code == ir.GATHER:
        index = program.indices[program.index_offsets[i] : program.index_offsets[i + 1]]
        copied = np.where(index >= 0, np.append(x.weights, 0.0)[index], 0.0)
        return Spread(round_up(_root(_multiplicity(index[index >= 0]), p) * x.size), copied)
    raise UnsupportedOperationError(f"op {i} has the code {code}, which is not handled here; see CONTRIBUTING.md")


def _times(a, b):
    """Bound the products of non-negative numbers from above."""
    product = a * b
    return np.where((a == 0.0) | (b == 0.0), 0.0, np.where((a == 1.0) | (b == 1.0), product, round_up(product)))


def _multiplicity(index):
    """Return how often the most frequent entry occurs."""
    return int(np.unique(index, return_counts=True)[1].max(initial=0))


def _root(count, p):
    """Bound count ** (1 / p) from above."""
    return 1.0 if p == np.inf or count <= 1 else float(count) if p == 1.0 else float(round_up(np.sqrt(count)))


def _matrix_norm(w, p):
    """Bound the norm from l_p to l_p of a matrix from above; its entries may have one rounding each."""
    sums = (np.abs(w).sum(axis=k).max(initial=0.0) * (1.0 + gamma(w.shape[k] + 4)) for k in (0, 1))
    by_columns, by_rows = sums
    if p != 2.0:
        return float(by_columns if p == 1.0 else by_rows)
    bound = round_up(np.sqrt(round_up(by_columns * by_rows)))
    w = w[w.any(axis=1)][:, w.any(axis=0)]
    if w.size <= _DENSE:
        bound = min(bound, spectral_bound(w) + gamma(1) * float(np.linalg.norm(w)))
    return float(bound)


def _sources(network, i):
    """Return the entries of the operand that the taps of a pool read, -1 in the padding: int64[P, C, taps]."""
    table, channels = network.code.op_table, int(network.program.shapes[i, 0])
    n_positions, taps = (
        int(n) for n in (table[i, ir.HEIGHT] * table[i, ir.WIDTH], table[i, ir.KERNEL_H] * table[i, ir.KERNEL_W])
    )
    q = network.code.indices[table[i, ir.TAPS] : table[i, ir.TAPS] + n_positions * taps].reshape(n_positions, 1, taps)
    return np.where(q >= 0, q * channels + np.arange(channels)[:, None], -1)


def _window_norm(network, i, weights, needed, p):
    """Bound the norm of E W diag(weights) of a convolution or an average from above."""
    program, (channels, height, width) = network.program, network.program.shapes[i].tolist()
    taps, positions = network.code.op_table[i, ir.KERNEL_H] * network.code.op_table[i, ir.KERNEL_W], height * width
    first = network.code.op_table[i, ir.TAPS]
    q = network.code.indices[first : first + positions * taps].reshape(positions, taps)
    if program.op[i] == ir.CONV2D:
        groups = int(program.attributes[i, ir.GROUPS])
        w = np.abs(program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]])
        w, scale = w.reshape(groups, taps, -1, channels // groups), np.ones(positions)
    else:
        groups, w, scale = channels, np.ones((channels, taps, 1, 1)), 1.0 / _divisors(network, i, q)
    x = np.concatenate([weights.reshape(-1, groups, w.shape[2]), np.zeros((1, groups, w.shape[2]))])
    e = (needed.reshape(positions, -1) * scale[:, None]).reshape(positions, groups, -1)
    rows, columns = np.zeros(e.shape), np.zeros(x.shape)
    for tap in range(taps):
        rows += np.einsum("pgc,gcd->pgd", x[q[:, tap]], w[:, tap])
        np.add.at(columns, q[:, tap], np.einsum("pgd,gcd->pgc", e, w[:, tap]))
    n = taps * max(w.shape[2:]) + 8
    by_rows, by_columns = ((v.max(initial=0.0)) * (1.0 + gamma(n)) for v in (rows * e, columns[:-1] * x[:-1]))
    if p != 2.0:
        return float(by_columns if p == 1.0 else by_rows)
    bound = round_up(np.sqrt(round_up(by_columns * by_rows)))
    if weights.size * needed.size <= _DENSE and program.op[i] == ir.CONV2D:
        bound = min(bound, _matrix_norm(_dense(network, i, q)[needed] * weights, 2.0))
    return float(bound)


def _divisors(network, i, q):
    """Bound the divisors of the windows of an average from below: float64[P]."""
    a = network.program.attributes[i]
    inside = (q >= 0).sum(axis=1)
    if a[ir.DIVISOR] > 0:
        return np.full(len(q), float(a[ir.DIVISOR]))
    return np.maximum(inside, 1).astype(np.float64)  # padding that counts makes it larger


def _dense(network, i, q):
    """Return the matrix of a convolution: float64[n, n_in]."""
    program, channels = network.program, int(network.program.shapes[i, 0])
    j = int(network.op_graph.operands[i][0])
    groups, c_all = int(program.attributes[i, ir.GROUPS]), int(program.shapes[j, 0])
    w = program.weights[program.weight_offsets[i] : program.weight_offsets[i + 1]]
    w = w.reshape(groups, q.shape[1], c_all // groups, channels // groups)
    n_in = int(np.prod(program.shapes[j]))
    matrix = np.zeros((len(q), groups, channels // groups, n_in // c_all + 1, groups, c_all // groups))
    for p, taps in enumerate(q):
        for tap, position in enumerate(taps):
            for g in range(groups):
                matrix[p, g, :, position, g] = w[g, tap].T
    return matrix[:, :, :, :-1].reshape(len(q) * channels, n_in)
