"""Buffers for the values of a tile of rows in float32 or float64, and what the callers of such kernels share.

The kernels are in ``kernels/floats/values.py``. Values in float32 are used only where they stay in a range in which neither
they nor their sums overflow or lose digits to underflow; what leaves it is evaluated again in float64.
"""

import numpy as np

from .kernels.floats import values
from .kernels.ir import program as ir
from .kernels.ir.passes import TILE

DTYPES = ("float32", "float64")
WORK_PER_CALL = 2**27  # multiplications of a slot before Ctrl-C is noticed: some milliseconds
UNKNOWN = "the network has an op that the kernels do not handle; every chain of ops must handle it, see CONTRIBUTING.md"
_SINGLE_RANGE = (2.0**-60, 2.0**100)  # of the sum of the sizes of an op's pre-activations; beyond, float64 is used


def make_buffers(code, rows, dtype):
    """Allocate the buffers of a slot.

    Parameters
    ----------
    code : PackedProgram
    rows : int
        Height of a tile.
    dtype : {"float32", "float64"}
        Type of the values.

    Returns
    -------
    Buffers
    """
    size = int(code.op_table[-1, ir.VALUE])
    scales, shifts = np.ones(size, dtype), np.zeros(size, dtype)
    for i in range(len(code.op_table) - 1):
        row, entries = code.op_table[i], slice(code.op_table[i, ir.VALUE], code.op_table[i + 1, ir.VALUE])
        if row[ir.OP] in (ir.AFFINE, ir.CONV2D, ir.SCALE) and row[ir.N_BIASES]:
            shifts[entries].reshape(-1, row[ir.N_BIASES])[:] = code.parameters[row[ir.BIAS] :][: row[ir.N_BIASES]]
        if row[ir.OP] == ir.SCALE:
            scales[entries].reshape(-1, row[ir.N_WEIGHTS])[:] = code.parameters[row[ir.WEIGHT] :][: row[ir.N_WEIGHTS]]
    sizes = _scratch_sizes(code)
    return values.Buffers(np.zeros(rows * size, dtype), *(np.empty(n, dtype) for n in sizes), values.Constants(scales, shifts))


def _scratch_sizes(code):
    """Return the lengths of the scratch arrays of convolutions: (columns, products)."""
    table = code.op_table[:-1]
    convolutions = table[table[:, ir.OP] == ir.CONV2D]
    positions = convolutions[:, ir.HEIGHT] * convolutions[:, ir.WIDTH]
    channels = convolutions[:, ir.CHANNELS] // convolutions[:, ir.GROUPS].clip(1)
    window = convolutions[:, ir.N_WEIGHTS] // convolutions[:, ir.CHANNELS].clip(1)
    return int((positions * window).max(initial=0)), int((positions * channels).max(initial=0))


def range_limits(dtype):
    """Return the least and largest sum of the sizes of an op's pre-activations for values of a type: float64[2]."""
    return np.array(_SINGLE_RANGE if dtype == "float32" else (-np.inf, np.inf))


def fits_single(network):
    """Return whether all parameters of a network are in the range of float32."""
    sizes = [np.abs(x).max(initial=0.0) for x in (network.program.weights, network.program.biases)]
    return max(sizes) < _SINGLE_RANGE[1]


def work_per_tile(code):
    """Return the number of multiplications and copies that a tile takes: an int."""
    table = code.op_table[:-1]
    uses = np.where(table[:, ir.KERNEL_H] > 0, table[:, ir.HEIGHT] * table[:, ir.WIDTH], 1)
    return int(TILE * ((table[:, ir.N_WEIGHTS] * uses).sum() + code.op_table[-1, ir.VALUE] + code.op_table[-1, ir.N_INPUTS]))
