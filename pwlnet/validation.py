"""Which outputs of a network an analysis of lines is about.

Legend: L lines, C outputs of a line.
"""

import numpy as np

from .errors import InputError, ShapeError


def checked_targets(targets, n_lines, n_outputs):
    """Outputs of each line, read-only: int64[L] or int64[L, C] from one output for all lines, one per line, or C per line.

    Raises
    ------
    ShapeError
        There are not as many rows as lines.
    InputError
        An output that doesn't exist.
    """
    given = np.asarray(targets)
    if given.dtype.kind not in "iu" and given.size:
        raise InputError(f"targets has dtype {given.dtype}; whole numbers below {n_outputs} are needed, one per line")
    if given.ndim == 0:
        given = np.full(n_lines, given)
    if given.ndim > 2 or len(given) != n_lines:
        raise ShapeError(f"targets has shape {given.shape}, but there are {n_lines} lines; give one output per line, or [L, C]")
    bad = given[(given < 0) | (given >= n_outputs)]
    if bad.size:
        raise InputError(f"target {bad.flat[0]} was given, but the network has {n_outputs} outputs; count from 0")
    copy = np.array(given, np.int64, order="C")
    copy.setflags(write=False)
    return copy
