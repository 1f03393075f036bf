"""Buffers of the line kernels: rows of slope changes, breakpoints, flips, and scratch for the scan of one position.

Along a line x(t) = start + t (end - start) every scalar signal is  f(t) = v0 + s0 t + sum_k d_k max(t - t_k, 0).
A *row* holds the slope changes d_k of the channels of one position at one breakpoint k: row r owns the entries ``starts[r]``
to ``starts[r + 1]`` of ``values``; entry e belongs to channel ``columns[e + shifts[r]]``. Neighbouring rows may share their
columns. The rows of op i are a list per position, sorted by t; several may have the same breakpoint, and add up. Position p
owns rows ``pointers[k + p]`` to ``pointers[k + p + 1]``, k = op_table[i, POINTER], counted from ``bases[FIRST_ROW, i]``.
Breakpoints are labels (*ids*) into ``t`` that never change meaning; ``ORDER`` sorts them by t and ``RANK`` is its inverse.

The scan of a position stores its channels in *slots* (rows of ``channels`` and ``channel_labels``), in any order.

Nothing grows inside a kernel: a full buffer sets ``counts[STATUS]``, and the caller allocates a larger one and calls again,
which continues with the unfinished op. Buffers are kept from line to line.

Slope changes and their products with weights are float64 or float32, as ``PackedProgram.row_weights`` is; all else is float64.

Legend: N ops, K neurons, C channels, P positions, M breakpoints.
"""

from typing import NamedTuple

import numpy as np

from .._jit import inlined_kernel
from ..ir import program as ir

TILE_DOUBLES = 98304  # gathered rows of one tile: 768 KiB, to stay in a core's second-level cache
TILE_ROWS = 128  # least height of a tile

# Entries of ``counts``.
TOP_ROW = 0  # rows in use
TOP_VALUE = 1  # row entries in use
N_IDS = 2  # breakpoints known
N_CROSSINGS = 3  # crossings found in the current op
N_FLIPS = 4  # flips recorded
STATUS = 5
AMBIGUOUS = 6  # decisions close to their rounding bound
NEXT_OP = 7  # op to continue with in a window that was left because a buffer was full; 0 to start a window
SAVED_ROW = 8  # TOP_ROW, TOP_VALUE, N_FLIPS, TOP_COLUMN and AMBIGUOUS before that op
SAVED_VALUE = 9
SAVED_FLIPS = 10
TOP_COLUMN = 11  # columns in use, never more than row entries
SAVED_COLUMN = 12
SAVED_AMBIGUOUS = 13
N_START_ERRORS = 14  # ops whose START_VARIANCE is known
AT_END = 15  # neurons within rounding of a threshold at the line's end
SAVED_AT_END = 16
N_COUNTS = 17

# Values of counts[STATUS].
DONE = 0
FULL_ROWS = 1
FULL_VALUES = 2
FULL_IDS = 3
FULL_OUTPUT = 4
UNKNOWN_OP = 5
STOPPED = 6
EXTREME = 7  # errors may have under- or overflowed: the line needs a network that is rescaled for it

# Rows of ``times``.
TIME = 0
TIME_ERROR = 1  # bound of t's rounding error
CROSSING_TIME = 2
CROSSING_ERROR = 3
FLOAT32_ERROR = 4  # with float32 slope changes only: what they add to TIME_ERROR and to CROSSING_ERROR
CROSSING_FLOAT32_ERROR = 5

# Rows of ``labels``.
ORDER = 0
RANK = 1
MERGED = 2  # scratch
CROSSING_ID = 3
FLIP_ID = 4
FLIP_NEURON = 5
FLIP_OLD = 6
FLIP_NEW = 7
ROW_OF = 8  # row of a breakpoint in the current position
SORTED_IDS = 9  # breakpoints of the current position in time order
N_LABELS = 10

