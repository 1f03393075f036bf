"""What a search of cells works with: the problem, the cells on the current path, and the results.

A *cell* is a convex polytope with vertices ``x[:D, offset : offset + n]``, bounds ``x[D]`` of their position errors (maximum
norm), and one word ``bits`` per vertex: bit f is set where the vertex lies on facet f *of this cell*. A new cut takes a bit
that no vertex of the cell uses, so that 64 facets at a time are enough for any number of neurons; ``facets[level, f]`` is the
row of ``planes`` with the hyperplane of bit f, and ``plane_ids`` says which function that is: its number, or
``-1 - (2 d + s)`` for a side of the box (d a free input, s = 1 the upper side), or ``-1 - (2 D + m)`` for row m of a polytope.

A *stage* has columns, which are affine functions on the cell: first those that cut, then those that are only recorded, then
those that are only carried. Their *map* has D rows of coefficients, a row of constants (row D), and a row of magnitudes
(row D + 1): the sum of the absolute values of all terms that were added, on the box. The columns of the next stage are linear
combinations of the columns of this one; a column that cuts is multiplied by a factor where it is positive, and by another one
elsewhere (ReLU: 1 and 0).

A *level* is a cell on the current path whose exploration has to be continued. A *key* numbers the results in the order of a
search by one thread.

Legend: D dimensions, S stages, H columns of the largest stage, L levels, W words of a pattern, F functions that cut,
R recorded columns, V vertices, M rows of results.
"""

from typing import NamedTuple

import numpy as np

N_FACETS = 64

# Columns of ``Problem.stages``.
N_CUT = 0
N_RECORDED = 1  # columns that cut, and those that are only recorded
N_COLUMNS = 2
FIRST_BIT = 3  # number of the first function that cuts
FIRST_RECORD = 4
WEIGHT = 5  # offset of the weights to the next stage

# Entries of ``Problem.settings``.
N_STAGES = 0
N_LAYERS = 1  # stages of the network, without one for outputs or a condition
CERTIFY = 2  # 1: count the signs that are not proved; EXACT: ask for them
CONDITION = 3  # 1: the last stage is a condition, which keeps the part of each cell where its columns are not negative
SIGNS = 4
RECORD = 5  # 1 + the first stage whose ranges are recorded; 0: none
LIST = 6  # 1: the cells; MET_PARTS: the parts of cells that meet the condition
COUNT_ONLY = 7
STOP_WHEN_MET = 8
EXPORT_DEPTH = 9  # number of cuts after which a cell is put on the list of tasks; 0: never
BUDGET = 10  # steps of work of one call
FACETS = 11  # of listed cells, record the facets
VERTICES = 12  # and the vertices
MAPS = 13  # and the maps of the last stage's columns: their number
PLANES = 14  # with the facets, record their hyperplanes
LEAF_STAGE = 15  # the last stage that cuts, where parts of its last cut need not be made; -1: they are always made
N_SETTINGS = 16

EXACT = 2  # value of ``settings[CERTIFY]``
MET_PARTS = 2  # value of ``settings[LIST]``

# Entries of ``Problem.numbers``.
GAMMA = 0  # relative rounding of a map
COORDINATE = 1  # rounding of a coordinate
N_NUMBERS = 2

# Entries of ``Work.at``.
STATUS = 0
LEVEL = 1
STAGE = 2
POSITION = 3  # in the list of crossing columns
OFFSET = 4
N_VERTICES = 5
NEXT_PLANE = 6
KEY = 7  # of a task; -1 while the tasks are made
N_CELLS = 8
N_MET = 9
N_BOUNDARY = 10
N_UNDECIDED = 11
N_TOUCHING = 12
N_ROWS = 13
N_WITNESSES = 14
N_BOUNDARY_POINTS = 15
N_TASKS = 16
N_TASK_VERTICES = 17
FIRST_MET = 18
ENTERING = 19  # 1 + the next column to test while a stage is entered; 0: none is
N_ASKED = 20  # vertices at which the sign of a column is asked for; they are in ``index[2]``
ASKED_COLUMN = 21
ANSWERED = 22  # whether ``answers`` has the signs
N_ROW_FACETS = 23
N_ROW_VERTICES = 24
N_EXACT = 25  # signs that were asked for
EXACT_BEFORE = 26  # before the current task
N_AT = 27

# Values of ``Work.at[STATUS]``.
RUNNING = 0
FINISHED = 1
NEED_VERTICES = 2
NEED_SCRATCH = 3
NEED_LEVELS = 4
NEED_ROWS = 5
NEED_TASKS = 6
TOO_MANY_FACETS = 7
NEED_SIGNS = 8

# Columns of ``Tasks.info``.
TASK_STAGE = 0
TASK_POSITION = 1
TASK_CROSSING = 2
TASK_VERTEX = 3
TASK_N_VERTICES = 4
N_TASK_COLUMNS = 5

