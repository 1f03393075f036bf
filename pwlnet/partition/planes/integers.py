"""Integers for exact answers: the weights of a network over one denominator, points and lines in homogeneous coordinates."""

from __future__ import annotations

import functools
import math
import weakref
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UnsupportedOperationError
from ...kernels.ir import program as ir
from ...kernels.ir.affine import pool_divisor

if TYPE_CHECKING:
    from ...network import Network


def as_integers(values):
    """Return integers n (object array) and a power of two d with ``values = n / d`` exactly."""
    flat = np.asarray(values, np.float64).ravel()
    pairs = [float(x).as_integer_ratio() for x in flat.tolist()]
    d = max((q for _, q in pairs), default=1)
    result = np.empty(len(flat), object)
    result[:] = [p * (d // q) for p, q in pairs]
    return result.reshape(np.shape(values)), d


def cross(p, q):
    """Return the line through two points, or the point on two lines, in homogeneous coordinates."""
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


def sign_at(function, point):
    """Return the sign of a function (a, b, c) at a point."""
    value = function[0] * point[0] + function[1] * point[1] + function[2] * point[2]
    value = value if point[2] > 0 else -value
    return (value > 0) - (value < 0)


class ExactOps:
    """The ops of a network with integer weights; made when the first question is asked."""

    def __init__(self, network):
        self._network, self._weights = weakref.ref(network), {}

    @property
    def network(self):
        """The network, which keeps these."""
        return self._network()

    @functools.cached_property
    def denominators(self):
        """Denominator of each op's value, as a multiple of that of the inputs: list of int."""
        graph, codes = self.network.op_graph, self.network.program.op
        found = [1] * len(codes)
        for i in range(1, len(codes)):
            kind, common = int(codes[i]), math.lcm(*(found[int(k)] for k in graph.operands[i]))
            if kind in (ir.AFFINE, ir.CONV2D, ir.SCALE, ir.GATHER, ir.LEAKY_RELU):
                found[i] = common * self.weights(i)[2]
            elif kind == ir.AVG_POOL:
                found[i] = common * math.lcm(*map(int, self.divisors(i)))
            elif kind in (ir.ADD, ir.CLIP):
                found[i] = common * self.coefficients(i)[1]
            elif kind in (ir.CONCAT, ir.RELU, ir.MAX_POOL):
                found[i] = common
            else:
                raise UnsupportedOperationError(
                    f"op {i} has code {kind}, which exact answers do not handle; see CONTRIBUTING.md"
                )
        return found

    def weights(self, i):
        """Return weights and biases of op i as integers over one denominator: (object[*], object[*], int)."""
        if i not in self._weights:
            p = self.network.program
            w = p.weights[p.weight_offsets[i] : p.weight_offsets[i + 1]]
            both, d = as_integers(np.concatenate([w, p.biases[p.bias_offsets[i] : p.bias_offsets[i + 1]]]))
            self._weights[i] = both[: len(w)], both[len(w) :], d
        return self._weights[i]

    def coefficients(self, i):
        """Return both coefficients of op i over one denominator, 0 where one is infinite: (list of int, int)."""
        values = self.network.program.coefficients[i, :2]
        both, d = as_integers(np.where(np.isfinite(values), values, 0.0))
        return both.tolist(), d

    def divisors(self, i):
        """Return the divisor of each position of an average pool: list of float."""
        n = int(np.prod(self.network.program.shapes[i, 1:]))
        return [getattr(pool_divisor, "py_func", pool_divisor)(self.network.code, i, p) for p in range(n)]

    def shape(self, i):
        """Return channels and positions of op i's value."""
        channels, height, width = (int(n) for n in self.network.program.shapes[i])
        return channels, height * width


_OPS: weakref.WeakKeyDictionary[Network, ExactOps] = weakref.WeakKeyDictionary()  # Network -> ExactOps


def exact_ops(network):
    """Return the ExactOps of a network, which are kept while it exists."""
    if network not in _OPS:
        _OPS[network] = ExactOps(network)
    return _OPS[network]
