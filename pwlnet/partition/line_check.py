"""Points of lines, residuals, and comparison of a partition with forward passes.

Legend: L lines, D inputs, K neurons.
"""

import numpy as np

from .. import evaluate
from ..errors import NumericalError
from ..kernels import program as ir

_LINES_AT_ONCE = 256


def points_at(start, end, t):
    """Points start + t (end - start): float64[len(t), D]; counted from the nearer end, so the ends are exact."""
    t = np.asarray(t)[:, None]
    direction = end - start
    points = np.where(t <= 0.5, start + t * direction, end - (1.0 - t) * direction)
    points[t[:, 0] == 0.0], points[t[:, 0] == 1.0] = start, end
    return points


def residuals(network, starts, ends, offsets, t, flip_offsets, flip_neurons, n_checked, threads):
    """Largest relative distance from its threshold of a flipping neuron at sampled breakpoints: float64[L].

    Raises
    ------
    NumericalError
        Values overflow at a line's ends or at a sampled breakpoint.
    """
    residual = np.zeros(len(starts))
    n_inner = np.diff(offsets) - 2
    for first in range(0, len(starts), _LINES_AT_ONCE):
        part = np.arange(first, min(first + _LINES_AT_ONCE, len(starts)))
        lines = np.repeat(part, np.minimum(n_inner[part], n_checked))
        count = np.minimum(n_inner[lines], n_checked)
        order = np.arange(lines.size) - np.searchsorted(lines, lines)
        places = offsets[lines] + 1 + order * (n_inner[lines] - 1) // np.maximum(1, count - 1)
        direction, at = ends[lines] - starts[lines], t[places][:, None]
        points = np.where(at <= 0.5, starts[lines] + at * direction, ends[lines] - (1.0 - at) * direction)
        rows = np.concatenate([points, starts[part], ends[part]])
        z = evaluate.forward(network.code, rows, preactivations=True, threads=threads)[1]
        _check_finite(z, np.concatenate([lines, part, part]))
        scale = _scales(network, z, np.concatenate([lines, part, part]) - first, len(part))
        distance = _distances(network, z[: lines.size])
        for row, (line, place) in enumerate(zip(lines, places, strict=True)):
            flips = flip_neurons[flip_offsets[place] : flip_offsets[place + 1]]
            relative = distance[row, flips] / scale[line - first, flips]
            residual[line] = max(residual[line], relative.max(initial=0.0))
    return residual


def _check_finite(z, lines):
    """Refuse lines along which values overflow: no crossing on them can be trusted."""
    bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
    if bad.size:
        raise NumericalError(
            f"line {lines[bad[0]]} has pre-activations that overflow float64; values below 1e308 are needed, "
            "rescale the network or shorten the line"
        )


def _scales(network, z, lines, n_lines):
    """Largest pre-activation of each neuron's op over the rows of its line: float64[n_lines, K]."""
    program = network.program
    scale = np.ones((n_lines, z.shape[1]))
    for i in np.flatnonzero(program.op >= ir.FIRST_SWITCHING):
        part = slice(program.neuron_offsets[i], program.neuron_offsets[i + 1])
        largest = np.zeros(n_lines)
        np.maximum.at(largest, lines, np.abs(z[:, part]).max(axis=1))
        scale[:, part] = np.where(largest > 0, largest, 1.0)[:, None]
    return scale


def _distances(network, z):
    """Distance of each pre-activation from the nearest threshold of its op: float64[B, K]."""
    program = network.program
    distance = np.zeros_like(z)
    for i in np.flatnonzero(program.op >= ir.FIRST_SWITCHING):
        part = slice(program.neuron_offsets[i], program.neuron_offsets[i + 1])
        if program.op[i] == ir.MAX_POOL:
            continue  # its pre-activation is the winner's value; a change of winner is no zero of it
        thresholds = program.coefficients[i, :2] if program.op[i] == ir.CLIP else np.zeros(1)
        distance[:, part] = np.min([np.abs(z[:, part] - c) for c in thresholds if np.isfinite(c)], axis=0)
    return distance


def find_problems(lines, n_samples, rng):
    """Sentences about sampled segments whose states a forward pass does not confirm."""
    problems = []
    for part in lines.parts:
        n = part.n_segments
        if rng is not None:
            chosen = np.sort(rng.choice(n, size=min(n, n_samples), replace=False))
        else:
            chosen = np.unique(np.linspace(0, n - 1, min(n, n_samples)).astype(np.int64))
        middle = 0.5 * (part.t[chosen] + part.t[chosen + 1])
        points = points_at(part.start, part.end, middle)
        found, wanted = lines.network.states(points), part.states()[chosen]
        z = lines.network.preactivations(points)
        scale = _scales(lines.network, z, np.zeros(len(z), np.int64), 1)
        certain = _distances(lines.network, z) > _noise(part) * scale
        for row, k in enumerate(chosen):
            wrong = np.flatnonzero((found[row] != wanted[row]) & certain[row])
            if wrong.size:
                problems.append(
                    f"line {part.index}, segment {k} (t = {middle[row]:.17g}): neuron {wrong[0]} and {wrong.size - 1} "
                    "others are in another state than the flips say"
                )
    return problems


def _noise(part):
    """Relative distance from a threshold below which a forward pass can't tell the state."""
    return part._lines.tolerances.ambiguous * np.finfo(np.float64).eps
