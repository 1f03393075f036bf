"""The affine map of each polygon, in coordinates of the plane."""

import numpy as np

from ...kernels.planes import maps as map_kernels
from ...scheduling import n_threads, run_slots


def affine_maps(network, plane, states, threads=None):
    """Compute the affine maps float64[R, O, 3] of the pieces with states int32[R, K], as functions of (u, v, 1)."""
    frame = np.ascontiguousarray(np.stack([plane.origin, plane.e1, plane.e2]))
    result = np.empty((len(states), network.n_outputs, 3))
    size = int(network.program.value_offsets[-1])
    n_slots, counter = max(1, min(n_threads(threads), len(states) // 64)), np.zeros(1, np.int64)
    states = np.ascontiguousarray(states)
    slots = [
        map_kernels.MapSlot(network.code, frame, states, result, counter, np.zeros(3 * size), np.empty(size, np.int32))
        for _ in range(n_slots)
    ]
    run_slots(map_kernels.map_slot, slots)
    return result
