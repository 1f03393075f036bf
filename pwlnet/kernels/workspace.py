"""Buffers of the line kernels: rows of slope changes, breakpoints, flips, and scratch for one position's scan.

Along a line x(t) = start + t (end - start) every scalar signal is  f(t) = v0 + s0 t + sum_k d_k max(t - t_k, 0).
A *row* holds the slope changes d_k of all channels of one position at one breakpoint k. The rows of op i are a list per
position, sorted by t: position p owns rows ``pointers[k + p]`` to ``pointers[k + p + 1]``, k = info[i, POINTER], counted from
``bases[ROWS, i]``, with their values from ``bases[VALUES, i]`` on, C numbers each. Breakpoints are labels (*ids*) into ``t``
that never change meaning; ``ORDER`` sorts them by t and ``RANK`` is its inverse.

Nothing grows inside a kernel: a full buffer sets ``counts[STATUS]``, and the caller makes a larger one and calls again,
which goes on with the op at hand. Buffers are kept from line to line.

Legend: N ops, K neurons, C channels, P positions, M breakpoints.
"""

from typing import NamedTuple

import numpy as np

from . import program as ir

TILE_DOUBLES = 98304  # gathered rows of one tile: 768 KiB, to stay in a core's second-level cache
TILE_ROWS = 128  # least height of a tile
COLUMN_VALUES = 2**21  # most room for gathered weights; larger products multiply all channels
SPARSE_ROWS = 64  # rows whose active channels are gathered together

# Entries of ``counts``.
TOP_ROW = 0  # rows in use
TOP_VALUE = 1  # row values in use
N_IDS = 2  # breakpoints known
N_BIRTHS = 3  # crossings found in the current op
N_FLIPS = 4  # flips recorded
STATUS = 5
AMBIGUOUS = 6  # decisions that came near their rounding bound
NEXT_OP = 7  # op to go on with in a window that was left because a buffer was full; 0 to start a window
SAVED_ROW = 8  # TOP_ROW, TOP_VALUE and N_FLIPS before that op
SAVED_VALUE = 9
SAVED_FLIPS = 10
N_COUNTS = 11

# Values of counts[STATUS].
DONE = 0
FULL_ROWS = 1
FULL_VALUES = 2
FULL_IDS = 3

# Rows of ``times``.
T = 0
ERROR = 1  # bound of t's rounding error
BIRTH_T = 2
BIRTH_ERROR = 3

# Rows of ``labels``.
ORDER = 0
RANK = 1
MERGED = 2  # scratch
BIRTH_ID = 3
FLIP_ID = 4
FLIP_NEURON = 5
FLIP_OLD = 6
FLIP_NEW = 7
ROW_OF = 8  # row of a breakpoint in the current position
SORTED_IDS = 9  # breakpoints of the current position in time order
N_LABELS = 10

# Rows of ``bases``, ``tiles``, ``small``, ``sweep``, ``states``.
ROWS, VALUES = 0, 1
GATHERED, PRODUCT, COLUMNS = 0, 1, 2
CURSOR, ACTIVE = 0, 1
START, VARIANCE = 0, 1
FIRST, LAST = 0, 1

# Rows of ``channels``: the state of the scan of one position.
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
CROSSING = 10  # scratch: crossing times inside one interval
N_CHANNEL_NUMBERS = 11

# Rows of ``channel_labels``.
STATE = 0
CROSSING_CHANNEL = 1  # scratch
SPECIAL = 2  # scratch: channels that need care at an event
PARKED = 3  # channels that stand still exactly at a threshold
N_CHANNEL_LABELS = 4


class Work(NamedTuple):
    """All buffers of one thread."""

    counts: np.ndarray  # int64[N_COUNTS]
    values: np.ndarray  # float64[*] row values
    ids: np.ndarray  # int64[*] breakpoint of each row
    pointers: np.ndarray  # int64[*]
    bases: np.ndarray  # int64[2, N] first row and first row value of each op
    times: np.ndarray  # float64[4, M]
    labels: np.ndarray  # int64[N_LABELS, M]
    marks: np.ndarray  # uint64[*] one bit per rank, zero between uses
    tiles: np.ndarray  # float64[3, *] rows of one position, a product, active columns
    small: np.ndarray  # int64[2, *] next row of each tap; active columns
    sweep: np.ndarray  # float64[2, 2 * n_values] value and slope of everything at the window's start; squared errors
    states: np.ndarray  # int32[2, K] at the window's start and end
    taps: np.ndarray  # float64[2, *] MaxPool: value and slope of each tap
    channels: np.ndarray  # float64[N_CHANNEL_NUMBERS, 2 C]
    channel_labels: np.ndarray  # int64[N_CHANNEL_LABELS, 2 C]


def make_work(code, n_ids, n_rows, n_row_values):
    """Allocate the buffers for windows of up to ``n_ids`` breakpoints, ``n_rows`` rows and ``n_row_values`` row values."""
    info = code.info[:-1]
    channels = int(info[:, ir.CHANNELS].max())
    window = info[:, ir.KERNEL_H] * info[:, ir.KERNEL_W]
    positions = info[:, ir.HEIGHT] * info[:, ir.WIDTH]
    pools = info[:, ir.ROLE] == ir.POOL
    n_taps = max(int(x.max()) for x in (window, positions, info[:, ir.N_OPERANDS], info[:, ir.CHANNELS]))
    return Work(
        counts=np.zeros(N_COUNTS, np.int64),
        values=np.empty(n_row_values),
        ids=np.empty(n_rows, np.int64),
        pointers=np.zeros(int(code.info[-1, ir.POINTER]), np.int64),
        bases=np.zeros((2, len(info)), np.int64),
        times=np.empty((4, n_ids)),
        labels=np.empty((N_LABELS, n_ids), np.int64),
        marks=np.zeros(n_ids // 64 + 2, np.uint64),
        tiles=np.empty((3, _tile_values(info, channels))),
        small=np.zeros((2, n_taps), np.int64),
        sweep=np.zeros((2, 2 * int(code.info[-1, ir.VALUE]))),
        states=np.zeros((2, int(code.info[-1, ir.NEURON])), np.int32),
        taps=np.zeros((2, int((info[:, ir.CHANNELS] * window * pools).max(initial=1)))),
        channels=np.zeros((N_CHANNEL_NUMBERS, 2 * channels)),
        channel_labels=np.zeros((N_CHANNEL_LABELS, 2 * channels), np.int64),
    )


def enlarged(work, n_ids, n_rows, n_row_values):
    """The same buffers with room for more, contents kept."""
    times, labels = np.empty((4, n_ids)), np.empty((N_LABELS, n_ids), np.int64)
    times[:, : work.times.shape[1]], labels[:, : work.labels.shape[1]] = work.times, work.labels
    values, ids = np.empty(n_row_values), np.empty(n_rows, np.int64)
    values[: len(work.values)], ids[: len(work.ids)] = work.values, work.ids
    return work._replace(times=times, labels=labels, values=values, ids=ids, marks=np.zeros(n_ids // 64 + 2, np.uint64))


def _tile_values(info, channels):
    """Room for one tile of rows, and for the active columns of a product: a few input rows and as many of the weights."""
    most = TILE_DOUBLES + TILE_ROWS * channels + channels
    for row in info:
        if row[ir.N_WEIGHTS] and row[ir.OP] in (ir.AFFINE, ir.CONV2D):
            c_in = min(int(row[ir.N_WEIGHTS] // row[ir.CHANNELS]), channels)
            most = max(most, min(c_in * (int(row[ir.CHANNELS]) + SPARSE_ROWS), COLUMN_VALUES))
    return most