NO_KEY = np.iinfo(np.int64).max
ERROR_MARGIN = 1.0 + 2.0**-40  # of error bounds that are computed with rounding
LARGEST_ERROR = 2.0**900  # of a vertex; finite, so that no product of bounds is NaN


class Problem(NamedTuple):
    """What all threads read."""

    settings: np.ndarray  # int64[N_SETTINGS]
    numbers: np.ndarray  # float64[N_NUMBERS]
    stages: np.ndarray  # int64[S, 6]
    weights: np.ndarray  # float64[*] of each stage to the next one: [columns, next columns]
    sizes: np.ndarray  # float64[*] bounds of the absolute values of the same
    biases: np.ndarray  # float64[S, 2, H] constants, and their magnitudes
    factors: np.ndarray  # float64[S, 2, H] of columns that are not positive, and of those that are
    valid: np.ndarray  # uint64[W] bits that belong to functions


class Work(NamedTuple):
    """The current path of one thread, and scratch memory."""

    at: np.ndarray  # int64[N_AT]
    clearance: np.ndarray  # float64[1]
    frames: np.ndarray  # int64[L, 5] stage, position, offset, vertices, next plane
    maps: np.ndarray  # float64[S, D + 2, H] of the stages on the path
    following: np.ndarray  # float64[L, D + 2, H] of the next stage, as far as it is known
    patterns: np.ndarray  # uint64[L, W]
    facets: np.ndarray  # int64[L, 64]
    crossing: np.ndarray  # int64[S, H]
    n_crossing: np.ndarray  # int64[S]
    norms: np.ndarray  # float64[S, H] sums of the absolute values of coefficients
    planes: np.ndarray  # float64[*, D + 2]
    plane_ids: np.ndarray  # int64[*]
    x: np.ndarray  # float64[D + 1, V]
    bits: np.ndarray  # uint64[V]
    values: np.ndarray  # float64[V'] and the next four: of the vertices of one cell
    index: np.ndarray  # int64[3, V'] positive, negative, on the hyperplane
    new_x: np.ndarray  # float64[D + 1, V']
    new_bits: np.ndarray  # uint64[V']
    other_bits: np.ndarray  # uint64[V']
    middle: np.ndarray  # float64[H]
    radius: np.ndarray  # float64[H]
    square: np.ndarray  # float64[D, D]
    inverse: np.ndarray  # float64[D, D]
    swaps: np.ndarray  # int64[D]
    residual: np.ndarray  # float64[D]
    answers: np.ndarray  # int8[V'] signs that were asked for


class Results(NamedTuple):
    """What one thread has found; those that were not requested have no rows."""

    touched: np.ndarray  # int8[F + rows of the condition]
    seen: np.ndarray  # uint64[2, W] functions seen negative, and positive
    seen_at: np.ndarray  # float64[2, F, D]
    seen_key: np.ndarray  # int64[2, F]
    extremes: np.ndarray  # float64[R, 4] least and largest value, and bounds of the exact ones
    extreme_at: np.ndarray  # float64[R, 2, D]
    extreme_key: np.ndarray  # int64[R, 2]
    row_patterns: np.ndarray  # uint64[M, W]
    row_points: np.ndarray  # float64[M, D]
    row_keys: np.ndarray  # int64[M]
    row_ends: np.ndarray  # int64[M, 2] ends of the cell's facets and vertices
    row_facets: np.ndarray  # int32[*] ids of the hyperplanes
    row_planes: np.ndarray  # float64[*, D + 1] their coefficients, the constant last, not negative inside the cell
    row_vertices: np.ndarray  # float64[*, D]
    row_bits: np.ndarray  # uint64[*] of each vertex: bit j is set where it is on the cell's facet j
    row_maps: np.ndarray  # float64[M, D + 1, O]
    task_exact: np.ndarray  # int64[T] signs that each task asked for
    met_margins: np.ndarray  # float64[M]
    met_points: np.ndarray  # float64[M, D]
    met_keys: np.ndarray  # int64[M]
    boundary_points: np.ndarray  # float64[M, D]
    boundary_keys: np.ndarray  # int64[M]


class Tasks(NamedTuple):
    """Cells at which a search begins, in the order of a search by one thread."""

    info: np.ndarray  # int64[T, N_TASK_COLUMNS]
    x: np.ndarray  # float64[V, D + 1]
    bits: np.ndarray  # uint64[V]
    maps: np.ndarray  # float64[T, 2, D + 2, H] of the current stage and the next one
    crossing: np.ndarray  # int64[T, H]
    patterns: np.ndarray  # uint64[T, W]
    planes: np.ndarray  # float64[T, 64, D + 2]
    plane_ids: np.ndarray  # int64[T, 64]
