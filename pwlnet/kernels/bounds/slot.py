"""What a thread works with when it bounds the values of a network over sets of inputs.

Rounding errors. All arithmetic rounds to nearest, in any order of summation; what is added to a result outward is a bound of
its error. Let ``u = 2**-53`` and ``gamma(n) = n u / (1 - n u)``: a sum of n products, in whatever order, is wrong by at most
``gamma(n)`` times the sum of their absolute values (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM
2002, Section 3.1), and by n times the least positive number where products underflow.

1. Intervals (``intervals.py``). An affine op maps an interval with centre c and radius r to centre ``W c + b`` and radius
   ``|W| r + gamma (|W| X + |b|)``, where ``X >= |c| + r`` bounds the sizes of the op's inputs.
2. Linear bounds (``backward.py``). A row of coefficients g on the outputs of an op stands for the number ``g . y``. The
   coefficients g' that the op's adjoint gives on its inputs x are rounded, but they are numbers like others: the row goes on
   with the computed g', and the difference ``(g W - g') . x`` is at most ``gamma |g| |W| X``. So each entry k of an op's
   outputs has an *error weight* e[k], computed once for all rows, and the whole error of a row is the sum of ``|g| . e`` over
   all ops. Relaxations of neurons have slopes that are rounded, and intercepts that are rounded outward for just these slopes.
3. Numbers that overflow give infinite bounds, never wrong ones: what is not finite in the end becomes -inf or inf.

Legend: N ops, B sets, D inputs, K neurons, O outputs, M rows of a specification, V values of all ops, R rows of coefficients.
"""

from typing import NamedTuple

import numpy as np

from ..ir import program as ir

# Columns of ``plan``.
TARGET = 0  # 1: linear bounds are computed of this op's outputs, since a switching op reads them
EXACT = 1  # 1: intervals over boxes are the exact ranges of this op's outputs, up to rounding
FIRST_READER = 2  # the first switching op that reads it, -1 for none
# Columns of ``roundings``: gamma(n) with the number n of terms of
FORWARD = 0  # an output
BACKWARD = 1  # a coefficient of an input, all readers of the input together
CONSTANT = 2  # the constant of a row
UNDERFLOW = 3  # not a gamma: the least positive number times the terms of a coefficient
# Entries of ``options``.
METHOD = 0
NORM = 1  # 0: box, 1 and 2: ball
BLOCK = 2  # neurons whose bounds are computed together
N_STEPS = 3  # of the optimisation of slopes
ONLY_OPEN = 4  # 1: no linear bounds of neurons whose intervals decide their states
LEAN = 5  # 1: intervals only; ``sizes`` has one row, the radius plus ``largest_rounding`` times the magnitude
N_OPTIONS = 6
# Methods.
IBP, CROWN_IBP, CROWN = 0, 1, 2
# Rows of ``relaxation``, entry by entry of the outputs of a switching op.
LOWER_SLOPE = 0
LOWER_INTERCEPT = 1
UPPER_SLOPE = 2
UPPER_INTERCEPT = 3
LOWER_FIRST = 4  # range of slopes of valid lower bounds through a kink
LOWER_LAST = 5
LOWER_KINK = 6
LOWER_VALUE = 7  # the value at the kink
UPPER_FIRST = 8
UPPER_LAST = 9
UPPER_KINK = 10
UPPER_VALUE = 11
N_RELAXATION = 12

TINY = 2.0**-1022  # exceeds the underflow of 2**52 products
ROUND_UP = 1.0 + 2.0**-10  # of sums of error weights, whose own rounding errors are relative


class BoundSlot(NamedTuple):
    """One slot's buffers, and what all slots share."""

    code: ir.PackedProgram
    absolute: ir.PackedProgram  # the same with the absolute values of all parameters
    transposed: np.ndarray  # float64[*] the weights of fully connected ops, [n_out, n_in]
    transposed_offsets: np.ndarray  # int64[N]
    plan: np.ndarray  # int64[N, 3]
    roundings: np.ndarray  # float64[N, 4]
    largest_rounding: np.ndarray  # float64[1] the largest entry of ``roundings[:, FORWARD]``
    options: np.ndarray  # int64[N_OPTIONS]
    box_lower: np.ndarray  # float64[B, D]; of a ball, the box around it
    box_upper: np.ndarray  # float64[B, D]
    centers: np.ndarray  # float64[B, D] of balls; no rows for boxes
    radii: np.ndarray  # float64[B]
    known_states: np.ndarray  # int32[B, K], -1 where unknown; no rows if nothing is known
    known_lower: np.ndarray  # float64[B, K]; no rows if nothing is known
    known_upper: np.ndarray  # float64[B, K]
    specification: np.ndarray  # float64[M, O]
    offsets: np.ndarray  # float64[M]
    lower: np.ndarray  # float64[B, K] out
    upper: np.ndarray  # float64[B, K] out
    states: np.ndarray  # int32[B, K] out: proved states, -1 for others
    output_lower: np.ndarray  # float64[B, O] out
    output_upper: np.ndarray  # float64[B, O] out
    spec_lower: np.ndarray  # float64[B, M] out
    spec_upper: np.ndarray  # float64[B, M] out
    slopes: np.ndarray  # float64[B, M, D] out: coefficients of the linear lower bounds; no rows if not requested
    empty: np.ndarray  # int64[B] out: 1 where what is known excludes all points of the set
    unknown: np.ndarray  # int64[1] out: 1 where an op is unknown; the results mean nothing then
    next_item: np.ndarray  # int64[1] counter
    centre: np.ndarray  # float64[V] scratch, and the following ones
    sizes: np.ndarray  # float64[2 V]: magnitudes and radii
    low: np.ndarray  # float64[V]
    high: np.ndarray  # float64[V]
    weights: np.ndarray  # float64[V] error weights
    relaxation: np.ndarray  # float64[N_RELAXATION, V]
    taps: np.ndarray  # int64[V] of MaxPool: the tap of the lower bound
    fixed: np.ndarray  # int64[V] the proved state of a neuron, -1
    coefficients: np.ndarray  # float64[R V]
    rectangle: np.ndarray  # int64[N, 4] first and last position of the coefficients that are not zero: rows, columns
    constants: np.ndarray  # float64[R]
    slack: np.ndarray  # float64[R]
    row_bounds: np.ndarray  # float64[R]
    chosen: np.ndarray  # int64[R] entries of an op, or rows of the specification
    alpha: np.ndarray  # float64[2, R V]: place of the slope of each row in its range, for lower and upper bounds; may be empty
    values: np.ndarray  # float64[R V] values of the relaxed network at the minima of the rows; may be empty