# Rows of ``bases``, ``tiles``, ``small``, ``at_start``, ``states``.
FIRST_ROW, FIRST_COLUMN, END_COLUMN = 0, 1, 2
GATHERED, PRODUCT, PACKED, WEIGHTS = 0, 1, 2, 3
CURSOR = 0  # next row of each tap
STOP = 1  # row at which a tile ends for each tap
SOURCE_AT = 2  # source of each row of weights, -1 between uses
SOURCE = 3  # row of weights of each source
WEIGHT_ROW = 4  # row of weights or source of each entry of a row
N_SMALL = 5
VALUE_AND_SLOPE, VARIANCE, START_VARIANCE, FLOAT32_VARIANCE = 0, 1, 2, 3
WINDOW_START, WINDOW_END = 0, 1

# Rows of ``channels``: the slots of the scan of one position.
VALUE = 0
SLOPE = 1
NEXT_VALUE = 2
GAIN = 3  # slope of the current piece
LOW = 4  # the neuron may leave its piece below this ...
HIGH = 5  # ... or above this
TOLERANCE = 6  # bound of the value's rounding error
SLOPE_TOLERANCE = 7
LARGEST = 8  # largest absolute post-activation seen
STEEPEST = 9  # largest absolute slope seen
FLOAT32_TOLERANCE = 10  # bound of the value's error from float32 slope changes; 0 in float64
N_SLOT_NUMBERS = 11  # those before belong to a slot; the rest is scratch
EVENT_ROW = 11  # scratch: the row of an event
VALUE_CHANGE = 12  # scratch, by channel: change of the value over a tile ...
SLOPE_CHANGE = 13  # ... of the slope ...
DEVIATION_BOUND = 14  # ... and how far the value may get from its chord
PENDING_TIME = 15  # scratch: crossing times inside one interval
SQUARES = 16  # sum of squares of what leaves the slot, with float32 slope changes only; zero between uses
N_CHANNEL_NUMBERS = 17

# Rows of ``source_stats``: sources of a tile (wide.py).
SOURCE_VALUE_CHANGE = 0  # change of the value over the tile, beyond the slope at its start
SOURCE_SLOPE_CHANGE = 1  # change of the slope
SOURCE_RELATIVE_SLOPE = 2  # slope relative to the chord
SOURCE_DEVIATION = 3  # from the chord, at SOURCE_LAST_TIME
SOURCE_LAST_TIME = 4
SOURCE_LARGEST_DEVIATION = 5
N_SOURCE_STATS = 6

# Entries of ``addresses``.
WIDE, POOLS = 0, 1

# Rows of ``channel_labels``.
CHANNEL = 0  # of each slot
STATE = 1
PENDING_SLOT = 2  # scratch
AT_THRESHOLD = 3  # scratch: slots at a threshold at an event
PINNED = 4  # slots that stay exactly at a threshold
N_CHANNEL_LABELS = 5


@inlined_kernel
def has_float32_slopes(work):
    """Return whether slope changes are float32; known when a kernel is compiled."""
    return work.values.itemsize == 4


class Work(NamedTuple):
    """All buffers of one thread."""

    is_kept = True  # from call to call: _slots.py

    counts: np.ndarray  # int64[N_COUNTS]
    values: np.ndarray  # float64[*] or float32[*] entries of rows
    columns: np.ndarray  # int32[*] channels of entries
    ids: np.ndarray  # int64[*] breakpoint of each row
    starts: np.ndarray  # int64[*] first entry of each row
    shifts: np.ndarray  # int64[*] from an entry of the row to its column
    pointers: np.ndarray  # int64[*]
    bases: np.ndarray  # int64[3, N] first row of each op, first and past-the-last column
    times: np.ndarray  # float64[4 or 6, M]
    labels: np.ndarray  # int64[N_LABELS, M]
    marks: np.ndarray  # uint64[*] one bit per rank, zero between uses
    tiles: np.ndarray  # as values: [4, *] rows of one position, a product and its factors
    small: np.ndarray  # int64[N_SMALL, *] by tap, row of weights, source
    source_stats: np.ndarray  # float64[N_SOURCE_STATS, *] by source
    at_start: np.ndarray  # float64[3 or 4, 2 * (n_values + n_0)] value and slope of everything at the window's start; errors
    states: np.ndarray  # int32[2, K] at the window's start and end
    taps: np.ndarray  # float64[2, *] MaxPool: value and slope of each tap
    channels: np.ndarray  # float64[N_CHANNEL_NUMBERS, 2 C]
    channel_labels: np.ndarray  # int64[N_CHANNEL_LABELS, 2 C]
    addresses: np.ndarray  # int64[2] of kernels that only some networks need (trace.load_scans)


