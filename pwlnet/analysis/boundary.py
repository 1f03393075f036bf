"""Decision boundaries on lines: the line parameters at which the largest output changes.

Between two breakpoints every output is affine in t, so the class (the largest output) changes at the corners of the upper
envelope of affine functions, which are computed in closed form.

Legend: n breakpoints of the line, O outputs, C class intervals.
"""

import numpy as np

from ..conditions import DECISION_RULES
from ..validation import check_choice


def class_intervals(part, rule="max"):
    """Split a line into the intervals on which one output is the largest, or the smallest.

    Exact up to rounding, namely that of the outputs at the breakpoints and of one division per boundary.

    Parameters
    ----------
    part : LinePartition
        One line of ``partition_lines``: ``lines.parts[i]``.
    rule : {"max", "min"}
        Whether the class is the largest output, or the smallest one.

    Returns
    -------
    t : float64[C+1]
        Boundaries as line parameters: strictly increasing, first 0.0, last 1.0.
    labels : int64[C]
        ``labels[k]`` is the index of the largest (smallest) output between ``t[k]`` and ``t[k + 1]``; neighbours differ.
        If outputs are equal on a whole interval, the lowest index.

    Raises
    ------
    InputError
        Another rule.

    Notes
    -----
    Cost: a forward pass at each breakpoint. An output that is the largest one at a single point only has no interval.

    Examples
    --------
    >>> import numpy as np, pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> lines = pwlnet.partition_lines(network, images[:1], images[1:2])
    >>> t, labels = class_intervals(lines.parts[0])
    >>> bool(labels[0] == network.forward(images[0]).argmax())
    True
    """
    t, outputs = part.t, DECISION_RULES[check_choice(rule, DECISION_RULES, "rule")] * part.outputs()
    winners = outputs.argmax(axis=1)
    ends, labels = [0.0], []
    for k in range(len(t) - 1):
        if winners[k] == winners[k + 1]:  # largest at both ends, so in between, as outputs are affine
            corners = [(1.0, winners[k])]
        else:
            corners = _envelope(outputs[k], outputs[k + 1])
        for s, label in corners:
            end = t[k + 1] if s == 1.0 else min(t[k] + s * (t[k + 1] - t[k]), t[k + 1])
            if end <= ends[-1]:  # of width zero after rounding
                continue
            if labels and labels[-1] == label:
                ends[-1] = end
            else:
                ends.append(end)
                labels.append(label)
    return np.array(ends), np.array(labels, np.int64)


def _envelope(first, last):
    """Compute the upper envelope on [0, 1] of affine functions from ``first`` [O] to ``last`` [O]: list of (end, index)."""
    slopes = last - first
    best = np.flatnonzero(first == first.max())
    winner = best[slopes[best].argmax()]
    corners, s = [], 0.0
    while True:
        rivals = np.flatnonzero(slopes > slopes[winner])
        meets = (first[winner] - first[rivals]) / (slopes[rivals] - slopes[winner])
        if not rivals.size or meets.min() >= 1.0:
            return [*corners, (1.0, winner)]
        s = max(s, meets.min())
        corners.append((s, winner))
        nearest = rivals[meets == meets.min()]
        winner = nearest[slopes[nearest].argmax()]
