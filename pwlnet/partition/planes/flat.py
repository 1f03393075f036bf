"""Polygons without interior: segments and points, partitioned as lines."""

import numpy as np

from ...tolerances import UNIT_ROUNDOFF
from ..lines.partitions import partition_lines
from . import geometry
from .assembly import Assembled

_ROUNDINGS = 64.0  # of an output, relative to the largest one: forward passes differ by less


def output_errors(t, values, t_error):
    """Estimate the errors of outputs at the breakpoints of a line: float64[n, O].

    Estimate: the rounding of a forward pass, and the slope times the bound of the error of a breakpoint.

    Parameters
    ----------
    t : float64[n]
    values : float64[n, O]
    t_error : float
    """
    slopes = np.abs(np.diff(values, axis=0)) / np.maximum(np.diff(t), t_error)[:, None] if len(t) > 1 else values[:0]
    steepest = np.zeros(values.shape)
    steepest[:-1] = slopes
    steepest[1:] = np.maximum(steepest[1:], slopes)
    return t_error * steepest + _ROUNDINGS * UNIT_ROUNDOFF * (np.abs(values) + np.abs(values).max(axis=0, initial=0.0))


def partition_flat(network, plane):
    """Partition a segment or a point of a plane: Assembled, whose "polygons" are segments, or a point, of area 0.

    Exact up to rounding, as partition_lines is.
    """
    corners = plane.polygon if len(plane.polygon) == 2 else np.repeat(plane.polygon, 2, axis=0)
    points = geometry.to_input_space(plane, corners)
    line = partition_lines(network, points[:1], points[1:], threads=1).parts[0]
    n = line.n_segments
    if len(plane.polygon) == 1:
        uv, numbers, offsets = plane.polygon, np.zeros(1, np.int32), np.array([0, 1])
        outputs = line.outputs()[:1]
    else:
        uv = corners[0] + line.t[:, None] * (corners[1] - corners[0])
        numbers = np.stack([np.arange(n), np.arange(1, n + 1)], axis=1).ravel().astype(np.int32)
        offsets, outputs = 2 * np.arange(n + 1), line.outputs()
    error = output_errors(line.t, line.outputs(), line.t_error)[: len(uv)]
    arrays = offsets.astype(np.int64), numbers, uv, outputs, error, line.patterns().packed, np.zeros(len(offsets) - 1)
    return Assembled(*arrays, ())
