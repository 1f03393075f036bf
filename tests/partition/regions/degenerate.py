"""Degenerate fully connected networks with small integer weights, as descriptions for the rational oracle."""

import numpy as np

KINDS = ("integers", "no biases", "duplicates", "parallel", "zero rows", "touching", "powers of two")


def degenerate(seed, dimensions):
    """Draw a network and a box: (description, lower, upper, kind)."""
    rng = np.random.default_rng([seed, dimensions, 17])
    kind = KINDS[seed % len(KINDS)]
    most = 7 if dimensions == 2 else 4
    sizes = [dimensions, *rng.integers(2, most + 1, int(rng.integers(1, 4)))]
    nodes = [{"kind": "input", "inputs": [], "shape": (dimensions,)}]
    for k, (before, n) in enumerate(zip(sizes, [*sizes[1:], 2], strict=True)):
        weight = rng.integers(-2, 3, (n, before)).astype(float)
        bias = rng.integers(-2, 3, n).astype(float)
        if kind == "no biases":
            bias[:] = 0.0
        elif kind == "duplicates":
            weight[1::2], bias[1::2] = weight[: n // 2 * 2 : 2], bias[: n // 2 * 2 : 2]
        elif kind == "parallel":
            weight[1::2] = -2.0 * weight[: n // 2 * 2 : 2]
        elif kind == "zero rows":
            weight[0], bias[-1] = 0.0, 0.0
        elif kind == "touching" and k == 0:  # through corners of the box
            bias[:] = np.abs(weight).sum(axis=1) * rng.choice([-1.0, 1.0], n)
        elif kind == "powers of two":
            weight *= 2.0 ** rng.integers(-20, 21, (n, 1))
            bias *= 2.0 ** rng.integers(-20, 21)
        nodes.append({"kind": "linear", "inputs": [len(nodes) - 1], "weight": weight, "bias": bias})
        if k + 1 < len(sizes):
            nodes.append({"kind": "relu", "inputs": [len(nodes) - 1]})
    return nodes, np.full(dimensions, -1.0), np.full(dimensions, 1.0), kind
