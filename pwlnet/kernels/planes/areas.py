"""Areas of polygons.

Legend: R polygons, V vertices.
"""

from .._jit import entry_kernel


@entry_kernel
def polygon_areas(offsets, numbers, uv, areas_out):
    """Compute areas relative to first corners. Out: areas_out float64[R]."""
    for r in range(offsets.shape[0] - 1):
        first, last = offsets[r], offsets[r + 1]
        total = 0.0
        if last > first:
            u, v = uv[numbers[first], 0], uv[numbers[first], 1]
            ua, va = 0.0, 0.0
            for k in range(first + 1, last):
                ub, vb = uv[numbers[k], 0] - u, uv[numbers[k], 1] - v
                total += ua * vb - ub * va
                ua, va = ub, vb
        areas_out[r] = 0.5 * total
