"""Random lines for tests: generic ones, and ones through vertices and along zero sets of a network's first layer."""

import numpy as np

from .description import AFFINE, SWITCHING, affine_rows, shapes


def random_line(rng, description, degenerate):
    """Draw start and end of a line, float64[D] each, in small multiples of 1/4 (exact in float64).

    Degenerate lines: a single point; through a point where pre-activations of the first switching layer vanish, at a
    rational t (0 and 1 included: the breakpoint is at an end); the same along the zero set of one of them.
    """
    size = int(np.prod(description[0]["shape"]))
    if not degenerate:
        scale = rng.choice((1.0, 2.0, 4.0))
        return tuple(rng.integers(-4 * scale, 4 * scale + 1, size) / scale for _ in range(2))
    rows = first_rows(description)
    style = rng.choice(("point", "vertex", "along"), p=(0.1, 0.5, 0.4))
    through = vertex(rng, rows) if rng.random() < 0.8 else np.zeros(size)
    if style == "point":
        return through, through.copy()
    direction = rng.integers(-3, 4, size).astype(np.float64)
    if rng.random() < 0.1:
        direction *= np.arange(size) == rng.integers(size)
    if style == "along":
        zero = np.flatnonzero(rows @ np.append(through, 1.0) == 0)
        slopes = np.append(rows[:, :-1], np.zeros((len(rows), 1)), axis=1)
        direction = vertex(rng, slopes[zero] if len(zero) else slopes, first=direction)
    q = int(rng.integers(1, 8))
    p = int(rng.integers(0, q + 1))
    return through - p * direction, through + (q - p) * direction


def vertex(rng, rows, first=None):
    """A dyadic point at which many of the affine ``rows`` [m, D + 1] vanish (the best of a few greedy tries)."""
    best, most = None, -1
    for _ in range(1 if first is not None else 8):
        x = rng.integers(-2, 3, rows.shape[1] - 1).astype(np.float64) if first is None else first
        for row in rows[rng.permutation(len(rows))[:3]]:
            entries = np.flatnonzero(np.isin(np.abs(row[:-1]), (0.25, 0.5, 1.0, 2.0, 4.0)))
            if len(entries):
                k = rng.choice(entries)
                x = x.copy()
                x[k] -= (row[:-1] @ x + row[-1]) / row[k]
        zeros = np.count_nonzero(rows[:, :-1] @ x + rows[:, -1] == 0)
        if zeros > most and np.abs(x).max(initial=0) <= 64:
            best, most = x, zeros
    return np.zeros(rows.shape[1] - 1) if best is None else best


def first_rows(description):
    """The first switching node's input as an affine function of the network's input, float64[m, D + 1]."""
    found_shapes, known = shapes(description), {}
    for number, node in enumerate(description):
        if node["kind"] == "input":
            known[number] = np.eye(int(np.prod(node["shape"])) + 1)[:-1]
        elif node["kind"] in AFFINE:
            rows = affine_rows(node, [found_shapes[i] for i in node["inputs"]])
            known[number] = np.zeros((len(rows), known[0].shape[1]))
            for j, (terms, bias) in enumerate(rows):
                known[number][j, -1] = float(bias)
                for i, k, c in terms:
                    known[number][j] += float(c) * known[node["inputs"][i]][k]
        elif node["kind"] in SWITCHING:
            return known[node["inputs"][0]]
    return known[len(description) - 1]
