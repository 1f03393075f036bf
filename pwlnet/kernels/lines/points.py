"""Points of lines: start + t (end - start), counted from the nearer end, so that both ends are exact."""

from .._jit import inlined_kernel


@inlined_kernel
def coordinate(start, end, t, d):
    """Return coordinate d of the point at t in [0, 1], and the change of the coordinate along the line."""
    slope = end[d] - start[d]
    return (start[d] + t * slope if t <= 0.5 else end[d] - (1.0 - t) * slope), slope