def make_work(code, n_ids, n_rows, n_entries):
    """Allocate the buffers for windows of up to ``n_ids`` breakpoints, ``n_rows`` rows and ``n_entries`` row entries."""
    info = code.op_table[:-1]
    channels = int(info[:, ir.CHANNELS].max())
    window = info[:, ir.KERNEL_H] * info[:, ir.KERNEL_W]
    positions = info[:, ir.HEIGHT] * info[:, ir.WIDTH]
    pools = info[:, ir.ROLE] == ir.POOL
    n_taps = max(int(x.max()) for x in (window, positions, info[:, ir.N_OPERANDS], info[:, ir.CHANNELS]))
    matrices = np.isin(info[:, ir.OP], (ir.AFFINE, ir.CONV2D))
    n_sources = int((info[:, ir.N_WEIGHTS] // info[:, ir.CHANNELS])[matrices].max(initial=1)) + 7  # rounded up to eights
    single = code.row_weights.dtype == np.float32
    return Work(
        counts=np.zeros(N_COUNTS, np.int64),
        values=np.empty(n_entries, code.row_weights.dtype),
        columns=np.empty(n_entries, np.int32),
        ids=np.empty(n_rows, np.int64),
        starts=np.zeros(n_rows + 1, np.int64),
        shifts=np.empty(n_rows, np.int64),
        pointers=np.zeros(int(code.op_table[-1, ir.POINTER]), np.int64),
        bases=np.zeros((3, len(info)), np.int64),
        times=np.empty((6 if single else 4, n_ids)),
        labels=np.empty((N_LABELS, n_ids), np.int64),
        marks=np.zeros(n_ids // 64 + 2, np.uint64),
        tiles=np.empty((4, TILE_DOUBLES + TILE_ROWS * channels), code.row_weights.dtype),
        small=np.full((N_SMALL, max(n_taps, n_sources, 2 * channels)), -1),
        source_stats=np.empty((N_SOURCE_STATS, n_sources)),
        at_start=np.zeros((4 if single else 3, 2 * int(code.op_table[-1, ir.VALUE] + code.op_table[1, ir.VALUE]))),
        states=np.zeros((2, int(code.op_table[-1, ir.NEURON])), np.int32),
        taps=np.zeros((2, int((info[:, ir.CHANNELS] * window * pools).max(initial=1)))),
        channels=np.zeros((N_CHANNEL_NUMBERS, 2 * channels)),
        channel_labels=np.zeros((N_CHANNEL_LABELS, 2 * channels), np.int64),
        addresses=np.zeros(2, np.int64),
    )


def enlarged(work, n_ids, n_rows, n_entries):
    """Return the same buffers with room for more, contents kept."""
    times, labels = np.empty((len(work.times), n_ids)), np.empty((N_LABELS, n_ids), np.int64)
    times[:, : work.times.shape[1]], labels[:, : work.labels.shape[1]] = work.times, work.labels
    larger = {"times": times, "labels": labels, "marks": np.zeros(n_ids // 64 + 2, np.uint64)}
    sizes = {"values": n_entries, "columns": n_entries, "ids": n_rows, "starts": n_rows + 1, "shifts": n_rows}
    for name, size in sizes.items():
        old = getattr(work, name)
        larger[name] = np.empty(size, old.dtype)
        larger[name][: len(old)] = old
    return work._replace(**larger)
