"""Collect finished blocks into batches of lines, in the arrays of LinePartitions.

Legend: L lines, D inputs.
"""

import numpy as np

from .windows import TraceResult

_BYTES_PER_POINT = 64  # of a batch: enough for a breakpoint with its flips, and for the inputs of most networks
_LEAST_BYTES = 2**26  # a lower limit of the size of waiting results, and of the starts of a batch


def waiting_bytes(max_points):
    """Return the size in bytes of finished results above which no others are computed until some are used."""
    return max(_LEAST_BYTES, _BYTES_PER_POINT * max_points)


def batches(blocks, max_points, max_bytes):
    """Split and collect blocks into batches, in order.

    Parameters
    ----------
    blocks : iterable of Block
    max_points : int or inf
        Largest number of breakpoints of a batch; a line with more is a batch alone.
    max_bytes : int or inf
        Largest size of the starts of a batch; a line with more is a batch alone.

    Yields
    ------
    list of Block
    """
    held, points, size = [], 0, 0
    for block in blocks:
        first = 0
        while first < len(block.starts):
            upto = np.cumsum(block.traced.n_points[first:] + 2)
            sizes = block.starts[0].nbytes * np.arange(1, len(upto) + 1)
            n = int(np.count_nonzero((upto <= max_points - points) & (sizes <= max_bytes - size)))
            if n == 0 and held:
                yield held
                held, points, size = [], 0, 0
                continue
            n = max(n, 1)
            held.append(block.lines(first, first + n))
            first, points, size = first + n, points + int(upto[n - 1]), size + int(sizes[n - 1])
    if held:
        yield held


def assemble(batch, n_inputs):
    """Join the lines of a batch, add their ends, and empty ``batch``: the array fields of LinePartitions, read-only."""
    columns = {
        "starts": [np.empty((0, n_inputs)), *(x.starts for x in batch)],
        "ends": [np.empty((0, n_inputs)), *(x.ends for x in batch)],
        "residual": [np.empty(0), *(x.residual for x in batch)],
    }
    for name in TraceResult._fields:
        seed = np.empty(0, {"t": np.float64, "t_error": np.float64, "new_state": np.int32}.get(name, np.int64))
        columns[name] = [seed, *(getattr(x.traced, name) for x in batch)]
    batch.clear()

    def joined(name):
        return np.concatenate(columns.pop(name))

    offsets = np.concatenate([[0], np.cumsum(joined("n_points") + 2)]).astype(np.int64)
    inner = np.ones(offsets[-1], bool)
    inner[offsets[:-1]] = inner[offsets[1:] - 1] = False
    t = np.zeros(offsets[-1])
    t[offsets[1:] - 1] = 1.0
    t[inner] = joined("t")
    flip_offsets = np.zeros(offsets[-1] + 1, np.int64)
    flip_offsets[1:][inner] = joined("flips_per_point")
    np.cumsum(flip_offsets, out=flip_offsets)
    flips = joined("neuron"), joined("new_state")
    of_lines = (joined(name) for name in ("residual", "ambiguous", "t_error"))
    arrays = joined("starts"), joined("ends"), offsets, t, flip_offsets, *flips, *of_lines
    for array in arrays:
        array.setflags(write=False)
    return arrays
